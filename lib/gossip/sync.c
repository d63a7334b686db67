/* sync.c - anti-entropy: two nodes whose cluster hashes differ find out where.
 *
 *     A  SUM (hash of each bucket of members)           → B
 *     A  ← ENT (all of one differing bucket), ...         B
 *     A  asks for what B knows better, tells B what A knows better
 *
 * Nothing here depends on an earlier message having arrived: each can be answered by itself, and a
 * lost one is made up for by the next round. */
#include "gossip/state.h"

#define DIFFERS_FOR_MS 400
#define DIFFERS_ANYWAY_MS 5000
#define EVERY_MS 1000
#define PACKETS_MAX 4
#define ENTRIES_MAX ((GOSSIP_BODY_BYTES - 3 - 6) / GOSSIP_ENTRY_BYTES) /* in a packet alone */

unsigned gossip_bucket_of(uint64_t id, unsigned bits)
{
    return (unsigned)(gossip_mix(id) >> (64 - bits));
}

unsigned gossip_bucket_bits(const struct gossip *g)
{
    unsigned bits = GOSSIP_BUCKET_BITS_MIN;
    while (bits < GOSSIP_BUCKET_BITS_MAX && (size_t)2 << bits < g->live) {
        bits++;
    }
    return bits;
}

void gossip_bucket_hashes(const struct gossip *g, unsigned bits,
                          uint64_t ret_hashes[1 << GOSSIP_BUCKET_BITS_MAX])
{
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        ret_hashes[i] = 0;
    }
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        ret_hashes[gossip_bucket_of(m->id, bits)] ^= m->contribution;
    }
}

void gossip_hear_hash(struct gossip *g, struct gossip_member *peer, uint64_t cluster_hash,
                      const struct gossip_addr *from)
{
    uint64_t hashes[1 << GOSSIP_BUCKET_BITS_MAX];
    unsigned bits = gossip_bucket_bits(g);
    struct gossip_packet p;
    (void)peer;
    /* While rumours are arriving hashes differ all the time; they are worth comparing once ours has
     * been still for a while. Where it never is, every few seconds anyway. */
    bool still = g->now_ms - g->hash_changed_ms >= DIFFERS_FOR_MS;
    if (cluster_hash == g->cluster_hash || g->now_ms < g->next_sync_ms || g->leaving ||
        !gossip_may_answer(g) || !(still || g->now_ms - g->last_sync_ms >= DIFFERS_ANYWAY_MS)) {
        return;
    }
    g->next_sync_ms = g->now_ms + EVERY_MS;
    g->last_sync_ms = g->now_ms;
    g->stats.syncs++;
    gossip_bucket_hashes(g, bits, hashes);
    gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
    size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_SUM);
    gossip_write8(&p.w, (uint8_t)bits);
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        gossip_write64(&p.w, hashes[i]);
    }
    gossip_write_end(&p.w, mark);
    gossip_packet_send(g, &p, from, 1);
}

static void write_entry(struct gossip_writer *w, const struct gossip_member *m)
{
    bool current = m->set_boot == m->boot;
    gossip_write48(w, m->id);
    gossip_write48(w, m->boot);
    gossip_write16(w, m->incarnation);
    gossip_write8(w, (uint8_t)m->state);
    gossip_write32(w, current ? m->version : 0);
    gossip_write32(w, current ? (uint32_t)m->set_hash : 0);
}

/* A bucket's members, the live first, from a slot on; how many live ones were left out. */
static size_t write_entries(const struct gossip *g, struct gossip_writer *w, unsigned bits,
                            unsigned bucket, size_t start)
{
    size_t slots = g->members.slots, left_out = 0;
    for (int live = 1; live >= 0; live--) {
        for (size_t i = 0; i < slots; i++) {
            const struct gossip_member *m = g->members.by_slot[(start + i) % slots];
            if (!m || gossip_bucket_of(m->id, bits) != bucket || gossip_member_is_live(m) != live) {
                continue;
            }
            if (w->max - w->len >= GOSSIP_ENTRY_BYTES) {
                write_entry(w, m);
            } else {
                left_out += (size_t)live;
            }
        }
    }
    return left_out;
}

/* One bucket; false when not even its head fits any more. Of a bucket that is too large for any
 * packet another part comes each time: else the same members, those who came last to everybody who
 * took the same snapshot, would never be compared. */
