/* real_containerd.h - an installed containerd with root, state and socket of its own, images made
 * on the spot, and a store that follows it, with a record of what was announced. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "oci/digest.h"
#include "oci/filter.h"
#include "store/containerd.h"
#include "store/inventory.h"
#include "support.h"

#define CONTENT_ROOT "root/io.containerd.content.v1.content"
#define SOON_MS 5000 /* for what should take milliseconds, on a busy machine */
#define LAYER_BYTES 20000

struct image { /* a single-platform image in an OCI archive */
    char archive[160];
    struct digest manifest, config, layer;
};

struct announced {
    struct map_node node;
    char key[512];
};

struct node {
    char directory[64], socket[96], other_socket[96];
    const char *used_socket;
    pid_t pid; /* of containerd; 0: not running */

    struct loop *loop;
    struct filter *filter;
    struct inventory *inventory;
    struct containerd *store;
    struct map announced;        /* "sha256:…" and "registry/repository:tag" */
    unsigned announced_twice;    /* added while announced, or removed while not */
    unsigned listed, ups, downs; /* callbacks */
};

/* --- containerd --- */

/* Why it cannot run here, or NULL. */
static inline const char *node_missing(void)
{
    if (geteuid() != 0) {
        return "containerd needs root";
    }
    return system("containerd --version >/dev/null 2>&1 && ctr --version >/dev/null 2>&1") == 0
               ? NULL
               : "containerd is not installed";
}

__attribute__((format(printf, 2, 3))) static inline void node_shell(struct node *n,
                                                                    const char *format, ...)
{
    char command[4096], whole[4400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    (void)snprintf(whole, sizeof(whole), "cd %s && ( %s ) >>shell.log 2>&1", n->directory, command);
    int status = system(whole);
    if (status != 0) {
        (void)snprintf(whole, sizeof(whole), "tail -20 %s/shell.log >&2", n->directory);
        (void)!system(whole);
        fail_msg("\"%s\" ended with %d", command, status);
    }
}

__attribute__((format(printf, 2, 3))) static inline void node_ctr(struct node *n,
                                                                  const char *format, ...)
{
    char arguments[4000];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(arguments, sizeof(arguments), format, args);
    va_end(args);
    node_shell(n, "ctr --address %s --namespace %s", n->used_socket, arguments);
}

static inline bool socket_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return answers;
}

static inline void node_start_on(struct node *n, const char *socket_path)
{
    char config[128], log[128];
    assert_int_equal(n->pid, 0);
    (void)snprintf(config, sizeof(config), "%s/config.toml", n->directory);
    (void)snprintf(log, sizeof(log), "%s/containerd.log", n->directory);
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    (void)fprintf(f,
                  "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\n"
                  "disabled_plugins = [\"io.containerd.grpc.v1.cri\", "
                  "\"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", "
                  "\"io.containerd.nri.v1.nri\", \"io.containerd.snapshotter.v1.blockfile\", "
                  "\"io.containerd.snapshotter.v1.erofs\", "
                  "\"io.containerd.internal.v1.opt\", \"io.containerd.snapshotter.v1.btrfs\", "
                  "\"io.containerd.snapshotter.v1.zfs\", "
                  "\"io.containerd.snapshotter.v1.devmapper\", "
                  "\"io.containerd.snapshotter.v1.aufs\"]\n[grpc]\naddress = \"%s\"\n",
                  n->directory, n->directory, socket_path);
    (void)fclose(f);
    pid_t parent = getpid();
    n->pid = fork();
    if (n->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        (void)dup2(fd, 1);
        (void)dup2(fd, 2);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            (void)execlp("containerd", "containerd", "--config", config, NULL);
        }
        _exit(127);
    }
    assert_true(n->pid > 0);
    n->used_socket = socket_path;
    for (int i = 0; i < 3000 && !socket_answers(socket_path); i++) {
        (void)usleep(10000);
    }
    assert_true(socket_answers(socket_path));
}

static inline void node_start(struct node *n)
{
    node_start_on(n, n->socket);
}

/* For changes that are made while the store cannot see them. */
static inline void node_start_unseen(struct node *n)
{
    node_start_on(n, n->other_socket);
}

static inline void node_end(struct node *n, int signum)
{
    if (n->pid) {
        (void)kill(n->pid, signum);
        (void)waitpid(n->pid, NULL, 0);
        n->pid = 0;
    }
}

/* --- images --- */

static inline struct digest node_write_blob(struct node *n, const void *bytes, size_t size)
{
    struct digest d;
    char hex[DIGEST_HEX_BYTES], path[256];
    digest_of(bytes, size, &d);
    digest_format_hex(&d, hex);
    (void)snprintf(path, sizeof(path), "%s/layout/blobs/sha256/%s", n->directory, hex);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    (void)fclose(f);
    return d;
}

/* The same seed makes the same digests. */
static inline void node_image(struct node *n, const char *name, unsigned seed, struct image *image)
{
    static const char media[] = "application/vnd.oci.image";
    static char layer[LAYER_BYTES];
    char config_hex[DIGEST_TEXT_BYTES], layer_hex[DIGEST_TEXT_BYTES], hex[DIGEST_TEXT_BYTES];
    char text[2048];
    node_shell(n, "rm -rf layout && mkdir -p layout/blobs/sha256");
    for (size_t i = 0; i < sizeof(layer); i++) {
        layer[i] = (char)(seed * 7 + i * 31 + i / 256);
    }
    image->layer = node_write_blob(n, layer, sizeof(layer));
    digest_format(&image->layer, layer_hex);
    int size = snprintf(text, sizeof(text),
                        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":"
                        "\"layers\",\"diff_ids\":[\"%s\"]}}",
                        layer_hex);
    image->config = node_write_blob(n, text, (size_t)size);
    digest_format(&image->config, config_hex);
    size = snprintf(text, sizeof(text),
                    "{\"schemaVersion\":2,\"mediaType\":\"%s.manifest.v1+json\",\"config\":"
                    "{\"mediaType\":\"%s.config.v1+json\",\"digest\":\"%s\",\"size\":%d},"
                    "\"layers\":[{\"mediaType\":\"%s.layer.v1.tar\",\"digest\":\"%s\","
                    "\"size\":%d}]}",
                    media, media, config_hex, size, media, layer_hex, LAYER_BYTES);
    image->manifest = node_write_blob(n, text, (size_t)size);
    digest_format(&image->manifest, hex);
    size = snprintf(text, sizeof(text),
                    "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s.manifest.v1+json\","
                    "\"digest\":\"%s\",\"size\":%d,\"annotations\":"
                    "{\"io.containerd.image.name\":\"%s\"}}]}",
                    media, hex, size, name);
    node_shell(n,
               "cat >layout/index.json <<'EOT'\n%s\nEOT\n"
               "echo '{\"imageLayoutVersion\":\"1.0.0\"}' >layout/oci-layout && "
               "tar -C layout -cf image-%u.tar .",
               text, seed);
    (void)snprintf(image->archive, sizeof(image->archive), "%s/image-%u.tar", n->directory, seed);
}

static inline void node_blob_path(const struct node *n, const struct digest *d, char path[256])
{
    char hex[DIGEST_HEX_BYTES];
    digest_format_hex(d, hex);
    (void)snprintf(path, 256, "%s/%s/blobs/sha256/%s", n->directory, CONTENT_ROOT, hex);
}
