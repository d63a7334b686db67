#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/world.h"

static struct world *world_of_names(void)
{
    struct world *w = world_new("private", NULL);
    blob(w, 1);
    image(w, "docker.io/b:2", 1);
    image(w, "docker.io/b:1", 1);
    image(w, "docker.io/b:10", 1);
    image(w, "ghcr.io/b:3", 1);
    image(w, "docker.io/a/x:v", 1);
    image(w, "docker.io/c:v", 1);
    image(w, "/d:v", 1);
    image(w, "docker.io/private:v", 1);
    image(w, "docker.io/absent:v", 2);
    return w;
}

static void repositories_are_listed_sorted_and_once(void **state)
{
    (void)state;
    struct world *w = world_of_names();
    const char *names[8];
    bool more = true;
    assert_int_equal(inventory_repositories(w->inv, NULL, "", names, 8, &more), 4);
    assert_false(more);
    assert_string_equal(names[0], "a/x");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "c");
    assert_string_equal(names[3], "d");
    assert_int_equal(inventory_repositories(w->inv, "ghcr.io", "", names, 8, &more), 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "d"); /* without a registry: under every one */
    world_free(w);
}

static void pages_follow_each_other_without_gap_or_double(void **state)
{
    (void)state;
    struct world *w = world_of_names();
    for (size_t page = 1; page <= 5; page++) {
        const char *names[5], *last = "";
        size_t total = 0;
        bool more = true;
        while (more) {
            size_t n = inventory_repositories(w->inv, "", last, names, page, &more);
            assert_true(n <= page && (n == page || !more));
            for (size_t i = 0; i < n; i++) {
                assert_true(strcmp(names[i], i ? names[i - 1] : last) > 0);
            }
            total += n;
            last = n ? names[n - 1] : last;
        }
        assert_int_equal(total, 4);
    }
    bool more = false;
    assert_int_equal(inventory_repositories(w->inv, "", "", NULL, 0, &more), 0);
    assert_true(more);
    world_free(w);
}

static void tags_are_listed_in_byte_order(void **state)
{
    (void)state;
    struct world *w = world_of_names();
    const char *tags[8];
    bool more = true;
    assert_int_equal(inventory_tags(w->inv, "docker.io", "b", "", tags, 8, &more), 3);
    assert_false(more);
    assert_string_equal(tags[0], "1");
    assert_string_equal(tags[1], "10");
    assert_string_equal(tags[2], "2");
    assert_int_equal(inventory_tags(w->inv, NULL, "b", "10", tags, 8, &more), 2);
    assert_string_equal(tags[1], "3");
    assert_int_equal(inventory_tags(w->inv, NULL, "private", "", tags, 8, &more), 0);
    assert_int_equal(inventory_tags(w->inv, NULL, "absent", "", tags, 8, &more), 0);
    assert_true(inventory_has_repository(w->inv, NULL, "b"));
    assert_true(inventory_has_repository(w->inv, "ghcr.io", "b"));
    assert_false(inventory_has_repository(w->inv, "ghcr.io", "c"));
    assert_false(inventory_has_repository(w->inv, NULL, "private"));
    assert_false(inventory_has_repository(w->inv, NULL, "absent"));
    world_free(w);
}

struct seen {
    size_t count;
    char artifact_type[MEDIA_TYPE_BYTES], annotations[64];
    struct digest digest;
};

static void see(void *arg, const struct inventory_blob *b, const struct manifest *m)
{
    struct seen *s = arg;
    s->count++;
    s->digest = b->digest;
    strcpy(s->artifact_type, m->artifact_type);
    strcpy(s->annotations, m->annotations_json ? m->annotations_json : "");
    assert_int_equal(m->child_count, 0);
}

static void referrers_are_found_by_their_subject(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    struct digest subject = digest_n(1), d = digest_n(2);
    struct manifest_child child = {.digest = digest_n(5)};
    struct manifest m = {.has_subject = true,
                         .subject = subject,
                         .artifact_type = "a/signature",
                         .annotations_json = (char *)"{\"k\":\"v\"}",
                         .children = &child,
                         .child_count = 1};
    struct seen s = {0};
    blob(w, 2);
    assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
    inventory_referrers(w->inv, &subject, see, &s);
    assert_int_equal(s.count, 1);
    assert_true(digest_equal(&s.digest, &d));
    assert_string_equal(s.artifact_type, "a/signature");
    assert_string_equal(s.annotations, "{\"k\":\"v\"}");
    image(w, "docker.io/private:v", 2);
    inventory_referrers(w->inv, &subject, see, &s);
    assert_int_equal(s.count, 1); /* filtered */
    inventory_remove_image(w->inv, "docker.io/private:v");
    inventory_referrers(w->inv, &subject, see, &s);
    assert_int_equal(s.count, 2);
    gone(w, 2);
    inventory_referrers(w->inv, &subject, see, &s);
    inventory_referrers(w->inv, &d, see, &s);
    assert_int_equal(s.count, 2);
    world_free(w);
}

