/* inventory.h - what this node holds, and what of it may be answered and announced.
 *
 * Pure bookkeeping: the stores (containerd.h, layout.h) report blobs, manifests and image records
 * in any order; look-ups are memory reads. Implements "Content rules" of the architecture:
 *   - a blob is held when its store reported it, with its size;
 *   - a tag is answered when the blob its image record points at is held;
 *   - a digest is neither announced nor served when every image that reaches it is filtered; with
 *     filters set, a blob that no image reaches yet is not announced (it is served);
 *   - one digest may be reached by many images; reaching is recomputed when images or manifests
 *     change, through manifests known so far.
 * What should be announced changes in steps told to one listener, exactly once per change. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/digest.h"
#include "oci/filter.h"
#include "oci/manifest.h"
#include "oci/reference.h"

struct inventory;

/* A directory holding blobs/sha256; blobs say which of them they are in, so that several OCI
 * layouts (or one containerd) can be served together. Owned by its store. */
struct blob_root {
    char *path; /* of the directory that contains "blobs" */
};

struct inventory_blob {
    struct digest digest;
    int64_t size_bytes;
    const struct blob_root *root;
    bool is_manifest;         /* parsed as one: never answered under /blobs/ */
    bool filtered;            /* every image that reaches it is filtered */
    bool reached;             /* by at least one image */
    const char *content_type; /* what to serve it with; valid until the next change */
};

/* Announced things: a digest, or a tag as "registry/repository:tag". Exactly one is set. */
struct inventory_change {
    bool added;
    const struct digest *digest;
    const char *tag;
};
typedef void inventory_listener(void *arg, const struct inventory_change *change);

/* `filter` must outlive the inventory. 0 or -ENOMEM. */
int inventory_new(const struct filter *filter, inventory_listener *listener, void *arg,
                  struct inventory **ret_inventory);
void inventory_free(struct inventory *inv); /* tells the listener nothing */

/* Between these (they nest) the listener is told nothing and reaching is not taken back, so that a
 * listing of thousands costs one recomputation and no announcement comes and goes. Never needed for
 * correctness; begin and end within one callback of the loop. */
void inventory_batch_begin(struct inventory *inv);
void inventory_batch_end(struct inventory *inv);

/* --- told by stores; each is idempotent; 0 or -ENOMEM (then nothing changed) --- */

/* The same blob may lie in several roots; the first sound copy is served. A new size of a copy
 * replaces the old. */
int inventory_add_blob(struct inventory *inv, const struct digest *d, int64_t size_bytes,
                       const struct blob_root *root);
void inventory_remove_blob(struct inventory *inv, const struct digest *d); /* every copy */
void inventory_remove_copy(struct inventory *inv, const struct digest *d,
                           const struct blob_root *root);

/* The copy that is served was found corrupt: it counts as not held, whatever a listing says, until
 * its store removes it or reports another size. Another copy takes its place. */
void inventory_condemn(struct inventory *inv, const struct digest *d);

/* A manifest's file may have been rewritten: inventory_unparsed returns it (again). */
void inventory_recheck(struct inventory *inv, const struct digest *d);

/* What a manifest blob says; `m` is borrowed for the call. May come before or after the blob. The
 * digest names the content, so what a second call says is taken to be the same. */
int inventory_set_manifest(struct inventory *inv, const struct digest *d, const struct manifest *m);

/* An image record. `name` is parsed here: 0, -EINVAL for a name that is no reference (err says
 * why; the caller counts and logs it once), -ENOMEM. A second call moves the tag. Names without a
 * tag ("repo@sha256:…") make their digest reachable. `media_type` (may be NULL) is the
 * descriptor's. `announce_tag` false: the tag is answered here but not announced.
 *
 * A name that starts with '/' ("/app:v1") has no registry: it is answered whatever registry is
 * asked for, unless an image of that very registry has the tag, and its tag is never announced.
 * A name with both a tag and a digest counts as one without a tag: the tag has its own record. */
int inventory_set_image(struct inventory *inv, const char *name, const struct digest *target,
                        const char *media_type, bool announce_tag, struct error *err);
void inventory_remove_image(struct inventory *inv, const char *name);

