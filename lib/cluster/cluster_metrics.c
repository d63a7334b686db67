/* The gossip core's figures, and those of the keys, under their metric names. */
#include "cluster/cluster.h"

struct figure {
    const char *name, *help;
    double value;
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void write_gauges(struct exposition *e, const struct figure *figures, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        exposition_gauge(e, figures[i].name, figures[i].help, figures[i].value);
    }
}

static void write_counters(struct exposition *e, const struct figure *figures, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        exposition_counter(e, figures[i].name, figures[i].help, figures[i].value);
    }
}

static void write_view(const struct cluster *c, const struct gossip_stats *s, struct exposition *e)
{
    const struct named_count members[] = {
        {"alive", s->alive}, {"suspect", s->suspect}, {"dead", s->dead}};
    exposition_family(e, "spegel_gossip_members", "gauge", "Members known, without this node.");
    for (size_t i = 0; i < COUNT(members); i++) {
        exposition_sample(e, "spegel_gossip_members",
                          (struct label[]){{"state", members[i].name}, {0}},
                          (double)members[i].count);
    }
    const struct figure gauges[] = {
        {"spegel_gossip_ready", "1 once this node's view of the cluster was complete.",
         gossip_is_ready(cluster_core(c))},
        {"spegel_gossip_members_behind",
         "Members of whose content a later version is known than this node has.", s->behind},
        {"spegel_gossip_index_keys", "Keys in the index.", s->index_keys},
        {"spegel_gossip_index_entries",
         "Keys in the index, each once for every live member that holds it.",
         (double)s->index_entries},
        {"spegel_gossip_index_bytes", "Memory of the index.", (double)s->index_bytes},
        {"spegel_gossip_core_bytes", "Memory of the gossip core.", (double)s->core_bytes},
        {"spegel_gossip_rumours", "Rumours queued.", s->rumours},
        {"spegel_gossip_fetches_open", "Sets and snapshots being fetched.", s->fetches_open},
        {"spegel_gossip_lifeguard_score", "0 when this node runs on time.", s->lifeguard_score},
        {"spegel_gossip_udp_blocked", "1 while nobody answers this node over UDP, but over TCP.",
         s->udp_blocked},
    };
    write_gauges(e, gauges, COUNT(gauges));
}

static void write_packets(const struct gossip_stats *s, const struct udp_counters *u,
                          struct exposition *e)
{
    static const char *const classes[GOSSIP_CLASSES] = {[GOSSIP_CLASS_PROBE] = "probe",
                                                        [GOSSIP_CLASS_RUMOUR] = "rumour",
                                                        [GOSSIP_CLASS_SYNC] = "sync",
                                                        [GOSSIP_CLASS_JOIN] = "join",
                                                        [GOSSIP_CLASS_SWARM] = "swarm"};
    struct named_count packets[GOSSIP_CLASSES], bytes[GOSSIP_CLASSES];
    for (size_t i = 0; i < GOSSIP_CLASSES; i++) {
        packets[i] = (struct named_count){classes[i], s->class_packets[i]};
        bytes[i] = (struct named_count){classes[i], s->class_bytes[i]};
    }
    exposition_named(e, "spegel_gossip_packets_sent_total",
                     "Datagrams sent, by what for; rumours ride on probes too, which count as "
                     "probes.",
                     "class", packets, GOSSIP_CLASSES);
    exposition_named(e, "spegel_gossip_sent_bytes_total",
                     "Bytes of datagrams sent, without IP and UDP headers.", "class", bytes,
                     GOSSIP_CLASSES);
    const struct named_count drops[] = {{"oversized", u->oversized},
                                        {"short", s->drop_short},
                                        {"version", s->drop_version},
                                        {"key", s->drop_key},
                                        {"seal", s->drop_seal},
                                        {"replay", s->drop_replay},
                                        {"old_boot", s->drop_old_boot},
                                        {"malformed", s->drop_malformed},
                                        {"address", s->drop_address},
                                        {"own", s->drop_own},
                                        {"id_collision", s->drop_collision},
                                        {"set_size", s->drop_set_size},
                                        {"rate", s->drop_rate},
                                        {"cap", s->drop_cap},
                                        {"members", s->drop_members},
                                        {"strangers", s->drop_strangers},
                                        {"memory", s->drop_memory},
                                        {"unknown_type", s->skipped_messages}};
    exposition_named(e, "spegel_gossip_dropped_total",
                     "Packets, records or rumours dropped, by reason.", "reason", drops,
                     COUNT(drops));
    const struct figure counters[] = {
        {"spegel_gossip_packets_received_total", "Datagrams received, dropped ones included.",
         (double)s->packets_in},
        {"spegel_gossip_received_bytes_total",
         "Bytes of datagrams received, without IP and UDP headers.", (double)s->bytes_in},
        {"spegel_gossip_challenged_total",
         "Packets of senders that nobody has introduced: asked to prove that they live.",
         (double)s->challenged},
        {"spegel_gossip_elsewhere_total",
         "Packets of members from an address that is not theirs: it gets at most three times as "
         "much back, the rest goes to the address that is.",
         (double)s->elsewhere},
        {"spegel_gossip_skipped_fields_total",
         "Messages with fields of a later version behind those known here.",
         (double)s->skipped_fields},
    };
    write_counters(e, counters, COUNT(counters));
}

