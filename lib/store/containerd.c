#include "store/containerd.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cri.pb-c.h"
#include "grpc/methods.h"
#include "introspection.pb-c.h"
#include "store/containerd_private.h"
#include "version.pb-c.h"

/* Where containerd keeps contents when it does not say. */
#define DEFAULT_CONTENT_ROOT "/var/lib/containerd/io.containerd.content.v1.content"

/* --- what is said about its configuration: nothing here depends on it --- */

static void status_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, ask_status);
    if (cri_config_read(bytes, n, &c->cri_config, NULL) == 0) {
        c->knows_cri_config = true;
    }
}

/* Without CRI it is an error, and no concern of ours. */
static void status_done(struct grpc_call *call, const struct grpc_status *status)
{
    (void)call;
    (void)status;
}

static void ask_status(struct containerd *c)
{
    if (!grpc_call_active(&c->ask_status)) {
        Cri__StatusRequest request = CRI__STATUS_REQUEST__INIT;
        request.verbose = true;
        c->ask_status.on_message = status_message;
        c->ask_status.on_done = status_done;
        (void)containerd_call(c, &c->ask_status, GRPC_CRI_STATUS, &request.base, false,
                              LIMIT_GRPC_UNARY_MS);
    }
}

const struct cri_config *containerd_cri_config(const struct containerd *c)
{
    return c->knows_cri_config ? &c->cri_config : NULL;
}

/* --- live --- */

static void connected_tell(struct containerd *c, bool is_connected)
{
    if (c->connected_told != is_connected) {
        c->connected_told = is_connected;
        if (c->connected_callback) {
            c->connected_callback(c->callback_arg, is_connected);
        }
    }
}

/* At the latest so long from now. */
static void relist_in(struct containerd *c, uint32_t delay_ms)
{
    uint64_t at_ms = loop_now_ms(c->loop) + delay_ms;
    if (!timer_running(&c->relist) || at_ms < c->relist_at_ms) {
        c->relist_at_ms = at_ms;
        (void)timer_start(&c->relist, delay_ms);
    }
}

static void relist(void *arg)
{
    struct containerd *c = arg;
    relist_in(c, LIMIT_STORE_RELIST_MS);
    images_list(c);
    listing_want(c);
}

void containerd_relist_soon(struct containerd *c)
{
    if (c->phase == CONTAINERD_LIVE) {
        relist_in(c, LIMIT_STORE_RETRY_MS);
    }
}

void containerd_listing_ended(struct containerd *c)
{
    if (c->phase == CONTAINERD_LISTING && c->images.listed && c->blobs.synced) {
        c->phase = CONTAINERD_LIVE;
        c->was_live = true;
        c->problem.text[0] = 0;
        rpc_settled(c->rpc);
        /* The first listing again, once: the server starts each call in a thread of its own and
         * says nothing when a subscription begins, so the first may in theory have been before. */
        relist_in(c, LIMIT_STORE_SETTLE_MS);
        log_info("containerd is listed", LOG_STR("version", c->version),
                 LOG_STR("content", c->blobs.root.path), LOG_INT("images", c->images.records.count),
                 LOG_INT("blobs", inventory_blob_count(c->inventory)));
        connected_tell(c, true);
        ask_status(c);
    }
    reader_kick(c->reader);
}

/* Nothing is left to read. */
static void manifests_read(void *arg)
{
    struct containerd *c = arg;
    if (c->was_live && !c->listed_once) {
        c->listed_once = true;
        if (c->listed_callback) {
            c->listed_callback(c->callback_arg);
        }
    }
}

void containerd_call_failed(struct containerd *c, const char *what, const char *why)
{
    if (!rpc_is_up(c->rpc)) {
        return;
    }
    c->counters.failed_calls++;
    why = why[0] ? why : "no reason was given";
    if (c->phase == CONTAINERD_LIVE) {
        log_warn("call to containerd failed", LOG_STR("call", what), LOG_STR("err", why));
        containerd_relist_soon(c);
    } else {
        rpc_drop(c->rpc, "%s: %s", what, why);
    }
}