static void figures_count_what_is_announced(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    for (unsigned n = 1; n <= 6; n++) {
        blob(w, n);
    }
    image(w, "docker.io/a:1", 1);
    image(w, "docker.io/a:2", 1);
    image(w, "ghcr.io/a:1", 2);
    image(w, "ghcr.io/a:absent", 9);
    manifest(w, 1, LIST(3, 4, 4));
    manifest(w, 2, LIST(4, 5, 8));
    struct inventory_figures f[4];
    for (int again = 0; again < 2; again++) {
        assert_int_equal(inventory_figures(w->inv, f, 4), 3);
        assert_string_equal(f[0].registry, "");
        assert_int_equal(f[0].content_digests, 1); /* 6, which nothing reaches */
        assert_string_equal(f[1].registry, "docker.io");
        assert_int_equal(f[1].tags, 2);
        assert_int_equal(f[1].image_digests, 1);
        assert_int_equal(f[1].content_digests, 3);
        assert_string_equal(f[2].registry, "ghcr.io");
        assert_int_equal(f[2].tags, 1);
        assert_int_equal(f[2].image_digests, 1);
        assert_int_equal(f[2].content_digests, 3);
    }
    assert_int_equal(inventory_figures(w->inv, f, 1), 1);
    assert_int_equal(inventory_figures(w->inv, f, 0), 0);
    world_free(w);
}

struct sweep {
    struct inventory *inv;
    size_t seen;
};

static void remove_seen(void *arg, const struct inventory_blob *b)
{
    struct sweep *s = arg;
    s->seen++;
    inventory_remove_copy(s->inv, &b->digest, b->root);
}

static void remove_image(void *arg, const char *name, const struct digest *target)
{
    struct sweep *s = arg;
    (void)target;
    s->seen++;
    inventory_remove_image(s->inv, name);
}

static void everything_may_be_removed_while_walking(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct sweep s = {.inv = w->inv};
    struct digest d = digest_n(50);
    for (unsigned n = 1; n <= 100; n++) {
        blob(w, n);
    }
    for (unsigned n = 1; n < 100; n++) {
        index_of(w, n, LIST(n + 1));
    }
    image(w, "docker.io/a:v", 1);
    image(w, "docker.io/b:v", 2);
    inventory_condemn(w->inv, &d);
    assert_int_equal(inventory_add_blob(w->inv, &d, 1, &root_b), 0);
    inventory_each_blob(w->inv, &root_a, remove_seen, &s);
    assert_int_equal(s.seen, 100); /* the condemned one, too */
    assert_int_equal(inventory_blob_count(w->inv), 1);
    s.seen = 0;
    inventory_each_image(w->inv, remove_image, &s);
    assert_int_equal(s.seen, 2);
    inventory_each_image(w->inv, remove_image, &s);
    assert_int_equal(s.seen, 2);
    world_free(w);
}

/* --- real files --- */

static void write_blob(const char *dir, const struct digest *d, const char *text)
{
    char path[256], hex[DIGEST_HEX_BYTES];
    digest_format_hex(d, hex);
    (void)snprintf(path, sizeof path, "%s/blobs/sha256/%s", dir, hex);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void make_root(char dir[64])
{
    char path[128];
    strcpy(dir, "/tmp/spegel-inventory-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/blobs", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/blobs/sha256", dir);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void remove_root(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void opening_withdraws_what_is_not_as_reported(void **state)
{
    (void)state;
    char dir[64], other[64], path[256], hex[DIGEST_HEX_BYTES];
    make_root(dir);
    make_root(other);
    struct blob_root root = {.path = dir}, second = {.path = other};
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    digest_format_hex(&d, hex);
    (void)snprintf(path, sizeof path, "%s/blobs/sha256/%s", dir, hex);
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);

    write_blob(dir, &d, "12345");
    assert_int_equal(inventory_add_blob(w->inv, &d, 5, &root), 0);
    int fd = inventory_open(w->inv, &d);
    char bytes[8];
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof bytes), 5);
    assert_int_equal(close(fd), 0);

    write_blob(dir, &d, "1234"); /* truncated */
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);
    assert_null(find(w, 1));
    assert_false(w->announced[1]);

    assert_int_equal(inventory_add_blob(w->inv, &d, 4, &root), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);
    assert_null(find(w, 1));

    assert_int_equal(mkdir(path, 0700), 0); /* not a file */
    assert_int_equal(inventory_add_blob(w->inv, &d, 4096, &root), 0);
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(inventory_add_blob(w->inv, &d, 10, &root), 0);
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(inventory_add_blob(w->inv, &d, 0, &root), 0);
    assert_int_equal(inventory_open(w->inv, &d), -ENOENT);

    write_blob(other, &d, "123"); /* a good copy elsewhere */
    assert_int_equal(inventory_add_blob(w->inv, &d, 3, &root), 0);
    assert_int_equal(inventory_add_blob(w->inv, &d, 3, &second), 0);
    fd = inventory_open(w->inv, &d);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_ptr_equal(find(w, 1)->root, &second);
    world_free(w);
    remove_root(dir);
    remove_root(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repositories_are_listed_sorted_and_once),
        cmocka_unit_test(pages_follow_each_other_without_gap_or_double),
        cmocka_unit_test(tags_are_listed_in_byte_order),
        cmocka_unit_test(referrers_are_found_by_their_subject),
        cmocka_unit_test(figures_count_what_is_announced),
        cmocka_unit_test(everything_may_be_removed_while_walking),
        cmocka_unit_test(opening_withdraws_what_is_not_as_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
