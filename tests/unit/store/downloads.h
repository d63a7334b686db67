/* downloads.h - does to files what containerd does while it fetches a blob. */
#pragma once

#include <fcntl.h>

#include "place.h"
#include "store/ingest.h"

#define DOWNLOADS_MIB (1024 * 1024)

struct download {
    char directory[256]; /* ROOT/ingest/<H> */
    char data[272], blob[256];
    int fd;
};

static inline char download_byte(int64_t at)
{
    return (char)((at >> 12) * 31 + at * 7);
}

static inline void download_file(const struct download *d, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", d->directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

/* Where it will be; makes nothing. */
static inline struct download download_of(const struct place *p, const char *kind,
                                          const struct digest *digest)
{
    struct download d = {.fd = -1};
    struct digest h;
    char text[DIGEST_TEXT_BYTES], ref[128], hex[DIGEST_HEX_BYTES], blob[128];
    digest_format(digest, text);
    (void)snprintf(ref, sizeof ref, "k8s.io/1/%s-%s", kind, text);
    digest_of(ref, strlen(ref), &h);
    digest_format_hex(&h, hex);
    place_blob_name(digest, blob);
    (void)snprintf(d.directory, sizeof d.directory, "%s/ingest/%s", p->dir, hex);
    (void)snprintf(d.data, sizeof d.data, "%s/data", d.directory);
    (void)snprintf(d.blob, sizeof d.blob, "%s/%s", p->dir, blob);
    return d;
}

/* Its directory and all that is in it, but no data. `total` may be NULL: that file is missing. */
static inline void download_prepare(const struct download *d, const char *total)
{
    assert_int_equal(mkdir(d->directory, 0755), 0);
    download_file(d, "ref", "k8s.io/1/whatever");
    download_file(d, "startedat", "now");
    download_file(d, "updatedat", "now");
    if (total) {
        download_file(d, "total", total);
    }
}

/* As a writer that resumes: no truncation, whatever is there. */
static inline void download_open(struct download *d)
{
    d->fd = open(d->data, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(d->fd >= 0);
}

static inline struct download download_begin(const struct place *p, const char *kind,
                                             const struct digest *digest, const char *total)
{
    struct download d = download_of(p, kind, digest);
    download_prepare(&d, total);
    download_open(&d);
    return d;
}

/* What lies at `at` in the blob, written where the descriptor stands. */
static inline void download_write(const struct download *d, int64_t at, size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = download_byte(at + (int64_t)i);
    }
    assert_int_equal(write(d->fd, bytes, n), n);
    free(bytes);
}

static inline void download_remove_directory(const struct download *d)
{
    static const char *const names[] = {"data", "ref", "startedat", "updatedat", "total"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/%s", d->directory, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(d->directory), 0);
}

static inline void download_commit(struct download *d)
{
    (void)close(d->fd);
    assert_int_equal(rename(d->data, d->blob), 0);
    assert_int_equal(utimensat(AT_FDCWD, d->blob, NULL, 0), 0);
    download_remove_directory(d);
    assert_int_equal(chmod(d->blob, 0444), 0);
}

static inline void download_abort(struct download *d)
{
    (void)close(d->fd);
    download_remove_directory(d);
}
