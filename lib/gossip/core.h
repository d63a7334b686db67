/* core.h - the gossip core: who is in the cluster, and who holds what.
 *
 * The core is a value. Time, randomness and bytes arrive in events; what should happen to the world
 * leaves in effects. It has no clock, no socket and no callback, and it never logs. Not
 * thread-safe: all calls for one core come from one thread.
 *
 *     struct gossip_effects effects;
 *     gossip_effects_init(&effects);
 *     gossip_step(core, &event, &effects);
 *     ... send effects.sends, start effects.fetches, log effects.notes,
 *         (re)arm one timer for effects.wake_at_ms, which then steps a GOSSIP_TICK
 *
 * Protocol and reasons: gossip.md in docs. Caps: base/limits.h, LIMIT_GOSSIP_*. */
#pragma once

#include "gossip/addr.h"
#include "gossip/key.h"
#include "gossip/swarm.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GOSSIP_AUTH_HEADER "X-Spegel-Auth"
#define GOSSIP_PATH_PREFIX                                                                         \
    "/cluster/v1/"                  /* then "snapshot", "exchange" or                              \
                                      "set/<12 hex digits>" */
#define GOSSIP_ZONE_BYTES 32        /* with the NUL; longer zones are cut */
#define GOSSIP_KEY_BYTES 32         /* one cluster key */
#define GOSSIP_AUTH_TEXT_BYTES 1400 /* header value with the NUL */
#define GOSSIP_PATH_BYTES 40

struct gossip; /* opaque */

/* Where this node is. An address whose family is GOSSIP_NO_ADDR is unknown (yet): until one is
 * known the node asks others but does not announce itself. Ports hold for both families; the
 * addresses' own port fields are ignored. */
struct gossip_self {
    struct gossip_addr addrs[2];  /* at most one IPv4 and one IPv6, any order */
    uint16_t gossip_port;         /* UDP */
    uint16_t registry_port;       /* TCP: content and /cluster/v1/ */
    char zone[GOSSIP_ZONE_BYTES]; /* "" when unknown */
};

/* Copied by gossip_new. */
struct gossip_config {
    const char *label; /* the cluster's; nodes with another label are never heard */
    const uint8_t (*keys)[GOSSIP_KEY_BYTES]; /* the first sends, all are accepted */
    size_t key_count; /* at most 3; 0: one key derived from the label, which keeps
                         clusters apart and protects against nobody */
    uint64_t id;      /* from gossip_id_make */
    uint64_t boot_ms; /* max(wall clock in ms, persisted boot + 1), 48 bits */
    uint8_t seed[32]; /* from the system's random source; the core's only randomness */
    struct gossip_self self;
    uint64_t now_ms, wall_ms; /* as in events */
};

enum gossip_event_kind {
    GOSSIP_TICK,        /* the timer for wake_at_ms; early and late ticks are fine */
    GOSSIP_PACKET,      /* a datagram arrived */
    GOSSIP_LOCAL_ADD,   /* this node now holds these keys; ones already held are ignored. The first
                           one, which may be empty, says that contents are listed: nothing is
                           announced before it, so that a restart with the same contents costs
                           nobody a transfer. Give it the whole listing at once */
    GOSSIP_LOCAL_DEL,   /* and no longer these; ones not held are ignored */
    GOSSIP_FETCHED,     /* a fetch ended, one way or the other */
    GOSSIP_SEEDS,       /* what bootstrap says now, replacing what it said before. An empty list
                           says: it answered and names nobody. Own addresses may be among them.
                           A failed look-up is no event. */
    GOSSIP_SELF,        /* own addresses, ports or zone are now these */
    GOSSIP_LOAD,        /* own load changed, 0 idle to 255; travels on ACKs */
    GOSSIP_PEER_FAILED, /* the data path could not connect to `peer`: local back-off, 1 to 30 s,
                           and an immediate probe */
    GOSSIP_PEER_OK,     /* the data path got an answer from `peer`: ends its back-off */
    GOSSIP_WANT,        /* who fetches this content? One answer follows; swarm.h */
    GOSSIP_WANT_END,    /* the answer to this ask is not needed any more */
    GOSSIP_FLIGHT,      /* what this node's own copy of some content does; swarm.h */
    GOSSIP_LEAVE,       /* shutting down: says LEFT; nothing is announced after it */
};

