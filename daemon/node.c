#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/convert.h"
#include "gossip/wire.h"

#define LOAD_PERIOD_MS 1000
#define BASIC_AUTH_ENVIRONMENT "SPEGEL_BASIC_AUTH_DIR" /* instead of AUTH_DIRECTORY */

/* --- what parts ask of each other --- */

static uint64_t node_key(const struct digest *digest, const char *tag)
{
    return digest ? gossip_key_digest(digest->bytes) : gossip_key_tag(tag);
}

static void node_inventory_changed(void *arg, const struct inventory_change *change)
{
    struct node *n = arg;
    uint64_t key = node_key(change->digest, change->tag);
    if (!n->cluster) {
        return;
    }
    if (change->added && change->digest) {
        mirror_appeared(n->mirror, change->digest);
        node_cold_held(n, change->digest);
    }
    if (change->added) {
        cluster_add(n->cluster, key);
    } else {
        cluster_remove(n->cluster, key);
    }
}

/* Of a family that this node has itself: an IPv6-only node asks a dual-stack one over IPv6. */
static const struct gossip_addr *node_pick_address(const struct gossip_self *self,
                                                   const struct gossip_holder *holder)
{
    for (size_t i = 0; i < holder->addr_count; i++) {
        for (size_t k = 0; k < 2; k++) {
            if (holder->addrs[i].family == self->addrs[k].family) {
                return &holder->addrs[i];
            }
        }
    }
    return &holder->addrs[0];
}

bool node_convert_holder(const struct node *n, const struct gossip_holder *holder,
                         struct mirror_holder *ret_holder)
{
    gossip_store48(ret_holder->node_id, holder->id);
    return holder->addr_count > 0 &&
           convert_to_address(node_pick_address(cluster_self(n->cluster), holder),
                              &ret_holder->address) == 0;
}

static size_t node_lookup(void *arg, const struct digest *digest, const char *tag,
                          struct mirror_holder *ret_holders, size_t max)
{
    const struct node *n = arg;
    struct gossip_holder holders[16];
    size_t count = gossip_lookup(cluster_core(n->cluster), node_key(digest, tag), holders,
                                 max < 16 ? max : 16);
    size_t converted = 0;
    for (size_t i = 0; i < count; i++) {
        converted += node_convert_holder(n, &holders[i], &ret_holders[converted]);
    }
    return converted;
}

static void node_peer_unreachable(void *arg, const uint8_t node_id[6])
{
    const struct node *n = arg;
    cluster_peer_failed(n->cluster, gossip_load48(node_id));
}

static void node_peer_answered(void *arg, const uint8_t node_id[6])
{
    const struct node *n = arg;
    cluster_peer_answered(n->cluster, gossip_load48(node_id));
}

static const char *node_authorization(void *arg)
{
    const struct node *n = arg;
    return auth_header(n->auth);
}

/* What was found wrong with its copies may be right now. */
static void node_member_up(void *arg, uint64_t id)
{
    const struct node *n = arg;
    uint8_t bytes[6];
    gossip_store48(bytes, id);
    mirror_node_restarted(n->mirror, bytes);
}

bool node_held(void *arg, const struct digest *digest)
{
    const struct node *n = arg;
    return inventory_blob(n->inventory, digest) != NULL;
}

static bool node_settled(void *arg)
{
    const struct node *n = arg;
    return gossip_is_settled(cluster_core(n->cluster));
}

static void node_resolved(void *arg, double seconds)
{
    struct node *n = arg;
    metrics_resolved(n->metrics, seconds);
}

static bool node_listed(const struct node *n)
{
    for (size_t i = 0; i < n->layout_count; i++) {
        if (!layout_is_listed(n->layouts[i])) {
            return false;
        }
    }
    return !n->containerd || containerd_is_listed(n->containerd);
}

static void node_contents_listed(void *arg)
{
    struct node *n = arg;
    if (node_listed(n)) {
        log_info("contents listed", LOG_INT("blobs", inventory_blob_count(n->inventory)));
        cluster_set_listed(n->cluster);
    }
}

static bool node_ready(void *arg, struct buf *why)
{
    const struct node *n = arg;
    struct gossip_stats stats;
    gossip_stats(cluster_core(n->cluster), &stats);
    (void)buf_printf(why, "\"contents_listed\":%s,\"cluster_joined\":%s,\"members\":%u",
                     node_listed(n) ? "true" : "false",
                     cluster_is_ready(n->cluster) ? "true" : "false", stats.alive);
    if (n->containerd) {
        (void)buf_printf(why, ",\"containerd_connected\":%s",
                         containerd_is_connected(n->containerd) ? "true" : "false");
    }
    return node_listed(n) && cluster_is_ready(n->cluster);
}

