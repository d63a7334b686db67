/* The session and our messages against a real containerd: what it says about itself, an image that
 * is imported while we listen, its content, and its end. */
#include "grpc/session.h"

#include <errno.h>
#include <time.h>

#include "content.pb-c.h"
#include "daemon.h"
#include "events.pb-c.h"
#include "grpc/methods.h"
#include "images.pb-c.h"
#include "introspection.pb-c.h"
#include "version.pb-c.h"

static struct daemon containerd;

/* What a call was told, its messages one after another in `bytes`. */
struct answer {
    struct grpc_call call;
    struct buf bytes;
    size_t lengths[64];
    unsigned messages, done;
    struct grpc_status status;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct answer *a = CONTAINER_OF(call, struct answer, call);
    assert_true(a->messages < 64);
    a->lengths[a->messages++] = n;
    assert_int_equal(buf_append(&a->bytes, bytes, n), 0);
}

static void on_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct answer *a = CONTAINER_OF(call, struct answer, call);
    a->done++;
    a->status = *status;
}

static void ask(struct grpc_session *s, struct answer *a, const char *path, const char *namespace,
                const void *message, bool stream)
{
    *a = (struct answer){.call = {.on_message = on_message, .on_done = on_done}};
    buf_init(&a->bytes, LIMIT_GRPC_MESSAGE_BYTES);
    const struct grpc_request request = {.path = path,
                                         .containerd_namespace = namespace,
                                         .message = message,
                                         .stream = stream,
                                         .deadline_at_ms = stream ? 0 : now_ms() + 10000};
    assert_int_equal(grpc_call_start(s, &a->call, &request), 0);
}

/* The driver's loop of session.h, blocking: until `count` is no longer `was`, or 10 s. */
static void drive(struct grpc_session *s, int fd, const unsigned *count, unsigned was)
{
    uint64_t until_ms = now_ms() + 10000;
    while (*count == was && now_ms() < until_ms) {
        struct buf out;
        buf_init(&out, 65536);
        if (grpc_session_has_output(s) && grpc_session_output(s, &out, NULL) == 0 && out.len > 0) {
            ssize_t n = send(fd, out.data, out.len, MSG_NOSIGNAL);
            if (n < 0) { /* an answer to its ping, after its end */
                grpc_session_fail(s, "containerd closed the connection");
            } else {
                assert_int_equal(n, out.len);
            }
        }
        buf_done(&out);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (grpc_session_state(s) != GRPC_SESSION_DEAD && poll(&p, 1, 20) > 0) {
            char bytes[65536];
            ssize_t n = read(fd, bytes, sizeof(bytes));
            if (n > 0) {
                assert_int_equal(grpc_session_receive(s, bytes, (size_t)n, NULL), 0);
            } else {
                grpc_session_fail(s, "containerd closed the connection");
            }
        }
        grpc_session_tick(s, now_ms());
    }
}

static void ask_and_wait(struct grpc_session *s, int fd, struct answer *a, const char *path,
                         const char *namespace, const void *message, bool stream)
{
    ask(s, a, path, namespace, message, stream);
    drive(s, fd, &a->done, 0);
    assert_int_equal(a->done, 1);
}

static int set_up(void **state)
{
    *state = daemon_start(&containerd) ? &containerd : NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    daemon_done(&containerd);
    return 0;
}

static struct grpc_session *open_session(void **state, int *ret_fd)
{
    if (!*state) {
        skip();
    }
    *ret_fd = daemon_connect(&containerd);
    assert_true(*ret_fd >= 0);
    struct grpc_session *s = grpc_session_new();
    assert_non_null(s);
    return s;
}

