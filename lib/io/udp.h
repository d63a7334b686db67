/* udp.h - datagrams for gossip: recvmmsg and sendmmsg under the loop, don't-fragment set. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "io/loop.h"

struct udp;

typedef void udp_receive_fn(void *arg, const struct sockaddr *from, const uint8_t *bytes, size_t n);

/* Binds "host:port", ":port" or "[::]:port" (dual stack, one socket) or "[v6]:port". Datagrams of
 * more than 2 KiB are dropped and counted. 0 or negative errno with the sentence. */
int udp_new(struct loop *loop, const char *address, udp_receive_fn *receive, void *arg,
            struct udp **ret_udp, struct error *err);
void udp_free(struct udp *u);
uint16_t udp_port(const struct udp *u);

/* Queues for sending at the end of this turn of the loop (capped: over it the datagram is dropped
 * and counted). Never blocks. 0, -ENOBUFS, -EINVAL for a family the socket does not have. */
int udp_send(struct udp *u, const struct sockaddr *to, const uint8_t *bytes, size_t n);

struct udp_counters {
    uint64_t received, sent, dropped_queue, send_errors, oversized;
};
const struct udp_counters *udp_counters(const struct udp *u);
