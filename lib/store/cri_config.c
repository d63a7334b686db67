#include "store/cri_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cri.pb-c.h"
#include "oci/json.h"

static int read_path(const cJSON *root, struct cri_config *config, struct error *err)
{
    const cJSON *registry, *path = NULL;
    int r = json_member(root, "registry", &registry, err);
    r = r < 0 || !cJSON_IsObject(registry) ? r : json_member(registry, "configPath", &path, err);
    if (r == 0 && path && cJSON_IsString(path) && strlen(path->valuestring) < sizeof config->path) {
        config->knows_path = true;
        (void)snprintf(config->path, sizeof config->path, "%s", path->valuestring);
    }
    return r;
}

static int read_discards(const cJSON *root, struct cri_config *config, struct error *err)
{
    const cJSON *containerd, *discards = NULL;
    int r = json_member(root, "containerd", &containerd, err);
    r = r < 0 || !cJSON_IsObject(containerd)
            ? r
            : json_member(containerd, "discardUnpackedLayers", &discards, err);
    if (r == 0 && cJSON_IsBool(discards)) {
        config->knows_discards = true;
        config->discards = cJSON_IsTrue(discards);
    }
    return r;
}

int cri_config_parse(const char *json, size_t bytes, struct cri_config *ret_config,
                     struct error *err)
{
    struct cri_config config = {0};
    cJSON *root = NULL;
    int r = json_parse(json, bytes, LIMIT_CRI_CONFIG_BYTES, &root, err);
    if (r == 0 && !cJSON_IsObject(root)) {
        r = error_set(err, -EPROTO, "containerd's configuration is no JSON object");
    }
    r = r < 0 ? r : read_path(root, &config, err);
    r = r < 0 ? r : read_discards(root, &config, err);
    cJSON_Delete(root);
    if (r == 0) {
        *ret_config = config;
    }
    return r;
}

int cri_config_read(const uint8_t *response, size_t bytes, struct cri_config *ret_config,
                    struct error *err)
{
    Cri__StatusResponse *got = cri__status_response__unpack(NULL, bytes, response);
    if (!got) {
        return error_set(err, -EPROTO, "containerd's status is malformed");
    }
    int r = error_set(err, -ENOENT, "containerd does not say how it is configured");
    for (size_t i = 0; i < got->n_info; i++) {
        if (!strcmp(got->info[i]->key, "config")) {
            const char *json = got->info[i]->value;
            r = cri_config_parse(json, strlen(json), ret_config, err);
        }
    }
    cri__status_response__free_unpacked(got, NULL);
    return r;
}

bool cri_config_has_path(const struct cri_config *config, const char *directory)
{
    size_t wanted = strlen(directory);
    while (wanted > 1 && directory[wanted - 1] == '/') {
        wanted--;
    }
    for (const char *at = config->path; *at;) {
        size_t n = strcspn(at, ":"), trimmed = n;
        while (trimmed > 1 && at[trimmed - 1] == '/') {
            trimmed--;
        }
        if (trimmed == wanted && !strncmp(at, directory, wanted)) {
            return true;
        }
        at += n + (at[n] == ':');
    }
    return false;
}
