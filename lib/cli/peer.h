/* peer.h - how a static bootstrap peer is written. */
#pragma once

#include "base/error.h"
#include "cli/flags.h"

/* "host:port", "[::1]:5001", or a libp2p multiaddr of the Go implementation, whose address and
 * port are used and whose transport and peer id are not: /ip4/10.0.0.1/tcp/5001/p2p/Qm…,
 * /ip6/…, /dns/…, /dns4/…, /dns6/…, and /udp/<port>/quic-v1 too. 0, or -EINVAL with a sentence. */
int peer_parse(const char *text, struct host_port *ret_peer, struct error *err);
