/* hostile.h - one who speaks the protocol in order to harm: packets towards one daemon that no
 * honest node sends, by somebody who has the cluster key, or has not.
 *
 *     hostile --to IP:PORT [--from IP] [--port PORT] [--label TEXT] [--count N] CASE
 *
 * Each case prints one JSON object: what was sent, what came back. What the daemon made of it, its
 * metrics and /proc say: tests/e2e/test_hostile.py.
 *
 *     main.c      the command line, and the table of cases
 *     talk.c      a socket, an identity, a way into the daemon's view
 *     packets.c   cases of single packets
 *     floods.c    cases of very many
 *     replays.c   cases of what was captured, datagrams of strangers and requests over HTTP
 *     endless.c   a registry port that never stops answering */
#pragma once

#include "gossip/state.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostile {
    int fd;
    struct sockaddr_in to;
    struct gossip_addr self; /* where we receive; the address in our ALIVE */
    const char *label;
    struct gossip_seal *seal, *opener;
    struct gossip_sender me;
    size_t count;
    uint16_t registry_port;
    uint64_t random;
    struct gossip_sender daemon; /* as its last packet said */
    uint64_t sent, sent_bytes, back, back_bytes;
    uint64_t challenge; /* the last cookie; 0: none */
    bool acked;
};

typedef void hostile_case(struct hostile *h);

/* --- talk.c --- */
uint64_t hostile_now_ms(void);
uint64_t hostile_random(struct hostile *h);
/* A UDP socket on that address (host order) and port, 0: any, which then is the one it has; ends
 * the process on failure. */
int hostile_socket(uint32_t ip, uint16_t *port);
/* Another identity from the next packet on. */
void hostile_become(struct hostile *h, uint64_t id, uint64_t boot, uint32_t salt);
/* Seals the body under `key_label`; returns the packet's length. */
size_t hostile_seal(struct hostile *h, const struct gossip_packet *p,
                    uint8_t ret_bytes[LIMIT_GOSSIP_PACKET_BYTES]);
void hostile_send_bytes(struct hostile *h, const uint8_t *bytes, size_t n);
void hostile_send(struct hostile *h, const struct gossip_packet *p);
/* Hears for so long: counts what comes, answers pings so as to stay alive. */
void hostile_hear(struct hostile *h, uint64_t ms);
/* Sleeps now and then, so that the daemon's socket takes what is sent: call it before each. */
void hostile_pace(struct hostile *h);
/* What an honest member would say of itself. */
void hostile_alive(const struct hostile *h, struct gossip_alive *ret_alive);
void hostile_ping(const struct hostile *h, struct gossip_packet *p, uint64_t target);
/* Becomes a member of the daemon's view, challenge and all; ends the process when it is refused. */
void hostile_introduce(struct hostile *h, const struct gossip_alive *alive);

/* --- the cases --- */
hostile_case hostile_truncated, hostile_malformed, hostile_forged, hostile_wrong_label,
    hostile_wrong_version, hostile_oversized, hostile_replayed, hostile_old_boot, hostile_own_id,
    hostile_stolen_id, hostile_addresses;
hostile_case hostile_garbage, hostile_strangers, hostile_join_flood, hostile_own_id_flood,
    hostile_rumour_flood, hostile_spoofed;
hostile_case hostile_replayed_exchange, hostile_replayed_challenge;
hostile_case hostile_ten_million, hostile_endless_set, hostile_dripping_set,
    hostile_endless_snapshot;
