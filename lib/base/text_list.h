/* text_list.h - a list of heap-allocated strings, owned by whoever owns the list. */
#pragma once

#include <stddef.h>

struct text_list {
    char **items;
    size_t count;
};

/* Appends a copy; 0 or -ENOMEM, and then nothing changed. */
int text_list_add(struct text_list *list, const char *text);

/* Frees the strings; the list is then empty and usable again. */
void text_list_done(struct text_list *list);
