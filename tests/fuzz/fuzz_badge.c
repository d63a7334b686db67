#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "gossip/badge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a header says: without the key it is no badge, and nothing is kept of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t keys[1][GOSSIP_KEY_BYTES] = {{1}}, digest[32] = {2};
    static struct gossip *core;
    char text[256];
    enum gossip_badge badge = GOSSIP_BADGES;
    if (!core) {
        const struct gossip_config config = {
            .label = "fuzz", .keys = keys, .key_count = 1, .id = 7, .boot_ms = 1, .now_ms = 1};
        CHECK(gossip_new(&config, &core) == 0);
    }
    size = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    CHECK(gossip_badge_take(core, text, digest, &badge) < 0 && badge == GOSSIP_BADGES);
    return 0;
}
