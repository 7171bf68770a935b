/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_libcab.c - the compiler inside a host program: reports, cancelling,
 * budgets, threads, ranges of extents, child processes that die, the cache.
 */
#include "libcab/libcab.h"
#include "tests/open_files.h"
#include "tests/test.h"
#include "tests/wire.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char digits[4096], folder[64];

static const char *in_folder(const char *name)
{
    static _Thread_local char path[4][256];
    static _Thread_local int at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static cab_mapping map(const char *path)
{
    cab_mapping m = { 0 };
    CHECK_EQ(cab_file_map(path, &m, NULL), CAB_OK);
    return m;
}

/* Closes fd. */
static cab_mapping map_fd(int fd)
{
    cab_mapping m = { 0 };
    CHECK(fd >= 0 && cab_fd_map(fd, "artifact", &m, NULL) == CAB_OK);
    close(fd);
    return m;
}

static bool same_bytes(cab_mapping a, cab_mapping b)
{
    return a.n == b.n && a.n && !memcmp(a.p, b.p, a.n);
}

static void write_file(const char *path, const void *p, size_t n)
{
    CHECK_EQ(cab_file_write(path, p, n, NULL), CAB_OK);
}

/* The file looks as if it had rested for a minute. */
static void age(const char *path)
{
    struct timespec t[2];
    clock_gettime(CLOCK_REALTIME, &t[0]);
    t[0].tv_sec -= 60;
    t[1] = t[0];
    CHECK_EQ(utimensat(AT_FDCWD, path, t, 0), 0);
}

static bool says(const cab_report *r, const char *what)
{
    bool yes = strstr(cab_report_text(r), what) != NULL;
    if (!yes)
        fprintf(stderr, "the report lacks '%s':\n%s\n", what, cab_report_text(r));
    return yes;
}

static int run_digits(cab_model *m, int64_t batch, cab_error *e)
{
    float image[64 * 8] = { 0 }, out[8 * 10];
    cab_session *s = NULL;
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { batch, 1, 8, 8 }, .data = image,
                           .bytes = sizeof image };
    cab_tensor_view y = { .data = out, .bytes = sizeof out };
    int rc = cab_session_create(m, NULL, &s, e);
    if (rc == CAB_RT_OK)
        rc = cab_session_run(s, &in, &y, e);
    cab_session_destroy(s);
    return rc;
}

/* ---- plain compiling ---- */

static void check_compile(void)
{
    cab_report *r = NULL;
    cab_model *m = NULL;
    cab_error e = { 0 };
    int fd = -1;
    CHECK_EQ(cab_compile_file(digits, NULL, &fd, &r), CAB_RT_OK);
    CHECK_STR(cab_report_text(r), "");
    CHECK_EQ(cab_artifact_write(fd, in_folder("digits.cab"), &e), CAB_RT_OK);
    CHECK_EQ(cab_artifact_write(fd, in_folder("nowhere/digits.cab"), &e), CAB_RT_EIO);
    CHECK(e.code == CAB_RT_EIO && e.text[0]);
    cab_report_destroy(r);
    cab_mapping made = map_fd(fd), model = map(digits), written = map(in_folder("digits.cab"));
    CHECK(same_bytes(made, written));

    cab_compile_options o = CAB_INIT(cab_compile_options);
    o.model_name = "digits.onnx";
    CHECK_EQ(cab_compile_memory(model.p, model.n, NULL, &o, &fd, &r), CAB_RT_OK);
    cab_report_destroy(r);
    cab_mapping bytes = map_fd(fd);
    CHECK(same_bytes(made, bytes));
    cab_file_unmap(&bytes);

    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, NULL, NULL, &m, &r), CAB_RT_OK);
    cab_report_destroy(r);
    CHECK_EQ(run_digits(m, 3, &e), CAB_RT_OK);
    cab_model_destroy(m);
    CHECK_EQ(cab_jit_file(digits, NULL, NULL, &m, NULL), CAB_RT_OK);
    CHECK_EQ(run_digits(m, 1, &e), CAB_RT_OK);
    cab_model_destroy(m);
    CHECK_EQ(cab_check_file(digits, NULL, &r), CAB_RT_OK);
    cab_report_destroy(r);
    cab_file_unmap(&made);
    cab_file_unmap(&model);
    cab_file_unmap(&written);
}

