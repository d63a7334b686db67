#include "registry/proof.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "registry/cold_internal.h"
#include "registry/copy_check.h"

/* A disk may take as long to commit a complete download: hashing one that is about to be committed
 * harms nobody, and costs 0.7 s of CPU a GB. */
#define COMMIT_MS 250
#define COMMIT_BYTES_PER_MS (200 * 1000)

struct check {
    struct list link; /* in cold.checks; it outlives its flight */
    struct cold *cold;
    struct digest digest;
    uint64_t giver, origin;
    struct copy_check *copy;
};

static void check_free(struct check *c)
{
    list_remove(&c->link);
    c->cold->check_count--;
    free(c);
}

static void copy_checked(void *arg, int result)
{
    struct check *c = arg;
    struct cold *cold = c->cold;
    const struct digest digest = c->digest;
    uint64_t giver = c->giver, origin = c->origin;
    check_free(c);
    if (result == -EBADMSG) {
        cold->counters.proven_wrong++;
        cold->config.wrong(cold->config.arg, &digest, giver, origin);
    }
}

static void check_start(struct cold_flight *f)
{
    struct cold *cold = f->cold;
    struct check *c = cold->check_count < LIMIT_DOUBT_CHECKS ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        close(f->proof.fd);
        return;
    }
    c->cold = cold;
    c->digest = f->digest;
    c->giver = f->proof.giver;
    c->origin = f->proof.origin;
    list_init(&c->link);
    list_push_back(&cold->checks, &c->link);
    cold->check_count++;
    if (copy_check_start(cold->loop, &c->digest, f->proof.fd, copy_checked, c, &c->copy) < 0) {
        check_free(c);
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

void proofs_stop(struct cold *c)
{
    LIST_EACH_SAFE (link, &c->checks) {
        struct check *check = CONTAINER_OF(link, struct check, link);
        copy_check_cancel(check->copy);
        check_free(check);
    }
}
