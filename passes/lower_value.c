/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_value.c - the expression of one element of a value.
 *
 * cab_lower_elem walks from a kernel's result back to what is stored outside:
 * elementwise nodes become scalar functions, movement changes the index,
 * stored values become views.  Reductions and contractions add stages
 * (lower_root.c).  Elements already written down at the same index are shared.
 */
#include "passes/lower_int.h"
#include <string.h>

#define SYM_ELEMS 8            /* known elements written as a select chain */

typedef struct memo { const cab_expr *e; uint32_t guard_id; cab_ix *ix; struct memo *next; } memo;

bool cab_value_is_expr(const cab_value *v)
{
    cab_dtype t = v->type.dtype;
    if (!cab_dtype_is_float(t) && !cab_dtype_is_int(t) && t != CAB_DT_bool)
        return false;
    if (cab_const_node(v))
        return cab_type_numel_static(&v->type) == 1;
    if (v->def && v->def->op->id == CAB_OP_dim)
        return true;
    if (!v->sym || v->n_sym < 1 || v->n_sym > SYM_ELEMS)
        return false;
    for (int64_t i = 0; i < v->n_sym; i++)
        if (!v->sym[i])
            return false;
    return true;
}

bool cab_op_is_view(cab_op_id op)
{
    return op == CAB_OP_reshape || op == CAB_OP_transpose || op == CAB_OP_expand ||
           op == CAB_OP_slice || op == CAB_OP_relayout;
}

const cab_expr *cab_kernel_fail(cab_kernel *k, const char *why)
{
    if (k->state == CAB_KERNEL_OK) {
        k->state = CAB_KERNEL_FAILED;
        k->why = why;
    }
    return cab_ex_int(k->s, CAB_DT_i64, 0);
}

bool cab_kernel_member(const cab_kernel *k, const cab_node *n)
{
    return n && (k->group > 0 ? n->group == k->group : n == k->only);
}

/* ---- leaves ---- */
static const cab_expr *const_elem(cab_kernel *k, const cab_value *v)
{
    cab_dtype t = v->type.dtype;
    const void *p = cab_attr_find(v->def, "value")->u.tensor->blob->data;
    if (cab_dtype_is_float(t))
        return cab_ex_const(k->s, t, cab_elem_f64(t, p, 0));
    return cab_ex_int(k->s, t, cab_elem_i64(t, p, 0));
}

static const cab_expr *dim_elem(cab_kernel *k, const cab_value *v, const cab_dim *x)
{
    return cab_ex_cast(k->s, v->type.dtype, cab_ex_dim(k->s, x));
}

static const cab_expr *sym_elem(cab_kernel *k, const cab_value *v, const cab_ix *ix)
{
    cab_ix lin = cab_ix_zero(k);
    const cab_dim *at;
    for (int i = 0; i < v->type.rank; i++) {
        lin = cab_ix_scale(k, &lin, v->type.dims[i]);
        lin = cab_ix_add(k, &lin, &ix[i]);
    }
    if (v->n_sym == 1)
        return dim_elem(k, v, v->sym[0]);
    if (cab_ix_is_const(&lin, &at) && cab_dim_is_const(at) &&
        at->value >= 0 && at->value < v->n_sym)
        return dim_elem(k, v, v->sym[at->value]);
    const cab_expr *e = cab_ix_expr(k, &lin), *r = dim_elem(k, v, v->sym[v->n_sym - 1]);
    for (int64_t i = v->n_sym - 2; i >= 0; i--) {
        const cab_expr *is = cab_ex_scalar(k->s, CAB_EX_eq, CAB_DT_bool, e,
                                           cab_ex_int(k->s, CAB_DT_i64, i), NULL);
        r = cab_ex_scalar(k->s, CAB_EX_select, v->type.dtype, is,
                          dim_elem(k, v, v->sym[i]), r);
    }
    return r;
}

static const cab_expr *known_elem(cab_kernel *k, const cab_value *v, const cab_ix *ix)
{
    const cab_dim *const *d;
    if (cab_const_node(v))
        return const_elem(k, v);
    if (v->def && v->def->op->id == CAB_OP_dim && cab_attr_dims(v->def, "value", &d) == 1)
        return dim_elem(k, v, d[0]);
    return sym_elem(k, v, ix);
}

static int operand_of(cab_kernel *k, int buffer, bool written)
{
    const cab_buffer *b = &k->l->p->buffers.p[buffer];
    for (int i = 0; i < k->s->n_operands; i++)
        if (k->args.p[i] == buffer && k->s->operands[i].written == written)
            return i;
    cab_vec_push(k->l->a, &k->args, buffer);
    return cab_spec_operand(k->s, b->type.dtype, written, b->elems);
}

