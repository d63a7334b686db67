/* message.c - the fields of each message of wire.h, in the order they travel. */
#include "gossip/wire.h"

#include <errno.h>
#include <string.h>

static int read_result(const struct gossip_reader *r)
{
    return r->failed ? -EPROTO : 0;
}

static void read_ip(struct gossip_reader *r, struct gossip_addr *ret_addr)
{
    *ret_addr = (struct gossip_addr){.family = gossip_read8(r)};
    size_t n = ret_addr->family == GOSSIP_IPV4 ? 4 : ret_addr->family == GOSSIP_IPV6 ? 16 : 0;
    if (n == 0) {
        r->failed = true;
    }
    const uint8_t *ip = gossip_read_bytes(r, n);
    if (ip) {
        memcpy(ret_addr->ip, ip, n);
    }
}

static void write_ip(struct gossip_writer *w, const struct gossip_addr *addr)
{
    gossip_write8(w, addr->family);
    gossip_write_bytes(w, addr->ip, addr->family == GOSSIP_IPV4 ? 4 : 16);
}

int gossip_ping_read(struct gossip_reader *r, struct gossip_ping *ret_ping)
{
    ret_ping->target = gossip_read48(r);
    ret_ping->nonce = gossip_read32(r);
    ret_ping->cluster_hash = gossip_read64(r);
    ret_ping->state = gossip_read8(r);
    ret_ping->incarnation = gossip_read16(r);
    return read_result(r);
}

bool gossip_ping_write(struct gossip_writer *w, const struct gossip_ping *ping)
{
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_PING);
    gossip_write48(w, ping->target);
    gossip_write32(w, ping->nonce);
    gossip_write64(w, ping->cluster_hash);
    gossip_write8(w, ping->state);
    gossip_write16(w, ping->incarnation);
    return gossip_write_end(w, mark);
}

int gossip_ack_read(struct gossip_reader *r, struct gossip_ack *ret_ack)
{
    ret_ack->nonce = gossip_read32(r);
    ret_ack->cluster_hash = gossip_read64(r);
    ret_ack->load = gossip_read8(r);
    ret_ack->flags = gossip_read8(r);
    return read_result(r);
}

bool gossip_ack_write(struct gossip_writer *w, const struct gossip_ack *ack)
{
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_ACK);
    gossip_write32(w, ack->nonce);
    gossip_write64(w, ack->cluster_hash);
    gossip_write8(w, ack->load);
    gossip_write8(w, ack->flags);
    return gossip_write_end(w, mark);
}

int gossip_ping_req_read(struct gossip_reader *r, struct gossip_ping_req *ret_req)
{
    ret_req->target = gossip_read48(r);
    ret_req->nonce = gossip_read32(r);
    read_ip(r, &ret_req->addr);
    ret_req->addr.port = gossip_read16(r);
    return read_result(r);
}

bool gossip_ping_req_write(struct gossip_writer *w, const struct gossip_ping_req *req)
{
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_PING_REQ);
    gossip_write48(w, req->target);
    gossip_write32(w, req->nonce);
    write_ip(w, &req->addr);
    gossip_write16(w, req->addr.port);
    return gossip_write_end(w, mark);
}

int gossip_alive_read(struct gossip_reader *r, struct gossip_alive *ret_alive)
{
    struct gossip_alive a = {0};
    /* One statement a field: C leaves the order of an initialiser's expressions open. */
    a.id = gossip_read48(r);
    a.boot = gossip_read48(r);
    a.salt = gossip_read32(r);
    a.incarnation = gossip_read16(r);
    a.protocol = gossip_read8(r);
    a.flags = gossip_read8(r);
    uint8_t addr_count = gossip_read8(r);
    if (addr_count == 0 || addr_count > 2) {
        return -EPROTO;
    }
    for (size_t i = 0; i < addr_count; i++) {
        read_ip(r, &a.addrs[i]);
    }
    a.gossip_port = gossip_read16(r);
    a.registry_port = gossip_read16(r);
    uint8_t zone_bytes = gossip_read8(r);
    const uint8_t *zone = gossip_read_bytes(r, zone_bytes);
    if (zone) {
        size_t n = zone_bytes < sizeof(a.zone) ? zone_bytes : sizeof(a.zone) - 1;
        memcpy(a.zone, zone, n);
    }
    a.version = gossip_read32(r);
    a.count = gossip_read32(r);
    a.hash = gossip_read64(r);
    if (r->failed || a.id == 0 || a.boot == 0 || a.gossip_port == 0) {
        return -EPROTO;
    }
    *ret_alive = a;
    return 0;
}

bool gossip_alive_write(struct gossip_writer *w, const struct gossip_alive *a)
{
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_ALIVE);
    gossip_write48(w, a->id);
    gossip_write48(w, a->boot);
    gossip_write32(w, a->salt);
    gossip_write16(w, a->incarnation);
    gossip_write8(w, a->protocol);
    gossip_write8(w, a->flags);
    uint8_t addr_count = (uint8_t)((a->addrs[0].family != 0) + (a->addrs[1].family != 0));
    gossip_write8(w, addr_count);
    for (size_t i = 0; i < 2; i++) {
        if (a->addrs[i].family) {
            write_ip(w, &a->addrs[i]);
        }
    }
    gossip_write16(w, a->gossip_port);
    gossip_write16(w, a->registry_port);
    uint8_t zone_bytes = (uint8_t)strnlen(a->zone, sizeof(a->zone) - 1);
    gossip_write8(w, zone_bytes);
    gossip_write_bytes(w, a->zone, zone_bytes);
    gossip_write32(w, a->version);
    gossip_write32(w, a->count);
    gossip_write64(w, a->hash);
    return gossip_write_end(w, mark);
}

int gossip_accusation_read(struct gossip_reader *r, struct gossip_accusation *ret_accusation)
{
    ret_accusation->id = gossip_read48(r);
    ret_accusation->boot = gossip_read48(r);
    ret_accusation->incarnation = gossip_read16(r);
    ret_accusation->from = gossip_read48(r);
    return read_result(r);
}

bool gossip_accusation_write(struct gossip_writer *w, enum gossip_message type,
                             const struct gossip_accusation *accusation)
{
    size_t mark = gossip_write_begin(w, type);
    gossip_write48(w, accusation->id);
    gossip_write48(w, accusation->boot);
    gossip_write16(w, accusation->incarnation);
    gossip_write48(w, accusation->from);
    return gossip_write_end(w, mark);
}

int gossip_delta_req_read(struct gossip_reader *r, struct gossip_delta_req *ret_req)
{
    ret_req->owner = gossip_read48(r);
    ret_req->boot = gossip_read48(r);
    ret_req->from = gossip_read32(r);
    ret_req->to = gossip_read32(r);
    return read_result(r);
}

bool gossip_delta_req_write(struct gossip_writer *w, enum gossip_message type,
                            const struct gossip_delta_req *req)
{
    size_t mark = gossip_write_begin(w, type);
    gossip_write48(w, req->owner);
    gossip_write48(w, req->boot);
    gossip_write32(w, req->from);
    gossip_write32(w, req->to);
    return gossip_write_end(w, mark);
}