static void test_it_says_which_version_it_is_and_where_its_content_lies(void **state)
{
    int fd;
    struct grpc_session *s = open_session(state, &fd);
    struct answer a;
    ask_and_wait(s, fd, &a, GRPC_VERSION, NULL, NULL, false);
    assert_int_equal(a.status.error, 0);
    Version__VersionResponse *version =
        version__version_response__unpack(NULL, a.bytes.len, (uint8_t *)a.bytes.data);
    assert_non_null(version);
    assert_true(version->version[0] >= '1' && strchr(version->version, '.'));
    print_message("containerd %s\n", version->version);
    version__version_response__free_unpacked(version, NULL);
    buf_done(&a.bytes);

    Introspection__PluginsRequest request = INTROSPECTION__PLUGINS_REQUEST__INIT;
    request.n_filters = 1;
    request.filters = (char *[]){"type==io.containerd.content.v1,id==content"};
    ask_and_wait(s, fd, &a, GRPC_INTROSPECTION_PLUGINS, NULL, &request, false);
    assert_int_equal(a.status.error, 0);
    Introspection__PluginsResponse *plugins =
        introspection__plugins_response__unpack(NULL, a.bytes.len, (uint8_t *)a.bytes.data);
    assert_non_null(plugins);
    assert_int_equal(plugins->n_plugins, 1);
    assert_int_equal(plugins->plugins[0]->n_exports, 1);
    assert_string_equal(plugins->plugins[0]->exports[0]->key, "root");
    char root[128];
    snprintf(root, sizeof(root), "%s/root/io.containerd.content.v1.content", containerd.dir);
    assert_string_equal(plugins->plugins[0]->exports[0]->value, root);
    introspection__plugins_response__free_unpacked(plugins, NULL);
    buf_done(&a.bytes);
    grpc_session_free(s);
    close(fd);
}

static void test_its_errors_arrive_with_code_and_words(void **state)
{
    int fd;
    struct grpc_session *s = open_session(state, &fd);
    struct answer a;
    ask_and_wait(s, fd, &a, GRPC_IMAGES_LIST, NULL, NULL, false);
    assert_int_equal(a.status.code, GRPC_FAILED_PRECONDITION);
    assert_non_null(strstr(a.status.text, "namespace is required"));

    Content__InfoRequest request = CONTENT__INFO_REQUEST__INIT;
    request.digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    ask_and_wait(s, fd, &a, GRPC_CONTENT_INFO, "k8s.io", &request, false);
    assert_int_equal(a.status.error, -ENOENT);
    assert_non_null(strstr(a.status.text, "not found"));

    ask_and_wait(s, fd, &a, "/containerd.services.nothing.v1.Nothing/Do", NULL, NULL, false);
    assert_int_equal(a.status.code, GRPC_UNIMPLEMENTED);
    assert_int_equal(grpc_session_state(s), GRPC_SESSION_OPEN);
    grpc_session_free(s);
    close(fd);
}

/* A docker archive of one layer needs no digests made here: containerd computes them. */
static const char import[] =
    "cd $D; mkdir -p image; cd image; head -c 3000000 /dev/urandom > file; tar cf layer.tar file\n"
    "echo '{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids"
    "\":[\"sha256:'$(sha256sum layer.tar | cut -c1-64)'\"]}}' > config.json\n"
    "echo '[{\"Config\":\"config.json\",\"RepoTags\":[\"example.com/app:1\"],\"Layers\":[\"layer."
    "tar\"]}]' > manifest.json\n"
    "tar cf ../image.tar manifest.json config.json layer.tar\n"
    "ctr -a $D/sock -n k8s.io image import --no-unpack --all-platforms ../image.tar >/dev/null\n";

static void check_event(const struct answer *events)
{
    Events__Envelope *envelope =
        events__envelope__unpack(NULL, events->lengths[0], (uint8_t *)events->bytes.data);
    assert_non_null(envelope);
    assert_string_equal(envelope->topic, "/images/create");
    assert_string_equal(envelope->namespace_, "k8s.io");
    assert_string_equal(envelope->event->type_url, "containerd.services.images.v1.ImageCreate");
    Events__Image *image =
        events__image__unpack(NULL, envelope->event->value.len, envelope->event->value.data);
    assert_non_null(image);
    assert_string_equal(image->name, "example.com/app:1");
    events__image__free_unpacked(image, NULL);
    events__envelope__free_unpacked(envelope, NULL);
}

