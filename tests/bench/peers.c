/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.c - MKL, oneDNN and OpenBLAS behind one pair of calls.
 *
 * No headers of theirs: the few functions and numbers used are declared here
 * (cblas.h, mkl_cblas.h, oneapi/dnnl/dnnl_types.h of 3.x).  Weights that never
 * change are handed over in the form a library likes best, before the clock
 * runs, where it has a way to say so.  What is allocated stays: a benchmark
 * ends soon.
 */
#include "tests/bench/peers.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *memory(size_t n)
{
    float *p = aligned_alloc(4096, (n * sizeof *p + 8191) / 4096 * 4096);
    if (!p)
        abort();
    memset(p, 0, n * sizeof *p);
    return p;
}

/* The first folder that has one of these files. */
static void *open_in(const char *folders, const char *const *files)
{
    char path[1024];
    for (const char *f = folders; f && *f; f += strcspn(f, ":"), f += *f == ':')
        for (int i = 0; files[i]; i++) {
            snprintf(path, sizeof path, "%.*s/%s", (int)strcspn(f, ":"), f, files[i]);
            void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (h) {
                fprintf(stderr, "%s\n", path);
                return h;
            }
        }
    return NULL;
}

/* A function of a library: into a pointer of its type. */
static bool find(void *lib, const char *name, void *to)
{
    void *p = lib ? dlsym(lib, name) : NULL;
    memcpy(to, &p, sizeof p);
    return p != NULL;
}

/* ---- cblas ---- */
enum { ROW_MAJOR = 101, NO_TRANS = 111, PACKED = 151, B_MATRIX = 162 };
typedef void sgemm_fn(int, int, int, int, int, int, float, const float *, int, const float *, int,
                      float, float *, int);
typedef size_t pack_size_fn(int, int, int, int);
typedef void pack_fn(int, int, int, int, int, int, float, const float *, int, float *);
typedef void compute_fn(int, int, int, int, int, int, const float *, int, const float *, int,
                        float, float *, int);

static sgemm_fn *mkl_sgemm, *openblas_sgemm;
static pack_size_fn *mkl_pack_size;
static pack_fn *mkl_pack;
static compute_fn *mkl_compute;

typedef struct blas { peer_gemm g; sgemm_fn *f; float *out, *packed; } blas;

static void run_blas(peer_call *c)
{
    blas *s = c->state;
    int m = (int)s->g.m, n = (int)s->g.n, k = (int)s->g.k;
    if (s->packed)
        mkl_compute(ROW_MAJOR, NO_TRANS, PACKED, m, n, k, s->g.a, k, s->packed, n, 0, s->out, n);
    else
        s->f(ROW_MAJOR, NO_TRANS, NO_TRANS, m, n, k, 1, s->g.a, k, s->g.b, n, 0, s->out, n);
}

static const float *blas_result(peer_call *c) { return ((blas *)c->state)->out; }

static peer_call blas_call(const char *name, const peer_gemm *g, sgemm_fn *f, bool packed)
{
    blas *s = malloc(sizeof *s);
    if (!s)
        abort();
    *s = (blas){ *g, f, memory((size_t)(g->m * g->n)), NULL };
    if (packed) {
        int m = (int)g->m, n = (int)g->n, k = (int)g->k;
        s->packed = memory(mkl_pack_size(B_MATRIX, m, n, k) / sizeof(float) + 1);
        mkl_pack(ROW_MAJOR, B_MATRIX, NO_TRANS, m, n, k, 1, g->b, n, s->packed);
    }
    return (peer_call){ .peer = name, .run = run_blas, .result = blas_result, .state = s };
}

static void open_blas(const char *folders)
{
    static const char *const mkl_files[] = { "libmkl_rt.so.3", "libmkl_rt.so.2", NULL };
    static const char *const open_files[] = { "libscipy_openblas.so", "libopenblas.so.0", NULL };
    char *(*core)(void);
    void *lib;
    setenv("MKL_THREADING_LAYER", "SEQUENTIAL", 1);
    setenv("MKL_INTERFACE_LAYER", "LP64", 1);
    unsetenv("OPENBLAS_CORETYPE");
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    lib = open_in(folders, mkl_files);
    find(lib, "cblas_sgemm", &mkl_sgemm);
    find(lib, "cblas_sgemm_pack_get_size", &mkl_pack_size);
    find(lib, "cblas_sgemm_pack", &mkl_pack);
    find(lib, "cblas_sgemm_compute", &mkl_compute);
    lib = open_in(folders, open_files);
    if (!find(lib, "scipy_cblas_sgemm", &openblas_sgemm))
        find(lib, "cblas_sgemm", &openblas_sgemm);
    if (find(lib, "scipy_openblas_get_corename", &core) || find(lib, "openblas_get_corename", &core))
        fprintf(stderr, "OpenBLAS takes this processor for: %s\n", core());
}

