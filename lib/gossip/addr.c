#include "gossip/addr.h"

#include "gossip/wire.h"

#include "base/hex.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

bool gossip_addr_same_host(const struct gossip_addr *a, const struct gossip_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool gossip_addr_equal(const struct gossip_addr *a, const struct gossip_addr *b)
{
    return a->port == b->port && gossip_addr_same_host(a, b);
}

int gossip_addr_compare(const struct gossip_addr *a, const struct gossip_addr *b)
{
    int order = memcmp(a->ip, b->ip, sizeof(a->ip));
    order = order ? order : a->family - b->family;
    return order ? order : a->port - b->port;
}

bool gossip_addr_is_loopback(const struct gossip_addr *a)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    if (a->family == GOSSIP_IPV4) {
        return a->ip[0] == 127;
    }
    return a->family == GOSSIP_IPV6 && memcmp(a->ip, v6_loopback, 16) == 0;
}

static bool v4_is_unusable(const uint8_t *ip)
{
    return ip[0] == 0 || ip[0] >= 224 || (ip[0] == 169 && ip[1] == 254);
}

bool gossip_addr_is_unusable(const struct gossip_addr *a)
{
    static const uint8_t zero[16];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family == GOSSIP_IPV4) {
        return v4_is_unusable(a->ip);
    }
    if (a->family != GOSSIP_IPV6) {
        return true;
    }
    return memcmp(a->ip, zero, 16) == 0 || memcmp(a->ip, mapped, 12) == 0 || a->ip[0] == 0xff ||
           (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80);
}

int gossip_addr_parse_ip(const char *text, uint16_t port, struct gossip_addr *ret_addr)
{
    struct gossip_addr a = {.port = port};
    if (inet_pton(AF_INET, text, a.ip) == 1) {
        a.family = GOSSIP_IPV4;
    } else if (inet_pton(AF_INET6, text, a.ip) == 1) {
        a.family = GOSSIP_IPV6;
    } else {
        return -EINVAL;
    }
    *ret_addr = a;
    return 0;
}

const char *gossip_addr_format(const struct gossip_addr *a, char text[GOSSIP_ADDR_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->family == GOSSIP_IPV4) {
        inet_ntop(AF_INET, a->ip, ip, sizeof(ip));
        snprintf(text, GOSSIP_ADDR_TEXT_BYTES, "%s:%u", ip, a->port);
    } else if (a->family == GOSSIP_IPV6) {
        inet_ntop(AF_INET6, a->ip, ip, sizeof(ip));
        snprintf(text, GOSSIP_ADDR_TEXT_BYTES, "[%s]:%u", ip, a->port);
    } else {
        snprintf(text, GOSSIP_ADDR_TEXT_BYTES, "none");
    }
    return text;
}

const char *gossip_id_format(uint64_t id, char text[GOSSIP_ID_TEXT_BYTES])
{
    snprintf(text, GOSSIP_ID_TEXT_BYTES, "%012llx",
             (unsigned long long)(id & ((UINT64_C(1) << 48) - 1)));
    return text;
}

int gossip_id_parse(const char *text, uint64_t *ret_id)
{
    uint8_t bytes[6];
    if (strlen(text) != 2 * sizeof(bytes) || hex_read(text, sizeof(bytes), bytes) ||
        gossip_load48(bytes) == 0) {
        return -EINVAL;
    }
    *ret_id = gossip_load48(bytes);
    return 0;
}

uint64_t gossip_id_make(const char *label, const uint8_t *random, size_t random_bytes)
{
    uint8_t hash[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx) {
        (void)(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
               EVP_DigestUpdate(ctx, label, strlen(label)) &&
               EVP_DigestUpdate(ctx, random, random_bytes) && EVP_DigestFinal_ex(ctx, hash, NULL));
    }
    EVP_MD_CTX_free(ctx);
    uint64_t id = gossip_load48(hash);
    return id ? id : 1;
}
