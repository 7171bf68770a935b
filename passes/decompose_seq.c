/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_seq.c - sequences and optionals.
 *
 * They stay values of the run; what is a loop over them (SplitToSequence of
 * many parts, SequenceMap) becomes a node `loop`.
 */
#include "passes/decompose_int.h"

enum { MANY = 64 };            /* parts of a split: more are a loop */

static cab_attr type_attr(const char *name, const cab_type *t)
{
    cab_attr a = { .name = name, .kind = CAB_ATTR_TYPE };

    a.u.type = t;
    return a;
}

static cab_value *make(cab_dec *d, const char *kind, const cab_type *elem, cab_value **x, int n)
{
    cab_attr attr[] = { cab_a_str("kind", kind), type_attr("type", elem) };

    return cab_build(&d->b, CAB_OP_seq_make, n, x, 2, attr);
}

static cab_type unknown_tensor(cab_dtype t)
{
    return (cab_type){ .kind = CAB_KIND_tensor, .dtype = t, .rank = CAB_RANK_UNKNOWN };
}

static bool is_sequence(cab_dec *d, const cab_value *v)
{
    if (v && v->type.kind == CAB_KIND_sequence)
        return true;
    cab_dec_bad(d, "the operand is no sequence");
    return false;
}

/* Operand i as a place in a sequence; NULL when absent. */
static const cab_dim *place(cab_dec *d, int i)
{
    const cab_dim **v;
    int64_t n;

    if (!cab_dec_in(d, i) || !cab_dec_dims(d, cab_dec_in(d, i), &v, &n))
        return NULL;
    if (n != 1)
        cab_dec_bad(d, "a place that is not one number");
    return n == 1 ? v[0] : NULL;
}

static cab_value *insert(cab_dec *d, cab_value *s, cab_value *x, const cab_dim *at)
{
    cab_value *in[] = { s, x };
    cab_attr a = cab_a_dims("at", &at, at != NULL);

    return cab_dec_failed(d) ? NULL : cab_build(&d->b, CAB_OP_seq_insert, 2, in, 1, &a);
}

/* rank new symbols for the extents of something that is in a sequence. */
static cab_attr new_extents(cab_dec *d, const cab_dim **syms, int rank)
{
    for (int i = 0; i < rank; i++) {
        syms[i] = cab_dim_fresh(d->g->dims, "data");
        cab_dim_assume(d->g->dims, syms[i], 0, INT32_MAX, 1);
    }
    return cab_a_dims("syms", syms, rank);
}

static int rank_in(cab_dec *d, const cab_value *s)
{
    const cab_type *e = s->type.elem;

    if (e && e->kind == CAB_KIND_tensor && e->rank != CAB_RANK_UNKNOWN)
        return e->rank;
    if (!cab_dec_failed(d)) {
        cab_dec_unsupported(d, "the rank of the elements of a sequence is not known");
        cab_note(d->b.diag, "declare it in the type of the graph's input, or offer a value for it");
    }
    return 0;
}

static cab_value *at(cab_dec *d, cab_value *s, const cab_dim *i)
{
    const cab_dim *syms[CAB_MAX_RANK];
    int rank = rank_in(d, s);
    cab_attr attr[2];

    if (cab_dec_failed(d))
        return NULL;
    attr[0] = cab_a_dims("at", &i, 1);
    attr[1] = new_extents(d, syms, rank);
    return cab_build(&d->b, CAB_OP_seq_at, 1, &s, 2, attr);
}

static cab_value *symbol_of(cab_dec *d, cab_op_id op, cab_value *s, int64_t hi)
{
    const cab_dim *sym = cab_dim_fresh(d->g->dims, "data");
    cab_attr a;

    cab_dim_assume(d->g->dims, sym, 0, hi, 1);
    a = cab_a_dims("value", &sym, 1);
    return cab_build(&d->b, op, 1, &s, 1, &a);
}

/* ---- sequences ---- */
cab_value *cab_dec_SequenceEmpty(cab_dec *d)
{
    cab_dtype t = cab_attr_find(d->n, "dtype") ? cab_dtype_from_onnx(cab_attr_int(d->n, "dtype"))
                                               : CAB_DT_f32;
    cab_type e = unknown_tensor(t);

    if (cab_dtype_bits(t) == 0)
        return cab_dec_unsupported(d, "a sequence of %s", cab_dtype_name(t));
    return make(d, "seq", &e, NULL, 0);
}

