#include "io/fetch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

struct fetcher {
    struct multi *multi;
    size_t running;
};

int fetcher_new(struct loop *loop, struct fetcher **ret_fetcher)
{
    struct fetcher *f = calloc(1, sizeof(*f));
    if (!f) {
        return -ENOMEM;
    }
    int r = multi_new(loop, &f->multi);
    if (r < 0) {
        free(f);
        return r;
    }
    *ret_fetcher = f;
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (!f) {
        return;
    }
    CHECK(f->running == 0);
    multi_free(f->multi);
    free(f);
}

struct multi *fetcher_multi(struct fetcher *f)
{
    return f->multi;
}

/* --- the certificates of a directory --- */

static int append_file(struct buf *out, int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    while (r == 0) {
        char bytes[4096];
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n <= 0) {
            r = n < 0 ? -errno : buf_puts(out, "\n"); /* a file may lack its last line's end */
            break;
        }
        r = buf_append(out, bytes, (size_t)n);
    }
    close(fd);
    return r;
}

/* libcurl takes a directory only with OpenSSL's hashed names, so the files are joined instead. */
static int read_certificates(const char *path, struct buf *out, struct error *err)
{
    DIR *dir = opendir(path);
    if (!dir) {
        return error_set(err, -errno, "certificate directory %s: %s", path, strerror(errno));
    }
    int r = 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (fnmatch("*.crt", name, FNM_PERIOD) == 0 || fnmatch("*.pem", name, FNM_PERIOD) == 0 ||
            fnmatch("*.cert", name, FNM_PERIOD) == 0) {
            r = append_file(out, dirfd(dir), name);
            if (r < 0) {
                r = error_set(err, r, "certificate %s/%s: %s", path, name, strerror(-r));
            }
        }
    }
    closedir(dir);
    return r;
}

/* --- one transfer --- */

/* Of a body that must tell its length: room for all of it, which takes memory as bytes come. */
static int fetch_make_room(struct fetch *fetch)
{
    curl_off_t length = -1;
    (void)curl_easy_getinfo(fetch->transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length < 0 || (uint64_t)length > fetch->body.max) {
        return -ENOBUFS;
    }
    return buf_reserve(&fetch->body, (size_t)length) ? 0 : -ENOMEM;
}

static size_t fetch_on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct fetch *fetch = arg;
    int r = fetch->length_needed && fetch->body.len == 0 ? fetch_make_room(fetch) : 0;
    r = r < 0 ? r : buf_append(&fetch->body, bytes, size * n);
    if (r < 0) {
        fetch->error = r == -ENOBUFS ? -EFBIG : r;
        return 0;
    }
    return size * n;
}

/* Everything but results goes; the caller may then start it again or free it. */
static void fetch_over(struct fetch *fetch)
{
    struct fetcher *f = fetch->fetcher;
    multi_remove(&fetch->transfer);
    curl_slist_free_all(fetch->header_list);
    curl_slist_free_all(fetch->connect_list);
    fetch->header_list = fetch->connect_list = NULL;
    if (f) {
        f->running--;
        fetch->fetcher = NULL;
    }
}

static void fetch_note_peer(struct fetch *fetch, CURL *easy)
{
    char *ip = NULL;
    union address *peer = &fetch->peer;
    if (curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK || !ip) {
        return;
    }
    if (inet_pton(AF_INET, ip, &peer->in4.sin_addr) == 1) {
        peer->sa.sa_family = AF_INET;
    } else if (inet_pton(AF_INET6, ip, &peer->in6.sin6_addr) == 1) {
        peer->sa.sa_family = AF_INET6;
    }
}

static void fetch_finished(struct multi_transfer *t, CURLcode code)
{
    struct fetch *fetch = CONTAINER_OF(t, struct fetch, transfer);
    long status = 0;
    fetch_note_peer(fetch, t->easy);
    if (code == CURLE_OK) {
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        fetch->status = (int)status;
    } else if (fetch->error == -EFBIG) {
        error_set(&fetch->reason, -EFBIG, "the answer is longer than %zu bytes, or does not say",
                  fetch->body.max);
    } else if (fetch->error) {
        error_set(&fetch->reason, fetch->error, "%s", strerror(-fetch->error));
    } else {
        long os_error = 0;
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
        bool connecting = code == CURLE_COULDNT_CONNECT && os_error > 0;
        fetch->error = connecting ? -(int)os_error : multi_errno(code);
        error_set(&fetch->reason, fetch->error, "%s",
                  connecting ? strerror((int)os_error) : curl_easy_strerror(code));
    }
    if (fetch->error) {
        buf_done(&fetch->body);
    }
    fetch_over(fetch);
    fetch->callback(fetch, fetch->arg);
}

