/* state.h - the inside of the core, shared by its own files only.
 * size: the state of all of them, and what each offers the others.
 *
 *     receive.c    a datagram: envelope, sender, messages
 *     membership.c alive, suspect, dead, left: what changes when
 *     doubt.c      those that did not answer: suspected, accused, judged
 *     hosts.c      where they are, and some at random
 *     identity.c   our own id and boot, and others who use them
 *     probe.c      who answers pings
 *     apply.c      others' changes of their sets
 *     content.c    sets: local changes, others' changes, what to pull
 *     fetch.c      bulk asked for over HTTP
 *     body.c       sets and snapshots as HTTP bodies; holders.c, who holds a key, in a snapshot
 *     build.c      them built in slices
 *     take.c       a snapshot, opened and taken in slices; opening.c opens
 *     serve.c      answering such requests
 *     sync.c       anti-entropy: bucket hashes, entries, answers to pulls
 *     exchange.c   all of it over HTTP, where UDP is blocked
 *     exchange_answer.c  and answering that
 *     join.c       bootstrap, strangers, readiness
 *     challenge.c  who nobody knows shows that it lives
 *     spread.c     rumours into packets, packets into effects
 *     ops.c        changes of a set, as a message
 *     seen.c       what of it was taken already: badges, requests
 *     badge.c      what members show each other with requests for content
 *     swarm*.c     cold rollouts: swarm.h, and swarm_state.h inside
 *     lookup.c     reading */
#pragma once

#include "gossip/build.h"
#include "gossip/change.h"
#include "gossip/core.h"
#include "gossip/index.h"
#include "gossip/member.h"
#include "gossip/seal.h"
#include "gossip/seen.h"
#include "gossip/wire.h"

#define GOSSIP_BODY_BYTES (LIMIT_GOSSIP_PACKET_BYTES - GOSSIP_SEAL_OVERHEAD_BYTES)
#define GOSSIP_PROTOCOL 1
#define GOSSIP_NEVER_MS UINT64_MAX

struct gossip_take;

/* A ping under way; free while target is 0. */
struct gossip_probe {
    uint64_t target;
    uint32_t nonce;
    uint64_t started_ms, next_try_ms, deadline_ms;
    uint8_t tries, nacks;
    bool indirect;
};

/* A ping sent for somebody else; free while nonce is 0. */
struct gossip_relayed {
    struct gossip_addr asker;
    uint32_t nonce, asker_nonce;
    /* When the asker is told that there is no answer yet; GOSSIP_NEVER_MS: it was. */
    uint64_t nack_ms;
    uint64_t expires_ms;
};

enum gossip_fetch_kind { GOSSIP_FETCH_SNAPSHOT, GOSSIP_FETCH_SET, GOSSIP_FETCH_EXCHANGE };

/* Whether our own pings are answered. */
enum gossip_udp { GOSSIP_UDP_OPEN, GOSSIP_UDP_DOUBTED, GOSSIP_UDP_BLOCKED };

/* The most that a request carries in its X-Spegel-Auth besides the envelope. */
#define GOSSIP_ASK_BYTES (GOSSIP_AUTH_TEXT_BYTES / 2 - GOSSIP_SEAL_OVERHEAD_BYTES)

struct gossip_open_fetch {
    uint32_t id; /* 0: free */
    enum gossip_fetch_kind kind;
    uint64_t owner, peer;
    uint64_t expires_ms;
    uint8_t auth[GOSSIP_SEAL_OVERHEAD_BYTES + GOSSIP_ASK_BYTES];
    size_t auth_bytes; /* the answer is sealed for exactly this request */
};

/* Who exchanged with us: heard at the next step, since answering happens between steps. */
struct gossip_caller {
    bool left;
    struct gossip_alive alive;
};

struct gossip_seed {
    struct gossip_addr addr;
    uint32_t asked; /* how often, before anybody answered */
    bool is_us;
    bool is_member; /* somebody we know lives there; when strangers were pinged last */
};

/* What may happen so often in a second. */
struct gossip_rate {
    uint64_t since_ms;
    uint32_t count;
};

struct gossip_swarm;

