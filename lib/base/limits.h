/* limits.h - every cap, time-out and period of the program, in one place.
 *
 * Units stand last in each name. A cap that a peer can reach names what happens then. */
#pragma once

/* --- inbound HTTP (io/server.h, http/request.h) --- */
#define LIMIT_HTTP_HEAD_BYTES (16 * 1024) /* then 431 */
#define LIMIT_HTTP_TARGET_BYTES 8192      /* then 414 */
#define LIMIT_HTTP_HEADERS 64             /* then 431 */
#define LIMIT_CONNECTIONS 4096            /* then the oldest headless or idle one makes room */
#define LIMIT_HEAD_TIMEOUT_MS 10000       /* from the first byte of a head to its end */
#define LIMIT_IDLE_TIMEOUT_MS 75000       /* between requests on a kept connection */
#define LIMIT_CLIENT_STALL_MS 60000       /* a client that takes nothing: closed */
#define LIMIT_DRAIN_MS 2000               /* after shutdown(SHUT_WR), then close */
#define LIMIT_DRAIN_BYTES (256 * 1024)
#define LIMIT_NEAR_US 1000          /* handshake of a neighbour: io/pacing.h */
#define LIMIT_STREAMS 512           /* bodies under way; then 503 to peers, 404 to others */
#define LIMIT_SHUTDOWN_GRACE_MS 250 /* from LEFT to the last content begun: daemon/node_leave.c */
#define LIMIT_PEER_STREAMS 16 /* of them to peers; more that can ask elsewhere are told: 503 */
#define LIMIT_SHUTDOWN_DRAIN_MS 20000 /* running streams at SIGTERM, the grace included */
#define LIMIT_SERVE_JOBS 1024         /* files to be hashed before they are sent; then the same */

/* --- moving bytes (io) --- */
#define LIMIT_TURN_BYTES (4 * 1024 * 1024) /* of bodies, shared by all streams, per turn … */
#define LIMIT_TURN_MIN_BYTES (128 * 1024)  /* … but to each at least so much */
#define LIMIT_READAHEAD_BYTES (1024 * 1024)
#define LIMIT_RELAY_PIPE_BYTES (256 * 1024)
#define LIMIT_RELAY_PIPES_BYTES (32 * 1024 * 1024)
#define LIMIT_UDP_QUEUE 1024 /* datagrams waiting for the socket; more are dropped */
#define LIMIT_RELAY_LOW_WATER_BYTES (512 * 1024) /* woken for so much of a large body at once */
#define LIMIT_RELAY_LINGER_MS 20                 /* or for less after this */
#define LIMIT_RELAY_IDLE_PIPES 16          /* kept for the next transfer; the rest is closed */
#define LIMIT_RELAY_COPY_BYTES (64 * 1024) /* where bytes pass through memory: hashed, or TLS */
#define LIMIT_FETCH_IDLE_CONNECTIONS 16
#define LIMIT_FETCH_CA_BYTES (1024 * 1024) /* of a directory of certificates, in all */
#define LIMIT_PEER_IDLE_CONNECTIONS 64     /* kept to peers; then the oldest is closed */
#define LIMIT_PEER_IDLE_MS 30000           /* less than the peers' LIMIT_IDLE_TIMEOUT_MS */

/* --- the mirror (registry/mirror.h); architecture.md, "Time" --- */
#define LIMIT_HEDGE_MIN_MS 50
#define LIMIT_HEDGE_MAX_MS 500
#define LIMIT_HEDGE_START_MS 100
#define LIMIT_HEAD_WAIT_MS 1000    /* after the last holder was asked: 404 */
#define LIMIT_MIRROR_TOTAL_MS 3000 /* to the first byte, in all: 404 */
#define LIMIT_NO_PROGRESS_MS 2000  /* of a peer, while our client reads */
#define LIMIT_VERIFIED_MANIFEST_BYTES (4 * 1024 * 1024)
#define LIMIT_VERIFIED_BLOB_BYTES (256 * 1024)
#define LIMIT_VERIFY_BUDGET_BYTES (6 * 1024 * 1024)
#define LIMIT_VERIFY_WAIT_MS 500
#define LIMIT_DOUBT_MS (10 * 60 * 1000)
#define LIMIT_DOUBTS 1024
#define LIMIT_FAILED_MS 10000 /* a holder that failed for a digest is not asked again */
#define LIMIT_FAILED_DIGESTS 1024
#define LIMIT_TELLS 32                        /* doubted holders being told at once; more are not */
#define LIMIT_DOUBT_CHECKS 64                 /* own files waiting to be hashed; more are not */
#define LIMIT_LOOKUP_AGAIN_MS 5               /* while waiting for a holder to become known */
#define LIMIT_ATTEMPTS_JSON_BYTES 4096        /* detail.attempts of a 404 */
#define LIMIT_DOUBT_CHECK_MS (60 * 60 * 1000) /* own file hashed once per digest and this */

