#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "store/stale_mount.h"

#define SOCKET "/run/containerd/containerd.sock"
#define OTHERS                                                                                     \
    "22 1 0:20 / /sys rw,relatime shared:2 - sysfs sysfs rw\n"                                     \
    "66 44 0:25 /containerd.sock//deleted /run/other.sock rw - tmpfs tmpfs rw\n"

static void a_mount_is_stale_when_the_kernel_says_that_its_file_is_deleted(void **state)
{
    (void)state;
    const struct {
        const char *text, *path;
        bool stale;
    } rows[] = {
        {OTHERS "67 44 0:25 /containerd/containerd.sock " SOCKET " rw - tmpfs tmpfs rw\n", SOCKET,
         false},
        {OTHERS "67 44 0:25 /containerd/containerd.sock//deleted " SOCKET " rw - tmpfs t rw\n",
         SOCKET, true},
        /* its directory is mounted, or nothing is */
        {OTHERS "67 44 0:25 /containerd//deleted /run/containerd rw - tmpfs t rw\n", SOCKET, false},
        {OTHERS, SOCKET, false},
        {OTHERS, "/run/other.sock", true},
        /* what was mounted last is what is seen */
        {"1 0 0:2 /a//deleted /a rw - t t rw\n2 0 0:2 /a /a rw - t t rw\n", "/a", false},
        {"1 0 0:2 /a /a rw - t t rw\n2 0 0:2 /a//deleted /a rw - t t rw\n", "/a", true},
        /* names with what is escaped */
        {"1 0 0:2 /a\\040b//deleted /a\\040b\\134 rw - t t rw\n", "/a b\\", true},
        {"1 0 0:2 /a//deleted /a\\04 rw - t t rw\n", "/a\\04", true},
        {"1 0 0:2 /a//deleted /ab rw - t t rw\n", "/a", false},
        {"1 0 0:2 /a//deleted /a rw - t t rw\n", "/ab", false},
        {"1 0 0:2 /deleted /a rw - t t rw\n", "/a", false},
        /* no mountinfo */
        {"", "/a", false},
        {"\n\n", "/a", false},
        {"1 0 0:2 /a//deleted /a", "/a", false},
        {"1 0 0:2 /a//deleted", "", false},
        {"    //deleted /a ", "/a", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        /* Exactly so many bytes: the sanitizer sees a byte too far. */
        size_t n = strlen(rows[i].text);
        char *text = malloc(n ? n : 1);
        memcpy(text, rows[i].text, n);
        bool stale = stale_mount_in(text, n, rows[i].path);
        free(text);
        if (stale != rows[i].stale) {
            fail_msg("row %zu", i);
        }
    }
}

static void of_this_process_nothing_is_stale(void **state)
{
    (void)state;
    assert_false(stale_mount_at("/proc"));
    assert_false(stale_mount_at("/nowhere/at/all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mount_is_stale_when_the_kernel_says_that_its_file_is_deleted),
        cmocka_unit_test(of_this_process_nothing_is_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
