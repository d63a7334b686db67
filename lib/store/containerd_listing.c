#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "content.pb-c.h"
#include "grpc/methods.h"
#include "store/containerd_private.h"

/* What containerd's Content service knows in our namespace, compared with the files there are, both
 * compared with what the inventory has. While there is no connection only the files can be asked:
 * then nothing is added, and what has no file is taken away.
 *
 *     want -> (Content.List, a stream) -> scan of the directory on the pool -> apply -> want? */

static int by_digest(const void *a, const void *b)
{
    const struct content *x = a, *y = b;
    return memcmp(x->digest.bytes, y->digest.bytes, DIGEST_BYTES);
}

static struct content *content_find(const struct blobs *s, const struct digest *d)
{
    struct content key = {.digest = *d};
    return s->content_count ? bsearch(&key, s->contents, s->content_count, sizeof(key), by_digest)
                            : NULL;
}

static void contents_sort(struct blobs *s)
{
    if (s->content_count) {
        qsort(s->contents, s->content_count, sizeof(s->contents[0]), by_digest);
    }
}

static void content_add(struct containerd *c, const struct content *content)
{
    struct blobs *s = &c->blobs;
    if (s->content_count >= LIMIT_STORE_BLOBS) {
        c->counters.over_limit++;
        return;
    }
    if (s->content_count == s->content_capacity) {
        size_t capacity = s->content_capacity ? s->content_capacity * 2 : 256;
        struct content *grown = realloc(s->contents, capacity * sizeof(*grown));
        if (!grown) {
            s->failed = true;
            return;
        }
        s->contents = grown;
        s->content_capacity = capacity;
    }
    s->contents[s->content_count++] = *content;
}

static void contents_free(struct blobs *s)
{
    free(s->contents);
    s->contents = NULL;
    s->content_count = s->content_capacity = 0;
}

/* It came to nothing; whoever decides to try again finds it wanted. */
static void listing_abandon(struct containerd *c, const char *what, const char *why)
{
    contents_free(&c->blobs);
    c->blobs.sync_open = false;
    c->blobs.sync_wanted = true;
    containerd_call_failed(c, what, why);
}

/* --- applying --- */

static void withdraw_unless_found(void *arg, const struct inventory_blob *blob)
{
    struct containerd *c = arg;
    struct digest d = blob->digest;
    const struct content *content = content_find(&c->blobs, &d);
    if ((!content || !content->held) && !blobs_is_probed(c, &d)) {
        blobs_withdraw(c, &d);
    }
}

static size_t hold_found(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    size_t held = 0;
    for (size_t i = 0; i < s->content_count; i++) {
        const struct content *content = &s->contents[i];
        if (content->held) {
            held++;
            if (!blobs_is_probed(c, &content->digest)) {
                (void)blobs_hold(c, &content->digest, content->size_bytes);
            }
        }
    }
    return held;
}

static void listing_apply(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    inventory_batch_begin(c->inventory);
    if (s->by_directory) {
        contents_sort(s);
    } else {
        size_t held = hold_found(c);
        if (held == 0 && s->content_count > 0 && !s->warned_path) {
            log_warn("none of containerd's contents are where they should be",
                     LOG_STR("path", s->directory), LOG_INT("contents", s->content_count));
        }
        s->warned_path = held == 0 && s->content_count > 0;
        s->synced = true;
    }
    inventory_each_blob(c->inventory, &s->root, withdraw_unless_found, c);
    inventory_batch_end(c->inventory);
}

/* --- the directory --- */

static void scan_batch(void *arg, const struct scan_blob *files, size_t count)
{
    struct containerd *c = arg;
    struct blobs *s = &c->blobs;
    for (size_t i = 0; i < count; i++) {
        if (s->by_directory) {
            content_add(c, &(struct content){.digest = files[i].digest, .held = true});
            continue;
        }
        struct content *content = content_find(s, &files[i].digest);
        if (!content) {
            s->strangers++;
            if (s->ask_strangers && s->strangers <= LIMIT_BLOB_STRANGERS) {
                blobs_probe(c, &files[i].digest);
            }
        } else if (content->size_bytes == files[i].size_bytes) {
            content->held = true;
        } else {
            c->counters.wrong_sizes++;
        }
    }
}

