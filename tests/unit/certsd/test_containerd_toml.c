#include "support.h"

#include <errno.h>
#include <string.h>

#include "certsd/containerd_toml.h"

#define CRI "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
#define IMAGES "[plugins.\"io.containerd.cri.v1.images\".registry]\n"

static void what_is_said_is_known_and_nothing_else(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int result;
        const char *path; /* NULL: not said */
        int discards;     /* -1: not said */
        int discards_1x;
    } rows[] = {
        {"version = 2\n" CRI "  config_path = \"/etc/containerd/certs.d\"\n", 0,
         "/etc/containerd/certs.d", -1, -1},
        {"version = 3\n" IMAGES "config_path = '/a:/b' # both\n", 0, "/a:/b", -1, -1},
        {"[plugins.'io.containerd.cri.v1.images']\ndiscard_unpacked_layers = true\n", 0, NULL, 1,
         -1},
        {"[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers=false", 0,
         NULL, -1, 0},
        {"[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true\n"
         "[plugins.\"io.containerd.cri.v1.images\"]\ndiscard_unpacked_layers = false\n",
         0, NULL, 0, 1},
        {"[plugins]\n[plugins.\"io.containerd.cri.v1.images\"]\nregistry.config_path = \"/x\"\n", 0,
         "/x", -1, -1},
        {CRI "config_path = \"\"\n", 0, "", -1, -1},
        /* elsewhere, or of another version's form */
        {"config_path = \"/x\"\n", 0, NULL, -1, -1},
        {"[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nconfig_path = \"/x\"\n", 0, NULL, -1,
         -1},
        {"[plugins.\"io.containerd.cri.v1.images\".containerd]\ndiscard_unpacked_layers = true\n",
         0, NULL, -1, -1},
        {"[plugins.\"io.containerd.grpc.v1.cri\"]\ndiscard_unpacked_layers = true\n", 0, NULL, -1,
         -1},
        {"[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
         "config_path = \"/x\"\n",
         0, NULL, -1, -1},
        {"[other.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/x\"\n", 0, NULL, -1, -1},
        /* values that no path is */
        {CRI "config_path = \"C:\\\\x\"\n", 0, NULL, -1, -1},
        {CRI "config_path = 7\n", 0, NULL, -1, -1},
        {"", 0, NULL, -1, -1},
        {CRI "config_path\n", -EINVAL, NULL, -1, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct containerd_toml config = {0};
        int r = containerd_toml_parse(rows[i].text, strlen(rows[i].text), &config, NULL);
        if (r != rows[i].result || config.says_path != (rows[i].path != NULL) ||
            (rows[i].path && strcmp(config.path, rows[i].path) != 0) ||
            config.says_discards != (rows[i].discards >= 0) ||
            config.discards != (rows[i].discards == 1) ||
            config.says_discards_1x != (rows[i].discards_1x >= 0) ||
            config.discards_1x != (rows[i].discards_1x == 1)) {
            fail_msg("row %zu: %d, path %d \"%s\", discards %d %d, of 1.x %d %d", i, r,
                     config.says_path, config.path, config.says_discards, config.discards,
                     config.says_discards_1x, config.discards_1x);
        }
    }
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct containerd_toml config;
    assert_int_equal(containerd_toml_read("/nowhere/config.toml", &config, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_is_known_and_nothing_else),
        cmocka_unit_test(a_file_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
