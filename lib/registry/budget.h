/* budget.h - how much memory bodies under verification may take, all together
 * (LIMIT_VERIFY_BUDGET_BYTES; architecture.md, "Moving bytes").
 *
 * When it is spent, claims wait; a small one may overtake a large one that does not fit yet, and
 * every wait ends, so nobody starves. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "io/loop.h"

struct budget {
    struct loop *loop;
    size_t free_bytes;
    struct list waiting;
    struct defer hand_out;
};

struct budget_claim { /* caller-owned; zero when there is none */
    struct budget *budget;
    size_t bytes;
    bool granted;
    struct list link;
    struct timer timer;
    void (*settled)(struct budget_claim *claim);
};

void budget_init(struct budget *b, struct loop *loop, size_t bytes);
void budget_done(struct budget *b); /* every claim is back */

bool budget_take(struct budget *b, struct budget_claim *claim, size_t bytes); /* now or not */
/* Waits for it: `settled` runs from the loop, with claim->granted or not. 0 or -ENOMEM. */
int budget_wait(struct budget *b, struct budget_claim *claim, size_t bytes, uint64_t wait_ms,
                void (*settled)(struct budget_claim *claim));
/* Gives it back or stops waiting. Any number of times. */
void budget_release(struct budget_claim *claim);
