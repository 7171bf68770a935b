/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_bind.c - before a run: checks inputs, computes sizes, finds memory.
 *
 * Sizes and arena offsets are computed once per tuple of slot values and
 * remembered, so a shape seen before costs no allocation.
 */
#include "runtime/session_int.h"
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void *cab_session_alloc(cab_session *s, uint64_t bytes)
{
    if (bytes > UINT64_MAX - 64)
        return NULL;
    s->allocations++;
    return cab_rt_alloc(&s->model->alloc, bytes, 64);
}

void cab_session_free(cab_session *s, void *p) { cab_rt_free(&s->model->alloc, p); }

/* ---- inputs ---- */

static bool numel(const cab_tensor_view *t, uint64_t *out)
{
    uint64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(n, (uint64_t)t->dims[i], &n))
            return false;
    *out = n;
    return true;
}

static int check_input(const cab_plan *p, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    const cab_plan_value *v = &p->values[p->inputs[i]];
    const char *name = cab_plan_text(p, v->name);
    if (v->kind)
        return cab_list_check_input(p, i, t, e);
    cab_dtype want = cab_dtype_from_onnx(v->dtype), got = cab_dtype_from_onnx(t->dtype);
    uint64_t n, need;
    if (want != got)
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' holds %s, the model wants %s", name,
                           cab_dtype_name(got), cab_dtype_name(want));
    if (t->rank != v->rank)
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' has rank %d, the model wants %d", name,
                           t->rank, v->rank);
    if (!numel(t, &n) || !cab_dtype_bytes(want, n, &need))
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' has impossible extents", name);
    return CAB_OK;
}

/* The bytes behind an input whose type and extents fit. */
static int check_data(const cab_session *s, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    const cab_plan *p = s->plan;
    const cab_plan_value *v = &p->values[p->inputs[i]];
    const char *name = cab_plan_text(p, v->name);
    uint64_t need = (uint64_t)s->slots[v->slot_bytes];
    if (v->kind)
        return CAB_OK;
    if (t->bytes < need || (need && !t->data))
        return cab_rt_fail(e, CAB_EINPUT, "input '%s' needs %llu bytes, %llu are given", name,
                           (unsigned long long)need, (unsigned long long)t->bytes);
    if (v->flags & CAB_V_FIXED && memcmp(t->data, cab_plan_constant(p, v), need))
        return cab_rt_fail(e, CAB_EINPUT,
                           "input '%s' decides sizes, and the model was compiled for another "
                           "value of it: compile again with this one", name);
    return CAB_OK;
}

static int check_extents(const cab_session *s, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    const cab_plan *p = s->plan;
    const cab_plan_value *v = &p->values[p->inputs[i]];
    for (int k = 0; k < v->rank; k++) {
        int64_t want = s->slots[v->dims[k]];
        const char *symbol = cab_plan_text(p, p->scalars[v->dims[k]].name);
        if (t->dims[k] == want)
            continue;
        return cab_rt_fail(e, CAB_EINPUT,
                           "input '%s': extent %d is %lld, must be %lld%s%s%s",
                           cab_plan_text(p, v->name), k, (long long)t->dims[k],
                           (long long)want, symbol[0] ? " (" : "", symbol,
                           symbol[0] ? " of another input)" : "");
    }
    return CAB_OK;
}

int cab_session_check(const cab_session *s, const cab_plan_check *c, cab_error *e)
{
    const cab_plan *p = s->plan;
    const char *why = cab_plan_text(p, c->why);
    int64_t a = s->slots[c->a], b = s->slots[c->b];
    uint32_t kind = c->kind & ~(uint32_t)CAB_C_LATE;
    if (kind == CAB_C_LE && a > b)
        return cab_rt_fail(e, CAB_EINPUT, "%s, not %lld", why,
                           (long long)(p->scalars[c->a].op == CAB_S_CONST ? b : a));
    if (kind == CAB_C_EQ && a != b)
        return cab_rt_fail(e, CAB_EINPUT, "sizes do not fit: %s (%lld and %lld)", why,
                           (long long)a, (long long)b);
    return CAB_OK;
}

static int check_guards(const cab_session *s, cab_error *e)
{
    const cab_plan *p = s->plan;
    int rc = CAB_OK;
    for (uint32_t i = 0; i < p->header->n_checks && rc == CAB_OK; i++)
        if (!(p->checks[i].kind & CAB_C_LATE))
            rc = cab_session_check(s, &p->checks[i], e);
    return rc;
}

/* ---- packings ---- */

