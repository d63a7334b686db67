#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "grpc/methods.h"
#include "images.pb-c.h"
#include "store/containerd_private.h"

/* One record that containerd has, by its name. */
struct image_record {
    struct map_node node;
    uint64_t generation; /* of the last listing that had it */
    bool told;           /* the inventory has it */
    bool malformed;      /* its name is no reference, its target no digest: counted and logged */
    char name[];
};

/* One name to be asked for: in `queue` until its call is open. */
struct image_fetch {
    struct map_node node;
    struct list link;
    struct grpc_call call;
    struct containerd *owner;
    bool open, again;
    char name[];
};

static void images_pump(struct containerd *c);

/* --- records --- */

/* CRI also records images by their id, "sha256:<config>": nobody pulls by that. */
static bool name_is_id(const char *name)
{
    struct digest d;
    return digest_parse(name, strlen(name), &d) != -EINVAL;
}

static struct image_record *record_get(struct containerd *c, const char *name)
{
    struct map_node *node = map_get(&c->images.records, name, strlen(name));
    return node ? CONTAINER_OF(node, struct image_record, node) : NULL;
}

static struct image_record *record_make(struct containerd *c, const char *name)
{
    struct image_record *record = record_get(c, name);
    if (record) {
        return record;
    }
    if (c->images.records.count >= LIMIT_STORE_IMAGES) {
        c->counters.over_limit++;
        return NULL;
    }
    size_t n = strlen(name);
    record = calloc(1, sizeof(*record) + n + 1);
    if (!record) {
        containerd_relist_soon(c);
        return NULL;
    }
    memcpy(record->name, name, n + 1);
    if (map_insert(&c->images.records, &record->node, record->name, n) < 0) {
        free(record);
        containerd_relist_soon(c);
        return NULL;
    }
    return record;
}

static void record_withdraw(struct containerd *c, struct image_record *record)
{
    if (record->told) {
        inventory_remove_image(c->inventory, record->name);
        record->told = false;
        reader_kick(c->reader);
    }
}

static void record_remove(struct containerd *c, struct image_record *record)
{
    if (!record) {
        return;
    }
    record_withdraw(c, record);
    map_remove(&c->images.records, &record->node);
    free(record);
}

static void record_malformed(struct containerd *c, struct image_record *record, const char *why)
{
    record_withdraw(c, record);
    if (record->malformed) {
        return;
    }
    record->malformed = true;
    c->counters.malformed_names++;
    log_warn("image record left out", LOG_STR("name", record->name), LOG_STR("err", why));
}

static void record_set(struct containerd *c, struct image_record *record,
                       const Images__Image *image)
{
    struct digest target;
    struct error err = {0};
    if (!image->target) {
        record_malformed(c, record, "no target");
        return;
    }
    int r = digest_parse(image->target->digest, strlen(image->target->digest), &target);
    if (r < 0) {
        record_malformed(c, record, r == -ENOTSUP ? "digest algorithm" : "target is no digest");
        return;
    }
    r = inventory_set_image(c->inventory, record->name, &target, image->target->media_type, true,
                            &err);
    if (r == -EINVAL) {
        record_malformed(c, record, err.text);
    } else if (r < 0) {
        containerd_relist_soon(c);
    } else {
        record->told = true;
        record->malformed = false;
        reader_kick(c->reader);
        /* Contents shared from another namespace tell of nothing else. */
        if (c->phase == CONTAINERD_LIVE && !inventory_blob(c->inventory, &target)) {
            blobs_probe(c, &target);
        }
    }
}

/* --- the listing --- */

static void list_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, images.list);
    struct images *s = &c->images;
    Images__ListResponse *list = images__list_response__unpack(NULL, n, bytes);
    if (!list) {
        containerd_call_failed(c, "listing images", "not a message we know");
        return;
    }
    s->generation++;
    for (size_t i = 0; i < list->n_images; i++) {
        const Images__Image *image = list->images[i];
        if (name_is_id(image->name)) {
            continue;
        }
        struct image_record *record = record_make(c, image->name);
        if (!record) {
            continue;
        }
        record->generation = s->generation;
        if (!map_get(&s->fetches, image->name, strlen(image->name))) {
            record_set(c, record, image);
        }
    }
    images__list_response__free_unpacked(list, NULL);
    for (struct map_node *node = map_next(&s->records, NULL), *next; node; node = next) {
        next = map_next(&s->records, node);
        struct image_record *record = CONTAINER_OF(node, struct image_record, node);
        if (record->generation != s->generation &&
            !map_get(&s->fetches, record->name, strlen(record->name))) {
            record_remove(c, record);
        }
    }
    s->listed = true;
}

static void list_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, images.list);
    c->images.list_open = false;
    if (status->error) {
        containerd_call_failed(c, "listing images", status->text);
    } else {
        containerd_listing_ended(c);
    }
    images_pump(c);
}

