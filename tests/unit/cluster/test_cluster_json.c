/* GET /debug/cluster of a node that knows more members than one answer holds. They are introduced
 * by the core's own function, as a snapshot would introduce them. */
#include "cluster/cluster.h"

#include <cjson/cJSON.h>
#include <unistd.h>

#include "gossip/state.h"
#include "scripted_peer.h"

#define KEYS                                                                                       \
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"                                               \
    "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n"

struct fixture {
    struct loop *loop;
    struct fetcher *fetcher;
    struct cluster *cluster;
    struct gossip_effects effects;
    char key_path[64];
};

static const char *no_authorization(void *arg)
{
    (void)arg;
    return NULL;
}

static void ignore_up(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
}

static void start(struct fixture *f, bool with_keys)
{
    struct error err;
    struct cluster_config config = {.label = "a \"label\"",
                                    .zone = "here",
                                    .key_file = with_keys ? f->key_path : NULL,
                                    .router_addr = "127.0.0.1:0",
                                    .router_host = "127.0.0.1",
                                    .registry_port = 5000,
                                    .authorization = no_authorization,
                                    .member_up = ignore_up};
    assert_int_equal(cluster_new(f->loop, f->fetcher, &config, &f->cluster, &err), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *f = (struct fixture){.key_path = "/tmp/spegel-keys-XXXXXX"};
    int fd = mkstemp(f->key_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, KEYS, strlen(KEYS)), strlen(KEYS));
    assert_int_equal(close(fd), 0);
    assert_int_equal(loop_new(&f->loop), 0);
    assert_int_equal(fetcher_new(f->loop, &f->fetcher), 0);
    gossip_effects_init(&f->effects);
    *state = f;
    return 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    cluster_free(f->cluster);
    (void)loop_run_until(f->loop, never, NULL, 20); /* what was cancelled ends */
    fetcher_free(f->fetcher);
    loop_free(f->loop);
    gossip_effects_done(&f->effects);
    assert_int_equal(unlink(f->key_path), 0);
    free(f);
    return 0;
}

/* Ids in no order at all, but each number's always the same. */
static uint64_t id_of(uint64_t number)
{
    return gossip_mix(number) >> 16 | 1;
}

static void introduce(struct fixture *f, size_t count)
{
    /* cluster_core is const because nobody but cluster.c may step it, and nobody does. */
    struct gossip *core = (struct gossip *)(uintptr_t)cluster_core(f->cluster);
    core->effects = &f->effects;
    for (size_t i = 1; i <= count; i++) {
        struct gossip_alive a = {.id = id_of(i),
                                 .boot = 1000000 + i,
                                 .salt = (uint32_t)i,
                                 .gossip_port = 7001,
                                 .registry_port = 7000,
                                 .zone = "z\x01\xff"};
        a.addrs[0] = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {127, 1, (uint8_t)(i / 200), (uint8_t)(i % 200 + 1)}};
        a.addrs[1] = (struct gossip_addr){.family = GOSSIP_IPV6, .ip = {[15] = 1}};
        gossip_hear_alive(core, &a, a.id);
    }
    core->effects = NULL;
}

static void give_keys(struct fixture *f, uint64_t id)
{
    struct gossip *core = (struct gossip *)(uintptr_t)cluster_core(f->cluster);
    const uint64_t keys[] = {3, 5};
    core->effects = &f->effects;
    gossip_take_set(core, gossip_members_get(&core->members, id), 9,
                    gossip_mix(keys[0]) ^ gossip_mix(keys[1]), keys, 2);
    core->effects = NULL;
}

static cJSON *ask(struct fixture *f, uint64_t after, size_t max)
{
    struct buf body;
    buf_init(&body, 8 * 1024 * 1024);
    assert_int_equal(cluster_debug_json(f->cluster, after, max, &body), 0);
    cJSON *json = cJSON_Parse(body.data);
    assert_non_null(json);
    buf_done(&body);
    return json;
}

static double number(const cJSON *json, const char *outer, const char *name)
{
    const cJSON *object = outer ? cJSON_GetObjectItemCaseSensitive(json, outer) : json;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static const char *text(const cJSON *json, const char *name)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    assert_non_null(value);
    return value;
}

static void a_lone_node_tells_of_itself(void **state)
{
    struct fixture *f = *state;
    start(f, true);
    cJSON *json = ask(f, 0, 10);
    assert_string_equal(text(json, "id"), cluster_id_text(f->cluster));
    assert_string_equal(text(json, "label"), "a \"label\"");
    assert_string_equal(text(json, "zone"), "here");
    assert_true(number(json, NULL, "boot_ms") > 1e12);
    assert_int_equal(number(json, NULL, "registry_port"), 5000);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "ready")) ||
                cJSON_IsFalse(cJSON_GetObjectItem(json, "ready")));
    const cJSON *keys = cJSON_GetObjectItem(json, "keys");
    assert_string_equal(text(keys, "from"), "file");
    const cJSON *accepts = cJSON_GetObjectItem(keys, "accepts");
    assert_int_equal(cJSON_GetArraySize(accepts), 2);
    assert_string_equal(text(keys, "sends"), cJSON_GetArrayItem(accepts, 0)->valuestring);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "members")), 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "next")));
    cJSON_Delete(json);
}

