/* SPDX-License-Identifier: Apache-2.0 */
/*
 * band.c - launches that run one behind the other, band of rows by band.
 *
 * A chain of launches, each of which reads what only the one before it wrote,
 * can be cut into the same tasks: some rows of some batch.  A thread then runs
 * a task in all of them, and what lies between needs room for one task only,
 * which stays in L2 (scores and softmax of attention).  Each kernel does what
 * it does without a band, in the same order, so results have the same bytes.
 *
 * Rows are the steps of the innermost task axis.  Every other axis of such a
 * tensor walks inside a row or whole matrices of rows, and all kernels of a
 * chain see the same rows: an axis that a row reduction merged from batches
 * and rows is split again.
 */
#include <string.h>
#include "codegen/codegen_int.h"
#include "codegen/sched_int.h"

enum {
    MOST_LAUNCHES = CAB_BAND_LAUNCHES,
    LEAST_ROWS = 8,            /* fewer per task: operands they share are read too often */
    MOST_ROWS = 64,            /* of a task, where their number is not known */
    MIN_TASKS = 24
};

/* One kernel of a chain, as it would run in it. */
typedef struct link {
    const cab_spec *spec;
    const bool *constant;
    cab_sched sched;
    int unit, axis[CAB_SPEC_AXES], n;   /* axis: task axes in loop order; the last one walks rows */
} link;

typedef struct finder {
    cab_arena *arena;
    const cab_program *p;
    const cab_target *t;
    cab_unit *units;
    const int *unit_of_step;
    uint8_t *fixed;            /* per unit: a band has decided how it runs */
    int *uses;                 /* per buffer: arguments of steps and aliases */
    cab_bands *out;
} finder;

/* ---- who uses what ---- */

static int host_of(const finder *f, int b)
{
    while (b >= 0 && f->p->buffers.p[b].alias_of >= 0)
        b = f->p->buffers.p[b].alias_of;
    return b;
}

static void count_uses(finder *f)
{
    f->uses = cab_alloc_zero(f->arena, f->p->buffers.n + 1, sizeof *f->uses);
    for (size_t i = 0; i < f->p->steps.n; i++)
        for (int k = 0; k < f->p->steps.p[i].n_args; k++)
            if (f->p->steps.p[i].args[k] >= 0)
                f->uses[f->p->steps.p[i].args[k]]++;
    for (size_t i = 0; i < f->p->buffers.n; i++)
        if (f->p->buffers.p[i].alias_of >= 0)
            f->uses[f->p->buffers.p[i].alias_of] += 2;
}

/* The number of the operand that is this buffer; -1: none or several. */
static int operand_of(const cab_step *s, int buffer, bool written)
{
    int found = -1;

    for (int i = 0; i < s->n_args; i++)
        if (s->args[i] == buffer) {
            if (found >= 0 || s->spec->operands[i].written != written)
                return -1;
            found = i;
        }
    return found;
}

/* The buffer that a writes for b alone; -1: there is none. */
static int passed(const finder *f, const cab_step *a, const cab_step *b)
{
    for (int i = 0; i < a->n_args; i++) {
        int x = a->args[i];
        const cab_buffer *p = &f->p->buffers.p[x];
        if (a->spec->operands[i].written && p->kind == CAB_BUFFER_TEMP && p->alias_of < 0 &&
            !p->zeroed && f->uses[x] == 2 && operand_of(a, x, true) >= 0 &&
            operand_of(b, x, false) >= 0)
            return x;
    }
    return -1;
}

/* Nothing but what is passed on from each to the next is written by one and
 * used by another. */
static bool independent(const finder *f, const cab_step *s, int n, const int *between)
{
    for (int a = 0; a < n; a++)
        for (int b = a + 1; b < n; b++)
            for (int i = 0; i < s[a].n_args; i++)
                for (int k = 0; k < s[b].n_args; k++) {
                    int x = s[a].args[i], y = s[b].args[k];
                    bool written = s[a].spec->operands[i].written || s[b].spec->operands[k].written;
                    if (written && host_of(f, x) == host_of(f, y) &&
                        !(b == a + 1 && x == y && x == between[a]))
                        return false;
                }
    return true;
}

/* ---- rows ---- */

static const cab_view *only_view(const cab_spec *s, int operand)
{
    const cab_view *v = NULL;

    for (size_t i = 0; i < s->views.n; i++)
        if (s->views.p[i].operand == operand) {
            if (v)
                return NULL;
            v = &s->views.p[i];
        }
    return v && !v->n_guards && !v->n_loaded && cab_dim_is(v->at.base, 0) ? v : NULL;
}

