/* challenge.c - a sender in nobody's view must show that it lives now, and hears where it says: it
 * answers a ping of ours, or repeats a challenge. Both change every few seconds, so that what was
 * kept shows nothing, and neither costs us memory. */
#include "gossip/state.h"

static uint32_t stranger_nonce(const struct gossip *g, uint64_t epoch)
{
    uint32_t nonce = (uint32_t)gossip_mix(g->stranger_secret ^ epoch);
    return nonce ? nonce : 1;
}

bool gossip_answers_stranger_ping(const struct gossip *g, uint32_t nonce)
{
    uint64_t epoch = g->now_ms / GOSSIP_COOKIE_MS;
    return nonce == stranger_nonce(g, epoch) ||
           (epoch > 0 && nonce == stranger_nonce(g, epoch - 1));
}

static void write_stranger_ping(struct gossip *g, struct gossip_packet *p)
{
    struct gossip_ping ping = {.nonce = stranger_nonce(g, g->now_ms / GOSSIP_COOKIE_MS),
                               .cluster_hash = g->cluster_hash};
    gossip_ping_write(&p->w, &ping);
}

void gossip_ping_stranger(struct gossip *g, const struct gossip_addr *to)
{
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    write_stranger_ping(g, &p);
    gossip_packet_send(g, &p, to, 1);
}

static uint64_t cookie_for(struct gossip *g, const struct gossip_sender *sender,
                           const struct gossip_addr *from, uint64_t epoch)
{
    static const struct gossip_addr nowhere;
    uint8_t bytes[64];
    struct gossip_writer w;
    from = from ? from : &nowhere;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_write48(&w, sender->id);
    gossip_write48(&w, sender->boot);
    gossip_write32(&w, sender->salt);
    gossip_write_bytes(&w, from->ip, sizeof(from->ip));
    gossip_write16(&w, from->port);
    gossip_write48(&w, g->me->id);
    gossip_write32(&w, g->me->salt);
    gossip_write64(&w, epoch);
    return gossip_seal_cookie(g->seal, bytes, w.len);
}

uint64_t gossip_cookie(struct gossip *g, const struct gossip_sender *sender,
                       const struct gossip_addr *from)
{
    return cookie_for(g, sender, from, g->now_ms / GOSSIP_COOKIE_MS);
}

bool gossip_cookie_fits(struct gossip *g, const struct gossip_sender *sender,
                        const struct gossip_addr *from, uint64_t cookie)
{
    uint64_t epoch = g->now_ms / GOSSIP_COOKIE_MS;
    return cookie == cookie_for(g, sender, from, epoch) ||
           (epoch > 0 && cookie == cookie_for(g, sender, from, epoch - 1));
}

void gossip_cookie_write(struct gossip_writer *w, enum gossip_message type, uint64_t cookie)
{
    size_t mark = gossip_write_begin(w, type);
    gossip_write64(w, cookie);
    gossip_write_end(w, mark);
}

static bool is_below(const struct gossip *g, struct gossip_rate *rate, uint32_t per_s)
{
    if (g->now_ms - rate->since_ms >= 1000) {
        *rate = (struct gossip_rate){.since_ms = g->now_ms};
    }
    return rate->count < per_s;
}

void gossip_challenge(struct gossip *g, const struct gossip_header *h,
                      const struct gossip_addr *from, size_t len)
{
    struct gossip_packet p;
    if (!is_below(g, &g->challenges, LIMIT_GOSSIP_CHALLENGES_PER_S)) {
        g->stats.drop_strangers++;
        return;
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    p.own_cap = true; /* so that a flood of strangers silences nothing else */
    gossip_cookie_write(&p.w, GOSSIP_MSG_CHALLENGE, gossip_cookie(g, &h->sender, from));
    if (p.w.len + GOSSIP_SEAL_OVERHEAD_BYTES <= len) { /* no larger than what it answers */
        g->challenges.count++;
        g->stats.challenged++;
        gossip_packet_send(g, &p, from, 1);
    } else {
        g->stats.drop_strangers++;
    }
}

/* An envelope does not name whom it is for, and there is no window for a stranger's: whoever has
 * seen a challenge can repeat it to anybody, from anywhere. So answers have a limit of their own,
 * and none is more than three times what it answers. */
void gossip_hear_challenge(struct gossip *g, uint64_t cookie, const struct gossip_addr *from,
                           size_t len)
{
    struct gossip_packet p;
    if (g->leaving) {
        return;
    }
    if (!is_below(g, &g->echoes, LIMIT_GOSSIP_ECHOES_PER_S)) {
        g->stats.drop_strangers++;
        return;
    }
    g->echoes.count++;
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    p.own_cap = true;
    gossip_cookie_write(&p.w, GOSSIP_MSG_ECHO, cookie);
    gossip_packet_about(g, &p, g->me);
    size_t introduced = p.w.len;
    write_stranger_ping(g, &p);
    if (p.w.len + GOSSIP_SEAL_OVERHEAD_BYTES > 3 * len) {
        p.w.len = introduced; /* the next round of pings comes anyway */
    }
    gossip_packet_send(g, &p, from, 1);
}
