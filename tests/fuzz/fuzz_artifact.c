/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_artifact.c - bytes as edits of a valid artifact, which is then run.
 *
 * The plan and the strings of a compiled model are edited (records, counts,
 * single bytes), the checksum is made good again, and what loads is run on
 * random inputs of exact size.  The kernels are returns: what machine code
 * does is the compiler's promise, which the checksum covers; every access of
 * the runtime itself is on trial.  Spare instructions, scalars and values
 * stand in the plan so that edits reach the ones no kernel needs.  Now and then
 * the edited plan is one for certain sizes, beside the whole one for all.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "codegen/codegen.h"
#include "runtime/runtime.h"
#include "tests/artifact_kit.h"
#include "tests/fuzz/fuzz.h"

enum { SPARE = 6, PAGE = 4096, MAX_RUN = 1 << 20, RETURN = 0xc3 };

static const char *const models[] = {
    "graph @a(%x: f32[N,4], %y: f32[N,M]) -> (%z, %w) core {\n"
    "  %0 = concat %x, %y {axis = 1}\n"
    "  %z = tanh %0\n"
    "  %1 = transpose %0 {perm = [1, 0]}\n"
    "  %w = dot %1, %0 {a_contract = [1], b_contract = [0]}\n}\n",
    "graph @b(%x: f32[N,6]) -> (%v, %i, %y) core {\n"
    "  %0 = neg %x\n"
    "  %v, %i = topk %0 {k = [2], axis = 1}\n"
    "  %1 = reduce %0 {op = \"sum\", axes = [1]}\n"
    "  %y = reshape %1 {dims = [N]}\n}\n",
    "graph @c(%x: f32[1,3,8,8], %k: i64[2]) -> (%y) core {\n"
    "  %w = const f32[2,3,1,1] [1, 2, 3, 4, 5, 6]\n"
    "  %0 = conv %x, %w {strides = [1, 1], pads_lo = [0, 0], pads_hi = [0, 0], "
    "dilations = [1, 1]}\n"
    "  %y = gather %0, %k {axis = 2}\n}\n",
    "graph @d(%x: f32[N,4], %k: i64[M]) -> (%y, %i, %z) core {\n"
    "  %t = transpose %x {perm = [1, 0]}\n"
    "  %0, %i = custom %t, _, %k {domain = \"acme\", name = \"Any\", dtypes = [\"f32\", \"i64\"], "
    "ranks = [2, 1], dims = [N, 4, M + 1], int_names = [\"a\", \"b\"], int_counts = [1, 2], "
    "ints = [3, 0, -1], float_names = [\"g\"], float_counts = [2], floats = [0.5, 2], "
    "text_names = [\"m\"], texts = [\"fast\"]}\n"
    "  %y = neg %0\n"
    "  %z = custom %0, %i {domain = \"acme\", name = \"Other\", dtypes = [\"u8\"], ranks = [1], "
    "dims = [N]}\n}\n",
    "graph @e(%x: f32[N,4], %t: f32[]) -> (%o, %y, %z) core {\n"
    "  %o = sort %x\n"
    "  %b = reshape %x {dims = [1, N, 4]}\n"
    "  %r = reduce %x {op = \"sum\", axes = [1]}\n"
    "  %s = reshape %r {dims = [1, 1, N]}\n"
    "  %k, %c = nms %b, %s, %t, %t {limit = [3], filter = 1}\n"
    "  %0 = item %c {value = [K]}\n"
    "  %y = slice %k {starts = [0, 0], steps = [1, 1], dims = [K, 3]}\n"
    "  %z = neg %c\n}\n",
    "graph @f(%x: f32[B,S,2], %k: f32[B,P,2], %v: f32[B,P,2]) -> (%kk, %y, %vv) core {\n"
    "  %kk = concat %k, %x {axis = 1}\n"
    "  %n = neg %x\n"
    "  %vv = concat %v, %n {axis = 1}\n"
    "  %y = dot %x, %kk {a_batch = [0], b_batch = [0], a_contract = [2], b_contract = [2]}\n}\n",
    "sym T 0..9\nsym I 0..8\nsym G 0..1\nsym C 0..9\n"
    "graph @g(%x: f32[N], %t: i64[2]) -> (%y, %s, %z) core {\n"
    "  guard T <= 2*N \"no more times than that\"\n"
    "  %0 = slice %t {starts = [1], steps = [1], dims = [1]}\n"
    "  %1 = item %0 {value = [T]} loc \"loop\" \"Loop\" 25\n"
    "  %y, %s = loop %x, %x {body = graph @b(%2: f32[P], %3: f32[N]) -> (%7, %4, %5) {\n"
    "    %4 = concat %2, %3 {axis = 0}\n"
    "    %5 = reduce %4 {op = \"sum\", axes = [0], keepdims = 0}\n"
    "    %6 = const f32[] 9\n"
    "    %7 = lt %5, %6\n"
    "  }, carried = 1, trip = [T], iter = [I], count = [C], go = [G], syms = [P], first = [N], "
    "next = [N + P]}\n"
    "  %z = if %y, %x {cond = [mod(T, 2)], then = graph @t(%8: f32[P]) -> (%8) {\n"
    "  }, else = graph @o(%9: f32[N]) -> (%10) {\n    %10 = neg %9\n"
    "  }, n_then = 1, dims = [J], syms = [J], then_dims = [P], else_dims = [N]}\n}\n",
};
enum { N_MODELS = sizeof models / sizeof *models };

