/* Sets, snapshots and exchanges over HTTP, as if their seal had been right. */
#include "gossip/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gossip_config config = {.label = "fuzz",
                                   .id = 1,
                                   .boot_ms = 1000,
                                   .self = {.addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 1}}},
                                            .gossip_port = 5001,
                                            .registry_port = 5000},
                                   .now_ms = 1000,
                                   .wall_ms = 1000};
    struct gossip_effects effects;
    struct gossip *core;
    if (size < 1 || gossip_new(&config, &core)) {
        return 0;
    }
    gossip_effects_init(&effects);
    struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = 1001, .wall_ms = 1001};
    gossip_step(core, &tick, &effects);
    core->effects = &effects;
    const struct gossip_sender asker = {.id = 2, .boot = 5}; /* a member */
    const struct gossip_alive alive = {.id = 2,
                                       .boot = 5,
                                       .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 2}}},
                                       .gossip_port = 5001,
                                       .registry_port = 5000};
    gossip_hear_alive(core, &alive, 2);
    struct buf answer;
    buf_init(&answer, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    switch (data[0] & 3) {
    case 0:
        (void)gossip_snapshot_apply(core, 2, data + 1, size - 1);
        break;
    case 1:
        (void)gossip_set_apply(core, 2, 2, data + 1, size - 1);
        break;
    case 2:
        (void)gossip_exchange_apply(core, 2, data + 1, size - 1);
        break;
    default:
        (void)gossip_exchange_build(core, data + 1, size - 1, &asker, &answer);
        break;
    }
    buf_done(&answer);
    tick.now_ms += 1000;
    gossip_step(core, &tick, &effects);
    gossip_effects_done(&effects);
    gossip_free(core);
    return 0;
}
