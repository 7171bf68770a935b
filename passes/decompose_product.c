/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_product.c - matrix products and Einsum as generalised dots.
 *
 * dot wants equal batch axes in front; broadcasting ones are expanded first
 * (a movement that grouping folds into the operand's index).
 */
#include "passes/decompose_int.h"
#include <string.h>

static cab_value *expand(cab_dec *d, cab_value *x, int rank, const cab_dim *const *dims)
{
    bool same = x->type.rank == rank;

    for (int i = 0; i < rank && same; i++)
        same = x->type.dims[i] == dims[i];
    return same ? x : cab_b_expand(&d->b, x, rank, dims);
}

/* Batch extents of a and b broadcast; both are expanded to them. */
static int join_batches(cab_dec *d, cab_value **a, cab_value **b)
{
    cab_type ta = (*a)->type, tb = (*b)->type, out;
    cab_where w = cab_node_where(d->n);
    int ra = ta.rank, rb = tb.rank;
    const cab_dim *dims[CAB_MAX_RANK + 2];
    cab_status s;

    ta.rank -= 2;
    tb.rank -= 2;
    ta.layout = tb.layout = NULL;
    tb.dtype = ta.dtype;
    s = cab_broadcast(d->g, &ta, &tb, &out, &w, d->b.diag);
    if (s != CAB_OK) {
        d->b.status = s;
        return 0;
    }
    memcpy(dims, out.dims, sizeof out.dims);
    dims[out.rank] = (*a)->type.dims[ra - 2];
    dims[out.rank + 1] = (*a)->type.dims[ra - 1];
    *a = expand(d, *a, out.rank + 2, dims);
    dims[out.rank] = (*b)->type.dims[rb - 2];
    dims[out.rank + 1] = (*b)->type.dims[rb - 1];
    *b = expand(d, *b, out.rank + 2, dims);
    return out.rank;
}

static bool same_batches(const cab_value *a, const cab_value *b)
{
    if (a->type.rank != b->type.rank)
        return false;
    for (int i = 0; i + 2 < a->type.rank; i++)
        if (cab_dim_eq(a->type.dims[i], b->type.dims[i]) != 1)
            return false;
    return true;
}

cab_value *cab_dec_dot(cab_dec *d, cab_value *a, cab_value *b, int batch,
                       int64_t a_contract, int64_t b_contract, cab_dtype acc)
{
    int64_t axes[CAB_MAX_RANK];
    cab_value *in[] = { a, b };
    cab_attr attr[5];
    int n = 0;

    for (int i = 0; i < batch; i++)
        axes[i] = i;
    if (batch) {
        attr[n++] = cab_a_ints("a_batch", axes, batch);
        attr[n++] = cab_a_ints("b_batch", axes, batch);
    }
    attr[n++] = cab_a_ints("a_contract", &a_contract, 1);
    attr[n++] = cab_a_ints("b_contract", &b_contract, 1);
    if (acc != CAB_DT_none)
        attr[n++] = cab_a_dtype("out", acc);
    return cab_build(&d->b, CAB_OP_dot, 2, in, n, attr);
}

cab_value *cab_dec_matmul(cab_dec *d, cab_value *a, cab_value *b, cab_dtype acc)
{
    bool row = cab_dec_rank(a) == 1, column = cab_dec_rank(b) == 1;
    cab_value *y;
    int batch = 0;

    if (cab_dec_failed(d) || !a || !b)
        return NULL;
    if (!a->type.rank || !b->type.rank)
        return cab_dec_bad(d, "a matrix product of a scalar");
    if (row)
        a = cab_dec_unsqueeze(d, a, 0);
    if (column)
        b = cab_dec_unsqueeze(d, b, 1);
    if (!a || !b)
        return NULL;
    if (b->type.rank > 2) {
        if (same_batches(a, b))
            batch = a->type.rank - 2;
        else
            batch = join_batches(d, &a, &b);
    }
    if (cab_dec_failed(d) || !a || !b)
        return NULL;
    y = cab_dec_dot(d, a, b, batch, a->type.rank - 1, batch, acc);
    if (column && y)
        y = cab_dec_squeeze(d, y, y->type.rank - 1);
    if (row && y)
        y = cab_dec_squeeze(d, y, y->type.rank - (column ? 1 : 2));
    return y;
}

cab_value *cab_dec_MatMul(cab_dec *d)
{
    return cab_dec_matmul(d, cab_dec_in(d, 0), cab_dec_in(d, 1), CAB_DT_none);
}

/* Scales by a float attribute; integers only by whole numbers. */
static cab_value *scaled(cab_dec *d, cab_value *x, const char *attr)
{
    double f = cab_attr_float(d->n, attr);

    if (f == 1.0 || !x)
        return x;
    if (!cab_dtype_is_float(x->type.dtype) && f != (double)(int32_t)f)
        return cab_dec_unsupported(d, "%s = %g with integers", attr, f);
    return cab_dec_bin(d, CAB_OP_mul, x, cab_dec_num(d, x, f));
}

cab_value *cab_dec_Gemm(cab_dec *d)
{
    cab_value *a = cab_dec_in(d, 0), *b = cab_dec_in(d, 1), *c = cab_dec_in(d, 2), *y;

    if (cab_dec_rank(a) != 2 || cab_dec_rank(b) != 2)
        return cab_dec_bad(d, "operands of rank %d and %d, expected 2",
                           cab_dec_rank(a), cab_dec_rank(b));
    y = cab_dec_dot(d, a, b, 0, cab_attr_int(d->n, "transA") ? 0 : 1,
                    cab_attr_int(d->n, "transB") ? 1 : 0, CAB_DT_none);
    y = scaled(d, y, "alpha");
    if (c && cab_attr_float(d->n, "beta") != 0.0)
        y = cab_dec_bin(d, CAB_OP_add, y, scaled(d, c, "beta"));
    return y;
}

/* ---- Einsum ---- */
#define LABELS 64
typedef struct term { int n; int label[CAB_MAX_RANK]; cab_value *v; } term;

static int label_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    return c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1;
}

