/* The program: from the command line to one of the commands. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/help.h"
#include "commands.h"

#define EXIT_USAGE 2
#define HELP_BYTES_MAX (64 * 1024)

/* Usage and one "error:" line; whatever control characters a value has, it stays one line. */
static void complain(const struct command *command, const char *text)
{
    struct buf usage;
    buf_init(&usage, HELP_BYTES_MAX);
    (void)help_usage(&options_program, command, &usage);
    fprintf(stderr, "%serror: ", usage.data ? usage.data : "");
    for (; *text; text++) {
        (void)fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stderr);
    }
    (void)fputc('\n', stderr);
    buf_done(&usage);
}

static int show_help(const struct command *command)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    int r = help_text(&options_program, command, &text);
    if (r == 0 && (fputs(text.data, stdout) == EOF || fflush(stdout) == EOF)) {
        r = -EIO;
    }
    buf_done(&text);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void log_warnings(const struct text_list *warnings)
{
    for (size_t i = 0; i < warnings->count; i++) {
        log_warn("a retired flag is used", LOG_STR("detail", warnings->items[i]));
    }
}

static int run_registry(struct program_options *options, struct flags_parsed *parsed)
{
    struct error err;
    struct registry_options *o = &options->registry;
    int r = registry_options_complete(o, &parsed->warnings, &err);
    if (r < 0) {
        complain(parsed->command, err.text);
        return r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
    }
    log_warnings(&parsed->warnings);
    r = registry_options_resolve_registries(o, &err);
    if (r < 0) {
        log_error("cannot start", LOG_STR("err", err.text));
        return EXIT_FAILURE;
    }
    return cmd_registry(o);
}

static int run(struct program_options *options, struct flags_parsed *parsed)
{
    log_set_level((enum log_level)options->log_level);
    enum command_id id = (enum command_id)(parsed->command - options_program.commands);
    if (id != COMMAND_REGISTRY) {
        log_warnings(&parsed->warnings);
    }
    switch (id) {
    case COMMAND_REGISTRY:
        return run_registry(options, parsed);
    case COMMAND_CONFIGURATION:
        return cmd_configuration(&options->configuration);
    case COMMAND_CLEANUP:
        return cmd_cleanup(&options->cleanup);
    case COMMAND_CLEANUP_WAIT:
        return cmd_cleanup_wait(&options->cleanup_wait);
    case COMMAND_VERSION:
        break;
    }
    return cmd_version(&options->version);
}

int main(int argc, char **argv)
{
    (void)argc;
    static struct program_options options; /* static: the commands' options outlive all */
    struct flags_parsed parsed;
    struct error err;
    int code = EXIT_FAILURE;
    (void)signal(SIGPIPE, SIG_IGN);
    int r = flags_parse(&options_program, argv, environ, &options, &parsed, &err);
    if (r < 0) {
        complain(parsed.command, err.text);
        code = r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
    } else if (parsed.outcome == FLAGS_HELP) {
        code = show_help(parsed.command);
    } else if (parsed.outcome == FLAGS_NO_COMMAND) {
        complain(NULL, "a command is missing, spegel --help lists them");
    } else {
        code = run(&options, &parsed);
    }
    registry_options_done(&options.registry);
    flags_done(&options_program, &parsed, &options);
    return code;
}
