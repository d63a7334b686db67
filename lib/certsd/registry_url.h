/* registry_url.h - how registries and mirror targets are named in flags.
 *
 * An http or https URL with nothing but a host and perhaps a port: no path (not even "/"), query,
 * fragment or user. A registry may also be "_default" or "*", which stand for all. A bare host is
 * an error, as it is in the Go implementation: the scheme says how the upstream is spoken to. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct registry_url {
    bool wildcard;
    char scheme[6]; /* "http" or "https"; empty for the wildcard */
    char host[272]; /* host[:port]; an IPv6 literal in brackets; "_default" for the wildcard */
};

/* 0, or -EINVAL with a sentence naming the text and what is allowed. */
int registry_url_parse(const char *text, struct registry_url *ret_url, struct error *err);

/* The same without wildcards. An IPv6 literal may come without brackets ("http://fd00::1:30020",
 * which is what a manifest's http://$(NODE_IP):30020 expands to): then the last colon is taken for
 * the port's if an address is left of it and a port right of it. */
int registry_url_parse_target(const char *text, struct registry_url *ret_url, struct error *err);
