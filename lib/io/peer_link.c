#include "io/peer_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

static void pool_expire(void *arg);

int peer_pool_new(struct multi *multi, struct peer_pool **ret_pool)
{
    struct peer_pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        return -ENOMEM;
    }
    pool->multi = multi;
    list_init(&pool->idle);
    timer_init(&pool->expiry, multi_loop(multi), pool_expire, pool);
    *ret_pool = pool;
    return 0;
}

static struct peer_link *oldest_idle(struct peer_pool *pool)
{
    return CONTAINER_OF(pool->idle.next, struct peer_link, link);
}

void peer_pool_free(struct peer_pool *pool)
{
    if (!pool) {
        return;
    }
    CHECK(pool->lent_count == 0);
    while (pool->idle_count > 0) {
        peer_link_free(oldest_idle(pool));
    }
    timer_stop(&pool->expiry);
    free(pool);
}

size_t peer_pool_idle(const struct peer_pool *pool)
{
    return pool->idle_count;
}

/* Should the timer find no memory, the peer's own idle time-out closes the connection. */
static void pool_expire(void *arg)
{
    struct peer_pool *pool = arg;
    uint64_t now_ms = loop_now_ms(multi_loop(pool->multi));
    while (pool->idle_count > 0) {
        struct peer_link *l = oldest_idle(pool);
        if (l->idle_since_ms + LIMIT_PEER_IDLE_MS > now_ms) {
            (void)timer_start(&pool->expiry, l->idle_since_ms + LIMIT_PEER_IDLE_MS - now_ms);
            return;
        }
        peer_link_free(l);
    }
}

static void link_ready(void *arg, int events)
{
    struct peer_link *l = arg;
    if (l->idle) {
        peer_link_free(l); /* closed by the peer, or it talks unasked */
    } else {
        l->ready(l->arg, events);
    }
}

/* The descriptor is duplicated and libcurl's side closed at once: a CONNECT_ONLY connection that
 * stays with libcurl counts as idle there, and is closed under us when another transfer prunes
 * idle connections that are old or have bytes waiting. */
static int link_adopt_socket(struct peer_link *l)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(l->transfer.easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        return -ENOTCONN;
    }
    l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (l->fd < 0) {
        return -errno;
    }
    multi_remove(&l->transfer);
    return poll_new(multi_loop(l->pool->multi), l->fd, link_ready, l, &l->poll);
}

static void link_connected(struct multi_transfer *t, CURLcode code)
{
    struct peer_link *l = CONTAINER_OF(t, struct peer_link, transfer);
    int error = multi_errno(code);
    long os_error = 0;
    if (code == CURLE_COULDNT_CONNECT &&
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK && os_error > 0) {
        error = -(int)os_error;
    }
    if (error == 0) {
        error = link_adopt_socket(l);
    }
    l->connected(l->arg, error);
}

struct peer_link *peer_link_take(struct peer_pool *pool, const union address *to)
{
    for (struct list *link = pool->idle.prev; link != &pool->idle; link = link->prev) {
        struct peer_link *l = CONTAINER_OF(link, struct peer_link, link);
        if (address_equal_host(&l->to.sa, &to->sa) && l->to.in4.sin_port == to->in4.sin_port) {
            list_remove(&l->link);
            l->idle = false;
            pool->idle_count--;
            pool->lent_count++;
            return l;
        }
    }
    return NULL;
}

int peer_link_new(struct peer_pool *pool, const union address *to,
                  void (*connected)(void *arg, int error), void (*ready)(void *arg, int events),
                  void *arg, struct peer_link **ret_link)
{
    struct peer_link *l = calloc(1, sizeof(*l));
    if (!l) {
        return -ENOMEM;
    }
    *l = (struct peer_link){.pool = pool, .to = *to, .fd = -1, .low_water_bytes = 1};
    l->connected = connected;
    l->ready = ready;
    l->arg = arg;
    list_init(&l->link);
    pool->lent_count++;
    char text[ADDRESS_TEXT_BYTES], url[ADDRESS_TEXT_BYTES + 16];
    address_format(&to->sa, text);
    (void)snprintf(url, sizeof(url), "http://%s/", text);
    CURL *easy = l->transfer.easy = multi_easy_new();
    l->transfer.finished = link_connected;
    int r = easy && curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1024L) == CURLE_OK
                ? multi_add(pool->multi, &l->transfer)
                : -ENOMEM;
    if (r < 0) {
        peer_link_free(l);
        return r;
    }
    *ret_link = l;
    return 0;
}

void peer_link_keep(struct peer_link *l)
{
    struct peer_pool *pool = l->pool;
    pool->lent_count--;
    pool->idle_count++;
    l->idle = true;
    l->idle_since_ms = loop_now_ms(multi_loop(pool->multi));
    list_push_back(&pool->idle, &l->link);
    if (poll_set(l->poll, POLL_READABLE) < 0) {
        peer_link_free(l);
    } else if (pool->idle_count > LIMIT_PEER_IDLE_CONNECTIONS) {
        peer_link_free(oldest_idle(pool));
    }
    if (!timer_running(&pool->expiry)) {
        (void)timer_start(&pool->expiry, LIMIT_PEER_IDLE_MS);
    }
}

void peer_link_free(struct peer_link *l)
{
    if (!l) {
        return;
    }
    if (l->idle) {
        l->pool->idle_count--;
    } else {
        l->pool->lent_count--;
    }
    list_remove(&l->link);
    poll_free(l->poll);
    if (l->fd >= 0) {
        close(l->fd);
    }
    multi_remove(&l->transfer);
    free(l);
}
