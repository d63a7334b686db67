/* scripted_containerd.h - a server that answers like containerd, but only when the test says so:
 * for the orders of answers, events and files that a real one produces once in a thousand times. It
 * speaks through nghttp2's server; the files are real. */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include "content.pb-c.h"
#include "events.pb-c.h"
#include "grpc/methods.h"
#include "grpc/peer.h"
#include "images.pb-c.h"
#include "io/socket_server.h"
#include "oci/filter.h"
#include "store/containerd.h"
#include "version.pb-c.h"

#define SCRIPT_WAIT_MS 3000
#define SCRIPT_BODIES 4096
#define APP "registry.test/app:v1"

struct script {
    struct loop *loop;
    struct socket_server server;
    struct peer *peer;
    bool taken[PEER_STREAMS]; /* handed out by script_call */
    char *bodies[SCRIPT_BODIES];
    size_t body_count;
    int32_t subscription; /* its stream */

    struct filter *filter;
    struct inventory *inventory;
    struct containerd *store;
    unsigned added, removed; /* changes announced */
    unsigned ups, downs;
};

static inline void script_send(struct script *s)
{
    const uint8_t *bytes;
    ssize_t n;
    while (s->server.fd >= 0 && (n = nghttp2_session_mem_send(s->peer->h2, &bytes)) > 0) {
        assert_int_equal(send(s->server.fd, bytes, (size_t)n, MSG_NOSIGNAL), n);
    }
}

static inline void script_received(struct socket_server *server, const void *bytes, size_t n)
{
    struct script *s = server->arg;
    if (!s->peer) {
        s->peer = peer_new(NULL, 0);
    }
    assert_int_equal(nghttp2_session_mem_recv(s->peer->h2, bytes, n), (ssize_t)n);
    script_send(s);
}

static inline void script_run(struct script *s, unsigned ms)
{
    unsigned never = 0;
    (void)socket_server_wait(s->loop, &never, 1, ms);
}

/* The next call of this method that was not handed out before, or 0 when none comes in time. */
static inline int32_t script_call_within(struct script *s, const char *method, unsigned ms)
{
    char path[128];
    (void)snprintf(path, sizeof(path), ":path: %s\n", method);
    for (unsigned waited = 0; waited <= ms; waited += 5) {
        for (int i = 0; s->peer && i < PEER_STREAMS; i++) {
            if (s->peer->streams[i].ended && !s->taken[i] &&
                strstr(s->peer->streams[i].headers, path)) {
                s->taken[i] = true;
                return 2 * i + 1;
            }
        }
        script_run(s, 5);
    }
    return 0;
}

static inline int32_t script_call(struct script *s, const char *method)
{
    int32_t id = script_call_within(s, method, SCRIPT_WAIT_MS);
    if (!id) {
        fail_msg("%s was not called", method);
    }
    return id;
}

static inline bool script_is_called(struct script *s, const char *method)
{
    return script_call_within(s, method, 60) != 0;
}

static inline size_t script_frame(struct script *s, const void *bytes, size_t n, char **ret_frame)
{
    char *frame = malloc(GRPC_PREFIX_BYTES + n);
    assert_non_null(frame);
    assert_true(s->body_count < SCRIPT_BODIES);
    s->bodies[s->body_count++] = frame;
    grpc_prefix_write((uint8_t *)frame, (uint32_t)n);
    memcpy(frame + GRPC_PREFIX_BYTES, bytes, n);
    *ret_frame = frame;
    return GRPC_PREFIX_BYTES + n;
}

static inline void script_answer_bytes(struct script *s, int32_t id, const void *bytes, size_t n)
{
    struct peer_reply reply = {.grpc_status = "0"};
    char *frame;
    reply.body_bytes = script_frame(s, bytes, n, &frame);
    reply.body = frame;
    peer_answer(s->peer, id, &reply);
    script_send(s);
}

static inline void script_answer(struct script *s, int32_t id, const ProtobufCMessage *message)
{
    uint8_t bytes[16384];
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof(bytes));
    script_answer_bytes(s, id, bytes, protobuf_c_message_pack(message, bytes));
}

