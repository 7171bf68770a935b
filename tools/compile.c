/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compile.c - frontend, passes, codegen and runtime in one sequence.
 *
 * One compile job: one landing pad, one graph arena.  Everything the job
 * allocated is dropped when it ends, whichever way.
 */
#include "tools/tool.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    cab_job mem;
    cab_arena *arena;
    const char *path;
    const tool_compile_options *o;
    cab_diag *diag;
    tool_times times;
    int fd;
    uint64_t size;
    size_t n_nodes;
    const char *emit, *out;    /* text form, and where it goes */
} job;

static double ms_since(int64_t *t)
{
    int64_t now = cab_now_ns();
    double ms = (double)(now - *t) / 1e6;
    *t = now;
    return ms;
}

static cab_status lower(job *j, cab_graph **out_graph, cab_program **out)
{
    int64_t t = cab_now_ns();
    CAB_TRY(cab_import_file(j->arena, j->path, &j->o->import, out_graph, j->diag));
    j->times.import_ms = ms_since(&t);
    cab_pass_options po = { .naive = j->o->naive, .exact = j->o->exact };
#ifdef CAB_VERIFY_PASSES
    po.verify = true;
#endif
    if (j->emit && !strcmp(j->emit, "graph"))
        po.stop_after = j->o->naive ? "decompose" : "group";
    cab_status s = cab_passes_run(*out_graph, &po, out, j->diag);
    j->times.passes_ms = ms_since(&t);
    return s;
}

static cab_status hash_file(const char *path, uint8_t out[32], cab_diag *d)
{
    cab_mapping m;
    cab_sha256 h;
    CAB_TRY(cab_file_map(path, &m, d));
    cab_sha256_init(&h);
    cab_sha256_add(&h, m.p, m.n);
    cab_sha256_done(&h, out);
    cab_file_unmap(&m);
    return CAB_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
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

static cab_status compile(job *j)
{
    cab_graph *g;
    cab_program *p = NULL;
    uint8_t hash[32] = { 0 };
    CAB_TRY(lower(j, &g, &p));
    if (j->o->hash_model)
        CAB_TRY(hash_file(j->path, hash, j->diag));
    int64_t t = cab_now_ns();
    cab_codegen_options co = { .naive = j->o->naive, .target = j->o->target,
                               .threads = j->o->threads, .producer = "cabochon " CAB_VERSION,
                               .model_name = base_name(j->path), .model_hash = hash };
    CAB_TRY(cab_codegen(j->arena, p, &co, &j->fd, &j->size, j->diag));
    j->times.codegen_ms = ms_since(&t);
    return CAB_OK;
}

static cab_status check(job *j)
{
    cab_graph *g;
    CAB_TRY(cab_import_file(j->arena, j->path, &j->o->import, &g, j->diag));
    j->n_nodes = cab_graph_count(g);
    return cab_passes_check(g, j->diag);
}

static cab_status emit(job *j)
{
    cab_graph *g;
    cab_program *p = NULL;
    cab_buf b = cab_buf_on(j->arena);
    cab_codegen_options co = { .naive = j->o->naive, .target = j->o->target,
                               .producer = "cabochon " CAB_VERSION,
                               .model_name = base_name(j->path),
                               .prefix = j->out ? identifier(j->arena, base_name(j->out)) : NULL };
    CAB_TRY(lower(j, &g, &p));
    if (!strcmp(j->emit, "graph"))
        cab_graph_print(&b, g);
    else if (!strcmp(j->emit, "program"))
        cab_program_print(&b, p);
    else
        CAB_TRY(cab_codegen_emit(j->arena, p, &co, j->emit, &b, j->diag));
    if (j->out)
        return cab_file_write(j->out, b.p, b.n, j->diag);
    fwrite(b.p, 1, b.n, stdout);
    return CAB_OK;
}

static cab_status run_job(job *j, cab_status (*body)(job *))
{
    cab_status s;
    j->mem.budget = j->o->max_memory;
    j->fd = -1;
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
    tool_compile_options fixed = *j->o;
    job again = *j;
    cab_status s = run_job(j, body);
    if (s == CAB_EUNSUPPORTED && fixed.import.n_inputs && !fixed.import.static_shapes) {
        cab_diag_clear(j->diag);
        fixed.import.static_shapes = true;
        again.o = &fixed;
        s = run_job(&again, body);
        again.o = j->o;
        *j = again;
    }
    return s;
}

cab_status tool_compile(const char *path, const tool_compile_options *o, int *out_fd,
                        uint64_t *out_size, tool_times *t, cab_diag *d)
{
    job j = { .path = path, .o = o, .diag = d };
    CAB_TRY(run_fixed_if_needed(&j, compile));
    *out_fd = j.fd;
    *out_size = j.size;
    if (t)
        *t = j.times;
    return CAB_OK;
}

cab_status tool_jit(const char *path, const tool_compile_options *o, cab_model **out,
                    tool_times *t, cab_diag *d)
{
    int fd;
    uint64_t size;
    cab_error e = { 0 };
    CAB_TRY(tool_compile(path, o, &fd, &size, t, d));
    cab_model_options mo = { .size = sizeof mo, .custom = o->custom, .n_custom = o->n_custom };
    cab_status s = (cab_status)cab_model_load_fd(fd, path, &mo, out, &e);
    close(fd);
    return s == CAB_OK ? s : cab_fail(d, s, NULL, "%s", e.text);
}

cab_status tool_check(const char *path, const tool_compile_options *o, size_t *out_nodes,
                      cab_diag *d)
{
    job j = { .path = path, .o = o, .diag = d };
    cab_status s = run_job(&j, check);
    *out_nodes = j.n_nodes;
    return s;
}

cab_status tool_emit(const char *path, const tool_compile_options *o, const char *form,
                     const char *out, cab_diag *d)
{
    job j = { .path = path, .o = o, .diag = d, .emit = form, .out = out };
    return run_fixed_if_needed(&j, emit);
}
