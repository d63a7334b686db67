/* Cold rollouts: how the registry's part, the gossip core and the store hang together. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "gossip/wire.h"
#include "node.h"

static const char *node_content_root(void *arg)
{
    const struct node *n = arg;
    return n->containerd ? containerd_content_root(n->containerd) : "";
}

bool node_write_badge(void *arg, const uint8_t node_id[6], const struct digest *digest,
                      bool follows, char ret_text[GOSSIP_BADGE_TEXT_BYTES])
{
    const struct node *n = arg;
    return gossip_badge_write(cluster_core(n->cluster), gossip_load48(node_id),
                              follows ? GOSSIP_BADGE_FOLLOW : GOSSIP_BADGE_HELD, digest->bytes,
                              ret_text) == 0;
}

bool node_take_badge(void *arg, const char *text, const struct digest *digest, bool *ret_follows)
{
    const struct node *n = arg;
    enum gossip_badge badge;
    if (!n->cluster || gossip_badge_take(cluster_core(n->cluster), text, digest->bytes, &badge)) {
        return false;
    }
    *ret_follows = badge == GOSSIP_BADGE_FOLLOW;
    return true;
}

static void node_want(void *arg, const struct gossip_want *want)
{
    const struct node *n = arg;
    cluster_tell(n->cluster, &(struct gossip_event){.kind = GOSSIP_WANT, .want = *want});
}

static void node_want_end(void *arg, uint32_t ask)
{
    const struct node *n = arg;
    if (n->cluster) {
        cluster_tell(n->cluster, &(struct gossip_event){.kind = GOSSIP_WANT_END, .ask = ask});
    }
}

static void node_flight(void *arg, const struct gossip_flight *flight)
{
    const struct node *n = arg;
    if (n->cluster) {
        cluster_tell(n->cluster, &(struct gossip_event){.kind = GOSSIP_FLIGHT, .flight = *flight});
    }
}

void node_cold_held(const struct node *n, const struct digest *digest)
{
    if (n->cold) {
        cold_held(n->cold, digest);
    }
}

static void node_committed(void *arg, const struct digest *digest)
{
    const struct node *n = arg;
    mirror_appeared(n->mirror, digest);
}

static void node_copy_wrong(void *arg, const struct digest *digest, uint64_t giver, uint64_t origin)
{
    const struct node *n = arg;
    mirror_copy_wrong(n->mirror, digest, giver, origin);
}

void node_cold_answered(void *arg, const struct gossip_answer *answer)
{
    const struct node *n = arg;
    if (n->cold) {
        cold_answer(n->cold, answer);
    }
}

void node_containerd_connected(void *arg, bool is_connected)
{
    struct node *n = arg;
    if (n->cold && !is_connected) {
        cold_containerd_lost(n->cold);
    }
}

bool node_cold_member(void *arg, uint64_t id, struct mirror_holder *ret_holder)
{
    const struct node *n = arg;
    struct gossip_holder holder;
    return gossip_member_holder(cluster_core(n->cluster), id, &holder) &&
           node_convert_holder(n, &holder, ret_holder);
}

int node_write_swarm_json(const struct node *n, struct buf *json)
{
    size_t cursor = 0;
    struct gossip_lease_view lease;
    const char *comma = "";
    int r = buf_puts(json, "{\"leases\":[");
    while (gossip_leases(cluster_core(n->cluster), &cursor, &lease)) {
        r |= buf_printf(json,
                        "%s{\"key\":\"%016" PRIx64 "\",\"leader\":\"%012" PRIx64
                        "\",\"age_ms\":%" PRIu64 ",\"leader_heard_ms_ago\":%" PRIu64
                        ",\"leader_bytes\":%" PRIu64 ",\"followers\":%" PRIu32 ",\"depths\":[",
                        comma, lease.key, lease.leader, lease.age_ms, lease.leader_heard_ms_ago,
                        lease.leader_bytes, lease.followers);
        for (size_t i = 0; i < sizeof lease.depths / sizeof lease.depths[0]; i++) {
            r |= buf_printf(json, "%s%" PRIu32, i ? "," : "", lease.depths[i]);
        }
        r |= buf_puts(json, "]}");
        comma = ",";
    }
    r |= buf_puts(json, "],");
    r |= n->cold ? cold_write_json(n->cold, json) : buf_puts(json, "\"flights\":[]");
    return r | buf_puts(json, "}\n") ? -ENOMEM : 0;
}

int node_start_cold(struct node *n, struct error *err)
{
    const struct registry_options *o = n->options;
    if (!o->cold_rollout || !o->use_containerd) {
        return 0; /* without a containerd nothing is downloaded; it is still an arbiter */
    }
    const struct cold_config config = {.namespace = o->containerd_namespace,
                                       .content_root = node_content_root,
                                       .held = node_held,
                                       .committed = node_committed,
                                       .wrong = node_copy_wrong,
                                       .want = node_want,
                                       .want_end = node_want_end,
                                       .flight = node_flight,
                                       .arg = n};
    int r = filter_new((const char *const *)o->cold_rollout_exclude.items,
                       o->cold_rollout_exclude.count, NULL, 0, &n->cold_exclude, err);
    if (r < 0) {
        return error_wrap(err, r, "--cold-rollout-exclude");
    }
    r = cold_new(n->loop, &config, &n->cold);
    return r < 0 ? error_set(err, r, "cold rollouts: %s", strerror(-r)) : 0;
}
