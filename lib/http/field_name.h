/* field_name.h - a header's name as llhttp gives it, in pieces of any length, and which of those
 * that a parser knows it is. Internal to lib/http. */
#pragma once

#include <stddef.h>

#define FIELD_NAME_BYTES 24 /* longer names are none that we know */

struct field_name {
    char bytes[FIELD_NAME_BYTES];
    size_t count; /* of the whole name, though no more than fit are kept */
};

void field_name_add(struct field_name *f, const char *bytes, size_t n);

/* Its place in `known`, whatever its case; `known_count` if it is none of them. Then `f` is empty
 * again. */
size_t field_name_end(struct field_name *f, const char *const *known, size_t known_count);