static void scan_ended(void *arg, int status)
{
    struct containerd *c = arg;
    struct blobs *s = &c->blobs;
    s->scan = NULL;
    if (status < 0 || s->failed) {
        listing_abandon(c, "listing the content directory", strerror(status ? -status : ENOMEM));
        return;
    }
    listing_apply(c);
    contents_free(s);
    s->sync_open = false;
    containerd_listing_ended(c);
    listing_pump(c);
    blobs_pump(c);
}

static void scan_start(struct containerd *c)
{
    c->blobs.strangers = 0;
    int r = scan_blobs(c->loop, c->blobs.root.path, scan_batch, scan_ended, c, &c->blobs.scan);
    if (r < 0) {
        c->blobs.scan = NULL;
        listing_abandon(c, "listing the content directory", strerror(-r));
    }
}

/* --- containerd's list --- */

static void list_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, blobs.list);
    Content__ListResponse *list = content__list_response__unpack(NULL, n, bytes);
    if (!list) {
        c->blobs.failed = true;
        return;
    }
    for (size_t i = 0; i < list->n_info; i++) {
        const Content__Info *info = list->info[i];
        struct content content = {.size_bytes = info->size};
        int r = digest_parse(info->digest, strlen(info->digest), &content.digest);
        if (r == 0 && info->size >= 0) {
            content_add(c, &content);
        } else if (r != -ENOTSUP) {
            c->counters.malformed_contents++;
        }
    }
    content__list_response__free_unpacked(list, NULL);
}

static void list_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, blobs.list);
    if (status->error || c->blobs.failed) {
        listing_abandon(c, "listing contents",
                        status->error ? status->text : "out of memory, or not a message we know");
        return;
    }
    contents_sort(&c->blobs);
    scan_start(c);
}

static void list_start(struct containerd *c)
{
    Content__ListRequest request = CONTENT__LIST_REQUEST__INIT;
    c->blobs.list.on_message = list_message;
    c->blobs.list.on_done = list_done;
    int r = containerd_call(c, &c->blobs.list, GRPC_CONTENT_LIST, &request.base, true,
                            LIMIT_STORE_LIST_MS);
    if (r < 0) {
        listing_abandon(c, "listing contents", strerror(-r));
    }
}

/* --- life --- */

void listing_pump(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    bool by_directory = c->phase == CONTAINERD_DOWN;
    if (!s->sync_wanted || s->sync_open || !s->root.path || c->phase == CONTAINERD_ASKING ||
        (!by_directory && !rpc_is_up(c->rpc))) {
        return;
    }
    c->counters.rescans++;
    s->ask_strangers = s->appeared && !by_directory;
    s->appeared = s->appeared && by_directory;
    s->sync_wanted = false;
    s->sync_open = true;
    s->failed = false;
    s->by_directory = by_directory;
    if (by_directory) {
        scan_start(c);
    } else {
        list_start(c);
    }
}

void listing_want(struct containerd *c)
{
    c->blobs.sync_wanted = true;
    listing_pump(c);
}

/* What a listing was to find out about files that are gone is found out without containerd. */
void listing_disconnected(struct containerd *c)
{
    struct blobs *s = &c->blobs;
    s->synced = false;
    if (s->sync_open && !s->by_directory) {
        scan_free(s->scan);
        s->scan = NULL;
        contents_free(s);
        s->sync_open = false;
        s->sync_wanted = true;
    }
    listing_pump(c);
}

void listing_done(struct containerd *c)
{
    scan_free(c->blobs.scan);
    c->blobs.scan = NULL;
    contents_free(&c->blobs);
}