static void without_a_key_file_it_says_so(void **state)
{
    struct fixture *f = *state;
    start(f, false);
    cJSON *json = ask(f, 0, 10);
    assert_string_equal(text(cJSON_GetObjectItem(json, "keys"), "from"), "label");
    cJSON_Delete(json);
}

static void a_member_is_told_with_all_that_is_known_of_it(void **state)
{
    struct fixture *f = *state;
    start(f, false);
    introduce(f, 2);
    give_keys(f, id_of(1)); /* of the other nothing is known yet */
    cJSON *json = ask(f, id_of(1) - 1, 1);
    assert_int_equal(number(json, "counts", "alive"), 2);
    const cJSON *m = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "members"), 0);
    char id[GOSSIP_ID_TEXT_BYTES];
    assert_string_equal(text(m, "id"), gossip_id_format(id_of(1), id));
    assert_string_equal(text(m, "state"), "alive");
    assert_string_equal(text(m, "zone"), "z\x01\xef\xbf\xbd"); /* U+FFFD: not UTF-8 */
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(m, "selectable")));
    assert_int_equal(number(m, NULL, "incarnation"), 0);
    assert_int_equal(number(m, NULL, "boot_ms"), 1000001);
    assert_int_equal(number(m, NULL, "registry_port"), 7000);
    assert_int_equal(number(m, NULL, "keys"), 2);
    assert_int_equal(number(m, NULL, "version"), 9);
    assert_int_equal(number(json, "index", "keys"), 2);
    const cJSON *addrs = cJSON_GetObjectItem(m, "addrs");
    assert_int_equal(cJSON_GetArraySize(addrs), 2);
    assert_string_equal(cJSON_GetArrayItem(addrs, 0)->valuestring, "127.1.0.2:7001");
    assert_string_equal(cJSON_GetArrayItem(addrs, 1)->valuestring, "[::1]:7001");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(m, "heard_ms_ago"))); /* never itself */
    cJSON_Delete(json);
    json = ask(f, id_of(2) - 1, 1);
    m = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "members"), 0);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(m, "selectable")));
    cJSON_Delete(json);
}

static void pages_hold_every_member_once_and_in_order(void **state)
{
    struct fixture *f = *state;
    start(f, false);
    enum { MEMBERS = 2 * LIMIT_CLUSTER_PAGE + 7 };
    introduce(f, MEMBERS);
    static const struct {
        size_t max, pages;
    } rows[] = {{SIZE_MAX, 3},
                {LIMIT_CLUSTER_PAGE, 3},
                {669, 3},
                {2 * LIMIT_CLUSTER_PAGE, 3},
                {LIMIT_CLUSTER_PAGE - 1, 3},
                {100, 21}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t after = 0, id = 0;
        size_t pages = 0, told = 0;
        for (bool more = true; more; pages++) {
            cJSON *json = ask(f, after, rows[i].max);
            assert_int_equal(number(json, "counts", "alive"), MEMBERS);
            const cJSON *m;
            cJSON_ArrayForEach(m, cJSON_GetObjectItem(json, "members"))
            {
                uint64_t before = id;
                assert_int_equal(gossip_id_parse(text(m, "id"), &id), 0);
                assert_true(id > before);
                told++;
            }
            more = !cJSON_IsNull(cJSON_GetObjectItem(json, "next"));
            assert_true(!more || gossip_id_parse(text(json, "next"), &after) == 0);
            assert_true(!more || after == id);
            cJSON_Delete(json);
        }
        assert_int_equal(told, MEMBERS);
        assert_int_equal(pages, rows[i].pages);
    }
}

static void a_page_that_does_not_fit_or_has_no_memory_is_an_error(void **state)
{
    struct fixture *f = *state;
    start(f, true);
    introduce(f, 20);
    struct buf body;
    for (size_t max = 0; max < 4000; max += 7) {
        buf_init(&body, max);
        assert_int_equal(cluster_debug_json(f->cluster, 0, 20, &body), -ENOBUFS);
        buf_done(&body);
    }
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        buf_init(&body, 65536);
        int r = cluster_debug_json(f->cluster, 0, 20, &body);
        assert_true(r == 0 || r == -ENOMEM);
        buf_done(&body);
    });
}

static void metrics_tell_the_keys_apart(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    buf_init(&out, 65536);
    struct exposition e = {.out = &out};
    start(f, true);
    cluster_write_metrics(f->cluster, &e);
    assert_false(e.failed);
    char wanted[2][128], fingerprint[KEY_FINGERPRINT_BYTES];
    for (size_t i = 0; i < 2; i++) {
        key_ring_fingerprint(key_file_ring(cluster_keys(f->cluster))->keys[i], fingerprint);
        (void)snprintf(wanted[i], sizeof wanted[i],
                       "spegel_gossip_key_info{fingerprint=\"%s\",use=\"%s\"} 1\n", fingerprint,
                       i ? "accepts" : "sends");
        assert_non_null(strstr(out.data, wanted[i]));
    }
    assert_non_null(strstr(out.data, "spegel_gossip_key_loads_total 1\n"));
    assert_non_null(strstr(out.data, "spegel_gossip_packets_sent_total{class=\"probe\"} "));
    buf_done(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lone_node_tells_of_itself),
        TEST(without_a_key_file_it_says_so),
        TEST(a_member_is_told_with_all_that_is_known_of_it),
        TEST(pages_hold_every_member_once_and_in_order),
        TEST(a_page_that_does_not_fit_or_has_no_memory_is_an_error),
        TEST(metrics_tell_the_keys_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
