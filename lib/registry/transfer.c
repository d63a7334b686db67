#include "registry/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/head.h"
#include "oci/range.h"
#include "registry/answer.h"
#include "registry/relay.h"

#define FIELDS_BYTES 4096

static void transfer_free(struct transfer *t)
{
    race_stop(&t->race);
    guide_stop(&t->guide);
    if (t->flight) {
        cold_flight_leave(t->flight);
    }
    timer_stop(&t->look_again);
    attempt_free(t->verified);
    buf_done(&t->attempts);
    list_remove(&t->link);
    t->mirror->transfer_count--;
    free(t);
}

void transfer_abandon(struct transfer *t)
{
    transfer_free(t);
}

/* --- no answer from anybody --- */

void transfer_refuse(struct conn *c, const struct mirror_query *query, const char *message,
                     const struct buf *attempts)
{
    struct buf detail;
    buf_init(&detail, LIMIT_ATTEMPTS_JSON_BYTES + 64);
    bool has = attempts && attempts->len > 0;
    int r = buf_printf(&detail, "{\"attempts\":[%s]}", has ? attempts->data : "");
    answer_problem(c, 404, query->kind == MIRROR_MANIFEST ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN",
                   message, r == 0 ? detail.data : NULL);
    buf_done(&detail);
}

static void transfer_resolved(struct transfer *t)
{
    struct mirror *m = t->mirror;
    if (m->resolved) {
        m->resolved(m->resolved_arg, (double)(clock_now_us() - t->started_us) / 1e6);
    }
}

static void transfer_miss(struct transfer *t, const char *message)
{
    t->mirror->counters.misses++;
    transfer_resolved(t);
    transfer_refuse(t->conn, &t->query, message, &t->attempts);
    transfer_free(t);
}

void transfer_let_go(struct transfer *t)
{
    transfer_miss(t, "this node is leaving");
}

/* --- somebody has it --- */

static int hit_fields(const struct transfer *t, const struct attempt *winner, struct buf *fields)
{
    char digest[DIGEST_TEXT_BYTES], etag[DIGEST_TEXT_BYTES + 2], range[96];
    const struct mirror_query *q = &t->query;
    const struct want *found = &winner->want;
    bool blob = q->kind == MIRROR_BLOB;
    digest_format(&winner->digest, digest);
    int r = http_head_field(fields, "Content-Type",
                            blob ? "application/octet-stream" : winner->content_type);
    if (r == 0) {
        r = http_head_field(fields, "Docker-Content-Digest", digest);
    }
    if (r == 0) { /* as from the store: a Range request with If-Range may be answered by either */
        (void)snprintf(etag, sizeof(etag), "\"%s\"", digest);
        r = http_head_field(fields, "ETag", etag);
    }
    if (r == 0 && q->registry[0]) {
        r = http_head_field(fields, "OCI-Namespace", q->registry);
    }
    if (r == 0 && blob) {
        r = http_head_field(fields, "Accept-Ranges", "bytes");
    }
    if (r == 0 && found->partial) {
        (void)snprintf(range, sizeof(range), "bytes %lld-%lld/%lld", (long long)found->first,
                       (long long)found->last, (long long)found->total);
        r = http_head_field(fields, "Content-Range", range);
    }
    return r;
}

static void transfer_over(void *arg, int status)
{
    (void)status;
    transfer_free(arg);
}

static void memory_sent(struct memory_body *b, int status)
{
    transfer_over(CONTAINER_OF(b, struct transfer, memory), status);
}

static void answer_unsatisfiable(struct transfer *t, struct attempt *winner)
{
    char range[48];
    struct buf fields;
    struct conn *c = t->conn;
    buf_init(&fields, FIELDS_BYTES);
    (void)snprintf(range, sizeof(range), "bytes */%lld", (long long)winner->want.total);
    if (http_head_field(&fields, "Content-Range", range) < 0) {
        transfer_refuse(c, &t->query, "out of memory", NULL);
    } else {
        server_respond(c, 416, &fields, NULL, 0);
    }
    buf_done(&fields);
    attempt_free(winner);
    transfer_free(t);
}