static bool view_equal(const cab_view *a, const cab_view *b)
{
    return a->operand == b->operand && a->dtype == b->dtype &&
           !memcmp(&a->at, &b->at, sizeof a->at) && a->n_loaded == b->n_loaded &&
           !memcmp(a->loaded, b->loaded, sizeof a->loaded) && a->n_guards == b->n_guards &&
           !memcmp(a->guard, b->guard, sizeof a->guard) &&
           (a->n_guards == 0 || !memcmp(&a->fill, &b->fill, sizeof a->fill)) &&
           a->n_halo == b->n_halo && !memcmp(a->halo, b->halo, sizeof a->halo);
}

int cab_kernel_view(cab_kernel *k, const cab_place *at, const cab_type *t,
                    const cab_ix *ix, bool written)
{
    cab_view v = { .operand = operand_of(k, at->buffer, written), .dtype = t->dtype };
    cab_ix off = cab_ix_const(at->base);
    for (int i = 0; i < t->rank; i++) {
        cab_ix s = cab_ix_scale(k, &ix[i], at->stride[i]);
        off = cab_ix_add(k, &off, &s);
    }
    if (off.n > CAB_SPEC_LOADED) {
        cab_ix terms = off;
        terms.at = (cab_affine){ .base = cab_dim_const(k->l->d, 0) };
        off.n = 1;
        off.term[0].e = cab_ix_expr(k, &terms);
        off.term[0].k = cab_dim_const(k->l->d, 1);
    }
    v.at = off.at;
    v.n_loaded = off.n;
    for (int i = 0; i < off.n; i++) {
        v.loaded[i].index = off.term[i].e;
        v.loaded[i].stride = off.term[i].k;
    }
    if (!written) {
        v.n_guards = k->n_guards;
        memcpy(v.guard, k->guard, (size_t)k->n_guards * sizeof *v.guard);
        v.fill = k->fill;
        v.n_halo = k->n_halo;
        memcpy(v.halo, k->halo, (size_t)k->n_halo * sizeof *v.halo);
    }
    for (size_t i = 0; i < k->s->views.n; i++)
        if (view_equal(&k->s->views.p[i], &v))
            return (int)i;
    return cab_spec_view(k->s, &v);
}

const cab_expr *cab_kernel_load(cab_kernel *k, const cab_place *at, const cab_type *t,
                                const cab_ix *ix)
{
    return cab_ex_load(k->s, cab_kernel_view(k, at, t, ix, false));
}

/* ---- guards ---- */
/* Only movement lies between v and what is stored: the view's fill is then
 * the element outside. */
static bool is_plain(cab_kernel *k, const cab_value *v)
{
    for (int i = 0; i < CAB_KERNEL_DEPTH; i++) {
        const cab_node *n = v->def;
        if (cab_value_is_expr(v))
            return false;
        if (!cab_kernel_member(k, n) && (!n || n->op->id == CAB_OP_const ||
                                         cab_lower_info(k->l, v)->at.buffer >= 0))
            return true;
        if (!n || !cab_op_is_view(n->op->id))
            return false;
        v = n->in[0];
    }
    return false;
}

static const cab_expr *inside(cab_kernel *k, const cab_ix *ix, const cab_dim *extent,
                              const cab_expr *and)
{
    cab_spec *s = k->s;
    const cab_expr *e = cab_ix_expr(k, ix);
    const cab_expr *lo = cab_ex_scalar(s, CAB_EX_le, CAB_DT_bool,
                                       cab_ex_int(s, CAB_DT_i64, 0), e, NULL);
    const cab_expr *hi = cab_ex_scalar(s, CAB_EX_lt, CAB_DT_bool, e,
                                       cab_ex_dim(s, extent), NULL);
    const cab_expr *both = cab_ex_scalar(s, CAB_EX_and, CAB_DT_bool, lo, hi, NULL);
    return and ? cab_ex_scalar(s, CAB_EX_and, CAB_DT_bool, and, both, NULL) : both;
}

static cab_ix clamped(cab_kernel *k, const cab_ix *ix, const cab_dim *extent)
{
    cab_spec *s = k->s;
    const cab_expr *e = cab_ix_expr(k, ix);
    const cab_dim *last = cab_dim_sub(k->l->d, extent, cab_dim_const(k->l->d, 1));
    e = cab_ex_scalar(s, CAB_EX_min, CAB_DT_i64, e, cab_ex_dim(s, last), NULL);
    e = cab_ex_scalar(s, CAB_EX_max, CAB_DT_i64, e, cab_ex_int(s, CAB_DT_i64, 0), NULL);
    return cab_ix_term(k, e);
}

