#include "certsd/containerd_toml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/limits.h"
#include "certsd/files.h"
#include "certsd/toml.h"

#define CRI "io.containerd.grpc.v1.cri"
#define IMAGES "io.containerd.cri.v1.images"

enum place { PLACE_OTHER, PLACE_PATH, PLACE_DISCARDS, PLACE_DISCARDS_1X };

/* What a value of this key, in this table (NULL: none), would be. The whole key, table and all, is
 * plugins.<plugin>[.<section>].<name>. */
static enum place place_of(const struct toml_statement *table, const struct toml_statement *value)
{
    const char *name = NULL;
    size_t parts = 0, table_parts = table ? table->parts : 0;
    const struct toml_statement *from[TOML_KEY_PARTS + 1];
    size_t index[TOML_KEY_PARTS + 1];
    for (size_t i = 0; i < table_parts + value->parts; i++, parts++) {
        if (parts == TOML_KEY_PARTS) {
            return PLACE_OTHER;
        }
        from[parts] = i < table_parts ? table : value;
        index[parts] = i < table_parts ? i : i - table_parts;
    }
    if (parts < 3 || !toml_part_is(from[0], index[0], "plugins")) {
        return PLACE_OTHER;
    }
    bool cri = toml_part_is(from[1], index[1], CRI);
    if (!cri && !toml_part_is(from[1], index[1], IMAGES)) {
        return PLACE_OTHER;
    }
    size_t last = parts - 1;
    name = toml_part_is(from[last], index[last], "config_path") ? "registry"
           : cri                                                ? "containerd"
                                                                : NULL;
    bool discards = toml_part_is(from[last], index[last], "discard_unpacked_layers");
    bool path = toml_part_is(from[last], index[last], "config_path");
    bool placed = name ? parts == 4 && toml_part_is(from[2], index[2], name) : parts == 3;
    if (!placed || !(path || discards)) {
        return PLACE_OTHER;
    }
    return path ? PLACE_PATH : cri ? PLACE_DISCARDS_1X : PLACE_DISCARDS;
}

/* What stands behind the `=`. */
static const char *value_of(const struct toml_statement *s, size_t *ret_bytes)
{
    const char *end = s->text + s->bytes;
    const char *at = memchr(s->text, '=', s->bytes);
    at = at ? at + 1 : end;
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    *ret_bytes = (size_t)(end - at);
    return at;
}

/* A string of one line without escapes, as paths are written. */
static void read_path(const struct toml_statement *s, struct containerd_toml *config)
{
    size_t bytes;
    const char *text = value_of(s, &bytes);
    const char *end =
        bytes > 1 && (*text == '"' || *text == '\'') ? memchr(text + 1, *text, bytes - 1) : NULL;
    size_t n = end ? (size_t)(end - text - 1) : 0;
    if (end && n < sizeof config->path && !memchr(text + 1, '\\', n)) {
        memcpy(config->path, text + 1, n);
        config->path[n] = 0;
        config->says_path = true;
    }
}

static void read_discards(const struct toml_statement *s, bool *ret_says, bool *ret_discards)
{
    size_t bytes;
    const char *text = value_of(s, &bytes);
    *ret_discards = bytes >= 4 && !memcmp(text, "true", 4);
    *ret_says = true;
}

int containerd_toml_parse(const char *text, size_t bytes, struct containerd_toml *ret_config,
                          struct error *err)
{
    struct containerd_toml config = {0};
    struct toml_reader reader;
    struct toml_statement s, table;
    bool in_table = false;
    toml_reader_init(&reader, text, bytes);
    int r;
    while ((r = toml_next(&reader, &s, err)) > 0) {
        if (s.kind == TOML_TABLE || s.kind == TOML_ARRAY) {
            table = s;
            in_table = true;
        } else if (s.kind == TOML_VALUE) {
            enum place place = place_of(in_table ? &table : NULL, &s);
            if (place == PLACE_PATH) {
                read_path(&s, &config);
            } else if (place == PLACE_DISCARDS) {
                read_discards(&s, &config.says_discards, &config.discards);
            } else if (place == PLACE_DISCARDS_1X) {
                read_discards(&s, &config.says_discards_1x, &config.discards_1x);
            }
        }
    }
    if (r == 0) {
        *ret_config = config;
    }
    return r;
}

int containerd_toml_read(const char *path, struct containerd_toml *ret_config, struct error *err)
{
    struct buf text;
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    int r = files_read(AT_FDCWD, path, &text, NULL, err);
    r = r < 0 ? r : containerd_toml_parse(text.len ? text.data : "", text.len, ret_config, err);
    buf_done(&text);
    return r;
}
