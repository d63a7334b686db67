#include "cli/flags.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cli/assign.h"
#include "cli/values.h"

#define TABLE_FLAGS_MAX 64 /* one bit each in struct table */

/* A table of flags, the options it fills, and what was given so far. */
struct table {
    const struct flag *flags;
    void *options;
    uint64_t given;   /* by anyone but the default */
    uint64_t on_line; /* by the command line */
};

struct parser {
    const struct program *program;
    struct flags_parsed *parsed;
    struct table own, command; /* the program's; the command's, flags NULL before it is known */
    char *const *argv;
    size_t at;
    struct error *err;
};

static bool is_flag(const char *token)
{
    return token[0] == '-' && token[1];
}

static bool is_help(const char *token)
{
    return !strcmp(token, "-h") || !strcmp(token, "-help") || !strcmp(token, "--help");
}

/* The flag's name in a token, without dashes and value. */
static const char *token_name(const char *token, size_t *ret_bytes)
{
    token += strspn(token, "-");
    *ret_bytes = strcspn(token, "=");
    return token;
}

static const struct flag *table_find(const struct table *t, const char *name, size_t bytes)
{
    for (const struct flag *f = t->flags; f && f->name; f++) {
        if (strlen(f->name) == bytes && !memcmp(f->name, name, bytes)) {
            return f;
        }
    }
    return NULL;
}

/* A retired flag and the one that took its place fill the same field: either counts for both. */
static void table_mark(struct table *t, const struct flag *flag, bool on_line)
{
    for (const struct flag *f = t->flags; f->name; f++) {
        if (f == flag || f->offset == flag->offset) {
            uint64_t bit = 1ull << (f - t->flags);
            t->given |= bit;
            t->on_line |= on_line ? bit : 0;
        }
    }
}

static int parser_no_memory(struct parser *p)
{
    return error_set(p->err, -ENOMEM, "out of memory");
}

static int parser_warn_retired(struct parser *p, const struct flag *flag,
                               const struct flag_source *source)
{
    char text[400];
    if (!flag->retired) {
        return 0;
    }
    (void)snprintf(text, sizeof text, "%s%s is retired: %s", source->prefix, source->name,
                   flag->retired);
    return text_list_add(&p->parsed->warnings, text) < 0 ? parser_no_memory(p) : 0;
}

static const char *environment_get(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; environment && *environment; environment++) {
        if (!strncmp(*environment, name, n) && (*environment)[n] == '=') {
            return *environment + n + 1;
        }
    }
    return NULL;
}

