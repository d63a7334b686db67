/* What GET /metrics answers: the figures of every part, under their metric names. */
#include <stdio.h>

#include "node.h"

static void write_inventory(const struct node *n, struct exposition *e)
{
    struct inventory_figures figures[256];
    size_t count = inventory_figures(n->inventory, figures, 256);
    const struct {
        const char *name, *help;
    } families[] = {
        {"spegel_advertised_image_tags", "Number of image tags advertised to be available."},
        {"spegel_advertised_image_digests", "Number of image digests advertised to be available."},
        {"spegel_advertised_content_digests",
         "Number of content digests advertised to be available."},
    };
    for (size_t f = 0; f < 3; f++) {
        exposition_family(e, families[f].name, "gauge", families[f].help);
        for (size_t i = 0; i < count; i++) {
            const struct inventory_figures *one = &figures[i];
            size_t value = f == 0 ? one->tags : f == 1 ? one->image_digests : one->content_digests;
            exposition_sample(e, families[f].name,
                              (struct label[]){{"registry", one->registry}, {0}}, (double)value);
        }
    }
    exposition_gauge(e, "spegel_held_blobs", "Blobs this node holds.",
                     (double)inventory_blob_count(n->inventory));
    const struct inventory_layers layers = inventory_layers(n->inventory);
    exposition_family(e, "spegel_held_images", "gauge",
                      "Images whose configuration this node holds, by whether it holds their "
                      "layers too: not where containerd discards them.");
    exposition_sample(e, "spegel_held_images", (struct label[]){{"layers", "held"}, {0}},
                      (double)layers.with);
    exposition_sample(e, "spegel_held_images", (struct label[]){{"layers", "missing"}, {0}},
                      (double)layers.without);
}

static void write_loop(const struct node *n, struct exposition *e)
{
    const struct loop_delay *delay = loop_delay(n->loop);
    double bounds[11];
    struct histogram h;
    for (size_t i = 0; i < 11; i++) {
        bounds[i] = loop_delay_bounds_ms[i] / 1000.0;
    }
    histogram_init(&h, bounds, 11);
    for (size_t i = 0; i < 12; i++) {
        h.counts[i] = delay->buckets[i];
    }
    h.count = delay->count;
    h.sum = delay->sum_ms / 1000.0;
    exposition_family(e, "spegel_loop_delay_seconds", "histogram",
                      "How late the event loop's heartbeat ran.");
    exposition_histogram(e, "spegel_loop_delay_seconds", NULL, &h);
    exposition_gauge(e, "spegel_loop_delay_max_seconds", "The longest of these since start.",
                     delay->max_ms / 1000.0);
}

#define WRITE_NAMED(e, family, help, label, counts)                                                \
    exposition_named(e, family, help, label, counts, sizeof(counts) / sizeof(counts)[0])

static void write_server(const struct node *n, struct exposition *e)
{
    const struct server_counters *s = server_counters(n->server);
    const struct registry_counters *r = registry_counters(n->registry);
    const struct named_count refused[] = {
        {"bad_request", s->bad_requests},
        {"head_too_large", s->head_too_large},
        {"target_too_long", s->target_too_long},
        {"with_body", s->with_body},
        {"slow_head", s->slow_heads},
        {"idle", s->idle_closed},
        {"stalled_client", s->stalled_clients},
        {"evicted", s->evicted},
        {"connection_cap", s->refused_cap},
        {"bad_path", r->bad_paths},
        {"bad_method", r->bad_methods},
        {"unauthorized", r->unauthorized},
        {"filtered", r->filtered},
        {"stream_cap", r->over_stream_cap},
        {"ambiguous_tag", r->ambiguous_tags},
        {"busy", r->busy},
        {"bad_badge", r->bad_badges},
    };
    WRITE_NAMED(e, "spegel_http_refused_total", "Requests and connections refused, by reason.",
                "reason", refused);
    exposition_counter(e, "spegel_http_connections_total", "Connections accepted.",
                       (double)s->accepted);
    exposition_counter(e, "spegel_http_accept_errors_total", "Connections that failed at once.",
                       (double)s->accept_errors);
    exposition_gauge(e, "spegel_http_connections", "Connections open.",
                     (double)server_connections(n->server));
    exposition_gauge(e, "spegel_http_streams", "Bodies being sent.",
                     (double)server_streams(n->server));
    exposition_counter(e, "spegel_withdrawn_total",
                       "Blobs withdrawn because their file was gone or wrong.",
                       (double)(r->withdrawn + r->wrong_manifests));
}

static void write_mirror(const struct node *n, struct exposition *e)
{
    const struct mirror_counters *m = mirror_counters(n->mirror);
    const struct named_count events[] = {
        {"hit", m->hits},
        {"miss", m->misses},
        {"resumed", m->resumed},
        {"hedged", m->hedged},
        {"stalled", m->stalled},
        {"mismatch", m->mismatches},
        {"doubted", m->doubted},
        {"excluded", m->excluded},
        {"convicted", m->convicted},
        {"peer_error", m->peer_errors},
        {"peer_busy", m->peer_busy},
        {"cut_short", m->cut_short},
        {"over_cap", m->over_cap},
        {"verify_wait", m->verify_budget_waits},
    };
    WRITE_NAMED(e, "spegel_mirror_events_total", "What happened to requests that peers answered.",
                "event", events);
    const struct named_count bytes[] = {
        {"spliced", m->bytes_spliced},
        {"copied", m->bytes_copied},
        {"verified", m->bytes_verified},
    };
    WRITE_NAMED(e, "spegel_mirror_relayed_bytes_total", "Body bytes from peers, by path.", "path",
                bytes);
}

