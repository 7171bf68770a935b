/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_frontend_hostile.c - files made to hurt: cut, mutated, nested, inflated,
 * reaching outside; and the promise that payloads cost nothing.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "frontend/frontend.h"
#include "tests/test.h"
#include "tests/wire.h"

typedef struct outcome {
    cab_status status;
    size_t peak;               /* arena bytes */
} outcome;

/* Imports and forgets; fail_at as in cab_job. */
static outcome try_import(const void *p, size_t n, const char *path,
                          const cab_import_options *o, uint64_t fail_at,
                          cab_diag *diag)
{
    cab_job job = { .fail_at = fail_at };
    cab_arena *volatile arena = NULL;
    volatile cab_status s = CAB_ENOMEM;
    cab_graph *g;

    if (!CAB_JOB_ENTER(&job)) {
        arena = cab_arena_create(&job);
        if (arena)
            s = path ? cab_import_file(arena, path, o, &g, diag)
                     : cab_import_memory(arena, p, n, NULL, o, &g, diag);
    } else {
        s = CAB_ENOMEM;
    }
    cab_arena_destroy(arena);
    return (outcome){ s, job.peak };
}

static cab_status status_of(wire m, const cab_import_options *o)
{
    cab_status s = try_import(m.p, m.n, NULL, o, 0, NULL).status;

    w_free(&m);
    return s;
}

/* A model with most things in it. */
static wire rich_model(void)
{
    const int64_t dims[2] = { -1, 4 }, two[1] = { 2 }, axes[1] = { 1 };
    const float f[2] = { 1, 2 };
    wire g = { 0 }, body = { 0 }, n, t, fn = { 0 }, m;

    t = m_tensor("w", 1, 1, two);
    w_blob(&t, 9, f, 8);
    w_sub(&g, 5, t);
    t = m_tensor("i", 7, 1, two);
    w_blob(&t, 7, "\x01\x02", 2);
    w_sub(&g, 5, t);
    n = m_node("ReduceSum", "x", "s");
    w_sub(&n, 5, m_attr_ints("axes", axes, 1));
    w_sub(&g, 1, n);
    w_sub(&body, 1, m_node("Neg", "s", "r"));
    w_sub(&body, 12, m_value("r", -1, NULL));
    n = m_node("If", "c", "b");
    w_sub(&n, 5, m_attr_sub("then_branch", 5, 6, body));
    body = (wire){ 0 };
    w_sub(&body, 1, m_node("Abs", "s", "r"));
    w_sub(&body, 12, m_value("r", -1, NULL));
    w_sub(&n, 5, m_attr_sub("else_branch", 5, 6, body));
    w_sub(&g, 1, n);
    w_sub(&g, 1, m_node("Softmax", "b", "e"));
    n = m_node("Own", "e", "y");
    w_str(&n, 7, "own");
    w_sub(&g, 1, n);
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 11, m_value("c", 0, NULL));
    w_sub(&g, 12, m_value("y", -1, NULL));
    m = m_model(11, g);
    w_sub(&m, 8, m_opset("own", 1));
    w_str(&fn, 1, "Own");
    w_str(&fn, 4, "a");
    w_str(&fn, 5, "r");
    w_sub(&fn, 7, m_node("Relu", "a", "r"));
    w_sub(&fn, 9, m_opset("", 17));
    w_str(&fn, 10, "own");
    w_sub(&m, 25, fn);
    return m;
}

static void check_cut(void)
{
    wire m = rich_model();
    cab_status s;

    CHECK_EQ(try_import(m.p, m.n, NULL, NULL, 0, NULL).status, CAB_OK);
    for (size_t n = 0; n < m.n; n++) {
        /* An exact copy, so that reading past it is seen. */
        void *copy = malloc(n + !n);

        memcpy(copy, m.p, n);
        s = try_import(copy, n, NULL, NULL, 0, NULL).status;
        CHECK(s == CAB_EMODEL || s == CAB_EUNSUPPORTED);
        free(copy);
    }
    w_free(&m);
}

static void check_mutations(void)
{
    static const unsigned char put[] = { 0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12 };
    wire m = rich_model();
    size_t ok = 0, refused = 0;

    for (size_t i = 0; i < m.n; i++) {
        unsigned char old = m.p[i];

        for (size_t k = 0; k <= sizeof put; k++) {
            m.p[i] = k < sizeof put ? put[k] : (unsigned char)(old ^ 0x10);
            if (try_import(m.p, m.n, NULL, NULL, 0, NULL).status == CAB_OK)
                ok++;
            else
                refused++;
        }
        m.p[i] = old;
    }
    CHECK(ok > 0 && refused > ok);
    w_free(&m);
}

