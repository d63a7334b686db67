#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAKE_MAX_MS 1000
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 30000
#define LEAVE_PEERS 8

void gossip_effects_init(struct gossip_effects *e)
{
    *e = (struct gossip_effects){0};
}

void gossip_effects_done(struct gossip_effects *e)
{
    free(e->sends);
    free(e->fetches);
    free(e->notes);
    if (e->answers != &e->spare_answer) {
        free(e->answers);
    }
    gossip_effects_init(e);
}

/* Exactly one answer follows a question, so for the one that a step may begin with there is room
 * without memory, too. */
static void answers_ready(struct gossip_effects *e)
{
    if (e->answers && e->answers != &e->spare_answer) {
        return;
    }
    struct gossip_answer *answers = malloc(LIMIT_SWARM_ANSWERS * sizeof(*answers));
    e->answers = answers ? answers : &e->spare_answer;
    e->answer_capacity = answers ? LIMIT_SWARM_ANSWERS : 1;
}

/* Room for the most one step may ask for, once: no growing in the middle of a step. */
static bool effects_ready(struct gossip_effects *e)
{
    if (!e->sends) {
        e->sends = malloc(LIMIT_GOSSIP_SENDS * sizeof(*e->sends));
        e->send_capacity = e->sends ? LIMIT_GOSSIP_SENDS : 0;
    }
    if (!e->fetches) {
        e->fetches = malloc(LIMIT_GOSSIP_FETCHES * sizeof(*e->fetches));
        e->fetch_capacity = e->fetches ? LIMIT_GOSSIP_FETCHES : 0;
    }
    if (!e->notes) {
        e->notes = malloc(LIMIT_GOSSIP_NOTES * sizeof(*e->notes));
        e->note_capacity = e->notes ? LIMIT_GOSSIP_NOTES : 0;
    }
    answers_ready(e);
    e->send_count = e->fetch_count = e->note_count = e->answer_count = 0;
    e->persist = false;
    return e->sends && e->fetches && e->notes && e->answer_capacity > 1;
}

/* xoshiro256**, Blackman and Vigna: for choices and nonces; secrets come from the cluster key. */
uint64_t gossip_random(struct gossip *g)
{
    uint64_t *s = g->random;
    uint64_t x = s[1] * 5, result = (x << 7 | x >> 57) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

uint32_t gossip_random_nonce(struct gossip *g)
{
    uint32_t nonce;
    do {
        nonce = (uint32_t)(gossip_random(g) >> 32);
    } while (nonce == 0);
    return nonce;
}

/* Own member record from self. */
static void place_me(struct gossip *g, const struct gossip_self *self)
{
    struct gossip_member *me = g->me;
    g->self = *self;
    g->self.zone[GOSSIP_ZONE_BYTES - 1] = '\0';
    gossip_member_set_addrs(me, self->addrs);
    me->gossip_port = self->gossip_port;
    me->registry_port = self->registry_port;
    me->zone = gossip_members_zone(&g->members, g->self.zone);
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        m->near = m->zone[0] && strcmp(m->zone, me->zone) == 0;
    }
}

