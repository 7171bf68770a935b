/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codegen.c - the driver: program of Specs -> kernels -> artifact.
 *
 * Equal Specs (same constness of operands) are one kernel.  Kernels are
 * generated on this thread and compiled by LLVM in batches, on several
 * threads when the options allow; the order of batches, not of threads,
 * decides the image, so the bytes are the same for any number of threads.
 */
#include "codegen/codegen_int.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { KERNELS_PER_MODULE = 4 };

typedef struct driver {
    cab_arena *arena;
    const cab_program *p;
    const cab_codegen_options *o;
    cab_diag *diag;
    cab_target target;
    CAB_VEC(cab_unit) units;
    int *unit_of_step;
    cab_map *by_hash;          /* spec hash -> first unit + 1 */
    int per_module;            /* kernels of an object */
    cab_tuning *tuning;        /* NULL: none */
    bool alone;                /* every launch by itself */
    cab_bands bands;
} driver;

/* ---- kernels ---- */

static bool *constness(driver *c, const cab_step *s)
{
    bool *k = CAB_NEW_N(c->arena, bool, s->n_args + 1);
    for (int i = 0; i < s->n_args; i++) {
        const cab_buffer *b = &c->p->buffers.p[s->args[i]];
        k[i] = b->kind == CAB_BUFFER_CONST;
    }
    return k;
}

static int find_unit(const driver *c, const cab_spec *s, const bool *constant, uint64_t hash)
{
    uintptr_t first = (uintptr_t)cab_map_getu(c->by_hash, hash);
    for (size_t i = first ? first - 1 : c->units.n; i < c->units.n; i++) {
        const cab_unit *u = &c->units.p[i];
        if (u->spec == s ||
            (u->spec->n_operands == s->n_operands && cab_spec_equal(u->spec, s) &&
             !memcmp(u->constant, constant, (size_t)s->n_operands)))
            return (int)i;
    }
    return -1;
}

static cab_status collect(driver *c)
{
    c->unit_of_step = CAB_NEW_N(c->arena, int, c->p->steps.n + 1);
    for (size_t i = 0; i < c->p->steps.n; i++) {
        const cab_step *s = &c->p->steps.p[i];
        c->unit_of_step[i] = -1;
        if (s->kind != CAB_STEP_LAUNCH)
            continue;
        const bool *constant = constness(c, s);
        uint64_t hash = cab_spec_hash(s->spec);
        int u = find_unit(c, s->spec, constant, hash);
        if (u < 0) {
            u = (int)c->units.n;
            cab_unit unit = { .spec = s->spec, .constant = constant };
            unit.symbol = cab_printf(c->arena, "k%d_%s", u, s->spec->name);
            cab_vec_push(c->arena, &c->units, unit);
            if (!cab_map_getu(c->by_hash, hash))
                cab_map_setu(c->by_hash, hash, (void *)(uintptr_t)(u + 1));
        }
        c->unit_of_step[i] = u;
    }
    return CAB_OK;
}

static cab_status read_tuning(cab_arena *a, const cab_codegen_options *o, cab_tuning **out,
                              cab_diag *d)
{
    *out = NULL;
    return o->tuning && !o->naive ? cab_tuning_parse(a, o->tuning, out, d) : CAB_OK;
}

static cab_status choose(driver *c)
{
    for (size_t i = 0; i < c->units.n; i++) {
        cab_unit *u = &c->units.p[i];
        CAB_TRY(cab_cancel_check(&c->o->cancel, c->diag));
        u->sched = cab_sched_choose(u->spec, &c->target, u->constant, c->o->naive);
        if (c->tuning)
            CAB_TRY(cab_tuning_choose(c->tuning, u->spec, &c->target, u->constant, &u->sched,
                                      c->diag));
    }
    if (!c->alone && !c->o->naive)
        cab_bands_find(c->arena, c->p, &c->target, c->units.p, c->units.n, c->unit_of_step,
                       &c->bands);
    return CAB_OK;
}