/* Labels of one term of the equation; the ellipsis stands for the labels
 * 52.. right-aligned.  rank < 0: the output, whose ellipsis has `dots`. */
static bool read_term(cab_dec *d, const char *s, size_t n, int rank, int dots, term *t)
{
    int letters = 0;
    size_t i;

    t->n = 0;
    for (i = 0; i < n; i++)
        letters += label_of(s[i]) >= 0;
    if (rank >= 0)
        dots = rank - letters;
    for (i = 0; i < n; i++) {
        int l = label_of(s[i]);

        if (s[i] == ' ')
            continue;
        if (s[i] == '.' && i + 2 < n && s[i + 1] == '.' && s[i + 2] == '.') {
            if (dots < 0 || t->n + dots > CAB_MAX_RANK)
                break;
            for (int k = 0; k < dots; k++)
                t->label[t->n++] = 52 + (CAB_MAX_RANK - dots) + k;
            i += 2;
            continue;
        }
        if (l < 0 || t->n == CAB_MAX_RANK)
            break;
        t->label[t->n++] = l;
    }
    if (i < n || (rank >= 0 && t->n != rank)) {
        cab_dec_bad(d, "the equation does not fit the operands");
        return false;
    }
    return true;
}

static int find_label(const term *t, int label)
{
    for (int i = 0; i < t->n; i++)
        if (t->label[i] == label)
            return i;
    return -1;
}

static void drop_label(term *t, int at)
{
    for (int i = at; i + 1 < t->n; i++)
        t->label[i] = t->label[i + 1];
    t->n--;
}

