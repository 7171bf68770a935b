/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_rnn.c - RNN, GRU and LSTM.
 *
 * The projection of the whole input is one product in front of the steps; every
 * step is one product with the recurrent weights and elementwise gates.  A few
 * steps are written out, more are a loop, whose trip count may be symbolic.
 *
 * Both directions run side by side where they have the same activations: their
 * states, weights and input have one more axis in front, the second direction
 * walks the input turned round.  So a step is as many launches as of one
 * direction, and two threads have work of equal size.
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
    bool wide;                 /* both directions in every step */
    const char *const *defaults;
    bool batch_first;
    cab_value *x;              /* [steps, batch, input] */
    const cab_dim *batch;
    cab_value *live;           /* [steps, batch, 1] bool: a step of its sequence;
                                  NULL = all of them.  Wide: [steps, 2, batch, 1] */
} cell;

/* One direction; where the cell is wide, both: [2, ...] */
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

/* Part k along the last axis. */
static cab_value *part(cab_dec *d, cab_value *x, int64_t size, int k)
{
    return cab_dec_cut(d, x, cab_dec_rank(x) - 1, cab_dec_c(d, k * size), cab_dec_c(d, size));
}

/* x[i] along axis, the axis removed. */
static cab_value *item(cab_dec *d, cab_value *x, int axis, int64_t i)
{
    x = cab_dec_cut(d, x, axis, cab_dec_c(d, i), cab_dec_c(d, 1));
    return cab_dec_squeeze(d, x, axis);
}

/* What the way has of an operand with the directions in front. */
static cab_value *of_way(cab_dec *d, const cell *c, cab_value *x, int dir)
{
    return c->wide ? x : item(d, x, 0, dir);
}

static cab_value *transposed(cab_dec *d, cab_value *x)
{
    static const int64_t plain[] = { 1, 0 }, wide[] = { 0, 2, 1 };

    return cab_dec_transpose(d, x, cab_dec_rank(x) == 3 ? wide : plain);
}

/* A vector of the way, to be met by values with n axes between the directions
 * and the last one. */
static cab_value *lifted(cab_dec *d, const cell *c, cab_value *x, int n)
{
    for (; c->wide && n > 0; n--)
        x = cab_dec_unsqueeze(d, x, 1);
    return x;
}

static const cab_attr *strings(cab_dec *d, const char *name)
{
    const cab_attr *a = cab_attr_find(d->n, name);

    return a && a->kind == CAB_ATTR_STRS ? a : NULL;
}

/* The step belongs to its sequence: those of the second direction come in the
 * order it takes them. */
static cab_value *live_steps(cab_dec *d, const cell *c)
{
    int rank = c->wide ? 4 : 3;
    cab_value *t = cab_dec_iota(d, rank, 0, c->steps, CAB_DT_i64), *back, *dir, *n;

    if (!cab_dec_in(d, 4) || cab_dec_failed(d))
        return NULL;
    if (c->wide) {
        back = cab_b_dim(&d->b, cab_dim_sub(d->g->dims, c->steps, cab_dec_c(d, 1)));
        back = cab_dec_bin(d, CAB_OP_sub, back, t);
        dir = cab_dec_iota(d, rank, 1, cab_dec_c(d, 2), CAB_DT_i64);
        t = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, dir, cab_dec_int(d, dir, 0)), t, back);
    }
    n = cab_dec_unsqueeze(d, cab_dec_cast(d, cab_dec_in(d, 4), CAB_DT_i64), 1);
    while (!cab_dec_failed(d) && cab_dec_rank(n) < rank)
        n = cab_dec_unsqueeze(d, n, 0);
    return cab_dec_bin(d, CAB_OP_lt, t, n);
}

/* Direction k's activation i. */
static const char *activation(cab_dec *d, const cell *c, int k, int i)
{
    const cab_attr *act = strings(d, "activations");
    int64_t at = k * c->n_act + i;

    return act && at < act->n ? act->u.strs[at] : c->defaults[i];
}

static bool same_activations(cab_dec *d, const cell *c)
{
    for (int i = 0; i < c->n_act; i++)
        if (strcmp(activation(d, c, 0, i), activation(d, c, 1, i)))
            return false;
    return true;
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
    c->wide = c->dirs == 2 && same_activations(d, c);
    c->live = live_steps(d, c);
    return !cab_dec_failed(d);
}

/* Initial state i of a way, zeros when absent. */
static cab_value *initial(cab_dec *d, const cell *c, int i, int dir)
{
    static const int64_t swap[] = { 1, 0, 2 };
    const cab_dim *dims[3] = { cab_dec_c(d, 2), c->batch, cab_dec_c(d, c->hidden) };
    cab_value *v = cab_dec_in(d, i);

    if (!v)
        return cab_b_expand(&d->b, cab_dec_num(d, c->x, 0), c->wide ? 3 : 2,
                            c->wide ? dims : dims + 1);
    if (cab_dec_rank(v) != 3)
        return cab_dec_bad(d, "an initial state of rank %d", cab_dec_rank(v));
    if (c->wide)
        return c->batch_first ? cab_dec_transpose(d, v, swap) : v;
    return item(d, v, c->batch_first ? 1 : 0, dir);
}

