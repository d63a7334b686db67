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
    CERTSD_EDITED,       /* what was changed in a file of ours is undone, and a copy kept */
    /* Where we may not do everything, not being root or without capabilities: */
    CERTSD_DENIED,        /* we may not change it: it stays as it is, and is not mirrored */
    CERTSD_NOT_BACKED_UP, /* something in it that stays in force has no copy in `_backup` */
    CERTSD_OTHER_OWNER,   /* what is in force and its copy in `_backup` have not the same owner */
    CERTSD_LEFT,          /* what cannot be put back, and is under a name that ends in .left */
};

struct certsd_notices {
    void (*on_event)(void *user, enum certsd_event event, const char *name);
    void *user;
};