typedef struct bytes { uint8_t *p; size_t n; } bytes;
typedef struct parts { bytes sec[CAB_SEC_WEIGHTS + 1]; cab_plan_header h; uint32_t isa; } parts;
static parts base[N_MODELS];

/* ---- a valid artifact, taken apart ---- */

static void append(bytes *b, const void *p, size_t n)
{
    b->p = realloc(b->p, b->n + n + 1);
    CAB_ASSERT(b->p != NULL);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void spare_scalars(bytes *b, cab_plan_header *h)
{
    for (int i = 0; i < SPARE; i++) {
        cab_plan_scalar s = { .op = i < 3 ? CAB_S_CONST : CAB_S_SIZE_READ, .imm = 8 * i };
        append(b, &s, sizeof s);
        h->n_scalars++;
    }
}

/* A size that is known before the run. */
static uint32_t early_size(const cab_plan *p)
{
    uint32_t i = 0;
    while (i + 1 < p->n_early && (p->scalars[i].op != CAB_S_CONST || p->scalars[i].imm < 8))
        i++;
    return i;
}

static void spare_values(bytes *b, cab_plan_header *h, const cab_plan *p)
{
    static const uint8_t cls[SPARE] = { CAB_V_DYNAMIC, CAB_V_DYNAMIC, CAB_V_ALIAS, CAB_V_ALIAS,
                                        CAB_V_ARENA, CAB_V_ARENA };
    for (uint32_t i = 0; i < SPARE; i++) {
        cab_plan_value v = { .cls = cls[i], .dtype = 7, .slot_bytes = h->n_scalars - 1,
                             .slot_offset = h->n_scalars - 3,
                             .index = i < 2 ? i : h->n_values - 2, .last = h->n_instrs };
        if (v.cls == CAB_V_ARENA)
            v.slot_bytes = early_size(p);
        append(b, &v, sizeof v);
        h->n_values++;
    }
}

static void take_plan(parts *out, const cab_plan *p)
{
    const cab_plan_header *h = p->header;
    bytes *b = &out->sec[CAB_SEC_PLAN];
    out->h = *h;
    append(b, h, sizeof *h);
    append(b, p->scalars, h->n_scalars * sizeof *p->scalars);
    spare_scalars(b, &out->h);
    const cab_plan_instr nothing = { .op = CAB_I_EVAL_SHAPE, .a = out->h.n_scalars,
                                     .b = out->h.n_scalars };
    append(b, p->checks, h->n_checks * sizeof *p->checks);
    append(b, p->values, h->n_values * sizeof *p->values);
    out->h.n_instrs += SPARE;
    spare_values(b, &out->h, p);
    append(b, p->kernels, h->n_kernels * sizeof *p->kernels);
    append(b, p->instrs, (h->n_instrs - 1) * sizeof *p->instrs);
    for (int i = 0; i < SPARE; i++)
        append(b, &nothing, sizeof nothing);
    append(b, &p->instrs[h->n_instrs - 1], sizeof *p->instrs);
    append(b, p->words, h->n_words * sizeof *p->words);
    append(b, p->inputs, h->n_inputs * sizeof *p->inputs);
    append(b, p->outputs, h->n_outputs * sizeof *p->outputs);
    memcpy(b->p, &out->h, sizeof out->h);
}

typedef struct made { const char *text; int fd; } made;

static cab_status compile(cab_arena *a, void *arg, cab_diag *d)
{
    made *m = arg;
    cab_pass_options po = { .verify = true };
    cab_codegen_options co = { .target = "x86-64-v3" };
    cab_program *p;
    cab_graph *g;
    uint64_t size;
    CAB_TRY(cab_graph_parse(a, m->text, strlen(m->text), "model", &g, d));
    CAB_TRY(fuzz_passes(g, &po, &p, d));
    return cab_codegen(a, p, &co, &m->fd, &size, d);
}

static void make_base(int i)
{
    made m = { models[i], -1 };
    cab_mapping map;
    cab_plan p;
    cab_error e = { 0 };
    cab_status s = fuzz_job(0, compile, &m);
    CAB_ASSERT(s == CAB_OK);
    s = cab_fd_map(m.fd, "model", &map, NULL);
    CAB_ASSERT(s == CAB_OK && cab_plan_check_bytes(map.p, map.n, &p, &e) == CAB_OK);
    take_plan(&base[i], &p);
    base[i].isa = p.isa;
    append(&base[i].sec[CAB_SEC_STRINGS], p.strings, p.strings_bytes);
    append(&base[i].sec[CAB_SEC_CODE], p.code, p.code_bytes);
    memset(base[i].sec[CAB_SEC_CODE].p, RETURN, p.code_bytes);
    append(&base[i].sec[CAB_SEC_WEIGHTS], p.weights, p.weights_bytes);
    cab_file_unmap(&map);
    close(m.fd);
}

/* ---- and put together ---- */

static cab_file_section section(const parts *x, uint32_t kind, uint32_t variant, const bytes *b,
                                size_t *n)
{
    bool machine = kind == CAB_SEC_PLAN || kind == CAB_SEC_CODE;
    cab_file_section s = { .kind = kind, .offset = *n, .bytes = b->n, .variant = variant,
                           .isa = machine ? x->isa : 0, .special_of = variant };
    *n += (b->n + PAGE - 1) / PAGE * PAGE;
    return s;
}

/* all: the plan for all sizes, when x is for certain ones; else NULL. */
static uint8_t *assemble(const parts *x, const bytes *all, size_t *out_n)
{
    enum { N = CAB_SEC_WEIGHTS };          /* plan, strings, code, weights */
    cab_file_section sec[N + 2];
    const bytes *from[N + 2];
    cab_file_header h = { .magic = CAB_PLAN_MAGIC, .version = CAB_PLAN_VERSION, .n_sections = N };
    size_t n = PAGE;
    for (uint32_t k = 0; k < N; k++)
        from[k] = &x->sec[k + 1];
    from[CAB_SEC_PLAN - 1] = all ? all : from[CAB_SEC_PLAN - 1];
    for (uint32_t k = 0; k < N; k++)
        sec[k] = section(x, k + 1, 0, from[k], &n);
    if (all) {
        from[N] = &x->sec[CAB_SEC_PLAN];
        from[N + 1] = &x->sec[CAB_SEC_CODE];
        sec[N] = section(x, CAB_SEC_PLAN, 1, from[N], &n);
        sec[N + 1] = section(x, CAB_SEC_CODE, 1, from[N + 1], &n);
        h.n_sections += 2;
    }
    h.file_bytes = n;
    uint8_t *file = calloc(1, n);
    CAB_ASSERT(file != NULL);
    for (uint32_t k = 0; k < h.n_sections; k++)
        if (sec[k].bytes)
            memcpy(file + sec[k].offset, from[k]->p, sec[k].bytes);
    kit_seal(file, &h, sec);
    *out_n = n;
    return file;
}

/* Without edits it loads: else no edit reaches the session. */
static void check_base(int i)
{
    size_t n;
    cab_plan p;
    cab_error e = { 0 };
    uint8_t *file = assemble(&base[i], NULL, &n);
    cab_status s = cab_plan_check_bytes(file, n, &p, &e);
    CAB_ASSERT(s == CAB_OK);
    free(file);
}

/* ---- edits ---- */

static uint64_t odd(fuzz_src *s)
{
    static const uint64_t list[] = { UINT32_MAX, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, 1u << 20,
                                     (uint64_t)1 << 40, 63, 64, 65, 4096, 1u << 31, 8 };
    return fuzz_draw(s, 0, 3) ? (uint64_t)fuzz_draw(s, 0, 40)
                              : list[fuzz_draw(s, 0, sizeof list / sizeof *list - 1)];
}

enum { EDIT_SCALARS, EDIT_CHECKS, EDIT_VALUES, EDIT_KERNELS, EDIT_INSTRS, EDIT_WORDS, EDIT_TABLES };

/* Where a table lies in the plan section, and its record size. */
static size_t table_at(const cab_plan_header *h, int which, size_t *record, uint32_t *count)
{
    const uint32_t n[] = { h->n_scalars, h->n_checks, h->n_values, h->n_kernels, h->n_instrs,
                           h->n_words };
    static const size_t size[] = { sizeof(cab_plan_scalar), sizeof(cab_plan_check),
                                   sizeof(cab_plan_value), sizeof(cab_plan_kernel),
                                   sizeof(cab_plan_instr), sizeof(uint32_t) };
    size_t at = sizeof *h;
    for (int i = 0; i < which; i++)
        at += n[i] * size[i];
    *record = size[which];
    *count = n[which];
    return at;
}

static void edit_record(const parts *x, uint8_t *plan, int which, fuzz_src *s)
{
    size_t size;
    uint32_t count;
    size_t at = table_at(&x->h, which, &size, &count);
    if (count == 0)
        return;
    at += (size_t)fuzz_draw(s, 0, count - 1) * size;
    if (which == EDIT_VALUES && fuzz_draw(s, 0, 2) == 0) {
        plan[at + (size_t)fuzz_draw(s, 0, 3)] = (uint8_t)fuzz_draw(s, 0, 16);
        return;
    }
    uint64_t v = odd(s);
    bool wide = which == EDIT_SCALARS && fuzz_draw(s, 0, 1);
    at += wide ? size - 8 : 4 * (size_t)fuzz_draw(s, 0, (int64_t)size / 4 - 1);
    memcpy(plan + at, &v, wide ? 8 : 4);
}

/* A whole instruction, with operands that are likely to be in range. */
static void edit_instr(const parts *x, uint8_t *plan, fuzz_src *s)
{
    size_t size;
    uint32_t count;
    size_t at = table_at(&x->h, EDIT_INSTRS, &size, &count);
    uint32_t top = x->h.n_scalars > x->h.n_values ? x->h.n_scalars : x->h.n_values;
    cab_plan_instr i = { .op = (uint32_t)fuzz_draw(s, 0, CAB_I_COUNT - 1) };
    i.a = (uint32_t)fuzz_draw(s, 0, top);
    i.b = (uint32_t)fuzz_draw(s, 0, top);
    i.c = (uint32_t)fuzz_draw(s, 0, 3) ? (uint32_t)fuzz_draw(s, 0, count - 1) : 0;
    if (i.op == CAB_I_SAME) {              /* a is an instruction, c a value */
        uint32_t a = i.a;
        i.a = i.c;
        i.c = a;
    }
    if (i.op == CAB_I_ALLOC)
        i.a = x->h.n_values - SPARE + i.a % 2;
    if (i.op == CAB_I_SIZE_READ || i.op == CAB_I_LOOP || i.op == CAB_I_SET)
        i.a = x->h.n_scalars - SPARE + i.a % 3;
    if (i.op == CAB_I_SWAP) {              /* two of one class */
        i.a = x->h.n_values - SPARE + (i.a % 2 ? 4 : 0);
        i.b = i.a + 1;
    }
    if (i.op == CAB_I_CHECK)
        i.a = x->h.n_checks ? i.a % x->h.n_checks : 0;
    if (i.op == CAB_I_NEXT)
        i.b = (uint32_t)fuzz_draw(s, 0, count - 1);
    if (i.op == CAB_I_JUMP || i.op == CAB_I_BRANCH)
        i.a = (uint32_t)fuzz_draw(s, 0, count - 1);
    memcpy(plan + at + (size_t)fuzz_draw(s, 0, count - 2) * size, &i, sizeof i);
}

/* A word of the records behind a custom operator, or its neighbour. */
static void edit_custom(const parts *x, uint8_t *plan, fuzz_src *s)
{
    size_t size;
    uint32_t count, n_words, at[8], n = 0;
    size_t instrs = table_at(&x->h, EDIT_INSTRS, &size, &count);
    for (uint32_t i = 0; i < count && n < 8; i++) {
        cab_plan_instr y;
        memcpy(&y, plan + instrs + i * size, sizeof y);
        if (y.op == CAB_I_CUSTOM)
            at[n++] = y.b;
    }
    size_t words = table_at(&x->h, EDIT_WORDS, &size, &n_words);
    if (!n)
        return;
    uint64_t v = odd(s);
    uint64_t w = (uint64_t)at[fuzz_draw(s, 0, n - 1)] + (uint64_t)fuzz_draw(s, 0, 50);
    if (w < n_words)
        memcpy(plan + words + w * size, &v, 4);
}

/* Every extent that the inputs decide is 2: a plan for that size. */
static void bind_extents(const parts *x, uint8_t *plan)
{
    size_t size;
    uint32_t count;
    size_t at = table_at(&x->h, EDIT_SCALARS, &size, &count);
    for (uint32_t i = 0; i < count; i++, at += size) {
        cab_plan_scalar s;
        memcpy(&s, plan + at, sizeof s);
        if (s.op != CAB_S_INPUT_DIM)
            continue;
        s = (cab_plan_scalar){ .op = CAB_S_CONST, .name = s.name, .imm = 2 };
        memcpy(plan + at, &s, sizeof s);
    }
}

/* Two instructions change places: memory is used before it is asked for, sizes
 * follow too late. */
static void edit_order(const parts *x, uint8_t *plan, fuzz_src *s)
{
    size_t size;
    uint32_t count;
    size_t at = table_at(&x->h, EDIT_INSTRS, &size, &count);
    uint8_t *p = plan + at + (size_t)fuzz_draw(s, 0, count - 2) * size;
    uint8_t *q = plan + at + (size_t)fuzz_draw(s, 0, count - 2) * size, t[sizeof(cab_plan_instr)];
    memcpy(t, p, size);
    memmove(p, q, size);
    memcpy(q, t, size);
}

static void edit(const parts *x, uint8_t *plan, uint8_t *strings, fuzz_src *s)
{
    switch (fuzz_draw(s, 0, 11)) {
    case 0:
        plan[fuzz_draw(s, 0, (int64_t)x->sec[CAB_SEC_PLAN].n - 1)] = (uint8_t)fuzz_draw(s, 0, 255);
        break;
    case 1:
        strings[fuzz_draw(s, 0, (int64_t)x->sec[CAB_SEC_STRINGS].n - 1)] = (uint8_t)fuzz_draw(s, 0, 255);
        break;
    case 2:
        ((uint32_t *)(void *)plan)[fuzz_draw(s, 0, 9)] = (uint32_t)odd(s);
        break;
    case 3: case 4: case 5:
        edit_instr(x, plan, s);
        break;
    case 6:
        edit_custom(x, plan, s);
        break;
    case 7:
        edit_order(x, plan, s);
        break;
    default:
        edit_record(x, plan, (int)fuzz_draw(s, 0, EDIT_TABLES - 1), s);
    }
}

/* ---- the run ---- */

static cab_session *volatile running;

static void stop_run(int sig)
{
    (void)sig;
    if (running)
        cab_session_cancel(running);
}

static timer_t stopwatch(void)
{
    timer_t t;
    struct sigevent how = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
    signal(SIGRTMIN, stop_run);
    CAB_ASSERT(timer_create(CLOCK_MONOTONIC, &how, &t) == 0);
    return t;
}

/* Plans may loop for ever: a caller stops them with cab_session_cancel. */
static void set_stopwatch(int ms)
{
    static timer_t t;
    static bool made_it;
    struct itimerspec when = { { 0, ms * 1000000L }, { 0, ms * 1000000L } };
    if (!made_it)
        t = stopwatch();
    made_it = true;
    timer_settime(t, 0, &when, NULL);
}

static bool make_input(const cab_model *m, int i, fuzz_src *s, cab_tensor_view *v)
{
    cab_tensor_info info;
    uint64_t n = 1, need;
    cab_model_input(m, i, &info);
    *v = (cab_tensor_view){ .dtype = info.dtype, .rank = info.rank };
    for (int k = 0; k < info.rank; k++) {
        v->dims[k] = info.dims[k] < 0 ? fuzz_draw(s, 0, 6) : info.dims[k];
        if (v->dims[k] > MAX_RUN || (n *= (uint64_t)v->dims[k]) > MAX_RUN)
            return false;
    }
    if (!cab_dtype_bytes(cab_dtype_from_onnx(info.dtype), n, &need))
        return false;
    v->bytes = need;
    v->data = calloc(need + 1, 1);
    for (uint64_t k = 0; v->data && k < need; k++)
        ((uint8_t *)v->data)[k] = k % 8 ? 0 : (uint8_t)fuzz_draw(s, 0, 9);
    return v->data != NULL;
}

static unsigned read_outputs(const cab_tensor_view *out, int n)
{
    unsigned sum = 0;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < out[i].bytes; k++)
            sum += ((const uint8_t *)out[i].data)[k];
    return sum;
}

