#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/log.h"
#include "content.pb-c.h"
#include "grpc/methods.h"
#include "store/containerd_private.h"

/* One digest to be asked for. Its file shows a moment before Content.Info knows it (the rename is
 * part of the metadata transaction), so NOT_FOUND is asked again for a while. */
struct probe {
    struct map_node node;
    struct list link; /* in blobs.queue, while it is PROBE_QUEUED */
    struct digest digest;
    enum { PROBE_QUEUED, PROBE_OPEN, PROBE_WAITING } state;
    bool again; /* something happened while it was open */
    uint64_t since_ms;
    int64_t size_bytes; /* what Info said; -1: nothing yet */
    struct grpc_call call;
    struct timer wait;
    struct containerd *owner;
};

/* --- what is held --- */

void blobs_withdraw(struct containerd *c, const struct digest *d)
{
    inventory_remove_copy(c->inventory, d, &c->blobs.root);
}

int blobs_hold(struct containerd *c, const struct digest *d, int64_t size_bytes)
{
    if (inventory_blob_count(c->inventory) >= LIMIT_STORE_BLOBS &&
        !inventory_blob(c->inventory, d)) {
        c->counters.over_limit++;
        return 0;
    }
    int r = inventory_add_blob(c->inventory, d, size_bytes, &c->blobs.root);
    if (r < 0) {
        containerd_relist_soon(c);
        return r;
    }
    reader_kick(c->reader);
    return 0;
}

/* The size of a blob's file; -ENOENT when there is none. One lstat of a name that has just changed
 * or been looked up does not wait for a disk. */
static int64_t file_size(const struct containerd *c, const struct digest *d)
{
    char hex[DIGEST_HEX_BYTES], path[4096 + DIGEST_HEX_BYTES];
    struct stat st;
    digest_format_hex(d, hex);
    (void)snprintf(path, sizeof(path), "%s/%s", c->blobs.directory, hex);
    if (lstat(path, &st) < 0) {
        return -errno;
    }
    return S_ISREG(st.st_mode) ? st.st_size : -ENOENT;
}

/* --- one digest at a time --- */

static void probe_free(struct containerd *c, struct probe *p)
{
    timer_stop(&p->wait);
    list_remove(&p->link);
    map_remove(&c->blobs.probes, &p->node);
    free(p);
}

static void probe_queue(struct containerd *c, struct probe *p)
{
    timer_stop(&p->wait);
    p->state = PROBE_QUEUED;
    p->again = false;
    p->size_bytes = -1;
    list_push_back(&c->blobs.queue, &p->link);
}

static void probe_waited(void *arg)
{
    struct probe *p = arg;
    probe_queue(p->owner, p);
    blobs_pump(p->owner);
}

static void probe_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct probe *p = CONTAINER_OF(call, struct probe, call);
    Content__InfoResponse *got = content__info_response__unpack(NULL, n, bytes);
    if (got && got->info) {
        p->size_bytes = got->info->size;
    }
    if (got) {
        content__info_response__free_unpacked(got, NULL);
    }
}

/* containerd knows it in our namespace: held, if its file is as it says. */
static void probe_known(struct containerd *c, struct probe *p)
{
    int64_t size_bytes = file_size(c, &p->digest);
    if (p->size_bytes >= 0 && size_bytes == p->size_bytes) {
        inventory_recheck(c->inventory, &p->digest); /* a file may be written over in place */
        (void)blobs_hold(c, &p->digest, size_bytes);
        return;
    }
    if (p->size_bytes < 0) {
        c->counters.malformed_contents++;
    } else if (size_bytes >= 0) {
        char text[DIGEST_TEXT_BYTES];
        digest_format(&p->digest, text);
        c->counters.wrong_sizes++;
        log_warn("a blob's file has the wrong size", LOG_STR("digest", text),
                 LOG_INT("expected", p->size_bytes), LOG_INT("size", size_bytes));
    }
    blobs_withdraw(c, &p->digest);
}

/* True when it waits to ask again. */
static bool probe_unknown(struct containerd *c, struct probe *p)
{
    if (loop_now_ms(c->loop) - p->since_ms < LIMIT_INFO_RETRY_MS &&
        timer_start(&p->wait, LIMIT_INFO_EVERY_MS) == 0) {
        p->state = PROBE_WAITING;
        return true;
    }
    c->counters.info_misses++;
    c->blobs.strangers++;
    blobs_withdraw(c, &p->digest);
    return false;
}

static void probe_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct probe *p = CONTAINER_OF(call, struct probe, call);
    struct containerd *c = p->owner;
    c->blobs.open--;
    if (p->again || c->blobs.sync_wanted || c->blobs.sync_open) {
        probe_queue(c, p); /* whatever was said may be older than what happened since */
    } else if (status->error == -ENOENT && probe_unknown(c, p)) {
        /* asked again when the timer fires */
    } else {
        if (status->error == 0) {
            probe_known(c, p);
        } else if (status->error != -ENOENT) {
            containerd_call_failed(c, "asking for a content", status->text);
        }
        probe_free(c, p);
    }
    blobs_pump(c);
}

static int probe_start(struct containerd *c, struct probe *p)
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(&p->digest, text);
    Content__InfoRequest request = CONTENT__INFO_REQUEST__INIT;
    request.digest = text;
    int r =
        containerd_call(c, &p->call, GRPC_CONTENT_INFO, &request.base, false, LIMIT_GRPC_UNARY_MS);
    if (r < 0) {
        return r;
    }
    list_remove(&p->link);
    p->state = PROBE_OPEN;
    c->blobs.open++;
    return 0;
}

