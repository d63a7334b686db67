#include "registry/proof.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "registry/cold_internal.h"

/* A disk may take as long to commit a complete download: hashing one that is about to be committed
 * harms nobody, and costs 0.7 s of CPU a GB. */
#define COMMIT_MS 250
#define COMMIT_BYTES_PER_MS (200 * 1000)

struct check { /* of a copy, which may outlive its flight */
    struct cold *cold;
    uint64_t giver, origin;
};

static void copy_checked(void *arg, const struct digest *digest, int result)
{
    const struct check c = *(struct check *)arg;
    free(arg);
    if (result == -EBADMSG) {
        c.cold->counters.proven_wrong++;
        c.cold->config.wrong(c.cold->config.arg, digest, c.giver, c.origin);
    }
}

static void check_start(struct cold_flight *f)
{
    struct check *c = malloc(sizeof(*c));
    if (!c) {
        close(f->proof.fd);
        return;
    }
    *c = (struct check){.cold = f->cold, .giver = f->proof.giver, .origin = f->proof.origin};
    if (copy_check_start(&f->cold->checks, &f->digest, f->proof.fd, copy_checked, c) < 0) {
        free(c);
    }
}

static void proof_hash(struct cold_flight *f)
{
    struct proof *p = &f->proof;
    if (p->has_copy) {
        p->has_copy = false;
        p->is_done = true;
        check_start(f);
    }
}

void proof_gave(struct cold_flight *f, uint64_t giver, uint64_t origin)
{
    struct proof *p = &f->proof;
    if (giver == 0 || (p->giver && p->giver != giver)) {
        p->mixed = true;
    }
    p->origin = p->giver && p->origin != origin ? 0 : origin;
    p->giver = giver ? giver : p->giver;
}

const char *proof_origin(const struct cold_flight *f, char ret_text[GOSSIP_ID_TEXT_BYTES])
{
    const struct proof *p = &f->proof;
    if (!p->giver) {
        return NULL;
    }
    return p->origin && !p->mixed ? gossip_id_format(p->origin, ret_text) : "unknown";
}

void proof_look(struct cold_flight *f)
{
    struct proof *p = &f->proof;
    uint64_t now_ms = loop_now_ms(f->cold->loop);
    if (!f->cold->config.wrong || p->is_done || p->mixed || !p->giver || f->total <= 0 ||
        f->size != f->total || ingest_state(f->ingest) != INGEST_GROWING) {
        return;
    }
    if (!p->has_copy) {
        p->fd = ingest_dup(f->ingest);
        p->has_copy = p->fd >= 0;
        p->full_ms = now_ms;
    } else if (now_ms - p->full_ms >= COMMIT_MS + (uint64_t)f->total / COMMIT_BYTES_PER_MS) {
        proof_hash(f);
    }
}

void proof_unlinked(struct cold_flight *f)
{
    proof_hash(f);
    f->proof = (struct proof){0};
}

void proof_settled(struct cold_flight *f)
{
    if (f->proof.has_copy) {
        close(f->proof.fd);
    }
    f->proof = (struct proof){.is_done = true};
}