/* Carries an output to an input: a pair that grows, or any; sets and cuts it. */
static void carry(cab_model *m, cab_session *session, fuzz_src *s)
{
    cab_state_info pair = { (int)fuzz_draw(s, 0, 3), (int)fuzz_draw(s, 0, 3), 0 };
    cab_tensor_view start = { 0 }, now = { 0 };
    cab_error e;
    int n = cab_model_state_count(m);
    bool any = fuzz_draw(s, 0, 3) == 0;
    for (int i = 0; i < (any ? 1 : n); i++) {
        if (!any)
            cab_model_state(m, i, &pair);
        if (pair.input < 0 || pair.input >= cab_model_input_count(m) ||
            !make_input(m, pair.input, s, &start))
            continue;
        if (start.rank && start.dims[0] > 1)       /* a batch that the inputs may have */
            start.dims[0] = 1;
        if (cab_session_bind_state(session, pair.input, pair.output, &start,
                                   fuzz_draw(s, 0, 9), &e) == 0)
            fuzz_count("bound");
        if (fuzz_draw(s, 0, 3) == 0)
            cab_session_trim_state(session, pair.input, fuzz_draw(s, 0, 6), &e);
        if (fuzz_draw(s, 0, 3) == 0)
            cab_session_set_state(session, pair.input, &start, &e);
        free(start.data);
        if (cab_session_get_state(session, pair.input, &now, &e) == 0 && now.bytes < MAX_RUN) {
            now.data = malloc(now.bytes + 1);
            cab_session_get_state(session, pair.input, &now, &e);
            free(now.data);
            now.data = NULL;
        }
    }
}

