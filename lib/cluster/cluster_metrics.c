/* The gossip core's figures under their metric names. */
#include "cluster/cluster.h"

void cluster_write_metrics(const struct cluster *c, struct exposition *e)
{
    struct gossip_stats s;
    gossip_stats(cluster_core(c), &s);
    exposition_family(e, "spegel_gossip_members", "gauge", "Members known, without this node.");
    exposition_sample(e, "spegel_gossip_members", (struct label[]){{"state", "alive"}, {0}},
                      s.alive);
    exposition_sample(e, "spegel_gossip_members", (struct label[]){{"state", "suspect"}, {0}},
                      s.suspect);
    exposition_sample(e, "spegel_gossip_members", (struct label[]){{"state", "dead"}, {0}}, s.dead);
    exposition_gauge(e, "spegel_gossip_index_keys", "Keys in the index.", s.index_keys);
    exposition_gauge(e, "spegel_gossip_index_entries",
                     "Keys in the index, each once for every live member that holds it.",
                     (double)s.index_entries);
    exposition_gauge(e, "spegel_gossip_index_bytes", "Memory of the index.", (double)s.index_bytes);
    exposition_gauge(e, "spegel_gossip_core_bytes", "Memory of the gossip core.",
                     (double)s.core_bytes);
    exposition_gauge(e, "spegel_gossip_rumours", "Rumours queued.", s.rumours);
    exposition_gauge(e, "spegel_gossip_lifeguard_score", "0 when this node runs on time.",
                     s.lifeguard_score);
    exposition_counter(e, "spegel_gossip_packets_received_total", "Datagrams accepted.",
                       (double)s.packets_in);
    exposition_counter(e, "spegel_gossip_packets_sent_total", "Datagrams sent.",
                       (double)s.packets_out);
    exposition_counter(e, "spegel_gossip_received_bytes_total", "Datagram bytes accepted.",
                       (double)s.bytes_in);
    exposition_counter(e, "spegel_gossip_sent_bytes_total", "Datagram bytes sent.",
                       (double)s.bytes_out);
    const struct named_count drops[] = {{"short", s.drop_short},
                                        {"version", s.drop_version},
                                        {"key", s.drop_key},
                                        {"seal", s.drop_seal},
                                        {"replay", s.drop_replay},
                                        {"old_boot", s.drop_old_boot},
                                        {"malformed", s.drop_malformed},
                                        {"address", s.drop_address},
                                        {"own", s.drop_own},
                                        {"rate", s.drop_rate},
                                        {"cap", s.drop_cap},
                                        {"memory", s.drop_memory},
                                        {"unknown_type", s.skipped_messages}};
    exposition_named(e, "spegel_gossip_dropped_total",
                     "Packets, records or rumours dropped, by reason.", "reason", drops,
                     sizeof drops / sizeof drops[0]);
    exposition_counter(e, "spegel_gossip_probes_total", "Probes begun.", (double)s.probes);
    exposition_counter(e, "spegel_gossip_probes_failed_total", "Probes without an answer.",
                       (double)s.probes_failed);
    exposition_counter(e, "spegel_gossip_suspicions_total", "Suspicions raised or heard.",
                       (double)s.suspicions);
    exposition_counter(e, "spegel_gossip_refutations_total", "Suspicions of this node refuted.",
                       (double)s.refutations);
    exposition_counter(e, "spegel_gossip_deaths_total", "Members declared dead.", (double)s.deaths);
    exposition_counter(e, "spegel_gossip_ops_applied_total", "Content changes applied.",
                       (double)s.ops_applied);
    exposition_counter(e, "spegel_gossip_hash_mismatches_total", "Sets found to differ.",
                       (double)s.hash_mismatches);
    exposition_counter(e, "spegel_gossip_fetches_total", "Sets and snapshots asked for.",
                       (double)s.fetches);
    exposition_counter(e, "spegel_gossip_fetches_failed_total", "Of those, failed.",
                       (double)s.fetches_failed);
    exposition_counter(e, "spegel_gossip_duplicate_ids_total", "Own id seen at another node.",
                       (double)s.duplicate_ids);
    const struct udp_counters *u = cluster_udp_counters(c);
    exposition_counter(e, "spegel_gossip_send_errors_total",
                       "Datagrams that the kernel did not take, or for which there was no room.",
                       (double)(u->send_errors + u->dropped_queue));
    const struct bootstrap_counters *b = cluster_bootstrap_counters(c);
    exposition_counter(e, "spegel_bootstrap_lookups_total", "Rounds of bootstrap.",
                       (double)b->lookups);
    exposition_counter(e, "spegel_bootstrap_failures_total", "Of those, failed, if only in part.",
                       (double)b->failures);
}
