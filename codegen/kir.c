/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir.c - building kernels.
 *
 * Appends instructions, folding what is constant and reusing equal pure
 * instructions that are still visible, so that generators can write address
 * arithmetic plainly.  The result depends only on the calls made.  Misuse
 * (operands of different types, unbalanced regions) is a bug and asserted.
 */
#include <math.h>
#include <string.h>
#include "codegen/kir_int.h"

enum { NUMBERING = 1024 };

cab_kir *cab_kir_create(cab_arena *a, const char *name, int n_bufs, int n_ints)
{
    cab_kir *k = CAB_NEW(a, cab_kir);

    k->arena = a;
    k->name = cab_strdup(a, name);
    k->n_bufs = n_bufs;
    k->n_ints = n_ints;
    k->block = 1;
    k->numbering = CAB_NEW_N(a, int32_t, NUMBERING);
    memset(k->numbering, 0xff, NUMBERING * sizeof *k->numbering);
    return k;
}

cab_kv cab_kir_append(cab_kir *k, const cab_kins *i)
{
    int32_t region = k->open.n ? k->open.p[k->open.n - 1] : -1;

    CAB_ASSERT(k->ins.n < INT32_MAX);
    cab_vec_push(k->arena, &k->ins, *i);
    cab_vec_push(k->arena, &k->region, region);
    return (cab_kv)(k->ins.n - 1);
}

static cab_kins make(cab_kop op, cab_dtype dt, int lanes)
{
    return (cab_kins){ .op = (uint8_t)op, .dt = (uint8_t)dt, .lanes = (uint16_t)lanes,
                       .a = -1, .b = -1, .c = -1 };
}

static void set_args(cab_kir *k, cab_kins *i, int n, const int32_t *v)
{
    i->args = (int32_t)k->args.n;
    i->n_args = n;
    for (int j = 0; j < n; j++)
        cab_vec_push(k->arena, &k->args, v[j]);
}

static int lanes_of(const cab_kir *k, cab_kv v) { return k->ins.p[v].lanes; }

static const cab_kins *const_of(const cab_kir *k, cab_kv v)
{
    return v >= 0 && k->ins.p[v].op == CAB_K_const ? &k->ins.p[v] : NULL;
}

bool cab_k_is_const(const cab_kir *k, cab_kv v, int64_t *out)
{
    const cab_kins *c = const_of(k, v);

    if (!c || cab_dtype_is_float((cab_dtype)c->dt))
        return false;
    *out = c->imm;
    return true;
}

/* ---- reuse of equal instructions ---- */

static bool region_open(const cab_kir *k, int32_t region)
{
    if (region < 0)
        return true;
    for (size_t i = k->open.n; i-- > 0;)
        if (k->open.p[i] == region)
            return true;
    return false;
}

static bool same(const cab_kins *x, const cab_kins *y)
{
    return x->op == y->op && x->space == y->space && x->sub == y->sub &&
           x->flags == y->flags && x->dt == y->dt && x->lanes == y->lanes &&
           x->a == y->a && x->b == y->b && x->c == y->c && x->imm == y->imm &&
           !memcmp(&x->f, &y->f, sizeof x->f);
}

