/* credentials.h - the Authorization header that hosts.toml carries when basic auth is on. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Reads `username` and `password` in the directory, each without one trailing newline, and appends
 * "Basic …" (RFC 7617, section 2) to `header`, whose bytes are a secret: see credentials_done.
 * Nothing is appended when both are absent or empty: basic auth is off. 0, or a negative errno with
 * a sentence (a file that is there but cannot be read). Blocks. */
int credentials_read(const char *directory, struct buf *header, struct error *err);

/* Wipes and frees. */
void credentials_done(struct buf *header);
