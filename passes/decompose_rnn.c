/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_rnn.c - RNN, GRU and LSTM.
 *
 * The projection of the whole input is one product in front of the steps; every
 * step is one product with the recurrent weights and elementwise gates.  A few
 * steps are written out, more are a loop, whose trip count may be symbolic.
 */
#include "passes/decompose_int.h"
#include <string.h>

#define FEW_STEPS 4            /* more code than that costs more than a loop */
#define MAX_GATES 4

typedef struct cell {
    int gates;                 /* per hidden unit: 1 RNN, 3 GRU, 4 LSTM */
    const cab_dim *steps;
    int64_t hidden;
    int dirs, n_act;
    const char *const *defaults;
    bool batch_first;
    cab_value *x;              /* [steps, batch, input] */
    const cab_dim *batch;
    cab_value *lengths;        /* [batch, 1] i64; NULL = all full */
} cell;

/* One direction. */
typedef struct way {
    int dir;
    bool backwards;
    cab_value *input;          /* [steps, batch, gates * hidden], biases added */
    cab_value *r;              /* [hidden, gates * hidden] */
    cab_value *rb;             /* recurrent bias where it is not in input; NULL */
    cab_value *h, *c;          /* [batch, hidden] */
    cab_value *peep[3];        /* i, o, f; NULL = none */
    const char *act[3];
} way;

static cab_value *activate(cab_dec *d, const char *name, cab_value *x)
{
    cab_value *one = cab_dec_num(d, x, 1), *e;

    if (!strcmp(name, "Tanh"))
        return cab_dec_un(d, CAB_OP_tanh, x);
    if (!strcmp(name, "Relu"))
        return cab_dec_bin(d, CAB_OP_max, x, cab_dec_num(d, x, 0));
    if (!strcmp(name, "Sigmoid")) {
        e = cab_dec_un(d, CAB_OP_exp, cab_dec_un(d, CAB_OP_neg, x));
        return cab_dec_bin(d, CAB_OP_div, one, cab_dec_bin(d, CAB_OP_add, e, one));
    }
    if (!strcmp(name, "Softsign")) {
        e = cab_dec_bin(d, CAB_OP_add, cab_dec_un(d, CAB_OP_abs, x), one);
        return cab_dec_bin(d, CAB_OP_div, x, e);
    }
    return cab_dec_unsupported(d, "the activation %s", name);
}

/* Part k of n along axis. */
static cab_value *part(cab_dec *d, cab_value *x, int axis, int64_t size, int k)
{
    return cab_dec_cut(d, x, axis, cab_dec_c(d, k * size), cab_dec_c(d, size));
}

/* x[i] along axis, the axis removed. */
static cab_value *item(cab_dec *d, cab_value *x, int axis, int64_t i)
{
    x = cab_dec_cut(d, x, axis, cab_dec_c(d, i), cab_dec_c(d, 1));
    return cab_dec_squeeze(d, x, axis);
}

static cab_value *transposed(cab_dec *d, cab_value *x)
{
    static const int64_t perm[] = { 1, 0 };

    return cab_dec_transpose(d, x, perm);
}

static const cab_attr *strings(cab_dec *d, const char *name)
{
    const cab_attr *a = cab_attr_find(d->n, name);

    return a && a->kind == CAB_ATTR_STRS ? a : NULL;
}

static bool read_cell(cab_dec *d, cell *c)
{
    static const int64_t swap[] = { 1, 0, 2 };
    const char *dir = cab_attr_str(d->n, "direction");
    cab_value *x = cab_dec_in(d, 0), *r = cab_dec_in(d, 2);

    if (cab_dec_rank(x) != 3 || cab_dec_rank(r) != 3 || cab_dec_rank(cab_dec_in(d, 1)) != 3) {
        cab_dec_bad(d, "operands must have rank 3");
        return false;
    }
    if (cab_attr_find(d->n, "clip") || cab_attr_int(d->n, "input_forget")) {
        cab_dec_unsupported(d, "attribute clip or input_forget");
        return false;
    }
    c->batch_first = cab_attr_int(d->n, "layout") != 0;
    c->x = c->batch_first ? cab_dec_transpose(d, x, swap) : x;
    c->steps = cab_dec_dim(d, c->x, 0);
    c->hidden = cab_dec_extent(d, r, 2);
    c->dirs = dir && !strcmp(dir, "bidirectional") ? 2 : 1;
    if (cab_dec_failed(d))
        return false;
    if (!cab_dim_is(cab_dec_dim(d, r, 0), c->dirs)) {
        cab_dec_bad(d, "the weights do not fit the direction");
        return false;
    }
    c->batch = cab_dec_dim(d, c->x, 1);
    if (cab_dec_in(d, 4))
        c->lengths = cab_dec_unsqueeze(d, cab_dec_cast(d, cab_dec_in(d, 4), CAB_DT_i64), 1);
    return true;
}

