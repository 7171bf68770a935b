/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rules.c - the rewrite rules, each alone.
 *
 * Every rule of canon.rules and fuse.rules has a row here: a graph it must
 * rewrite and one it must leave (a near miss).  Both sides of a rewrite are
 * evaluated on random inputs and compared: bit for bit for exact rules, to a
 * few ulps for rounding ones.  Rules of decompose.rules are compared with
 * formulas in C.  Then errors of the rule text, each with its line.
 */
#include <math.h>
#include "passes/rule_int.h"
#include "tests/test.h"

static cab_job job;
static cab_arena *arena;
static cab_diag diag;
static const cab_pass_options inexact;

/* ---- one rule on one graph ---- */
static cab_graph *graph(const char *io, const char *body, const char *level)
{
    const char *text = cab_printf(arena, "graph @t%s %s {\n%s\n}\n", io, level, body);
    cab_graph *g = NULL;

    if (cab_graph_parse(arena, text, strlen(text), "test", &g, &diag) != CAB_OK) {
        const cab_diag_entry *e = cab_diag_first(&diag);

        fprintf(stderr, "%s: %s\n%s", e ? e->where : "", e ? e->text : "?", text);
        test_failed++;
    }
    return g;
}

static void keep_only(cab_ruleset *rs, const char *name)
{
    size_t n = 0;

    memset(rs->by_op, 0, sizeof rs->by_op);
    for (size_t i = 0; i < rs->rules.n; i++) {
        cab_rule *r = rs->rules.p[i], **at = &rs->by_op[r->root.op];

        if (strcmp(r->name, name))
            continue;
        rs->rules.p[n++] = r;
        r->next = NULL;
        while (*at)
            at = &(*at)->next;
        *at = r;
    }
    rs->rules.n = n;
}

static int hits_of(cab_graph *g, cab_rules_file f, const char *rule, const cab_pass_options *o)
{
    cab_pass_ctx c = { .scratch = arena, .o = o, .diag = &diag };
    cab_ruleset *rs = NULL;

    if (cab_ruleset_load(arena, f, &rs, &diag) != CAB_OK)
        return -1;
    keep_only(rs, rule);
    CHECK(rs->rules.n > 0);
    CHECK_EQ(cab_rules_run(rs, g, &c), CAB_OK);
    return c.rule_hits;
}

/* ---- evaluation ---- */
static void fill(cab_tensor *t, cab_rng *r)
{
    for (int64_t i = 0; i < cab_tensor_numel(t); i++) {
        double v = cab_rng_f64(r, -2, 2);

        switch (t->dtype) {
        case CAB_DT_f32: ((float *)t->data)[i] = (float)v; break;
        case CAB_DT_f64: ((double *)t->data)[i] = v; break;
        case CAB_DT_i64: ((int64_t *)t->data)[i] = (int64_t)(v * 50); break;
        case CAB_DT_i32: ((int32_t *)t->data)[i] = (int32_t)(v * 50); break;
        case CAB_DT_u8: ((uint8_t *)t->data)[i] = (uint8_t)(v * 30 + 100); break;
        case CAB_DT_bool: ((uint8_t *)t->data)[i] = v > 0; break;
        case CAB_DT_f16: ((uint16_t *)t->data)[i] = cab_f32_to_f16((float)v); break;
        default: CHECK(!"an input type the test does not know");
        }
    }
}

/* Symbol N is 3 in every test. */
static cab_tensor evaluate(cab_graph *g, uint64_t seed)
{
    cab_tensor in[4], out[4] = { { 0 } };
    cab_rng r;

    cab_rng_seed(&r, seed);
    for (size_t i = 0; i < g->inputs.n && i < 4; i++) {
        const cab_type *t = &g->inputs.p[i]->type;

        in[i] = (cab_tensor){ .dtype = t->dtype, .rank = t->rank };
        for (int k = 0; k < t->rank; k++)
            in[i].dims[k] = cab_dim_is_const(t->dims[k]) ? t->dims[k]->value : 3;
        CHECK(cab_tensor_alloc(arena, &in[i]));
        fill(&in[i], &r);
    }
    CHECK_EQ(cab_eval_graph(arena, g, in, out, &diag), CAB_OK);
    return out[0];
}

