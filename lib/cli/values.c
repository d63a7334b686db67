#include "cli/values.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000u

int value_bool(const char *text, bool *ret_value)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "False", "FALSE"},
                                            {"1", "t", "T", "true", "True", "TRUE"}};
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 6; i++) {
            if (!strcmp(text, words[value][i])) {
                *ret_value = value;
                return 0;
            }
        }
    }
    return -EINVAL;
}

int value_count(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (!*text) {
        return -EINVAL;
    }
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text) || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) {
            return -EINVAL;
        }
    }
    *ret_value = value;
    return 0;
}

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    /* Longest first where one begins another. */
    {"ns", 1},           {"us", 1000},       {"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
    {"\xce\xbcs", 1000},                                          /* U+03BC, mu */
    {"ms", NS_PER_MS},   {"s", 1000000000u}, {"m", 60000000000u}, {"h", 3600000000000u},
};

/* One "<number><unit>"; moves *text past it. */
static int value_duration_part(const char **text, uint64_t *total_ns)
{
    const char *p = *text;
    uint64_t whole = 0, fraction = 0, scale = 1;
    bool digits = false;
    for (; isdigit((unsigned char)*p); p++, digits = true) {
        if (__builtin_mul_overflow(whole, 10u, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole)) {
            return -EINVAL;
        }
    }
    if (*p == '.') {
        for (p++; isdigit((unsigned char)*p); p++, digits = true) {
            if (scale < 1000000) { /* finer than any of our clocks: dropped */
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
        }
    }
    for (size_t i = 0; digits && i < sizeof units / sizeof *units; i++) {
        size_t n = strlen(units[i].name);
        if (strncmp(p, units[i].name, n) != 0) {
            continue;
        }
        uint64_t ns;
        if (__builtin_mul_overflow(whole, units[i].ns, &ns) ||
            __builtin_add_overflow(ns, fraction * (units[i].ns / scale), &ns) ||
            __builtin_add_overflow(*total_ns, ns, total_ns) || *total_ns > INT64_MAX) {
            return -EINVAL;
        }
        *text = p + n;
        return 0;
    }
    return -EINVAL;
}

int value_duration_ms(const char *text, uint64_t *ret_ms)
{
    uint64_t total_ns = 0;
    if (!strcmp(text, "0")) {
        *ret_ms = 0;
        return 0;
    }
    do {
        if (value_duration_part(&text, &total_ns) < 0) {
            return -EINVAL;
        }
    } while (*text);
    *ret_ms = total_ns / NS_PER_MS + (total_ns % NS_PER_MS != 0);
    return 0;
}

int value_address(const char *text, struct host_port *ret_address)
{
    struct host_port address = {0};
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || value_count(colon + 1, &port) < 0 || port < 1 || port > UINT16_MAX) {
        return -EINVAL;
    }
    const char *host = text;
    size_t n = (size_t)(colon - text);
    bool bracketed = n >= 2 && host[0] == '[' && host[n - 1] == ']';
    if (bracketed) {
        host++;
        n -= 2;
    }
    if (n >= sizeof address.host) {
        return -EINVAL;
    }
    memcpy(address.host, host, n);
    for (size_t i = 0; i < n; i++) {
        if (!isgraph((unsigned char)host[i]) || strchr("[]/@?#'\"\\", host[i])) {
            return -EINVAL;
        }
    }
    /* An IPv6 literal needs its brackets, and nothing else may have them: "::1:5000" could be
     * read in two ways. */
    struct in6_addr ipv6;
    if (bracketed ? inet_pton(AF_INET6, address.host, &ipv6) != 1
                  : strchr(address.host, ':') != NULL) {
        return -EINVAL;
    }
    address.port = (uint16_t)port;
    *ret_address = address;
    return 0;
}

/* Copies one field from *text into `field` (large enough for all of it) and moves past it. */
static int value_list_field(const char **text, char *field)
{
    const char *p = *text;
    if (*p == '"') {
        for (p++; *p != '"' || p[1] == '"'; p++) {
            if (!*p) {
                return -EINVAL;
            }
            p += *p == '"';
            *field++ = *p;
        }
        p++;
        if (*p && *p != ',') {
            return -EINVAL;
        }
    } else {
        for (; *p && *p != ','; p++) {
            *field++ = *p;
        }
    }
    *field = 0;
    *text = p;
    return 0;
}

int value_list(const char *text, struct text_list *list)
{
    if (!text[strspn(text, " \t\r\n")]) {
        return 0;
    }
    char *field = malloc(strlen(text) + 1);
    int r = field ? 0 : -ENOMEM;
    while (r == 0) {
        r = value_list_field(&text, field);
        if (r == 0 && *field) {
            r = text_list_add(list, field);
        }
        if (!*text) {
            break;
        }
        text++;
    }
    free(field);
    return r;
}
