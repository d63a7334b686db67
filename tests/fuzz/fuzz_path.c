#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "oci/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nothing that could leave a directory or split a header comes out of a target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *target = malloc(size + 1);
    struct path p;
    struct error err;
    const char *code = NULL;
    if (size) {
        memcpy(target, data, size);
    }
    target[size] = 0;
    if (path_parse(target, &p, &code, &err) == 0) {
        CHECK(!strstr(p.repository, "..") && !strstr(p.plain, "/../"));
        CHECK(!p.repository[0] || reference_is_repository(p.repository, strlen(p.repository)));
        CHECK(!p.ns[0] || reference_is_registry(p.ns, strlen(p.ns)));
        CHECK(p.n >= -1);
    } else {
        CHECK(code);
    }
    free(target);
    return 0;
}
