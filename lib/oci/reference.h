/* reference.h - image names as containerd records them: registry/repository[:tag][@digest].
 *
 * Always fully qualified ("docker.io/library/busybox:1.36"); nothing is normalised. Grammar:
 * distribution-spec, "Pulling manifests" (name and tag), and containerd's reference docs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "oci/digest.h"

#define REFERENCE_REGISTRY_BYTES 262 /* host 255 + ':' + port + NUL */
#define REFERENCE_REPOSITORY_BYTES 256
#define REFERENCE_TAG_BYTES 129

struct reference {
    char registry[REFERENCE_REGISTRY_BYTES];
    char repository[REFERENCE_REPOSITORY_BYTES];
    char tag[REFERENCE_TAG_BYTES]; /* "" when there is none */
    bool has_digest;
    struct digest digest;
};

/* 0 or -EINVAL with the sentence in err (may be NULL). The first component is a registry only if
 * it holds a '.' or ':' or is "localhost" or bracketed IPv6; otherwise -EINVAL. */
int reference_parse(const char *text, struct reference *ret_reference, struct error *err);

/* The grammar's parts by themselves. A registry alone may be any host, with or without a port. */
bool reference_is_registry(const char *text, size_t n);
bool reference_is_repository(const char *text, size_t n); /* [a-z0-9]+([._-]…)*(/…)*, ≤ 255 */
bool reference_is_tag(const char *text, size_t n);        /* [A-Za-z0-9_][A-Za-z0-9._-]{0,127} */

/* Whether a name is a bare digest ("sha256:…"): CRI records each image once more under its id,
 * which nobody can pull by. Such names are no references and no mistake either. */
bool reference_is_image_id(const char *text);
