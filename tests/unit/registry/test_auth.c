#include "registry/auth.h"

#include <sys/stat.h>

#include "scripted_peer.h"

struct fixture {
    struct loop *loop;
    char dir[64];
    struct auth *auth;
    const char *wanted; /* header */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *f = (struct fixture){.dir = "/tmp/spegel-auth-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(loop_new(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    auth_free(f->auth);
    loop_free(f->loop);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void write_file(const struct fixture *f, const char *name, const char *bytes, size_t n)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
    (void)remove(path);
    if (!bytes) {
        return;
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void write_pair(const struct fixture *f, const char *username, const char *password)
{
    write_file(f, "username", username, username ? strlen(username) : 0);
    write_file(f, "password", password, password ? strlen(password) : 0);
}

static void start(struct fixture *f)
{
    struct error err;
    auth_free(f->auth);
    f->auth = NULL;
    assert_int_equal(auth_new(f->loop, f->dir, &f->auth, &err), 0);
}

static void it_is_on_when_either_file_has_something(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *username, *password, *header;
    } rows[] = {
        {NULL, NULL, NULL},
        {"", "", NULL},
        {"\n", "\n", NULL},
        {"u", "p", "Basic dTpw"},
        {"u\n", "p\n", "Basic dTpw"},
        {"u", "p\n\n", "Basic dTpwCg=="}, /* one newline is an editor's, two are a password's */
        {"u", NULL, "Basic dTo="},
        {NULL, "p", "Basic OnA="},
        {"Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617 section 2 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_pair(f, rows[i].username, rows[i].password);
        start(f);
        assert_int_equal(auth_enabled(f->auth), rows[i].header != NULL);
        assert_int_equal(auth_allows(f->auth, NULL), rows[i].header == NULL);
        if (rows[i].header) {
            assert_string_equal(auth_header(f->auth), rows[i].header);
            assert_true(auth_allows(f->auth, rows[i].header));
        } else {
            assert_null(auth_header(f->auth));
        }
    }
}

static void only_the_right_pair_is_let_in(void **state)
{
    struct fixture *f = *state;
    write_pair(f, "u", "p");
    start(f);
    static const struct {
        const char *header;
        bool allowed;
    } rows[] = {
        {"Basic dTpw", true},
        {"basic dTpw", true},
        {"BASIC dTpw", true},
        {NULL, false},
        {"", false},
        {"Basic", false},
        {"Basic ", false},
        {"Basic dTp", false},
        {"Basic dTpwdTpw", false},
        {"Basic dTpx", false},
        {"Bearer dTpw", false},
        {"dTpw", false},
        {"Basic DTPW", false},
        {"Basicx dTpw", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(auth_allows(f->auth, rows[i].header), rows[i].allowed);
    }
}

static bool has_wanted(void *arg)
{
    struct fixture *f = arg;
    const char *header = auth_header(f->auth);
    return f->wanted ? header && !strcmp(header, f->wanted) : !header;
}

static void a_rotated_pair_takes_effect(void **state)
{
    struct fixture *f = *state;
    start(f);
    static const struct {
        const char *username, *password, *header;
    } rows[] = {{"u", "p", "Basic dTpw"}, {"u", "new", "Basic dTpuZXc="}, {NULL, NULL, NULL}};
    for (size_t i = 0; i < 3; i++) {
        write_pair(f, rows[i].username, rows[i].password);
        f->wanted = rows[i].header;
        assert_true(loop_run_until(f->loop, has_wanted, f, 5000));
    }
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void what_cannot_be_used_changes_nothing_and_stops_a_start(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char path[128], text[600];
    struct auth *none = NULL;
    write_pair(f, "u", "p");
    start(f);
    memset(text, 'x', sizeof text);
    write_file(f, "password", text, 512);
    assert_int_equal(auth_new(f->loop, f->dir, &none, &err), -E2BIG);
    assert_non_null(strstr(err.text, "/password: longer than 511 bytes"));
    write_file(f, "password", "a\0b", 3);
    assert_int_equal(auth_new(f->loop, f->dir, &none, &err), -EINVAL);
    write_file(f, "password", NULL, 0);
    (void)snprintf(path, sizeof path, "%s/password", f->dir);
    assert_int_equal(mkdir(path, 0700), 0); /* root may read anything but this */
    assert_int_equal(auth_new(f->loop, f->dir, &none, &err), -EISDIR);
    assert_null(none);
    (void)loop_run_until(f->loop, never, NULL, 2500); /* longer than a look at the files takes */
    assert_true(auth_allows(f->auth, "Basic dTpw"));
    assert_false(auth_allows(f->auth, NULL));
    write_file(f, "password", text, 511);
    write_file(f, "username", text, 511);
    f->wanted = NULL;
    start(f);
    assert_true(auth_enabled(f->auth));
    assert_true(auth_allows(f->auth, auth_header(f->auth)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_is_on_when_either_file_has_something),
        TEST(only_the_right_pair_is_let_in),
        TEST(a_rotated_pair_takes_effect),
        TEST(what_cannot_be_used_changes_nothing_and_stops_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