/* --- what the node holds (store) --- */
#define LIMIT_MANIFEST_BYTES (4 * 1024 * 1024) /* larger ones are no manifests */
#define LIMIT_MANIFEST_DEPTH 8                 /* index within index */
#define LIMIT_MANIFEST_CHILDREN 4096
#define LIMIT_JSON_NESTING 64
#define LIMIT_JSON_VALUES 65536                /* of one document: each costs 64 bytes or more */
#define LIMIT_MANIFEST_ANNOTATIONS_BYTES 65536 /* longer ones are left out of referrers */
#define LIMIT_MEDIA_TYPES 1024                 /* different ones; manifests of others go by OCI's */
#define LIMIT_SCAN_BLOBS 1024                  /* directory entries a step on the pool */
#define LIMIT_SCAN_MANIFESTS 16                /* manifests read a step on the pool */
#define LIMIT_READER_RETRY_MS 1000             /* manifests that could not be read just now */
#define LIMIT_LAYOUT_IMAGES 4096               /* in one index.json; then it is not read */
#define LIMIT_LAYOUT_BLOBS 200000              /* in one OCI layout; more are not served */
#define LIMIT_FILTER_MATCH 100000              /* PCRE2 steps; an expression over it matches */
#define LIMIT_FILTER_DEPTH 1000
#define LIMIT_FILTER_HEAP_KIB 1024
#define LIMIT_INFO_RETRY_MS 1000
#define LIMIT_INFO_EVERY_MS 50
#define LIMIT_STORE_BLOBS 500000              /* of one containerd; more are not taken, counted */
#define LIMIT_STORE_IMAGES 100000             /* likewise */
#define LIMIT_STORE_LIST_MS 60000             /* a listing of images or contents, all of it */
#define LIMIT_STORE_SETTLE_MS 1000            /* after a connection's first listing: the second */
#define LIMIT_STORE_RELIST_MS (5 * 60 * 1000) /* from then on */
#define LIMIT_STORE_RETRY_MS 1000 /* after a failed call on a good connection: list again */
#define LIMIT_IMAGE_FETCHES 1024  /* names waiting to be fetched; more: all are listed */
#define LIMIT_IMAGE_FETCHES_OPEN 16
#define LIMIT_BLOB_PROBES 4096  /* digests waiting to be asked for; more: all are listed */
#define LIMIT_BLOB_STRANGERS 64 /* of a directory that just appeared, asked for one by one */
#define LIMIT_BLOB_PROBES_OPEN 32
#define LIMIT_MANIFEST_READS 4  /* on the pool at once */
#define LIMIT_WATCH_DEPTH 64    /* directories above a watched one; then -EINVAL */
#define LIMIT_LAYER_LOOKS 20000 /* images and their children, to count those without layers */
#define LIMIT_CRI_CONFIG_BYTES (1024 * 1024)
#define LIMIT_ADVICE_SETTLE_MS 10000 /* images that come sooner say nothing */
#define LIMIT_ADVICE_WAIT_MS                                                                       \
    30000 /* an image came and containerd has not asked, or no layers: said */
#define LIMIT_ADVICE_LAYERS_MS 10000 /* between two looks for images without layers */
#define LIMIT_ADVICE_INGESTS 64      /* downloads looked at, whether one of them grows */
#define LIMIT_STALE_SOCKET_MS 10000  /* without containerd on a socket whose file is gone: end */
#define LIMIT_WATCH_RETRY_MS 5000    /* a watch that the kernel refuses: "list again" this often */
#define LIMIT_INGEST_LOOK_MS 500     /* at open downloads, whether or not an event came */