static void check_out_of_memory(void)
{
    wire m = rich_model();
    uint64_t k = 1;

    while (try_import(m.p, m.n, NULL, NULL, k, NULL).status == CAB_ENOMEM)
        k++;
    CHECK(k > 1);
    w_free(&m);
}

/* ---- limits ---- */
static wire nested(int levels)
{
    wire g = { 0 };

    for (int i = 0; i < levels; i++) {
        wire n = m_node("If", "c", "y"), outer = { 0 };

        w_sub(&n, 5, m_attr_sub("then_branch", 5, 6, g));
        w_sub(&outer, 1, n);
        g = outer;
    }
    return m_model(17, g);
}

static wire nested_type(int levels)
{
    wire t = { 0 }, g = { 0 }, v = { 0 };

    for (int i = 0; i < levels; i++) {
        wire of = { 0 }, outer = { 0 };

        w_sub(&of, 1, t);
        w_sub(&outer, 4, of);
        t = outer;
    }
    w_str(&v, 1, "x");
    w_sub(&v, 2, t);
    w_sub(&g, 11, v);
    return m_model(17, g);
}

static void check_depth(void)
{
    CHECK_EQ(status_of(nested(3000), NULL), CAB_ELIMIT);
    CHECK_EQ(status_of(nested(34), NULL), CAB_ELIMIT);
    CHECK_EQ(status_of(nested(30), NULL), CAB_EMODEL);
    CHECK_EQ(status_of(nested_type(2000), NULL), CAB_ELIMIT);
}

/* n empty messages in a field of the graph. */
static wire many(int field, int n)
{
    wire g = { 0 };

    for (int i = 0; i < n; i++)
        w_blob(&g, field, "", 0);
    return m_model(17, g);
}

static void check_amplification(void)
{
    cab_import_options o = { .max_nodes = 1000 };

    CHECK_EQ(status_of(many(1, 1001), &o), CAB_ELIMIT);
    CHECK_EQ(status_of(many(5, 1001), &o), CAB_ELIMIT);
    o = (cab_import_options){ .max_messages = 500 };
    CHECK_EQ(status_of(many(5, 501), &o), CAB_ELIMIT);
    o = (cab_import_options){ .max_bytes = 100000 };
    CHECK_EQ(status_of(many(5, 5000), &o), CAB_ELIMIT);
    CHECK_EQ(status_of(many(1, 1200000), NULL), CAB_ELIMIT);
}

/* f0 calls f1 twice, f1 calls f2 twice ... : 2^30 nodes. */
static void check_function_bomb(void)
{
    wire n = m_node("f0", "x", "y"), m;
    char name[16], next[16];

    w_str(&n, 7, "own");
    m = m_one_node(17, n);
    w_sub(&m, 8, m_opset("own", 1));
    for (int i = 0; i < 31; i++) {
        wire f = { 0 };

        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        w_str(&f, 1, name);
        w_str(&f, 4, "a");
        w_str(&f, 5, "r");
        n = m_node(i < 30 ? next : "Relu", "a", "t");
        w_str(&n, 7, i < 30 ? "own" : "");
        w_sub(&f, 7, n);
        n = m_node(i < 30 ? next : "Relu", "t", "r");
        w_str(&n, 7, i < 30 ? "own" : "");
        w_sub(&f, 7, n);
        w_sub(&f, 9, m_opset("", 17));
        w_str(&f, 10, "own");
        w_sub(&m, 25, f);
    }
    CHECK_EQ(status_of(m, &(cab_import_options){ .max_nodes = 20000 }),
             CAB_ELIMIT);
}

static void check_huge_extents(void)
{
    const int64_t big = INT64_MAX / 2, dims[3] = { big, big, 0 };
    const int64_t input[4] = { big, big, big, -1 };
    wire g = { 0 };
    cab_status s;

    w_sub(&g, 1, m_node("Add", "x,w", "y"));
    w_sub(&g, 5, m_tensor("w", 7, 3, dims));
    w_sub(&g, 11, m_value("x", 4, input));
    w_sub(&g, 12, m_value("y", -1, NULL));
    s = status_of(m_model(17, g), NULL);
    CHECK(s == CAB_OK || s == CAB_EMODEL || s == CAB_EUNSUPPORTED);
}

static void check_garbage(void)
{
    unsigned char noise[512];
    uint32_t x = 12345;

    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            x = x * 1664525u + 1013904223u;
            noise[i] = (unsigned char)(x >> 24);
        }
        CHECK(try_import(noise, 1 + x % sizeof noise, NULL, NULL, 0, NULL)
                  .status != CAB_OK);
    }
}

/* ---- external data ---- */
static char folder[64];

