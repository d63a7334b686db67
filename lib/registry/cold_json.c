/* What GET /debug/swarm says of this node's flights. */
#include <errno.h>
#include <inttypes.h>

#include "registry/cold_internal.h"

int cold_write_json(const struct cold *c, struct buf *json)
{
    uint64_t now_ms = loop_now_ms(c->loop);
    int r = buf_puts(json, "\"flights\":[");
    const char *comma = "";
    LIST_EACH (link, &c->flights) {
        const struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        char text[DIGEST_TEXT_BYTES];
        digest_format(&f->digest, text);
        uint64_t age_ms = now_ms - f->began_ms;
        r |= buf_printf(json,
                        "%s{\"digest\":\"%s\",\"parent\":\"%012" PRIx64 "\",\"bytes\":%lld,"
                        "\"total\":%lld,\"requests\":%zu,\"children\":%zu,\"age_ms\":%llu,"
                        "\"bytes_per_s\":%llu}",
                        comma, text, f->parent, (long long)f->size, (long long)f->total,
                        f->requests, f->child_count, (unsigned long long)age_ms,
                        (unsigned long long)(age_ms ? (uint64_t)f->size * 1000 / age_ms : 0));
        comma = ",";
    }
    return r | buf_puts(json, "]") ? -ENOMEM : 0;
}