/* --- gRPC (grpc, store/containerd.h) --- */
#define LIMIT_GRPC_MESSAGE_BYTES (16 * 1024 * 1024)
#define LIMIT_GRPC_CALLS 256  /* open at once on a session; then -EBUSY */
#define LIMIT_GRPC_HEADERS 64 /* of one response; then the call fails */
#define LIMIT_GRPC_REQUEST_HEADERS 8
#define LIMIT_GRPC_STATUS_TEXT_BYTES 256 /* longer texts of errors are cut */
#define LIMIT_GRPC_UNARY_MS 10000
#define LIMIT_GRPC_BACKOFF_MIN_MS 100
#define LIMIT_GRPC_BACKOFF_MAX_MS 5000

/* --- gossip: see gossip.md for the reasons --- */
#define LIMIT_GOSSIP_PACKET_BYTES 1200
#define LIMIT_GOSSIP_MEMBERS 16384          /* the dead and departed included; more are not heard */
#define LIMIT_GOSSIP_KEYS_PER_MEMBER 200000 /* a larger set is not taken */
#define LIMIT_GOSSIP_LOCAL_KEYS 200000      /* more are held but not announced */
#define LIMIT_GOSSIP_INDEX_KEYS (4 * 1024 * 1024)
#define LIMIT_GOSSIP_RUMOURS 16384 /* changes to be passed on; then the oldest go: pull repairs */
#define LIMIT_GOSSIP_RUMOUR_BYTES (2 * 1024 * 1024)
#define LIMIT_GOSSIP_LOG_RECORDS 4096 /* changes passed on and kept to answer pulls */
#define LIMIT_GOSSIP_LOG_BYTES (512 * 1024)
#define LIMIT_GOSSIP_EARLY_PER_OWNER 8 /* changes that came before their predecessor */
#define LIMIT_GOSSIP_OPS 100           /* keys in one change; more: the set is fetched */
#define LIMIT_GOSSIP_DELTA_OPS 200     /* keys in one answer to a pull */
#define LIMIT_GOSSIP_SEEDS 4096
#define LIMIT_GOSSIP_SET_BYTES (2 * 1024 * 1024)
#define LIMIT_GOSSIP_SNAPSHOT_BYTES (64 * 1024 * 1024)
#define LIMIT_GOSSIP_SERVED_BYTES (128 * 1024 * 1024) /* bodies built for others, all together */
#define LIMIT_GOSSIP_SERVINGS 64                    /* answers with such bodies at once; then 503 */
#define LIMIT_GOSSIP_SEAL_BYTES_PER_MS (256 * 1024) /* of such bodies, for all together */
#define LIMIT_GOSSIP_SERVE_MS 15000                 /* from the request to the last byte read */
/* Keys that change while one is built; then it goes without their holders' sets. */
#define LIMIT_GOSSIP_BUILD_EARLY 1024
#define LIMIT_GOSSIP_ZONES 128  /* names kept; members of others have none */
#define LIMIT_GOSSIP_CALLERS 32 /* exchanges answered between two steps; then 503 */
#define LIMIT_GOSSIP_FETCHES 4  /* open at once */
#define LIMIT_GOSSIP_FETCH_MS 10000
#define LIMIT_GOSSIP_SENDS 512                 /* datagrams of one step */
#define LIMIT_GOSSIP_NOTES 256                 /* of one step */
#define LIMIT_GOSSIP_PROBES 16                 /* under way at once */
#define LIMIT_GOSSIP_RELAYED_PROBES 64         /* pings on behalf of others */
#define LIMIT_GOSSIP_SUBKEYS 64                /* cached cipher contexts */
#define LIMIT_GOSSIP_BUCKET_BYTES (128 * 1024) /* burst; rumours wait when it is spent */
#define LIMIT_GOSSIP_BUCKET_BYTES_PER_S (32 * 1024)
#define LIMIT_GOSSIP_CHALLENGES_PER_S 1000 /* of strangers, 51 bytes each, beside the bucket */
#define LIMIT_GOSSIP_ECHOES_PER_S                                                                  \
    256                         /* to strangers' challenges, 153 bytes each, beside it too         \
                                 */
#define LIMIT_GOSSIP_SEEN 16384 /* lives whose badges, or requests, are remembered; 2 MB each */

