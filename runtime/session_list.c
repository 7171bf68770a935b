/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_list.c - sequences and optionals during a run.
 *
 * A list is pointers to elements, which count the lists they are in, so that
 * copying a list copies no tensor.  Elements that are in no list wait in the
 * session for use again: a run that was seen before allocates nothing.  The
 * elements of an input lie in the caller's memory.
 */
#include "runtime/session_int.h"
#include <string.h>

const cab_list_row *cab_list_row_of(uint32_t op)
{
    static const cab_list_row rows[CAB_L_COUNT] = {
#define LIST(id, word, values, params, sets) [CAB_L_##id] = { word, values, params, sets },
        CAB_LISTS(LIST)
#undef LIST
    };
    return op < CAB_L_COUNT ? &rows[op] : NULL;
}

/* ---- elements ---- */
static void drop(cab_session *s, cab_item *x)
{
    if (!x || --x->refs)
        return;
    x->next = s->spare;
    s->spare = x;
}

/* An element that waits, large enough for n bytes but not wastefully so. */
static cab_item *take_spare(cab_session *s, uint64_t n)
{
    for (cab_item **p = &s->spare; *p; p = &(*p)->next) {
        cab_item *x = *p;
        if (x->room >= n && x->room <= 2 * n + 4096) {
            *p = x->next;
            return x;
        }
    }
    return NULL;
}

static cab_item *new_element(cab_session *s, uint64_t n)
{
    const uint64_t head = (sizeof(cab_item) + 63) & ~(uint64_t)63;
    cab_item *x = take_spare(s, n);
    if (!x) {
        if (n > (uint64_t)1 << 47 || !cab_session_room(s, n))
            return NULL;
        x = cab_session_alloc(s, head + n);
        if (!x)
            return NULL;
        x->room = n;
        s->dynamic_bytes += n;
    }
    x->refs = 1;
    x->next = NULL;
    x->bytes = n;
    x->data = (uint8_t *)x + head;
    return x;
}

/* ---- lists ---- */
static void empty(cab_session *s, cab_list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        drop(s, l->e[i]);
    l->n = 0;
    l->present = true;
}

static int no_memory(cab_error *e)
{
    return cab_rt_fail(e, CAB_ENOMEM, "no memory for a sequence, or more than is allowed");
}

static bool reserve(cab_session *s, cab_list *l, uint32_t n)
{
    if (n <= l->room)
        return true;
    uint32_t room = n + n / 2 + 4;
    cab_item **e = cab_session_alloc(s, room * sizeof *e);
    if (!e)
        return false;
    if (l->n)
        memcpy(e, l->e, l->n * sizeof *e);
    cab_session_free(s, l->e);
    l->e = e;
    l->room = room;
    return true;
}

/* Place of an element; behind: one more is a place too.  False outside. */
static bool place(const cab_list *l, int64_t at, bool behind, uint32_t *out)
{
    if (at == INT64_MAX)
        at = l->n;
    if (at < 0)
        at += l->n;
    *out = (uint32_t)at;
    return at >= 0 && at < (int64_t)l->n + behind;
}

static int outside(cab_error *e, const cab_list *l, int64_t at)
{
    return cab_rt_fail(e, CAB_EINPUT, "place %lld in a sequence of %u", (long long)at, l->n);
}

void cab_list_swap(cab_session *s, uint32_t a, uint32_t b)
{
    cab_list l = s->lists[a];
    s->lists[a] = s->lists[b];
    s->lists[b] = l;
}

void cab_lists_end(cab_session *s, bool keep)
{
    for (uint32_t i = 0; i < s->plan->header->n_values; i++) {
        const cab_plan_value *v = &s->plan->values[i];
        drop(s, s->held[i]);
        s->held[i] = NULL;
        if (v->kind && !(keep && v->cls == CAB_V_OUTPUT))
            empty(s, &s->lists[i]);
    }
}

void cab_lists_fini(cab_session *s)
{
    if (!s->lists || !s->held || !s->plan->n_lists)
        return;
    cab_lists_end(s, false);
    for (uint32_t i = 0; i < s->plan->header->n_values; i++) {
        cab_session_free(s, s->lists[i].e);
        cab_session_free(s, s->lists[i].views);
    }
    while (s->spare) {
        cab_item *x = s->spare;
        s->spare = x->next;
        cab_session_free(s, x);
    }
}

