/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compile.c - frontend, passes, codegen and runtime in one sequence: the one
 * place where the floors of the house meet.
 *
 * One compile job: one landing pad, one graph arena.  Everything the job
 * allocated is dropped when it ends, whichever way.
 */
#include "libcab/libcab_int.h"
#include "codegen/codegen.h"
#include "passes/pass.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    cab_job mem;
    cab_arena *arena;
    const cab_compiler *o;
    cab_opened *f;
    bool static_shapes;
    bool by_extents;           /* the offered extents decided something */
    cab_diag *diag;
    cab_compile_times times;
    int fd;
    uint64_t size;
    size_t n_nodes;
    const char *emit, *emit_file;
    char *text;                /* malloc'ed */
    size_t n_text;
} job;

static double ms_since(int64_t *t)
{
    int64_t now = cab_now_ns();
    double ms = (double)(now - *t) / 1e6;
    *t = now;
    return ms;
}

/* ---- the model's bytes ---- */

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "";
}

static cab_status open_source(const cab_compiler *c, const cab_source *s, cab_opened *out,
                              cab_diag *d)
{
    *out = (cab_opened){ .label = s->path, .fd = -1 };
    out->name = c->model_name ? c->model_name : base_name(s->path);
    if (s->p) {
        out->map = (cab_mapping){ s->p, s->n };
        return CAB_OK;
    }
    return cab_file_open(s->path, &out->fd, d);
}

cab_status cab_opened_map(cab_opened *f, cab_diag *d)
{
    if (f->fd < 0 || f->mapped)
        return CAB_OK;
    CAB_TRY(cab_fd_map(f->fd, f->label, &f->map, d));
    f->mapped = true;
    return CAB_OK;
}

static void close_source(cab_opened *f)
{
    if (f->mapped)
        cab_file_unmap(&f->map);
    if (f->fd >= 0)
        close(f->fd);
}

cab_status cab_hash_bytes(const void *p, size_t n, const cab_cancel *cancel, uint8_t out[32],
                          cab_diag *d)
{
    const size_t step = (size_t)4 << 20;
    const uint8_t *at = p;
    cab_sha256 h;
    cab_sha256_init(&h);
    for (; n; n -= n < step ? n : step, at += step) {
        CAB_TRY(cab_cancel_check(cancel, d));
        cab_sha256_add(&h, at, n < step ? n : step);
    }
    cab_sha256_done(&h, out);
    return CAB_OK;
}

/* ---- jobs ---- */

/* Registered shapes go before those of the caller's own list. */
static void add_custom(job *j, cab_import_options *o)
{
    int n = (int)j->o->n_custom;
    cab_foreign_op *all = CAB_NEW_N(j->arena, cab_foreign_op, n + o->n_foreign);
    for (int i = 0; i < n; i++)
        all[i] = cab_foreign_of(&j->o->custom[i]);
    for (int i = 0; i < o->n_foreign; i++)
        all[n + i] = o->foreign[i];
    o->foreign = all;
    o->n_foreign += n;
}

static cab_status import(job *j, const cab_import_options *from, cab_graph **out)
{
    cab_import_options o = *from;
    o.static_shapes |= j->static_shapes;
    add_custom(j, &o);
    CAB_TRY(cab_cancel_check(&j->o->cancel, j->diag));
    return cab_import_memory(j->arena, j->f->map.p, j->f->map.n, j->f->label, &o, out, j->diag);
}

static cab_status lower(job *j, const cab_import_options *from, cab_graph **out_graph,
                        cab_program **out)
{
    int64_t t = cab_now_ns();
    CAB_TRY(import(j, from, out_graph));
    j->times.import_ms += ms_since(&t);
    cab_pass_options po = { .naive = j->o->naive, .exact = j->o->exact,
                            .cancel = j->o->cancel };
#ifdef CAB_VERIFY_PASSES
    po.verify = true;
#endif
    if (j->emit && !strcmp(j->emit, "graph"))
        po.stop_after = j->o->naive ? "decompose" : "group";
    cab_status s = cab_passes_run(*out_graph, &po, out, j->diag);
    j->times.passes_ms += ms_since(&t);
    j->by_extents |= cab_dims_relied((*out_graph)->dims);
    return s;
}

