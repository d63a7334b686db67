#include "certsd/configure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "certsd/backup.h"
#include "certsd/certs_dir.h"
#include "certsd/files.h"
#include "certsd/hosts.h"
#include "certsd/originals.h"
#include "certsd/owner.h"
#include "certsd/registry_url.h"
#include "certsd/restore.h"
#include "certsd/saved.h"
#include "certsd/trees.h"

/* One registry to be written. */
struct plan {
    struct registry_url registry;
    char name[sizeof(((struct registry_url *)0)->host) + 1]; /* of its directory */
    struct buf text;
    mode_t mode;
    bool prepended;
    bool denied; /* what is to be kept behind the mirror may not be read */
};

struct configure {
    const struct configure_spec *spec;
    struct plan *plans;
    size_t plan_count;
    struct registry_url *targets;
    size_t target_count;
    bool first; /* `_backup` is made by this run */
    int failed; /* for one name: the others are seen to */
    struct error failure;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

static int plan_registry(struct configure *c, const char *text, struct error *err)
{
    struct registry_url url;
    int r = registry_url_parse(text, &url, err);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < c->plan_count; i++) {
        const struct registry_url *other = &c->plans[i].registry;
        if (!strcmp(other->host, url.host)) {
            return !strcmp(other->scheme, url.scheme)
                       ? 0
                       : error_set(err, -EINVAL,
                                   "registry \"%.200s\" is given with http and with https, give "
                                   "one of them",
                                   url.host);
        }
    }
    struct plan *plan = &c->plans[c->plan_count++];
    plan->registry = url;
    (void)snprintf(plan->name, sizeof plan->name, "%s", url.host);
    buf_init(&plan->text, LIMIT_HOSTS_TOML_BYTES + 64 * 1024);
    return 0;
}

/* Two tables of one name would make containerd refuse the whole file, so a target given twice
 * counts once. */
static int plan_target(struct configure *c, const char *text, struct error *err)
{
    struct registry_url url;
    int r = registry_url_parse_target(text, &url, err);
    for (size_t i = 0; r == 0 && i < c->target_count; i++) {
        const struct registry_url *other = &c->targets[i];
        if (!strcmp(other->host, url.host) && !strcmp(other->scheme, url.scheme)) {
            return 0;
        }
    }
    if (r == 0) {
        c->targets[c->target_count++] = url;
    }
    return r;
}

static int plan_arguments(struct configure *c, struct error *err)
{
    const struct configure_spec *spec = c->spec;
    c->plans = calloc(spec->registry_count + 1, sizeof *c->plans);
    c->targets = calloc(spec->target_count + 1, sizeof *c->targets);
    if (!c->plans || !c->targets) {
        return out_of_memory(err);
    }
    int r = spec->registry_count ? 0 : plan_registry(c, "_default", err);
    for (size_t i = 0; r == 0 && i < spec->registry_count; i++) {
        r = plan_registry(c, spec->registries[i], err);
    }
    for (size_t i = 0; r == 0 && i < spec->target_count; i++) {
        r = plan_target(c, spec->targets[i], err);
    }
    if (r == 0 && !c->target_count) {
        r = error_set(err, -EINVAL, "no mirror target is given");
    }
    return r;
}