/* Lists the images, of which there is one, and reads the blob it points at. */
static void check_image(struct grpc_session *s, int fd)
{
    struct answer list, read_back;
    ask_and_wait(s, fd, &list, GRPC_IMAGES_LIST, "k8s.io", NULL, false);
    assert_int_equal(list.status.error, 0);
    Images__ListResponse *images =
        images__list_response__unpack(NULL, list.bytes.len, (uint8_t *)list.bytes.data);
    assert_non_null(images);
    assert_int_equal(images->n_images, 1);
    const Images__Image *image = images->images[0];
    assert_string_equal(image->name, "example.com/app:1");
    assert_true(image->target->size > 0 && image->created_at->seconds > 1000000000);

    Content__ReadRequest request = CONTENT__READ_REQUEST__INIT;
    request.digest = image->target->digest;
    ask_and_wait(s, fd, &read_back, GRPC_CONTENT_READ, "k8s.io", &request, true);
    assert_int_equal(read_back.status.error, 0);
    assert_int_equal(read_back.messages, 1);
    Content__ReadResponse *read_response =
        content__read_response__unpack(NULL, read_back.bytes.len, (uint8_t *)read_back.bytes.data);
    assert_non_null(read_response);
    assert_int_equal(read_response->data.len, image->target->size);
    assert_int_equal(read_response->data.data[0], '{');
    content__read_response__free_unpacked(read_response, NULL);
    images__list_response__free_unpacked(images, NULL);
    buf_done(&list.bytes);
    buf_done(&read_back.bytes);
}

/* The blobs of the image: index, manifest, config, layer; some versions make no index. */
static void check_content(struct grpc_session *s, int fd)
{
    struct answer a;
    size_t blobs = 0, at = 0;
    int64_t largest = 0;
    ask_and_wait(s, fd, &a, GRPC_CONTENT_LIST, "k8s.io", NULL, true);
    assert_int_equal(a.status.error, 0);
    for (unsigned i = 0; i < a.messages; at += a.lengths[i++]) {
        Content__ListResponse *list =
            content__list_response__unpack(NULL, a.lengths[i], (uint8_t *)a.bytes.data + at);
        assert_non_null(list);
        for (size_t k = 0; k < list->n_info; k++) {
            assert_memory_equal(list->info[k]->digest, "sha256:", 7);
            largest = list->info[k]->size > largest ? list->info[k]->size : largest;
        }
        blobs += list->n_info;
        content__list_response__free_unpacked(list, NULL);
    }
    assert_in_range(blobs, 3, 4);
    assert_in_range(largest, 3000000, 3100000);
    buf_done(&a.bytes);
}

static void test_an_imported_image_is_told_listed_and_read_and_its_end_is_noticed(void **state)
{
    int fd;
    struct grpc_session *s = open_session(state, &fd);
    struct answer events, version;
    Events__SubscribeRequest subscribe = EVENTS__SUBSCRIBE_REQUEST__INIT;
    subscribe.n_filters = 1;
    subscribe.filters = (char *[]){"namespace==k8s.io,topic==\"/images/create\""};
    ask(s, &events, GRPC_EVENTS_SUBSCRIBE, NULL, &subscribe, true);
    ask_and_wait(s, fd, &version, GRPC_VERSION, NULL, NULL, false);
    buf_done(&version.bytes);
    assert_int_equal(daemon_shell(&containerd, import), 0);
    drive(s, fd, &events.messages, 0);
    assert_true(events.messages > 0);
    check_event(&events);
    check_image(s, fd);
    check_content(s, fd);
    assert_int_equal(events.done, 0);

    daemon_kill(&containerd, SIGKILL);
    drive(s, fd, &events.done, 0);
    assert_int_equal(events.done, 1);
    assert_int_equal(events.status.error, -ECONNRESET);
    assert_int_equal(grpc_session_state(s), GRPC_SESSION_DEAD);
    buf_done(&events.bytes);
    grpc_session_free(s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_says_which_version_it_is_and_where_its_content_lies),
        cmocka_unit_test(test_its_errors_arrive_with_code_and_words),
        cmocka_unit_test(test_an_imported_image_is_told_listed_and_read_and_its_end_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
