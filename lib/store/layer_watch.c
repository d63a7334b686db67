#include "store/layer_watch.h"

#include "base/limits.h"

bool layer_watch_look(struct layer_watch *w, const struct inventory_layers *now, uint64_t now_ms)
{
    if (!w->began || now->without < w->without) {
        w->without = now->without;
        w->began = true;
    }
    bool came_without = now->without > w->without;
    bool most_without = now->without > 0 && now->without >= now->with;
    if (!came_without && !most_without) {
        w->seen = false;
    } else if (!w->seen) {
        w->seen = true;
        w->seen_at_ms = now_ms;
    }
    return w->seen && now_ms - w->seen_at_ms >= LIMIT_ADVICE_WAIT_MS;
}

void layer_watch_interrupt(struct layer_watch *w)
{
    w->seen = false;
}