/* Manifests that are reached, held and not yet parsed: the store reads them. Fills at most `max`
 * digests and returns how many; one returned is not returned again until its blob is removed and
 * added, or inventory_set_manifest was called. `unparsable` ends the asking for good. */
size_t inventory_unparsed(struct inventory *inv, struct digest *ret_digests, size_t max);
void inventory_set_unparsable(struct inventory *inv, const struct digest *d);

/* --- asked by the registry --- */
const struct inventory_blob *inventory_blob(const struct inventory *inv, const struct digest *d);

/* The target of a tag that can be answered; NULL otherwise (unknown, filtered, target not held).
 * registry NULL or "": the one registry here that has that repository and tag; when several have
 * it, NULL and *ret_choices (may be NULL) set to how many. */
const struct inventory_blob *inventory_tag(const struct inventory *inv, const char *registry,
                                           const char *repository, const char *tag,
                                           size_t *ret_choices);
/* The names of those registries, sorted; returns how many were written. They live until the next
 * change. */
size_t inventory_registries_of(const struct inventory *inv, const char *repository,
                               const char **ret_registries, size_t max);

/* Sorted listings for people with curl: repository names (without registry; once each) or the tags
 * of one repository, after `last` ("" = from the start). registry NULL or "": any. The strings
 * live until the next change. Returns the count written; *ret_more when there is more. */
size_t inventory_repositories(const struct inventory *inv, const char *registry, const char *last,
                              const char **ret_names, size_t max, bool *ret_more);
size_t inventory_tags(const struct inventory *inv, const char *registry, const char *repository,
                      const char *last, const char **ret_tags, size_t max, bool *ret_more);
bool inventory_has_repository(const struct inventory *inv, const char *registry,
                              const char *repository);

/* Manifests held here, and not filtered, whose `subject` is `d` (referrers). Their children are
 * left out. */
typedef void inventory_referrer_fn(void *arg, const struct inventory_blob *blob,
                                   const struct manifest *m);
void inventory_referrers(const struct inventory *inv, const struct digest *d,
                         inventory_referrer_fn *fn, void *arg);

/* Walks everything that should be announced now, and figures for metrics, per registry. */
void inventory_announced(const struct inventory *inv, inventory_listener *fn, void *arg);
struct inventory_figures {
    const char *registry; /* "" for digests no image reaches */
    size_t tags, image_digests, content_digests;
};
size_t inventory_figures(const struct inventory *inv, struct inventory_figures *ret_figures,
                         size_t max);
size_t inventory_blob_count(const struct inventory *inv);

/* How many images, by digest and not filtered, have the layers that a pull brings. With an index
 * that is decided by the manifests in it whose files and configurations are here: a pull brings one
 * platform's, rarely more. What is no image, or not known well enough, counts as neither. At most
 * LIMIT_LAYER_LOOKS names and children are looked at, in no order. */
struct inventory_layers {
    size_t with, without; /* half of one's layers is enough to be `with` */
};
struct inventory_layers inventory_layers(const struct inventory *inv);

/* What an image record points at, filtered and held or not; NULL without such a record. */
const struct digest *inventory_image(const struct inventory *inv, const char *name);

/* Walks all blobs of one root, condemned ones included (a rescan compares them with the directory).
 * `size_bytes` and `root` are that copy's. fn may remove the blob it was given. */
typedef void inventory_blob_fn(void *arg, const struct inventory_blob *blob);
void inventory_each_blob(struct inventory *inv, const struct blob_root *root, inventory_blob_fn *fn,
                         void *arg);
/* And all image names (for comparison with a fresh listing). fn may remove the image. */
typedef void inventory_image_fn(void *arg, const char *name, const struct digest *target);
void inventory_each_image(struct inventory *inv, inventory_image_fn *fn, void *arg);

/* Opens a held blob's file read-only, checking type and size: an fd (caller closes), or -ENOENT
 * when it is gone or wrong; then the blob was withdrawn from the inventory (and pointers to it are
 * dead). A copy that is gone or wrong is withdrawn and the next one tried. Other errors (EMFILE,
 * EACCES) withdraw nothing. */
int inventory_open(struct inventory *inv, const struct digest *d);