static int node_cluster_request(void *arg, const char *path, const char *auth, struct conn *c)
{
    const struct node *n = arg;
    return n->cluster ? cluster_serve(n->cluster, path, auth, c) : -EAGAIN;
}

static void node_cluster_gone(void *arg, struct conn *c)
{
    const struct node *n = arg;
    if (n->cluster) {
        cluster_gone(n->cluster, c);
    }
}

static const char *node_id_text(void *arg)
{
    const struct node *n = arg;
    return n->cluster ? cluster_id_text(n->cluster) : "";
}

static void node_load_tick(void *arg)
{
    struct node *n = arg;
    size_t streams = server_streams(n->server);
    cluster_set_load(n->cluster, (uint8_t)(streams > 63 ? 255 : streams * 4));
    (void)timer_start(&n->load_timer, LOAD_PERIOD_MS);
}

/* --- starting --- */

static int node_start_cluster(struct node *n, struct error *err)
{
    const struct registry_options *o = n->options;
    char router[300];
    node_address_text(&o->router_addr, router, sizeof router);
    const char *pod_ips = getenv("POD_IPS");
    const char *node_ip = getenv("NODE_IP"); /* all that the Go chart says of the node */
    struct bootstrap_target *targets =
        calloc(o->static_peers ? o->static_bootstrap_peers.count + 1 : 1, sizeof *targets);
    if (!targets) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    struct cluster_config config = {
        .label = o->cluster_label,
        .zone = o->zone,
        .data_dir = o->data_dir,
        .key_file = o->gossip_key_file,
        .router_addr = router,
        .router_host = o->router_addr.host,
        .registry_port = server_port(n->server),
        .advertise = (const char *const *)o->advertise_addrs.items,
        .advertise_count = o->advertise_addrs.count,
        .pod_ips = pod_ips && *pod_ips ? pod_ips : getenv("POD_IP"),
        .node_name = o->node_name          ? o->node_name
                     : node_ip && *node_ip ? node_ip
                                           : NULL,
        .bootstrap = {.targets = targets},
        .authorization = node_authorization,
        .member_up = node_member_up,
        .answered = node_cold_answered,
        .arg = n,
    };
    if (o->bootstrap_kind == BOOTSTRAP_DNS) {
        targets[0] = (struct bootstrap_target){o->dns_bootstrap_domain, o->router_addr.port};
        config.bootstrap.target_count = 1;
    } else if (o->bootstrap_kind == BOOTSTRAP_HTTP) {
        config.bootstrap.url = o->http_bootstrap_url;
        config.bootstrap.ca_dir = o->http_bootstrap_cert_dir;
    } else if (o->static_peers) {
        config.bootstrap.target_count = o->static_bootstrap_peers.count;
        for (size_t i = 0; i < o->static_bootstrap_peers.count; i++) {
            targets[i] =
                (struct bootstrap_target){o->static_peers[i].host, o->static_peers[i].port};
        }
    }
    int r = cluster_new(n->loop, n->fetcher, &config, &n->cluster, err);
    free(targets);
    return r;
}

static int node_start_stores(struct node *n, struct error *err)
{
    const struct registry_options *o = n->options;
    if (o->use_containerd) {
        struct containerd_config config = {.socket = o->containerd_sock,
                                           .namespace = o->containerd_namespace,
                                           .content_path = o->containerd_content_path,
                                           .listed = node_contents_listed,
                                           .connected = node_containerd_connected,
                                           .arg = n};
        return containerd_new(n->loop, n->inventory, &config, &n->containerd, err);
    }
    n->layouts = calloc(o->layouts.count + 1, sizeof(struct layout *));
    if (!n->layouts) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    for (; n->layout_count < o->layouts.count; n->layout_count++) {
        int r = layout_new(n->loop, n->inventory, o->layouts.items[n->layout_count],
                           &n->layouts[n->layout_count], err);
        if (r < 0) {
            return error_wrap(err, r, "--store");
        }
        layout_on_listed(n->layouts[n->layout_count], node_contents_listed, n);
    }
    return 0;
}