static bool agree(const cab_tensor *a, const cab_tensor *b, bool rounding)
{
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims))
        return false;
    for (int64_t i = 0; i < cab_tensor_numel(a); i++) {
        double x = cab_elem_f64(a->dtype, a->data, (uint64_t)i);
        double y = cab_elem_f64(b->dtype, b->data, (uint64_t)i);

        if ((isnan(x) && isnan(y)) || (x == y && (rounding || signbit(x) == signbit(y))))
            continue;
        if (!rounding || !(fabs(x - y) <= 1e-5 + 1e-5 * fabs(x)))
            return false;
    }
    return true;
}

/* ---- the rows ---- */
typedef struct row {
    const char *rule, *io, *hit, *miss;   /* both graphs have the same head */
} row;

static const row canon[] = {
    { "add_zero_int", "(%x: i32[2,N]) -> (%z)", "%0 = const i32[] 0\n%z = add %x, %0",
      "%0 = const i32[] 1\n%z = add %x, %0" },
    { "add_zero", "(%x: f32[N]) -> (%z)", "%0 = const f32[1] [0]\n%z = add %0, %x",
      "%0 = const f32[2,1] [0, 0]\n%z = add %x, %0" },
    { "sub_zero", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 0\n%z = sub %x, %0",
      "%0 = const f32[] -0\n%z = sub %x, %0" },
    { "mul_one", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 1\n%z = div %x, %0",
      "%0 = const f32[] 1\n%z = div %0, %x" },
    { "twice", "(%x: f32[N]) -> (%z)", "%0 = neg %x\n%z = neg %0", "%0 = abs %x\n%z = neg %0" },
    { "idempotent", "(%x: f32[N]) -> (%z)", "%0 = floor %x\n%z = floor %0",
      "%0 = floor %x\n%z = ceil %0" },
    { "same_operands", "(%x: f32[N], %y: f32[N]) -> (%z)", "%z = max %x, %x", "%z = max %x, %y" },
    { "pow_two", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 2\n%z = pow %x, %0",
      "%0 = const f32[] 3\n%z = pow %x, %0" },
    { "pow_half", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 0.5\n%z = pow %x, %0",
      "%0 = const f32[2,1] [0.5, 0.5]\n%z = pow %x, %0" },
    { "div_by_power", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 8\n%z = div %x, %0",
      "%0 = const f32[] 6\n%z = div %x, %0" },
    { "div_by_constant", "(%x: f32[N]) -> (%z)", "%0 = const f32[] 6\n%z = div %x, %0",
      "%0 = const f32[] 1e-38\n%z = div %x, %0" },
    { "constants_meet", "(%x: f32[N]) -> (%z)",
      "%0 = const f32[] 2\n%1 = add %x, %0\n%2 = const f32[] 3\n%z = add %1, %2",
      "%0 = const f32[] 2\n%1 = mul %x, %0\n%2 = const f32[] 3\n%z = add %1, %2" },
    { "select_true", "(%x: f32[N], %y: f32[N]) -> (%z)",
      "%0 = const bool[] true\n%z = select %0, %x, %y",
      "%0 = const bool[2,1] [true, true]\n%z = select %0, %x, %y" },
    { "select_false", "(%x: f32[N], %y: f32[N]) -> (%z)",
      "%0 = const bool[] false\n%z = select %0, %x, %y",
      "%0 = const bool[] true\n%z = select %0, %x, %y" },
    { "select_same", "(%c: bool[N], %x: f32[N]) -> (%z)", "%z = select %c, %x, %x",
      "%0 = neg %x\n%z = select %c, %x, %0" },
    { "select_not", "(%c: bool[N], %x: f32[N]) -> (%z)",
      "%0 = not %c\n%1 = neg %x\n%z = select %0, %x, %1",
      "%0 = neg %x\n%z = select %c, %x, %0" },
    { "cast_same", "(%x: f32[N]) -> (%z)", "%z = cast %x {to = f32}", "%z = cast %x {to = f64}" },
    { "cast_cast", "(%x: i32[N]) -> (%z)", "%0 = cast %x {to = f64}\n%z = cast %0 {to = f32}",
      "%0 = cast %x {to = f32}\n%z = cast %0 {to = i64}" },
    { "transpose_identity", "(%x: f32[2,N]) -> (%z)", "%z = transpose %x {perm = [0, 1]}",
      "%z = transpose %x {perm = [1, 0]}" },
    { "transpose_transpose", "(%x: f32[2,N,4]) -> (%z)",
      "%0 = transpose %x {perm = [1, 2, 0]}\n%z = transpose %0 {perm = [0, 2, 1]}",
      "%0 = neg %x\n%z = transpose %0 {perm = [0, 2, 1]}" },
    { "transpose_reshape", "(%x: f32[2,1,N]) -> (%z)", "%z = transpose %x {perm = [1, 0, 2]}",
      "%z = transpose %x {perm = [2, 1, 0]}" },
    { "reshape_same", "(%x: f32[2,N]) -> (%z)", "%z = reshape %x {dims = [2, N]}",
      "%z = reshape %x {dims = [2 * N]}" },
    { "reshape_reshape", "(%x: f32[2,N]) -> (%z)",
      "%0 = reshape %x {dims = [2*N]}\n%z = reshape %0 {dims = [N, 2]}",
      "%0 = transpose %x {perm = [1, 0]}\n%z = reshape %0 {dims = [2*N]}" },
    { "squeeze_unary", "(%x: f32[2,1,N,1]) -> (%z)",
      "%y = reshape %x {dims = [2, N]}\n%z = tanh %y",
      "%y = reshape %x {dims = [2 * N]}\n%z = tanh %y" },
    { "squeeze_left", "(%x: f32[2,1,N,1]) -> (%z)",
      "%b = const f32[2,1,1] [3, 4]\n%y = reshape %x {dims = [2, 1, N]}\n%z = sub %y, %b",
      "%b = const f32[2,2,1,1] [3, 4, 5, 6]\n%y = reshape %x {dims = [2, 1, N]}\n%z = sub %y, %b" },
    { "squeeze_right", "(%x: f32[1,2,N]) -> (%z)",
      "%b = const f32[] 3\n%y = reshape %x {dims = [2, N]}\n%z = sub %b, %y",
      "%b = const f32[] 3\n%y = reshape %x {dims = [N, 2]}\n%z = sub %b, %y" },
    { "squeeze_both", "(%x: f32[1,2,N], %w: f32[1,2,N]) -> (%z)",
      "%y = reshape %x {dims = [2, N]}\n%v = reshape %w {dims = [2, N]}\n%z = mul %y, %v",
      "%y = reshape %x {dims = [2, N]}\n%w1 = reshape %w {dims = [2, 1, N]}\n"
      "%v = reshape %w1 {dims = [2, N]}\n%z = mul %y, %v" },
    { "expand_same", "(%x: f32[2,N]) -> (%z)", "%z = expand %x {dims = [2, N]}",
      "%z = expand %x {dims = [1, 2, N]}" },
    { "expand_expand", "(%x: f32[1,N]) -> (%z)",
      "%0 = expand %x {dims = [2, N]}\n%z = expand %0 {dims = [4, 2, N]}",
      "%0 = neg %x\n%z = expand %0 {dims = [2, N]}" },
    { "slice_all", "(%x: f32[4,N]) -> (%z)",
      "%z = slice %x {starts = [0, 0], steps = [1, 1], dims = [4, N]}",
      "%z = slice %x {starts = [3, 0], steps = [-1, 1], dims = [4, N]}" },
    { "pad_nothing", "(%x: f32[4,N]) -> (%z)", "%z = pad %x {lo = [0, 0], hi = [0, 0]}",
      "%z = pad %x {lo = [0, 0], hi = [0, 1]}" },
    { "concat_one", "(%x: f32[4,N]) -> (%z)", "%z = concat %x {axis = 0}",
      "%z = concat %x, %x {axis = 0}" },
    { "expand_left", "(%x: f32[1,N], %y: f32[2,N]) -> (%z)",
      "%0 = expand %x {dims = [2, N]}\n%z = sub %0, %y",
      "%0 = expand %x {dims = [4, 2, N]}\n%z = sub %0, %y" },
    { "expand_right", "(%x: f32[2,N], %y: f32[1,N]) -> (%z)",
      "%0 = expand %y {dims = [2, N]}\n%z = sub %x, %0",
      "%0 = expand %y {dims = [4, 2, N]}\n%z = sub %x, %0" },
    { "expand_select_c", "(%c: bool[1], %x: f32[2,N]) -> (%z)",
      "%0 = expand %c {dims = [2, N]}\n%1 = neg %x\n%z = select %0, %x, %1",
      "%0 = expand %c {dims = [4, 2, N]}\n%1 = neg %x\n%z = select %0, %x, %1" },
    { "expand_select_x", "(%c: bool[2,N], %x: f32[1], %y: f32[2,N]) -> (%z)",
      "%0 = expand %x {dims = [2, N]}\n%z = select %c, %0, %y",
      "%0 = expand %x {dims = [4, 2, N]}\n%z = select %c, %0, %y" },
    { "expand_select_y", "(%c: bool[2,N], %x: f32[2,N], %y: f32[1]) -> (%z)",
      "%0 = expand %y {dims = [2, N]}\n%z = select %c, %x, %0",
      "%0 = expand %y {dims = [4, 2, N]}\n%z = select %c, %x, %0" },
    { "relayout_same", "(%x: f32[2,N]) -> (%z)", "%z = relayout %x {perm = [0, 1]}",
      "%0 = relayout %x {perm = [1, 0]}\n%z = neg %0" },
    { "relayout_relayout", "(%x: f32[2,N]) -> (%z)",
      "%0 = relayout %x {perm = [1, 0]}\n%z = relayout %0 {perm = [0, 1]}",
      "%0 = neg %x\n%z = relayout %0 {perm = [0, 1]}" },
};

