/* Whole clusters in one loop: real datagrams, real HTTP for what is larger, on loopback.
 * size: one town, and every story about it. */
#include "cluster/cluster.h"

#include <unistd.h>

#include "base/hex.h"
#include "gossip/state.h"
#include "http/head.h"
#include "io/server.h"
#include "scripted_peer.h"

#define NODES 3

struct node {
    struct server *server; /* its registry port, as far as the cluster uses it; and /id */
    struct cluster *cluster;
    unsigned ups;
    char authorization[32];
};

struct town {
    struct loop *loop;
    struct fetcher *fetcher;
    struct node nodes[NODES];
    char dir[64];
    /* what is waited for */
    size_t node, members, holders;
    uint64_t key;
};

/* --- a node --- */

static void on_request(void *arg, struct conn *c, const struct http_request *request)
{
    struct node *n = arg;
    struct buf fields, body;
    buf_init(&fields, 256);
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    int status = 200;
    if (!strcmp(request->target, "/id")) {
        cluster_met(n->cluster, conn_peer(c));
        status = cluster_id_json(n->cluster, &body) < 0 ? 503 : 200;
    } else if (n->authorization[0] &&
               (!request->authorization || strcmp(request->authorization, n->authorization) != 0)) {
        status = 401;
    } else {
        int r = cluster_serve(n->cluster, request->target, request->spegel_auth, c);
        status = r == 0 ? 0 : r == -EACCES ? 403 : r == -ENOENT ? 404 : 503;
    }
    if (status) {
        server_respond(c, status, &fields, body.data, body.len);
    }
    buf_done(&fields);
    buf_done(&body);
}

static void on_gone(void *arg, struct conn *c)
{
    const struct node *n = arg;
    if (n->cluster) {
        cluster_gone(n->cluster, c);
    }
}

static const char *on_authorization(void *arg)
{
    const struct node *n = arg;
    return n->authorization[0] ? n->authorization : NULL;
}

static void on_up(void *arg, uint64_t id)
{
    struct node *n = arg;
    assert_true(id != 0);
    n->ups++;
}

struct wish {
    const char *label;    /* NULL: "test" */
    int seed;             /* the node to join through, by its address; -1: nobody */
    int url;              /* the node to join through, by its /id; -1: no */
    const char *data_dir; /* may be NULL */
};

static uint16_t gossip_port(const struct node *n)
{
    return cluster_self(n->cluster)->gossip_port;
}

static void node_start(struct town *t, size_t i, struct wish wish)
{
    struct node *n = &t->nodes[i];
    struct error err;
    char url[64];
    struct bootstrap_target target = {"127.0.0.1", 0};
    const struct server_handler handler = {on_request, on_gone, n};
    n->ups = 0;
    assert_int_equal(server_new(t->loop, &handler, &n->server), 0);
    assert_int_equal(server_listen(n->server, "127.0.0.1:0", &err), 0);
    struct cluster_config config = {.label = wish.label ? wish.label : "test",
                                    .data_dir = wish.data_dir,
                                    .router_addr = "127.0.0.1:0",
                                    .router_host = wish.url >= 0 ? "" : "127.0.0.1",
                                    .registry_port = server_port(n->server),
                                    .authorization = on_authorization,
                                    .member_up = on_up,
                                    .arg = n};
    if (wish.seed >= 0) {
        target.port = gossip_port(&t->nodes[wish.seed]);
        config.bootstrap.targets = &target;
        config.bootstrap.target_count = 1;
    } else if (wish.url >= 0) {
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/id",
                       server_port(t->nodes[wish.url].server));
        config.bootstrap.url = url;
    }
    assert_int_equal(cluster_new(t->loop, t->fetcher, &config, &n->cluster, &err), 0);
}

static void node_stop(struct node *n)
{
    server_free(n->server);
    cluster_free(n->cluster);
    n->server = NULL;
    n->cluster = NULL;
}

/* --- the town --- */