int cab_session_check_size(const cab_session *s, const cab_plan_value *v, uint32_t n_slots, const char *from, cab_error *e)
{
    enum { HOLLOW_MAX = 1 << 28 };
    int64_t bytes = v->slot_bytes < n_slots ? s->slots[v->slot_bytes] : 0;
    bool empty = false, ok = bytes >= 0 && bytes < (int64_t)1 << 47;
    uint64_t others = 1;               /* elements, if its extents of 0 were 1 */
    for (int k = 0; k < v->rank; k++) {
        int64_t extent = v->dims[k] < n_slots ? s->slots[v->dims[k]] : 1;
        ok = ok && extent >= 0;
        empty = empty || !extent;
        if (ok && extent && __builtin_mul_overflow(others, (uint64_t)extent, &others))
            others = UINT64_MAX;
    }
    const char *name = cab_plan_text(s->plan, v->name);
    if (!ok)
        return cab_rt_fail(e, CAB_EINPUT, "a tensor%s%s gets a negative or enormous size from %s", *name ? " " : "", name, from);
    if (empty && others > HOLLOW_MAX)
        return cab_rt_fail(e, CAB_EINPUT, "a tensor%s%s gets an extent of 0 beside enormous ones from %s", *name ? " " : "", name, from);
    return CAB_OK;
}

/* Also of values no caller sees. */
static int check_sizes(const cab_session *s, cab_error *e)
{
    const cab_plan *p = s->plan;
    int rc = CAB_OK;
    for (uint32_t i = 0; i < p->header->n_values && rc == CAB_OK; i++)
        rc = cab_session_check_size(s, &p->values[i], p->n_early, "these input shapes", e);    /* of late ones ALLOC */
    return rc;
}

/* Of the helpers whose parameters the inputs decide. */
static uint64_t helper_scratch(const cab_session *s)
{
    const cab_plan *p = s->plan;
    uint64_t most = 0;
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const cab_plan_instr *x = &p->instrs[i];
        bool late = false;
        if (x->op != CAB_I_HELPER)
            continue;
        const uint32_t *w = p->words + x->b;
        const uint32_t *params = w + 1 + w[0];
        for (uint32_t k = 0; k < params[0]; k++) {
            late |= params[1 + k] >= p->n_early;
            s->ints[k] = s->slots[params[1 + k]];
        }
        uint64_t n = late ? 0 : cab_helper_get(x->a)->scratch(s->ints);
        most = n > most ? n : most;
    }
    return most;
}

static cab_packing *find_packing(cab_session *s)
{
    size_t n = s->plan->n_early * sizeof *s->slots;
    for (int i = 0; i < CAB_PACKINGS; i++)
        if (s->packing[i].stamp && !memcmp(s->packing[i].slots, s->slots, n))
            return &s->packing[i];
    return NULL;
}

static int new_packing(cab_session *s, cab_packing **out, cab_error *e)
{
    const cab_plan *p = s->plan;
    cab_packing *oldest = &s->packing[0];
    for (int i = 1; i < CAB_PACKINGS; i++)
        if (s->packing[i].stamp < oldest->stamp)
            oldest = &s->packing[i];
    oldest->stamp = 0;
    if (!oldest->slots)
        oldest->slots = cab_session_alloc(s, p->n_early * sizeof *oldest->slots);
    if (!oldest->offsets)
        oldest->offsets = cab_session_alloc(s, p->header->n_values * sizeof *oldest->offsets);
    if (!oldest->slots || !oldest->offsets)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    int rc = check_sizes(s, e);
    if (rc != CAB_OK)
        return rc;
    memset(oldest->offsets, 0, p->header->n_values * sizeof *oldest->offsets);
    if (!cab_arena_pack(p->values, p->header->n_values, s->slots, oldest->offsets, s->order,
                        &oldest->arena_bytes))
        return cab_rt_fail(e, CAB_ELIMIT, "the buffers of this shape exceed the address space");
    oldest->scratch_bytes = helper_scratch(s);
    if (p->n_early)
        memcpy(oldest->slots, s->slots, p->n_early * sizeof *s->slots);
    *out = oldest;
    return CAB_OK;
}

