/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_base.c - the ground floor but for dims (test_dim.c).
 */
#include "tests/test.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"
#include "base/process.h"

static cab_job job;
static cab_arena *arena;

static void append(void *log_and_char)
{
    char **p = log_and_char;
    size_t n = strlen(p[0]);

    p[0][n] = *p[1];
    p[0][n + 1] = 0;
}

/* What is given back early reads as zeroes, its neighbours stay. */
static void check_arena_drop(void)
{
    enum { N = 8 << 20, PAGE = 4096 };
    static char foreign[4 * PAGE];
    cab_arena *t = cab_arena_create(NULL);
    char *small = cab_strdup(t, "before"), *p = cab_alloc(t, N), *after = cab_strdup(t, "after");

    memset(p, 1, N);
    memset(foreign, 1, sizeof foreign);
    cab_arena_drop(t, foreign, sizeof foreign);
    CHECK_EQ(foreign[2 * PAGE], 1);
    cab_arena_drop(t, p + N / 4, N / 2);
    CHECK_EQ(p[N / 4 - 1], 1);
    CHECK_EQ(p[N / 2], 0);
    CHECK_EQ(p[N / 4 * 3], 1);
    cab_arena_drop(t, p, 8);
    cab_arena_drop(t, p + 8, 0);
    CHECK_EQ(p[0], 1);
    CHECK_STR(small, "before");
    CHECK_STR(after, "after");
    cab_arena_destroy(t);
}

static void check_arena(void)
{
    char seen[8] = "", a = 'a', b = 'b', c = 'c';
    char *ra[] = { seen, &a }, *rb[] = { seen, &b }, *rc[] = { seen, &c };
    cab_arena *t = cab_arena_create(&job);
    cab_mark m;
    size_t used = job.used;
    char *p;

    CHECK(cab_arena_job(t) == &job);
    for (size_t n = 0; n < 300; n++) {
        p = cab_alloc(t, n);
        CHECK(p && (uintptr_t)p % 16 == 0);
        memset(p, 1, n);
    }
    cab_arena_cleanup(t, append, ra);
    m = cab_arena_mark(t);
    cab_arena_cleanup(t, append, rb);
    cab_arena_cleanup(t, append, rc);
    memset(cab_alloc(t, 5 << 20), 2, 5 << 20);
    CHECK(cab_arena_bytes(t) > 5 << 20);
    cab_arena_release(t, m);
    CHECK_STR(seen, "cb");
    CHECK(cab_arena_bytes(t) < 1 << 20);
    p = CAB_NEW_N(t, char, 1000);
    for (int i = 0; i < 1000; i++)
        CHECK(!p[i]);
    CHECK_STR(cab_printf(t, "%d-%s", 7, "x"), "7-x");
    CHECK_STR(cab_strndup(t, "abcdef", 3), "abc");
    cab_arena_reset(t);
    CHECK_STR(seen, "cba");
    CHECK_STR(cab_strdup(t, "again"), "again");
    cab_arena_destroy(t);
    cab_arena_destroy(NULL);
    CHECK(job.used < used);
}

static int fill(cab_job *j)
{
    cab_arena *volatile t = NULL;

    if (CAB_JOB_ENTER(j)) {
        cab_arena_destroy(t);
        return 1;
    }
    t = cab_arena_create(j);
    if (!t)
        return 2;
    for (int i = 0; i < 100; i++)
        memset(cab_alloc(t, 10000), 1, 10000);
    cab_arena_destroy(t);
    return 0;
}

static int multiply(cab_job *j)
{
    cab_arena *volatile t = NULL;

    if (CAB_JOB_ENTER(j)) {
        cab_arena_destroy(t);
        return 1;
    }
    t = cab_arena_create(j);
    (void)cab_alloc_zero(t, SIZE_MAX / 2, 4);
    return 0;
}

static void check_out_of_memory(void)
{
    cab_job j = { .budget = 500000 };

    CHECK_EQ(fill(&j), 1);
    CHECK_EQ(j.used, 0);
    CHECK(j.peak <= j.budget && j.peak > j.budget / 2);
    j = (cab_job){ .budget = 0 };
    CHECK_EQ(fill(&j), 0);
    CHECK_EQ(multiply(&j), 1);
    for (uint64_t k = 1; k < 5; k++) {
        j = (cab_job){ .fail_at = k };
        CHECK_EQ(fill(&j), k == 1 ? 2 : 1);
        CHECK_EQ(j.used, 0);
    }
}

