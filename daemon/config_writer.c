/* Writes containerd's hosts.toml once any of the targets has answered a probe, so that containerd
 * is never pointed at something that never ran. Any, because it goes on to the next when the first
 * refuses it, and what this pod cannot reach the node perhaps can: a hostPort where the network has
 * no hairpin. Written again when what it carries of this node changes: the credentials, the node's
 * id. It stays on exit: a refused connection costs containerd nothing, and `spegel cleanup` is one
 * command. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "certsd/configure.h"
#include "certsd/registry_url.h"
#include "node.h"
#include "target_probe.h"

#define PROBE_PERIOD_MS 500
#define LOOK_PERIOD_MS 1000  /* at what it carries: until it is written containerd is refused */
#define RETRY_PERIOD_MS 5000 /* between attempts that failed */
#define SILENCE_MS 10000     /* no target answers: said */
#define AUTHORIZATION_BYTES 2048
#define NAMES_BYTES 4096

/* What is told of registries, all of one kind in one line. */
static const struct {
    enum certsd_event event;
    enum log_level level;
    const char *message;
} tellings[] = {
    {CERTSD_NOT_MIRRORED, LOG_INFO,
     "registries with a configuration of their own are not mirrored"},
    {CERTSD_EDITED, LOG_WARN,
     "changes of the generated hosts.toml are undone, and kept beside it in hosts.toml.edited; "
     "they belong into the one in _backup"},
    {CERTSD_DENIED, LOG_WARN,
     "configuration that may not be changed without capabilities stays as it is"},
    {CERTSD_NOT_BACKED_UP, LOG_WARN,
     "configuration that may not be read without capabilities stays in force, and has no backup"},
    {CERTSD_OTHER_OWNER, LOG_WARN,
     "configuration and its copy in the backup have not the same owner, which takes capabilities"},
};

#define TELLINGS (sizeof tellings / sizeof *tellings)

struct config_writer {
    struct node *node;
    struct timer timer;
    struct target_probe probe;
    uint64_t silent_since_ms; /* the first probe of those that nobody answered; 0: the last was */
    bool probing, writing, freed;
    bool written, failing, refused, told_silence;
    struct work work;
    /* Copies for the pool. */
    char node_id[GOSSIP_ID_TEXT_BYTES];
    char authorization[AUTHORIZATION_BYTES]; /* "": none */
    char answered[TARGET_PROBE_URL_BYTES];   /* the last probe */
    struct error error;
    int result;
    struct buf told[TELLINGS]; /* the names */
};

static void writer_probe(struct config_writer *w);
static void writer_write(struct config_writer *w);

static bool writer_has_ipv6_target(const struct config_writer *w)
{
    const struct text_list *targets = &w->node->options->mirror_targets;
    struct registry_url url;
    for (size_t i = 0; i < targets->count; i++) {
        if (registry_url_parse_target(targets->items[i], &url, NULL) == 0 && url.host[0] == '[') {
            return true;
        }
    }
    return false;
}

static bool writer_has_bad_target(const struct config_writer *w)
{
    const struct text_list *targets = &w->node->options->mirror_targets;
    struct registry_url url;
    for (size_t i = 0; i < targets->count; i++) {
        if (registry_url_parse_target(targets->items[i], &url, NULL) < 0) {
            return true;
        }
    }
    return false;
}

/* The TOML parser of containerd 1.x refuses a `]` in a table's name, quoted or not, and with it the
 * whole file, hosts of the user's included. 2.x knows no other way to write a host. So with 1.x
 * nothing is written, which leaves containerd as it is. */
static bool writer_is_unreadable(struct config_writer *w)
{
    const struct containerd *containerd = w->node->containerd;
    const char *version = containerd ? containerd_version(containerd) : "";
    return writer_has_ipv6_target(w) && !strncmp(version + (version[0] == 'v'), "1.", 2);
}

static void writer_refuse(struct config_writer *w)
{
    if (!w->refused) {
        w->refused = true;
        log_error(
            "containerd 1.x cannot read a hosts.toml with an IPv6 address: none is written",
            LOG_STR("version", containerd_version(w->node->containerd)),
            LOG_STR("fix", "containerd 2.0, or a name or an IPv4 address in --mirror-targets"));
    }
    (void)timer_start(&w->timer, RETRY_PERIOD_MS);
}

static void writer_again(struct config_writer *w)
{
    (void)timer_start(&w->timer, PROBE_PERIOD_MS);
}

static const char *writer_authorization(const struct config_writer *w)
{
    const char *authorization = auth_header(w->node->auth);
    return authorization ? authorization : "";
}

static void writer_look(void *arg)
{
    struct config_writer *w = arg;
    if (w->written && !strcmp(w->authorization, writer_authorization(w)) &&
        !strcmp(w->node_id, cluster_id_text(w->node->cluster))) {
        (void)timer_start(&w->timer, LOOK_PERIOD_MS);
    } else if (w->node->containerd && !containerd_version(w->node->containerd)[0] &&
               writer_has_ipv6_target(w)) {
        writer_again(w); /* until it is known whether it can be read */
    } else if (writer_is_unreadable(w)) {
        writer_refuse(w);
    } else if (writer_has_bad_target(w)) {
        writer_write(w); /* which says what is wrong with it, and writes nothing */
    } else {
        writer_probe(w);
    }
}