/* Whole huge pages: an end in small ones was seen to cost a kernel eight times its time. */
static uint8_t *alloc_arena(cab_session *s, uint64_t *need)
{
    if (!s->options.huge_pages || *need < HUGE_PAGE || *need > UINT64_MAX - HUGE_PAGE)
        return cab_session_alloc(s, *need);
    *need = (*need + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    s->allocations++;
    uint8_t *p = cab_rt_alloc(&s->model->alloc, *need, HUGE_PAGE);
    if (p && (uintptr_t)p % HUGE_PAGE == 0)
        (void)madvise(p, *need, MADV_HUGEPAGE);    /* refused: small pages do as well */
    return p;
}

static int ensure_arena(cab_session *s, const cab_packing *k, cab_error *e)
{
    uint64_t need;
    if (__builtin_add_overflow(k->arena_bytes, k->scratch_bytes + 64, &need))
        return cab_rt_fail(e, CAB_ELIMIT, "the buffers of this shape exceed the address space");
    if (need <= s->arena_bytes)
        return CAB_OK;
    cab_session_free(s, s->arena);
    s->arena = NULL;
    s->arena_bytes = 0;
    s->arena = alloc_arena(s, &need);
    if (!s->arena)
        return cab_rt_fail(e, CAB_ENOMEM, "no memory for %llu bytes of intermediate tensors",
                           (unsigned long long)need);
    s->arena_bytes = need;
    return CAB_OK;
}

int cab_session_scratch(cab_session *s, uint64_t need, void **out, cab_error *e)
{
    *out = s->arena + (s->arena_bytes - s->scratch_bytes) / 64 * 64;
    if (need <= s->scratch_bytes)
        return CAB_OK;
    *out = s->scratch;
    if (need <= s->scratch_cap)
        return CAB_OK;
    cab_session_free(s, s->scratch);
    s->scratch_cap = 0;
    if (need > (uint64_t)1 << 47 || !cab_session_room(s, need))
        return cab_rt_fail(e, CAB_ELIMIT, "a helper needs more memory than is allowed");
    *out = s->scratch = cab_session_alloc(s, need);
    if (!s->scratch)
        return cab_rt_fail(e, CAB_ENOMEM, "no memory for a helper");
    s->scratch_cap = need;
    return CAB_OK;
}

/* ---- memory of values ---- */

/* Memory of the session's own for output i.  The last run's may be an input of
 * this one (state that the caller hands back): then it rests for a run. */
static int own_output(cab_session *s, uint32_t i, uint64_t need, const cab_tensor_view *inputs,
                      const char *name, cab_error *e)
{
    if (cab_session_holds_input(s, s->out_mem[i], s->out_cap[i], inputs)) {
        void *mem = s->out_mem[i];
        uint64_t cap = s->out_cap[i];
        s->out_mem[i] = s->spare_mem[i];
        s->out_cap[i] = s->spare_cap[i];
        s->spare_mem[i] = mem;
        s->spare_cap[i] = cap;
        if (cab_session_holds_input(s, s->out_mem[i], s->out_cap[i], inputs))
            return cab_rt_fail(e, CAB_EINPUT, "two inputs lie in the session's memory for output "
                               "'%s': bring memory of your own for it", name);
    }
    if (s->out_cap[i] >= need && s->out_mem[i])
        return CAB_OK;
    if (!cab_session_room(s, need - s->out_cap[i]))
        return cab_rt_fail(e, CAB_ELIMIT, "output '%s' of %llu bytes is more than is allowed", name,
                           (unsigned long long)need);
    cab_session_free(s, s->out_mem[i]);
    s->out_cap[i] = 0;
    s->out_mem[i] = cab_session_alloc(s, need);
    if (!s->out_mem[i])
        return cab_rt_fail(e, CAB_ENOMEM, "no memory for output '%s'", name);
    s->out_cap[i] = need;
    return CAB_OK;
}

/* Some extent of it is decided during the run. */
static bool has_late_extents(const cab_plan *p, const cab_plan_value *v)
{
    for (int k = 0; k < v->rank; k++)
        if (v->dims[k] >= p->n_early)
            return true;
    return false;
}

static int fill_extents(cab_session *s, uint32_t i, cab_error *e)
{
    const cab_plan_value *v = &s->plan->values[s->plan->outputs[i]];
    cab_tensor_view *t = &s->outputs[i];
    uint64_t n, seen;
    for (int k = 0; k < v->rank; k++)
        t->dims[k] = s->slots[v->dims[k]];
    if (!numel(t, &n) || !cab_dtype_bytes(cab_dtype_from_onnx(v->dtype), n, &seen) ||
        seen > s->bytes[s->plan->outputs[i]])
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: output '%s' is larger than its "
                                             "memory", cab_plan_text(s->plan, v->name));
    return CAB_OK;
}