static int node_start_registry(struct node *n, struct error *err)
{
    const struct registry_options *o = n->options;
    const char *auth_directory = getenv(BASIC_AUTH_ENVIRONMENT);
    struct mirror_config mirror = {
        .resolve_timeout_ms = (uint32_t)o->mirror_resolve_timeout_ms,
        .resolve_retries = o->mirror_resolve_retries,
        .lookup = node_lookup,
        .unreachable = node_peer_unreachable,
        .answered = node_peer_answered,
        .authorization = node_authorization,
        .held = node_held,
        .settled = node_settled,
        .badge = node_write_badge,
        .member = node_cold_member,
        .arg = n,
    };
    int r = loop_new(&n->loop);
    r = r < 0 ? r : inventory_new(n->filter, node_inventory_changed, n, &n->inventory);
    r = r < 0 ? r : metrics_new(&n->metrics);
    if (r < 0) {
        return error_set(err, r, "starting: %s", strerror(-r));
    }
    r = auth_new(n->loop, auth_directory ? auth_directory : AUTH_DIRECTORY, &n->auth, err);
    if (r < 0) {
        return error_wrap(err, r, "basic auth");
    }
    r = fetcher_new(n->loop, &n->fetcher);
    if (r == 0) {
        r = node_start_cold(n, err);
        if (r < 0) {
            return r;
        }
    }
    mirror.cold = n->cold;
    r = r < 0 ? r : mirror_new(n->loop, &mirror, &n->mirror);
    if (r < 0) {
        return error_set(err, r, "starting: %s", strerror(-r));
    }
    mirror_on_resolved(n->mirror, node_resolved, n);
    struct registry_config registry = {
        .inventory = n->inventory,
        .filter = n->filter,
        .mirror = n->mirror,
        .cold = n->cold,
        .cold_exclude = n->cold_exclude,
        .metrics = n->metrics,
        .auth = n->auth,
        .ready = node_ready,
        .cluster = node_cluster_request,
        .cluster_gone = node_cluster_gone,
        .badge = node_take_badge,
        .node_id = node_id_text,
        .arg = n,
    };
    r = registry_new(n->loop, &registry, &n->registry);
    return r < 0 ? error_set(err, r, "starting: %s", strerror(-r)) : 0;
}

int node_start(struct node *n, const struct registry_options *options, struct error *err)
{
    *n = (struct node){.options = options};
    int r = filter_new((const char *const *)options->registry_filters.items,
                       options->registry_filters.count,
                       (const char *const *)options->mirrored_registries.items,
                       options->mirrored_registries.count, &n->filter, err);
    r = r < 0 ? r : node_start_registry(n, err);
    r = r < 0 ? r : node_start_servers(n, err);
    r = r < 0 ? r : node_start_cluster(n, err);
    r = r < 0 ? r : node_start_stores(n, err);
    if (r == 0) {
        node_contents_listed(n); /* they are when there is no store at all */
    }
    if (r == 0 && options->write_configuration && config_writer_new(n, &n->config_writer) < 0) {
        r = error_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0) {
        timer_init(&n->load_timer, n->loop, node_load_tick, n);
        (void)timer_start(&n->load_timer, LOAD_PERIOD_MS);
        log_info("running", LOG_STR("version", SPEGEL_VERSION),
                 LOG_STR("id", cluster_id_text(n->cluster)),
                 LOG_INT("registry_port", server_port(n->server)),
                 LOG_STR("cluster", options->cluster_label));
    }
    return r;
}

/* --- ending --- */

static void node_stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Cancelled transfers and look-ups still report once: let the loop turn for a moment. */
static void node_let_callbacks_run(struct loop *loop)
{
    struct timer timer;
    timer_init(&timer, loop, node_stop_loop, loop);
    if (timer_start(&timer, 20) == 0) {
        loop_run(loop);
        timer_stop(&timer);
    }
}

void node_done(struct node *n)
{
    if (n->loop) {
        timer_stop(&n->load_timer);
        timer_stop(&n->leave_timer);
        config_writer_free(n->config_writer);
        server_free(n->id_server);
        server_free(n->metrics_server);
        server_free(n->server);
        containerd_free(n->containerd);
        for (size_t i = 0; i < n->layout_count; i++) {
            layout_free(n->layouts[i]);
        }
        free(n->layouts);
        inventory_free(n->inventory); /* its blobs refer to the stores' roots */
        cluster_free(n->cluster);
        n->cluster = NULL;
        registry_free(n->registry);
        mirror_free(n->mirror);
        cold_free(n->cold);
        node_let_callbacks_run(n->loop);
        fetcher_free(n->fetcher);
        auth_free(n->auth);
        metrics_free(n->metrics);
        /* The loop itself stays: a look-up may still sit on the pool, and the process ends here. */
    }
    filter_free(n->cold_exclude);
    filter_free(n->filter);
}
