/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_interp.c - runs a kernel by its definition, checking every access.
 *
 * The oracle of the renderers.  A block's threads run one after another, each
 * up to its next barrier; threads of a warp (32) meet at shuffles.  Out of
 * range elements, reads of stack or shared elements never written, and
 * threads that meet at different barriers are errors with the place told.
 * Says nothing about races or time; a while that never ends never ends here.
 */
#include <stdarg.h>
#include <string.h>
#include "codegen/kir_int.h"

enum { WARP = 32 };

/* What a pointer refers to. */
typedef struct memory {
    uint8_t *data;
    uint64_t elems;
    bool *written;             /* NULL: not tracked (global buffers) */
} memory;

typedef enum stop { RUNNING, AT_BARRIER, AT_SHUFFLE, DONE, FAILED } stop;

typedef struct thread {
    int64_t number;
    int pc;
    stop why;
    cab_kraw *value;           /* lanes of every instruction, at run.slot */
    memory *mem;               /* by alloc or buf instruction */
} thread;

typedef struct run {
    const cab_kir *k;
    const int64_t *ints;
    int32_t *slot;             /* first lane of each instruction's value */
    int32_t *match;            /* opener -> its end; if -> else or endif; else -> endif */
    int64_t n_slots;
    int64_t task;
    cab_arena *scratch;
    cab_kraw *moved;           /* carried values on their way */
    thread *threads;
    cab_diag *d;
} run;

static const cab_kins *ins(const run *r, int i) { return &r->k->ins.p[i]; }
static cab_kraw *val(const run *r, const thread *t, int i) { return t->value + r->slot[i]; }

