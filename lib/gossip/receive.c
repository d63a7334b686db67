#include "gossip/state.h"

#include <errno.h>

static void count_drop(struct gossip *g, int error)
{
    switch (error) {
    case -EMSGSIZE:
        g->stats.drop_short++;
        break;
    case -EPROTONOSUPPORT:
        g->stats.drop_version++;
        break;
    case -ENOKEY:
        g->stats.drop_key++;
        break;
    default:
        g->stats.drop_seal++;
        break;
    }
}

/* One message; what is left in the reader after it are fields of a later release. */
struct context {
    struct gossip *g;
    struct gossip_member *sender; /* NULL: not a member */
    uint64_t sender_id;
    const struct gossip_addr *from;
    struct gossip_addr back; /* where answers larger than what they answer go */
    struct gossip_dictionary dictionary;
    size_t packet_bytes;
    bool accused;                       /* it speaks badly of us */
    const struct gossip_member *missed; /* or of somebody whose answer the sender has missed */
};

static int hear_ping(struct context *c, struct gossip_reader *r)
{
    struct gossip_ping ping;
    int error = gossip_ping_read(r, &ping);
    if (error == 0) {
        gossip_hear_ping(c->g, &ping, c->sender, c->from, c->packet_bytes);
        if (c->sender) {
            gossip_hear_hash(c->g, c->sender, ping.cluster_hash, &c->back);
        }
    }
    return error;
}

static int hear_ack(struct context *c, struct gossip_reader *r)
{
    struct gossip_ack ack;
    int error = gossip_ack_read(r, &ack);
    if (error == 0) {
        gossip_hear_ack(c->g, &ack, c->sender_id, c->from);
        if (c->sender && !(ack.flags & GOSSIP_ACK_RELAYED)) {
            c->sender->load = ack.load;
            gossip_hear_hash(c->g, c->sender, ack.cluster_hash, &c->back);
        }
    }
    return error;
}

static int hear_record(struct context *c, uint8_t type, struct gossip_reader *r)
{
    struct gossip_alive alive;
    struct gossip_accusation accusation;
    struct gossip_ops ops;
    int error;
    if (type == GOSSIP_MSG_ALIVE) {
        error = gossip_alive_read(r, &alive);
        if (error == 0) {
            gossip_hear_alive(c->g, &alive, c->sender_id);
        }
    } else if (type == GOSSIP_MSG_OPS) {
        error = gossip_ops_read(r, &c->dictionary, &ops);
        if (error == 0) {
            gossip_hear_ops(c->g, &ops, c->sender_id);
        }
    } else {
        error = gossip_accusation_read(r, &accusation);
        if (error == 0) {
            gossip_hear_accusation(c->g, (enum gossip_message)type, &accusation);
            c->accused = c->accused || accusation.id == c->g->me->id;
            c->missed = c->missed ? c->missed : gossip_refuted_before(c->g, &accusation);
        }
    }
    return error;
}

static int hear_request(struct context *c, uint8_t type, struct gossip_reader *r)
{
    struct gossip_ping_req req;
    struct gossip_delta_req delta;
    int error;
    if (type == GOSSIP_MSG_PING_REQ) {
        error = gossip_ping_req_read(r, &req);
        if (error == 0) {
            gossip_hear_ping_req(c->g, &req, c->from);
        }
        return error;
    }
    error = gossip_delta_req_read(r, &delta);
    if (error == 0 && type == GOSSIP_MSG_DELTA_REQ) {
        gossip_hear_delta_req(c->g, &delta, &c->back);
    } else if (error == 0) {
        gossip_hear_delta_no(c->g, &delta);
    }
    return error;
}

