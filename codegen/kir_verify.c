/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_verify.c - is this array of instructions a kernel?
 *
 * Checks what renderers and the interpreter rely on: operands are defined
 * before use and still visible, regions nest, the phis of a loop and the
 * results of a region follow it directly and in order, dtypes and lanes agree.
 * Says nothing about addresses or termination.
 */
#include <stdarg.h>
#include <string.h>
#include "codegen/kir_int.h"

typedef struct verifier {
    const cab_kir *k;
    cab_diag *d;
    int at;                    /* the instruction looked at */
    int32_t *region;           /* innermost region of each instruction */
    int32_t *open;             /* loop, while, if or else, innermost last */
    int n_open;
    bool *conded;              /* while: its cond has been seen */
    int results_of, n_results; /* res still due after a region's end */
    int next_result;
} verifier;

static cab_status bad(const verifier *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static cab_status bad(const verifier *v, const char *fmt, ...)
{
    va_list ap;
    const char *why;

    va_start(ap, fmt);
    why = cab_vprintf(v->k->arena, fmt, ap);
    va_end(ap);
    if (v->at >= (int)v->k->ins.n)
        return cab_fail(v->d, CAB_EINVAL, NULL, "kernel '%s': %s", v->k->name, why);
    return cab_fail(v->d, CAB_EINVAL, NULL, "kernel '%s', %%%d (%s): %s", v->k->name,
                    v->at, cab_kop_get(v->k->ins.p[v->at].op).text, why);
}

static const cab_kins *ins(const verifier *v, int i) { return &v->k->ins.p[i]; }
static bool pointer(int op) { return op == CAB_K_buf || op == CAB_K_alloc; }
static int arg(const verifier *v, const cab_kins *i, int j) { return v->k->args.p[i->args + j]; }

static bool storable(cab_dtype dt)
{
    return cab_kir_arith(dt) || dt == CAB_DT_f16 || dt == CAB_DT_bf16;
}

static bool region_open(const verifier *v, int region)
{
    if (region < 0)
        return true;
    for (int i = v->n_open; i-- > 0;)
        if (v->open[i] == region)
            return true;
    return false;
}

/* x is a value that may be used here; a pointer iff ptr. */
static cab_status use(const verifier *v, int x, bool ptr)
{
    if (x < 0 || x >= v->at)
        return bad(v, "operand %%%d is not defined before its use", x);
    if (!cab_kop_get(ins(v, x)->op).value || !cab_kop_get(ins(v, x)->op).typed)
        return bad(v, "operand %%%d (%s) is no value", x, cab_kop_get(ins(v, x)->op).text);
    if (!region_open(v, v->region[x]))
        return bad(v, "operand %%%d belongs to a region that has ended", x);
    if (pointer(ins(v, x)->op) != ptr)
        return bad(v, ptr ? "operand %%%d is no pointer" : "operand %%%d is a pointer", x);
    return CAB_OK;
}

static cab_status want(const verifier *v, int x, cab_dtype dt, int lanes)
{
    if (cab_k_dt(v->k, x) != dt || ins(v, x)->lanes != lanes)
        return bad(v, "operand %%%d is %sx%d, not %sx%d", x,
                   cab_dtype_name(cab_k_dt(v->k, x)), ins(v, x)->lanes,
                   cab_dtype_name(dt), lanes);
    return CAB_OK;
}

static cab_status use_args(const verifier *v, const cab_kins *i)
{
    for (int j = 0; j < i->n_args; j++)
        CAB_TRY(use(v, arg(v, i, j), false));
    return CAB_OK;
}

static cab_status address(const verifier *v, const cab_kins *i)
{
    bool vector = i->op == CAB_K_ldx || i->op == CAB_K_stx;

    CAB_TRY(use(v, i->a, true));
    if (i->op != CAB_K_prefetch && ins(v, i->a)->dt != i->dt)
        return bad(v, "the pointer is to %s", cab_dtype_name((cab_dtype)ins(v, i->a)->dt));
    if (i->b >= 0) {
        CAB_TRY(use(v, i->b, false));
        CAB_TRY(want(v, i->b, CAB_DT_i64, vector ? i->lanes : 1));
    } else if (vector) {
        return bad(v, "no index");
    }
    if (i->c >= 0) {
        CAB_TRY(use(v, i->c, false));
        CAB_TRY(want(v, i->c, CAB_DT_bool, i->lanes));
    }
    return CAB_OK;
}

/* Every field an instruction carries refers to something usable. */
static cab_status operands(const verifier *v, const cab_kins *i)
{
    const char *f = cab_kop_get(i->op).fields;

    if (i->n_args < 0 || i->args < 0 ||
        (size_t)i->args + (size_t)i->n_args > v->k->args.n)
        return bad(v, "arguments out of range");
    for (; *f; f++) {
        if (*f == 'a')
            CAB_TRY(use(v, i->a, false));
        if (*f == 'b' || (*f == 'B' && i->b >= 0))
            CAB_TRY(use(v, i->b, false));
        if (*f == 'c')
            CAB_TRY(use(v, i->c, false));
        if (*f == 'g' || *f == 'v')
            CAB_TRY(use_args(v, i));
        if (*f == 'v' && i->n_args != 1)
            return bad(v, "%d values to store", i->n_args);
        if (*f == 'v')
            CAB_TRY(want(v, arg(v, i, 0), (cab_dtype)i->dt, i->lanes));
        if (*f == 'm')
            CAB_TRY(address(v, i));
    }
    return CAB_OK;
}

/* ---- structure ---- */

/* The values of an end, else or endif agree with `like` (an opener or else). */
static cab_status agree(const verifier *v, const cab_kins *i, const cab_kins *like)
{
    if (i->n_args != like->n_args)
        return bad(v, "%d values instead of %d", i->n_args, like->n_args);
    for (int j = 0; j < i->n_args; j++) {
        int x = arg(v, like, j);
        CAB_TRY(want(v, arg(v, i, j), cab_k_dt(v->k, x), ins(v, x)->lanes));
    }
    return CAB_OK;
}

static cab_status phi(const verifier *v, const cab_kins *i)
{
    const cab_kins *of;

    if (i->a < 0 || i->a >= v->at)
        return bad(v, "no loop");
    of = ins(v, i->a);
    if (of->op != CAB_K_loop && of->op != CAB_K_while)
        return bad(v, "%%%d is no loop", i->a);
    if (i->imm < 0 || i->imm >= of->n_args || v->at != i->a + 1 + i->imm)
        return bad(v, "out of place");
    return want(v, arg(v, of, (int)i->imm), (cab_dtype)i->dt, i->lanes);
}

static cab_status res(verifier *v, const cab_kins *i)
{
    const cab_kins *end;

    if (!v->n_results || i->a != v->results_of || i->imm != v->next_result)
        return bad(v, "out of place");
    end = ins(v, v->at - 1 - v->next_result);
    v->n_results--;
    v->next_result++;
    return want(v, arg(v, end, (int)i->imm), (cab_dtype)i->dt, i->lanes);
}

static cab_status close_region(verifier *v, const cab_kins *i)
{
    int top = v->n_open ? v->open[v->n_open - 1] : -1;
    const cab_kins *t = top < 0 ? NULL : ins(v, top);
    int of = t && t->op == CAB_K_else ? t->a : top;
    bool loop = t && (t->op == CAB_K_loop || t->op == CAB_K_while);

    if (!t || i->a != of || (i->op == CAB_K_end) != loop)
        return bad(v, "closes %%%d, but the innermost region is %%%d", i->a, of);
    if (i->op == CAB_K_else && t->op == CAB_K_else)
        return bad(v, "second else");
    if (i->op == CAB_K_end || t->op == CAB_K_else)
        CAB_TRY(agree(v, i, t));
    else if (i->op == CAB_K_endif && i->n_args)
        return bad(v, "results without else");
    if (t->op == CAB_K_while && !v->conded[top])
        return bad(v, "while without cond");
    v->n_open--;
    v->results_of = of;
    v->n_results = i->op == CAB_K_else ? 0 : i->n_args;
    v->next_result = 0;
    return CAB_OK;
}

static cab_status check_phis(const verifier *v, const cab_kins *i)
{
    for (int j = 0; j < i->n_args; j++)
        if (v->at + 1 + j >= (int)v->k->ins.n || ins(v, v->at + 1 + j)->op != CAB_K_phi)
            return bad(v, "%d phis must follow", i->n_args);
    return CAB_OK;
}

static cab_status structure(verifier *v, const cab_kins *i)
{
    int top = v->n_open ? v->open[v->n_open - 1] : -1;

    switch (i->op) {
    case CAB_K_loop:
        CAB_TRY(want(v, i->a, CAB_DT_i64, 1));
        CAB_TRY(want(v, i->b, CAB_DT_i64, 1));
        if (i->imm <= 0)
            return bad(v, "the step must be positive");
        return check_phis(v, i);
    case CAB_K_while:
        return check_phis(v, i);
    case CAB_K_cond:
        CAB_TRY(want(v, i->a, CAB_DT_bool, 1));
        if (top < 0 || ins(v, top)->op != CAB_K_while || v->conded[top])
            return bad(v, "out of place");
        v->conded[top] = true;
        return CAB_OK;
    case CAB_K_if:
        return want(v, i->a, CAB_DT_bool, 1);
    case CAB_K_end: case CAB_K_else: case CAB_K_endif:
        return close_region(v, i);
    case CAB_K_phi:
        return phi(v, i);
    case CAB_K_res:
        return res(v, i);
    default:
        return CAB_OK;         /* barrier */
    }
}

/* ---- types ---- */

static cab_status parameter(const verifier *v, const cab_kins *i)
{
    int64_t n = i->op == CAB_K_buf ? v->k->n_bufs : v->k->n_ints;

    if (i->op != CAB_K_buf && i->dt != CAB_DT_i64)
        return bad(v, "is not i64");
    if ((i->op == CAB_K_buf || i->op == CAB_K_int) && (i->imm < 0 || i->imm >= n))
        return bad(v, "parameter %lld of %lld", (long long)i->imm, (long long)n);
    if (i->op == CAB_K_buf && !storable((cab_dtype)i->dt))
        return bad(v, "no such memory dtype");
    return i->lanes == 1 ? CAB_OK : bad(v, "is a scalar");
}

static cab_status memory(const verifier *v, const cab_kins *i)
{
    if (i->op == CAB_K_alloc) {
        if (v->n_open)
            return bad(v, "not at top level");
        if (i->space != CAB_KS_STACK && i->space != CAB_KS_SHARED)
            return bad(v, "neither stack nor shared");
        if (i->imm <= 0 || i->imm > INT32_MAX || i->lanes != 1)
            return bad(v, "size out of range");
    }
    if (i->op == CAB_K_prefetch)
        return CAB_OK;
    if (!storable((cab_dtype)i->dt))
        return bad(v, "no such memory dtype");
    if (i->op != CAB_K_ld && i->op != CAB_K_ldx && i->op != CAB_K_alloc &&
        ins(v, i->a)->flags & CAB_KIR_RO)
        return bad(v, "writes a read-only buffer");
    if (i->op == CAB_K_atomic &&
        (i->lanes != 1 || i->dt == CAB_DT_bool || cab_dtype_bits((cab_dtype)i->dt) < 32 ||
         (i->sub != CAB_KF_ADD && i->sub != CAB_KF_MIN && i->sub != CAB_KF_MAX)))
        return bad(v, "atomics are scalar add, min, max on 32 and 64 bits");
    return CAB_OK;
}

static cab_status vector(const verifier *v, const cab_kins *i)
{
    const cab_kins *a = ins(v, i->a);
    int64_t n = a->lanes;

    CAB_TRY(want(v, i->a, (cab_dtype)i->dt,
                 i->op == CAB_K_splat ? 1 : i->op == CAB_K_insert || i->op == CAB_K_shfl
                     ? i->lanes : a->lanes));
    if ((i->op == CAB_K_extract || i->op == CAB_K_insert) && (i->imm < 0 || i->imm >= n))
        return bad(v, "no lane %lld", (long long)i->imm);
    if ((i->op == CAB_K_extract || i->op == CAB_K_fold) && i->lanes != 1)
        return bad(v, "gives a scalar");
    if (i->op == CAB_K_insert)
        return want(v, i->b, (cab_dtype)i->dt, 1);
    if (i->op == CAB_K_fold && (n & (n - 1)))
        return bad(v, "lanes are no power of two");
    if (i->op == CAB_K_shfl && (i->imm < 1 || i->imm > 31))
        return bad(v, "lane mask out of range");
    if (i->op != CAB_K_perm)
        return CAB_OK;
    if (i->b >= 0) {
        CAB_TRY(want(v, i->b, (cab_dtype)i->dt, a->lanes));
        n += a->lanes;
    }
    if (i->n_args != i->lanes)
        return bad(v, "%d lane numbers for %d lanes", i->n_args, i->lanes);
    for (int j = 0; j < i->n_args; j++)
        if (arg(v, i, j) < 0 || arg(v, i, j) >= n)
            return bad(v, "no lane %d", arg(v, i, j));
    return CAB_OK;
}

static cab_status convert(const verifier *v, const cab_kins *i)
{
    cab_dtype from = cab_k_dt(v->k, i->a), to = (cab_dtype)i->dt;
    int lanes = ins(v, i->a)->lanes;
    bool half = to == CAB_DT_f16 || to == CAB_DT_bf16 || from == CAB_DT_f16 ||
                from == CAB_DT_bf16;

    if (!storable(to))
        return bad(v, "no conversion to %s", cab_dtype_name(to));
    if (i->op == CAB_K_bitcast) {
        if (to == CAB_DT_bool || from == CAB_DT_bool ||
            cab_dtype_bits(to) * i->lanes != cab_dtype_bits(from) * lanes)
            return bad(v, "bits differ");
        return CAB_OK;
    }
    if (half && to != CAB_DT_f32 && from != CAB_DT_f32)
        return bad(v, "halves convert to and from f32 alone");
    return want(v, i->a, from, i->lanes);
}

/* Which dtypes an arithmetic instruction takes. */
static bool takes(int op, cab_dtype dt)
{
    switch (op) {
    case CAB_K_fma: case CAB_K_floor: case CAB_K_ceil: case CAB_K_rint:
    case CAB_K_trunc: case CAB_K_sqrt:
        return cab_dtype_is_float(dt);
    case CAB_K_shl: case CAB_K_shr:
        return cab_dtype_is_int(dt);
    case CAB_K_and: case CAB_K_or: case CAB_K_xor:
        return !cab_dtype_is_float(dt);
    case CAB_K_cmp: case CAB_K_select:
        return true;
    default:
        return dt != CAB_DT_bool;
    }
}

static cab_status arithmetic(const verifier *v, const cab_kins *i)
{
    cab_dtype dt = (cab_dtype)i->dt;
    const char *f = cab_kop_get(i->op).fields;

    if (i->op == CAB_K_cast || i->op == CAB_K_bitcast)
        return convert(v, i);
    if (i->op == CAB_K_dot4) {
        if (dt != CAB_DT_i32)
            return bad(v, "gives i32");
        CAB_TRY(want(v, i->a, CAB_DT_u8, 4 * i->lanes));
        CAB_TRY(want(v, i->b, CAB_DT_i8, 4 * i->lanes));
        return want(v, i->c, CAB_DT_i32, i->lanes);
    }
    if (!cab_kir_arith(dt) || !takes(i->op, dt))
        return bad(v, "not on %s", cab_dtype_name(dt));
    for (; *f; f++) {
        int x = *f == 'a' ? i->a : *f == 'b' ? i->b : i->c;
        bool condition = i->op == CAB_K_select && *f == 'a';
        if (*f != 'o')
            CAB_TRY(want(v, x, condition ? CAB_DT_bool : dt, i->lanes));
    }
    return CAB_OK;
}

static cab_status constant(const verifier *v, const cab_kins *i)
{
    cab_dtype dt = (cab_dtype)i->dt;

    if (!cab_kir_arith(dt) || (i->op == CAB_K_iota && !cab_dtype_is_int(dt)))
        return bad(v, "not on %s", cab_dtype_name(dt));
    if (i->op == CAB_K_const && !cab_dtype_is_float(dt) &&
        (int64_t)cab_kraw_of_int(dt, i->imm) != i->imm)
        return bad(v, "%lld does not fit", (long long)i->imm);
    return CAB_OK;
}

static cab_status one(verifier *v)
{
    const cab_kins *i = ins(v, v->at);
    bool opener = i->op == CAB_K_loop || i->op == CAB_K_while || i->op == CAB_K_if ||
                  i->op == CAB_K_else;

    if (i->op >= CAB_K_COUNT)
        return bad(v, "unknown instruction");
    if (i->lanes < 1 || i->lanes > CAB_KIR_MAX_LANES)
        return bad(v, "%d lanes", i->lanes);
    if (v->n_results && i->op != CAB_K_res)
        return bad(v, "results of %%%d must come first", v->results_of);
    if (i->op == CAB_K_end || i->op == CAB_K_else || i->op == CAB_K_endif)
        CAB_TRY(use_args(v, i));
    else if (i->op != CAB_K_phi && i->op != CAB_K_res)
        CAB_TRY(operands(v, i));
    switch (cab_kop_get(i->op).cls) {
    case 'P': CAB_TRY(parameter(v, i)); break;
    case 'C': CAB_TRY(constant(v, i)); break;
    case 'S': CAB_TRY(structure(v, i)); break;
    case 'M': CAB_TRY(memory(v, i)); break;
    case 'V': CAB_TRY(vector(v, i)); break;
    default: CAB_TRY(arithmetic(v, i)); break;
    }
    if (opener)
        v->open[v->n_open++] = v->at;
    /* A loop's counter is visible inside it. */
    v->region[v->at] = v->n_open ? v->open[v->n_open - 1] : -1;
    return CAB_OK;
}

cab_status cab_kir_verify(const cab_kir *k, cab_diag *d)
{
    cab_mark m = cab_arena_mark(k->arena);
    verifier v = { .k = k, .d = d };
    cab_status s = CAB_OK;

    v.region = CAB_NEW_N(k->arena, int32_t, k->ins.n + 1);
    v.open = CAB_NEW_N(k->arena, int32_t, k->ins.n + 1);
    v.conded = CAB_NEW_N(k->arena, bool, k->ins.n + 1);
    for (; s == CAB_OK && v.at < (int)k->ins.n; v.at++)
        s = one(&v);
    if (s == CAB_OK && (v.n_open || v.n_results))
        s = bad(&v, "a region is not closed");
    if (s == CAB_OK && k->block < 1)
        s = bad(&v, "block %d", k->block);
    cab_arena_release(k->arena, m);
    return s;
}
