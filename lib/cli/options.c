#include "cli/options.h"

#include <stddef.h>

#define CERTS_D "/etc/containerd/certs.d"
#define AT(type, field) .offset = offsetof(struct type, field)

static const char *const log_levels[] = {"DEBUG", "INFO", "WARN", "ERROR", NULL};
static const char *const version_formats[] = {"text", "json", NULL};
static const char *const bootstrap_kinds[] = {"", "dns", "http", "static", "kubernetes", NULL};

static const struct flag program_flags[] = {
    {"log-level", FLAG_CHOICE, AT(program_options, log_level), .default_text = "INFO",
     .placeholder = "LEVEL", .choices = log_levels,
     .help = "The least severe messages to log: DEBUG, INFO, WARN or ERROR."},
    {0},
};

#define MIRRORED_REGISTRIES_HELP                                                                   \
    "Registries to mirror: _default (all), or URLs such as https://docker.io with no path. "       \
    "None given: all."
#define CONFIG_PATH_HELP "Directory of containerd's registry configuration."
#define MIRROR_TARGETS_HELP                                                                        \
    "URLs that containerd asks, in this order, before the registry itself, such as "               \
    "http://127.0.0.1:30020."
#define RESOLVE_TAGS_HELP "Let the mirror answer for tags too, not for digests alone."
#define PREPEND_HELP                                                                               \
    "Keep the hosts that a registry already has, after the mirror, instead of replacing them."

