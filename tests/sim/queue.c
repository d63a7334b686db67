#include "sim.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct sim_entry {
    uint64_t at_us, sequence;
    struct sim_item *item;
};

/* Items come and go with every event, so used ones are kept, in two sizes: those without a packet
 * or with a small one, as nearly all are, and those with one of any size. */
static const size_t rooms[] = {192, LIMIT_GOSSIP_PACKET_BYTES};
static struct sim_item *spare[2];

struct sim_item *sim_item_new(enum sim_item_kind kind, size_t node, const void *packet, size_t n)
{
    unsigned size = n > rooms[0];
    struct sim_item *item = spare[size];
    CHECK(n <= rooms[1]);
    if (item) {
        spare[size] = item->next;
    } else {
        item = malloc(sizeof(*item) + rooms[size]);
        CHECK(item);
    }
    *item = (struct sim_item){.kind = kind, .size = size, .node = (uint32_t)node};
    if (n > 0) {
        memcpy(item->packet, packet, n);
        item->bytes = item->packet;
        item->len = n;
    }
    return item;
}

void sim_item_free(struct sim_item *item)
{
    if (item->bytes != item->packet) {
        free(item->bytes);
    }
    free(item->fetch);
    gossip_serving_end(item->serving);
    item->next = spare[item->size];
    spare[item->size] = item;
}

/* A binary heap by time, then by order of arrival. */
static bool earlier(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

void sim_push(struct sim *s, uint64_t at_us, struct sim_item *item)
{
    if (s->heap_count == s->heap_capacity) {
        s->heap_capacity = s->heap_capacity ? s->heap_capacity * 2 : 1024;
        s->heap = realloc(s->heap, s->heap_capacity * sizeof(*s->heap));
        CHECK(s->heap);
    }
    struct sim_entry entry = {.at_us = at_us, .sequence = s->sequence++, .item = item};
    size_t i = s->heap_count++;
    for (; i > 0 && earlier(&entry, &s->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        s->heap[i] = s->heap[(i - 1) / 2];
    }
    s->heap[i] = entry;
}

bool sim_pop(struct sim *s, uint64_t end_us, uint64_t *ret_at_us, struct sim_item **ret_item)
{
    if (s->heap_count == 0 || s->heap[0].at_us > end_us) {
        return false;
    }
    struct sim_entry first = s->heap[0], last = s->heap[--s->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_count; i = child) {
        if (child + 1 < s->heap_count && earlier(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!earlier(&s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    *ret_at_us = first.at_us;
    *ret_item = first.item;
    return true;
}
