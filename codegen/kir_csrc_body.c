/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_csrc_body.c - statements of C and CUDA text.
 *
 * A value is a variable declared where it is computed; a vector is an array
 * filled by a loop over j.  Constants, parameters and splats are written where
 * they are used.  Carried values are variables before their loop.
 */
#include <stdarg.h>
#include <stdio.h>
#include "codegen/kir_csrc.h"

static const cab_kins *ins(const cab_ksrc *c, int i) { return &c->k->ins.p[i]; }
static int arg(const cab_ksrc *c, const cab_kins *i, int j) { return c->k->args.p[i->args + j]; }

static void indent(cab_ksrc *c)
{
    for (int j = 0; j < c->depth; j++)
        cab_buf_str(c->b, "    ");
}

void cab_ksrc_line(cab_ksrc *c, const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = cab_vprintf(c->b->arena, fmt, ap);
    va_end(ap);
    indent(c);
    cab_buf_str(c->b, s);
    cab_buf_char(c->b, '\n');
}

/* "    for (int j = 0; j < 16; j++) " for vectors, else the indentation. */
static void each_lane(cab_ksrc *c, int lanes)
{
    indent(c);
    if (lanes > 1)
        cab_buf_printf(c->b, "for (int j = 0; j < %d; j++) ", lanes);
}

/* The start of a variable with the type of value x: "f32 v7 = " for scalars;
 * for vectors the array is declared and "for (..) v7[j] = " begun. */
static void begin(cab_ksrc *c, const char *prefix, int number, int x)
{
    const char *type = cab_ksrc_type(cab_k_dt(c->k, x));
    int lanes = ins(c, x)->lanes;

    if (lanes == 1) {
        indent(c);
        cab_buf_printf(c->b, "%s %s%d = ", type, prefix, number);
        return;
    }
    cab_ksrc_line(c, "%s %s%d[%d];", type, prefix, number, lanes);
    each_lane(c, lanes);
    cab_buf_printf(c->b, "%s%d[j] = ", prefix, number);
}

static void define(cab_ksrc *c, int at) { begin(c, "v", at, at); }

static void declare(cab_ksrc *c, int at)
{
    const char *type = cab_ksrc_type(cab_k_dt(c->k, at));

    if (ins(c, at)->lanes == 1)
        cab_ksrc_line(c, "%s v%d;", type, at);
    else
        cab_ksrc_line(c, "%s v%d[%d];", type, at, ins(c, at)->lanes);
}

/* v<to> = x; for every lane. */
static void assign(cab_ksrc *c, int to, int x)
{
    int lanes = ins(c, x)->lanes;

    each_lane(c, lanes);
    cab_buf_printf(c->b, lanes > 1 ? "v%d[j] = " : "v%d = ", to);
    cab_ksrc_value(c, x, "j");
    cab_buf_str(c->b, ";\n");
}

/* ---- memory ---- */

/* v3[v4 + 8 + j], or a gathered element. */
static void element(cab_ksrc *c, const cab_kins *i)
{
    bool gather = i->op == CAB_K_ldx || i->op == CAB_K_stx;

    cab_buf_printf(c->b, "v%d[", i->a);
    if (i->b >= 0)
        cab_ksrc_value(c, i->b, "j");
    if (i->b >= 0 && i->imm)
        cab_buf_printf(c->b, i->imm < 0 ? " - %llu" : " + %llu",
                       (unsigned long long)(i->imm < 0 ? 0 - (uint64_t)i->imm : (uint64_t)i->imm));
    else if (i->b < 0)
        cab_buf_printf(c->b, "%lld", (long long)i->imm);
    cab_buf_str(c->b, i->lanes > 1 && !gather ? " + j]" : "]");
}

static void load(cab_ksrc *c, int at, const cab_kins *i)
{
    define(c, at);
    if (i->c >= 0) {
        cab_ksrc_value(c, i->c, "j");
        cab_buf_str(c->b, " ? ");
    }
    element(c, i);
    cab_buf_str(c->b, i->c >= 0 ? " : 0;\n" : ";\n");
}

static void store(cab_ksrc *c, const cab_kins *i)
{
    each_lane(c, i->lanes);
    if (i->c >= 0) {
        cab_buf_str(c->b, "if (");
        cab_ksrc_value(c, i->c, "j");
        cab_buf_str(c->b, ") ");
    }
    element(c, i);
    cab_buf_str(c->b, " = ");
    cab_ksrc_value(c, arg(c, i, 0), "j");
    cab_buf_str(c->b, ";\n");
}