cab_value *cab_dec_SequenceConstruct(cab_dec *d)
{
    if (!d->n->n_in || d->n->in[0]->type.kind != CAB_KIND_tensor)
        return cab_dec_unsupported(d, "a sequence of what are no tensors");
    return make(d, "seq", &d->n->in[0]->type, d->n->in, d->n->n_in);
}

cab_value *cab_dec_SequenceInsert(cab_dec *d)
{
    cab_value *s = cab_dec_in(d, 0);

    return is_sequence(d, s) ? insert(d, s, cab_dec_in(d, 1), place(d, 2)) : NULL;
}

cab_value *cab_dec_SequenceErase(cab_dec *d)
{
    cab_value *s = cab_dec_in(d, 0);
    const cab_dim *i = place(d, 1);
    cab_attr a = cab_a_dims("at", &i, i != NULL);

    return is_sequence(d, s) && !cab_dec_failed(d) ? cab_build(&d->b, CAB_OP_seq_erase, 1, &s, 1, &a)
                                                   : NULL;
}

cab_value *cab_dec_SequenceAt(cab_dec *d)
{
    cab_value *s = cab_dec_in(d, 0);
    const cab_dim *i = place(d, 1);

    return is_sequence(d, s) && i ? at(d, s, i) : NULL;
}

cab_value *cab_dec_SequenceLength(cab_dec *d)
{
    cab_value *s = cab_dec_in(d, 0);

    return is_sequence(d, s) ? symbol_of(d, CAB_OP_seq_length, s, INT32_MAX) : NULL;
}

cab_value *cab_dec_ConcatFromSequence(cab_dec *d)
{
    cab_value *s = cab_dec_in(d, 0);
    const cab_dim *syms[CAB_MAX_RANK + 1];
    bool new_axis = cab_attr_int(d->n, "new_axis") != 0;
    int rank, axis;
    cab_attr attr[3];

    if (!is_sequence(d, s))
        return NULL;
    rank = rank_in(d, s) + new_axis;
    axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    if (cab_dec_failed(d) || rank > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "a result of rank %d", rank);
    attr[0] = cab_a_int("axis", axis);
    attr[1] = cab_a_int("new_axis", new_axis);
    attr[2] = new_extents(d, syms, rank);
    return cab_build(&d->b, CAB_OP_seq_concat, 1, &s, 3, attr);
}

/* ---- SplitToSequence ---- */
typedef struct split {
    cab_value *x;
    int axis;
    bool squeeze;
    const cab_dim *count;              /* parts */
    const cab_dim *size;               /* of each, the last may be smaller; or */
    cab_value *sizes;                  /* one per part */
} split;

static bool read_split(cab_dec *d, split *s)
{
    cab_value *v = cab_dec_in(d, 1);
    const cab_dim *n;

    s->x = cab_dec_in(d, 0);
    s->axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(s->x));
    if (cab_dec_failed(d))
        return false;
    n = s->x->type.dims[s->axis];
    if (v && cab_dec_rank(v) == 1) {
        s->sizes = cab_dec_cast(d, v, CAB_DT_i64);
        s->count = v->type.dims[0];
        return true;
    }
    s->squeeze = !v && !cab_attr_int(d->n, "keepdims");
    s->size = v ? place(d, 1) : cab_dec_c(d, 1);
    if (!s->size)
        return false;
    s->size = cab_dim_max(d->g->dims, s->size, cab_dec_c(d, 1));
    s->count = cab_dim_ceildiv(d->g->dims, n, s->size);
    return true;
}

static cab_value *cut_part(cab_dec *d, const split *s, cab_value *x, const cab_dim *start,
                           const cab_dim *n)
{
    x = cab_dec_cut(d, x, s->axis, start, n);
    return s->squeeze ? cab_dec_squeeze(d, x, s->axis) : x;
}

static cab_value *part_of_size(cab_dec *d, const split *s, cab_value *x, const cab_dim *i)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *start = cab_dim_mul(ds, i, s->size);
    const cab_dim *rest = cab_dim_sub(ds, s->x->type.dims[s->axis], start);

    return cut_part(d, s, x, start, cab_dim_min(ds, s->size, rest));
}

