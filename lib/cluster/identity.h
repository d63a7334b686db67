/* identity.h - who this node was before: its id and boot number, kept in the data directory.
 *
 * The file is bound to the cluster label and the node's name, for VM templates clone directories;
 * on another node it is ignored and replaced. Without a name, the host name and the machine id
 * stand for it; a container has neither of the node it runs on. Blocking file access of a few
 * hundred bytes: at start, and when the gossip core says that its identity changed. */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct identity {
    uint64_t id;      /* 48 bits, never 0 */
    uint64_t boot_ms; /* later than the boot of any earlier run that is remembered here */
};

/* `data_dir` may be NULL or absent: then the identity is new each time. `node_name` may be NULL.
 * Only running out of randomness fails. */
int identity_load(const char *data_dir, const char *label, const char *node_name, uint64_t wall_ms,
                  struct identity *ret_identity);

/* Makes the directory if need be; written beside and renamed into place. 0 or negative errno with
 * the sentence; NULL data_dir: 0.
 */
int identity_save(const char *data_dir, const char *label, const char *node_name,
                  const struct identity *identity, struct error *err);