/* Pointers belong to the caller and are read only during gossip_step. */
struct gossip_event {
    enum gossip_event_kind kind;
    uint64_t now_ms;  /* monotonic; may start anywhere above 0; an earlier one than before counts as
                         that */
    uint64_t wall_ms; /* Unix time; may jump; only ever used for a new boot number */
    union {
        struct {
            struct gossip_addr from;
            const uint8_t *bytes;
            size_t len;
        } packet;
        struct {
            const uint64_t *keys; /* gossip_key_digest, gossip_key_tag */
            size_t count;
        } keys; /* LOCAL_ADD, LOCAL_DEL */
        struct {
            uint32_t id; /* gossip_fetch.id */
            int status; /* 0: the whole body of a 200; else negative errno, -EFBIG over max_bytes */
            const uint8_t *bytes; /* NULL unless status is 0 */
            size_t len;
            struct buf *owner; /* of these bytes, if the core may take it over and leave an empty
                                  one; NULL: it copies them */
        } fetched;
        struct {
            const struct gossip_addr *addrs; /* with the UDP port to ask */
            size_t count;
        } seeds;
        struct gossip_self self;
        uint8_t load;
        uint64_t peer; /* node id; PEER_FAILED, PEER_OK */
        struct gossip_want want;
        uint32_t ask; /* WANT_END */
        struct gossip_flight flight;
    };
};

/* One datagram to send, best effort, in order. */
struct gossip_send {
    struct gossip_addr to;
    uint16_t len;
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
};

/* GET http://<from><path> with the header X-Spegel-Auth: <auth>. Exactly one GOSSIP_FETCHED with
 * this id must follow, with the body of a 200 (at most max_bytes) or a failure; the core gives up
 * on an answer after LIMIT_GOSSIP_FETCH_MS and ignores it then. No proxy, no redirects. */
struct gossip_fetch {
    uint32_t id;
    uint64_t peer;           /* node id, 0 when not known yet */
    struct gossip_addr from; /* with the registry port */
    size_t max_bytes;
    char path[GOSSIP_PATH_BYTES];
    char auth[GOSSIP_AUTH_TEXT_BYTES];
};

enum gossip_note_kind {
    GOSSIP_NOTE_UP,          /* a member is alive: new, restarted or back */
    GOSSIP_NOTE_SUSPECT,     /* suspected; may still be selected for a moment */
    GOSSIP_NOTE_DOWN,        /* declared dead */
    GOSSIP_NOTE_LEFT,        /* said goodbye */
    GOSSIP_NOTE_READY,       /* gossip_is_ready() became true; once */
    GOSSIP_NOTE_REFUTED,     /* we were called suspect or dead and said no */
    GOSSIP_NOTE_NEW_BOOT,    /* our boot number was behind what peers remember; took a later one */
    GOSSIP_NOTE_UDP_BLOCKED, /* nobody answers over UDP, but somebody does over TCP: working
                                degraded, by an exchange every few seconds */
    GOSSIP_NOTE_UDP_OPEN,    /* and now UDP works */
    GOSSIP_NOTE_NEW_ID,      /* a live node elsewhere has our id (a cloned data directory); took a
                                new one */
};

struct gossip_note {
    enum gossip_note_kind kind;
    uint64_t id;             /* the member; our own from READY on */
    struct gossip_addr addr; /* the member's registry address; no family for our own */
};

/* Filled by gossip_step, which first clears what the last step left. The arrays belong to the
 * effects and are valid until the next step with them or gossip_effects_done. One struct may serve
 * several cores. */
struct gossip_effects {
    struct gossip_send *sends;
    size_t send_count, send_capacity;
    struct gossip_fetch *fetches;
    size_t fetch_count, fetch_capacity;
    struct gossip_note *notes;
    size_t note_count, note_capacity;
    struct gossip_answer *answers;
    size_t answer_count, answer_capacity;
    struct gossip_answer spare_answer; /* `answers`, while there is no memory for more */
    uint64_t wake_at_ms; /* step a TICK then; monotonic; always set, at most 1 s ahead */
    bool persist;        /* gossip_identity() changed: write it to the data directory */
};

void gossip_effects_init(struct gossip_effects *e);
void gossip_effects_done(struct gossip_effects *e);

/* 0, -EINVAL (label missing, too many keys, id or boot 0 or above 48 bits), -ENOMEM. */
int gossip_new(const struct gossip_config *config, struct gossip **ret_core);
void gossip_free(struct gossip *core);

