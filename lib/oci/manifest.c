#include "oci/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "oci/json.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
/* What layers' media types begin with: compression and encryption follow. */
#define OCI_LAYER "application/vnd.oci.image.layer.v1."
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff."

bool media_type_is_index(const char *media_type)
{
    return !strcmp(media_type, OCI_INDEX) || !strcmp(media_type, DOCKER_LIST);
}

bool media_type_is_manifest(const char *media_type)
{
    return !strcmp(media_type, OCI_MANIFEST) || !strcmp(media_type, DOCKER_MANIFEST) ||
           media_type_is_index(media_type);
}

bool media_type_is_config(const char *media_type)
{
    return !strcmp(media_type, OCI_CONFIG) || !strcmp(media_type, DOCKER_CONFIG);
}

bool media_type_is_layer(const char *media_type)
{
    return !strncmp(media_type, OCI_LAYER, sizeof OCI_LAYER - 1) ||
           !strncmp(media_type, DOCKER_LAYER, sizeof DOCKER_LAYER - 1);
}

/* It goes into response heads as it is, so line ends and the like must not pass. */
bool media_type_is_sane(const char *media_type)
{
    size_t n = 0;
    bool slash = false;
    for (; media_type[n]; n++) {
        if (media_type[n] <= ' ' || media_type[n] > '~' || n == MEDIA_TYPE_BYTES - 1) {
            return false;
        }
        slash = slash || media_type[n] == '/';
    }
    return slash;
}

/* An optional media type; one that cannot be sent counts as absent. */
static int read_media_type(const cJSON *object, const char *name,
                           char ret_media_type[MEDIA_TYPE_BYTES], struct error *err)
{
    const cJSON *member;
    int r = json_member(object, name, &member, err);
    if (r < 0 || !member) {
        return r;
    }
    if (!cJSON_IsString(member)) {
        return error_set(err, -EPROTO, "\"%s\" is not a string", name);
    }
    if (media_type_is_sane(member->valuestring)) {
        strcpy(ret_media_type, member->valuestring);
    }
    return 0;
}

static int read_digest(const cJSON *descriptor, struct digest *ret_digest, struct error *err)
{
    const cJSON *digest;
    int r = json_member(descriptor, "digest", &digest, err);
    if (r < 0) {
        return r;
    }
    if (!cJSON_IsString(digest)) {
        return error_set(err, -EPROTO, "a descriptor without a digest");
    }
    r = digest_parse(digest->valuestring, strlen(digest->valuestring), ret_digest);
    return r == -EINVAL ? error_set(err, -EPROTO, "a descriptor with a malformed digest") : r;
}

/* 0; -ENOTSUP another algorithm: left out; else failed. */
static int read_child(const cJSON *descriptor, bool in_index, struct manifest_child *child,
                      struct error *err)
{
    const cJSON *size;
    child->size_bytes = -1;
    int r = json_member(descriptor, "size", &size, err);
    if (r == 0 && size) {
        r = json_size(size, &child->size_bytes, err);
    }
    r = r < 0 ? r : read_media_type(descriptor, "mediaType", child->media_type, err);
    child->is_manifest = in_index || media_type_is_manifest(child->media_type);
    return r < 0 ? r : read_digest(descriptor, &child->digest, err);
}

static int add_child(struct manifest *m, const cJSON *descriptor, struct error *err)
{
    struct manifest_child child = {0};
    int r = read_child(descriptor, m->is_index, &child, err);
    if (r == 0) {
        m->children[m->child_count++] = child;
    }
    return r == -ENOTSUP ? 0 : r;
}

static int read_children(struct manifest *m, const cJSON *config, const cJSON *list,
                         struct error *err)
{
    int listed = list ? cJSON_GetArraySize(list) : 0;
    if (listed > LIMIT_MANIFEST_CHILDREN) {
        return error_set(err, -E2BIG, "a manifest with %d children", listed);
    }
    m->children = calloc((size_t)listed + 1, sizeof *m->children);
    if (!m->children) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    int r = config ? add_child(m, config, err) : 0;
    const cJSON *descriptor;
    cJSON_ArrayForEach(descriptor, list)
    {
        r = r < 0 ? r : add_child(m, descriptor, err);
    }
    return r;
}

