/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.c - include/cab.h over libcab.h: options come in, stories go out.
 */
#include "libcab/libcab_int.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cab_report { char *text; };

void cab_report_destroy(cab_report *r)
{
    if (r)
        free(r->text);
    free(r);
}

const char *cab_report_text(const cab_report *r) { return r && r->text ? r->text : ""; }

/* ---- one call ---- */

typedef struct call {
    cab_job mem;
    cab_arena *arena;
    cab_compile_options o;     /* as this library knows them */
    cab_compiler c;
    cab_diag diag;
    const cab_model_options *model_options;
    cab_compiled made;
    cab_model **model;
    size_t n_nodes;
} call;

static cab_report *report_of(const cab_diag *d)
{
    cab_report *r = calloc(1, sizeof *r);
    size_t n;
    FILE *f = r ? open_memstream(&r->text, &n) : NULL;
    if (!f) {
        free(r);
        return NULL;
    }
    for (size_t i = 0; i < d->n; i++) {
        char *text = cab_diag_format(&d->entries[i]);
        fputs(text ? text : "", f);
        free(text);
    }
    if (fclose(f)) {
        cab_report_destroy(r);
        return NULL;
    }
    return r;
}

/* What the elements of a sequence or an optional have in common. */
static void offered_list(const cab_tensor_view *v, cab_import_input *to)
{
    const cab_tensor_view *e = v->data;
    *to = (cab_import_input){ .name = to->name, .list = true, .rank = CAB_RANK_UNKNOWN,
                              .dtype = CAB_DT_none };
    for (int64_t i = 0; v->rank == CAB_RANK_SEQUENCE && e && i < v->dims[0]; i++) {
        if (i && e[i].rank != to->rank)
            to->rank = CAB_RANK_UNKNOWN;
        else if (!i && e->rank >= 0 && e->rank <= CAB_MAX_RANK)
            to->rank = e->rank;
        to->dtype = cab_dtype_from_onnx(e[i].dtype);
    }
}

static cab_status offered(call *k, const cab_offered_input *from, cab_import_input *to)
{
    const cab_tensor_view *v = &from->view;
    uint64_t n = 1, bytes;
    *to = (cab_import_input){ .name = from->name, .rank = v->rank, .data = v->data };
    if (v->rank == CAB_RANK_SEQUENCE || v->rank == CAB_RANK_NONE) {
        offered_list(v, to);
        return CAB_OK;
    }
    to->dtype = cab_dtype_from_onnx(v->dtype);
    const char *name = from->name ? from->name : "";
    if (to->dtype == CAB_DT_none || v->rank < 0 || v->rank > 8)
        return cab_fail(&k->diag, CAB_EINVAL, NULL,
                        "the input '%s' that is offered has no type or an impossible rank", name);
    for (int i = 0; i < v->rank; i++)
        if (v->dims[i] < 0 || __builtin_mul_overflow(n, (uint64_t)v->dims[i], &n))
            return cab_fail(&k->diag, CAB_EINVAL, NULL,
                            "the input '%s' that is offered has impossible extents", name);
    if (!cab_dtype_bytes(to->dtype, n, &bytes) || (v->data && v->bytes < bytes))
        return cab_fail(&k->diag, CAB_EINVAL, NULL,
                        "the input '%s' that is offered has fewer bytes than its extents say",
                        name);
    to->dims = v->dims;
    to->bytes = v->data ? bytes : 0;
    return CAB_OK;
}

static cab_status take_dims(call *k)
{
    const cab_compile_options *o = &k->o;
    cab_import_bind *binds = CAB_NEW_N(k->arena, cab_import_bind, o->n_dims + 1);
    cab_import_range *ranges = CAB_NEW_N(k->arena, cab_import_range, o->n_dims + 1);
    for (size_t i = 0; i < o->n_dims; i++) {
        const cab_dim_range *r = &o->dims[i];
        if (!r->name || r->lo < 0 || r->lo > r->hi || r->hi > INT32_MAX)
            return cab_fail(&k->diag, CAB_EINVAL, NULL, "the range of '%s' is empty or out of "
                                                        "bounds", r->name ? r->name : "");
        if (r->lo == r->hi)
            binds[k->c.import.n_binds++] = (cab_import_bind){ r->name, r->lo };
        else
            ranges[k->c.import.n_ranges++] = (cab_import_range){ r->name, r->lo, r->hi };
    }
    k->c.import.binds = binds;
    k->c.import.ranges = ranges;
    return CAB_OK;
}