/* It goes between single quotes, where TOML knows no escapes. */
static int plan_headers(const struct configure *c, struct error *err)
{
    const char *const values[] = {c->spec->authorization, c->spec->node_id};
    for (size_t i = 0; i < 2; i++) {
        for (const char *p = values[i]; p && *p; p++) {
            if (*p == '\'' || (unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f) {
                return error_set(err, -EINVAL, "a header's value cannot stand in hosts.toml");
            }
        }
    }
    return 0;
}

/* containerd looks for host_port_ before host:port. */
static void plan_name(const struct certs_dir *l, struct plan *plan)
{
    char other[sizeof plan->name];
    const char *colon = strrchr(plan->name, ':');
    if (!colon || colon[strspn(colon + 1, "0123456789") + 1]) {
        return;
    }
    (void)snprintf(other, sizeof other, "%.*s_%s_", (int)(colon - plan->name), plan->name,
                   colon + 1);
    if (certs_dir_has(l->dir, other, NULL) || certs_dir_has(l->backup, other, NULL)) {
        memcpy(plan->name, other, sizeof other);
    }
}

/* What its owner has for the registry: the file in force if it is his, else what we took its place
 * from. */
static int plan_read_existing(const struct certs_dir *l, const struct plan *plan, struct buf *text,
                              mode_t *ret_mode, struct error *err)
{
    enum hosts_owner owner;
    char path[sizeof plan->name + sizeof CERTS_DIR_HOSTS + 1];
    int r = owner_find(l, plan->name, &owner, err);
    if (r < 0) {
        return r;
    }
    if (owner == HOSTS_USER || (owner == HOSTS_GENERATED && l->backup < 0)) {
        (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, plan->name);
        return files_read(l->dir, path, text, ret_mode, err);
    }
    return saved_read(l, plan->name, text, ret_mode, err);
}

static int plan_render(const struct configure *c, const struct certs_dir *l, struct plan *plan,
                       struct error *err)
{
    const struct hosts_spec hosts = {.targets = c->targets,
                                     .target_count = c->target_count,
                                     .resolve_tags = c->spec->resolve_tags,
                                     .authorization = c->spec->authorization,
                                     .node_id = c->spec->node_id};
    struct buf existing;
    mode_t mode = 07777;
    int r = -ENOENT;
    buf_init(&existing, LIMIT_HOSTS_TOML_BYTES);
    if (l && c->spec->prepend_existing) {
        r = plan_read_existing(l, plan, &existing, &mode, err);
    }
    plan->denied = files_is_denied(r);
    if (plan->denied) {
        r = 0;
    } else if (r == 0 || r == -ENOENT) {
        plan->prepended = existing.len > 0;
        /* Whom the owner did not let read his file may not read it now. */
        plan->mode = (c->spec->authorization ? 0600 : 0644) & mode;
        r = hosts_render(&hosts, &plan->registry, plan->prepended ? existing.data : NULL,
                         existing.len, &plan->text, err);
    }
    buf_done(&existing);
    return r < 0 ? error_wrap(err, r, "%s/" CERTS_DIR_HOSTS, plan->name) : 0;
}

static int plan_render_all(const struct configure *c, const struct certs_dir *l, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->plan_count; i++) {
        plan_name(l, &c->plans[i]);
        r = plan_render(c, l, &c->plans[i], err);
    }
    return r;
}