/* Takes the diagonal of axes i < j: moved to the end, flattened, strided. */
static void diagonal(cab_dec *d, term *t, int i, int j)
{
    int64_t n = cab_dec_extent(d, t->v, i), perm[CAB_MAX_RANK], steps[CAB_MAX_RANK];
    const cab_dim *dims[CAB_MAX_RANK], *starts[CAB_MAX_RANK];
    int k = 0, label = t->label[i], rank = t->n;

    if (cab_dec_failed(d))
        return;
    for (int a = 0; a < rank; a++)
        if (a != i && a != j)
            perm[k++] = a;
    perm[k] = i;
    perm[k + 1] = j;
    t->v = cab_dec_transpose(d, t->v, perm);
    for (int a = 0; a < k && t->v; a++)
        dims[a] = t->v->type.dims[a];
    dims[k] = cab_dec_c(d, n * n);
    t->v = cab_dec_reshape(d, t->v, k + 1, dims);
    dims[k] = cab_dec_c(d, n);
    for (int a = 0; a <= k; a++) {
        starts[a] = cab_dec_c(d, 0);
        steps[a] = a == k ? n + 1 : 1;
    }
    t->v = cab_b_slice(&d->b, t->v, starts, steps, dims);
    drop_label(t, j);
    drop_label(t, i);
    t->label[t->n++] = label;
}

static void diagonals(cab_dec *d, term *t)
{
    for (int i = 0; i < t->n && !cab_dec_failed(d); i++)
        for (int j = i + 1; j < t->n; j++)
            if (t->label[i] == t->label[j]) {
                diagonal(d, t, i, j);
                i = -1;
                break;
            }
}

/* Sums out the labels of t that `keep` does not hold. */
static void sum_out(cab_dec *d, term *t, const bool keep[LABELS])
{
    int64_t axes[CAB_MAX_RANK];
    int n = 0, m = 0;

    for (int i = 0; i < t->n; i++) {
        if (keep[t->label[i]])
            t->label[m++] = t->label[i];
        else
            axes[n++] = i;
    }
    t->n = m;
    if (n)
        t->v = cab_dec_reduce(d, t->v, "sum", axes, n, false);
}

/* Extents of 1 broadcast against the partner's (ellipsis axes). */
static void match_extents(cab_dec *d, term *a, const term *b)
{
    const cab_dim *dims[CAB_MAX_RANK];
    bool grow = false;

    if (!a->v || !b->v)
        return;
    for (int i = 0; i < a->n; i++) {
        int j = find_label(b, a->label[i]);

        dims[i] = a->v->type.dims[i];
        if (j >= 0 && cab_dim_is(dims[i], 1) && !cab_dim_is(b->v->type.dims[j], 1)) {
            dims[i] = b->v->type.dims[j];
            grow = true;
        }
    }
    if (grow)
        a->v = cab_b_expand(&d->b, a->v, a->n, dims);
}

/* a := contraction of a and b over shared labels that `keep` lacks. */
static void contract(cab_dec *d, term *a, term *b, const bool keep[LABELS])
{
    int64_t ab[CAB_MAX_RANK], bb[CAB_MAX_RANK], ac[CAB_MAX_RANK], bc[CAB_MAX_RANK];
    int nb = 0, nc = 0;
    term y = { 0 };
    cab_value *in[2];
    cab_attr attr[4];

    match_extents(d, a, b);
    match_extents(d, b, a);
    for (int i = 0; i < a->n; i++) {
        int j = find_label(b, a->label[i]);

        if (j < 0)
            continue;
        if (keep[a->label[i]]) {
            ab[nb] = i;
            bb[nb++] = j;
            y.label[y.n++] = a->label[i];
        } else {
            ac[nc] = i;
            bc[nc++] = j;
        }
    }
    for (int i = 0; i < a->n + b->n; i++) {
        const term *t = i < a->n ? a : b, *o = i < a->n ? b : a;
        int l = t->label[i < a->n ? i : i - a->n];

        if (find_label(o, l) >= 0)
            continue;
        if (y.n == CAB_MAX_RANK) {
            cab_dec_unsupported(d, "an intermediate of rank over %d", CAB_MAX_RANK);
            return;
        }
        y.label[y.n++] = l;
    }
    in[0] = a->v;
    in[1] = b->v;
    attr[0] = cab_a_ints("a_batch", ab, nb);
    attr[1] = cab_a_ints("b_batch", bb, nb);
    attr[2] = cab_a_ints("a_contract", ac, nc);
    attr[3] = cab_a_ints("b_contract", bc, nc);
    y.v = cab_build(&d->b, CAB_OP_dot, 2, in, 4, attr);
    *a = y;
}