int containerd_call(struct containerd *c, struct grpc_call *call, const char *path,
                    const struct ProtobufCMessage *message, bool stream, uint32_t timeout_ms)
{
    struct grpc_request request = {
        .path = path, .containerd_namespace = c->namespace, .message = message, .stream = stream};
    return rpc_call(c->rpc, call, &request, timeout_ms);
}

/* --- coming up: subscribe, ask for version and content root, list --- */

static void listing_begin(struct containerd *c)
{
    if (c->phase != CONTAINERD_ASKING || grpc_call_active(&c->ask_version) ||
        grpc_call_active(&c->ask_plugins)) {
        return;
    }
    struct error err = {0};
    if (!c->blobs.root.path || c->content_path) {
        const char *path = c->content_path ? c->content_path : DEFAULT_CONTENT_ROOT;
        if (blobs_set_root(c, path, &err) < 0) {
            rpc_drop(c->rpc, "%s", err.text);
            return;
        }
    }
    c->phase = CONTAINERD_LISTING;
    images_list(c);
    listing_want(c);
}

static void version_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, ask_version);
    Version__VersionResponse *got = version__version_response__unpack(NULL, n, bytes);
    if (got) {
        (void)snprintf(c->version, sizeof(c->version), "%s", got->version);
        version__version_response__free_unpacked(got, NULL);
    }
}

static void version_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, ask_version);
    if (status->error) {
        containerd_call_failed(c, "asking for the version", status->text);
        return;
    }
    listing_begin(c);
}

static void plugins_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, ask_plugins);
    struct error err = {0};
    Introspection__PluginsResponse *got = introspection__plugins_response__unpack(NULL, n, bytes);
    for (size_t i = 0; got && i < got->n_plugins; i++) {
        const Introspection__Plugin *plugin = got->plugins[i];
        for (size_t k = 0; k < plugin->n_exports; k++) {
            if (strcmp(plugin->exports[k]->key, "root") == 0 &&
                blobs_set_root(c, plugin->exports[k]->value, &err) < 0) {
                rpc_drop(c->rpc, "%s", err.text);
            }
        }
    }
    if (got) {
        introspection__plugins_response__free_unpacked(got, NULL);
    }
}

static void plugins_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, ask_plugins);
    if (status->error) {
        containerd_call_failed(c, "asking for the content root", status->text);
        return;
    }
    listing_begin(c);
}

static int ask(struct containerd *c)
{
    c->ask_version.on_message = version_message;
    c->ask_version.on_done = version_done;
    int r = containerd_call(c, &c->ask_version, GRPC_VERSION, NULL, false, LIMIT_GRPC_UNARY_MS);
    if (r < 0 || c->content_path) {
        return r;
    }
    char filter[] = "type==io.containerd.content.v1,id==content";
    char *filters[] = {filter};
    Introspection__PluginsRequest request = INTROSPECTION__PLUGINS_REQUEST__INIT;
    request.n_filters = 1;
    request.filters = filters;
    c->ask_plugins.on_message = plugins_message;
    c->ask_plugins.on_done = plugins_done;
    return containerd_call(c, &c->ask_plugins, GRPC_INTROSPECTION_PLUGINS, &request.base, false,
                           LIMIT_GRPC_UNARY_MS);
}

static void containerd_up(void *arg)
{
    struct containerd *c = arg;
    c->counters.connects++;
    c->phase = CONTAINERD_ASKING;
    int r = events_subscribe(c);
    if (r == 0) {
        r = ask(c);
    }
    if (r < 0) {
        rpc_drop(c->rpc, "beginning: %s", strerror(-r));
    }
}

static void containerd_down(void *arg, bool was_up, const struct error *why)
{
    struct containerd *c = arg;
    bool was_live = c->phase == CONTAINERD_LIVE;
    bool is_news = was_live || strcmp(c->problem.text, why->text) != 0;
    c->counters.disconnects += was_up;
    c->phase = CONTAINERD_DOWN;
    timer_stop(&c->relist);
    images_disconnected(c);
    blobs_disconnected(c);
    listing_disconnected(c);
    c->problem = *why;
    if (is_news) {
        log_warn(was_live ? "connection to containerd lost" : "containerd is not available",
                 LOG_STR("socket", c->socket), LOG_STR("err", why->text));
    }
    connected_tell(c, false);
}

