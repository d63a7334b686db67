/* What a node says about itself in JSON: GET /id for those who join, GET /debug/cluster for those
 * who wonder. */
#include "cluster/cluster.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "oci/json.h"

/* Whatever a writer returns, kept if it is the first failure. */
static void keep(int *r, int result)
{
    *r = *r < 0 ? *r : result;
}

static int write_addrs(struct buf *out, const struct gossip_addr addrs[2], uint16_t port)
{
    int r = buf_puts(out, "[");
    for (size_t i = 0; i < 2 && addrs[i].family; i++) {
        struct gossip_addr addr = addrs[i];
        char text[GOSSIP_ADDR_TEXT_BYTES];
        addr.port = port;
        keep(&r, buf_printf(out, "%s\"%s\"", i ? "," : "", gossip_addr_format(&addr, text)));
    }
    return r < 0 ? r : buf_puts(out, "]");
}

int cluster_id_json(const struct cluster *c, struct buf *body)
{
    const struct gossip_self *self = cluster_self(c);
    if (!self->addrs[0].family) {
        return -EAGAIN;
    }
    int r = buf_printf(body, "{\"id\":\"%s\",\"addrs\":", cluster_id_text(c));
    keep(&r, write_addrs(body, self->addrs, self->gossip_port));
    keep(&r, buf_printf(body, ",\"registry_port\":%u,\"label\":", self->registry_port));
    keep(&r, json_write_string(body, cluster_label(c)));
    keep(&r, buf_puts(body, "}\n"));
    return r < 0 ? -ENOMEM : 0;
}

/* --- /debug/cluster --- */

static const char *text_of(bool value)
{
    return value ? "true" : "false";
}

static int write_self(const struct cluster *c, struct buf *out)
{
    const struct gossip_self *self = cluster_self(c);
    struct gossip_identity identity = gossip_identity(cluster_core(c));
    int r = buf_printf(out, "{\"id\":\"%s\",\"boot_ms\":%llu,\"label\":", cluster_id_text(c),
                       (unsigned long long)identity.boot_ms);
    keep(&r, json_write_string(out, cluster_label(c)));
    keep(&r, buf_puts(out, ",\"zone\":"));
    keep(&r, json_write_string(out, self->zone));
    keep(&r, buf_puts(out, ",\"addrs\":"));
    keep(&r, write_addrs(out, self->addrs, self->gossip_port));
    keep(&r, buf_printf(out, ",\"registry_port\":%u,\"ready\":%s,\"settled\":%s",
                        self->registry_port, text_of(gossip_is_ready(cluster_core(c))),
                        text_of(gossip_is_settled(cluster_core(c)))));
    return r;
}

static int write_keys(const struct cluster *c, struct buf *out)
{
    const struct key_file *file = cluster_keys(c);
    if (!file) {
        return buf_puts(out, ",\"keys\":{\"from\":\"label\"}");
    }
    const struct key_ring *ring = key_file_ring(file);
    int r = buf_puts(out, ",\"keys\":{\"from\":\"file\",\"accepts\":[");
    char text[KEY_FINGERPRINT_BYTES];
    for (size_t i = 0; i < ring->count; i++) {
        key_ring_fingerprint(ring->keys[i], text);
        keep(&r, buf_printf(out, "%s\"%s\"", i ? "," : "", text));
    }
    key_ring_fingerprint(ring->keys[0], text);
    keep(&r, buf_printf(out, "],\"sends\":\"%s\",\"failures\":%llu}", text,
                        (unsigned long long)key_file_counters(file)->failures));
    return r;
}

static int write_figures(const struct cluster *c, struct buf *out)
{
    struct gossip_stats s;
    gossip_stats(cluster_core(c), &s);
    return buf_printf(out,
                      ",\"counts\":{\"alive\":%u,\"suspect\":%u,\"dead\":%u}"
                      ",\"index\":{\"keys\":%u,\"bytes\":%llu},\"core_bytes\":%llu"
                      ",\"queues\":{\"rumours\":%u,\"fetches_open\":%u,\"behind\":%u}"
                      ",\"lifeguard_score\":%u",
                      s.alive, s.suspect, s.dead, s.index_keys, (unsigned long long)s.index_bytes,
                      (unsigned long long)s.core_bytes, s.rumours, s.fetches_open, s.behind,
                      s.lifeguard_score);
}

