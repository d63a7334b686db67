/* path.h - what a request's target asks for (distribution-spec, "Endpoints").
 *
 * The target arrives as sent. The path is taken literally: percent-encoding in a path never names
 * an image, so it is refused (-EINVAL, answered 400), as are "..", NUL, and over-long names. The
 * query is decoded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "oci/digest.h"
#include "oci/reference.h"

enum path_kind {
    PATH_PING,      /* /v2/ */
    PATH_PING_BARE, /* /v2: 307 to /v2/ */
    PATH_MANIFEST_TAG,
    PATH_MANIFEST_DIGEST,
    PATH_BLOB,
    PATH_CATALOG,   /* /v2/_catalog */
    PATH_TAGS,      /* /v2/<name>/tags/list */
    PATH_REFERRERS, /* /v2/<name>/referrers/<digest> */
    PATH_OTHER, /* not under /v2: `plain` holds the path (probes, metrics, /id, /cluster/v1/…) */
    PATH_UNKNOWN, /* under /v2 but none of these: 404 */
};

struct path {
    enum path_kind kind;
    char plain[256]; /* PATH_OTHER: the path without the query, cut never: longer is -EINVAL */
    char repository[REFERENCE_REPOSITORY_BYTES];
    char tag[REFERENCE_TAG_BYTES];
    bool digest_supported; /* false: well-formed digest of another algorithm; answer 404 */
    struct digest digest;
    /* query parameters, decoded; "" when absent */
    char ns[REFERENCE_REGISTRY_BYTES];
    char artifact_type[256];
    char last[REFERENCE_REPOSITORY_BYTES];
    int64_t n; /* -1 when absent */
};

/* 0, or -EINVAL with the sentence and *ret_code set to the spec's error code ("NAME_INVALID",
 * "DIGEST_INVALID", "TAG_INVALID", …). */
int path_parse(const char *target, struct path *ret_path, const char **ret_code, struct error *err);