struct gossip {
    struct gossip_seal *seal;
    struct gossip_members members;
    struct gossip_member *me; /* slot 0 */
    struct gossip_index *index;
    struct gossip_changes changes;
    struct gossip_self self;
    uint64_t random[4];
    struct gossip_effects *effects; /* only during a step */
    uint64_t now_ms, wall_ms, wake_ms, started_ms;
    bool leaving, contents_listed;
    struct gossip_stats stats;

    /* membership.c */
    uint64_t cluster_hash, hash_changed_ms;
    size_t live; /* members alive or suspected, us included */
    struct list suspects, behind;
    uint64_t next_doubt_ms, next_ask_about_ms; /* doubt.c */
    uint64_t next_pull_ms;                     /* the earliest of those behind, or earlier */
    struct list rumours[GOSSIP_TRANSMISSIONS_MAX];
    size_t rumour_count;
    uint64_t next_sweep_ms, next_room_ms;
    bool crowded; /* somebody new had no place */

    /* identity.c */
    uint32_t duplicate_nonce;
    uint64_t duplicate_boot, duplicate_ask_ms, duplicate_wait_ms;

    /* probe.c */
    uint64_t next_probe_ms;
    size_t probe_cursor, probe_count;
    uint16_t *probe_order;
    size_t probe_order_capacity;
    struct gossip_probe probes[LIMIT_GOSSIP_PROBES];
    struct gossip_relayed relayed[LIMIT_GOSSIP_RELAYED_PROBES];
    size_t probes_open, relayed_open; /* how many of them are not free: mostly none */
    uint32_t first_try_loss;          /* EWMA, 16 bits of fraction */
    uint8_t score;                    /* Lifeguard's local health, 0 is best */

    /* spread.c */
    uint64_t flush_ms; /* GOSSIP_NEVER_MS: nothing to say */
    int64_t tokens;    /* bytes; may go below zero by what is exempt */
    uint64_t tokens_ms;
    /* Where the packet being heard came from, if not from an address of its sender: anybody may
     * live there, so it gets at most so much. No family: nobody. */
    struct gossip_addr unproven;
    size_t unproven_bytes;

    /* sync.c */
    uint64_t next_sync_ms, last_sync_ms;

    /* fetch.c */
    struct gossip_open_fetch fetches[LIMIT_GOSSIP_FETCHES];
    uint32_t last_fetch_id;

    /* take.c */
    struct gossip_take *take; /* NULL: none */
    uint64_t take_ms;         /* of the last slice */

    /* exchange.c */
    enum gossip_udp udp;
    uint64_t udp_ms; /* when an answer to a ping of ours came last */
    uint64_t next_exchange_ms, exchange_wait_ms, next_sign_ms;
    uint64_t exchanged_ms, exchanged_hash; /* when last, and what was known then */
    uint8_t exchange_more;  /* so many soon, unless they know the same; more when they do not */
    uint64_t exchange_with; /* asked us, and knows other things; 0: anybody */
    uint64_t exchange_last; /* the member asked last */
    uint64_t exchange_cookie, exchange_cookie_ms;       /* to be repeated; 0: none. Since when */
    bool exchange_echoes;                               /* the request under way repeats it */
    struct gossip_addr exchange_registry, exchange_udp; /* who was asked last */
    bool believing; /* what a teller says of others counts for more than what we saw */
    struct gossip_caller callers[LIMIT_GOSSIP_CALLERS]; /* of exchanges answered since a step */
    size_t caller_count;

    /* serve.c */
    struct gossip_seen requests;
    uint64_t snapshot_free_ms, set_free_ms; /* when what was built is paid for */
    struct list builds, built;              /* waiting, the first under way; in use */
    struct list servings;
    size_t serving_count;
    struct gossip_build *build; /* under way: what changes is told to it; NULL: none */
    uint64_t build_ms;          /* the millisecond whose budget */
    size_t build_budget;        /* is this */

    /* join.c */
    struct gossip_seed *seeds, **seeds_by_addr;
    size_t seed_count, seeds_at_once;
    bool seeds_known, seed_answered, snapshot_applied, ready;
    uint64_t stranger_secret; /* of what strangers are to answer */
    uint64_t answered_ms, next_seed_ms, seed_wait_ms, next_stranger_ms;
    uint64_t asked_ms; /* the first time; GOSSIP_NEVER_MS: nobody */
    uint64_t snapshot_ms, snapshot_wait_ms;
    uint64_t snapshot_peer;                /* asked next; 0: any */
    struct gossip_rate challenges, echoes; /* of strangers, and answers to theirs, in a second */