static cab_status take_options(call *k)
{
    const cab_compile_options *o = &k->o;
    k->c = (cab_compiler){
        .seal = true, .naive = o->naive, .exact = o->exact, .hash_model = true, .target = o->target,
        .tuning = o->tuning,
        .model_name = o->model_name, .threads = o->threads, .max_memory = o->max_memory,
        .cancel = { o->cancelled, o->cancel_user }, .cache_dir = o->cache_dir,
        .cache_bytes = o->cache_bytes, .isolate = o->isolate, .worker = o->worker,
        .embed_model = o->embed_model, .sign_seed = o->sign_seed, .custom = o->custom,
        .n_custom = o->n_custom,
    };
    CAB_TRY(take_dims(k));
    cab_import_input *in = CAB_NEW_N(k->arena, cab_import_input, o->n_inputs + 1);
    for (size_t i = 0; i < o->n_inputs; i++)
        CAB_TRY(offered(k, &o->inputs[i], &in[i]));
    cab_import_functions *f = CAB_NEW_N(k->arena, cab_import_functions, o->n_functions + 1);
    for (size_t i = 0; i < o->n_functions; i++)
        f[i] = (cab_import_functions){ o->functions[i].p, o->functions[i].n,
                                       o->functions[i].label ? o->functions[i].label : "functions" };
    k->c.import.functions = f;
    k->c.import.n_functions = (int)o->n_functions;
    k->c.import.inputs = in;
    k->c.import.n_inputs = (int)o->n_inputs;
    return CAB_OK;
}

typedef cab_status (*body)(call *k, const cab_source *s);

static cab_status guarded(call *k, const cab_source *s, body run)
{
    k->arena = cab_arena_create(&k->mem);
    if (!k->arena)
        return cab_fail(&k->diag, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&k->mem))
        return cab_fail(&k->diag, CAB_ENOMEM, NULL, "out of memory");
    CAB_TRY(take_options(k));
    return run(k, s);
}

/* Older programs know a shorter struct: what they do not say is zero. */
static int finish(call *k, const cab_source *s, const cab_compile_options *o, body run,
                  cab_report **report)
{
    cab_status status;
    if (report)
        *report = NULL;
    cab_diag_init(&k->diag);
    if (o && o->size < sizeof o->size) {
        status = cab_fail(&k->diag, CAB_EINVAL, NULL, "the options do not tell their size: begin "
                                                      "them with CAB_INIT");
    } else {
        if (o)
            memcpy(&k->o, o, o->size < sizeof *o ? o->size : sizeof *o);
        status = guarded(k, s, run);
    }
    if (report)
        *report = report_of(&k->diag);
    cab_diag_fini(&k->diag);
    cab_arena_destroy(k->arena);
    return (int)status;
}

/* External data beside bytes: the label is a path in the folder. */
static cab_status bytes_source(call *k, const cab_source *from, cab_source *to)
{
    *to = *from;
    if (!from->p)
        return cab_fail(&k->diag, CAB_EINVAL, NULL, "no bytes");
    if (from->path)
        to->path = cab_printf(k->arena, "%s/model.onnx", from->path);
    if (!k->c.model_name)
        k->c.model_name = "";
    return CAB_OK;
}

static cab_status compile(call *k, const cab_source *s)
{
    return cab_compiler_run(&k->c, s, &k->made, &k->diag);
}

static cab_status compile_bytes(call *k, const cab_source *s)
{
    cab_source at;
    CAB_TRY(bytes_source(k, s, &at));
    return compile(k, &at);
}

