/* The program's own tables, and the checks that span flags. */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "cli/options.h"

#define ARGV(...) ((char *[]){"spegel", __VA_ARGS__, NULL})

struct fixture {
    struct program_options options;
    struct flags_parsed parsed;
    struct error err;
    int r;
};

/* Parses, and for `registry` completes; the registries are resolved too. */
static void parse(struct fixture *f, char *const *argv)
{
    memset(f, 0, sizeof *f);
    struct registry_options *o = &f->options.registry;
    f->r = flags_parse(&options_program, argv, NULL, &f->options, &f->parsed, &f->err);
    if (f->r == 0 && f->parsed.command == &options_program.commands[COMMAND_REGISTRY]) {
        f->r = registry_options_complete(o, &f->parsed.warnings, &f->err);
        f->r = f->r < 0 ? f->r : registry_options_resolve_registries(o, &f->err);
    }
}

static void done(struct fixture *f)
{
    registry_options_done(&f->options.registry);
    flags_done(&options_program, &f->parsed, &f->options);
}

static void the_defaults_are_those_that_users_have(void **state)
{
    (void)state;
    struct fixture f;
    parse(&f, ARGV("registry", "--bootstrap-kind", "dns", "--dns-bootstrap-domain", "d.svc"));
    const struct registry_options *o = &f.options.registry;
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.log_level, LOG_INFO);
    assert_int_equal(o->registry_addr.port, 5000);
    assert_int_equal(o->router_addr.port, 5001);
    assert_int_equal(o->metrics_addr.port, 9090);
    assert_string_equal(o->containerd_sock, "/run/containerd/containerd.sock");
    assert_string_equal(o->containerd_namespace, "k8s.io");
    assert_null(o->containerd_content_path);
    assert_true(o->use_containerd);
    assert_int_equal(o->mirror_resolve_timeout_ms, 20);
    assert_int_equal(o->mirror_resolve_retries, 3);
    assert_true(o->debug_web_enabled);
    assert_false(o->write_configuration);
    assert_true(o->resolve_tags);
    assert_string_equal(o->config_path, "/etc/containerd/certs.d");
    assert_int_equal(o->bootstrap_kind, BOOTSTRAP_DNS);
    assert_string_equal(o->cluster_label, "d.svc");
    assert_int_equal(f.parsed.warnings.count, 0);
    done(&f);

    parse(&f, ARGV("cleanup-wait", "--probe-endpoint", "x:1"));
    assert_int_equal(f.options.cleanup_wait.threshold, 3);
    assert_int_equal(f.options.cleanup_wait.period_ms, 2000);
    done(&f);
    parse(&f, ARGV("configuration", "--mirror-targets", "http://a"));
    assert_true(f.options.configuration.resolve_tags);
    assert_false(f.options.configuration.prepend_existing);
    done(&f);
}