static void answer_body(struct transfer *t, struct attempt *winner, const struct buf *fields)
{
    struct conn *c = t->conn;
    int status = winner->want.partial ? 206 : 200;
    t->conn = NULL; /* from here on its end is told to the body */
    if (!winner->streams) {
        t->verified = winner;
        memory_body_init(&t->memory, winner->bytes, winner->got_bytes, memory_sent);
        server_respond_body(c, status, fields, (int64_t)winner->got_bytes, &t->memory.body);
    } else if (relay_start(t->mirror, c, status, fields, &t->query, winner, t->hashes,
                           t->flight ? &t->guide : NULL, transfer_over, t) < 0) {
        attempt_free(winner);
        transfer_refuse(c, &t->query, "out of memory", NULL);
        transfer_free(t);
    }
}

static void transfer_won(struct transfer *t, struct attempt *winner)
{
    struct mirror *m = t->mirror;
    m->counters.hits++;
    m->counters.last_success_unix_s = (double)clock_wall_ms() / 1000;
    transfer_resolved(t);
    if (winner->unsatisfiable) {
        answer_unsatisfiable(t, winner);
        return;
    }
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    if (hit_fields(t, winner, &fields) < 0) {
        attempt_free(winner);
        transfer_refuse(t->conn, &t->query, "out of memory", NULL);
        transfer_free(t);
    } else if (t->query.head || winner->want.total == 0) {
        struct conn *c = t->conn;
        int64_t length = winner->want.total;
        attempt_free(winner);
        transfer_free(t);
        server_respond_head(c, 200, &fields, length);
    } else {
        answer_body(t, winner, &fields);
    }
    buf_done(&fields);
}

static void on_race_won(struct race *race, struct attempt *winner)
{
    transfer_won(CONTAINER_OF(race, struct transfer, race), winner);
}

static bool transfer_goes_cold(struct transfer *t, size_t holders);

static void on_race_lost(struct race *race)
{
    struct transfer *t = CONTAINER_OF(race, struct transfer, race);
    /* Holders that are busy are as good as few: the arbiter spreads those who ask. */
    if (race->met_busy && transfer_goes_cold(t, 0) && guide_start(&t->guide, &t->want) == 0) {
        return;
    }
    transfer_miss(t, "no peer could give it");
}

static void on_guide_won(struct guide *g, struct attempt *winner)
{
    transfer_won(g->arg, winner);
}

static void transfer_look(void *arg);

/* Granted: what others hold is theirs to give; else containerd fetches it, with its credentials. */
static void on_guide_ended(struct guide *g, enum guide_end why)
{
    struct transfer *t = g->arg;
    t->guided = true;
    t->is_granted = why == GUIDE_GRANTED;
    transfer_look(t);
}

/* --- look-up --- */

/* Nobody holds it, or so few that all who ask at once would be too much for them. A manifest is
 * small: whoever has it gives it. */
static bool transfer_goes_cold(struct transfer *t, size_t holders)
{
    const struct mirror_query *q = &t->query;
    if (!q->cold || q->head || t->guided || t->guide.running || holders >= LIMIT_COLD_FEW_HOLDERS ||
        (holders > 0 && q->kind == MIRROR_MANIFEST)) {
        return false;
    }
    t->flight = t->flight ? t->flight : cold_flight_join(t->mirror->config.cold, &q->digest);
    if (!t->flight) {
        return false;
    }
    t->guide.mirror = t->mirror;
    t->guide.cold = t->mirror->config.cold;
    t->guide.flight = t->flight;
    t->guide.log = &t->attempts;
    t->guide.won = on_guide_won;
    t->guide.ended = on_guide_ended;
    t->guide.arg = t;
    return true;
}