static cab_status specialisable(call *k)
{
    const cab_compile_options *o = &k->o;
    const cab_model_options *mo = k->model_options;
    bool kernels = mo && mo->size > offsetof(cab_model_options, n_custom) && mo->n_custom;
    if (o->specialise_after < 0 || o->specialise_most < 0 || o->specialise_most > 32)
        return cab_fail(&k->diag, CAB_EINVAL, NULL, "specialise_after is at least 1, "
                                                    "specialise_most is from 1 to 32");
    if (o->n_custom || kernels)
        return cab_fail(&k->diag, CAB_EINVAL, NULL, "custom operators do not go with specialise: "
                        "their functions would be called from a thread in the background");
    return CAB_OK;
}

static cab_status jit(call *k, const cab_source *s)
{
    if (k->o.specialise)
        CAB_TRY(specialisable(k));
    CAB_TRY(cab_compiler_jit(&k->c, s, k->model_options, k->model, NULL, &k->diag));
    if (!k->o.specialise)
        return CAB_OK;
    cab_status status = cab_specialise(*k->model, &k->c, s, k->model_options, k->o.specialise_after,
                                       k->o.specialise_most, &k->diag);
    if (status != CAB_OK) {
        cab_model_destroy(*k->model);
        *k->model = NULL;
    }
    return status;
}

static cab_status jit_bytes(call *k, const cab_source *s)
{
    cab_source at;
    CAB_TRY(bytes_source(k, s, &at));
    return jit(k, &at);
}

static cab_status check(call *k, const cab_source *s)
{
    return cab_compiler_check(&k->c, s, &k->n_nodes, &k->diag);
}

/* ---- include/cab.h ---- */

static int to_artifact(const cab_source *s, const cab_compile_options *o, body run, int *out_fd,
                       cab_report **report)
{
    call k = { .made.fd = -1 };
    *out_fd = -1;
    int rc = finish(&k, s, o, run, report);
    if (rc == CAB_RT_OK)
        *out_fd = k.made.fd;
    return rc;
}

int cab_compile_file(const char *path, const cab_compile_options *o, int *out_fd,
                     cab_report **report)
{
    return to_artifact(&(cab_source){ .path = path }, o, compile, out_fd, report);
}

int cab_compile_memory(const void *p, size_t n, const char *folder,
                       const cab_compile_options *o, int *out_fd, cab_report **report)
{
    return to_artifact(&(cab_source){ folder, p, n }, o, compile_bytes, out_fd, report);
}

int cab_jit_file(const char *path, const cab_compile_options *o, const cab_model_options *mo,
                 cab_model **out, cab_report **report)
{
    call k = { .model_options = mo, .model = out };
    *out = NULL;
    return finish(&k, &(cab_source){ .path = path }, o, jit, report);
}

int cab_jit_memory(const void *p, size_t n, const char *folder, const cab_compile_options *o,
                   const cab_model_options *mo, cab_model **out, cab_report **report)
{
    call k = { .model_options = mo, .model = out };
    *out = NULL;
    return finish(&k, &(cab_source){ folder, p, n }, o, jit_bytes, report);
}

int cab_check_file(const char *path, const cab_compile_options *o, cab_report **report)
{
    call k = { 0 };
    return finish(&k, &(cab_source){ .path = path }, o, check, report);
}

int cab_artifact_write(int fd, const char *path, cab_error *e)
{
    cab_mapping m;
    cab_diag d;
    cab_diag_init(&d);
    cab_status s = cab_fd_map(fd, "artifact", &m, &d);
    if (s == CAB_OK) {
        s = cab_file_write(path, m.p, m.n, &d);
        cab_file_unmap(&m);
    }
    const cab_diag_entry *first = cab_diag_first(&d);
    if (s != CAB_OK && e) {
        e->code = (int)s;
        snprintf(e->text, sizeof e->text, "%s%s%s", first ? first->where : "",
                 first && *first->where ? ": " : "", first ? first->text : cab_status_text(s));
    }
    cab_diag_fini(&d);
    return (int)s;
}