/* C text runs its tasks in one thread: a plain update. */
static void atomic(cab_ksrc *c, const cab_kins *i)
{
    const char *type = cab_ksrc_type((cab_dtype)i->dt);
    static const char *const words[] = { "add", "", "min", "max" };

    indent(c);
    if (c->cuda) {
        cab_buf_printf(c->b, "atomic_%s_%s(&", words[i->sub & 3], type);
        element(c, i);
        cab_buf_str(c->b, ", ");
        cab_ksrc_value(c, arg(c, i, 0), "j");
        cab_buf_str(c->b, ");\n");
        return;
    }
    element(c, i);
    if (i->sub != CAB_KF_ADD)
        cab_buf_printf(c->b, " = %s_%s(", words[i->sub & 3], type);
    else if (cab_dtype_is_float((cab_dtype)i->dt))
        cab_buf_str(c->b, " = (");
    else                       /* wraps */
        cab_buf_printf(c->b, " = (%s)((u%d)", type, cab_dtype_bits((cab_dtype)i->dt));
    element(c, i);
    cab_buf_str(c->b, i->sub == CAB_KF_ADD ? " + " : ", ");
    cab_ksrc_value(c, arg(c, i, 0), "j");
    cab_buf_str(c->b, ");\n");
}

static void alloc(cab_ksrc *c, int at, const cab_kins *i)
{
    cab_ksrc_line(c, "%s%s v%d[%lld];",
                  c->cuda && i->space == CAB_KS_SHARED ? "__shared__ " : "",
                  cab_ksrc_type((cab_dtype)i->dt), at, (long long)i->imm);
}

static void memory(cab_ksrc *c, int at, const cab_kins *i)
{
    switch (i->op) {
    case CAB_K_ld: case CAB_K_ldx: load(c, at, i); break;
    case CAB_K_st: case CAB_K_stx: store(c, i); break;
    case CAB_K_atomic: atomic(c, i); break;
    case CAB_K_alloc: alloc(c, at, i); break;
    default: break;            /* prefetch: no such hint in the language */
    }
}

/* ---- vectors ---- */

/* Lane `lane` of x under any operator of fold. */
static void fold_step(cab_ksrc *c, const cab_kins *i)
{
    static const char *const signs[] = { "+", "*", "", "", "&", "|" };
    const char *type = cab_ksrc_type((cab_dtype)i->dt);

    if (i->sub == CAB_KF_MIN || i->sub == CAB_KF_MAX)
        cab_ksrc_line(c, "t[j] = %s_%s(t[j], t[j + n]);",
                      i->sub == CAB_KF_MIN ? "min" : "max", type);
    else
        cab_ksrc_line(c, "t[j] = (%s)(t[j] %s t[j + n]);", type, signs[i->sub]);
}

static void fold(cab_ksrc *c, int at, const cab_kins *i)
{
    int lanes = ins(c, i->a)->lanes;
    cab_dtype dt = (cab_dtype)i->dt;
    /* Sums and products of integers wrap in the unsigned type. */
    bool wraps = cab_dtype_is_int(dt) && i->sub <= CAB_KF_MUL;
    const char *type = cab_ksrc_type(dt);

    declare(c, at);
    cab_ksrc_line(c, "{");
    c->depth++;
    cab_ksrc_line(c, "%s%s t[%d];", wraps ? "u" : "", wraps ? type + 1 : type, lanes);
    each_lane(c, lanes);
    cab_buf_str(c->b, "t[j] = ");
    cab_ksrc_value(c, i->a, "j");
    cab_buf_str(c->b, ";\n");
    cab_ksrc_line(c, "for (int n = %d; n; n /= 2)", lanes / 2);
    c->depth++;
    cab_ksrc_line(c, "for (int j = 0; j < n; j++)");
    c->depth++;
    if (wraps)                 /* u16 products would overflow int */
        cab_ksrc_line(c, "t[j] = (u%s)(1u * t[j] %s t[j + n]);", type + 1,
                      i->sub == CAB_KF_ADD ? "+" : "*");
    else
        fold_step(c, i);
    c->depth -= 2;
    cab_ksrc_line(c, "v%d = (%s)t[0];", at, type);
    c->depth--;
    cab_ksrc_line(c, "}");
}

static void perm(cab_ksrc *c, int at, const cab_kins *i)
{
    int n = ins(c, i->a)->lanes;
    char lane[16];

    declare(c, at);
    for (int j = 0; j < i->lanes; j++) {
        int from = arg(c, i, j);
        snprintf(lane, sizeof lane, "%d", from < n ? from : from - n);
        indent(c);
        cab_buf_printf(c->b, i->lanes > 1 ? "v%d[%d] = " : "v%d = ", at, j);
        cab_ksrc_value(c, from < n ? i->a : i->b, lane);
        cab_buf_str(c->b, ";\n");
    }
}

