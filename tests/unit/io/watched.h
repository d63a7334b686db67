/* watched.h - what tests of inotify share: files in a directory of the test's, the queue's length.
 */
#pragma once

#include <stdio.h>

/* Of an entry of `base`; good for the next three calls too. */
static inline const char *watched_path(const char *base, const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, sizeof(path[0]), "%s/%s", base, name);
    return p;
}

/* Events in one more than this overflow the kernel's queue, unless it can merge them. */
static inline int watched_queue_limit(void)
{
    int limit = 16384;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (f) {
        (void)!fscanf(f, "%d", &limit);
        (void)fclose(f);
    }
    return limit;
}