int cab_session_late_outputs(cab_session *s, cab_error *e)
{
    int rc = CAB_OK;
    for (uint32_t i = 0; i < s->plan->header->n_outputs && rc == CAB_OK; i++)
        if (!s->plan->values[s->plan->outputs[i]].kind && has_late_extents(s->plan, &s->plan->values[s->plan->outputs[i]]))
            rc = fill_extents(s, i, e);
    return rc;
}

int cab_session_bind_output(cab_session *s, uint32_t i, cab_error *e)
{
    const cab_plan_value *v = &s->plan->values[s->plan->outputs[i]];
    const char *name = cab_plan_text(s->plan, v->name);
    const cab_tensor_view *inputs = s->inputs;
    cab_tensor_view *outputs = s->outputs, *t = &outputs[i];
    uint64_t need = s->bytes[s->plan->outputs[i]];
    bool aside = false, is_state;
    t->dtype = v->dtype;
    t->rank = v->rank;
    if (!has_late_extents(s->plan, v) && fill_extents(s, i, e) != CAB_OK)
        return CAB_EARTIFACT;
    s->copy_to[i] = NULL;
    int rc = cab_state_output(s, i, t, &is_state, e);
    if (rc != CAB_OK || is_state)
        return rc;
    if (t->data == s->out_mem[i] || t->data == s->spare_mem[i])    /* a view that is used again */
        t->data = NULL;
    if (t->data) {
        if (t->bytes < need)
            return cab_rt_fail(e, CAB_EINPUT, "output '%s' needs %llu bytes, %llu are given", name,
                               (unsigned long long)need, (unsigned long long)t->bytes);
        rc = cab_session_overlap(s, i, t->data, need, inputs, outputs, &aside, e);
        if (rc != CAB_OK)
            return rc;
        s->data[s->plan->outputs[i]] = t->data;
        if (!aside)
            return CAB_OK;
        s->copy_to[i] = t->data;
    }
    rc = own_output(s, i, need, inputs, name, e);
    if (rc != CAB_OK)
        return rc;
    s->data[s->plan->outputs[i]] = s->out_mem[i];
    if (!t->data) {
        t->data = s->out_mem[i];
        t->bytes = need;
    }
    return CAB_OK;
}

/* Where an alias lies is decided during the run. */
static bool is_late(const cab_plan *p, const cab_plan_value *v)
{
    return v->slot_bytes >= p->n_early || v->slot_offset >= p->n_early ||
           p->values[v->index].slot_bytes >= p->n_early;
}

int cab_session_locate(cab_session *s, uint32_t value, cab_error *e)
{
    const cab_plan_value *v = &s->plan->values[value];
    s->bytes[value] = v->slot_bytes < s->plan->n_early || v->cls == CAB_V_ALIAS
                          ? (uint64_t)s->slots[v->slot_bytes] : 0;
    if (v->cls != CAB_V_ALIAS)
        return CAB_OK;
    int64_t at = s->slots[v->slot_offset];
    bool fits = at >= 0 && (uint64_t)at <= s->bytes[v->index] &&
                s->bytes[value] <= s->bytes[v->index] - (uint64_t)at;
    if (s->data[v->index] && fits) {
        s->data[value] = (uint8_t *)s->data[v->index] + at;
        return CAB_OK;
    }
    if (s->data[v->index] && !is_late(s->plan, v))
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: a tensor leaves its buffer");
    s->data[value] = NULL;             /* its buffer gets memory, or more of it, later */
    s->bytes[value] = 0;
    return CAB_OK;
}

static int locate_all(cab_session *s, const cab_packing *k, cab_error *e)
{
    const cab_plan *p = s->plan;
    for (uint32_t i = 0; i < p->header->n_values; i++) {
        const cab_plan_value *v = &p->values[i];
        int rc = cab_session_locate(s, i, e);
        switch (v->cls) {
        case CAB_V_INPUT:
            s->data[i] = s->inputs[v->index].data;
            if (v->kind)
                rc = cab_list_bind(s, v->index, e);
            break;
        case CAB_V_LIST: case CAB_V_BORROWED: s->data[i] = NULL; s->bytes[i] = 0; break;
        case CAB_V_CONST: s->data[i] = cab_plan_constant(p, v); break;
        case CAB_V_ARENA: s->data[i] = s->arena + k->offsets[i]; break;
        case CAB_V_DYNAMIC: s->data[i] = NULL; s->bytes[i] = 0; break;
        case CAB_V_OUTPUT:
            if (v->kind)
                s->copy_to[v->index] = NULL;
            else if (v->slot_bytes < p->n_early)   /* else by ALLOC */
                rc = cab_session_bind_output(s, v->index, e);
            break;
        default: break;
        }
        if (rc != CAB_OK)
            return rc;
    }
    return CAB_OK;
}