static void every_bootstrap_kind_asks_for_what_it_needs(void **state)
{
    (void)state;
    struct {
        char **argv;
        int kind; /* BOOTSTRAP_NONE: refused, and the error says: */
        const char *says;
    } rows[] = {
        {ARGV("registry"), BOOTSTRAP_NONE, "--bootstrap-kind"},
        {ARGV("registry", "--bootstrap-kind=dns"), BOOTSTRAP_NONE, "--dns-bootstrap-domain"},
        {ARGV("registry", "--bootstrap-kind=http"), BOOTSTRAP_NONE, "--http-bootstrap-peer"},
        {ARGV("registry", "--bootstrap-kind=http", "--http-bootstrap-peer=x"), BOOTSTRAP_NONE,
         "--http-bootstrap-peer: \"x\""},
        {ARGV("registry", "--bootstrap-kind=http", "--http-bootstrap-addr=:80"), BOOTSTRAP_HTTP,
         NULL},
        {ARGV("registry", "--bootstrap-kind=static"), BOOTSTRAP_STATIC, NULL},
        {ARGV("registry", "--bootstrap-kind=static", "--static-bootstrap-peers", "a:1", "b"),
         BOOTSTRAP_NONE, "--static-bootstrap-peers: \"b\""},
        {ARGV("registry", "--store", "oci-layout:/d"), BOOTSTRAP_STATIC, NULL},
        {ARGV("registry", "--store", "/d"), BOOTSTRAP_NONE, "--store: \"/d\""},
        {ARGV("registry", "--bootstrap-kind=kubernetes"), BOOTSTRAP_STATIC, NULL},
        {ARGV("registry", "--bootstrap-kind=kubernetes", "--dns-bootstrap-domain=d"), BOOTSTRAP_DNS,
         NULL},
        {ARGV("registry", "--bootstrap-kind=carrier-pigeon"), BOOTSTRAP_NONE, "carrier-pigeon"},
        {ARGV("registry", "--bootstrap-kind=static", "--write-configuration"), BOOTSTRAP_NONE,
         "--mirror-targets"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        parse(&f, rows[i].argv);
        if (rows[i].kind == BOOTSTRAP_NONE) {
            assert_int_equal(f.r, -EINVAL);
            assert_non_null(strstr(f.err.text, rows[i].says));
        } else {
            assert_int_equal(f.r, 0);
            assert_int_equal(f.options.registry.bootstrap_kind, rows[i].kind);
        }
        done(&f);
    }
}

static void http_bootstrap_has_one_whole_url(void **state)
{
    (void)state;
    struct fixture f;
    parse(&f, ARGV("registry", "--bootstrap-kind=http", "--http-bootstrap-peer=http://a:8080/"));
    assert_int_equal(f.r, 0);
    assert_string_equal(f.options.registry.http_bootstrap_url, "http://a:8080/id");
    assert_string_equal(f.options.registry.cluster_label, "http://a:8080/id");
    done(&f);
    parse(&f, ARGV("registry", "--bootstrap-kind=http", "--http-bootstrap-url=https://a/x/y",
                   "--http-bootstrap-peer=http://b", "--cluster-label=mine"));
    assert_string_equal(f.options.registry.http_bootstrap_url, "https://a/x/y");
    assert_string_equal(f.options.registry.cluster_label, "mine");
    done(&f);
}

/* An empty path is a variable that was not set: whoever gives the flag wants a key. */
static void a_key_file_is_given_or_not_but_never_empty(void **state)
{
    (void)state;
    struct fixture f;
    parse(&f, ARGV("registry", "--store=oci-layout:/a", "--gossip-key-file", "/k"));
    assert_int_equal(f.r, 0);
    assert_string_equal(f.options.registry.gossip_key_file, "/k");
    done(&f);
    parse(&f, ARGV("registry", "--store=oci-layout:/a"));
    assert_int_equal(f.r, 0);
    assert_null(f.options.registry.gossip_key_file);
    done(&f);
    parse(&f, ARGV("registry", "--store=oci-layout:/a", "--gossip-key-file="));
    assert_int_equal(f.r, -EINVAL);
    assert_non_null(strstr(f.err.text, "--gossip-key-file"));
    done(&f);
}

static void lists_become_what_the_daemon_uses(void **state)
{
    (void)state;
    struct fixture f;
    parse(&f, ARGV("registry", "--store", "oci-layout:/a", "--store=oci-layout:/b",
                   "--static-bootstrap-peers", "/ip4/10.0.0.1/tcp/5001/p2p/x", "[::1]:2",
                   "--advertise-addr", "10.0.0.2", "[fd00::2]", "--mirrored-registries",
                   "https://docker.io", "http://r:5000"));
    const struct registry_options *o = &f.options.registry;
    assert_int_equal(f.r, 0);
    assert_false(o->use_containerd);
    assert_int_equal(o->layouts.count, 2);
    assert_string_equal(o->layouts.items[1], "/b");
    assert_string_equal(o->static_peers[0].host, "10.0.0.1");
    assert_int_equal(o->static_peers[1].port, 2);
    assert_string_equal(o->advertise_addrs.items[1], "fd00::2");
    assert_int_equal(o->mirrored_hosts.count, 2);
    assert_string_equal(o->mirrored_hosts.items[1], "r:5000");
    done(&f);
    parse(&f, ARGV("registry", "--store", "oci-layout:/a", "--mirrored-registries",
                   "https://docker.io", "_default"));
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.registry.mirrored_hosts.count, 0);
    done(&f);
    parse(&f, ARGV("registry", "--store=oci-layout:/a", "--mirrored-registries", "docker.io"));
    assert_int_equal(f.r, -EINVAL);
    assert_non_null(strstr(f.err.text, "\"docker.io\""));
    done(&f);
}