/* ---- oneDNN ---- */
enum { DNN_CPU = 1, DNN_IN_ORDER = 1, DNN_F32 = 3, DNN_ANY = 1, DNN_INFERENCE = 96, DNN_AUTO = 3,
       DNN_RELU = 0x20, DNN_IMPL = 8, DNN_SRC_MD = 129, DNN_WEIGHTS_MD = 131, DNN_DST_MD = 133,
       DNN_SRC = 1, DNN_DST = 17, DNN_WEIGHTS = 33, DNN_BIAS = 41, DNN_DIMS = 12 };
typedef struct dnn_arg { int arg; void *memory; } dnn_arg;
typedef int64_t dnn_dims[DNN_DIMS];

#define DNN_CALLS(F) \
    F(engine_create, (void **, int, size_t)) \
    F(stream_create, (void **, void *, unsigned)) \
    F(stream_wait, (void *)) \
    F(memory_desc_create_with_strides, (void **, int, const int64_t *, int, const int64_t *)) \
    F(memory_desc_create_with_tag, (void **, int, const int64_t *, int, int)) \
    F(memory_create, (void **, const void *, void *, void *)) \
    F(memory_get_data_handle, (const void *, void **)) \
    F(reorder_primitive_desc_create, (void **, const void *, void *, const void *, void *, const void *)) \
    F(matmul_primitive_desc_create, (void **, void *, const void *, const void *, const void *, \
                                     const void *, const void *)) \
    F(convolution_forward_primitive_desc_create, (void **, void *, int, int, const void *, const void *, \
        const void *, const void *, const int64_t *, const int64_t *, const int64_t *, \
        const int64_t *, const void *)) \
    F(primitive_desc_query, (const void *, int, int, void *)) \
    F(primitive_create, (void **, const void *)) \
    F(primitive_execute, (const void *, void *, int, const dnn_arg *)) \
    F(primitive_attr_create, (void **)) \
    F(primitive_attr_set_post_ops, (void *, const void *)) \
    F(post_ops_create, (void **)) \
    F(post_ops_append_eltwise, (void *, int, float, float)) \
    F(sgemm, (char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, \
              int64_t, float, float *, int64_t))

static struct {
    bool usable;
    void *engine, *stream;
    const void *(*md)(const void *pd, int what, int index);
#define DNN_FIELD(name, args) int (*name) args;
    DNN_CALLS(DNN_FIELD)
} dnn;

static void open_dnn(const char *folders)
{
    static const char *const files[] = { "libdnnl.so.3", NULL };
    setenv("OMP_NUM_THREADS", "1", 1);
    void *lib = open_in(folders, files);
    bool all = find(lib, "dnnl_primitive_desc_query_md", &dnn.md);
#define DNN_FIND(name, args) all = find(lib, "dnnl_" #name, &dnn.name) && all;
    DNN_CALLS(DNN_FIND)
    dnn.usable = all && !dnn.engine_create(&dnn.engine, DNN_CPU, 0) &&
                 !dnn.stream_create(&dnn.stream, dnn.engine, DNN_IN_ORDER);
    if (lib && !dnn.usable)
        fprintf(stderr, "oneDNN there has no engine for this processor\n");
}

static void must(int status)
{
    if (status) {
        fprintf(stderr, "oneDNN: status %d\n", status);
        abort();
    }
}

static void *plain(int n, const int64_t *dims)
{
    dnn_dims strides;
    void *md;
    int64_t s = 1;
    for (int i = n - 1; i >= 0; i--) {
        strides[i] = s;
        s *= dims[i];
    }
    must(dnn.memory_desc_create_with_strides(&md, n, dims, DNN_F32, strides));
    return md;
}

static void *any(int n, const int64_t *dims)
{
    void *md;
    must(dnn.memory_desc_create_with_tag(&md, n, dims, DNN_F32, DNN_ANY));
    return md;
}

/* p NULL: memory of its own. */
static void *tensor(const void *md, const float *p)
{
    void *m;
    must(dnn.memory_create(&m, md, dnn.engine, p ? (void *)(uintptr_t)p : (void *)(size_t)-1));
    return m;
}

static void execute(const void *prim, int n, const dnn_arg *args)
{
    must(dnn.primitive_execute(prim, dnn.stream, n, args));
    must(dnn.stream_wait(dnn.stream));
}

static void reorder(const void *from_md, void *from, const void *to_md, void *to)
{
    void *pd, *prim;
    must(dnn.reorder_primitive_desc_create(&pd, from_md, dnn.engine, to_md, dnn.engine, NULL));
    must(dnn.primitive_create(&prim, pd));
    execute(prim, 2, (dnn_arg[]){ { DNN_SRC, from }, { DNN_DST, to } });
}

/* The same values in the form the primitive wants. */
static void *arranged(const void *md, const float *p, const void *wanted)
{
    void *to = tensor(wanted, NULL);
    reorder(md, tensor(md, p), wanted, to);
    return to;
}

typedef struct dnn_call {
    void *prim;
    int n_args;
    dnn_arg args[4];
    const void *out_md, *plain_md;
    void *out;
    float *result;
} dnn_call;

static void run_dnn(peer_call *c)
{
    const dnn_call *s = c->state;
    execute(s->prim, s->n_args, s->args);
}

