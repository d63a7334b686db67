#include "store/ingest_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define TOTAL_BYTES_MAX 24
/* A write that has begun changes the time before it changes the size. When a second one begins and
 * the first has added nothing, it wrote over what was there. */
#define WRITES_WITHOUT_GROWTH 2

/* Layers first: they are what is waited for. */
static const char *const kinds[INGEST_KINDS] = {"layer", "config",      "manifest",
                                                "index", "attestation", "unknown"};

void ingest_file_init(struct ingest_file *f, const char *root, const char *namespace,
                      const struct digest *digest)
{
    char text[DIGEST_TEXT_BYTES], ref[INGEST_NAMESPACE_BYTES_MAX + DIGEST_TEXT_BYTES + 32];
    *f = (struct ingest_file){.root = root, .digest = *digest, .fd = -1, .total_bytes = -1};
    digest_format(digest, text);
    for (size_t kind = 0; kind < INGEST_KINDS; kind++) {
        struct digest d;
        (void)snprintf(ref, sizeof(ref), "%s/1/%s-%s", namespace, kinds[kind], text);
        digest_of(ref, strlen(ref), &d);
        digest_format_hex(&d, f->names[kind]);
    }
}

void ingest_file_close(struct ingest_file *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    f->fd = -1;
}

void ingest_file_forget(struct ingest_file *f)
{
    ingest_file_close(f);
    f->size_bytes = 0;
    f->total_bytes = -1;
    f->is_total_bad = false;
    f->writes_without_growth = 0;
}

bool ingest_file_has_name(const struct ingest_file *f, const char *name)
{
    for (size_t kind = 0; kind < INGEST_KINDS; kind++) {
        if (strcmp(f->names[kind], name) == 0) {
            return true;
        }
    }
    return false;
}

static void file_path(const struct ingest_file *f, size_t kind, const char *file,
                      char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s/ingest/%s%s", f->root, f->names[kind], file);
}

/* --- opening --- */

static bool open_data(struct ingest_file *f, size_t kind, int directory)
{
    struct stat st;
    /* O_NONBLOCK: a FIFO in its place must not stop the loop. */
    int fd = openat(directory, "data", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return false;
    }
    f->fd = fd;
    f->kind = kind;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->written = st.st_mtim;
    return true;
}

bool ingest_file_open(struct ingest_file *f, int *ret_directory)
{
    char path[PATH_MAX];
    ingest_file_forget(f);
    int empty = -1;
    for (size_t kind = 0; kind < INGEST_KINDS && f->fd < 0; kind++) {
        file_path(f, kind, "", path);
        int directory = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (directory < 0) {
            continue;
        }
        if (!open_data(f, kind, directory) && empty < 0) {
            empty = directory;
        } else {
            (void)close(directory);
        }
    }
    if (f->fd >= 0 && empty >= 0) {
        (void)close(empty);
        empty = -1;
    }
    *ret_directory = empty;
    return f->fd >= 0;
}

/* --- what became of it --- */

static bool is_it(const struct ingest_file *f, const char *path, bool *ret_is_unknown)
{
    struct stat st;
    if (lstat(path, &st) == 0) {
        return st.st_dev == f->dev && st.st_ino == f->ino;
    }
    *ret_is_unknown |= errno != ENOENT && errno != ENOTDIR;
    return false;
}

/* By the inode's name: a commit is a rename from one to the other. */
static enum ingest_fate fate_by_name(const struct ingest_file *f)
{
    char path[PATH_MAX], hex[DIGEST_HEX_BYTES];
    bool is_unknown = false;
    file_path(f, f->kind, "/data", path);
    if (is_it(f, path, &is_unknown)) {
        return INGEST_FATE_GROWS;
    }
    digest_format_hex(&f->digest, hex);
    (void)snprintf(path, sizeof(path), "%s/blobs/sha256/%s", f->root, hex);
    if (is_it(f, path, &is_unknown)) {
        return INGEST_FATE_COMMITTED;
    }
    return is_unknown ? INGEST_FATE_GROWS : INGEST_FATE_GONE;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* False when it is not the file any more that it was. */
static bool file_measure(struct ingest_file *f, const struct stat *st)
{
    if (st->st_size < f->size_bytes) {
        return false;
    }
    if (st->st_size > f->size_bytes) {
        f->size_bytes = st->st_size;
        f->writes_without_growth = 0;
    } else if (!same_time(&st->st_mtim, &f->written)) {
        f->writes_without_growth++;
    }
    f->written = st->st_mtim;
    return f->writes_without_growth < WRITES_WITHOUT_GROWTH;
}

/* A number above 0 and nothing else: containerd writes no other. */
static bool parse_total(const char *text, int64_t *ret_total)
{
    errno = 0;
    long long total = strtoll(text, NULL, 10);
    if (text[strspn(text, "0123456789")] != 0 || errno != 0 || total <= 0) {
        return false;
    }
    *ret_total = total;
    return true;
}

static void file_read_total(struct ingest_file *f)
{
    char path[PATH_MAX], text[TOTAL_BYTES_MAX + 1];
    file_path(f, f->kind, "/total", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return;
    }
    ssize_t n = read(fd, text, TOTAL_BYTES_MAX);
    (void)close(fd);
    if (n > 0) { /* an empty one is about to be written */
        text[n] = 0;
        f->is_total_bad = !parse_total(text, &f->total_bytes);
    }
}

enum ingest_fate ingest_file_look(struct ingest_file *f, bool look_at_name)
{
    struct stat st;
    /* The name first: nothing is written after a commit, so the size is then the last one. */
    enum ingest_fate fate = look_at_name ? fate_by_name(f) : INGEST_FATE_GROWS;
    if (fstat(f->fd, &st) < 0) {
        return INGEST_FATE_GROWS;
    }
    if (fate == INGEST_FATE_COMMITTED && st.st_size >= f->size_bytes) {
        f->size_bytes = f->total_bytes = st.st_size;
        return fate;
    }
    if (fate != INGEST_FATE_GROWS || st.st_nlink == 0 || !file_measure(f, &st)) {
        return INGEST_FATE_GONE;
    }
    if (f->total_bytes < 0) {
        file_read_total(f);
    }
    return fate;
}

time_t ingest_file_last_write(const char *root)
{
    char path[PATH_MAX];
    time_t last = 0;
    int n = snprintf(path, sizeof path, "%s/ingest", root);
    DIR *all = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (!all) {
        return 0;
    }
    const struct dirent *one;
    for (int looked_at = 0; looked_at < LIMIT_ADVICE_INGESTS && (one = readdir(all));) {
        struct stat st;
        n = snprintf(path, sizeof path, "%s/data", one->d_name);
        if (one->d_name[0] == '.' || (size_t)n >= sizeof path) {
            continue;
        }
        looked_at++;
        if (fstatat(dirfd(all), path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime > last) {
            last = st.st_mtime;
        }
    }
    (void)closedir(all);
    return last;
}
