#include "gossip/swarm_state.h"

#include <errno.h>

#define OFFER_HOLDS 1

static int read_result(const struct gossip_reader *r)
{
    return r->failed ? -EPROTO : 0;
}

int gossip_want_read(struct gossip_reader *r, struct gossip_want *ret_want)
{
    struct gossip_want want = {0};
    want.key = gossip_read64(r);
    want.ask = gossip_read32(r);
    want.bytes = gossip_read64(r);
    want.failed_count = gossip_read8(r);
    if (want.ask == 0 || want.failed_count > GOSSIP_SWARM_FAILED) {
        return -EPROTO;
    }
    for (size_t i = 0; i < want.failed_count; i++) {
        want.failed[i].id = gossip_read48(r);
        uint8_t fault = gossip_read8(r);
        if (fault > GOSSIP_FAULT_WRONG) {
            return -EPROTO;
        }
        want.failed[i].fault = (enum gossip_swarm_fault)fault;
    }
    *ret_want = want;
    return read_result(r);
}

bool gossip_want_write(struct gossip_writer *w, const struct gossip_want *want)
{
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_WANT);
    gossip_write64(w, want->key);
    gossip_write32(w, want->ask);
    gossip_write64(w, want->bytes);
    gossip_write8(w, want->failed_count);
    for (size_t i = 0; i < want->failed_count; i++) {
        gossip_write48(w, want->failed[i].id);
        gossip_write8(w, (uint8_t)want->failed[i].fault);
    }
    return gossip_write_end(w, mark);
}

int gossip_answer_read(struct gossip_reader *r, uint8_t type, struct gossip_answer *ret_answer)
{
    struct gossip_answer answer = {.kind = GOSSIP_SWARM_GRANT};
    answer.key = gossip_read64(r);
    answer.ask = gossip_read32(r);
    if (type == GOSSIP_MSG_OFFER) {
        answer.retry_ms = gossip_read16(r);
        answer.count = gossip_read8(r);
        answer.kind = answer.count ? GOSSIP_SWARM_OFFER : GOSSIP_SWARM_WAIT;
        if (answer.count > GOSSIP_SWARM_OFFERS) {
            return -EPROTO;
        }
    }
    for (size_t i = 0; i < answer.count; i++) {
        answer.offers[i].id = gossip_read48(r);
        answer.offers[i].depth = gossip_read8(r);
        answer.offers[i].holds = (gossip_read8(r) & OFFER_HOLDS) != 0;
    }
    *ret_answer = answer;
    return read_result(r);
}

bool gossip_answer_write(struct gossip_writer *w, const struct gossip_answer *answer)
{
    bool grant = answer->kind == GOSSIP_SWARM_GRANT;
    size_t mark = gossip_write_begin(w, grant ? GOSSIP_MSG_GRANT : GOSSIP_MSG_OFFER);
    gossip_write64(w, answer->key);
    gossip_write32(w, answer->ask);
    if (!grant) {
        gossip_write16(w, answer->retry_ms);
        gossip_write8(w, answer->count);
        for (size_t i = 0; i < answer->count; i++) {
            gossip_write48(w, answer->offers[i].id);
            gossip_write8(w, answer->offers[i].depth);
            gossip_write8(w, answer->offers[i].holds ? OFFER_HOLDS : 0);
        }
    }
    return gossip_write_end(w, mark);
}

int gossip_renew_read(struct gossip_reader *r, uint8_t type, struct gossip_renew *ret_renew)
{
    struct gossip_renew renew = {.state = GOSSIP_FLIGHT_GONE};
    renew.key = gossip_read64(r);
    renew.sequence = gossip_read32(r);
    if (type == GOSSIP_MSG_RENEW) {
        renew.state = gossip_read8(r);
        renew.parent = gossip_read48(r);
        renew.bytes = gossip_read64(r);
        renew.idle_ms = gossip_read32(r);
        renew.load = gossip_read8(r);
        if (renew.state >= GOSSIP_FLIGHT_GONE) {
            return -EPROTO;
        }
    }
    *ret_renew = renew;
    return read_result(r);
}

bool gossip_renew_write(struct gossip_writer *w, const struct gossip_renew *renew)
{
    bool gone = renew->state == GOSSIP_FLIGHT_GONE;
    size_t mark = gossip_write_begin(w, gone ? GOSSIP_MSG_GIVE_UP : GOSSIP_MSG_RENEW);
    gossip_write64(w, renew->key);
    gossip_write32(w, renew->sequence);
    if (!gone) {
        gossip_write8(w, renew->state);
        gossip_write48(w, renew->parent);
        gossip_write64(w, renew->bytes);
        gossip_write32(w, renew->idle_ms);
        gossip_write8(w, renew->load);
    }
    return gossip_write_end(w, mark);
}