static void check_vec(void)
{
    CAB_VEC(int) v = { 0 };

    for (int i = 0; i < 1000; i++)
        cab_vec_push(arena, &v, i * 3);
    CHECK_EQ(v.n, 1000);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(v.p[i], i * 3);
    cab_vec_reserve(arena, &v, 5000);
    CHECK(v.cap >= 5000 && v.p[999] == 2997);
}

static void check_map(void)
{
    cab_map *m = cab_map_create(arena), *u = cab_map_create(arena);
    cab_strings *s = cab_strings_create(arena);
    int values[2000];
    char key[32];
    const void *k;
    size_t n;

    CHECK(!cab_map_gets(m, "x") && !cab_map_getu(u, 0));
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(!cab_map_sets(m, key, &values[i]));
        CHECK(!cab_map_setu(u, (uint64_t)i << 32, &values[i]));
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(cab_map_gets(m, key) == &values[i]);
        CHECK(cab_map_getu(u, (uint64_t)i << 32) == &values[i]);
        CHECK(cab_map_at(m, (size_t)i, &k, &n) == &values[i]);
        CHECK(n == strlen(key) && !memcmp(k, key, n));
    }
    CHECK_EQ(cab_map_count(m), 2000);
    CHECK(cab_map_sets(m, "key 7", NULL) == &values[7]);
    CHECK(!cab_map_gets(m, "key 7"));
    CHECK(!cab_map_sets(m, "key 7", &values[0]));
    CHECK(cab_map_gets(m, "key 7") == &values[0]);
    CHECK(!cab_map_set(m, "a\0b", 3, &values[1]));
    CHECK(!cab_map_get(m, "a\0c", 3) && !cab_map_gets(m, "a"));
    CHECK(cab_intern(s, "abc") == cab_intern_n(s, "abcd", 3));
    CHECK(cab_intern(s, "abc") != cab_intern(s, "abd"));
    CHECK_STR(cab_intern(s, ""), "");
    CHECK(cab_hash("abc", 3, 0) != cab_hash("abc", 3, 1));
    CHECK(cab_hash("abc\0", 4, 0) != cab_hash("abc", 3, 0));
}

static const char *spelled(double v, bool single)
{
    cab_buf b = cab_buf_on(arena);

    if (single)
        cab_buf_f32(&b, (float)v);
    else
        cab_buf_f64(&b, v);
    return cab_buf_cstr(&b);
}

static void check_numbers(void)
{
    cab_rng r;

    CHECK_STR(spelled(0, false), "0");
    CHECK_STR(spelled(-0.0, false), "-0");
    CHECK_STR(spelled(100, false), "100");
    CHECK_STR(spelled(0.1, false), "0.1");
    CHECK_STR(spelled(0.1, true), "0.1");
    CHECK_STR(spelled(1234567890123, false), "1234567890123");
    CHECK_STR(spelled(1e22, false), "1e+22");
    CHECK_STR(spelled(1e-9, true), "1e-09");
    CHECK_STR(spelled(1.0 / 3, false), "0.3333333333333333");
    CHECK_STR(spelled(-INFINITY, false), "-inf");
    CHECK_STR(spelled(INFINITY, true), "inf");
    CHECK_STR(spelled(NAN, true), "nan");
    cab_rng_seed(&r, 1);
    for (int i = 0; i < 3000; i++) {
        uint64_t bits = cab_rng_u64(&r);
        uint32_t low = (uint32_t)bits;
        double v;
        float f;
        memcpy(&v, &bits, sizeof v);
        memcpy(&f, &low, sizeof f);
        CHECK(isnan(v) || strtod(spelled(v, false), NULL) == v);
        CHECK(isnan(f) || strtof(spelled((double)f, true), NULL) == f);
    }
}

static void check_buf(void)
{
    cab_buf b = cab_buf_on(arena), q = cab_buf_on(arena);

    CHECK_STR(cab_buf_cstr(&b), "");
    cab_buf_str(&b, "ab");
    cab_buf_char(&b, 'c');
    cab_buf_printf(&b, "%0200d", 5);
    CHECK_EQ(b.n, 203);
    CHECK(b.p[202] == '5');
    cab_buf_align(&b, 64);
    CHECK_EQ(b.n, 256);
    CHECK(!b.p[255]);
    cab_buf_align(&b, 64);
    CHECK_EQ(b.n, 256);
    cab_buf_quoted(&q, "a\"\\\n\t\x01\xc3\xa9", 8);
    CHECK_STR(cab_buf_cstr(&q), "\"a\\\"\\\\\\n\\t\\x01\\xc3\\xa9\"");
}

