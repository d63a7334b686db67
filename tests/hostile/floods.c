/* floods.c - very many packets, each as good as it can be. */
#include "hostile.h"

#include <stdio.h>
#include <unistd.h>

/* No key at all: random bytes, as fast as they go. */
void hostile_garbage(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    for (size_t i = 0; i < h->count; i++) {
        size_t n = 1 + hostile_random(h) % sizeof(bytes);
        for (size_t k = 0; k < n; k += 8) {
            gossip_store64(bytes + (k + 8 <= sizeof(bytes) ? k : sizeof(bytes) - 8),
                           hostile_random(h));
        }
        bytes[0] = GOSSIP_SEAL_VERSION;
        hostile_pace(h);
        hostile_send_bytes(h, bytes, n);
    }
}

/* A key holder under ever new ids, each of which has to be challenged. */
void hostile_strangers(struct hostile *h)
{
    struct gossip_packet p;
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_become(h, hostile_random(h) >> 16, h->me.boot + 1, (uint32_t)hostile_random(h));
        hostile_ping(h, &p, 0);
        hostile_send(h, &p);
    }
}

/* Of members that do not exist. */
static void tell_of_others(struct hostile *h, size_t count)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
    for (size_t i = 0; i < count; i++) {
        struct gossip_alive other = alive;
        other.id = hostile_random(h) >> 16;
        other.salt = (uint32_t)hostile_random(h);
        other.addrs[0].ip[1] = 200;
        other.addrs[0].ip[2] = (uint8_t)(i >> 8);
        other.addrs[0].ip[3] = (uint8_t)i;
        if (!gossip_alive_write(&p.w, &other)) {
            hostile_pace(h);
            hostile_send(h, &p);
            hostile_hear(h, h->sent % 64 ? 0 : 1);
            gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
            (void)gossip_alive_write(&p.w, &other);
        }
    }
    hostile_send(h, &p);
}

/* A member tells of `count` others. */
void hostile_join_flood(struct hostile *h)
{
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    tell_of_others(h, h->count);
}

/* The daemon's own id under ever new salts, which never answer. */
void hostile_own_id_flood(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    uint64_t boot = h->daemon.boot, id = h->daemon.id;
    h->back = h->back_bytes = h->sent = h->sent_bytes = 0;
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_become(h, id, boot - 1 - i, (uint32_t)hostile_random(h));
        hostile_ping(h, &p, 0);
        hostile_send(h, &p);
    }
}

/* A member whose set changes all the time, and never to what it says. */
void hostile_rumour_flood(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    for (size_t i = 0; i < h->count; i++) {
        struct gossip_ops ops = {.owner = h->me.id,
                                 .boot_low = (uint16_t)h->me.boot,
                                 .first = (uint32_t)(hostile_random(h) % 1000000 + 1),
                                 .check = (uint32_t)hostile_random(h)};
        struct gossip_op many[30];
        for (size_t k = 0; k < 30; k++) {
            many[k] = (struct gossip_op){.key = hostile_random(h) >> 1};
        }
        (void)gossip_ops_append(&ops, many, 30);
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        (void)gossip_ops_write(&p.w, &p.dictionary, &ops);
        hostile_pace(h);
        hostile_send(h, &p);
        hostile_hear(h, h->sent % 64 ? 0 : 1);
    }
}

static void write_sum(struct gossip_packet *p)
{
    gossip_packet_begin(p, GOSSIP_CLASS_SYNC);
    size_t mark = gossip_write_begin(&p->w, GOSSIP_MSG_SUM);
    gossip_write8(&p->w, 3);
    for (size_t i = 0; i < 8; i++) {
        gossip_write64(&p->w, i + 1);
    }
    (void)gossip_write_end(&p->w, mark);
}

/* A member sends from an address that is not its own, as if a third party had: pings, and whatever
 * else has a larger answer. That third party is a socket of ours, and only it is counted. */
void hostile_spoofed(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    uint16_t port = 0;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    tell_of_others(h, 300);
    hostile_hear(h, 300);
    int mine = h->fd;
    h->fd = hostile_socket(ntohl(h->to.sin_addr.s_addr), &port);
    h->back = h->back_bytes = h->sent = h->sent_bytes = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct gossip_delta_req req = {.owner = h->daemon.id, .boot = h->daemon.boot};
        hostile_pace(h);
        switch (i % 3) {
        case 0:
            hostile_ping(h, &p, h->daemon.id);
            break;
        case 1:
            write_sum(&p);
            break;
        default:
            gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
            (void)gossip_delta_req_write(&p.w, GOSSIP_MSG_DELTA_REQ, &req);
            break;
        }
        hostile_send(h, &p);
    }
    hostile_hear(h, 500);
    (void)close(mine);
}
