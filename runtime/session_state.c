/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_state.c - tensors that a session carries from run to run.
 *
 * A state that grows (plan.h: CAB_V_GROWS) is one piece of memory with room
 * along an axis: a run reads the old part as its input and writes the new part
 * behind it as its output, so nothing is copied until the room is used up.
 * One that keeps its shape has two pieces that take turns.  Either way a run
 * that fails leaves the state as it was.
 *
 * cab_state_begin puts the states in the place of the caller's inputs, a run's
 * sizes are computed with their room (cab_state_room, which changes numbers
 * only), cab_state_grow finds the memory, cab_state_end makes the outputs the
 * state.
 */
#include "runtime/session_int.h"
#include <string.h>

typedef struct state {
    bool bound;
    uint32_t output;
    int axis;                  /* -1: keeps its shape */
    uint32_t family;           /* first output of those held together */
    cab_tensor_view now;       /* dtype, rank and extents of the value */
    uint8_t *mem, *other;      /* the value; keeps its shape: where the next is made */
    uint64_t bytes;            /* of each */
    int64_t room, wish;        /* steps of the axis in mem; least the caller wants */
} state;

struct cab_states {
    state *of_input;
    uint32_t *of_output;       /* 1 + input */
    cab_tensor_view *inputs;   /* of the run */
    int64_t *capacity;         /* of the run, by family; 0 = none bound */
};

/* ---- tables ---- */

static const cab_plan_value *output_value(const cab_session *s, uint32_t i)
{
    return &s->plan->values[s->plan->outputs[i]];
}

static const cab_plan_value *input_value(const cab_session *s, uint32_t i)
{
    return &s->plan->values[s->plan->inputs[i]];
}

static const char *input_name(const cab_session *s, uint32_t i)
{
    return cab_plan_text(s->plan, input_value(s, i)->name);
}

static uint32_t family_of(const cab_plan *p, const cab_plan_value *v)
{
    return p->scalars[v->slot_offset].b;
}

static bool make_tables(cab_session *s)
{
    const cab_plan_header *h = s->plan->header;
    const cab_allocator *a = &s->model->alloc;
    if (s->states)
        return true;
    cab_states *t = cab_rt_alloc_zero(a, 1, sizeof *t);
    if (!t)
        return false;
    s->states = t;
    t->of_input = cab_rt_alloc_zero(a, h->n_inputs + 1, sizeof *t->of_input);
    t->of_output = cab_rt_alloc_zero(a, h->n_outputs + 1, sizeof *t->of_output);
    t->inputs = cab_rt_alloc_zero(a, h->n_inputs + 1, sizeof *t->inputs);
    t->capacity = cab_rt_alloc_zero(a, h->n_outputs + 1, sizeof *t->capacity);
    s->allocations += 5;
    if (t->of_input && t->of_output && t->inputs && t->capacity)
        return true;
    cab_state_fini(s);
    return false;
}

void cab_state_fini(cab_session *s)
{
    cab_states *t = s->states;
    if (!t)
        return;
    for (uint32_t i = 0; t->of_input && i < s->plan->header->n_inputs; i++) {
        cab_session_free(s, t->of_input[i].mem);
        cab_session_free(s, t->of_input[i].other);
    }
    void *tables[] = { t->of_input, t->of_output, t->inputs, t->capacity, t };
    s->states = NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        cab_session_free(s, tables[i]);
}

const int64_t *cab_state_capacity(const cab_session *s)
{
    return s->states ? s->states->capacity : NULL;
}

/* ---- memory ---- */

/* Pieces before the axis, bytes of one step of it. */
typedef struct shape { uint64_t outer, step; } shape;

static bool shape_of(const cab_tensor_view *t, int axis, shape *out)
{
    uint64_t n[2] = { 1, 1 };
    for (int k = 0; k < t->rank; k++)
        if (k != axis && __builtin_mul_overflow(n[k > axis], (uint64_t)t->dims[k], &n[k > axis]))
            return false;
    out->outer = n[0];
    return cab_dtype_bytes(cab_dtype_from_onnx(t->dtype), n[1], &out->step);
}

