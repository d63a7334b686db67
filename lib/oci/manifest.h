/* manifest.h - the little of a manifest that a mirror needs: its media type and its children.
 *
 * Reads OCI image manifests and indexes and Docker's schema 2 equivalents (image-spec, "manifest"
 * and "image-index"). Hostile JSON (nesting, counts, sizes beyond limits.h) is an error. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "oci/digest.h"

#define MEDIA_TYPE_BYTES 128

struct manifest_child {
    struct digest digest;
    int64_t size_bytes;                /* -1 when absent */
    bool is_manifest;                  /* listed under `manifests`, or of a manifest's media type */
    char media_type[MEDIA_TYPE_BYTES]; /* "" when absent or too long */
};

struct manifest {
    /* `mediaType`, else ""; all media types here are sane ones, others count as absent */
    char media_type[MEDIA_TYPE_BYTES];
    bool is_index;                        /* has `manifests` */
    char artifact_type[MEDIA_TYPE_BYTES]; /* artifactType, else the config's media type */
    bool has_subject;
    struct digest subject;
    struct manifest_child *children; /* config and layers, or manifests; owned */
    size_t child_count;
    char *annotations_json; /* the `annotations` object as text, NULL when absent or very long;
                               owned */
};

/* 0, -EPROTO (not JSON, or not a manifest; sentence in err), -E2BIG (over a limit), -ENOMEM.
 * Children of another digest algorithm are left out. */
int manifest_parse(const char *json, size_t json_bytes, struct manifest *ret_manifest,
                   struct error *err);
void manifest_done(struct manifest *m); /* NULL and zeroed are fine */

/* The Content-Type to serve a manifest with: its own, else the descriptor's that names it
 * (may be NULL or ""), else OCI index if it has manifests, OCI manifest otherwise. The result
 * lives as long as its arguments. */
const char *manifest_content_type(const struct manifest *m, const char *descriptor_media_type);

/* Whether it may stand in a response's head: visible ASCII with a slash, shorter than
 * MEDIA_TYPE_BYTES. */
bool media_type_is_sane(const char *media_type);

/* Whether a media type names a manifest or an index of either family. */
bool media_type_is_manifest(const char *media_type);
bool media_type_is_index(const char *media_type);
/* Or an image's configuration, or one of its layers. Layers that may not be distributed do not
 * count: nobody has to have them. */
bool media_type_is_config(const char *media_type);
bool media_type_is_layer(const char *media_type);