static bool write_bucket(const struct gossip *g, struct gossip_writer *w, unsigned bits,
                         unsigned bucket)
{
    if (w->max - w->len < 3 + 6 + GOSSIP_ENTRY_BYTES) {
        return false;
    }
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_ENT);
    gossip_write8(w, (uint8_t)bits);
    gossip_write8(w, (uint8_t)bucket);
    size_t complete_at = w->len;
    gossip_write8(w, 1);
    gossip_write8(w, GOSSIP_ENTRY_BYTES);
    size_t count_at = w->len, entries_at = count_at + 2;
    gossip_write16(w, 0);
    size_t left_out = write_entries(g, w, bits, bucket, 0);
    size_t written = (w->len - entries_at) / GOSSIP_ENTRY_BYTES;
    if (left_out + written > ENTRIES_MAX) {
        w->len = entries_at;
        size_t start = (size_t)(gossip_mix(g->now_ms ^ bucket) % g->members.slots);
        left_out = write_entries(g, w, bits, bucket, start);
        written = (w->len - entries_at) / GOSSIP_ENTRY_BYTES;
    }
    w->bytes[complete_at] = left_out == 0;
    gossip_store16(w->bytes + count_at, (uint16_t)written);
    return gossip_write_end(w, mark);
}

void gossip_hear_sum(struct gossip *g, struct gossip_reader *r, const struct gossip_addr *from)
{
    uint64_t ours[1 << GOSSIP_BUCKET_BITS_MAX] = {0}, theirs[1 << GOSSIP_BUCKET_BITS_MAX] = {0};
    unsigned bits = gossip_read8(r);
    if (bits < GOSSIP_BUCKET_BITS_MIN || bits > GOSSIP_BUCKET_BITS_MAX) {
        g->stats.drop_malformed++;
        return;
    }
    unsigned buckets = 1U << bits;
    for (unsigned i = 0; i < buckets; i++) {
        theirs[i] = gossip_read64(r);
    }
    if (r->failed) {
        g->stats.drop_malformed++;
        return;
    }
    /* Who joins would find everything different, and is asked by everybody who notices. */
    if (!gossip_may_answer(g) || (!g->ready && !g->snapshot_applied)) {
        g->stats.drop_rate++;
        return;
    }
    gossip_bucket_hashes(g, bits, ours);
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
    unsigned start = (unsigned)gossip_random(g) & (buckets - 1);
    for (unsigned i = 0, sent = 0; i < buckets && sent < PACKETS_MAX; i++) {
        unsigned bucket = (start + i) & (buckets - 1);
        if (ours[bucket] == theirs[bucket]) {
            continue;
        }
        if (!write_bucket(g, &p.w, bits, bucket)) {
            gossip_packet_send(g, &p, from, 1);
            gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
            sent++;
            (void)(sent < PACKETS_MAX && write_bucket(g, &p.w, bits, bucket));
        }
    }
    gossip_packet_send(g, &p, from, 1);
}

/* What ENT's receiver collects for its answer; flushed when full. */
struct answer {
    struct gossip_packet packet;
    const struct gossip_addr *to;
    unsigned sent;
};

static void answer_flush(struct gossip *g, struct answer *a)
{
    gossip_packet_send(g, &a->packet, a->to, 1);
    gossip_packet_begin(&a->packet, GOSSIP_CLASS_SYNC);
    a->sent++;
}

static void tell(struct gossip *g, struct answer *a, const struct gossip_member *m)
{
    if (a->sent < PACKETS_MAX && !gossip_packet_about(g, &a->packet, m)) {
        answer_flush(g, a);
        (void)(a->sent < PACKETS_MAX && gossip_packet_about(g, &a->packet, m));
    }
}

static void ask(struct gossip *g, struct answer *a, uint64_t id, uint64_t boot)
{
    struct gossip_delta_req req = {.owner = id, .boot = boot};
    if (a->sent < PACKETS_MAX &&
        !gossip_delta_req_write(&a->packet.w, GOSSIP_MSG_DELTA_REQ, &req)) {
        answer_flush(g, a);
        (void)(a->sent < PACKETS_MAX &&
               gossip_delta_req_write(&a->packet.w, GOSSIP_MSG_DELTA_REQ, &req));
    }
}

/* Who of two has heard later: by life, incarnation, then by how bad the news is. */
static int compare_news(const struct gossip_entry *e, const struct gossip_member *m)
{
    if (e->boot != m->boot) {
        return e->boot > m->boot ? 1 : -1;
    }
    bool e_left = e->state == GOSSIP_LEFT, m_left = m->state == GOSSIP_LEFT;
    if (e_left != m_left) {
        return e_left ? 1 : -1;
    }
    if (e->incarnation != m->incarnation) {
        return e->incarnation > m->incarnation ? 1 : -1;
    }
    return e->state == (uint8_t)m->state ? 0 : e->state > (uint8_t)m->state ? 1 : -1;
}

