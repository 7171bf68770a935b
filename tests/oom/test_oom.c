/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_oom.c - every allocation of a compile job and of a run fails once.
 *
 * The k-th arena chunk (cab_job.fail_at), and by the linker's --wrap the k-th
 * call of malloc and its kin in our own code, fail for k = 1, 2, ... until the
 * work gets through.  Each time the answer is "out of memory" (or success,
 * when a second attempt was made), no descriptor stays open, and a session
 * that failed runs when memory is back.  Under AddressSanitizer leaks are
 * findings too.  A large model is tried for some k when the corpus is there.
 */
#include "base/base.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "include/cab.h"
#include "passes/pass.h"
#include "runtime/runtime.h"
#include "tests/open_files.h"
#include "tests/test.h"
#include <unistd.h>

/* ---- the allocator that fails ---- */

static uint64_t calls, fail_call;       /* 0: disarmed */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);

static bool refused(void)
{
    return fail_call && ++calls == fail_call;
}

void *__wrap_malloc(size_t n) { return refused() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return refused() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return refused() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *s) { return refused() ? NULL : __real_strdup(s); }

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return refused() ? NULL : __real_aligned_alloc(align, n);
}

static void arm(uint64_t k)
{
    calls = 0;
    fail_call = k;
}

/* Whether the work ended before the failing call came. */
static bool disarm(void)
{
    bool through = calls < fail_call;
    fail_call = 0;
    return through;
}

/* ---- compiling ---- */

typedef struct attempt {
    const char *path;
    bool naive, codegen;
    uint64_t fail_at, n_chunks;         /* given; how many the job asked for */
    int fd;                             /* of the artifact, or -1 */
} attempt;

static cab_status work(cab_arena *arena, attempt *t, cab_diag *d)
{
    cab_graph *g;
    cab_program *p;
    uint64_t size;
    cab_pass_options po = { .naive = t->naive };
    cab_codegen_options co = { .naive = t->naive, .threads = 1, .producer = "test" };
    CAB_TRY(cab_import_file(arena, t->path, NULL, &g, d));
    CAB_TRY(cab_passes_run(g, &po, &p, d));
    return t->codegen ? cab_codegen(arena, p, &co, &t->fd, &size, d) : CAB_OK;
}

static cab_status compile(attempt *t)
{
    cab_job job = { .fail_at = t->fail_at };
    cab_diag d;
    volatile cab_status s = CAB_ENOMEM;
    cab_arena *arena = cab_arena_create(&job);
    cab_diag_init(&d);
    t->fd = -1;
    if (arena && CAB_JOB_ENTER(&job) == 0)
        s = work(arena, t, &d);
    cab_arena_destroy(arena);
    cab_diag_fini(&d);
    CHECK_EQ(job.used, 0);
    t->n_chunks = job.n_chunks;
    return s;
}

static void drop(attempt *t)
{
    if (t->fd >= 0)
        close(t->fd);
}

/* Chunks first, first + step, ... fail; returns the chunks of a whole job. */
static uint64_t chunks_fail(attempt t, uint64_t first, uint64_t step)
{
    int files = open_files();
    for (uint64_t k = first;; k += step) {
        t.fail_at = k;
        cab_status s = compile(&t);
        drop(&t);
        CHECK_EQ(open_files(), files);
        if (t.n_chunks < k) {
            CHECK_EQ(s, CAB_OK);
            return t.n_chunks;
        }
        if (s != CAB_ENOMEM)
            fprintf(stderr, "chunk %" PRIu64 " of %s\n", k, t.path);
        CHECK_EQ(s, CAB_ENOMEM);
    }
}

static void check_chunks(const char *path, bool naive)
{
    attempt t = { .path = path, .naive = naive };
    uint64_t lowered = chunks_fail(t, 1, 1);
    t.codegen = true;           /* earlier chunks fail as they did above */
    uint64_t all = chunks_fail(t, lowered + 1, 1);
    CHECK(lowered > 10 && all > lowered);
    fprintf(stderr, "%s: %" PRIu64 " + %" PRIu64 " chunks\n", naive ? "naive" : "optimised",
            lowered, all - lowered);
}

/* A chunk that is refused may be asked for again in its exact size: success
 * is an answer too. */
static void check_mallocs(const char *path, bool codegen, uint64_t step)
{
    int files = open_files();
    attempt t = { .path = path, .codegen = codegen };
    bool through = false;
    uint64_t k = 1;
    for (; !through; k += step) {
        arm(k);
        cab_status s = compile(&t);
        through = disarm();
        drop(&t);
        CHECK_EQ(open_files(), files);
        if (s != CAB_OK && s != CAB_ENOMEM)
            fprintf(stderr, "malloc %" PRIu64 " of %s: status %d\n", k, path, s);
        CHECK(s == CAB_OK || (s == CAB_ENOMEM && !through));
    }
    fprintf(stderr, "%s: %" PRIu64 " calls\n", codegen ? "codegen" : "import and passes", k);
}

