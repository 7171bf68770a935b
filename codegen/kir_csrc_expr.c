/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_csrc_expr.c - expressions of C and CUDA text, and the functions behind.
 *
 * Integer arithmetic is done in unsigned types, so it wraps without undefined
 * behaviour; operations that C leaves undefined for some operands are
 * functions written from the templates below.
 */
#include <math.h>
#include <string.h>
#include "codegen/kir_csrc.h"

const char *cab_ksrc_type(cab_dtype dt) { return dt == CAB_DT_bool ? "b8" : cab_dtype_name(dt); }

/* The unsigned type arithmetic of dt is done in. */
static const char *wide(cab_dtype dt) { return cab_dtype_bits(dt) == 64 ? "u64" : "u32"; }

/* ---- templates: T, W, F and N stand for the type, its wide unsigned type,
 * the type converted from and the width in bits; H, L and M for 2^N (halved
 * for signed types), the least and the greatest value ---- */

enum { FLOATS = 1, SIGNED = 2, UNSIGNED = 4, INTS = 6 };

static const struct template { const char *name; int classes; const char *text; } templates[] = {
    { "bits", FLOATS | INTS,
      "FN T T_bits_F(F a)\n{\n    T r;\n    memcpy(&r, &a, sizeof r);\n    return r;\n}\n" },
    { "f32_of_f16", FLOATS,
      "FN f32 f32_of_f16(f16 a)\n{\n"
      "    u32 sign = (u32)(a & 0x8000u) << 16, m = (u32)(a & 0x7fffu) << 13;\n"
      "    if (m >= 0x0f800000u)\n        return f32_bits_u32(sign | 0x70000000u | m);\n"
      "    if (m < 0x00800000u)\n"
      "        m = u32_bits_f32((f32)(a & 0x7fffu) * 5.9604644775390625e-8f);\n"
      "    else\n        m += 0x38000000u;\n"
      "    return f32_bits_u32(sign | m);\n}\n" },
    { "f16_of_f32", FLOATS,
      "FN f16 f16_of_f32(f32 a)\n{\n"
      "    u32 x = u32_bits_f32(a), sign = x >> 16 & 0x8000u;\n"
      "    x &= 0x7fffffffu;\n"
      "    if (x > 0x7f800000u)\n        return (f16)(sign | 0x7e00u);\n"
      "    if (x >= 0x477ff000u)\n        return (f16)(sign | 0x7c00u);\n"
      "    if (x < 0x38800000u)    /* the sum rounds to multiples of 2^-24 */\n"
      "        return (f16)(sign | (u32_bits_f32(f32_bits_u32(x) + 0.5f) - 0x3f000000u));\n"
      "    return (f16)(sign | (x - 0x38000000u + 0xfffu + (x >> 13 & 1u)) >> 13);\n}\n" },
    { "f32_of_bf16", FLOATS,
      "FN f32 f32_of_bf16(bf16 a)\n{\n    return f32_bits_u32((u32)a << 16);\n}\n" },
    { "bf16_of_f32", FLOATS,
      "FN bf16 bf16_of_f32(f32 a)\n{\n    u32 x = u32_bits_f32(a);\n"
      "    if (a != a)\n        return (bf16)(x >> 16 | 0x40u);\n"
      "    return (bf16)((x + 0x7fffu + (x >> 16 & 1u)) >> 16);\n}\n" },
    { "of", SIGNED,            /* NaN fails every comparison but the first */
      "FN T T_of_F(F a)\n{\n"
      "    return a != a ? 0 : a >= H ? M : a <= -H ? L : (T)a;\n}\n" },
    { "of", UNSIGNED,
      "FN T T_of_F(F a)\n{\n    return a != a || a <= 0 ? 0 : a >= H ? M : (T)a;\n}\n" },
    { "div", SIGNED,
      "FN T div_T(T a, T b)\n{\n"
      "    return b == 0 ? 0 : b == -1 ? (T)(0 - (W)a) : (T)(a / b);\n}\n" },
    { "div", UNSIGNED, "FN T div_T(T a, T b)\n{\n    return (T)(b == 0 ? 0 : a / b);\n}\n" },
    { "rem", SIGNED,
      "FN T rem_T(T a, T b)\n{\n    return (T)(b == 0 || b == -1 ? 0 : a % b);\n}\n" },
    { "rem", UNSIGNED, "FN T rem_T(T a, T b)\n{\n    return (T)(b == 0 ? 0 : a % b);\n}\n" },
    { "abs", SIGNED, "FN T abs_T(T a)\n{\n    return (T)(a < 0 ? 0 - (W)a : (W)a);\n}\n" },
    { "min", FLOATS,
      "FN T min_T(T a, T b)\n{\n    return a != a ? a : b != b ? b : b < a ? b : a;\n}\n" },
    { "min", INTS, "FN T min_T(T a, T b)\n{\n    return b < a ? b : a;\n}\n" },
    { "max", FLOATS,
      "FN T max_T(T a, T b)\n{\n    return a != a ? a : b != b ? b : a < b ? b : a;\n}\n" },
    { "max", INTS, "FN T max_T(T a, T b)\n{\n    return a < b ? b : a;\n}\n" },
    { "shl", INTS, "FN T shl_T(T a, T b)\n{\n    return (T)((W)b >= N ? 0 : (W)a << b);\n}\n" },
    { "shr", SIGNED,
      "FN T shr_T(T a, T b)\n{\n    return (T)((W)b >= N ? (a < 0 ? -1 : 0) : a >> b);\n}\n" },
    { "shr", UNSIGNED, "FN T shr_T(T a, T b)\n{\n    return (T)((W)b >= N ? 0 : a >> b);\n}\n" },
};

