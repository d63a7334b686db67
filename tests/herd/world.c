#include "herd.h"

#include "base/check.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BUFFER_BYTES (4 * 1024 * 1024)

uint64_t herd_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t herd_now_ms(void)
{
    return herd_now_us() / 1000;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t herd_random(struct herd_world *w)
{
    return gossip_mix(w->random += UINT64_C(0x9e3779b97f4a7c15));
}

uint32_t herd_member_ip(size_t member)
{
    return 0x7f010001U + (uint32_t)member; /* 127.1.0.1 and up */
}

static struct gossip_addr addr_of(uint32_t ip, uint16_t port)
{
    return (struct gossip_addr){
        .family = GOSSIP_IPV4,
        .ip = {(uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip},
        .port = port};
}

/* --- making the members --- */

struct gossip_member *herd_record(struct herd_world *w, size_t member)
{
    return member == 0 ? w->archive->me
                       : gossip_members_get(&w->archive->members, w->puppets[member].id);
}

static void make_archive(struct herd_world *w)
{
    struct gossip_config config = {.label = HERD_LABEL,
                                   .id = w->puppets[0].id,
                                   .boot_ms = wall_ms(),
                                   .now_ms = herd_now_ms(),
                                   .wall_ms = wall_ms()};
    for (size_t i = 0; i < sizeof(config.seed); i++) {
        config.seed[i] = (uint8_t)herd_random(w);
    }
    config.self = (struct gossip_self){.addrs = {addr_of(herd_member_ip(0), 0)},
                                       .gossip_port = w->gossip_port,
                                       .registry_port = w->registry_port,
                                       .zone = "herd"};
    CHECK(gossip_new(&config, &w->archive) == 0);
}

static void make_puppet(struct herd_world *w, size_t i, const uint64_t *keys, size_t count)
{
    struct gossip_alive a = {.id = w->puppets[i].id,
                             .boot = wall_ms(),
                             .salt = (uint32_t)herd_random(w),
                             .protocol = GOSSIP_PROTOCOL,
                             .addrs = {addr_of(herd_member_ip(i), 0)},
                             .gossip_port = w->gossip_port,
                             .registry_port = w->registry_port,
                             .zone = "herd"};
    struct gossip_sender sender = {.id = a.id, .boot = a.boot, .salt = a.salt};
    uint64_t hash = 0;
    CHECK(gossip_seal_new(HERD_LABEL, NULL, 0, &w->puppets[i].seal) == 0);
    CHECK(gossip_seal_set_sender(w->puppets[i].seal, &sender) == 0);
    for (size_t k = 0; k < count; k++) {
        hash ^= gossip_mix(keys[k]);
    }
    w->effects.note_count = w->effects.send_count = 0;
    gossip_hear_alive(w->archive, &a, a.id);
    gossip_take_set(w->archive, herd_record(w, i), 1, hash, keys, count);
}

/* Nothing of how the view came to be is news. */
static void forget_rumours(struct gossip *g)
{
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        list_remove(&m->rumour);
    }
    g->rumour_count = 0;
    gossip_changes_done(&g->changes);
    gossip_changes_init(&g->changes);
}

static void make_members(struct herd_world *w)
{
    uint64_t *keys = malloc((w->keys + HERD_DRAWN_OVER) * sizeof(*keys));
    CHECK(keys);
    for (size_t i = 0; i < w->count; i++) {
        w->puppets[i].id = herd_random(w) >> 16;
    }
    make_archive(w);
    struct gossip_event seeds = {.kind = GOSSIP_SEEDS};
    herd_step(w, &seeds); /* nobody to join: ready at once */
    size_t count = herd_draw_keys(w, 0, w->keys, keys);
    struct gossip_event add = {.kind = GOSSIP_LOCAL_ADD, .keys = {keys, count}};
    herd_step(w, &add);
    herd_archive_begin(w);
    for (size_t i = 1; i < w->count; i++) {
        make_puppet(w, i, keys, herd_draw_keys(w, i, w->keys, keys));
    }
    forget_rumours(w->archive);
    w->effects.send_count = 0;
    herd_archive_end(w);
    free(keys);
}

/* A socket of all of 127/8, and of no other interface. */
static int loopback_socket(int type, uint16_t *ret_port)
{
    int yes = 1, size = RECEIVE_BUFFER_BYTES;
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t n = sizeof(any);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
        getsockname(fd, (struct sockaddr *)&any, &n) < 0) {
        fprintf(stderr, "herd: a socket on loopback: %s\n", strerror(errno));
        exit(2);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (type == SOCK_DGRAM) {
        CHECK(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes)) == 0);
    }
    *ret_port = ntohs(any.sin_port);
    return fd;
}

