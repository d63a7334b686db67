#include "gossip/suspicion.h"

/* Probe periods, times the logarithm of the size. More than Lifeguard's 4 or 5: selection does not
 * wait for death, so death may take its time, and a stall of two seconds is survived. */
#define PERIODS_MIN 9
#define PERIOD_MS 333
#define TIMES_MAX 6

void gossip_suspicion_start(struct gossip_suspicion *s, uint64_t now_ms, uint64_t witness,
                            size_t members)
{
    uint32_t scale_tenths = 10; /* max(1, log10(members)), one step per factor of ~1.26 */
    for (size_t reach = 10; reach < members && scale_tenths < 50; reach += reach / 4 + 1) {
        scale_tenths++;
    }
    *s = (struct gossip_suspicion){.started_ms = now_ms,
                                   .timeout_min_ms = PERIODS_MIN * PERIOD_MS * scale_tenths / 10,
                                   .witness_count = 1,
                                   .witnesses = {witness}};
    s->timeout_max_ms = s->timeout_min_ms * TIMES_MAX;
    size_t others = members > 2 ? members - 2 : 0; /* neither we nor the accused */
    s->witnesses_needed = (uint8_t)(others + 1 < GOSSIP_WITNESSES ? others + 1 : GOSSIP_WITNESSES);
}

bool gossip_suspicion_confirm(struct gossip_suspicion *s, uint64_t witness)
{
    for (size_t i = 0; i < s->witness_count; i++) {
        if (s->witnesses[i] == witness) {
            return false;
        }
    }
    if (s->witness_count == GOSSIP_WITNESSES) {
        return false;
    }
    s->witnesses[s->witness_count++] = witness;
    return true;
}

uint64_t gossip_suspicion_deadline_ms(const struct gossip_suspicion *s)
{
    if (s->witness_count >= s->witnesses_needed) {
        return s->started_ms + s->timeout_min_ms;
    }
    /* log(have) / log(needed) in 256ths, for up to four witnesses: no floating point needed. */
    static const uint32_t log256[GOSSIP_WITNESSES + 1] = {0, 0, 128, 203, 256};
    uint32_t share = log256[s->witness_count] * 256 / log256[s->witnesses_needed];
    uint32_t span = s->timeout_max_ms - s->timeout_min_ms;
    return s->started_ms + s->timeout_max_ms - (uint64_t)span * share / 256;
}

uint64_t gossip_suspicion_exclude_ms(const struct gossip_suspicion *s)
{
    return s->witness_count >= GOSSIP_EXCLUDE_WITNESSES ? s->started_ms
                                                        : s->started_ms + GOSSIP_EXCLUDE_AFTER_MS;
}
