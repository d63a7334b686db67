/* exchange.c - being a member where UDP is blocked but TCP is open, as with network policies
 * written for a registry alone.
 *
 * Who gets no answer to its pings asks over HTTP, and says so in its record: GET exchange, whose
 * header carries our ALIVE and a hash of each bucket of members as we know them. The answer says
 * what is different: who departed, who gave a sign of life, and a snapshot of the members in the
 * buckets that differ. Whoever answers passes our record on, and fetches our set like anybody's.
 *
 *     ask     format u8 | ECHO message, or nothing | ALIVE or LEFT message | bits u8 |
 *             bucket hash, low half u32 ...
 *     answer  format u8 | same u8 | n u32 |
 *             n bytes of CHALLENGE, ALIVE, SUSPECT, DEAD and LEFT messages | snapshot
 *
 * Who asks without being known to live is answered, but not heard: it may be an old request, sent
 * again by somebody without the key. The answer has a challenge; whoever can read it asks once more
 * at once, and repeats it.
 *
 * Nobody probes a member of which that is known. It says that it lives by a new incarnation now and
 * then; and it judges nobody itself, but believes those who can. */
#include "gossip/state.h"

#include <errno.h>

#define JOINING_DOUBT_MS 450 /* four rounds of seeds are unanswered by then */
#define DOUBT_MS 5000
#define EXCHANGE_MS 5000
#define EXCHANGE_SOON_MS 700 /* of another one, when there is news: ours, or what we were told */
#define EXCHANGES_SOON 8     /* with others that know the same, before it counts as known */
#define AGAIN_MIN_MS 500
#define SIGN_MS 20000
#define INTRODUCED_TO 8
#define GOODBYES 3

/* --- whether UDP works for us --- */

/* Rumours go to those who are known to hear them. Where nobody did, everybody comes back in turn,
 * and each has to tell some who may hear again. */
static void introduce(struct gossip *g)
{
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    (void)gossip_packet_about(g, &p, g->me);
    size_t slots = g->members.slots, start = (size_t)(gossip_random(g) % slots), told = 0;
    for (size_t i = 0; i < slots && told < INTRODUCED_TO; i++) {
        const struct gossip_member *m = g->members.by_slot[(start + i) % slots];
        if (m && m != g->me && m->tcp_only && gossip_member_is_live(m)) {
            struct gossip_addr to = gossip_member_addr(g, m);
            gossip_packet_send(g, &p, &to, 1);
            told++;
        }
    }
}

static void change_udp(struct gossip *g, enum gossip_udp udp)
{
    bool was_open = g->udp == GOSSIP_UDP_OPEN, is_open = udp == GOSSIP_UDP_OPEN;
    bool was_blocked = g->udp == GOSSIP_UDP_BLOCKED, is_blocked = udp == GOSSIP_UDP_BLOCKED;
    g->udp = udp;
    g->stats.udp_blocked = is_blocked;
    if (was_open != is_open) {
        g->me->tcp_only = !is_open;
        gossip_settle(g, g->me);
        gossip_raise_incarnation(g, g->me->incarnation);
    }
    if (is_open && !was_open) {
        introduce(g);
    }
    if (was_blocked != is_blocked) {
        gossip_note(g, is_blocked ? GOSSIP_NOTE_UDP_BLOCKED : GOSSIP_NOTE_UDP_OPEN, g->me);
    }
}

void gossip_udp_answered(struct gossip *g)
{
    g->udp_ms = g->now_ms;
    if (g->udp != GOSSIP_UDP_OPEN && !g->leaving) {
        change_udp(g, GOSSIP_UDP_OPEN);
    }
}

/* --- asking --- */

/* `echo`: 0 for none. */
static size_t write_ask(struct gossip *g, uint64_t echo, uint8_t bytes[GOSSIP_ASK_BYTES])
{
    struct gossip_packet p;
    struct gossip_writer w;
    uint64_t hashes[1 << GOSSIP_BUCKET_BITS_MAX];
    unsigned bits = gossip_bucket_bits(g);
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    if (!gossip_packet_about(g, &p, g->me)) {
        return 0; /* no address of our own yet */
    }
    gossip_bucket_hashes(g, bits, hashes);
    gossip_writer_init(&w, bytes, GOSSIP_ASK_BYTES);
    gossip_write8(&w, GOSSIP_EXCHANGE_FORMAT);
    if (echo) {
        gossip_cookie_write(&w, GOSSIP_MSG_ECHO, echo);
    }
    gossip_write_bytes(&w, p.body, p.w.len);
    gossip_write8(&w, (uint8_t)bits);
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        gossip_write32(&w, (uint32_t)hashes[i]);
    }
    return w.full ? 0 : w.len;
}