enum { N_TEMPLATES = sizeof templates / sizeof *templates };

static int class_of(cab_dtype dt)
{
    return cab_dtype_is_float(dt) ? FLOATS : cab_dtype_is_signed(dt) ? SIGNED : UNSIGNED;
}

static void literal(cab_ksrc *c, cab_dtype dt, double f, int64_t v);

static void expand(cab_ksrc *c, const char *text, cab_dtype to, cab_dtype from)
{
    int bits = cab_dtype_bits(to);
    bool sign = cab_dtype_is_signed(to);
    char before = 0;

    for (const char *p = text; *p; before = *p++) {
        bool alone = !(before >= 'A' && before <= 'Z') && !(p[1] >= 'A' && p[1] <= 'Z');
        if (alone && *p == 'T')
            cab_buf_str(c->b, cab_ksrc_type(to));
        else if (alone && *p == 'F')
            cab_buf_str(c->b, cab_ksrc_type(from));
        else if (alone && *p == 'W')
            cab_buf_str(c->b, wide(to));
        else if (alone && *p == 'N')
            cab_buf_printf(c->b, "%d", bits);
        else if (alone && *p == 'H')
            literal(c, from, ldexp(1, sign ? bits - 1 : bits), 0);
        else if (alone && *p == 'L')
            literal(c, to, 0, (int64_t)((uint64_t)-1 << (bits - 1)));
        else if (alone && *p == 'M')
            literal(c, to, 0, (int64_t)(UINT64_MAX >> (64 - bits + sign)));
        else
            cab_buf_char(c->b, *p);
    }
    cab_buf_char(c->b, '\n');
}

/* ---- which functions a kernel needs ---- */

static bool half(cab_dtype dt) { return dt == CAB_DT_f16 || dt == CAB_DT_bf16; }

static const char *cast_function(cab_dtype to, cab_dtype from)
{
    if (half(to) || half(from))
        return to == CAB_DT_f16 ? "f16_of_f32" : to == CAB_DT_bf16 ? "bf16_of_f32"
             : from == CAB_DT_f16 ? "f32_of_f16" : "f32_of_bf16";
    if (cab_dtype_is_float(from) && !cab_dtype_is_float(to) && to != CAB_DT_bool)
        return "of";
    return NULL;
}

static const char *function_of(const cab_kir *k, const cab_kins *i, cab_dtype *to, cab_dtype *from)
{
    bool real;

    *to = (cab_dtype)i->dt;
    *from = i->a < 0 ? *to : cab_k_dt(k, i->a);
    real = cab_dtype_is_float(*to);
    switch (i->op) {
    case CAB_K_cast: return cast_function(*to, *from);
    case CAB_K_bitcast: return i->lanes == k->ins.p[i->a].lanes ? "bits" : NULL;
    case CAB_K_min: return "min";
    case CAB_K_max: return "max";
    case CAB_K_shl: return "shl";
    case CAB_K_shr: return "shr";
    case CAB_K_div: return real ? NULL : "div";
    case CAB_K_rem: return real ? NULL : "rem";
    case CAB_K_abs: return real || class_of(*to) != SIGNED ? NULL : "abs";
    case CAB_K_fold:
    case CAB_K_atomic:
        return i->sub == CAB_KF_MIN ? "min" : i->sub == CAB_KF_MAX ? "max" : NULL;
    default: return NULL;
    }
}

/* The set of functions needed, by template and types. */
typedef struct needs { bool at[N_TEMPLATES][CAB_DT_COUNT][CAB_DT_COUNT]; } needs;