static void check_refusals(void)
{
    cab_report *r = NULL;
    int fd = 7;
    cab_compile_options o = { 0 };
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EINVAL);
    CHECK(says(r, "CAB_INIT") && fd == -1);
    cab_report_destroy(r);
    CHECK_EQ(cab_compile_file("/nowhere/x.onnx", NULL, &fd, &r), CAB_RT_EIO);
    CHECK(says(r, "/nowhere/x.onnx: cannot open"));
    cab_report_destroy(r);
    CHECK_EQ(cab_compile_memory("rubbish", 7, NULL, NULL, &fd, &r), CAB_RT_EMODEL);
    CHECK(says(r, "error: invalid model: "));
    cab_report_destroy(r);
    o = (cab_compile_options)CAB_INIT(cab_compile_options);
    o.target = "z80";
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EUNSUPPORTED);
    CHECK(says(r, "no target 'z80'") && says(r, "note: targets are"));
    cab_report_destroy(r);
    o.target = NULL;
    o.dims = &(cab_dim_range){ "batch", 9, 3 };
    o.n_dims = 1;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EINVAL);
    CHECK(says(r, "range of 'batch'"));
    cab_report_destroy(r);
    o.n_dims = 0;
    o.inputs = &(cab_offered_input){ NULL, { .dtype = 1, .rank = 1, .dims = { 4 }, .data = &o,
                                             .bytes = 8 } };
    o.n_inputs = 1;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EINVAL);
    CHECK(says(r, "fewer bytes"));
    cab_report_destroy(r);
}

static void check_budget(void)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_report *r;
    int fd, files = open_files();
    o.max_memory = 64 << 10;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_ELIMIT);
    CHECK(says(r, "more than the memory allowed"));
    cab_report_destroy(r);
    o.max_memory = 64 << 20;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, NULL), CAB_RT_OK);
    close(fd);
    CHECK_EQ(open_files(), files);
}

/* ---- cancelling ---- */

typedef struct asking { int asked, yes_at; pthread_t thread; } asking;

static int ask(void *user)
{
    asking *a = user;
    CHECK(pthread_equal(a->thread, pthread_self()));
    return ++a->asked == a->yes_at;
}

static void check_cancel(int threads)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    asking a = { .thread = pthread_self() };
    cab_report *r;
    int fd, files = open_files(), points = 0;
    o.threads = threads;
    o.cancelled = ask;
    o.cancel_user = &a;
    for (int k = 1;; k++, points++) {
        a.asked = 0;
        a.yes_at = k;
        int rc = cab_compile_file(digits, &o, &fd, &r);
        CHECK(rc == CAB_RT_OK || says(r, "the caller ended the compilation"));
        cab_report_destroy(r);
        if (rc == CAB_RT_OK)
            break;
        CHECK_EQ(rc, CAB_RT_ECANCELLED);
        CHECK_EQ(fd, -1);
        CHECK_EQ(a.asked, k);
        CHECK_EQ(open_files(), files);
    }
    close(fd);
    CHECK(points > 15);
}

/* ---- threads ---- */

typedef struct worker { pthread_t t; cab_compile_options o; cab_mapping made; } worker;

static void *compile_some(void *arg)
{
    worker *w = arg;
    int fd;
    for (int i = 0; i < 3; i++) {
        cab_file_unmap(&w->made);
        if (cab_compile_file(digits, &w->o, &fd, NULL) != CAB_RT_OK)
            return NULL;
        if (cab_fd_map(fd, "artifact", &w->made, NULL) != CAB_OK)
            w->made = (cab_mapping){ 0 };
        close(fd);
    }
    return NULL;
}