static void vector(cab_ksrc *c, int at, const cab_kins *i)
{
    char lane[16];

    switch (i->op) {
    case CAB_K_fold: fold(c, at, i); break;
    case CAB_K_perm: perm(c, at, i); break;
    case CAB_K_extract:
        snprintf(lane, sizeof lane, "%lld", (long long)i->imm);
        define(c, at);
        cab_ksrc_value(c, i->a, lane);
        cab_buf_str(c->b, ";\n");
        break;
    case CAB_K_insert:
        define(c, at);
        cab_buf_printf(c->b, "j == %lld ? ", (long long)i->imm);
        cab_ksrc_value(c, i->b, "0");
        cab_buf_str(c->b, " : ");
        cab_ksrc_value(c, i->a, "j");
        cab_buf_str(c->b, ";\n");
        break;
    case CAB_K_shfl:
        define(c, at);
        cab_buf_printf(c->b, "(%s)__shfl_xor_sync(0xffffffffu, ",
                       cab_ksrc_type((cab_dtype)i->dt));
        cab_ksrc_value(c, i->a, "0");
        cab_buf_printf(c->b, ", %lld);\n", (long long)i->imm);
        break;
    default: break;            /* a splat is written where it is used */
    }
}

/* ---- arithmetic ---- */

/* A bitcast that changes the number of lanes goes through memory. */
static void bitcast(cab_ksrc *c, int at, const cab_kins *i)
{
    int lanes = ins(c, i->a)->lanes;

    declare(c, at);
    cab_ksrc_line(c, "{");
    c->depth++;
    cab_ksrc_line(c, "%s t[%d];", cab_ksrc_type(cab_k_dt(c->k, i->a)), lanes);
    indent(c);
    cab_buf_printf(c->b, "for (int j = 0; j < %d; j++) t[j] = ", lanes);
    cab_ksrc_value(c, i->a, "j");
    cab_buf_str(c->b, ";\n");
    cab_ksrc_line(c, "memcpy(%sv%d, t, sizeof t);", i->lanes > 1 ? "" : "&", at);
    c->depth--;
    cab_ksrc_line(c, "}");
}

static void dot4(cab_ksrc *c, int at, const cab_kins *i)
{
    define(c, at);
    cab_buf_str(c->b, "(i32)((u32)");
    cab_ksrc_value(c, i->c, "j");
    for (int q = 0; q < 4; q++) {
        const char *j = i->lanes > 1 ? "4 * j + " : "";
        const char *lane = cab_printf(c->b->arena, "%s%d", j, q);
        cab_buf_str(c->b, " + (u32)(");
        cab_ksrc_value(c, i->a, lane);
        cab_buf_str(c->b, " * ");
        cab_ksrc_value(c, i->b, lane);
        cab_buf_char(c->b, ')');
    }
    cab_buf_str(c->b, ");\n");
}

static void arithmetic(cab_ksrc *c, int at, const cab_kins *i)
{
    if (i->op == CAB_K_dot4) {
        dot4(c, at, i);
    } else if (i->op == CAB_K_bitcast && i->lanes != ins(c, i->a)->lanes) {
        bitcast(c, at, i);
    } else {
        define(c, at);
        cab_ksrc_expr(c, i, "j");
        cab_buf_str(c->b, ";\n");
    }
}

/* ---- structure ---- */

static void open_loop(cab_ksrc *c, int at, const cab_kins *i)
{
    for (int j = 0; j < i->n_args; j++) {
        define(c, at + 1 + j);
        cab_ksrc_value(c, arg(c, i, j), "j");
        cab_buf_str(c->b, ";\n");
    }
    indent(c);
    if (i->op == CAB_K_while) {
        cab_buf_str(c->b, "for (;;) {\n");
    } else {
        cab_buf_printf(c->b, "for (i64 v%d = ", at);
        cab_ksrc_value(c, i->a, "0");
        cab_buf_printf(c->b, "; v%d < ", at);
        cab_ksrc_value(c, i->b, "0");
        cab_buf_printf(c->b, "; v%d += %lld) {\n", at, (long long)i->imm);
    }
    c->depth++;
}

/* Whether x names a phi of the loop (through splats). */
static bool is_phi_of(const cab_ksrc *c, int x, int loop)
{
    while (ins(c, x)->op == CAB_K_splat)
        x = ins(c, x)->a;
    return ins(c, x)->op == CAB_K_phi && ins(c, x)->a == loop;
}