static void need(needs *n, const char *name, cab_dtype to, cab_dtype from)
{
    bool paired = !strcmp(name, "bits") || !strcmp(name, "of");

    for (int j = 0; j < N_TEMPLATES; j++) {
        if (strcmp(templates[j].name, name))
            continue;
        if (strstr(name, "_of_"))
            n->at[j][CAB_DT_f32][CAB_DT_f32] = true;
        else if (templates[j].classes & class_of(to))
            n->at[j][to][paired ? from : to] = true;
    }
    if (!strcmp(name, "f32_of_bf16") || strstr(name, "_of_f16") || !strcmp(name, "f16_of_f32"))
        need(n, "bits", CAB_DT_f32, CAB_DT_u32);
    if (!strcmp(name, "bf16_of_f32") || strstr(name, "_of_f16") || !strcmp(name, "f16_of_f32"))
        need(n, "bits", CAB_DT_u32, CAB_DT_f32);
}

static void need_of(needs *n, const cab_kir *k, const cab_kins *i)
{
    cab_dtype to, from;
    const char *name = function_of(k, i, &to, &from);

    if (name)
        need(n, name, to, from);
    if (i->op == CAB_K_const && cab_dtype_is_float(to) && !isfinite(i->f))
        need(n, "bits", to, to == CAB_DT_f32 ? CAB_DT_u32 : CAB_DT_u64);
}

void cab_ksrc_functions(cab_ksrc *c, const cab_kir *const *k, int n_kernels, unsigned halves)
{
    needs *n = CAB_NEW(c->b->arena, needs);

    for (int i = 0; i < n_kernels; i++) {
        const bool *used = cab_ksrc_used(c->b->arena, k[i]);
        for (size_t j = 0; j < k[i]->ins.n; j++)
            if (used[j])
                need_of(n, k[i], &k[i]->ins.p[j]);
    }
    if (halves & 1)
        need(n, "f32_of_f16", CAB_DT_f32, CAB_DT_f16);
    if (halves & 2)
        need(n, "f32_of_bf16", CAB_DT_f32, CAB_DT_bf16);
    for (int j = 0; j < N_TEMPLATES; j++)
        for (int to = 0; to < CAB_DT_COUNT; to++)
            for (int from = 0; from < CAB_DT_COUNT; from++)
                if (n->at[j][to][from])
                    expand(c, templates[j].text, (cab_dtype)to, (cab_dtype)from);
}

/* ---- expressions ---- */

static void literal_int(cab_ksrc *c, cab_dtype dt, int64_t v)
{
    bool sign = cab_dtype_is_signed(dt), big = cab_dtype_bits(dt) == 64;

    if (!sign)
        cab_buf_printf(c->b, big ? "%lluull" : dt == CAB_DT_u32 ? "%lluu" : "%llu",
                       (unsigned long long)v);
    else if (v == INT64_MIN)
        cab_buf_str(c->b, "(-9223372036854775807ll - 1)");
    else if (v == INT32_MIN)
        cab_buf_str(c->b, big ? "(-2147483648ll)" : "(-2147483647 - 1)");
    else
        cab_buf_printf(c->b, v < 0 ? "(%lld%s)" : "%lld%s", (long long)v,
                       v > INT32_MAX || v < INT32_MIN ? "ll" : "");
}

static void literal(cab_ksrc *c, cab_dtype dt, double f, int64_t v)
{
    bool single = dt == CAB_DT_f32;
    size_t from;

    if (!cab_dtype_is_float(dt)) {
        literal_int(c, dt, v);
    } else if (!isfinite(f)) {
        cab_buf_printf(c->b, single ? "f32_bits_u32(0x%llxu)" : "f64_bits_u64(0x%llxull)",
                       (unsigned long long)cab_kraw_of_f64(dt, f));
    } else {
        cab_buf_str(c->b, signbit(f) ? "(" : "");
        from = c->b->n;
        if (single)
            cab_buf_f32(c->b, (float)f);
        else
            cab_buf_f64(c->b, f);
        if (!memchr(c->b->p + from, '.', c->b->n - from) &&
            !memchr(c->b->p + from, 'e', c->b->n - from))
            cab_buf_str(c->b, ".0");
        cab_buf_printf(c->b, "%s%s", single ? "f" : "", signbit(f) ? ")" : "");
    }
}