/* The task axes of a kernel, in loop order; false when its sched has no such
 * tasks.  The columns of a product and a vector axis run inside. */
static bool find_tasks(link *l)
{
    const cab_spec *s = l->spec;
    const cab_sched *c = &l->sched;
    cab_contraction k;
    bool product = c->n_block > 0 && cab_contraction_find(s, &k);
    int inside = product ? c->n_axis : c->lanes > 1 ? c->vec_axis : -1;

    l->n = 0;
    if (product && c->swap)
        cab_contraction_swap(s, &k);
    if (c->turn || (product && !k.m) || (!product && c->mr > 1))
        return false;
    for (int pass = 0; pass < 2; pass++)       /* rows inside batches */
        for (int i = 0; i < s->n_axes; i++)
            if (s->axis[i].kind == CAB_AXIS_PAR && i != inside &&
                !(product && i == c->m_axis) && (product && (k.m >> i & 1)) == (pass == 1))
                l->axis[l->n++] = i;
    if (product)
        l->axis[l->n++] = c->m_axis;
    return l->n > 0;
}

/* Do the task axes walk that operand row by row, matrix by matrix, and all
 * others inside a row? */
static bool walks_rows(const link *l, int operand, const cab_dim **stride)
{
    const cab_spec *s = l->spec;
    const cab_view *v = only_view(s, operand);
    uint32_t tasks = 0;

    if (!v)
        return false;
    for (int d = 0; d < l->n; d++) {
        const cab_dim *c = v->at.coef[l->axis[d]], *inner;
        tasks |= 1u << l->axis[d];
        if (!c)
            return false;
        if (d == l->n - 1)
            break;
        inner = v->at.coef[l->axis[d + 1]];
        if (!inner || c != cab_dim_mul(s->dims, inner, s->axis[l->axis[d + 1]].extent))
            return false;
    }
    *stride = v->at.coef[l->axis[l->n - 1]];
    for (int i = 0; i < s->n_axes; i++)
        if (!(tasks >> i & 1) && v->at.coef[i] &&
            (!cab_dim_is(v->at.coef[i], 1) || s->axis[i].extent != *stride))
            return false;
    return true;
}

/* ---- an axis of batches and rows, split ---- */

static bool names_axes(cab_map *seen, const cab_expr *e)
{
    if (cab_map_getu(seen, (uint64_t)(uintptr_t)e))
        return false;
    cab_map_setu(seen, (uint64_t)(uintptr_t)e, seen);
    for (int i = 0; i < 3 && e->arg[i]; i++)
        if (names_axes(seen, e->arg[i]))
            return true;
    return e->op == CAB_EX_AXIS;
}

static bool can_split(cab_arena *a, const cab_spec *s)
{
    cab_map *seen = cab_map_create(a);

    for (size_t i = 0; i < s->views.n; i++)
        if (s->views.p[i].n_loaded)
            return false;
    for (size_t i = 0; i < s->stages.n; i++)
        if (names_axes(seen, s->stages.p[i].value))
            return false;
    return s->n_axes < CAB_SPEC_AXES;
}

static void split_affine(cab_dims *d, cab_affine *f, int axis, const cab_dim *rows)
{
    memmove(f->coef + axis + 1, f->coef + axis, (CAB_SPEC_AXES - 1 - (size_t)axis) * sizeof *f->coef);
    if (f->coef[axis])
        f->coef[axis] = cab_dim_mul(d, f->coef[axis + 1], rows);
}

/* The same kernel with `rows` steps of the axis as an axis of their own. */
static const cab_spec *split_axis(cab_arena *a, const cab_spec *s, int axis, const cab_dim *rows)
{
    const cab_dim *outer = cab_dim_divexact(s->dims, s->axis[axis].extent, rows);
    uint32_t below = (1u << (axis + 1)) - 1;

    if (!outer || !can_split(a, s))
        return NULL;
    cab_spec *o = CAB_NEW(a, cab_spec);
    *o = *s;
    memmove(o->axis + axis + 1, o->axis + axis, (size_t)(s->n_axes - axis) * sizeof *o->axis);
    o->n_axes++;
    o->axis[axis].extent = outer;
    o->axis[axis + 1].extent = rows;
    o->axis[axis + 1].name = cab_printf(a, "%s_rows", s->axis[axis].name);
    o->views.p = cab_dup(a, s->views.p, s->views.n * sizeof *s->views.p);
    o->stages.p = cab_dup(a, s->stages.p, s->stages.n * sizeof *s->stages.p);
    o->views.cap = s->views.n;
    o->stages.cap = s->stages.n;
    for (size_t i = 0; i < o->views.n; i++) {
        split_affine(s->dims, &o->views.p[i].at, axis, rows);
        for (int k = 0; k < o->views.p[i].n_guards; k++)
            split_affine(s->dims, &o->views.p[i].guard[k].at, axis, rows);
    }
    for (size_t i = 0; i < o->stages.n; i++) {
        uint32_t m = o->stages.p[i].axes;
        o->stages.p[i].axes = (m & below) | (m & ~below) << 1;
    }
    return o;
}