static void check_threads(bool isolate, const char *cache)
{
    enum { N = 4 };
    worker w[N] = { 0 };
    int fd;
    CHECK_EQ(cab_compile_file(digits, NULL, &fd, NULL), CAB_RT_OK);
    cab_mapping one = map_fd(fd);
    for (int i = 0; i < N; i++) {
        w[i].o.size = sizeof w[i].o;
        w[i].o.threads = i % 2 + 1;
        w[i].o.isolate = isolate;
        w[i].o.cache_dir = cache;
        CHECK_EQ(pthread_create(&w[i].t, NULL, compile_some, &w[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(w[i].t, NULL);
        CHECK(same_bytes(one, w[i].made));
        cab_file_unmap(&w[i].made);
    }
    cab_file_unmap(&one);
}

/* ---- ranges ---- */

static void check_ranges(void)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_model *m = NULL;
    cab_tensor_info t;
    cab_error e = { 0 };
    CHECK_EQ(cab_jit_file(digits, NULL, NULL, &m, NULL), CAB_RT_OK);
    const cab_plan *p = cab_model_plan(m);
    const char *name = p->strings + p->scalars[p->values[p->inputs[0]].dims[0]].name;
    char batch[64];
    snprintf(batch, sizeof batch, "%s", name);
    cab_model_destroy(m);
    o.dims = &(cab_dim_range){ batch, 2, 5 };
    o.n_dims = 1;
    for (int isolate = 0; isolate < 2; isolate++) {
        o.isolate = isolate;
        CHECK_EQ(cab_jit_file(digits, &o, NULL, &m, NULL), CAB_RT_OK);
        CHECK_EQ(run_digits(m, 2, &e), CAB_RT_OK);
        CHECK_EQ(run_digits(m, 5, &e), CAB_RT_OK);
        CHECK_EQ(run_digits(m, 1, &e), CAB_RT_EINPUT);
        CHECK(strstr(e.text, "must be from 2 to 5, not 1") && strstr(e.text, batch));
        CHECK_EQ(run_digits(m, 6, &e), CAB_RT_EINPUT);
        cab_model_destroy(m);
    }
    o.dims = &(cab_dim_range){ batch, 4, 4 };
    CHECK_EQ(cab_jit_file(digits, &o, NULL, &m, NULL), CAB_RT_OK);
    cab_model_input(m, 0, &t);
    CHECK_EQ(t.dims[0], 4);
    cab_model_destroy(m);
    /* A name that no input has is no fact. */
    o.dims = &(cab_dim_range){ "nobody", 2, 5 };
    CHECK_EQ(cab_jit_file(digits, &o, NULL, &m, NULL), CAB_RT_OK);
    CHECK_EQ(run_digits(m, 1, &e), CAB_RT_OK);
    cab_model_destroy(m);
}

/* ---- child processes ---- */

static bool no_children(void)
{
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

static void check_isolate(void)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_report *r;
    int fd, files;
    CHECK_EQ(cab_compile_file(digits, NULL, &fd, NULL), CAB_RT_OK);
    cab_mapping here = map_fd(fd), model = map(digits);
    files = open_files();
    o.isolate = 1;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_OK);
    CHECK_STR(cab_report_text(r), "");
    cab_report_destroy(r);
    cab_mapping there = map_fd(fd);
    CHECK(same_bytes(here, there));
    cab_file_unmap(&there);
    CHECK_EQ(cab_compile_memory("rubbish", 7, NULL, &o, &fd, &r), CAB_RT_EMODEL);
    CHECK(says(r, "error: invalid model: "));
    cab_report_destroy(r);
    o.model_name = "digits.onnx";
    CHECK_EQ(cab_compile_memory(model.p, model.n, NULL, &o, &fd, NULL), CAB_RT_OK);
    there = map_fd(fd);
    CHECK(same_bytes(here, there));
    cab_file_unmap(&there);
    o.worker = "/nowhere/worker";
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EIO);
    CHECK(says(r, "cannot start the compile worker /nowhere/worker"));
    cab_report_destroy(r);
    o.worker = "/bin/true";
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EINTERNAL);
    CHECK(says(r, "ended with status 0 and without an answer"));
    cab_report_destroy(r);
    o.worker = NULL;
    o.custom = &(cab_custom_shape){ .name = "x" };
    o.n_custom = 1;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), CAB_RT_EINVAL);
    CHECK(says(r, "cannot be called from a compile worker"));
    cab_report_destroy(r);
    CHECK(no_children());
    CHECK_EQ(open_files(), files);
    cab_file_unmap(&here);
    cab_file_unmap(&model);
}

static void check_death(int number, const char *story)
{
    cab_diag d;
    cab_compiled made;
    int files = open_files();
    cab_compiler c = { .isolate = true, .test_signal = number };
    cab_diag_init(&d);
    CHECK_EQ(cab_compiler_run(&c, &(cab_source){ .path = digits }, &made, &d), CAB_EINTERNAL);
    const cab_diag_entry *e = cab_diag_first(&d);
    CHECK(e && strstr(e->text, story));
    CHECK_EQ(made.fd, -1);
    cab_diag_fini(&d);
    CHECK(no_children());
    CHECK_EQ(open_files(), files);
}

