#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cri.pb-c.h"
#include "store/cri_config.h"

#define REGISTRY(path) "\"registry\":{\"configPath\":" path ",\"mirrors\":null}"
#define CONTAINERD(discards) "\"containerd\":{\"discardUnpackedLayers\":" discards "}"

static void what_is_said_is_known_and_nothing_else(void **state)
{
    (void)state;
    const struct {
        const char *json;
        int result;
        bool knows_path;
        const char *path;
        bool knows_discards, discards;
    } rows[] = {
        {"{" REGISTRY("\"/etc/containerd/certs.d\"") "," CONTAINERD("false") "}", 0, true,
         "/etc/containerd/certs.d", true, false},
        {"{" REGISTRY("\"\"") "," CONTAINERD("true") "}", 0, true, "", true, true},
        /* 2.x: images are not its business any more */
        {"{\"containerd\":{\"defaultRuntimeName\":\"runc\"}}", 0, false, "", false, false},
        {"{}", 0, false, "", false, false},
        /* types of tomorrow */
        {"{" REGISTRY("null") "," CONTAINERD("\"yes\"") "}", 0, false, "", false, false},
        {"{\"registry\":[],\"containerd\":7}", 0, false, "", false, false},
        {"[]", -EPROTO, false, "", false, false},
        {"{", -EPROTO, false, "", false, false},
        {"", -EPROTO, false, "", false, false},
        {"{\"registry\":{},\"registry\":{}}", -EPROTO, false, "", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cri_config config = {0};
        assert_int_equal(cri_config_parse(rows[i].json, strlen(rows[i].json), &config, NULL),
                         rows[i].result);
        assert_int_equal(config.knows_path, rows[i].knows_path);
        assert_string_equal(config.path, rows[i].path);
        assert_int_equal(config.knows_discards, rows[i].knows_discards);
        assert_int_equal(config.discards, rows[i].discards);
    }
}

static void a_path_that_is_too_long_is_not_known(void **state)
{
    (void)state;
    char json[2 * CRI_CONFIG_PATH_BYTES];
    char path[CRI_CONFIG_PATH_BYTES + 1];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    int n = snprintf(json, sizeof json, "{\"registry\":{\"configPath\":\"%s\"}}", path);
    struct cri_config config = {.knows_path = true};
    assert_int_equal(cri_config_parse(json, (size_t)n, &config, NULL), 0);
    assert_false(config.knows_path);
}

static void a_directory_is_one_of_those_between_colons(void **state)
{
    (void)state;
    const struct {
        const char *path, *directory;
        bool has;
    } rows[] = {
        {"/etc/containerd/certs.d", "/etc/containerd/certs.d", true},
        {"/etc/containerd/certs.d/", "/etc/containerd/certs.d", true},
        {"/etc/containerd/certs.d", "/etc/containerd/certs.d//", true},
        {"/etc/containerd/certs.d:/etc/docker/certs.d", "/etc/docker/certs.d", true},
        {"/etc/containerd/certs.d:/etc/docker/certs.d", "/etc/containerd/certs.d", true},
        {"/etc/containerd/certs.d", "/etc/containerd", false},
        {"/etc/containerd", "/etc/containerd/certs.d", false},
        {"", "/etc/containerd/certs.d", false},
        {":", "/", false},
        {"/", "/", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cri_config config = {.knows_path = true};
        strcpy(config.path, rows[i].path);
        assert_int_equal(cri_config_has_path(&config, rows[i].directory), rows[i].has);
    }
}

static size_t packed(const char *key, const char *json, uint8_t *bytes)
{
    Cri__StatusResponse__InfoEntry entry = CRI__STATUS_RESPONSE__INFO_ENTRY__INIT;
    Cri__StatusResponse__InfoEntry *entries[] = {&entry};
    Cri__StatusResponse response = CRI__STATUS_RESPONSE__INIT;
    entry.key = (char *)key;
    entry.value = (char *)json;
    response.info = entries;
    response.n_info = 1;
    return cri__status_response__pack(&response, bytes);
}

static void a_status_has_it_under_config(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct cri_config config = {0};
    size_t n = packed("config", "{" CONTAINERD("true") "}", bytes);
    assert_int_equal(cri_config_read(bytes, n, &config, NULL), 0);
    assert_true(config.knows_discards && config.discards);
    n = packed("golang", "\"go1.22\"", bytes);
    assert_int_equal(cri_config_read(bytes, n, &config, NULL), -ENOENT);
    assert_int_equal(cri_config_read((const uint8_t *)"\x12\x7f", 2, &config, NULL), -EPROTO);
    assert_int_equal(cri_config_read(NULL, 0, &config, NULL), -ENOENT);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    static const char json[] = "{" REGISTRY("\"/x\"") "," CONTAINERD("true") "}";
    int r = 0;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct cri_config config;
        r = cri_config_parse(json, sizeof json - 1, &config, NULL);
        assert_true(r == 0 || r == -ENOMEM);
    });
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_is_known_and_nothing_else),
        cmocka_unit_test(a_path_that_is_too_long_is_not_known),
        cmocka_unit_test(a_directory_is_one_of_those_between_colons),
        cmocka_unit_test(a_status_has_it_under_config),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
