#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "io/watch.h"
#include "store/blob_dir.h"
#include "store/layout_index.h"
#include "store/reader.h"

/* Reads and parses index.json on the pool. Owned by the heap: it outlives a layout that is freed
 * meanwhile. */
struct index_job {
    struct work work;
    struct layout *layout; /* NULL: nobody waits any more */
    char path[PATH_MAX];
    char repository[REFERENCE_REPOSITORY_BYTES];
    int status;
    struct layout_index index;
    struct error err;
};

struct layout {
    struct loop *loop;
    struct inventory *inventory;
    struct blob_root root;
    void (*listed)(void *arg);
    void *arg;
    char repository[REFERENCE_REPOSITORY_BYTES];
    struct watch *watch;    /* of DIR */
    struct blob_dir *blobs; /* of DIR/blobs/sha256 */
    struct reader *reader;
    struct timer retry; /* for want of memory or descriptors: the index again */

    struct index_job *job; /* NULL: none under way */
    bool read_again;       /* the index changed meanwhile */
    struct layout_index index;
    struct error index_problem; /* the last that was logged */

    bool index_done, is_listed, told_unnamed;
    struct layout_counters counters;
};

static void start_index(struct layout *l);

/* There may be manifests to read. The first time around the reader's idle comes after both the
 * blobs and the index. */
static void kick(void *arg)
{
    struct layout *l = arg;
    if (l->index_done && blob_dir_is_listed(l->blobs)) {
        reader_kick(l->reader);
    }
}

static void on_idle(void *arg)
{
    struct layout *l = arg;
    if (!l->is_listed) {
        l->is_listed = true;
        if (l->listed) {
            l->listed(l->arg);
        }
    }
}

static void retry_soon(struct layout *l)
{
    (void)timer_start(&l->retry, LIMIT_READER_RETRY_MS);
}

static void on_retry(void *arg)
{
    start_index(arg);
}

/* --- index.json: read on the pool, applied in the loop --- */

static int read_index(struct index_job *job, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return error_set(&job->err, -errno, "%s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size > LIMIT_MANIFEST_BYTES) {
        return error_set(&job->err, -E2BIG, "not a file, or larger than %d bytes",
                         LIMIT_MANIFEST_BYTES);
    }
    char *json = malloc((size_t)st.st_size + 1);
    if (!json) {
        return error_set(&job->err, -ENOMEM, "out of memory");
    }
    ssize_t n = pread(fd, json, (size_t)st.st_size, 0);
    int r = n < 0 ? error_set(&job->err, -EIO, "%s", strerror(errno))
                  : layout_index_parse(json, (size_t)n, job->repository, &job->index, &job->err);
    free(json);
    return r;
}

static void index_run(struct work *w)
{
    struct index_job *job = CONTAINER_OF(w, struct index_job, work);
    int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        job->status = error_set(&job->err, -errno, "%s", strerror(errno));
        return;
    }
    job->status = read_index(job, fd);
    (void)close(fd);
}

static void job_free(struct index_job *job)
{
    layout_index_done(&job->index);
    free(job);
}

/* Names that this layout gave and gives no more; one that another store has moved since is its. */
static void remove_old_images(struct layout *l, const struct layout_index *fresh)
{
    for (size_t i = 0, k = 0; i < l->index.count; i++) {
        const struct layout_image *old = &l->index.images[i];
        while (k < fresh->count && strcmp(fresh->images[k].name, old->name) < 0) {
            k++;
        }
        if (k < fresh->count && !strcmp(fresh->images[k].name, old->name)) {
            continue;
        }
        const struct digest *target = inventory_image(l->inventory, old->name);
        if (target && digest_equal(target, &old->target)) {
            inventory_remove_image(l->inventory, old->name);
        }
    }
}

static int set_images(struct layout *l, struct layout_index *fresh)
{
    for (size_t i = 0; i < fresh->count; i++) {
        const struct layout_image *image = &fresh->images[i];
        struct error err = {0};
        int r = inventory_set_image(l->inventory, image->name, &image->target, image->media_type,
                                    true, &err);
        if (r == -ENOMEM) {
            return r;
        }
        if (r < 0 && fresh->malformed++ == 0) {
            fresh->problem = err;
        }
    }
    return 0;
}

static void log_problem(struct layout *l, const char *message, const struct error *problem,
                        size_t count)
{
    if (strcmp(l->index_problem.text, problem->text) != 0) {
        log_warn(message, LOG_STR("dir", l->root.path), LOG_INT("count", count),
                 LOG_STR("err", problem->text));
    }
    l->index_problem = *problem;
}

static void apply_index(struct layout *l, struct layout_index *fresh)
{
    inventory_batch_begin(l->inventory);
    remove_old_images(l, fresh);
    int r = set_images(l, fresh);
    inventory_batch_end(l->inventory);
    l->counters.malformed_descriptors += fresh->malformed;
    if (fresh->malformed) {
        log_problem(l, "index.json: descriptors or names that cannot be used", &fresh->problem,
                    fresh->malformed);
    } else {
        l->index_problem.text[0] = 0;
    }
    if (fresh->has_unnamed && !l->told_unnamed) {
        l->told_unnamed = true;
        log_info("images without a full name are answered under every registry; their digests are "
                 "announced, their tags are not",
                 LOG_STR("dir", l->root.path), LOG_STR("repository", l->repository));
    }
    layout_index_done(&l->index);
    l->index = *fresh;
    *fresh = (struct layout_index){0};
    if (r < 0) {
        retry_soon(l);
    }
}

