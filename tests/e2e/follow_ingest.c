/* follow_ingest ROOT NAMESPACE DIGEST COPY: what lib/store/ingest.h says of a download, a line for
 * each change: "absent|growing|committed|gone SIZE TOTAL". Bytes are copied as they are said to be
 * there. Ends with 0 after the commit; when the download is gone the copy begins anew. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "store/ingest.h"

struct follower {
    struct loop *loop;
    struct ingest *ingest;
    int from, to; /* from: -1 while there is nothing to copy */
    int64_t copied_bytes;
};

static void follower_copy(struct follower *f)
{
    static char bytes[64 * 1024];
    int64_t size = ingest_size(f->ingest);
    if (f->from < 0) {
        f->from = ingest_dup(f->ingest);
        CHECK(f->from >= 0);
    }
    while (f->copied_bytes < size) {
        int64_t want = size - f->copied_bytes;
        want = want < (int64_t)sizeof(bytes) ? want : (int64_t)sizeof(bytes);
        ssize_t n = pread(f->from, bytes, (size_t)want, f->copied_bytes);
        CHECK(n > 0 && pwrite(f->to, bytes, (size_t)n, f->copied_bytes) == n);
        f->copied_bytes += n;
    }
}

static void follower_drop(struct follower *f)
{
    if (f->from >= 0) {
        (void)close(f->from);
    }
    f->from = -1;
    f->copied_bytes = 0;
    CHECK(ftruncate(f->to, 0) == 0);
}

static void follower_changed(void *arg)
{
    static const char *const names[] = {"absent", "growing", "committed", "gone"};
    struct follower *f = arg;
    enum ingest_state state = ingest_state(f->ingest);
    (void)printf("%s %" PRId64 " %" PRId64 "\n", names[state], ingest_size(f->ingest),
                 ingest_total(f->ingest));
    switch (state) {
    case INGEST_ABSENT:
        break;
    case INGEST_GROWING:
        follower_copy(f);
        break;
    case INGEST_COMMITTED:
        follower_copy(f);
        loop_stop(f->loop);
        break;
    case INGEST_GONE:
        follower_drop(f);
        ingest_reopen(f->ingest);
        follower_changed(f);
        break;
    }
}

int main(int argc, char **argv)
{
    struct follower f = {.from = -1};
    struct ingests *ingests;
    struct digest digest;
    if (argc != 5 || digest_parse(argv[3], strlen(argv[3]), &digest) < 0) {
        (void)fprintf(stderr, "usage: follow_ingest ROOT NAMESPACE DIGEST COPY\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    f.to = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(f.to >= 0 && loop_new(&f.loop) == 0);
    CHECK(ingests_new(f.loop, argv[1], argv[2], &ingests) == 0);
    CHECK(ingest_open(ingests, &digest, follower_changed, &f, &f.ingest) == 0);
    follower_changed(&f);
    loop_run(f.loop);
    ingest_close(f.ingest);
    ingests_free(ingests);
    loop_free(f.loop);
    (void)close(f.from);
    return close(f.to) == 0 ? 0 : 1;
}
