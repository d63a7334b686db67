/* registry_image.h - a registry with something in it, and tables of requests to it. */
#pragma once

#include "registry_fixture.h"

#define LAYER_BYTES 300000
#define NS "?ns=docker.io"

/* One image with a known manifest; a manifest so large that it is sent from its file; and blobs
 * that no image names, of which nobody has said what they are. */
struct fixture {
    struct loop *loop;
    struct site site;
    char *layer, *big;
    char manifest_json[1024];
    char layer_digest[DIGEST_TEXT_BYTES], config_digest[DIGEST_TEXT_BYTES],
        manifest_digest[DIGEST_TEXT_BYTES], big_digest[DIGEST_TEXT_BYTES],
        loose_manifest[DIGEST_TEXT_BYTES], loose_config[DIGEST_TEXT_BYTES],
        loose_layer[DIGEST_TEXT_BYTES], private_digest[DIGEST_TEXT_BYTES],
        unread_digest[DIGEST_TEXT_BYTES];
};

#define CONFIG_JSON "{\"architecture\":\"amd64\"}"
#define LOOSE_CONFIG_JSON " {\"os\":\"linux\"}"

static inline void write_manifest(const struct fixture *f, const char *note, char *ret_json,
                                  size_t max)
{
    (void)snprintf(ret_json, max,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE "\","
                   "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
                   "\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
                   "\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"%s\","
                   "\"size\":%d}],\"annotations\":{\"note\":\"%s\"}}",
                   f->config_digest, strlen(CONFIG_JSON), f->layer_digest, LAYER_BYTES, note);
}

static inline void add_contents(struct fixture *f)
{
    struct site *s = &f->site;
    char json[2048];
    site_add(s, f->layer, LAYER_BYTES, f->layer_digest);
    site_add(s, CONFIG_JSON, strlen(CONFIG_JSON), f->config_digest);
    write_manifest(f, "first", f->manifest_json, sizeof f->manifest_json);
    site_add(s, f->manifest_json, strlen(f->manifest_json), f->manifest_digest);
    site_know_manifest(s, f->manifest_json, f->manifest_digest);
    site_image(s, "docker.io/library/app:v1", f->manifest_digest);
    site_image(s, "docker.io/library/app:v2", f->manifest_digest);
    site_image(s, "ghcr.io/org/tool:v1", f->manifest_digest);
    size_t note = 200000;
    char *filler = malloc(note + 1);
    memset(filler, 'x', note);
    filler[note] = 0;
    f->big = malloc(note + 2048);
    write_manifest(f, filler, f->big, note + 2048);
    free(filler);
    site_add(s, f->big, strlen(f->big), f->big_digest);
    site_know_manifest(s, f->big, f->big_digest);
    site_image(s, "docker.io/library/big:v1", f->big_digest);
    write_manifest(f, "loose", json, sizeof json);
    site_add(s, json, strlen(json), f->loose_manifest);
    site_add(s, LOOSE_CONFIG_JSON, strlen(LOOSE_CONFIG_JSON), f->loose_config);
    site_add(s, f->layer, 5000, f->loose_layer);
    write_manifest(f, "private", json, sizeof json);
    site_add(s, json, strlen(json), f->private_digest);
    site_know_manifest(s, json, f->private_digest);
    site_image(s, "docker.io/private/app:v1", f->private_digest);
    write_manifest(f, "unread", json, sizeof json);
    site_add(s, json, strlen(json), f->unread_digest);
    site_image(s, "docker.io/library/unread:v1", f->unread_digest);
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(loop_new(&f->loop), 0);
    site_start(&f->site, f->loop, "docker.io/private/");
    f->layer = scripted_content(LAYER_BYTES);
    f->layer[0] = 0x1f; /* as gzip begins */
    add_contents(f);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    site_stop(&f->site);
    loop_free(f->loop);
    free(f->layer);
    free(f->big);
    free(f);
    return 0;
}

/* "$L" and the like in a target become digests. */
static inline const char *expand(const struct fixture *f, const char *text, char ret_text[512])
{
    const struct {
        char letter;
        const char *digest;
    } names[] = {{'L', f->layer_digest}, {'C', f->config_digest},  {'M', f->manifest_digest},
                 {'B', f->big_digest},   {'m', f->loose_manifest}, {'c', f->loose_config},
                 {'l', f->loose_layer},  {'P', f->private_digest}, {'U', f->unread_digest}};
    size_t n = 0;
    for (; *text; text++) {
        if (*text != '$') {
            ret_text[n++] = *text;
            continue;
        }
        text++;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (names[i].letter == *text) {
                n += (size_t)snprintf(ret_text + n, 512 - n, "%s", names[i].digest);
            }
        }
    }
    ret_text[n] = 0;
    return ret_text;
}

static inline void ask(struct fixture *f, const char *method, const char *target,
                       const char *fields)
{
    char real_target[512], real_fields[512];
    site_ask(&f->site, method, expand(f, target, real_target), expand(f, fields, real_fields));
}

struct row {
    const char *method, *target, *fields;
    int status;
    int64_t length; /* Content-Length, -1: not looked at */
    const char *says[3];
    const char *does_not_say;
};

static inline void run_rows(struct fixture *f, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        char text[512];
        ask(f, row->method, row->target, row->fields);
        const char *head = f->site.client.head;
        if (f->site.client.status != row->status) {
            fail_msg("%s %s [%s]: %d, not %d: %s%s", row->method, row->target, row->fields,
                     f->site.client.status, row->status, head, f->site.reply);
        }
        if (row->length >= 0) {
            assert_int_equal(f->site.client.content_length, row->length);
        }
        for (size_t k = 0; k < 3 && row->says[k]; k++) {
            if (!strstr(head, expand(f, row->says[k], text))) {
                fail_msg("%s %s: no \"%s\" in %s", row->method, row->target, text, head);
            }
        }
        if (row->does_not_say && strcasestr(head, row->does_not_say)) {
            fail_msg("%s %s: \"%s\" in %s", row->method, row->target, row->does_not_say, head);
        }
        int64_t body =
            strcmp(row->method, "HEAD") && row->status != 304 ? f->site.client.content_length : 0;
        assert_int_equal(f->site.client.body_bytes, body > 0 ? body : 0);
    }
}
#define RUN(f, rows) run_rows(f, rows, sizeof(rows) / sizeof(rows)[0])
