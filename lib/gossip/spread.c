#include "gossip/state.h"

#include "base/check.h"

#define FLUSH_MIN_MS 50
#define FLUSH_SPAN_MS 50
#define FANOUT 3
#define PACKETS_PER_FLUSH 6
#define MEMBERSHIP_SHARE_PERCENT 40
/* Accusations go out for so much longer than others, not for ever: half of a large cluster is
 * accused by the other half when it is cut off. What is left below is for answers. */
#define ACCUSED_OVERDRAFT_BYTES (LIMIT_GOSSIP_BUCKET_BYTES / 8)
#define DEBT_BYTES_MAX (LIMIT_GOSSIP_BUCKET_BYTES / 2) /* two seconds' worth */

void gossip_packet_begin(struct gossip_packet *p, enum gossip_class class)
{
    p->class = class;
    gossip_writer_init(&p->w, p->body, sizeof(p->body));
    p->dictionary.count = 0;
    p->own_cap = class == GOSSIP_CLASS_SWARM;
}

bool gossip_packet_about(struct gossip *g, struct gossip_packet *p, const struct gossip_member *m)
{
    if (m->state == GOSSIP_ALIVE) {
        struct gossip_alive alive;
        gossip_alive_of(g, m, &alive);
        return alive.addrs[0].family && gossip_alive_write(&p->w, &alive);
    }
    struct gossip_accusation a = {.id = m->id, .boot = m->boot, .incarnation = m->incarnation};
    if (m->state != GOSSIP_SUSPECT) {
        a.from = g->me->id;
        return gossip_accusation_write(
            &p->w, m->state == GOSSIP_DEAD ? GOSSIP_MSG_DEAD : GOSSIP_MSG_LEFT, &a);
    }
    /* Every witness by name: independent suspicions are what takes a member out of selection. */
    bool fits = true;
    for (size_t i = 0; i < m->doubt->suspicion.witness_count && fits; i++) {
        a.from = m->doubt->suspicion.witnesses[i];
        fits = gossip_accusation_write(&p->w, GOSSIP_MSG_SUSPECT, &a);
    }
    return fits;
}

/* Membership rumours, the least often sent first; what is written moves to `done`. */
static size_t write_membership(struct gossip *g, struct gossip_packet *p, struct list *done)
{
    size_t written = 0;
    bool fits = true;
    for (size_t sent = 0; sent < GOSSIP_TRANSMISSIONS_MAX && fits; sent++) {
        LIST_EACH_SAFE (link, &g->rumours[sent]) {
            struct gossip_member *m = CONTAINER_OF(link, struct gossip_member, rumour);
            fits = fits && gossip_packet_about(g, p, m);
            if (!fits) {
                break;
            }
            list_remove(link);
            list_push_back(done, link);
            written++;
        }
    }
    return written;
}

static void count_copies(struct gossip *g, struct list *done, unsigned copies)
{
    LIST_EACH_SAFE (link, done) {
        struct gossip_member *m = CONTAINER_OF(link, struct gossip_member, rumour);
        list_remove(link);
        m->rumour_sent = (uint8_t)(m->rumour_sent + copies);
        if (m->rumour_sent < g->changes.transmissions) {
            list_push_back(&g->rumours[m->rumour_sent], link);
        } else {
            g->rumour_count--;
        }
    }
}

size_t gossip_packet_fill(struct gossip *g, struct gossip_packet *p, size_t bytes, unsigned copies)
{
    if (g->rumour_count + g->changes.rumours == 0) {
        return 0; /* as nearly always */
    }
    struct list done;
    list_init(&done);
    size_t whole = p->w.max;
    size_t room = bytes > p->w.len ? bytes - p->w.len : 0;
    p->w.max = p->w.len + (room * MEMBERSHIP_SHARE_PERCENT + 99) / 100;
    size_t written = write_membership(g, p, &done);
    p->w.max = bytes > p->w.len ? bytes : p->w.len;
    written += gossip_changes_write(&g->changes, &p->w, &p->dictionary, copies);
    written += write_membership(g, p, &done);
    count_copies(g, &done, copies);
    p->w.max = whole;
    return written;
}

/* What is not held back, pings and their answers, may run into debt; not into so much that all else
 * is silent for longer than that takes to pay. */
static void spend(struct gossip *g, int64_t bytes)
{
    g->tokens -= bytes;
    if (g->tokens < -DEBT_BYTES_MAX) {
        g->tokens = -DEBT_BYTES_MAX;
    }
}

