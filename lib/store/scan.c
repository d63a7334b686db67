#include "store/scan.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"
#include "store/blob_file.h"

struct found { /* one manifest's result */
    int status;
    struct manifest manifest;
    struct error err;
};

struct scan {
    struct work work;
    struct loop *loop;
    scan_done_fn *done;
    void *arg;
    bool in_callback, freed; /* freed: no callbacks any more; goes when its job is over */

    /* of scan_blobs */
    scan_blobs_fn *batch;
    char *root_path;
    DIR *dir;
    struct scan_blob *blobs;
    size_t blob_count;

    /* of scan_manifests */
    scan_manifest_fn *manifest;
    struct scan_wanted *wanted; /* root_path owned */
    size_t wanted_count, next;
    struct found *found;
    size_t found_count;

    int status; /* of the step */
    bool ended; /* there is no further step */
};

static void scan_destroy(struct scan *s)
{
    if (s->dir) {
        (void)closedir(s->dir);
    }
    for (size_t i = 0; i < s->wanted_count; i++) {
        free((char *)s->wanted[i].root_path);
    }
    for (size_t i = 0; i < s->found_count; i++) {
        manifest_done(&s->found[i].manifest);
    }
    free(s->wanted);
    free(s->found);
    free(s->blobs);
    free(s->root_path);
    free(s);
}

void scan_free(struct scan *s)
{
    if (!s) {
        return;
    }
    s->freed = true;
    if (!s->in_callback) {
        work_cancel(&s->work);
    }
}

static void finish(struct scan *s, int status)
{
    s->in_callback = true;
    s->done(s->arg, status);
    scan_destroy(s);
}

static void start_step(struct scan *s)
{
    int r = work_start(s->loop, &s->work);
    if (r < 0) {
        finish(s, r);
    }
}

/* The common part of both `done`s: true when the step's results are to be told. */
static bool step_is_wanted(struct scan *s)
{
    if (s->freed) {
        scan_destroy(s);
        return false;
    }
    return true;
}

static void step_is_told(struct scan *s)
{
    if (s->freed) {
        scan_destroy(s);
    } else if (s->ended || s->status < 0) {
        finish(s, s->status);
    } else {
        s->in_callback = false;
        start_step(s);
    }
}

/* --- blobs --- */

static int open_directory(struct scan *s)
{
    size_t n = strlen(s->root_path) + sizeof "/blobs/sha256";
    char *path = malloc(n);
    if (!path) {
        return -ENOMEM;
    }
    strcpy(stpcpy(path, s->root_path), "/blobs/sha256");
    s->dir = opendir(path);
    int r = s->dir ? 0 : -errno;
    free(path);
    return r;
}

static void take_entry(struct scan *s, const char *name)
{
    struct scan_blob *blob = &s->blobs[s->blob_count];
    if (digest_parse_hex(name, strlen(name), &blob->digest) == 0 &&
        blob_file_size(s->root_path, &blob->digest, &blob->size_bytes) == 0) {
        s->blob_count++;
    }
}

static void blobs_run(struct work *w)
{
    struct scan *s = CONTAINER_OF(w, struct scan, work);
    s->status = s->dir ? 0 : open_directory(s);
    s->blob_count = 0;
    if (s->status < 0) {
        s->ended = true;
        s->status = s->status == -ENOENT || s->status == -ENOTDIR ? 0 : s->status;
        return;
    }
    for (size_t entries = 0; entries < LIMIT_SCAN_BLOBS; entries++) {
        errno = 0;
        struct dirent *entry = readdir(s->dir);
        if (!entry) {
            s->ended = true;
            s->status = -errno;
            return;
        }
        take_entry(s, entry->d_name);
    }
}

static void blobs_done(struct work *w, int status)
{
    struct scan *s = CONTAINER_OF(w, struct scan, work);
    if (!step_is_wanted(s)) {
        return;
    }
    s->status = status < 0 ? status : s->status;
    s->in_callback = true;
    if (s->blob_count && status == 0) {
        s->batch(s->arg, s->blobs, s->blob_count);
    }
    step_is_told(s);
}

int scan_blobs(struct loop *loop, const char *root_path, scan_blobs_fn *batch, scan_done_fn *done,
               void *arg, struct scan **ret_scan)
{
    struct scan *s = calloc(1, sizeof *s);
    if (!s) {
        return -ENOMEM;
    }
    *s = (struct scan){.work = {.run = blobs_run, .done = blobs_done},
                       .loop = loop,
                       .done = done,
                       .arg = arg,
                       .batch = batch,
                       .root_path = strdup(root_path),
                       .blobs = calloc(LIMIT_SCAN_BLOBS, sizeof *s->blobs)};
    if (!s->root_path || !s->blobs || work_start(loop, &s->work) < 0) {
        scan_destroy(s);
        return -ENOMEM;
    }
    *ret_scan = s;
    return 0;
}

/* --- manifests --- */

static void manifests_run(struct work *w)
{
    struct scan *s = CONTAINER_OF(w, struct scan, work);
    s->found_count = 0;
    while (s->found_count < LIMIT_SCAN_MANIFESTS && s->next < s->wanted_count) {
        const struct scan_wanted *wanted = &s->wanted[s->next++];
        struct found *found = &s->found[s->found_count++];
        *found = (struct found){0};
        found->status =
            blob_file_manifest(wanted->root_path, &wanted->digest, &found->manifest, &found->err);
    }
    s->ended = s->next == s->wanted_count;
}

static void manifests_done(struct work *w, int status)
{
    struct scan *s = CONTAINER_OF(w, struct scan, work);
    if (!step_is_wanted(s)) {
        return;
    }
    s->status = status;
    s->in_callback = true;
    for (size_t i = 0; i < s->found_count && !s->freed; i++) {
        struct found *found = &s->found[i];
        s->manifest(s->arg, &s->wanted[s->next - s->found_count + i].digest, found->status,
                    found->status == 0 ? &found->manifest : NULL, &found->err);
    }
    for (size_t i = 0; i < s->found_count; i++) {
        manifest_done(&s->found[i].manifest);
    }
    s->found_count = 0;
    step_is_told(s);
}

static int copy_wanted(struct scan *s, const struct scan_wanted *wanted, size_t count)
{
    s->wanted = calloc(count + 1, sizeof *s->wanted);
    s->found = calloc(LIMIT_SCAN_MANIFESTS, sizeof *s->found);
    if (!s->wanted || !s->found) {
        return -ENOMEM;
    }
    for (; s->wanted_count < count; s->wanted_count++) {
        struct scan_wanted *to = &s->wanted[s->wanted_count];
        to->digest = wanted[s->wanted_count].digest;
        to->root_path = strdup(wanted[s->wanted_count].root_path);
        if (!to->root_path) {
            return -ENOMEM;
        }
    }
    return 0;
}

int scan_manifests(struct loop *loop, const struct scan_wanted *wanted, size_t count,
                   scan_manifest_fn *manifest, scan_done_fn *done, void *arg,
                   struct scan **ret_scan)
{
    struct scan *s = calloc(1, sizeof *s);
    if (!s) {
        return -ENOMEM;
    }
    *s = (struct scan){.work = {.run = manifests_run, .done = manifests_done},
                       .loop = loop,
                       .done = done,
                       .arg = arg,
                       .manifest = manifest};
    if (copy_wanted(s, wanted, count) < 0 || work_start(loop, &s->work) < 0) {
        scan_destroy(s);
        return -ENOMEM;
    }
    *ret_scan = s;
    return 0;
}
