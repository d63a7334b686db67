/* Requests: whatever the bytes are and however they are cut, the verdict is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/request.h"

static int parse(const uint8_t *data, size_t n, size_t step, char *ret_target)
{
    struct http_parser *p = http_parser_new();
    CHECK(p);
    int r = 0;
    for (size_t fed = 0, used = 0; r == 0 && fed < n; fed += used) {
        r = http_parser_feed(p, (const char *)data + fed, n - fed < step ? n - fed : step, &used);
    }
    if (r == 1) {
        strncpy(ret_target, http_parser_request(p)->target, 255);
    }
    http_parser_free(p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char whole[256] = "", cut[256] = "";
    int a = parse(data, n, n + 1, whole), b = parse(data, n, 1, cut);
    CHECK(a == b || (a < 0 && b < 0));
    CHECK(strcmp(whole, cut) == 0);
    return 0;
}