static void write_detection(const struct gossip_stats *s, struct exposition *e)
{
    const struct figure counters[] = {
        {"spegel_gossip_probes_total", "Probes begun.", (double)s->probes},
        {"spegel_gossip_probes_failed_total", "Probes without an answer.",
         (double)s->probes_failed},
        {"spegel_gossip_suspicions_total", "Suspicions raised or heard.", (double)s->suspicions},
        {"spegel_gossip_refutations_total", "Suspicions of this node refuted.",
         (double)s->refutations},
        {"spegel_gossip_deaths_total", "Members declared dead.", (double)s->deaths},
        {"spegel_gossip_duplicate_ids_total", "Own id seen at another node.",
         (double)s->duplicate_ids},
    };
    write_counters(e, counters, COUNT(counters));
}

static void write_content(const struct gossip_stats *s, struct exposition *e)
{
    const struct named_count ignored[] = {{"stale", s->ops_stale}, {"early", s->ops_early}};
    const struct named_count deltas[] = {{"asked", s->deltas_asked},
                                         {"answered", s->deltas_answered}};
    const struct named_count served[] = {
        {"served", s->served}, {"denied", s->serve_denied}, {"busy", s->serve_busy}};
    const struct figure counters[] = {
        {"spegel_gossip_ops_applied_total", "Content changes applied.", (double)s->ops_applied},
        {"spegel_gossip_hash_mismatches_total", "Sets found to differ.",
         (double)s->hash_mismatches},
        {"spegel_gossip_syncs_total", "Rounds of anti-entropy begun.", (double)s->syncs},
        {"spegel_gossip_fetches_total", "Sets and snapshots asked for.", (double)s->fetches},
        {"spegel_gossip_fetches_failed_total", "Of those, failed.", (double)s->fetches_failed},
        {"spegel_gossip_fetches_too_large_total", "Of these, because the answer was too long.",
         (double)s->fetches_too_large},
        {"spegel_gossip_sets_applied_total", "Whole sets of a member taken.",
         (double)s->sets_applied},
        {"spegel_gossip_snapshots_applied_total", "Snapshots of the cluster taken.",
         (double)s->snapshots_applied},
    };
    write_counters(e, counters, COUNT(counters));
    exposition_named(e, "spegel_gossip_ops_ignored_total",
                     "Content changes known already (stale), or that came before their "
                     "predecessor (early).",
                     "reason", ignored, COUNT(ignored));
    exposition_named(e, "spegel_gossip_deltas_total",
                     "Changes that were missed: asked for here, or answered here.", "role", deltas,
                     COUNT(deltas));
    exposition_named(e, "spegel_gossip_served_total",
                     "Requests for sets and snapshots; denied ones did not prove the key.",
                     "answer", served, COUNT(served));
}

static void write_key(struct exposition *e, const char *fingerprint, bool sends)
{
    exposition_sample(
        e, "spegel_gossip_key_info",
        (struct label[]){{"fingerprint", fingerprint}, {"use", sends ? "sends" : "accepts"}, {0}},
        1);
}

static void write_keys(const struct cluster *c, struct exposition *e)
{
    const struct key_file *file = cluster_keys(c);
    const struct key_file_counters *k =
        file ? key_file_counters(file) : &(const struct key_file_counters){0};
    exposition_family(e, "spegel_gossip_key_info", "gauge",
                      "1 for each key by its fingerprint: the one that sends, and others accepted; "
                      "\"label\" without a key file.");
    if (!file) {
        write_key(e, "label", true);
    }
    for (size_t i = 0; file && i < key_file_ring(file)->count; i++) {
        char fingerprint[KEY_FINGERPRINT_BYTES];
        key_ring_fingerprint(key_file_ring(file)->keys[i], fingerprint);
        write_key(e, fingerprint, i == 0);
    }
    const struct figure counters[] = {
        {"spegel_gossip_key_loads_total", "Key rings taken from the key file.", (double)k->loads},
        {"spegel_gossip_key_load_failures_total",
         "Looks at a key file that could not be used; the keys stay as they were.",
         (double)k->failures},
    };
    write_counters(e, counters, COUNT(counters));
}

void cluster_write_metrics(const struct cluster *c, struct exposition *e)
{
    struct gossip_stats s;
    gossip_stats(cluster_core(c), &s);
    const struct udp_counters *u = cluster_udp_counters(c);
    const struct bootstrap_counters *b = cluster_bootstrap_counters(c);
    write_view(c, &s, e);
    write_packets(&s, u, e);
    write_detection(&s, e);
    write_content(&s, e);
    write_keys(c, e);
    const struct figure counters[] = {
        {"spegel_gossip_send_errors_total",
         "Datagrams that the kernel did not take, or for which there was no room.",
         (double)(u->send_errors + u->dropped_queue)},
        {"spegel_bootstrap_lookups_total", "Rounds of bootstrap.", (double)b->lookups},
        {"spegel_bootstrap_failures_total", "Of those, failed, if only in part.",
         (double)b->failures},
    };
    write_counters(e, counters, COUNT(counters));
}