/* The input's part of all gates, at every step. */
static cab_value *project(cab_dec *d, const cell *c, cab_value *w)
{
    cab_value *both[2];

    if (!c->wide)
        return cab_dec_matmul(d, c->x, w, CAB_DT_none);
    both[0] = cab_dec_unsqueeze(d, c->x, 0);
    both[1] = cab_dec_unsqueeze(d, cab_dec_flip(d, c->x, 0), 0);
    if (cab_dec_failed(d))
        return NULL;
    return cab_dec_dot(d, cab_dec_concat(d, both, 2, 0), w, 1, 3, 1, CAB_DT_none);
}

static void read_way(cab_dec *d, const cell *c, int dir, way *w)
{
    const char *name = cab_attr_str(d->n, "direction");
    cab_value *b = cab_dec_in(d, 3);
    int64_t n = c->gates * c->hidden;

    w->dir = dir;
    w->backwards = !c->wide && (dir == 1 || (name && !strcmp(name, "reverse")));
    w->r = transposed(d, of_way(d, c, cab_dec_in(d, 2), dir));
    w->input = project(d, c, transposed(d, of_way(d, c, cab_dec_in(d, 1), dir)));
    if (b) {
        cab_value *wb, *rb;

        b = of_way(d, c, b, dir);
        wb = part(d, b, n, 0);
        rb = part(d, b, n, 1);
        /* A GRU may gate the recurrent bias; the others only add it. */
        if (c->gates == 3)
            w->rb = lifted(d, c, rb, 1);
        else
            wb = cab_dec_bin(d, CAB_OP_add, wb, rb);
        w->input = cab_dec_bin(d, CAB_OP_add, w->input, lifted(d, c, wb, 2));
    }
    w->h = initial(d, c, 5, dir);
    for (int i = 0; i < c->n_act; i++)
        w->act[i] = activation(d, c, dir, i);
    if (c->gates == 4) {
        cab_value *p = cab_dec_in(d, 7);

        w->c = initial(d, c, 6, dir);
        p = p ? of_way(d, c, p, dir) : NULL;
        for (int i = 0; i < 3 && p; i++)
            w->peep[i] = lifted(d, c, part(d, p, c->hidden, i), 1);
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

    rec = cab_dec_matmul(d, w->h, late ? w->r : part(d, w->r, 2 * n, 0), CAB_DT_none);
    if (w->rb)
        rec = cab_dec_bin(d, CAB_OP_add, rec, late ? w->rb : part(d, w->rb, 2 * n, 0));
    for (int k = 0; k < 3; k++)
        g[k] = part(d, x, n, k);
    z = activate(d, w->act[0], cab_dec_bin(d, CAB_OP_add, g[0], part(d, rec, n, 0)));
    r = activate(d, w->act[0], cab_dec_bin(d, CAB_OP_add, g[1], part(d, rec, n, 1)));
    if (late) {
        rh = cab_dec_bin(d, CAB_OP_mul, r, part(d, rec, n, 2));
    } else {
        rh = cab_dec_matmul(d, cab_dec_bin(d, CAB_OP_mul, r, w->h), part(d, w->r, n, 2),
                            CAB_DT_none);
        if (w->rb)
            rh = cab_dec_bin(d, CAB_OP_add, rh, part(d, w->rb, n, 2));
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
    i = activate(d, w->act[0], peeped(d, part(d, x, c->hidden, 0), w->peep[0], w->c));
    f = activate(d, w->act[0], peeped(d, part(d, x, c->hidden, 2), w->peep[2], w->c));
    g = activate(d, w->act[1], part(d, x, c->hidden, 3));
    y = cab_dec_bin(d, CAB_OP_add, cab_dec_bin(d, CAB_OP_mul, f, w->c),
                    cab_dec_bin(d, CAB_OP_mul, i, g));
    o = activate(d, w->act[0], peeped(d, part(d, x, c->hidden, 1), w->peep[1], y));
    *out_c = y;
    return cab_dec_bin(d, CAB_OP_mul, o, activate(d, w->act[2], y));
}

/* One step: the states become the next ones; beyond the length of its sequence
 * (live is false) a state stays as it is. */
static void step(cab_dec *d, const cell *c, way *w, cab_value *x, cab_value *live)
{
    cab_value *mem = NULL;
    cab_value *h = c->gates == 1 ? plain_step(d, c, w, x)
                 : c->gates == 3 ? gru_step(d, c, w, x) : lstm_step(d, c, w, x, &mem);

    if (live) {
        h = cab_b_select(&d->b, live, h, w->h);
        mem = mem ? cab_b_select(&d->b, live, mem, w->c) : NULL;
    }
    w->h = h;
    w->c = mem;
}

/* Steps written out; the states, [steps, batch, hidden]. */
static cab_value *run_few(cab_dec *d, const cell *c, way *w)
{
    int64_t n = c->steps->value;
    cab_value **y = CAB_NEW_N(d->tmp, cab_value *, n);

    for (int64_t k = 0; k < n && !cab_dec_failed(d); k++) {
        int64_t t = w->backwards ? n - 1 - k : k;

        step(d, c, w, item(d, w->input, c->wide ? 1 : 0, t),
             c->live ? item(d, c->live, 0, t) : NULL);
        y[t] = w->h;
    }
    for (int64_t t = 0; t < n; t++)
        y[t] = cab_dec_unsqueeze(d, y[t], 0);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, y, (int)n, 0);
}

/* x[t] along axis of a value from outside the loop; NULL stays. */
static cab_value *item_in(cab_dec_loop *l, cab_value *x, int axis, const cab_dim *t)
{
    cab_dec *in = &l->body.d;

    x = cab_dec_body_capture(&l->body, x);
    return x ? cab_dec_squeeze(in, cab_dec_cut(in, x, axis, t, cab_dec_c(in, 1)), axis) : NULL;
}

/* The same in a loop. */
static cab_value *run_loop(cab_dec *d, const cell *c, way *w)
{
    cab_dec_loop l;
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
    t = w->backwards ? cab_dim_sub(d->g->dims, cab_dim_sub(d->g->dims, c->steps, cab_dec_c(d, 1)),
                                   l.iter) : l.iter;
    x = item_in(&l, w->input, c->wide ? 1 : 0, t);
    step(&l.body.d, c, &v, x, item_in(&l, c->live, 0, t));
    next[0] = v.h;
    next[1] = v.c;
    n = cab_dec_loop_end(&l, next, next, 1, NULL);
    if (!n)
        return NULL;
    w->h = n->out[0];
    w->c = w->c ? n->out[1] : NULL;
    return w->backwards ? cab_dec_flip(d, n->out[n->n_out - 1], 0) : n->out[n->n_out - 1];
}

/* What the steps put out, 0 beyond the lengths. */
static cab_value *run(cab_dec *d, const cell *c, way *w)
{
    bool few = cab_dim_is_const(c->steps) && c->steps->value > 0 && c->steps->value <= FEW_STEPS;
    cab_value *h = few ? run_few(d, c, w) : run_loop(d, c, w);

    if (!c->live || cab_dec_failed(d))
        return h;
    return cab_b_select(&d->b, c->live, h, cab_dec_num(d, h, 0));
}

/* Final states of the directions joined along axis 0 (batch first: 1). */
static cab_value *joined(cab_dec *d, const cell *c, cab_value **v)
{
    static const int64_t swap[] = { 1, 0, 2 };
    int axis = c->batch_first ? 1 : 0;

    if (c->wide)
        return c->batch_first ? cab_dec_transpose(d, v[0], swap) : v[0];
    for (int i = 0; i < c->dirs; i++)
        v[i] = cab_dec_unsqueeze(d, v[i], axis);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, v, c->dirs, axis);
}

