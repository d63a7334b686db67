#include "hostile.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_S 120

static const struct {
    const char *name;
    hostile_case *run;
} cases[] = {
    {"truncated", hostile_truncated},
    {"malformed", hostile_malformed},
    {"forged", hostile_forged},
    {"wrong-label", hostile_wrong_label},
    {"wrong-version", hostile_wrong_version},
    {"oversized", hostile_oversized},
    {"replayed", hostile_replayed},
    {"replayed-exchange", hostile_replayed_exchange},
    {"replayed-challenge", hostile_replayed_challenge},
    {"old-boot", hostile_old_boot},
    {"own-id", hostile_own_id},
    {"own-id-flood", hostile_own_id_flood},
    {"stolen-id", hostile_stolen_id},
    {"addresses", hostile_addresses},
    {"garbage", hostile_garbage},
    {"strangers", hostile_strangers},
    {"join-flood", hostile_join_flood},
    {"rumour-flood", hostile_rumour_flood},
    {"spoofed", hostile_spoofed},
    {"ten-million", hostile_ten_million},
    {"endless-set", hostile_endless_set},
    {"dripping-set", hostile_dripping_set},
    {"endless-snapshot", hostile_endless_snapshot},
};

static int usage(void)
{
    fprintf(stderr, "usage: hostile --to IP:PORT [--from IP] [--port PORT] [--label TEXT] "
                    "[--count N] CASE\ncases:");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fprintf(stderr, " %s", cases[i].name);
    }
    fprintf(stderr, "\n");
    return 2;
}

static bool parse_to(struct hostile *h, const char *text)
{
    char ip[64];
    unsigned port;
    h->to = (struct sockaddr_in){.sin_family = AF_INET};
    if (sscanf(text, "%63[0-9.]:%u", ip, &port) != 2 || port == 0 || port > 65535 ||
        inet_pton(AF_INET, ip, &h->to.sin_addr) != 1) {
        return false;
    }
    h->to.sin_port = htons((uint16_t)port);
    return true;
}

static void begin(struct hostile *h, const char *from)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    h->random = (uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 32;
    h->registry_port = 5000;
    CHECK(gossip_addr_parse_ip(from, h->self.port, &h->self) == 0 && h->self.family == GOSSIP_IPV4);
    h->fd = hostile_socket(gossip_load32(h->self.ip), &h->self.port);
    CHECK(gossip_seal_new(h->label, NULL, 0, &h->seal) == 0);
    CHECK(gossip_seal_new(h->label, NULL, 0, &h->opener) == 0);
    hostile_become(h, hostile_random(h) >> 16,
                   (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000,
                   (uint32_t)hostile_random(h));
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", required_argument, NULL, 't'},    {"from", required_argument, NULL, 'f'},
        {"label", required_argument, NULL, 'l'}, {"count", required_argument, NULL, 'c'},
        {"port", required_argument, NULL, 'p'},  {NULL, 0, NULL, 0}};
    struct hostile h = {.label = "spegel", .count = 1000};
    const char *from = "127.0.0.1";
    bool has_to = false;
    int got;
    while ((got = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (got == 't') {
            has_to = parse_to(&h, optarg);
        } else if (got == 'f') {
            from = optarg;
        } else if (got == 'p') {
            h.self.port = (uint16_t)strtoul(optarg, NULL, 10);
        } else if (got == 'l') {
            h.label = optarg;
        } else if (got == 'c') {
            h.count = strtoul(optarg, NULL, 10);
        } else {
            return usage();
        }
    }
    (void)alarm(LONGEST_S);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && has_to && optind == argc - 1; i++) {
        if (strcmp(cases[i].name, argv[optind]) == 0) {
            begin(&h, from);
            cases[i].run(&h);
            hostile_hear(&h, 300);
            printf("{\"sent\":%llu,\"sent_bytes\":%llu,\"back\":%llu,\"back_bytes\":%llu}\n",
                   (unsigned long long)h.sent, (unsigned long long)h.sent_bytes,
                   (unsigned long long)h.back, (unsigned long long)h.back_bytes);
            gossip_seal_free(h.seal);
            gossip_seal_free(h.opener);
            return 0;
        }
    }
    return usage();
}