static inline void script_fail(struct script *s, int32_t id, const char *grpc_status)
{
    peer_answer(s->peer, id,
                &(struct peer_reply){.grpc_status = grpc_status, .trailers_only = true});
    script_send(s);
}

/* --- what containerd says --- */

static inline void script_answer_version(struct script *s)
{
    Version__VersionResponse version = VERSION__VERSION_RESPONSE__INIT;
    char text[] = "9.9";
    version.version = text;
    script_answer(s, script_call(s, GRPC_VERSION), &version.base);
}

/* One record, or none when `name` is NULL. */
static inline void script_answer_images(struct script *s, int32_t id, const char *name,
                                        const struct digest *target)
{
    Images__ListResponse list = IMAGES__LIST_RESPONSE__INIT;
    Images__Image image = IMAGES__IMAGE__INIT, *images[] = {&image};
    Images__Descriptor descriptor = IMAGES__DESCRIPTOR__INIT;
    char text[DIGEST_TEXT_BYTES];
    if (name) {
        digest_format(target, text);
        image.name = (char *)name;
        image.target = &descriptor;
        descriptor.digest = text;
        list.n_images = 1;
        list.images = images;
    }
    script_answer(s, id, &list.base);
}

static inline void script_answer_image(struct script *s, int32_t id, const struct digest *target)
{
    Images__GetResponse got = IMAGES__GET_RESPONSE__INIT;
    Images__Image image = IMAGES__IMAGE__INIT;
    Images__Descriptor descriptor = IMAGES__DESCRIPTOR__INIT;
    char text[DIGEST_TEXT_BYTES];
    digest_format(target, text);
    got.image = &image;
    image.target = &descriptor;
    descriptor.digest = text;
    script_answer(s, id, &got.base);
}

/* All of one size; at most two. */
static inline void script_answer_contents(struct script *s, int32_t id, const struct digest *d,
                                          size_t count, int64_t size_bytes)
{
    Content__ListResponse list = CONTENT__LIST_RESPONSE__INIT;
    Content__Info infos[2] = {CONTENT__INFO__INIT, CONTENT__INFO__INIT};
    Content__Info *pointers[2] = {&infos[0], &infos[1]};
    char texts[2][DIGEST_TEXT_BYTES];
    for (size_t i = 0; i < count; i++) {
        digest_format(&d[i], texts[i]);
        infos[i].digest = texts[i];
        infos[i].size = size_bytes;
    }
    list.n_info = count;
    list.info = pointers;
    script_answer(s, id, &list.base);
}

static inline void script_answer_info(struct script *s, int32_t id, int64_t size_bytes)
{
    Content__InfoResponse got = CONTENT__INFO_RESPONSE__INIT;
    Content__Info info = CONTENT__INFO__INIT;
    got.info = &info;
    info.size = size_bytes;
    script_answer(s, id, &got.base);
}

static inline void script_event_bytes(struct script *s, const void *bytes, size_t n)
{
    char *frame;
    size_t frame_bytes = script_frame(s, bytes, n, &frame);
    peer_more(s->peer, s->subscription, frame, frame_bytes, true);
    script_send(s);
}

static inline void script_event(struct script *s, const char *namespace, const char *topic,
                                const ProtobufCMessage *event)
{
    Events__Envelope envelope = EVENTS__ENVELOPE__INIT;
    Wellknown__Any any = WELLKNOWN__ANY__INIT;
    uint8_t value[2048], bytes[4096];
    any.value.data = value;
    any.value.len = protobuf_c_message_pack(event, value);
    envelope.namespace_ = (char *)namespace;
    envelope.topic = (char *)topic;
    envelope.event = &any;
    script_event_bytes(s, bytes, protobuf_c_message_pack(&envelope.base, bytes));
}

static inline void script_image_event(struct script *s, const char *topic, const char *name)
{
    Events__Image image = EVENTS__IMAGE__INIT;
    image.name = (char *)name;
    script_event(s, "k8s.io", topic, &image.base);
}

