/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_flow.c - instructions that decide what runs next and with which
 * sizes, and memory for what the inputs do not size.
 *
 * Memory of DYNAMIC values stays with the session and only grows, and every run
 * begins with the same memory for the same number, so that a run whose sizes
 * were seen before allocates nothing.
 */
#include "runtime/session_int.h"
#include <string.h>

static int locate_aliases(cab_run *r)
{
    cab_session *s = r->s;
    int rc = CAB_OK;
    for (uint32_t i = 0; s->plan->n_aliases && i < s->plan->header->n_values && rc == CAB_OK; i++)
        if (s->plan->values[i].cls == CAB_V_ALIAS)
            rc = cab_session_locate(s, i, r->e);
    return rc;
}

/* ---- sizes ---- */
/* What has its memory already keeps its size. */
int cab_run_eval_shape(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    int rc = cab_shape_eval(s->plan, NULL, NULL, s->slots, x->a, x->b, r->e);
    return rc == CAB_OK ? locate_aliases(r) : rc;
}

int cab_run_size_read(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    cab_dtype dt = cab_dtype_from_onnx(s->plan->values[x->b].dtype);
    uint64_t need;
    if (!cab_dtype_bytes(dt, (uint64_t)x->c + 1, &need) || need > s->bytes[x->b] ||
        !s->data[x->b])
        return cab_rt_fail(r->e, CAB_EARTIFACT, "damaged artifact: size read outside its tensor");
    s->slots[x->a] = cab_elem_i64(dt, s->data[x->b], x->c);
    return CAB_OK;
}

int cab_run_set(cab_run *r, const cab_plan_instr *x)
{
    r->s->slots[x->a] = r->s->slots[x->b];
    return CAB_OK;
}

int cab_run_check(cab_run *r, const cab_plan_instr *x)
{
    const cab_plan *p = r->s->plan;
    const char *layers = cab_plan_text(p, x->d);
    cab_error e = { 0 };
    if (cab_session_check(r->s, &p->checks[x->a], &e) == CAB_OK)
        return CAB_OK;
    if (!layers[0])
        return cab_rt_fail(r->e, e.code, "%s", e.text);
    return cab_rt_fail(r->e, e.code, "node '%.100s': %.380s", layers, e.text);
}

/* ---- memory ---- */
/* n bytes for the values of a number; keep: with their contents.  What grows in
 * a loop grows by halves, so that it is moved a logarithmic number of times. */
static int ensure_dynamic(cab_run *r, uint32_t number, uint64_t n, bool keep, void **out)
{
    cab_session *s = r->s;
    uint32_t k = s->dynamic_of[number];
    uint64_t want = keep && s->dynamic[k] ? n + n / 2 : n;
    *out = s->dynamic[k];
    if (s->dynamic[k] && n <= s->dynamic_cap[k])
        return CAB_OK;
    if (!cab_session_room(s, want > s->dynamic_cap[k] ? want - s->dynamic_cap[k] : 0))
        return cab_rt_fail(r->e, CAB_ELIMIT, "a tensor of %llu bytes is more than is allowed",
                           (unsigned long long)n);
    void *more = cab_session_alloc(s, want);
    if (!more)
        return cab_rt_fail(r->e, CAB_ENOMEM, "no memory for a tensor of %llu bytes",
                           (unsigned long long)n);
    if (keep && s->dynamic_cap[k])
        memcpy(more, s->dynamic[k], s->dynamic_cap[k]);
    cab_session_free(s, s->dynamic[k]);
    s->dynamic_bytes += want - s->dynamic_cap[k];
    *out = s->dynamic[k] = more;
    s->dynamic_cap[k] = want;
    return CAB_OK;
}

int cab_run_alloc(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    const cab_plan_value *v = &s->plan->values[x->a];
    int rc = cab_session_check_size(s, v, s->plan->header->n_scalars, "this data", r->e);
    if (rc != CAB_OK)
        return rc;
    uint64_t n = (uint64_t)s->slots[v->slot_bytes];
    s->bytes[x->a] = n;
    if (v->cls == CAB_V_OUTPUT) {
        rc = cab_session_bind_output(s, v->index, r->e);
    } else {
        rc = ensure_dynamic(r, v->index, n, x->b, &s->data[x->a]);
    }
    return rc == CAB_OK ? locate_aliases(r) : rc;
}

int cab_run_swap(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    const cab_plan_value *a = &s->plan->values[x->a], *b = &s->plan->values[x->b];
    void *data = s->data[x->a];
    uint64_t bytes = s->bytes[x->a];
    bool dynamic = a->cls == CAB_V_DYNAMIC;
    if (a->kind) {
        cab_list_swap(s, x->a, x->b);
        return CAB_OK;
    }
    if (!dynamic && bytes != s->bytes[x->b])
        return cab_rt_fail(r->e, CAB_EARTIFACT, "damaged artifact: tensors of unequal sizes "
                                                "change places");
    s->data[x->a] = s->data[x->b];
    s->data[x->b] = data;
    s->bytes[x->a] = s->bytes[x->b];
    s->bytes[x->b] = bytes;
    if (dynamic) {                     /* their memory goes with them */
        uint32_t k = s->dynamic_of[a->index];
        s->dynamic_of[a->index] = s->dynamic_of[b->index];
        s->dynamic_of[b->index] = k;
    }
    return locate_aliases(r);
}

/* ---- jumps ---- */
int cab_run_jump(cab_run *r, const cab_plan_instr *x)
{
    r->pc = x->a;
    return CAB_OK;
}

int cab_run_branch(cab_run *r, const cab_plan_instr *x)
{
    if (r->s->slots[x->b] == 0)
        r->pc = x->a;
    return CAB_OK;
}

int cab_run_loop(cab_run *r, const cab_plan_instr *x)
{
    int64_t *slots = r->s->slots;
    slots[x->a] = 0;
    if (slots[x->a] >= slots[x->b])
        r->pc = x->c;
    return CAB_OK;
}

int cab_run_next(cab_run *r, const cab_plan_instr *x)
{
    const cab_plan_instr *l = &r->s->plan->instrs[x->b];
    if (++r->s->slots[x->a] < r->s->slots[l->b])
        r->pc = x->b + 1;
    else
        r->pc = l->c;
    return CAB_OK;
}