static cab_status generate(driver *c)
{
    for (size_t i = 0; i < c->units.n; i++) {
        cab_unit *u = &c->units.p[i];
        CAB_TRY(cab_cancel_check(&c->o->cancel, c->diag));
        CAB_TRY(cab_generate(c->arena, u->spec, &u->sched, &c->target, u->symbol,
                             &u->kernel, c->diag));
        CAB_TRY(cab_kir_verify(u->kernel.kir, c->diag));
        if (cab_debug_level() >= 4) {
            cab_buf b = cab_buf_on(c->arena);
            cab_sched_print(&b, &u->sched);
            cab_kir_print(&b, u->kernel.kir);
            cab_log(4, "%s", cab_buf_cstr(&b));
        }
    }
    return CAB_OK;
}

/* ---- machine code, in batches ---- */

typedef struct batch {
    const cab_kir **kernels;
    int n;
    cab_object object;
    cab_diag diag;
    cab_status status;
} batch;

typedef struct compile_job {
    batch *batches;
    int n;
    const cab_target *target;
    const cab_cancel *cancel;
    atomic_int next;
    atomic_bool stop;          /* the caller cancelled */
} compile_job;

static void *compile_batches(void *arg)
{
    compile_job *j = arg;
    for (int i; !atomic_load(&j->stop) && (i = atomic_fetch_add(&j->next, 1)) < j->n;) {
        batch *b = &j->batches[i];
        b->status = cab_llvm_object(b->kernels, b->n, j->target, &b->object, &b->diag);
    }
    return NULL;
}

/* The thread of the caller: it alone may ask the hook. */
static void compile_and_ask(compile_job *j)
{
    for (int i; (i = atomic_fetch_add(&j->next, 1)) < j->n;) {
        batch *b = &j->batches[i];
        if (j->cancel->asked && j->cancel->asked(j->cancel->user)) {
            atomic_store(&j->stop, true);
            return;
        }
        b->status = cab_llvm_object(b->kernels, b->n, j->target, &b->object, &b->diag);
    }
}

static void run_compile_job(compile_job *j, int threads)
{
    enum { MAX_THREADS = 64 };
    pthread_t t[MAX_THREADS];
    int started = 0;
    threads = threads > MAX_THREADS ? MAX_THREADS : threads;
    while (started < threads - 1 && started < j->n - 1 &&
           pthread_create(&t[started], NULL, compile_batches, j) == 0)
        started++;
    compile_and_ask(j);
    for (int i = 0; i < started; i++)
        pthread_join(t[i], NULL);
}

static void move_diag(cab_diag *to, const cab_diag *from)
{
    for (size_t i = 0; i < from->n; i++)
        cab_fail(to, from->entries[i].code, NULL, "%s", from->entries[i].text);
}

static batch *make_batches(driver *c, int *out_n)
{
    int n = ((int)c->units.n + c->per_module - 1) / c->per_module;
    batch *b = CAB_NEW_N(c->arena, batch, n + 1);
    const cab_kir **all = CAB_NEW_N(c->arena, const cab_kir *, c->units.n + 1);
    for (size_t i = 0; i < c->units.n; i++)
        all[i] = c->units.p[i].kernel.kir;
    for (int i = 0; i < n; i++) {
        int first = i * c->per_module, left = (int)c->units.n - first;
        b[i].kernels = all + first;
        b[i].n = left < c->per_module ? left : c->per_module;
        cab_diag_init(&b[i].diag);
    }
    *out_n = n;
    return b;
}

/* Frees the foreign memory of every batch, also when the job is abandoned. */
typedef struct batch_list { batch *b; int n; } batch_list;
static void drop_batches(void *arg)
{
    batch_list *l = arg;
    for (int i = 0; i < l->n; i++) {
        cab_object_fini(&l->b[i].object);
        cab_diag_fini(&l->b[i].diag);
    }
}

