/* size: one object: what the core wants done, what comes in, its life, what it is asked. */
#include "cluster/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "cluster/answers.h"
#include "cluster/bulk.h"
#include "cluster/convert.h"
#include "cluster/holding.h"
#include "cluster/identity.h"
#include "cluster/key_file.h"
#include "cluster/note.h"
#include "cluster/self.h"
#include "cluster/served.h"

struct cluster {
    struct loop *loop;
    struct cluster_config config;
    char *label, *data_dir;
    char id_text[GOSSIP_ID_TEXT_BYTES];
    struct key_file *keys; /* NULL: the label's */
    struct gossip *core;
    struct gossip_effects effects;
    struct gossip_self self;
    struct udp *udp;
    struct bootstrap *bootstrap;
    struct timer timer;
    struct bulk bulk;
    struct holding holding;
    struct answers answers;
    struct served served;
    bool warned_lost, peers_failed;
};

static void cluster_step(struct cluster *c, struct gossip_event *event);

/* --- carrying out effects --- */

static void cluster_send(struct cluster *c, const struct gossip_send *send)
{
    union address to;
    if (convert_to_address(&send->to, &to) == 0) {
        (void)udp_send(c->udp, &to.sa, send->bytes, send->len);
    }
}

static void cluster_fetched(void *arg, uint32_t id, int status, struct buf *body)
{
    struct gossip_event event = {.kind = GOSSIP_FETCHED, .fetched = {.id = id, .status = status}};
    if (status == 0) {
        event.fetched.bytes = (const uint8_t *)(body->data ? body->data : "");
        event.fetched.len = body->len;
        event.fetched.owner = body;
    }
    cluster_step(arg, &event);
}

static void cluster_note(struct cluster *c, const struct gossip_note *note)
{
    note_log(note);
    if (note->kind == GOSSIP_NOTE_READY && c->bootstrap) {
        bootstrap_set_ready(c->bootstrap);
    } else if (note->kind == GOSSIP_NOTE_UP) {
        c->config.member_up(c->config.arg, note->id);
    }
}

static int cluster_persist(struct cluster *c, struct error *err)
{
    struct gossip_identity now = gossip_identity(c->core);
    struct identity identity = {.id = now.id, .boot_ms = now.boot_ms};
    (void)gossip_id_format(now.id, c->id_text);
    return identity_save(c->data_dir, c->label, c->config.node_name, &identity, err);
}

static void cluster_step(struct cluster *c, struct gossip_event *event)
{
    event->now_ms = loop_now_ms(c->loop) + 1;
    event->wall_ms = clock_wall_ms();
    gossip_step(c->core, event, &c->effects);
    uint32_t failed[LIMIT_GOSSIP_FETCHES];
    size_t failed_count = 0;
    for (size_t i = 0; i < c->effects.send_count; i++) {
        cluster_send(c, &c->effects.sends[i]);
    }
    for (size_t i = 0; i < c->effects.fetch_count; i++) {
        if (bulk_start(&c->bulk, &c->effects.fetches[i], c->config.authorization(c->config.arg)) <
                0 &&
            failed_count < LIMIT_GOSSIP_FETCHES) {
            failed[failed_count++] = c->effects.fetches[i].id;
        }
    }
    if (c->effects.answer_count > 0) {
        answers_add(&c->answers, c->effects.answers, c->effects.answer_count);
    }
    for (size_t i = 0; i < c->effects.note_count; i++) {
        cluster_note(c, &c->effects.notes[i]);
    }
    if (c->effects.persist) {
        struct error err;
        if (cluster_persist(c, &err) < 0) {
            log_warn("the node's identity could not be kept", LOG_STR("err", err.text));
        }
    }
    served_look(&c->served);
    uint64_t wake_at_ms = c->effects.wake_at_ms;
    (void)timer_start(&c->timer, wake_at_ms > event->now_ms ? wake_at_ms - event->now_ms : 0);
    /* A fetch that could not even start is told last: telling steps again and reuses the effects.
     */
    for (size_t i = 0; i < failed_count; i++) {
        cluster_fetched(c, failed[i], -EIO, NULL);
    }
}

static void cluster_tick(void *arg)
{
    cluster_step(arg, &(struct gossip_event){.kind = GOSSIP_TICK});
}

/* --- what comes in --- */

static void cluster_receive(void *arg, const struct sockaddr *from, const uint8_t *bytes, size_t n)
{
    struct gossip_event event = {.kind = GOSSIP_PACKET, .packet = {.bytes = bytes, .len = n}};
    if (convert_from_sockaddr(from, &event.packet.from) == 0) {
        cluster_step(arg, &event);
    }
}

