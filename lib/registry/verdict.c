#include "registry/verdict.h"

#include <stddef.h>
#include <string.h>

#include "base/limits.h"
#include "oci/range.h"

static enum verdict bad(const char *outcome, const char **ret_outcome)
{
    *ret_outcome = outcome;
    return VERDICT_BAD;
}

static enum verdict by_status(const struct want *want, const struct http_response *response,
                              struct want *found, const char **ret_outcome)
{
    switch (response->status) {
    case 404:
        *ret_outcome = "not found";
        return VERDICT_ABSENT;
    case 429:
    case 503:
        *ret_outcome = "busy";
        return VERDICT_BUSY;
    case 401:
    case 403:
        return bad("denied", ret_outcome);
    case 416:
        if (want->fixed || want->whole_only || !want->query->range || response->range_total < 0) {
            break;
        }
        found->total = response->range_total;
        *ret_outcome = "range not satisfiable";
        return VERDICT_UNSATISFIABLE;
    default:
        break;
    }
    return bad("unexpected status", ret_outcome);
}

/* RFC 9110 section 14.4: what came must be what was asked, to the byte. */
static bool part_found(const struct want *want, const struct http_response *r, struct want *found)
{
    found->first = r->range_first;
    found->last = r->range_last;
    found->total = r->range_total;
    if (found->first < 0 || found->last < found->first || found->total <= found->last ||
        r->content_length != found->last - found->first + 1) {
        return false;
    }
    if (want->fixed) {
        return found->first == want->first && found->last == want->last &&
               found->total == want->total;
    }
    int64_t first, last;
    return range_parse(want->query->range, found->total, &first, &last) == RANGE_PART &&
           first == found->first && last == found->last;
}

static bool names_other_digest(const struct want *want, const struct http_response *r)
{
    struct digest named;
    const char *text = r->docker_content_digest;
    if (text[0] == 0) {
        return !want->by_digest; /* a tag's digest is what the bytes are checked against */
    }
    return digest_parse(text, strlen(text), &named) < 0 ||
           (want->by_digest && !digest_equal(&named, &want->query->digest));
}

enum verdict verdict_of(const struct want *want, const struct http_response *response,
                        struct want *ret_found, const char **ret_outcome)
{
    const struct mirror_query *q = want->query;
    struct want found = *want;
    bool ranged = want->fixed || (q->range && !want->whole_only);
    if (response->status != 200 && response->status != 206) {
        enum verdict v = by_status(want, response, &found, ret_outcome);
        if (v == VERDICT_UNSATISFIABLE) {
            *ret_found = found;
        }
        return v;
    }
    if (response->chunked || response->content_encoded) {
        return bad("encoded answer", ret_outcome);
    }
    if (response->content_length < 0) {
        return bad("no length", ret_outcome);
    }
    if (names_other_digest(want, response)) {
        return bad("wrong digest", ret_outcome);
    }
    if (q->kind == MIRROR_MANIFEST) {
        if (response->content_length == 0 ||
            response->content_length > LIMIT_VERIFIED_MANIFEST_BYTES) {
            return bad("wrong length", ret_outcome);
        }
        if (response->content_type[0] == 0) {
            return bad("no media type", ret_outcome);
        }
    }
    if (ranged != (response->status == 206)) {
        return bad("wrong range", ret_outcome);
    }
    if (ranged) {
        if (!part_found(want, response, &found)) {
            return bad("wrong range", ret_outcome);
        }
        found.partial = want->fixed ? want->partial : true;
    } else {
        found.first = 0;
        found.total = response->content_length;
        found.last = found.total - 1;
    }
    found.fixed = true;
    *ret_found = found;
    return VERDICT_GOOD;
}