static bool bytes_of(shape f, int64_t room, uint64_t *out)
{
    return !__builtin_mul_overflow(f.outer, f.step, out) &&
           !__builtin_mul_overflow(*out, (uint64_t)room, out) && *out < (uint64_t)1 << 47;
}

/* n steps of every piece; from NULL: zeros. */
static void copy_steps(shape f, uint8_t *to, int64_t to_room, const uint8_t *from,
                       int64_t from_room, int64_t n)
{
    uint64_t bytes = f.step * (uint64_t)n;
    for (uint64_t i = 0; i < f.outer && bytes; i++) {
        uint8_t *t = to + i * f.step * (uint64_t)to_room;
        if (from)
            memmove(t, from + i * f.step * (uint64_t)from_room, bytes);
        else
            memset(t, 0, bytes);
    }
}

static int64_t steps(const state *x) { return x->axis < 0 ? 1 : x->now.dims[x->axis]; }

/* What states hold beside the outputs of a run: the second piece of those that
 * keep their shape. */
uint64_t cab_state_bytes(const cab_session *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; s->states && i < s->plan->header->n_inputs; i++)
        if (s->states->of_input[i].bound && s->states->of_input[i].axis < 0)
            sum += s->states->of_input[i].bytes;
    return sum;
}

/* All memory of states. */
static uint64_t held(const cab_session *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->plan->header->n_inputs; i++)
        if (s->states->of_input[i].bound)
            sum += s->states->of_input[i].bytes * (s->states->of_input[i].other ? 2 : 1);
    return sum;
}

static int new_memory(cab_session *s, uint32_t input, uint64_t bytes, uint8_t **out, cab_error *e)
{
    uint64_t most = s->options.max_bytes, have = held(s) + s->arena_bytes;
    if (most && (bytes > most || have > most - bytes))
        return cab_rt_fail(e, CAB_ELIMIT, "the state of input '%s' takes %.1f MB beside %.1f MB that "
                           "the session holds, %.1f MB are allowed", input_name(s, input),
                           (double)bytes / 1e6, (double)have / 1e6, (double)most / 1e6);
    *out = cab_session_alloc(s, bytes ? bytes : 1);
    if (!*out)
        return cab_rt_fail(e, CAB_ENOMEM, "no memory for %llu bytes of the state of input '%s'",
                           (unsigned long long)bytes, input_name(s, input));
    return CAB_OK;
}

/* ---- binding ---- */

static bool known(const cab_plan *p, uint32_t slot, int64_t *out)
{
    *out = p->scalars[slot].imm;
    return p->scalars[slot].op == CAB_S_CONST;
}

/* A value for an input: its type, and what is known of its extents. */
static int check_value(const cab_session *s, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    const cab_plan_value *v = input_value(s, i);
    const char *name = input_name(s, i);
    if (t->dtype != v->dtype || t->rank != v->rank)
        return cab_rt_fail(e, CAB_EINPUT, "a state of input '%s' has dtype %d and rank %d, not %d "
                           "and %d", name, v->dtype, v->rank, t->dtype, t->rank);
    for (int k = 0; k < t->rank; k++) {
        int64_t want;
        if (t->dims[k] < 0 || (known(s->plan, v->dims[k], &want) && t->dims[k] != want))
            return cab_rt_fail(e, CAB_EINPUT, "a state of input '%s' cannot have %lld as extent %d",
                               name, (long long)t->dims[k], k);
    }
    uint64_t need = cab_tensor_bytes(t->dtype, t->rank, t->dims);
    if (need == SIZE_MAX || (t->data && t->bytes < need))
        return cab_rt_fail(e, CAB_EINPUT, "a state of input '%s' with these extents has %llu bytes, "
                           "%llu are given", name, (unsigned long long)need,
                           (unsigned long long)t->bytes);
    return CAB_OK;
}