/* On the pool, where nothing may log: remembered for writer_done. */
static void writer_notice(void *user, enum certsd_event event, const char *name)
{
    struct config_writer *w = user;
    for (size_t i = 0; i < TELLINGS; i++) {
        if (tellings[i].event == event) {
            (void)buf_printf(&w->told[i], "%s%s", w->told[i].len ? ", " : "", name);
        }
    }
}

static void writer_tell(struct config_writer *w)
{
    for (size_t i = 0; i < TELLINGS; i++) {
        if (!w->freed && w->told[i].len) {
            LOG_AT(tellings[i].level, tellings[i].message, LOG_STR("registries", w->told[i].data));
        }
        buf_done(&w->told[i]);
    }
}

static void writer_run(struct work *work)
{
    struct config_writer *w = CONTAINER_OF(work, struct config_writer, work);
    const struct registry_options *o = w->node->options;
    struct configure_spec spec = {
        .path = o->config_path,
        .registries = o->mirrored_registries.items,
        .registry_count = o->mirrored_registries.count,
        .targets = o->mirror_targets.items,
        .target_count = o->mirror_targets.count,
        .resolve_tags = o->resolve_tags,
        .prepend_existing = o->prepend_existing,
        .authorization = w->authorization[0] ? w->authorization : NULL,
        .node_id = w->node_id,
    };
    const struct certsd_notices notices = {.on_event = writer_notice, .user = w};
    for (size_t i = 0; i < TELLINGS; i++) {
        buf_init(&w->told[i], NAMES_BYTES);
    }
    w->result = certsd_configure(&spec, &notices, &w->error);
}

static void writer_done(struct work *work, int status)
{
    struct config_writer *w = CONTAINER_OF(work, struct config_writer, work);
    w->writing = false;
    writer_tell(w);
    if (w->freed) {
        free(w);
        return;
    }
    w->written = status == 0 && w->result == 0;
    if (w->written) {
        log_info("containerd's configuration written",
                 LOG_STR("path", w->node->options->config_path), LOG_STR("answered", w->answered));
    } else if (status == 0 && !w->failing) {
        log_error("containerd's configuration could not be written, trying on",
                  LOG_STR("err", w->error.text));
    }
    w->failing = !w->written;
    (void)timer_start(&w->timer, w->written ? LOOK_PERIOD_MS : RETRY_PERIOD_MS);
}

static void writer_write(struct config_writer *w)
{
    (void)snprintf(w->authorization, sizeof w->authorization, "%s", writer_authorization(w));
    (void)snprintf(w->node_id, sizeof w->node_id, "%s", cluster_id_text(w->node->cluster));
    w->work = (struct work){.run = writer_run, .done = writer_done};
    w->writing = work_start(w->node->loop, &w->work) == 0;
    if (!w->writing) {
        writer_again(w);
    }
}

/* Once, until one answers: what is wrong then is wrong for hours. */
static void writer_tell_silence(struct config_writer *w)
{
    if (!w->told_silence && loop_now_ms(w->node->loop) - w->silent_since_ms >= SILENCE_MS) {
        w->told_silence = true;
        log_warn("no mirror target answers, so containerd's configuration is not written",
                 LOG_STR("targets", w->probe.failures.data),
                 LOG_STR("fix",
                         "try curl <target>/livez on the node. If it answers there, a policy "
                         "keeps this program from it (NetworkPolicy, egress, firewall): "
                         "allow it, or let `spegel configuration` write, which does not "
                         "ask; if it does not, nobody serves the hostPort or NodePort"));
    }
}

static void writer_probed(struct target_probe *probe, void *arg)
{
    struct config_writer *w = arg;
    w->probing = false;
    if (w->freed) {
        target_probe_done(probe);
        free(w);
        return;
    }
    if (probe->answered) {
        w->silent_since_ms = 0;
        w->told_silence = false;
        (void)snprintf(w->answered, sizeof w->answered, "%s", probe->url);
        writer_write(w);
    } else {
        writer_tell_silence(w);
        writer_again(w);
    }
    target_probe_done(probe);
}

static void writer_probe(struct config_writer *w)
{
    if (!w->silent_since_ms) {
        w->silent_since_ms = loop_now_ms(w->node->loop);
    }
    w->probing = target_probe_start(&w->probe, w->node, writer_probed, w) == 0;
    if (!w->probing) {
        writer_again(w);
    }
}

int config_writer_new(struct node *n, struct config_writer **ret_writer)
{
    struct config_writer *w = calloc(1, sizeof *w);
    if (!w) {
        return -ENOMEM;
    }
    w->node = n;
    timer_init(&w->timer, n->loop, writer_look, w);
    if (timer_start(&w->timer, 0) < 0) {
        free(w);
        return -ENOMEM;
    }
    *ret_writer = w;
    return 0;
}

void config_writer_free(struct config_writer *w)
{
    if (!w) {
        return;
    }
    timer_stop(&w->timer);
    w->freed = true;
    if (w->probing) {
        target_probe_cancel(&w->probe);
    } else if (w->writing) {
        work_cancel(&w->work);
    } else {
        free(w);
    }
}
