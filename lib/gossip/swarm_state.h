/* swarm_state.h - the inside of swarm.h's part of the core, shared by its own files only.
 *
 *     swarm.c         what the core calls: events, messages, time
 *     swarm_wire.c    the messages
 *     swarm_flight.c  this node's own copies, and who their arbiters are
 *     swarm_ask.c     this node's own questions
 *     swarm_arbiter.c the answers to WANT, and what RENEW and GIVE_UP change
 *     swarm_choose.c  whose copy can be had, and who is best to ask
 *     swarm_lease.c   leases: who takes part, and who receives from whom
 *
 * Members are named by id, because they come and go; what is kept here outlives them by seconds. */
#pragma once

#include "gossip/state.h"

#include "base/list.h"
#include "base/map.h"

/* --- swarm_wire.c: messages, each `_read` gives 0 or -EPROTO, each `_write` whether it fitted ---
 */

struct gossip_renew {
    uint64_t key;
    uint32_t sequence; /* of its sender's; an earlier one than the last heard is late */
    uint8_t state;     /* enum gossip_flight_state; GONE travels as GIVE_UP */
    uint64_t parent;   /* 0: upstream */
    uint64_t bytes;
    uint32_t idle_ms;
    uint8_t load; /* as GOSSIP_LOAD */
};

int gossip_want_read(struct gossip_reader *r, struct gossip_want *ret_want);
bool gossip_want_write(struct gossip_writer *w, const struct gossip_want *want);
/* GRANT, and OFFER, which without anybody is WAIT. */
int gossip_answer_read(struct gossip_reader *r, uint8_t type, struct gossip_answer *ret_answer);
bool gossip_answer_write(struct gossip_writer *w, const struct gossip_answer *answer);
/* RENEW, and GIVE_UP, which leaves out what is of no interest then. */
int gossip_renew_read(struct gossip_reader *r, uint8_t type, struct gossip_renew *ret_renew);
bool gossip_renew_write(struct gossip_writer *w, const struct gossip_renew *renew);

/* --- leases --- */

enum gossip_part_state {
    GOSSIP_PART_NAMED,  /* somebody receives from it; it said nothing itself */
    GOSSIP_PART_ASKING, /* waits for somebody to be offered */
    GOSSIP_PART_WAITING,
    GOSSIP_PART_GROWING,
    GOSSIP_PART_HELD,
    GOSSIP_PART_GONE, /* remembered for a while, so that late packets do not bring it back */
};

/* A member's part in a lease. Their parents make a forest. */
struct gossip_part {
    struct map_node by_place; /* in gossip_swarm.parts */
    struct {
        uint64_t key, id;
    } place;
    struct gossip_lease *lease;
    struct list in_lease;
    struct gossip_part *parent;    /* NULL: upstream, when it leads; else nobody */
    struct list sibling, children; /* in parent->children; of this one */
    uint32_t child_count;
    uint16_t slot; /* where it was among the members when last looked for */
    uint8_t state; /* enum gossip_part_state */
    bool leads, revoked;
    bool confirmed; /* it said itself whose bytes it receives; else that lapses */
    uint64_t bytes, granted_bytes;
    uint64_t rate, rated_bytes, rated_ms; /* how fast it grew; gossip_part_rate */
    uint8_t rates, load;
    uint64_t since_ms, heard_ms, grew_ms, granted_ms;
    uint64_t blamed_ms;           /* somebody last said that it gives nothing; 0: nobody */
    uint64_t lost_by;             /* who said first that it cannot be reached */
    uint64_t refused_ms;          /* since when nobody takes it; 0: not so */
    uint32_t idle_ms;             /* as of heard_ms */
    uint32_t sequence;            /* of its last RENEW or GIVE_UP, */
    uint64_t boot;                /* in this life */
    struct gossip_answer *answer; /* the last one to it, for a WANT that comes again; or NULL */
    uint64_t answered_ms;

    /* swarm_choose.c's, valid while `choice` is the current choice's number */
    uint32_t choice;
    uint32_t below, held_choice; /* the choice in which it receives from the asker; holds it all */
    uint8_t depth;
    bool live;
};

struct gossip_lease {
    struct map_node by_key; /* in gossip_swarm.leases */
    struct list link;       /* in gossip_swarm.lease_list */
    uint64_t key, leader;   /* 0: nobody just now */
    uint64_t since_ms, swept_ms;
    uint64_t best_rate; /* of any part, ever */
    uint64_t order_ms;  /* when was looked whether */
    bool is_first;      /* this node is the first arbiter; else it stands in */
    struct list parts;
    size_t part_count, asking;
};

/* --- this node's own --- */

struct gossip_ask {
    struct map_node by_number; /* in gossip_swarm.asks */
    struct list link;          /* in gossip_swarm.ask_list */
    struct gossip_want want;
    uint64_t arbiters[2]; /* in the order to ask them; 0: none */
    unsigned asked;       /* how many of them so far */
    uint64_t next_ms, turn_ms;
};