/* Makes t the value, in the memory there is if that will do. */
static int put_value(cab_session *s, uint32_t i, const cab_tensor_view *t, cab_error *e)
{
    state *x = &s->states->of_input[i];
    int64_t n = x->axis < 0 ? 1 : t->dims[x->axis], room = x->axis < 0 ? 1 : x->room;
    shape f, before = { 0, 0 };
    uint64_t bytes;
    uint8_t *mem = x->mem;
    int rc = check_value(s, i, t, e);
    if (rc != CAB_OK)
        return rc;
    if (!shape_of(t, x->axis, &f) || !bytes_of(f, n > x->wish ? n : x->wish, &bytes))
        return cab_rt_fail(e, CAB_EINPUT, "a state of input '%s' of impossible size",
                           input_name(s, i));
    bool fits = x->mem && shape_of(&x->now, x->axis, &before) && f.outer == before.outer &&
                f.step == before.step && n <= room;
    if (!fits) {
        room = n > x->wish ? n : x->wish;
        rc = new_memory(s, i, bytes, &mem, e);
        if (rc != CAB_OK)
            return rc;
    }
    copy_steps(f, mem, room, t->data, n, n);
    if (mem != x->mem) {
        cab_session_free(s, x->mem);
        cab_session_free(s, x->other);
        x->mem = mem;
        x->other = NULL;
        x->bytes = bytes;
        x->room = room;
    }
    x->now = *t;
    x->now.data = NULL;
    return CAB_OK;
}

/* The value a state has when the caller names none: empty where it grows, and
 * zeros where all extents are known. */
static int first_value(const cab_session *s, uint32_t i, int axis, cab_tensor_view *out,
                       cab_error *e)
{
    const cab_plan_value *v = input_value(s, i);
    *out = (cab_tensor_view){ .dtype = v->dtype, .rank = v->rank };
    for (int k = 0; k < v->rank; k++)
        if (k != axis && !known(s->plan, v->dims[k], &out->dims[k]))
            return cab_rt_fail(e, CAB_EINVAL, "extent %d of input '%s' is not fixed: give the state "
                               "a start value", k, input_name(s, i));
    return CAB_OK;
}

static int check_pair(const cab_session *s, int input, int output, cab_error *e)
{
    const cab_plan_header *h = s->plan->header;
    if (input < 0 || (uint32_t)input >= h->n_inputs || output < 0 ||
        (uint32_t)output >= h->n_outputs)
        return cab_rt_fail(e, CAB_EINVAL, "the model has no input %d or no output %d", input, output);
    const cab_plan_value *in = input_value(s, (uint32_t)input);
    const cab_plan_value *out = output_value(s, (uint32_t)output);
    const char *a = cab_plan_text(s->plan, in->name), *b = cab_plan_text(s->plan, out->name);
    if (in->kind || out->kind)
        return cab_rt_fail(e, CAB_EINVAL, "output '%s' cannot become input '%s': sequences are no "
                           "states", b, a);
    if (in->dtype != out->dtype || in->rank != out->rank || in->flags & CAB_V_FIXED)
        return cab_rt_fail(e, CAB_EINVAL, "output '%s' cannot become input '%s': %s", b, a,
                           in->flags & CAB_V_FIXED ? "the model holds for one value of it"
                                                   : "their types differ");
    for (uint32_t k = 0; k < h->n_inputs; k++)
        if (s->states->of_input[k].bound &&
            (k == (uint32_t)input || s->states->of_input[k].output == (uint32_t)output))
            return cab_rt_fail(e, CAB_EINVAL, "input '%s' or output '%s' is bound already", a, b);
    return CAB_OK;
}

/* Extents of a pair that can never agree. */
static int check_same(const cab_session *s, uint32_t input, uint32_t output, cab_error *e)
{
    const cab_plan_value *in = input_value(s, input), *out = output_value(s, output);
    for (int k = 0; k < in->rank; k++) {
        int64_t a, b;
        if (known(s->plan, in->dims[k], &a) && known(s->plan, out->dims[k], &b) && a != b)
            return cab_rt_fail(e, CAB_EINVAL, "output '%s' cannot become input '%s': extent %d is "
                               "%lld there, %lld here", cab_plan_text(s->plan, out->name),
                               input_name(s, input), k, (long long)b, (long long)a);
    }
    return CAB_OK;
}

