/* paths.h - scenarios where some nodes cannot hear all others: no UDP, or another family. */
#pragma once

#include "sim.h"

void paths_run_udp_blocked(struct sim *s);
void paths_run_udp_blocked_all(struct sim *s);
void paths_run_dual_stack(struct sim *s);
void paths_run_ipv6(struct sim *s);