/* Of a size decided during the run: what is held for it so far. */
static uint64_t output_size(const cab_session *s, uint32_t i)
{
    uint32_t slot = s->plan->values[s->plan->outputs[i]].slot_bytes;
    return slot < s->plan->n_early ? (uint64_t)s->slots[slot] : s->out_cap[i];
}

static uint64_t output_bytes(const cab_session *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->plan->header->n_outputs; i++)
        sum += output_size(s, i);
    return sum;
}

int cab_session_size(cab_session *s, const cab_tensor_view *inputs, cab_packing **out,
                     cab_error *e)
{
    const cab_plan *p = s->plan;
    int rc = CAB_OK;
    for (uint32_t i = 0; i < p->header->n_inputs && rc == CAB_OK; i++)
        rc = check_input(p, i, &inputs[i], e);
    if (rc == CAB_OK)
        rc = cab_shape_eval(p, inputs, cab_state_capacity(s), s->slots, 0, p->n_early, e);
    if (rc == CAB_OK)
        rc = cab_state_room(s, inputs, e);
    for (uint32_t i = 0; i < p->header->n_inputs && rc == CAB_OK; i++)
        rc = check_extents(s, i, &inputs[i], e);
    if (rc == CAB_OK)
        rc = check_guards(s, e);
    if (rc != CAB_OK)
        return rc;
    *out = find_packing(s);
    return *out ? CAB_OK : new_packing(s, out, e);
}

int cab_session_estimate_plan(cab_session *s, const cab_tensor_view *inputs, cab_memory *out,
                              cab_error *e)
{
    cab_packing *k;
    int rc = cab_state_begin(s, &inputs, NULL, e);
    if (rc == CAB_OK)
        rc = cab_session_size(s, inputs, &k, e);
    if (rc != CAB_OK)
        return rc;
    k->stamp = ++s->stamp;
    out->weights = s->plan->weights_bytes;
    out->intermediate = k->arena_bytes + k->scratch_bytes;
    out->outputs = output_bytes(s);
    return CAB_OK;
}

bool cab_session_room(const cab_session *s, uint64_t bytes)
{
    uint64_t held = s->arena_bytes + output_bytes(s) + s->dynamic_bytes + cab_state_bytes(s);
    return !s->options.max_bytes ||
           (held <= s->options.max_bytes && bytes <= s->options.max_bytes - held);
}

static int check_limit(const cab_session *s, const cab_packing *k, cab_error *e)
{
    uint64_t need = k->arena_bytes + k->scratch_bytes + output_bytes(s) + cab_state_bytes(s);
    if (!s->options.max_bytes || need <= s->options.max_bytes)
        return CAB_OK;
    return cab_rt_fail(e, CAB_ELIMIT, "the run needs %.1f MB of tensors, %.1f MB are allowed",
                       (double)need / 1e6, (double)s->options.max_bytes / 1e6);
}

/* Outputs of late size have no memory yet, and DYNAMIC values that of their
 * numbers. */
static void forget_last_run(cab_session *s)
{
    const cab_plan *p = s->plan;
    for (uint32_t i = 0; i < p->header->n_outputs; i++)
        if (p->values[p->outputs[i]].slot_bytes >= p->n_early) {
            s->data[p->outputs[i]] = s->copy_to[i] = NULL;
            s->bytes[p->outputs[i]] = 0;
        }
    for (uint32_t i = 0; i < p->n_dynamic; i++)
        s->dynamic_of[i] = i;
}

int cab_session_bind(cab_session *s, const cab_tensor_view *inputs,
                     cab_tensor_view *outputs, cab_error *e)
{
    cab_packing *k;
    int rc = cab_session_size(s, inputs, &k, e);
    if (rc == CAB_OK)
        rc = check_limit(s, k, e);
    if (rc == CAB_OK)
        rc = cab_state_grow(s, e);
    for (uint32_t i = 0; i < s->plan->header->n_inputs && rc == CAB_OK; i++)
        rc = check_data(s, i, &inputs[i], e);
    if (rc == CAB_OK)
        rc = ensure_arena(s, k, e);
    if (rc != CAB_OK)
        return rc;
    k->stamp = ++s->stamp;
    s->scratch_bytes = k->scratch_bytes;
    s->inputs = inputs;
    s->outputs = outputs;
    forget_last_run(s);
    return locate_all(s, k, e);
}
