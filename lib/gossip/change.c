#include "gossip/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gossip_changes_init(struct gossip_changes *c)
{
    *c = (struct gossip_changes){0};
    map_init(&c->by_name);
    list_init(&c->ages);
    c->transmissions = GOSSIP_TRANSMISSIONS;
    for (size_t i = 0; i < GOSSIP_TRANSMISSIONS_MAX; i++) {
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

/* In a rollout the log may be as long as the queue: what has been told is what others then ask for,
 * since much of it is lost. */
static void make_room(struct gossip_changes *c)
{
    bool calm = c->rumours < LIMIT_GOSSIP_LOG_RECORDS / 4;
    size_t bytes = calm ? LIMIT_GOSSIP_LOG_BYTES : LIMIT_GOSSIP_RUMOUR_BYTES;
    size_t records = calm ? LIMIT_GOSSIP_LOG_RECORDS : LIMIT_GOSSIP_RUMOURS;
    while (c->bytes > bytes || c->by_name.count > records) {
        drop(c, CONTAINER_OF(c->ages.next, struct gossip_change, age));
    }
}

int gossip_changes_add(struct gossip_changes *c, uint64_t owner, uint64_t boot, uint32_t version,
                       const struct gossip_op *ops, size_t count)
{
    struct gossip_change *change = calloc(1, change_bytes(count));
    if (!change) {
        return -ENOMEM;
    }
    change->name.owner = owner;
    change->name.boot_low = (uint32_t)boot;
    change->name.version = version;
    change->count = (uint16_t)count;
    if (count) {
        memcpy(change->ops, ops, count * sizeof(*ops));
    }
    list_init(&change->age);
    list_init(&change->rumour);
    int error = map_insert(&c->by_name, &change->node, &change->name, sizeof(change->name));
    if (error) {
        free(change);
        return error;
    }
    list_push_back(&c->ages, &change->age);
    c->bytes += change_bytes(count);
    make_room(c);
    return 0;
}

struct gossip_change *gossip_changes_get(const struct gossip_changes *c, uint64_t owner,
                                         uint64_t boot, uint32_t version)
{
    struct gossip_change probe = {
        .name = {.owner = owner, .boot_low = (uint32_t)boot, .version = version}};
    struct map_node *node = map_get(&c->by_name, &probe.name, sizeof(probe.name));
    return node ? CONTAINER_OF(node, struct gossip_change, node) : NULL;
}

void gossip_changes_pass_on(struct gossip_changes *c, struct gossip_change *change, uint32_t check,
                            bool own)
{
    change->check = check;
    change->has_check = true;
    if (list_empty(&change->rumour) && change->sent == 0) {
        (own ? list_push_front : list_push_back)(&c->unsent[0], &change->rumour);
        c->rumours++;
    }
}

/* It was in `unsent` and is in no list, or still in its old one. */
static void count_sent(struct gossip_changes *c, struct gossip_change *change, unsigned copies)
{
    unsigned sent = change->sent + copies;
    if (sent >= c->transmissions) {
        change->sent = GOSSIP_TRANSMISSIONS_MAX;
        told(c, change);
        return;
    }
    change->sent = (uint8_t)sent;
    list_remove(&change->rumour);
    list_push_back(&c->unsent[sent], &change->rumour);
}

void gossip_changes_heard(struct gossip_changes *c, struct gossip_change *change)
{
    if (!list_empty(&change->rumour)) {
        count_sent(c, change, 1);
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

/* The message of these versions, all of which are kept; the last one's hash is known. */
static void begin_ops(struct gossip_ops *ops, const struct gossip_change *first)
{
    ops->owner = first->name.owner;
    ops->boot_low = (uint16_t)first->name.boot_low;
    ops->first = first->name.version;
    ops->versions = ops->count = 0;
}

static struct gossip_change *neighbour(const struct gossip_changes *c,
                                       const struct gossip_change *change, int step)
{
    return gossip_changes_get(c, change->name.owner, change->name.boot_low,
                              change->name.version + (uint32_t)step);
}

static bool is_rumour(const struct gossip_change *change)
{
    return change && !list_empty(&change->rumour);
}

/* The change with those around it that are to be told as well. Moves them to `done`. Returns how
 * many; 0: they do not fit. */
static size_t write_around(struct gossip_changes *c, struct gossip_writer *w,
                           struct gossip_dictionary *dictionary, struct gossip_change *change,
                           struct list *done)
{
    struct gossip_ops ops;
    struct gossip_change *first = change, *next = change, *before;
    size_t room = LIMIT_GOSSIP_OPS - change->count;
    while (is_rumour(before = neighbour(c, first, -1)) && before->count <= room) {
        room -= before->count;
        first = before;
    }
    begin_ops(&ops, first);
    for (next = first; is_rumour(next) && gossip_ops_append(&ops, next->ops, next->count);) {
        ops.check = next->check;
        next = neighbour(c, next, 1);
    }
    if (!gossip_ops_write(w, dictionary, &ops)) {
        return 0;
    }
    for (size_t i = 0; i < ops.versions; i++) {
        next = neighbour(c, first, 1);
        list_remove(&first->rumour);
        list_push_back(done, &first->rumour);
        first = next;
    }
    return ops.versions;
}

/* Small gaps at the end of a packet are not worth a search through the whole queue. */
#define MISFITS_MAX 8

size_t gossip_changes_write(struct gossip_changes *c, struct gossip_writer *w,
                            struct gossip_dictionary *dictionary, unsigned copies)
{
    size_t written = 0, misfit_count = 0;
    /* What is written moves to a list of its own first: moved up at once it would be met again. */
    struct list done, misfits;
    list_init(&done);
    for (size_t sent = 0; sent < GOSSIP_TRANSMISSIONS_MAX && misfit_count < MISFITS_MAX; sent++) {
        list_init(&misfits);
        while (!list_empty(&c->unsent[sent]) && misfit_count < MISFITS_MAX) {
            struct list *link = c->unsent[sent].next;
            size_t wrote = write_around(c, w, dictionary,
                                        CONTAINER_OF(link, struct gossip_change, rumour), &done);
            written += wrote;
            if (wrote == 0) {
                misfit_count++;
                list_remove(link);
                list_push_front(&misfits, link);
            }
        }
        LIST_EACH_SAFE (link, &misfits) {
            list_remove(link);
            list_push_front(&c->unsent[sent], link);
        }
    }
    LIST_EACH_SAFE (link, &done) {
        count_sent(c, CONTAINER_OF(link, struct gossip_change, rumour), copies);
    }
    return written;
}

uint32_t gossip_changes_write_range(const struct gossip_changes *c, struct gossip_writer *w,
                                    struct gossip_dictionary *dictionary, uint64_t owner,
                                    uint64_t boot, uint32_t from, uint32_t to)
{
    struct gossip_ops ops;
    uint32_t last = 0;
    for (const struct gossip_change *next = gossip_changes_get(c, owner, boot, from);
         next && next->has_check && next->name.version <= to; next = neighbour(c, next, 1)) {
        if (last == 0) {
            begin_ops(&ops, next);
        }
        if (!gossip_ops_append(&ops, next->ops, next->count)) {
            break;
        }
        ops.check = next->check;
        last = next->name.version;
    }
    return last && gossip_ops_write(w, dictionary, &ops) ? last : 0;
}