/* An index or an image manifest, never both: containerd and others would each read their own half
 * (CVE-2021-41190). */
static int read_shape(struct manifest *m, const cJSON *json, struct error *err)
{
    const cJSON *config, *layers, *manifests, *version;
    int r = json_member(json, "config", &config, err);
    r = r < 0 ? r : json_member(json, "layers", &layers, err);
    r = r < 0 ? r : json_member(json, "manifests", &manifests, err);
    r = r < 0 ? r : json_member(json, "schemaVersion", &version, err);
    if (r < 0) {
        return r;
    }
    if (!config && !layers && !manifests) {
        return error_set(err, -EPROTO, "neither `manifests` nor `config` or `layers`");
    }
    if (manifests && (config || layers)) {
        return error_set(err, -EPROTO, "an index and an image manifest at once");
    }
    const cJSON *list = manifests ? manifests : layers;
    if ((list && !cJSON_IsArray(list)) || (config && !cJSON_IsObject(config))) {
        return error_set(err, -EPROTO, "`manifests`, `layers` or `config` of the wrong kind");
    }
    if (version && (!cJSON_IsNumber(version) || version->valuedouble != 2)) {
        return error_set(err, -EPROTO, "not schema version 2");
    }
    m->is_index = manifests != NULL;
    r = read_children(m, config, list, err);
    return r < 0 || !config ? r : read_media_type(config, "mediaType", m->artifact_type, err);
}

static int read_subject(struct manifest *m, const cJSON *json, struct error *err)
{
    const cJSON *subject;
    int r = json_member(json, "subject", &subject, err);
    if (r < 0 || !subject || cJSON_IsNull(subject)) {
        return r;
    }
    r = read_digest(subject, &m->subject, err);
    m->has_subject = r == 0;
    return r == -ENOTSUP ? 0 : r;
}

static int read_annotations(struct manifest *m, const cJSON *json, struct error *err)
{
    const cJSON *annotations;
    int r = json_member(json, "annotations", &annotations, err);
    if (r < 0 || !cJSON_IsObject(annotations)) {
        return r;
    }
    char *text = cJSON_PrintUnformatted(annotations);
    if (!text) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    if (strlen(text) > LIMIT_MANIFEST_ANNOTATIONS_BYTES) {
        cJSON_free(text);
        return 0;
    }
    m->annotations_json = text;
    return 0;
}

int manifest_parse(const char *json, size_t json_bytes, struct manifest *ret_manifest,
                   struct error *err)
{
    cJSON *root;
    struct manifest m = {0};
    int r = json_parse(json, json_bytes, LIMIT_MANIFEST_BYTES, &root, err);
    if (r < 0) {
        return r;
    }
    if (!cJSON_IsObject(root)) {
        r = error_set(err, -EPROTO, "not a JSON object");
    }
    r = r < 0 ? r : read_shape(&m, root, err);
    r = r < 0 ? r : read_media_type(root, "mediaType", m.media_type, err);
    r = r < 0 ? r : read_media_type(root, "artifactType", m.artifact_type, err);
    r = r < 0 ? r : read_subject(&m, root, err);
    r = r < 0 ? r : read_annotations(&m, root, err);
    cJSON_Delete(root);
    if (r < 0) {
        manifest_done(&m);
        return r;
    }
    *ret_manifest = m;
    return 0;
}

void manifest_done(struct manifest *m)
{
    if (m) {
        free(m->children);
        free(m->annotations_json);
        *m = (struct manifest){0};
    }
}

const char *manifest_content_type(const struct manifest *m, const char *descriptor_media_type)
{
    if (m->media_type[0]) {
        return m->media_type;
    }
    if (descriptor_media_type && descriptor_media_type[0]) {
        return descriptor_media_type;
    }
    return m->is_index ? OCI_INDEX : OCI_MANIFEST;
}
