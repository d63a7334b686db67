/* tree.h - a directory made from a table, and read back as one text: names, modes, owners, bytes.
 */
#pragma once

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

struct entry {
    const char *path; /* parents come first; ends in '/': a directory; NULL ends a table */
    mode_t mode;      /* 0: a link */
    const char *text; /* of the file, or where the link leads */
};

static char tree_root[64];

static const char *tree_path(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", tree_root, name);
    return path[turn];
}

static void tree_write(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(tree_path(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(tree_path(name), mode), 0);
}

static void tree_fill(const struct entry *e)
{
    for (; e->path; e++) {
        size_t n = strlen(e->path);
        if (e->path[n - 1] == '/') {
            assert_true(mkdir(tree_path(e->path), 0700) == 0);
            assert_int_equal(chmod(tree_path(e->path), e->mode), 0);
        } else if (!e->mode) {
            assert_int_equal(symlink(e->text, tree_path(e->path)), 0);
        } else {
            tree_write(e->path, e->text, e->mode);
        }
    }
}

static void tree_put_file(struct buf *out, const char *path)
{
    char chunk[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) {
        assert_int_equal(buf_append(out, chunk, n), 0);
    }
    (void)fclose(f);
}

static void tree_put(struct buf *out, const char *path, const char *shown)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    (void)buf_printf(out, "%s %o %u:%u\n", shown, st.st_mode, st.st_uid, st.st_gid);
    if (S_ISLNK(st.st_mode)) {
        char target[512];
        ssize_t n = readlink(path, target, sizeof target);
        (void)buf_append(out, target, (size_t)n);
    } else if (S_ISREG(st.st_mode)) {
        tree_put_file(out, path);
    } else if (S_ISDIR(st.st_mode)) {
        struct dirent **names;
        int count = scandir(path, &names, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            char inner[1024], inner_shown[1024];
            if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, "..")) {
                (void)snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);
                (void)snprintf(inner_shown, sizeof inner_shown, "%s/%s", shown, names[i]->d_name);
                tree_put(out, inner, inner_shown);
            }
            free(names[i]);
        }
        free(names);
    }
    (void)buf_puts(out, "\n");
}

/* Everything below the name ("": the whole tree); the caller frees it. */
static char *tree_snapshot(const char *name)
{
    struct buf out;
    buf_init(&out, 1024 * 1024);
    tree_put(&out, tree_path(name), "");
    return buf_take(&out);
}

static void tree_run(const char *command)
{
    char line[1024];
    (void)snprintf(line, sizeof line, "cd '%s' && %s", tree_root, command);
    assert_int_equal(system(line), 0);
}

static int tree_begin(void **state)
{
    (void)state;
    (void)strcpy(tree_root, "/tmp/spegel-certsd-XXXXXX");
    assert_non_null(mkdtemp(tree_root));
    return 0;
}

static int tree_end(void **state)
{
    (void)state;
    char line[128];
    (void)snprintf(line, sizeof line, "rm -rf '%s'", tree_root);
    return system(line);
}
