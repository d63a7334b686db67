/* certsd_log.h - what certsd did to containerd's configuration, as log lines. */
#pragma once

#include "certsd/notice.h"

/* Fits struct certsd_notices; `user` is the path, a string. */
void certsd_log(void *user, enum certsd_event event, const char *name);