static void list_start(struct containerd *c)
{
    Images__ListRequest request = IMAGES__LIST_REQUEST__INIT;
    c->images.list.on_message = list_message;
    c->images.list.on_done = list_done;
    int r = containerd_call(c, &c->images.list, GRPC_IMAGES_LIST, &request.base, false,
                            LIMIT_STORE_LIST_MS);
    if (r < 0) {
        containerd_call_failed(c, "listing images", strerror(-r));
        return;
    }
    c->images.list_wanted = false;
    c->images.list_open = true;
}

void images_list(struct containerd *c)
{
    c->images.list_wanted = true;
    images_pump(c);
}

/* --- one name at a time --- */

static void fetch_free(struct containerd *c, struct image_fetch *f)
{
    list_remove(&f->link);
    map_remove(&c->images.fetches, &f->node);
    free(f);
}

static void fetch_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct image_fetch *f = CONTAINER_OF(call, struct image_fetch, call);
    struct containerd *c = f->owner;
    Images__GetResponse *got = images__get_response__unpack(NULL, n, bytes);
    if (!got || !got->image) {
        containerd_call_failed(c, "fetching an image", "not a message we know");
    } else {
        struct image_record *record = record_make(c, f->name);
        if (record) {
            record_set(c, record, got->image);
        }
    }
    if (got) {
        images__get_response__free_unpacked(got, NULL);
    }
}

static void fetch_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct image_fetch *f = CONTAINER_OF(call, struct image_fetch, call);
    struct containerd *c = f->owner;
    f->open = false;
    c->images.open--;
    if (status->error == -ENOENT) {
        record_remove(c, record_get(c, f->name));
    } else if (status->error) {
        containerd_call_failed(c, "fetching an image", status->text);
    }
    if (f->again) {
        f->again = false;
        list_push_back(&c->images.queue, &f->link);
    } else {
        fetch_free(c, f);
    }
    images_pump(c);
}

static int fetch_start(struct containerd *c, struct image_fetch *f)
{
    Images__GetRequest request = IMAGES__GET_REQUEST__INIT;
    request.name = f->name;
    int r =
        containerd_call(c, &f->call, GRPC_IMAGES_GET, &request.base, false, LIMIT_GRPC_UNARY_MS);
    if (r < 0) {
        return r;
    }
    list_remove(&f->link);
    f->open = true;
    c->images.open++;
    return 0;
}

/* A wanted listing waits until no fetch is open: what those bring may be older than it. */
static void images_pump(struct containerd *c)
{
    struct images *s = &c->images;
    if (s->list_open || !rpc_is_up(c->rpc)) {
        return;
    }
    if (s->list_wanted) {
        if (s->open == 0) {
            list_start(c);
        }
        return;
    }
    while (s->open < LIMIT_IMAGE_FETCHES_OPEN && !list_empty(&s->queue)) {
        int r = fetch_start(c, CONTAINER_OF(s->queue.next, struct image_fetch, link));
        if (r < 0) {
            containerd_call_failed(c, "fetching an image", strerror(-r));
            return;
        }
    }
}

static struct image_fetch *fetch_new(struct containerd *c, const char *name)
{
    size_t n = strlen(name);
    struct image_fetch *f = calloc(1, sizeof(*f) + n + 1);
    if (!f) {
        return NULL;
    }
    memcpy(f->name, name, n + 1);
    f->owner = c;
    f->call.on_message = fetch_message;
    f->call.on_done = fetch_done;
    if (map_insert(&c->images.fetches, &f->node, f->name, n) < 0) {
        free(f);
        return NULL;
    }
    list_push_back(&c->images.queue, &f->link);
    return f;
}

void images_fetch(struct containerd *c, const char *name)
{
    struct images *s = &c->images;
    if (name_is_id(name)) {
        return;
    }
    struct map_node *node = map_get(&s->fetches, name, strlen(name));
    if (node) {
        struct image_fetch *f = CONTAINER_OF(node, struct image_fetch, node);
        f->again = f->open;
        return;
    }
    if (s->fetches.count >= LIMIT_IMAGE_FETCHES || !fetch_new(c, name)) {
        images_list(c);
        return;
    }
    images_pump(c);
}

/* --- life --- */

void images_init(struct containerd *c)
{
    map_init(&c->images.records);
    map_init(&c->images.fetches);
    list_init(&c->images.queue);
}

/* All calls have been completed; their fetches are gone or back in the queue. */
void images_disconnected(struct containerd *c)
{
    LIST_EACH_SAFE (link, &c->images.queue) {
        fetch_free(c, CONTAINER_OF(link, struct image_fetch, link));
    }
    CHECK(c->images.fetches.count == 0 && c->images.open == 0);
    c->images.list_wanted = c->images.list_open = c->images.listed = false;
}

void images_done(struct containerd *c)
{
    images_disconnected(c);
    for (struct map_node *node = map_next(&c->images.records, NULL), *next; node; node = next) {
        next = map_next(&c->images.records, node);
        free(CONTAINER_OF(node, struct image_record, node));
    }
    map_done(&c->images.records);
    map_done(&c->images.fetches);
}
