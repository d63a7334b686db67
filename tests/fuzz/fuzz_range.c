#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "oci/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t totals[] = {0, 1, 10, INT64_MAX};
    char *header = malloc(size + 1);
    if (size) {
        memcpy(header, data, size);
    }
    header[size] = 0;
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        int64_t first = -1, last = -1;
        if (range_parse(header, totals[i], &first, &last) == RANGE_PART) {
            CHECK(first >= 0 && first <= last && last < totals[i]);
        } else {
            CHECK(first == -1 && last == -1);
        }
    }
    free(header);
    return 0;
}