static void run(cab_model *m, cab_session *session, fuzz_src *s)
{
    enum { MAX_IO = 16 };
    cab_tensor_view in[MAX_IO] = { { 0 } }, out[MAX_IO] = { { 0 } };
    int n_in = cab_model_input_count(m), n_out = cab_model_output_count(m);
    cab_memory need;
    cab_error e = { 0 };
    bool ok = n_in <= MAX_IO && n_out <= MAX_IO;
    for (int i = 0; i < n_in && ok; i++)
        ok = make_input(m, i, s, &in[i]);
    if (ok && cab_session_estimate(session, in, &need, &e) == 0) {
        running = session;
        set_stopwatch(20);
        int rc = cab_session_run(session, in, out, &e);
        running = NULL;
        set_stopwatch(0);
        static volatile unsigned sink;
        if (rc == 0)
            sink += read_outputs(out, n_out);
        const cab_trace_event *t;
        size_t n;
        bool special = !cab_session_trace(session, &t, &n) && n && !strcmp(t->kind, "plan") &&
                       strcmp(t->name, "all sizes");
        fuzz_count(rc ? "run refused" : special ? "ran a size's own plan" : "ran");
    }
    for (int i = 0; i < n_in && i < MAX_IO; i++)
        free(in[i].data);
}