static int write_member(const struct gossip_member_view *m, struct buf *out)
{
    static const char *const states[] = {[GOSSIP_ALIVE] = "alive",
                                         [GOSSIP_SUSPECT] = "suspect",
                                         [GOSSIP_DEAD] = "dead",
                                         [GOSSIP_LEFT] = "left"};
    char id[GOSSIP_ID_TEXT_BYTES];
    int r = buf_printf(out,
                       "{\"id\":\"%s\",\"state\":\"%s\",\"selectable\":%s,\"incarnation\":%u"
                       ",\"boot_ms\":%llu,\"addrs\":",
                       gossip_id_format(m->id, id), states[m->state], text_of(m->selectable),
                       m->incarnation, (unsigned long long)m->boot_ms);
    /* The port of an address is where it was announced; both families have the same. */
    keep(&r, write_addrs(out, m->addrs, m->addrs[0].port));
    keep(&r, buf_printf(out, ",\"registry_port\":%u,\"zone\":", m->registry_port));
    keep(&r, json_write_string(out, m->zone));
    keep(&r, buf_printf(out, ",\"keys\":%u,\"version\":%u,\"load\":%u,\"heard_ms_ago\":", m->keys,
                        m->version, m->load));
    keep(&r, m->heard_ms_ago == UINT64_MAX
                 ? buf_puts(out, "null")
                 : buf_printf(out, "%llu", (unsigned long long)m->heard_ms_ago));
    return r < 0 ? r : buf_puts(out, "}");
}

struct place {
    uint64_t id;
    size_t cursor; /* to gossip_members */
};

static int compare_places(const void *a, const void *b)
{
    uint64_t x = ((const struct place *)a)->id, y = ((const struct place *)b)->id;
    return x < y ? -1 : x > y;
}

/* Where the members with an id above `after` are, by id. */
static size_t find_places(const struct gossip *core, uint64_t after, struct place *ret_places)
{
    struct gossip_member_view m;
    size_t count = 0;
    for (size_t cursor = 0, before = 0; gossip_members(core, &cursor, &m); before = cursor) {
        if (m.id > after && count < LIMIT_GOSSIP_MEMBERS) {
            ret_places[count++] = (struct place){m.id, before};
        }
    }
    qsort(ret_places, count, sizeof *ret_places, compare_places);
    return count;
}

int cluster_debug_json(const struct cluster *c, uint64_t after, size_t max, struct buf *body)
{
    struct place *places = malloc(LIMIT_GOSSIP_MEMBERS * sizeof *places);
    if (!places) {
        return -ENOMEM;
    }
    size_t found = find_places(cluster_core(c), after, places);
    max = max < LIMIT_CLUSTER_PAGE ? max : LIMIT_CLUSTER_PAGE;
    size_t count = found < max ? found : max;
    int r = write_self(c, body);
    keep(&r, write_keys(c, body));
    keep(&r, write_figures(c, body));
    keep(&r, buf_puts(body, ",\"members\":["));
    for (size_t i = 0; i < count && r == 0; i++) {
        struct gossip_member_view m;
        size_t cursor = places[i].cursor;
        keep(&r, i ? buf_puts(body, ",\n") : 0);
        keep(&r, gossip_members(cluster_core(c), &cursor, &m) ? write_member(&m, body) : 0);
    }
    keep(&r, buf_puts(body, "],\"next\":"));
    if (count > 0 && count < found) {
        char id[GOSSIP_ID_TEXT_BYTES];
        keep(&r, buf_printf(body, "\"%s\"", gossip_id_format(places[count - 1].id, id)));
    } else {
        keep(&r, buf_puts(body, "null"));
    }
    keep(&r, buf_puts(body, "}\n"));
    free(places);
    return r;
}