/* text: keep LLVM IR and assembly too. */
static cab_status compile(driver *c, batch_list *l, bool text)
{
    compile_job j = { .target = &c->target, .cancel = &c->o->cancel };
    l->b = j.batches = make_batches(c, &j.n);
    l->n = j.n;
    for (int i = 0; i < j.n; i++)
        j.batches[i].object.want_text = text;
    cab_arena_cleanup(c->arena, drop_batches, l);
    run_compile_job(&j, c->o->threads);
    if (atomic_load(&j.stop))
        return cab_fail(c->diag, CAB_ECANCELLED, NULL, "the caller ended the compilation");
    for (int i = 0; i < j.n; i++)
        if (j.batches[i].status != CAB_OK) {
            move_diag(c->diag, &j.batches[i].diag);
            return j.batches[i].status;
        }
    return CAB_OK;
}

/* Features the code may use, from the target's feature list. */
static uint32_t isa_of(const cab_target *t)
{
    static const struct { const char *feature; uint32_t bit; } rows[] = {
        { "+sse4.2", CAB_ISA_SSE42 },       { "+avx2", CAB_ISA_AVX2_FMA },
        { "+f16c", CAB_ISA_F16C },          { "+avx512vl", CAB_ISA_AVX512 },
        { "+avx512vnni", CAB_ISA_VNNI },    { "+avx512bf16", CAB_ISA_AVX512_BF16 },
        { "+avx512fp16", CAB_ISA_AVX512_FP16 }, { "+bmi2", CAB_ISA_BMI2 },
    };
    uint32_t isa = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(t->features, rows[i].feature))
            isa |= rows[i].bit;
    return isa;
}

static cab_status start(driver *c, cab_arena *a, const cab_program *p,
                        const cab_codegen_options *o, const char *target, cab_tuning *tuning,
                        bool alone, cab_diag *d)
{
    *c = (driver){ .arena = a, .p = p, .o = o, .diag = d, .by_hash = cab_map_create(a),
                    .per_module = KERNELS_PER_MODULE, .tuning = tuning, .alone = alone };
    CAB_TRY(cab_target_get(a, target, &c->target, d));
    CAB_TRY(collect(c));
    CAB_TRY(choose(c));
    return generate(c);
}

/* ---- variants ---- */

/* o->target, a list, widest vectors first; repetitions are dropped. */
static cab_status list_targets(cab_arena *a, const char *list, const char **out, int *out_n,
                               cab_diag *d)
{
    cab_target t[CAB_MAX_TARGETS];
    int n = 0;
    for (const char *p = list ? list : "native", *end; p; p = *end ? end + 1 : NULL) {
        end = p + strcspn(p, ",");
        const char *name = cab_strndup(a, p, (size_t)(end - p));
        cab_target one;
        int at = 0;
        if (n == CAB_MAX_TARGETS)
            return cab_fail(d, CAB_EINVAL, NULL, "more than %d targets", CAB_MAX_TARGETS);
        CAB_TRY(cab_target_get(a, name, &one, d));
        while (at < n && t[at].vector_bytes >= one.vector_bytes)
            at++;
        if (at && !strcmp(out[at - 1], name))
            continue;
        memmove(out + at + 1, out + at, (size_t)(n - at) * sizeof *out);
        memmove(t + at + 1, t + at, (size_t)(n - at) * sizeof *t);
        out[at] = name;
        t[at] = one;
        n++;
    }
    *out_n = n;
    return CAB_OK;
}

static void write_notes(const driver *c, const char *target, const char *label, cab_buf *b)
{
    cab_buf_printf(b, "target %s%s%s%s\n", target, c->o->naive ? ", naive" : "",
                   label ? ", for " : "", label ? label : "");
    for (size_t i = 0; i < c->units.n; i++) {
        cab_buf_printf(b, "  %s: ", c->units.p[i].symbol);
        cab_sched_print(b, &c->units.p[i].sched);
        cab_buf_char(b, '\n');
    }
}

/* All variants of a file, while they are made. */
typedef struct variants {
    const char *target[CAB_MAX_TARGETS];
    int n_targets, n;          /* n: variants made */
    bool compare;              /* several programs: cab_plan_source.compare */
    cab_planner *planner;      /* per variant */
    cab_variant *made;
    cab_extras extras;
    cab_tuning *tuning;
} variants;