static void fail(run *r, thread *t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(run *r, thread *t, const char *fmt, ...)
{
    va_list ap;
    char *why;

    va_start(ap, fmt);
    why = cab_vprintf(r->scratch, fmt, ap);
    va_end(ap);
    t->why = FAILED;
    (void)cab_fail(r->d, CAB_EINTERNAL, NULL,
                   "kernel '%s', %%%d (%s), task %lld, thread %lld: %s", r->k->name, t->pc,
                   cab_kop_get(ins(r, t->pc)->op).text, (long long)r->task,
                   (long long)t->number, why);
}

/* ---- memory ---- */

/* The checked element, or NULL after a failure. */
static uint8_t *element(run *r, thread *t, const cab_kins *i, int64_t index, bool write)
{
    memory *m = &t->mem[i->a];
    size_t size = (size_t)cab_dtype_bits((cab_dtype)ins(r, i->a)->dt) / 8;

    if (__builtin_add_overflow(index, i->imm, &index) || index < 0 ||
        (uint64_t)index >= m->elems) {
        fail(r, t, "element %lld of %llu", (long long)index, (unsigned long long)m->elems);
        return NULL;
    }
    if (m->written && !write && !m->written[index]) {
        fail(r, t, "element %lld is read before it is written", (long long)index);
        return NULL;
    }
    if (m->written)
        m->written[index] = true;
    return m->data + (size_t)index * size;
}

/* Index of a lane without the displacement. */
static int64_t lane_index(run *r, thread *t, const cab_kins *i, int lane)
{
    if (i->op == CAB_K_ldx || i->op == CAB_K_stx)
        return (int64_t)val(r, t, i->b)[lane];
    return (i->b < 0 ? 0 : (int64_t)val(r, t, i->b)[0]) + lane;
}

static void load_store(run *r, thread *t, const cab_kins *i)
{
    bool write = i->op == CAB_K_st || i->op == CAB_K_stx;
    cab_kraw *out = val(r, t, t->pc);
    uint8_t *p;

    for (int j = 0; j < i->lanes; j++) {
        if (i->c >= 0 && !val(r, t, i->c)[j]) {
            if (!write)
                out[j] = 0;
            continue;
        }
        p = element(r, t, i, lane_index(r, t, i, j), write);
        if (!p)
            return;
        if (write)
            cab_kraw_store((cab_dtype)i->dt, p, val(r, t, r->k->args.p[i->args])[j]);
        else
            out[j] = cab_kraw_load((cab_dtype)i->dt, p);
    }
}

static cab_kop fold_op(int sub)
{
    static const cab_kop ops[] = { CAB_K_add, CAB_K_mul, CAB_K_min, CAB_K_max,
                                   CAB_K_and, CAB_K_or };
    return ops[sub];
}

static void atomic(run *r, thread *t, const cab_kins *i)
{
    cab_dtype dt = (cab_dtype)i->dt;
    uint8_t *p = element(r, t, i, lane_index(r, t, i, 0), false);

    if (p)
        cab_kraw_store(dt, p, cab_kraw_eval(fold_op(i->sub), 0, dt, dt, cab_kraw_load(dt, p),
                                            val(r, t, r->k->args.p[i->args])[0], 0));
}

/* ---- values ---- */

static void fold(run *r, thread *t, const cab_kins *i)
{
    const cab_kraw *a = val(r, t, i->a);
    cab_kraw x[CAB_KIR_MAX_LANES];
    int n = ins(r, i->a)->lanes;

    memcpy(x, a, (size_t)n * sizeof *x);
    for (n /= 2; n; n /= 2)
        for (int j = 0; j < n; j++)
            x[j] = cab_kraw_eval(fold_op(i->sub), 0, (cab_dtype)i->dt, (cab_dtype)i->dt,
                                 x[j], x[j + n], 0);
    val(r, t, t->pc)[0] = x[0];
}

static void vector(run *r, thread *t, const cab_kins *i)
{
    const cab_kraw *a = val(r, t, i->a);
    cab_kraw *out = val(r, t, t->pc);

    if (i->op == CAB_K_fold) {
        fold(r, t, i);
    } else if (i->op == CAB_K_extract) {
        out[0] = a[i->imm];
    } else if (i->op == CAB_K_insert) {
        memcpy(out, a, i->lanes * sizeof *out);
        out[i->imm] = val(r, t, i->b)[0];
    } else {
        int n = ins(r, i->a)->lanes;
        for (int j = 0; j < i->lanes; j++) {
            int from = i->op == CAB_K_splat ? 0 : r->k->args.p[i->args + j];
            out[j] = from < n ? a[from] : val(r, t, i->b)[from - n];
        }
    }
}

static void bitcast(run *r, thread *t, const cab_kins *i)
{
    uint8_t bytes[CAB_KIR_MAX_LANES * 8];
    cab_dtype from = cab_k_dt(r->k, i->a), to = (cab_dtype)i->dt;
    int size_from = cab_dtype_bits(from) / 8, size_to = cab_dtype_bits(to) / 8;

    for (int j = 0; j < ins(r, i->a)->lanes; j++)
        cab_kraw_store(from, bytes + j * size_from, val(r, t, i->a)[j]);
    for (int j = 0; j < i->lanes; j++)
        val(r, t, t->pc)[j] = cab_kraw_load(to, bytes + j * size_to);
}

static void dot4(run *r, thread *t, const cab_kins *i)
{
    const cab_kraw *a = val(r, t, i->a), *b = val(r, t, i->b), *c = val(r, t, i->c);

    for (int j = 0; j < i->lanes; j++) {
        cab_kraw sum = c[j];
        for (int q = 4 * j; q < 4 * j + 4; q++)
            sum += a[q] * b[q];
        val(r, t, t->pc)[j] = cab_kraw_of_int(CAB_DT_i32, (int64_t)sum);
    }
}

static void arithmetic(run *r, thread *t, const cab_kins *i)
{
    cab_dtype from = cab_k_dt(r->k, i->a);
    const cab_kraw *a = val(r, t, i->a);
    const cab_kraw *b = i->b < 0 ? a : val(r, t, i->b), *c = i->c < 0 ? a : val(r, t, i->c);
    cab_kraw *out = val(r, t, t->pc);

    if (i->op == CAB_K_bitcast) {
        bitcast(r, t, i);
        return;
    }
    if (i->op == CAB_K_dot4) {
        dot4(r, t, i);
        return;
    }
    for (int j = 0; j < i->lanes; j++)
        out[j] = cab_kraw_eval((cab_kop)i->op, i->sub, (cab_dtype)i->dt, from,
                               a[j], b[j], c[j]);
}

static void leaf(run *r, thread *t, const cab_kins *i)
{
    cab_dtype dt = (cab_dtype)i->dt;
    cab_kraw *out = val(r, t, t->pc);

    for (int j = 0; j < i->lanes; j++) {
        switch (i->op) {
        case CAB_K_int: out[j] = (cab_kraw)r->ints[i->imm]; break;
        case CAB_K_grid: out[j] = (cab_kraw)r->task; break;
        case CAB_K_thread: out[j] = (cab_kraw)t->number; break;
        case CAB_K_iota: out[j] = cab_kraw_of_int(dt, j); break;
        case CAB_K_const:
            out[j] = cab_dtype_is_float(dt) ? cab_kraw_of_f64(dt, i->f) : (cab_kraw)i->imm;
            break;
        default: break;        /* buf: a name of memory, no value */
        }
    }
}

/* ---- structure ---- */

/* Copies a list of values to the phis or results that start at `to`. */
static void carry(run *r, thread *t, const cab_kins *i, int to)
{
    cab_kraw *p = r->moved;

    for (int j = 0; j < i->n_args; j++) {
        int x = r->k->args.p[i->args + j];
        memcpy(p, val(r, t, x), ins(r, x)->lanes * sizeof *p);
        p += ins(r, x)->lanes;
    }
    p = r->moved;
    for (int j = 0; j < i->n_args; j++) {
        memcpy(val(r, t, to + j), p, ins(r, to + j)->lanes * sizeof *p);
        p += ins(r, to + j)->lanes;
    }
}

static void leave_loop(run *r, thread *t, int loop)
{
    int end = r->match[loop];

    for (int j = 0; j < ins(r, loop)->n_args; j++)
        memcpy(val(r, t, end + 1 + j), val(r, t, loop + 1 + j),
               ins(r, end + 1 + j)->lanes * sizeof(cab_kraw));
    t->pc = end + 1 + ins(r, loop)->n_args;
}

static void next_round(run *r, thread *t, int loop)
{
    const cab_kins *l = ins(r, loop);
    int64_t counter = (int64_t)val(r, t, loop)[0];

    if (__builtin_add_overflow(counter, l->imm, &counter) ||
        counter >= (int64_t)val(r, t, l->b)[0]) {
        leave_loop(r, t, loop);
        return;
    }
    val(r, t, loop)[0] = (cab_kraw)counter;
    t->pc = loop + 1 + l->n_args;
}

static void structure(run *r, thread *t, const cab_kins *i)
{
    int at = t->pc;

    switch (i->op) {
    case CAB_K_loop:
    case CAB_K_while:
        carry(r, t, i, at + 1);
        t->pc = at + 1 + i->n_args;
        if (i->op == CAB_K_loop) {
            val(r, t, at)[0] = val(r, t, i->a)[0];
            if ((int64_t)val(r, t, i->a)[0] >= (int64_t)val(r, t, i->b)[0])
                leave_loop(r, t, at);
        }
        break;
    case CAB_K_cond:
        t->pc++;
        if (!val(r, t, i->a)[0])
            leave_loop(r, t, r->match[at]);
        break;
    case CAB_K_end:
        carry(r, t, i, i->a + 1);
        if (ins(r, i->a)->op == CAB_K_loop)
            next_round(r, t, i->a);
        else
            t->pc = i->a + 1 + i->n_args;
        break;
    case CAB_K_if:
        t->pc = val(r, t, i->a)[0] ? at + 1 : r->match[at] + 1;
        break;
    case CAB_K_else:
        at = r->match[at];     /* the endif, where the results are */
        carry(r, t, i, at + 1);
        t->pc = at + 1 + i->n_args;
        break;
    case CAB_K_endif:
        carry(r, t, i, at + 1);
        t->pc = at + 1 + i->n_args;
        break;
    default:
        CAB_UNREACHABLE();     /* phis and results are stepped over */
    }
}

/* ---- scheduling ---- */

static void step(run *r, thread *t)
{
    const cab_kins *i = ins(r, t->pc);

    if (i->op == CAB_K_barrier || i->op == CAB_K_shfl) {
        t->why = i->op == CAB_K_barrier ? AT_BARRIER : AT_SHUFFLE;
        return;
    }
    switch (cab_kop_get(i->op).cls) {
    case 'S':
        structure(r, t, i);
        return;
    case 'M':
        if (i->op == CAB_K_atomic)
            atomic(r, t, i);
        else if (i->op != CAB_K_alloc && i->op != CAB_K_prefetch)
            load_store(r, t, i);
        break;
    case 'V': vector(r, t, i); break;
    case 'A': arithmetic(r, t, i); break;
    default: leaf(r, t, i); break;
    }
    if (t->why != FAILED)
        t->pc++;
}

static bool run_thread(run *r, thread *t)
{
    while (t->why == RUNNING) {
        if (t->pc >= (int)r->k->ins.n)
            t->why = DONE;
        else
            step(r, t);
    }
    return t->why != FAILED;
}

/* All threads [lo, hi) stand at one shuffle: exchanges and steps over it. */
static bool shuffle(run *r, int lo, int hi)
{
    const cab_kins *i = ins(r, r->threads[lo].pc);

    for (int j = lo; j < hi; j++) {
        thread *t = &r->threads[j];
        int from = (int)(t->number ^ i->imm);
        if (t->why != AT_SHUFFLE || t->pc != r->threads[lo].pc || from >= hi) {
            fail(r, t, "the threads of a warp do not all take part in a shuffle");
            return false;
        }
        memcpy(val(r, t, t->pc), val(r, &r->threads[from], i->a),
               i->lanes * sizeof(cab_kraw));
    }
    for (int j = lo; j < hi; j++) {
        r->threads[j].pc++;
        r->threads[j].why = RUNNING;
    }
    return true;
}

static bool run_warp(run *r, int lo, int hi)
{
    for (;;) {
        bool shuffles = false;
        for (int j = lo; j < hi; j++) {
            if (!run_thread(r, &r->threads[j]))
                return false;
            shuffles |= r->threads[j].why == AT_SHUFFLE;
        }
        if (!shuffles)
            return true;
        if (!shuffle(r, lo, hi))
            return false;
    }
}

/* One task: every thread to the end, all of them from barrier to barrier. */
static bool run_block(run *r)
{
    int n = r->k->block;
    thread *first = &r->threads[0];

    for (;;) {
        for (int lo = 0; lo < n; lo += WARP)
            if (!run_warp(r, lo, lo + WARP < n ? lo + WARP : n))
                return false;
        for (int j = 1; j < n; j++)
            if (r->threads[j].why != first->why || r->threads[j].pc != first->pc) {
                r->threads[j].pc = first->why == DONE ? r->threads[j].pc : first->pc;
                fail(r, &r->threads[j], "not all threads reach this barrier");
                return false;
            }
        if (first->why == DONE)
            return true;
        for (int j = 0; j < n; j++) {
            r->threads[j].pc++;
            r->threads[j].why = RUNNING;
        }
    }
}

/* ---- preparation ---- */

static void lay_out(run *r)
{
    size_t n = r->k->ins.n;
    int64_t widest = 0;

    r->slot = CAB_NEW_N(r->scratch, int32_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        r->slot[i] = (int32_t)r->n_slots;
        r->n_slots += r->k->ins.p[i].lanes;
        if (widest < r->k->ins.p[i].n_args)
            widest = r->k->ins.p[i].n_args;
    }
    CAB_ASSERT(r->n_slots < INT32_MAX);
    r->moved = CAB_NEW_N(r->scratch, cab_kraw, widest * CAB_KIR_MAX_LANES + 1);
    r->match = cab_kir_match(r->scratch, r->k);
}

static memory allocate(run *r, const cab_kins *i)
{
    size_t n = (size_t)i->imm;

    return (memory){ cab_alloc_zero(r->scratch, n, (size_t)cab_dtype_bits((cab_dtype)i->dt) / 8),
                     n, CAB_NEW_N(r->scratch, bool, n) };
}

/* Fresh threads and fresh, unwritten memory for a task. */
static void start_block(run *r, const cab_kir_buf *bufs)
{
    size_t n = r->k->ins.n;

    r->threads = CAB_NEW_N(r->scratch, thread, r->k->block);
    for (int j = 0; j < r->k->block; j++) {
        thread *t = &r->threads[j];
        t->number = j;
        t->value = CAB_NEW_N(r->scratch, cab_kraw, r->n_slots + 1);
        t->mem = CAB_NEW_N(r->scratch, memory, n + 1);
        for (size_t i = 0; i < n; i++) {
            const cab_kins *x = &r->k->ins.p[i];
            if (x->op == CAB_K_buf)
                t->mem[i] = (memory){ bufs[x->imm].data, bufs[x->imm].elems, NULL };
            else if (x->op == CAB_K_alloc && x->space == CAB_KS_SHARED && j)
                t->mem[i] = r->threads[0].mem[i];
            else if (x->op == CAB_K_alloc)
                t->mem[i] = allocate(r, x);
        }
    }
}

cab_status cab_kir_run(cab_arena *scratch, const cab_kir *k, const cab_kir_buf *bufs,
                       const int64_t *ints, int64_t lo, int64_t hi, cab_diag *d)
{
    run r = { .k = k, .ints = ints, .scratch = scratch, .d = d };
    cab_mark whole = cab_arena_mark(scratch), task;
    bool ok = true;

    CAB_TRY(cab_kir_verify(k, d));
    lay_out(&r);
    for (r.task = lo; ok && r.task < hi; r.task++) {
        task = cab_arena_mark(scratch);
        start_block(&r, bufs);
        ok = run_block(&r);
        cab_arena_release(scratch, task);
    }
    cab_arena_release(scratch, whole);
    return ok ? CAB_OK : CAB_EINTERNAL;
}
