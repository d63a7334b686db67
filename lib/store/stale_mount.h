/* stale_mount.h - is what is mounted at a path gone where it came from?
 *
 * A bind mount of a file keeps that file for as long as it lasts, even when its name is given to
 * another one. A container that has a socket mounted by itself never sees the socket that takes its
 * place; only a new container does. The kernel says so in /proc/self/mountinfo: the fourth field
 * ends in "//deleted" (proc(5), and dentry_path_raw in the kernel's fs/d_path.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* `text` is a mountinfo of `bytes` bytes: is the last mount at `path` (absolute, without links and
 * "..") of a file that has been deleted? What is no mountinfo is not. */
bool stale_mount_in(const char *text, size_t bytes, const char *path);

/* The same of this process and a `path` as it is given, links included. False if it cannot be
 * known. Blocks: reads /proc. */
bool stale_mount_at(const char *path);