static bool see_rows(const finder *f, link *l, const cab_dim *rows)
{
    const cab_dim *e = l->spec->axis[l->axis[l->n - 1]].extent;

    if (e == rows)
        return true;
    if (l->sched.n_block > 0 ||
        !(l->spec = split_axis(f->arena, l->spec, l->axis[l->n - 1], rows)))
        return false;
    l->sched = cab_sched_choose(l->spec, f->t, l->constant, false);
    return find_tasks(l) && l->spec->axis[l->axis[l->n - 1]].extent == rows;
}

/* ---- what pays ---- */

/* Bytes of the operands that every task of a matrix reads again. */
static double shared_bytes(const link *l, int first, int last)
{
    const cab_spec *s = l->spec;
    double sum = 0;

    for (size_t i = 0; i < s->views.n; i++) {
        const cab_view *v = &s->views.p[i];
        uint32_t axes = cab_gen_view_axes(s, (int)i);
        if (v->operand == first || v->operand == last || (axes >> l->axis[l->n - 1] & 1))
            continue;
        for (int d = 0; d < l->n; d++)
            axes &= ~(1u << l->axis[d]);
        sum += cab_sched_points(s, axes) * cab_dtype_bits(v->dtype) / 8;
    }
    return sum;
}

static const cab_dim *all_rows(const link *l)
{
    const cab_dim *n = cab_dim_const(l->spec->dims, 1);

    for (int d = 0; d < l->n; d++)
        n = cab_dim_mul(l->spec->dims, n, l->spec->axis[l->axis[d]].extent);
    return n;
}

static double row_count(const link *l)
{
    double n = 1;

    for (int d = 0; d < l->n; d++)
        n *= cab_sched_extent(l->spec, l->axis[d]);
    return n;
}

/* Rows of a task: those between the kernels take a quarter of L2. */
static int64_t choose_rows(const finder *f, const link *l, int n, double row_bytes)
{
    const cab_dim *rows = l->spec->axis[l->axis[l->n - 1]].extent;
    double wish = (double)f->t->l2_bytes / 4 / row_bytes, all = row_count(l);
    int64_t of = 1, blocks;

    for (int i = 0; i < n; i++)
        of = l[i].sched.n_block > 0 && l[i].sched.mr > of ? l[i].sched.mr : of;
    if (!cab_dim_is_const(rows))
        return wish < LEAST_ROWS ? 0 : wish > MOST_ROWS ? MOST_ROWS / of * of : ((int64_t)wish + of - 1) / of * of;
    wish = wish > all / MIN_TASKS ? all / MIN_TASKS : wish;
    if (wish < LEAST_ROWS)
        return 0;
    blocks = (int64_t)((double)rows->value / wish + 0.5);
    blocks = blocks < 1 ? 1 : blocks;
    return ((rows->value + blocks - 1) / blocks + of - 1) / of * of;
}

/* Columns are no part of a task any more. */
static void cut(link *l, int64_t rows)
{
    cab_sched *c = &l->sched;

    c->task_axes = l->n;
    c->task_block = (int)rows;
    if (c->n_block > 0) {
        int64_t width = (int64_t)(c->nv > 1 ? c->nv : 1) * c->lanes;
        const cab_dim *e = l->spec->axis[c->n_axis].extent;
        int64_t n = cab_dim_is_const(e) ? e->value : 1 << 24;
        c->n_block = (int)((n + width - 1) / width * width);
        c->task_axes = l->n + 1;
    }
}

/* ---- chains ---- */

static bool start_link(const finder *f, int step, link *l)
{
    const cab_step *s = &f->p->steps.p[step];
    int unit = f->unit_of_step[step];

    if (s->kind != CAB_STEP_LAUNCH || s->when || s->past)
        return false;
    *l = (link){ .unit = unit, .spec = f->units[unit].spec, .constant = f->units[unit].constant,
                 .sched = f->units[unit].sched };
    return find_tasks(l);
}