static int set_up(void **state)
{
    struct town *t = calloc(1, sizeof *t);
    *t = (struct town){.dir = "/tmp/spegel-cluster-XXXXXX"};
    assert_non_null(mkdtemp(t->dir));
    assert_int_equal(loop_new(&t->loop), 0);
    assert_int_equal(fetcher_new(t->loop, &t->fetcher), 0);
    *state = t;
    return 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static int tear_down(void **state)
{
    struct town *t = *state;
    char command[128];
    for (size_t i = 0; i < NODES; i++) {
        node_stop(&t->nodes[i]);
    }
    (void)loop_run_until(t->loop, never, NULL, 50); /* what was cancelled ends */
    fetcher_free(t->fetcher);
    loop_free(t->loop);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", t->dir);
    assert_int_equal(system(command), 0);
    free(t);
    return 0;
}

static size_t members_of(const struct town *t, size_t i)
{
    struct gossip_stats stats;
    gossip_stats(cluster_core(t->nodes[i].cluster), &stats);
    return stats.alive;
}

static size_t holders_of(const struct town *t, size_t i, uint64_t key)
{
    struct gossip_holder holders[NODES];
    return gossip_lookup(cluster_core(t->nodes[i].cluster), key, holders, NODES);
}

static bool has_members(void *arg)
{
    const struct town *t = arg;
    return members_of(t, t->node) == t->members;
}

static bool has_holders(void *arg)
{
    const struct town *t = arg;
    return holders_of(t, t->node, t->key) == t->holders;
}

static bool is_ready(void *arg)
{
    const struct town *t = arg;
    return cluster_is_ready(t->nodes[t->node].cluster);
}

static void wait_members(struct town *t, size_t node, size_t members)
{
    t->node = node;
    t->members = members;
    assert_true(loop_run_until(t->loop, has_members, t, 20000));
}

static void wait_holders(struct town *t, size_t node, uint64_t key, size_t holders)
{
    t->node = node;
    t->key = key;
    t->holders = holders;
    assert_true(loop_run_until(t->loop, has_holders, t, 20000));
}

static void wait_ready(struct town *t, size_t node, uint64_t max_ms)
{
    t->node = node;
    assert_true(loop_run_until(t->loop, is_ready, t, max_ms));
}

static void start_three(struct town *t)
{
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    node_start(t, 1, (struct wish){.seed = 0, .url = -1});
    node_start(t, 2, (struct wish){.seed = 0, .url = -1});
    for (size_t i = 0; i < NODES; i++) {
        cluster_set_listed(t->nodes[i].cluster);
        wait_members(t, i, 2);
        wait_ready(t, i, 15000);
        assert_int_equal(t->nodes[i].ups, 2);
    }
}

static void nodes_find_each_other_through_one(void **state)
{
    struct town *t = *state;
    start_three(t);
    struct buf text;
    char wanted[256];
    buf_init(&text, 65536);
    assert_int_equal(cluster_id_json(t->nodes[1].cluster, &text), 0);
    (void)snprintf(wanted, sizeof wanted,
                   "{\"id\":\"%s\",\"addrs\":[\"127.0.0.1:%u\"],\"registry_port\":%u,"
                   "\"label\":\"test\"}\n",
                   cluster_id_text(t->nodes[1].cluster), gossip_port(&t->nodes[1]),
                   server_port(t->nodes[1].server));
    assert_string_equal(text.data, wanted);
    buf_clear(&text);
    struct exposition e = {.out = &text};
    cluster_write_metrics(t->nodes[1].cluster, &e);
    assert_non_null(strstr(text.data, "spegel_gossip_members{state=\"alive\"} 2\n"));
    assert_non_null(strstr(text.data, "spegel_bootstrap_failures_total 0\n"));
    buf_done(&text);
}

static void what_one_holds_all_know(void **state)
{
    struct town *t = *state;
    start_three(t);
    cluster_add(t->nodes[0].cluster, 11);
    cluster_add(t->nodes[2].cluster, 11);
    wait_holders(t, 1, 11, 2);
    wait_holders(t, 0, 11, 1); /* without itself */
    struct gossip_holder holder;
    assert_int_equal(gossip_lookup(cluster_core(t->nodes[0].cluster), 11, &holder, 1), 1);
    assert_int_equal(holder.addrs[0].port, server_port(t->nodes[2].server));
    cluster_remove(t->nodes[0].cluster, 11);
    wait_holders(t, 1, 11, 1);
    /* In one turn: what counts is how it ends. */
    cluster_add(t->nodes[0].cluster, 12);
    cluster_remove(t->nodes[0].cluster, 12);
    cluster_add(t->nodes[0].cluster, 13);
    cluster_remove(t->nodes[0].cluster, 13);
    cluster_add(t->nodes[0].cluster, 13);
    wait_holders(t, 1, 13, 1);
    assert_int_equal(holders_of(t, 1, 12), 0);
}

static void a_large_set_is_fetched_over_http_with_credentials(void **state)
{
    struct town *t = *state;
    for (size_t i = 0; i < NODES; i++) {
        (void)snprintf(t->nodes[i].authorization, sizeof t->nodes[i].authorization, "Basic dTpw");
    }
    start_three(t);
    for (uint64_t key = 1; key <= 5000; key++) {
        cluster_add(t->nodes[0].cluster, key * 0x9e3779b97f4a7c15u);
    }
    for (size_t i = 1; i < NODES; i++) {
        wait_holders(t, i, UINT64_C(5000) * 0x9e3779b97f4a7c15u, 1);
        for (uint64_t key = 1; key <= 5000; key++) {
            assert_int_equal(holders_of(t, i, key * 0x9e3779b97f4a7c15u), 1);
        }
    }
}

static void who_comes_later_learns_what_was_there_before(void **state)
{
    struct town *t = *state;
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    wait_ready(t, 0, 100); /* nobody but us: at once */
    for (uint64_t key = 1; key <= 1000; key++) {
        cluster_add(t->nodes[0].cluster, key * 0x9e3779b97f4a7c15u);
    }
    cluster_set_listed(t->nodes[0].cluster);
    node_start(t, 1, (struct wish){.seed = 0, .url = -1});
    wait_ready(t, 1, 15000);
    assert_int_equal(holders_of(t, 1, UINT64_C(77) * 0x9e3779b97f4a7c15u), 1);
}

/* The core takes the first it hears as all there is. */
static void nothing_is_announced_before_contents_are_listed(void **state)
{
    struct town *t = *state;
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    node_start(t, 1, (struct wish){.seed = 0, .url = -1});
    wait_members(t, 1, 1);
    cluster_add(t->nodes[0].cluster, 11);
    cluster_add(t->nodes[0].cluster, 12);
    cluster_remove(t->nodes[0].cluster, 11);
    (void)loop_run_until(t->loop, never, NULL, 500);
    assert_int_equal(holders_of(t, 1, 12), 0);
    assert_false(gossip_holds(cluster_core(t->nodes[0].cluster), 12));
    cluster_set_listed(t->nodes[0].cluster);
    wait_holders(t, 1, 12, 1);
    assert_int_equal(holders_of(t, 1, 11), 0);
}

static void who_leaves_is_forgotten_at_once(void **state)
{
    struct town *t = *state;
    start_three(t);
    cluster_add(t->nodes[2].cluster, 11);
    wait_holders(t, 0, 11, 1);
    cluster_leave(t->nodes[2].cluster);
    uint64_t left_ms = clock_now_us() / 1000;
    wait_members(t, 0, 1);
    wait_members(t, 1, 1);
    assert_in_range(clock_now_us() / 1000 - left_ms, 0, 2000); /* no suspicion first */
    assert_int_equal(holders_of(t, 0, 11), 0);
}

static void who_dies_is_missed_and_may_come_back(void **state)
{
    struct town *t = *state;
    start_three(t);
    cluster_add(t->nodes[2].cluster, 11);
    wait_holders(t, 0, 11, 1);
    node_stop(&t->nodes[2]);
    wait_holders(t, 0, 11, 0);
    unsigned ups = t->nodes[0].ups;
    node_start(t, 2, (struct wish){.seed = 1, .url = -1});
    cluster_set_listed(t->nodes[2].cluster);
    cluster_add(t->nodes[2].cluster, 12);
    wait_holders(t, 0, 12, 1);
    assert_true(t->nodes[0].ups > ups);
}

/* Neither was told an address of its own: who asks for /id, or answers it, shows the way. */
static void nodes_that_know_no_address_join_over_http(void **state)
{
    struct town *t = *state;
    node_start(t, 0, (struct wish){.seed = -1, .url = 0});
    assert_int_equal(cluster_self(t->nodes[0].cluster)->addrs[0].family, GOSSIP_NO_ADDR);
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(cluster_id_json(t->nodes[0].cluster, &text), -EAGAIN);
    buf_done(&text);
    node_start(t, 1, (struct wish){.seed = -1, .url = 0});
    wait_members(t, 0, 1);
    wait_members(t, 1, 1);
    assert_int_equal(cluster_self(t->nodes[1].cluster)->addrs[0].family, GOSSIP_IPV4);
}

static void another_label_is_another_cluster(void **state)
{
    struct town *t = *state;
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    node_start(t, 1, (struct wish){.seed = 0, .url = -1, .label = "other"});
    wait_ready(t, 1, 5000); /* no authenticated answer: as if alone */
    assert_int_equal(members_of(t, 0), 0);
    assert_int_equal(members_of(t, 1), 0);
    /* Refused before anything is answered. */
    assert_int_equal(cluster_serve(t->nodes[0].cluster, "/cluster/v1/snapshot", NULL, NULL),
                     -EACCES);
    assert_int_equal(cluster_serve(t->nodes[0].cluster, "/cluster/v1/snapshot", "00", NULL),
                     -EACCES);
}

static void a_restart_keeps_the_id_where_there_is_a_data_directory(void **state)
{
    struct town *t = *state;
    char first[GOSSIP_ID_TEXT_BYTES];
    struct wish wish = {.seed = -1, .url = -1, .data_dir = t->dir};
    node_start(t, 0, wish);
    (void)snprintf(first, sizeof first, "%s", cluster_id_text(t->nodes[0].cluster));
    uint64_t boot_ms = gossip_identity(cluster_core(t->nodes[0].cluster)).boot_ms;
    node_stop(&t->nodes[0]);
    node_start(t, 0, wish);
    assert_string_equal(first, cluster_id_text(t->nodes[0].cluster));
    assert_true(gossip_identity(cluster_core(t->nodes[0].cluster)).boot_ms > boot_ms);
    wish.data_dir = NULL;
    node_start(t, 1, wish);
    assert_string_not_equal(first, cluster_id_text(t->nodes[1].cluster));
}

static void what_cannot_start_says_why(void **state)
{
    struct town *t = *state;
    struct error err;
    char taken[32];
    struct cluster *none = NULL;
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", gossip_port(&t->nodes[0]));
    struct cluster_config config = {.label = "test",
                                    .router_addr = taken,
                                    .router_host = "",
                                    .authorization = on_authorization,
                                    .member_up = on_up,
                                    .arg = &t->nodes[1]};
    assert_int_equal(cluster_new(t->loop, t->fetcher, &config, &none, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, taken));
    config.router_addr = "192.0.2.1:0";
    assert_true(cluster_new(t->loop, t->fetcher, &config, &none, &err) < 0);
    assert_non_null(strstr(err.text, "192.0.2.1"));
    config.router_addr = "127.0.0.1:0";
    config.data_dir = "/proc/nowhere";
    assert_true(cluster_new(t->loop, t->fetcher, &config, &none, &err) < 0);
    assert_non_null(strstr(err.text, "--data-dir"));
    assert_non_null(strstr(err.text, "/proc/nowhere"));
    config.data_dir = NULL;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        err.text[0] = 0;
        if (cluster_new(t->loop, t->fetcher, &config, &none, &err) == 0) {
            cluster_free(none);
        } else {
            assert_true(err.text[0]);
        }
    });
}