static int hear_message(struct context *c, uint8_t type, struct gossip_reader *r)
{
    struct gossip *g = c->g;
    switch (type) {
    case GOSSIP_MSG_PING:
        return hear_ping(c, r);
    case GOSSIP_MSG_ACK:
        return hear_ack(c, r);
    case GOSSIP_MSG_NACK:
        gossip_hear_nack(g, gossip_read32(r));
        return 0;
    case GOSSIP_MSG_ALIVE:
    case GOSSIP_MSG_SUSPECT:
    case GOSSIP_MSG_DEAD:
    case GOSSIP_MSG_LEFT:
    case GOSSIP_MSG_OPS:
        return hear_record(c, type, r);
    case GOSSIP_MSG_SUM:
        gossip_hear_sum(g, r, &c->back);
        return 0;
    case GOSSIP_MSG_ENT:
        gossip_hear_ent(g, r, c->sender_id, &c->back);
        r->at = r->end; /* entries may be longer than we know */
        return 0;
    case GOSSIP_MSG_PING_REQ:
    case GOSSIP_MSG_DELTA_REQ:
    case GOSSIP_MSG_DELTA_NO:
        return hear_request(c, type, r);
    case GOSSIP_MSG_CHALLENGE:
        gossip_hear_challenge(g, gossip_read64(r), c->from, c->packet_bytes);
        return 0;
    case GOSSIP_MSG_ECHO:
        (void)gossip_read64(r); /* checked before, or not needed */
        return 0;
    case GOSSIP_MSG_WANT:
    case GOSSIP_MSG_GRANT:
    case GOSSIP_MSG_OFFER:
    case GOSSIP_MSG_RENEW:
    case GOSSIP_MSG_GIVE_UP:
        return gossip_swarm_hear(g, c->sender, c->from, type, r);
    default:
        g->stats.skipped_messages++;
        r->at = r->end;
        return 0;
    }
}

static bool is_address_of(const struct gossip_member *m, const struct gossip_addr *from)
{
    struct gossip_addr known[2];
    gossip_member_addrs(m, known);
    return gossip_addr_equal(from, &known[0]) || gossip_addr_equal(from, &known[1]);
}

/* A datagram's source is anybody's word, so that answers would be a way to flood a third party.
 * What may be much larger than what it answers goes where the cluster knows the sender to be, or to
 * an address that has just repeated a challenge. */
static struct gossip_addr address_of(const struct gossip *g, const struct gossip_member *sender,
                                     const struct gossip_addr *from)
{
    return !sender || is_address_of(sender, from) ? *from : gossip_member_addr(g, sender);
}

void gossip_receive_messages(struct gossip *g, struct gossip_member *sender, uint64_t sender_id,
                             const struct gossip_addr *from, const uint8_t *body, size_t n,
                             size_t packet_bytes)
{
    struct gossip_reader r, fields;
    struct context c = {.g = g,
                        .sender = sender,
                        .sender_id = sender_id,
                        .from = from,
                        .back = address_of(g, sender, from),
                        .packet_bytes = packet_bytes};
    uint8_t type;
    int got;
    gossip_reader_init(&r, body, n);
    while ((got = gossip_read_message(&r, &type, &fields)) == 1) {
        int error = hear_message(&c, type, &fields);
        if (error || fields.failed) {
            /* A record that cannot be read ends the packet: a dictionary with a hole in it would
             * turn the rest into other keys. */
            g->stats.drop_malformed++;
            return;
        }
        if (gossip_reader_left(&fields)) {
            g->stats.skipped_fields++;
        }
        if (!c.sender) { /* the packet may have introduced it */
            c.sender = gossip_members_get(&g->members, sender_id);
        }
    }
    if (got < 0) {
        g->stats.drop_malformed++;
    }
    if (c.accused && !g->leaving && gossip_may_answer(g)) {
        /* Whoever says it may have missed our answer to somebody else: once a packet, to its face.
         */
        struct gossip_packet p;
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        gossip_packet_about(g, &p, g->me);
        gossip_packet_send(g, &p, from, 1);
    }
    if (c.missed && !g->leaving && gossip_may_answer(g)) {
        struct gossip_packet p;
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        gossip_packet_about(g, &p, c.missed);
        gossip_packet_send(g, &p, &c.back, 1);
    }
}

/* Looks for one message without acting on anything. */
static bool find_message(const uint8_t *body, size_t n, uint8_t wanted,
                         struct gossip_reader *ret_fields)
{
    struct gossip_reader r;
    uint8_t type;
    gossip_reader_init(&r, body, n);
    while (gossip_read_message(&r, &type, ret_fields) == 1) {
        if (type == wanted) {
            return true;
        }
    }
    return false;
}

/* It lives now: it repeats our challenge, or answers a ping of ours. */
static bool proves_life(struct gossip *g, const struct gossip_header *h,
                        const struct gossip_addr *from, const uint8_t *body, size_t n)
{
    struct gossip_reader fields;
    struct gossip_ack ack;
    if (find_message(body, n, GOSSIP_MSG_ECHO, &fields)) {
        return gossip_cookie_fits(g, &h->sender, from, gossip_read64(&fields));
    }
    return find_message(body, n, GOSSIP_MSG_ACK, &fields) && gossip_ack_read(&fields, &ack) == 0 &&
           gossip_answers_stranger_ping(g, ack.nonce);
}

