#include "cluster/bootstrap.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PERIOD_STARTING_MS 500
#define PERIOD_MAX_MS 10000
#define FETCH_TIMEOUT_MS 2000
#define BODY_BYTES (64 * 1024)
#define ID_ADDRESSES 16

struct target {
    char host[256];
    uint16_t port;
};

/* One round of name look-ups; owned by the pool while it runs, so that it survives its bootstrap.
 */
struct lookup {
    struct work work;
    struct bootstrap *bootstrap; /* NULL: nobody waits any more */
    struct target *targets;
    size_t target_count;
    union address *found;
    size_t found_count;
    int error; /* of the last name that did not resolve; 0 when all did */
};

struct bootstrap {
    struct loop *loop;
    struct fetcher *fetcher;
    struct bootstrap_config config;
    struct bootstrap_counters counters;
    struct target *targets;
    char *url, *ca_dir;
    struct timer timer;
    struct lookup *lookup;
    struct fetch fetch;
    bool fetching, freed, ready, warned, warned_label;
    uint64_t period_ms;
};

static void bootstrap_round(void *arg);

static void bootstrap_again(struct bootstrap *b, bool failed)
{
    b->counters.failures += failed;
    b->period_ms = b->ready ? PERIOD_MAX_MS : b->period_ms * 2;
    if (b->period_ms > PERIOD_MAX_MS) {
        b->period_ms = PERIOD_MAX_MS;
    }
    (void)timer_start(&b->timer, b->period_ms);
}

static void bootstrap_failed(struct bootstrap *b, const char *what, const char *why)
{
    if (!b->warned) {
        log_warn("bootstrap failed, trying on", LOG_STR("target", what), LOG_STR("err", why));
        b->warned = true;
    }
    bootstrap_again(b, true);
}

static void bootstrap_worked(struct bootstrap *b, const union address *addresses, size_t count,
                             bool in_part)
{
    if (b->warned && !in_part) {
        log_info("bootstrap works again");
        b->warned = false;
    }
    b->config.found(b->config.arg, addresses, count);
    bootstrap_again(b, in_part);
}

/* --- names --- */

static void lookup_free(struct lookup *l)
{
    free(l->targets);
    free(l->found);
    free(l);
}

static void lookup_add(struct lookup *l, const struct addrinfo *info)
{
    for (; info && l->found_count < BOOTSTRAP_ADDRESSES_MAX; info = info->ai_next) {
        if (info->ai_family != AF_INET && info->ai_family != AF_INET6) {
            continue;
        }
        if (l->found_count % 64 == 0) {
            union address *more = realloc(l->found, (l->found_count + 64) * sizeof *more);
            if (!more) {
                l->error = EAI_MEMORY;
                return;
            }
            l->found = more;
        }
        memset(&l->found[l->found_count], 0, sizeof *l->found);
        memcpy(&l->found[l->found_count++], info->ai_addr, info->ai_addrlen);
    }
}

static void lookup_run(struct work *w)
{
    struct lookup *l = CONTAINER_OF(w, struct lookup, work);
    for (size_t i = 0; i < l->target_count; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
        struct addrinfo *info = NULL;
        char port[8];
        (void)snprintf(port, sizeof port, "%u", l->targets[i].port);
        int r = getaddrinfo(l->targets[i].host, port, &hints, &info);
        if (r == 0) {
            lookup_add(l, info);
            freeaddrinfo(info);
        } else {
            l->error = r;
        }
    }
}

static void lookup_done(struct work *w, int status)
{
    struct lookup *l = CONTAINER_OF(w, struct lookup, work);
    struct bootstrap *b = l->bootstrap;
    if (b) {
        b->lookup = NULL;
        if (status < 0 || (l->error && !l->found_count)) {
            bootstrap_failed(b, l->target_count ? l->targets[0].host : "", gai_strerror(l->error));
        } else {
            bootstrap_worked(b, l->found, l->found_count, l->error != 0);
        }
    }
    lookup_free(l);
}

static void bootstrap_lookup(struct bootstrap *b)
{
    struct lookup *l = calloc(1, sizeof *l);
    size_t bytes = b->config.target_count * sizeof *l->targets;
    if (!l || !(l->targets = malloc(bytes ? bytes : 1))) {
        free(l);
        bootstrap_again(b, true);
        return;
    }
    if (bytes) {
        memcpy(l->targets, b->targets, bytes);
    }
    l->target_count = b->config.target_count;
    l->bootstrap = b;
    l->work = (struct work){.run = lookup_run, .done = lookup_done};
    if (work_start(b->loop, &l->work) < 0) {
        lookup_free(l);
        bootstrap_again(b, true);
        return;
    }
    b->lookup = l;
}

/* --- HTTP: GET /id of another node --- */