    struct gossip_swarm *swarm;   /* swarm.c; NULL until there is something to keep */
    struct gossip_badges *badges; /* badge.c; likewise */
};

/* --- randomness, from the seed alone --- */
uint64_t gossip_random(struct gossip *g);
uint32_t gossip_random_nonce(struct gossip *g); /* never 0 */

/* --- membership.c --- */
/* After any change of a member: its part of the cluster hash, whether it may be chosen. */
void gossip_settle(struct gossip *g, struct gossip_member *m);
void gossip_hear_alive(struct gossip *g, const struct gossip_alive *a, uint64_t teller);
void gossip_hear_accusation(struct gossip *g, enum gossip_message type,
                            const struct gossip_accusation *a);
void gossip_become(struct gossip *g, struct gossip_member *m, enum gossip_state state);
/* A suspicion of ours was nothing: alive again, at the same incarnation. */
void gossip_clear(struct gossip *g, struct gossip_member *m);
void gossip_pass_on(struct gossip *g, struct gossip_member *m);
/* It stood in a snapshot, so others know it: a node that joins would else tell of every member. */
void gossip_heard_in_bulk(struct gossip *g, uint64_t id);
void gossip_raise_incarnation(struct gossip *g, uint16_t above);
void gossip_membership_tick(struct gossip *g);
uint64_t gossip_membership_wake_ms(const struct gossip *g);
/* Whether a record's addresses can be a member's here. */
bool gossip_addrs_acceptable(const struct gossip *g, const struct gossip_addr addrs[2]);
void gossip_alive_of(const struct gossip *g, const struct gossip_member *m,
                     struct gossip_alive *ret_alive);
/* Where to send; no family when we share none. */
struct gossip_addr gossip_member_addr(const struct gossip *g, const struct gossip_member *m);
/* Its second one, if both of us have both families, else the same. */
struct gossip_addr gossip_member_other_addr(const struct gossip *g, const struct gossip_member *m);
bool gossip_has_own_addr(const struct gossip *g);
/* Whether it can hear us: not where it has no UDP, or IPv6 alone and we IPv4 alone. Others that
 * both of us hear say how it is. */
static inline bool gossip_shares_family(const struct gossip *g, const struct gossip_member *m)
{
    return (m->families & g->me->families & 3) || (m->families && !g->me->families);
}

/* The one that is known, in this very life. */
static inline bool gossip_is_life_of(const struct gossip_member *m,
                                     const struct gossip_sender *sender)
{
    return m && m->boot == sender->boot && m->salt == sender->salt;
}

static inline bool gossip_can_hear(const struct gossip *g, const struct gossip_member *m)
{
    return !m->tcp_only && gossip_shares_family(g, m);
}
/* Up to max distinct live members but us and `except`, at random. */
size_t gossip_random_members(struct gossip *g, const struct gossip_member *except,
                             struct gossip_member **ret_members, size_t max);
void gossip_note(struct gossip *g, enum gossip_note_kind kind, const struct gossip_member *m);

/* --- doubt.c --- */
void gossip_suspect(struct gossip *g, struct gossip_member *m, uint64_t witness);
/* Says so to its face, or where a packet of its came from (`to`); at most once a second. */
void gossip_accuse_subject(struct gossip *g, struct gossip_member *m, const struct gossip_addr *to);
/* Whose answer to this accusation we have known for so long that whoever repeats it has missed it;
 * or NULL. No hash would tell them: they differ in an incarnation alone. */
const struct gossip_member *gossip_refuted_before(const struct gossip *g,
                                                  const struct gossip_accusation *a);
/* Whose time has come to be judged or accused again; when the next one's will have. */
void gossip_judge_suspects(struct gossip *g);

/* --- identity.c --- */
void gossip_heard_own_alive(struct gossip *g, const struct gossip_alive *a);
void gossip_heard_own_packet(struct gossip *g, const struct gossip_header *h,
                             const struct gossip_addr *from);
