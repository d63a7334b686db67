/* layout_index.h - the index.json of an OCI image layout, read as a list of named images.
 *
 * image-spec, "Image Layout". Pure. A descriptor that is malformed is skipped and counted, the rest
 * goes on; only a document that is no index at all is an error.
 *
 * Names, in this order: the annotation io.containerd.image.name; org.opencontainers.image.ref.name
 * if it is a full reference; else the layout's own repository, which has no registry
 * ("/repository…", see inventory_set_image), with ref.name as tag if it is one. The only descriptor
 * of an index that has no name is "latest", by the custom of everyone's clients. Descriptors
 * without a usable tag, and later ones of a name that was given already, count by their digest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/reference.h"

struct layout_image {
    char *name; /* owned */
    struct digest target;
    char media_type[MEDIA_TYPE_BYTES]; /* "" when absent */
};

struct layout_index {
    struct layout_image *images; /* sorted by name, each name once; owned */
    size_t count;
    size_t malformed;     /* descriptors skipped, and names that could not be used */
    struct error problem; /* the first of them */
    bool has_unnamed;     /* some have no registry */
};

/* `repository` is the layout's own. 0; -EPROTO, -E2BIG with a sentence; -ENOMEM. */
int layout_index_parse(const char *json, size_t json_bytes, const char *repository,
                       struct layout_index *ret_index, struct error *err);
void layout_index_done(struct layout_index *index); /* zeroed is fine */

/* A repository name made from a directory's: lower case, with '-' for all that no name has. */
void layout_repository(const char *path, char ret_repository[REFERENCE_REPOSITORY_BYTES]);