/* Parts of known sizes. */
static cab_value *split_now(cab_dec *d, const split *s)
{
    cab_value *parts[MANY];
    const cab_dim *start = cab_dec_c(d, 0), **sizes = NULL;
    int64_t n = s->count->value, k;

    if (s->sizes && !cab_dec_extents(d, s->sizes, &sizes, &k))
        return NULL;
    for (int64_t i = 0; i < n && !cab_dec_failed(d); i++) {
        parts[i] = sizes ? cut_part(d, s, s->x, start, sizes[i])
                         : part_of_size(d, s, s->x, cab_dec_c(d, i));
        start = sizes ? cab_dim_add(d->g->dims, start, sizes[i]) : start;
    }
    return cab_dec_failed(d) ? NULL : make(d, "seq", &parts[0]->type, parts, (int)n);
}

static const cab_dim *read_at(cab_dec *d, cab_value *v, cab_value *i)
{
    v = cab_dec_gather(d, v, i, 0);
    return v ? cab_dec_item(d, v, 0, INT32_MAX) : cab_dec_c(d, 0);
}

static cab_value *split_in_loop(cab_dec *d, const split *s)
{
    cab_type e = unknown_tensor(s->x->type.dtype), t;
    cab_attr sum[] = { cab_a_str("op", "sum"), cab_a_int("axis", 0), cab_a_int("exclusive", 1) };
    cab_value *starts = s->sizes, *list, *x, *i, *part;
    cab_dec_loop l;
    cab_node *n;

    e.rank = s->x->type.rank - s->squeeze;
    for (int k = 0; k < e.rank; k++)
        e.dims[k] = s->x->type.dims[k];
    t = cab_type_holder(d->g, CAB_KIND_sequence, &e);
    starts = starts ? cab_build(&d->b, CAB_OP_scan, 1, &starts, 3, sum) : NULL;
    list = make(d, "seq", &e, NULL, 0);
    if (cab_dec_failed(d))
        return NULL;
    cab_dec_loop_begin(d, &l, s->count);
    list = cab_dec_loop_carry_as(&l, list, &t);
    x = cab_dec_body_capture(&l.body, s->x);
    if (s->sizes) {
        i = cab_b_dim(&l.body.d.b, l.iter);
        const cab_dim *from = read_at(&l.body.d, cab_dec_body_capture(&l.body, starts), i);
        const cab_dim *k = read_at(&l.body.d, cab_dec_body_capture(&l.body, s->sizes), i);
        part = cut_part(&l.body.d, s, x, from, k);
    } else {
        part = part_of_size(&l.body.d, s, x, l.iter);
    }
    list = insert(&l.body.d, list, part, NULL);
    n = cab_dec_loop_end(&l, &list, NULL, 0, NULL);
    return n ? n->out[0] : NULL;
}

cab_value *cab_dec_SplitToSequence(cab_dec *d)
{
    split s = { 0 };

    if (!read_split(d, &s))
        return NULL;
    if (cab_dim_is_const(s.count) && s.count->value > 0 && s.count->value <= MANY)
        return split_now(d, &s);
    return split_in_loop(d, &s);
}

/* ---- SequenceMap ---- */
typedef struct map {
    const cab_graph *body;
    const cab_dim *length;
    cab_type *elem;            /* of each result, known after a first round */
    cab_dec_loop l;
} map;

static const cab_dim *length_of(cab_dec *d, cab_value *s)
{
    cab_value *n = symbol_of(d, CAB_OP_seq_length, s, INT32_MAX);

    return n ? n->sym[0] : cab_dec_c(d, 0);
}

/* All sequences are as long as the first. */
static void check_lengths(cab_dec *d, map *m)
{
    cab_where w = cab_node_where(d->n);

    for (int i = 1; i < d->n->n_in && !cab_dec_failed(d); i++)
        if (d->n->in[i]->type.kind == CAB_KIND_sequence &&
            cab_graph_require_eq(d->g, m->length, length_of(d, d->n->in[i]),
                                 "sequences are of one length", &w, d->b.diag) != CAB_OK)
            d->b.status = CAB_EMODEL;
}

