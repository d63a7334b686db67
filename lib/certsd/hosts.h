/* hosts.h - the text of one registry's hosts.toml.
 *
 * containerd asks the [host] tables in file order and the `server` last. The text means what the
 * Go implementation's (v0.7.4) means for the same flags. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "certsd/registry_url.h"

struct hosts_spec {
    const struct registry_url *targets; /* at least one; no two alike */
    size_t target_count;
    bool resolve_tags;
    const char *authorization; /* "Basic …"; NULL: no such header */
    const char *node_id;       /* the X-Spegel-Node header; NULL: no such header */
};

/* Appends the text for `registry` to `out`. `existing` (NULL: none) is what its owner had: it is
 * kept verbatim, its root keys at the top except for a `server` that ours replaces, its tables
 * after ours except for those of our own targets, which may not be there twice. Text that is not
 * TOML, or that defines hosts in a way nothing can be put before, is refused with -EINVAL and a
 * sentence naming the line. 0, -ENOMEM, -ENOBUFS (the result would be over `out`'s cap). */
int hosts_render(const struct hosts_spec *spec, const struct registry_url *registry,
                 const char *existing, size_t existing_bytes, struct buf *out, struct error *err);

/* Whether the text begins as this program and the Go implementation begin theirs: its first [host]
 * table has exactly the form that both give it. That does not make all of it theirs, see
 * origin.h. */
bool hosts_is_generated(const char *text, size_t bytes);

/* Whether its first line is "# spegel bootstrap": put there to pull this program's own image
 * before it runs. */
bool hosts_is_bootstrap(const char *text, size_t bytes);