/* Another key ring, from the next packet on: the first sends, all are accepted; count 0: the one
 * derived from `label`, which is the cluster's as before. Nobody is lost as long as every node
 * accepts what every other sends with: add the new key second everywhere, then move it first
 * everywhere, then take the old one out. 0, -EINVAL (too many), -ENOMEM; a failure changes nothing.
 */
int gossip_set_keys(struct gossip *core, const char *label, const uint8_t (*keys)[GOSSIP_KEY_BYTES],
                    size_t key_count);

/* Never fails: what does not fit in memory or caps is dropped, counted, and repaired by pull. */
void gossip_step(struct gossip *core, const struct gossip_event *event,
                 struct gossip_effects *effects);

/* --- reading: plain memory reads, as of the last step --- */

struct gossip_holder {
    uint64_t id;
    struct gossip_addr addrs[2]; /* with the registry port; addr_count of them, IPv4 first */
    uint8_t addr_count;
    uint8_t load;     /* 0 idle to 255, as last heard */
    bool same_zone;   /* as ours; false when either is unknown */
    bool backing_off; /* the data path failed to connect to it of late; try it last */
    char zone[GOSSIP_ZONE_BYTES];
};

/* Who holds `key`: alive members only, without us, out at two independent suspicions or 700 ms of
 * one. Best first: not backing off, same zone, least load, then an order of its own per node and
 * key, so that askers spread. When there are more than `max`, the best; of a key that more than
 * 64 hold, the best of 64 of them, others for each asker and key. Returns how many. */
size_t gossip_lookup(const struct gossip *core, uint64_t key, struct gossip_holder *ret_holders,
                     size_t max);

/* Where a live member's registry is; false: unknown here, or out of selection. */
bool gossip_member_holder(const struct gossip *core, uint64_t id, struct gossip_holder *ret_holder);

/* Whether this node itself announced the key. */
bool gossip_holds(const struct gossip *core, uint64_t key);

enum gossip_state { GOSSIP_ALIVE, GOSSIP_SUSPECT, GOSSIP_DEAD, GOSSIP_LEFT };

struct gossip_member_view {
    uint64_t id, boot_ms;
    uint16_t incarnation;
    enum gossip_state state;
    bool selectable;
    struct gossip_addr addrs[2]; /* with the gossip port */
    uint8_t addr_count, load;
    uint16_t registry_port;
    uint32_t version, keys; /* of the set this node holds of it */
    uint64_t set_hash;
    uint64_t heard_ms_ago; /* since a packet of its own; UINT64_MAX: never */
    char zone[GOSSIP_ZONE_BYTES];
};

/* Walks members, us not included: start with *cursor = 0; false at the end. Order is arbitrary but
 * stable between steps. */
bool gossip_members(const struct gossip *core, size_t *cursor, struct gossip_member_view *ret_view);

/* Ready, as architecture.md says under "Ready" (that contents were listed is the daemon's to add):
 * a seed's snapshot was applied, or bootstrap names nobody but us, or nobody gave an
 * authenticated answer within 0.9 s of being asked, which begins anew when bootstrap names others
 * within 1.1 s of the start, or nobody was found to ask in 2 s; or, failing
 * open, there were answers but no snapshot for 10 s. Once true, it stays. */
bool gossip_is_ready(const struct gossip *core);

/* Ready, and no set is known to lack a change: what a look-up does not find now, nobody is known to
 * have announced, and there is nothing to wait for. */
bool gossip_is_settled(const struct gossip *core);

struct gossip_identity {
    uint64_t id, boot_ms;
};
struct gossip_identity gossip_identity(const struct gossip *core);

/* --- cold rollouts --- */

/* Walks the leases that this node keeps as an arbiter: start with *cursor = 0; false at the end. */
bool gossip_leases(const struct gossip *core, size_t *cursor, struct gossip_lease_view *ret_view);
void gossip_swarm_stats(const struct gossip *core, struct gossip_swarm_stats *ret_stats);

/* --- bulk, over HTTP --- */

/* The answer to one GET <path> under GOSSIP_PATH_PREFIX. It is begun, built by gossip_step in
 * slices of well under a millisecond, at most one a millisecond, and then read, sealed as it is
 * read. Its owner ends it, in any of these states and also after gossip_free. What it costs in
 * memory, and how many there may be, is in base/limits.h (LIMIT_GOSSIP_SERVED_BYTES, _SERVINGS,
 * _SERVE_MS). */
struct gossip_serving;

/* `auth` is the request's X-Spegel-Auth, NULL when absent. Then step a TICK: the asker may have
 * told news. 0; -EACCES: not from a holder of the cluster key (403); -ENOENT: no such path (404);
 * -EAGAIN: not now (503, Retry-After: 1); -EPROTO, -ENOBUFS, -ENOMEM (503). */