/* The program for all sizes, and one more for each size that is listed. */
static cab_status lower_sizes(job *j, cab_program **out, cab_codegen_special **special, int *n)
{
    cab_sizes z;
    cab_graph *g;
    CAB_TRY(cab_sizes_of(j->arena, &j->o->import, &z, j->diag));
    CAB_TRY(lower(j, &z.open, &g, out));
    CAB_TRY(cab_sizes_fit(j->arena, &z, *out, j->diag));
    *n = z.n;
    *special = CAB_NEW_N(j->arena, cab_codegen_special, z.n + 1);
    for (int i = 0; i < z.n; i++) {
        cab_program *p = NULL;
        CAB_TRY(lower(j, &z.size[i].import, &g, &p));
        (*special)[i] = (cab_codegen_special){ p, z.size[i].label };
    }
    return CAB_OK;
}

static cab_status compile(job *j)
{
    cab_program *p = NULL;
    cab_codegen_special *special;
    int n_special;
    uint8_t hash[32] = { 0 };
    CAB_TRY(lower_sizes(j, &p, &special, &n_special));
    if (j->f->hash)
        memcpy(hash, j->f->hash, sizeof hash);
    else if (j->o->hash_model)
        CAB_TRY(cab_hash_bytes(j->f->map.p, j->f->map.n, &j->o->cancel, hash, j->diag));
    int64_t t = cab_now_ns();
    cab_codegen_options co = { .naive = j->o->naive || j->o->naive_kernels,
                               .no_costs = j->o->no_costs, .target = j->o->target,
                               .tuning = j->o->tuning,
                               .threads = j->o->threads, .producer = "cabochon " CAB_VERSION,
                               .model_name = j->f->name, .model_hash = hash,
                               .seal = j->o->seal, .last_use = true, .cancel = j->o->cancel };
    if (j->o->embed_model) {
        co.embed = j->f->map.p;
        co.embed_bytes = j->f->map.n;
    }
    if (j->o->sign_seed) {
        co.sign = cab_sign_ed25519;
        co.sign_user = (void *)(uintptr_t)j->o->sign_seed;
    }
    CAB_TRY(cab_codegen_sized(j->arena, p, special, n_special, &co, &j->fd, &j->size, j->diag));
    j->times.codegen_ms = ms_since(&t);
    return CAB_OK;
}

static cab_status check(job *j)
{
    cab_graph *g;
    cab_sizes z;
    CAB_TRY(cab_sizes_of(j->arena, &j->o->import, &z, j->diag));
    CAB_TRY(import(j, &z.open, &g));
    j->n_nodes = cab_graph_count(g);
    return cab_passes_check(g, j->diag);
}

