#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "events.pb-c.h"
#include "grpc/methods.h"
#include "store/containerd_private.h"

static const char *const topics[] = {"/images/create", "/images/update", "/images/delete",
                                     "/content/create", "/content/delete"};
#define TOPICS (sizeof(topics) / sizeof(topics[0]))

static void event_image(struct containerd *c, const Wellknown__Any *event)
{
    Events__Image *image = events__image__unpack(NULL, event->value.len, event->value.data);
    if (!image || !image->name[0]) {
        c->counters.malformed_events++;
    } else {
        images_fetch(c, image->name);
        if (c->blobs.strangers > 0) {
            containerd_relist_soon(c); /* contents shared from another namespace tell of nothing */
        }
    }
    if (image) {
        events__image__free_unpacked(image, NULL);
    }
}

static void event_content(struct containerd *c, const Wellknown__Any *event)
{
    struct digest d;
    Events__Content *content = events__content__unpack(NULL, event->value.len, event->value.data);
    int r = content ? digest_parse(content->digest, strlen(content->digest), &d) : -EINVAL;
    if (r == 0) {
        blobs_probe(c, &d);
    } else if (r != -ENOTSUP) {
        c->counters.malformed_events++;
    }
    if (content) {
        events__content__free_unpacked(content, NULL);
    }
}

static void event_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, subscribe);
    Events__Envelope *envelope = events__envelope__unpack(NULL, n, bytes);
    if (!envelope || !envelope->event) {
        c->counters.malformed_events++;
    } else if (strcmp(envelope->namespace_, c->namespace) != 0) {
        /* filtered by containerd already; its word is not taken for it */
    } else if (strncmp(envelope->topic, "/images/", 8) == 0) {
        c->counters.events++;
        event_image(c, envelope->event);
    } else if (strncmp(envelope->topic, "/content/", 9) == 0) {
        c->counters.events++;
        event_content(c, envelope->event);
    }
    if (envelope) {
        events__envelope__free_unpacked(envelope, NULL);
    }
}

static void event_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct containerd *c = CONTAINER_OF(call, struct containerd, subscribe);
    rpc_drop(c->rpc, "the subscription to events ended: %s", status->text);
}

int events_subscribe(struct containerd *c)
{
    char filters[TOPICS][CONTAINERD_NAMESPACE_BYTES + 64];
    char *pointers[TOPICS];
    for (size_t i = 0; i < TOPICS; i++) {
        (void)snprintf(filters[i], sizeof(filters[i]), "namespace==\"%s\",topic==\"%s\"",
                       c->namespace, topics[i]);
        pointers[i] = filters[i];
    }
    Events__SubscribeRequest request = EVENTS__SUBSCRIBE_REQUEST__INIT;
    request.n_filters = TOPICS;
    request.filters = pointers;
    c->subscribe.on_message = event_message;
    c->subscribe.on_done = event_done;
    return containerd_call(c, &c->subscribe, GRPC_EVENTS_SUBSCRIBE, &request.base, true, 0);
}
