/* origin.h - whether a hosts.toml was generated, or is its user's.
 *
 * Nothing marks a generated file, since this program and the Go implementation must each be able to
 * read what the other left. It is known by its form, and by all of it: a file that only begins as
 * ours do is the user's, unless what it has more is what he had before, which `_backup` tells.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum origin {
    ORIGIN_USER,
    ORIGIN_GENERATED,
    ORIGIN_EDITED, /* generated, and what of it is the user's has been changed since */
};

struct origin_file {
    const char *name; /* of its directory */
    const char *text; /* not a bootstrap file's */
    size_t bytes;
    const char *saved; /* what `_backup` has in its place; NULL: nothing, or it may not be read */
    size_t saved_bytes;
    bool saved_is_unknown; /* there is something that may not be read */
    bool saved_is_newer; /* and so may have been changed since, or a link, of which nobody knows */
    bool moved;          /* the Go implementation ran last */
};

/* 0 or -ENOMEM. */
int origin_find(const struct origin_file *f, enum origin *ret_origin);

/* How much of a generated file is ours: all before what the user had. */
size_t origin_own_bytes(const struct origin_file *f);
