#include "hostile.h"

#include "base/check.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PACE 16 /* packets between pauses */
#define PACE_NS 300000
#define ANSWER_WITHIN_MS 5000

uint64_t hostile_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t hostile_random(struct hostile *h)
{
    return gossip_mix(h->random += UINT64_C(0x9e3779b97f4a7c15));
}

int hostile_socket(uint32_t ip, uint16_t *port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(ip)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 4 * 1024 * 1024;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0) {
        fprintf(stderr, "hostile: a socket: %s\n", strerror(errno));
        exit(2);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    *port = ntohs(at.sin_port);
    return fd;
}

void hostile_become(struct hostile *h, uint64_t id, uint64_t boot, uint32_t salt)
{
    h->me = (struct gossip_sender){.id = id, .boot = boot, .salt = salt};
    CHECK(gossip_seal_set_sender(h->seal, &h->me) == 0);
}

size_t hostile_seal(struct hostile *h, const struct gossip_packet *p,
                    uint8_t ret_bytes[LIMIT_GOSSIP_PACKET_BYTES])
{
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    CHECK(gossip_seal_write(h->seal, &binding, p->body, p->w.len, ret_bytes) == 0);
    return p->w.len + GOSSIP_SEAL_OVERHEAD_BYTES;
}

void hostile_send_bytes(struct hostile *h, const uint8_t *bytes, size_t n)
{
    if (sendto(h->fd, bytes, n, 0, (struct sockaddr *)&h->to, sizeof(h->to)) == (ssize_t)n) {
        h->sent++;
        h->sent_bytes += n;
    }
}

void hostile_send(struct hostile *h, const struct gossip_packet *p)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    hostile_send_bytes(h, bytes, hostile_seal(h, p, bytes));
}

void hostile_pace(struct hostile *h)
{
    struct timespec pause = {.tv_nsec = PACE_NS};
    if (h->sent % PACE == 0) {
        (void)nanosleep(&pause, NULL);
    }
}

static void hear_message(struct hostile *h, uint8_t type, struct gossip_reader *fields)
{
    struct gossip_ping ping;
    struct gossip_packet answer;
    if (type == GOSSIP_MSG_CHALLENGE) {
        h->challenge = gossip_read64(fields);
    } else if (type == GOSSIP_MSG_ACK) {
        h->acked = true;
    } else if (type == GOSSIP_MSG_PING && gossip_ping_read(fields, &ping) == 0) {
        struct gossip_ack ack = {.nonce = ping.nonce, .cluster_hash = ping.cluster_hash};
        gossip_packet_begin(&answer, GOSSIP_CLASS_PROBE);
        (void)gossip_ack_write(&answer.w, &ack);
        if (ping.target == 0) { /* it looks for members: here is one */
            struct gossip_alive alive;
            hostile_alive(h, &alive);
            (void)gossip_alive_write(&answer.w, &alive);
        }
        hostile_send(h, &answer);
    }
}

static void hear_packet(struct hostile *h, const uint8_t *bytes, size_t n)
{
    uint8_t body[2048], type;
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_header header;
    struct gossip_reader r, fields;
    h->back++;
    h->back_bytes += n;
    if (gossip_seal_peek(bytes, n, &header) != 0 ||
        gossip_seal_open(h->opener, &header, &binding, bytes, n, body) != 0) {
        return;
    }
    h->daemon = header.sender;
    gossip_reader_init(&r, body, n - GOSSIP_SEAL_OVERHEAD_BYTES);
    while (gossip_read_message(&r, &type, &fields) == 1) {
        hear_message(h, type, &fields);
    }
}

void hostile_hear(struct hostile *h, uint64_t ms)
{
    uint64_t until_ms = hostile_now_ms() + ms;
    for (uint64_t now_ms = hostile_now_ms(); now_ms < until_ms; now_ms = hostile_now_ms()) {
        struct pollfd wait = {.fd = h->fd, .events = POLLIN};
        uint8_t bytes[2048];
        if (poll(&wait, 1, (int)(until_ms - now_ms)) > 0) {
            ssize_t n = recv(h->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (n > 0) {
                hear_packet(h, bytes, (size_t)n);
            }
        }
    }
}

void hostile_alive(const struct hostile *h, struct gossip_alive *ret_alive)
{
    *ret_alive = (struct gossip_alive){.id = h->me.id,
                                       .boot = h->me.boot,
                                       .salt = h->me.salt,
                                       .protocol = GOSSIP_PROTOCOL,
                                       .addrs = {h->self},
                                       .gossip_port = h->self.port,
                                       .registry_port = h->registry_port,
                                       .zone = "hostile"};
}

void hostile_ping(const struct hostile *h, struct gossip_packet *p, uint64_t target)
{
    struct gossip_ping ping = {.target = target, .nonce = (uint32_t)h->random | 1};
    gossip_packet_begin(p, GOSSIP_CLASS_PROBE);
    (void)gossip_ping_write(&p->w, &ping);
}

void hostile_introduce(struct hostile *h, const struct gossip_alive *alive)
{
    struct gossip_packet p;
    struct gossip_ping ping = {.nonce = 1};
    uint64_t until_ms = hostile_now_ms() + ANSWER_WITHIN_MS;
    h->challenge = 0;
    h->acked = false;
    while (!h->challenge && hostile_now_ms() < until_ms) {
        hostile_ping(h, &p, 0);
        hostile_send(h, &p);
        hostile_hear(h, 20);
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_ECHO);
    gossip_write64(&p.w, h->challenge);
    (void)gossip_write_end(&p.w, mark);
    (void)gossip_alive_write(&p.w, alive);
    (void)gossip_ping_write(&p.w, &ping);
    while (!h->acked && hostile_now_ms() < until_ms) {
        hostile_send(h, &p);
        hostile_hear(h, 20);
    }
    if (!h->acked) {
        fprintf(stderr, "hostile: the daemon does not take us\n");
        exit(3);
    }
}