static void write_cold(const struct node *n, struct exposition *e)
{
    struct gossip_swarm_stats s;
    gossip_swarm_stats(cluster_core(n->cluster), &s);
    const struct named_count decisions[] = {
        {"granted", s.granted}, {"offered", s.offered},   {"wait", s.waits},
        {"stay", s.stays},      {"given_up", s.given_up}, {"revoked", s.revoked},
        {"adopted", s.adopted}, {"over_cap", s.drop_cap},
    };
    WRITE_NAMED(e, "spegel_swarm_decisions_total",
                "What this node decided as an arbiter of cold rollouts.", "decision", decisions);
    exposition_gauge(e, "spegel_swarm_leases", "Contents whose download this node arbitrates.",
                     s.leases);
    exposition_gauge(e, "spegel_swarm_participants", "Nodes that take part in these.",
                     s.participants);
    if (!n->cold) {
        return;
    }
    const struct cold_counters *c = cold_counters(n->cold);
    const struct named_count events[] = {
        {"granted", c->granted},
        {"followed", c->followed},
        {"waited", c->waited},
        {"stayed", c->stayed},
        {"switched", c->switched},
        {"unanswered", c->unanswered},
        {"out_of_patience", c->out_of_patience},
        {"flight", c->flights},
        {"flight_held", c->flights_held},
        {"flight_gone", c->flights_gone},
        {"over_cap", c->over_cap},
        {"no_ingest", c->no_ingest},
        {"proven_wrong", c->proven_wrong},
        {"fed", c->fed},
        {"fed_refused", c->fed_refused},
        {"fed_cut", c->fed_cut},
    };
    WRITE_NAMED(e, "spegel_cold_events_total", "What happened to downloads that nobody held yet.",
                "event", events);
    const struct named_count bytes[] = {{"followed", c->bytes_followed}, {"fed", c->bytes_fed}};
    WRITE_NAMED(e, "spegel_cold_bytes_total",
                "Body bytes from parents, and to others from downloads under way.", "path", bytes);
}

static void write_containerd(const struct node *n, struct exposition *e)
{
    if (!n->containerd) {
        return;
    }
    const struct containerd_counters counters = containerd_counters(n->containerd);
    const struct containerd_counters *c = &counters;
    exposition_gauge(e, "spegel_containerd_connected", "Whether containerd's socket answers.",
                     containerd_is_connected(n->containerd));
    const struct named_count events[] = {
        {"connect", c->connects},
        {"disconnect", c->disconnects},
        {"event", c->events},
        {"malformed_event", c->malformed_events},
        {"malformed_name", c->malformed_names},
        {"malformed_content", c->malformed_contents},
        {"unparsable_manifest", c->unparsable_manifests},
        {"wrong_size", c->wrong_sizes},
        {"rescan", c->rescans},
        {"overflow", c->overflows},
        {"info_miss", c->info_misses},
        {"failed_call", c->failed_calls},
        {"over_limit", c->over_limit},
    };
    WRITE_NAMED(e, "spegel_containerd_events_total", "What came from containerd, by kind.", "kind",
                events);
}

static void write_layouts(const struct node *n, struct exposition *e)
{
    struct layout_counters sum = {0};
    if (!n->layout_count) {
        return;
    }
    for (size_t i = 0; i < n->layout_count; i++) {
        const struct layout_counters *l = layout_counters(n->layouts[i]);
        sum.index_reads += l->index_reads;
        sum.index_failures += l->index_failures;
        sum.malformed_descriptors += l->malformed_descriptors;
        sum.rescans += l->rescans;
        sum.overflows += l->overflows;
        sum.unparsable_manifests += l->unparsable_manifests;
        sum.corrupt_manifests += l->corrupt_manifests;
        sum.wrong_sizes += l->wrong_sizes;
        sum.over_limit += l->over_limit;
    }
    const struct named_count events[] = {
        {"index_read", sum.index_reads},
        {"index_failure", sum.index_failures},
        {"malformed_descriptor", sum.malformed_descriptors},
        {"rescan", sum.rescans},
        {"overflow", sum.overflows},
        {"unparsable_manifest", sum.unparsable_manifests},
        {"corrupt_manifest", sum.corrupt_manifests},
        {"wrong_size", sum.wrong_sizes},
        {"over_limit", sum.over_limit},
    };
    WRITE_NAMED(e, "spegel_layout_events_total", "What came from OCI layouts, by kind.", "kind",
                events);
}

void node_write_metrics(const struct node *n, struct exposition *e)
{
    metrics_write(n->metrics, e);
    write_inventory(n, e);
    write_server(n, e);
    write_mirror(n, e);
    write_cold(n, e);
    write_containerd(n, e);
    write_layouts(n, e);
    cluster_write_metrics(n->cluster, e);
    write_loop(n, e);
    metrics_write_process(e);
}