static void only_addresses_that_others_reach_are_advertised(void **state)
{
    (void)state;
    static char *const bad[] = {"0.0.0.0", "::",    "224.0.0.1",       "ff02::1", "169.254.1.1",
                                "fe80::1", "node1", "::ffff:10.0.0.1", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fixture f;
        parse(&f, ARGV("registry", "--store=oci-layout:/a", "--advertise-addr", bad[i]));
        assert_int_equal(f.r, -EINVAL);
        done(&f);
    }
    struct fixture f;
    parse(&f,
          ARGV("registry", "--store=oci-layout:/a", "--advertise-addr", "10.0.0.1", "10.0.0.2"));
    assert_int_equal(f.r, -EINVAL);
    done(&f);
}

static void every_retired_flag_is_accepted(void **state)
{
    (void)state;
    struct {
        char **argv;
        const char *says;
    } rows[] = {
        {ARGV("registry", "--store=oci-layout:/a", "--blob-speed", "1"), "--blob-speed"},
        {ARGV("registry", "--store=oci-layout:/a", "--leader-election-namespace=x"), "elect"},
        {ARGV("registry", "--store=oci-layout:/a", "--leader-election-name=x"), "elect"},
        {ARGV("registry", "--store=oci-layout:/a", "--kubeconfig-path", "/x"), "Kubernetes"},
        {ARGV("registry", "--store=oci-layout:/a", "--local-addr", "x"), "--local-addr"},
        {ARGV("registry", "--store=oci-layout:/a", "--registries", "https://a"),
         "--mirrored-registries"},
        {ARGV("registry", "--store=oci-layout:/a", "--resolve-latest-tag=false"), ":latest$"},
        {ARGV("registry", "--bootstrap-kind=kubernetes"), "kubernetes"},
        {ARGV("configuration", "--registries", "https://a", "--mirror-registries", "http://b"),
         "--mirrored-registries"},
        {ARGV("configuration", "--mirror-targets=http://a", "--append-mirrors"),
         "--prepend-existing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        parse(&f, rows[i].argv);
        assert_int_equal(f.r, 0);
        assert_true(f.parsed.warnings.count >= 1);
        assert_non_null(strstr(f.parsed.warnings.items[0], rows[i].says));
        done(&f);
    }
    struct fixture f;
    parse(&f, ARGV("registry", "--store=oci-layout:/a", "--resolve-latest-tag=false"));
    assert_int_equal(f.options.registry.registry_filters.count, 1);
    assert_string_equal(f.options.registry.registry_filters.items[0], ":latest$");
    done(&f);
    /* Once retired, and of use again with --write-configuration. */
    parse(&f, ARGV("registry", "--store=oci-layout:/a", "--containerd-registry-config-path=/c"));
    assert_int_equal(f.r, 0);
    assert_string_equal(f.options.registry.config_path, "/c");
    done(&f);
}

static void without_memory_everything_is_given_back(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct fixture f;
        parse(&f, ARGV("registry", "--bootstrap-kind=http", "--http-bootstrap-peer=http://a",
                       "--mirrored-registries", "https://a", "https://b", "--store=oci-layout:/a",
                       "--advertise-addr", "10.0.0.1", "--resolve-latest-tag=false"));
        assert_true(f.r == 0 || f.r == -ENOMEM);
        done(&f);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_those_that_users_have),
        cmocka_unit_test(every_bootstrap_kind_asks_for_what_it_needs),
        cmocka_unit_test(http_bootstrap_has_one_whole_url),
        cmocka_unit_test(a_key_file_is_given_or_not_but_never_empty),
        cmocka_unit_test(lists_become_what_the_daemon_uses),
        cmocka_unit_test(only_addresses_that_others_reach_are_advertised),
        cmocka_unit_test(every_retired_flag_is_accepted),
        cmocka_unit_test(without_memory_everything_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