int cab_session_bind_state(cab_session *s, int input, int output, const cab_tensor_view *start,
                           int64_t capacity, cab_error *e)
{
    cab_tensor_view first;
    if (e)
        e->code = e->text[0] = 0;
    if (!make_tables(s))
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    int rc = check_pair(s, input, output, e);
    if (rc != CAB_OK)
        return rc;
    const cab_plan_value *v = output_value(s, (uint32_t)output);
    bool grows = v->flags & CAB_V_GROWS && CAB_GROWS_INPUT(v->offset) == (uint32_t)input;
    state *x = &s->states->of_input[input];
    *x = (state){ .output = (uint32_t)output, .axis = grows ? CAB_GROWS_AXIS(v->offset) : -1,
                  .family = grows ? family_of(s->plan, v) : 0,
                  .wish = grows && capacity > 0 ? capacity : 0 };
    if (!grows)
        rc = check_same(s, (uint32_t)input, (uint32_t)output, e);
    if (rc == CAB_OK && !start)
        rc = first_value(s, (uint32_t)input, x->axis, &first, e);
    if (rc == CAB_OK)
        rc = put_value(s, (uint32_t)input, start ? start : &first, e);
    if (rc != CAB_OK)
        return rc;
    x->bound = true;
    s->states->of_output[output] = (uint32_t)input + 1;
    return CAB_OK;
}

/* The state of an input; NULL with a story. */
static state *bound(cab_session *s, int input, cab_error *e)
{
    if (e)
        e->code = e->text[0] = 0;
    if (s->states && input >= 0 && (uint32_t)input < s->plan->header->n_inputs &&
        s->states->of_input[input].bound)
        return &s->states->of_input[input];
    cab_rt_fail(e, CAB_EINVAL, "no state is bound to input %d", input);
    return NULL;
}

int cab_session_set_state(cab_session *s, int input, const cab_tensor_view *value, cab_error *e)
{
    cab_tensor_view first;
    state *x = bound(s, input, e);
    int rc = x ? CAB_OK : CAB_EINVAL;
    if (x && !value)
        rc = first_value(s, (uint32_t)input, x->axis, &first, e);
    return rc == CAB_OK ? put_value(s, (uint32_t)input, value ? value : &first, e) : rc;
}

int cab_session_trim_state(cab_session *s, int input, int64_t length, cab_error *e)
{
    state *x = bound(s, input, e);
    if (!x)
        return CAB_EINVAL;
    if (x->axis < 0)
        return cab_rt_fail(e, CAB_EINVAL, "the state of input '%s' does not grow",
                           input_name(s, (uint32_t)input));
    if (length < 0 || length > x->now.dims[x->axis])
        return cab_rt_fail(e, CAB_EINVAL, "the state of input '%s' has length %lld, not %lld",
                           input_name(s, (uint32_t)input), (long long)x->now.dims[x->axis],
                           (long long)length);
    x->now.dims[x->axis] = length;
    return CAB_OK;
}

int cab_session_get_state(cab_session *s, int input, cab_tensor_view *out, cab_error *e)
{
    state *x = bound(s, input, e);
    shape f;
    if (!x)
        return CAB_EINVAL;
    uint64_t need = cab_tensor_bytes(x->now.dtype, x->now.rank, x->now.dims);
    if (out->data && out->bytes < need)
        return cab_rt_fail(e, CAB_EINPUT, "the state of input '%s' needs %llu bytes, %llu are given",
                           input_name(s, (uint32_t)input), (unsigned long long)need,
                           (unsigned long long)out->bytes);
    if (out->data && shape_of(&x->now, x->axis, &f))
        copy_steps(f, out->data, steps(x), x->mem, x->axis < 0 ? 1 : x->room, steps(x));
    void *data = out->data;
    size_t bytes = out->data ? out->bytes : need;
    *out = x->now;
    out->data = data;
    out->bytes = bytes;
    return CAB_OK;
}

