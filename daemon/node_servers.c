/* The node's listeners: the registry port, the metrics port, and the HTTP bootstrap's /id. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/head.h"
#include "node.h"
#include "oci/path.h"

#define METRICS_BYTES (8 * 1024 * 1024)

static void respond_text(struct conn *c, int status, const char *type, const struct buf *text)
{
    struct buf fields;
    buf_init(&fields, 256);
    (void)http_head_field(&fields, "Content-Type", type);
    server_respond(c, status, &fields, text->data, text->len);
    buf_done(&fields);
}

static bool path_is(const struct http_request *request, const char *path)
{
    size_t n = strlen(path);
    return request->method != HTTP_METHOD_OTHER && !strncmp(request->target, path, n) &&
           (request->target[n] == 0 || request->target[n] == '?');
}

/* /debug/cluster?n=COUNT&last=ID, paged as the distribution spec pages lists. */
static void node_debug_request(const struct node *n, struct conn *c,
                               const struct http_request *request, struct buf *text)
{
    struct path path;
    struct error err;
    const char *code = NULL;
    uint64_t after = 0;
    int r = path_parse(request->target, &path, &code, &err);
    if (r < 0 || (path.last[0] && gossip_id_parse(path.last, &after) < 0)) {
        (void)buf_puts(text, "bad query; give n=COUNT and last=ID, the last answer's \"next\"\n");
        respond_text(c, 400, "text/plain", text);
        return;
    }
    size_t max = path.n < 0 ? LIMIT_CLUSTER_PAGE : (size_t)path.n;
    r = cluster_debug_json(n->cluster, after, max, text);
    if (r < 0) {
        buf_clear(text);
    }
    respond_text(c, r < 0 ? 503 : 200, "application/json", text);
}

static void node_metrics_request(void *arg, struct conn *c, const struct http_request *request)
{
    const struct node *n = arg;
    struct buf text;
    buf_init(&text, METRICS_BYTES);
    if (path_is(request, "/metrics")) {
        struct exposition e = {.out = &text};
        node_write_metrics(n, &e);
        respond_text(c, e.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8", &text);
    } else if (path_is(request, "/debug/cluster")) {
        node_debug_request(n, c, request, &text);
    } else if (path_is(request, "/debug/swarm")) {
        int r = node_write_swarm_json(n, &text);
        respond_text(c, r < 0 ? 503 : 200, "application/json", &text);
    } else {
        (void)buf_puts(&text, "not found; see /metrics, /debug/cluster and /debug/swarm\n");
        respond_text(c, 404, "text/plain", &text);
    }
    buf_done(&text);
}

static void node_id_request(void *arg, struct conn *c, const struct http_request *request)
{
    const struct node *n = arg;
    struct buf json;
    buf_init(&json, 4096);
    if (!path_is(request, "/id")) {
        (void)buf_puts(&json, "not found; see /id\n");
        respond_text(c, 404, "text/plain", &json);
    } else {
        cluster_met(n->cluster, conn_peer(c));
        int r = cluster_id_json(n->cluster, &json);
        respond_text(c, r < 0 ? 503 : 200, "application/json", &json);
    }
    buf_done(&json);
}

static void node_request_gone(void *arg, struct conn *c)
{
    (void)arg; /* both answer at once, so nothing waits for an answer */
    (void)c;
}

void node_address_text(const struct host_port *address, char *ret_text, size_t bytes)
{
    bool v6 = strchr(address->host, ':') != NULL;
    (void)snprintf(ret_text, bytes, "%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "",
                   address->port);
}

static int node_listen(struct node *n, const struct host_port *address,
                       const struct server_handler *handler, const char *what,
                       struct server **ret_server, struct error *err)
{
    char text[300];
    node_address_text(address, text, sizeof text);
    int r = server_new(n->loop, handler, ret_server);
    if (r < 0) {
        return error_set(err, r, "%s: %s", what, strerror(-r));
    }
    r = server_listen(*ret_server, text, err);
    return r < 0 ? error_wrap(err, r, "%s", what) : 0;
}

int node_start_servers(struct node *n, struct error *err)
{
    const struct registry_options *o = n->options;
    struct server_handler handler = {
        .request = registry_request, .gone = registry_gone, .arg = n->registry};
    int r = node_listen(n, &o->registry_addr, &handler, "--registry-addr", &n->server, err);
    handler = (struct server_handler){
        .request = node_metrics_request, .gone = node_request_gone, .arg = n};
    if (r == 0) {
        r = node_listen(n, &o->metrics_addr, &handler, "--metrics-addr", &n->metrics_server, err);
    }
    handler.request = node_id_request;
    if (r == 0 && o->http_bootstrap_addr.port) {
        r = node_listen(n, &o->http_bootstrap_addr, &handler, "--http-bootstrap-addr",
                        &n->id_server, err);
    }
    return r;
}