static void check_status(void)
{
    CHECK_STR(cab_status_text(CAB_OK), "ok");
    CHECK_STR(cab_status_text((cab_status)999),
              cab_status_text(CAB_EINTERNAL));
    CHECK_EQ(cab_status_exit(CAB_EUNSUPPORTED), 77);
    CHECK_EQ(cab_status_exit(CAB_OK), 0);
}

static void check_formatted(const cab_diag_entry *e, const char *want)
{
    char *s = cab_diag_format(e);

    CHECK_STR(s, want);
    free(s);
}

static void check_diag(void)
{
    cab_where w = { .node = "Conv_0", .op = "Conv", .opset = 11 };
    cab_where at = { .file = "f.cir", .line = 3, .col = 4 };
    cab_diag d;

    cab_diag_init(&d);
    CHECK(!cab_diag_has_errors(&d) && !cab_diag_first(&d));
    cab_note(&d, "nobody to note");
    cab_warn(&d, NULL, "careful");
    CHECK(!cab_diag_has_errors(&d));
    CHECK_EQ(cab_fail(&d, CAB_EUNSUPPORTED, &w, "dtype %s", "c64"),
             CAB_EUNSUPPORTED);
    cab_note(&d, "convert it");
    cab_note(&d, "or wait");
    CHECK_EQ(cab_fail(&d, CAB_EPARSE, &at, "bad\ntoken \x1b"), CAB_EPARSE);
    CHECK_EQ(cab_fail(NULL, CAB_EIO, NULL, "unheard"), CAB_EIO);
    CHECK_EQ(d.n, 3);
    CHECK(cab_diag_first(&d) == &d.entries[1]);
    check_formatted(&d.entries[0], "warning: careful\n");
    check_formatted(&d.entries[1],
                    "error: unsupported: node 'Conv_0' (Conv, opset 11): "
                    "dtype c64\nnote: convert it\nnote: or wait\n");
    check_formatted(&d.entries[2],
                    "error: malformed text: f.cir:3:4: bad token ?\n");
    d.limit = 3;
    cab_fail(&d, CAB_EIO, NULL, "too many");
    cab_note(&d, "dropped with it");
    CHECK_EQ(d.n, 3);
    CHECK_EQ(d.entries[2].n_notes, 0);
    cab_diag_clear(&d);
    CHECK_EQ(d.n, 0);
    cab_diag_fini(&d);
}

static void check_dtype_rows(void)
{
    uint64_t n;

    for (int t = 1; t < CAB_DT_COUNT; t++) {
        const char *name = cab_dtype_name((cab_dtype)t);
        CHECK_EQ(cab_dtype_parse(name, strlen(name)), t);
        CHECK_EQ(cab_dtype_from_onnx(cab_dtype_onnx((cab_dtype)t)), t);
    }
    CHECK_EQ(cab_dtype_parse("f3", 2), CAB_DT_none);
    CHECK_EQ(cab_dtype_from_onnx(99), CAB_DT_none);
    CHECK(cab_dtype_is_int(CAB_DT_u4) && !cab_dtype_is_signed(CAB_DT_u4));
    CHECK(cab_dtype_is_float(CAB_DT_bf16) && !cab_dtype_is_int(CAB_DT_bool));
    CHECK(cab_dtype_bytes(CAB_DT_i4, 3, &n) && n == 2);
    CHECK(cab_dtype_bytes(CAB_DT_u2, 9, &n) && n == 3);
    CHECK(cab_dtype_bytes(CAB_DT_f32, 3, &n) && n == 12);
    CHECK(!cab_dtype_bytes(CAB_DT_f64, UINT64_MAX / 4, &n));
}