static const float *dnn_result(peer_call *c)
{
    dnn_call *s = c->state;
    reorder(s->out_md, s->out, s->plain_md, tensor(s->plain_md, s->result));
    return s->result;
}

static peer_call dnn_done(void *pd, dnn_call s, const void *plain_md, size_t n_out)
{
    peer_call c = { .peer = "onednn", .run = run_dnn, .result = dnn_result };
    const char *how = NULL;
    must(dnn.primitive_create(&s.prim, pd));
    s.out_md = dnn.md(pd, DNN_DST_MD, 0);
    s.plain_md = plain_md;
    s.out = tensor(s.out_md, NULL);
    s.result = memory(n_out);
    s.args[s.n_args++] = (dnn_arg){ DNN_DST, s.out };
    dnn.primitive_desc_query(pd, DNN_IMPL, 0, &how);
    snprintf(c.how, sizeof c.how, "%s", how ? how : "");
    dnn_call *kept = c.state = malloc(sizeof s);
    if (!kept)
        abort();
    *kept = s;
    return c;
}

/* Weights arranged beforehand; a and the result are rows. */
static peer_call dnn_matmul(const peer_gemm *g)
{
    void *pd, *a = plain(2, (int64_t[]){ g->m, g->k }), *y = plain(2, (int64_t[]){ g->m, g->n });
    int64_t b_dims[] = { g->k, g->n };
    must(dnn.matmul_primitive_desc_create(&pd, dnn.engine, a, any(2, b_dims), NULL, y, NULL));
    dnn_call s = { .n_args = 2 };
    s.args[0] = (dnn_arg){ DNN_SRC, tensor(a, g->a) };
    s.args[1] = (dnn_arg){ DNN_WEIGHTS, arranged(plain(2, b_dims), g->b, dnn.md(pd, DNN_WEIGHTS_MD, 0)) };
    return dnn_done(pd, s, y, (size_t)(g->m * g->n));
}

static void run_dnn_sgemm(peer_call *c)
{
    blas *s = c->state;
    must(dnn.sgemm('N', 'N', s->g.m, s->g.n, s->g.k, 1, s->g.a, s->g.k, s->g.b, s->g.n, 0, s->out,
                   s->g.n));
}

static void *relu(void)
{
    void *attr, *ops;
    must(dnn.primitive_attr_create(&attr));
    must(dnn.post_ops_create(&ops));
    must(dnn.post_ops_append_eltwise(ops, DNN_RELU, 0, 0));
    must(dnn.primitive_attr_set_post_ops(attr, ops));
    return attr;
}

/* Every layout is the library's own choice. */
static peer_call dnn_conv(const peer_conv *v)
{
    int64_t k = v->kernel, pad = k / 2, oh = (v->h + 2 * pad - k) / v->stride + 1;
    int64_t x[] = { 1, v->c, v->h, v->h }, y[] = { 1, v->o, oh, oh }, b[] = { v->o };
    int64_t w[] = { v->group, v->o / v->group, v->c / v->group, k, k }, no[] = { 0, 0 };
    int64_t strides[] = { v->stride, v->stride }, pads[] = { pad, pad };
    int n = v->group > 1 ? 5 : 4;
    const int64_t *wd = v->group > 1 ? w : w + 1;
    void *pd;
    must(dnn.convolution_forward_primitive_desc_create(&pd, dnn.engine, DNN_INFERENCE, DNN_AUTO, any(4, x),
                                                       any(n, wd), plain(1, b), any(4, y), strides,
                                                       no, pads, pads, relu()));
    dnn_call s = { .n_args = 3 };
    s.args[0] = (dnn_arg){ DNN_SRC, arranged(plain(4, x), v->x, dnn.md(pd, DNN_SRC_MD, 0)) };
    s.args[1] = (dnn_arg){ DNN_WEIGHTS, arranged(plain(n, wd), v->w, dnn.md(pd, DNN_WEIGHTS_MD, 0)) };
    s.args[2] = (dnn_arg){ DNN_BIAS, tensor(plain(1, b), v->bias) };
    return dnn_done(pd, s, plain(4, y), (size_t)(v->o * oh * oh));
}

/* ---- all of them ---- */

void peers_open(const char *folders)
{
    open_blas(folders);
    open_dnn(folders);
}

int peers_gemm(const peer_gemm *g, peer_call *out)
{
    int n = 0;
    if (mkl_sgemm)
        out[n++] = blas_call("mkl", g, mkl_sgemm, false);
    if (mkl_pack_size && mkl_pack && mkl_compute)
        out[n++] = blas_call("mkl_packed", g, NULL, true);
    if (dnn.usable) {
        out[n++] = dnn_matmul(g);
        out[n] = blas_call("onednn_sgemm", g, NULL, false);
        out[n++].run = run_dnn_sgemm;
    }
    if (openblas_sgemm)
        out[n++] = blas_call("openblas", g, openblas_sgemm, false);
    return n;
}

int peers_conv(const peer_conv *v, peer_call *out)
{
    if (!dnn.usable)
        return 0;
    out[0] = dnn_conv(v);
    return 1;
}
