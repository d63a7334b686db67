#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "store/layout_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Names come out sorted, once each, and every one with a repository. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct layout_index index;
    struct error err;
    if (layout_index_parse((const char *)data, size, "app", &index, &err) == 0) {
        CHECK(index.count <= LIMIT_LAYOUT_IMAGES);
        for (size_t i = 0; i < index.count; i++) {
            CHECK(i == 0 || strcmp(index.images[i - 1].name, index.images[i].name) < 0);
            CHECK(strchr(index.images[i].name, '/'));
            CHECK(!index.images[i].media_type[0] || media_type_is_sane(index.images[i].media_type));
        }
        layout_index_done(&index);
    }
    return 0;
}