/* The child hangs (stopped by its own hand); cancelling ends it. */
static int ask_late(void *user)
{
    return ++*(int *)user > 3;
}

static void check_hanging_child(void)
{
    int asked = 0, files = open_files();
    cab_diag d;
    cab_compiled made;
    cab_compiler c = { .isolate = true, .test_signal = SIGSTOP, .cancel = { ask_late, &asked } };
    cab_diag_init(&d);
    int64_t t = cab_now_ns();
    CHECK_EQ(cab_compiler_run(&c, &(cab_source){ .path = digits }, &made, &d), CAB_ECANCELLED);
    CHECK(cab_now_ns() - t < (int64_t)2000000000);
    cab_diag_fini(&d);
    CHECK(no_children());
    CHECK_EQ(open_files(), files);
}

/* ---- the cache ---- */

static cab_status through_cache(const cab_compiler *c, const char *path, bool *cached)
{
    cab_diag d;
    cab_compiled r;
    cab_diag_init(&d);
    cab_status s = cab_compiler_run(c, &(cab_source){ .path = path }, &r, &d);
    for (size_t i = 0; i < d.n; i++)
        fprintf(stderr, "%s\n", d.entries[i].text);
    cab_diag_fini(&d);
    *cached = s == CAB_OK && r.cached;
    if (r.fd >= 0)
        close(r.fd);
    return s;
}

#define HIT(c, path)  (through_cache((c), (path), &cached) == CAB_OK && cached)
#define MISS(c, path) (through_cache((c), (path), &cached) == CAB_OK && !cached)

/* Files of the folder that end so; the last one's path in out. */
static int count(const char *dir, const char *end, char out[512])
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t k = strlen(e->d_name), m = strlen(end);
        if (k < m || strcmp(e->d_name + k - m, end))
            continue;
        n++;
        if (out)
            snprintf(out, 512, "%s/%s", dir, e->d_name);
    }
    if (d)
        closedir(d);
    return n;
}

static void check_cache(void)
{
    const char *model = in_folder("cached.onnx");
    char dir[256], entry[512];
    bool cached;
    snprintf(dir, sizeof dir, "%s/deep/cache", folder);
    cab_mapping m = map(digits);
    write_file(model, m.p, m.n);
    cab_compiler c = { .cache_dir = dir };
    CHECK(MISS(&c, model));
    CHECK(HIT(&c, model));
    CHECK_EQ(count(dir, ".cab", entry), 1);
    CHECK_EQ(count(dir, ".memo", NULL), 0);     /* the file is fresh: read again each time */
    cab_compiler other = c;
    other.naive = true;
    CHECK(MISS(&other, model));
    other = c;
    other.target = "x86-64-v3";
    CHECK(MISS(&other, model));
    CHECK(HIT(&other, model));
    other = c;
    other.model_name = "else";
    CHECK(MISS(&other, model));
    other = c;
    other.import.binds = &(cab_import_bind){ "batch", 2 };
    other.import.n_binds = 1;
    CHECK(MISS(&other, model));
    CHECK(HIT(&c, model));
    /* The same content elsewhere, and after a touch. */
    age(model);
    CHECK(HIT(&c, model));
    mkdir(in_folder("sub"), 0700);
    write_file(in_folder("sub/cached.onnx"), m.p, m.n);
    CHECK(HIT(&c, in_folder("sub/cached.onnx")));
    /* A failure leaves nothing. */
    int before = count(dir, "", NULL);
    write_file(in_folder("bad.onnx"), "rubbish", 7);
    CHECK_EQ(through_cache(&c, in_folder("bad.onnx"), &cached), CAB_EMODEL);
    CHECK_EQ(count(dir, "", NULL), before);
    cab_file_unmap(&m);
}

