/* packets.c - single packets that are wrong in one way each, `count` times. */
#include "hostile.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every length that is less than the whole. */
void hostile_truncated(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_packet p;
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_ping(h, &p, 0);
        size_t n = hostile_seal(h, &p, bytes);
        hostile_send_bytes(h, bytes, i % n);
    }
}

#define TYPES GOSSIP_MSG_GIVE_UP /* the last */

/* Sealed by a member, and cut off inside: every message the protocol has, at every length. */
void hostile_malformed(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        size_t n = 1 + i / TYPES % 40;
        gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
        gossip_write8(&p.w, (uint8_t)(1 + i % TYPES));
        gossip_write16(&p.w, (uint16_t)(n + (i % 7 == 0 ? 1 : 0))); /* at times beyond the packet */
        for (size_t k = 0; k < n; k++) {
            gossip_write8(&p.w, (uint8_t)hostile_random(h));
        }
        hostile_send(h, &p);
    }
}

/* One bit is not as it was sealed, anywhere but in the version and the key's number. */
void hostile_forged(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_packet p;
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_ping(h, &p, 0);
        size_t n = hostile_seal(h, &p, bytes);
        bytes[2 + i / 8 % (n - 2)] ^= (uint8_t)(1 << i % 8);
        hostile_send_bytes(h, bytes, n);
    }
}

/* Another cluster's. Its key has another number, as 255 of 256 do. */
void hostile_wrong_label(struct hostile *h)
{
    struct gossip_packet p;
    CHECK(gossip_seal_set_keys(h->seal, "another cluster", NULL, 0) == 0);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_ping(h, &p, 0);
        hostile_send(h, &p);
    }
}

void hostile_wrong_version(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_packet p;
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_ping(h, &p, 0);
        size_t n = hostile_seal(h, &p, bytes);
        bytes[0] = (uint8_t)(i % 255 < GOSSIP_SEAL_VERSION ? 0 : 2 + i % 254);
        hostile_send_bytes(h, bytes, n);
    }
}

/* Longer than a packet may be, and longer than the daemon's buffer for one. */
void hostile_oversized(struct hostile *h)
{
    static uint8_t bytes[60000];
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        bytes[0] = GOSSIP_SEAL_VERSION;
        hostile_send_bytes(h, bytes, i % 2 ? LIMIT_GOSSIP_PACKET_BYTES + 1 + i % 500 : 9000);
    }
}

/* What a member once said, again and again, from elsewhere too: also what is older than the window
 * reaches back. */
void hostile_replayed(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES], old[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_packet p;
    struct gossip_alive alive;
    uint16_t port = 0;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    hostile_ping(h, &p, h->daemon.id);
    size_t old_bytes = hostile_seal(h, &p, old);
    hostile_send_bytes(h, old, old_bytes);
    for (size_t i = 0; i < 2 * GOSSIP_WINDOW_COUNTERS; i++) {
        hostile_pace(h);
        hostile_ping(h, &p, h->daemon.id);
        hostile_send(h, &p);
    }
    size_t n = hostile_seal(h, &p, bytes);
    hostile_send_bytes(h, bytes, n);
    hostile_hear(h, 300);
    h->sent = h->sent_bytes = h->back = h->back_bytes = 0;
    int mine = h->fd, elsewhere = hostile_socket(ntohl(h->to.sin_addr.s_addr), &port);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        h->fd = i % 2 ? mine : elsewhere;
        hostile_send_bytes(h, i % 3 ? bytes : old, i % 3 ? n : old_bytes);
    }
    h->fd = elsewhere;
    hostile_hear(h, 200);
    h->fd = mine;
}

/* A member's earlier life speaks, under another salt, and lives: it answers the challenge. */
void hostile_old_boot(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    hostile_become(h, h->me.id, h->me.boot - 1000, h->me.salt + 1);
    h->challenge = 0;
    hostile_ping(h, &p, 0);
    hostile_send(h, &p);
    hostile_hear(h, 100);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
        size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_ECHO);
        gossip_write64(&p.w, h->challenge);
        (void)gossip_write_end(&p.w, mark);
        hostile_alive(h, &alive);
        (void)gossip_alive_write(&p.w, &alive);
        hostile_send(h, &p);
    }
}

/* A sender that uses the daemon's own id, with another salt, and answers when it is asked: the
 * later of the two moves on. */
void hostile_own_id(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    hostile_become(h, h->daemon.id, h->daemon.boot - 1000, h->daemon.salt + 1);
    hostile_ping(h, &p, 0);
    hostile_send(h, &p);
    hostile_hear(h, 3000);
}

/* A member's id under another salt: the record, with the member's own boot and a later address, is
 * told by a third. What the member is, only a later life of it may change. */
void hostile_stolen_id(struct hostile *h)
{
    struct gossip_packet p;
    struct gossip_alive victim, own;
    hostile_alive(h, &victim);
    hostile_introduce(h, &victim);
    hostile_become(h, hostile_random(h) >> 16, h->me.boot, (uint32_t)hostile_random(h));
    hostile_alive(h, &own);
    hostile_introduce(h, &own);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        struct gossip_alive stolen = victim;
        stolen.salt ^= (uint32_t)(1 + i);
        stolen.addrs[0].ip[3] = 99;
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        (void)gossip_alive_write(&p.w, &stolen);
        hostile_send(h, &p);
    }
    printf("{\"victim\":\"%012llx\"}\n", (unsigned long long)victim.id);
}

/* Members at addresses that nobody can have, or that only this host has. */
void hostile_addresses(struct hostile *h)
{
    static const char *const bad[] = {"0.0.0.0",         "0.1.2.3",
                                      "224.0.0.1",       "239.255.255.255",
                                      "240.0.0.1",       "255.255.255.255",
                                      "169.254.1.1",     "::",
                                      "ff02::1",         "fe80::1",
                                      "::ffff:10.0.0.1", "127.0.0.1",
                                      "127.9.9.9",       "::1"};
    struct gossip_packet p;
    struct gossip_alive alive;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        struct gossip_alive other = alive;
        other.id = hostile_random(h) >> 16;
        CHECK(gossip_addr_parse_ip(bad[i % (sizeof(bad) / sizeof(bad[0]))], 0, &other.addrs[0]) ==
              0);
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        (void)gossip_alive_write(&p.w, &other);
        hostile_send(h, &p);
    }
}
