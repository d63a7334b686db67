#include "store/blob_dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "io/watch.h"
#include "store/blob_file.h"
#include "store/scan.h"

struct blob_dir {
    struct loop *loop;
    struct inventory *inventory;
    const struct blob_root *root;
    void (*changed)(void *arg);
    void *arg;
    struct watch *watch;
    struct timer retry; /* for want of memory or descriptors */
    struct scan *scan;  /* NULL: none under way */
    bool scan_again;
    bool listed;
    int status;          /* of the last scan */
    struct digest *seen; /* by the scan under way */
    size_t seen_count, seen_capacity;
    struct blob_dir_counters counters;
};

static void start_scan(void *arg);

static void retry_soon(struct blob_dir *dir)
{
    (void)timer_start(&dir->retry, LIMIT_READER_RETRY_MS);
}

/* --- listing everything --- */

static int see(struct blob_dir *dir, const struct digest *d)
{
    if (dir->seen_count == dir->seen_capacity) {
        size_t capacity = dir->seen_capacity ? 2 * dir->seen_capacity : 1024;
        struct digest *seen = realloc(dir->seen, capacity * sizeof *seen);
        if (!seen) {
            return -ENOMEM;
        }
        dir->seen = seen;
        dir->seen_capacity = capacity;
    }
    dir->seen[dir->seen_count++] = *d;
    return 0;
}

static void on_batch(void *arg, const struct scan_blob *blobs, size_t count)
{
    struct blob_dir *dir = arg;
    inventory_batch_begin(dir->inventory);
    for (size_t i = 0; i < count; i++) {
        if (dir->seen_count >= LIMIT_LAYOUT_BLOBS) {
            dir->counters.over_limit += count - i;
            break;
        }
        if (see(dir, &blobs[i].digest) < 0 ||
            inventory_add_blob(dir->inventory, &blobs[i].digest, blobs[i].size_bytes, dir->root) <
                0) {
            retry_soon(dir);
            break;
        }
    }
    inventory_batch_end(dir->inventory);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

/* A blob that the scan did not see may have come behind its back: only the file itself tells. */
static void remove_if_gone(void *arg, const struct inventory_blob *blob)
{
    struct blob_dir *dir = arg;
    int64_t size_bytes;
    bool seen = dir->seen_count &&
                bsearch(&blob->digest, dir->seen, dir->seen_count, sizeof *dir->seen, by_bytes);
    if (!seen && blob_file_size(dir->root->path, &blob->digest, &size_bytes) == -ENOENT) {
        inventory_remove_copy(dir->inventory, &blob->digest, dir->root);
    }
}

/* Of lasting errors the watch tells when they may be over. */
static void scan_failed(struct blob_dir *dir, int status)
{
    if (status != dir->status) {
        log_warn("blobs cannot be listed", LOG_STR("dir", dir->root->path),
                 LOG_STR("err", strerror(-status)));
    }
    if (status == -ENOMEM || status == -EMFILE || status == -ENFILE) {
        retry_soon(dir);
    }
}

static void on_done(void *arg, int status)
{
    struct blob_dir *dir = arg;
    dir->scan = NULL;
    if (status < 0) {
        scan_failed(dir, status);
    } else {
        if (dir->seen_count) {
            qsort(dir->seen, dir->seen_count, sizeof *dir->seen, by_bytes);
        }
        inventory_each_blob(dir->inventory, dir->root, remove_if_gone, dir);
    }
    dir->status = status;
    free(dir->seen);
    dir->seen = NULL;
    dir->seen_count = dir->seen_capacity = 0;
    dir->listed = true;
    if (dir->scan_again) {
        dir->scan_again = false;
        start_scan(dir);
    }
    dir->changed(dir->arg);
}

static void start_scan(void *arg)
{
    struct blob_dir *dir = arg;
    if (dir->scan) {
        dir->scan_again = true;
        return;
    }
    dir->counters.rescans++;
    if (scan_blobs(dir->loop, dir->root->path, on_batch, on_done, dir, &dir->scan) < 0) {
        retry_soon(dir);
    }
}

/* --- one change --- */

/* Its inode was just touched and is in memory, so looking at it does not block. A file written anew
 * loses what was known of the old one: it may have been condemned. */
static void appeared(struct blob_dir *dir, const struct digest *d)
{
    int64_t size_bytes;
    inventory_batch_begin(dir->inventory);
    inventory_remove_copy(dir->inventory, d, dir->root);
    if (blob_file_size(dir->root->path, d, &size_bytes) == 0) {
        if (inventory_blob_count(dir->inventory) >= LIMIT_LAYOUT_BLOBS) {
            dir->counters.over_limit++;
        } else if (inventory_add_blob(dir->inventory, d, size_bytes, dir->root) < 0) {
            retry_soon(dir);
        }
    }
    inventory_batch_end(dir->inventory);
    dir->changed(dir->arg);
}

static void on_event(void *arg, enum watch_kind kind, const char *name)
{
    struct blob_dir *dir = arg;
    struct digest d;
    if (kind == WATCH_RESCAN || kind == WATCH_OVERFLOW) {
        dir->counters.overflows += kind == WATCH_OVERFLOW;
        start_scan(dir);
    } else if (digest_parse_hex(name, strlen(name), &d) == 0) {
        if (kind == WATCH_ADDED) {
            appeared(dir, &d);
        } else {
            inventory_remove_copy(dir->inventory, &d, dir->root);
        }
    }
}

int blob_dir_new(struct loop *loop, struct inventory *inventory, const struct blob_root *root,
                 void (*changed)(void *arg), void *arg, struct blob_dir **ret_dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/blobs/sha256", root->path);
    if (n < 0 || (size_t)n >= sizeof path) {
        return -EINVAL;
    }
    struct blob_dir *dir = calloc(1, sizeof *dir);
    if (!dir) {
        return -ENOMEM;
    }
    dir->loop = loop;
    dir->inventory = inventory;
    dir->root = root;
    dir->changed = changed;
    dir->arg = arg;
    timer_init(&dir->retry, loop, start_scan, dir);
    int r = watch_new(loop, path, on_event, dir, &dir->watch);
    if (r < 0) {
        free(dir);
        return r;
    }
    start_scan(dir);
    *ret_dir = dir;
    return 0;
}

void blob_dir_free(struct blob_dir *dir)
{
    if (dir) {
        watch_free(dir->watch);
        scan_free(dir->scan);
        timer_stop(&dir->retry);
        free(dir->seen);
        free(dir);
    }
}

bool blob_dir_is_listed(const struct blob_dir *dir)
{
    return dir->listed;
}

const struct blob_dir_counters *blob_dir_counters(const struct blob_dir *dir)
{
    return &dir->counters;
}