void cab_ksrc_value(cab_ksrc *c, int x, const char *lane)
{
    const cab_kins *i = &c->k->ins.p[x];

    switch (i->op) {
    case CAB_K_const: literal(c, (cab_dtype)i->dt, i->f, i->imm); break;
    case CAB_K_iota: cab_buf_printf(c->b, "(%s)(%s)", cab_ksrc_type((cab_dtype)i->dt), lane); break;
    case CAB_K_splat: cab_ksrc_value(c, i->a, lane); break;
    case CAB_K_int:
        cab_buf_printf(c->b, c->cuda ? "n%lld" : "ints[%lld]", (long long)i->imm);
        break;
    case CAB_K_grid: cab_buf_str(c->b, "task"); break;
    case CAB_K_thread: cab_buf_str(c->b, c->k->block > 1 ? "thread" : "0"); break;
    default:
        cab_buf_printf(c->b, "v%d", x);
        if (i->lanes > 1)
            cab_buf_printf(c->b, "[%s]", lane);
    }
}

/* Text with $1 $2 $3 for the operands; T, W as in the templates. */
static void form(cab_ksrc *c, const cab_kins *i, const char *lane, const char *text)
{
    const int x[3] = { i->a, i->b, i->c };

    for (; *text; text++) {
        if (*text == '$')
            cab_ksrc_value(c, x[*++text - '1'], lane);
        else if (*text == 'T')
            cab_buf_str(c->b, cab_ksrc_type((cab_dtype)i->dt));
        else if (*text == 'W')
            cab_buf_str(c->b, wide((cab_dtype)i->dt));
        else
            cab_buf_char(c->b, *text);
    }
}

static const char *const float_forms[CAB_K_COUNT] = {
    [CAB_K_add] = "$1 + $2", [CAB_K_sub] = "$1 - $2", [CAB_K_mul] = "$1 * $2",
    [CAB_K_div] = "$1 / $2", [CAB_K_rem] = "fmod~($1, $2)", [CAB_K_fma] = "fma~($1, $2, $3)",
    [CAB_K_neg] = "-$1", [CAB_K_abs] = "fabs~($1)", [CAB_K_floor] = "floor~($1)",
    [CAB_K_ceil] = "ceil~($1)", [CAB_K_rint] = "rint~($1)", [CAB_K_trunc] = "trunc~($1)",
    [CAB_K_sqrt] = "sqrt~($1)",
};
static const char *const int_forms[CAB_K_COUNT] = {
    [CAB_K_add] = "(T)((W)$1 + (W)$2)", [CAB_K_sub] = "(T)((W)$1 - (W)$2)",
    [CAB_K_mul] = "(T)((W)$1 * (W)$2)", [CAB_K_neg] = "(T)(0 - (W)$1)", [CAB_K_abs] = "$1",
    [CAB_K_and] = "(T)($1 & $2)", [CAB_K_or] = "(T)($1 | $2)", [CAB_K_xor] = "(T)($1 ^ $2)",
};
static const char *const cmp_forms[4] = { "$1 == $2", "$1 != $2", "$1 < $2", "$1 <= $2" };

/* float_forms with ~ as the suffix of the single-precision functions. */
static void float_form(cab_ksrc *c, const cab_kins *i, const char *lane, const char *text)
{
    char s[32];
    size_t n = 0;

    for (; *text; text++)
        if (*text != '~')
            s[n++] = *text;
        else if (i->dt == CAB_DT_f32)
            s[n++] = 'f';
    s[n] = 0;
    form(c, i, lane, s);
}

static void call(cab_ksrc *c, const cab_kins *i, const char *lane, const char *name,
                 cab_dtype to, cab_dtype from)
{
    if (!strcmp(name, "bits") || !strcmp(name, "of"))
        cab_buf_printf(c->b, "%s_%s_%s(", cab_ksrc_type(to), name, cab_ksrc_type(from));
    else if (strstr(name, "_of_"))
        cab_buf_printf(c->b, "%s(", name);
    else
        cab_buf_printf(c->b, "%s_%s(", name, cab_ksrc_type(to));
    cab_ksrc_value(c, i->a, lane);
    if (i->b >= 0) {
        cab_buf_str(c->b, ", ");
        cab_ksrc_value(c, i->b, lane);
    }
    cab_buf_char(c->b, ')');
}

void cab_ksrc_expr(cab_ksrc *c, const cab_kins *i, const char *lane)
{
    cab_dtype to, from;
    const char *name = function_of(c->k, i, &to, &from);

    if (name)
        call(c, i, lane, name, to, from);
    else if (i->op == CAB_K_cast)
        form(c, i, lane, to == CAB_DT_bool ? "$1 != 0" : "(T)$1");
    else if (i->op == CAB_K_cmp)
        form(c, i, lane, cmp_forms[i->sub & 3]);
    else if (i->op == CAB_K_select)
        form(c, i, lane, "$1 ? $2 : $3");
    else if (cab_dtype_is_float(to))
        float_form(c, i, lane, float_forms[i->op]);
    else
        form(c, i, lane, int_forms[i->op]);
}
