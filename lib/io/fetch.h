/* fetch.h - ordinary HTTP(S) transfers over libcurl: a whole body into a capped buffer.
 *
 * For gossip's sets and snapshots and for the HTTP bootstrap. Never netrc, cookies, redirects,
 * HTTP/0.9 or any protocol but http and https; a proxy only where the request says so, for nodes
 * often have http_proxy set (architecture.md, "Moving bytes"). Connections are kept and reused.
 * The bodies that the mirror relays do not come this way: see peer.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/multi.h"

struct fetcher;
/* Owns a libcurl multi handle driven by the loop. 0 or -ENOMEM. */
int fetcher_new(struct loop *loop, struct fetcher **ret_fetcher);
/* Every fetch must have been cancelled or have ended (its callback has run). NULL is fine. */
void fetcher_free(struct fetcher *f);
struct multi *fetcher_multi(struct fetcher *f); /* shared with peer.h */

/* What to ask for. Everything is copied by fetch_start. */
struct fetch_options {
    const char *url;            /* "http://…" or "https://…", absolute */
    const union address *to;    /* connect here whatever the URL's host says; NULL: resolve it */
    bool head;                  /* HEAD instead of GET */
    const char *const *headers; /* "Name: value" lines, NULL-terminated; NULL: none */
    size_t body_max_bytes;      /* a longer body ends the fetch with -EFBIG */
    bool length_needed;         /* -EFBIG, before anything of it is kept, for a body that does not
                                   say how long it is or says too much */
    uint32_t timeout_ms;        /* for everything, from now; 0 is refused */
    bool proxy_env;             /* honour http_proxy, https_proxy, no_proxy: HTTP bootstrap only */
    const char *ca_dir;         /* a directory of PEM files (*.crt, *.pem, *.cert: all are trusted
                                   beside the system's own), NULL: the system's only */
};

/* One request: the caller's memory, must not move or be freed until `callback` ran. */
struct fetch {
    /* Runs exactly once, from the loop, never inside fetch_start or fetch_cancel. The fetch and its
     * body are the caller's again: it may be started anew from inside, or freed. fetch_done frees
     * the body. */
    void (*callback)(struct fetch *fetch, void *arg);
    void *arg;

    /* Results, valid from the callback on. */
    int error;           /* 0 the exchange is complete, whatever the status; else negative errno:
                            -ETIMEDOUT, -ECONNREFUSED, -ENOENT (name), -EFBIG, -EPROTO, -ECANCELED,
                            -EKEYREJECTED (TLS certificate), -EIO, … */
    int status;          /* HTTP status, 0 when there was none */
    struct buf body;     /* owned by the fetch until buf_take or fetch_done */
    struct error reason; /* a sentence when error != 0 */
    union address peer;  /* who was connected to, without a port; no family when nobody was */

    /* internal */
    struct fetcher *fetcher;
    struct multi_transfer transfer;
    bool length_needed;
    struct curl_slist *header_list, *connect_list;
    struct defer cancelled;
};

/* 0; -EINVAL (URL of another kind, no time-out), -ENOMEM, or what reading ca_dir said
 * (fetch->reason then has the sentence): the callback never runs. */
int fetch_start(struct fetcher *f, struct fetch *fetch, const struct fetch_options *options,
                void (*callback)(struct fetch *fetch, void *arg), void *arg);

/* Ends it with -ECANCELED; the callback still comes, in a later turn of the loop. Not started or
 * over: nothing happens. */
void fetch_cancel(struct fetch *fetch);

/* Frees the body. After the callback, or for a fetch that is all zero. */
void fetch_done(struct fetch *fetch);
