/* What the cluster costs a node in single steps: sealing and opening a packet, telling of all
 * members, and hearing a Service name them all. `build/gossip_costs`; CPU time, the best of several
 * rounds, since other programs on the machine only ever add to it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "gossip/seal.h"
#include "gossip/state.h"

enum { ROUNDS = 20, PACKETS = 2000, SENDERS = 1000 };

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- packets --- */

static const uint8_t KEYS[3][32] = {{1}, {2}, {3}};
static const struct gossip_binding BINDING = {.purpose = GOSSIP_FOR_PACKET};

static struct gossip_seal *make_seal(uint64_t id)
{
    struct gossip_seal *s = NULL;
    struct gossip_sender sender = {.id = id, .boot = 1, .salt = 1};
    CHECK(gossip_seal_new("bench", KEYS, 3, &s) == 0);
    CHECK(gossip_seal_set_sender(s, &sender) == 0);
    return s;
}

static double seal_ns(size_t packet_bytes)
{
    struct gossip_seal *s = make_seal(1);
    uint8_t body[LIMIT_GOSSIP_PACKET_BYTES] = {0}, packet[LIMIT_GOSSIP_PACKET_BYTES];
    double best_ns = 1e12;
    for (int round = 0; round < ROUNDS; round++) {
        double begun_ns = cpu_ns();
        for (int i = 0; i < PACKETS; i++) {
            CHECK(gossip_seal_write(s, &BINDING, body, packet_bytes - GOSSIP_SEAL_OVERHEAD_BYTES,
                                    packet) == 0);
        }
        double ns = (cpu_ns() - begun_ns) / PACKETS;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    gossip_seal_free(s);
    return best_ns;
}

/* `senders` take turns: many more than sub-keys are kept means that each packet derives one. */
static double open_ns(size_t packet_bytes, size_t senders, bool forged)
{
    static uint8_t packets[SENDERS][LIMIT_GOSSIP_PACKET_BYTES];
    uint8_t body[LIMIT_GOSSIP_PACKET_BYTES] = {0};
    for (size_t i = 0; i < senders; i++) {
        struct gossip_seal *from = make_seal(100 + i);
        CHECK(gossip_seal_write(from, &BINDING, body, packet_bytes - GOSSIP_SEAL_OVERHEAD_BYTES,
                                packets[i]) == 0);
        packets[i][packet_bytes - 1] ^= forged;
        gossip_seal_free(from);
    }
    struct gossip_seal *s = make_seal(1);
    double best_ns = 1e12;
    for (int round = 0; round < ROUNDS; round++) {
        double begun_ns = cpu_ns();
        for (size_t i = 0; i < PACKETS; i++) {
            struct gossip_header h;
            const uint8_t *packet = packets[i % senders];
            CHECK(gossip_seal_peek(packet, packet_bytes, &h) == 0);
            CHECK((gossip_seal_open(s, &h, &BINDING, packet, packet_bytes, body) == 0) == !forged);
        }
        double ns = (cpu_ns() - begun_ns) / PACKETS;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    gossip_seal_free(s);
    return best_ns;
}

/* --- GET /debug/cluster --- */

static const char *no_authorization(void *arg)
{
    (void)arg;
    return NULL;
}

static void introduce(struct gossip *core, size_t members)
{
    struct gossip_effects effects;
    gossip_effects_init(&effects);
    core->effects = &effects;
    for (size_t i = 1; i <= members; i++) {
        struct gossip_alive a = {.id = gossip_mix(i) >> 16 | 1,
                                 .boot = 1700000000000,
                                 .salt = (uint32_t)i,
                                 .gossip_port = 5001,
                                 .registry_port = 5000,
                                 .zone = "europe-west1-b"};
        a.addrs[0] = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {127, 1, (uint8_t)(i / 200), (uint8_t)(i % 200 + 1)}};
        gossip_hear_alive(core, &a, a.id);
        effects.note_count = 0;
    }
    core->effects = NULL;
    gossip_effects_done(&effects);
}

static void debug_page(size_t members)
{
    struct loop *loop = NULL;
    struct fetcher *fetcher = NULL;
    struct cluster *c = NULL;
    struct error err;
    struct cluster_config config = {.label = "bench",
                                    .router_addr = "127.0.0.1:0",
                                    .router_host = "127.0.0.1",
                                    .registry_port = 5000,
                                    .authorization = no_authorization};
    CHECK(loop_new(&loop) == 0 && fetcher_new(loop, &fetcher) == 0);
    CHECK(cluster_new(loop, fetcher, &config, &c, &err) == 0);
    introduce((struct gossip *)(uintptr_t)cluster_core(c), members);
    struct gossip_stats stats;
    gossip_stats(cluster_core(c), &stats);
    struct buf body;
    buf_init(&body, 8 * 1024 * 1024);
    double best_ns = 1e12;
    for (int round = 0; round < ROUNDS; round++) {
        buf_done(&body);
        double begun_ns = cpu_ns();
        CHECK(cluster_debug_json(c, 0, SIZE_MAX, &body) == 0);
        double ns = cpu_ns() - begun_ns;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    printf("/debug/cluster, a page of %d of %u members: %.2f ms, %zu kB\n", LIMIT_CLUSTER_PAGE,
           stats.alive, best_ns / 1e6, body.len / 1000);
    buf_done(&body);
    cluster_free(c);
    fetcher_free(fetcher);
    loop_free(loop);
}

/* --- bootstrap, by a Service that names every member --- */

static double step_ns(struct gossip *core, struct gossip_event *event, uint64_t now_ms)
{
    struct gossip_effects effects;
    gossip_effects_init(&effects);
    event->now_ms = event->wall_ms = now_ms;
    double begun_ns = cpu_ns();
    gossip_step(core, event, &effects);
    double ns = cpu_ns() - begun_ns;
    gossip_effects_done(&effects);
    return ns;
}

static void bootstrap(size_t members)
{
    static struct gossip_addr addrs[LIMIT_GOSSIP_SEEDS];
    struct gossip_config config = {
        .label = "bench",
        .id = 1,
        .boot_ms = 1,
        .self = {.addrs = {{.family = GOSSIP_IPV4, .ip = {127, 0, 0, 1}}}, .gossip_port = 5001},
        .now_ms = 1};
    struct gossip *core = NULL;
    size_t count = 0;
    uint64_t now_ms = 1;
    double seeds_ns = 1e12, stranger_ns = 1e12;
    CHECK(gossip_new(&config, &core) == 0);
    introduce(core, members);
    GOSSIP_MEMBERS_EACH(m, &core->members)
    {
        struct gossip_addr both[2];
        gossip_member_addrs(m, both);
        addrs[count] = both[0];
        count += both[0].family && count < LIMIT_GOSSIP_SEEDS;
    }
    for (size_t i = 0; i < count; i++) { /* a DNS server's answers come in any order */
        size_t k = (size_t)(gossip_mix(i) % count);
        struct gossip_addr other = addrs[k];
        addrs[k] = addrs[i];
        addrs[i] = other;
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct gossip_event seeds = {.kind = GOSSIP_SEEDS, .seeds = {addrs, count}};
        struct gossip_event tick = {.kind = GOSSIP_TICK};
        double ns = step_ns(core, &seeds, ++now_ms);
        seeds_ns = ns < seeds_ns ? ns : seeds_ns;
        core->next_stranger_ms = now_ms + 1;
        core->next_seed_ms = core->next_probe_ms = GOSSIP_NEVER_MS;
        ns = step_ns(core, &tick, ++now_ms);
        stranger_ns = ns < stranger_ns ? ns : stranger_ns;
    }
    printf("%zu members, %zu of them named by bootstrap: taking the addresses %.2f ms, finding a "
           "stranger among them %.2f ms\n",
           members, count, seeds_ns / 1e6, stranger_ns / 1e6);
    gossip_free(core);
}

int main(void)
{
    static const size_t sizes[] = {200, 1200};
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < 2; i++) {
        printf("packet of %zu bytes: sealed in %.0f ns; opened in %.0f ns, %.0f ns when its "
               "sender's key has to be derived; a forged one refused in %.0f ns\n",
               sizes[i], seal_ns(sizes[i]), open_ns(sizes[i], 1, false),
               open_ns(sizes[i], SENDERS, false), open_ns(sizes[i], SENDERS, true));
    }
    debug_page(1000);
    debug_page(5000);
    debug_page(16000);
    bootstrap(1000);
    bootstrap(5000);
    return 0;
}
