/* replays.c - what somebody who has no key saw on the wire, sent again. */
#include "hostile.h"

#include "base/check.h"
#include "base/hex.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DAEMON_REGISTRY_PORT 5000
#define EXCHANGE_FORMAT 1 /* lib/gossip/exchange.c */
#define ANSWER_WITHIN_S 10

/* What a member that hears no UDP asks with: its record, and buckets of members none of which is
 * like the daemon's. */
static void write_exchange(struct hostile *h, char ret_auth[GOSSIP_AUTH_TEXT_BYTES])
{
    static const char path[] = GOSSIP_PATH_PREFIX "exchange";
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = path, .len = sizeof(path) - 1};
    struct gossip_alive alive;
    struct gossip_writer w;
    uint8_t ask[GOSSIP_ASK_BYTES], sealed[GOSSIP_SEAL_OVERHEAD_BYTES + GOSSIP_ASK_BYTES];
    hostile_alive(h, &alive);
    gossip_writer_init(&w, ask, sizeof(ask));
    gossip_write8(&w, EXCHANGE_FORMAT);
    CHECK(gossip_alive_write(&w, &alive));
    gossip_write8(&w, GOSSIP_BUCKET_BITS_MIN);
    for (uint32_t i = 0; i < 1U << GOSSIP_BUCKET_BITS_MIN; i++) {
        gossip_write32(&w, i + 1);
    }
    CHECK(!w.full && gossip_seal_write(h->seal, &binding, ask, w.len, sealed) == 0);
    hex_write(sealed, w.len + GOSSIP_SEAL_OVERHEAD_BYTES, ret_auth);
}

/* The status of the answer, after all of it; 0: none came. */
static int get_exchange(struct hostile *h, const char *auth)
{
    char request[GOSSIP_AUTH_TEXT_BYTES + 256], head[16] = "", rest[4096];
    struct sockaddr_in to = h->to;
    struct timeval patience = {.tv_sec = ANSWER_WITHIN_S};
    int status = 0;
    to.sin_port = htons(DAEMON_REGISTRY_PORT);
    int n = snprintf(request, sizeof(request),
                     "GET " GOSSIP_PATH_PREFIX "exchange HTTP/1.1\r\nHost: daemon\r\n"
                     "Connection: close\r\n" GOSSIP_AUTH_HEADER ": %s\r\n\r\n",
                     auth);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && n > 0 && (size_t)n < sizeof(request));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        send(fd, request, (size_t)n, MSG_NOSIGNAL) == n) {
        h->sent++;
        h->sent_bytes += (uint64_t)n;
        ssize_t got = recv(fd, head, sizeof(head) - 1, MSG_WAITALL);
        status = got > 0 && sscanf(head, "HTTP/1.1 %d", &status) == 1 ? status : 0;
        for (; got > 0; got = recv(fd, rest, sizeof(rest), 0)) {
            h->back_bytes += (uint64_t)got;
        }
    }
    (void)close(fd);
    return status;
}

/* A member's exchange, answered once, and then `count` times again over HTTP. */
void hostile_replayed_exchange(struct hostile *h)
{
    char auth[GOSSIP_AUTH_TEXT_BYTES] = "";
    struct gossip_alive alive;
    uint64_t taken = 0, refused = 0, unanswered = 0;
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    write_exchange(h, auth);
    int first = get_exchange(h, auth);
    h->sent = h->sent_bytes = h->back = h->back_bytes = 0;
    for (size_t i = 0; i < h->count; i++) {
        int status = get_exchange(h, auth);
        taken += status == 200;
        unanswered += status == 0;
        refused += status != 200 && status != 0;
        hostile_hear(h, i % 16 ? 0 : 1); /* and stays alive meanwhile */
    }
    printf("{\"first\":%d,\"taken\":%llu,\"refused\":%llu,\"unanswered\":%llu}\n", first,
           (unsigned long long)taken, (unsigned long long)refused, (unsigned long long)unanswered);
}

/* Counts what comes within so long; a bystander answers nothing. */
static void count_back(struct hostile *h, uint64_t ms)
{
    uint64_t until_ms = hostile_now_ms() + ms;
    for (uint64_t now_ms = hostile_now_ms(); now_ms < until_ms; now_ms = hostile_now_ms()) {
        struct pollfd wait = {.fd = h->fd, .events = POLLIN};
        uint8_t bytes[2048];
        ssize_t n = poll(&wait, 1, (int)(until_ms - now_ms)) > 0
                        ? recv(h->fd, bytes, sizeof(bytes), MSG_DONTWAIT)
                        : 0;
        h->back += n > 0;
        h->back_bytes += n > 0 ? (uint64_t)n : 0;
    }
}

/* What a node that the daemon has never met once sent to challenge somebody, from the address of a
 * third party. That third party is a socket of ours, and only it is counted. */
void hostile_replayed_challenge(struct hostile *h)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_packet p;
    uint16_t port = 0;
    int mine = h->fd;
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_CHALLENGE);
    gossip_write64(&p.w, hostile_random(h));
    (void)gossip_write_end(&p.w, mark);
    size_t n = hostile_seal(h, &p, bytes);
    h->fd = hostile_socket(ntohl(h->to.sin_addr.s_addr), &port);
    for (size_t i = 0; i < h->count; i++) {
        hostile_pace(h);
        hostile_send_bytes(h, bytes, n);
    }
    count_back(h, 500);
    (void)close(mine);
    (void)close(h->fd);
    h->fd = hostile_socket(ntohl(h->to.sin_addr.s_addr), &(uint16_t){0});
}