static void check_halves(void)
{
    for (uint32_t i = 0; i < 65536; i++) {
        float h = cab_f16_to_f32((uint16_t)i), b = cab_bf16_to_f32((uint16_t)i);
        CHECK(isnan(h) ? isnan(cab_f16_to_f32(cab_f32_to_f16(h)))
                       : cab_f32_to_f16(h) == i);
        CHECK(isnan(b) ? isnan(cab_bf16_to_f32(cab_f32_to_bf16(b)))
                       : cab_f32_to_bf16(b) == i);
    }
    CHECK_EQ(cab_f32_to_f16(1.0f), 0x3c00);
    CHECK_EQ(cab_f32_to_f16(65504.0f), 0x7bff);
    CHECK_EQ(cab_f32_to_f16(65519.0f), 0x7bff);
    CHECK_EQ(cab_f32_to_f16(65520.0f), 0x7c00);
    CHECK_EQ(cab_f32_to_f16(0x1p-24f), 1);
    CHECK_EQ(cab_f32_to_f16(0x1p-25f), 0);         /* tie to even */
    CHECK_EQ(cab_f32_to_f16(0x1.8p-24f), 2);       /* tie to even */
    CHECK_EQ(cab_f32_to_f16(0x1.000002p-25f), 1);
    CHECK_EQ(cab_f32_to_f16(0x1.ffep-15f), 0x400); /* into the normals */
    CHECK_EQ(cab_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
    CHECK_EQ(cab_f32_to_f16(1.0f + 0x3p-11f), 0x3c02);
    CHECK_EQ(cab_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    CHECK_EQ(cab_f32_to_bf16(1.0f + 0x3p-8f), 0x3f82);
    CHECK_EQ(cab_f32_to_bf16(0x1.fffffep+127f), 0x7f80);
}

static void check_elements(void)
{
    static const uint8_t odd[] = { 0, 0x21, 0x8f, 0xe4 }, *two = odd + 1;
    static const uint8_t f8[] = { 0x7e, 0x80, 0x7f, 0x01, 0x7c, 0xff };
    static const int64_t big[] = { -5, INT64_MIN };
    static const double f[] = { -2.9, 1e30, -1e30, NAN };
    static const int8_t bytes[] = { -128, 2 };

    CHECK_EQ(cab_elem_i64(CAB_DT_u4, two, 0), 1);
    CHECK_EQ(cab_elem_i64(CAB_DT_u4, two, 1), 2);
    CHECK_EQ(cab_elem_i64(CAB_DT_i4, two, 2), -1);
    CHECK_EQ(cab_elem_i64(CAB_DT_i4, two, 3), -8);
    CHECK_EQ(cab_elem_i64(CAB_DT_u2, two, 8), 0);
    CHECK_EQ(cab_elem_i64(CAB_DT_i2, two, 10), -2);
    CHECK_EQ(cab_elem_i64(CAB_DT_u16, two, 0), 0x8f21);
    CHECK_EQ(cab_elem_i64(CAB_DT_i8, bytes, 0), -128);
    CHECK_EQ(cab_elem_i64(CAB_DT_bool, bytes, 1), 1);
    CHECK_EQ(cab_elem_i64(CAB_DT_i64, big, 1), INT64_MIN);
    CHECK(cab_elem_f64(CAB_DT_u64, big, 1) == 0x1p63);
    CHECK_EQ(cab_elem_i64(CAB_DT_f64, f, 0), -2);
    CHECK_EQ(cab_elem_i64(CAB_DT_f64, f, 1), INT64_MAX);
    CHECK_EQ(cab_elem_i64(CAB_DT_f64, f, 2), INT64_MIN);
    CHECK_EQ(cab_elem_i64(CAB_DT_f64, f, 3), 0);
    CHECK(cab_elem_f64(CAB_DT_f8e4m3, f8, 0) == 448);
    CHECK(isnan(cab_elem_f64(CAB_DT_f8e4m3, f8, 2)));
    CHECK(cab_elem_f64(CAB_DT_f8e4m3, f8, 3) == 0x1p-9);
    CHECK(isnan(cab_elem_f64(CAB_DT_f8e4m3fnuz, f8, 1)));
    CHECK(cab_elem_f64(CAB_DT_f8e4m3fnuz, f8, 2) == 240);
    CHECK(isinf(cab_elem_f64(CAB_DT_f8e5m2, f8, 4)));
    CHECK(cab_elem_f64(CAB_DT_f8e5m2, f8, 3) == 0x1p-16);
    CHECK(cab_elem_f64(CAB_DT_f8e5m2fnuz, f8, 2) == 57344);
    CHECK(cab_elem_f64(CAB_DT_f8e8m0, f8, 2) == 1);
    CHECK(isnan(cab_elem_f64(CAB_DT_f8e8m0, f8, 5)));
    CHECK(cab_elem_f64(CAB_DT_f4e2m1, two, 2) == -6);
    CHECK(cab_elem_f64(CAB_DT_f4e2m1, two, 0) == 0.5);
}

static void check_beneath(const char *dir, cab_diag *d)
{
    char *base = cab_printf(arena, "%s/model.onnx", dir);
    char *link_path = cab_printf(arena, "%s/link", dir);
    char *hard = cab_printf(arena, "%s/hard", dir);
    int fd;

    CHECK_EQ(cab_file_write(base, "m", 1, d), CAB_OK);
    CHECK_EQ(cab_file_open_beneath(base, "model.onnx", &fd, d), CAB_OK);
    close(fd);
    CHECK_EQ(cab_file_open_beneath(base, "../etc/passwd", &fd, d), CAB_EIO);
    CHECK_EQ(cab_file_open_beneath(base, "/etc/passwd", &fd, d), CAB_EIO);
    CHECK_EQ(cab_file_open_beneath(base, "absent", &fd, d), CAB_EIO);
    CHECK_EQ(cab_file_open_beneath(base, ".", &fd, d), CAB_EIO);
    CHECK(cab_file_beneath(base, "absent") == -1 && errno == ENOENT);
    CHECK(cab_file_beneath(base, "/etc/passwd") == -1 && errno == EXDEV);
    CHECK(cab_file_beneath(base, ".") == -1 && errno == EISDIR);
    CHECK(!symlink("model.onnx", link_path));
    CHECK(cab_file_beneath(base, "link") == -1 && errno == EXDEV);
    CHECK_EQ(cab_file_open_beneath(base, "link", &fd, d), CAB_EIO);
    CHECK(!link(base, hard));
    CHECK_EQ(cab_file_open_beneath(base, "hard", &fd, d), CAB_EIO);
    CHECK_EQ(fd, -1);
    unlink(hard);
    unlink(link_path);
    unlink(base);
}

static void check_file(void)
{
    char dir[] = "/tmp/cab_test_XXXXXX", *path, *pipe_path, *text, *big;
    cab_mapping m;
    cab_diag d;
    struct stat st;
    size_t n;
    int fd;

    cab_diag_init(&d);
    CHECK(mkdtemp(dir) != NULL);
    path = cab_printf(arena, "%s/file", dir);
    pipe_path = cab_printf(arena, "%s/pipe", dir);
    CHECK_EQ(cab_file_map(path, &m, &d), CAB_EIO);
    CHECK_EQ(cab_file_write(path, "hello", 5, &d), CAB_OK);
    CHECK(!stat(path, &st) && (st.st_mode & 0600) == 0600);
    mode_t before = umask(027);
    CHECK_EQ(cab_file_write(path, "hello", 5, &d), CAB_OK);
    CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0640);
    umask(before);
    CHECK_EQ(cab_file_map(path, &m, &d), CAB_OK);
    CHECK(m.n == 5 && !memcmp(m.p, "hello", 5));
    cab_file_unmap(&m);
    CHECK_EQ(cab_file_read(arena, path, 5, &text, &n, &d), CAB_OK);
    CHECK_STR(text, "hello");
    CHECK_EQ(cab_file_read(arena, path, 4, &text, &n, &d), CAB_ELIMIT);
    CHECK_EQ(cab_file_read(arena, dir, 4, &text, &n, &d), CAB_EIO);
    big = cab_alloc(arena, 100000);
    memset(big, 'x', 100000);
    CHECK_EQ(cab_file_write(path, big, 100000, &d), CAB_OK);
    CHECK_EQ(cab_file_read(arena, path, 100000, &text, &n, &d), CAB_OK);
    CHECK(n == 100000 && !memcmp(text, big, n) && !text[n]);
    CHECK_EQ(cab_file_write(path, "", 0, &d), CAB_OK);
    CHECK_EQ(cab_file_read(arena, path, 0, &text, &n, &d), CAB_OK);
    CHECK_STR(text, "");
    CHECK_EQ(cab_file_map(path, &m, &d), CAB_OK);
    CHECK(m.p && !m.n);
    cab_file_unmap(&m);
    CHECK(!mkfifo(pipe_path, 0600));
    CHECK_EQ(cab_file_map(pipe_path, &m, &d), CAB_EIO);
    CHECK_EQ(cab_file_map(dir, &m, &d), CAB_EIO);
    CHECK_EQ(cab_file_write(cab_printf(arena, "%s/no/file", dir), "x", 1, &d),
             CAB_EIO);
    fd = cab_memfd("test", 4096);
    CHECK(fd >= 0);
    CHECK_EQ(cab_fd_write_at(fd, 10, "abc", 3, &d), CAB_OK);
    CHECK(cab_fd_write_at(fd, 4095, "abc", 3, &d) != CAB_OK);
    CHECK(ftruncate(fd, 8192) && errno == EPERM);
    close(fd);
    int kept = cab_memfd_reserve("test"), other;
    fd = cab_memfd("test", 4096);
    other = cab_memfd("test", 4096);
    CHECK(kept >= 0 && fd == kept && other >= 0 && other != kept);
    close(fd);
    close(other);
    check_beneath(dir, &d);
    unlink(path);
    unlink(pipe_path);
    CHECK(!rmdir(dir));             /* no temporary was left behind */
    cab_diag_fini(&d);
}

static void check_rng(void)
{
    int64_t seen[7] = { 0 };
    cab_rng r, s;

    cab_rng_seed(&r, 0);
    CHECK(r.s[0] == 0xe220a8397b1dcdafu);   /* splitmix64's first of seed 0 */
    s = (cab_rng){ { 1, 2, 3, 4 } };
    CHECK(cab_rng_u64(&s) == 11520);        /* by hand: rotl(10, 7) * 9 */
    CHECK(cab_rng_u64(&s) == 0);
    CHECK(cab_rng_u64(&s) == 1509978240);
    for (int i = 0; i < 7000; i++) {
        int64_t v = cab_rng_i64(&r, -3, 3);
        double x = cab_rng_f64(&r, -1, 2);
        CHECK(v >= -3 && v <= 3 && x >= -1 && x < 2);
        seen[v + 3]++;
    }
    for (int i = 0; i < 7; i++)
        CHECK(seen[i] > 800 && seen[i] < 1200);
    CHECK_EQ(cab_rng_i64(&r, 5, 5), 5);
    (void)cab_rng_i64(&r, INT64_MIN, INT64_MAX);
}

static void check_digest_by(bool fast, const char *unit, size_t times, size_t step,
                            const char *want)
{
    size_t n = strlen(unit) * times;
    char *all = cab_alloc(arena, n + 1), hex[65];
    uint8_t out[32];
    cab_sha256 s;

    for (size_t i = 0; i < times; i++)
        memcpy(all + i * strlen(unit), unit, strlen(unit));
    cab_sha256_init(&s);
    s.fast = s.fast && fast;
    for (size_t i = 0; i < n; i += step)
        cab_sha256_add(&s, all + i, n - i < step ? n - i : step);
    cab_sha256_done(&s, out);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", out[i]);
    CHECK_STR(hex, want);
}

static void check_digest(const char *unit, size_t times, size_t step, const char *want)
{
    check_digest_by(false, unit, times, step, want);
    check_digest_by(true, unit, times, step, want);
}

/* The check value of the CRC's catalogue entry, and in pieces. */
static void check_crc32c(void)
{
    CHECK_EQ(cab_crc32c(0, "123456789", 9), 0xe3069283u);
    CHECK_EQ(cab_crc32c(cab_crc32c(0, "12345", 5), "6789", 4), 0xe3069283u);
    CHECK_EQ(cab_crc32c(0, "", 0), 0);
}

/* The example messages of FIPS 180-2. */
static void check_sha256(void)
{
    check_digest("", 1, 1, "e3b0c44298fc1c149afbf4c8996fb924"
                 "27ae41e4649b934ca495991b7852b855");
    check_digest("abc", 1, 2, "ba7816bf8f01cfea414140de5dae2223"
                 "b00361a396177a9cb410ff61f20015ad");
    for (size_t step = 1; step < 60; step += 13)
        check_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                     1, step, "248d6a61d20638b8e5c026930c3e6039"
                     "a33ce45964ff2167f6ecedd419db06c1");
    for (size_t step = 61; step < 300; step += 67)
        check_digest("a", 1000000, step, "cdc76e5c9914fb9281a1c7e284d73e67"
                     "f1809a48a497200e046d39ccc7112cd0");
}

