/* ingest_file.h - the file of one download of containerd's: where it lies, and what became of it.
 *
 * The part of ingest.h that only looks. All functions but init block on the file system, shortly,
 * and touch nothing else; when to look is ingest.c's. The facts are containerd.md's, section 3. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "oci/digest.h"

#define INGEST_KINDS 6
#define INGEST_NAMESPACE_BYTES_MAX 255
#define INGEST_BELOW_ROOT_BYTES 128 /* the most that follows the root in a path, NUL included */

struct ingest_file { /* caller-owned; read `fd`, `size_bytes` and `total_bytes` */
    const char *root;
    struct digest digest;
    char names[INGEST_KINDS][DIGEST_HEX_BYTES]; /* of its directory, as each kind of content */

    int fd; /* -1: not open */
    size_t kind;
    dev_t dev;
    ino_t ino;
    struct timespec written; /* mtime */
    unsigned writes_without_growth;
    int64_t size_bytes;
    int64_t total_bytes; /* -1: unknown */
    bool is_total_bad;   /* there is one, and it is no number */
};

enum ingest_fate {
    INGEST_FATE_GROWS,
    INGEST_FATE_COMMITTED, /* renamed into blobs; size and total are final */
    INGEST_FATE_GONE,      /* unlinked, renamed elsewhere, shrunk, or written over */
};

/* `root` is not copied; its length + INGEST_BELOW_ROOT_BYTES fits PATH_MAX, and the name space's
 * INGEST_NAMESPACE_BYTES_MAX. */
void ingest_file_init(struct ingest_file *f, const char *root, const char *namespace,
                      const struct digest *digest);
void ingest_file_close(struct ingest_file *f);  /* size and total stay; not open: fine */
void ingest_file_forget(struct ingest_file *f); /* closes it, as if it had not been found */

/* Whether a directory of this name, in ROOT/ingest, is one of its. */
bool ingest_file_has_name(const struct ingest_file *f, const char *name);

/* Looks for it as each kind, anew. True: it is open, its size and total not yet looked at. Else a
 * directory of its that holds no data yet may be there: *ret_directory is then an O_PATH descriptor
 * of the first such, the caller's to close, else -1. */
bool ingest_file_open(struct ingest_file *f, int *ret_directory);

/* When a download of anybody's in `root` was last written to, in the time of the file system: the
 * latest of LIMIT_ADVICE_INGESTS of them at most. 0: there is none. */
time_t ingest_file_last_write(const char *root);

/* What became of an open one; size and total are brought up to date unless it is GONE. Without
 * `look_at_name` a commit or a rename elsewhere is not seen. */
enum ingest_fate ingest_file_look(struct ingest_file *f, bool look_at_name);
