#include "herd.h"

#include "base/check.h"

#include <string.h>

#define PERIOD_MS 333
#define UNANSWERED_US 1000000

/* What a puppet does with one packet. */
struct heard {
    struct herd_world *w;
    size_t member;
    struct gossip_member *self; /* the archive's record of it */
    uint64_t sender;
    const struct gossip_addr *from;
    struct gossip_packet answer;
    struct gossip_writer rest; /* for the archive */
};

static void say_alive(struct heard *h)
{
    struct gossip_alive alive;
    gossip_alive_of(h->w->archive, h->self, &alive);
    (void)gossip_alive_write(&h->answer.w, &alive);
}

/* Somebody takes it for dead: the same life, one incarnation later. */
static void refute(struct heard *h, uint16_t incarnation)
{
    struct gossip_alive alive;
    if (incarnation < h->self->incarnation || incarnation == UINT16_MAX) {
        return;
    }
    gossip_alive_of(h->w->archive, h->self, &alive);
    alive.incarnation = (uint16_t)(incarnation + 1);
    herd_archive_begin(h->w);
    gossip_hear_alive(h->w->archive, &alive, alive.id);
    herd_archive_end(h->w);
}

static void hear_ping(struct heard *h, struct gossip_reader *fields)
{
    struct gossip_ping ping;
    if (gossip_ping_read(fields, &ping) != 0) {
        h->w->unreadable++;
        return;
    }
    bool for_us = ping.target == 0 || ping.target == h->self->id;
    bool doubted = ping.target && (ping.state == GOSSIP_SUSPECT || ping.state == GOSSIP_DEAD);
    struct gossip_ack ack = {.nonce = ping.nonce,
                             .cluster_hash = h->w->archive->cluster_hash,
                             .flags = for_us ? 0 : GOSSIP_ACK_WRONG_TARGET};
    h->w->daemon_hash = h->sender == h->w->daemon_id ? ping.cluster_hash : h->w->daemon_hash;
    if (for_us && doubted) {
        refute(h, ping.incarnation);
    }
    (void)gossip_ack_write(&h->answer.w, &ack);
    if (for_us && (ping.target == 0 || doubted)) {
        say_alive(h);
    }
}

/* Everybody else is alive, so the answer is known. */
static void hear_ping_req(struct heard *h, struct gossip_reader *fields)
{
    struct gossip_ping_req req;
    if (gossip_ping_req_read(fields, &req) == 0 && req.target != h->w->daemon_id) {
        struct gossip_ack ack = {.nonce = req.nonce,
                                 .cluster_hash = h->w->archive->cluster_hash,
                                 .flags = GOSSIP_ACK_RELAYED};
        (void)gossip_ack_write(&h->answer.w, &ack);
    }
}

static void hear_ack(struct heard *h, struct gossip_reader *fields)
{
    struct herd_world *w = h->w;
    struct gossip_ack ack;
    if (gossip_ack_read(fields, &ack) != 0 || h->sender != w->daemon_id) {
        return;
    }
    w->daemon_hash = ack.cluster_hash;
    for (size_t i = 0; i < sizeof(w->pings) / sizeof(w->pings[0]); i++) {
        if (w->pings[i].nonce == ack.nonce && ack.nonce) {
            if (w->rtt_count < HERD_SAMPLES) {
                w->rtt_us[w->rtt_count++] = (uint32_t)(herd_now_us() - w->pings[i].sent_us);
            }
            w->pings[i].nonce = 0;
        }
    }
}

static void pass_on(struct heard *h, uint8_t type, const struct gossip_reader *fields)
{
    size_t mark = gossip_write_begin(&h->rest, (enum gossip_message)type);
    gossip_write_bytes(&h->rest, fields->at, gossip_reader_left(fields));
    CHECK(gossip_write_end(&h->rest, mark)); /* no more than what came */
}