static char *path_in(const char *name)
{
    static char text[2][128];
    static int k;

    k ^= 1;
    snprintf(text[k], sizeof text[k], "%s/%s", folder, name);
    return text[k];
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(p, 1, n, f) == n);
    if (f)
        fclose(f);
}

/* Imports a model whose weights lie at that place. */
static cab_status external(const char *location, const char *offset,
                           const char *length)
{
    const int64_t dims[1] = { 2 };
    wire g = { 0 }, t = m_tensor("w", 1, 1, dims), m;
    cab_status s;

    w_num(&t, 14, 1);
    if (location)
        w_external(&t, "location", location);
    if (offset)
        w_external(&t, "offset", offset);
    if (length)
        w_external(&t, "length", length);
    w_sub(&g, 5, t);
    w_sub(&g, 12, m_value("w", -1, NULL));
    m = m_model(17, g);
    write_file(path_in("m/model.onnx"), m.p, m.n);
    w_free(&m);
    s = try_import(NULL, 0, path_in("m/model.onnx"), NULL, 0, NULL).status;
    return s;
}

static void check_external(void)
{
    const float f[4] = { 1, 2, 3, 4 };

    snprintf(folder, sizeof folder, "/tmp/cab-test-XXXXXX");
    CHECK(mkdtemp(folder));
    CHECK_EQ(mkdir(path_in("m"), 0700), 0);
    write_file(path_in("m/w.bin"), f, sizeof f);
    write_file(path_in("out.bin"), f, sizeof f);
    CHECK_EQ(symlink("../out.bin", path_in("m/link.bin")), 0);
    CHECK_EQ(external("w.bin", "4", "8"), CAB_OK);
    CHECK_EQ(external("w.bin", NULL, NULL), CAB_OK);
    CHECK_EQ(external("w.bin", "12", "8"), CAB_EMODEL);
    CHECK_EQ(external("w.bin", "18446744073709551615", "8"), CAB_EMODEL);
    CHECK_EQ(external("w.bin", "18446744073709551616", "8"), CAB_EMODEL);
    CHECK_EQ(external("w.bin", "-1", "8"), CAB_EMODEL);
    CHECK_EQ(external("w.bin", "0", "16"), CAB_EMODEL);
    CHECK_EQ(external(NULL, "0", "8"), CAB_EMODEL);
    CHECK(external("../out.bin", "0", "8") != CAB_OK);
    CHECK(external("link.bin", "0", "8") != CAB_OK);
    CHECK(external(path_in("out.bin"), "0", "8") != CAB_OK);
    CHECK(external("*/_ORT_MEM_ADDR_/*", "0", "8") != CAB_OK);
    CHECK(external(".", "0", "8") != CAB_OK);
    unlink(path_in("m/w.bin"));
    unlink(path_in("m/link.bin"));
    unlink(path_in("m/model.onnx"));
    unlink(path_in("out.bin"));
    rmdir(path_in("m"));
}

/* ---- payloads cost nothing ---- */
/* A sparse file of 1 GiB of weights imports in less than 1 MiB of memory. */
static void check_weights_untouched(void)
{
    const int64_t dims[2] = { 16384, 16384 };
    const size_t raw = (size_t)1 << 30;
    wire g = { 0 }, tail = { 0 }, t = m_tensor("w", 1, 2, dims), m = { 0 };
    char *path = path_in("big.onnx");
    outcome o;
    int fd;

    w_varint(&t, 9 << 3 | 2);
    w_varint(&t, raw);
    w_varint(&g, 5 << 3 | 2);
    w_varint(&g, t.n + raw);
    w_bytes(&g, t.p, t.n);
    w_sub(&tail, 12, m_value("w", -1, NULL));
    w_num(&m, 1, 8);
    w_sub(&m, 8, m_opset("", 17));
    w_varint(&m, 7 << 3 | 2);
    w_varint(&m, g.n + raw + tail.n);
    w_bytes(&m, g.p, g.n);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK(pwrite(fd, m.p, m.n, 0) == (ssize_t)m.n);
    CHECK(pwrite(fd, tail.p, tail.n, (off_t)(m.n + raw)) == (ssize_t)tail.n);
    close(fd);
    o = try_import(NULL, 0, path, NULL, 0, NULL);
    CHECK_EQ(o.status, CAB_OK);
    CHECK(o.peak < (size_t)1 << 20);
    unlink(path);
    rmdir(folder);
    w_free(&g);
    w_free(&t);
    w_free(&m);
    w_free(&tail);
}

int main(void)
{
    check_cut();
    check_mutations();
    check_out_of_memory();
    check_depth();
    check_amplification();
    check_function_bomb();
    check_huge_extents();
    check_garbage();
    check_external();
    check_weights_untouched();
    TEST_END();
}