static int build(struct gossip *g, const struct gossip_config *config)
{
    list_init(&g->suspects);
    list_init(&g->behind);
    list_init(&g->builds);
    list_init(&g->built);
    list_init(&g->servings);
    gossip_seen_init(&g->requests);
    for (size_t i = 0; i < GOSSIP_TRANSMISSIONS_MAX; i++) {
        list_init(&g->rumours[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        g->random[i] = gossip_load64(config->seed + 8 * i) ^ gossip_mix(i);
    }
    gossip_changes_init(&g->changes);
    gossip_members_init(&g->members, gossip_random(g));
    int error = gossip_index_new(gossip_random(g), &g->index);
    error =
        error ? error : gossip_seal_new(config->label, config->keys, config->key_count, &g->seal);
    if (error) {
        return error;
    }
    g->me = gossip_members_add(&g->members, config->id);
    if (!g->me) {
        return -ENOMEM;
    }
    g->me->boot = g->me->set_boot = config->boot_ms;
    g->me->salt = (uint32_t)gossip_random(g);
    place_me(g, &config->self);
    struct gossip_sender sender = {.id = g->me->id, .boot = g->me->boot, .salt = g->me->salt};
    return gossip_seal_set_sender(g->seal, &sender);
}

int gossip_new(const struct gossip_config *config, struct gossip **ret_core)
{
    if (!config->label || config->key_count > GOSSIP_SEAL_KEYS || config->id == 0 ||
        config->id >> 48 || config->boot_ms == 0 || config->boot_ms >> 48) {
        return -EINVAL;
    }
    struct gossip *g = calloc(1, sizeof(*g));
    if (!g) {
        return -ENOMEM;
    }
    int error = build(g, config);
    if (error) {
        gossip_free(g);
        return error;
    }
    g->now_ms = g->started_ms = g->tokens_ms = g->udp_ms = config->now_ms;
    g->wall_ms = config->wall_ms;
    g->flush_ms = GOSSIP_NEVER_MS;
    g->tokens = LIMIT_GOSSIP_BUCKET_BYTES;
    g->next_probe_ms = g->now_ms + gossip_random(g) % 333;
    g->next_sweep_ms = g->now_ms + 1000;
    g->next_doubt_ms = g->next_seed_ms = g->snapshot_ms = g->next_pull_ms = GOSSIP_NEVER_MS;
    g->next_stranger_ms = g->now_ms + 5000;
    g->seed_wait_ms = 50;
    g->asked_ms = GOSSIP_NEVER_MS;
    g->stranger_secret = gossip_random(g);
    gossip_settle(g, g->me);
    *ret_core = g;
    return 0;
}

int gossip_set_keys(struct gossip *core, const char *label, const uint8_t (*keys)[GOSSIP_KEY_BYTES],
                    size_t key_count)
{
    return gossip_seal_set_keys(core->seal, label, keys, key_count);
}

void gossip_free(struct gossip *g)
{
    if (!g) {
        return;
    }
    gossip_swarm_free(g);
    gossip_badges_free(g);
    gossip_take_free(g);
    gossip_serve_free(g);
    gossip_members_done(&g->members);
    gossip_changes_done(&g->changes);
    gossip_index_free(g->index);
    gossip_seal_free(g->seal);
    free(g->probe_order);
    free(g->seeds);
    free(g->seeds_by_addr);
    free(g);
}

static void move(struct gossip *g, const struct gossip_self *self)
{
    bool same = memcmp(&g->self, self, sizeof(*self)) == 0;
    if (same || g->leaving) {
        return;
    }
    place_me(g, self);
    /* The incarnation orders what is said about a life, so a new place needs a new one too. */
    gossip_raise_incarnation(g, g->me->incarnation);
}

static void leave(struct gossip *g)
{
    struct gossip_member *peers[LEAVE_PEERS];
    struct gossip_addr to[LEAVE_PEERS];
    struct gossip_packet p;
    if (g->leaving) {
        return;
    }
    /* What peers do not know yet goes along: they may still fetch from us while we drain. */
    g->leaving = true;
    g->me->state = GOSSIP_LEFT;
    gossip_settle(g, g->me);
    size_t count = gossip_random_members(g, NULL, peers, LEAVE_PEERS);
    for (size_t i = 0; i < count; i++) {
        to[i] = gossip_member_addr(g, peers[i]);
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
    gossip_packet_about(g, &p, g->me);
    gossip_packet_send(g, &p, to, count);
    gossip_pass_on(g, g->me);
    gossip_exchange_leave(g);
}

static void peer_failed(struct gossip *g, uint64_t id)
{
    struct gossip_member *m = gossip_members_get(&g->members, id);
    if (!m || m == g->me) {
        return;
    }
    if (g->now_ms >= m->backoff_until_ms) {
        m->backoff_ms = m->backoff_ms == 0 ? BACKOFF_MIN_MS : m->backoff_ms * 2;
        m->backoff_ms = m->backoff_ms < BACKOFF_MAX_MS ? m->backoff_ms : BACKOFF_MAX_MS;
        m->backoff_until_ms = g->now_ms + m->backoff_ms;
    }
    gossip_probe_now(g, m);
}

static void peer_ok(struct gossip *g, uint64_t id)
{
    struct gossip_member *m = gossip_members_get(&g->members, id);
    if (m) {
        m->backoff_ms = 0;
        m->backoff_until_ms = 0;
    }
}

static void hear_event(struct gossip *g, const struct gossip_event *event)
{
    switch (event->kind) {
    case GOSSIP_TICK:
        break;
    case GOSSIP_PACKET:
        gossip_receive(g, &event->packet.from, event->packet.bytes, event->packet.len);
        break;
    case GOSSIP_LOCAL_ADD:
    case GOSSIP_LOCAL_DEL:
        gossip_local_change(g, event->keys.keys, event->keys.count,
                            event->kind == GOSSIP_LOCAL_DEL);
        break;
    case GOSSIP_FETCHED:
        gossip_fetched(g, event);
        break;
    case GOSSIP_SEEDS:
        gossip_take_seeds(g, event->seeds.addrs, event->seeds.count);
        break;
    case GOSSIP_SELF:
        move(g, &event->self);
        break;
    case GOSSIP_LOAD:
        g->me->load = event->load;
        break;
    case GOSSIP_PEER_FAILED:
        peer_failed(g, event->peer);
        break;
    case GOSSIP_PEER_OK:
        peer_ok(g, event->peer);
        break;
    case GOSSIP_WANT:
    case GOSSIP_WANT_END:
    case GOSSIP_FLIGHT:
        gossip_swarm_event(g, event);
        break;
    case GOSSIP_LEAVE:
        leave(g);
        break;
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void gossip_step(struct gossip *g, const struct gossip_event *event, struct gossip_effects *effects)
{
    g->now_ms = event->now_ms > g->now_ms ? event->now_ms : g->now_ms;
    g->wall_ms = event->wall_ms;
    if (!effects_ready(effects)) {
        /* Nothing could be said, so nothing is done; a packet lost here is like one lost on the
         * way. Local changes would be lost for good, though: those are applied. */
        g->stats.drop_memory++;
        effects->wake_at_ms = g->now_ms + 100;
    }
    g->effects = effects;
    gossip_probe_late(g);
    hear_event(g, event);
    if (g->take && g->take_ms != g->now_ms) { /* however many packets come within it */
        g->take_ms = g->now_ms;
        gossip_take_tick(g);
    }
    gossip_serve_tick(g);
    gossip_identity_tick(g);
    gossip_membership_tick(g);
    gossip_probe_tick(g);
    gossip_join_tick(g);
    gossip_exchange_tick(g);
    gossip_fetch_tick(g);
    gossip_content_tick(g);
    gossip_swarm_tick(g);
    gossip_spread_tick(g);
    uint64_t wake_ms = sooner(gossip_membership_wake_ms(g), gossip_probe_wake_ms(g));
    wake_ms = sooner(wake_ms, sooner(gossip_join_wake_ms(g), gossip_content_wake_ms(g)));
    wake_ms = sooner(wake_ms, sooner(gossip_identity_wake_ms(g), gossip_fetch_wake_ms(g)));
    wake_ms = sooner(wake_ms, sooner(gossip_swarm_wake_ms(g), g->flush_ms));
    wake_ms = sooner(wake_ms, sooner(gossip_exchange_wake_ms(g), g->now_ms + WAKE_MAX_MS));
    wake_ms = g->take || !list_empty(&g->builds) ? g->now_ms : wake_ms;
    g->wake_ms = wake_ms > g->now_ms ? wake_ms : g->now_ms + 1;
    effects->wake_at_ms = g->wake_ms;
    g->effects = NULL;
}
