/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_equal.c - equality and hash of Specs up to names.
 *
 * Both go through one canonical byte form: axes, operands, views and stages in
 * order, with every expression replaced by its class number.  Classes are
 * numbered in the order of first visit, so a shared node and two equal nodes
 * give the same form.  Extents are told apart by their number in the dims
 * pool: only Specs of one pool can be compared.
 */
#include "ir/spec_int.h"
#include <string.h>

typedef struct canon {
    const cab_spec *s;
    cab_buf out;
    cab_map *classes;          /* contents with class numbers -> class + 1 */
    uint64_t n;
    cab_ex_list list;
    uint64_t *class_of;        /* per place in list */
} canon;

static void put(canon *c, uint64_t v)
{
    cab_buf_bytes(&c->out, &v, sizeof v);
}

static void put_dim(canon *c, const cab_dim *x)
{
    put(c, x ? (uint64_t)x->id + 1 : 0);
}

static uint64_t class_at(const canon *c, const cab_expr *e)
{
    return e ? c->class_of[cab_ex_list_at(&c->list, e)] : 0;
}

static uint64_t classify(canon *c, const cab_expr *e)
{
    uint64_t key[6] = { (uint64_t)e->op, (uint64_t)e->dtype };
    for (int k = 0; k < 3; k++)
        key[2 + k] = class_at(c, e->arg[k]);
    if (e->op == CAB_EX_DIM)
        key[5] = e->u.dim->id;
    else if (e->op == CAB_EX_CONST)
        memcpy(&key[5], &e->u, sizeof key[5]);
    else if (e->op < CAB_EX_SCALAR_)
        key[5] = (uint64_t)e->u.index;
    uintptr_t known = (uintptr_t)cab_map_get(c->classes, key, sizeof key);
    if (known)
        return known;
    cab_map_set(c->classes, key, sizeof key, (void *)(uintptr_t)++c->n);
    cab_buf_bytes(&c->out, key, sizeof key);
    return c->n;
}

static void put_affine(canon *c, const cab_affine *f)
{
    put_dim(c, f->base);
    for (int i = 0; i < c->s->n_axes; i++)
        put_dim(c, f->coef[i]);
}

static void put_view(canon *c, const cab_view *v)
{
    put(c, (uint64_t)v->operand);
    put(c, (uint64_t)v->dtype);
    put_affine(c, &v->at);
    put(c, (uint64_t)v->n_loaded);
    for (int k = 0; k < v->n_loaded; k++) {
        put(c, class_at(c, v->loaded[k].index));
        put_dim(c, v->loaded[k].stride);
        put_dim(c, v->loaded[k].extent);
    }
    put(c, (uint64_t)v->n_guards);
    for (int g = 0; g < v->n_guards; g++) {
        put_affine(c, &v->guard[g].at);
        put_dim(c, v->guard[g].extent);
    }
    if (cab_view_is_guarded(v))
        cab_buf_bytes(&c->out, &v->fill, sizeof v->fill);
    put(c, (uint64_t)v->n_halo);
    for (int h = 0; h < v->n_halo; h++) {
        put_affine(c, &v->halo[h].at);
        put_dim(c, v->halo[h].extent);
    }
}

static void put_stage(canon *c, const cab_stage *st)
{
    put(c, (uint64_t)st->kind);
    put(c, st->axes);
    put(c, class_at(c, st->value));
    if (cab_stage_writes(st))
        put(c, (uint64_t)st->view);
    if (st->kind == CAB_STAGE_STORE) {
        put(c, (uint64_t)st->mode);
    } else {
        put(c, (uint64_t)st->red);
        put(c, (uint64_t)st->acc);
        put(c, st->exclusive);
    }
}

static cab_buf canonical(cab_arena *a, const cab_spec *s)
{
    canon c = { .s = s, .out = cab_buf_on(a), .classes = cab_map_create(a),
                .list = cab_ex_list_on(a, s) };
    cab_ex_list_add_all(&c.list);
    c.class_of = CAB_NEW_N(a, uint64_t, c.list.v.n);
    put(&c, (uint64_t)s->kind);
    put(&c, (uint64_t)s->n_axes);
    put(&c, (uint64_t)s->n_operands);
    put(&c, s->views.n);
    put(&c, s->stages.n);
    for (int i = 0; i < s->n_axes; i++) {
        put(&c, (uint64_t)s->axis[i].kind);
        put_dim(&c, s->axis[i].extent);
    }
    for (int i = 0; i < s->n_operands; i++) {
        put(&c, (uint64_t)s->operands[i].dtype);
        put(&c, s->operands[i].written);
        put_dim(&c, s->operands[i].elems);
    }
    for (size_t i = 0; i < c.list.v.n; i++)
        c.class_of[i] = classify(&c, c.list.v.p[i]);
    put(&c, c.n);
    for (size_t i = 0; i < s->views.n; i++)
        put_view(&c, &s->views.p[i]);
    for (size_t i = 0; i < s->stages.n; i++)
        put_stage(&c, &s->stages.p[i]);
    return c.out;
}

bool cab_spec_equal(const cab_spec *a, const cab_spec *b)
{
    if (a == b)
        return true;
    if (a->dims != b->dims || a->kind != b->kind || a->n_axes != b->n_axes)
        return false;
    cab_mark m = cab_arena_mark(a->arena);
    cab_buf x = canonical(a->arena, a), y = canonical(a->arena, b);
    bool same = x.n == y.n && !memcmp(x.p, y.p, x.n);
    cab_arena_release(a->arena, m);
    return same;
}

uint64_t cab_spec_hash(const cab_spec *s)
{
    cab_mark m = cab_arena_mark(s->arena);
    cab_buf x = canonical(s->arena, s);
    uint64_t h = cab_hash(x.p, x.n, 0);
    cab_arena_release(s->arena, m);
    return h;
}