/* Code and plan for one target; label: of a specialisation, else NULL. */
static cab_status make_variant(driver *c, int t, const char *label, variants *v)
{
    const char *target = v->target[t];
    cab_planner *w = &v->planner[v->n];
    int64_t t0 = cab_now_ns();
    CAB_TRY(start(c, c->arena, c->p, c->o, target, v->tuning, false, c->diag));
    int64_t t1 = cab_now_ns();
    batch_list *l = CAB_NEW(c->arena, batch_list);
    CAB_TRY(compile(c, l, false));
    int64_t t2 = cab_now_ns();
    cab_image *image = CAB_NEW(c->arena, cab_image);
    image->code = cab_buf_on(c->arena);
    for (int i = 0; i < l->n; i++)
        CAB_TRY(cab_link_object(c->arena, image, l->b[i].object.elf, l->b[i].object.n, c->diag));
    cab_plan_source *src = CAB_NEW(c->arena, cab_plan_source);
    *src = (cab_plan_source){ c->p, c->o, c->units.p, c->units.n, c->unit_of_step, image,
                              v->n ? w - 1 : NULL, v->compare, &c->bands };
    CAB_TRY(cab_plan_build(c->arena, src, w, c->diag));
    cab_variant *out = &v->made[v->n++];
    *out = (cab_variant){ cab_buf_on(c->arena), &image->code, isa_of(&c->target),
                          label ? (uint32_t)t + 1 : 0 };
    cab_plan_bytes(w, &out->plan);
    write_notes(c, target, label, &v->extras.notes);
    if (c->o->seal && !c->o->no_costs)
        CAB_TRY(cab_plan_costs(w, (uint32_t)v->n - 1, &v->extras.costs));
    cab_log(1, "codegen: %s%s%s: %zu kernels for %zu steps: generate %.1f ms, llvm %.1f ms, "
               "link and plan %.1f ms, code %zu bytes", target,
            label ? ", " : "", label ? label : "", c->units.n, c->p->steps.n,
            (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6,
            (double)(cab_now_ns() - t2) / 1e6, image->code.n);
    return CAB_OK;
}

cab_status cab_codegen_sized(cab_arena *a, const cab_program *p, const cab_codegen_special *special,
                             int n, const cab_codegen_options *o, int *out_fd, uint64_t *out_size,
                             cab_diag *d)
{
    variants v = { .compare = n > 0, .extras = { cab_buf_on(a), cab_buf_on(a), cab_buf_on(a) } };
    CAB_ASSERT(n <= CAB_MAX_SPECIAL);
    CAB_TRY(read_tuning(a, o, &v.tuning, d));
    CAB_TRY(list_targets(a, o->target, v.target, &v.n_targets, d));
    v.planner = CAB_NEW_N(a, cab_planner, v.n_targets * (n + 1));
    v.made = CAB_NEW_N(a, cab_variant, v.n_targets * (n + 1));
    /* Those that stand alone come first (runtime/artifact.c). */
    for (int i = -1; i < n; i++)
        for (int t = 0; t < v.n_targets; t++) {
            driver c = { .arena = a, .p = i < 0 ? p : special[i].program, .o = o, .diag = d };
            CAB_TRY(make_variant(&c, t, i < 0 ? NULL : special[i].label, &v));
        }
    if (v.tuning) {
        cab_tuning_report(v.tuning, d);
        cab_tuning_put_used(v.tuning, &v.extras.tuning);
    }
    return cab_variants_write(a, v.made, v.n, &v.planner[v.n - 1], &v.extras, out_fd, out_size, d);
}

cab_status cab_codegen(cab_arena *a, const cab_program *p, const cab_codegen_options *o,
                       int *out_fd, uint64_t *out_size, cab_diag *d)
{
    return cab_codegen_sized(a, p, NULL, 0, o, out_fd, out_size, d);
}

/* ---- text forms ---- */

static cab_status emit_machine(driver *c, bool assembly, cab_buf *out)
{
    batch_list *l = CAB_NEW(c->arena, batch_list);
    CAB_TRY(compile(c, l, true));
    for (int i = 0; i < l->n; i++) {
        const char *text = assembly ? l->b[i].object.assembly : l->b[i].object.ir;
        cab_buf_str(out, text ? text : "");
    }
    return CAB_OK;
}

/* All kernels in one relocatable object; their names by number. */
static cab_status emit_object(driver *c, cab_buf *out)
{
    batch_list *l = CAB_NEW(c->arena, batch_list);
    c->per_module = (int)c->units.n + 1;
    CAB_TRY(compile(c, l, false));
    if (l->n)
        cab_buf_bytes(out, l->b[0].object.elf, l->b[0].object.n);
    return CAB_OK;
}

static void emit_candidates(driver *c, cab_buf *out)
{
    enum { MOST = 24 };
    cab_sched list[MOST];
    cab_tuning_put_head(out, &c->target);
    for (size_t i = 0; i < c->units.n; i++) {
        const cab_unit *u = &c->units.p[i];
        int n = cab_sched_candidates(u->spec, &c->target, u->constant, list, MOST);
        for (int k = 0; k < n; k++)
            cab_tuning_put_kernel(out, u->spec, u->constant, u->symbol, &list[k]);
    }
}

static cab_status emit_kernel(driver *c, const cab_unit *u, const char *form, cab_buf *out)
{
    if (!strcmp(form, "sched")) {
        cab_buf_printf(out, "%s: ", u->symbol);
        cab_sched_print(out, &u->sched);
    } else if (!strcmp(form, "kir")) {
        cab_kir_print(out, u->kernel.kir);
    } else if (!strcmp(form, "cuda")) {
        cab_kernel k;
        CAB_TRY(cab_generate_cuda(c->arena, u->spec, u->symbol, &k, c->diag));
        CAB_TRY(cab_kir_to_cuda(out, k.kir, c->diag));
    } else {
        return cab_fail(c->diag, CAB_EINVAL, NULL,
                        "no form '%s': sched, candidates, kir, c, header, obj, so, cuda, llvm or asm", form);
    }
    cab_buf_char(out, '\n');
    return CAB_OK;
}

cab_status cab_codegen_emit(cab_arena *a, const cab_program *p, const cab_codegen_options *o,
                            const char *form, cab_buf *out, cab_diag *d)
{
    driver c;
    cab_codegen_options portable = *o;
    cab_tuning *tuning;
    if (!strcmp(form, "header"))
        return cab_c_header(p, o, out, d);
    /* C text does not depend on the machine it is made on. */
    if (!strcmp(form, "c") && !o->target)
        portable.target = "x86-64-v3";
    CAB_TRY(read_tuning(a, o, &tuning, d));
    /* C text has no bands; a record of schedules is of kernels as they were lowered. */
    bool alone = !strcmp(form, "c") || !strcmp(form, "candidates");
    CAB_TRY(start(&c, a, p, &portable, portable.target, tuning, alone, d));
    if (tuning && strcmp(form, "obj") && strcmp(form, "names"))    /* these are parts of a whole */
        cab_tuning_report(tuning, d);
    if (!strcmp(form, "c")) {
        cab_plan_source src = { p, o, c.units.p, c.units.n, c.unit_of_step, NULL, NULL, false, NULL };
        return cab_c_model(a, &src, out, d);
    }
    if (!strcmp(form, "obj"))
        return emit_object(&c, out);
    if (!strcmp(form, "candidates")) {
        emit_candidates(&c, out);
        return CAB_OK;
    }
    for (size_t i = 0; i < c.units.n && !strcmp(form, "names"); i++)
        cab_buf_printf(out, "%s\n", c.units.p[i].symbol);
    if (!strcmp(form, "names"))
        return CAB_OK;
    if (!strcmp(form, "llvm") || !strcmp(form, "asm"))
        return emit_machine(&c, form[0] == 'a', out);
    for (size_t i = 0; i < c.units.n; i++)
        CAB_TRY(emit_kernel(&c, &c.units.p[i], form, out));
    return CAB_OK;
}