#define CONV " {strides = [1], pads_lo = [1], pads_hi = [0], dilations = [1]}\n"
#define W "%w = const f32[2,4,2] [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, 1]\n"
#define S "%s = const f32[2,1] [0.5, 3]\n"
#define B "%b = const f32[2,1] [10, 20]\n"
#define M "%w = const f32[4,2] [1, 2, 3, 4, 5, 6, 7, 8]\n"
#define DOT " {a_contract = [1], b_contract = [0]}\n"
#define ROWS "%w = const f32[2,4] [1, -0, 3, 4, 5, 6, -7, 8]\n"
#define TABLE "%t = const f32[3,2] [1, 2, 3, 4, 5, -6]\n"
#define LOOK "%i = rem %x, %n\n%g = gather %t, %i\n"
#define THREE "%n = const i64[] 3\n"

#define PLACES(channels, perm) "%r = reshape %x {dims = [N, " channels ", 5]}\n" \
    "%t = transpose %r {perm = [" perm "]}\n%y = reshape %t {dims = [N, 3, 10]}\n"

static const row fuse[] = {
    { "conv_scale", "(%x: f32[N,4,5]) -> (%z)", W S "%c = conv %x, %w" CONV "%z = mul %c, %s",
      W "%s = const f32[5] [1, 2, 3, 4, 5]\n%c = conv %x, %w" CONV "%z = mul %c, %s" },
    { "conv_add_scale", "(%x: f32[N,4,5]) -> (%z)",
      W S B "%c = conv %x, %w" CONV "%a = add %c, %b\n%z = mul %a, %s",
      W S B "%c = conv %x, %w" CONV "%a = add %c, %b\n%d = mul %a, %s\n%z = add %d, %a" },
    { "conv_add_add", "(%x: f32[N,4,5]) -> (%z)",
      W S B "%c = conv %x, %w" CONV "%a = add %c, %b\n%z = add %a, %s",
      W S B "%c = conv %x, %w" CONV "%a = sub %c, %b\n%z = add %a, %s" },
    { "dot_scale", "(%x: f32[N,4]) -> (%z)",
      M "%s = const f32[1] [0.125]\n%c = dot %x, %w" DOT "%z = mul %c, %s",
      M "%s = const f32[2] [0.125, 2]\n%c = dot %x, %w" DOT "%z = mul %c, %s" },
    { "dot_add_scale", "(%x: f32[N,4]) -> (%z)",
      M "%s = const f32[] 0.125\n%b = const f32[2] [1, 2]\n%c = dot %x, %w" DOT
      "%a = add %c, %b\n%z = mul %a, %s",
      M "%s = const f32[1,1,1] [0.125]\n%b = const f32[2] [1, 2]\n%c = dot %x, %w" DOT
      "%a = add %c, %b\n%z = mul %a, %s" },
    /* Numbers of -100 .. 100 divided by 32: some out of range on either side. */
    { "one_hot_cast", "(%x: i32[5,N]) -> (%y)",
      ROWS "%n = const i32[] 32\n%d = div %x, %n\n%i = reshape %d {dims = [5, 1, N]}\n"
      "%c = iota {dims = [4, 1], axis = 0, dtype = i32}\n%z = eq %i, %c\n"
      "%a = cast %z {to = f32}\n%y = dot %a, %w {a_contract = [1], b_contract = [1]}",
      ROWS "%n = const i32[] 32\n%d = div %x, %n\n%i = reshape %d {dims = [5, 1, N]}\n"
      "%c = const i32[4,1] [0, 1, 2, 4]\n%z = eq %i, %c\n"
      "%a = cast %z {to = f32}\n%y = dot %a, %w {a_contract = [1], b_contract = [1]}" },
    { "one_hot_select", "(%x: u8[N]) -> (%y)",
      "%w = const f32[4,2] [1, -0, 3, 4, 5, 6, -7, 8]\n%1 = const f32[] 1\n%0 = const f32[] 0\n"
      "%n = const u8[] 40\n%d = div %x, %n\n%i = reshape %d {dims = [N, 1]}\n"
      "%c = const u8[4] [0, 1, 2, 3]\n%z = eq %c, %i\n%a = select %z, %1, %0\n%y = dot %a, %w" DOT,
      "%w = const f32[4,2] [1, -0, inf, 4, 5, 6, -7, 8]\n%1 = const f32[] 1\n%0 = const f32[] 0\n"
      "%n = const u8[] 40\n%d = div %x, %n\n%i = reshape %d {dims = [N, 1]}\n"
      "%c = const u8[4] [0, 1, 2, 3]\n%z = eq %c, %i\n%a = select %z, %1, %0\n%y = dot %a, %w" DOT },
    { "table_unary", "(%x: i64[N]) -> (%y)", TABLE THREE LOOK "%y = tanh %g",
      "%t = const f32[2,3] [1, 2, 3, 4, 5, -6]\n" THREE "%i = rem %x, %n\n"
      "%g = gather %t, %i {axis = 1}\n%y = tanh %g" },
    { "table_left", "(%x: i64[2,N]) -> (%y)",
      TABLE THREE LOOK "%b = const f32[1,1,2] [10, 20]\n%y = sub %g, %b",
      TABLE THREE LOOK "%b = const f32[2,1,1] [10, 20]\n%y = sub %g, %b" },
    { "table_right", "(%x: i64[N]) -> (%y)",
      TABLE THREE LOOK "%b = const f32[] 1\n%y = div %b, %g",
      TABLE THREE LOOK "%b = const f32[2,1,1] [1, 2]\n%y = div %b, %g" },
    { "table_table", "(%x: i64[N]) -> (%y)", TABLE THREE LOOK "%h = tanh %t\n"
      "%j = gather %h, %i\n%y = mul %g, %j",
      TABLE THREE LOOK "%h = neg %i\n%j = gather %t, %h\n%y = mul %g, %j" },
    { "channels_before_places", "(%x: f32[N,6,5]) -> (%z)",
      PLACES("2, 3", "0, 2, 3, 1") "%s = const f32[3,1] [1, 2, 3]\n%z = mul %y, %s",
      PLACES("2, 3", "0, 2, 3, 1") "%s = const f32[10] [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n%z = mul %y, %s" },
};