#define CROWD 300
#define CROWD_KEYS 600 /* of each, of its own: a snapshot of 2 MB, built in several slices */

static void populate(struct gossip *core)
{
    static uint64_t keys[CROWD_KEYS];
    struct gossip_effects effects;
    gossip_effects_init(&effects); /* room for nothing: what this would send is lost */
    core->effects = &effects;
    for (size_t i = 0; i < CROWD; i++) {
        struct gossip_alive a = {
            .id = 0x1000 + i, .boot = 5, .salt = 1, .gossip_port = 7001, .registry_port = 7000};
        uint64_t hash = 0;
        a.addrs[0] = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {127, 1, (uint8_t)(i / 200), (uint8_t)(i % 200 + 1)}};
        for (size_t k = 0; k < CROWD_KEYS; k++) {
            keys[k] = gossip_mix(i * CROWD_KEYS + k + 1);
            hash ^= gossip_mix(keys[k]);
        }
        gossip_hear_alive(core, &a, a.id);
        gossip_take_set(core, gossip_members_get(&core->members, a.id), 1, hash, keys, CROWD_KEYS);
    }
    core->effects = NULL;
    gossip_effects_done(&effects);
}

/* Asks for a snapshot as a member of the same cluster would. */
static void ask_for_snapshot(struct town *t, struct blocking_client *client, char *body, size_t max)
{
    static uint32_t lives; /* or its first request would be the same each time */
    const struct gossip_sender sender = {.id = 0x777, .boot = 5, .salt = ++lives};
    static const char path[] = "/cluster/v1/snapshot";
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = path, .len = sizeof path - 1};
    struct gossip_seal *seal;
    uint8_t sealed[GOSSIP_SEAL_OVERHEAD_BYTES];
    char fields[256] = GOSSIP_AUTH_HEADER ": ";
    assert_int_equal(gossip_seal_new("test", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &sender), 0);
    assert_int_equal(gossip_seal_write(seal, &binding, NULL, 0, sealed), 0);
    gossip_seal_free(seal);
    hex_write(sealed, sizeof sealed, fields + strlen(fields));
    (void)snprintf(fields + strlen(fields), 3, "\r\n");
    client_start(client, server_port(t->nodes[0].server), "GET", path, fields, body, (int64_t)max);
}

