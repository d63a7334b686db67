/* identity.c - our own id and boot, and what happens when somebody else uses them.
 *
 * Templates of virtual machines clone data directories, so two live nodes can have one id. Hearsay
 * does not prove that: an ALIVE with our id and a foreign boot is most often our own last life. So
 * the place it names is pinged; only an answer sealed by that other life, to this very ping,
 * counts. Then whichever started later takes a new id. If nobody answers, or the record names our
 * own address, peers merely remember a boot later than ours, and we take one later still. */
#include "gossip/state.h"

#include <string.h>

#define ASK_AGAIN_MS 5000
#define ANSWER_WITHIN_MS 2000

static void begin_life(struct gossip *g, uint64_t id, uint64_t boot)
{
    struct gossip_member *me = g->me;
    gossip_changes_forget(&g->changes, me->id); /* of the old id, too */
    if (id != me->id) {
        gossip_members_rename(&g->members, me, id);
    }
    me->boot = boot;
    me->salt = (uint32_t)gossip_random(g);
    me->incarnation = 0;
    me->set_boot = boot;
    me->version = g->contents_listed ? 1 : 0; /* announced anew; the set itself is the same */
    struct gossip_sender sender = {.id = id, .boot = boot, .salt = me->salt};
    if (gossip_seal_set_sender(g->seal, &sender)) {
        g->stats.drop_memory++;
    }
    g->duplicate_boot = 0;
    gossip_settle(g, me);
    gossip_pass_on(g, me);
    if (g->effects) {
        g->effects->persist = true;
    }
}

void gossip_take_boot(struct gossip *g, uint64_t above)
{
    uint64_t boot = above + 1 > g->wall_ms ? above + 1 : g->wall_ms;
    if (g->leaving || boot >> 48) {
        return;
    }
    begin_life(g, g->me->id, boot);
    gossip_note(g, GOSSIP_NOTE_NEW_BOOT, g->me);
}

static void take_new_id(struct gossip *g)
{
    uint64_t id;
    do {
        id = gossip_random(g) >> 16;
    } while (id == 0 || gossip_members_get(&g->members, id));
    g->stats.duplicate_ids++;
    /* Peers know our life under the shared id; end it, so that the other's counts again. */
    struct gossip_packet p;
    struct gossip_accusation left = {
        .id = g->me->id, .boot = g->me->boot, .incarnation = g->me->incarnation, .from = g->me->id};
    struct gossip_member *peers[8];
    struct gossip_addr to[8];
    size_t count = gossip_random_members(g, NULL, peers, 8);
    for (size_t i = 0; i < count; i++) {
        to[i] = gossip_member_addr(g, peers[i]);
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    gossip_accusation_write(&p.w, GOSSIP_MSG_LEFT, &left);
    gossip_packet_send(g, &p, to, count);
    begin_life(g, id, g->me->boot + 1);
    gossip_note(g, GOSSIP_NOTE_NEW_ID, g->me);
}

static void ask(struct gossip *g, uint64_t boot, const struct gossip_addr *to)
{
    struct gossip_packet p;
    if (g->duplicate_ask_ms && g->now_ms - g->duplicate_ask_ms < ASK_AGAIN_MS) {
        return;
    }
    g->duplicate_ask_ms = g->now_ms;
    g->duplicate_wait_ms = g->now_ms + ANSWER_WITHIN_MS;
    g->duplicate_boot = boot;
    g->duplicate_nonce = gossip_random_nonce(g);
    struct gossip_ping ping = {
        .target = g->me->id, .nonce = g->duplicate_nonce, .cluster_hash = g->cluster_hash};
    gossip_packet_begin(&p, GOSSIP_CLASS_JOIN);
    gossip_ping_write(&p.w, &ping);
    gossip_packet_send(g, &p, to, 1);
}

static bool is_own_place(const struct gossip *g, const struct gossip_alive *a)
{
    for (size_t i = 0; i < 4; i++) {
        if (a->addrs[i / 2].family && a->gossip_port == g->self.gossip_port &&
            gossip_addr_same_host(&a->addrs[i / 2], &g->self.addrs[i % 2])) {
            return true;
        }
    }
    return false;
}

void gossip_heard_own_alive(struct gossip *g, const struct gossip_alive *a)
{
    struct gossip_member *me = g->me;
    if (g->leaving || (a->boot == me->boot && a->salt == me->salt)) {
        return;
    }
    if (is_own_place(g, a) || !gossip_addrs_acceptable(g, a->addrs)) {
        if (a->boot >= me->boot) {
            gossip_take_boot(g, a->boot);
        }
        return;
    }
    struct gossip_addr to = a->addrs[0];
    to.port = a->gossip_port;
    ask(g, a->boot, &to);
}

void gossip_heard_own_packet(struct gossip *g, const struct gossip_header *h,
                             const struct gossip_addr *from)
{
    if (h->sender.boot == g->me->boot && h->sender.salt == g->me->salt) {
        g->stats.drop_own++;
        gossip_seed_is_us(g, from);
        return;
    }
    g->stats.drop_collision++;
    ask(g, h->sender.boot, from);
}

void gossip_heard_own_ack(struct gossip *g, const struct gossip_header *h, uint32_t nonce)
{
    struct gossip_member *me = g->me;
    if (nonce != g->duplicate_nonce || nonce == 0 || g->leaving) {
        return;
    }
    g->duplicate_nonce = 0;
    g->duplicate_boot = 0;
    bool we_are_later =
        me->boot > h->sender.boot || (me->boot == h->sender.boot && me->salt > h->sender.salt);
    if (we_are_later) {
        take_new_id(g);
    }
}

void gossip_identity_tick(struct gossip *g)
{
    if (g->duplicate_boot && g->now_ms >= g->duplicate_wait_ms) {
        uint64_t boot = g->duplicate_boot;
        g->duplicate_boot = 0;
        g->duplicate_nonce = 0;
        if (boot >= g->me->boot) {
            gossip_take_boot(g, boot); /* nobody lives there: it was us, by a later clock */
        }
    }
}

uint64_t gossip_identity_wake_ms(const struct gossip *g)
{
    return g->duplicate_boot ? g->duplicate_wait_ms : GOSSIP_NEVER_MS;
}

struct gossip_identity gossip_identity(const struct gossip *core)
{
    return (struct gossip_identity){.id = core->me->id, .boot_ms = core->me->boot};
}
