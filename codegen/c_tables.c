/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_tables.c - what stands before a model's own C: constants and the fixed
 * functions it calls, each written only when called.
 *
 * Small constants are hex words of the element's width.  Large ones are rows
 * of characters: compilers need some fifty times less time and memory for a
 * string than for a list of numbers.  Floats stand in a union with the words,
 * so reading them as floats is reading a member.
 */
#include "codegen/c_model_int.h"
#include <string.h>

enum { WORDS_MOST = 64 << 10, ROW = 1024 };    /* bytes; a row is a legal C11 literal */

/* ---- constants ---- */

static cab_dtype type_of(const cab_cmodel *c, const cab_constant *k)
{
    return k->pack ? k->pack->dtype : c->w->p->buffers.p[k->buffer].type.dtype;
}

static int width_of(cab_dtype dt)
{
    int bits = cab_dtype_bits(dt);
    return bits == 16 || bits == 32 || bits == 64 ? bits : 8;
}

static bool in_words(const cab_constant *k) { return k->bytes <= WORDS_MOST; }

/* The element type as kernels spell it. */
static const char *member_type(cab_dtype dt)
{
    return dt == CAB_DT_f32 ? "f32" : dt == CAB_DT_f64 ? "f64" : width_of(dt) == 64 ? "u64"
         : width_of(dt) == 32 ? "u32" : width_of(dt) == 16 ? "u16" : "u8";
}

static const uint8_t *bytes_of(cab_cmodel *c, const cab_constant *k)
{
    if (!k->pack)
        return k->blob->data;
    static const cab_cancel never;
    uint8_t *p = CAB_NEW_N(c->arena, uint8_t, k->bytes);
    cab_constant_write(k, p, &never, NULL);        /* fails only when cancelled */
    return p;
}

static void words(cab_cmodel *c, int number, const cab_constant *k, const uint8_t *p)
{
    cab_dtype dt = type_of(c, k);
    int size = width_of(dt) / 8, per_line = size == 1 ? 16 : size == 2 ? 12 : size == 4 ? 8 : 4;
    unsigned long long n = k->bytes / (uint64_t)size;
    bool real = dt == CAB_DT_f32 || dt == CAB_DT_f64;
    if (real)
        cab_buf_printf(c->b, "static const union { u%d w[%llu]; %s v[%llu]; } c%d = { {",
                       size * 8, n, member_type(dt), n, number);
    else
        cab_buf_printf(c->b, "static const u%d c%d[%llu] = {", size * 8, number, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t word = 0;
        memcpy(&word, p + i * (uint64_t)size, (size_t)size);
        cab_buf_printf(c->b, "%s0x%llx,", i % (uint64_t)per_line ? " " : "\n    ",
                       (unsigned long long)word);
    }
    cab_buf_str(c->b, real ? "\n} };\n" : "\n};\n");
}

/* n bytes as the inside of a literal; out has room for 4 each.  An escape is
 * as short as the character after it allows. */
static size_t escape(const uint8_t *p, size_t n, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        bool digit = i + 1 < n && p[i + 1] >= '0' && p[i + 1] <= '7';
        if (p[i] >= 32 && p[i] < 127 && p[i] != '"' && p[i] != '\\' && p[i] != '?') {
            out[at++] = (char)p[i];
            continue;
        }
        out[at++] = '\\';
        if (digit || p[i] >= 0100)
            out[at++] = (char)('0' + (p[i] >> 6));
        if (digit || p[i] >= 010)
            out[at++] = (char)('0' + (p[i] >> 3 & 7));
        out[at++] = (char)('0' + (p[i] & 7));
    }
    return at;
}

static void rows(cab_cmodel *c, int number, const cab_constant *k, const uint8_t *p)
{
    cab_dtype dt = type_of(c, k);
    char text[4 * ROW];
    uint64_t n = (k->bytes + ROW - 1) / ROW;
    cab_buf_printf(c->b, "static const union { char rows[%llu][%d]; %s v[%llu]; } c%d = { {\n",
                   (unsigned long long)n, ROW, member_type(dt),
                   (unsigned long long)(k->bytes / (uint64_t)(width_of(dt) / 8)), number);
    for (uint64_t i = 0; i < n; i++, p += ROW) {
        uint64_t left = k->bytes - i * ROW;
        cab_buf_char(c->b, '"');
        cab_buf_bytes(c->b, text, escape(p, left < ROW ? (size_t)left : ROW, text));
        cab_buf_str(c->b, "\",\n");
    }
    cab_buf_str(c->b, "} };\n");
}