/* ---- a run ---- */

/* States of one family have one room: all are bound, or none. */
static int check_families(const cab_session *s, cab_error *e)
{
    const cab_plan *p = s->plan;
    for (uint32_t i = 0; i < p->header->n_outputs; i++) {
        const cab_plan_value *v = output_value(s, i);
        if (v->flags & CAB_V_GROWS && !s->states->of_output[i] &&
            s->states->capacity[family_of(p, v)])
            return cab_rt_fail(e, CAB_EINPUT, "output '%s' grows together with bound states: bind it "
                               "to input '%s' too", cab_plan_text(p, v->name),
                               input_name(s, CAB_GROWS_INPUT(v->offset)));
    }
    return CAB_OK;
}

int cab_state_begin(cab_session *s, const cab_tensor_view **inputs, cab_tensor_view *outputs,
                    cab_error *e)
{
    const cab_plan_header *h = s->plan->header;
    cab_states *t = s->states;
    if (!t)
        return CAB_OK;
    for (uint32_t i = 0; i < h->n_outputs; i++) {
        t->capacity[i] = 0;
        if (t->of_output[i] && outputs)
            outputs[i].data = NULL;
    }
    for (uint32_t i = 0; i < h->n_inputs; i++) {
        state *x = &t->of_input[i];
        t->inputs[i] = x->bound ? x->now : (*inputs)[i];
        if (!x->bound)
            continue;
        t->inputs[i].data = x->mem;
        t->inputs[i].bytes = x->bytes;
        /* Room of at least 1 says that the family is bound. */
        int64_t least = x->room > 0 ? x->room : 1;
        if (x->axis >= 0 && t->capacity[x->family] < least)
            t->capacity[x->family] = least;
    }
    *inputs = t->inputs;
    return check_families(s, e);
}

/* Twice the room, unless that is most of what the session may hold. */
static int64_t more_room(const cab_session *s, int64_t have, int64_t need)
{
    uint64_t more = 2 * (uint64_t)(have > 0 ? have : 1);
    if (more <= (uint64_t)need || more > INT32_MAX)
        return need;
    if (s->options.max_bytes && held(s) > s->options.max_bytes / 4)
        return need;
    return (int64_t)more;
}

int cab_state_room(cab_session *s, const cab_tensor_view *inputs, cab_error *e)
{
    const cab_plan *p = s->plan;
    bool grown = false;
    for (uint32_t i = 0; s->states && i < p->header->n_inputs; i++) {
        const state *x = &s->states->of_input[i];
        if (!x->bound || x->axis < 0)
            continue;
        int64_t need = s->slots[output_value(s, x->output)->dims[x->axis]];
        int64_t *have = &s->states->capacity[x->family];
        need = x->now.dims[x->axis] > need ? x->now.dims[x->axis] : need;
        if (need <= *have)
            continue;
        need = x->wish > need ? x->wish : need;
        *have = more_room(s, *have, need);
        grown = true;
    }
    return grown ? cab_shape_eval(p, inputs, s->states->capacity, s->slots, 0,
                                  p->header->n_scalars, e)
                 : CAB_OK;
}

static void record(cab_session *s, const state *x, int64_t start)
{
    if (s->trace && s->n_trace < s->cap_trace)
        s->trace[s->n_trace++] = (cab_trace_event){
            .kind = "alloc", .layers = "", .what = "a state grows",
            .name = cab_plan_text(s->plan, output_value(s, x->output)->name),
            .ns = cab_now_ns() - start };
}

/* The same value with another room. */
static int move(cab_session *s, uint32_t i, int64_t room, cab_error *e)
{
    state *x = &s->states->of_input[i];
    int64_t start = s->trace ? cab_now_ns() : 0;
    uint64_t bytes;
    uint8_t *mem;
    shape f;
    if (!shape_of(&x->now, x->axis, &f) || !bytes_of(f, room, &bytes))
        return cab_rt_fail(e, CAB_ELIMIT, "the state of input '%s' exceeds the address space",
                           input_name(s, i));
    int rc = new_memory(s, i, bytes, &mem, e);
    if (rc != CAB_OK)
        return rc;
    copy_steps(f, mem, room, x->mem, x->room, steps(x));
    cab_session_free(s, x->mem);
    x->mem = mem;
    x->bytes = bytes;
    x->room = room;
    record(s, x, start);
    return CAB_OK;
}