/* Without "->": labels that occur once, in alphabetical order, after dots. */
static void implicit_output(const term *in, int n, int dots, term *out)
{
    int count[LABELS] = { 0 };

    for (int i = 0; i < n; i++)
        for (int j = 0; j < in[i].n; j++)
            count[in[i].label[j]]++;
    out->n = 0;
    for (int k = 0; k < dots; k++)
        out->label[out->n++] = 52 + (CAB_MAX_RANK - dots) + k;
    for (int l = 0; l < 52 && out->n < CAB_MAX_RANK; l++)
        if (count[l] == 1)
            out->label[out->n++] = l;
}

static bool read_equation(cab_dec *d, term *in, int n, term *out)
{
    const char *s = cab_attr_str(d->n, "equation"), *arrow;
    int dots = 0;

    if (!s) {
        cab_dec_bad(d, "attribute equation is missing");
        return false;
    }
    arrow = strstr(s, "->");
    for (int i = 0; i < n; i++) {
        const char *end = s + strcspn(s, ",-");

        in[i].v = cab_dec_in(d, i);
        if (!read_term(d, s, (size_t)(end - s), cab_dec_rank(in[i].v), 0, &in[i]))
            return false;
        for (int j = 0, k = 0; j < in[i].n; j++) {
            k += in[i].label[j] >= 52;
            dots = k > dots ? k : dots;
        }
        if (i + 1 < n && *end != ',') {
            cab_dec_bad(d, "the equation has fewer terms than operands");
            return false;
        }
        s = *end == ',' ? end + 1 : end;
    }
    if (!arrow) {
        implicit_output(in, n, dots, out);
        return true;
    }
    return read_term(d, arrow + 2, strlen(arrow + 2), -1, dots, out);
}

cab_value *cab_dec_Einsum(cab_dec *d)
{
    int n = d->n->n_in;
    term *in = CAB_NEW_N(d->tmp, term, n + 1), out = { 0 };
    int64_t perm[CAB_MAX_RANK];

    if (!read_equation(d, in, n, &out))
        return NULL;
    for (int i = 0; i < n; i++)
        diagonals(d, &in[i]);
    for (int i = 0; i < n && !cab_dec_failed(d); i++) {
        bool keep[LABELS] = { false };

        for (int j = 0; j < out.n; j++)
            keep[out.label[j]] = true;
        for (int k = i + 1; k < n; k++)
            for (int j = 0; j < in[k].n; j++)
                keep[in[k].label[j]] = true;
        if (i == 0) {
            sum_out(d, &in[0], keep);
            continue;
        }
        contract(d, &in[0], &in[i], keep);
        sum_out(d, &in[0], keep);
    }
    if (cab_dec_failed(d))
        return NULL;
    if (in[0].n != out.n)
        return cab_dec_bad(d, "the output names a label no operand has");
    for (int i = 0; i < out.n; i++) {
        int at = find_label(&in[0], out.label[i]);

        if (at < 0)
            return cab_dec_bad(d, "the output names a label no operand has");
        perm[i] = at;
    }
    return cab_dec_transpose(d, in[0].v, perm);
}

/* ---- Det: elimination, row by row ---- */
/* Rows 0 and p of each matrix of x [B, n, n] change places; p [B, 1]. */
static cab_value *swap_rows(cab_dec *d, cab_value *x, cab_value *p)
{
    cab_value *i = cab_dec_iota(d, 2, 1, x->type.dims[1], CAB_DT_i64), *zero = cab_dec_int(d, i, 0);
    cab_value *at = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, i, p), zero, i);

    at = cab_dec_failed(d) ? NULL : cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, i, zero), p, at);
    at = at ? cab_dec_unsqueeze(d, at, 2) : NULL;
    at = at ? cab_b_expand(&d->b, at, 3, x->type.dims) : NULL;
    return at ? cab_dec_pick(d, x, at, 1) : NULL;
}