/* --- cold rollouts (gossip/swarm.h, registry/cold.h) --- */
#define LIMIT_SWARM_LEASES 4096        /* kept as an arbiter; then no answer: upstream */
#define LIMIT_SWARM_PARTICIPANTS 65536 /* of all leases */
#define LIMIT_SWARM_CHILDREN 3         /* per node and content */
#define LIMIT_SWARM_DEPTH 16           /* of a follower */
#define LIMIT_SWARM_ASKS 1024          /* open at once; then NONE */
#define LIMIT_SWARM_ANSWERS 64         /* of one step; the rest come with the next */
#define LIMIT_SWARM_PACKETS_PER_S 8192 /* out; more are dropped, and asked for again */
#define LIMIT_SWARM_FLIGHTS 1024       /* own downloads told of; more are not */
#define LIMIT_SWARM_ANSWER_MS 100      /* for an arbiter to answer; then the second, then none */
#define LIMIT_SWARM_RETRY_MS 20        /* a WANT is repeated to the same arbiter */
#define LIMIT_SWARM_RENEW_MS 1000
#define LIMIT_SWARM_SILENT_MS 1600 /* a leader somebody stalls on, not heard for so long */
#define LIMIT_SWARM_BEGIN_MS 3000  /* for a leader to begin */
#define LIMIT_SWARM_HELD_MS 3000   /* a member's word that it holds all of it; then the index's */
#define LIMIT_SWARM_LEASE_MS 10000 /* without a RENEW, or without growth */
#define LIMIT_SWARM_WAIT_MS 250    /* to ask again when all are busy */
#define LIMIT_COLD_FEW_HOLDERS 3   /* with fewer the arbiter spreads those who ask */
#define LIMIT_COLD_CHILDREN 6      /* fed from one download at once; then 503: ask elsewhere */
#define LIMIT_COLD_INGEST_MS 1500  /* for an ingest to appear; then nobody is fed from it */
#define LIMIT_COLD_IDLE_MS 60000   /* a download that nobody waits for and that does not grow */
#define LIMIT_COLD_AGAIN_MS 100  /* after all offered parents failed, the arbiter is asked again */
#define LIMIT_SWARM_SLOW_MS 5000 /* a follower asks whether it might have a faster parent */
#define LIMIT_COLD_WAIT_MAX_MS 3000 /* whatever an arbiter says: it is asked again then */
#define LIMIT_COLD_DOUBT_MS 60000   /* after a doubt: who is granted asks upstream, not holders */
#define LIMIT_SWARM_FIRST_BYTE_MS 20000 /* a follower waits for its first byte; then upstream */

#define LIMIT_HOLDING_CHANGES (1024 * 1024) /* own contents, untold yet; more are not announced */
#define LIMIT_KEY_FILE_BYTES (16 * 1024)    /* a longer one is no key file */
#define LIMIT_KEY_FILE_LOOK_MS 2000         /* how often it is read again */
#define LIMIT_CLUSTER_PAGE 1000             /* members in one answer of /debug/cluster */

/* --- containerd's configuration (certsd) --- */
#define LIMIT_HOSTS_TOML_BYTES (1024 * 1024) /* a longer file of the user's is refused */
#define LIMIT_TOML_NESTING 64                /* brackets within brackets; then the same */
#define LIMIT_CERTSD_DEPTH 32                /* directories within directories; then the same */
#define LIMIT_CERTSD_TARGETS 64              /* tried for ours in a file with more than ours */
#define LIMIT_BASIC_AUTH_BYTES 4096          /* name and password together */

/* --- cleanup and cleanup-wait (daemon/probe_server.h, daemon/prober.h) --- */
#define LIMIT_PROBE_CLIENTS 64      /* then the oldest connection makes room */
#define LIMIT_PROBE_HEAD_BYTES 4096 /* then closed */
#define LIMIT_PROBE_HEAD_MS 5000    /* the same */
#define LIMIT_PROBES_AT_ONCE 10
#define LIMIT_CLEANUP_REPORTED 100 /* addresses named when cleanup-wait gives up */
#define LIMIT_CLEANUP_REPORT_S 2   /* after a stop; then without a report */
#define LIMIT_PROBE_MS 1000        /* for one address to answer */
