#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "cluster/key_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A ring that was read can be no more than its text held: distinct keys, each of 44 characters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_ring ring;
    struct error err = {0};
    if (key_ring_parse((const char *)data, size, &ring, &err) < 0) {
        CHECK(err.text[0]);
        return 0;
    }
    CHECK(ring.count >= 1 && ring.count <= KEY_RING_MAX && size >= ring.count * 44);
    for (size_t i = 0; i < ring.count; i++) {
        for (size_t k = 0; k < i; k++) {
            CHECK(memcmp(ring.keys[i], ring.keys[k], sizeof ring.keys[i]) != 0);
        }
    }
    return 0;
}