/* Initial state i of a direction, zeros when absent. */
static cab_value *initial(cab_dec *d, const cell *c, int i, int dir)
{
    const cab_dim *dims[2] = { c->batch, cab_dec_c(d, c->hidden) };
    cab_value *v = cab_dec_in(d, i);

    if (!v)
        return cab_b_expand(&d->b, cab_dec_num(d, c->x, 0), 2, dims);
    if (cab_dec_rank(v) != 3)
        return cab_dec_bad(d, "an initial state of rank %d", cab_dec_rank(v));
    return item(d, v, c->batch_first ? 1 : 0, dir);
}

static void read_way(cab_dec *d, const cell *c, int dir, way *w)
{
    const char *name = cab_attr_str(d->n, "direction");
    const cab_attr *act = strings(d, "activations");
    cab_value *b = cab_dec_in(d, 3);
    int64_t n = c->gates * c->hidden;

    w->dir = dir;
    w->backwards = dir == 1 || (name && !strcmp(name, "reverse"));
    w->r = transposed(d, item(d, cab_dec_in(d, 2), 0, dir));
    w->input = cab_dec_matmul(d, c->x, transposed(d, item(d, cab_dec_in(d, 1), 0, dir)),
                              CAB_DT_none);
    if (b) {
        cab_value *wb, *rb;

        b = item(d, b, 0, dir);
        wb = part(d, b, 0, n, 0);
        rb = part(d, b, 0, n, 1);
        /* A GRU may gate the recurrent bias; the others only add it. */
        if (c->gates == 3)
            w->rb = rb;
        else
            wb = cab_dec_bin(d, CAB_OP_add, wb, rb);
        w->input = cab_dec_bin(d, CAB_OP_add, w->input, wb);
    }
    w->h = initial(d, c, 5, dir);
    for (int i = 0; i < c->n_act; i++) {
        int64_t at = dir * c->n_act + i;

        w->act[i] = act && at < act->n ? act->u.strs[at] : c->defaults[i];
    }
    if (c->gates == 4) {
        cab_value *p = cab_dec_in(d, 7);

        w->c = initial(d, c, 6, dir);
        p = p ? item(d, p, 0, dir) : NULL;
        for (int i = 0; i < 3 && p; i++)
            w->peep[i] = part(d, p, 0, c->hidden, i);
    }
}

/* ---- the steps: new state from x_t [batch, gates * hidden] and the old ---- */
static cab_value *plain_step(cab_dec *d, const cell *c, way *w, cab_value *x)
{
    (void)c;
    x = cab_dec_bin(d, CAB_OP_add, x, cab_dec_matmul(d, w->h, w->r, CAB_DT_none));
    return activate(d, w->act[0], x);
}

