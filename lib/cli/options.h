/* options.h - what each command of the program takes, and the checks that span several flags.
 *
 * The names, defaults and meanings are those of the Go implementation (v0.7.4), so that its
 * manifests and unit files keep working; the tables are in options.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/flags.h"

enum version_format { VERSION_TEXT, VERSION_JSON };

struct version_options {
    int format; /* enum version_format */
};

/* What is written for containerd; see certsd/configure.h. */
struct configuration_options {
    char *config_path;
    struct text_list mirrored_registries; /* as given; parsed by certsd_configure */
    struct text_list mirror_targets;
    bool resolve_tags;
    bool prepend_existing;
};

struct cleanup_options {
    struct host_port addr;
    char *config_path;
};

struct cleanup_wait_options {
    char *probe_endpoint; /* host:port, as given: a bad one is an error at run time */
    uint32_t threshold;
    uint64_t period_ms;
    uint64_t stable_ms; /* 0: the threshold alone counts */
    uint64_t limit_ms;  /* 0: none */
};

enum bootstrap_kind {
    BOOTSTRAP_NONE, /* never after registry_options_complete */
    BOOTSTRAP_DNS,
    BOOTSTRAP_HTTP,
    BOOTSTRAP_STATIC,
    BOOTSTRAP_KUBERNETES, /* retired; never after registry_options_complete */
};

struct registry_options {
    struct host_port registry_addr;
    struct host_port router_addr;
    struct host_port metrics_addr;

    /* Either a containerd, or the directories of `layouts`; never both. */
    bool use_containerd;
    char *containerd_sock;
    char *containerd_namespace;
    char *containerd_content_path; /* NULL: ask containerd */
    struct text_list stores;       /* as given: oci-layout:DIR */
    struct text_list layouts;      /* DIR of each */

    struct text_list registry_filters;    /* uncompiled; `:latest$` added for a retired flag */
    struct text_list mirrored_registries; /* as given */
    struct text_list mirrored_hosts;      /* host[:port] of each; empty: every registry */

    uint64_t mirror_resolve_timeout_ms;
    uint32_t mirror_resolve_retries;
    char *data_dir; /* NULL: none */
    bool debug_web_enabled;

    int bootstrap_kind; /* enum bootstrap_kind */
    char *dns_bootstrap_domain;
    struct host_port http_bootstrap_addr; /* port 0: do not serve /id */
    char *http_bootstrap_peer;
    char *http_bootstrap_url; /* whole; made from the peer where that was given; may be NULL */
    char *http_bootstrap_cert_dir;
    struct text_list static_bootstrap_peers; /* as given */
    struct host_port *static_peers;          /* static_bootstrap_peers.count of them, owned */

    struct text_list advertise_addrs; /* IP literals, no brackets */
    char *cluster_label;              /* never NULL after registry_options_complete */
    char *gossip_key_file;            /* NULL: the label's key */
    char *zone;                       /* NULL: unknown */
    char *node_name;                  /* NULL: not said */

    bool cold_rollout;
    struct text_list cold_rollout_exclude; /* uncompiled */

    bool write_configuration;
    char *config_path; /* these four: as in configuration_options, with mirrored_registries */
    struct text_list mirror_targets;
    bool resolve_tags;
    bool prepend_existing;

    bool resolve_latest_tag; /* retired */
    char *retired_text;      /* of retired flags that do nothing; never read */
};

/* Everything flags_parse fills for this program. */
struct program_options {
    int log_level; /* enum log_level */
    struct version_options version;
    struct configuration_options configuration;
    struct registry_options registry;
    struct cleanup_options cleanup;
    struct cleanup_wait_options cleanup_wait;
};

extern const struct program options_program;

/* The commands, in the order of options_program.commands. */
enum command_id {
    COMMAND_REGISTRY,
    COMMAND_CONFIGURATION,
    COMMAND_CLEANUP,
    COMMAND_CLEANUP_WAIT,
    COMMAND_VERSION,
};

/* Checks what spans flags and fills the fields made from others: layouts, use_containerd, the
 * bootstrap's, static_peers, advertise_addrs, cluster_label. Adds a sentence to `warnings` where
 * something was accepted but does not do what it did. 0, -EINVAL naming the flag, the value and
 * what is allowed, -ENOMEM. */
int registry_options_complete(struct registry_options *options, struct text_list *warnings,
                              struct error *err);

/* Fills mirrored_hosts. Separate, because a bad registry is an error at run time (exit 1) for the
 * users of today, not a usage error (exit 2). 0, -EINVAL, -ENOMEM. */
int registry_options_resolve_registries(struct registry_options *options, struct error *err);

/* Frees what registry_options_complete made; the rest is flags_done's. */
void registry_options_done(struct registry_options *options);
