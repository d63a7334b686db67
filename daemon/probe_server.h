/* probe_server.h - answers probes of a command that has no other work left.
 *
 * 200 to any GET and to /readyz, 404 to the rest; one request a connection. Everything is bounded:
 * connections, the bytes and the time of a request's head. */
#pragma once

#include "base/error.h"
#include "cli/flags.h"

/* Listens (an empty host: on every address, IPv6 and IPv4) and answers until `stop_fd` is readable.
 * 0 then, or a negative errno with a sentence naming the address. */
int probe_server_run(const struct host_port *address, int stop_fd, struct error *err);