/* A kernel of the host program that touches all it is given. */
static int touch_all(void *user, const cab_custom_call *c, cab_error *e)
{
    static volatile unsigned sink;
    unsigned sum = (unsigned)strlen(c->node);
    (void)user;
    (void)e;
    for (int i = 0; i < c->n_attrs; i++) {
        const cab_custom_attr *a = &c->attrs[i];
        sum += (unsigned)strlen(a->name) + (a->text ? (unsigned)strlen(a->text) : 0);
        for (int k = 0; k < a->n; k++)
            sum += a->ints ? (unsigned)a->ints[k] : a->floats ? a->floats[k] > 0 : 0;
    }
    for (int i = 0; i < c->n_inputs; i++) {
        const cab_tensor_view *v = &c->inputs[i];
        for (size_t k = 0; k < v->bytes; k++)
            sum += ((const uint8_t *)v->data)[k];
    }
    for (int i = 0; i < c->n_outputs; i++)
        if (c->outputs[i].bytes)
            memset(c->outputs[i].data, 1, c->outputs[i].bytes);
    sink += sum;
    fuzz_count("custom call");
    return c->n_outputs > 3 ? 4 : 0;
}

static void load_and_run(const uint8_t *file, size_t n, fuzz_src *s)
{
    int fd = cab_memfd("artifact", n);
    cab_session_options so = { .size = sizeof so, .threads = 1, .max_bytes = 16 << 20, .trace = 1 };
    static const cab_custom_op ops[] = { { "acme", "Any", touch_all, NULL },
                                         { "acme", "Other", touch_all, NULL } };
    const cab_model_options mo = { .size = sizeof mo, .custom = ops, .n_custom = 2 };
    cab_model *m = NULL;
    cab_session *session = NULL;
    cab_error e = { 0 };
    CAB_ASSERT(fd >= 0 && cab_fd_write_at(fd, 0, file, n, NULL) == CAB_OK);
    if (cab_model_load_fd(fd, "artifact", &mo, &m, &e) != 0)
        fuzz_count("refused");
    else if (cab_session_create(m, &so, &session, &e) == 0)
        for (int i = 0; i < 3; i++) {
            run(m, session, s);
            if (i == 0 && fuzz_draw(s, 0, 1))
                carry(m, session, s);
        }
    cab_session_destroy(session);
    cab_model_destroy(m);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_src s = fuzz_src_of(data, size);
    for (int i = 0; i < N_MODELS && !base[i].h.n_instrs; i++) {
        make_base(i);
        check_base(i);
    }
    parts x = base[fuzz_draw(&s, 0, N_MODELS - 1)];
    bytes plan = { 0 }, strings = { 0 };
    append(&plan, x.sec[CAB_SEC_PLAN].p, x.sec[CAB_SEC_PLAN].n);
    append(&strings, x.sec[CAB_SEC_STRINGS].p, x.sec[CAB_SEC_STRINGS].n);
    const bytes all = x.sec[CAB_SEC_PLAN];
    bool special = fuzz_draw(&s, 0, 3) == 0;
    if (special)
        bind_extents(&x, plan.p);
    for (int64_t k = fuzz_draw(&s, 0, 6); k > 0; k--)
        edit(&x, plan.p, strings.p, &s);
    x.sec[CAB_SEC_PLAN] = plan;
    x.sec[CAB_SEC_STRINGS] = strings;
    size_t n;
    uint8_t *file = assemble(&x, special ? &all : NULL, &n);
    load_and_run(file, n, &s);
    free(file);
    free(plan.p);
    free(strings.p);
    return 0;
}