static const cab_rule_info *info_of(const char *rule, const char *file)
{
    static cab_rule_info r;

    for (int i = 0; i < cab_rules_count(); i++) {
        r = cab_rules_info(i);
        if (!strcmp(r.name, rule) && !strcmp(r.file, file))
            return &r;
    }
    return NULL;
}

static void check_row(const row *t, cab_rules_file f)
{
    static const cab_pass_options exact = { .exact = true };
    const cab_rule_info *info = info_of(t->rule, cab_rules_path[f]);
    bool rounding = info && !strcmp(info->klass, "rounding");
    cab_graph *g = graph(t->io, t->hit, "core"), *miss = graph(t->io, t->miss, "core");
    cab_tensor before, after;

    CHECK(info != NULL);
    if (!g || !miss)
        return;
    before = evaluate(g, 1);
    if (hits_of(g, f, t->rule, &inexact) < 1) {
        fprintf(stderr, "rule %s does not fit its positive graph\n", t->rule);
        test_failed++;
    }
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    after = evaluate(g, 1);
    if (!agree(&before, &after, rounding)) {
        fprintf(stderr, "rule %s changes the result\n", t->rule);
        test_failed++;
    }
    if (hits_of(miss, f, t->rule, &inexact) != 0) {
        fprintf(stderr, "rule %s fits its near miss\n", t->rule);
        test_failed++;
    }
    if (rounding)
        CHECK_EQ(hits_of(graph(t->io, t->hit, "core"), f, t->rule, &exact), 0);
}