void herd_world_init(struct herd_world *w, size_t members, size_t keys, uint64_t seed)
{
    *w = (struct herd_world){.count = members, .keys = keys, .random = gossip_mix(seed)};
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0);
    w->puppets = calloc(members, sizeof(*w->puppets));
    CHECK(w->puppets && gossip_seal_new(HERD_LABEL, NULL, 0, &w->opener) == 0);
    gossip_effects_init(&w->effects);
    w->udp = loopback_socket(SOCK_DGRAM, &w->gossip_port);
    w->listener = loopback_socket(SOCK_STREAM, &w->registry_port);
    CHECK(listen(w->listener, 512) == 0);
    make_members(w);
}

void herd_world_done(struct herd_world *w)
{
    herd_rumours_done(w);
    for (size_t i = 0; i < w->count; i++) {
        gossip_seal_free(w->puppets[i].seal);
    }
    gossip_seal_free(w->opener);
    gossip_effects_done(&w->effects);
    (void)close(w->udp);
    /* The archive and the listener stay for the registry's threads, which end with the process. */
}

/* --- sending --- */

static void send_bytes(struct herd_world *w, size_t from, const struct gossip_addr *to,
                       const uint8_t *bytes, size_t n)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = sizeof(address),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    struct in_pktinfo info = {.ipi_spec_dst = {htonl(herd_member_ip(from))}};
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(info));
    memcpy(CMSG_DATA(c), &info, sizeof(info));
    memcpy(&address.sin_addr, to->ip, 4);
    if (sendmsg(w->udp, &message, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 &&
        gossip_addr_equal(to, &w->daemon)) {
        w->packets_out++;
        w->bytes_out += n;
    }
}

void herd_send(struct herd_world *w, size_t from, const struct gossip_addr *to, const uint8_t *body,
               size_t n)
{
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    CHECK(n + GOSSIP_SEAL_OVERHEAD_BYTES <= sizeof(bytes));
    struct gossip_seal *seal = from == 0 ? w->archive->seal : w->puppets[from].seal;
    if (n > 0 && gossip_seal_write(seal, &binding, body, n, bytes) == 0) {
        send_bytes(w, from, to, bytes, n + GOSSIP_SEAL_OVERHEAD_BYTES);
    }
}

/* --- the archive --- */

/* A set of the daemon's that is too large for rumours; members hold nothing the archive lacks. */
static void fetch(struct herd_world *w, const struct gossip_fetch *f)
{
    struct gossip_event ended = {.kind = GOSSIP_FETCHED, .fetched = {.id = f->id, .status = -EIO}};
    struct herd_http http;
    struct buf body;
    char fields[64 + GOSSIP_AUTH_TEXT_BYTES];
    buf_init(&body, f->max_bytes);
    if (f->peer == w->daemon_id && f->peer) {
        snprintf(fields, sizeof(fields), GOSSIP_AUTH_HEADER ": %s\r\n", f->auth);
        herd_http_init(&http, gossip_load32(f->from.ip), f->from.port);
        int status = herd_http_ask(&http, "GET", f->path, fields, &body);
        herd_http_done(&http);
        if (status == 200 && body.len) {
            ended.fetched.status = 0;
            ended.fetched.bytes = (uint8_t *)body.data;
            ended.fetched.len = body.len;
        }
    }
    herd_step(w, &ended);
    buf_done(&body);
}