struct gossip_own_flight {
    struct map_node by_key; /* in gossip_swarm.flights */
    struct list link;       /* in gossip_swarm.flight_list */
    struct gossip_flight flight;
    uint64_t arbiters[2];
    uint64_t told_ms, next_ms; /* next_ms: to be told again by itself; GOSSIP_NEVER_MS */
};

#define GOSSIP_SKIPS 4

struct gossip_swarm {
    struct map leases, parts, asks, flights;
    struct list lease_list, ask_list, flight_list;
    uint64_t asks_ms, flights_ms, sweep_ms; /* when one of them is due, or earlier */
    struct {
        uint64_t id, until_ms;
    } skips[GOSSIP_SKIPS]; /* arbiters that did not answer of late */
    unsigned next_skip;
    uint64_t second_ms; /* the second of which so many packets were sent: */
    uint32_t second_packets;
    uint32_t sequence, choice;
    struct gossip_swarm_stats stats;
};

/* NULL: no memory. */
struct gossip_swarm *gossip_swarm_of(struct gossip *g);

/* One packet to a member, exempt from the token bucket but of at most LIMIT_SWARM_PACKETS_PER_S a
 * second. `p` was begun with GOSSIP_CLASS_SWARM; addr NULL: where the member says it is. */
void gossip_swarm_send(struct gossip *g, struct gossip_packet *p, uint64_t to,
                       const struct gossip_addr *addr);

/* --- swarm_flight.c --- */
/* The first and the second in rendezvous order of the live members and us, 0 for one there is not.
 */
void gossip_swarm_arbiters(const struct gossip *g, uint64_t key, uint64_t ret_ids[2]);
void gossip_flight_said(struct gossip *g, const struct gossip_flight *flight);
void gossip_flights_tick(struct gossip *g);
void gossip_flights_member_changed(struct gossip *g, const struct gossip_member *m);

/* --- swarm_ask.c --- */
void gossip_ask_start(struct gossip *g, const struct gossip_want *want);
void gossip_ask_end(struct gossip *g, uint32_t ask);
void gossip_ask_answered(struct gossip *g, const struct gossip_answer *answer, uint64_t arbiter);
void gossip_asks_tick(struct gossip *g);

/* --- swarm_arbiter.c --- */
/* False: no room; no answer then. */
bool gossip_arbiter_want(struct gossip *g, uint64_t asker, const struct gossip_want *want,
                         struct gossip_answer *ret_answer);
/* How fast its copy grew lately, in bytes per second; 0 unknown. */
uint64_t gossip_part_rate(const struct gossip_part *p);
void gossip_arbiter_renew(struct gossip *g, uint64_t sender, const struct gossip_renew *renew);

/* --- swarm_choose.c --- */
struct gossip_choice {
    uint8_t count;
    struct gossip_offer offers[GOSSIP_SWARM_OFFERS]; /* best first */
    bool stay;      /* the first is the asker's own parent, although it stalls */
    size_t live;    /* copies that can be had by somebody, none of them below the asker, */
    size_t full;    /* of which so many have no room */
    size_t refused; /* and so many only said no, or come later, to this asker */
};
void gossip_choose(const struct gossip *g, struct gossip_part *asker,
                   const struct gossip_want *want, struct gossip_choice *ret_choice);
/* A leader, and a live one. */
bool gossip_part_leads(const struct gossip *g, struct gossip_part *p);
/* Since anything was heard of it, here or elsewhere in gossip. */
uint64_t gossip_part_quiet_ms(const struct gossip *g, struct gossip_part *p);
/* After a begin, judge finds out whether a copy can be had, and how deep it is. */
void gossip_choice_begin(const struct gossip *g);
void gossip_part_judge(const struct gossip *g, struct gossip_part *p);

/* --- swarm_lease.c --- */
struct gossip_lease *gossip_lease_get(const struct gossip_swarm *s, uint64_t key);
struct gossip_lease *gossip_lease_make(struct gossip *g, uint64_t key); /* NULL: no room */
struct gossip_part *gossip_part_get(const struct gossip_swarm *s, uint64_t key, uint64_t id);
struct gossip_part *gossip_part_make(struct gossip *g, struct gossip_lease *lease, uint64_t id);
/* NULL: nobody's. False: it would receive from itself; then it is nobody's. */
bool gossip_part_follow(struct gossip_part *p, struct gossip_part *parent);
void gossip_part_become(struct gossip_part *p, enum gossip_part_state state);
void gossip_lease_sweep(struct gossip *g, struct gossip_lease *lease);
void gossip_leases_tick(struct gossip *g);
void gossip_leases_done(struct gossip_swarm *s);
