/* runs.h - configuring and cleaning up a directory made from a table, with what is told of it. */
#pragma once

#include "tree.h"

#include "certsd/cleanup.h"
#include "certsd/configure.h"

#define TARGET "http://127.0.0.1:30020"
#define OURS "[host.'" TARGET "']\ncapabilities = ['pull', 'resolve']\ndial_timeout = '200ms'"
#define BOOTSTRAP "# spegel bootstrap\nserver = \"https://ghcr.io\"\n"

static char seen[4096]; /* the events, as "4:docker.io " */

static void on_event(void *user, enum certsd_event event, const char *name)
{
    (void)user;
    size_t n = strlen(seen);
    (void)snprintf(seen + n, sizeof seen - n, "%d:%s ", (int)event, name);
}

static const struct certsd_notices notices = {on_event, NULL};

static void assert_seen(enum certsd_event event, const char *name)
{
    char text[300];
    (void)snprintf(text, sizeof text, "%d:%s ", (int)event, name);
    if (!strstr(seen, text)) {
        fail_msg("no \"%s\" in \"%s\"", text, seen);
    }
}

struct arguments {
    const char *registries[4];
    bool prepend;
    const char *authorization;
};

static int configure(const struct arguments *a, struct error *err)
{
    char *const targets[] = {TARGET};
    size_t count = 0;
    while (count < 4 && a->registries[count]) {
        count++;
    }
    const struct configure_spec spec = {
        .path = tree_path("c"),
        .registries = (char *const *)a->registries,
        .registry_count = count,
        .targets = targets,
        .target_count = 1,
        .resolve_tags = true,
        .prepend_existing = a->prepend,
        .authorization = a->authorization,
    };
    seen[0] = 0;
    return certsd_configure(&spec, &notices, err);
}

static void must_configure(const struct arguments *a)
{
    struct error err = {0};
    if (configure(a, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void must_clean(void)
{
    struct error err = {0};
    seen[0] = 0;
    if (certsd_cleanup(tree_path("c"), &notices, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void assert_file(const char *name, const char *text, mode_t mode)
{
    struct buf out;
    struct stat st;
    buf_init(&out, 65536);
    tree_put_file(&out, tree_path(name));
    assert_string_equal(out.data ? out.data : "", text);
    assert_int_equal(lstat(tree_path(name), &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    buf_done(&out);
}

static bool is_there(const char *name)
{
    struct stat st;
    return lstat(tree_path(name), &st) == 0;
}

static void assert_same_and_free(char *a, char *b)
{
    assert_string_equal(a, b);
    free(a);
    free(b);
}

/* What people have: two registries, one with certificates, odd modes, links, and a stray file. */
static const struct entry users[] = {
    {"c/", 0751, NULL},
    {"c/docker.io/", 0710, NULL},
    {"c/docker.io/hosts.toml", 0640, "# mine\nserver = \"https://x\"\n\n[host.\"https://a\"]\n"},
    {"c/docker.io/tls/", 0700, NULL},
    {"c/docker.io/tls/key.pem", 0400, "key"},
    {"c/docker.io/ca.crt", 0, "tls/key.pem"},
    {"c/ghcr.io/", 0755, NULL},
    {"c/ghcr.io/hosts.toml", 0644, "server = \"https://ghcr.io\"\n"},
    {"c/linked.io", 0, "ghcr.io"},
    {"c/quay.io/", 0755, NULL},
    {"c/quay.io/hosts.toml", 0, "../../elsewhere.toml"},
    {"c/note.txt", 0604, "hello"},
    {"elsewhere.toml", 0644, "[host.'https://q']\nca = 'q'\n"},
    {NULL, 0, NULL},
};

/* What the Go implementation does in its first run, for docker.io alone, said in shell: it moves
 * everything away. */
#define GO_CONFIGURE                                                                               \
    "cd c && mkdir _backup && chmod 755 _backup && "                                               \
    "find . -mindepth 1 -maxdepth 1 ! -name _backup -exec mv -t _backup {} + && mkdir docker.io "  \
    "&& printf \"server = 'https://registry-1.docker.io'\\n\\n[host.'" TARGET                      \
    "']\\ncapabilities = ['pull', 'resolve']\\ndial_timeout = '200ms'\" > docker.io/hosts.toml"

static const struct entry bootstraps[] = {
    {"c/", 0755, NULL},
    {"c/ghcr.io/", 0711, NULL},
    {"c/ghcr.io/hosts.toml", 0640, BOOTSTRAP "[host.'http://127.0.0.1:30000']\n"},
    {"c/docker.io/", 0755, NULL},
    {"c/docker.io/hosts.toml", 0644, BOOTSTRAP},
    {"c/certs.io/", 0755, NULL},
    {"c/certs.io/hosts.toml", 0644, BOOTSTRAP},
    {"c/certs.io/ca.crt", 0644, "ca"},
    {"c/mine.io/", 0755, NULL},
    {"c/mine.io/hosts.toml", 0644, "server = 'https://mine.io'\n# spegel bootstrap\n"},
    {NULL, 0, NULL},
};

/* As they were, but for what is marked. */
static char *without_bootstraps(void)
{
    tree_fill(bootstraps);
    tree_run("rm -r c/ghcr.io c/docker.io c/certs.io/hosts.toml");
    char *golden = tree_snapshot("");
    tree_run("rm -r c");
    tree_fill(bootstraps);
    return golden;
}