static bool same_run(const cab_unit *u, const link *l)
{
    return u->spec == l->spec && !memcmp(&u->sched, &l->sched, sizeof u->sched);
}

/* Units are shared: another band with them must want the same of them. */
static bool settle(finder *f, const link *l, int n)
{
    for (int i = 0; i < n; i++)
        if (f->fixed[l[i].unit] && !same_run(&f->units[l[i].unit], &l[i]))
            return false;
    for (int i = 0; i < n; i++) {
        f->units[l[i].unit].spec = l[i].spec;
        f->units[l[i].unit].sched = l[i].sched;
        f->fixed[l[i].unit] = 1;
    }
    return true;
}

/* The band of steps first .. first + n - 1; false: they run as they are. */
static bool try_band(finder *f, int first, int n, const int *between, link *l)
{
    const cab_step *s = &f->p->steps.p[first];
    cab_dims *d = f->p->dims;
    cab_band b = { .first = first, .n = n };
    const cab_dim *rows = NULL;
    double row_bytes = 0, most = 0;
    int64_t block;
    bool reduces = false;

    /* Products and maps alone are as fast with blocks of columns of their own. */
    for (int i = 0; i < n; i++)
        reduces |= l[i].spec->kind == CAB_SPEC_ROWRED;
    for (int i = 0; i < n && !rows; i++)
        rows = l[i].sched.n_block > 0 ? l[i].spec->axis[l[i].axis[l[i].n - 1]].extent : NULL;
    if (!rows || !reduces || !independent(f, s, n, between))
        return false;
    for (int i = 0; i < n; i++) {
        const cab_dim *in = NULL, *out = NULL;
        int from = i ? operand_of(&s[i], between[i - 1], false) : -1;
        int to = i < n - 1 ? operand_of(&s[i], between[i], true) : -1;
        if (!see_rows(f, &l[i], rows) || (from >= 0 && !walks_rows(&l[i], from, &in)) ||
            (to >= 0 && !walks_rows(&l[i], to, &out)) ||
            all_rows(&l[i]) != all_rows(&l[0]) ||
            shared_bytes(&l[i], from, to) > (double)f->t->l2_bytes)
            return false;
        if (in && in != b.stride[i - 1])
            return false;
        if (out) {
            double bytes = cab_dtype_bits(l[i].spec->operands[to].dtype) / 8.0;
            double each = bytes * (cab_dim_is_const(out) ? (double)out->value : SYMBOLIC);
            b.buffer[i] = between[i];
            b.stride[i] = out;
            row_bytes += each;
            most = each > most ? each : most;
        }
    }
    if (most * row_count(&l[0]) < 2 * (double)f->t->l2_bytes ||
        !(block = choose_rows(f, l, n, row_bytes)))
        return false;
    b.per = cab_dim_ceildiv(d, rows, cab_dim_const(d, block));
    b.rows = rows;
    b.block = cab_dim_const(d, block);
    for (int i = 0; i < n; i++)
        cut(&l[i], block);
    if (!settle(f, l, n))
        return false;
    cab_vec_push(f->arena, &f->out->list, b);
    return true;
}

/* The longest chain from there on, or a shorter one; how many steps it takes. */
static int chain_from(finder *f, int first)
{
    link l[MOST_LAUNCHES], copy[MOST_LAUNCHES];
    int between[MOST_LAUNCHES], n = 0, left = (int)f->p->steps.n - first;

    while (n < MOST_LAUNCHES && n < left && start_link(f, first + n, &l[n])) {
        const cab_step *s = &f->p->steps.p[first + n];
        if (n++ && (between[n - 2] = passed(f, s - 1, s)) < 0) {
            n--;
            break;
        }
    }
    for (; n > 1; n--) {
        memcpy(copy, l, sizeof copy);
        if (try_band(f, first, n, between, copy))
            return n;
    }
    return 1;
}

void cab_bands_find(cab_arena *a, const cab_program *p, const cab_target *t, cab_unit *units,
                    size_t n_units, const int *unit_of_step, cab_bands *out)
{
    finder f = { .arena = a, .p = p, .t = t, .units = units, .unit_of_step = unit_of_step,
                 .out = out };

    f.fixed = CAB_NEW_N(a, uint8_t, n_units + 1);
    count_uses(&f);
    for (int i = 0; i < (int)p->steps.n;)
        i += chain_from(&f, i);
}

const cab_band *cab_band_of(const cab_bands *b, size_t step)
{
    for (size_t i = 0; b && i < b->list.n; i++)
        if (step - (size_t)b->list.p[i].first < (size_t)b->list.p[i].n)
            return &b->list.p[i];
    return NULL;
}
