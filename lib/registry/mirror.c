#include "registry/mirror.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/head.h"
#include "registry/blame.h"
#include "registry/mirror_internal.h"
#include "registry/transfer.h"

int mirror_new(struct loop *loop, const struct mirror_config *config, struct mirror **ret_mirror)
{
    struct mirror *m = calloc(1, sizeof(*m));
    if (!m) {
        return -ENOMEM;
    }
    m->loop = loop;
    m->config = *config;
    list_init(&m->transfers);
    budget_init(&m->budget, loop, LIMIT_VERIFY_BUDGET_BYTES);
    doubt_init(&m->doubt);
    marks_init(&m->failed, LIMIT_FAILED_DIGESTS);
    own_check_init(&m->own_check, loop);
    teller_init(&m->teller);
    m->pipes = pipe_pool_new();
    int r = m->pipes ? multi_new(loop, &m->multi) : -ENOMEM;
    if (r == 0) {
        r = peer_pool_new(m->multi, &m->peers);
    }
    if (r < 0) {
        mirror_free(m);
        return r;
    }
    *ret_mirror = m;
    return 0;
}

void mirror_free(struct mirror *m)
{
    if (!m) {
        return;
    }
    CHECK(list_empty(&m->transfers));
    teller_done(&m->teller);
    own_check_done(&m->own_check);
    peer_pool_free(m->peers);
    multi_free(m->multi);
    pipe_pool_free(m->pipes);
    budget_done(&m->budget);
    doubt_done(&m->doubt);
    marks_done(&m->failed);
    free(m);
}

void mirror_answer(struct mirror *m, struct conn *c, const struct mirror_query *query)
{
    if (m->transfer_count >= LIMIT_STREAMS) {
        /* Peers never come this way, and containerd goes upstream on 404. */
        m->counters.over_cap++;
        transfer_refuse(c, query, "too many requests are being mirrored", NULL);
    } else {
        transfer_start(m, c, query);
    }
}

void mirror_gone(struct mirror *m, struct conn *c)
{
    LIST_EACH (link, &m->transfers) {
        struct transfer *t = CONTAINER_OF(link, struct transfer, link);
        if (t->conn == c) {
            transfer_abandon(t);
            return;
        }
    }
}

void mirror_let_go(struct mirror *m)
{
    LIST_EACH_SAFE (link, &m->transfers) {
        struct transfer *t = CONTAINER_OF(link, struct transfer, link);
        if (t->conn && t->guide.running) {
            transfer_let_go(t);
        }
    }
}

void mirror_check_own(struct mirror *m, const struct digest *digest, int fd,
                      void (*wrong)(void *arg, const struct digest *digest), void *arg)
{
    own_check_start(&m->own_check, digest, fd, wrong, arg);
}

void mirror_appeared(struct mirror *m, const struct digest *digest)
{
    doubt_appeared(&m->doubt, digest);
}

static bool is_holder(struct mirror *m, const struct digest *digest, uint64_t id)
{
    struct mirror_holder holders[RACE_HOLDERS];
    size_t count = m->config.lookup(m->config.arg, digest, NULL, holders, RACE_HOLDERS);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || blame_id(holders[i].node_id) == id;
    }
    return found;
}

void mirror_copy_wrong(struct mirror *m, const struct digest *digest, uint64_t giver,
                       uint64_t origin)
{
    struct mirror_holder culprit;
    char text[DIGEST_TEXT_BYTES], address[ADDRESS_TEXT_BYTES] = "unknown";
    uint64_t id = is_holder(m, digest, giver) ? giver : origin;
    if (id && m->config.member && m->config.member(m->config.arg, id, &culprit)) {
        m->counters.convicted++;
        doubt_convict(&m->doubt, culprit.node_id, loop_now_ms(m->loop));
        address_format(&culprit.address.sa, address);
        if (id != giver) {
            doubt_appeared(&m->doubt, digest); /* the giver is cleared */
        }
    }
    digest_format(digest, text);
    log_warn("what a peer sent was wrong", LOG_STR("digest", text), LOG_STR("culprit", address));
}

void mirror_node_restarted(struct mirror *m, const uint8_t node_id[6])
{
    doubt_forget_node(&m->doubt, node_id);
    marks_forget_node(&m->failed, node_id);
}

const struct mirror_counters *mirror_counters(const struct mirror *m)
{
    return &m->counters;
}

void mirror_on_resolved(struct mirror *m, void (*fn)(void *arg, double seconds), void *arg)
{
    m->resolved = fn;
    m->resolved_arg = arg;
}

/* --- who is to be asked --- */

#define TAG_KEY_BYTES (REFERENCE_REGISTRY_BYTES + REFERENCE_REPOSITORY_BYTES + REFERENCE_TAG_BYTES)

static void tag_name(const struct mirror_query *query, char ret_name[TAG_KEY_BYTES])
{
    (void)snprintf(ret_name, TAG_KEY_BYTES, "%s/%s:%s", query->registry, query->repository,
                   query->tag);
}

void mirror_key(const struct mirror_query *query, struct digest *ret_key)
{
    char name[TAG_KEY_BYTES];
    if (query->tag) {
        tag_name(query, name);
        digest_of(name, strlen(name), ret_key);
    } else {
        *ret_key = query->digest;
    }
}

/* A mark in mirror.failed has the kind of what was asked for: MIRROR_MANIFEST or MIRROR_BLOB. */
static bool failed_recently(const struct mirror *m, const struct mirror_query *query,
                            const struct digest *key, const struct mirror_holder *holder)
{
    const struct mark *mark = marks_get(&m->failed, key, holder->node_id);
    return mark && mark->kind == query->kind &&
           loop_now_ms(m->loop) - mark->at_ms < LIMIT_FAILED_MS;
}

