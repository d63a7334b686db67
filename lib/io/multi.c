#include "io/multi.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"

struct multi {
    struct loop *loop;
    CURLM *handle;
    struct timer timer;     /* libcurl's one time-out */
    struct defer timer_now; /* stands in for a timer that found no memory */
    struct defer deliver;
    struct list finished; /* transfers to be reported */
    struct list watches;
    size_t transfers;
};

/* One of libcurl's sockets. */
struct watch {
    struct list link;
    struct multi *multi;
    struct poll *poll;
    curl_socket_t fd;
};

/* Takes every finished transfer out of libcurl's queue, whatever it says about running ones: the
 * count may be zero while messages wait, and the last time-out announces nothing else. */
static void multi_collect(struct multi *m)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(m->handle, &left));) {
        struct multi_transfer *t = NULL;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t) != CURLE_OK) {
            continue;
        }
        t->code = message->data.result;
        list_remove(&t->link);
        list_push_back(&m->finished, &t->link);
        defer_start(m->loop, &m->deliver);
    }
}

static void multi_deliver(void *arg)
{
    struct multi *m = arg;
    while (!list_empty(&m->finished)) {
        struct multi_transfer *t = CONTAINER_OF(m->finished.next, struct multi_transfer, link);
        list_remove(&t->link);
        t->finished(t, t->code);
    }
}

static void multi_socket_ready(void *arg, int events)
{
    struct watch *watch = arg;
    struct multi *m = watch->multi;
    int mask = (events & POLL_READABLE ? CURL_CSELECT_IN : 0) |
               (events & POLL_WRITABLE ? CURL_CSELECT_OUT : 0);
    int running;
    /* `watch` may be gone after this */
    (void)curl_multi_socket_action(m->handle, watch->fd, mask ? mask : CURL_CSELECT_ERR, &running);
    multi_collect(m);
}

static void watch_free(struct watch *watch)
{
    list_remove(&watch->link);
    poll_free(watch->poll);
    free(watch);
}

static struct watch *watch_new(struct multi *m, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        return NULL;
    }
    *watch = (struct watch){.multi = m, .fd = fd};
    if (poll_new(m->loop, fd, multi_socket_ready, watch, &watch->poll) < 0) {
        free(watch);
        return NULL;
    }
    list_push_back(&m->watches, &watch->link);
    curl_multi_assign(m->handle, fd, watch);
    return watch;
}

/* Never fails: that would end every transfer of the multi for good. A socket that could not be
 * watched runs into its transfer's own time-out instead. */
static int multi_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct multi *m = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            curl_multi_assign(m->handle, fd, NULL);
            watch_free(watch);
        }
        return 0;
    }
    if (!watch && !(watch = watch_new(m, fd))) {
        return 0;
    }
    (void)poll_set(watch->poll, (what & CURL_POLL_IN ? POLL_READABLE : 0) |
                                    (what & CURL_POLL_OUT ? POLL_WRITABLE : 0));
    return 0;
}

static void multi_timed_out(void *arg)
{
    struct multi *m = arg;
    int running;
    /* Early is harmless: libcurl then asks for the timer again. */
    (void)curl_multi_socket_action(m->handle, CURL_SOCKET_TIMEOUT, 0, &running);
    multi_collect(m);
}

static int multi_on_timer(CURLM *handle, long timeout_ms, void *arg)
{
    (void)handle;
    struct multi *m = arg;
    if (timeout_ms < 0) {
        timer_stop(&m->timer);
        defer_stop(&m->timer_now);
    } else if (timeout_ms == 0 || timer_start(&m->timer, (uint64_t)timeout_ms) < 0) {
        timer_stop(&m->timer);
        defer_start(m->loop, &m->timer_now);
    }
    return 0;
}

int multi_new(struct loop *loop, struct multi **ret_multi)
{
    static bool initialised;
    if (!initialised) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
            return -ENOMEM;
        }
        initialised = true;
    }
    struct multi *m = calloc(1, sizeof(*m));
    if (!m) {
        return -ENOMEM;
    }
    m->loop = loop;
    m->handle = curl_multi_init();
    if (!m->handle) {
        free(m);
        return -ENOMEM;
    }
    list_init(&m->finished);
    list_init(&m->watches);
    timer_init(&m->timer, loop, multi_timed_out, m);
    defer_init(&m->timer_now, multi_timed_out, m);
    defer_init(&m->deliver, multi_deliver, m);
    curl_multi_setopt(m->handle, CURLMOPT_SOCKETFUNCTION, multi_on_socket);
    curl_multi_setopt(m->handle, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->handle, CURLMOPT_TIMERFUNCTION, multi_on_timer);
    curl_multi_setopt(m->handle, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->handle, CURLMOPT_MAXCONNECTS, (long)LIMIT_FETCH_IDLE_CONNECTIONS);
    curl_multi_setopt(m->handle, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    *ret_multi = m;
    return 0;
}

void multi_free(struct multi *m)
{
    if (!m) {
        return;
    }
    CHECK(m->transfers == 0);
    curl_multi_cleanup(m->handle);
    LIST_EACH_SAFE (link, &m->watches) {
        watch_free(CONTAINER_OF(link, struct watch, link));
    }
    timer_stop(&m->timer);
    defer_stop(&m->timer_now);
    defer_stop(&m->deliver);
    free(m);
}

struct loop *multi_loop(struct multi *m)
{
    return m->loop;
}

CURL *multi_easy_new(void)
{
    CURL *easy = curl_easy_init();
    if (!easy) {
        return NULL;
    }
    bool good =
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "spegel") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK;
    if (!good) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

int multi_add(struct multi *m, struct multi_transfer *t)
{
    CHECK(t->easy && t->finished && !t->multi);
    list_init(&t->link);
    if (curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t) != CURLE_OK ||
        curl_multi_add_handle(m->handle, t->easy) != CURLM_OK) {
        return -ENOMEM;
    }
    t->multi = m;
    m->transfers++;
    return 0;
}

void multi_remove(struct multi_transfer *t)
{
    if (t->multi) {
        list_remove(&t->link);
        curl_multi_remove_handle(t->multi->handle, t->easy);
        t->multi->transfers--;
        t->multi = NULL;
    }
    if (t->easy) {
        curl_easy_cleanup(t->easy);
        t->easy = NULL;
    }
}

int multi_errno(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ENOENT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return -EPROTO;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return -EKEYREJECTED;
    default:
        return -EIO;
    }
}