static void transfer_look(void *arg)
{
    struct transfer *t = arg;
    struct mirror *m = t->mirror;
    struct mirror_holder holders[RACE_HOLDERS];
    size_t known, retries = m->config.resolve_retries ? m->config.resolve_retries : 1;
    size_t count = mirror_holders(m, &t->query, &t->key, holders, RACE_HOLDERS, &known);
    if (transfer_goes_cold(t, count) && guide_start(&t->guide, &t->want) == 0) {
        return;
    }
    if (known == 0 && !t->is_granted && loop_now_ms(m->loop) < t->look_until_ms &&
        timer_start(&t->look_again, LIMIT_LOOKUP_AGAIN_MS) == 0) {
        return;
    }
    if (t->is_granted && t->hashes &&
        doubt_is_young(&m->doubt, &t->key, LIMIT_COLD_DOUBT_MS, loop_now_ms(m->loop))) {
        count = 0; /* upstream first; if that does not help for long, they are the last resort */
    }
    count = count > retries ? retries : count;
    if (race_start(&t->race, m, &t->want, holders, count) < 0) {
        transfer_miss(t, t->is_granted ? "this node is to fetch it from upstream"
                         : known == 0  ? "no peer has it"
                                       : "no peer that has it is fit to be asked");
    }
}

/* A blob asked for from its start by our own containerd: was it delivered before, in vain? */
static void transfer_consider_doubt(struct transfer *t)
{
    struct mirror *m = t->mirror;
    const struct mirror_query *q = &t->query;
    if (!q->local_client || q->kind != MIRROR_BLOB || q->head || q->range) {
        return;
    }
    size_t fresh;
    uint64_t now_ms = loop_now_ms(m->loop);
    bool held = m->config.held && m->config.held(m->config.arg, &q->digest);
    t->hashes = doubt_asked_from_start(&m->doubt, &q->digest, held, now_ms, &fresh);
    m->counters.doubted += fresh;
    if (fresh == 0) {
        return;
    }
    struct mirror_holder holders[RACE_HOLDERS];
    size_t n = m->config.lookup(m->config.arg, &q->digest, NULL, holders, RACE_HOLDERS);
    for (size_t i = 0; i < n; i++) {
        if (doubt_is_doubted(&m->doubt, &q->digest, holders[i].node_id, now_ms)) {
            mirror_tell(m, q, &holders[i]);
        }
    }
}

static void transfer_copy_query(struct transfer *t, const struct mirror_query *query)
{
    int64_t first, last;
    bool whole_only = query->head || query->kind == MIRROR_MANIFEST;
    t->query = *query;
    (void)snprintf(t->registry, sizeof(t->registry), "%s", query->registry);
    (void)snprintf(t->repository, sizeof(t->repository), "%s", query->repository);
    (void)snprintf(t->tag, sizeof(t->tag), "%s", query->tag ? query->tag : "");
    t->query.registry = t->registry;
    t->query.repository = t->repository;
    t->query.tag = query->tag ? t->tag : NULL;
    t->query.range = NULL;
    if (query->range && !whole_only && strlen(query->range) < sizeof(t->range) &&
        range_parse(query->range, INT64_MAX, &first, &last) != RANGE_WHOLE) {
        (void)snprintf(t->range, sizeof(t->range), "%s", query->range);
        t->query.range = t->range;
    }
    mirror_key(&t->query, &t->key);
    t->want = (struct want){.query = &t->query, .by_digest = !query->tag};
    t->want.whole_only = whole_only;
}

void transfer_start(struct mirror *m, struct conn *c, const struct mirror_query *query)
{
    struct transfer *t = calloc(1, sizeof(*t));
    if (!t) {
        m->counters.misses++;
        transfer_refuse(c, query, "out of memory", NULL);
        return;
    }
    t->mirror = m;
    t->conn = c;
    transfer_copy_query(t, query);
    buf_init(&t->attempts, LIMIT_ATTEMPTS_JSON_BYTES);
    list_init(&t->link);
    list_push_back(&m->transfers, &t->link);
    m->transfer_count++;
    timer_init(&t->look_again, m->loop, transfer_look, t);
    t->started_us = clock_now_us();
    t->race.won = on_race_won;
    t->race.lost = on_race_lost;
    t->race.log = &t->attempts;
    bool settled = m->config.settled && m->config.settled(m->config.arg);
    t->look_until_ms = settled ? 0 : loop_now_ms(m->loop) + m->config.resolve_timeout_ms;
    transfer_consider_doubt(t);
    transfer_look(t);
}
