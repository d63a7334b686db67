/* swarm.h - cold rollouts: who fetches from upstream what nobody holds yet, and who follows whom.
 *
 * Part of the core (core.h has the events and effects); the rules are swarm.md's. For each key one
 * live member is the *arbiter*: the first in rendezvous order of hash(key, id); the second stands
 * in. It keeps soft state only, its *leases*: who fetches the key (the *leader*, depth 0) and who
 * receives it from whom (*followers*, depth of the parent + 1).
 *
 *     asker                                arbiter
 *       │ WANT ────────────────────────────► nobody fetches it:  GRANT, the asker leads
 *       │ ◄──────────────────────────────── somebody does:      OFFER of up to 8 parents
 *       │                                    all of them full:   OFFER of none: ask again later
 *       │ RENEW, each second ──────────────► while its own copy grows; the last one says held
 *       │ GIVE_UP ─────────────────────────► its copy is gone
 *
 * A member's RENEWs go to the first and the second arbiter, so that a lease survives either, and at
 * once to a new first one. Everything that is lost here costs a second download, nothing else:
 * whoever gets no answer is told GOSSIP_SWARM_NONE and goes upstream.
 *
 * Who is offered: members holding the key (the index knows), and members whose copy grows, or who
 * wait for its first byte, and whose chain of parents ends at a live leader or a holder; so the
 * tree stands before the leader's first byte has come, and whoever is asked for what it waits for
 * itself keeps the question until it has it. Not those the asker says have failed it, not those
 * that receive, directly or through others, from the asker, not at depth LIMIT_SWARM_DEPTH, not
 * with LIMIT_SWARM_CHILDREN already. The asker's own parent first, if nothing is wrong with it;
 * then those with fewer than two children, so that the tree is two wide and a third child is for
 * when there is nobody else, and with fewer than eight streams of any content; of these same zone,
 * least streams, least depth, fewest children, most bytes. Those who were found silent, or who
 * receive several times slower than the fastest, come last.
 *
 * The second arbiter, while it stands in for the first, offers nobody whose parent it only
 * supposes: the two might lead members in a circle. Where packets are lost that can still happen;
 * nothing comes then, so they ask, and the arbiter who has heard whose bytes each receives offers
 * none of them to another.
 *
 * When nobody can be offered: WAIT, if some have no room, or if some refused the asker, for at most
 * LIMIT_SWARM_BEGIN_MS of refusals; else GRANT.
 *
 * An asker that names a parent as stalled is offered that parent again when the parent was heard
 * lately and has no more bytes than the asker: then the fault lies above, and the leader is alive
 * and upstream slow. The parent it has stands first then, which means stay, unless somebody else
 * has come 8 MiB further.
 *
 * A leader loses its lease when it is no longer selectable, when two followers could not reach it
 * or one to whom nobody else can be offered, when it was not heard for LIMIT_SWARM_SILENT_MS and
 * somebody stalls on it, when it began nothing for LIMIT_SWARM_BEGIN_MS after its grant while none
 * of its other downloads grew either, or when its copy did not grow for LIMIT_SWARM_LEASE_MS. One
 * that was wrongly taken for lost and grows is a second leader, which is harmless. */
#pragma once

#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_SWARM_OFFERS 8
#define GOSSIP_SWARM_FAILED 8

enum gossip_swarm_fault {
    GOSSIP_FAULT_REFUSED, /* it said no, or come later */
    GOSSIP_FAULT_STALLED, /* it gives nothing and keeps the connection; it may be tried on */
    GOSSIP_FAULT_LOST,    /* it could not be reached, or broke the connection */
    GOSSIP_FAULT_SLOW,    /* no fault: it gives, and the asker asks whether others might give more.
                             To be asked each LIMIT_SWARM_SLOW_MS about the parent one follows; the
                             answer is that parent first, unless it is much slower than others */
    GOSSIP_FAULT_WRONG,   /* what comes from it is not what it should be, this content or others:
                             neither it nor whoever receives from it, directly or through others,
                             is offered */
};

/* The question, GOSSIP_WANT. Exactly one answer follows for each `ask` within
 * LIMIT_SWARM_ANSWER_MS times two and a tick, unless GOSSIP_WANT_END came first. Several asks may
 * be open for one key; each is its own question. */
struct gossip_want {
    uint64_t key;   /* gossip_key_digest */
    uint32_t ask;   /* the caller's number, not 0, of no other open ask */
    uint64_t bytes; /* of the content that this node has so far; the offset to go on at */
    struct {
        uint64_t id;
        enum gossip_swarm_fault fault;
    } failed[GOSSIP_SWARM_FAILED]; /* parents that failed this asker for this key; latest first */
    uint8_t failed_count;
};

enum gossip_swarm_answer_kind {
    GOSSIP_SWARM_GRANT, /* fetch it from upstream; others will be sent here */
    GOSSIP_SWARM_OFFER, /* ask these, in this order */
    GOSSIP_SWARM_WAIT,  /* they are all busy: ask again in retry_ms */
    GOSSIP_SWARM_NONE,  /* no arbiter answered, or none is to be had: go on without */
};

struct gossip_offer {
    uint64_t id; /* a member known here: gossip_member_holder finds its address */
    uint8_t depth;
    bool holds; /* all of it */
};

struct gossip_answer { /* an effect */
    uint32_t ask;
    uint64_t key;
    enum gossip_swarm_answer_kind kind;
    uint16_t retry_ms; /* WAIT */
    uint8_t count;     /* OFFER: at least 1 */
    struct gossip_offer offers[GOSSIP_SWARM_OFFERS];
};

/* What this node's own copy of `key` does, GOSSIP_FLIGHT. To be said at once when the state or the
 * parent changes, and each LIMIT_SWARM_RENEW_MS while it grows or may yet; the core tells the
 * arbiters no more often than that unless something changed. After GONE and HELD the core forgets
 * the flight. */
enum gossip_flight_state {
    GOSSIP_FLIGHT_WAITING, /* asked for, nothing has come yet */
    GOSSIP_FLIGHT_GROWING,
    GOSSIP_FLIGHT_HELD, /* complete */
    GOSSIP_FLIGHT_GONE, /* given up or lost */
};

struct gossip_flight {
    uint64_t key;
    enum gossip_flight_state state;
    uint64_t parent;  /* whose bytes it receives; 0: upstream's */
    uint64_t bytes;   /* so far */
    uint32_t idle_ms; /* since any download of this node's containerd last grew */
};

/* One of the leases that this node keeps as an arbiter, for /debug/swarm. */
struct gossip_lease_view {
    uint64_t key, leader; /* 0: none at the moment */
    uint64_t age_ms, leader_heard_ms_ago, leader_bytes;
    uint32_t followers;                     /* of them, by depth: */
    uint32_t depths[LIMIT_SWARM_DEPTH + 2]; /* [0] counts leaders; the last, all deeper ones */
};

struct gossip_swarm_stats {
    /* gauges */
    uint32_t leases, participants, asks_open, flights;
    /* counters, as an arbiter */
    uint64_t wants, granted, offered, waits, stays, renewed, given_up, revoked, adopted;
    uint64_t drop_cap; /* no room for another lease or participant */
    /* counters, as an asker */
    uint64_t asks, asks_granted, asks_offered, asks_waited, asks_unanswered, second_arbiter;
};