static void index_finished(struct work *w, int status)
{
    struct index_job *job = CONTAINER_OF(w, struct index_job, work);
    struct layout *l = job->layout;
    if (!l) {
        job_free(job);
        return;
    }
    l->job = NULL;
    l->counters.index_reads++;
    int r = status < 0 ? status : job->status;
    if (r == 0 || r == -ENOENT) {
        apply_index(l, &job->index);
    }
    if (r < 0) {
        l->counters.index_failures++;
        log_problem(l, "index.json cannot be read", &job->err, 1);
    }
    if (r == -ENOMEM || r == -EMFILE || r == -ENFILE) {
        retry_soon(l);
    }
    job_free(job);
    l->index_done = true;
    if (l->read_again) {
        l->read_again = false;
        start_index(l);
    }
    kick(l);
}

static void start_index(struct layout *l)
{
    if (l->job) {
        l->read_again = true;
        return;
    }
    struct index_job *job = calloc(1, sizeof *job);
    if (!job) {
        retry_soon(l);
        return;
    }
    job->work = (struct work){.run = index_run, .done = index_finished};
    job->layout = l;
    strcpy(job->repository, l->repository);
    (void)snprintf(job->path, sizeof job->path, "%s/index.json", l->root.path);
    if (work_start(l->loop, &job->work) < 0) {
        free(job);
        retry_soon(l);
        return;
    }
    l->job = job;
}

static void on_dir_event(void *arg, enum watch_kind kind, const char *name)
{
    struct layout *l = arg;
    if (kind == WATCH_RESCAN || kind == WATCH_OVERFLOW || !strcmp(name, "index.json")) {
        start_index(l);
    }
}

/* --- the store --- */

static int check_directory(struct layout *l, const char *dir, struct error *err)
{
    struct stat st;
    l->root.path = realpath(dir, NULL);
    if (!l->root.path) {
        int r = -errno;
        return error_set(err, r, "OCI layout %s: %s", dir, strerror(-r));
    }
    if (stat(l->root.path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return error_set(err, -ENOTDIR, "OCI layout %s: not a directory", dir);
    }
    if (strlen(l->root.path) + sizeof "/blobs/sha256/" + DIGEST_HEX_BYTES > PATH_MAX) {
        return error_set(err, -ENAMETOOLONG, "OCI layout %s: the path is too long", dir);
    }
    layout_repository(l->root.path, l->repository);
    return 0;
}

int layout_new(struct loop *loop, struct inventory *inventory, const char *dir,
               struct layout **ret_layout, struct error *err)
{
    struct layout *l = calloc(1, sizeof *l);
    if (!l) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    l->loop = loop;
    l->inventory = inventory;
    timer_init(&l->retry, loop, on_retry, l);
    int r = check_directory(l, dir, err);
    if (r == 0 && reader_new(loop, inventory, on_idle, l, &l->reader) < 0) {
        r = error_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0) {
        reader_check_sizes(l->reader);
        r = watch_new(loop, l->root.path, on_dir_event, l, &l->watch);
        r = r < 0 ? r : blob_dir_new(loop, inventory, &l->root, kick, l, &l->blobs);
        r = r < 0 ? error_set(err, r, "OCI layout %s: %s", dir, strerror(-r)) : 0;
    }
    if (r < 0) {
        layout_free(l);
        return r;
    }
    start_index(l);
    *ret_layout = l;
    return 0;
}

void layout_free(struct layout *l)
{
    if (!l) {
        return;
    }
    watch_free(l->watch);
    blob_dir_free(l->blobs);
    reader_free(l->reader);
    timer_stop(&l->retry);
    if (l->job) {
        l->job->layout = NULL;
        work_cancel(&l->job->work);
    }
    layout_index_done(&l->index);
    free(l->root.path);
    free(l);
}

void layout_on_listed(struct layout *l, void (*listed)(void *arg), void *arg)
{
    l->listed = listed;
    l->arg = arg;
}

bool layout_is_listed(const struct layout *l)
{
    return l->is_listed;
}

const char *layout_path(const struct layout *l)
{
    return l->root.path;
}

const struct layout_counters *layout_counters(struct layout *l)
{
    const struct reader_counters *read = reader_counters(l->reader);
    const struct blob_dir_counters *blobs = blob_dir_counters(l->blobs);
    l->counters.rescans = blobs->rescans;
    l->counters.overflows = blobs->overflows;
    l->counters.over_limit = blobs->over_limit;
    l->counters.unparsable_manifests = read->unparsable;
    l->counters.corrupt_manifests = read->corrupt;
    l->counters.wrong_sizes = read->wrong_sizes;
    return &l->counters;
}