/* ---- the caller's side ---- */
static int check_element(const cab_plan_value *v, const char *name, int64_t i,
                         const cab_tensor_view *t, cab_error *e)
{
    size_t need = t->rank >= 0 && t->rank <= CAB_PLAN_MAX_RANK
                      ? cab_tensor_bytes(t->dtype, t->rank, t->dims) : SIZE_MAX;
    if (t->dtype != v->dtype)
        return cab_rt_fail(e, CAB_EINPUT, "element %lld of input '%s' holds %s, the model wants %s",
                           (long long)i, name, cab_dtype_name(cab_dtype_from_onnx(t->dtype)),
                           cab_dtype_name(cab_dtype_from_onnx(v->dtype)));
    if (v->offset != CAB_PLAN_NONE && (uint64_t)t->rank != v->offset)
        return cab_rt_fail(e, CAB_EINPUT, "element %lld of input '%s' has rank %d, the model wants "
                           "%d", (long long)i, name, t->rank, (int)v->offset);
    if (need == SIZE_MAX || t->bytes < need || (need && !t->data))
        return cab_rt_fail(e, CAB_EINPUT, "element %lld of input '%s' lacks bytes, or has "
                           "impossible extents", (long long)i, name);
    return CAB_OK;
}

int cab_list_check_input(const cab_plan *p, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    const cab_plan_value *v = &p->values[p->inputs[i]];
    const char *name = cab_plan_text(p, v->name);
    bool optional = v->kind == CAB_KIND_OPTIONAL;
    const cab_tensor_view *items = t->data;
    if (t->rank == CAB_RANK_NONE && optional)
        return CAB_OK;
    if (optional && !(v->flags & CAB_V_NESTED))
        return check_element(v, name, 0, t, e);
    if (t->rank != CAB_RANK_SEQUENCE)
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' is a sequence: rank CAB_RANK_SEQUENCE, "
                           "dims[0] elements, data their views", name);
    if (t->dims[0] < 0 || t->dims[0] > INT32_MAX || (t->dims[0] && !items) ||
        t->bytes / sizeof *items < (uint64_t)t->dims[0])
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' is a sequence of %lld elements, %zu bytes "
                           "of views are given", name, (long long)t->dims[0], t->bytes);
    for (int64_t k = 0; k < t->dims[0]; k++) {
        int rc = check_element(v, name, k, &items[k], e);
        if (rc != CAB_OK)
            return rc;
    }
    return CAB_OK;
}

static bool borrow(cab_session *s, cab_list *l, const cab_tensor_view *t)
{
    cab_item *x = new_element(s, 0);
    if (!x || !reserve(s, l, l->n + 1)) {
        drop(s, x);
        return false;
    }
    x->dtype = t->dtype;
    x->rank = t->rank;
    memcpy(x->dims, t->dims, sizeof x->dims);
    x->bytes = cab_tensor_bytes(t->dtype, t->rank, t->dims);
    x->data = t->data;
    l->e[l->n++] = x;
    return true;
}

int cab_list_bind(cab_session *s, uint32_t i, cab_error *e)
{
    const cab_tensor_view *t = &s->inputs[i], *items = t->data;
    cab_list *l = &s->lists[s->plan->inputs[i]];
    empty(s, l);
    if (t->rank == CAB_RANK_NONE) {
        l->present = false;
        return CAB_OK;
    }
    if (t->rank != CAB_RANK_SEQUENCE)
        return borrow(s, l, t) ? CAB_OK : no_memory(e);
    for (int64_t k = 0; k < t->dims[0]; k++)
        if (!borrow(s, l, &items[k]))
            return no_memory(e);
    return CAB_OK;
}

static cab_tensor_view view_of(const cab_item *x)
{
    cab_tensor_view v = { .dtype = x->dtype, .rank = x->rank, .data = x->data,
                          .bytes = x->bytes };
    memcpy(v.dims, x->dims, sizeof v.dims);
    return v;
}

/* An output element that is the caller's input would end with the caller. */
static bool own(cab_session *s, cab_list *l, uint32_t i)
{
    cab_item *x = l->e[i], *y;
    if (x->room >= x->bytes)
        return true;
    y = new_element(s, x->bytes);
    if (!y)
        return false;
    y->dtype = x->dtype;
    y->rank = x->rank;
    memcpy(y->dims, x->dims, sizeof y->dims);
    if (x->bytes)
        memcpy(y->data, x->data, x->bytes);
    drop(s, x);
    l->e[i] = y;
    return true;
}