static void hear_message(struct heard *h, uint8_t type, struct gossip_reader *fields)
{
    struct gossip_reader again = *fields;
    struct gossip_accusation accusation;
    switch (type) {
    case GOSSIP_MSG_PING:
        hear_ping(h, fields);
        return;
    case GOSSIP_MSG_PING_REQ:
        hear_ping_req(h, fields);
        return;
    case GOSSIP_MSG_ACK:
        hear_ack(h, fields);
        return;
    case GOSSIP_MSG_NACK:
    case GOSSIP_MSG_CHALLENGE: /* the daemon knows every puppet from its snapshot */
        return;
    case GOSSIP_MSG_SUSPECT:
    case GOSSIP_MSG_DEAD:
        if (gossip_accusation_read(&again, &accusation) == 0 && accusation.id == h->self->id &&
            accusation.boot == h->self->boot) {
            refute(h, accusation.incarnation);
            say_alive(h);
            return;
        }
        break;
    default:
        break;
    }
    pass_on(h, type, fields);
}

void herd_puppet_hear(struct herd_world *w, size_t member, const struct gossip_addr *from,
                      const uint8_t *bytes, size_t n)
{
    uint8_t body[2048], rest[2048];
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_header header;
    struct gossip_reader r, fields;
    uint8_t type;
    if (gossip_seal_peek(bytes, n, &header) != 0 ||
        gossip_seal_open(w->opener, &header, &binding, bytes, n, body) != 0) {
        w->unreadable++;
        return;
    }
    struct heard h = {.w = w,
                      .member = member,
                      .self = herd_record(w, member),
                      .sender = header.sender.id,
                      .from = from};
    bool is_daemon = gossip_addr_equal(from, &w->daemon);
    if (is_daemon) {
        w->daemon_id = header.sender.id;
        w->puppets[member].heard_ms = herd_now_ms();
    }
    gossip_packet_begin(&h.answer, GOSSIP_CLASS_PROBE);
    gossip_writer_init(&h.rest, rest, sizeof(rest));
    gossip_reader_init(&r, body, n - GOSSIP_SEAL_OVERHEAD_BYTES);
    while (gossip_read_message(&r, &type, &fields) == 1) {
        hear_message(&h, type, &fields);
    }
    herd_send(w, member, from, h.answer.body, h.answer.w.len);
    if (is_daemon && h.rest.len > 0) {
        struct gossip_member *sender = gossip_members_get(&w->archive->members, h.sender);
        herd_archive_begin(w);
        gossip_receive_messages(w->archive, sender, h.sender, from, rest, h.rest.len, n);
        herd_archive_end(w);
    }
}

void herd_puppet_ping(struct herd_world *w, uint64_t now_ms)
{
    w->next_ping_ms = now_ms + PERIOD_MS - 15 + herd_random(w) % 31;
    const struct gossip_member *daemon = gossip_members_get(&w->archive->members, w->daemon_id);
    if (!daemon || w->count < 2) {
        return;
    }
    uint32_t nonce = (uint32_t)herd_random(w) | 1;
    size_t at = w->ping_at++ % (sizeof(w->pings) / sizeof(w->pings[0]));
    uint64_t now_us = herd_now_us();
    for (size_t i = 0; i < sizeof(w->pings) / sizeof(w->pings[0]); i++) {
        if (w->pings[i].nonce && now_us - w->pings[i].sent_us > UNANSWERED_US) {
            w->pings_unanswered++;
            w->pings[i].nonce = 0;
        }
    }
    w->pings[at].nonce = nonce;
    w->pings[at].sent_us = now_us;
    w->pings_sent++;
    struct gossip_packet p;
    struct gossip_ping ping = {.target = daemon->id,
                               .nonce = nonce,
                               .cluster_hash = w->archive->cluster_hash,
                               .state = (uint8_t)daemon->state,
                               .incarnation = daemon->incarnation};
    gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
    (void)gossip_ping_write(&p.w, &ping);
    herd_send(w, 1 + herd_random(w) % (w->count - 1), &w->daemon, p.body, p.w.len);
}
