#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/limits.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest m;
    struct error err;
    if (manifest_parse((const char *)data, size, &m, &err) == 0) {
        CHECK(m.child_count <= LIMIT_MANIFEST_CHILDREN + 1);
        for (size_t i = 0; i < m.child_count; i++) {
            CHECK(m.children[i].size_bytes >= -1);
            CHECK(!m.is_index || m.children[i].is_manifest);
        }
        CHECK(media_type_is_sane(manifest_content_type(&m, NULL)));
        manifest_done(&m);
    }
    return 0;
}
