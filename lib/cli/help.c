#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "cli/assign.h"

#define COLUMN 25 /* where explanations begin */
#define WIDTH 100

/* Wraps `text` at WIDTH, each line after the first indented to COLUMN; the cursor is at `column`.
 */
static int help_wrap(struct buf *out, size_t column, const char *text)
{
    int r = 0;
    if (column + 2 > COLUMN) {
        r = buf_puts(out, "\n");
        column = 0;
    }
    r = r < 0 ? r : buf_printf(out, "%*s", (int)(COLUMN - column), "");
    column = COLUMN;
    while (r == 0 && *text) {
        size_t word = strcspn(text, " ");
        if (column > COLUMN && column + 1 + word > WIDTH) {
            r = buf_printf(out, "\n%*s", COLUMN, "");
            column = COLUMN;
        }
        const char *space = column > COLUMN ? " " : "";
        r = r < 0 ? r : buf_printf(out, "%s%.*s", space, (int)word, text);
        column += word + strlen(space);
        text += word + (text[word] == ' ');
    }
    return r < 0 ? r : buf_puts(out, "\n");
}

/* "--name VALUE", "--name", "--name [VALUE...]" */
static void help_form(const struct flag *f, char *text, size_t bytes)
{
    const char *format = f->kind == FLAG_BOOL                  ? "--%s"
                         : f->kind == FLAG_LIST && !f->gathers ? "--%s [%s ...]"
                                                               : "--%s %s";
    if (f->kind == FLAG_LIST && f->required) {
        format = "--%s %s [...]";
    }
    (void)snprintf(text, bytes, format, f->name, f->placeholder);
}

static int help_flag(struct buf *out, const struct flag *f)
{
    char form[100], environment[64] = "", text[700];
    help_form(f, form, sizeof form);
    if (!f->no_environment) {
        flag_environment_name(f, environment);
    }
    const char *fallback = f->default_text        ? f->default_text
                           : f->kind == FLAG_BOOL ? "false"
                                                  : NULL;
    (void)snprintf(text, sizeof text, "%s [%s%s%s%s%s]", f->help,
                   f->required ? "required"
                   : fallback  ? "default: "
                               : "default: none",
                   fallback && !f->required ? fallback : "", f->gathers ? ", repeatable" : "",
                   *environment ? ", env: " : "", environment);
    int r = buf_printf(out, "  %s", form);
    return r < 0 ? r : help_wrap(out, 2 + strlen(form), text);
}

static int help_flags(struct buf *out, const char *title, const struct flag *flags)
{
    int r = buf_printf(out, "\n%s:\n", title);
    for (const struct flag *f = flags; r == 0 && f->name; f++) {
        if (!f->retired) {
            r = help_flag(out, f);
        }
    }
    return r;
}

int help_usage(const struct program *program, const struct command *command, struct buf *out)
{
    if (!command) {
        return buf_printf(out, "Usage: %s [--log-level LEVEL] <command> [<flags>]\n",
                          program->name);
    }
    int r = buf_printf(out, "Usage: %s %s", program->name, command->name);
    for (const struct flag *f = command->flags; r == 0 && f->name; f++) {
        char form[100];
        if (f->required) {
            help_form(f, form, sizeof form);
            r = buf_printf(out, " %s", form);
        }
    }
    return r < 0 ? r : buf_puts(out, " [<flags>]\n");
}

int help_text(const struct program *program, const struct command *command, struct buf *out)
{
    int r = help_usage(program, command, out);
    r = r < 0 ? r : buf_printf(out, "\n%s\n", command ? command->summary : program->summary);
    if (r == 0 && command) {
        r = help_flags(out, "Flags", command->flags);
    } else if (r == 0) {
        r = buf_puts(out, "\nCommands:\n");
        for (const struct command *c = program->commands; r == 0 && c->name; c++) {
            r = buf_printf(out, "  %s", c->name);
            r = r < 0 ? r : help_wrap(out, 2 + strlen(c->name), c->summary);
        }
    }
    r = r < 0 ? r : help_flags(out, command ? "Flags of every command" : "Flags", program->flags);
    r = r < 0 ? r : buf_puts(out, "  --help, -h");
    return r < 0 ? r : help_wrap(out, 12, "Show this and exit.");
}