static void check_rows(void)
{
    size_t n_canon = sizeof canon / sizeof *canon, n_fuse = sizeof fuse / sizeof *fuse;

    for (size_t i = 0; i < n_canon; i++)
        check_row(&canon[i], CAB_RULES_canon);
    for (size_t i = 0; i < n_fuse; i++)
        check_row(&fuse[i], CAB_RULES_fuse);
    /* No rule without a row. */
    for (int i = 0; i < cab_rules_count(); i++) {
        cab_rule_info r = cab_rules_info(i);
        bool found = !strcmp(r.file, "passes/decompose.rules");

        for (size_t k = 0; k < n_canon; k++)
            found = found || !strcmp(canon[k].rule, r.name);
        for (size_t k = 0; k < n_fuse; k++)
            found = found || !strcmp(fuse[k].rule, r.name);
        if (!found) {
            fprintf(stderr, "rule %s has no test\n", r.name);
            test_failed++;
        }
    }
}

/* ---- decompose.rules against formulas ---- */
static double relu(double x) { return x > 0 ? x : 0; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double hard_swish(double x) { return x * fmax(0, fmin(1, x / 6 + 0.5)); }
static double leaky(double x) { return x < 0 ? 0.25 * x : x; }
static double elu(double x) { return x < 0 ? 0.5 * (exp(x) - 1) : x; }
static double celu(double x) { return fmax(0, x) + fmin(0, 0.5 * (exp(x / 0.5) - 1)); }
static double selu(double x) { return 1.5 * (x > 0 ? x : 0.5 * exp(x) - 0.5); }
static double thresholded(double x) { return x > 0.5 ? x : 0; }
static double hard_sigmoid(double x) { return fmax(0, fmin(1, 0.25 * x + 0.5)); }
static double softplus(double x) { return log1p(exp(x)); }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double swish(double x) { return x / (1 + exp(-0.5 * x)); }
static double shrink(double x) { return x < -0.5 ? x + 0.25 : x > 0.5 ? x - 0.25 : 0; }
static double gelu(double x) { return 0.5 * x * (1 + erf(x * M_SQRT1_2)); }
static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double reciprocal(double x) { return 1 / x; }

static const struct { const char *rule, *node; double (*fn)(double); } unary[] = {
    { "same_1", "Abs %x", fabs }, { "same_1", "Erf %x", erf }, { "same_1", "Tanh %x", tanh },
    { "Relu", "Relu %x", relu }, { "Sigmoid", "Sigmoid %x", sigmoid },
    { "HardSwish", "HardSwish %x", hard_swish },
    { "LeakyRelu", "LeakyRelu %x {alpha = 0.25}", leaky },
    { "Elu", "Elu %x {alpha = 0.5}", elu }, { "Celu", "Celu %x {alpha = 0.5}", celu },
    { "Selu", "Selu %x {alpha = 0.5, gamma = 1.5}", selu },
    { "ThresholdedRelu", "ThresholdedRelu %x {alpha = 0.5}", thresholded },
    { "HardSigmoid", "HardSigmoid %x {alpha = 0.25}", hard_sigmoid },
    { "Softplus", "Softplus %x", softplus }, { "Softsign", "Softsign %x", softsign },
    { "Mish", "Mish %x", mish }, { "Swish", "Swish %x {alpha = 0.5}", swish },
    { "Shrink", "Shrink %x {bias = 0.25, lambd = 0.5}", shrink },
    { "Gelu_erf", "Gelu %x", gelu }, { "Gelu_tanh", "Gelu %x {approximate = \"tanh\"}", gelu_tanh },
    { "Reciprocal", "Reciprocal %x", reciprocal },
    { "ms_Gelu", "com.microsoft.Gelu %x", gelu },
    { "ms_FastGelu", "com.microsoft.FastGelu %x", gelu_tanh },
    { "ms_QuickGelu", "com.microsoft.QuickGelu %x {alpha = 0.5}", swish },
};

static double add2(double x, double y) { return x + y; }
static double sub2(double x, double y) { return x - y; }
static double greater(double x, double y) { return x > y; }
static double where(double x, double y) { return x < 0 ? x : y; }
static double bias_gelu(double x, double y) { return gelu(x + y); }
static double bias_fast_gelu(double x, double y) { return gelu_tanh(x + y); }
static double swiglu(double x, double y) { return sigmoid(x * 0.5) * x * y; }

static const struct { const char *rule, *body; double (*fn)(double, double); } binary[] = {
    { "same_2", "%z = Add %x, %y : none[]", add2 },
    { "same_2", "%z = Sub %x, %y : none[]", sub2 },
    { "turned_2", "%z = Greater %x, %y : none[]", greater },
    { "Where", "%0 = const f32[] 0\n%c = Less %x, %0 : none[]\n%z = Where %c, %x, %y : none[]",
      where },
    { "ms_BiasGelu", "%z = com.microsoft.BiasGelu %x, %y : none[]", bias_gelu },
    { "ms_FastGelu_bias", "%z = com.microsoft.FastGelu %x, %y : none[]", bias_fast_gelu },
    { "SwiGLU", "%z = SwiGLU %x, %y {alpha = 0.5} : none[]", swiglu },
};

static void check_against(const char *body, double (*f1)(double), double (*f2)(double, double))
{
    cab_graph *g = graph("(%x: f32[40], %y: f32[40]) -> (%z)", body, "onnx");
    cab_tensor x = { .dtype = CAB_DT_f32, .rank = 1, .dims = { 40 } }, y = x, out;
    cab_rng r;

    if (!g)
        return;
    CHECK_EQ(cab_passes_run_list(g, "decompose", &inexact, NULL, &diag), CAB_OK);
    if (g->level != CAB_LEVEL_CORE)
        return;
    out = evaluate(g, 7);
    CHECK(cab_tensor_alloc(arena, &x) && cab_tensor_alloc(arena, &y));
    cab_rng_seed(&r, 7);
    fill(&x, &r);
    fill(&y, &r);
    for (uint64_t i = 0; i < 40; i++) {
        double a = cab_elem_f64(x.dtype, x.data, i), b = cab_elem_f64(y.dtype, y.data, i);
        double want = f1 ? f1(a) : f2(a, b), got = cab_elem_f64(out.dtype, out.data, i);

        if (fabs(got - want) > 1e-6 + 1e-5 * fabs(want)) {
            fprintf(stderr, "%s: f(%g, %g) = %g, expected %g\n", body, a, b, got, want);
            test_failed++;
            return;
        }
        test_passed++;
    }
}

static void check_formulas(void)
{
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++)
        check_against(cab_printf(arena, "%%z = %s : none[]", unary[i].node), unary[i].fn, NULL);
    for (size_t i = 0; i < sizeof binary / sizeof *binary; i++)
        check_against(binary[i].body, NULL, binary[i].fn);
    for (int i = 0; i < cab_rules_count(); i++) {
        cab_rule_info r = cab_rules_info(i);
        bool found = strcmp(r.file, "passes/decompose.rules") != 0;

        for (size_t k = 0; k < sizeof unary / sizeof *unary; k++)
            found = found || !strcmp(unary[k].rule, r.name);
        for (size_t k = 0; k < sizeof binary / sizeof *binary; k++)
            found = found || !strcmp(binary[k].rule, r.name);
        if (!found) {
            fprintf(stderr, "rule %s has no test\n", r.name);
            test_failed++;
        }
    }
}