/* A file that changes within the clock's grain: its bytes are what counts. */
static void check_racy(void)
{
    const char *model = in_folder("racy.onnx");
    struct stat st;
    bool cached;
    cab_mapping m = map(digits);
    uint8_t *copy = malloc(m.n);
    cab_compiler c = { .cache_dir = in_folder("racy") };
    memcpy(copy, m.p, m.n);
    write_file(model, m.p, m.n);
    CHECK(MISS(&c, model));
    CHECK(HIT(&c, model));
    for (int i = 0; i < 5; i++) {
        /* One weight differs; same inode, size and mtime. */
        CHECK_EQ(stat(model, &st), 0);
        copy[m.n / 2] ^= (uint8_t)(1 << i);
        int fd = open(model, O_WRONLY);
        CHECK(fd >= 0 && pwrite(fd, copy, m.n, 0) == (ssize_t)m.n);
        CHECK_EQ(futimens(fd, (struct timespec[2]){ st.st_atim, st.st_mtim }), 0);
        close(fd);
        CHECK(MISS(&c, model));
        CHECK(HIT(&c, model));
    }
    free(copy);
    cab_file_unmap(&m);
}

/* A memo exists for a file that has rested, and does not survive a change. */
static void check_memo(void)
{
    const char *model = in_folder("memo.onnx");
    char dir[256], memo[512];
    bool cached;
    snprintf(dir, sizeof dir, "%s/memo", folder);
    cab_mapping m = map(digits);
    cab_compiler c = { .cache_dir = dir };
    write_file(model, m.p, m.n);
    age(model);                     /* mtime only: ctime is now */
    CHECK(MISS(&c, model));
    CHECK_EQ(count(dir, ".memo", NULL), 0);
    nanosleep(&(struct timespec){ 2, 100000000 }, NULL);
    CHECK(HIT(&c, model));
    CHECK_EQ(count(dir, ".memo", memo), 1);
    CHECK(HIT(&c, model));
    /* Damaged: not believed, made again. */
    int fd = open(memo, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "x", 1, 60) == 1);
    close(fd);
    CHECK(HIT(&c, model));
    CHECK_EQ(count(dir, ".memo", NULL), 1);
    uint8_t *copy = malloc(m.n);
    memcpy(copy, m.p, m.n);
    copy[m.n / 2] ^= 1;
    fd = open(model, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, copy, m.n, 0) == (ssize_t)m.n);
    close(fd);
    CHECK(MISS(&c, model));
    free(copy);
    cab_file_unmap(&m);
}

static void check_damage(void)
{
    char dir[256], entry[512];
    bool cached;
    cab_model *model = NULL;
    cab_error e;
    snprintf(dir, sizeof dir, "%s/damage", folder);
    cab_compiler c = { .cache_dir = dir };
    CHECK(MISS(&c, digits));
    CHECK_EQ(count(dir, ".cab", entry), 1);
    int fd = open(entry, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "xyzw", 4, 4096) == 4);
    close(fd);
    CHECK(MISS(&c, digits));
    CHECK(HIT(&c, digits));
    CHECK_EQ(truncate(entry, 5000), 0);
    CHECK_EQ(cab_compiler_jit(&c, &(cab_source){ .path = digits }, NULL, &model, NULL, NULL),
             CAB_OK);
    CHECK_EQ(run_digits(model, 2, &e), CAB_RT_OK);
    cab_model_destroy(model);
    CHECK(HIT(&c, digits));
    CHECK_EQ(count(dir, ".in", entry), 1);
    CHECK_EQ(truncate(entry, 10), 0);
    CHECK(MISS(&c, digits));
    CHECK(HIT(&c, digits));
    /* What a killed process left goes with the next run. */
    snprintf(entry, sizeof entry, "%s/abc.cab.tmp.XYZ123", dir);
    write_file(entry, "torn", 4);
    CHECK(HIT(&c, digits));
    CHECK(access(entry, F_OK) != 0);
    /* Not private: not used. */
    CHECK_EQ(chmod(dir, 0777), 0);
    CHECK(MISS(&c, digits));
    CHECK_EQ(chmod(dir, 0700), 0);
    CHECK(HIT(&c, digits));
}

static void check_size(void)
{
    char dir[256];
    bool cached;
    snprintf(dir, sizeof dir, "%s/size", folder);
    cab_compiler c = { .cache_dir = dir, .cache_bytes = 150 << 10 };
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    for (int i = 0; i < 6; i++) {
        c.model_name = names[i];
        CHECK(MISS(&c, digits));
        c.model_name = names[0];            /* used all the time: stays */
        CHECK(HIT(&c, digits));
    }
    CHECK(count(dir, ".cab", NULL) < 5);
    c.model_name = names[1];
    CHECK(MISS(&c, digits));
    c.cache_bytes = 100;                    /* too small for any */
    c.model_name = "g";
    CHECK(MISS(&c, digits));
    CHECK(MISS(&c, digits));
}