static void hear_entry(struct gossip *g, const struct gossip_entry *e, uint64_t teller,
                       struct answer *a)
{
    struct gossip_member *m = gossip_members_get(&g->members, e->id);
    bool live = e->state == GOSSIP_ALIVE || e->state == GOSSIP_SUSPECT;
    if (!m) {
        if (live) {
            ask(g, a, e->id, e->boot);
        }
        return;
    }
    int news = compare_news(e, m);
    if (news > 0 && live) {
        ask(g, a, e->id, e->boot); /* of a suspect its record names the witnesses: not the teller */
    } else if (news > 0 && e->state <= GOSSIP_LEFT) {
        struct gossip_accusation accusation = {
            .id = e->id, .boot = e->boot, .incarnation = e->incarnation, .from = teller};
        gossip_hear_accusation(g, e->state == GOSSIP_DEAD ? GOSSIP_MSG_DEAD : GOSSIP_MSG_LEFT,
                               &accusation);
    } else if (news < 0) {
        tell(g, a, m);
    }
    bool current = m->set_boot == m->boot;
    if (e->boot != m->boot || !live || !gossip_member_is_live(m) ||
        (e->version == (current ? m->version : 0) && e->hash_low == (uint32_t)m->set_hash)) {
        return;
    }
    if (m != g->me && e->version > (current ? m->version : 0)) {
        ask(g, a, e->id, e->boot); /* its ALIVE says the whole hash, and that the teller has it */
    } else if (news == 0 && current && e->version <= m->version) {
        tell(g, a, m);
    }
}

void gossip_hear_ent(struct gossip *g, struct gossip_reader *r, uint64_t teller,
                     const struct gossip_addr *from)
{
    uint64_t named[LIMIT_GOSSIP_PACKET_BYTES / GOSSIP_ENTRY_BYTES];
    size_t named_count = 0;
    /* In debt it listens, and says nothing. */
    struct answer answer = {.to = from, .sent = gossip_may_answer(g) ? 0 : PACKETS_MAX};
    unsigned bits = gossip_read8(r);
    unsigned bucket = gossip_read8(r);
    bool complete = gossip_read8(r) == 1;
    size_t entry_bytes = gossip_read8(r);
    size_t count = gossip_read16(r);
    if (r->failed || bits < GOSSIP_BUCKET_BITS_MIN || bits > GOSSIP_BUCKET_BITS_MAX ||
        entry_bytes < GOSSIP_ENTRY_BYTES || gossip_reader_left(r) / entry_bytes < count) {
        g->stats.drop_malformed++;
        return;
    }
    gossip_packet_begin(&answer.packet, GOSSIP_CLASS_SYNC);
    for (size_t i = 0; i < count; i++) {
        struct gossip_reader fields;
        gossip_reader_init(&fields, gossip_read_bytes(r, entry_bytes), entry_bytes);
        struct gossip_entry e;
        e.id = gossip_read48(&fields);
        e.boot = gossip_read48(&fields);
        e.incarnation = gossip_read16(&fields);
        e.state = gossip_read8(&fields);
        e.version = gossip_read32(&fields);
        e.hash_low = gossip_read32(&fields);
        named[named_count++] = e.id;
        hear_entry(g, &e, teller, &answer);
    }
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        bool missing =
            complete && gossip_member_is_live(m) && gossip_bucket_of(m->id, bits) == bucket;
        for (size_t i = 0; i < named_count && missing; i++) {
            missing = named[i] != m->id;
        }
        if (missing) {
            tell(g, &answer, m);
        }
    }
    gossip_packet_send(g, &answer.packet, from, 1);
}

void gossip_hear_delta_req(struct gossip *g, const struct gossip_delta_req *req,
                           const struct gossip_addr *from)
{
    struct gossip_packet p;
    struct gossip_member *m = gossip_members_get(&g->members, req->owner);
    size_t ops = 0;
    bool all = req->to - req->from < LIMIT_GOSSIP_DELTA_OPS;
    if (!m) {
        return;
    }
    if (!gossip_may_answer(g)) {
        g->stats.drop_rate++;
        return;
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
    g->stats.deltas_answered++;
    if (req->from == 0 || req->boot != m->boot || req->to < req->from) {
        gossip_packet_about(g, &p, m);
        gossip_packet_send(g, &p, from, 1);
        return;
    }
    for (uint32_t version = req->from; version <= req->to && all; version++) {
        const struct gossip_change *c = gossip_changes_get(&g->changes, m->id, m->boot, version);
        ops += c ? c->count : 0;
        all = c && c->has_check && ops <= LIMIT_GOSSIP_DELTA_OPS;
        if (version == UINT32_MAX) {
            break;
        }
    }
    if (!all) {
        gossip_packet_about(g, &p, m); /* what we hold, for whoever wants to fetch it here */
        (void)gossip_delta_req_write(&p.w, GOSSIP_MSG_DELTA_NO, req);
        gossip_packet_send(g, &p, from, 1);
        return;
    }
    for (uint32_t version = req->from; version <= req->to;) {
        uint32_t last = gossip_changes_write_range(&g->changes, &p.w, &p.dictionary, m->id, m->boot,
                                                   version, req->to);
        if (last == 0 && p.w.len == 0) {
            return; /* a whole packet is too small for it: cannot be */
        }
        if (last == 0) {
            gossip_packet_send(g, &p, from, 1);
            gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
        } else {
            version = last + 1;
        }
    }
    gossip_packet_send(g, &p, from, 1);
}