const char *cab_cm_constant(const cab_cmodel *c, int constant)
{
    return cab_printf(c->arena, "c%d", constant);
}

/* A byte order other than this file's, told before anything is read. */
static const char order_check[] =
    "/* The rows above hold little-endian numbers. */\n"
    "static int little_endian(void)\n{\n"
    "    static const u16 one = 1;\n    return *(const u8 *)&one;\n}\n\n";

static const char row_warning[] =
    "/* Rows end without a zero byte, on purpose. */\n"
    "#if defined __clang__\n#if __clang_major__ >= 21\n"
    "#pragma clang diagnostic ignored \"-Wunterminated-string-initialization\"\n#endif\n"
    "#elif defined __GNUC__\n#if __GNUC__ >= 15\n"
    "#pragma GCC diagnostic ignored \"-Wunterminated-string-initialization\"\n#endif\n#endif\n";

void cab_cm_constants(cab_cmodel *c)
{
    bool any = false;
    for (size_t i = 0; i < c->w->constants.list.n; i++)
        any |= !in_words(&c->w->constants.list.p[i]);
    cab_buf_str(c->b, any ? row_warning : "");
    for (size_t i = 0; i < c->w->constants.list.n; i++) {
        const cab_constant *k = &c->w->constants.list.p[i];
        if (k->bytes)
            (in_words(k) ? words : rows)(c, (int)i, k, bytes_of(c, k));
    }
    cab_buf_str(c->b, any ? order_check : "\n");
    c->rows = any;
}

/* ---- helpers of plans ---- */

/* T the type, K the type compared, X( what reads one; lines that begin with N
 * are for floats: NaN counts as the largest value, as in the runtime. */
static const char topk_text[] =
    "typedef struct key_T { K v; i64 at; } key_T;\n"
    "static int order_T(const key_T *a, const key_T *b)\n{\n"
    "N    int na = a->v != a->v, nb = b->v != b->v;\n"
    "N    if (na || nb)\n"
    "N        return na - nb;\n"
    "    return (a->v > b->v) - (a->v < b->v);\n}\n"
    "static int up_T(const void *p, const void *q)\n{\n"
    "    const key_T *a = p, *b = q;\n    int c = order_T(a, b);\n"
    "    return c ? c : (a->at > b->at) - (a->at < b->at);\n}\n"
    "static int down_T(const void *p, const void *q)\n{\n"
    "    const key_T *a = p, *b = q;\n    int c = order_T(b, a);\n"
    "    return c ? c : (a->at > b->at) - (a->at < b->at);\n}\n"
    "/* x[n0, n1, n2] -> the n3 largest or least along n1, and their places. */\n"
    "static void topk_T(void *const *b, const i64 *n, void *scratch)\n{\n"
    "    const T *x = b[0];\n    T *y = b[1];\n    i64 *at = b[2];\n    key_T *key = scratch;\n"
    "    for (i64 row = 0; row < n[0] * n[2]; row++) {\n"
    "        i64 o = row / n[2], i = row % n[2];\n"
    "        for (i64 j = 0; j < n[1]; j++) {\n"
    "            key[j].v = X(x[(o * n[1] + j) * n[2] + i]);\n"
    "            key[j].at = j;\n        }\n"
    "        qsort(key, (size_t)n[1], sizeof *key, n[4] ? down_T : up_T);\n"
    "        for (i64 j = 0; j < n[3]; j++) {\n"
    "            i64 to = (o * n[3] + j) * n[2] + i;\n"
    "            y[to] = x[(o * n[1] + key[j].at) * n[2] + i];\n"
    "            at[to] = key[j].at;\n        }\n    }\n}\n\n";