/* One who asked us and knows other things, though not twice in a row; else anybody, rather one with
 * UDP, who passes on to all what it hears. */
static struct gossip_member *member_to_ask(struct gossip *g)
{
    size_t slots = g->members.slots, start = (size_t)(gossip_random(g) % slots);
    struct gossip_member *m = gossip_members_get(&g->members, g->exchange_with);
    bool again = m && m->id == g->exchange_last;
    struct gossip_member *found = m && !again && m != g->me && gossip_member_is_live(m) ? m : NULL;
    bool has_udp = found;
    for (size_t i = 0; i < slots && !has_udp; i++) {
        m = g->members.by_slot[(start + i) % slots];
        if (m && m != g->me && gossip_member_is_live(m) && (!found || !m->tcp_only)) {
            found = m;
            has_udp = !m->tcp_only;
        }
    }
    g->exchange_with = 0;
    g->exchange_last = found ? found->id : 0;
    return found;
}

/* A bootstrap address, whose registry is taken to listen where ours does, or a member; at random.
 * Fills in where it hears gossip as well. */
static bool whom_to_ask(struct gossip *g, struct gossip_addr *ret_registry,
                        struct gossip_addr *ret_gossip)
{
    const struct gossip_addr *seed = g->exchange_with ? NULL : gossip_random_seed(g);
    struct gossip_member *m = member_to_ask(g);
    bool member = m && m->registry_port;
    if (seed && (!member || gossip_random(g) % 2)) {
        *ret_registry = *ret_gossip = *seed;
        ret_registry->port = g->self.registry_port;
        return true;
    }
    if (member) {
        *ret_registry = *ret_gossip = gossip_member_addr(g, m);
        ret_registry->port = m->registry_port;
    }
    return member && ret_gossip->family != GOSSIP_NO_ADDR;
}

static void ask(struct gossip *g)
{
    uint8_t bytes[GOSSIP_ASK_BYTES];
    bool echoes = g->exchange_cookie && g->now_ms - g->exchange_cookie_ms < GOSSIP_COOKIE_MS;
    size_t n = write_ask(g, echoes ? g->exchange_cookie : 0, bytes);
    g->next_exchange_ms = g->now_ms + EXCHANGE_MS;
    if (n == 0 || (!echoes && !whom_to_ask(g, &g->exchange_registry, &g->exchange_udp))) {
        return;
    }
    (void)gossip_fetch_exchange(g, &g->exchange_registry, bytes, n);
    g->exchange_echoes = echoes;
    g->exchanged_ms = g->now_ms;
    g->exchanged_hash = g->cluster_hash;
    gossip_ping_stranger(g, &g->exchange_udp); /* it may have been opened meanwhile */
}

void gossip_exchange_leave(struct gossip *g)
{
    uint8_t bytes[GOSSIP_ASK_BYTES];
    struct gossip_member *peers[GOODBYES]; /* of those who can pass it on at once */
    size_t n = write_ask(g, 0, bytes), count = gossip_random_members(g, NULL, peers, GOODBYES);
    if (g->udp == GOSSIP_UDP_OPEN || n == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct gossip_addr registry = gossip_member_addr(g, peers[i]);
        registry.port = peers[i]->registry_port;
        (void)gossip_fetch_exchange(g, &registry, bytes, n);
    }
    if (count == 0) {
        ask(g);
    }
}

void gossip_exchange_ended(struct gossip *g, bool applied)
{
    if (!applied) {
        g->next_exchange_ms = g->now_ms + g->exchange_wait_ms + gossip_random(g) % AGAIN_MIN_MS;
        g->exchange_wait_ms =
            g->exchange_wait_ms * 2 < EXCHANGE_MS ? g->exchange_wait_ms * 2 : EXCHANGE_MS;
        return;
    }
    g->exchange_wait_ms = AGAIN_MIN_MS;
    g->next_exchange_ms = g->now_ms + EXCHANGE_MS - gossip_random(g) % 500;
    if (g->exchange_echoes) {
        g->exchange_cookie = 0; /* heard */
    } else if (g->exchange_cookie) {
        g->next_exchange_ms = g->now_ms;
    }
    if (g->udp == GOSSIP_UDP_DOUBTED) {
        change_udp(g, GOSSIP_UDP_BLOCKED);
        g->next_sign_ms = g->now_ms + SIGN_MS;
    }
    gossip_snapshot_ended(g, true, 0);
}

static bool has_company(struct gossip *g)
{
    return g->live > 1 || gossip_random_seed(g);
}

