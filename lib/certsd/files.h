/* files.h - files replaced whole.
 *
 * Everything is relative to an open directory and never follows a symbolic link out of it, except
 * where said. All calls block. A file or link is made under a temporary name (FILES_TEMPORARY in
 * the same directory), synced and renamed, so that a crash leaves the old one or the new one.
 * Functions return 0 or a negative errno, and where they take a `struct error` they fill it with
 * the name and the reason. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text_list.h"

/* What every temporary name of ours begins with; a leftover may be removed at any time. */
#define FILES_TEMPORARY ".spegel-"
#define FILES_TEMPORARY_NEW FILES_TEMPORARY "new"
#define FILES_DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* What errno says of a name: "<what> <name>: <reason>". Returns the negative errno. */
int files_fail(struct error *err, const char *what, const char *name);

/* Makes the directory and its parents, each 0755 unless there, and opens it. */
int files_make_path(const char *path, int *ret_dir, struct error *err);

/* The whole of a regular file, following links; more than out->max is -EFBIG. Appends to `out`;
 * *ret_mode (may be NULL) gets the permission bits. -ENOENT (nothing there, or a link to nothing)
 * leaves `err` alone. */
int files_read(int dir, const char *name, struct buf *out, mode_t *ret_mode, struct error *err);

/* Writes the file anew with exactly this mode, owned by the caller. */
int files_replace(int dir, const char *name, const void *bytes, size_t n, mode_t mode,
                  struct error *err);

/* A new empty file under the temporary name, which nobody else may read until it is complete: a
 * descriptor or a negative errno. */
int files_open_temporary(int dir);

/* Writes all of it. */
int files_write(int fd, const char *bytes, size_t n);

/* Closes and renames what files_open_temporary made, or removes it when `r` says that writing
 * failed; that is the result then. */
int files_finish_temporary(int dir, int fd, const char *name, int r);

/* Whether names in the directory may be made and removed. */
bool files_may_change(int dir, const char *name);

/* Whether a call failed for want of rights, so that there is no sense in trying again. */
bool files_is_denied(int r);

/* The names in a directory but "." and "..", in no order. Appends; may fail with some added. */
int files_list(int dir, struct text_list *names, struct error *err);

/* Makes a rename or a removal in the directory last. */
int files_sync(int dir, struct error *err);
