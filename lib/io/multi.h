/* multi.h - libcurl's multi interface under our loop. For files in io/ only.
 *
 * A transfer is an easy handle set up by its owner plus a callback. libcurl's sockets are watched
 * with loop.h's polls and its one timer with a loop timer; finished transfers are collected after
 * every call into libcurl, whatever the number of running ones, and reported from a deferred call,
 * never from inside libcurl, so that a callback may do anything. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "base/list.h"
#include "io/loop.h"

struct multi;

int multi_new(struct loop *loop, struct multi **ret_multi); /* 0 or -ENOMEM */
void multi_free(struct multi *m); /* every transfer must have been removed; NULL is fine */
struct loop *multi_loop(struct multi *m);

struct multi_transfer { /* caller-owned, must not move while added */
    CURL *easy;         /* NULL: not set up; CURLOPT_PRIVATE is ours */
    /* The transfer ended; once, from the loop. The easy handle stays added (a CONNECT_ONLY
     * connection lives in there) until multi_remove. Not called after multi_remove. */
    void (*finished)(struct multi_transfer *t, CURLcode code);

    struct multi *multi; /* internal; NULL: not added */
    struct list link;    /* internal: in the queue of finished ones */
    CURLcode code;       /* internal */
};

/* An easy handle with what all of our transfers share: no signals, no proxy, netrc, cookies,
 * redirects or HTTP/0.9, http and https only, User-Agent "spegel". NULL without memory. */
CURL *multi_easy_new(void);

int multi_add(struct multi *m, struct multi_transfer *t); /* 0 or -ENOMEM */
/* Takes it out and frees the easy handle: an unfinished transfer is aborted, its connection closed,
 * and so is that of a CONNECT_ONLY transfer. Any number of times; also for one that is all zero. */
void multi_remove(struct multi_transfer *t);

int multi_errno(CURLcode code); /* the negative errno that says the same */