void mirror_mark_failed(struct mirror *m, const struct mirror_query *query,
                        const struct digest *key, const struct mirror_holder *holder)
{
    (void)marks_set(&m->failed, key, holder->node_id, (uint8_t)query->kind, loop_now_ms(m->loop));
}

size_t mirror_holders(struct mirror *m, const struct mirror_query *query, const struct digest *key,
                      struct mirror_holder *ret_holders, size_t max, size_t *ret_known)
{
    struct mirror_holder doubted[RACE_HOLDERS];
    char tag[TAG_KEY_BYTES];
    size_t good_count = 0, doubted_count = 0;
    uint64_t now_ms = loop_now_ms(m->loop);
    CHECK(max <= RACE_HOLDERS);
    if (query->tag) {
        tag_name(query, tag);
    }
    *ret_known = m->config.lookup(m->config.arg, query->tag ? NULL : &query->digest,
                                  query->tag ? tag : NULL, ret_holders, max);
    CHECK(*ret_known <= max);
    for (size_t i = 0; i < *ret_known; i++) {
        const struct mirror_holder holder = ret_holders[i];
        if (failed_recently(m, query, key, &holder) ||
            doubt_is_excluded(&m->doubt, key, holder.node_id) ||
            doubt_is_convicted(&m->doubt, holder.node_id, LIMIT_COLD_DOUBT_MS, now_ms)) {
            continue;
        }
        if (doubt_is_doubted(&m->doubt, key, holder.node_id, now_ms) ||
            doubt_is_convicted(&m->doubt, holder.node_id, LIMIT_DOUBT_MS, now_ms)) {
            doubted[doubted_count++] = holder;
        } else {
            ret_holders[good_count++] = holder;
        }
    }
    memcpy(ret_holders + good_count, doubted, doubted_count * sizeof(doubted[0]));
    return good_count + doubted_count;
}

void mirror_note_attempt(struct buf *log, const struct mirror_holder *holder, const char *outcome)
{
    char address[ADDRESS_TEXT_BYTES];
    if (log) {
        address_format(&holder->address.sa, address);
        /* Full is full: detail is for people. Both texts are ours and need no escaping. */
        (void)buf_printf(log, "%s{\"holder\":\"%s\",\"outcome\":\"%s\"}", log->len ? "," : "",
                         address, outcome);
    }
}

int mirror_write_holders(struct mirror *m, const struct digest *digest, struct buf *json)
{
    struct mirror_holder holders[LIMIT_COLD_FEW_HOLDERS];
    char address[ADDRESS_TEXT_BYTES];
    size_t count = m->config.lookup(m->config.arg, digest, NULL, holders, LIMIT_COLD_FEW_HOLDERS);
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        address_format(&holders[i].address.sa, address);
        r = buf_printf(json, "%s\"%s\"", i ? "," : "", address);
    }
    return r;
}

/* --- what they are sent --- */

/* RFC 3986 section 3.4; a registry is host[:port], so little needs it. */
static int append_encoded(struct buf *out, const char *text)
{
    int r = 0;
    for (const char *p = text; *p && r == 0; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~:", *p);
        r = plain ? buf_append(out, p, 1) : buf_printf(out, "%%%02X", (unsigned char)*p);
    }
    return r;
}

int mirror_write_target(const struct mirror_query *query, struct buf *ret_target)
{
    char digest[DIGEST_TEXT_BYTES] = "";
    if (!query->tag) {
        digest_format(&query->digest, digest);
    }
    int r = buf_printf(ret_target, "/v2/%s/%s/%s", query->repository,
                       query->kind == MIRROR_MANIFEST ? "manifests" : "blobs",
                       query->tag ? query->tag : digest);
    if (r == 0 && query->registry[0]) {
        r = buf_puts(ret_target, "?ns=");
        if (r == 0) {
            r = append_encoded(ret_target, query->registry);
        }
    }
    return r;
}

/* A request by digest that may go to another holder, or to whoever fetches it, says so. */
static bool write_badge(const struct mirror *m, const struct want *want,
                        const struct mirror_holder *to, char ret_text[GOSSIP_BADGE_TEXT_BYTES])
{
    return want->query->cold && m->config.badge &&
           m->config.badge(m->config.arg, to->node_id, &want->query->digest, want->follows,
                           ret_text);
}

int mirror_write_fields(struct mirror *m, const struct want *want, const struct mirror_holder *to,
                        struct buf *ret_fields)
{
    char range[64], badge[GOSSIP_BADGE_TEXT_BYTES];
    const char *authorization =
        m->config.authorization ? m->config.authorization(m->config.arg) : NULL;
    int r = http_head_field(ret_fields, "X-Spegel-Mirrored", "true");
    if (r == 0 && write_badge(m, want, to, badge)) {
        r = http_head_field(ret_fields, "X-Spegel-Follow", badge);
    }
    if (r == 0 && authorization) {
        r = http_head_field(ret_fields, "Authorization", authorization);
    }
    if (r == 0 && want->fixed) {
        (void)snprintf(range, sizeof(range), "bytes=%lld-%lld", (long long)want->first,
                       (long long)want->last);
        r = http_head_field(ret_fields, "Range", range);
    } else if (r == 0 && want->query->range && !want->whole_only) {
        r = http_head_field(ret_fields, "Range", want->query->range);
    }
    return r;
}