static cab_value *gru_step(cab_dec *d, const cell *c, way *w, cab_value *x)
{
    bool late = cab_attr_int(d->n, "linear_before_reset") != 0;
    cab_value *g[3], *rec, *z, *r, *h, *rh;
    int64_t n = c->hidden;

    rec = cab_dec_matmul(d, w->h, late ? w->r : part(d, w->r, 1, 2 * n, 0), CAB_DT_none);
    if (w->rb)
        rec = cab_dec_bin(d, CAB_OP_add, rec, late ? w->rb : part(d, w->rb, 0, 2 * n, 0));
    for (int k = 0; k < 3; k++)
        g[k] = part(d, x, 1, n, k);
    z = activate(d, w->act[0], cab_dec_bin(d, CAB_OP_add, g[0], part(d, rec, 1, n, 0)));
    r = activate(d, w->act[0], cab_dec_bin(d, CAB_OP_add, g[1], part(d, rec, 1, n, 1)));
    if (late) {
        rh = cab_dec_bin(d, CAB_OP_mul, r, part(d, rec, 1, n, 2));
    } else {
        rh = cab_dec_matmul(d, cab_dec_bin(d, CAB_OP_mul, r, w->h), part(d, w->r, 1, n, 2),
                            CAB_DT_none);
        if (w->rb)
            rh = cab_dec_bin(d, CAB_OP_add, rh, part(d, w->rb, 0, n, 2));
    }
    h = activate(d, w->act[1], cab_dec_bin(d, CAB_OP_add, g[2], rh));
    /* (1 - z) * h + z * old */
    h = cab_dec_bin(d, CAB_OP_mul, cab_dec_bin(d, CAB_OP_sub, cab_dec_num(d, z, 1), z), h);
    return cab_dec_bin(d, CAB_OP_add, h, cab_dec_bin(d, CAB_OP_mul, z, w->h));
}

static cab_value *peeped(cab_dec *d, cab_value *gate, cab_value *peep, cab_value *c)
{
    return peep ? cab_dec_bin(d, CAB_OP_add, gate, cab_dec_bin(d, CAB_OP_mul, peep, c)) : gate;
}

static cab_value *lstm_step(cab_dec *d, const cell *c, way *w, cab_value *x, cab_value **out_c)
{
    cab_value *i, *o, *f, *g, *y;

    x = cab_dec_bin(d, CAB_OP_add, x, cab_dec_matmul(d, w->h, w->r, CAB_DT_none));
    i = activate(d, w->act[0], peeped(d, part(d, x, 1, c->hidden, 0), w->peep[0], w->c));
    f = activate(d, w->act[0], peeped(d, part(d, x, 1, c->hidden, 2), w->peep[2], w->c));
    g = activate(d, w->act[1], part(d, x, 1, c->hidden, 3));
    y = cab_dec_bin(d, CAB_OP_add, cab_dec_bin(d, CAB_OP_mul, f, w->c),
                    cab_dec_bin(d, CAB_OP_mul, i, g));
    o = activate(d, w->act[0], peeped(d, part(d, x, 1, c->hidden, 1), w->peep[1], y));
    *out_c = y;
    return cab_dec_bin(d, CAB_OP_mul, o, activate(d, w->act[2], y));
}

/* One step, number t (an i64 scalar): the states become the next ones; beyond
 * the length of its sequence a state stays as it is. */
static void step(cab_dec *d, const cell *c, way *w, cab_value *x, cab_value *t)
{
    cab_value *mem = NULL, *live;
    cab_value *h = c->gates == 1 ? plain_step(d, c, w, x)
                 : c->gates == 3 ? gru_step(d, c, w, x) : lstm_step(d, c, w, x, &mem);

    if (c->lengths) {
        live = cab_dec_bin(d, CAB_OP_lt, t, c->lengths);
        h = cab_b_select(&d->b, live, h, w->h);
        mem = mem ? cab_b_select(&d->b, live, mem, w->c) : NULL;
    }
    w->h = h;
    w->c = mem;
}

/* What the steps put out: their states h [steps, batch, hidden], 0 beyond the
 * lengths. */
static cab_value *masked(cab_dec *d, const cell *c, cab_value *h)
{
    cab_value *t;

    if (!c->lengths)
        return h;
    t = cab_dec_iota(d, 3, 0, c->steps, CAB_DT_i64);
    t = cab_dec_bin(d, CAB_OP_lt, t, cab_dec_unsqueeze(d, c->lengths, 0));
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, t, h, cab_dec_num(d, h, 0));
}

/* Steps written out; the states, [steps, batch, hidden]. */
static cab_value *run_few(cab_dec *d, const cell *c, way *w)
{
    int64_t n = c->steps->value;
    cab_value **y = CAB_NEW_N(d->tmp, cab_value *, n);

    for (int64_t k = 0; k < n && !cab_dec_failed(d); k++) {
        int64_t t = w->backwards ? n - 1 - k : k;

        step(d, c, w, item(d, w->input, 0, t), cab_b_scalar_i(&d->b, CAB_DT_i64, t));
        y[t] = w->h;
    }
    for (int64_t t = 0; t < n; t++)
        y[t] = cab_dec_unsqueeze(d, y[t], 0);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, y, (int)n, 0);
}

