/* memory_body.h - a body from memory that stays its owner's until it has been sent, so that what
 * waits for a slow client is counted where it was allocated (the mirror's verify budget). */
#pragma once

#include "io/server.h"

struct memory_body {   /* caller-owned, must not move until `sent` ran */
    struct body body;  /* for server_respond_body */
    const char *bytes; /* the caller's */
    size_t len, sent_bytes;
    /* The response is over: 0 or -ECANCELED and the like, as in struct body_ops. Once. */
    void (*sent)(struct memory_body *b, int status);
};
void memory_body_init(struct memory_body *b, const void *bytes, size_t len,
                      void (*sent)(struct memory_body *b, int status));
