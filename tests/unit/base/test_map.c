#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"

struct element {
    struct map_node node;
    char key[16];
};

static struct element *add(struct map *m, int number, int *ret_status)
{
    struct element *e = malloc(sizeof *e);
    if (!e) {
        *ret_status = -ENOMEM;
        return NULL;
    }
    (void)snprintf(e->key, sizeof e->key, "key%d", number);
    *ret_status = map_insert(m, &e->node, e->key, strlen(e->key));
    if (*ret_status < 0) {
        free(e);
        return NULL;
    }
    return e;
}

static void drop_all(struct map *m)
{
    struct map_node *n;
    while ((n = map_next(m, NULL))) {
        map_remove(m, n);
        free(CONTAINER_OF(n, struct element, node));
    }
    map_done(m);
}

static void what_was_inserted_is_found_until_removed(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_get(&m, "key1", 4));
    int r;
    for (int i = 0; i < 5000; i++) {
        assert_non_null(add(&m, i, &r));
    }
    assert_null(add(&m, 77, &r));
    assert_int_equal(r, -EEXIST);
    size_t seen = 0;
    for (struct map_node *n = map_next(&m, NULL); n; n = map_next(&m, n)) {
        seen++;
    }
    assert_int_equal(seen, 5000);
    struct map_node *n = map_get(&m, "key4321", 7);
    assert_non_null(n);
    map_remove(&m, n);
    free(CONTAINER_OF(n, struct element, node));
    assert_null(map_get(&m, "key4321", 7));
    assert_non_null(map_get(&m, "key4322", 7));
    assert_int_equal(m.count, 4999);
    drop_all(&m);
}

static void fill_until_it_fails(void)
{
    struct map m;
    map_init(&m);
    int r;
    for (int i = 0; i < 100; i++) {
        struct element *e = add(&m, i, &r);
        assert_true(e || r == -ENOMEM);
        if (e) {
            assert_ptr_equal(map_get(&m, e->key, strlen(e->key)), &e->node);
        }
    }
    drop_all(&m);
}

static void running_out_of_memory_keeps_what_is_there(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP(fill_until_it_fails());
}

static void lists_remove_twice_without_harm(void **state)
{
    (void)state;
    struct list head, a, b;
    list_init(&head);
    list_init(&a);
    list_init(&b);
    list_push_back(&head, &a);
    list_push_front(&head, &b);
    assert_ptr_equal(head.next, &b);
    list_remove(&b);
    list_remove(&b);
    assert_ptr_equal(head.next, &a);
    list_remove(&a);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_inserted_is_found_until_removed),
        cmocka_unit_test(running_out_of_memory_keeps_what_is_there),
        cmocka_unit_test(lists_remove_twice_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
