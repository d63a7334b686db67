/* What people with curl ask for: the catalog, the tags of a repository, the referrers of a
 * manifest (distribution-spec, "Content Discovery"). Listings cover this node only. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/head.h"
#include "registry/answer.h"

#define PAGE_MAX 1000
#define JSON_BYTES (4 * 1024 * 1024)
#define FIELDS_BYTES 4096

static void answer_cjson(struct conn *c, const struct buf *fields, cJSON *json)
{
    struct buf text;
    buf_init(&text, JSON_BYTES);
    char *printed = json ? cJSON_PrintUnformatted(json) : NULL;
    if (!printed || buf_puts(&text, printed) < 0 || buf_puts(&text, "\n") < 0) {
        answer_no_memory(c);
    } else {
        answer_json(c, 200, fields, &text);
    }
    free(printed);
    buf_done(&text);
    cJSON_Delete(json);
}

static size_t page_size(const struct registry_query *q)
{
    return q->path.n < 0 || q->path.n > PAGE_MAX ? PAGE_MAX : (size_t)q->path.n;
}

/* RFC 8288 as the distribution spec uses it: the same question, behind the last one answered. */
static int link_field(struct buf *fields, const struct registry_query *q, const char *path,
                      size_t n, const char *last)
{
    char link[REFERENCE_REPOSITORY_BYTES * 2 + REFERENCE_REGISTRY_BYTES + 128];
    const char *ns = q->path.ns;
    (void)snprintf(link, sizeof link, "<%s?n=%zu&last=%s%s%s>; rel=\"next\"", path, n, last,
                   ns[0] ? "&ns=" : "", ns);
    return http_head_field(fields, "Link", link);
}

static cJSON *names_json(const char *key, const char *const *names, size_t count,
                         const char *repository)
{
    cJSON *root = cJSON_CreateObject();
    if (repository && !cJSON_AddStringToObject(root, "name", repository)) {
        cJSON_Delete(root);
        return NULL;
    }
    cJSON *array = cJSON_AddArrayToObject(root, key);
    for (size_t i = 0; array && i < count; i++) {
        cJSON *name = cJSON_CreateString(names[i]);
        if (!name || !cJSON_AddItemToArray(array, name)) {
            cJSON_Delete(name);
            array = NULL;
        }
    }
    if (!array) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

static void answer_page(struct conn *c, const struct registry_query *q, const char *path,
                        const char *key, const char *repository, const char *const *names,
                        size_t count, bool more)
{
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    int failed = answer_fields(&fields, q);
    if (more && count) {
        failed |= link_field(&fields, q, path, count, names[count - 1]);
    }
    if (failed) {
        answer_no_memory(c);
    } else {
        answer_cjson(c, &fields, names_json(key, names, count, repository));
    }
    buf_done(&fields);
}

void listing_catalog(struct registry *r, struct conn *c, const struct registry_query *q)
{
    const char *names[PAGE_MAX];
    bool more = false;
    size_t count = inventory_repositories(r->config.inventory, q->registry, q->path.last, names,
                                          page_size(q), &more);
    answer_page(c, q, "/v2/_catalog", "repositories", NULL, names, count, more);
}

void listing_tags(struct registry *r, struct conn *c, const struct registry_query *q)
{
    const char *names[PAGE_MAX];
    char path[REFERENCE_REPOSITORY_BYTES + 32];
    bool more = false;
    if (!inventory_has_repository(r->config.inventory, q->registry, q->path.repository)) {
        answer_problem(c, 404, "NAME_UNKNOWN", "no such repository on this node", NULL);
        return;
    }
    size_t count = inventory_tags(r->config.inventory, q->registry, q->path.repository,
                                  q->path.last, names, page_size(q), &more);
    (void)snprintf(path, sizeof path, "/v2/%s/tags/list", q->path.repository);
    answer_page(c, q, path, "tags", q->path.repository, names, count, more);
}

/* --- referrers --- */

struct referrers {
    const char *artifact_type; /* "" or NULL: all */
    cJSON *manifests;
    bool failed;
};

static void referrers_add(void *arg, const struct inventory_blob *blob, const struct manifest *m)
{
    struct referrers *list = arg;
    if (blob->filtered ||
        (list->artifact_type[0] && strcmp(list->artifact_type, m->artifact_type) != 0)) {
        return;
    }
    char digest[DIGEST_TEXT_BYTES];
    digest_format(&blob->digest, digest);
    cJSON *item = cJSON_CreateObject();
    bool good = cJSON_AddStringToObject(item, "mediaType", blob->content_type) &&
                cJSON_AddStringToObject(item, "digest", digest) &&
                cJSON_AddNumberToObject(item, "size", (double)blob->size_bytes);
    if (good && m->artifact_type[0]) {
        good = cJSON_AddStringToObject(item, "artifactType", m->artifact_type);
    }
    if (good && m->annotations_json) {
        good = cJSON_AddRawToObject(item, "annotations", m->annotations_json);
    }
    if (!good || !cJSON_AddItemToArray(list->manifests, item)) {
        cJSON_Delete(item);
        list->failed = true;
    }
}

void listing_referrers(struct registry *r, struct conn *c, const struct registry_query *q)
{
    cJSON *root = cJSON_CreateObject();
    struct referrers list = {.artifact_type = q->path.artifact_type};
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    list.failed =
        !cJSON_AddNumberToObject(root, "schemaVersion", 2) ||
        !cJSON_AddStringToObject(root, "mediaType", "application/vnd.oci.image.index.v1+json") ||
        !(list.manifests = cJSON_AddArrayToObject(root, "manifests"));
    if (!list.failed && q->path.digest_supported) {
        inventory_referrers(r->config.inventory, &q->path.digest, referrers_add, &list);
    }
    int failed = answer_fields(&fields, q);
    if (q->path.artifact_type[0]) {
        failed |= http_head_field(&fields, "OCI-Filters-Applied", "artifactType");
    }
    /* The spec wants an index's type; answer_json's own Content-Type would be a second one. */
    char *printed = list.failed || failed ? NULL : cJSON_PrintUnformatted(root);
    failed |= http_head_field(&fields, "Content-Type", "application/vnd.oci.image.index.v1+json");
    if (!printed || failed) {
        answer_no_memory(c);
    } else {
        server_respond(c, 200, &fields, printed, strlen(printed));
    }
    free(printed);
    cJSON_Delete(root);
    buf_done(&fields);
}