void gossip_heard_own_ack(struct gossip *g, const struct gossip_header *h, uint32_t nonce);
void gossip_take_boot(struct gossip *g, uint64_t above);
void gossip_identity_tick(struct gossip *g);
uint64_t gossip_identity_wake_ms(const struct gossip *g);

/* --- probe.c --- */
/* How much is lost on the way, by first tries without an answer: 0 little, 1 some, 2 much. */
unsigned gossip_loss(const struct gossip *g);
void gossip_probe_now(struct gossip *g, struct gossip_member *m);
void gossip_hear_ping(struct gossip *g, const struct gossip_ping *ping,
                      struct gossip_member *sender, const struct gossip_addr *from, size_t len);
void gossip_hear_ack(struct gossip *g, const struct gossip_ack *ack, uint64_t sender,
                     const struct gossip_addr *from);
void gossip_hear_nack(struct gossip *g, uint32_t nonce);
void gossip_hear_ping_req(struct gossip *g, const struct gossip_ping_req *req,
                          const struct gossip_addr *from);
void gossip_probe_tick(struct gossip *g);
void gossip_probe_late(struct gossip *g);
uint64_t gossip_probe_wake_ms(const struct gossip *g);

/* --- content.c --- */
void gossip_local_change(struct gossip *g, const uint64_t *keys, size_t count, bool del);
void gossip_hear_ops(struct gossip *g, const struct gossip_ops *ops, uint64_t teller);
/* Somebody holds this version of m's set. */
void gossip_hear_version(struct gossip *g, struct gossip_member *m, uint32_t version,
                         uint32_t count, uint64_t hash, uint64_t teller);
void gossip_hear_delta_no(struct gossip *g, const struct gossip_delta_req *req);
void gossip_want_nothing(struct gossip *g, struct gossip_member *m);
void gossip_drop_set(struct gossip *g, struct gossip_member *m);
/* Replaces what is held of m by keys of a verified set of m->boot. */
void gossip_take_set(struct gossip *g, struct gossip_member *m, uint32_t version, uint64_t hash,
                     const uint64_t *keys, size_t count);
void gossip_pull_by(struct gossip *g, uint64_t at_ms); /* somebody's turn comes then */
void gossip_content_tick(struct gossip *g);
uint64_t gossip_content_wake_ms(const struct gossip *g);

/* What is wanted of it, if that is held now, is no more. */
void gossip_caught_up(struct gossip *g, struct gossip_member *m);

/* --- apply.c --- */
/* Whatever of the kept changes follows on what is held. 0; -EBADMSG: they do not fit; -ENOMEM. */
int gossip_apply_waiting(struct gossip *g, struct gossip_member *m);

/* --- fetch.c --- */
/* 0 or the fetch's id; 0 when no more may be open or nobody can be asked there. */
uint32_t gossip_fetch_start(struct gossip *g, enum gossip_fetch_kind kind, uint64_t owner,
                            struct gossip_member *peer);
/* An exchange, with whoever is at this registry address; `ask` travels in the request's header. */
uint32_t gossip_fetch_exchange(struct gossip *g, const struct gossip_addr *from, const uint8_t *ask,
                               size_t n);
bool gossip_fetch_is_open(const struct gossip *g, enum gossip_fetch_kind kind);
void gossip_fetched(struct gossip *g, const struct gossip_event *event);
void gossip_fetch_tick(struct gossip *g);
/* What was being taken has been, or not. */
void gossip_fetch_ended(struct gossip *g, const struct gossip_open_fetch *fetch, bool applied);
uint64_t gossip_fetch_wake_ms(const struct gossip *g);

/* --- build.c --- */
/* Builds all of it at once into ret_body, whose cap holds, and frees it. 0, -ENOENT, -ENOMEM,
 * -ENOBUFS. */
int gossip_build_whole(struct gossip *g, struct gossip_build *b, struct buf *ret_body);
int gossip_snapshot_build(struct gossip *g, struct buf *ret_body);

/* --- serve.c --- */
void gossip_serve_tick(struct gossip *g);
void gossip_serve_free(struct gossip *g);

/* --- body.c --- */
int gossip_set_apply(struct gossip *g, uint64_t owner, uint64_t teller, const uint8_t *bytes,
                     size_t n);