static bool is_over(void *arg)
{
    const struct blocking_client *client = arg;
    return atomic_load(&client->over);
}

static bool serves_nobody(void *arg)
{
    const struct gossip *core = cluster_core(arg);
    return core->serving_count == 0 && list_empty(&core->built) && list_empty(&core->builds);
}

static void a_large_snapshot_is_answered_when_it_is_built_and_sent_as_it_is_taken(void **state)
{
    struct town *t = *state;
    enum { MAX = 8 << 20, ASKERS = 4 };
    char *body[ASKERS];
    struct blocking_client clients[ASKERS] = {{.abort_at = 1000}, {.abort_at = 1}};
    node_start(t, 0, (struct wish){.seed = -1, .url = -1});
    wait_ready(t, 0, 15000);
    populate(cluster_core(t->nodes[0].cluster));
    for (size_t i = 0; i < ASKERS; i++) { /* two of them go away in the middle */
        body[i] = malloc(MAX);
        assert_non_null(body[i]);
        ask_for_snapshot(t, &clients[i], body[i], MAX);
    }
    for (size_t i = 0; i < ASKERS; i++) {
        assert_true(loop_run_until(t->loop, is_over, &clients[i], 20000));
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_int_equal(clients[i].status, 200);
        assert_true(i < 2 || clients[i].body_bytes == clients[i].content_length);
        assert_true(clients[i].content_length > 1500000);
        free(body[i]);
    }
    assert_true(loop_run_until(t->loop, serves_nobody, t->nodes[0].cluster, 20000));
    /* And somebody real learns all of it. */
    node_start(t, 1, (struct wish){.seed = 0, .url = -1});
    wait_ready(t, 1, 15000);
    wait_holders(t, 1, gossip_mix(CROWD * CROWD_KEYS), 1);
    wait_holders(t, 1, gossip_mix(1), 1);
    assert_int_equal(cluster_core(t->nodes[1].cluster)->stats.snapshots_applied, 1);
    assert_int_equal(cluster_core(t->nodes[1].cluster)->stats.hash_mismatches, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nodes_find_each_other_through_one),
        TEST(what_one_holds_all_know),
        TEST(a_large_snapshot_is_answered_when_it_is_built_and_sent_as_it_is_taken),
        TEST(a_large_set_is_fetched_over_http_with_credentials),
        TEST(who_comes_later_learns_what_was_there_before),
        TEST(nothing_is_announced_before_contents_are_listed),
        TEST(who_leaves_is_forgotten_at_once),
        TEST(who_dies_is_missed_and_may_come_back),
        TEST(nodes_that_know_no_address_join_over_http),
        TEST(another_label_is_another_cluster),
        TEST(a_restart_keeps_the_id_where_there_is_a_data_directory),
        TEST(what_cannot_start_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
