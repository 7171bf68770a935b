/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custom.c - operators whose kernels the host program brings.
 *
 * At load every instruction CUSTOM finds its kernel by domain and name, and
 * its attributes become what the kernel sees; a run only fills in the tensors,
 * in a table of the session.  What a kernel is told of a tensor is checked
 * against the memory behind it, so that a wrong file cannot make a right
 * kernel leave its buffers.
 */
#include "runtime/session_int.h"
#include <string.h>

/* ---- loading ---- */

static const cab_custom_op *find(const cab_model_options *o, const char *domain, const char *name)
{
    for (size_t i = 0; i < o->n_custom; i++) {
        const cab_custom_op *c = &o->custom[i];
        const char *own = c->domain && strcmp(c->domain, "ai.onnx") ? c->domain : "";
        if (c->name && c->compute && !strcmp(own, domain) && !strcmp(c->name, name))
            return c;
    }
    return NULL;
}

static const uint32_t *skip_tensors(const uint32_t *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        w += 3 + w[2];
    return w;
}

/* Bytes of the attribute table and of the elements behind it. */
static size_t attr_bytes(const uint32_t *w, uint32_t n)
{
    size_t bytes = n * sizeof(cab_custom_attr);
    for (uint32_t i = 0; i < n; i++) {
        bytes += w[1] == CAB_PA_TEXT ? 0 : 8 * (size_t)w[2];
        w += 3 + (size_t)w[2] * (w[1] == CAB_PA_INTS ? 2 : 1);
    }
    return bytes;
}

/* Words of one attribute -> *a; elements go to p (8 bytes each). */
static const uint32_t *decode_attr(const cab_plan *plan, const uint32_t *w, cab_custom_attr *a,
                                   uint8_t **p)
{
    uint32_t n = w[2];
    *a = (cab_custom_attr){ .name = cab_plan_text(plan, w[0]), .n = (int)n };
    if (w[1] == CAB_PA_TEXT) {
        a->text = cab_plan_text(plan, w[3]);
        return w + 4;
    }
    if (w[1] == CAB_PA_INTS) {
        int64_t *v = (int64_t *)(void *)*p;
        for (uint32_t k = 0; k < n; k++)
            v[k] = (int64_t)((uint64_t)w[4 + 2 * (size_t)k] << 32 | w[3 + 2 * (size_t)k]);
        a->ints = v;
        *p += 8 * (size_t)n;
        return w + 3 + 2 * (size_t)n;
    }
    if (n)
        memcpy(*p, w + 3, 4 * (size_t)n);
    a->floats = (const float *)(const void *)*p;
    *p += 8 * (size_t)n;
    return w + 3 + n;
}

static int decode(const cab_allocator *a, const cab_plan *p, const uint32_t *w,
                  cab_custom_entry *x, cab_error *e)
{
    uint32_t n = w[CAB_CUSTOM_ATTRS];
    x->tensors = w + CAB_CUSTOM_HEAD;
    x->call = (cab_custom_call){ .node = cab_plan_text(p, w[CAB_CUSTOM_NODE]),
                                 .n_inputs = (int)w[CAB_CUSTOM_INPUTS],
                                 .n_outputs = (int)w[CAB_CUSTOM_OUTPUTS], .n_attrs = (int)n };
    w = skip_tensors(x->tensors, w[CAB_CUSTOM_INPUTS] + w[CAB_CUSTOM_OUTPUTS]);
    cab_custom_attr *list = cab_rt_alloc_zero(a, 1, attr_bytes(w, n) + 8);
    if (!list)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    x->call.attrs = list;
    uint8_t *data = (uint8_t *)(list + n);
    for (uint32_t i = 0; i < n; i++)
        w = decode_attr(p, w, &list[i], &data);
    return CAB_OK;
}

int cab_custom_resolve(cab_model *m, const cab_model_options *o, cab_error *e)
{
    const cab_plan *p = &m->plan;
    if (!p->n_custom)
        return CAB_OK;
    m->custom = cab_rt_alloc_zero(&m->alloc, p->n_custom, sizeof *m->custom);
    if (!m->custom)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        if (p->instrs[i].op != CAB_I_CUSTOM)
            continue;
        const uint32_t *w = p->words + p->instrs[i].b;
        const char *domain = cab_plan_text(p, w[CAB_CUSTOM_DOMAIN]);
        const char *name = cab_plan_text(p, w[CAB_CUSTOM_NAME]);
        const cab_custom_op *op = find(o, domain, name);
        if (!op)
            return cab_rt_fail(e, CAB_EUNSUPPORTED, "the artifact needs the custom operator "
                               "%s%s%s: register it in cab_model_options.custom",
                               domain, *domain ? "::" : "", name);
        cab_custom_entry *x = &m->custom[p->instrs[i].a];
        x->op = *op;
        x->op.domain = domain;
        x->op.name = name;
        int rc = decode(&m->alloc, p, w, x, e);
        if (rc != CAB_OK)
            return rc;
    }
    return CAB_OK;
}

void cab_custom_drop(cab_model *m)
{
    for (uint32_t i = 0; m->custom && i < m->plan.n_custom; i++)
        cab_rt_free(&m->alloc, (void *)(uintptr_t)m->custom[i].call.attrs);
    cab_rt_free(&m->alloc, m->custom);
}

uint32_t cab_custom_tensors(const cab_model *m)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < m->plan.n_custom; i++) {
        uint32_t n = (uint32_t)(m->custom[i].call.n_inputs + m->custom[i].call.n_outputs);
        most = n > most ? n : most;
    }
    return most;
}

/* ---- running ---- */

/* One tensor as the kernel sees it; false when it is larger than its memory. */
static bool view(const cab_session *s, const uint32_t *w, cab_tensor_view *v)
{
    uint64_t n = 1, need;
    *v = (cab_tensor_view){ .dtype = (int)w[1], .rank = (int)w[2] };
    if (w[0] == CAB_PLAN_NONE)
        return true;
    for (uint32_t k = 0; k < w[2]; k++) {
        v->dims[k] = s->slots[w[3 + k]];
        if (v->dims[k] < 0 || __builtin_mul_overflow(n, (uint64_t)v->dims[k], &n))
            return false;
    }
    if (!cab_dtype_bytes(cab_dtype_from_onnx(v->dtype), n, &need) || need > s->bytes[w[0]] ||
        (need && !s->data[w[0]]))
        return false;
    v->data = s->data[w[0]];
    v->bytes = need;
    return true;
}

int cab_session_custom(cab_session *s, const cab_plan_instr *x, cab_error *e)
{
    const cab_custom_entry *c = &s->model->custom[x->a];
    cab_custom_call call = c->call;
    const uint32_t *w = c->tensors;
    cab_error own = { 0 };
    for (int i = 0; i < call.n_inputs + call.n_outputs; i++) {
        if (!view(s, w, &s->views[i]))
            return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: a tensor of a custom operator "
                                                 "is larger than its memory");
        w += 3 + w[2];
    }
    call.inputs = s->views;
    call.outputs = s->views + call.n_inputs;
    int rc = c->op.compute(c->op.user, &call, &own);
    if (rc == CAB_OK)
        return CAB_OK;
    own.text[sizeof own.text - 1] = 0;
    return cab_rt_fail(e, rc > 0 && rc < CAB_STATUS_COUNT ? rc : CAB_EINTERNAL,
                       "node '%s' (%s%s%s): %.380s", call.node, c->op.domain,
                       *c->op.domain ? "::" : "", c->op.name,
                       own.text[0] ? own.text : "the custom operator failed");
}
