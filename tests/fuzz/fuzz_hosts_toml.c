/* A hosts.toml of the user's: cut into statements that are its bytes and nothing else, and put
 * behind our hosts into a text that can be read again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "certsd/hosts.h"
#include "certsd/origin.h"
#include "certsd/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What we render is ours again, but where it is, byte for byte, what there was. */
static void check_origin(const struct buf *rendered, const char *text, size_t size)
{
    struct origin_file file = {.name = "ghcr.io",
                               .text = rendered->data,
                               .bytes = rendered->len,
                               .saved = text,
                               .saved_bytes = size};
    bool same = rendered->len == size && !memcmp(rendered->data, text, size);
    enum origin origin;
    CHECK(origin_find(&file, &origin) == 0);
    CHECK(origin == (same ? ORIGIN_USER : ORIGIN_GENERATED));
    CHECK(origin_own_bytes(&file) <= rendered->len);
}

/* And nothing that is in force instead is too much. */
static void find_origins(const char *text, size_t size)
{
    for (unsigned moved = 0; moved < 2; moved++) {
        const struct origin_file file = {.name = moved ? "ghcr.io" : "_default",
                                         .text = text,
                                         .bytes = size,
                                         .saved = text + size / 2,
                                         .saved_bytes = size - size / 2,
                                         .moved = moved};
        enum origin origin;
        CHECK(origin_find(&file, &origin) == 0);
        (void)origin_own_bytes(&file);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    find_origins((const char *)data, size);
    static const struct registry_url target = {.scheme = "http", .host = "127.0.0.1:30020"};
    static const struct registry_url registry = {.scheme = "https", .host = "ghcr.io"};
    const struct hosts_spec spec = {.targets = &target, .target_count = 1, .resolve_tags = true};
    struct toml_reader reader;
    struct toml_statement s;
    struct buf out;
    const char *text = (const char *)data;
    toml_reader_init(&reader, text, size);
    const char *expected = text + reader.at;
    int r;
    while ((r = toml_next(&reader, &s, NULL)) > 0) {
        CHECK(s.text == expected && s.bytes > 0);
        expected += s.bytes;
    }
    CHECK(r < 0 || expected == text + size);
    (void)hosts_is_bootstrap(text, size);
    (void)hosts_is_generated(text, size);
    buf_init(&out, LIMIT_HOSTS_TOML_BYTES);
    if (hosts_render(&spec, &registry, text, size, &out, NULL) == 0) {
        toml_reader_init(&reader, out.data, out.len);
        while ((r = toml_next(&reader, &s, NULL)) > 0) {
        }
        CHECK(r == 0 && hosts_is_generated(out.data, out.len));
        check_origin(&out, text, size);
    }
    buf_done(&out);
    return 0;
}
