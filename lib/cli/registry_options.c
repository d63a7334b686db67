#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "certsd/registry_url.h"
#include "cli/options.h"
#include "cli/peer.h"

#define LAYOUT_PREFIX "oci-layout:"
#define URL_BYTES_MAX 4096

static int out_of_memory(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

static bool is_given(const char *text)
{
    return text && *text;
}

/* An empty text flag means the same as none. */
static void drop_empty(char **text)
{
    if (*text && !**text) {
        free(*text);
        *text = NULL;
    }
}

static int replace_text(char **field, const char *text, struct error *err)
{
    char *copy = strdup(text);
    if (!copy) {
        return out_of_memory(err);
    }
    free(*field);
    *field = copy;
    return 0;
}

static int complete_stores(struct registry_options *o, struct error *err)
{
    size_t n = strlen(LAYOUT_PREFIX);
    for (size_t i = 0; i < o->stores.count; i++) {
        const char *text = o->stores.items[i];
        if (strncmp(text, LAYOUT_PREFIX, n) != 0 || !text[n]) {
            return error_set(err, -EINVAL, "--store: \"%.200s\" is not allowed, give %sDIR", text,
                             LAYOUT_PREFIX);
        }
        if (text_list_add(&o->layouts, text + n) < 0) {
            return out_of_memory(err);
        }
    }
    o->use_containerd = o->layouts.count == 0;
    return 0;
}

/* The retired kind asked Kubernetes who the leader was. What took its place is a headless service,
 * and without its name a node can only be alone. */
static int complete_kubernetes(struct registry_options *o, struct text_list *warnings,
                               struct error *err)
{
    bool named = is_given(o->dns_bootstrap_domain);
    o->bootstrap_kind = named ? BOOTSTRAP_DNS : BOOTSTRAP_STATIC;
    const char *text = named ? "--bootstrap-kind=kubernetes is retired: read as dns"
                             : "--bootstrap-kind=kubernetes is retired: this node finds no others "
                               "until it is given --bootstrap-kind=dns and --dns-bootstrap-domain";
    return text_list_add(warnings, text) < 0 ? out_of_memory(err) : 0;
}

static int check_url(const char *flag, const char *text, struct error *err)
{
    const char *host = !strncasecmp(text, "http://", 7)    ? text + 7
                       : !strncasecmp(text, "https://", 8) ? text + 8
                                                           : "";
    bool bad = !*host || strchr("/?#", *host) || strlen(text) > URL_BYTES_MAX;
    for (const char *p = text; *p; p++) {
        bad = bad || (unsigned char)*p <= ' ' || *p == 0x7f;
    }
    return bad ? error_set(err, -EINVAL,
                           "--%s: \"%.200s\" is not allowed, give a URL such as "
                           "http://10.0.0.1:8080",
                           flag, text)
               : 0;
}

static int complete_http(struct registry_options *o, struct error *err)
{
    if (!is_given(o->http_bootstrap_url) && !is_given(o->http_bootstrap_peer)) {
        return o->http_bootstrap_addr.port
                   ? 0
                   : error_set(err, -EINVAL,
                               "--bootstrap-kind=http needs --http-bootstrap-peer URL or "
                               "--http-bootstrap-url URL, or --http-bootstrap-addr ADDR on the "
                               "node that the others ask");
    }
    if (is_given(o->http_bootstrap_url)) {
        return check_url("http-bootstrap-url", o->http_bootstrap_url, err);
    }
    int r = check_url("http-bootstrap-peer", o->http_bootstrap_peer, err);
    if (r < 0) {
        return r;
    }
    struct buf url;
    buf_init(&url, URL_BYTES_MAX + 8);
    size_t n = strlen(o->http_bootstrap_peer);
    while (o->http_bootstrap_peer[n - 1] == '/') {
        n--;
    }
    r = buf_append(&url, o->http_bootstrap_peer, n);
    r = r < 0 ? r : buf_puts(&url, "/id");
    r = r < 0 ? out_of_memory(err) : replace_text(&o->http_bootstrap_url, url.data, err);
    buf_done(&url);
    return r;
}

static int complete_static(struct registry_options *o, struct error *err)
{
    size_t count = o->static_bootstrap_peers.count;
    o->static_peers = calloc(count + 1, sizeof *o->static_peers);
    if (!o->static_peers) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        int r = peer_parse(o->static_bootstrap_peers.items[i], &o->static_peers[i], err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int complete_bootstrap(struct registry_options *o, struct text_list *warnings,
                              struct error *err)
{
    if (o->bootstrap_kind == BOOTSTRAP_KUBERNETES) {
        int r = complete_kubernetes(o, warnings, err);
        if (r < 0) {
            return r;
        }
    }
    switch ((enum bootstrap_kind)o->bootstrap_kind) {
    case BOOTSTRAP_NONE:
        if (o->use_containerd) {
            return error_set(err, -EINVAL,
                             "--bootstrap-kind KIND is required (or the environment variable "
                             "BOOTSTRAP_KIND), give dns, http or static");
        }
        o->bootstrap_kind = BOOTSTRAP_STATIC;
        return complete_static(o, err);
    case BOOTSTRAP_DNS:
        return is_given(o->dns_bootstrap_domain)
                   ? 0
                   : error_set(err, -EINVAL,
                               "--bootstrap-kind=dns needs --dns-bootstrap-domain DOMAIN");
    case BOOTSTRAP_HTTP:
        return complete_http(o, err);
    case BOOTSTRAP_STATIC:
    case BOOTSTRAP_KUBERNETES:
        break;
    }
    return complete_static(o, err);
}

/* Members with multicast, unspecified and link-local addresses are accepted by nobody. */
static bool is_advertisable(const char *text, int *ret_family)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;
    if (inet_pton(AF_INET, text, &ipv4) == 1) {
        uint32_t host = ntohl(ipv4.s_addr);
        *ret_family = AF_INET;
        return host >> 24 && !IN_MULTICAST(host) && host != INADDR_BROADCAST &&
               host >> 16 != 0xa9fe;
    }
    if (inet_pton(AF_INET6, text, &ipv6) == 1) {
        *ret_family = AF_INET6;
        return !IN6_IS_ADDR_MULTICAST(&ipv6) && !IN6_IS_ADDR_UNSPECIFIED(&ipv6) &&
               !IN6_IS_ADDR_LINKLOCAL(&ipv6) && !IN6_IS_ADDR_V4MAPPED(&ipv6);
    }
    return false;
}

static int complete_advertise(struct registry_options *o, struct error *err)
{
    int seen[2] = {0};
    for (size_t i = 0; i < o->advertise_addrs.count; i++) {
        char *text = o->advertise_addrs.items[i];
        size_t n = strlen(text);
        if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
            memmove(text, text + 1, n - 2);
            text[n - 2] = 0;
        }
        int family = AF_UNSPEC;
        if (!is_advertisable(text, &family) || seen[family == AF_INET6]++) {
            return error_set(err, -EINVAL,
                             "--advertise-addr: \"%.100s\" is not allowed, give at most one IPv4 "
                             "and one IPv6 address that others can reach",
                             text);
        }
    }
    return 0;
}

/* Not as good as none: whoever gives it, if only a variable that is unset, wants a key. */
static int check_key_file(const struct registry_options *o, struct error *err)
{
    return o->gossip_key_file && !*o->gossip_key_file
               ? error_set(err, -EINVAL, "--gossip-key-file: \"\" is not allowed, give a path")
               : 0;
}

static int complete_label(struct registry_options *o, struct error *err)
{
    if (is_given(o->cluster_label)) {
        return 0;
    }
    const char *label = "spegel";
    if (o->bootstrap_kind == BOOTSTRAP_DNS) {
        label = o->dns_bootstrap_domain;
    } else if (o->bootstrap_kind == BOOTSTRAP_HTTP && is_given(o->http_bootstrap_url)) {
        label = o->http_bootstrap_url;
    }
    return replace_text(&o->cluster_label, label, err);
}

int registry_options_complete(struct registry_options *o, struct text_list *warnings,
                              struct error *err)
{
    char **const texts[] = {
        &o->containerd_content_path, &o->data_dir,           &o->zone, &o->node_name,
        &o->http_bootstrap_url,      &o->http_bootstrap_peer};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        drop_empty(texts[i]);
    }
    int r = complete_stores(o, err);
    r = r < 0 ? r : complete_bootstrap(o, warnings, err);
    r = r < 0 ? r : complete_advertise(o, err);
    r = r < 0 ? r : check_key_file(o, err);
    r = r < 0 ? r : complete_label(o, err);
    if (r < 0) {
        return r;
    }
    if (o->write_configuration && !o->mirror_targets.count) {
        return error_set(err, -EINVAL, "--write-configuration needs --mirror-targets URL");
    }
    if (!o->resolve_latest_tag && text_list_add(&o->registry_filters, ":latest$") < 0) {
        return out_of_memory(err);
    }
    return 0;
}

int registry_options_resolve_registries(struct registry_options *o, struct error *err)
{
    bool all = false;
    for (size_t i = 0; i < o->mirrored_registries.count; i++) {
        struct registry_url url;
        int r = registry_url_parse(o->mirrored_registries.items[i], &url, err);
        if (r < 0) {
            return r;
        }
        all = all || url.wildcard;
        if (!url.wildcard && text_list_add(&o->mirrored_hosts, url.host) < 0) {
            return out_of_memory(err);
        }
    }
    if (all) {
        text_list_done(&o->mirrored_hosts);
    }
    return 0;
}

void registry_options_done(struct registry_options *o)
{
    text_list_done(&o->layouts);
    text_list_done(&o->mirrored_hosts);
    free(o->static_peers);
    o->static_peers = NULL;
}
