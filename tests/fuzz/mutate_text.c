/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutate_text.c - mutation of texts by words and lines, for the parsers.
 *
 * Words are runs of letters, digits and the like, numbers, or one character.
 * Half of the time the bytes are changed without a thought.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "tests/fuzz/fuzz.h"

typedef struct word { size_t at, n; } word;

static bool is_word(uint8_t c) { return isalnum(c) || strchr("_.%@\"`-", c) != NULL; }

/* The word at or after p[at]. */
static word word_at(const uint8_t *p, size_t n, size_t at)
{
    while (at > 0 && p[at - 1] && is_word(p[at - 1]) && is_word(p[at]))
        at--;
    while (at < n && isspace(p[at]))
        at++;
    word w = { at, 0 };
    while (at + w.n < n && p[at + w.n] && is_word(p[at + w.n]))
        w.n++;
    if (w.n == 0 && at < n)
        w.n = 1;
    return w;
}

static word line_at(const uint8_t *p, size_t n, size_t at)
{
    while (at > 0 && p[at - 1] != '\n')
        at--;
    const uint8_t *end = memchr(p + at, '\n', n - at);
    return (word){ at, end ? (size_t)(end - p) + 1 - at : n - at };
}

/* p[at .. at+old) becomes the n_new bytes at src (which may lie in p). */
static size_t replace(uint8_t *p, size_t n, size_t max, word old, const void *src, size_t n_new)
{
    uint8_t copy[512];
    if (n_new > sizeof copy || n - old.n + n_new > max)
        return n;
    memcpy(copy, src, n_new);
    memmove(p + old.at + n_new, p + old.at + old.n, n - old.at - old.n);
    memcpy(p + old.at, copy, n_new);
    return n - old.n + n_new;
}

static size_t put_number(uint8_t *p, size_t n, size_t max, word at, cab_rng *r)
{
    static const char *const odd[] = {
        "0", "1", "-1", "2", "7", "9223372036854775807", "-9223372036854775808", "2147483648",
        "4294967296", "1000000", "nan", "inf", "1e400", "0x", "[]", "N", "M + 1", "floordiv(N, 0)",
    };
    const char *s = odd[cab_rng_u64(r) % (sizeof odd / sizeof *odd)];
    return replace(p, n, max, at, s, strlen(s));
}

size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t max, unsigned seed)
{
    cab_rng r;
    cab_rng_seed(&r, seed);
    if (n < 2 || cab_rng_u64(&r) % 2)
        return LLVMFuzzerMutate(p, n, max);
    size_t a = cab_rng_u64(&r) % n, b = cab_rng_u64(&r) % n;
    word wa = word_at(p, n, a), wb = word_at(p, n, b), la = line_at(p, n, a), lb = line_at(p, n, b);
    switch (cab_rng_u64(&r) % 6) {
    case 0: return put_number(p, n, max, wa, &r);
    case 1: return replace(p, n, max, wa, p, 0);
    case 2: return replace(p, n, max, la, p, 0);
    case 3: return replace(p, n, max, (word){ la.at, 0 }, p + lb.at, lb.n);
    default: return replace(p, n, max, wa, p + wb.at, wb.n);
    }
}
