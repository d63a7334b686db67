/* relay_internal.h - what relay.c, which moves the bytes, and relay_source.c, which knows whose
 * they are, share; nobody else includes it. */
#pragma once

#include "registry/givers.h"
#include "registry/mirror_internal.h"
#include "registry/relay.h"

struct relay {
    struct body body;
    struct mirror *mirror;
    const struct mirror_query *query;
    struct want want;       /* what is still to be taken: first moves */
    struct attempt *source; /* NULL while the next one is being looked for */
    int64_t skip_bytes;     /* of the source: our client has them already */
    struct race race;
    int error;    /* no holder is left, or the hash was wrong */
    bool waiting; /* write returned 0: our client reads and we have nothing */
    uint64_t waiting_since_ms;
    struct timer wait;

    bool copies; /* through `buffer` rather than a pipe */
    struct pipe_pair pipe;
    char *buffer; /* LIMIT_RELAY_COPY_BYTES, owned */
    size_t buffered_from, buffered_to;
    bool hashes;
    struct digester *digester; /* NULL: not hashed, or done */

    struct givers givers;
    struct guide *guide; /* NULL: not by the cold path, or that is over */

    void (*over)(void *arg, int status);
    void *arg;
};

/* relay_source.c: the giver from here on, READY and streaming; the old one is let go. */
void relay_take_source(struct relay *r, struct attempt *source);
/* The giver broke off, or gave what it should not: another one is looked for; or r->error is set.
 */
void relay_source_failed(struct relay *r);
/* Reads what is not for our client. More than 0: that is done; else as peer_read. */
int64_t relay_skip(struct relay *r);
/* Wakes our client when the giver has bytes. */
void relay_watch_source(struct relay *r);
/* The timer `wait`: our client has waited for a while. */
void relay_wait_fired(void *arg);
/* The source's parents, if a guide found it. */
void relay_take_guide(struct relay *r, struct guide *guide);