/* A file's name up to its first dot, as a C identifier. */
static const char *identifier(cab_arena *a, const char *file)
{
    char *name = cab_printf(a, "%s%s", file[0] >= '0' && file[0] <= '9' ? "m" : "", file);
    size_t n = strcspn(name, ".");
    name[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (!(name[i] >= '0' && name[i] <= '9') && !(name[i] >= 'a' && name[i] <= 'z') &&
            !(name[i] >= 'A' && name[i] <= 'Z'))
            name[i] = '_';
    return n ? name : "model";
}

static cab_status emit_so(job *j, const cab_program *p, cab_codegen_options *co)
{
    cab_buf object = cab_buf_on(j->arena), names = cab_buf_on(j->arena);
    cab_so_parts parts = { .prefix = co->prefix, .path = j->emit_file };
    if (!j->emit_file)
        return cab_fail(j->diag, CAB_EINVAL, NULL, "a shared library needs a file to go to: -o FILE.so");
    if (co->target && strchr(co->target, ','))
        return cab_fail(j->diag, CAB_EINVAL, NULL, "a shared library is for one target");
    co->seal = true;
    co->no_costs = true;
    CAB_TRY(cab_codegen_emit(j->arena, p, co, "obj", &object, j->diag));
    CAB_TRY(cab_codegen_emit(j->arena, p, co, "names", &names, j->diag));
    CAB_TRY(cab_codegen(j->arena, p, co, &j->fd, &j->size, j->diag));
    parts.object = object.p;
    parts.object_bytes = object.n;
    parts.names = cab_buf_cstr(&names);
    cab_status s = cab_fd_map(j->fd, "artifact", &parts.artifact, j->diag);
    if (s == CAB_OK) {
        s = cab_so_write(j->arena, &parts, j->diag);
        cab_file_unmap(&parts.artifact);
    }
    close(j->fd);
    return s;
}

static cab_status emit(job *j)
{
    cab_graph *g;
    cab_program *p = NULL;
    cab_buf b = cab_buf_on(j->arena);
    cab_codegen_options co = { .naive = j->o->naive, .target = j->o->target,
                               .tuning = j->o->tuning,
                               .producer = "cabochon " CAB_VERSION, .model_name = j->f->name,
                               .cancel = j->o->cancel };
    if (j->emit_file)
        co.prefix = identifier(j->arena, base_name(j->emit_file));
    if (cab_sizes_listed(&j->o->import))
        return cab_fail(j->diag, CAB_EINVAL, NULL, "several sizes of one extent are for an artifact: "
                        "--emit is for one size, or for all");
    CAB_TRY(lower(j, &j->o->import, &g, &p));
    if (!strcmp(j->emit, "graph"))
        cab_graph_print(&b, g);
    else if (!strcmp(j->emit, "program"))
        cab_program_print(&b, p);
    else if (!strcmp(j->emit, "so"))
        return emit_so(j, p, &co);
    else
        CAB_TRY(cab_codegen_emit(j->arena, p, &co, j->emit, &b, j->diag));
    j->text = malloc(b.n + 1);
    if (!j->text)
        return cab_fail(j->diag, CAB_ENOMEM, NULL, "no room for the text");
    if (b.n)
        memcpy(j->text, b.p, b.n);
    j->text[j->n_text = b.n] = 0;
    return CAB_OK;
}

static cab_status run_job(job *j, cab_status (*body)(job *))
{
    cab_status s;
    j->mem.budget = j->o->max_memory;
    j->fd = -1;
    CAB_TRY(cab_opened_map(j->f, j->diag));
    j->arena = cab_arena_create(&j->mem);
    if (!j->arena)
        return cab_fail(j->diag, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&j->mem) == 0)
        s = body(j);
    else
        s = cab_fail(j->diag, j->mem.budget ? CAB_ELIMIT : CAB_ENOMEM, NULL,
                     "compiling needs more than the memory allowed");
    cab_arena_destroy(j->arena);
    return s;
}

/* Some forms (unrolled recurrences) want numbers where the model has symbols:
 * then this compilation is for the extents offered. */
static cab_status run_fixed_if_needed(job *j, cab_status (*body)(job *))
{
    job again = *j;
    cab_status s = run_job(j, body);
    if (s != CAB_EUNSUPPORTED || !j->o->import.n_inputs || j->o->import.static_shapes ||
        cab_sizes_listed(&j->o->import))
        return s;
    cab_diag_clear(j->diag);
    again.static_shapes = true;
    *j = again;
    return run_job(j, body);
}

cab_status cab_compile_here(const cab_compiler *c, cab_opened *f, cab_compiled *out, cab_diag *d)
{
    job j = { .o = c, .f = f, .diag = d };
    CAB_TRY(run_fixed_if_needed(&j, compile));
    *out = (cab_compiled){ .fd = j.fd, .size = j.size, .times = j.times,
                           .fixed_shapes = j.static_shapes || j.by_extents || c->import.static_shapes };
    return CAB_OK;
}

/* ---- the calls ---- */

static cab_status make(const cab_compiler *c, cab_opened *f, cab_compiled *out, cab_diag *d)
{
    return c->isolate ? cab_compile_isolated(c, f, out, d) : cab_compile_here(c, f, out, d);
}

