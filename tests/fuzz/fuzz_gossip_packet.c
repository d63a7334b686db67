/* The inside of a gossip packet, as if its seal had been right: the core must survive whatever a
 * holder of the key sends. A length byte pair splits the input into packets; its top bits say
 * whether this node asks for content or tells of its own in between. */
#include "gossip/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gossip_addr from = {.family = GOSSIP_IPV4, .ip = {10, 0, 0, 2}, .port = 5001};
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
    uint32_t ask = 0;
    if (gossip_new(&config, &core)) {
        return 0;
    }
    gossip_effects_init(&effects);
    struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = 1000, .wall_ms = 1000};
    gossip_step(core, &tick, &effects);
    while (size > 2) {
        size_t n = (data[0] << 8 | data[1]) % (GOSSIP_BODY_BYTES + 1);
        n = n < size - 2 ? n : size - 2;
        core->effects = &effects;
        gossip_receive_messages(core, gossip_members_get(&core->members, 2), 2, &from, data + 2, n,
                                n + GOSSIP_SEAL_OVERHEAD_BYTES);
        struct gossip_event event = {.kind = GOSSIP_TICK, .now_ms = tick.now_ms += 50};
        if (data[0] & 0x80) {
            event.kind = GOSSIP_WANT;
            event.want = (struct gossip_want){.key = 5, .ask = ++ask};
        } else if (data[0] & 0x40) {
            event.kind = GOSSIP_FLIGHT;
            event.flight = (struct gossip_flight){.key = 5, .state = n % 4, .parent = n % 3};
        }
        data += n + 2;
        size -= n + 2;
        gossip_step(core, &event, &effects);
        tick.now_ms += 150;
        gossip_step(core, &tick, &effects);
    }
    gossip_effects_done(&effects);
    gossip_free(core);
    return 0;
}
