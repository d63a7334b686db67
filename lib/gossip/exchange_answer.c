/* exchange_answer.c - answering an exchange (exchange.c), to whoever has the key, and hearing
 * whoever is known to live. */
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>

/* It lives now, as far as can be told: as a member is heard, or by repeating a challenge. */
static bool is_proven(struct gossip *g, const struct gossip_sender *asker, uint64_t echo)
{
    const struct gossip_member *m = gossip_members_get(&g->members, asker->id);
    return (gossip_is_life_of(m, asker) && gossip_member_is_live(m)) ||
           (echo && gossip_cookie_fits(g, asker, NULL, echo));
}

/* Keeps who it is, to be heard at the next step, if it is proven to live. */
static int read_caller(struct gossip *g, struct gossip_reader *r, const struct gossip_sender *asker,
                       bool *ret_proven)
{
    struct gossip_caller caller = {.left = false};
    struct gossip_accusation left;
    struct gossip_reader fields;
    uint64_t echo = 0;
    uint8_t type;
    if (gossip_read8(r) != GOSSIP_EXCHANGE_FORMAT || gossip_read_message(r, &type, &fields) != 1) {
        return -EPROTO;
    }
    if (type == GOSSIP_MSG_ECHO) {
        echo = gossip_read64(&fields);
        if (fields.failed || gossip_read_message(r, &type, &fields) != 1) {
            return -EPROTO;
        }
    }
    int error = type == GOSSIP_MSG_ALIVE  ? gossip_alive_read(&fields, &caller.alive)
                : type == GOSSIP_MSG_LEFT ? gossip_accusation_read(&fields, &left)
                                          : -EPROTO;
    if (error == 0 && type == GOSSIP_MSG_LEFT) {
        caller.left = true;
        caller.alive.id = left.id;
        caller.alive.boot = left.boot;
        caller.alive.incarnation = left.incarnation;
    }
    if (error || caller.alive.id != asker->id || asker->id == g->me->id) {
        return -EPROTO;
    }
    *ret_proven = is_proven(g, asker, echo);
    if (!*ret_proven) {
        return 0;
    }
    if (g->caller_count == LIMIT_GOSSIP_CALLERS) {
        return -EAGAIN;
    }
    g->callers[g->caller_count++] = caller;
    return 0;
}

/* Which members are in buckets that differ, by slot; NULL: no memory. */
static uint8_t *differing(const struct gossip *g, struct gossip_reader *r, unsigned bits,
                          bool *ret_any)
{
    uint64_t ours[1 << GOSSIP_BUCKET_BITS_MAX];
    bool differs[1 << GOSSIP_BUCKET_BITS_MAX];
    uint8_t *wanted = calloc(g->members.slots, 1);
    gossip_bucket_hashes(g, bits, ours);
    *ret_any = false;
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        differs[i] = gossip_read32(r) != (uint32_t)ours[i];
        *ret_any = *ret_any || differs[i];
    }
    for (size_t slot = 0; slot < g->members.slots && wanted; slot++) {
        const struct gossip_member *m = g->members.by_slot[slot];
        wanted[slot] = m && differs[gossip_bucket_of(m->id, bits)];
    }
    return wanted;
}

static int append_about(struct gossip *g, const struct gossip_member *m, struct buf *b)
{
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    (void)gossip_packet_about(g, &p, m);
    return buf_append(b, p.body, p.w.len);
}

/* What the answer begins with; how much there is of messages is filled in later. */
static int append_head(struct gossip *g, const struct gossip_sender *asker, bool same, bool proven,
                       struct buf *b)
{
    uint8_t bytes[6 + 32];
    struct gossip_writer w;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_write8(&w, GOSSIP_EXCHANGE_FORMAT);
    gossip_write8(&w, same);
    gossip_write32(&w, 0);
    if (!proven) {
        gossip_cookie_write(&w, GOSSIP_MSG_CHALLENGE, gossip_cookie(g, asker, NULL));
    }
    return buf_append(b, bytes, w.len);
}

int gossip_exchange_begin(struct gossip *g, const uint8_t *asked, size_t n,
                          const struct gossip_sender *asker, struct gossip_build **ret_build)
{
    struct gossip_reader r;
    struct gossip_build *b;
    bool proven;
    gossip_reader_init(&r, asked, n);
    int error = read_caller(g, &r, asker, &proven);
    unsigned bits = gossip_read8(&r);
    if (error || r.failed || bits < GOSSIP_BUCKET_BITS_MIN || bits > GOSSIP_BUCKET_BITS_MAX ||
        gossip_reader_left(&r) < (size_t)4 << bits) {
        return error ? error : -EPROTO;
    }
    error = gossip_build_new(GOSSIP_FOR_EXCHANGE, &b);
    if (error) {
        return error;
    }
    bool any;
    b->asker = asker->id;
    b->slots = g->members.slots;
    b->wanted = differing(g, &r, bits, &any);
    if (any && proven && g->udp == GOSSIP_UDP_BLOCKED) {
        g->exchange_with = asker->id; /* what it knows better, only asking it tells */
    }
    error = b->wanted ? append_head(g, asker, !any, proven, &b->plain) : -ENOMEM;
    if (error) {
        gossip_build_free(b);
        return error;
    }
    *ret_build = b;
    return 0;
}

int gossip_exchange_about(struct gossip *g, struct gossip_build *b, const struct gossip_member *m)
{
    uint8_t *wanted = &b->wanted[m->slot];
    bool about_asker = m->id == b->asker && m->state != GOSSIP_ALIVE;
    bool departed = *wanted && !gossip_member_is_live(m);
    bool sign = !*wanted && m->tcp_only && m->state == GOSSIP_ALIVE;
    if (m->id == b->asker) {
        *wanted = 0; /* it knows its own set best */
    }
    return about_asker || departed || (sign && m->id != b->asker) ? append_about(g, m, &b->plain)
                                                                  : 0;
}

int gossip_exchange_build(struct gossip *g, const uint8_t *asked, size_t n,
                          const struct gossip_sender *asker, struct buf *ret_body)
{
    struct gossip_build *b;
    int error = gossip_exchange_begin(g, asked, n, asker, &b);
    return error ? error : gossip_build_whole(g, b, ret_body);
}
