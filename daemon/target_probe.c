#include "target_probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "certsd/registry_url.h"
#include "io/address.h"
#include "node.h"

#define TIMEOUT_MS 2000
#define BODY_BYTES 4096
#define FAILURES_BYTES 4096 /* what does not fit is not told */
#define LIVE "{\"ok\":true" /* unlike what a service says that answers 200 to all */

/* authority: a host with or without a port, an IPv6 address in brackets. */
static bool is_loopback(const char *authority)
{
    size_t n = authority[0] == '[' ? strcspn(authority, "]") + 1 : strcspn(authority, ":");
    char text[300];
    union address address;
    (void)snprintf(text, sizeof text, "%.*s:1", (int)n, authority);
    return address_parse(text, &address) == 0
               ? address_is_loopback(&address.sa)
               : n == strlen("localhost") && !strncasecmp(authority, "localhost", n);
}

/* Where our own registry is asked; false when it listens at loopback alone, for then whoever meant
 * the target's loopback to lead to it meant this one. */
static bool own_url(const struct node *n, char *ret_url, size_t bytes)
{
    struct host_port address = n->options->registry_addr;
    bool everywhere =
        !address.host[0] || !strcmp(address.host, "0.0.0.0") || !strcmp(address.host, "::");
    if (everywhere) {
        (void)snprintf(address.host, sizeof address.host, "127.0.0.1");
    }
    address.port = server_port(n->server);
    char authority[300];
    node_address_text(&address, authority, sizeof authority);
    (void)snprintf(ret_url, bytes, "http://%s", authority);
    return everywhere || !is_loopback(authority);
}

/* Who answers otherwise, or not in time, is somebody else. The last two are said of ::1 where there
 * is no IPv6. */
static bool is_nobody_there(const struct fetch *fetch)
{
    return fetch->error == -ECONNREFUSED || fetch->error == -EADDRNOTAVAIL ||
           fetch->error == -ENETUNREACH;
}

static const char *current_target(const struct target_probe *p)
{
    return p->node->options->mirror_targets.items[p->index];
}

static void note_failure(struct target_probe *p)
{
    const struct fetch *fetch = &p->fetch;
    char why[128];
    if (fetch->error == -ETIMEDOUT) {
        (void)snprintf(why, sizeof why, "no answer within %d s", TIMEOUT_MS / 1000);
    } else if (fetch->error) {
        (void)snprintf(why, sizeof why, "%.120s", fetch->reason.text);
    } else {
        (void)snprintf(why, sizeof why, "another service answers, status %d", fetch->status);
    }
    (void)buf_printf(&p->failures, "%s%.300s: ", p->failures.len ? "; " : "", current_target(p));
    if (p->own) {
        (void)buf_printf(&p->failures, "nobody listens, and at %s, in its stead: ", p->url);
    }
    (void)buf_puts(&p->failures, why);
}

static void target_fetched(struct fetch *fetch, void *arg);

static int target_ask(struct target_probe *p)
{
    char url[TARGET_PROBE_URL_BYTES + 16];
    (void)snprintf(url, sizeof url, "%s/livez", p->url);
    struct fetch_options options = {
        .url = url, .body_max_bytes = BODY_BYTES, .timeout_ms = TIMEOUT_MS};
    int r = fetch_start(p->node->fetcher, &p->fetch, &options, target_fetched, p);
    return r < 0 ? error_set(&p->fetch.reason, p->fetch.error = r, "%s", strerror(-r)) : 0;
}

/* From the current target on, the first that can be asked; false when there is none. */
static bool target_ask_on(struct target_probe *p)
{
    for (; p->index < p->node->options->mirror_targets.count; p->index++) {
        struct registry_url target; /* puts an IPv6 address in brackets, which $(NODE_IP) lacks */
        int r = registry_url_parse_target(current_target(p), &target, &p->fetch.reason);
        p->own = false;
        p->fetch.error = r;
        if (r == 0) {
            (void)snprintf(p->url, sizeof p->url, "%s://%s", target.scheme, target.host);
            r = target_ask(p);
        }
        if (r == 0) {
            return true;
        }
        note_failure(p);
    }
    return false;
}

static bool target_ask_own(struct target_probe *p)
{
    struct registry_url target;
    char url[TARGET_PROBE_URL_BYTES];
    if (p->own || !is_nobody_there(&p->fetch) ||
        registry_url_parse_target(current_target(p), &target, NULL) < 0 ||
        !is_loopback(target.host) || !own_url(p->node, url, sizeof url)) {
        return false;
    }
    p->own = true;
    (void)snprintf(p->url, sizeof p->url, "%s", url);
    return target_ask(p) == 0;
}

static void target_fetched(struct fetch *fetch, void *arg)
{
    struct target_probe *p = arg;
    bool cancelled = fetch->error == -ECANCELED;
    p->answered = fetch->error == 0 && fetch->status == 200 && fetch->body.len >= strlen(LIVE) &&
                  !memcmp(fetch->body.data, LIVE, strlen(LIVE));
    fetch_done(fetch);
    if (!cancelled && !p->answered) {
        if (target_ask_own(p)) {
            return;
        }
        note_failure(p);
        p->index++;
        if (target_ask_on(p)) {
            return;
        }
    }
    p->callback(p, p->arg);
}

int target_probe_start(struct target_probe *p, struct node *n,
                       void (*callback)(struct target_probe *p, void *arg), void *arg)
{
    *p = (struct target_probe){.node = n, .callback = callback, .arg = arg};
    buf_init(&p->failures, FAILURES_BYTES);
    if (!target_ask_on(p)) {
        buf_done(&p->failures);
        return -ENOMEM;
    }
    return 0;
}

void target_probe_cancel(struct target_probe *p)
{
    fetch_cancel(&p->fetch);
}

void target_probe_done(struct target_probe *p)
{
    buf_done(&p->failures);
}
