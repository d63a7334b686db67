#include "gossip/key.h"

#include "gossip/wire.h"

#include <openssl/evp.h>
#include <string.h>

uint64_t gossip_key_digest(const uint8_t sha256[32])
{
    return gossip_load64(sha256) & ~GOSSIP_KEY_TAG_BIT;
}

uint64_t gossip_key_tag(const char *name)
{
    uint8_t hash[EVP_MAX_MD_SIZE] = {0};
    (void)EVP_Digest(name, strlen(name), hash, NULL, EVP_sha256(), NULL);
    return gossip_load64(hash) | GOSSIP_KEY_TAG_BIT;
}

uint64_t gossip_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}
