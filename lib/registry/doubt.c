#include "registry/doubt.h"

#include <string.h>

#include "base/limits.h"

enum doubt_kind {
    DOUBT_CONTRIBUTED,
    DOUBT_DELIVERED,
    DOUBT_DOUBTED,
    DOUBT_EXCLUDED, /* stays, whatever else happens */
};

void doubt_init(struct doubt *d)
{
    *d = (struct doubt){0};
    marks_init(&d->marks, LIMIT_DOUBTS);
}

void doubt_done(struct doubt *d)
{
    marks_done(&d->marks);
}

static bool is_recent(const struct mark *mark, uint64_t now_ms)
{
    return now_ms - mark->at_ms < LIMIT_DOUBT_MS;
}

/* Backwards, because clearing one moves the last into its place; marks_clear frees the digest's
 * entry with its last mark. */
static void forget_stale(struct doubt *d, const struct digest *digest, bool held, uint64_t now_ms)
{
    size_t count;
    struct mark *marks = marks_of(&d->marks, digest, &count);
    for (size_t i = count; i-- > 0;) {
        bool partial = marks[i].kind == DOUBT_CONTRIBUTED;
        bool void_now = marks[i].kind != DOUBT_EXCLUDED && (held || !is_recent(&marks[i], now_ms));
        if (partial || void_now) {
            const struct mark gone = marks[i];
            marks_clear(&d->marks, digest, gone.node_id);
        }
    }
}

bool doubt_asked_from_start(struct doubt *d, const struct digest *digest, bool held,
                            uint64_t now_ms, size_t *ret_new)
{
    forget_stale(d, digest, held, now_ms);
    size_t count, doubted = 0;
    struct mark *marks = marks_of(&d->marks, digest, &count);
    *ret_new = 0;
    for (size_t i = 0; i < count; i++) {
        if (marks[i].kind == DOUBT_DELIVERED) {
            marks[i].kind = DOUBT_DOUBTED;
            marks[i].at_ms = now_ms;
            ++*ret_new;
        }
        doubted += marks[i].kind >= DOUBT_DOUBTED && is_recent(&marks[i], now_ms);
    }
    return doubted > 0;
}

void doubt_appeared(struct doubt *d, const struct digest *digest)
{
    forget_stale(d, digest, true, 0);
}

static void raise_to(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                     enum doubt_kind kind, uint64_t now_ms)
{
    const struct mark *mark = marks_get(&d->marks, digest, node_id);
    if (!mark || mark->kind <= kind) {
        (void)marks_set(&d->marks, digest, node_id, (uint8_t)kind, now_ms);
    }
}

void doubt_contributed(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                       uint64_t now_ms)
{
    raise_to(d, digest, node_id, DOUBT_CONTRIBUTED, now_ms);
}

void doubt_delivered(struct doubt *d, const struct digest *digest, uint64_t now_ms)
{
    size_t count;
    struct mark *marks = marks_of(&d->marks, digest, &count);
    for (size_t i = 0; i < count; i++) {
        if (marks[i].kind == DOUBT_CONTRIBUTED) {
            marks[i].kind = DOUBT_DELIVERED;
            marks[i].at_ms = now_ms;
        }
    }
}

void doubt_verified(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                    bool match, uint64_t now_ms)
{
    if (match) {
        marks_clear(&d->marks, digest, node_id);
    } else {
        raise_to(d, digest, node_id, DOUBT_EXCLUDED, now_ms);
    }
}

void doubt_suspect(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                   uint64_t now_ms)
{
    raise_to(d, digest, node_id, DOUBT_DOUBTED, now_ms);
}

bool doubt_is_doubted(const struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                      uint64_t now_ms)
{
    const struct mark *mark = marks_get(&d->marks, digest, node_id);
    return mark && mark->kind == DOUBT_DOUBTED && is_recent(mark, now_ms);
}

size_t doubt_whom(const struct doubt *d, const struct digest *digest, uint64_t now_ms,
                  uint8_t (*ret_node_ids)[MARKS_NODE_BYTES], size_t max)
{
    size_t count, found = 0;
    const struct mark *marks = marks_of(&d->marks, digest, &count);
    for (size_t i = 0; i < count && found < max; i++) {
        if (marks[i].kind == DOUBT_EXCLUDED ||
            (marks[i].kind == DOUBT_DOUBTED && is_recent(&marks[i], now_ms))) {
            memcpy(ret_node_ids[found++], marks[i].node_id, MARKS_NODE_BYTES);
        }
    }
    return found;
}

bool doubt_is_young(const struct doubt *d, const struct digest *digest, uint64_t young_ms,
                    uint64_t now_ms)
{
    size_t count;
    const struct mark *marks = marks_of(&d->marks, digest, &count);
    for (size_t i = 0; i < count; i++) {
        if (marks[i].kind >= DOUBT_DOUBTED && now_ms - marks[i].at_ms < young_ms) {
            return true;
        }
    }
    return false;
}

bool doubt_is_excluded(const struct doubt *d, const struct digest *digest, const uint8_t *node_id)
{
    const struct mark *mark = marks_get(&d->marks, digest, node_id);
    return mark && mark->kind == DOUBT_EXCLUDED;
}

/* --- convicts --- */

static void convict_forget(struct doubt *d, const uint8_t *node_id)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->convict_count; i++) {
        if (memcmp(d->convicts[i].node_id, node_id, MARKS_NODE_BYTES) != 0) {
            d->convicts[kept++] = d->convicts[i];
        }
    }
    d->convict_count = kept;
}

void doubt_convict(struct doubt *d, const uint8_t *node_id, uint64_t now_ms)
{
    convict_forget(d, node_id);
    d->convict_count -= d->convict_count == DOUBT_CONVICTS;
    memmove(&d->convicts[1], &d->convicts[0], d->convict_count * sizeof(d->convicts[0]));
    memcpy(d->convicts[0].node_id, node_id, MARKS_NODE_BYTES);
    d->convicts[0].since_ms = now_ms;
    d->convict_count++;
}

bool doubt_is_convicted(const struct doubt *d, const uint8_t *node_id, uint64_t young_ms,
                        uint64_t now_ms)
{
    uint64_t limit_ms = young_ms < LIMIT_DOUBT_MS ? young_ms : LIMIT_DOUBT_MS;
    for (size_t i = 0; i < d->convict_count; i++) {
        if (memcmp(d->convicts[i].node_id, node_id, MARKS_NODE_BYTES) == 0) {
            return now_ms - d->convicts[i].since_ms < limit_ms;
        }
    }
    return false;
}

void doubt_forget_node(struct doubt *d, const uint8_t *node_id)
{
    marks_forget_node(&d->marks, node_id);
    convict_forget(d, node_id);
}
