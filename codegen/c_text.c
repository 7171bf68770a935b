/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_text.c - the fixed functions of a model's C text.
 *
 * They say what the runtime says (session_bind.c, shape.c, arena_pack.c), in
 * the same words, with libc alone and without the compiler's builtins.
 */
#include "codegen/c_model_int.h"
#include <string.h>

/* Each may call those before it. */
static const struct fragment { const char *name, *text; } fragments[] = {
    { "add(",
      "static void add(const char *text)\n{\n"
      "    size_t n = strlen(error_text);\n"
      "    while (*text && n + 1 < sizeof error_text)\n        error_text[n++] = *text++;\n"
      "    error_text[n] = 0;\n}\n\n" },
    { "add_number(",
      "static void add_number(i64 v)\n{\n"
      "    char digits[24];\n    size_t i = sizeof digits - 1;\n"
      "    u64 u = v < 0 ? 0 - (u64)v : (u64)v;\n"
      "    digits[i] = 0;\n"
      "    do\n        digits[--i] = (char)('0' + (int)(u % 10));\n    while (u /= 10);\n"
      "    if (v < 0)\n        digits[--i] = '-';\n"
      "    add(digits + i);\n}\n\n" },
    { "say(",
      "/* The error text: %s is the name, each %d the next number.  0. */\n"
      "static int say(const char *text, const char *name, i64 a, i64 b, i64 c)\n{\n"
      "    char one[2] = { 0, 0 };\n"
      "    error_text[0] = 0;\n"
      "    for (; *text; text++) {\n"
      "        if (text[0] == '%' && text[1] == 's') {\n            add(name);\n            text++;\n"
      "        } else if (text[0] == '%' && text[1] == 'd') {\n"
      "            add_number(a);\n            a = b;\n            b = c;\n            text++;\n"
      "        } else {\n            one[0] = *text;\n            add(one);\n        }\n"
      "    }\n    return 0;\n}\n\n" },
    { "s_add(",
      "/* Arithmetic of sizes: 0 where it overflows or divides by zero. */\n"
      "static int s_add(i64 a, i64 b, i64 *r)\n{\n"
      "    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b)\n        return 0;\n"
      "    *r = a + b;\n    return 1;\n}\n\n" },
    { "s_sub(",
      "static int s_sub(i64 a, i64 b, i64 *r)\n{\n"
      "    if (b > 0 ? a < INT64_MIN + b : a > INT64_MAX + b)\n        return 0;\n"
      "    *r = a - b;\n    return 1;\n}\n\n" },
    { "s_mul(",
      "static int s_mul(i64 a, i64 b, i64 *r)\n{\n"
      "    if (a > 0 ? b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a\n"
      "              : b > 0 ? a < INT64_MIN / b : a != 0 && b < INT64_MAX / a)\n        return 0;\n"
      "    *r = a * b;\n    return 1;\n}\n\n" },
    { "s_floor(",
      "static int s_floor(i64 a, i64 b, i64 *r)\n{\n"
      "    if (b == 0 || (a == INT64_MIN && b == -1))\n        return 0;\n"
      "    *r = a / b - (a % b != 0 && (a < 0) != (b < 0));\n    return 1;\n}\n\n" },
    { "s_ceil(",
      "static int s_ceil(i64 a, i64 b, i64 *r)\n{\n"
      "    if (b == 0 || (a == INT64_MIN && b == -1))\n        return 0;\n"
      "    *r = a / b + (a % b != 0 && (a < 0) == (b < 0));\n    return 1;\n}\n\n" },
    { "s_mod(",
      "static int s_mod(i64 a, i64 b, i64 *r)\n{\n"
      "    if (b == 0 || (a == INT64_MIN && b == -1))\n        return 0;\n"
      "    *r = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);\n    return 1;\n}\n\n" },
    { "s_min(",
      "static int s_min(i64 a, i64 b, i64 *r)\n{\n    *r = a < b ? a : b;\n    return 1;\n}\n\n" },
    { "s_max(",
      "static int s_max(i64 a, i64 b, i64 *r)\n{\n    *r = a > b ? a : b;\n    return 1;\n}\n\n" },
    { "input_is(",
      "static int input_is(const @_tensor *t, const char *name, int dtype, int rank)\n{\n"
      "    u64 n = 1;\n"
      "    if (t->dtype != dtype)\n"
      "        return say(\"input '%s' holds dtype %d, the model wants %d\", name, t->dtype, dtype, 0);\n"
      "    if (t->rank != rank)\n"
      "        return say(\"input '%s' has rank %d, the model wants %d\", name, t->rank, rank, 0);\n"
      "    for (int i = 0; i < rank; i++) {\n"
      "        if (t->dims[i] < 0 || (t->dims[i] && n > ((u64)1 << 56) / (u64)t->dims[i]))\n"
      "            return say(\"input '%s' has impossible extents\", name, 0, 0, 0);\n"
      "        n *= (u64)t->dims[i];\n    }\n"
      "    return 1;\n}\n\n" },
    { "extent(",
      "static int extent(const @_tensor *t, const char *name, int k, i64 want, const char *of)\n{\n"
      "    if (t->dims[k] == want)\n        return 1;\n"
      "    say(\"input '%s': extent %d is %d, must be %d\", name, k, t->dims[k], want);\n"
      "    if (*of) {\n        add(\" (\");\n        add(of);\n        add(\" of another input)\");\n    }\n"
      "    return 0;\n}\n\n" },
    { "equal(",
      "static int equal(i64 a, i64 b, const char *why)\n{\n"
      "    return a == b ? 1 : say(\"sizes do not fit: %s (%d and %d)\", why, a, b, 0);\n}\n\n" },
    { "at_most(",
      "static int at_most(i64 a, i64 b, i64 is, const char *why)\n{\n"
      "    return a <= b ? 1 : say(\"%s, not %d\", why, is, 0, 0);\n}\n\n" },
    { "in_node(",
      "/* Says where, in front of what was said. */\n"
      "static int in_node(int ok, const char *node)\n{\n"
      "    char said[sizeof error_text];\n"
      "    if (ok)\n        return 1;\n"
      "    memcpy(said, error_text, sizeof said);\n"
      "    say(\"node '%s': \", node, 0, 0, 0);\n"
      "    add(said);\n    return 0;\n}\n\n" },
    { "rows_of(",
      "/* n indices of 4 or 8 bytes, each one of the rows. */\n"
      "static int rows_of(const u8 *p, int bytes, i64 n, i64 rows, const char *name)\n{\n"
      "    for (i64 i = 0; i < n; i++) {\n"
      "        int32_t half = 0;\n        i64 x = 0;\n"
      "        memcpy(bytes == 4 ? (void *)&half : (void *)&x, p + i * bytes, (size_t)bytes);\n"
      "        x = bytes == 4 ? half : x;\n"
      "        if (x < -rows || x >= rows)\n"
      "            return say(\"element %d of '%s' is %d, no row of the %d there are\", name, i, x, rows);\n"
      "    }\n    return 1;\n}\n\n" },
    { "size_is(",
      "static int size_is(i64 n, i64 below, const char *name)\n{\n"
      "    return n >= 0 && n < below && (u64)n < SIZE_MAX ? 1\n"
      "         : say(\"a tensor %s gets a negative or enormous size for these input shapes\",\n"
      "               name, 0, 0, 0);\n}\n\n" },
    { "place(",
      "/* Places buffers over one another whose lives do not meet: largest first, each at\n"
      " * the lowest free offset.  order is scratch; gives the bytes of all. */\n"
      "static u64 place(const u32 (*alive)[2], u32 n, const u64 *size, u64 *at, u32 *order)\n{\n"
      "    u64 total = 0;\n"
      "    for (u32 v = 0; v < n; v++) {\n"
      "        u32 i = v;\n"
      "        for (; i > 0 && size[order[i - 1]] < size[v]; i--)\n"
      "            order[i] = order[i - 1];\n"
      "        order[i] = v;\n    }\n"
      "    for (u32 i = 0; i < n; i++) {    /* order[0..i) becomes sorted by offset */\n"
      "        u32 v = order[i], k = i;\n"
      "        u64 to = 0;\n"
      "        for (u32 j = 0; j < i; j++) {\n"
      "            u32 o = order[j];\n"
      "            if (alive[o][0] > alive[v][1] || alive[v][0] > alive[o][1])\n"
      "                continue;\n"
      "            if (at[o] >= to && at[o] - to >= size[v])\n"
      "                break;\n"
      "            u64 end = (at[o] + size[o] + 63) / 64 * 64;\n"
      "            to = end > to ? end : to;\n        }\n"
      "        at[v] = to;\n"
      "        total = to + size[v] > total ? to + size[v] : total;\n"
      "        for (; k > 0 && at[order[k - 1]] > to; k--)\n"
      "            order[k] = order[k - 1];\n"
      "        order[k] = v;\n    }\n"
      "    return total;\n}\n\n" },
    { "room(",
      "/* Room behind the buffers for n keys of so many bytes. */\n"
      "static int room(i64 n, u64 bytes, sizes *z)\n{\n"
      "    u64 end;\n"
      "    if (n < 0 || n >= (i64)1 << 47)\n"
      "        return say(\"a helper needs an enormous size for these input shapes\", \"\", 0, 0, 0);\n"
      "    z->scratch = (z->scratch + 63) / 64 * 64;\n"
      "    end = z->scratch + (u64)n * bytes;\n"
      "    z->work = end > z->work ? end : z->work;\n"
      "    return 1;\n}\n\n" },
    { "given(",
      "static int given(const @_tensor *t, const char *name, u64 need)\n{\n"
      "    if (t->bytes >= need && (t->data || !need))\n        return 1;\n"
      "    return say(\"input '%s' needs %d bytes, %d are given\", name, (i64)need, (i64)t->bytes, 0);\n"
      "}\n\n" },
    { "same(",
      "/* Some inputs decide sizes: the code is for one value of them. */\n"
      "static int same(const @_tensor *t, const char *name, const void *value, u64 bytes)\n{\n"
      "    if (memcmp(t->data, value, (size_t)bytes) == 0)\n        return 1;\n"
      "    return say(\"input '%s' decides sizes, and the model was compiled for another value of \"\n"
      "               \"it: compile again with this one\", name, 0, 0, 0);\n}\n\n" },
};

enum { N_FRAGMENTS = sizeof fragments / sizeof *fragments };

/* Whether the text calls the function of that name, which ends in "(". */
static bool calls(const char *text, const char *name)
{
    for (const char *p = text; (p = strstr(p, name)); p++)
        if (p == text || p[-1] == ' ' || p[-1] == '(' || p[-1] == '!')
            return true;
    return false;
}

void cab_cm_functions(cab_cmodel *c, const char *body)
{
    bool used[N_FRAGMENTS] = { false };
    for (int i = N_FRAGMENTS - 1; i >= 0; i--) {
        used[i] = calls(body, fragments[i].name);
        for (int j = i + 1; j < N_FRAGMENTS; j++)
            used[i] |= used[j] && calls(fragments[j].text, fragments[i].name);
    }
    for (int i = 0; i < N_FRAGMENTS; i++)
        if (used[i])
            cab_cm_put(c, fragments[i].text);
}
