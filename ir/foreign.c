/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign.c - operators of the host program.
 *
 * To the compiler such an operator is a name, attributes and the types of its
 * results; its kernel is called by the runtime.  A node `custom` carries all
 * of it in attributes with fixed rows (lists one after another, with names and
 * counts beside them), so that printing, comparing and verifying know nothing
 * of it.  The host's shape function is asked once, when decompose has typed
 * the operands; what it answers is checked here and then stands in the node.
 */
#include <string.h>
#include "ir/ir_int.h"

const cab_foreign_op *cab_foreign_find(const cab_foreign_op *ops, int n, const char *domain,
                                       const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(ops[i].domain, domain) && !strcmp(ops[i].name, name))
            return &ops[i];
    return NULL;
}

/* ---- attributes ---- */
typedef CAB_VEC(const char *) texts;
typedef CAB_VEC(int64_t) integers;
typedef CAB_VEC(double) numbers;

static cab_attr strs_attr(const char *name, const texts *v)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_STRS, .n = (int64_t)v->n, .u.strs = v->p };
}

const char *cab_foreign_set(cab_node *n, const char *domain, const char *name,
                            const cab_attr *attr, size_t n_attr)
{
    cab_arena *a = n->graph->arena;
    texts int_names = { 0 }, float_names = { 0 }, text_names = { 0 }, text = { 0 };
    integers int_counts = { 0 }, float_counts = { 0 }, ints = { 0 };
    numbers floats = { 0 };

    for (size_t i = 0; i < n_attr; i++) {
        const cab_attr *x = &attr[i];
        bool list = x->kind == CAB_ATTR_INTS || x->kind == CAB_ATTR_FLOATS;
        int64_t count = list ? x->n : 1;

        if (x->kind == CAB_ATTR_INT || x->kind == CAB_ATTR_INTS) {
            cab_vec_push(a, &int_names, x->name);
            cab_vec_push(a, &int_counts, count);
            for (int64_t k = 0; k < count; k++)
                cab_vec_push(a, &ints, list ? x->u.ints[k] : x->u.i);
        } else if (x->kind == CAB_ATTR_FLOAT || x->kind == CAB_ATTR_FLOATS) {
            cab_vec_push(a, &float_names, x->name);
            cab_vec_push(a, &float_counts, count);
            for (int64_t k = 0; k < count; k++)
                cab_vec_push(a, &floats, list ? x->u.floats[k] : x->u.f);
        } else if (x->kind == CAB_ATTR_STR) {
            cab_vec_push(a, &text_names, x->name);
            cab_vec_push(a, &text, x->u.s);
        } else {
            return x->name;
        }
    }
    const cab_attr rows[] = {
        cab_a_str("domain", domain), cab_a_str("name", name),
        strs_attr("int_names", &int_names),
        cab_a_ints("int_counts", int_counts.p, (int64_t)int_counts.n),
        cab_a_ints("ints", ints.p, (int64_t)ints.n),
        strs_attr("float_names", &float_names),
        cab_a_ints("float_counts", float_counts.p, (int64_t)float_counts.n),
        { .name = "floats", .kind = CAB_ATTR_FLOATS, .n = (int64_t)floats.n, .u.floats = floats.p },
        strs_attr("text_names", &text_names), strs_attr("texts", &text)
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (i < 2 || rows[i].n)
            cab_attr_set(n, &rows[i]);
    return NULL;
}

/* A list of texts; empty when the node has none. */
static texts strs_of(const cab_node *n, const char *name)
{
    const cab_attr *a = cab_attr_find(n, name);
    texts v = { 0 };

    if (a && a->kind == CAB_ATTR_STRS) {
        v.p = a->u.strs;
        v.n = (size_t)a->n;
    }
    return v;
}

static int64_t floats_of(const cab_node *n, const double **out)
{
    const cab_attr *a = cab_attr_find(n, "floats");
    bool has = a && a->kind == CAB_ATTR_FLOATS;

    *out = has ? a->u.floats : NULL;
    return has ? a->n : 0;
}

int cab_foreign_attrs(cab_arena *a, const cab_node *n, const cab_foreign_attr **out)
{
    texts in = strs_of(n, "int_names"), fn = strs_of(n, "float_names");
    texts tn = strs_of(n, "text_names"), tv = strs_of(n, "texts");
    cab_foreign_attr *list = CAB_NEW_N(a, cab_foreign_attr, in.n + fn.n + tn.n + 1);
    const int64_t *ints, *int_counts, *float_counts;
    const double *floats;
    float *narrow;
    int count = 0;

    static const int64_t none;
    cab_attr_ints(n, "ints", &ints);
    ints = ints ? ints : &none;
    cab_attr_ints(n, "int_counts", &int_counts);
    cab_attr_ints(n, "float_counts", &float_counts);
    int64_t n_floats = floats_of(n, &floats);
    narrow = CAB_NEW_N(a, float, n_floats + 1);
    for (int64_t i = 0; i < n_floats; i++)
        narrow[i] = (float)floats[i];
    for (size_t i = 0; i < in.n; ints += int_counts[i++])
        list[count++] = (cab_foreign_attr){ .name = in.p[i], .n = (int)int_counts[i],
                                            .ints = ints };
    for (size_t i = 0; i < fn.n; narrow += float_counts[i++])
        list[count++] = (cab_foreign_attr){ .name = fn.p[i], .n = (int)float_counts[i],
                                            .floats = narrow };
    for (size_t i = 0; i < tn.n; i++)
        list[count++] = (cab_foreign_attr){ .name = tn.p[i], .n = 1, .text = tv.p[i] };
    *out = list;
    return count;
}

/* As many counts as names, which add up to the elements there are. */
static cab_status check_counts(const cab_node *n, const char *what, const char *names_row,
                               const char *counts_row, int64_t elements, cab_diag *d)
{
    const int64_t *counts;
    int64_t n_counts = cab_attr_ints(n, counts_row, &counts), sum = 0;

    n_counts = n_counts < 0 ? 0 : n_counts;
    if ((size_t)n_counts != strs_of(n, names_row).n)
        return cab_infer_fail(n, d, "%zu names and %lld counts of %s", strs_of(n, names_row).n,
                              (long long)n_counts, what);
    for (int64_t i = 0; i < n_counts; i++) {
        if (counts[i] < 0 || counts[i] > elements - sum)
            return cab_infer_fail(n, d, "the counts of %s are not those of a list of %lld", what,
                                  (long long)elements);
        sum += counts[i];
    }
    if (sum != elements)
        return cab_infer_fail(n, d, "%lld %s, the counts say %lld", (long long)elements, what,
                              (long long)sum);
    return CAB_OK;
}

static cab_status check_lists(const cab_node *n, cab_diag *d)
{
    int64_t n_ints = cab_attr_ints(n, "ints", NULL);
    const double *floats;

    CAB_TRY(check_counts(n, "integers", "int_names", "int_counts", n_ints < 0 ? 0 : n_ints, d));
    CAB_TRY(check_counts(n, "floats", "float_names", "float_counts", floats_of(n, &floats), d));
    if (strs_of(n, "text_names").n != strs_of(n, "texts").n)
        return cab_infer_fail(n, d, "%zu names of %zu texts", strs_of(n, "text_names").n,
                              strs_of(n, "texts").n);
    return CAB_OK;
}

/* ---- types ---- */
bool cab_foreign_open(const cab_node *n)
{
    return n->op->id == CAB_OP_custom && cab_attr_ints(n, "ranks", NULL) <= 0;
}

cab_status cab_infer_custom(cab_graph *g, cab_node *n, cab_diag *d)
{
    texts dtypes = strs_of(n, "dtypes");
    const cab_dim *const *dims;
    const int64_t *ranks;
    int64_t n_dims = cab_attr_dims(n, "dims", &dims), at = 0;

    (void)g;
    CAB_TRY(check_lists(n, d));
    if (cab_foreign_open(n) && n->graph->level == CAB_LEVEL_ONNX && n->n_out) {
        for (int i = 0; i < n->n_out; i++)
            n->out[i]->type = (cab_type){ .rank = CAB_RANK_UNKNOWN };
        return CAB_OK;
    }
    if (cab_attr_ints(n, "ranks", &ranks) != n->n_out || dtypes.n != (size_t)n->n_out || !n->n_out)
        return cab_infer_fail(n, d, "the ranks and dtypes are not those of %d results", n->n_out);
    n_dims = n_dims < 0 ? 0 : n_dims;
    for (int i = 0; i < n->n_out; i++) {
        cab_dtype t = cab_dtype_parse(dtypes.p[i], strlen(dtypes.p[i]));
        if (t == CAB_DT_none)
            return cab_infer_fail(n, d, "'%.40s' is no element type", dtypes.p[i]);
        if (ranks[i] < 0 || ranks[i] > CAB_MAX_RANK || ranks[i] > n_dims - at)
            return cab_infer_fail(n, d, "result %d of rank %lld, with %lld extents left", i,
                                  (long long)ranks[i], (long long)(n_dims - at));
        CAB_TRY(cab_infer_set(n, i, t, (int)ranks[i], dims + at, d));
        at += ranks[i];
    }
    return at == n_dims ? CAB_OK : cab_infer_fail(n, d, "%lld extents too many",
                                                  (long long)(n_dims - at));
}

/* ---- asking the host program ---- */
static void tell_input(const cab_value *v, cab_foreign_input *out)
{
    if (!v)
        return;
    out->name = v->name;
    out->dtype = cab_dtype_onnx(v->type.dtype);
    out->rank = v->type.rank;
    for (int k = 0; k < v->type.rank; k++) {
        const cab_dim *x = v->type.dims[k];
        out->dims[k] = cab_dim_is_const(x) ? x->value : -1;
        out->dim_names[k] = x->kind == CAB_DIM_SYM ? x->name : "";
    }
}

static cab_status refuse(const cab_node *n, cab_diag *d, cab_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static cab_status refuse(const cab_node *n, cab_diag *d, cab_status code, const char *fmt, ...)
{
    cab_where w = cab_node_where(n);
    va_list ap;

    va_start(ap, fmt);
    cab_vfail(d, code, &w, fmt, ap);
    va_end(ap);
    return code;
}

/* The extent the host program means; NULL after a story. */
static const cab_dim *extent(cab_graph *g, const cab_node *n, int result, int k,
                             const cab_foreign_extent *e, cab_diag *d)
{
    const cab_value *v;

    if (e->input < 0) {
        if (e->value >= 0)
            return cab_dim_const(g->dims, e->value);
        refuse(n, d, CAB_EINVAL, "the shape function of the custom operator says %lld for extent "
               "%d of result %d", (long long)e->value, k, result);
        return NULL;
    }
    v = e->input < n->n_in ? n->in[e->input] : NULL;
    if (v && e->axis >= 0 && e->axis < v->type.rank)
        return v->type.dims[e->axis];
    refuse(n, d, CAB_EINVAL, "the shape function of the custom operator takes extent %d of result "
           "%d from axis %d of input %d, which is not there", k, result, e->axis, e->input);
    return NULL;
}

static cab_status take_answer(cab_graph *g, cab_node *n, const cab_foreign_query *q, cab_diag *d)
{
    texts dtypes = { 0 };
    integers ranks = { 0 };
    CAB_VEC(const cab_dim *) dims = { 0 };

    for (int i = 0; i < q->n_out; i++) {
        const cab_foreign_type *t = &q->out[i];
        cab_dtype dt = cab_dtype_from_onnx(t->dtype);
        if (dt == CAB_DT_none)
            return refuse(n, d, CAB_EINVAL, "the shape function of the custom operator gives "
                          "result %d the element type number %d, which is none", i, t->dtype);
        if (t->rank < 0 || t->rank > CAB_MAX_RANK)
            return refuse(n, d, CAB_EINVAL, "the shape function of the custom operator gives "
                          "result %d the rank %d; 0 to %d can be", i, t->rank, CAB_MAX_RANK);
        cab_vec_push(g->arena, &dtypes, cab_dtype_name(dt));
        cab_vec_push(g->arena, &ranks, t->rank);
        for (int k = 0; k < t->rank; k++) {
            const cab_dim *x = extent(g, n, i, k, &t->dims[k], d);
            if (!x)
                return CAB_EINVAL;
            cab_vec_push(g->arena, &dims, x);
        }
    }
    const cab_attr rows[] = { strs_attr("dtypes", &dtypes),
                              cab_a_ints("ranks", ranks.p, (int64_t)ranks.n),
                              cab_a_dims("dims", dims.p, (int64_t)dims.n) };
    for (int i = 0; i < 3; i++)
        cab_attr_set(n, &rows[i]);
    return cab_infer_node(g, n, d);
}

cab_status cab_foreign_resolve(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_graph *root = cab_graph_root(g);
    const char *domain = cab_attr_str(n, "domain"), *name = cab_attr_str(n, "name");
    const cab_foreign_op *op;
    cab_foreign_query *q = CAB_NEW(g->arena, cab_foreign_query);
    cab_foreign_input *in = CAB_NEW_N(g->arena, cab_foreign_input, n->n_in + 1);
    int code;

    op = cab_foreign_find(root->foreign, root->n_foreign, domain, name);
    if (!op)
        return refuse(n, d, CAB_EUNSUPPORTED, "the custom operator %s::%s is not registered",
                      domain, name);
    for (int i = 0; i < n->n_in; i++)
        tell_input(n->in[i], &in[i]);
    q->node = n->loc ? n->loc : "";
    q->n_in = n->n_in;
    q->n_out = n->n_out;
    q->in = in;
    q->n_attrs = cab_foreign_attrs(g->arena, n, &q->attrs);
    q->out = CAB_NEW_N(g->arena, cab_foreign_type, n->n_out + 1);
    code = op->infer(op->user, q);
    q->why[sizeof q->why - 1] = 0;
    if (code == CAB_OK)
        return take_answer(g, n, q, d);
    return refuse(n, d, code > 0 && code < CAB_STATUS_COUNT ? (cab_status)code : CAB_EINVAL,
                  "%s", *q->why ? q->why : "the custom operator refuses these operands");
}