static void carry_out(struct herd_world *w)
{
    struct gossip_fetch fetches[LIMIT_GOSSIP_FETCHES];
    size_t fetch_count = w->effects.fetch_count;
    for (size_t i = 0; i < w->effects.send_count; i++) {
        const struct gossip_send *send = &w->effects.sends[i];
        send_bytes(w, 0, &send->to, send->bytes, send->len);
    }
    memcpy(fetches, w->effects.fetches, fetch_count * sizeof(*fetches));
    w->effects.send_count = w->effects.fetch_count = 0;
    for (size_t i = 0; i < fetch_count; i++) {
        fetch(w, &fetches[i]);
    }
}

void herd_step(struct herd_world *w, struct gossip_event *event)
{
    event->now_ms = herd_now_ms();
    event->wall_ms = wall_ms();
    pthread_mutex_lock(&w->lock);
    gossip_step(w->archive, event, &w->effects);
    pthread_mutex_unlock(&w->lock);
    w->wake_ms = w->effects.wake_at_ms;
    carry_out(w);
}

void herd_archive_begin(struct herd_world *w)
{
    pthread_mutex_lock(&w->lock);
    w->archive->effects = &w->effects;
    w->archive->now_ms = herd_now_ms();
    w->effects.send_count = w->effects.fetch_count = w->effects.note_count = 0;
}

void herd_archive_end(struct herd_world *w)
{
    w->archive->effects = NULL;
    pthread_mutex_unlock(&w->lock);
    w->wake_ms = 0; /* a tick finds out what there is to do next */
    carry_out(w);
}

/* --- living --- */

static void hear(struct herd_world *w, size_t member, const struct sockaddr_in *from,
                 const uint8_t *bytes, size_t n)
{
    struct gossip_addr addr = addr_of(ntohl(from->sin_addr.s_addr), ntohs(from->sin_port));
    if (gossip_addr_equal(&addr, &w->daemon)) {
        w->packets_in++;
        w->bytes_in += n;
    }
    if (member == 0) {
        struct gossip_event event = {.kind = GOSSIP_PACKET, .packet = {addr, bytes, n}};
        herd_step(w, &event);
    } else if (member < w->count) {
        herd_puppet_hear(w, member, &addr, bytes, n);
    }
}

static bool receive_one(struct herd_world *w)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control;
    uint8_t bytes[2048];
    struct sockaddr_in from;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr message = {.msg_name = &from,
                             .msg_namelen = sizeof(from),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    ssize_t n = recvmsg(w->udp, &message, MSG_DONTWAIT);
    struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (c && c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        hear(w, ntohl(info.ipi_addr.s_addr) - herd_member_ip(0), &from, bytes, (size_t)n);
    }
    return n >= 0;
}

void herd_world_run(struct herd_world *w, uint64_t until_ms, bool (*stop)(struct herd_world *w))
{
    for (uint64_t now_ms = herd_now_ms(); now_ms < until_ms && !(stop && stop(w));
         now_ms = herd_now_ms()) {
        struct pollfd wait = {.fd = w->udp, .events = POLLIN};
        bool busy = w->rollout_ms && !herd_rollout_over(w);
        uint64_t wake_ms = w->wake_ms < w->next_ping_ms ? w->wake_ms : w->next_ping_ms;
        wake_ms = busy ? now_ms + 1 : wake_ms < until_ms ? wake_ms : until_ms;
        (void)poll(&wait, 1, wake_ms > now_ms ? (int)(wake_ms - now_ms) : 0);
        for (int i = 0; i < 256 && receive_one(w); i++) {
        }
        now_ms = herd_now_ms();
        if (now_ms >= w->wake_ms) {
            struct gossip_event tick = {.kind = GOSSIP_TICK};
            herd_step(w, &tick);
        }
        if (now_ms >= w->next_ping_ms) {
            herd_puppet_ping(w, now_ms);
        }
        if (w->rollout_ms) {
            herd_rollout_tick(w, now_ms);
        }
    }
}