static bool is_planned(const struct configure *c, const char *name)
{
    for (size_t i = 0; i < c->plan_count; i++) {
        if (!strcmp(c->plans[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* What one name came to, which is not to stop the others. */
static void settle(struct certs_dir *l, struct configure *c, const char *name, int r,
                   const struct error *err)
{
    if (r < 0) {
        (void)trees_remove(l->dir, CERTS_DIR_STAGED, NULL);
    }
    if (files_is_denied(r)) {
        certs_dir_notice(l, CERTSD_DENIED, name);
    } else if (r < 0 && c->failed == 0) {
        c->failed = r;
        c->failure = *err;
    }
}

static void tell_losses(const struct certs_dir *l, const char *name, bool ours)
{
    unsigned differs = originals_compare(l, name, ours);
    if (differs & TREES_LACKS) {
        certs_dir_notice(l, CERTSD_NOT_BACKED_UP, name);
    }
    if (differs & TREES_OWNER) {
        certs_dir_notice(l, CERTSD_OTHER_OWNER, name);
    }
}

static int back_to_its_owner(struct certs_dir *l, const struct configure *c, const char *name,
                             struct error *err)
{
    enum hosts_owner owner;
    int r = owner_settle(l, name, &owner, err);
    bool retired = r == 0 && (owner == HOSTS_GENERATED || owner == HOSTS_BOOTSTRAP);
    if (retired) {
        r = restore_retire(l, name, err);
        r = r < 0 ? r : originals_move_back(l, name);
    }
    if (r == 0 && certs_dir_has(l->dir, name, NULL) && (retired || !c->first)) {
        /* So that the Go implementation's cleanup, which deletes it, puts back what is now. */
        r = backup_renew(l, name, err);
    }
    return r;
}

/* Everything in the directory but the registries to be written. */
static int settle_other(struct certs_dir *l, const char *name, void *user, struct error *err)
{
    struct configure *c = user;
    struct stat st;
    if (is_planned(c, name)) {
        return 0;
    }
    settle(l, c, name, back_to_its_owner(l, c, name, err), err);
    if (fstatat(l->dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode)) {
        certs_dir_notice(l, CERTSD_NOT_MIRRORED, name);
    }
    if (certs_dir_has(l->dir, name, NULL)) {
        tell_losses(l, name, false);
    }
    return 0;
}

static bool is_written(const struct certs_dir *l, const struct plan *plan)
{
    char path[sizeof plan->name + sizeof CERTS_DIR_HOSTS + 1];
    struct buf text;
    mode_t mode;
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, plan->name);
    buf_init(&text, plan->text.max);
    bool same = files_read(l->dir, path, &text, &mode, NULL) == 0 && mode == plan->mode &&
                text.len == plan->text.len && !memcmp(text.data, plan->text.data, text.len);
    buf_done(&text);
    return same;
}

static int install(const struct certs_dir *l, const struct configure *c, const struct plan *plan,
                   enum hosts_owner owner, struct error *err)
{
    bool directory = false;
    (void)certs_dir_has(l->dir, plan->name, &directory);
    if (directory && !files_may_change(l->dir, plan->name)) {
        bool theirs = owner == HOSTS_USER || owner == HOSTS_NONE;
        return theirs ? originals_put_aside(l, plan->name, &plan->text, plan->mode, err)
                      : error_set(err, -EACCES, "%s: the directory may not be changed", plan->name);
    }
    if (directory && owner == HOSTS_USER && originals_needs_swap(l, plan->name)) {
        return originals_swap(l, plan->name, &plan->text, plan->mode, err);
    }
    return certs_dir_install(l, plan->name, &plan->text, plan->mode, c->spec->prepend_existing,
                             err);
}

static int write_plan(struct certs_dir *l, const struct configure *c, const struct plan *plan,
                      struct error *err)
{
    enum hosts_owner owner;
    if (plan->denied) {
        return error_set(err, -EACCES, "%s may not be read", plan->name);
    }
    int r = owner_settle(l, plan->name, &owner, err);
    if (r == 0 && owner == HOSTS_GENERATED && is_written(l, plan)) {
        certs_dir_notice(l, CERTSD_UNCHANGED, plan->name);
        return 0;
    }
    /* A file of the user's that came after the first run. */
    if (r == 0 && owner == HOSTS_USER && !c->first) {
        r = backup_renew(l, plan->name, err);
    }
    r = r < 0 ? r : install(l, c, plan, owner, err);
    if (r == 0) {
        certs_dir_notice(l, plan->prepended ? CERTSD_PREPENDED : CERTSD_WRITTEN, plan->name);
    }
    return r;
}

static int write_all(struct certs_dir *l, struct configure *c, struct error *err)
{
    c->first = l->backup < 0;
    int r = c->first ? backup_make(l, err) : backup_adopt(l, err);
    r = r < 0 ? r : certs_dir_each(l, settle_other, c, err);
    for (size_t i = 0; r == 0 && i < c->plan_count; i++) {
        const char *name = c->plans[i].name;
        int written = write_plan(l, c, &c->plans[i], err);
        if (written == 0 && !c->spec->prepend_existing) {
            (void)originals_move(l, name); /* or it is told below */
        }
        settle(l, c, name, written, err);
        if (certs_dir_has(l->dir, name, NULL)) {
            tell_losses(l, name, written == 0);
        }
    }
    if (r == 0 && c->failed < 0) {
        *err = c->failure;
        r = c->failed;
    }
    return r;
}

static void configure_done(struct configure *c)
{
    for (size_t i = 0; i < c->plan_count; i++) {
        buf_done(&c->plans[i].text);
    }
    free(c->plans);
    free(c->targets);
}

int certsd_configure(const struct configure_spec *spec, const struct certsd_notices *notices,
                     struct error *err)
{
    struct configure c = {.spec = spec};
    struct certs_dir l;
    struct error unwanted;
    err = err ? err : &unwanted;
    int r = plan_arguments(&c, err);
    r = r < 0 ? r : plan_headers(&c, err);
    if (r == 0) {
        r = certs_dir_open(&l, spec->path, true, notices, err);
        if (r == 0) {
            r = originals_recover(&l, err);
            r = r < 0 ? r : plan_render_all(&c, &l, err);
            r = r < 0 ? r : write_all(&l, &c, err);
            certs_dir_close(&l);
        }
        r = r < 0 ? error_wrap(err, r, "%s", spec->path) : 0;
    }
    configure_done(&c);
    return r;
}