static void cluster_update_self(struct cluster *c, const union address *found, size_t count)
{
    struct self_config config = {.advertise = c->config.advertise,
                                 .advertise_count = c->config.advertise_count,
                                 .router_host = c->config.router_host,
                                 .pod_ips = c->config.pod_ips};
    struct gossip_self self = c->self;
    memset(self.addrs, 0, sizeof self.addrs);
    if (self_addresses(&config, c->self.addrs, found, count, self.addrs) == 0 ||
        !memcmp(self.addrs, c->self.addrs, sizeof self.addrs)) {
        return;
    }
    c->self = self;
    for (size_t i = 0; i < 2 && self.addrs[i].family; i++) {
        struct gossip_addr addr = self.addrs[i];
        char text[GOSSIP_ADDR_TEXT_BYTES];
        addr.port = self.gossip_port;
        log_info("own address", LOG_STR("addr", gossip_addr_format(&addr, text)));
    }
    cluster_step(c, &(struct gossip_event){.kind = GOSSIP_SELF, .self = self});
}

static void cluster_reached(void *arg, const union address *host)
{
    cluster_update_self(arg, host, 1);
}

void cluster_met(struct cluster *c, const struct sockaddr *client)
{
    union address host = {0};
    if (!c->self.addrs[0].family || gossip_addr_is_loopback(&c->self.addrs[0])) {
        memcpy(&host, client, address_length(client));
        cluster_update_self(c, &host, 1);
    }
}

static void cluster_found(void *arg, const union address *addresses, size_t count)
{
    struct cluster *c = arg;
    cluster_update_self(c, addresses, count);
    struct gossip_addr *seeds = calloc(count + 1, sizeof *seeds);
    if (!seeds) {
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += convert_from_sockaddr(&addresses[i].sa, &seeds[n]) == 0;
    }
    cluster_step(
        c, &(struct gossip_event){.kind = GOSSIP_SEEDS, .seeds = {.addrs = seeds, .count = n}});
    free(seeds);
}

/* --- what this node holds --- */

static void cluster_tell_holding(void *arg, bool added, const uint64_t *keys, size_t count)
{
    cluster_step(arg, &(struct gossip_event){.kind = added ? GOSSIP_LOCAL_ADD : GOSSIP_LOCAL_DEL,
                                             .keys = {.keys = keys, .count = count}});
}

static void cluster_change(struct cluster *c, uint64_t key, bool added)
{
    int r = holding_change(&c->holding, key, added);
    if (r < 0 && !c->warned_lost) {
        log_warn("what this node holds is not announced in full", LOG_STR("err", strerror(-r)));
        c->warned_lost = true;
    }
}

void cluster_add(struct cluster *c, uint64_t key)
{
    cluster_change(c, key, true);
}

void cluster_remove(struct cluster *c, uint64_t key)
{
    cluster_change(c, key, false);
}

void cluster_set_listed(struct cluster *c)
{
    holding_set_listed(&c->holding);
}

/* --- life --- */

static int cluster_change_keys(void *arg, const struct key_ring *ring)
{
    struct cluster *c = arg;
    return gossip_set_keys(c->core, c->label, ring->keys, ring->count);
}

static int cluster_make_core(struct cluster *c, struct error *err)
{
    struct identity identity;
    uint64_t wall_ms = clock_wall_ms();
    int r = identity_load(c->data_dir, c->label, c->config.node_name, wall_ms, &identity);
    if (r < 0) {
        return error_set(err, r, "no randomness for a node id");
    }
    struct gossip_config config = {.label = c->label,
                                   .id = identity.id,
                                   .boot_ms = identity.boot_ms,
                                   .now_ms = loop_now_ms(c->loop) + 1,
                                   .wall_ms = wall_ms};
    if (getrandom(config.seed, sizeof config.seed, 0) != (ssize_t)sizeof config.seed) {
        return error_set(err, -EIO, "no randomness for gossip");
    }
    c->self.gossip_port = udp_port(c->udp);
    c->self.registry_port = c->config.registry_port;
    (void)snprintf(c->self.zone, sizeof c->self.zone, "%s", c->config.zone ? c->config.zone : "");
    config.self = c->self;
    if (c->config.key_file) {
        r = key_file_new(c->loop, c->config.key_file, cluster_change_keys, c, &c->keys, err);
        if (r < 0) {
            return error_wrap(err, r, "--gossip-key-file");
        }
        config.keys = key_file_ring(c->keys)->keys;
        config.key_count = key_file_ring(c->keys)->count;
    }
    r = gossip_new(&config, &c->core);
    if (r < 0) {
        return error_set(err, r, "gossip: %s", strerror(-r));
    }
    r = cluster_persist(c, err);
    return r < 0 ? error_wrap(err, r, "--data-dir") : 0;
}