/* From somebody nobody has introduced, or from an earlier life of somebody, or from one who is said
 * to be gone: only one that proves to live now is heard. A challenge to us is answered whoever it
 * comes from: our own join begins with one. */
static void hear_stranger(struct gossip *g, const struct gossip_header *h,
                          const struct gossip_addr *from, const uint8_t *body, size_t n, size_t len)
{
    struct gossip_reader fields;
    struct gossip_member *m = gossip_members_get(&g->members, h->sender.id);
    if (find_message(body, n, GOSSIP_MSG_CHALLENGE, &fields)) {
        gossip_hear_challenge(g, gossip_read64(&fields), from, len);
        return;
    }
    if (!proves_life(g, h, from, body, n)) {
        gossip_challenge(g, h, from, len);
        return;
    }
    if (m && h->sender.boot < m->boot) {
        /* It lives, by a clock behind its last life's: telling it what we remember makes it take a
         * later boot. */
        struct gossip_packet p;
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        gossip_packet_about(g, &p, m);
        gossip_packet_send(g, &p, from, 1);
        g->stats.drop_old_boot++;
        return;
    }
    gossip_receive_messages(g, NULL, h->sender.id, from, body, n, len);
    m = gossip_members_get(&g->members, h->sender.id);
    if (gossip_is_life_of(m, &h->sender)) {
        gossip_window_accept(&m->window, h->counter);
        m->heard_ms = g->now_ms;
    }
}

static void hear_own_id(struct gossip *g, const struct gossip_header *h,
                        const struct gossip_addr *from, const uint8_t *body, size_t n, size_t len)
{
    struct gossip_reader fields;
    struct gossip_ack ack;
    struct gossip_ping ping;
    bool is_us = h->sender.boot == g->me->boot && h->sender.salt == g->me->salt;
    if (!is_us && find_message(body, n, GOSSIP_MSG_ACK, &fields) &&
        gossip_ack_read(&fields, &ack) == 0) {
        gossip_heard_own_ack(g, h, ack.nonce);
        return;
    }
    if (!is_us && find_message(body, n, GOSSIP_MSG_PING, &fields) &&
        gossip_ping_read(&fields, &ping) == 0 && ping.target == g->me->id) {
        gossip_hear_ping(g, &ping, NULL, from, len);
    }
    gossip_heard_own_packet(g, h, from);
}

/* Who is said to be gone and was never heard here is not: since no packet of it was seen, an old
 * one would be taken for a new one, and what it tells of others for news. */
static bool is_known(const struct gossip *g, const struct gossip_member *m,
                     const struct gossip_header *h)
{
    return m != g->me && gossip_is_life_of(m, &h->sender) &&
           (gossip_member_is_live(m) || m->window.top > 0);
}

void gossip_receive(struct gossip *g, const struct gossip_addr *from, const uint8_t *bytes,
                    size_t len)
{
    uint8_t body[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_header h;
    g->stats.packets_in++;
    g->stats.bytes_in += len;
    int error = len > LIMIT_GOSSIP_PACKET_BYTES ? -EMSGSIZE : gossip_seal_peek(bytes, len, &h);
    if (error) {
        count_drop(g, error);
        return;
    }
    struct gossip_member *m = gossip_members_get(&g->members, h.sender.id);
    bool known = is_known(g, m, &h);
    if (known && !gossip_window_is_new(&m->window, h.counter)) {
        g->stats.drop_replay++;
        return;
    }
    error = gossip_seal_open(g->seal, &h, &binding, bytes, len, body);
    if (error) {
        count_drop(g, error);
        return;
    }
    size_t n = len - GOSSIP_SEAL_OVERHEAD_BYTES;
    if (h.sender.id == g->me->id) {
        hear_own_id(g, &h, from, body, n, len);
    } else if (!known) {
        hear_stranger(g, &h, from, body, n, len);
    } else {
        gossip_window_accept(&m->window, h.counter);
        m->heard_ms = g->now_ms;
        if (!is_address_of(m, from)) {
            g->stats.elsewhere++;
            g->unproven = *from;
            g->unproven_bytes = 3 * len;
        }
        gossip_receive_messages(g, m, h.sender.id, from, body, n, len);
        if (m->state == GOSSIP_SUSPECT || m->state == GOSSIP_DEAD) {
            gossip_accuse_subject(g, m, from); /* it speaks, so it can refute */
        }
        g->unproven.family = GOSSIP_NO_ADDR;
    }
}
