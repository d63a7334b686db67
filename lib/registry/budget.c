#include "registry/budget.h"

#include "base/check.h"

static void budget_hand_out(void *arg)
{
    struct budget *b = arg;
    struct list settled;
    list_init(&settled);
    LIST_EACH_SAFE (link, &b->waiting) {
        struct budget_claim *claim = CONTAINER_OF(link, struct budget_claim, link);
        if (claim->bytes <= b->free_bytes) {
            b->free_bytes -= claim->bytes;
            claim->granted = true;
            timer_stop(&claim->timer);
            list_remove(&claim->link);
            list_push_back(&settled, &claim->link);
        }
    }
    /* One by one: a callback may release any of the others. */
    while (!list_empty(&settled)) {
        struct budget_claim *claim = CONTAINER_OF(settled.next, struct budget_claim, link);
        list_remove(&claim->link);
        claim->settled(claim);
    }
}

void budget_init(struct budget *b, struct loop *loop, size_t bytes)
{
    *b = (struct budget){.loop = loop, .free_bytes = bytes};
    list_init(&b->waiting);
    defer_init(&b->hand_out, budget_hand_out, b);
}

void budget_done(struct budget *b)
{
    CHECK(list_empty(&b->waiting));
    defer_stop(&b->hand_out);
}

bool budget_take(struct budget *b, struct budget_claim *claim, size_t bytes)
{
    if (bytes > b->free_bytes) {
        return false;
    }
    *claim = (struct budget_claim){.budget = b, .bytes = bytes, .granted = true};
    list_init(&claim->link);
    b->free_bytes -= bytes;
    return true;
}

static void claim_timed_out(void *arg)
{
    struct budget_claim *claim = arg;
    list_remove(&claim->link);
    claim->settled(claim);
}

int budget_wait(struct budget *b, struct budget_claim *claim, size_t bytes, uint64_t wait_ms,
                void (*settled)(struct budget_claim *claim))
{
    *claim = (struct budget_claim){.budget = b, .bytes = bytes, .settled = settled};
    list_init(&claim->link);
    timer_init(&claim->timer, b->loop, claim_timed_out, claim);
    int r = timer_start(&claim->timer, wait_ms);
    if (r == 0) {
        list_push_back(&b->waiting, &claim->link);
    }
    return r;
}

void budget_release(struct budget_claim *claim)
{
    struct budget *b = claim->budget;
    if (!b) {
        return;
    }
    list_remove(&claim->link);
    timer_stop(&claim->timer);
    if (claim->granted) {
        b->free_bytes += claim->bytes;
        defer_start(b->loop, &b->hand_out);
    }
    claim->budget = NULL;
}