int gossip_serve_begin(struct gossip *core, const char *path, const char *auth,
                       struct gossip_serving **ret_serving);
/* -EINPROGRESS: look again after the next step, which is due within a millisecond; 0 with the
 * length of the body (application/octet-stream); -ENOENT: no such member (404); else it came to
 * nothing (503). */
int gossip_serving_ready(const struct gossip_serving *s, size_t *ret_bytes);
/* The next up to n bytes of the body, some 64 kB at most. How many, 0 at its end; -ETIMEDOUT: it
 * has been too long; -ESHUTDOWN, -EIO. Not while it is in progress. */
#define GOSSIP_SERVING_READ_MIN_BYTES 32 /* n is at least this, or all that is left */
ssize_t gossip_serving_read(struct gossip_serving *s, uint8_t *out, size_t n);
void gossip_serving_end(struct gossip_serving *s); /* NULL is fine */

/* All of it at once, appended to `body`, for those who have nothing else to do: as the above. */
int gossip_serve(struct gossip *core, const char *path, const char *auth, struct buf *body);

/* --- figures for /metrics and /debug --- */

/* What a datagram was sent for; rumours ride on probes too, which count as probes. */
enum gossip_class {
    GOSSIP_CLASS_PROBE,  /* pings, direct and indirect, and their answers */
    GOSSIP_CLASS_RUMOUR, /* news, and accusations to their subject */
    GOSSIP_CLASS_SYNC,   /* anti-entropy, and changes that were missed */
    GOSSIP_CLASS_JOIN,   /* seeds, strangers, challenges */
    GOSSIP_CLASS_SWARM,  /* cold rollouts */
    GOSSIP_CLASSES
};

struct gossip_stats {
    /* gauges */
    uint32_t alive, suspect, dead; /* members, us not included; `dead` counts the departed too */
    uint32_t index_keys, rumours, fetches_open;
    uint32_t behind;        /* members of whose set a later version is known than held */
    uint64_t index_entries; /* keys times live members that hold them, us included */
    uint64_t index_bytes, core_bytes;
    uint32_t lifeguard_score;
    bool udp_blocked; /* degraded: see GOSSIP_NOTE_UDP_BLOCKED */
    /* counters */
    uint64_t packets_in, packets_out, bytes_in, bytes_out;
    uint64_t class_packets[GOSSIP_CLASSES], class_bytes[GOSSIP_CLASSES]; /* of those out */
    uint64_t drop_short;       /* too short or too long for the envelope */
    uint64_t drop_version;     /* another envelope version */
    uint64_t drop_key;         /* no such key id */
    uint64_t drop_seal;        /* the tag does not fit: another cluster, or forged */
    uint64_t drop_replay;      /* seen before, or too old */
    uint64_t drop_old_boot;    /* an earlier life of a member */
    uint64_t drop_malformed;   /* sealed right, but not to be read */
    uint64_t drop_address;     /* a member with an address that cannot be one */
    uint64_t drop_own;         /* our own packet came back */
    uint64_t drop_collision;   /* a life we know under another salt, or our own id at another's */
    uint64_t drop_set_size;    /* a set of more keys than are taken, announced */
    uint64_t drop_rate;        /* held back by the token bucket */
    uint64_t drop_cap;         /* queue or effects full */
    uint64_t drop_members;     /* a new member for whom the table has no place */
    uint64_t drop_strangers;   /* beyond those challenged in a second, or too small to be */
    uint64_t drop_memory;      /* out of memory */
    uint64_t skipped_messages; /* unknown types */
    uint64_t skipped_fields;   /* bytes after the fields we know */
    uint64_t challenged;       /* packets of senders nobody has introduced */
    uint64_t elsewhere;        /* packets of members from an address not theirs: see receive.c */
    uint64_t probes, probes_failed, suspicions, refutations, deaths;
    uint64_t ops_applied, ops_stale, ops_early, hash_mismatches;
    uint64_t deltas_asked, deltas_answered, syncs;
    uint64_t fetches_too_large; /* of those failed: -EFBIG, a body over its cap */
    uint64_t fetches, fetches_failed, sets_applied, snapshots_applied;
    uint64_t serve_denied, served, serve_busy;
    uint64_t duplicate_ids;
};
void gossip_stats(const struct gossip *core, struct gossip_stats *ret_stats);