/* All steps [steps, directions, batch, hidden], in the order of the input. */
static cab_value *in_order(cab_dec *d, const cell *c, cab_value **y)
{
    cab_value *both = y[0];

    if (c->wide) {
        y[0] = cab_dec_cut(d, both, 1, cab_dec_c(d, 0), cab_dec_c(d, 1));
        y[1] = cab_dec_flip(d, cab_dec_cut(d, both, 1, cab_dec_c(d, 1), cab_dec_c(d, 1)), 0);
    } else {
        for (int i = 0; i < c->dirs; i++)
            y[i] = cab_dec_unsqueeze(d, y[i], 1);
    }
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, y, c->dirs, 1);
}

static cab_value *recur(cab_dec *d, cell *c)
{
    static const int64_t perm[] = { 2, 0, 1, 3 };
    way w[2] = { { 0 } };
    cab_value *y[2], *h[2], *mem[2], *all;

    if (!read_cell(d, c))
        return NULL;
    for (int i = 0; i < (c->wide ? 1 : c->dirs); i++) {
        read_way(d, c, i, &w[i]);
        if (cab_dec_failed(d))
            return NULL;
        y[i] = run(d, c, &w[i]);
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
    all = in_order(d, c, y);
    return c->batch_first && !cab_dec_failed(d) ? cab_dec_transpose(d, all, perm) : all;
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