#define GOSSIP_BODY_FORMAT 1
int gossip_body_read_alive(struct gossip_reader *r, struct gossip_alive *ret_alive);
/* Whether a set at this version would be news about m, which may be NULL. */
bool gossip_set_is_news(const struct gossip *g, const struct gossip_member *m,
                        const struct gossip_alive *a);

/* --- take.c --- */
/* All of it at once: 0, -EPROTO, -ENOMEM. */
int gossip_snapshot_apply(struct gossip *g, uint64_t teller, const uint8_t *bytes, size_t n);
int gossip_exchange_apply(struct gossip *g, uint64_t teller, const uint8_t *bytes, size_t n);
/* The same in slices of a bounded time, one a millisecond from now on; the fetch ends with the
 * last. Takes the bytes over: plain ones, or a whole envelope. 0; -EPROTO, -ENOMEM, -EBUSY (one is
 * being taken), and what gossip_stream_open says: then there is nothing to wait for. */
int gossip_take_begin(struct gossip *g, const struct gossip_open_fetch *fetch, uint64_t teller,
                      struct buf *bytes);
int gossip_take_sealed(struct gossip *g, const struct gossip_open_fetch *fetch, struct buf *sealed);
void gossip_take_tick(struct gossip *g);
void gossip_take_free(struct gossip *g);
/* Its set is somebody else's business from now on. */
void gossip_take_not(struct gossip *g, struct gossip_member *m);

/* --- exchange.c --- */
void gossip_udp_answered(struct gossip *g);
void gossip_exchange_tick(struct gossip *g);
uint64_t gossip_exchange_wake_ms(const struct gossip *g);
/* Hears who asks, and begins the plain body of the answer; _about is what of it stands before the
 * snapshot, of one member. 0, -EPROTO, -ENOMEM, -ENOBUFS, -EAGAIN. */
int gossip_exchange_begin(struct gossip *g, const uint8_t *ask, size_t n,
                          const struct gossip_sender *asker, struct gossip_build **ret_build);
#define GOSSIP_EXCHANGE_FORMAT 1
#define GOSSIP_EXCHANGE_COUNT_AT 2 /* how much there is of messages */
int gossip_exchange_about(struct gossip *g, struct gossip_build *b, const struct gossip_member *m);
int gossip_exchange_build(struct gossip *g, const uint8_t *ask, size_t n,
                          const struct gossip_sender *asker,
                          struct buf *ret_body); /* all at once */
/* An answer: what stands before the snapshot, and where that begins. */
struct gossip_exchange {
    bool same; /* they know what we know */
    struct gossip_reader messages;
    size_t snapshot_at;
};
int gossip_exchange_read(const uint8_t *bytes, size_t n, struct gossip_exchange *ret_exchange);
/* 1: heard one; 0: that was all; -EPROTO. */
int gossip_exchange_hear_one(struct gossip *g, uint64_t teller, struct gossip_reader *messages);
/* All were heard. Whether the teller is to be believed, see struct gossip. */
bool gossip_exchange_heard(struct gossip *g, uint64_t teller, bool same);
void gossip_exchange_ended(struct gossip *g, bool applied);
/* Tells somebody at once that we leave. */
void gossip_exchange_leave(struct gossip *g);

/* --- sync.c --- */
unsigned gossip_bucket_bits(const struct gossip *g); /* how many buckets to compare, log 2 */
#define GOSSIP_BUCKET_BITS_MIN 3
#define GOSSIP_BUCKET_BITS_MAX 7
unsigned gossip_bucket_of(uint64_t id, unsigned bits);
void gossip_bucket_hashes(const struct gossip *g, unsigned bits,
                          uint64_t ret_hashes[1 << GOSSIP_BUCKET_BITS_MAX]);
void gossip_hear_hash(struct gossip *g, struct gossip_member *peer, uint64_t cluster_hash,
                      const struct gossip_addr *from);
void gossip_hear_sum(struct gossip *g, struct gossip_reader *r, const struct gossip_addr *from);
void gossip_hear_ent(struct gossip *g, struct gossip_reader *r, uint64_t teller,
                     const struct gossip_addr *from);
void gossip_hear_delta_req(struct gossip *g, const struct gossip_delta_req *req,
                           const struct gossip_addr *from);

