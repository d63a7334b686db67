/* daemon.h - a real containerd in a directory of its own, without CRI, for tests that want to know
 * whether it understands us. Needs root and /usr/bin/containerd; where they are missing,
 * daemon_start says so and returns false. */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

extern char **environ;

struct daemon {
    char dir[64];
    pid_t pid;
};

/* Runs a shell command with $D set to the directory; returns its exit status. */
static inline int daemon_shell(const struct daemon *d, const char *script)
{
    char *const argv[] = {"sh", "-euc", (char *)script, NULL};
    pid_t pid;
    int status = -1;
    setenv("D", d->dir, 1);
    assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* A connected socket, or -1 while nobody listens. */
static inline int daemon_connect(const struct daemon *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", d->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline void daemon_wait(const struct daemon *d)
{
    for (int i = 0; i < 1500; i++) {
        int fd = daemon_connect(d);
        if (fd >= 0) {
            close(fd);
            return;
        }
        (void)poll(NULL, 0, 20);
    }
    daemon_shell(d, "cat $D/log");
    fail_msg("containerd did not listen within 30 s");
}

static inline bool daemon_start(struct daemon *d)
{
    *d = (struct daemon){.dir = "/tmp/spegel-grpc-XXXXXX"};
    if (geteuid() != 0 || access("/usr/bin/containerd", X_OK) < 0) {
        print_message("skipped: needs root and /usr/bin/containerd\n");
        return false;
    }
    assert_non_null(mkdtemp(d->dir));
    assert_int_equal(daemon_shell(d, "cat > $D/config.toml <<E\n"
                                     "version = 2\n"
                                     "disabled_plugins = ['io.containerd.grpc.v1.cri',\n"
                                     "    'io.containerd.internal.v1.opt',\n"
                                     "    'io.containerd.nri.v1.nri']\n"
                                     "E"),
                     0);
    char path[4][96];
    snprintf(path[0], sizeof(path[0]), "%s/config.toml", d->dir);
    snprintf(path[1], sizeof(path[1]), "%s/root", d->dir);
    snprintf(path[2], sizeof(path[2]), "%s/state", d->dir);
    snprintf(path[3], sizeof(path[3]), "%s/sock", d->dir);
    char *const argv[] = {"containerd", "--config", path[0],     "--root", path[1],
                          "--state",    path[2],    "--address", path[3],  NULL};
    char log[96];
    snprintf(log, sizeof(log), "%s/log", d->dir);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int r = posix_spawn(&d->pid, "/usr/bin/containerd", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(r, 0);
    daemon_wait(d);
    return true;
}

static inline void daemon_kill(struct daemon *d, int signal_number)
{
    if (d->pid > 0) {
        kill(d->pid, signal_number);
        (void)waitpid(d->pid, NULL, 0);
        d->pid = 0;
    }
}

static inline void daemon_done(struct daemon *d)
{
    daemon_kill(d, SIGKILL);
    if (d->dir[strlen(d->dir) - 1] != 'X') {
        daemon_shell(d, "rm -rf \"$D\"");
    }
}