/* The same letters. */
static const char sort_text[] =
    "static int after_T(const T *x, i64 m, i64 a, i64 b)\n{\n"
    "    for (i64 j = 0; j < m; j++) {\n"
    "        K p = X(x[a * m + j]), q = X(x[b * m + j]);\n"
    "N        int np = p != p, nq = q != q;\n"
    "N        if (np != nq)\n"
    "N            return np;\n"
    "N        if (np)\n"
    "N            continue;\n"
    "        if (p != q)\n            return p > q;\n    }\n    return 0;\n}\n"
    "/* Rows of x[n0, n1] by number, in ascending order; equal rows stay in theirs. */\n"
    "static void sort_T(void *const *b, const i64 *n, void *scratch)\n{\n"
    "    i64 *from = b[1], *to = scratch;\n"
    "    for (i64 i = 0; i < n[0]; i++)\n        from[i] = i;\n"
    "    for (i64 w = 1; w < n[0]; w *= 2) {\n"
    "        i64 *t = from;\n"
    "        for (i64 lo = 0; lo < n[0]; lo += 2 * w) {\n"
    "            i64 mid = n[0] - lo < w ? n[0] : lo + w;\n"
    "            i64 hi = n[0] - mid < w ? n[0] : mid + w;\n"
    "            for (i64 at = lo, i = lo, j = mid; at < hi; at++)\n"
    "                to[at] = i == mid || (j < hi && after_T(b[0], n[1], from[i], from[j]))\n"
    "                             ? from[j++] : from[i++];\n        }\n"
    "        from = to;\n        to = t;\n    }\n"
    "    if (n[0] && from != b[1])\n        memcpy(b[1], from, (size_t)n[0] * sizeof *from);\n}\n\n";

/* By number: text, which parameter is the element type, which one counts keys
 * of that many bytes of scratch. */
static const struct helper { const char *name, *text; int dtype, n, key; } helpers[] = {
    { "topk", topk_text, 5, 1, 16 },
    { "sort", sort_text, 2, 0, 8 },
};
enum { N_HELPERS = sizeof helpers / sizeof *helpers };

static void write_helper(cab_cmodel *c, const char *text, cab_dtype dt)
{
    const char *type = cab_dtype_name(dt);
    bool half = dt == CAB_DT_f16 || dt == CAB_DT_bf16, real = cab_dtype_is_float(dt);
    for (const char *p = text; *p; p++) {
        if (*p == 'T')
            cab_buf_str(c->b, type);
        else if (*p == 'K')
            cab_buf_str(c->b, half ? "f32" : type);
        else if (*p == 'X')
            cab_buf_str(c->b, dt == CAB_DT_f16 ? "f32_of_f16" : half ? "f32_of_bf16" : "");
        else if (*p == 'N')
            p = real ? p : strchr(p, '\n');
        else
            cab_buf_char(c->b, *p);
    }
}

static uint32_t helper_param(const cab_cmodel *c, const cab_plan_instr *x, int i)
{
    const uint32_t *w = c->w->words.p + x->b;
    return w[2 + w[0] + (uint32_t)i];
}

/* Element type of a call; none when the helper has no text. */
static cab_dtype helper_type(const cab_cmodel *c, const cab_plan_instr *x)
{
    int64_t number = 0;
    if (x->op != CAB_I_HELPER || x->a >= N_HELPERS)
        return CAB_DT_none;
    cab_cm_known(c, helper_param(c, x, helpers[x->a].dtype), &number);
    return cab_dtype_from_onnx(number);
}

const char *cab_cm_helper_name(const cab_cmodel *c, const cab_plan_instr *x)
{
    if (x->a >= N_HELPERS)
        return NULL;
    return cab_printf(c->arena, "%s_%s", helpers[x->a].name, cab_dtype_name(helper_type(c, x)));
}

int cab_cm_helper_room(const cab_cmodel *c, const cab_plan_instr *x, uint32_t *slot)
{
    if (x->a >= N_HELPERS)
        return 0;
    *slot = helper_param(c, x, helpers[x->a].n);
    return helpers[x->a].key;
}

unsigned cab_cm_calls_halves(const cab_cmodel *c)
{
    unsigned bits = 0;
    for (size_t i = 0; i < c->w->instrs.n; i++) {
        cab_dtype dt = helper_type(c, &c->w->instrs.p[i]);
        bits |= dt == CAB_DT_f16 ? 1u : dt == CAB_DT_bf16 ? 2u : 0u;
    }
    return bits;
}

void cab_cm_helpers(cab_cmodel *c)
{
    bool done[N_HELPERS][CAB_DT_COUNT] = { { false } };
    for (size_t i = 0; i < c->w->instrs.n; i++) {
        const cab_plan_instr *x = &c->w->instrs.p[i];
        cab_dtype dt = helper_type(c, x);
        if (dt == CAB_DT_none || done[x->a][dt])
            continue;
        write_helper(c, helpers[x->a].text, dt);
        done[x->a][dt] = true;
    }
}