static void close_loop(cab_ksrc *c, const cab_kins *i)
{
    bool swap = false;

    for (int j = 0; j < i->n_args; j++)
        swap |= i->n_args > 1 && is_phi_of(c, arg(c, i, j), i->a);
    for (int j = 0; swap && j < i->n_args; j++) {
        begin(c, "t", j, arg(c, i, j));
        cab_ksrc_value(c, arg(c, i, j), "j");
        cab_buf_str(c->b, ";\n");
    }
    for (int j = 0; j < i->n_args; j++) {
        int x = arg(c, i, j), phi = i->a + 1 + j, lanes = ins(c, x)->lanes;
        if (!swap) {
            if (x != phi)
                assign(c, phi, x);
            continue;
        }
        each_lane(c, lanes);
        cab_buf_printf(c->b, lanes > 1 ? "v%d[j] = t%d[j];\n" : "v%d = t%d;\n", phi, j);
    }
    c->depth--;
    cab_ksrc_line(c, "}");
}

static void open_if(cab_ksrc *c, int at, const cab_kins *i)
{
    int end = c->match[at];

    if (ins(c, end)->op == CAB_K_else)
        end = c->match[end];
    for (int j = 0; j < ins(c, end)->n_args; j++)
        declare(c, end + 1 + j);
    indent(c);
    cab_buf_str(c->b, "if (");
    cab_ksrc_value(c, i->a, "0");
    cab_buf_str(c->b, ") {\n");
    c->depth++;
}

/* An arm's values become the results, which follow the endif. */
static void close_arm(cab_ksrc *c, int at, const cab_kins *i)
{
    int end = i->op == CAB_K_else ? c->match[at] : at;

    for (int j = 0; j < i->n_args; j++)
        assign(c, end + 1 + j, arg(c, i, j));
    c->depth--;
    cab_ksrc_line(c, i->op == CAB_K_else ? "} else {" : "}");
    c->depth += i->op == CAB_K_else;
}

static void structure(cab_ksrc *c, int at, const cab_kins *i)
{
    switch (i->op) {
    case CAB_K_loop: case CAB_K_while: open_loop(c, at, i); break;
    case CAB_K_end: close_loop(c, i); break;
    case CAB_K_if: open_if(c, at, i); break;
    case CAB_K_else: case CAB_K_endif: close_arm(c, at, i); break;
    case CAB_K_barrier: cab_ksrc_line(c, "__syncthreads();"); break;
    case CAB_K_cond:
        indent(c);
        cab_buf_str(c->b, "if (!");
        cab_ksrc_value(c, i->a, "0");
        cab_buf_str(c->b, ") break;\n");
        break;
    case CAB_K_res:            /* a loop's results are its phis */
        if (ins(c, i->a)->op != CAB_K_if) {
            define(c, at);
            cab_ksrc_value(c, i->a + 1 + (int)i->imm, "j");
            cab_buf_str(c->b, ";\n");
        }
        break;
    default: break;            /* phis are declared by their loop */
    }
}

static void buffer(cab_ksrc *c, int at, const cab_kins *i)
{
    const char *type = cab_ksrc_type((cab_dtype)i->dt);
    const char *ro = i->flags & CAB_KIR_RO ? "const " : "";

    if (c->cuda)
        cab_ksrc_line(c, "%s%s *v%d = (%s%s *)b%lld;", ro, type, at, ro, type,
                      (long long)i->imm);
    else
        cab_ksrc_line(c, "%s%s *v%d = bufs[%lld];", ro, type, at, (long long)i->imm);
}

/* ---- what is needed ---- */

static bool acts(const cab_kins *i)
{
    return i->op == CAB_K_st || i->op == CAB_K_stx || i->op == CAB_K_atomic ||
           (cab_kop_get(i->op).cls == 'S' && i->op != CAB_K_res);
}

static void use(bool *used, int x)
{
    if (x >= 0)
        used[x] = true;
}

/* Users follow what they use, but for carried values, which an end uses. */
const bool *cab_ksrc_used(cab_arena *a, const cab_kir *k)
{
    bool *used = CAB_NEW_N(a, bool, k->ins.n + 1);
    for (int at = (int)k->ins.n - 1; at >= 0; at--) {
        const cab_kins *i = &k->ins.p[at];
        used[at] |= acts(i);
        if (!used[at])
            continue;
        use(used, i->a);
        use(used, i->b);
        use(used, i->c);
        for (int j = 0; i->op != CAB_K_perm && j < i->n_args; j++)
            use(used, k->args.p[i->args + j]);
    }
    return used;
}

void cab_ksrc_body(cab_ksrc *c)
{
    c->used = cab_ksrc_used(c->b->arena, c->k);
    for (int at = 0; at < (int)c->k->ins.n; at++) {
        const cab_kins *i = ins(c, at);
        if (!c->used[at])
            continue;
        switch (cab_kop_get(i->op).cls) {
        case 'S': structure(c, at, i); break;
        case 'M': memory(c, at, i); break;
        case 'V': vector(c, at, i); break;
        case 'A': arithmetic(c, at, i); break;
        default:
            if (i->op == CAB_K_buf)
                buffer(c, at, i);
            break;
        }
    }
}
