#include "cluster/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gossip/addr.h"

#define FILE_NAME "gossip-identity"
#define BOUND_BYTES 64

/* What the file is bound to, as hex; an id is a good enough digest of it. */
static void identity_bound(const char *label, const char *node_name,
                           char ret_bound[GOSSIP_ID_TEXT_BYTES])
{
    if (node_name) {
        uint64_t id = gossip_id_make(label, (const uint8_t *)node_name, strlen(node_name));
        (void)gossip_id_format(id, ret_bound);
        return;
    }
    char text[512] = {0};
    char host[256] = {0}, machine[64] = {0};
    (void)gethostname(host, sizeof host - 1);
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, machine, sizeof machine - 1) < 0) {
            machine[0] = 0;
        }
        (void)close(fd);
    }
    int n = snprintf(text, sizeof text, "%s|%s", host, machine);
    (void)gossip_id_format(gossip_id_make(label, (const uint8_t *)text, (size_t)n), ret_bound);
}

static int identity_read(const char *path, const char *bound, struct identity *ret_identity)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return -errno;
    }
    char id[32] = {0}, was_bound[BOUND_BYTES] = {0};
    uint64_t boot_ms = 0;
    int fields = fscanf(f, "id %31s boot %" SCNu64 " bound %63s", id, &boot_ms, was_bound);
    (void)fclose(f);
    uint64_t parsed;
    if (fields != 3 || gossip_id_parse(id, &parsed) < 0 || boot_ms >> 48 ||
        strcmp(was_bound, bound) != 0) {
        return -ENOENT;
    }
    *ret_identity = (struct identity){.id = parsed, .boot_ms = boot_ms};
    return 0;
}

static int identity_path(const char *data_dir, char *ret_path, size_t path_bytes)
{
    int n = snprintf(ret_path, path_bytes, "%s/" FILE_NAME, data_dir);
    return n < 0 || (size_t)n >= path_bytes ? -ENAMETOOLONG : 0;
}

int identity_load(const char *data_dir, const char *label, const char *node_name, uint64_t wall_ms,
                  struct identity *ret_identity)
{
    char path[4096], bound[GOSSIP_ID_TEXT_BYTES];
    identity_bound(label, node_name, bound);
    struct identity known = {0};
    if (data_dir && identity_path(data_dir, path, sizeof path) == 0 &&
        identity_read(path, bound, &known) == 0) {
        known.boot_ms = wall_ms > known.boot_ms ? wall_ms : known.boot_ms + 1;
        *ret_identity = known;
        return 0;
    }
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return -EIO;
    }
    *ret_identity = (struct identity){.id = gossip_id_make(label, random, sizeof random),
                                      .boot_ms = wall_ms ? wall_ms : 1};
    return 0;
}

/* As mkdir -p; what fails shows when the file is opened. */
static void identity_make_directory(const char *data_dir)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s", data_dir);
    for (int i = 1; n > 0 && (size_t)n < sizeof path && i <= n; i++) {
        if (path[i] == '/' || path[i] == 0) {
            path[i] = 0;
            (void)mkdir(path, 0700);
            path[i] = i < n ? '/' : 0;
        }
    }
}

int identity_save(const char *data_dir, const char *label, const char *node_name,
                  const struct identity *identity, struct error *err)
{
    char path[4096], temporary[4104], bound[GOSSIP_ID_TEXT_BYTES], id[GOSSIP_ID_TEXT_BYTES];
    if (!data_dir) {
        return 0;
    }
    if (identity_path(data_dir, path, sizeof path) < 0) {
        return error_set(err, -ENAMETOOLONG, "data directory %s: name too long", data_dir);
    }
    identity_make_directory(data_dir);
    (void)snprintf(temporary, sizeof temporary, "%s.new", path);
    identity_bound(label, node_name, bound);
    FILE *f = fopen(temporary, "we");
    if (!f) {
        return error_set(err, -errno, "%s: %s", temporary, strerror(errno));
    }
    (void)fprintf(f, "id %s\nboot %" PRIu64 "\nbound %s\n", gossip_id_format(identity->id, id),
                  identity->boot_ms, bound);
    int failed = fflush(f) != 0 || fsync(fileno(f)) != 0 ? -errno : 0;
    (void)fclose(f);
    if (failed == 0 && rename(temporary, path) < 0) {
        failed = -errno;
    }
    if (failed < 0) {
        (void)unlink(temporary);
        return error_set(err, failed, "%s: %s", path, strerror(-failed));
    }
    return 0;
}