static void check_log(void)
{
    unsetenv("CAB_DEBUG");
    unsetenv("CAB_DUMP");
    CHECK_EQ(cab_debug_level(), 0);
    CHECK(!cab_debug_dumps("fold"));
    setenv("CAB_DEBUG", "3", 1);
    setenv("CAB_DUMP", "cse,fold", 1);
    CHECK_EQ(cab_debug_level(), 3);
    CHECK(cab_debug_dumps("fold") && cab_debug_dumps("cse"));
    CHECK(!cab_debug_dumps("fol") && !cab_debug_dumps("folds"));
    unsetenv("CAB_DEBUG");
    unsetenv("CAB_DUMP");
    CHECK(cab_now_ns() <= cab_now_ns());
}

/* ---- children ---- */

/* How a line of the shell ends that has the pipe's end as 9. */
static int run_shell(const char *line, int end, bool apart)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)line, NULL }, *env[] = { NULL };
    const cab_child_fd fds[] = { { end, 9 } };
    pid_t pid;
    int status = -1;
    CHECK_EQ(cab_child_start(&(cab_child){ .path = "/bin/sh", .argv = argv, .env = env, .fds = fds, .n_fds = 1,
                                           .apart = apart }, &pid), 0);
    CHECK(pid > 0 && cab_child_reap(&pid, &status, 0) && !pid);
    return status;
}