static bool may_go(struct gossip *g, const struct gossip_packet *p, const struct gossip_addr *to)
{
    size_t bytes = p->w.len + GOSSIP_SEAL_OVERHEAD_BYTES;
    if (g->unproven.family == GOSSIP_NO_ADDR || !gossip_addr_equal(to, &g->unproven)) {
        return true;
    }
    if (bytes > g->unproven_bytes) {
        return false;
    }
    g->unproven_bytes -= bytes;
    return true;
}

void gossip_packet_send(struct gossip *g, struct gossip_packet *p, const struct gossip_addr *to,
                        size_t count)
{
    struct gossip_effects *e = g->effects;
    const struct gossip_send *sealed = NULL;
    for (size_t i = 0; i < count && p->w.len > 0; i++) {
        if (to[i].family == GOSSIP_NO_ADDR || to[i].port == 0) {
            continue;
        }
        if (e->send_count == e->send_capacity) {
            g->stats.drop_cap++;
            return;
        }
        if (!may_go(g, p, &to[i])) {
            continue;
        }
        struct gossip_send *send = &e->sends[e->send_count];
        if (sealed) {
            *send = *sealed; /* the envelope does not name the receiver */
        } else {
            struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
            if (gossip_seal_write(g->seal, &binding, p->body, p->w.len, send->bytes)) {
                g->stats.drop_memory++;
                return;
            }
            send->len = (uint16_t)(p->w.len + GOSSIP_SEAL_OVERHEAD_BYTES);
            sealed = send;
        }
        send->to = to[i];
        e->send_count++;
        spend(g, p->own_cap ? 0 : send->len);
        g->stats.packets_out++;
        g->stats.bytes_out += send->len;
        g->stats.class_packets[p->class]++;
        g->stats.class_bytes[p->class] += send->len;
    }
}

void gossip_wake_spreader(struct gossip *g)
{
    if (g->flush_ms == GOSSIP_NEVER_MS) {
        g->flush_ms = g->now_ms + FLUSH_MIN_MS + gossip_random(g) % FLUSH_SPAN_MS;
    }
}

bool gossip_in_a_rush(const struct gossip *g)
{
    return g->tokens < LIMIT_GOSSIP_BUCKET_BYTES / 2;
}

bool gossip_may_answer(const struct gossip *g)
{
    return g->tokens > -LIMIT_GOSSIP_BUCKET_BYTES / 4;
}

static void refill(struct gossip *g)
{
    uint64_t passed_ms = g->now_ms - g->tokens_ms;
    if (passed_ms > 10000) {
        passed_ms = 10000;
    }
    g->tokens_ms = g->now_ms;
    g->tokens += (int64_t)(passed_ms * LIMIT_GOSSIP_BUCKET_BYTES_PER_S / 1000);
    if (g->tokens > LIMIT_GOSSIP_BUCKET_BYTES) {
        g->tokens = LIMIT_GOSSIP_BUCKET_BYTES;
    }
}

/* More where much is lost: of 8 copies at 30 % loss so few arrive that each time some nodes of a
 * thousand got none, and had to ask. In a rush there is no room for more. */
static unsigned transmissions(const struct gossip *g)
{
    unsigned more = gossip_in_a_rush(g) ? 0 : gossip_loss(g) * GOSSIP_TRANSMISSIONS / 2;
    return GOSSIP_TRANSMISSIONS + more;
}

void gossip_spread_tick(struct gossip *g)
{
    refill(g);
    g->changes.transmissions = transmissions(g);
    if (g->now_ms < g->flush_ms) {
        return;
    }
    g->flush_ms = GOSSIP_NEVER_MS;
    struct gossip_member *peers[FANOUT];
    for (size_t i = 0; i < PACKETS_PER_FLUSH && g->rumour_count + g->changes.rumours > 0; i++) {
        /* Other peers for each packet: a rumour of the second packet is as good as one of the
         * first. */
        size_t count = gossip_random_members(g, NULL, peers, FANOUT);
        if (count == 0) {
            return; /* alone: rumours wait, capped, for somebody to tell */
        }
        struct gossip_packet p;
        struct gossip_addr to[FANOUT];
        for (size_t k = 0; k < count; k++) {
            to[k] = gossip_member_addr(g, peers[k]);
        }
        if (g->tokens <= (list_empty(&g->suspects) ? 0 : -ACCUSED_OVERDRAFT_BYTES)) {
            g->stats.drop_rate++;
            break;
        }
        gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
        gossip_packet_fill(g, &p, sizeof(p.body), (unsigned)count);
        gossip_packet_send(g, &p, to, count);
    }
    if (g->rumour_count + g->changes.rumours > 0) {
        gossip_wake_spreader(g);
    }
}