/* --- join.c --- */
void gossip_take_seeds(struct gossip *g, const struct gossip_addr *addrs, size_t count);
void gossip_seed_is_us(struct gossip *g, const struct gossip_addr *from);
void gossip_seed_answered(struct gossip *g, uint64_t sender);
void gossip_snapshot_ended(struct gossip *g, bool applied, uint64_t peer);
/* A bootstrap address that is not ours, at random; NULL: none. */
const struct gossip_addr *gossip_random_seed(struct gossip *g);
void gossip_join_tick(struct gossip *g);
uint64_t gossip_join_wake_ms(const struct gossip *g);

/* --- challenge.c --- */
void gossip_ping_stranger(struct gossip *g, const struct gossip_addr *to);
/* Whether it answers a ping to a stranger, one of some seconds ago at most. */
bool gossip_answers_stranger_ping(const struct gossip *g, uint32_t nonce);
/* `len`: of the packet it came in. */
void gossip_challenge(struct gossip *g, const struct gossip_header *h,
                      const struct gossip_addr *from, size_t len);
void gossip_hear_challenge(struct gossip *g, uint64_t cookie, const struct gossip_addr *from,
                           size_t len);
#define GOSSIP_COOKIE_MS 8192 /* for so long at least it is good, and at most twice as long */
/* What shows for some seconds that who repeats it lives, and hears at `from` (NULL: over HTTP). */
uint64_t gossip_cookie(struct gossip *g, const struct gossip_sender *sender,
                       const struct gossip_addr *from);
bool gossip_cookie_fits(struct gossip *g, const struct gossip_sender *sender,
                        const struct gossip_addr *from, uint64_t cookie);
void gossip_cookie_write(struct gossip_writer *w, enum gossip_message type, uint64_t cookie);

/* --- swarm.c --- */
void gossip_swarm_free(struct gossip *g);
void gossip_swarm_event(struct gossip *g, const struct gossip_event *event);
/* A message of those from GOSSIP_MSG_WANT on; from strangers (NULL) it is only read. 0 or -EPROTO.
 */
int gossip_swarm_hear(struct gossip *g, const struct gossip_member *sender,
                      const struct gossip_addr *from, uint8_t type, struct gossip_reader *r);
void gossip_swarm_member_changed(struct gossip *g, const struct gossip_member *m); /* selectable */
void gossip_swarm_tick(struct gossip *g);
uint64_t gossip_swarm_wake_ms(const struct gossip *g);

/* --- badge.c: badge.h, and --- */
void gossip_badges_free(struct gossip *g);

/* --- receive.c --- */
void gossip_receive(struct gossip *g, const struct gossip_addr *from, const uint8_t *bytes,
                    size_t len);
/* What is inside the envelope; for receive.c and the fuzzer. `sender` may be NULL. */
void gossip_receive_messages(struct gossip *g, struct gossip_member *sender, uint64_t sender_id,
                             const struct gossip_addr *from, const uint8_t *body, size_t n,
                             size_t packet_bytes);

/* --- spread.c --- */
struct gossip_packet {
    uint8_t body[GOSSIP_BODY_BYTES];
    struct gossip_writer w;
    struct gossip_dictionary dictionary;
    bool own_cap; /* not paid for out of the token bucket: it has a limit of its own */
    enum gossip_class class;
};

void gossip_packet_begin(struct gossip_packet *p, enum gossip_class class);
/* Adds queued rumours until `bytes` of the body are used. Returns how many. */
size_t gossip_packet_fill(struct gossip *g, struct gossip_packet *p, size_t bytes, unsigned copies);
/* What we hold about a member: ALIVE, or the accusations against it. */
bool gossip_packet_about(struct gossip *g, struct gossip_packet *p, const struct gossip_member *m);
/* Seals once, sends to all. Empty packets and addresses without a family are skipped. */
void gossip_packet_send(struct gossip *g, struct gossip_packet *p, const struct gossip_addr *to,
                        size_t count);
void gossip_wake_spreader(struct gossip *g);
/* More is to be told than may be sent: the token bucket is half empty. */
bool gossip_in_a_rush(const struct gossip *g);
/* What thousands may ask for at the same time is answered a little longer than rumours are told,
 * and then not: they ask again. */
bool gossip_may_answer(const struct gossip *g);
void gossip_spread_tick(struct gossip *g);