static const struct flag registry_flags[] = {
    {"registry-addr", FLAG_ADDRESS, AT(registry_options, registry_addr), .default_text = ":5000",
     .placeholder = "ADDR", .help = "Where to serve the registry."},
    {"router-addr", FLAG_ADDRESS, AT(registry_options, router_addr), .default_text = ":5001",
     .placeholder = "ADDR", .help = "Where to meet the other nodes (UDP)."},
    {"metrics-addr", FLAG_ADDRESS, AT(registry_options, metrics_addr), .default_text = ":9090",
     .placeholder = "ADDR", .help = "Where to serve metrics."},
    {"containerd-sock", FLAG_TEXT, AT(registry_options, containerd_sock),
     .default_text = "/run/containerd/containerd.sock", .placeholder = "PATH",
     .help = "containerd's socket."},
    {"containerd-namespace", FLAG_TEXT, AT(registry_options, containerd_namespace),
     .default_text = "k8s.io", .placeholder = "NAME",
     .help = "The containerd namespace whose images are shared."},
    {"containerd-content-path", FLAG_TEXT, AT(registry_options, containerd_content_path),
     .placeholder = "DIR", .help = "containerd's content store. Not given: containerd is asked."},
    {"store", FLAG_LIST, AT(registry_options, stores), .placeholder = "oci-layout:DIR",
     .gathers = true,
     .help = "Serve the OCI image layout in this directory, with no containerd at all."},
    {"mirrored-registries", FLAG_LIST, AT(registry_options, mirrored_registries),
     .placeholder = "REGISTRY", .help = MIRRORED_REGISTRIES_HELP},
    {"registry-filters", FLAG_LIST, AT(registry_options, registry_filters), .placeholder = "REGEX",
     .help = "Regular expressions; an image whose registry/repository[:tag] matches one is neither "
             "served nor announced."},
    {"mirror-resolve-timeout", FLAG_DURATION, AT(registry_options, mirror_resolve_timeout_ms),
     .default_text = "20ms", .placeholder = "DURATION",
     .help = "The longest wait for a first holder of an image to become known."},
    {"mirror-resolve-retries", FLAG_COUNT, AT(registry_options, mirror_resolve_retries),
     .default_text = "3", .placeholder = "COUNT", .max = 1000,
     .help = "How many holders a request may try before its first byte."},
    {"data-dir", FLAG_TEXT, AT(registry_options, data_dir), .placeholder = "DIR",
     .help = "Where the node's identity is kept over restarts."},
    {"debug-web-enabled", FLAG_BOOL, AT(registry_options, debug_web_enabled),
     .default_text = "true",
     .help = "Accepted, and without effect: this release has no debug page."},
    {"bootstrap-kind", FLAG_CHOICE, AT(registry_options, bootstrap_kind), .placeholder = "KIND",
     .choices = bootstrap_kinds,
     .help = "How the first other nodes are found: dns, http or static. Required, except with "
             "--store, where none means a node alone."},
    {"dns-bootstrap-domain", FLAG_TEXT, AT(registry_options, dns_bootstrap_domain),
     .placeholder = "DOMAIN",
     .help = "With dns (required): a name whose addresses are those of the nodes."},
    {"http-bootstrap-addr", FLAG_ADDRESS, AT(registry_options, http_bootstrap_addr),
     .placeholder = "ADDR", .help = "With http: where to serve /id to other nodes."},
    {"http-bootstrap-peer", FLAG_TEXT, AT(registry_options, http_bootstrap_peer),
     .placeholder = "URL", .help = "With http: a node's base URL, to which /id is appended."},
    {"http-bootstrap-url", FLAG_TEXT, AT(registry_options, http_bootstrap_url),
     .placeholder = "URL", .help = "With http: the whole URL, where it does not end in /id."},
    {"http-bootstrap-cert-dir", FLAG_TEXT, AT(registry_options, http_bootstrap_cert_dir),
     .placeholder = "DIR",
     .help = "With http: a directory of certificates to trust besides the system's."},
    {"static-bootstrap-peers", FLAG_LIST, AT(registry_options, static_bootstrap_peers),
     .placeholder = "PEER",
     .help = "With static: host:port of other nodes; multiaddrs are understood."},
    {"advertise-addr", FLAG_LIST, AT(registry_options, advertise_addrs), .placeholder = "IP",
     .help = "The addresses under which other nodes reach this one, at most one IPv4 and one IPv6. "
             "Not given: found out."},
    {"cluster-label", FLAG_TEXT, AT(registry_options, cluster_label), .placeholder = "TEXT",
     .help = "Keeps clusters apart that can reach each other. Not given: the bootstrap domain or "
             "URL, else spegel."},
    {"gossip-key-file", FLAG_TEXT, AT(registry_options, gossip_key_file), .placeholder = "PATH",
     .help = "The cluster's keys, base64 of 32 bytes a line, at most 3: the first sends, all are "
             "accepted. Read again when it changes. Not given: a key made from the label, which "
             "keeps nobody out."},
    {"zone", FLAG_TEXT, AT(registry_options, zone), .placeholder = "NAME",
     .help = "The zone of this node; holders in the same zone are preferred."},
    {"node-name", FLAG_TEXT, AT(registry_options, node_name), .placeholder = "NAME",
     .help = "The node that the identity in --data-dir belongs to: on another one it is not used. "
             "Not given: NODE_IP from the environment, else the host name and machine id."},
    {"cold-rollout", FLAG_BOOL, AT(registry_options, cold_rollout), .default_text = "true",
     .help = "Let the nodes agree on who fetches from upstream what nobody holds yet, and feed the "
             "others from that download."},
    {"cold-rollout-exclude", FLAG_LIST, AT(registry_options, cold_rollout_exclude),
     .placeholder = "REGEX",
     .help = "Images matching any of these, as registry/repository, are fetched from upstream by "
             "each node that lacks them."},
    {"write-configuration", FLAG_BOOL, AT(registry_options, write_configuration),
     .help = "Write containerd's configuration, as `spegel configuration` does, once one of the "
             "targets has answered. It stays on exit: `spegel cleanup` takes it away."},
    {"containerd-registry-config-path", FLAG_TEXT, AT(registry_options, config_path),
     .default_text = CERTS_D, .placeholder = "DIR",
     .help = "With --write-configuration: the directory of containerd's registry configuration."},
    {"mirror-targets", FLAG_LIST, AT(registry_options, mirror_targets), .placeholder = "URL",
     .help = "With --write-configuration (required): URLs that containerd asks, in this order, "
             "before the registry itself."},
    {"resolve-tags", FLAG_BOOL, AT(registry_options, resolve_tags), .default_text = "true",
     .help = "With --write-configuration: let the mirror answer for tags too."},
    {"prepend-existing", FLAG_BOOL, AT(registry_options, prepend_existing),
     .help = "With --write-configuration: keep the hosts that a registry already has."},
    {"registries", FLAG_LIST, AT(registry_options, mirrored_registries), .placeholder = "REGISTRY",
     .retired = "read as --mirrored-registries"},
    {"resolve-latest-tag", FLAG_BOOL, AT(registry_options, resolve_latest_tag),
     .default_text = "true", .retired = "false is read as --registry-filters ':latest$'"},
    {"blob-speed", FLAG_TEXT, AT(registry_options, retired_text), .placeholder = "TEXT",
     .retired = "it has no effect"},
    {"leader-election-namespace", FLAG_TEXT, AT(registry_options, retired_text),
     .placeholder = "NAME", .retired = "it has no effect, nodes elect nobody"},
    {"leader-election-name", FLAG_TEXT, AT(registry_options, retired_text), .placeholder = "NAME",
     .retired = "it has no effect, nodes elect nobody"},
    {"kubeconfig-path", FLAG_TEXT, AT(registry_options, retired_text), .placeholder = "PATH",
     .retired = "it has no effect, Kubernetes is not asked"},
    {"local-addr", FLAG_TEXT, AT(registry_options, retired_text), .placeholder = "ADDR",
     .retired = "it has no effect, a node knows itself"},
    {0},
};

