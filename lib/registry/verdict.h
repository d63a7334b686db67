/* verdict.h - is this head of a peer's answer what was asked for?
 *
 * Pure. The first holder's answer fixes length and range; every later one must agree with it. */
#pragma once

#include "http/response.h"
#include "registry/mirror.h"

/* What a holder is asked for. */
struct want {
    const struct mirror_query *query; /* its Range counts only while `fixed` is false */
    bool by_digest;
    bool fixed;      /* first, last and total are known and bytes from `first` are wanted */
    bool follows;    /* from a download under way, too: X-Spegel-Follow */
    bool whole_only; /* the query's Range does not count (a manifest, a HEAD) */
    bool partial;    /* our client's answer is a 206 */
    int64_t first, last, total; /* of the blob; last is inclusive, -1 for an empty one */
};

enum verdict {
    VERDICT_GOOD,
    VERDICT_UNSATISFIABLE, /* 416: the range lies outside; as good an answer as any */
    VERDICT_BUSY,          /* 503, 429: not its fault */
    VERDICT_ABSENT,        /* 404: it holds it no more */
    VERDICT_BAD,           /* anything that must not be relayed */
};

/* GOOD fills ret_found with the range that follows, as for `fixed`, and UNSATISFIABLE its total;
 * all but GOOD set ret_outcome to a word or two for detail.attempts (static text). */
enum verdict verdict_of(const struct want *want, const struct http_response *response,
                        struct want *ret_found, const char **ret_outcome);
