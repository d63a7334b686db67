/* note.h - what the gossip core has to say about members, as log lines. */
#pragma once

#include "gossip/core.h"

void note_log(const struct gossip_note *note);