static const struct flag configuration_flags[] = {
    {"containerd-registry-config-path", FLAG_TEXT, AT(configuration_options, config_path),
     .default_text = CERTS_D, .placeholder = "DIR", .help = CONFIG_PATH_HELP},
    {"mirrored-registries", FLAG_LIST, AT(configuration_options, mirrored_registries),
     .placeholder = "REGISTRY", .help = MIRRORED_REGISTRIES_HELP},
    {"mirror-targets", FLAG_LIST, AT(configuration_options, mirror_targets), .placeholder = "URL",
     .required = true, .help = MIRROR_TARGETS_HELP},
    {"resolve-tags", FLAG_BOOL, AT(configuration_options, resolve_tags), .default_text = "true",
     .help = RESOLVE_TAGS_HELP},
    {"prepend-existing", FLAG_BOOL, AT(configuration_options, prepend_existing),
     .help = PREPEND_HELP},
    {"registries", FLAG_LIST, AT(configuration_options, mirrored_registries),
     .placeholder = "REGISTRY", .retired = "read as --mirrored-registries"},
    {"mirror-registries", FLAG_LIST, AT(configuration_options, mirror_targets),
     .placeholder = "URL", .retired = "read as --mirror-targets"},
    {"append-mirrors", FLAG_BOOL, AT(configuration_options, prepend_existing),
     .retired = "read as --prepend-existing"},
    {0},
};

static const struct flag cleanup_flags[] = {
    {"addr", FLAG_ADDRESS, AT(cleanup_options, addr), .placeholder = "ADDR", .required = true,
     .help = "Where to answer probes once everything is put back."},
    {"containerd-registry-config-path", FLAG_TEXT, AT(cleanup_options, config_path),
     .default_text = CERTS_D, .placeholder = "DIR", .help = CONFIG_PATH_HELP},
    {0},
};

static const struct flag cleanup_wait_flags[] = {
    {"probe-endpoint", FLAG_TEXT, AT(cleanup_wait_options, probe_endpoint),
     .placeholder = "HOST:PORT", .required = true,
     .help = "The name and port of the cleanups; every address of the name is asked."},
    {"threshold", FLAG_COUNT, AT(cleanup_wait_options, threshold), .default_text = "3",
     .placeholder = "COUNT", .min = 1, .max = 1000000,
     .help = "How many rounds in a row must succeed."},
    {"period", FLAG_DURATION, AT(cleanup_wait_options, period_ms), .default_text = "2s",
     .placeholder = "DURATION", .min = 1, .help = "From one round to the next."},
    {"stable-for", FLAG_DURATION, AT(cleanup_wait_options, stable_ms), .default_text = "0s",
     .placeholder = "DURATION",
     .help = "How long, besides, the same addresses must have answered, none coming or going."},
    {"give-up-after", FLAG_DURATION, AT(cleanup_wait_options, limit_ms), .default_text = "0s",
     .placeholder = "DURATION",
     .help = "End in failure after this, with a list of what failed. 0s: never."},
    {0},
};

static const struct flag version_flags[] = {
    {"format", FLAG_CHOICE, AT(version_options, format), .default_text = "text",
     .placeholder = "FORMAT", .choices = version_formats, .no_environment = true,
     .help = "text or json."},
    {0},
};

/* In the order of enum command_id. */
static const struct command commands[] = {
    {"registry", "Serve this node's images and fetch from the other nodes what it lacks.",
     registry_flags, offsetof(struct program_options, registry)},
    {"configuration", "Point containerd at the mirror; what was there is backed up.",
     configuration_flags, offsetof(struct program_options, configuration)},
    {"cleanup",
     "Put back what containerd's configuration was, then answer probes until told to stop.",
     cleanup_flags, offsetof(struct program_options, cleanup)},
    {"cleanup-wait", "Wait until the cleanup of every node answers.", cleanup_wait_flags,
     offsetof(struct program_options, cleanup_wait)},
    {"version", "Print the version.", version_flags, offsetof(struct program_options, version)},
    {0},
};

const struct program options_program = {
    .name = "spegel",
    .summary = "A cluster-local mirror of OCI registries: nodes share the images they hold.",
    .flags = program_flags,
    .commands = commands,
};
