/* toml.h - a hosts.toml cut into statements, each with its bytes as they stand.
 *
 * Not a TOML parser: values are only skipped, by the rules that say where they end (TOML 1.0:
 * strings of four kinds, arrays, inline tables, comments), because what belongs to the user is
 * passed on verbatim. Keys are decoded, so that "host" and 'host' are the same. Pure; allocates
 * nothing; any bytes may come in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TOML_KEY_PARTS 4 /* host."https://x".header, and one to notice what is deeper */

enum toml_kind {
    TOML_BLANK,   /* an empty line */
    TOML_COMMENT, /* a line with nothing but a comment */
    TOML_VALUE,   /* key = value, over as many lines as the value takes */
    TOML_TABLE,   /* [key] */
    TOML_ARRAY,   /* [[key]] */
};

struct toml_statement {
    enum toml_kind kind;
    const char *text; /* in the reader's text; whole lines, the last with its line end if any */
    size_t bytes;
    size_t line; /* the first, from 1 */

    /* The decoded key of the last three kinds. Parts beyond TOML_KEY_PARTS are checked and
     * counted, not kept. */
    size_t parts;
    size_t part_at[TOML_KEY_PARTS], part_bytes[TOML_KEY_PARTS]; /* into `key` */
    char key[2048];
    size_t key_bytes;
};

struct toml_reader {
    const char *text;
    size_t bytes, at, line;
};

/* A byte order mark is skipped. The text must outlive the reader and its statements. */
void toml_reader_init(struct toml_reader *r, const char *text, size_t bytes);

/* 1 and the next statement, 0 at the end, -EINVAL with the line and what is wrong with it. */
int toml_next(struct toml_reader *r, struct toml_statement *ret_statement, struct error *err);

/* Whether part `i` of the key is this text. */
bool toml_part_is(const struct toml_statement *s, size_t i, const char *text);