static void check_children(void)
{
    char text[8] = "";
    int p[2];
    CHECK(!pipe(p));
    int end = cab_fd_above(p[1], 20);
    CHECK(end >= 20 && fcntl(end, F_GETFD) == FD_CLOEXEC && fcntl(p[1], F_GETFD) < 0);
    CHECK_EQ(cab_fd_above(-1, 20), -1);
    CHECK_EQ(run_shell("echo hello >&9; exit 3", end, false), 3 << 8);
    CHECK(read(p[0], text, sizeof text) == 6 && !memcmp(text, "hello\n", 6));
    /* What we ignore and block, it does not. */
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK(signal(SIGTERM, SIG_IGN) != SIG_ERR && !sigprocmask(SIG_BLOCK, &set, &old));
    CHECK_EQ(run_shell("kill $$; exit 3", end, false), SIGTERM);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGTERM, SIG_DFL);
    /* No terminal; the leader of its process group. */
    CHECK_EQ(run_shell("[ /dev/fd/0 -ef /dev/null ] && [ /dev/fd/2 -ef /dev/null ] && kill -TERM -$$", end, true),
             SIGTERM);
    close(p[0]);
    close(end);
    pid_t pid = 7;
    char *none[] = { NULL };
    CHECK_EQ(cab_child_start(&(cab_child){ .path = "/no/such", .argv = none, .env = none }, &pid), ENOENT);
    CHECK_EQ(pid, 0);
}

