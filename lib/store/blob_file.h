/* blob_file.h - one blob's file: DIR/blobs/sha256/<hex>.
 *
 * All functions block on the file system and touch nothing else, so they may run on any thread.
 * Symbolic links in the last component are not followed: a blob is a regular file. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "oci/digest.h"
#include "oci/manifest.h"

/* Opens for reading. 0 with fd and size; -ENOENT when there is no such regular file; -EMFILE,
 * -EACCES and the like: nothing is known about the file. The caller closes the fd. */
int blob_file_open(const char *root_path, const struct digest *d, int *ret_fd, int64_t *ret_size);

/* The size of a regular file. 0, -ENOENT (also: not a regular file), other negative errno. */
int blob_file_size(const char *root_path, const struct digest *d, int64_t *ret_size);

/* Reads a file that may be a manifest, checks that its bytes are what the digest says, and parses
 * them. 0; -ENOENT (no such file); -EBADMSG (the bytes do not hash to the digest: the copy is
 * corrupt and must not be served); -EPROTO or -E2BIG (sound bytes, but no manifest, or an absurd
 * one); anything else is about this moment (-ENOMEM, -EMFILE, -EIO): try again. */
int blob_file_manifest(const char *root_path, const struct digest *d, struct manifest *ret_manifest,
                       struct error *err);
