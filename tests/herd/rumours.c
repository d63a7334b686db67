/* rumours.c - everybody pulls the same image: its layers are announced one after the other, each by
 * all members, and what they announce reaches the daemon as an epidemic would bring it. */
#include "herd.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define BATCHES 8192
#define GATHER_MS 75  /* a flush is 50 to 100 ms after the first rumour */
#define SPREAD_MS 150 /* between one copy and the next, on average */

/* Changes that travel together: one packet's worth, said by several members. */
struct herd_batch {
    struct gossip_packet packet;
    uint64_t begun_ms, next_ms;
    unsigned left;
};

static struct herd_batch *batch_at(struct herd_world *w, size_t i)
{
    return &w->batches[(w->batch_first + i) % BATCHES];
}

void herd_rollout_begin(struct herd_world *w, uint64_t ms)
{
    w->batches = calloc(BATCHES, sizeof(*w->batches));
    CHECK(w->batches);
    for (size_t i = 0; i < HERD_LAYERS; i++) {
        w->layer_keys[i] = herd_random(w) >> 1;
    }
    w->rollout_start_ms = herd_now_ms();
    w->rollout_ms = ms;
}

void herd_rumours_done(struct herd_world *w)
{
    free(w->batches);
    w->batches = NULL;
}

static struct herd_batch *new_batch(struct herd_world *w, uint64_t now_ms)
{
    CHECK(w->batch_count < BATCHES);
    struct herd_batch *b = batch_at(w, w->batch_count++);
    gossip_packet_begin(&b->packet, GOSSIP_CLASS_RUMOUR);
    b->begun_ms = now_ms;
    b->next_ms = now_ms + GATHER_MS;
    b->left = GOSSIP_TRANSMISSIONS;
    return b;
}

/* One member now holds one more layer: the archive hears it from the member itself, the daemon in
 * a packet. */
static void announce(struct herd_world *w, size_t member, uint64_t key, uint64_t now_ms)
{
    const struct gossip_member *m = herd_record(w, member);
    struct gossip_op op = {.key = key};
    struct gossip_ops ops = {.owner = m->id,
                             .boot_low = (uint16_t)m->boot,
                             .first = m->version + 1,
                             .check = (uint32_t)(m->set_hash ^ gossip_mix(key))};
    CHECK(gossip_ops_append(&ops, &op, 1));
    herd_archive_begin(w);
    gossip_hear_ops(w->archive, &ops, m->id);
    herd_archive_end(w);
    struct herd_batch *b = w->batch_count ? batch_at(w, w->batch_count - 1) : NULL;
    if (!b || now_ms - b->begun_ms >= GATHER_MS || b->left < GOSSIP_TRANSMISSIONS ||
        !gossip_ops_write(&b->packet.w, &b->packet.dictionary, &ops)) {
        b = new_batch(w, now_ms);
        CHECK(gossip_ops_write(&b->packet.w, &b->packet.dictionary, &ops));
    }
}

static void announce_due(struct herd_world *w, uint64_t now_ms)
{
    size_t all = (w->count - 1) * HERD_LAYERS;
    uint64_t passed_ms = now_ms - w->rollout_start_ms;
    size_t due = passed_ms >= w->rollout_ms ? all : (size_t)(all * passed_ms / w->rollout_ms);
    for (size_t i = 0; w->announced < due && i < 500; i++) {
        size_t layer = w->announced / (w->count - 1), member = 1 + w->announced % (w->count - 1);
        announce(w, member, w->layer_keys[layer], now_ms);
        w->announced++;
    }
}

static void send_due(struct herd_world *w, uint64_t now_ms)
{
    for (size_t i = 0; i < w->batch_count; i++) {
        struct herd_batch *b = batch_at(w, i);
        if (b->left > 0 && now_ms >= b->next_ms) {
            herd_send(w, 1 + herd_random(w) % (w->count - 1), &w->daemon, b->packet.body,
                      b->packet.w.len);
            b->left--;
            b->next_ms = now_ms + herd_random(w) % (2 * SPREAD_MS);
        }
    }
    while (w->batch_count > 0 && batch_at(w, 0)->left == 0) {
        w->batch_first = (w->batch_first + 1) % BATCHES;
        w->batch_count--;
    }
}

void herd_rollout_tick(struct herd_world *w, uint64_t now_ms)
{
    announce_due(w, now_ms);
    send_due(w, now_ms);
}

bool herd_rollout_over(const struct herd_world *w)
{
    return w->announced == (w->count - 1) * HERD_LAYERS && w->batch_count == 0;
}