/* The fill as a number of the view, when a double holds it. */
static bool fill_of(const cab_expr *fill, double *out)
{
    if (fill->op != CAB_EX_CONST)
        return false;
    *out = cab_dtype_is_float(fill->dtype) ? fill->u.f : (double)fill->u.i;
    return cab_dtype_is_float(fill->dtype) ||
           (fill->u.i > (fill->dtype == CAB_DT_u64 ? -1 : -(INT64_C(1) << 53)) &&
            fill->u.i < INT64_C(1) << 53);
}

const cab_expr *cab_lower_guarded(cab_kernel *k, cab_value *v, const cab_ix *ix,
                                  uint32_t mask, const cab_expr *fill)
{
    cab_ix in[CAB_MAX_RANK];
    int n_guards = k->n_guards;
    uint32_t id = k->guard_id;
    double outer = k->fill, number = 0;
    bool plain = is_plain(k, v) && fill_of(fill, &number);
    if (!mask)
        return cab_lower_elem(k, v, ix);
    for (int i = 0; i < v->type.rank; i++) {
        in[i] = ix[i];
        if (!(mask >> i & 1))
            continue;
        if (ix[i].n == 0 && k->n_guards < CAB_SPEC_GUARDS) {
            k->guard[k->n_guards++] = (cab_spec_guard){ ix[i].at, v->type.dims[i] };
            continue;
        }
        in[i] = clamped(k, &ix[i], v->type.dims[i]);
        plain = false;
    }
    k->guard_id = ++k->guard_serial;
    k->fill = plain ? number : 0;
    const cab_expr *e = cab_lower_elem(k, v, in), *ok = NULL;
    k->n_guards = n_guards;
    k->guard_id = id;
    k->fill = outer;
    if (plain || k->state != CAB_KERNEL_OK)
        return e;
    for (int i = 0; i < v->type.rank; i++)
        if (mask >> i & 1)
            ok = inside(k, &ix[i], v->type.dims[i], ok);
    return cab_ex_scalar(k->s, CAB_EX_select, e->dtype, ok, e, fill);
}

/* ---- nodes ---- */
typedef const cab_expr *lower_fn(cab_kernel *k, cab_node *n, const cab_ix *ix);

/* Index into an operand that broadcasts to the result. */
static void broadcast(cab_kernel *k, const cab_type *to, const cab_ix *iy,
                      const cab_type *from, cab_ix *ix)
{
    int skip = to->rank - from->rank;
    for (int i = 0; i < from->rank; i++)
        ix[i] = cab_dim_is(from->dims[i], 1) ? cab_ix_zero(k) : iy[i + skip];
}

static const cab_expr *lower_scalar(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    const cab_expr *arg[3] = { NULL, NULL, NULL };
    for (int i = 0; i < n->n_in; i++) {
        cab_ix in[CAB_MAX_RANK];
        broadcast(k, &n->out[0]->type, ix, &n->in[i]->type, in);
        arg[i] = cab_lower_elem(k, n->in[i], in);
        if (k->state != CAB_KERNEL_OK)
            return arg[i];
    }
    if (n->op->id == CAB_OP_cast)
        return cab_ex_cast(k->s, n->out[0]->type.dtype, arg[0]);
    cab_dtype t = n->out[0]->type.dtype;
    const cab_expr *e = cab_ex_scalar(k->s, cab_ex_from_op(n->op->id), t, arg[0], arg[1],
                                      arg[2]);
    /* Half floats are computed in f32: round after every op, as the standard's
     * results do, so that fusing changes no byte. */
    if (t == CAB_DT_f16 || t == CAB_DT_bf16)
        e = cab_ex_scalar(k->s, CAB_EX_cast, t, e, NULL, NULL);
    return e;
}

static const cab_expr *lower_iota(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    int64_t axis = cab_attr_int(n, "axis");
    const cab_expr *e = n->out[0]->type.rank ? cab_ix_expr(k, &ix[axis])
                                             : cab_ex_int(k->s, CAB_DT_i64, 0);
    return cab_ex_cast(k->s, n->out[0]->type.dtype, e);
}