/* ---- models made here ---- */

/* An int64 input of n elements. */
static wire int_input(const char *name, int64_t n)
{
    wire w = { 0 }, type = { 0 }, tensor = { 0 }, shape = { 0 }, d = { 0 };
    w_num(&d, 1, n);
    w_sub(&shape, 1, d);
    w_num(&tensor, 1, 7);
    w_sub(&tensor, 2, shape);
    w_sub(&type, 1, tensor);
    w_str(&w, 1, name);
    w_sub(&w, 2, type);
    return w;
}

/* y = Reshape(x, shape): what shape holds decides the code. */
static void check_fixed(void)
{
    const char *path = in_folder("reshape.onnx");
    const int64_t dims[2] = { -1, 4 };
    wire g = { 0 };
    bool cached;
    w_sub(&g, 1, m_node("Reshape", "x,shape", "y"));
    w_str(&g, 2, "g");
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 11, int_input("shape", 2));
    w_sub(&g, 12, m_value("y", -1, NULL));
    wire m = m_model(14, g);
    write_file(path, m.p, m.n);
    w_free(&m);
    float x[12] = { 0 };
    int64_t shape[2] = { 2, 6 };
    cab_import_input in[2] = {
        { "x", CAB_DT_f32, 2, (const int64_t[]){ 3, 4 }, x, sizeof x, false },
        { "shape", CAB_DT_i64, 1, (const int64_t[]){ 2 }, shape, sizeof shape, false },
    };
    cab_compiler c = { .cache_dir = in_folder("fixed"), .import = { .n_inputs = 2, .inputs = in } };
    CHECK(MISS(&c, path));
    CHECK(HIT(&c, path));
    x[0] = 1;                               /* decides nothing */
    CHECK(HIT(&c, path));
    shape[0] = 6, shape[1] = 2;
    CHECK(MISS(&c, path));
    CHECK(HIT(&c, path));
    shape[0] = 2, shape[1] = 6;
    CHECK(HIT(&c, path));
    cab_model *model = NULL;
    cab_error e;
    CHECK_EQ(cab_compiler_jit(&c, &(cab_source){ .path = path }, NULL, &model, NULL, NULL), CAB_OK);
    cab_session *s = NULL;
    cab_tensor_view v[2] = {
        { .dtype = 1, .rank = 2, .dims = { 3, 4 }, .data = x, .bytes = sizeof x },
        { .dtype = 7, .rank = 1, .dims = { 2 }, .data = shape, .bytes = sizeof shape },
    };
    cab_tensor_view y = { 0 };
    CHECK_EQ(cab_session_create(model, NULL, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_run(s, v, &y, &e), CAB_RT_OK);
    CHECK(y.rank == 2 && y.dims[0] == 2 && y.dims[1] == 6);
    cab_session_destroy(s);
    cab_model_destroy(model);
}

/* Code for the offered extents only is filed under them. */
static void check_fixed_shapes(void)
{
    int64_t dims[4] = { 2, 1, 8, 8 };
    cab_import_input in = { NULL, CAB_DT_f32, 4, dims, NULL, 0, false };
    cab_compiler c = { .cache_dir = in_folder("shapes"), .import = { .n_inputs = 1, .inputs = &in } };
    bool cached;
    CHECK(MISS(&c, digits));
    dims[0] = 3;
    CHECK(HIT(&c, digits));
    c.import.static_shapes = true;
    CHECK(MISS(&c, digits));
    CHECK(HIT(&c, digits));
    dims[0] = 2;
    CHECK(MISS(&c, digits));
    CHECK(HIT(&c, digits));
}

