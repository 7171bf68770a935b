/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_ops.c - the instruction table, and how regions match.
 *
 * kir_ops.def has a row per instruction; the shapes here say which fields of
 * cab_kins mean something, for the printer, the parser and the verifier.
 */
#include "codegen/kir_int.h"

static const char *const cmp_words[] = { "eq", "ne", "lt", "le", NULL };
static const char *const fold_words[] = { "add", "mul", "min", "max", "and", "or", NULL };
static const char *const atomic_words[] = { "add", "", "min", "max", NULL };
static const char *const prefetch_words[] = { "l1", "l2", NULL };
const char *const cab_kspace_names[4] = { "global", "stack", "shared", NULL };

/* What each instruction carries beyond its name and class. */
typedef struct shape { bool value, typed; const char *fields; const char *const *subs; } shape;
static const shape shapes[CAB_K_COUNT] = {
    [CAB_K_buf] = { true, true, "ir", NULL },
    [CAB_K_int] = { true, true, "i", NULL },
    [CAB_K_grid] = { true, true, "", NULL },
    [CAB_K_thread] = { true, true, "", NULL },
    [CAB_K_const] = { true, true, "k", NULL },
    [CAB_K_iota] = { true, true, "", NULL },
    [CAB_K_loop] = { true, true, "abig", NULL },
    [CAB_K_while] = { true, false, "g", NULL },
    [CAB_K_cond] = { false, false, "a", NULL },
    [CAB_K_phi] = { true, true, "ai", NULL },
    [CAB_K_end] = { false, false, "ag", NULL },
    [CAB_K_res] = { true, true, "ai", NULL },
    [CAB_K_if] = { true, false, "a", NULL },
    [CAB_K_else] = { false, false, "ag", NULL },
    [CAB_K_endif] = { false, false, "ag", NULL },
    [CAB_K_alloc] = { true, true, "si", NULL },
    [CAB_K_ld] = { true, true, "m", NULL },
    [CAB_K_st] = { false, true, "vm", NULL },
    [CAB_K_ldx] = { true, true, "m", NULL },
    [CAB_K_stx] = { false, true, "vm", NULL },
    [CAB_K_atomic] = { false, true, "ovm", atomic_words },
    [CAB_K_prefetch] = { false, false, "om", prefetch_words },
    [CAB_K_barrier] = { false, false, "", NULL },
    [CAB_K_splat] = { true, true, "a", NULL },
    [CAB_K_extract] = { true, true, "ai", NULL },
    [CAB_K_insert] = { true, true, "abi", NULL },
    [CAB_K_perm] = { true, true, "aBp", NULL },
    [CAB_K_fold] = { true, true, "oa", fold_words },
    [CAB_K_shfl] = { true, true, "ai", NULL },
    [CAB_K_fma] = { true, true, "abc", NULL },
    [CAB_K_neg] = { true, true, "a", NULL },
    [CAB_K_abs] = { true, true, "a", NULL },
    [CAB_K_cmp] = { true, true, "oab", cmp_words },
    [CAB_K_select] = { true, true, "abc", NULL },
    [CAB_K_cast] = { true, true, "a", NULL },
    [CAB_K_bitcast] = { true, true, "a", NULL },
    [CAB_K_floor] = { true, true, "a", NULL },
    [CAB_K_ceil] = { true, true, "a", NULL },
    [CAB_K_rint] = { true, true, "a", NULL },
    [CAB_K_trunc] = { true, true, "a", NULL },
    [CAB_K_sqrt] = { true, true, "a", NULL },
    [CAB_K_dot4] = { true, true, "abc", NULL },
};

#define KCLS_P 'P'
#define KCLS_C 'C'
#define KCLS_S 'S'
#define KCLS_M 'M'
#define KCLS_V 'V'
#define KCLS_A 'A'
static const struct { const char *text; char cls; } names[CAB_K_COUNT] = {
#define KOP(id, text, cls) { text, KCLS_##cls },
#include "codegen/kir_ops.def"
};

cab_kop_info cab_kop_get(int op)
{
    const shape *s = &shapes[op];

    if (!s->fields)             /* the binary operations */
        return (cab_kop_info){ names[op].text, names[op].cls, true, true, "ab", NULL };
    return (cab_kop_info){ names[op].text, names[op].cls, s->value, s->typed,
                           s->fields, s->subs };
}

int32_t *cab_kir_match(cab_arena *a, const cab_kir *k)
{
    int32_t *match = CAB_NEW_N(a, int32_t, k->ins.n + 1);
    int32_t *open = CAB_NEW_N(a, int32_t, k->ins.n + 1);
    int depth = 0;

    for (int at = 0; at < (int)k->ins.n; at++) {
        int op = k->ins.p[at].op;
        if (op == CAB_K_cond)
            match[at] = open[depth - 1];
        if (op == CAB_K_end || op == CAB_K_else || op == CAB_K_endif)
            match[open[--depth]] = at;
        if (op == CAB_K_loop || op == CAB_K_while || op == CAB_K_if || op == CAB_K_else)
            open[depth++] = at;
    }
    return match;
}
