/* trees.h - whatever stands under a name: copied with all that belongs to it, compared, removed.
 *
 * As in files.h: relative to an open directory, no symbolic link followed, files made under a
 * temporary name. A file that its owner may not have from us is not an error everywhere: root
 * without capabilities, as in a pod, may neither read everything nor give files away. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Copies a file, a link, or a directory with all that is in it, with modes, owners and times. A
 * directory that is already there gains what it lacks and keeps what the source does not have;
 * anything else that is there is replaced. Sockets, pipes and devices are passed over. What may not
 * be read is -EACCES; what may not be given to its owner stays ours. */
int trees_copy(int from_dir, const char *from, int to_dir, const char *to, struct error *err);

enum trees_flags {
    TREES_READABLE = 1, /* what may not be read is left out */
    TREES_MISSING = 2,  /* what is already there is kept as it is */
};

struct trees_losses { /* what a copy lacks of its original */
    bool unread;      /* something is left out */
    bool owner;       /* something is ours now */
};

/* The same; `losses` (may be NULL) is added to. */
int trees_copy_some(int from_dir, const char *from, int to_dir, const char *to, unsigned flags,
                    struct trees_losses *losses, struct error *err);

/* Whether there is something in it that may not be read. */
bool trees_is_closed(int dir, const char *name);

/* Whether there is a directory in it that we may not change, and so not remove. */
bool trees_is_stuck(int dir, const char *name);

enum trees_difference {
    TREES_LACKS = 1,   /* something is not in the other, or cannot be looked at */
    TREES_CHANGED = 2, /* something is otherwise there, or there only */
    TREES_OWNER = 4,   /* something has another owner there */
};

/* How what may be a copy differs, `but` (NULL: nothing) in its first directory apart. By size and
 * time of change, not by bytes. TREES_CHANGED when memory runs out. */
unsigned trees_compare(int from_dir, const char *from, int to_dir, const char *to, const char *but);

/* Removes whatever stands there, if anything does. */
int trees_remove(int dir, const char *name, struct error *err);