int cluster_new(struct loop *loop, struct fetcher *fetcher, const struct cluster_config *config,
                struct cluster **ret_cluster, struct error *err)
{
    struct cluster *c = calloc(1, sizeof *c);
    if (!c) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    c->loop = loop;
    c->config = *config;
    gossip_effects_init(&c->effects);
    timer_init(&c->timer, loop, cluster_tick, c);
    bulk_init(&c->bulk, fetcher, cluster_fetched, c);
    answers_init(&c->answers, loop, config->answered, config->arg);
    served_init(&c->served, loop);
    holding_init(&c->holding, loop, cluster_tell_holding, c);
    c->label = strdup(config->label);
    c->data_dir = config->data_dir ? strdup(config->data_dir) : NULL;
    int r = !c->label || (config->data_dir && !c->data_dir)
                ? error_set(err, -ENOMEM, "out of memory")
                : udp_new(loop, config->router_addr, cluster_receive, c, &c->udp, err);
    r = r < 0 ? error_wrap(err, r, "--router-addr") : cluster_make_core(c, err);
    struct bootstrap_config bootstrap = config->bootstrap;
    bootstrap.label = c->label;
    bootstrap.found = cluster_found;
    bootstrap.reached = cluster_reached;
    bootstrap.arg = c;
    if (r == 0) {
        r = bootstrap_new(loop, fetcher, &bootstrap, &c->bootstrap);
        if (r < 0) {
            (void)error_set(err, r, "bootstrap: %s", strerror(-r));
        }
    }
    if (r < 0) {
        cluster_free(c);
        return r;
    }
    cluster_update_self(c, NULL, 0);
    cluster_tick(c);
    *ret_cluster = c;
    return 0;
}

void cluster_free(struct cluster *c)
{
    if (!c) {
        return;
    }
    bootstrap_free(c->bootstrap);
    bulk_done(&c->bulk);
    holding_done(&c->holding);
    answers_done(&c->answers);
    served_done(&c->served);
    timer_stop(&c->timer);
    udp_free(c->udp);
    key_file_free(c->keys);
    gossip_free(c->core);
    gossip_effects_done(&c->effects);
    free(c->label);
    free(c->data_dir);
    free(c);
}

/* --- asked --- */

bool cluster_is_ready(const struct cluster *c)
{
    return gossip_is_ready(c->core);
}

struct gossip *cluster_core(const struct cluster *c)
{
    return c->core;
}

const struct key_file *cluster_keys(const struct cluster *c)
{
    return c->keys;
}

const char *cluster_label(const struct cluster *c)
{
    return c->label;
}

const struct gossip_self *cluster_self(const struct cluster *c)
{
    return &c->self;
}

const char *cluster_id_text(const struct cluster *c)
{
    return c->id_text;
}

int cluster_serve(struct cluster *c, const char *path, const char *auth, struct conn *conn)
{
    int r = served_begin(&c->served, c->core, path, auth, conn);
    if (r == 0) {
        cluster_tick(c); /* the asker may have told news of itself */
    }
    return r;
}

void cluster_gone(struct cluster *c, struct conn *conn)
{
    served_gone(&c->served, conn);
}

void cluster_peer_failed(struct cluster *c, uint64_t id)
{
    c->peers_failed = true;
    cluster_step(c, &(struct gossip_event){.kind = GOSSIP_PEER_FAILED, .peer = id});
}

void cluster_peer_answered(struct cluster *c, uint64_t id)
{
    if (c->peers_failed) { /* else nobody is backed off from */
        cluster_step(c, &(struct gossip_event){.kind = GOSSIP_PEER_OK, .peer = id});
    }
}

void cluster_tell(struct cluster *c, struct gossip_event *event)
{
    cluster_step(c, event);
}

void cluster_set_load(struct cluster *c, uint8_t load)
{
    cluster_step(c, &(struct gossip_event){.kind = GOSSIP_LOAD, .load = load});
}

const struct bootstrap_counters *cluster_bootstrap_counters(const struct cluster *c)
{
    return bootstrap_counters(c->bootstrap);
}

const struct udp_counters *cluster_udp_counters(const struct cluster *c)
{
    return udp_counters(c->udp);
}

void cluster_leave(struct cluster *c)
{
    cluster_step(c, &(struct gossip_event){.kind = GOSSIP_LEAVE});
}