/* The body with its inputs; results are not collected yet. */
static void map_body(cab_dec *d, map *m)
{
    cab_dec_body *b = &m->l.body;

    for (int i = 0; i < d->n->n_in; i++) {
        cab_value *v = cab_dec_body_capture(b, d->n->in[i]);

        if (d->n->in[i]->type.kind == CAB_KIND_sequence)
            v = at(&b->d, v, m->l.iter);
        if (cab_dec_failed(&b->d)) {
            d->b.status = b->d.b.status;
            return;
        }
        cab_map_setu(b->map, m->body->inputs.p[i]->id, v);
    }
    cab_dec_body_copy(b, m->body);
}

/* A first round tells what the results are made of. */
static bool find_elements(cab_dec *d, map *m)
{
    cab_dec_loop_begin(d, &m->l, m->length);
    map_body(d, m);
    for (size_t i = 0; i < m->body->outputs.n && !cab_dec_failed(d); i++) {
        m->elem[i] = cab_dec_body_result(&m->l.body, i)->type;
        if (m->elem[i].kind != CAB_KIND_tensor)
            cab_dec_unsupported(d, "a body that gives no tensor");
    }
    return !cab_dec_failed(d);
}

cab_value *cab_dec_SequenceMap(cab_dec *d)
{
    const cab_attr *a = cab_attr_find(d->n, "body");
    map m = { .body = a && a->kind == CAB_ATTR_GRAPH ? a->u.graph : NULL };
    cab_value **lists;
    cab_node *n;

    if (!m.body || m.body->inputs.n != (size_t)d->n->n_in ||
        m.body->outputs.n < (size_t)d->n->n_out)
        return cab_dec_bad(d, "the body does not fit the operands");
    if (!is_sequence(d, cab_dec_in(d, 0)))
        return NULL;
    m.length = length_of(d, cab_dec_in(d, 0));
    check_lengths(d, &m);
    m.elem = CAB_NEW_N(d->tmp, cab_type, m.body->outputs.n);
    lists = CAB_NEW_N(d->tmp, cab_value *, m.body->outputs.n);
    if (cab_dec_failed(d) || !find_elements(d, &m))
        return NULL;
    cab_dec_loop_begin(d, &m.l, m.length);
    for (size_t i = 0; i < m.body->outputs.n; i++)
        lists[i] = cab_dec_loop_carry(&m.l, make(d, "seq", &m.elem[i], NULL, 0));
    map_body(d, &m);
    for (size_t i = 0; i < m.body->outputs.n && !cab_dec_failed(d); i++)
        lists[i] = insert(&m.l.body.d, lists[i], cab_dec_body_result(&m.l.body, i), NULL);
    n = cab_dec_loop_end(&m.l, lists, NULL, 0, NULL);
    for (int i = 0; n && i < d->n->n_out; i++)
        d->out[i] = n->out[i];
    return n ? d->out[0] : NULL;
}

/* ---- optionals ---- */
cab_value *cab_dec_wrap(cab_dec *d, cab_value *x)
{
    cab_attr kind = cab_a_str("kind", "optional");

    if (cab_dec_failed(d) || x->type.kind == CAB_KIND_optional)
        return x;
    if (x->type.kind == CAB_KIND_tensor)
        return make(d, "optional", &x->type, &x, 1);
    return cab_build(&d->b, CAB_OP_seq_kind, 1, &x, 1, &kind);
}

cab_value *cab_dec_unwrap(cab_dec *d, cab_value *x)
{
    cab_attr kind = cab_a_str("kind", "seq");

    if (cab_dec_failed(d) || x->type.kind != CAB_KIND_optional)
        return x;
    if (x->type.elem->kind == CAB_KIND_tensor)
        return at(d, x, cab_dec_c(d, 0));
    return cab_build(&d->b, CAB_OP_seq_kind, 1, &x, 1, &kind);
}

cab_value *cab_dec_Optional(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    const cab_attr *type = cab_attr_find(d->n, "type");

    if (!x && (!type || type->kind != CAB_ATTR_TYPE))
        return cab_dec_bad(d, "neither a value nor a type");
    return x ? cab_dec_wrap(d, x) : make(d, "optional", type->u.type, NULL, 0);
}

cab_value *cab_dec_OptionalHasElement(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);

    if (!x || x->type.kind != CAB_KIND_optional)
        return cab_b_scalar_i(&d->b, CAB_DT_bool, x != NULL);
    return symbol_of(d, CAB_OP_seq_has, x, 1);
}

cab_value *cab_dec_OptionalGetElement(cab_dec *d)
{
    return cab_dec_unwrap(d, cab_dec_in(d, 0));
}