/* --- life --- */

/* An identifier as containerd takes it (github.com/containerd/containerd, identifiers). */
static bool namespace_is_valid(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > CONTAINERD_NAMESPACE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool is_separator = s[i] == '-' || s[i] == '_' || s[i] == '.';
        if (!isalnum((unsigned char)s[i]) && (!is_separator || i == 0 || i == n - 1)) {
            return false;
        }
    }
    return true;
}

static int config_check(const struct containerd_config *config, struct error *err)
{
    if (!namespace_is_valid(config->namespace)) {
        return error_set(err, -EINVAL, "\"%s\" is not a namespace of containerd",
                         config->namespace);
    }
    const char *path = config->content_path;
    if (path && path[0] && (path[0] != '/' || strlen(path) + 32 > PATH_MAX)) {
        return error_set(err, -EINVAL, "content path \"%s\" is not an absolute path", path);
    }
    return 0;
}

static int containerd_copy(struct containerd *c, const struct containerd_config *config)
{
    c->socket = strdup(config->socket);
    c->namespace = strdup(config->namespace);
    bool is_given = config->content_path && config->content_path[0];
    c->content_path = is_given ? strdup(config->content_path) : NULL;
    return c->socket && c->namespace && (c->content_path || !is_given) ? 0 : -ENOMEM;
}

int containerd_new(struct loop *loop, struct inventory *inventory,
                   const struct containerd_config *config, struct containerd **ret_containerd,
                   struct error *err)
{
    static const struct rpc_events events = {containerd_up, containerd_down};
    int r = config_check(config, err);
    if (r < 0) {
        return r;
    }
    struct containerd *c = calloc(1, sizeof(*c));
    if (!c) {
        return error_set(err, -ENOMEM, "no memory");
    }
    c->loop = loop;
    c->inventory = inventory;
    c->listed_callback = config->listed;
    c->connected_callback = config->connected;
    c->callback_arg = config->arg;
    timer_init(&c->relist, loop, relist, c);
    images_init(c);
    blobs_init(c);
    r = containerd_copy(c, config);
    if (r == 0) {
        r = reader_new(loop, inventory, manifests_read, c, &c->reader);
    }
    if (r == 0) {
        r = rpc_new(loop, c->socket, &events, c, &c->rpc);
    }
    if (r < 0) {
        containerd_free(c);
        return error_set(err, r, "containerd's socket \"%s\": %s", config->socket,
                         r == -EINVAL ? "not an absolute path, or too long" : strerror(-r));
    }
    (void)error_set(&c->problem, -ENOTCONN, "not connected yet");
    *ret_containerd = c;
    return 0;
}

void containerd_free(struct containerd *c)
{
    if (!c) {
        return;
    }
    c->phase = CONTAINERD_DOWN;
    rpc_free(c->rpc); /* completes the calls that are open */
    timer_stop(&c->relist);
    images_done(c);
    listing_done(c);
    blobs_done(c);
    reader_free(c->reader);
    free(c->socket);
    free(c->namespace);
    free(c->content_path);
    free(c);
}

bool containerd_is_connected(const struct containerd *c)
{
    return c->phase == CONTAINERD_LIVE;
}

bool containerd_is_listed(const struct containerd *c)
{
    return c->listed_once;
}

const char *containerd_problem(const struct containerd *c)
{
    return c->phase == CONTAINERD_LIVE ? "" : c->problem.text;
}

struct containerd_counters containerd_counters(const struct containerd *c)
{
    struct containerd_counters counters = c->counters;
    counters.unparsable_manifests = reader_counters(c->reader)->unparsable;
    counters.corrupt_manifests = reader_counters(c->reader)->corrupt;
    return counters;
}

const char *containerd_content_root(const struct containerd *c)
{
    return c->blobs.root.path ? c->blobs.root.path : "";
}

const char *containerd_version(const struct containerd *c)
{
    return c->version;
}
