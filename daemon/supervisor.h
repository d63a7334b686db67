/* supervisor.h - tells whoever started the daemon how far it is: sd_notify(3)'s protocol, a
 * datagram to the socket that NOTIFY_SOCKET names. systemd's units order others by it, and
 * `systemctl start` returns when the ports are open. */
#pragma once

#define SUPERVISOR_READY "READY=1" /* the ports are open; /readyz tells of more */
#define SUPERVISOR_STOPPING "STOPPING=1"

/* Never blocks. Without NOTIFY_SOCKET it does nothing; where that leads nowhere it warns. */
void supervisor_tell(const char *state);