int cab_list_give(cab_session *s, uint32_t i, cab_error *e)
{
    const cab_plan_value *v = &s->plan->values[s->plan->outputs[i]];
    cab_list *l = &s->lists[s->plan->outputs[i]];
    cab_tensor_view *t = &s->outputs[i];
    for (uint32_t k = 0; k < l->n; k++)
        if (!own(s, l, k))
            return no_memory(e);
    *t = (cab_tensor_view){ .dtype = v->dtype, .rank = CAB_RANK_NONE };
    if (v->kind == CAB_KIND_OPTIONAL && !l->present)
        return CAB_OK;
    if (v->kind == CAB_KIND_OPTIONAL && !(v->flags & CAB_V_NESTED)) {
        if (l->n != 1)
            return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: an optional of %u tensors",
                               l->n);
        *t = view_of(l->e[0]);
        return CAB_OK;
    }
    if (l->n > l->n_views) {
        cab_session_free(s, l->views);
        l->n_views = 0;
        l->views = cab_session_alloc(s, l->n * sizeof *l->views);
        if (!l->views)
            return no_memory(e);
        l->n_views = l->n;
    }
    for (uint32_t k = 0; k < l->n; k++)
        l->views[k] = view_of(l->e[k]);
    t->rank = CAB_RANK_SEQUENCE;
    t->dims[0] = l->n;
    t->data = l->views;
    t->bytes = l->n * sizeof *l->views;
    return CAB_OK;
}

/* ---- operations ---- */
typedef struct call {
    cab_session *s;
    cab_error *e;
    const uint32_t *v;         /* values */
    uint32_t n_params;
    const int64_t *p;
    int64_t set;               /* for the slot */
} call;

static cab_list *list(const call *c, int i) { return &c->s->lists[c->v[i]]; }

static int share(call *c)
{
    cab_list *to = list(c, 0), *from = list(c, 1);
    if (to == from)
        return CAB_OK;
    empty(c->s, to);
    if (!reserve(c->s, to, from->n))
        return no_memory(c->e);
    for (uint32_t i = 0; i < from->n; i++) {
        to->e[i] = from->e[i];
        to->e[i]->refs++;
    }
    to->n = from->n;
    to->present = from->present;
    return CAB_OK;
}

static int move(call *c)
{
    cab_list_swap(c->s, c->v[0], c->v[1]);
    if (c->v[0] != c->v[1])
        empty(c->s, list(c, 1));
    return CAB_OK;
}

static int insert(call *c)
{
    cab_session *s = c->s;
    cab_list *l = list(c, 0);
    uint32_t at;
    uint64_t n = s->bytes[c->v[1]];
    int dtype = s->plan->values[c->v[1]].dtype;
    if (!place(l, c->p[0], true, &at))
        return outside(c->e, l, c->p[0]);
    if (cab_tensor_bytes(dtype, (int)c->n_params - 1, c->p + 1) != n ||
        (n && !s->data[c->v[1]]))
        return cab_rt_fail(c->e, CAB_EARTIFACT, "damaged artifact: extents of an element");
    cab_item *x = new_element(s, n);
    if (!x || !reserve(s, l, l->n + 1)) {
        drop(s, x);
        return no_memory(c->e);
    }
    x->dtype = dtype;
    x->rank = (int)c->n_params - 1;
    memcpy(x->dims, c->p + 1, (size_t)x->rank * sizeof *x->dims);
    if (n)
        memcpy(x->data, s->data[c->v[1]], n);
    memmove(l->e + at + 1, l->e + at, (l->n - at) * sizeof *l->e);
    l->e[at] = x;
    l->n++;
    l->present = true;
    return CAB_OK;
}

static int erase(call *c)
{
    cab_list *l = list(c, 0);
    uint32_t at;
    if (!place(l, c->p[0], false, &at))
        return outside(c->e, l, c->p[0]);
    drop(c->s, l->e[at]);
    memmove(l->e + at, l->e + at + 1, (l->n - at - 1) * sizeof *l->e);
    l->n--;
    return CAB_OK;
}

static int extent(call *c)
{
    const cab_list *l = list(c, 0);
    uint32_t at;
    if (!place(l, c->p[0], false, &at))
        return outside(c->e, l, c->p[0]);
    if (l->e[at]->rank != c->p[2] || c->p[1] < 0 || c->p[1] >= c->p[2])
        return cab_rt_fail(c->e, CAB_EINPUT, "element %u of a sequence has rank %d, the model "
                           "wants %d", at, l->e[at]->rank, (int)c->p[2]);
    c->set = l->e[at]->dims[c->p[1]];
    return CAB_OK;
}

static int get(call *c)
{
    cab_session *s = c->s;
    const cab_plan_value *v = &s->plan->values[c->v[0]];
    const cab_list *l = list(c, 1);
    uint32_t at;
    bool fits;
    if (!place(l, c->p[0], false, &at))
        return outside(c->e, l, c->p[0]);
    cab_item *x = l->e[at];
    fits = x->rank == v->rank && x->dtype == v->dtype;
    for (int k = 0; fits && k < v->rank; k++)
        fits = x->dims[k] == s->slots[v->dims[k]];
    if (!fits)
        return cab_rt_fail(c->e, CAB_EINPUT, "element %u of a sequence has another type than the "
                           "model wants", at);
    x->refs++;
    drop(s, s->held[c->v[0]]);
    s->held[c->v[0]] = x;
    s->data[c->v[0]] = x->data;
    s->bytes[c->v[0]] = x->bytes;
    return CAB_OK;
}

