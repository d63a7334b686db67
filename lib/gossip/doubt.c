/* doubt.c - members that did not answer: suspected, accused to their faces, judged. */
#include "gossip/state.h"

#include <stdlib.h>

#define ACCUSE_AGAIN_MS 1000
#define ACCUSE_ALL_MS 20 /* between two of many, who are accused less often then */
#define ASK_ABOUT_MS 250
#define REFUTED_BEFORE_MS 1000 /* rumours of both have been told to the end by then */
/* In a view of at least MASS_MEMBERS with more than a quarter suspect at once, something else is
 * wrong than so many nodes: nobody is declared dead for a while. Selection is unaffected. */
#define MASS_MEMBERS 8
#define MASS_HOLD_MS (5 * 60 * UINT64_C(1000))

/* It does not answer us. Perhaps it has long answered everybody else: one of them says so, see
 * gossip_refuted_before. Few at a time: where many are gone at once, others are not to blame. */
static struct gossip_addr whom_to_ask_about(struct gossip *g, const struct gossip_member *m)
{
    struct gossip_addr none = {.family = GOSSIP_NO_ADDR};
    struct gossip_member *other;
    if (m->state != GOSSIP_SUSPECT || g->now_ms - m->state_ms < ACCUSE_AGAIN_MS ||
        g->now_ms < g->next_ask_about_ms || gossip_random_members(g, m, &other, 1) == 0) {
        return none;
    }
    g->next_ask_about_ms = g->now_ms + ASK_ABOUT_MS;
    return gossip_member_addr(g, other);
}

void gossip_accuse_subject(struct gossip *g, struct gossip_member *m, const struct gossip_addr *to)
{
    struct gossip_packet p;
    if (m->state == GOSSIP_ALIVE ||
        (m->accused_ms && g->now_ms - m->accused_ms < ACCUSE_AGAIN_MS)) {
        return;
    }
    struct gossip_addr addrs[2] = {to ? *to : gossip_member_addr(g, m), whom_to_ask_about(g, m)};
    m->accused_ms = g->now_ms;
    gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
    gossip_packet_about(g, &p, m);
    gossip_packet_send(g, &p, addrs, 2);
}

void gossip_suspect(struct gossip *g, struct gossip_member *m, uint64_t witness)
{
    if (m->state == GOSSIP_SUSPECT) {
        if (gossip_suspicion_confirm(&m->doubt->suspicion, witness)) {
            g->next_doubt_ms = g->now_ms; /* its time may have come */
            gossip_settle(g, m);
            gossip_pass_on(g, m);
        }
        return;
    }
    m->doubt = calloc(1, sizeof(*m->doubt));
    if (!m->doubt) {
        g->stats.drop_memory++; /* its next ping will fail as well */
        return;
    }
    g->stats.suspicions++;
    g->next_doubt_ms = g->now_ms;
    m->doubt->member = m;
    list_init(&m->doubt->suspected);
    gossip_suspicion_start(&m->doubt->suspicion, g->now_ms, witness, g->live);
    gossip_become(g, m, GOSSIP_SUSPECT);
    gossip_note(g, GOSSIP_NOTE_SUSPECT, m);
}

const struct gossip_member *gossip_refuted_before(const struct gossip *g,
                                                  const struct gossip_accusation *a)
{
    const struct gossip_member *m = gossip_members_get(&g->members, a->id);
    bool refuted = m && m != g->me && m->state == GOSSIP_ALIVE && m->boot == a->boot &&
                   m->incarnation > a->incarnation;
    return refuted && g->now_ms - m->state_ms >= REFUTED_BEFORE_MS ? m : NULL;
}

static bool holds_deaths(const struct gossip *g, size_t suspects)
{
    return g->live >= MASS_MEMBERS && suspects * 4 > g->live;
}

/* Whose time has come to be judged or accused again; when the next one's will have. */
void gossip_judge_suspects(struct gossip *g)
{
    size_t suspects = 0;
    LIST_EACH (link, &g->suspects) {
        suspects++;
    }
    uint64_t again_ms = suspects * ACCUSE_ALL_MS;
    again_ms = again_ms > ACCUSE_AGAIN_MS ? again_ms : ACCUSE_AGAIN_MS;
    g->next_doubt_ms = GOSSIP_NEVER_MS;
    LIST_EACH_SAFE (link, &g->suspects) {
        const struct gossip_doubt *doubt = CONTAINER_OF(link, struct gossip_doubt, suspected);
        const struct gossip_suspicion *s = &doubt->suspicion;
        struct gossip_member *m = doubt->member;
        uint64_t at_ms = gossip_suspicion_deadline_ms(s);
        if (g->now_ms >= at_ms &&
            (!holds_deaths(g, suspects) || g->now_ms - s->started_ms >= MASS_HOLD_MS)) {
            g->stats.deaths++;
            gossip_become(g, m, GOSSIP_DEAD);
            gossip_note(g, GOSSIP_NOTE_DOWN, m);
            continue;
        }
        if (m->selectable) {
            gossip_settle(g, m);
        }
        /* Its answer may have gone lost on the way to us, and no hash tells: ask it again. */
        if (!m->accused_ms || g->now_ms - m->accused_ms >= again_ms) {
            gossip_accuse_subject(g, m, NULL);
        }
        at_ms = m->selectable ? gossip_suspicion_exclude_ms(s) : at_ms;
        at_ms = at_ms > g->now_ms ? at_ms : g->now_ms + 100; /* deaths are held back */
        uint64_t accuse_ms = m->accused_ms + again_ms;
        at_ms = accuse_ms < at_ms ? accuse_ms : at_ms;
        g->next_doubt_ms = at_ms < g->next_doubt_ms ? at_ms : g->next_doubt_ms;
    }
}