static void fetch_was_cancelled(void *arg)
{
    struct fetch *fetch = arg;
    fetch->error = error_set(&fetch->reason, -ECANCELED, "cancelled");
    buf_done(&fetch->body);
    fetch_over(fetch);
    fetch->callback(fetch, fetch->arg);
}

static bool append_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer) {
        *list = longer;
    }
    return longer;
}

static bool fetch_set_address(struct fetch *fetch, const union address *to)
{
    char text[ADDRESS_TEXT_BYTES], line[ADDRESS_TEXT_BYTES + 4];
    address_format(&to->sa, text);
    (void)snprintf(line, sizeof(line), "::%s", text);
    return append_header(&fetch->connect_list, line) &&
           curl_easy_setopt(fetch->transfer.easy, CURLOPT_CONNECT_TO, fetch->connect_list) ==
               CURLE_OK;
}

static int fetch_set_up(struct fetch *fetch, const struct fetch_options *options)
{
    CURL *easy = fetch->transfer.easy = multi_easy_new();
    if (!easy) {
        return -ENOMEM;
    }
    for (const char *const *line = options->headers; line && *line; line++) {
        if (!append_header(&fetch->header_list, *line)) {
            return -ENOMEM;
        }
    }
    bool good = curl_easy_setopt(easy, CURLOPT_URL, options->url) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, fetch_on_bytes) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->header_list) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_NOBODY, options->head ? 1L : 0L) == CURLE_OK &&
                (!options->proxy_env || curl_easy_setopt(easy, CURLOPT_PROXY, NULL) == CURLE_OK) &&
                (!options->to || fetch_set_address(fetch, options->to));
    if (!good) {
        return -ENOMEM;
    }
    if (!options->ca_dir) {
        return 0;
    }
    struct buf pem;
    buf_init(&pem, LIMIT_FETCH_CA_BYTES);
    int r = read_certificates(options->ca_dir, &pem, &fetch->reason);
    if (r == 0 && pem.len > 0) {
        /* Beside the hashed directory of the system, which libcurl goes on using. */
        struct curl_blob blob = {.data = pem.data, .len = pem.len, .flags = CURL_BLOB_COPY};
        r = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK ? 0 : -ENOMEM;
    }
    buf_done(&pem);
    return r;
}

static bool is_http_url(const char *url)
{
    return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
}

int fetch_start(struct fetcher *f, struct fetch *fetch, const struct fetch_options *options,
                void (*callback)(struct fetch *fetch, void *arg), void *arg)
{
    if (!is_http_url(options->url) || options->timeout_ms == 0) {
        return -EINVAL;
    }
    *fetch = (struct fetch){.callback = callback, .arg = arg};
    buf_init(&fetch->body, options->body_max_bytes);
    fetch->length_needed = options->length_needed;
    defer_init(&fetch->cancelled, fetch_was_cancelled, fetch);
    fetch->transfer.finished = fetch_finished;
    int r = fetch_set_up(fetch, options);
    if (r == 0) {
        r = multi_add(f->multi, &fetch->transfer);
    }
    if (r < 0) {
        fetch_over(fetch);
        return r;
    }
    fetch->fetcher = f;
    f->running++;
    return 0;
}

void fetch_cancel(struct fetch *fetch)
{
    if (fetch->fetcher && fetch->transfer.multi) {
        struct loop *loop = multi_loop(fetch->transfer.multi);
        multi_remove(&fetch->transfer);
        defer_start(loop, &fetch->cancelled);
    }
}

void fetch_done(struct fetch *fetch)
{
    CHECK(!fetch->fetcher);
    buf_done(&fetch->body);
}
