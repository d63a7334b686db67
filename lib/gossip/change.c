#include "gossip/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gossip_changes_init(struct gossip_changes *c)
{
    *c = (struct gossip_changes){0};
    map_init(&c->by_name);
    list_init(&c->ages);
    for (size_t i = 0; i < GOSSIP_TRANSMISSIONS; i++) {
        list_init(&c->unsent[i]);
    }
}

static size_t change_bytes(size_t count)
{
    return sizeof(struct gossip_change) + count * sizeof(struct gossip_op);
}

static void told(struct gossip_changes *c, struct gossip_change *change)
{
    if (!list_empty(&change->rumour)) {
        list_remove(&change->rumour);
        c->rumours--;
    }
}

static void drop(struct gossip_changes *c, struct gossip_change *change)
{
    told(c, change);
    list_remove(&change->age);
    map_remove(&c->by_name, &change->node);
    c->bytes -= change_bytes(change->count);
    free(change);
}

void gossip_changes_done(struct gossip_changes *c)
{
    LIST_EACH_SAFE (link, &c->ages) {
        drop(c, CONTAINER_OF(link, struct gossip_change, age));
    }
    map_done(&c->by_name);
}

int gossip_changes_add(struct gossip_changes *c, uint64_t owner, uint64_t boot, uint32_t version,
                       uint64_t hash, const struct gossip_op *ops, size_t count, bool relay,
                       bool own)
{
    struct gossip_change *change = calloc(1, change_bytes(count));
    if (!change) {
        return -ENOMEM;
    }
    change->name.owner = owner;
    change->name.boot = boot;
    change->name.version = version;
    change->hash = hash;
    change->count = (uint16_t)count;
    memcpy(change->ops, ops, count * sizeof(*ops));
    list_init(&change->age);
    list_init(&change->rumour);
    int error = map_insert(&c->by_name, &change->node, &change->name, sizeof(change->name));
    if (error) {
        free(change);
        return error;
    }
    list_push_back(&c->ages, &change->age);
    c->bytes += change_bytes(count);
    if (relay) {
        (own ? list_push_front : list_push_back)(&c->unsent[0], &change->rumour);
        c->rumours++;
    }
    while (c->bytes > LIMIT_GOSSIP_LOG_BYTES || c->by_name.count > LIMIT_GOSSIP_LOG_RECORDS) {
        drop(c, CONTAINER_OF(c->ages.next, struct gossip_change, age));
    }
    return 0;
}

const struct gossip_change *gossip_changes_get(const struct gossip_changes *c, uint64_t owner,
                                               uint64_t boot, uint32_t version)
{
    struct gossip_change probe = {.name = {.owner = owner, .boot = boot, .version = version}};
    struct map_node *node = map_get(&c->by_name, &probe.name, sizeof(probe.name));
    return node ? CONTAINER_OF(node, struct gossip_change, node) : NULL;
}

void gossip_changes_pass_on(struct gossip_changes *c, const struct gossip_change *change)
{
    struct gossip_change *own = (struct gossip_change *)change;
    if (list_empty(&own->rumour) && own->sent == 0) {
        list_push_back(&c->unsent[0], &own->rumour);
        c->rumours++;
    }
}

void gossip_changes_forget(struct gossip_changes *c, uint64_t owner)
{
    LIST_EACH_SAFE (link, &c->ages) {
        struct gossip_change *change = CONTAINER_OF(link, struct gossip_change, age);
        if (change->name.owner == owner) {
            drop(c, change);
        }
    }
}

/* Small gaps at the end of a packet are not worth a search through the whole queue. */
#define MISFITS_MAX 8

size_t gossip_changes_write(struct gossip_changes *c, struct gossip_writer *w,
                            struct gossip_dictionary *dictionary, unsigned copies)
{
    size_t written = 0, misfits = 0;
    /* What is written moves to a list of its own first: moved up at once it would be met again. */
    struct list done;
    list_init(&done);
    for (size_t sent = 0; sent < GOSSIP_TRANSMISSIONS && misfits < MISFITS_MAX; sent++) {
        LIST_EACH_SAFE (link, &c->unsent[sent]) {
            struct gossip_change *change = CONTAINER_OF(link, struct gossip_change, rumour);
            if (misfits >= MISFITS_MAX) {
                break;
            }
            if (!gossip_ops_write(w, dictionary, change->name.owner, (uint32_t)change->name.boot,
                                  change->name.version, change->hash, change->ops, change->count)) {
                misfits++;
                continue;
            }
            list_remove(link);
            list_push_back(&done, link);
            written++;
        }
    }
    LIST_EACH_SAFE (link, &done) {
        struct gossip_change *change = CONTAINER_OF(link, struct gossip_change, rumour);
        change->sent = (uint8_t)(change->sent + copies);
        if (change->sent >= GOSSIP_TRANSMISSIONS) {
            told(c, change);
        } else {
            list_remove(link);
            list_push_back(&c->unsent[change->sent], link);
        }
    }
    return written;
}
