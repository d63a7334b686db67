/* Two members with both families, one of which leads nowhere. */
#include "support.h"

#include "gossip/state.h"

#include <string.h>

#define SELF 0x100
#define OTHER 0x200

static const struct gossip_addr ipv4 = {.family = GOSSIP_IPV4, .ip = {10, 0, 0, 2}, .port = 5001};
static const struct gossip_addr ipv6 = {
    .family = GOSSIP_IPV6, .ip = {0xfd, [15] = 2}, .port = 5001};

struct world {
    struct gossip *g;
    struct gossip_effects effects;
    struct gossip_member *other;
};

static void world_open(struct world *w, bool own_ipv6)
{
    struct gossip_config config = {.label = "families",
                                   .id = SELF,
                                   .boot_ms = 1000,
                                   .self = {.addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 1}}},
                                            .gossip_port = 5001,
                                            .registry_port = 5000},
                                   .now_ms = 100000,
                                   .wall_ms = 100000};
    if (own_ipv6) {
        config.self.addrs[1] = (struct gossip_addr){.family = GOSSIP_IPV6, .ip = {0xfd, [15] = 1}};
    }
    memset(w, 0, sizeof(*w));
    gossip_effects_init(&w->effects);
    assert_int_equal(gossip_new(&config, &w->g), 0);
    struct gossip_event listed = {.kind = GOSSIP_LOCAL_ADD, .now_ms = 100000, .wall_ms = 100000};
    gossip_step(w->g, &listed, &w->effects);
    w->g->effects = &w->effects;
    struct gossip_alive alive = {.id = OTHER,
                                 .boot = 1000,
                                 .salt = 1,
                                 .addrs = {ipv4, ipv6},
                                 .gossip_port = 5001,
                                 .registry_port = 5000};
    gossip_hear_alive(w->g, &alive, OTHER);
    w->other = gossip_members_get(&w->g->members, OTHER);
    assert_non_null(w->other);
    w->g->next_probe_ms = UINT64_MAX; /* only those that the test begins */
}

static void world_close(struct world *w)
{
    gossip_free(w->g);
    gossip_effects_done(&w->effects);
}

static uint8_t family_asked(struct world *w)
{
    assert_true(w->effects.send_count > 0);
    uint8_t family = w->effects.sends[w->effects.send_count - 1].to.family;
    w->effects.send_count = 0;
    return family;
}

static void later(struct world *w, uint64_t ms)
{
    w->g->now_ms += ms;
    gossip_probe_tick(w->g);
}

static void answer(struct world *w, uint64_t sender, const struct gossip_addr *from)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES; i++) {
        if (w->g->probes[i].target) {
            struct gossip_ack ack = {.nonce = w->g->probes[i].nonce};
            gossip_hear_ack(w->g, &ack, sender, from);
        }
    }
    assert_int_equal(w->g->probes_open, 0);
}

static void whoever_does_not_answer_is_asked_at_its_other_address(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true);
    w.effects.send_count = 0;
    gossip_probe_now(w.g, w.other);
    assert_int_equal(family_asked(&w), GOSSIP_IPV4);
    later(&w, 100);
    assert_int_equal(family_asked(&w), GOSSIP_IPV6);
    later(&w, 100);
    assert_int_equal(family_asked(&w), GOSSIP_IPV4);
    world_close(&w);
}

static void where_it_answers_it_is_asked_first_and_fetched_from(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true);
    gossip_probe_now(w.g, w.other);
    later(&w, 100);
    answer(&w, OTHER, &ipv6);
    assert_int_equal(gossip_member_addr(w.g, w.other).family, GOSSIP_IPV6);
    w.effects.send_count = 0;
    gossip_probe_now(w.g, w.other);
    assert_int_equal(family_asked(&w), GOSSIP_IPV6);

    struct gossip_addr addrs[2]; /* which is the order that look-ups give */
    gossip_member_addrs(w.other, addrs);
    assert_true(gossip_addr_equal(&addrs[0], &ipv6) && gossip_addr_equal(&addrs[1], &ipv4));

    later(&w, 100); /* and back again, should that one fail */
    assert_int_equal(family_asked(&w), GOSSIP_IPV4);
    answer(&w, OTHER, &ipv4);
    assert_int_equal(gossip_member_addr(w.g, w.other).family, GOSSIP_IPV4);
    world_close(&w);
}

static void only_its_own_answer_from_its_own_address_changes_that(void **state)
{
    (void)state;
    struct gossip_addr elsewhere = ipv6;
    elsewhere.ip[15] = 9;
    struct world w;
    world_open(&w, true);
    gossip_probe_now(w.g, w.other);
    answer(&w, OTHER, &elsewhere);
    assert_int_equal(gossip_member_addr(w.g, w.other).family, GOSSIP_IPV4);
    world_close(&w);
}

static void a_family_that_we_lack_is_never_tried(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false);
    w.effects.send_count = 0;
    gossip_probe_now(w.g, w.other);
    assert_int_equal(family_asked(&w), GOSSIP_IPV4);
    later(&w, 100);
    assert_int_equal(family_asked(&w), GOSSIP_IPV4);
    world_close(&w);
}

static void what_it_prefers_outlives_news_of_its_addresses(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true);
    gossip_member_answered_from(w.other, &ipv6);
    struct gossip_addr both[2] = {ipv4, ipv6}, one[2] = {ipv4}, none[2] = {0};
    gossip_member_set_addrs(w.other, both);
    assert_int_equal(gossip_member_addr(w.g, w.other).family, GOSSIP_IPV6);
    gossip_member_set_addrs(w.other, one);
    assert_int_equal(gossip_member_addr(w.g, w.other).family, GOSSIP_IPV4);
    gossip_member_set_addrs(w.other, none);
    assert_int_equal(w.other->families, 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_does_not_answer_is_asked_at_its_other_address),
        cmocka_unit_test(where_it_answers_it_is_asked_first_and_fetched_from),
        cmocka_unit_test(only_its_own_answer_from_its_own_address_changes_that),
        cmocka_unit_test(a_family_that_we_lack_is_never_tried),
        cmocka_unit_test(what_it_prefers_outlives_news_of_its_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