static const cab_expr *lower_reshape(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    cab_value *x = n->in[0];
    const cab_type *to = &n->out[0]->type;
    cab_place from, at;
    cab_ix in[CAB_MAX_RANK];
    /* Dense storage is the same elements in the same order. */
    if (!cab_kernel_member(k, x->def) && !cab_value_is_expr(x) &&
        cab_place_view(k->l, x, &from)) {
        at = from;
        if (cab_strides_reshape(k->l->d, &x->type, from.stride, to, at.stride))
            return cab_kernel_load(k, &at, to, ix);
    }
    cab_ix_reshape(k, to, ix, &x->type, in);
    return k->state == CAB_KERNEL_OK ? cab_lower_elem(k, x, in) : cab_kernel_fail(k, "");
}

static const cab_expr *lower_transpose(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    const int64_t *perm;
    cab_ix in[CAB_MAX_RANK];
    int64_t rank = cab_attr_ints(n, "perm", &perm);
    for (int64_t i = 0; i < rank; i++)
        in[perm[i]] = ix[i];
    return cab_lower_elem(k, n->in[0], in);
}

static const cab_expr *lower_expand(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    cab_ix in[CAB_MAX_RANK];
    broadcast(k, &n->out[0]->type, ix, &n->in[0]->type, in);
    return cab_lower_elem(k, n->in[0], in);
}

static const cab_expr *lower_slice(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    const cab_dim *const *starts;
    const int64_t *steps;
    cab_ix in[CAB_MAX_RANK];
    cab_attr_dims(n, "starts", &starts);
    cab_attr_ints(n, "steps", &steps);
    for (int i = 0; i < n->in[0]->type.rank; i++) {
        in[i] = cab_ix_scale(k, &ix[i], cab_dim_const(k->l->d, steps[i]));
        in[i] = cab_ix_shift(k, &in[i], starts[i]);
    }
    return cab_lower_elem(k, n->in[0], in);
}

static const cab_expr *lower_relayout(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    return cab_lower_elem(k, n->in[0], ix);
}

static const cab_expr *lower_pad(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    const cab_dim *const *lo, *const *hi;
    cab_dims *d = k->l->d;
    cab_value *x = n->in[0];
    cab_ix in[CAB_MAX_RANK];
    uint32_t mask = 0;
    const cab_ix first = cab_ix_zero(k);
    const cab_expr *fill = n->n_in > 1 && n->in[1]
        ? cab_lower_elem(k, n->in[1], &first) : cab_ex_int(k->s, x->type.dtype, 0);
    cab_attr_dims(n, "lo", &lo);
    cab_attr_dims(n, "hi", &hi);
    for (int i = 0; i < x->type.rank; i++) {
        in[i] = cab_ix_shift(k, &ix[i], cab_dim_sub(d, cab_dim_const(d, 0), lo[i]));
        mask |= (uint32_t)(!cab_dim_is(lo[i], 0) || !cab_dim_is(hi[i], 0)) << i;
    }
    return cab_lower_guarded(k, x, in, mask, fill);
}

/* The same for an index known now. */
static const cab_dim *known_row(cab_dims *d, int64_t i, const cab_dim *extent,
                                const cab_dim *last)
{
    const cab_dim *zero = cab_dim_const(d, 0), *x = cab_dim_const(d, i);
    if (i == 0)
        return zero;
    return i < 0 ? cab_dim_max(d, cab_dim_add(d, extent, x), zero)
                 : cab_dim_max(d, cab_dim_min(d, x, last), zero);
}

/* Index of a row: negative counts from the end, never outside. */
static cab_ix row_index(cab_kernel *k, const cab_expr *e, const cab_dim *extent)
{
    cab_spec *s = k->s;
    const cab_expr *n = cab_ex_dim(s, extent), *zero = cab_ex_int(s, CAB_DT_i64, 0);
    const cab_dim *last = cab_dim_sub(k->l->d, extent, cab_dim_const(k->l->d, 1));
    if (e->op == CAB_EX_CONST)
        return cab_ix_const(known_row(k->l->d, e->u.i, extent, last));
    const cab_expr *neg = cab_ex_scalar(s, CAB_EX_lt, CAB_DT_bool, e, zero, NULL);
    const cab_expr *wrap = cab_ex_scalar(s, CAB_EX_add, CAB_DT_i64, e, n, NULL);
    e = cab_ex_scalar(s, CAB_EX_select, CAB_DT_i64, neg, wrap, e);
    e = cab_ex_scalar(s, CAB_EX_min, CAB_DT_i64, e, cab_ex_dim(s, last), NULL);
    e = cab_ex_scalar(s, CAB_EX_max, CAB_DT_i64, e, zero, NULL);
    return cab_ix_term(k, e);
}

