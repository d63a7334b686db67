#include "certsd/registry_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_BYTES_MAX 253 /* RFC 1035, section 2.3.4, as text */

static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    long port = n && n <= 5 && !text[n] ? strtol(text, NULL, 10) : 0;
    return port >= 1 && port <= UINT16_MAX;
}

static bool is_ipv6(const char *text, size_t n)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (n >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, n);
    copy[n] = 0;
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* The host becomes the name of a directory, so it may be neither ".." nor one of our own names;
 * those all begin with an underscore or a dot, which no host does. */
static bool is_name(const char *text, size_t n)
{
    if (n == 0 || n > HOST_BYTES_MAX || !isalnum((unsigned char)text[0])) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i])) {
            return false;
        }
    }
    return true;
}

static int parse_authority(const char *text, bool bare_ipv6, char *host, size_t bytes)
{
    const char *colon = strrchr(text, ':');
    size_t n = strlen(text);
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || !is_ipv6(text + 1, (size_t)(end - text - 1)) ||
            (end[1] && (end[1] != ':' || !is_port(end + 2)))) {
            return -EINVAL;
        }
    } else if (bare_ipv6 && colon && is_ipv6(text, (size_t)(colon - text)) && is_port(colon + 1)) {
        (void)snprintf(host, bytes, "[%.*s]%s", (int)(colon - text), text, colon);
        return 0;
    } else if (bare_ipv6 && is_ipv6(text, n)) {
        (void)snprintf(host, bytes, "[%s]", text);
        return 0;
    } else if (!is_name(text, colon ? (size_t)(colon - text) : n) ||
               (colon && !is_port(colon + 1))) {
        return -EINVAL;
    }
    (void)snprintf(host, bytes, "%s", text);
    return 0;
}

static int parse_url(const char *text, bool bare_ipv6, struct registry_url *ret_url)
{
    static const char *const schemes[] = {"http", "https"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(text, schemes[i], n) != 0 || strncmp(text + n, "://", 3) != 0) {
            continue;
        }
        struct registry_url url = {0};
        (void)snprintf(url.scheme, sizeof url.scheme, "%s", schemes[i]);
        int r = parse_authority(text + n + 3, bare_ipv6, url.host, sizeof url.host);
        if (r == 0) {
            *ret_url = url;
        }
        return r;
    }
    return -EINVAL;
}

int registry_url_parse(const char *text, struct registry_url *ret_url, struct error *err)
{
    if (!strcmp(text, "_default") || !strcmp(text, "*")) {
        *ret_url = (struct registry_url){.wildcard = true, .host = "_default"};
        return 0;
    }
    if (parse_url(text, false, ret_url) < 0) {
        return error_set(err, -EINVAL,
                         "registry \"%.200s\" is not allowed, give _default (all) or a URL such as "
                         "https://docker.io or http://host:5000, with no path, query or user",
                         text);
    }
    return 0;
}

int registry_url_parse_target(const char *text, struct registry_url *ret_url, struct error *err)
{
    if (parse_url(text, true, ret_url) < 0) {
        return error_set(err, -EINVAL,
                         "mirror target \"%.200s\" is not allowed, give a URL such as "
                         "http://127.0.0.1:30020 or http://[::1]:30020, with no path, query or "
                         "user",
                         text);
    }
    return 0;
}