/* y = x + w, and w lies in a file beside the model. */
static void check_external(void)
{
    const char *path = in_folder("external.onnx"), *data = in_folder("w.bin");
    const int64_t dims[2] = { -1, 4 }, four[1] = { 4 };
    float w[4] = { 1, 2, 3, 4 };
    wire g = { 0 }, t = m_tensor("w", 1, 1, four);
    bool cached;
    int fd;
    cab_report *r;
    w_external(&t, "location", "w.bin");
    w_num(&t, 14, 1);
    w_sub(&g, 1, m_node("Add", "x,w", "y"));
    w_str(&g, 2, "g");
    w_sub(&g, 5, t);
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    wire m = m_model(14, g);
    write_file(path, m.p, m.n);
    write_file(data, w, sizeof w);
    cab_compiler c = { .cache_dir = in_folder("external") };
    CHECK(MISS(&c, path));
    CHECK(HIT(&c, path));
    w[0] = 5;
    write_file(data, w, sizeof w);
    CHECK(MISS(&c, path));
    CHECK(HIT(&c, path));
    nanosleep(&(struct timespec){ 2, 100000000 }, NULL);
    CHECK(HIT(&c, path));
    CHECK_EQ(count(in_folder("external"), ".memo", NULL), 1);
    CHECK(HIT(&c, path));
    w[0] = 6;
    fd = open(data, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, w, sizeof w, 0) == sizeof w);
    close(fd);
    CHECK(MISS(&c, path));
    unlink(data);
    CHECK(through_cache(&c, path, &cached) == CAB_EIO);
    write_file(data, w, sizeof w);
    CHECK(HIT(&c, path));
    cab_compile_options o = CAB_INIT(cab_compile_options);
    for (o.isolate = 0; o.isolate < 2; o.isolate++) {
        CHECK_EQ(cab_compile_memory(m.p, m.n, folder, &o, &fd, NULL), CAB_RT_OK);
        close(fd);
        CHECK_EQ(cab_compile_memory(m.p, m.n, NULL, &o, &fd, &r), CAB_RT_EMODEL);
        CHECK(says(r, "external data 'w.bin' of a file without a folder"));
        cab_report_destroy(r);
    }
    w_free(&m);
}

/* ---- signatures ---- */

static void check_signed(bool isolate)
{
    /* RFC 8032, section 7.1, test 1. */
    static const uint8_t seed[32] = {
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
        0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60 };
    uint8_t key[32] = {
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
        0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a };
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_model_options mo = CAB_INIT(cab_model_options);
    cab_model *m;
    cab_error e;
    int fd;
    mo.check_signature = cab_check_signature;
    mo.signature_user = key;
    o.isolate = isolate;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, NULL), CAB_RT_OK);
    CHECK_EQ(cab_model_load_fd(fd, "digits", &mo, &m, &e), CAB_RT_EARTIFACT);
    close(fd);
    o.sign_seed = seed;
    o.embed_model = 1;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, NULL), CAB_RT_OK);
    CHECK_EQ(cab_model_load_fd(fd, "digits", &mo, &m, &e), CAB_RT_OK);
    cab_model_destroy(m);
    cab_mapping made = map_fd(fd), model = map(digits);   /* closes fd */
    cab_artifact a;
    CHECK_EQ(cab_artifact_open(made.p, made.n, &a, &e), CAB_OK);
    const cab_file_section *inside = cab_artifact_find(&a, CAB_SEC_MODEL, 0);
    CHECK(inside && inside->bytes == model.n &&
          !memcmp(cab_artifact_bytes(&a, inside), model.p, model.n));
    key[5] ^= 1;                           /* somebody else's */
    CHECK_EQ(cab_model_load_memory(made.p, made.n, "digits", &mo, &m, &e), CAB_RT_EARTIFACT);
    cab_file_unmap(&made);
    cab_file_unmap(&model);
}

int main(void)
{
    const char *srcdir = getenv("srcdir");
    char template[] = "/tmp/cab-libcab-XXXXXX", command[128];
    snprintf(digits, sizeof digits, "%s/samples/digits/digits.onnx", srcdir ? srcdir : ".");
    CHECK(mkdtemp(template) != NULL);
    snprintf(folder, sizeof folder, "%s", template);
    check_compile();
    check_refusals();
    check_budget();
    check_cancel(1);
    check_cancel(3);
    check_threads(false, NULL);
    check_ranges();
    check_isolate();
    check_threads(true, NULL);
    check_death(SIGSEGV, "died by signal 11 (a bug in Cabochon or LLVM)");
    check_death(SIGKILL, "was killed (signal 9)");
    check_hanging_child();
    check_cache();
    check_racy();
    check_memo();
    check_damage();
    check_size();
    check_fixed();
    check_fixed_shapes();
    check_external();
    check_signed(false);
    check_signed(true);
    check_threads(false, in_folder("threads"));
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_EQ(system(command), 0);
    TEST_END();
}
