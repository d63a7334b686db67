/* follower.h - a store that follows a real containerd, with a record of what was announced, and the
 * fixture of the tests. */
#pragma once

#include "store/real_containerd.h"

#define APP "registry.test/app:v1"
#define assert_soon(n, condition, arg) assert_true(node_wait(n, condition, arg, SOON_MS))

/* --- the store --- */

static inline void node_heard(void *arg, const struct inventory_change *change)
{
    struct node *n = arg;
    char key[512];
    if (change->digest) {
        digest_format(change->digest, key);
    } else {
        (void)snprintf(key, sizeof(key), "%s", change->tag);
    }
    struct map_node *found = map_get(&n->announced, key, strlen(key));
    if (change->added && !found) {
        struct announced *a = calloc(1, sizeof(*a));
        assert_non_null(a);
        strcpy(a->key, key);
        assert_int_equal(map_insert(&n->announced, &a->node, a->key, strlen(key)), 0);
    } else if (!change->added && found) {
        map_remove(&n->announced, found);
        free(CONTAINER_OF(found, struct announced, node));
    } else {
        n->announced_twice++;
    }
}

static inline void node_is_listed(void *arg)
{
    ((struct node *)arg)->listed++;
}

static inline void node_connected(void *arg, bool is_connected)
{
    struct node *n = arg;
    *(is_connected ? &n->ups : &n->downs) += 1;
}

static inline void node_follow(struct node *n, const char *content_path)
{
    struct error err = {0};
    struct containerd_config config = {.socket = n->socket,
                                       .namespace = "k8s.io",
                                       .content_path = content_path,
                                       .listed = node_is_listed,
                                       .connected = node_connected,
                                       .arg = n};
    assert_int_equal(containerd_new(n->loop, n->inventory, &config, &n->store, &err), 0);
}

static inline void node_init(struct node *n)
{
    struct error err = {0};
    *n = (struct node){0};
    strcpy(n->directory, "/tmp/spegel-node-XXXXXX");
    assert_non_null(mkdtemp(n->directory));
    (void)snprintf(n->socket, sizeof(n->socket), "%s/c.sock", n->directory);
    (void)snprintf(n->other_socket, sizeof(n->other_socket), "%s/other.sock", n->directory);
    map_init(&n->announced);
    assert_int_equal(loop_new(&n->loop), 0);
    assert_int_equal(filter_new(NULL, 0, NULL, 0, &n->filter, &err), 0);
    assert_int_equal(inventory_new(n->filter, node_heard, n, &n->inventory), 0);
}

/* Frees the store, and with it what it told. */
static inline void node_forget(struct node *n)
{
    inventory_free(n->inventory);
    containerd_free(n->store);
    n->inventory = NULL;
    n->store = NULL;
    for (struct map_node *node = map_next(&n->announced, NULL), *next; node; node = next) {
        next = map_next(&n->announced, node);
        map_remove(&n->announced, node);
        free(CONTAINER_OF(node, struct announced, node));
    }
}

/* Begins anew, as a daemon that was restarted. */
static inline void node_renew(struct node *n)
{
    node_forget(n);
    assert_int_equal(inventory_new(n->filter, node_heard, n, &n->inventory), 0);
}

static inline void node_done(struct node *n)
{
    char command[128];
    node_end(n, SIGKILL);
    node_forget(n);
    filter_free(n->filter);
    loop_free(n->loop);
    map_done(&n->announced);
    (void)snprintf(command, sizeof(command), "rm -rf %s", n->directory);
    (void)!system(command);
}

/* --- waiting --- */

static inline void node_timed_out(void *arg)
{
    loop_stop(arg);
}

static inline void node_run(struct node *n, unsigned ms)
{
    struct timer slice;
    timer_init(&slice, n->loop, node_timed_out, n->loop);
    assert_int_equal(timer_start(&slice, ms), 0);
    loop_run(n->loop);
    timer_stop(&slice);
}

typedef bool node_condition(struct node *n, const void *arg);

/* Runs the loop until the condition holds. False when it did not within `ms`. */
static inline bool node_wait(struct node *n, node_condition *condition, const void *arg,
                             unsigned ms)
{
    uint64_t end_us = clock_now_us() + ms * 1000ull;
    while (!condition(n, arg)) {
        if (clock_now_us() > end_us) {
            return false;
        }
        node_run(n, 2);
    }
    return true;
}

static inline bool node_announces(struct node *n, const void *key)
{
    return map_get(&n->announced, key, strlen(key)) != NULL;
}

static inline bool node_withdrew(struct node *n, const void *key)
{
    return !node_announces(n, key);
}

/* Held and announced. */
static inline bool node_holds(struct node *n, const void *digest)
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(digest, text);
    return inventory_blob(n->inventory, digest) && node_announces(n, text);
}

/* Neither held nor announced. */
static inline bool node_lacks(struct node *n, const void *digest)
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(digest, text);
    return !inventory_blob(n->inventory, digest) && !node_announces(n, text);
}

static inline bool node_holds_image(struct node *n, const void *arg)
{
    const struct image *image = arg;
    return node_holds(n, &image->manifest) && node_holds(n, &image->config) &&
           node_holds(n, &image->layer);
}

static inline bool node_lacks_image(struct node *n, const void *arg)
{
    const struct image *image = arg;
    return node_lacks(n, &image->manifest) && node_lacks(n, &image->config) &&
           node_lacks(n, &image->layer);
}

static inline bool node_is_live(struct node *n, const void *nothing)
{
    (void)nothing;
    return containerd_is_connected(n->store) && containerd_is_listed(n->store);
}

static inline bool node_is_down(struct node *n, const void *nothing)
{
    (void)nothing;
    return !containerd_is_connected(n->store);
}

/* Is registry.test/app:v1 answered with this digest? */
static inline bool node_app_is(struct node *n, const void *digest)
{
    const struct inventory_blob *blob =
        inventory_tag(n->inventory, "registry.test", "app", "v1", NULL);
    return blob && digest_equal(&blob->digest, digest);
}

/* --- the fixture --- */

static inline int setup(void **state)
{
    if (node_missing()) {
        return 0;
    }
    struct node *n = malloc(sizeof(*n));
    assert_non_null(n);
    node_init(n);
    *state = n;
    return 0;
}

static inline int teardown(void **state)
{
    struct node *n = *state;
    if (n) {
        bool twice = n->announced_twice > 0;
        node_done(n);
        free(n);
        return twice ? -1 : 0; /* every change is told exactly once, in every test */
    }
    return 0;
}

static inline struct node *node_of(void **state)
{
    if (!*state) {
        print_message("[  SKIPPED ] %s\n", node_missing());
        skip();
    }
    return *state;
}

/* containerd up, the store live. */
static inline struct node *live_node(void **state)
{
    struct node *n = node_of(state);
    node_start(n);
    node_follow(n, NULL);
    assert_soon(n, node_is_live, NULL);
    return n;
}

static inline void import(struct node *n, const struct image *image)
{
    node_ctr(n, "k8s.io images import --no-unpack %s", image->archive);
}
