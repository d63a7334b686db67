/* files.h - files replaced whole, trees copied with all that belongs to them, trees removed.
 *
 * Everything is relative to an open directory and never follows a symbolic link out of it, except
 * where said. All calls block. A file or link is made under a temporary name (FILES_TEMPORARY in
 * the same directory), synced and renamed, so that a crash leaves the old one or the new one.
 * Functions return 0 or a negative errno, and where they take a `struct error` they fill it with
 * the name and the reason. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text_list.h"

/* What every temporary name of ours begins with; a leftover may be removed at any time. */
#define FILES_TEMPORARY ".spegel-"

/* Makes the directory and its parents, each 0755 unless there, and opens it. */
int files_make_path(const char *path, int *ret_dir, struct error *err);

/* The whole of a regular file, following links; more than out->max is -EFBIG. Appends to `out`;
 * *ret_mode (may be NULL) gets the permission bits. -ENOENT (nothing there, or a link to nothing)
 * leaves `err` alone. */
int files_read(int dir, const char *name, struct buf *out, mode_t *ret_mode, struct error *err);

/* Writes the file anew with exactly this mode, owned by the caller. */
int files_replace(int dir, const char *name, const void *bytes, size_t n, mode_t mode,
                  struct error *err);

/* Copies a file, a link, or a directory with all that is in it, with modes, owners and times. A
 * directory that is already there gains what it lacks and keeps what the source does not have;
 * anything else that is there is replaced. Sockets, pipes and devices are passed over. */
int files_copy(int from_dir, const char *from, int to_dir, const char *to, struct error *err);

/* Removes whatever stands there, if anything does. */
int files_remove(int dir, const char *name, struct error *err);

/* The names in a directory but "." and "..", in no order. Appends; may fail with some added. */
int files_list(int dir, struct text_list *names, struct error *err);

/* Makes a rename or a removal in the directory last. */
int files_sync(int dir, struct error *err);