/* The nodes of another label never hear us: without a word that looks like a dead network. */
static void bootstrap_check_label(struct bootstrap *b, const cJSON *label)
{
    if (cJSON_IsString(label) && strcmp(label->valuestring, b->config.label) != 0 &&
        !b->warned_label) {
        log_warn("the bootstrap peer is of another cluster: --cluster-label must be the same",
                 LOG_STR("theirs", label->valuestring), LOG_STR("ours", b->config.label));
        b->warned_label = true;
    }
}

/* The number of addresses, or -1: not what /id answers. */
static int bootstrap_parse_id(struct bootstrap *b, const struct buf *body,
                              union address *ret_addresses, int max)
{
    int count = 0;
    cJSON *root = cJSON_ParseWithLength(body->data ? body->data : "", body->len);
    const cJSON *addrs = cJSON_GetObjectItemCaseSensitive(root, "addrs"), *item;
    if (!cJSON_IsArray(addrs)) {
        cJSON_Delete(root);
        return -1;
    }
    cJSON_ArrayForEach(item, addrs)
    {
        if (count < max && cJSON_IsString(item) &&
            address_parse(item->valuestring, &ret_addresses[count]) == 0) {
            count++;
        }
    }
    bootstrap_check_label(b, cJSON_GetObjectItemCaseSensitive(root, "label"));
    cJSON_Delete(root);
    return count;
}

static void bootstrap_answered(struct bootstrap *b, const struct fetch *fetch)
{
    union address addresses[ID_ADDRESSES];
    char status[64];
    int count = -1;
    if (fetch->peer.sa.sa_family && b->config.reached) {
        b->config.reached(b->config.arg, &fetch->peer);
    }
    if (fetch->error == 0 && fetch->status == 200) {
        count = bootstrap_parse_id(b, &fetch->body, addresses, ID_ADDRESSES);
    }
    if (count >= 0) {
        bootstrap_worked(b, addresses, (size_t)count, false);
        return;
    }
    (void)snprintf(status, sizeof status, fetch->status == 200 ? "no address list" : "status %d",
                   fetch->status);
    bootstrap_failed(b, b->url, fetch->error ? fetch->reason.text : status);
}

static void bootstrap_fetched(struct fetch *fetch, void *arg)
{
    struct bootstrap *b = arg;
    b->fetching = false;
    if (b->freed) {
        fetch_done(fetch);
        free(b);
        return;
    }
    bootstrap_answered(b, fetch);
    fetch_done(fetch);
}

static void bootstrap_round(void *arg)
{
    struct bootstrap *b = arg;
    b->counters.lookups++;
    if (!b->url) {
        bootstrap_lookup(b);
        return;
    }
    struct fetch_options options = {.url = b->url,
                                    .body_max_bytes = BODY_BYTES,
                                    .timeout_ms = FETCH_TIMEOUT_MS,
                                    .proxy_env = true,
                                    .ca_dir = b->ca_dir};
    b->fetch = (struct fetch){0};
    int r = fetch_start(b->fetcher, &b->fetch, &options, bootstrap_fetched, b);
    if (r < 0) {
        bootstrap_failed(b, b->url, *b->fetch.reason.text ? b->fetch.reason.text : strerror(-r));
    } else {
        b->fetching = true;
    }
}

/* --- life --- */

int bootstrap_new(struct loop *loop, struct fetcher *fetcher, const struct bootstrap_config *config,
                  struct bootstrap **ret_bootstrap)
{
    struct bootstrap *b = calloc(1, sizeof *b);
    if (!b) {
        return -ENOMEM;
    }
    b->loop = loop;
    b->fetcher = fetcher;
    b->config = *config;
    b->period_ms = PERIOD_STARTING_MS / 2;
    b->targets = calloc(config->target_count + 1, sizeof *b->targets);
    b->url = config->url ? strdup(config->url) : NULL;
    b->ca_dir = config->ca_dir ? strdup(config->ca_dir) : NULL;
    timer_init(&b->timer, loop, bootstrap_round, b);
    if (!b->targets || (config->url && !b->url) || (config->ca_dir && !b->ca_dir) ||
        timer_start(&b->timer, 0) < 0) {
        bootstrap_free(b);
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->target_count; i++) {
        (void)snprintf(b->targets[i].host, sizeof b->targets[i].host, "%s",
                       config->targets[i].host);
        b->targets[i].port = config->targets[i].port;
    }
    *ret_bootstrap = b;
    return 0;
}

void bootstrap_free(struct bootstrap *b)
{
    if (!b) {
        return;
    }
    timer_stop(&b->timer);
    if (b->lookup) {
        b->lookup->bootstrap = NULL;
        work_cancel(&b->lookup->work);
    }
    free(b->targets);
    free(b->url);
    free(b->ca_dir);
    b->url = b->ca_dir = NULL;
    if (b->fetching) { /* freed by its callback */
        b->freed = true;
        fetch_cancel(&b->fetch);
    } else {
        free(b);
    }
}

void bootstrap_set_ready(struct bootstrap *b)
{
    b->ready = true;
}

const struct bootstrap_counters *bootstrap_counters(const struct bootstrap *b)
{
    return &b->counters;
}
