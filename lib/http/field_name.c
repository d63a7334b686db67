#include "http/field_name.h"

#include <string.h>
#include <strings.h>

void field_name_add(struct field_name *f, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && f->count + i < FIELD_NAME_BYTES; i++) {
        f->bytes[f->count + i] = bytes[i];
    }
    f->count += n;
}

size_t field_name_end(struct field_name *f, const char *const *known, size_t known_count)
{
    size_t i = f->count < FIELD_NAME_BYTES ? 0 : known_count;
    while (i < known_count &&
           (strlen(known[i]) != f->count || strncasecmp(known[i], f->bytes, f->count) != 0)) {
        i++;
    }
    f->count = 0;
    return i;
}