static int table_defaults(struct table *t, struct error *err)
{
    for (const struct flag *f = t->flags; f->name; f++) {
        if (f->default_text) {
            struct flag_source source = {"the default of --", f->name};
            int r = flag_assign(f, t->options, f->default_text, &source, err);
            CHECK(r != -EINVAL);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int table_environment_list(struct parser *p, struct table *t, const struct flag *flag,
                                  const char *text, const struct flag_source *source)
{
    struct text_list list = {0};
    int r = value_list(text, &list);
    if (r == 0) {
        flag_clear(flag, t->options);
        *(struct text_list *)(void *)((char *)t->options + flag->offset) = list;
        return 0;
    }
    text_list_done(&list);
    return r == -ENOMEM ? parser_no_memory(p)
                        : error_set(p->err, r,
                                    "%s%s: \"%.200s\" is not allowed, give comma-separated values, "
                                    "each in double quotes if it has a comma or a quote",
                                    source->prefix, source->name, text);
}

/* An empty variable counts as unset: manifests set them so for "none". Retired names come first,
 * so that the new name wins where both are set. */
static int table_environment(struct parser *p, struct table *t, char *const *environment,
                             bool retired)
{
    for (const struct flag *f = t->flags; f->name; f++) {
        char name[64];
        flag_environment_name(f, name);
        const char *text =
            f->no_environment || !f->retired == retired ? NULL : environment_get(environment, name);
        if (!text || !*text) {
            continue;
        }
        struct flag_source source = {"environment variable ", name};
        int r = f->kind == FLAG_LIST ? table_environment_list(p, t, f, text, &source)
                                     : flag_assign(f, t->options, text, &source, p->err);
        if (r == 0) {
            r = parser_warn_retired(p, f, &source);
        }
        if (r < 0) {
            return r;
        }
        table_mark(t, f, false);
    }
    return 0;
}

static int table_begin(struct parser *p, struct table *t, char *const *environment)
{
    int r = table_defaults(t, p->err);
    r = r < 0 ? r : table_environment(p, t, environment, true);
    return r < 0 ? r : table_environment(p, t, environment, false);
}

static int table_check_required(const struct table *t, struct error *err)
{
    for (const struct flag *f = t->flags; f->name; f++) {
        if (f->required && !(t->given & 1ull << (f - t->flags))) {
            char name[64];
            flag_environment_name(f, name);
            return error_set(err, -EINVAL, "--%s %s is required (or the environment variable %s)",
                             f->name, f->placeholder, name);
        }
    }
    return 0;
}

/* Where the command stands in argv, or the index of the terminating NULL; notices --help on the
 * way. A program flag's value is not a command. */
static size_t parser_find_command(struct parser *p, bool *ret_help)
{
    size_t at = 1, command = 0;
    *ret_help = false;
    for (; p->argv[at]; at++) {
        const char *token = p->argv[at];
        if (is_help(token)) {
            *ret_help = true;
        }
        if (command || !is_flag(token)) {
            command = command ? command : at;
            continue;
        }
        size_t n;
        const char *name = token_name(token, &n);
        const struct flag *flag = table_find(&p->own, name, n);
        if (flag && flag->kind != FLAG_BOOL && name[n] != '=' && p->argv[at + 1] &&
            !is_flag(p->argv[at + 1])) {
            at++;
        }
    }
    return command ? command : at;
}

static const struct command *program_find(const struct program *program, const char *name)
{
    for (const struct command *c = program->commands; c->name; c++) {
        if (!strcmp(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

static int parser_unknown_command(struct parser *p, const char *name)
{
    char allowed[200] = "";
    size_t used = 0;
    for (const struct command *c = p->program->commands; c->name && used < sizeof allowed; c++) {
        int n = snprintf(allowed + used, sizeof allowed - used, "%s%s", used ? ", " : "", c->name);
        used += n > 0 ? (size_t)n : 0;
    }
    return error_set(p->err, -EINVAL, "unknown command \"%.100s\", give one of %s", name, allowed);
}

static int parser_list(struct parser *p, struct table *t, const struct flag *flag,
                       const char *first, const struct flag_source *source)
{
    bool again = t->on_line & 1ull << (flag - t->flags);
    if (!again || !flag->gathers) {
        flag_clear(flag, t->options);
    }
    if (first && *first) {
        return flag_assign(flag, t->options, first, source, p->err);
    }
    size_t count = 0;
    for (; p->argv[p->at] && !is_flag(p->argv[p->at]); p->at++, count++) {
        int r = flag_assign(flag, t->options, p->argv[p->at], source, p->err);
        if (r < 0) {
            return r;
        }
    }
    if (!count && flag->required) {
        return error_set(p->err, -EINVAL, "--%s: a value is missing, give %s", flag->name,
                         flag->placeholder);
    }
    return 0;
}

static int parser_value(struct parser *p, struct table *t, const struct flag *flag,
                        const char *value, const struct flag_source *source)
{
    if (flag->kind == FLAG_LIST) {
        return parser_list(p, t, flag, value, source);
    }
    if (flag->kind == FLAG_BOOL) {
        value = value && *value ? value : "true";
    } else if (!value) {
        value = p->argv[p->at];
        if (!value || is_flag(value)) {
            return error_set(p->err, -EINVAL, "--%s: a value is missing, give %s", flag->name,
                             flag->placeholder);
        }
        p->at++;
    }
    return flag_assign(flag, t->options, value, source, p->err);
}

static int parser_flag(struct parser *p, const char *token)
{
    size_t n;
    const char *name = token_name(token, &n);
    struct table *t = &p->command;
    const struct flag *flag = table_find(t, name, n);
    if (!flag) {
        t = &p->own;
        flag = table_find(t, name, n);
    }
    if (!flag) {
        const struct command *c = p->parsed->command;
        return error_set(p->err, -EINVAL,
                         "unknown flag %.100s, %s%s%s --help lists what is allowed", token,
                         p->program->name, c ? " " : "", c ? c->name : "");
    }
    struct flag_source source = {"--", flag->name};
    int r = parser_value(p, t, flag, name[n] == '=' ? name + n + 1 : NULL, &source);
    if (r == 0) {
        table_mark(t, flag, true);
        r = parser_warn_retired(p, flag, &source);
    }
    return r;
}

static int parser_argument(struct parser *p, const char *token)
{
    const char *before = p->argv[p->at - 2];
    size_t n;
    const char *name = token_name(before, &n);
    const struct flag *flag = is_flag(before) ? table_find(&p->command, name, n) : NULL;
    if (flag && flag->kind == FLAG_BOOL) {
        return error_set(p->err, -EINVAL, "--%s: \"%.100s\" must be joined to it, --%s=%.100s",
                         flag->name, token, flag->name, token);
    }
    return error_set(p->err, -EINVAL, "unexpected argument \"%.100s\", only flags are allowed here",
                     token);
}

static int parser_run(struct parser *p, size_t command_at)
{
    for (p->at = 1; p->argv[p->at];) {
        if (p->at == command_at) {
            p->at++;
            continue;
        }
        const char *token = p->argv[p->at++];
        int r = is_flag(token) ? parser_flag(p, token) : parser_argument(p, token);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void check_table(const struct flag *flags)
{
    size_t count = 0;
    while (flags[count].name) {
        count++;
    }
    CHECK(count <= TABLE_FLAGS_MAX);
}

static int parser_begin(struct parser *p, const char *command_name, bool help,
                        char *const *environment)
{
    struct flags_parsed *parsed = p->parsed;
    if (command_name) {
        parsed->command = program_find(p->program, command_name);
        if (!parsed->command) {
            return parser_unknown_command(p, command_name);
        }
    }
    if (help) {
        parsed->outcome = FLAGS_HELP;
        return 0;
    }
    if (parsed->command) {
        check_table(parsed->command->flags);
        p->command.flags = parsed->command->flags;
        p->command.options = (char *)p->own.options + parsed->command->options_offset;
    }
    parsed->outcome = parsed->command ? FLAGS_RUN : FLAGS_NO_COMMAND;
    int r = table_begin(p, &p->own, environment);
    return r == 0 && parsed->command ? table_begin(p, &p->command, environment) : r;
}

int flags_parse(const struct program *program, char *const *argv, char *const *environment,
                void *options, struct flags_parsed *ret_parsed, struct error *err)
{
    *ret_parsed = (struct flags_parsed){0};
    struct parser p = {.program = program,
                       .parsed = ret_parsed,
                       .own = {.flags = program->flags, .options = options},
                       .argv = argv,
                       .err = err};
    check_table(program->flags);
    bool help;
    size_t command_at = argv[0] ? parser_find_command(&p, &help) : 0;
    if (!argv[0]) {
        return parser_begin(&p, NULL, false, environment);
    }
    int r = parser_begin(&p, argv[command_at], help, environment);
    if (r < 0 || ret_parsed->outcome == FLAGS_HELP) {
        return r;
    }
    r = parser_run(&p, command_at);
    if (r == 0 && ret_parsed->command) {
        r = table_check_required(&p.command, err);
    }
    return r;
}

void flags_done(const struct program *program, struct flags_parsed *parsed, void *options)
{
    text_list_done(&parsed->warnings);
    for (const struct flag *f = program->flags; f->name; f++) {
        flag_clear(f, options);
    }
    for (const struct command *c = program->commands; c->name; c++) {
        for (const struct flag *f = c->flags; f->name; f++) {
            flag_clear(f, (char *)options + c->options_offset);
        }
    }
}
