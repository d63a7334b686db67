#include "store/layout_index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "oci/json.h"

#define NAME_BYTES sizeof(struct reference)

static void skip(struct layout_index *index, const struct error *why)
{
    if (index->malformed++ == 0) {
        index->problem = *why;
    }
}

/* A string member of the annotations, NULL when there is none. */
static int annotation(const cJSON *annotations, const char *name, const char **ret_text,
                      struct error *err)
{
    const cJSON *member = NULL;
    int r = json_member(annotations, name, &member, err);
    *ret_text = r == 0 && cJSON_IsString(member) ? member->valuestring : NULL;
    return r;
}

/* What the descriptor's annotations call it; what cannot be used is counted and passed over. */
static int choose_name(struct layout_index *index, const cJSON *descriptor, const char *repository,
                       bool only_one, struct reference *ret_name, struct error *err)
{
    const cJSON *annotations;
    const char *full = NULL, *given = NULL;
    struct error why = {0};
    int r = json_member(descriptor, "annotations", &annotations, err);
    r = r < 0 ? r : annotation(annotations, "io.containerd.image.name", &full, err);
    r = r < 0 ? r : annotation(annotations, "org.opencontainers.image.ref.name", &given, err);
    if (r < 0) {
        return r;
    }
    if (full) {
        if (reference_parse(full, ret_name, &why) == 0) {
            return 0;
        }
        skip(index, &why);
    }
    if (given && reference_parse(given, ret_name, &why) == 0) {
        return 0;
    }
    *ret_name = (struct reference){0};
    strcpy(ret_name->repository, repository);
    if (!given) {
        strcpy(ret_name->tag, only_one ? "latest" : "");
    } else if (reference_is_tag(given, strlen(given))) {
        strcpy(ret_name->tag, given);
    } else {
        skip(index, &why);
    }
    return 0;
}

static bool is_taken(const struct layout_index *index, const char *name)
{
    for (size_t i = 0; i < index->count; i++) {
        if (!strcmp(index->images[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* "registry/repository:tag", or "registry/repository@sha256:…" of its target. */
static void write_name(const struct reference *name, const struct digest *target, bool by_digest,
                       char ret_text[NAME_BYTES])
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(target, text);
    (void)snprintf(ret_text, NAME_BYTES, "%s/%s%s%s", name->registry, name->repository,
                   by_digest ? "@" : ":", by_digest ? text : name->tag);
}

static int read_descriptor(const cJSON *descriptor, struct layout_image *image, struct error *err)
{
    const cJSON *digest, *size, *media_type;
    int64_t size_bytes = 0;
    int r = json_member(descriptor, "digest", &digest, err);
    r = r < 0 ? r : json_member(descriptor, "size", &size, err);
    r = r < 0 ? r : json_member(descriptor, "mediaType", &media_type, err);
    if (r < 0) {
        return r;
    }
    if (!cJSON_IsString(digest) ||
        digest_parse(digest->valuestring, strlen(digest->valuestring), &image->target) < 0) {
        return error_set(err, -EPROTO, "a descriptor without a sha256 digest");
    }
    if (size && json_size(size, &size_bytes, err) < 0) {
        return -EPROTO;
    }
    if (cJSON_IsString(media_type) && media_type_is_sane(media_type->valuestring)) {
        strcpy(image->media_type, media_type->valuestring);
    }
    return 0;
}

/* 0, also when it was skipped; -ENOMEM. */
static int add_descriptor(struct layout_index *index, const cJSON *descriptor,
                          const char *repository, bool only_one)
{
    struct layout_image image = {0};
    struct error why = {0};
    struct reference ref;
    char name[NAME_BYTES];
    if (read_descriptor(descriptor, &image, &why) < 0 ||
        choose_name(index, descriptor, repository, only_one, &ref, &why) < 0) {
        skip(index, &why);
        return 0;
    }
    index->has_unnamed = index->has_unnamed || !ref.registry[0];
    bool by_digest = !ref.tag[0] || ref.has_digest;
    write_name(&ref, &image.target, by_digest, name);
    if (is_taken(index, name)) {
        write_name(&ref, &image.target, true, name);
        if (is_taken(index, name)) {
            return 0;
        }
    }
    image.name = strdup(name);
    if (!image.name) {
        return -ENOMEM;
    }
    index->images[index->count++] = image;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct layout_image *)a)->name, ((const struct layout_image *)b)->name);
}

static int read_manifests(struct layout_index *index, const cJSON *list, const char *repository,
                          struct error *err)
{
    int count = cJSON_GetArraySize(list);
    if (count > LIMIT_LAYOUT_IMAGES) {
        return error_set(err, -E2BIG, "an index of %d images", count);
    }
    index->images = calloc((size_t)count + 1, sizeof *index->images);
    if (!index->images) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    const cJSON *descriptor;
    cJSON_ArrayForEach(descriptor, list)
    {
        if (add_descriptor(index, descriptor, repository, count == 1) < 0) {
            return error_set(err, -ENOMEM, "out of memory");
        }
    }
    qsort(index->images, index->count, sizeof *index->images, by_name);
    return 0;
}

int layout_index_parse(const char *json, size_t json_bytes, const char *repository,
                       struct layout_index *ret_index, struct error *err)
{
    cJSON *root;
    const cJSON *manifests = NULL;
    struct layout_index index = {0};
    int r = json_parse(json, json_bytes, LIMIT_MANIFEST_BYTES, &root, err);
    if (r < 0) {
        return r;
    }
    r = json_member(root, "manifests", &manifests, err);
    if (r == 0 && !cJSON_IsArray(manifests)) {
        r = error_set(err, -EPROTO, "no list of `manifests`");
    }
    r = r < 0 ? r : read_manifests(&index, manifests, repository, err);
    cJSON_Delete(root);
    if (r < 0) {
        layout_index_done(&index);
        return r;
    }
    *ret_index = index;
    return 0;
}

void layout_index_done(struct layout_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        free(index->images[i].name);
    }
    free(index->images);
    *index = (struct layout_index){0};
}

void layout_repository(const char *path, char ret_repository[REFERENCE_REPOSITORY_BYTES])
{
    size_t end = strlen(path), n = 0;
    while (end && path[end - 1] == '/') {
        end--;
    }
    const char *slash = memrchr(path, '/', end);
    for (const char *p = slash ? slash + 1 : path; p < path + end && n < 200; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool after_plain = n && ret_repository[n - 1] != '-' && ret_repository[n - 1] != '.' &&
                           ret_repository[n - 1] != '_';
        if (plain) {
            ret_repository[n++] = c;
        } else if (after_plain) {
            ret_repository[n++] = c == '.' || c == '_' ? c : '-';
        }
    }
    while (n && strchr("-._", ret_repository[n - 1])) {
        n--;
    }
    ret_repository[n] = 0;
    if (n == 0) {
        strcpy(ret_repository, "layout");
    }
}
