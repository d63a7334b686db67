#include "store/reader.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "store/scan.h"

struct reader {
    struct loop *loop;
    struct inventory *inventory;
    void (*idle)(void *arg);
    void *arg;
    struct scan *scan;                         /* NULL: none under way */
    struct defer kick;                         /* looks for more in the loop's next turn */
    struct timer retry;                        /* while it runs nothing is read */
    struct digest later[LIMIT_SCAN_MANIFESTS]; /* to be read again then */
    size_t later_count;
    bool kicked; /* since idle was last told */
    bool checks_sizes;
    struct reader_counters counters;
};

static void log_manifest(const struct digest *d, const char *message, const struct error *err)
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(d, text);
    log_warn(message, LOG_STR("digest", text), LOG_STR("err", err->text));
}

/* Whatever the machine lacks now it lacks for all files, so everything waits a moment. */
static void keep_for_later(struct reader *r, const struct digest *d)
{
    r->later[r->later_count++] = *d;
    r->counters.retried++;
}

static void reader_compare_sizes(struct reader *r, const struct manifest *m)
{
    for (size_t i = 0; i < m->child_count; i++) {
        const struct manifest_child *child = &m->children[i];
        const struct inventory_blob *blob = inventory_blob(r->inventory, &child->digest);
        if (blob && child->size_bytes >= 0 && blob->size_bytes != child->size_bytes) {
            char text[DIGEST_TEXT_BYTES];
            digest_format(&child->digest, text);
            log_warn("a blob's file has another size than its manifest says: withdrawn",
                     LOG_STR("digest", text), LOG_INT("is", blob->size_bytes),
                     LOG_INT("said", child->size_bytes));
            r->counters.wrong_sizes++;
            inventory_condemn(r->inventory, &child->digest);
        }
    }
}

static void reader_told(void *arg, const struct digest *d, int status, const struct manifest *m,
                        const struct error *err)
{
    struct reader *r = arg;
    const struct inventory_blob *blob = inventory_blob(r->inventory, d);
    if (!blob) {
        return; /* withdrawn meanwhile */
    }
    switch (status) {
    case 0:
        if (inventory_set_manifest(r->inventory, d, m) < 0) {
            keep_for_later(r, d);
        } else if (r->checks_sizes) {
            reader_compare_sizes(r, m);
        }
        r->counters.read++;
        break;
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
        keep_for_later(r, d);
        break;
    case -EBADMSG:
        r->counters.corrupt++;
        log_manifest(d, "a manifest's file does not match its digest: withdrawn", err);
        inventory_condemn(r->inventory, d);
        break;
    case -EPROTO:
    case -E2BIG:
        r->counters.unparsable++;
        log_manifest(d, "not a manifest, though an image names it as one", err);
        inventory_set_unparsable(r->inventory, d);
        break;
    case -ENOENT:
        r->counters.missing++;
        inventory_remove_copy(r->inventory, d, blob->root);
        break;
    default:
        r->counters.missing++;
        log_manifest(d, "a manifest's file cannot be read: withdrawn", err);
        inventory_remove_copy(r->inventory, d, blob->root);
    }
}

static void tell_idle(struct reader *r)
{
    if (r->kicked) {
        r->kicked = false;
        if (r->idle) {
            r->idle(r->arg);
        }
    }
}

/* Nothing more this second; what cannot be read for a while keeps nobody waiting for idle. */
static void wait_a_moment(struct reader *r)
{
    if (timer_start(&r->retry, LIMIT_READER_RETRY_MS) < 0) {
        defer_start(r->loop, &r->kick);
    }
    tell_idle(r);
}

static void reader_scanned(void *arg, int status)
{
    struct reader *r = arg;
    (void)status; /* one step, which has begun: it tells of every manifest */
    r->scan = NULL;
    if (r->later_count) {
        wait_a_moment(r);
    } else {
        defer_start(r->loop, &r->kick);
    }
}

static void read_again(struct reader *r)
{
    for (size_t i = 0; i < r->later_count; i++) {
        inventory_recheck(r->inventory, &r->later[i]);
    }
    r->later_count = 0;
}

static void reader_go(void *arg)
{
    struct reader *r = arg;
    struct digest digests[LIMIT_SCAN_MANIFESTS];
    struct scan_wanted wanted[LIMIT_SCAN_MANIFESTS];
    if (r->scan || timer_running(&r->retry)) {
        return;
    }
    read_again(r);
    size_t count = inventory_unparsed(r->inventory, digests, LIMIT_SCAN_MANIFESTS);
    for (size_t i = 0; i < count; i++) {
        const struct inventory_blob *blob = inventory_blob(r->inventory, &digests[i]);
        wanted[i] = (struct scan_wanted){.digest = digests[i], .root_path = blob->root->path};
    }
    if (count == 0) {
        tell_idle(r);
    } else if (scan_manifests(r->loop, wanted, count, reader_told, reader_scanned, r, &r->scan) <
               0) {
        for (size_t i = 0; i < count; i++) {
            keep_for_later(r, &digests[i]);
        }
        wait_a_moment(r);
    }
}

int reader_new(struct loop *loop, struct inventory *inventory, void (*idle)(void *arg), void *arg,
               struct reader **ret_reader)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r) {
        return -ENOMEM;
    }
    r->loop = loop;
    r->inventory = inventory;
    r->idle = idle;
    r->arg = arg;
    defer_init(&r->kick, reader_go, r);
    timer_init(&r->retry, loop, reader_go, r);
    *ret_reader = r;
    return 0;
}

void reader_check_sizes(struct reader *r)
{
    r->checks_sizes = true;
}

void reader_free(struct reader *r)
{
    if (r) {
        scan_free(r->scan);
        defer_stop(&r->kick);
        timer_stop(&r->retry);
        free(r);
    }
}

void reader_kick(struct reader *r)
{
    r->kicked = true;
    defer_start(r->loop, &r->kick);
}

bool reader_is_idle(const struct reader *r)
{
    return !r->scan && !r->kicked;
}

const struct reader_counters *reader_counters(const struct reader *r)
{
    return &r->counters;
}