/* Extent k of all elements one after another. */
static int concat_extent(call *c)
{
    const cab_list *l = list(c, 0);
    int64_t k = c->p[0], rank = c->p[1], axis = c->p[2], new_axis = c->p[3];
    if (!l->n)
        return cab_rt_fail(c->e, CAB_EINPUT, "an empty sequence cannot be joined");
    if (rank < 0 || rank > CAB_PLAN_MAX_RANK + 1 || k < 0 || k >= rank || axis < 0 || axis >= rank)
        return cab_rt_fail(c->e, CAB_EARTIFACT, "damaged artifact: an axis of a sequence");
    for (uint32_t i = 0; i < l->n; i++) {
        const cab_item *x = l->e[i], *first = l->e[0];
        if (x->rank != rank - (new_axis != 0))
            return cab_rt_fail(c->e, CAB_EINPUT, "element %u of a sequence has rank %d", i, x->rank);
        for (int a = 0; a < x->rank; a++)
            if (x->dims[a] != first->dims[a] && (new_axis || a != axis))
                return cab_rt_fail(c->e, CAB_EINPUT, "elements of a sequence differ in extent %d "
                                   "and cannot be joined", a);
    }
    c->set = 0;
    if (new_axis)
        c->set = k == axis ? l->n : l->e[0]->dims[k - (k > axis)];
    else if (k != axis)
        c->set = l->e[0]->dims[k];
    else
        for (uint32_t i = 0; i < l->n; i++)
            c->set += l->e[i]->dims[axis];
    return CAB_OK;
}

/* Extents were looked at by concat_extent: the elements differ along axis only. */
static int concat(call *c)
{
    cab_session *s = c->s;
    const cab_list *l = list(c, 1);
    uint64_t outer = 1, total = 0;
    uint8_t *to = s->data[c->v[0]];
    for (uint32_t i = 0; i < l->n; i++)
        total += l->e[i]->bytes;
    if (total != s->bytes[c->v[0]] || (total && !to) || c->p[0] < 0 ||
        (l->n && c->p[0] > l->e[0]->rank))
        return cab_rt_fail(c->e, CAB_EARTIFACT, "damaged artifact: size of a joined sequence");
    for (int a = 0; l->n && a < c->p[0]; a++)
        outer *= (uint64_t)l->e[0]->dims[a];
    for (uint64_t o = 0; total && o < outer; o++)
        for (uint32_t i = 0; i < l->n; i++) {
            uint64_t n = l->e[i]->bytes / outer;
            memcpy(to, (const uint8_t *)l->e[i]->data + o * n, n);
            to += n;
        }
    return CAB_OK;
}

static int clear(call *c)
{
    empty(c->s, list(c, 0));
    return CAB_OK;
}

static int none(call *c)
{
    empty(c->s, list(c, 0));
    list(c, 0)->present = false;
    return CAB_OK;
}

static int length(call *c)
{
    c->set = list(c, 0)->n;
    return CAB_OK;
}

static int has(call *c)
{
    c->set = list(c, 0)->present;
    return CAB_OK;
}

static int (*const operations[CAB_L_COUNT])(call *) = {
    [CAB_L_CLEAR] = clear,   [CAB_L_NONE] = none,     [CAB_L_COPY] = share,
    [CAB_L_MOVE] = move,     [CAB_L_INSERT] = insert, [CAB_L_ERASE] = erase,
    [CAB_L_LENGTH] = length, [CAB_L_HAS] = has,       [CAB_L_DIM] = extent,
    [CAB_L_GET] = get,       [CAB_L_CONCAT_DIM] = concat_extent, [CAB_L_CONCAT] = concat,
};

int cab_run_list(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    const uint32_t *w = s->plan->words + x->b;
    call c = { .s = s, .e = r->e, .v = w + 1, .n_params = w[1 + w[0]], .p = s->ints };
    cab_error e = { 0 };
    for (uint32_t i = 0; i < c.n_params; i++)
        s->ints[i] = s->slots[w[2 + w[0] + i]];
    c.e = &e;
    int rc = operations[x->a](&c);
    if (rc != CAB_OK)
        return cab_rt_fail(r->e, rc, "node '%.100s': %.380s", cab_plan_text(s->plan, x->d), e.text);
    if (cab_list_row_of(x->a)->sets)
        s->slots[x->c] = c.set;
    return CAB_OK;
}
