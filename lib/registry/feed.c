#include "registry/feed.h"

#include <errno.h>
#include <stdlib.h>

#include "registry/cold_internal.h"
#include "registry/content.h"

struct feed_child {
    struct list link; /* in the flight's children */
    struct cold_flight *flight;
    struct registry *registry;
    struct conn *conn; /* NULL once answered */
    struct registry_query query;
    uint64_t since_ms;
    int64_t total;             /* as it was told, once answered */
    struct growing_body *body; /* once answered with one */
};

static void child_leave(struct feed_child *child)
{
    if (child->flight) {
        list_remove(&child->link);
        child->flight->child_count--;
        child->flight = NULL;
    }
}

static void child_free(struct feed_child *child)
{
    child_leave(child);
    free(child);
}

static void child_body_over(void *arg, int status, int64_t bytes_sent)
{
    struct feed_child *child = arg;
    struct registry *r = child->registry;
    struct cold_counters *counters = cold_counters(r->config.cold);
    r->streams--;
    counters->bytes_fed += (uint64_t)bytes_sent;
    counters->fed_cut += status < 0 && status != -ECANCELED;
    child_free(child);
}

static bool child_can_begin(const struct feed_child *child)
{
    const struct cold_flight *f = child->flight;
    if (child->query.path.kind != PATH_BLOB || f->total < 0 || !cold_flight_has_ingest(f)) {
        return false;
    }
    int64_t first = content_first_byte(&child->query, f->total);
    return first < f->size; /* a 416 too needs no bytes */
}

static void child_begin(struct feed_child *child)
{
    struct cold_flight *f = child->flight;
    struct registry *r = child->registry;
    struct conn *c = child->conn;
    char origin[GOSSIP_ID_TEXT_BYTES];
    int fd = ingest_dup(f->ingest);
    if (fd < 0) {
        return; /* it may come back; the wait has an end */
    }
    child->conn = NULL;
    child->total = f->total;
    cold_counters(r->config.cold)->fed++;
    content_answer_growing(r, c, &child->query, f->total, fd, f->size, proof_origin(f, origin),
                           child_body_over, child, &child->body);
    if (child->body) {
        r->streams++;
    } else {
        child_free(child);
    }
}

static void child_refuse(struct feed_child *child, const char *why)
{
    cold_counters(child->registry->config.cold)->fed_refused++;
    answer_problem(child->conn, 404,
                   child->query.path.kind == PATH_BLOB ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", why,
                   "{\"attempts\":[]}");
    child_free(child);
}

void feed_flight_changed(struct cold_flight *f)
{
    uint64_t now_ms = loop_now_ms(f->cold->loop);
    LIST_EACH_SAFE (link, &f->children) {
        struct feed_child *child = CONTAINER_OF(link, struct feed_child, link);
        if (child->body && child->total != f->total) {
            growing_body_fail(child->body, -EIO); /* its Content-Length is not true any more */
            child_leave(child);
        } else if (child->body) {
            growing_body_grew(child->body, f->size);
        } else if (conn_is_half_closed(child->conn)) {
            child_refuse(child, "nobody waits for it"); /* it went to another parent */
        } else if (child_can_begin(child)) {
            child_begin(child);
        } else if (now_ms - child->since_ms >= LIMIT_SWARM_FIRST_BYTE_MS) {
            child_refuse(child, "nothing of it has come here either");
        }
    }
}

void feed_refuse_waiting(struct cold_flight *f)
{
    LIST_EACH_SAFE (link, &f->children) {
        struct feed_child *child = CONTAINER_OF(link, struct feed_child, link);
        if (!child->body) {
            child_refuse(child, "what was downloaded is not held");
        }
    }
}

void feed_flight_ended(struct cold_flight *f, int error)
{
    LIST_EACH_SAFE (link, &f->children) {
        struct feed_child *child = CONTAINER_OF(link, struct feed_child, link);
        if (child->body && error == 0) {
            growing_body_grew(child->body, f->total >= 0 ? f->total : f->size);
            growing_body_fail(child->body, -EIO); /* should it be shorter than was said */
            child_leave(child);
        } else if (child->body) {
            growing_body_fail(child->body, error);
            child_leave(child);
        } else if (error == 0) {
            struct conn *c = child->conn;
            struct registry *r = child->registry;
            const struct registry_query q = child->query;
            child_free(child);
            registry_digest(r, c, &q);
        } else {
            child_refuse(child, "the download that it was to come from ended");
        }
    }
}

/* Without one it is an ordinary request of a peer: what is held. */
void feed_read_badge(struct registry *r, struct registry_query *q)
{
    const char *text = q->request->spegel_follow;
    bool by_digest = q->path.kind == PATH_BLOB || q->path.kind == PATH_MANIFEST_DIGEST;
    if (q->from_peer && text && by_digest && q->path.digest_supported) {
        q->yields =
            r->config.badge && r->config.badge(r->config.arg, text, &q->path.digest, &q->follows);
        r->counters.bad_badges += !q->yields;
    }
}

bool feed_answer(struct registry *r, struct conn *c, const struct registry_query *q)
{
    struct cold_flight *f = r->config.cold ? cold_find(r->config.cold, &q->path.digest) : NULL;
    if (!f || f->quiet || q->request->method != HTTP_METHOD_GET) {
        return false;
    }
    if (f->child_count >= LIMIT_COLD_CHILDREN) {
        feed_flight_changed(f); /* some may have left */
    }
    struct feed_child *child = f->child_count < LIMIT_COLD_CHILDREN && r->streams < LIMIT_STREAMS
                                   ? calloc(1, sizeof *child)
                                   : NULL;
    if (!child) {
        cold_counters(r->config.cold)->fed_refused++;
        answer_unable(c, q, "others are being fed");
        return true;
    }
    *child = (struct feed_child){
        .flight = f, .registry = r, .conn = c, .query = *q, .since_ms = loop_now_ms(r->loop)};
    list_init(&child->link);
    list_push_back(&f->children, &child->link);
    f->child_count++;
    if (child_can_begin(child)) {
        child_begin(child);
    }
    return true;
}

void feed_gone(struct registry *r, struct conn *c)
{
    if (!r->config.cold) {
        return;
    }
    LIST_EACH (flight, &r->config.cold->flights) {
        struct cold_flight *f = CONTAINER_OF(flight, struct cold_flight, link);
        LIST_EACH (link, &f->children) {
            struct feed_child *child = CONTAINER_OF(link, struct feed_child, link);
            if (child->conn == c) {
                child_free(child);
                return;
            }
        }
    }
}

void feed_let_go(struct registry *r)
{
    if (!r->config.cold) {
        return;
    }
    LIST_EACH (flight, &r->config.cold->flights) {
        struct cold_flight *f = CONTAINER_OF(flight, struct cold_flight, link);
        LIST_EACH_SAFE (link, &f->children) {
            struct feed_child *child = CONTAINER_OF(link, struct feed_child, link);
            if (!child->body) {
                cold_counters(r->config.cold)->fed_refused++;
                answer_unable(child->conn, &child->query, "this node is leaving");
                child_free(child);
            }
        }
    }
}