/* ---- errors in rule text ---- */
static const struct { const char *text; int line; const char *words; } bad[] = {
    { "rule a\n match frob(x)\n build x", 2, "unknown op" },
    { "rule a\n match add(x)\n build x", 2, "operands" },
    { "rule a\n match add(x, y)\n\n build z", 4, "not bound" },
    { "rule a\n match neg(x) {axis = a}\n build x", 2, "no attribute" },
    { "rule a\n match neg(x)\n build x\nrule a\n match abs(x)\n build x", 4, "second rule" },
    { "rule a\n match neg(x)\n where shiny(x)\n build x", 3, "unknown guard" },
    { "rule a\n match neg(x)\n where one_use(x, x)\n build x", 3, "arguments" },
    { "rule a\n match x\n build x", 2, "no op" },
    { "rule a\n match neg(x)", 2, "expected build" },
    { "rule a class fast\n match neg(x)\n build x", 1, "exact or rounding" },
    { "rule a for U in neg, frob\n match U(x)\n build x", 1, "unknown op" },
    { "rule a\n match transpose(x) {perm = x}\n build x", 2, "twice" },
    { "rule a\n match reduce(x) {op = 3}\n build x", 2, "another kind" },
    { "rule a\n match neg(x)\n build reduce(x) {op = \"sum}", 3, "without its end" },
    { "rule a\n match neg(x)\n build conv(x, ", 3, "expected a name" },
    { "rule a\n match transpose(x) {perm = [99999999999999999999]}\n build x", 2, "expected an integer" },
    { "rule a for U in trait(ELTWISE, 9999999999)\n match U(x)\n build x", 2, "expected rule" },
    { "nonsense", 1, "expected rule" },
};