static void check_process(void)
{
    char path[PATH_MAX];
    uint64_t mapped, resident;
    cab_process_bytes(&mapped, &resident);
    CHECK(resident > 0 && resident < mapped);
    CHECK(cab_process_memory() > resident && cab_process_memory() < (uint64_t)1 << 50);
    CHECK(cab_process_neighbour("test_base", X_OK, path) && !access(path, X_OK));
    CHECK(!cab_process_neighbour("no such neighbour", F_OK, path));
}

static void *take_slice(void *result)
{
    int *nice = result;
    setpriority(PRIO_PROCESS, (id_t)gettid(), 3);
    cab_thread_slice(100000);
    *nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    return NULL;
}

/* A short slice takes nothing else from a thread. */
static void check_slice(void)
{
    pthread_t t;
    int nice = 0;
    CHECK_EQ(pthread_create(&t, NULL, take_slice, &nice), 0);
    pthread_join(t, NULL);
    CHECK_EQ(nice, 3);
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    check_arena();
    check_arena_drop();
    check_out_of_memory();
    check_vec();
    check_map();
    check_numbers();
    check_buf();
    check_status();
    check_diag();
    check_dtype_rows();
    check_halves();
    check_elements();
    check_file();
    check_rng();
    check_sha256();
    check_crc32c();
    check_log();
    cab_arena_destroy(arena);
    CHECK_EQ(job.used, 0);
    check_children();
    check_process();
    check_slice();
    TEST_END();
}
