/* Heads of responses: whatever the bytes are and however they are cut, the verdict is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/response.h"

static int parse(const uint8_t *data, size_t n, size_t step, struct http_response *ret_response)
{
    struct http_response_parser *p = http_response_parser_new();
    CHECK(p);
    int r = 0;
    for (size_t fed = 0, used = 0; r == 0 && fed < n; fed += used) {
        r = http_response_parser_feed(p, (const char *)data + fed, n - fed < step ? n - fed : step,
                                      &used);
    }
    if (r == 1) {
        *ret_response = *http_response_parser_get(p);
    }
    http_response_parser_free(p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_response whole = {0}, cut = {0};
    int a = parse(data, n, n + 1, &whole), b = parse(data, n, 1, &cut);
    CHECK(a == b || (a < 0 && b < 0));
    CHECK(a != 1 || (whole.content_length == cut.content_length && whole.status == cut.status));
    return 0;
}