int cab_state_grow(cab_session *s, cab_error *e)
{
    for (uint32_t i = 0; s->states && i < s->plan->header->n_inputs; i++) {
        state *x = &s->states->of_input[i];
        if (!x->bound || x->axis < 0)
            continue;
        int64_t room = s->states->capacity[x->family];
        int rc = x->room == room ? CAB_OK : move(s, i, room, e);
        if (rc != CAB_OK)
            return rc;
        if ((uint64_t)s->slots[output_value(s, x->output)->slot_bytes] > x->bytes)
            return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: a state leaves its memory");
        s->states->inputs[i].data = x->mem;
        s->states->inputs[i].bytes = x->bytes;
    }
    return CAB_OK;
}

/* Where the next value of a state that keeps its shape is made. */
static int turn(cab_session *s, uint32_t i, cab_tensor_view *t, cab_error *e)
{
    state *x = &s->states->of_input[i];
    for (int k = 0; k < t->rank; k++)
        if (t->dims[k] != x->now.dims[k])
            return cab_rt_fail(e, CAB_EINPUT, "output '%s' has %lld as extent %d, the state of input "
                               "'%s' has %lld: only a state that grows by a concat may change",
                               cab_plan_text(s->plan, output_value(s, x->output)->name),
                               (long long)t->dims[k], k, input_name(s, i),
                               (long long)x->now.dims[k]);
    if ((uint64_t)s->slots[output_value(s, x->output)->slot_bytes] > x->bytes)
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: a state leaves its memory");
    int rc = x->other ? CAB_OK : new_memory(s, i, x->bytes, &x->other, e);
    t->data = x->other;
    t->bytes = x->bytes;
    return rc;
}

int cab_state_output(cab_session *s, uint32_t output, cab_tensor_view *t, bool *done, cab_error *e)
{
    uint32_t i = s->states ? s->states->of_output[output] : 0;
    *done = i > 0;
    if (!i)
        return CAB_OK;
    const state *x = &s->states->of_input[i - 1];
    int rc = x->axis < 0 ? turn(s, i - 1, t, e) : CAB_OK;
    if (x->axis >= 0) {                /* not dense: nothing to show */
        t->data = NULL;
        t->bytes = 0;
    }
    s->data[s->plan->outputs[output]] = x->axis < 0 ? x->other : x->mem;
    return rc;
}

void cab_state_end(cab_session *s)
{
    for (uint32_t i = 0; s->states && i < s->plan->header->n_inputs; i++) {
        state *x = &s->states->of_input[i];
        if (!x->bound)
            continue;
        if (x->axis >= 0) {
            x->now.dims[x->axis] = s->slots[output_value(s, x->output)->dims[x->axis]];
            continue;
        }
        uint8_t *mem = x->mem;
        x->mem = x->other;
        x->other = mem;
    }
}

/* ---- what a model says of its states ---- */

int cab_model_state_count(const cab_model *m)
{
    int n = 0;
    for (uint32_t i = 0; i < m->plan.header->n_outputs; i++)
        n += (m->plan.values[m->plan.outputs[i]].flags & CAB_V_GROWS) != 0;
    return n;
}

int cab_model_state(const cab_model *m, int i, cab_state_info *out)
{
    for (uint32_t k = 0; i >= 0 && k < m->plan.header->n_outputs; k++) {
        const cab_plan_value *v = &m->plan.values[m->plan.outputs[k]];
        if (!(v->flags & CAB_V_GROWS) || i-- > 0)
            continue;
        *out = (cab_state_info){ (int)CAB_GROWS_INPUT(v->offset), (int)k, CAB_GROWS_AXIS(v->offset) };
        return CAB_OK;
    }
    return CAB_EINVAL;
}