void gossip_exchange_tick(struct gossip *g)
{
    for (size_t i = 0; i < g->caller_count; i++) {
        const struct gossip_caller *c = &g->callers[i];
        struct gossip_accusation left = {.id = c->alive.id,
                                         .boot = c->alive.boot,
                                         .incarnation = c->alive.incarnation,
                                         .from = c->alive.id};
        if (c->left) {
            gossip_hear_accusation(g, GOSSIP_MSG_LEFT, &left);
        } else {
            gossip_hear_alive(g, &c->alive, c->alive.id);
        }
    }
    g->caller_count = 0;
    if (g->leaving) {
        return;
    }
    if (g->udp == GOSSIP_UDP_OPEN) {
        if (g->now_ms - g->udp_ms < (g->ready ? DOUBT_MS : JOINING_DOUBT_MS)) {
            return;
        }
        g->udp_ms = g->now_ms;
        if (!gossip_has_own_addr(g) || !has_company(g)) {
            return;
        }
        change_udp(g, GOSSIP_UDP_DOUBTED);
        g->exchange_wait_ms = AGAIN_MIN_MS;
        g->next_exchange_ms = g->now_ms;
    }
    if (g->udp == GOSSIP_UDP_BLOCKED &&
        (g->cluster_hash != g->exchanged_hash || g->exchange_more || g->exchange_with) &&
        g->exchanged_ms + EXCHANGE_SOON_MS < g->next_exchange_ms) {
        g->next_exchange_ms = g->exchanged_ms + EXCHANGE_SOON_MS; /* there is news to pass on */
    }
    if (g->now_ms >= g->next_exchange_ms && gossip_fetch_is_open(g, GOSSIP_FETCH_EXCHANGE)) {
        g->next_exchange_ms = g->now_ms + AGAIN_MIN_MS;
    } else if (g->now_ms >= g->next_exchange_ms) {
        ask(g);
    }
    if (g->udp == GOSSIP_UDP_BLOCKED && g->now_ms >= g->next_sign_ms) {
        g->next_sign_ms = g->now_ms + SIGN_MS;
        gossip_raise_incarnation(g, g->me->incarnation);
    }
}

uint64_t gossip_exchange_wake_ms(const struct gossip *g)
{
    if (g->udp == GOSSIP_UDP_OPEN) {
        return g->udp_ms + (g->ready ? DOUBT_MS : JOINING_DOUBT_MS);
    }
    return g->next_exchange_ms;
}

/* --- the answer --- */

int gossip_exchange_hear_one(struct gossip *g, uint64_t teller, struct gossip_reader *messages)
{
    struct gossip_reader fields;
    struct gossip_alive alive;
    struct gossip_accusation a;
    uint8_t type;
    int got = gossip_read_message(messages, &type, &fields);
    if (got != 1) {
        return got;
    }
    if (type == GOSSIP_MSG_ALIVE && gossip_alive_read(&fields, &alive) == 0) {
        gossip_hear_alive(g, &alive, teller);
    } else if (type == GOSSIP_MSG_CHALLENGE) {
        g->exchange_cookie = gossip_read64(&fields);
        g->exchange_cookie_ms = g->now_ms;
        g->exchange_echoes = false;
    } else if ((type == GOSSIP_MSG_SUSPECT || type == GOSSIP_MSG_DEAD || type == GOSSIP_MSG_LEFT) &&
               gossip_accusation_read(&fields, &a) == 0 &&
               (type != GOSSIP_MSG_SUSPECT || a.id == g->me->id)) {
        gossip_hear_accusation(g, (enum gossip_message)type, &a);
    }
    return 1;
}

int gossip_exchange_read(const uint8_t *bytes, size_t n, struct gossip_exchange *ret_exchange)
{
    struct gossip_reader r;
    gossip_reader_init(&r, bytes, n);
    uint8_t format = gossip_read8(&r);
    bool same = gossip_read8(&r) == 1;
    size_t message_bytes = gossip_read32(&r);
    const uint8_t *at = gossip_read_bytes(&r, message_bytes);
    if (r.failed || format != GOSSIP_EXCHANGE_FORMAT) {
        return -EPROTO;
    }
    ret_exchange->same = same;
    gossip_reader_init(&ret_exchange->messages, at, message_bytes);
    ret_exchange->snapshot_at = (size_t)(r.at - bytes);
    return 0;
}

bool gossip_exchange_heard(struct gossip *g, uint64_t teller, bool same)
{
    g->exchange_more = !same ? EXCHANGES_SOON : g->exchange_more ? g->exchange_more - 1 : 0;
    /* Only one whom others answer can tell the dead from the living. */
    const struct gossip_member *m = gossip_members_get(&g->members, teller);
    return g->udp != GOSSIP_UDP_OPEN && !(m && m->tcp_only);
}
