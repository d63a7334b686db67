#include "cli/assign.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "cli/values.h"

static void *flag_field(const struct flag *flag, void *options)
{
    return (char *)options + flag->offset;
}

/* "DEBUG, INFO, WARN or ERROR" */
static void flag_list_choices(const struct flag *flag, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; flag->choices[i] && used < bytes; i++) {
        if (!*flag->choices[i]) {
            continue; /* "not given" */
        }
        const char *joint = used == 0 ? "" : flag->choices[i + 1] ? ", " : " or ";
        int n = snprintf(text + used, bytes - used, "%s%s", joint, flag->choices[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static int flag_refuse(const struct flag *flag, const char *text, const struct flag_source *source,
                       struct error *err)
{
    char allowed[200];
    switch (flag->kind) {
    case FLAG_BOOL:
        (void)snprintf(allowed, sizeof allowed, "true or false");
        break;
    case FLAG_COUNT:
        (void)snprintf(allowed, sizeof allowed, "a whole number from %llu to %llu",
                       (unsigned long long)flag->min, (unsigned long long)flag->max);
        break;
    case FLAG_DURATION:
        (void)snprintf(allowed, sizeof allowed, "a duration%s such as 20ms, 2s, 15m or 1m30s",
                       flag->min ? " above zero" : "");
        break;
    case FLAG_CHOICE:
        flag_list_choices(flag, allowed, sizeof allowed);
        break;
    case FLAG_ADDRESS:
        (void)snprintf(allowed, sizeof allowed, "host:port with a port from 1 to 65535, such as %s",
                       flag->min ? "example.org:8080 or [::1]:8080"
                                 : ":5000, 127.0.0.1:5000 or [::1]:5000");
        break;
    case FLAG_LIST:
        (void)snprintf(allowed, sizeof allowed, "comma-separated values");
        break;
    case FLAG_TEXT:
        (void)snprintf(allowed, sizeof allowed, "text");
        break;
    }
    return error_set(err, -EINVAL, "%s%s: \"%.200s\" is not allowed, give %s", source->prefix,
                     source->name, text, allowed);
}

static int flag_assign_number(const struct flag *flag, void *field, const char *text)
{
    uint64_t value;
    int r = flag->kind == FLAG_COUNT ? value_count(text, &value) : value_duration_ms(text, &value);
    if (r < 0 || value < flag->min || (flag->max && value > flag->max)) {
        return -EINVAL;
    }
    if (flag->kind == FLAG_COUNT) {
        *(uint32_t *)field = (uint32_t)value;
    } else {
        *(uint64_t *)field = value;
    }
    return 0;
}

static int flag_assign_choice(const struct flag *flag, int *field, const char *text)
{
    for (int i = 0; flag->choices[i]; i++) {
        if (!strcasecmp(text, flag->choices[i])) {
            *field = i;
            return 0;
        }
    }
    return -EINVAL;
}

/* A non-zero `min` asks for a host as well. */
static int flag_assign_address(const struct flag *flag, struct host_port *field, const char *text)
{
    struct host_port address;
    if (value_address(text, &address) < 0 || (flag->min && !address.host[0])) {
        return -EINVAL;
    }
    *field = address;
    return 0;
}

static int flag_assign_text(char **field, const char *text)
{
    char *copy = strdup(text);
    if (!copy) {
        return -ENOMEM;
    }
    free(*field);
    *field = copy;
    return 0;
}

int flag_assign(const struct flag *flag, void *options, const char *text,
                const struct flag_source *source, struct error *err)
{
    void *field = flag_field(flag, options);
    int r = 0;
    switch (flag->kind) {
    case FLAG_TEXT:
        r = flag_assign_text(field, text);
        break;
    case FLAG_BOOL:
        r = value_bool(text, field);
        break;
    case FLAG_COUNT:
    case FLAG_DURATION:
        r = flag_assign_number(flag, field, text);
        break;
    case FLAG_CHOICE:
        r = flag_assign_choice(flag, field, text);
        break;
    case FLAG_ADDRESS:
        r = flag_assign_address(flag, field, text);
        break;
    case FLAG_LIST:
        r = text_list_add(field, text);
        break;
    }
    if (r == -EINVAL) {
        return flag_refuse(flag, text, source, err);
    }
    return r < 0 ? error_set(err, r, "out of memory") : 0;
}

void flag_clear(const struct flag *flag, void *options)
{
    void *field = flag_field(flag, options);
    if (flag->kind == FLAG_TEXT) {
        free(*(char **)field);
        *(char **)field = NULL;
    } else if (flag->kind == FLAG_LIST) {
        text_list_done(field);
    }
}

void flag_environment_name(const struct flag *flag, char ret_name[64])
{
    size_t n = strlen(flag->name);
    CHECK(n < 64);
    for (size_t i = 0; i <= n; i++) {
        char c = flag->name[i];
        ret_name[i] = (char)(c == '-' ? '_' : toupper((unsigned char)c));
    }
}