/* The same in a loop. */
static cab_value *run_loop(cab_dec *d, const cell *c, way *w)
{
    cab_dec_loop l;
    cab_dec *in = &l.body.d;
    cell inner = *c;
    way v = *w;
    cab_value *next[2], *x;
    const cab_dim *t;
    cab_node *n;

    cab_dec_loop_begin(d, &l, c->steps);
    v.h = cab_dec_loop_carry(&l, w->h);
    v.c = w->c ? cab_dec_loop_carry(&l, w->c) : NULL;
    v.r = cab_dec_body_capture(&l.body, w->r);
    v.rb = cab_dec_body_capture(&l.body, w->rb);
    for (int i = 0; i < 3; i++)
        v.peep[i] = cab_dec_body_capture(&l.body, w->peep[i]);
    inner.lengths = cab_dec_body_capture(&l.body, c->lengths);
    t = w->backwards ? cab_dim_sub(d->g->dims, cab_dim_sub(d->g->dims, c->steps, cab_dec_c(d, 1)),
                                   l.iter) : l.iter;
    x = cab_dec_cut(in, cab_dec_body_capture(&l.body, w->input), 0, t, cab_dec_c(d, 1));
    step(in, &inner, &v, cab_dec_squeeze(in, x, 0), cab_b_dim(&in->b, t));
    next[0] = v.h;
    next[1] = v.c;
    n = cab_dec_loop_end(&l, next, next, 1, NULL);
    if (!n)
        return NULL;
    w->h = n->out[0];
    w->c = w->c ? n->out[1] : NULL;
    return w->backwards ? cab_dec_flip(d, n->out[n->n_out - 1], 0) : n->out[n->n_out - 1];
}

/* Final states of the directions joined along axis 0 (batch first: 1). */
static cab_value *joined(cab_dec *d, const cell *c, cab_value **v)
{
    int axis = c->batch_first ? 1 : 0;

    for (int i = 0; i < c->dirs; i++)
        v[i] = cab_dec_unsqueeze(d, v[i], axis);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, v, c->dirs, axis);
}

static cab_value *recur(cab_dec *d, cell *c)
{
    static const int64_t perm[] = { 2, 0, 1, 3 };
    way w[2] = { { 0 } };
    cab_value *y[2], *h[2], *mem[2], *all;

    if (!read_cell(d, c))
        return NULL;
    for (int i = 0; i < c->dirs; i++) {
        read_way(d, c, i, &w[i]);
        if (cab_dec_failed(d))
            return NULL;
        y[i] = cab_dim_is_const(c->steps) && c->steps->value > 0 && c->steps->value <= FEW_STEPS
                   ? run_few(d, c, &w[i]) : run_loop(d, c, &w[i]);
        y[i] = masked(d, c, y[i]);
        h[i] = w[i].h;
        mem[i] = w[i].c;
    }
    if (cab_dec_failed(d))
        return NULL;
    if (cab_dec_wants(d, 1))
        d->out[1] = joined(d, c, h);
    if (cab_dec_wants(d, 2) && c->gates == 4)
        d->out[2] = joined(d, c, mem);
    if (!cab_dec_wants(d, 0))
        return NULL;
    for (int i = 0; i < c->dirs; i++)
        y[i] = cab_dec_unsqueeze(d, y[i], 1);
    all = cab_dec_failed(d) ? NULL : cab_dec_concat(d, y, c->dirs, 1);
    return c->batch_first ? cab_dec_transpose(d, all, perm) : all;
}

cab_value *cab_dec_RNN(cab_dec *d)
{
    static const char *const act[] = { "Tanh" };
    cell c = { .gates = 1, .n_act = 1, .defaults = act };

    return recur(d, &c);
}

cab_value *cab_dec_GRU(cab_dec *d)
{
    static const char *const act[] = { "Sigmoid", "Tanh" };
    cell c = { .gates = 3, .n_act = 2, .defaults = act };

    return recur(d, &c);
}

cab_value *cab_dec_LSTM(cab_dec *d)
{
    static const char *const act[] = { "Sigmoid", "Tanh", "Tanh" };
    cell c = { .gates = 4, .n_act = 3, .defaults = act };

    return recur(d, &c);
}
