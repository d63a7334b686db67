#define PCRE2_CODE_UNIT_WIDTH 8
#include "oci/filter.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "oci/reference.h"

struct filter {
    pcre2_general_context *general;
    pcre2_match_context *match;
    pcre2_match_data *data; /* scratch of one match; filters are used from one thread */
    pcre2_code **codes;
    size_t code_count;
    char **registries; /* host[:port] */
    size_t registry_count;
    bool every_registry;
};

static void *filter_malloc(size_t n, void *unused)
{
    (void)unused;
    return malloc(n);
}

static void filter_release(void *p, void *unused)
{
    (void)unused;
    free(p);
}

static int make_contexts(struct filter *f)
{
    f->general = pcre2_general_context_create(filter_malloc, filter_release, NULL);
    if (!f->general) {
        return -ENOMEM;
    }
    f->match = pcre2_match_context_create(f->general);
    f->data = pcre2_match_data_create(1, f->general);
    if (!f->match || !f->data) {
        return -ENOMEM;
    }
    pcre2_set_match_limit(f->match, LIMIT_FILTER_MATCH);
    pcre2_set_depth_limit(f->match, LIMIT_FILTER_DEPTH);
    pcre2_set_heap_limit(f->match, LIMIT_FILTER_HEAP_KIB);
    return 0;
}

static int compile_one(pcre2_compile_context *context, const char *expression,
                       pcre2_code **ret_code, struct error *err)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                      PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context);
    if (!compiled && code == PCRE2_ERROR_HEAP_FAILED) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    if (!compiled) {
        PCRE2_UCHAR why[128] = "";
        (void)pcre2_get_error_message(code, why, sizeof why);
        return error_set(err, -EINVAL, "\"%s\" is not a regular expression: %s at offset %zu",
                         expression, (const char *)why, (size_t)offset);
    }
    *ret_code = compiled;
    return 0;
}

static int compile_all(struct filter *f, const char *const *expressions, size_t count,
                       struct error *err)
{
    if (count == 0) {
        return 0;
    }
    f->codes = calloc(count, sizeof(pcre2_code *));
    pcre2_compile_context *context = pcre2_compile_context_create(f->general);
    if (!f->codes || !context) {
        pcre2_compile_context_free(context);
        return error_set(err, -ENOMEM, "out of memory");
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = compile_one(context, expressions[i], &f->codes[i], err);
        f->code_count += r == 0;
    }
    pcre2_compile_context_free(context);
    return r;
}

static int take_registries(struct filter *f, const char *const *registries, size_t count)
{
    f->every_registry = count == 0;
    for (size_t i = 0; i < count; i++) {
        f->every_registry =
            f->every_registry || !strcmp(registries[i], "_default") || !strcmp(registries[i], "*");
    }
    if (f->every_registry) {
        return 0;
    }
    f->registries = calloc(count, sizeof(char *));
    if (!f->registries) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const char *scheme_end = strstr(registries[i], "://");
        f->registries[i] = strdup(scheme_end ? scheme_end + 3 : registries[i]);
        if (!f->registries[i]) {
            return -ENOMEM;
        }
        f->registry_count++;
    }
    return 0;
}

int filter_new(const char *const *expressions, size_t expression_count,
               const char *const *registries, size_t registry_count, struct filter **ret_filter,
               struct error *err)
{
    struct filter *f = calloc(1, sizeof *f);
    if (!f) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    int r = make_contexts(f);
    r = r < 0 ? r : take_registries(f, registries, registry_count);
    if (r < 0) {
        filter_free(f);
        return error_set(err, r, "out of memory");
    }
    r = compile_all(f, expressions, expression_count, err);
    if (r < 0) {
        filter_free(f);
        return r;
    }
    *ret_filter = f;
    return 0;
}

void filter_free(struct filter *f)
{
    if (!f) {
        return;
    }
    for (size_t i = 0; i < f->code_count; i++) {
        pcre2_code_free(f->codes[i]);
    }
    free(f->codes);
    for (size_t i = 0; i < f->registry_count; i++) {
        free(f->registries[i]);
    }
    free(f->registries);
    pcre2_match_data_free(f->data);
    pcre2_match_context_free(f->match);
    pcre2_general_context_free(f->general);
    free(f);
}

bool filter_mirrors(const struct filter *f, const char *registry)
{
    if (f->every_registry || !registry[0]) {
        return true;
    }
    for (size_t i = 0; i < f->registry_count; i++) {
        if (!strcmp(f->registries[i], registry)) {
            return true;
        }
    }
    return false;
}

bool filter_matches(const struct filter *f, const char *registry, const char *repository,
                    const char *tag)
{
    if (!filter_mirrors(f, registry)) {
        return true;
    }
    char subject[REFERENCE_REGISTRY_BYTES + REFERENCE_REPOSITORY_BYTES + REFERENCE_TAG_BYTES];
    bool tagged = tag && tag[0];
    int n = snprintf(subject, sizeof subject, "%s%s%s%s%s", registry, registry[0] ? "/" : "",
                     repository, tagged ? ":" : "", tagged ? tag : "");
    if (n < 0 || (size_t)n >= sizeof subject) {
        return true; /* longer than any reference: nothing this mirror could have */
    }
    for (size_t i = 0; i < f->code_count; i++) {
        int r =
            pcre2_match(f->codes[i], (PCRE2_SPTR)subject, (PCRE2_SIZE)n, 0, 0, f->data, f->match);
        /* An error is a limit exceeded: excluding an image costs a pull from upstream, sharing one
         * that was to be kept private costs more. */
        if (r != PCRE2_ERROR_NOMATCH) {
            return true;
        }
    }
    return false;
}

bool filter_has_expressions(const struct filter *f)
{
    return f->code_count > 0;
}