void blobs_pump(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    if (s->sync_wanted || s->sync_open || !rpc_is_up(c->rpc)) {
        return;
    }
    while (s->open < LIMIT_BLOB_PROBES_OPEN && !list_empty(&s->queue)) {
        struct probe *p = CONTAINER_OF(s->queue.next, struct probe, link);
        if (file_size(c, &p->digest) < 0) {
            blobs_withdraw(c, &p->digest);
            probe_free(c, p);
            continue;
        }
        int r = probe_start(c, p);
        if (r < 0) {
            containerd_call_failed(c, "asking for a content", strerror(-r));
            return;
        }
    }
}

static struct probe *probe_new(struct containerd *c, const struct digest *d)
{
    struct probe *p = calloc(1, sizeof(*p));
    if (!p) {
        return NULL;
    }
    p->digest = *d;
    p->owner = c;
    p->call.on_message = probe_message;
    p->call.on_done = probe_done;
    list_init(&p->link);
    timer_init(&p->wait, c->loop, probe_waited, p);
    if (map_insert(&c->blobs.probes, &p->node, p->digest.bytes, DIGEST_BYTES) < 0) {
        free(p);
        return NULL;
    }
    return p;
}

static struct probe *probe_get(const struct containerd *c, const struct digest *d)
{
    struct map_node *node = map_get(&c->blobs.probes, d->bytes, DIGEST_BYTES);
    return node ? CONTAINER_OF(node, struct probe, node) : NULL;
}

bool blobs_is_probed(const struct containerd *c, const struct digest *d)
{
    return probe_get(c, d) != NULL;
}

void blobs_probe(struct containerd *c, const struct digest *d)
{
    if (c->phase < CONTAINERD_LISTING) {
        return; /* the listing to come sees it */
    }
    struct probe *p = probe_get(c, d);
    if (!p) {
        p = c->blobs.probes.count < LIMIT_BLOB_PROBES ? probe_new(c, d) : NULL;
        if (!p) {
            listing_want(c);
            return;
        }
        probe_queue(c, p);
    } else if (p->state == PROBE_OPEN) {
        p->again = true;
    }
    p->since_ms = loop_now_ms(c->loop);
    blobs_pump(c);
}

/* --- the directory --- */

static void directory_changed(void *arg, enum watch_kind kind, const char *name)
{
    struct containerd *c = arg;
    struct digest d;
    if (kind == WATCH_OVERFLOW || kind == WATCH_RESCAN) {
        c->counters.overflows += kind == WATCH_OVERFLOW;
        /* A file that came just before the watch did may be one that Content does not know quite
         * yet, and nothing will tell of it again. */
        c->blobs.appeared = true;
        listing_want(c);
        containerd_relist_soon(c);
        return;
    }
    if (digest_parse_hex(name, strlen(name), &d) < 0) {
        return;
    }
    if (kind == WATCH_REMOVED) {
        blobs_withdraw(c, &d);
    }
    /* One removed is asked for too where something else may be about to bring it back: a listing
     * that saw its file, a call that is open. */
    if (kind == WATCH_ADDED || blobs_is_probed(c, &d) || c->blobs.sync_open) {
        blobs_probe(c, &d);
    }
}

static void withdraw_one(void *arg, const struct inventory_blob *blob)
{
    struct digest d = blob->digest;
    blobs_withdraw(arg, &d);
}

static void root_forget(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    watch_free(s->watch);
    s->watch = NULL;
    free(s->root.path);
    free(s->directory);
    s->root.path = s->directory = NULL;
}

int blobs_set_root(struct containerd *c, const char *path, struct error *err)
{
    struct blobs *s = &c->blobs;
    if (s->root.path && strcmp(s->root.path, path) == 0) {
        return 0;
    }
    char *directory = NULL, *copy = strdup(path);
    struct watch *watch = NULL;
    if (!copy || asprintf(&directory, "%s/blobs/sha256", path) < 0) {
        free(copy);
        return error_set(err, -ENOMEM, "no memory");
    }
    int r = watch_new(c->loop, directory, directory_changed, c, &watch);
    if (r < 0) {
        free(copy);
        free(directory);
        return error_set(err, r, "watching \"%s/blobs/sha256\": %s", path, strerror(-r));
    }
    inventory_each_blob(c->inventory, &s->root, withdraw_one, c);
    root_forget(c);
    s->root.path = copy;
    s->directory = directory;
    s->watch = watch;
    s->warned_path = false;
    return 0;
}

/* --- life --- */

void blobs_init(struct containerd *c)
{
    map_init(&c->blobs.probes);
    list_init(&c->blobs.queue);
}

/* All calls have been completed; the probes that remain are queued or waiting. */
void blobs_disconnected(struct containerd *c)
{
    for (struct map_node *node = map_next(&c->blobs.probes, NULL), *next; node; node = next) {
        next = map_next(&c->blobs.probes, node);
        probe_free(c, CONTAINER_OF(node, struct probe, node));
    }
    CHECK(c->blobs.open == 0);
}

void blobs_done(struct containerd *c)
{
    blobs_disconnected(c);
    map_done(&c->blobs.probes);
    root_forget(c);
}
