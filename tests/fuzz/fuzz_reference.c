#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses is what it was made of: printed again it is the same text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct reference ref;
    struct error err;
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = 0;
    if (reference_parse(text, &ref, &err) == 0) {
        char again[1024] = "", digest[DIGEST_TEXT_BYTES] = "";
        if (ref.has_digest) {
            digest_format(&ref.digest, digest);
        }
        strcat(strcat(strcat(again, ref.registry), "/"), ref.repository);
        strcat(strcat(again, ref.tag[0] ? ":" : ""), ref.tag);
        strcat(strcat(again, ref.has_digest ? "@" : ""), digest);
        CHECK(!strcmp(again, text));
    }
    free(text);
    return 0;
}