static uint64_t hash(const cab_kins *i)
{
    uint64_t f, h = 0x9e3779b97f4a7c15u;
    uint64_t word[4];

    memcpy(&f, &i->f, sizeof f);
    word[0] = (uint64_t)i->op | (uint64_t)i->sub << 8 | (uint64_t)i->dt << 16 |
              (uint64_t)i->lanes << 24 | (uint64_t)(uint32_t)i->a << 40;
    word[1] = (uint64_t)(uint32_t)i->b | (uint64_t)(uint32_t)i->c << 32;
    word[2] = (uint64_t)i->imm;
    word[3] = f;
    for (int j = 0; j < 4; j++) {
        h = (h ^ word[j]) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    return h;
}

/* A pure instruction: an equal visible one, or appended.  The table keeps the
 * newest of a slot. */
static cab_kv pure(cab_kir *k, const cab_kins *i)
{
    int32_t *slot = &k->numbering[hash(i) % NUMBERING];

    if (*slot >= 0 && same(&k->ins.p[*slot], i) && region_open(k, k->region.p[*slot]))
        return *slot;
    *slot = cab_kir_append(k, i);
    return *slot;
}

/* ---- parameters and constants ---- */

cab_kv cab_k_buf(cab_kir *k, int operand, cab_dtype dt, bool read_only)
{
    cab_kins i = make(CAB_K_buf, dt, 1);

    i.imm = operand;
    i.flags = read_only ? CAB_KIR_RO : 0;
    return pure(k, &i);
}

cab_kv cab_k_int(cab_kir *k, int param)
{
    cab_kins i = make(CAB_K_int, CAB_DT_i64, 1);

    i.imm = param;
    return pure(k, &i);
}

static cab_kv plain(cab_kir *k, cab_kop op, cab_dtype dt, int lanes)
{
    cab_kins i = make(op, dt, lanes);
    return pure(k, &i);
}

cab_kv cab_k_grid(cab_kir *k) { return plain(k, CAB_K_grid, CAB_DT_i64, 1); }
cab_kv cab_k_thread(cab_kir *k) { return plain(k, CAB_K_thread, CAB_DT_i64, 1); }
cab_kv cab_k_i64(cab_kir *k, int64_t v) { return cab_k_const_i(k, CAB_DT_i64, 1, v); }

cab_kv cab_k_const_i(cab_kir *k, cab_dtype dt, int lanes, int64_t v)
{
    cab_kins i = make(CAB_K_const, dt, lanes);

    CAB_ASSERT(!cab_dtype_is_float(dt));
    i.imm = (int64_t)cab_kraw_of_int(dt, v);
    return pure(k, &i);
}

cab_kv cab_k_const_f(cab_kir *k, cab_dtype dt, int lanes, double v)
{
    cab_kins i = make(CAB_K_const, dt, lanes);

    CAB_ASSERT(dt == CAB_DT_f32 || dt == CAB_DT_f64);
    i.f = dt == CAB_DT_f32 ? (double)(float)v : v;
    return pure(k, &i);
}

cab_kv cab_k_iota(cab_kir *k, cab_dtype dt, int lanes)
{
    return plain(k, CAB_K_iota, dt, lanes);
}

/* ---- folding ---- */

static cab_kraw raw_const(const cab_kins *c)
{
    return cab_dtype_is_float((cab_dtype)c->dt) ? cab_kraw_of_f64((cab_dtype)c->dt, c->f)
                                                : (cab_kraw)c->imm;
}

static cab_kv const_raw(cab_kir *k, cab_dtype dt, int lanes, cab_kraw v)
{
    return cab_dtype_is_float(dt) ? cab_k_const_f(k, dt, lanes, cab_kraw_to_f64(dt, v))
                                  : cab_k_const_i(k, dt, lanes, (int64_t)v);
}

/* The constant that i computes, or -1: operands not all constant, or a NaN
 * whose bits a constant would not keep. */
static cab_kv fold_const(cab_kir *k, const cab_kins *i)
{
    const cab_kins *x[3] = { const_of(k, i->a), const_of(k, i->b), const_of(k, i->c) };
    cab_dtype to = i->op == CAB_K_cmp ? CAB_DT_bool : (cab_dtype)i->dt;
    cab_kraw r[3] = { 0, 0, 0 };

    if (!cab_kir_arith(to) || i->op == CAB_K_dot4)
        return -1;
    for (int j = 0; j < 3; j++) {
        if ((j == 0 ? i->a : j == 1 ? i->b : i->c) >= 0 && !x[j])
            return -1;
        r[j] = x[j] ? raw_const(x[j]) : 0;
    }
    if (i->op == CAB_K_bitcast) {
        if (i->lanes != x[0]->lanes)
            return -1;
        r[0] = cab_dtype_is_float(to) ? r[0] & UINT64_MAX >> (64 - cab_dtype_bits(to))
                                      : cab_kraw_of_int(to, (int64_t)r[0]);
    } else {
        r[0] = cab_kraw_eval((cab_kop)i->op, i->sub, (cab_dtype)i->dt,
                             (cab_dtype)x[0]->dt, r[0], r[1], r[2]);
    }
    if (cab_dtype_is_float(to) && isnan(cab_kraw_to_f64(to, r[0])))
        return -1;
    return const_raw(k, to, i->lanes, r[0]);
}

static bool commutes(int op)
{
    return op == CAB_K_add || op == CAB_K_mul || op == CAB_K_and || op == CAB_K_or ||
           op == CAB_K_xor;
}

/* x op c for an integer constant c: x or c itself, else -1. */
static cab_kv identity(const cab_kins *i, const cab_kins *c)
{
    int64_t all = c->dt == CAB_DT_bool ? 1 : (int64_t)cab_kraw_of_int((cab_dtype)c->dt, -1);

    switch (i->op) {
    case CAB_K_add: case CAB_K_sub: case CAB_K_xor: case CAB_K_shl: case CAB_K_shr:
        return c->imm == 0 ? i->a : -1;
    case CAB_K_mul:
        return c->imm == 1 ? i->a : c->imm == 0 ? i->b : -1;
    case CAB_K_div:
        return c->imm == 1 ? i->a : -1;
    case CAB_K_and:
        return c->imm == all ? i->a : c->imm == 0 ? i->b : -1;
    case CAB_K_or:
        return c->imm == 0 ? i->a : c->imm == all ? i->b : -1;
    default:
        return -1;
    }
}

/* Scalar i64 with a constant: constants gather at the outside of sums and
 * products, where ld and st take them as displacement. */
static cab_kv gather_index(cab_kir *k, const cab_kins *i, int64_t c)
{
    cab_kins x = k->ins.p[i->a];
    const cab_kins *inner = const_of(k, x.b);
    cab_kv t;

    if (i->op == CAB_K_sub)
        return cab_k_op2(k, CAB_K_add, i->a, cab_k_i64(k, (int64_t)(0 - (uint64_t)c)));
    if (!inner || (x.op != CAB_K_add && x.op != CAB_K_mul))
        return -1;
    if (i->op == x.op)
        return cab_k_op2(k, (cab_kop)i->op, x.a,
                         cab_k_op2(k, (cab_kop)i->op, x.b, i->b));
    if (i->op != CAB_K_mul)
        return -1;
    t = cab_k_op2(k, CAB_K_mul, x.a, i->b);
    return cab_k_op2(k, CAB_K_add, t, cab_k_op2(k, CAB_K_mul, x.b, i->b));
}

/* An equal value that needs no new instruction of this kind, or -1. */
static cab_kv simplify(cab_kir *k, cab_kins *i)
{
    const cab_kins *c;
    int64_t va, vb;
    cab_kv v;

    if (i->op == CAB_K_select) {
        if (i->b == i->c)
            return i->b;
        return cab_k_is_const(k, i->a, &va) ? (va ? i->b : i->c) : -1;
    }
    if (i->b < 0 || i->c >= 0)
        return -1;
    if (commutes(i->op) && const_of(k, i->a) && !const_of(k, i->b)) {
        v = i->a;
        i->a = i->b;
        i->b = v;
    }
    if (i->a == i->b && (i->op == CAB_K_min || i->op == CAB_K_max))
        return i->a;
    c = const_of(k, i->b);
    if (c && cab_dtype_is_float((cab_dtype)c->dt))
        return c->f == 1 && (i->op == CAB_K_mul || i->op == CAB_K_div) ? i->a : -1;
    if (!cab_k_is_const(k, i->b, &vb))
        return -1;
    v = identity(i, c);
    if (v < 0 && i->op == CAB_K_rem && vb == 1)
        v = cab_k_const_i(k, (cab_dtype)i->dt, i->lanes, 0);
    if (v < 0 && i->dt == CAB_DT_i64 && i->lanes == 1 &&
        (i->op == CAB_K_add || i->op == CAB_K_sub || i->op == CAB_K_mul))
        v = gather_index(k, i, vb);
    return v;
}

static cab_kv arith(cab_kir *k, cab_kins *i)
{
    cab_kv v = fold_const(k, i);

    if (v < 0)
        v = simplify(k, i);
    return v >= 0 ? v : pure(k, i);
}

/* ---- arithmetic ---- */

static void check_same(const cab_kir *k, cab_kv a, cab_kv b)
{
    CAB_ASSERT(cab_k_dt(k, a) == cab_k_dt(k, b));
    CAB_ASSERT(lanes_of(k, a) == lanes_of(k, b));
}

cab_kv cab_k_op1(cab_kir *k, cab_kop op, cab_kv a)
{
    cab_dtype dt = cab_k_dt(k, a);
    cab_kins i = make(op, dt, lanes_of(k, a));
    bool rounding = op == CAB_K_floor || op == CAB_K_ceil || op == CAB_K_rint ||
                    op == CAB_K_trunc;

    i.a = a;
    if (!cab_dtype_is_float(dt) &&
        (rounding || (op == CAB_K_abs && !cab_dtype_is_signed(dt))))
        return a;
    return arith(k, &i);
}

cab_kv cab_k_op2(cab_kir *k, cab_kop op, cab_kv a, cab_kv b)
{
    cab_kins i = make(op, cab_k_dt(k, a), lanes_of(k, a));

    check_same(k, a, b);
    i.a = a;
    i.b = b;
    return arith(k, &i);
}

cab_kv cab_k_fma(cab_kir *k, cab_kv a, cab_kv b, cab_kv c)
{
    cab_kins i = make(CAB_K_fma, cab_k_dt(k, a), lanes_of(k, a));

    check_same(k, a, b);
    check_same(k, a, c);
    i.a = a;
    i.b = b;
    i.c = c;
    return arith(k, &i);
}

cab_kv cab_k_cmp(cab_kir *k, int sub, cab_kv a, cab_kv b)
{
    cab_kins i = make(CAB_K_cmp, cab_k_dt(k, a), lanes_of(k, a));

    check_same(k, a, b);
    i.sub = (uint8_t)sub;
    i.a = a;
    i.b = b;
    return arith(k, &i);
}

cab_kv cab_k_select(cab_kir *k, cab_kv cond, cab_kv a, cab_kv b)
{
    cab_kins i = make(CAB_K_select, cab_k_dt(k, a), lanes_of(k, a));

    check_same(k, a, b);
    CAB_ASSERT(cab_k_dt(k, cond) == CAB_DT_bool && lanes_of(k, cond) == lanes_of(k, a));
    i.a = cond;
    i.b = a;
    i.c = b;
    return arith(k, &i);
}

static bool half(cab_dtype dt) { return dt == CAB_DT_f16 || dt == CAB_DT_bf16; }

static cab_kv cast_once(cab_kir *k, cab_dtype dt, cab_kv a)
{
    cab_kins i = make(CAB_K_cast, dt, lanes_of(k, a));

    i.a = a;
    return arith(k, &i);
}

/* f64 to f32 rounded to odd, so that rounding again to a half rounds once. */
static cab_kv f32_to_odd(cab_kir *k, cab_kv x)
{
    int n = lanes_of(k, x);
    cab_kv t = cast_once(k, CAB_DT_f32, x), e = cast_once(k, CAB_DT_f64, t);
    cab_kv bits = cab_k_bitcast(k, CAB_DT_i32, t);
    cab_kv zero = cab_k_const_i(k, CAB_DT_i32, n, 0);
    cab_kv one = cab_k_const_i(k, CAB_DT_i32, n, 1);
    cab_kv inexact = cab_k_cmp(k, CAB_KC_NE, e, x);
    cab_kv even = cab_k_cmp(k, CAB_KC_EQ, cab_k_op2(k, CAB_K_and, bits, one), zero);
    cab_kv low = cab_k_cmp(k, CAB_KC_LT, cab_k_op1(k, CAB_K_abs, e),
                           cab_k_op1(k, CAB_K_abs, x));
    cab_kv step = cab_k_select(k, low, one, cab_k_const_i(k, CAB_DT_i32, n, -1));
    cab_kv move = cab_k_select(k, cab_k_op2(k, CAB_K_and, inexact, even), step, zero);

    return cab_k_bitcast(k, CAB_DT_f32, cab_k_op2(k, CAB_K_add, bits, move));
}

cab_kv cab_k_cast(cab_kir *k, cab_dtype dt, cab_kv a)
{
    cab_dtype from = cab_k_dt(k, a);

    if (from == dt)
        return a;
    /* Halves convert to and from f32 alone; bf16 has so few digits that an
     * integer must not be rounded twice on the way. */
    if (half(from) && dt != CAB_DT_f32)
        return cab_k_cast(k, dt, cast_once(k, CAB_DT_f32, a));
    if (!half(dt) || from == CAB_DT_f32)
        return cast_once(k, dt, a);
    if (dt == CAB_DT_bf16 && from != CAB_DT_f64 && cab_dtype_bits(from) >= 32)
        a = cast_once(k, CAB_DT_f64, a);
    if (cab_k_dt(k, a) == CAB_DT_f64)
        return cast_once(k, dt, f32_to_odd(k, a));
    return cast_once(k, dt, cast_once(k, CAB_DT_f32, a));
}

cab_kv cab_k_bitcast(cab_kir *k, cab_dtype dt, cab_kv a)
{
    int bits = cab_dtype_bits(cab_k_dt(k, a)) * lanes_of(k, a);
    cab_kins i = make(CAB_K_bitcast, dt, bits / cab_dtype_bits(dt));

    CAB_ASSERT(bits % cab_dtype_bits(dt) == 0);
    if (cab_k_dt(k, a) == dt)
        return a;
    i.a = a;
    return arith(k, &i);
}

cab_kv cab_k_dot4(cab_kir *k, cab_kv acc, cab_kv u8s, cab_kv i8s)
{
    cab_kins i = make(CAB_K_dot4, CAB_DT_i32, lanes_of(k, acc));

    i.a = u8s;
    i.b = i8s;
    i.c = acc;
    return pure(k, &i);
}

/* ---- vectors ---- */

cab_kv cab_k_splat(cab_kir *k, cab_kv scalar, int lanes)
{
    const cab_kins *c = const_of(k, scalar);
    cab_kins i = make(CAB_K_splat, cab_k_dt(k, scalar), lanes);

    CAB_ASSERT(lanes_of(k, scalar) == 1);
    if (lanes == 1)
        return scalar;
    if (c)
        return const_raw(k, (cab_dtype)c->dt, lanes, raw_const(c));
    i.a = scalar;
    return pure(k, &i);
}

cab_kv cab_k_extract(cab_kir *k, cab_kv v, int lane)
{
    const cab_kins *x = cab_k_ins(k, v);
    cab_kins i = make(CAB_K_extract, cab_k_dt(k, v), 1);

    CAB_ASSERT(lane >= 0 && lane < x->lanes);
    if (x->lanes == 1)
        return v;
    if (x->op == CAB_K_splat)
        return x->a;
    if (x->op == CAB_K_iota)
        return cab_k_const_i(k, (cab_dtype)x->dt, 1, lane);
    if (x->op == CAB_K_const)
        return const_raw(k, (cab_dtype)x->dt, 1, raw_const(x));
    i.a = v;
    i.imm = lane;
    return pure(k, &i);
}

cab_kv cab_k_insert(cab_kir *k, cab_kv v, cab_kv scalar, int lane)
{
    cab_kins i = make(CAB_K_insert, cab_k_dt(k, v), lanes_of(k, v));

    CAB_ASSERT(cab_k_dt(k, v) == cab_k_dt(k, scalar) && lanes_of(k, scalar) == 1);
    CAB_ASSERT(lane >= 0 && lane < i.lanes);
    if (i.lanes == 1)
        return scalar;
    i.a = v;
    i.b = scalar;
    i.imm = lane;
    return pure(k, &i);
}

cab_kv cab_k_perm(cab_kir *k, cab_kv a, cab_kv b, int lanes, const int *index)
{
    cab_kins i = make(CAB_K_perm, cab_k_dt(k, a), lanes);

    CAB_ASSERT(b < 0 || cab_k_dt(k, a) == cab_k_dt(k, b));
    i.a = a;
    i.b = b;
    set_args(k, &i, lanes, index);
    return cab_kir_append(k, &i);
}

cab_kv cab_k_fold(cab_kir *k, int sub, cab_kv v)
{
    cab_kins i = make(CAB_K_fold, cab_k_dt(k, v), 1);

    if (lanes_of(k, v) == 1)
        return v;
    CAB_ASSERT((lanes_of(k, v) & (lanes_of(k, v) - 1)) == 0);
    i.sub = (uint8_t)sub;
    i.a = v;
    return pure(k, &i);
}

cab_kv cab_k_shfl(cab_kir *k, cab_kv v, int xor_mask)
{
    cab_kins i = make(CAB_K_shfl, cab_k_dt(k, v), lanes_of(k, v));

    if (!xor_mask)
        return v;
    i.a = v;
    i.imm = xor_mask;
    return cab_kir_append(k, &i);
}

/* ---- memory ---- */

cab_kv cab_k_alloc(cab_kir *k, int space, cab_dtype dt, int64_t elems)
{
    cab_kins i = make(CAB_K_alloc, dt, 1);

    i.space = (uint8_t)space;
    i.imm = elems;
    return cab_kir_append(k, &i);
}

/* Sets pointer, index, displacement; constant parts of a scalar index move
 * into the displacement. */
static void set_address(cab_kir *k, cab_kins *i, cab_kv ptr, cab_kv index, int64_t disp)
{
    int64_t c;

    i->a = ptr;
    i->b = index;
    i->imm = disp;
    if (index < 0 || lanes_of(k, index) != 1)
        return;
    if (cab_k_is_const(k, index, &c)) {
        if (!__builtin_add_overflow(disp, c, &i->imm))
            i->b = -1;
    } else if (cab_k_ins(k, index)->op == CAB_K_add &&
               cab_k_is_const(k, cab_k_ins(k, index)->b, &c)) {
        if (!__builtin_add_overflow(disp, c, &i->imm))
            i->b = cab_k_ins(k, index)->a;
    }
    if (i->b == index)
        i->imm = disp;
}

static cab_kv load(cab_kir *k, cab_kop op, cab_dtype dt, int lanes, cab_kv ptr,
                   cab_kv index, int64_t disp, cab_kv mask)
{
    cab_kins i = make(op, dt, lanes);

    CAB_ASSERT(cab_k_dt(k, ptr) == dt);
    if (op == CAB_K_ldx) {
        i.a = ptr;
        i.b = index;
        i.imm = disp;
    } else {
        set_address(k, &i, ptr, index, disp);
    }
    i.c = mask;
    return cab_kir_append(k, &i);
}

static void store(cab_kir *k, cab_kop op, int sub, cab_kv value, cab_kv ptr,
                  cab_kv index, int64_t disp, cab_kv mask)
{
    cab_kins i = make(op, cab_k_dt(k, value), lanes_of(k, value));

    CAB_ASSERT(cab_k_dt(k, ptr) == cab_k_dt(k, value));
    if (op == CAB_K_stx) {
        i.a = ptr;
        i.b = index;
        i.imm = disp;
    } else {
        set_address(k, &i, ptr, index, disp);
    }
    i.sub = (uint8_t)sub;
    i.c = mask;
    set_args(k, &i, 1, &value);
    cab_kir_append(k, &i);
}

cab_kv cab_k_ld(cab_kir *k, cab_dtype dt, int lanes, cab_kv ptr, cab_kv index,
                int64_t disp, cab_kv mask)
{
    return load(k, CAB_K_ld, dt, lanes, ptr, index, disp, mask);
}

void cab_k_st(cab_kir *k, cab_kv value, cab_kv ptr, cab_kv index, int64_t disp, cab_kv mask)
{
    store(k, CAB_K_st, 0, value, ptr, index, disp, mask);
}

cab_kv cab_k_ldx(cab_kir *k, cab_dtype dt, int lanes, cab_kv ptr, cab_kv indices,
                 int64_t disp, cab_kv mask)
{
    return load(k, CAB_K_ldx, dt, lanes, ptr, indices, disp, mask);
}

void cab_k_stx(cab_kir *k, cab_kv value, cab_kv ptr, cab_kv indices, int64_t disp,
               cab_kv mask)
{
    store(k, CAB_K_stx, 0, value, ptr, indices, disp, mask);
}

void cab_k_atomic(cab_kir *k, int sub, cab_kv value, cab_kv ptr, cab_kv index, int64_t disp)
{
    store(k, CAB_K_atomic, sub, value, ptr, index, disp, -1);
}

void cab_k_prefetch(cab_kir *k, int level, cab_kv ptr, cab_kv index, int64_t disp)
{
    cab_kins i = make(CAB_K_prefetch, CAB_DT_none, 1);

    i.sub = (uint8_t)level;
    set_address(k, &i, ptr, index, disp);
    cab_kir_append(k, &i);
}

void cab_k_barrier(cab_kir *k)
{
    cab_kins i = make(CAB_K_barrier, CAB_DT_none, 1);
    cab_kir_append(k, &i);
}

/* ---- structure ---- */

static cab_kv open_region(cab_kir *k, cab_kins *i, int n, const cab_kv *init, cab_kv *phi)
{
    cab_kv v;

    set_args(k, i, n, init);
    v = cab_kir_append(k, i);
    cab_vec_push(k->arena, &k->open, v);
    for (int j = 0; j < n; j++) {
        cab_kins p = make(CAB_K_phi, cab_k_dt(k, init[j]), lanes_of(k, init[j]));
        p.a = v;
        p.imm = j;
        phi[j] = cab_kir_append(k, &p);
    }
    return v;
}

static void results(cab_kir *k, cab_kv of, int n, const cab_kv *like, cab_kv *res)
{
    for (int j = 0; j < n; j++) {
        cab_kins r = make(CAB_K_res, cab_k_dt(k, like[j]), lanes_of(k, like[j]));
        r.a = of;
        r.imm = j;
        res[j] = cab_kir_append(k, &r);
    }
}

cab_kv cab_k_loop(cab_kir *k, cab_kv lo, cab_kv hi, int64_t step, int n,
                  const cab_kv *init, cab_kv *phi)
{
    cab_kins i = make(CAB_K_loop, CAB_DT_i64, 1);

    CAB_ASSERT(step > 0);
    i.a = lo;
    i.b = hi;
    i.imm = step;
    return open_region(k, &i, n, init, phi);
}

void cab_k_while(cab_kir *k, int n, const cab_kv *init, cab_kv *phi)
{
    cab_kins i = make(CAB_K_while, CAB_DT_none, 1);
    open_region(k, &i, n, init, phi);
}

void cab_k_cond(cab_kir *k, cab_kv c)
{
    cab_kins i = make(CAB_K_cond, CAB_DT_none, 1);

    i.a = c;
    cab_kir_append(k, &i);
}

/* Closes the innermost region with `op`; returns its loop, while or if. */
static cab_kv close_region(cab_kir *k, cab_kop op, int n, const cab_kv *values)
{
    cab_kins i = make(op, CAB_DT_none, 1);
    cab_kv of;

    CAB_ASSERT(k->open.n);
    of = k->open.p[k->open.n - 1];
    if (cab_k_ins(k, of)->op == CAB_K_else)
        of = cab_k_ins(k, of)->a;
    CAB_ASSERT((cab_k_ins(k, of)->op == CAB_K_if) == (op != CAB_K_end));
    i.a = of;
    set_args(k, &i, n, values);
    k->open.n--;
    cab_kir_append(k, &i);
    return of;
}

void cab_k_end(cab_kir *k, int n, const cab_kv *next, cab_kv *res)
{
    cab_kv of = close_region(k, CAB_K_end, n, next);

    CAB_ASSERT(cab_k_ins(k, of)->n_args == n);
    for (int j = 0; j < n; j++)
        check_same(k, next[j], k->args.p[cab_k_ins(k, of)->args + j]);
    results(k, of, n, next, res);
}

void cab_k_if(cab_kir *k, cab_kv cond)
{
    cab_kins i = make(CAB_K_if, CAB_DT_none, 1);
    cab_kv v;

    CAB_ASSERT(cab_k_dt(k, cond) == CAB_DT_bool && lanes_of(k, cond) == 1);
    i.a = cond;
    v = cab_kir_append(k, &i);
    cab_vec_push(k->arena, &k->open, v);
}

void cab_k_else(cab_kir *k, int n, const cab_kv *then_values)
{
    close_region(k, CAB_K_else, n, then_values);
    cab_vec_push(k->arena, &k->open, (int32_t)(k->ins.n - 1));
}

void cab_k_endif(cab_kir *k, int n, const cab_kv *else_values, cab_kv *res)
{
    cab_kv of = close_region(k, CAB_K_endif, n, else_values);
    results(k, of, n, else_values, res);
}
