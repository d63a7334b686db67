/* notice.h - what a run did, for its caller to log. */
#pragma once

enum certsd_event {
    CERTSD_BACKED_UP,    /* `_backup` was made; name is empty */
    CERTSD_ADOPTED,      /* a `_backup` of the Go implementation was taken over; name is empty */
    CERTSD_WRITTEN,      /* the registry now asks the mirror */
    CERTSD_PREPENDED,    /* the same, with its own hosts kept behind the mirror */
    CERTSD_UNCHANGED,    /* it already did, in the same words */
    CERTSD_NOT_MIRRORED, /* a directory of the user's that stays in force */
    CERTSD_RESTORED,     /* what we had replaced stands again */
    CERTSD_REMOVED,      /* what we had written is gone, and nothing had been there */
    CERTSD_CLEANED,      /* `_backup` is gone; name is empty */
};

struct certsd_notices {
    void (*on_event)(void *user, enum certsd_event event, const char *name);
    void *user;
};