/* x [B, n, n] -> what is left of it [B, n-1, n-1]; its pivot, with the sign of
 * the exchange, goes into *det [B, 1, 1]. */
static cab_value *eliminate(cab_dec *d, cab_value *x, cab_value **det)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *zero = cab_dec_c(d, 0), *one = cab_dec_c(d, 1), *rest;
    cab_value *column = cab_dec_cut(d, x, 2, zero, one), *p, *row, *pivot, *sign, *safe;
    cab_attr attr[] = { cab_a_str("op", "max"), cab_a_int("axis", 1), cab_a_int("keepdims", 0) };

    column = cab_dec_un(d, CAB_OP_abs, column);
    if (cab_dec_failed(d))
        return NULL;
    rest = cab_dim_sub(ds, x->type.dims[1], one);
    p = cab_build(&d->b, CAB_OP_argreduce, 1, &column, 3, attr);
    x = p ? swap_rows(d, x, p) : NULL;
    row = cab_dec_cut(d, x, 1, zero, one);
    pivot = cab_dec_cut(d, row, 2, zero, one);
    sign = p ? cab_dec_bin(d, CAB_OP_eq, cab_dec_unsqueeze(d, p, 2), cab_b_scalar_i(&d->b, CAB_DT_i64, 0))
             : NULL;
    if (cab_dec_failed(d))
        return NULL;
    sign = cab_b_select(&d->b, sign, pivot, cab_dec_un(d, CAB_OP_neg, pivot));
    *det = *det ? cab_dec_bin(d, CAB_OP_mul, *det, sign) : sign;
    /* Without a pivot the determinant is 0 whatever is left. */
    safe = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, pivot, cab_dec_num(d, pivot, 0)),
                        cab_dec_num(d, pivot, 1), pivot);
    column = cab_dec_cut(d, cab_dec_cut(d, x, 2, zero, one), 1, one, rest);
    row = cab_dec_cut(d, row, 2, one, rest);
    x = cab_dec_cut(d, cab_dec_cut(d, x, 2, one, rest), 1, one, rest);
    column = cab_dec_bin(d, CAB_OP_div, column, safe);
    return cab_dec_bin(d, CAB_OP_sub, x, cab_dec_bin(d, CAB_OP_mul, column, row));
}

cab_value *cab_dec_Det(cab_dec *d)
{
    enum { MOST = 32 };
    cab_value *x = cab_dec_in(d, 0), *det = NULL;
    int rank = cab_dec_rank(x);
    cab_dtype dt = cab_dec_dtype(x);
    const cab_dim *batch[CAB_MAX_RANK], *dims[3] = { cab_dec_c(d, 1) };
    int64_t n = cab_dec_extent(d, x, -1);

    if (cab_dec_failed(d) || rank < 2 || cab_dec_extent(d, x, -2) != n)
        return cab_dec_bad(d, "a matrix that is not square");
    if (n < 1 || n > MOST)
        return cab_dec_unsupported(d, "a matrix of %lld rows", (long long)n);
    for (int i = 0; i < rank - 2; i++) {
        batch[i] = x->type.dims[i];
        dims[0] = cab_dim_mul(d->g->dims, dims[0], batch[i]);
    }
    dims[1] = dims[2] = cab_dec_c(d, n);
    x = cab_dec_reshape(d, cab_dec_cast(d, x, cab_dec_wide(dt)), 3, dims);
    for (; n > 1 && x; n--)
        x = eliminate(d, x, &det);
    if (cab_dec_failed(d) || !x)
        return NULL;
    det = det ? cab_dec_bin(d, CAB_OP_mul, det, x) : x;
    return cab_dec_cast(d, cab_dec_reshape(d, det, rank - 2, batch), dt);
}