static void check_errors(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cab_ruleset *rs;
        cab_diag d;
        const cab_diag_entry *e;
        char place[32];

        cab_diag_init(&d);
        snprintf(place, sizeof place, "bad.rules:%d", bad[i].line);
        CHECK_EQ(cab_ruleset_parse(arena, bad[i].text, "bad.rules", &rs, &d), CAB_EPARSE);
        e = cab_diag_first(&d);
        if (!e || !strstr(e->text, bad[i].words) || !strstr(e->where, place)) {
            fprintf(stderr, "bad rule %zu: %s: %s, expected %s: ...%s...\n", i,
                    e ? e->where : "", e ? e->text : "", place, bad[i].words);
            test_failed++;
        }
        cab_diag_fini(&d);
    }
}

/* ---- the driver ---- */
static void check_driver(void)
{
    const char *io = "(%x: f32[N]) -> (%z)";
    const char *body = "%0 = neg %x loc \"a\" \"Neg\" 13\n%1 = neg %0 loc \"b\" \"Neg\" 13\n"
                       "%2 = neg %1\n%3 = neg %2\n%c = const f32[] 2\n"
                       "%4 = mul %c, %3 loc \"m\" \"Mul\" 14\n%d = const f32[] 4\n"
                       "%z = mul %4, %d loc \"n\" \"Mul\" 14";
    cab_pass_options one = { .bisect_limit = 1 };
    cab_graph *g = graph(io, body, "core");
    cab_pass_ctx c = { .scratch = arena, .o = &one, .diag = &diag };

    CHECK_EQ(cab_pass_canon(g, &c), CAB_OK);
    CHECK_EQ(c.rule_hits, 1);
    c = (cab_pass_ctx){ .scratch = arena, .o = &inexact, .diag = &diag };
    g = graph(io, body, "core");
    CHECK_EQ(cab_pass_canon(g, &c), CAB_OK);
    CHECK_EQ(c.rule_hits, 3);
    /* Dead nodes are gone; the new node tells both places it comes from. */
    CHECK_EQ(cab_graph_count(g), 4);
    CHECK_STR(g->outputs.p[0]->def->loc, "m, n");
    CHECK_STR(g->outputs.p[0]->name, "z");
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    check_rows();
    check_formulas();
    check_errors();
    check_driver();
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