/* What is done with an artifact before its cache entry is trusted. */
typedef struct user {
    cab_status (*use)(void *arg, const cab_opened *f, const cab_compiled *r, cab_diag *d);
    void *arg;
} user;

/* Found and usable; else out->fd < 0. */
static cab_status find(cab_cache *k, cab_opened *f, cab_compiled *out, const user *u, cab_diag *d)
{
    CAB_TRY(cab_cache_find(k, f, out, d));
    if (out->fd >= 0 && u && u->use(u->arg, f, out, NULL) != CAB_OK) {
        cab_cache_reject(k);
        close(out->fd);
        out->fd = -1;
    }
    return CAB_OK;
}

static cab_status make_and_use(const cab_compiler *c, cab_cache *k, cab_opened *f,
                               cab_compiled *out, const user *u, cab_diag *d)
{
    CAB_TRY(make(c, f, out, d));
    if (k)
        cab_cache_keep(k, f, out);
    cab_status s = u ? u->use(u->arg, f, out, d) : CAB_OK;
    if (s != CAB_OK) {
        close(out->fd);
        out->fd = -1;
    }
    return s;
}

static cab_status run(const cab_compiler *c, cab_opened *f, cab_compiled *out, const user *u,
                      cab_diag *d)
{
    cab_cache *k = c->cache_dir ? cab_cache_open(c, d) : NULL;
    cab_status s = k ? find(k, f, out, u, d) : CAB_OK;
    if (s == CAB_OK && out->fd < 0)
        s = make_and_use(c, k, f, out, u, d);
    cab_cache_close(k);
    return s;
}

cab_status cab_compiler_run(const cab_compiler *c, const cab_source *s, cab_compiled *out,
                            cab_diag *d)
{
    cab_opened f;
    *out = (cab_compiled){ .fd = -1 };
    CAB_TRY(open_source(c, s, &f, d));
    cab_status status = run(c, &f, out, NULL, d);
    close_source(&f);
    return status;
}

typedef struct load_args { const cab_model_options *mo; cab_model **out; } load_args;

static cab_status load(void *arg, const cab_opened *f, const cab_compiled *r, cab_diag *d)
{
    load_args *l = arg;
    cab_error e = { 0 };
    int s = cab_model_load_fd(r->fd, f->label ? f->label : "model", l->mo, l->out, &e);
    return s == CAB_RT_OK ? CAB_OK : cab_fail(d, (cab_status)s, NULL, "%s", e.text);
}

cab_status cab_compiler_jit(const cab_compiler *c, const cab_source *s,
                            const cab_model_options *mo, cab_model **out,
                            cab_compile_times *times, cab_diag *d)
{
    load_args l = { mo, out };
    user u = { load, &l };
    cab_compiled r = { .fd = -1 };
    cab_opened f;
    *out = NULL;
    CAB_TRY(open_source(c, s, &f, d));
    cab_status status = run(c, &f, &r, &u, d);
    close_source(&f);
    CAB_TRY(status);
    close(r.fd);
    if (times)
        *times = r.times;
    return CAB_OK;
}

cab_status cab_compiler_check(const cab_compiler *c, const cab_source *s, size_t *out_nodes,
                              cab_diag *d)
{
    cab_opened f;
    *out_nodes = 0;
    CAB_TRY(open_source(c, s, &f, d));
    job j = { .o = c, .f = &f, .diag = d };
    cab_status status = run_job(&j, check);
    *out_nodes = j.n_nodes;
    close_source(&f);
    return status;
}

cab_status cab_compiler_emit(const cab_compiler *c, const cab_source *s, const char *form,
                             const char *file, char **out, size_t *out_n, cab_diag *d)
{
    cab_opened f;
    *out = NULL;
    CAB_TRY(open_source(c, s, &f, d));
    job j = { .o = c, .f = &f, .diag = d, .emit = form, .emit_file = file };
    cab_status status = run_fixed_if_needed(&j, emit);
    *out = j.text;
    *out_n = j.n_text;
    close_source(&f);
    return status;
}
