/* originals.h - what must not be stood for by a copy, since the copy would belong to us, or cannot
 * be made: root without capabilities, as in a pod, may neither give files away nor read everything.
 *
 * Such a file is moved, which keeps all that belongs to it and takes only a directory that we may
 * change. A directory is not moved into another one, since that takes the right to change it
 * itself; it can be renamed where it stands. All calls block. Every step leaves a state that
 * originals_recover mends. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text_list.h"
#include "certsd/certs_dir.h"

/* Ends what an interrupted run had begun. First of all. */
int originals_recover(const struct certs_dir *l, struct error *err);

/* Whether <name>/hosts.toml, the user's, has in `_backup` no copy that belongs to whom it does. */
bool originals_needs_swap(const struct certs_dir *l, const char *name);

/* <name>/hosts.toml moves to `_backup`, and ours takes its place in the same step. */
int originals_swap(const struct certs_dir *l, const char *name, const struct buf *text, mode_t mode,
                   struct error *err);

/* For a directory that we may not change: a copy of it, with our hosts.toml, takes its name, and it
 * stands beside until it is taken back. -EACCES if it cannot be copied. */
int originals_put_aside(const struct certs_dir *l, const char *name, const struct buf *text,
                        mode_t mode, struct error *err);
int originals_take_back(const struct certs_dir *l, const char *name, struct error *err);

/* Whether it was put aside, and nothing has been added to the copy since. */
bool originals_is_aside(const struct certs_dir *l, const char *name);

/* How `_backup` differs from what is in force, see trees_compare. `ours`: hosts.toml is. */
unsigned originals_compare(const struct certs_dir *l, const char *name, bool ours);

/* For a registry of which nothing but our hosts.toml is in use: what in <name> may not be read
 * moves to `_backup`, since there is no copy. -EACCES if something cannot. */
int originals_move(const struct certs_dir *l, const char *name);

/* And back. */
int originals_move_back(const struct certs_dir *l, const char *name);

/* What was put aside, and cannot be taken back since something has been added to the copy, gets a
 * name of its own: <name>.left. Else does nothing. */
int originals_leave_aside(const struct certs_dir *l, const char *name, struct error *err);

/* Before `_backup` goes: what may not be read there, and so was moved there, moves to where it is
 * missing. Adds to `left` what cannot be moved. */
int originals_return(const struct certs_dir *l, struct text_list *left, struct error *err);