/* --- files --- */

static inline const char *script_path(const struct script *s, const struct digest *d)
{
    static char path[256];
    char hex[DIGEST_HEX_BYTES];
    digest_format_hex(d, hex);
    (void)snprintf(path, sizeof(path), "%s/blobs/sha256/%s", s->server.directory, hex);
    return path;
}

/* As containerd commits: written elsewhere, then renamed into place. */
static inline struct digest script_commit(const struct script *s, const char *text)
{
    struct digest d;
    char aside[128];
    digest_of(text, strlen(text), &d);
    (void)snprintf(aside, sizeof(aside), "%s/ingest", s->server.directory);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    assert_int_equal(rename(aside, script_path(s, &d)), 0);
    return d;
}

/* --- life --- */

static inline void script_heard(void *arg, const struct inventory_change *change)
{
    struct script *s = arg;
    *(change->added ? &s->added : &s->removed) += 1;
}

static inline void script_connected(void *arg, bool is_connected)
{
    struct script *s = arg;
    *(is_connected ? &s->ups : &s->downs) += 1;
}

static inline void script_init(struct script *s)
{
    char path[256];
    struct error err;
    *s = (struct script){0};
    assert_int_equal(loop_new(&s->loop), 0);
    socket_server_init(&s->server, s->loop);
    s->server.received = script_received;
    s->server.arg = s;
    (void)snprintf(path, sizeof(path), "%s/blobs", s->server.directory);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/blobs/sha256", s->server.directory);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(filter_new(NULL, 0, NULL, 0, &s->filter, &err), 0);
    assert_int_equal(inventory_new(s->filter, script_heard, s, &s->inventory), 0);
    socket_server_start(&s->server);
    struct containerd_config config = {.socket = s->server.path,
                                       .namespace = "k8s.io",
                                       .content_path = s->server.directory,
                                       .connected = script_connected,
                                       .arg = s};
    assert_int_equal(containerd_new(s->loop, s->inventory, &config, &s->store, &err), 0);
}

static inline void script_forget_connection(struct script *s)
{
    if (s->peer) {
        peer_free(s->peer);
        s->peer = NULL;
    }
    memset(s->taken, 0, sizeof(s->taken));
}

static inline void script_done(struct script *s)
{
    inventory_free(s->inventory);
    containerd_free(s->store);
    filter_free(s->filter);
    script_forget_connection(s);
    char command[256];
    (void)snprintf(command, sizeof(command), "rm -rf %s/blobs %s/ingest", s->server.directory,
                   s->server.directory);
    (void)!system(command);
    socket_server_done(&s->server);
    loop_free(s->loop);
    for (size_t i = 0; i < s->body_count; i++) {
        free(s->bodies[i]);
    }
}

/* A new connection: subscribed, its version told. */
static inline void script_begin(struct script *s)
{
    s->subscription = script_call(s, GRPC_EVENTS_SUBSCRIBE);
    peer_answer(s->peer, s->subscription, &(struct peer_reply){.keep_open = true});
    script_answer_version(s);
}

/* And listed: nothing there. */
static inline void script_begin_empty(struct script *s)
{
    script_begin(s);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), NULL, NULL);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), NULL, 0, 0);
    assert_true(socket_server_wait(s->loop, &s->ups, 1, SCRIPT_WAIT_MS) < SCRIPT_WAIT_MS);
}

static inline bool script_holds(const struct script *s, const struct digest *d)
{
    return inventory_blob(s->inventory, d) != NULL;
}

static inline bool script_app_is(const struct script *s, const struct digest *d)
{
    const struct inventory_blob *blob =
        inventory_tag(s->inventory, "registry.test", "app", "v1", NULL);
    return blob && digest_equal(&blob->digest, d);
}

static inline bool script_comes_to_hold(struct script *s, const struct digest *d)
{
    for (int i = 0; i < SCRIPT_WAIT_MS / 5 && !script_holds(s, d); i++) {
        script_run(s, 5);
    }
    return script_holds(s, d);
}
