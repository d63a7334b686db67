/* feed.h - this node as a parent: others receive from the ingest of a download under way. Private
 * to registry/.
 *
 * Only requests whose X-Spegel-Follow says so come here, which only a member's can (a badge,
 * gossip/badge.h): whoever is fed keeps a place for long. And only for a digest that is in flight.
 * The answer waits until the first byte asked for is there and the length is known (containerd
 * writes the size it expects beside the data, or our own parent said it), then flows as the file
 * grows, through the commit. Manifests, and blobs whose length is not known, are answered when they
 * are held. When the flight ends without the blob: 404, or FIN after what was sent. */
#pragma once

#include "registry/answer.h"
#include "registry/cold.h"

/* From a peer's X-Spegel-Follow, if that is a member's: fills in yields and follows. */
void feed_read_badge(struct registry *r, struct registry_query *q);
/* False: not in flight here, and not answered. */
bool feed_answer(struct registry *r, struct conn *c, const struct registry_query *q);
/* The client of one that is not answered yet left. */
void feed_gone(struct registry *r, struct conn *c);
/* This node leaves: whoever is not answered yet is told to ask elsewhere. */
void feed_let_go(struct registry *r);
