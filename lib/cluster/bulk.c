#include "cluster/bulk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "cluster/convert.h"

struct bulk_fetch {
    struct list link;
    struct bulk *bulk; /* NULL: nobody waits any more */
    uint32_t id;
    struct fetch fetch;
};

void bulk_init(struct bulk *b, struct fetcher *fetcher, bulk_fn *ended, void *arg)
{
    *b = (struct bulk){.fetcher = fetcher, .ended = ended, .arg = arg};
    list_init(&b->fetches);
}

static int bulk_status(const struct fetch *fetch)
{
    return fetch->error           ? fetch->error
           : fetch->status == 200 ? 0
           : fetch->status == 503 ? -EAGAIN
                                  : -EIO;
}

static void bulk_ended(struct fetch *fetch, void *arg)
{
    struct bulk_fetch *f = arg;
    struct bulk *b = f->bulk;
    list_remove(&f->link);
    if (b) {
        int status = bulk_status(fetch);
        struct buf nothing = {0};
        b->ended(b->arg, f->id, status, status == 0 ? &fetch->body : &nothing);
    }
    fetch_done(fetch);
    free(f);
}

int bulk_start(struct bulk *b, const struct gossip_fetch *wanted, const char *authorization)
{
    union address to;
    char address[ADDRESS_TEXT_BYTES], url[ADDRESS_TEXT_BYTES + GOSSIP_PATH_BYTES + 8];
    char auth[GOSSIP_AUTH_TEXT_BYTES + 32], basic[2048];
    int r = convert_to_address(&wanted->from, &to);
    struct bulk_fetch *f = r < 0 ? NULL : calloc(1, sizeof *f);
    if (!f) {
        return r < 0 ? r : -ENOMEM;
    }
    address_format(&to.sa, address);
    (void)snprintf(url, sizeof url, "http://%s%s", address, wanted->path);
    (void)snprintf(auth, sizeof auth, GOSSIP_AUTH_HEADER ": %s", wanted->auth);
    (void)snprintf(basic, sizeof basic, "Authorization: %s", authorization ? authorization : "");
    const char *headers[] = {auth, authorization ? basic : NULL, NULL};
    struct fetch_options options = {.url = url,
                                    .headers = headers,
                                    .body_max_bytes = wanted->max_bytes,
                                    .length_needed = true,
                                    .timeout_ms = LIMIT_GOSSIP_FETCH_MS};
    f->id = wanted->id;
    f->bulk = b;
    list_push_back(&b->fetches, &f->link);
    r = fetch_start(b->fetcher, &f->fetch, &options, bulk_ended, f);
    if (r < 0) {
        list_remove(&f->link);
        free(f);
    }
    return r;
}

void bulk_done(struct bulk *b)
{
    LIST_EACH_SAFE (link, &b->fetches) {
        struct bulk_fetch *f = CONTAINER_OF(link, struct bulk_fetch, link);
        f->bulk = NULL;
        list_remove(link);
        fetch_cancel(&f->fetch);
    }
}