/* The whole library call, with a cache that starts empty each time. */
static void check_library(const char *path, uint64_t step)
{
    char dir[] = "/tmp/cab-oom-XXXXXX", command[64];
    int files = open_files(), fd;
    bool through = false;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(command, sizeof command, "rm -f %s/*", dir);
    cab_compile_options o = CAB_INIT(cab_compile_options);
    o.cache_dir = dir;
    for (uint64_t k = 1; !through; k += k < 60 ? 1 : step) {
        cab_report *r = NULL;
        arm(k);
        int rc = cab_compile_file(path, &o, &fd, &r);
        through = disarm();
        cab_report_destroy(r);
        if (rc != CAB_RT_OK && rc != CAB_RT_ENOMEM)
            fprintf(stderr, "malloc %" PRIu64 " of the library: status %d\n", k, rc);
        CHECK(rc == CAB_RT_OK || (rc == CAB_RT_ENOMEM && !through));
        if (rc == CAB_RT_OK)
            close(fd);
        CHECK_EQ(open_files(), files);
        CHECK_EQ(system(command), 0);
    }
    rmdir(dir);
}

/* ---- running ---- */

enum { IMAGES = 3, PIXELS = 64, DIGITS = 10 };

static float image[IMAGES * PIXELS], expected[IMAGES * DIGITS];

static int run(cab_session *s, bool own, cab_error *e)
{
    float room[IMAGES * DIGITS] = { 0 };
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { IMAGES, 1, 8, 8 }, .data = image,
                           .bytes = sizeof image };
    cab_tensor_view out = { .data = own ? NULL : room, .bytes = own ? 0 : sizeof room };
    int rc = cab_session_run(s, &in, &out, e);
    if (rc == CAB_OK)
        CHECK(!memcmp(out.data, expected, sizeof expected));
    return rc;
}

/* Loads, creates and runs with call k failing; whatever broke is done again
 * with memory at hand.  True when nothing failed. */
static bool run_once(const char *path, uint64_t k)
{
    cab_session_options o = { .size = sizeof o, .threads = 1, .trace = 1 };
    cab_model *m = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    arm(k);
    int rc = cab_model_load(path, NULL, &m, &e);
    if (rc == CAB_OK)
        rc = cab_session_create(m, &o, &s, &e);
    if (rc == CAB_OK)
        rc = run(s, true, &e);
    bool through = disarm();
    CHECK_EQ(rc, through ? CAB_OK : CAB_ENOMEM);
    CHECK_EQ(e.code, rc);
    if (!m)
        CHECK_EQ(cab_model_load(path, NULL, &m, &e), CAB_OK);
    if (!s)
        CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    CHECK_EQ(run(s, true, &e), CAB_OK);
    CHECK_EQ(run(s, false, &e), CAB_OK);
    cab_session_destroy(s);
    cab_model_destroy(m);
    return through;
}

static void answer(const char *path)
{
    cab_model *m;
    cab_session *s;
    cab_error e;
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { IMAGES, 1, 8, 8 }, .data = image,
                           .bytes = sizeof image };
    cab_tensor_view out = { .data = expected, .bytes = sizeof expected };
    for (int i = 0; i < IMAGES * PIXELS; i++)
        image[i] = (float)(i * 7 % 17);
    CHECK_EQ(cab_model_load(path, NULL, &m, &e), CAB_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    CHECK_EQ(cab_session_run(s, &in, &out, &e), CAB_OK);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

static void check_run(const char *model)
{
    char path[64];
    attempt t = { .path = model, .codegen = true };
    CHECK_EQ(compile(&t), CAB_OK);
    snprintf(path, sizeof path, "/proc/self/fd/%d", t.fd);
    answer(path);
    int files = open_files();
    uint64_t k = 1;
    while (!run_once(path, k)) {
        CHECK_EQ(open_files(), files);
        k++;
    }
    fprintf(stderr, "load, create, run: %" PRIu64 " calls\n", k - 1);
    CHECK(k > 10);
    drop(&t);
}

/* ---- a large model ---- */

static bool large_model(char *path, size_t n)
{
    const char *corpus = getenv("CAB_CORPUS"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    const char *base = corpus ? corpus : cache ? cache : home ? home : "";
    snprintf(path, n, "%s%s/minilm_l3/model.onnx", base,
             corpus ? "" : cache ? "/cabochon/corpus" : "/.cache/cabochon/corpus");
    return access(path, R_OK) == 0;
}

static void check_large(void)
{
    char path[4096];
    if (!large_model(path, sizeof path))
        return;
    if (getenv("CAB_OOM_ALL")) {           /* make oom-long: every k */
        check_chunks(path, false);
        check_mallocs(path, false, 1);
        check_mallocs(path, true, 1);
        return;
    }
    attempt t = { .path = path };
    CHECK_EQ(compile(&t), CAB_OK);
    uint64_t step = t.n_chunks / 16 + 1;
    chunks_fail(t, step / 2 + 1, step);
    fprintf(stderr, "minilm_l3: every %" PRIu64 "th of %" PRIu64 " chunks\n", step, t.n_chunks);
}

int main(void)
{
    char digits[4096];
    const char *srcdir = getenv("srcdir");
    snprintf(digits, sizeof digits, "%s/samples/digits/digits.onnx", srcdir ? srcdir : ".");
    check_chunks(digits, false);
    check_chunks(digits, true);
    check_mallocs(digits, false, 1);
    check_mallocs(digits, true, 1);
    check_library(digits, 9);
    check_run(digits);
    check_large();
    TEST_END();
}
