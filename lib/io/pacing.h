/* pacing.h - no timer-paced congestion control between neighbours.
 *
 * BBR sends each connection's packets by a timer of its own. Across the internet that is what its
 * hosts want; to a machine whose round trip is a fraction of a millisecond it only costs: measured
 * over veth on a host whose default is BBR, a blob is served at 0.6 times the speed and 1.5 times
 * the CPU of CUBIC or Reno. So where the host's default is BBR, connections accepted from near by
 * use CUBIC, or Reno where we may not choose CUBIC; distant ones keep the host's choice, and hosts
 * with another default are left alone.
 *
 * It is chosen on the listening socket, whose connections inherit it, and taken back from distant
 * ones: a connection that once was BBR's stays paced (tcp_bbr.c, bbr_init). */
#pragma once

#include <stdint.h>

#define PACING_NAME_BYTES 16 /* TCP_CA_NAME_MAX */

/* Before listen(2). ret_default becomes what the socket had if that was changed, else "". */
void pacing_avoid(int listen_fd, char ret_default[static PACING_NAME_BYTES]);

/* For a connection just accepted; host_default is from pacing_avoid. Gives it back its host's
 * choice if the handshake took longer than near_us, or nobody knows how long. */
void pacing_accepted(int fd, const char *host_default, uint32_t near_us);
