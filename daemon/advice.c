#include "advice.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/log.h"
#include "certsd/containerd_toml.h"
#include "store/cri_config.h"
#include "store/ingest_file.h"

#define LOOK_PERIOD_MS 2000
#define FIGURES_MAX 256

/* Whether containerd is of that release or a later one; so is one that does not say. */
static bool is_since(const struct advice *a, unsigned major, unsigned minor)
{
    const char *version = containerd_version(a->node->containerd);
    unsigned is_major, is_minor;
    return sscanf(version + (version[0] == 'v'), "%u.%u", &is_major, &is_minor) != 2 ||
           is_major > major || (is_major == major && is_minor >= minor);
}

/* The plugin's name is another one in 2.x. */
static bool is_first_major(const struct advice *a)
{
    return !is_since(a, 2, 0);
}

/* What there is to know, from either source. */
static struct cri_config advice_settings(const struct advice *a)
{
    const struct cri_config *said = containerd_cri_config(a->node->containerd);
    struct cri_config known = said ? *said : (struct cri_config){0};
    struct containerd_toml file;
    if ((!known.knows_path || !known.knows_discards) &&
        containerd_toml_read(CONTAINERD_TOML_PATH, &file, NULL) == 0) {
        if (!known.knows_path && file.says_path) {
            known.knows_path = true;
            (void)snprintf(known.path, sizeof known.path, "%s", file.path);
        }
        bool first = is_first_major(a);
        if (!known.knows_discards && (first ? file.says_discards_1x : file.says_discards)) {
            known.knows_discards = true;
            known.discards = first ? file.discards_1x : file.discards;
        }
    }
    return known;
}

/* A pull brings no layer whose snapshot is there. */
#define AGAIN "; then restart containerd, remove the images that are here, pull them again"

static const char *fix_discards(const struct advice *a)
{
    return is_first_major(a)
               ? "[plugins.\"io.containerd.grpc.v1.cri\".containerd] discard_unpacked_layers = "
                 "false" AGAIN
               : "[plugins.\"io.containerd.cri.v1.images\"] discard_unpacked_layers = false" AGAIN;
}

/* True when it discards layers, which was said. */
static bool advise_settings(const struct advice *a)
{
    const struct registry_options *o = a->node->options;
    struct cri_config known = advice_settings(a);
    char fix[CRI_CONFIG_PATH_BYTES + 128];
    bool first = is_first_major(a), discards = known.knows_discards && known.discards;
    if (discards) {
        log_warn("containerd discards layers once they are unpacked: this node has none to share",
                 LOG_STR("fix", fix_discards(a)));
    }
    (void)snprintf(fix, sizeof fix, "[plugins.\"%s\".registry] config_path = \"%.900s\"",
                   first ? "io.containerd.grpc.v1.cri" : "io.containerd.cri.v1.images",
                   o->config_path);
    if (known.knows_path && !known.path[0]) {
        log_warn("containerd reads no hosts.toml: it never asks this mirror", LOG_STR("fix", fix));
    } else if (known.knows_path && o->write_configuration &&
               !cri_config_has_path(&known, o->config_path)) {
        log_warn("containerd looks for hosts.toml elsewhere than it is written",
                 LOG_STR("config_path", known.path), LOG_STR("written", o->config_path),
                 LOG_STR("fix", fix));
    } else if (known.knows_path && strchr(known.path, ':') && is_since(a, 2, 1)) {
        log_warn("containerd takes a list in config_path for one directory, unless it discards "
                 "layers: it never asks this mirror",
                 LOG_STR("config_path", known.path), LOG_STR("fix", fix));
    }
    return discards;
}

/* --- what is seen: images without their layers --- */

/* Layers that are on their way now may be those that are missed. */
static bool is_downloading(const struct advice *a)
{
    time_t last = ingest_file_last_write(containerd_content_root(a->node->containerd));
    return time(NULL) - last < LIMIT_ADVICE_WAIT_MS / 1000;
}

/* Where CRI says that layers are kept, those that are missing went before that was so. The file
 * says less: what it imports can say otherwise. */
static void layers_look(void *arg)
{
    struct advice *a = arg;
    const struct node *n = a->node;
    const struct cri_config *said = containerd_cri_config(n->containerd);
    if (said && said->knows_discards && !said->discards) {
        return;
    }
    if (!containerd_is_connected(n->containerd) || !containerd_is_listed(n->containerd)) {
        layer_watch_interrupt(&a->layers);
    } else {
        struct inventory_layers layers = inventory_layers(n->inventory);
        if (layer_watch_look(&a->layers, &layers, loop_now_ms(n->loop)) && !is_downloading(a)) {
            log_warn("images are here without their layers, so no node gets them from this one: "
                     "containerd discards layers once they are unpacked, or its snapshotter does "
                     "without them",
                     LOG_INT("images", layers.without), LOG_INT("with_layers", layers.with),
                     LOG_STR("fix", fix_discards(a)));
            return;
        }
    }
    (void)timer_start(&a->layers_timer, LIMIT_ADVICE_LAYERS_MS);
}

/* --- what is seen: images that come without a request --- */

static size_t advice_tags(const struct advice *a)
{
    struct inventory_figures figures[FIGURES_MAX];
    size_t count = inventory_figures(a->node->inventory, figures, FIGURES_MAX), tags = 0;
    for (size_t i = 0; i < count; i++) {
        tags += figures[i].tags;
    }
    return tags;
}

/* Images that come while hosts.toml may not have been read yet do not count. */
static void watch_requests(struct advice *a)
{
    uint64_t now_ms = loop_now_ms(a->node->loop);
    size_t tags = advice_tags(a);
    if (now_ms - a->settled_at_ms < LIMIT_ADVICE_SETTLE_MS) {
        a->tags = tags;
    } else if (tags <= a->tags) {
        a->came_at_ms = 0;
    } else if (!a->came_at_ms) {
        a->came_at_ms = now_ms;
    } else if (now_ms - a->came_at_ms >= LIMIT_ADVICE_WAIT_MS) {
        log_warn(
            "images came to this node, but containerd has never asked this mirror: unless they "
            "were imported, it is not pointed here",
            LOG_INT("images", tags - a->tags),
            LOG_STR("fix", "config_path in containerd's configuration has to name the directory "
                           "with our hosts.toml, and since containerd 2.1 that one alone; a "
                           "registry's own directory there beats "
                           "_default"));
        a->warned = true;
    }
}

static void advice_look(void *arg)
{
    struct advice *a = arg;
    const struct node *n = a->node;
    bool asked = registry_last_containerd_request(n->registry) > 0;
    if (containerd_is_connected(n->containerd)) {
        if (!a->settled_at_ms) {
            a->settled_at_ms = loop_now_ms(n->loop);
        } else if (!a->read) { /* a round later: CRI has had time to answer */
            a->read = true;
            if (!advise_settings(a)) {
                layers_look(a);
            }
        }
    }
    if (a->settled_at_ms && !asked) {
        watch_requests(a);
    }
    if (!a->read || !(asked || a->warned)) {
        (void)timer_start(&a->timer, LOOK_PERIOD_MS);
    }
}

void advice_start(struct advice *a, struct node *node)
{
    a->node = node;
    timer_init(&a->timer, node->loop, advice_look, a);
    timer_init(&a->layers_timer, node->loop, layers_look, a);
    if (node->containerd) {
        (void)timer_start(&a->timer, LOOK_PERIOD_MS);
    }
}

void advice_stop(struct advice *a)
{
    timer_stop(&a->timer);
    timer_stop(&a->layers_timer);
}
