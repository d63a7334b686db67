#include "base/text_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int text_list_add(struct text_list *list, const char *text)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items) {
        return -ENOMEM;
    }
    list->items = items;
    items[list->count] = strdup(text);
    if (!items[list->count]) {
        return -ENOMEM;
    }
    list->count++;
    return 0;
}

void text_list_done(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (struct text_list){0};
}