static const cab_expr *lower_gather(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    cab_value *x = n->in[0], *index = n->in[1];
    int64_t axis = cab_attr_int(n, "axis");
    int r = index->type.rank;
    cab_ix in[CAB_MAX_RANK];
    axis += axis < 0 ? x->type.rank : 0;
    const cab_expr *e = cab_lower_elem(k, index, ix + axis);
    if (k->state != CAB_KERNEL_OK)
        return e;
    for (int i = 0; i < x->type.rank; i++)
        if (i != axis)
            in[i] = ix[i < axis ? i : i + r - 1];
    in[axis] = row_index(k, cab_ex_cast(k->s, CAB_DT_i64, e), x->type.dims[axis]);
    return cab_lower_elem(k, x, in);
}

/* Inside its own kernel only, which says what the element is. */
static const cab_expr *lower_wino(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    (void)n;
    if (!k->wino)
        return cab_kernel_fail(k, "a tile of a convolution out of its kernel");
    for (int i = 0; i < k->wino_rank; i++)
        if (!cab_ix_equal(&ix[i], &k->wino_at[i]))
            return cab_kernel_fail(k, "an element of a tile at the place of another");
    return k->wino;
}

static lower_fn *lower_fn_of(cab_op_id op)
{
    static const struct { cab_op_id op; lower_fn *fn; } rows[] = {
        { CAB_OP_iota, lower_iota },         { CAB_OP_reshape, lower_reshape },
        { CAB_OP_transpose, lower_transpose }, { CAB_OP_expand, lower_expand },
        { CAB_OP_slice, lower_slice },       { CAB_OP_pad, lower_pad },
        { CAB_OP_relayout, lower_relayout }, { CAB_OP_gather, lower_gather },
        { CAB_OP_reduce, cab_lower_reduce }, { CAB_OP_argreduce, cab_lower_argreduce },
        { CAB_OP_dot, cab_lower_dot },       { CAB_OP_conv, cab_lower_conv },
        { CAB_OP_window, cab_lower_window }, { CAB_OP_wino_out, lower_wino },
    };
    if (cab_ex_from_op(op) != CAB_EX_COUNT)
        return lower_scalar;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].op == op)
            return rows[i].fn;
    return NULL;
}

/* ---- the walk ---- */
static const cab_expr *memo_find(cab_kernel *k, const cab_value *v, const cab_ix *ix)
{
    for (memo *m = cab_map_getu(k->memo, v->id); m; m = m->next) {
        bool same = m->guard_id == k->guard_id;
        for (int i = 0; i < v->type.rank && same; i++)
            same = cab_ix_equal(&m->ix[i], &ix[i]);
        if (same)
            return m->e;
    }
    return NULL;
}

static void memo_add(cab_kernel *k, const cab_value *v, const cab_ix *ix, const cab_expr *e)
{
    memo *m = CAB_NEW(k->l->c->scratch, memo);
    m->e = e;
    m->guard_id = k->guard_id;
    m->ix = cab_dup(k->l->c->scratch, ix, (size_t)v->type.rank * sizeof *ix);
    m->next = cab_map_getu(k->memo, v->id);
    cab_map_setu(k->memo, v->id, m);
}

const cab_expr *cab_lower_elem(cab_kernel *k, cab_value *v, const cab_ix *ix)
{
    cab_node *n = v->def;
    if (k->state != CAB_KERNEL_OK)
        return cab_kernel_fail(k, "");
    if (cab_value_is_expr(v))
        return known_elem(k, v, ix);
    if (!cab_kernel_member(k, n)) {
        bool leaf = !n || n->op->id == CAB_OP_const;
        if (leaf || cab_lower_info(k->l, v)->at.buffer >= 0)
            return cab_kernel_load(k, cab_place_of(k->l, v), &v->type, ix);
        if (n->group != CAB_GROUP_INLINE)
            return cab_kernel_fail(k, "an operand is not stored");
    }
    lower_fn *fn = lower_fn_of(n->op->id);
    if (!fn || k->depth >= CAB_KERNEL_DEPTH)
        return cab_kernel_fail(k, fn ? "expressions too deep" : "no kernel for it");
    const cab_expr *e = memo_find(k, v, ix);
    if (e)
        return e;
    k->depth++;
    e = fn(k, n, ix);
    k->depth--;
    if (k->state == CAB_KERNEL_OK)
        memo_add(k, v, ix, e);
    return e;
}
