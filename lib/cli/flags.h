/* flags.h - from argv and the environment to a typed options struct, by a table.
 *
 * A command has a table of flags; each names the field it fills by its offset. `--flag=value`,
 * `--flag value` and `-flag` mean the same. Every flag is also an environment variable: upper
 * case, '-' as '_'; the command line beats it, it beats the default. A list takes every value that
 * follows up to the next flag; given again it replaces what was there, unless its flag says that
 * it gathers. A list in the environment is comma-separated, and "a,b" in double quotes is one
 * value. A boolean is `--flag` or `--flag=false`. The program's own flags are taken before and
 * after the name of the command.
 *
 * Pure: nothing here prints, exits or reads the process's environment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text_list.h"

/* A host, as given (empty: every address of this machine; IPv6 without brackets), and a port. */
struct host_port {
    char host[254];
    uint16_t port; /* 0: the flag was not given */
};

enum flag_kind {
    FLAG_TEXT,     /* char *, heap, NULL while neither given nor defaulted */
    FLAG_BOOL,     /* bool */
    FLAG_COUNT,    /* uint32_t, within min..max */
    FLAG_DURATION, /* uint64_t milliseconds, within min..max; given in Go's syntax, 1m30s */
    FLAG_CHOICE,   /* int, the index into choices; letter case does not matter */
    FLAG_ADDRESS,  /* struct host_port: ":5000", "host:5000", "[::1]:5000" */
    FLAG_LIST,     /* struct text_list */
};

struct flag {
    const char *name; /* without dashes; NULL ends the table */
    enum flag_kind kind;
    size_t offset;            /* of the field, in the command's options */
    const char *default_text; /* as if given; NULL: zero, false, empty or none */
    const char *placeholder;  /* what --help calls the value */
    const char *help;         /* one sentence */
    const char *const *choices;
    uint64_t min, max; /* of FLAG_COUNT and of FLAG_DURATION; max 0: no bound. A FLAG_ADDRESS with
                        * a min needs its host too. */
    bool required;
    bool gathers; /* a list that grows when its flag is given again */
    bool no_environment;
    const char *retired; /* a flag of the past: what to say when it is used; not in --help */
};

struct command {
    const char *name;    /* NULL ends the program's table */
    const char *summary; /* one sentence */
    const struct flag *flags;
    size_t options_offset; /* of the command's options, in the program's */
};

struct program {
    const char *name, *summary;
    const struct flag *flags; /* offsets count from the start of the program's options */
    const struct command *commands;
};

enum flags_outcome {
    FLAGS_RUN,        /* `command` and its options are filled */
    FLAGS_HELP,       /* --help: of `command`, or of the program where that is NULL */
    FLAGS_NO_COMMAND, /* no subcommand was given */
};

struct flags_parsed {
    enum flags_outcome outcome;
    const struct command *command; /* set on errors too, once it was read: for its usage line */
    struct text_list warnings;     /* one sentence for each retired flag used */
};

/* Fills `options` (zeroed by the caller, laid out as the tables say) from argv[1..] and from the
 * environment, both NULL-terminated. 0, -EINVAL with a sentence naming the flag, the value and
 * what is allowed, or -ENOMEM. Whatever it returns, the caller then calls flags_done. */
int flags_parse(const struct program *program, char *const *argv, char *const *environment,
                void *options, struct flags_parsed *ret_parsed, struct error *err);

/* Frees what flags_parse put into the options and into `parsed`; both may be half-filled. */
void flags_done(const struct program *program, struct flags_parsed *parsed, void *options);
