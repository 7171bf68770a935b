/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_number.h - decimal text <-> binary numbers, exactly.
 *
 * Reading rounds once, to nearest even, straight to the type asked for; writing
 * gives the fewest digits that read back as the same number.  No locale, no
 * heap.  Every function: [any thread].
 */
#ifndef CAB_SERVE_JSON_NUMBER_H
#define CAB_SERVE_JSON_NUMBER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number that was read: w * 10^q, where `more` says that digits of the text
 * beyond the 19th significant one are not in w and not all of them zero.
 * Points into the text, which must live as long. */
typedef struct cab_decimal {
    uint64_t w;
    int64_t q;
    const char *p;             /* the text, sign and all */
    size_t n;
    bool negative, more;
    char name;                 /* 0; 'N': NaN, 'I': Infinity (json_pull.h, names) */
} cab_decimal;

/* The number at p by RFC 8259's grammar: where it ends, or NULL (p is no
 * number; *why says what is missing, at *at). */
const char *cab_decimal_scan(const char *p, const char *end, cab_decimal *d, const char **why,
                             const char **at);

/* How a number fits a type. */
typedef enum cab_fit { CAB_FITS, CAB_FRACTION, CAB_RANGE } cab_fit;

/* Nearest even, subnormals too; what is too small becomes 0 with its sign.
 * CAB_RANGE: it would round to infinity (the value is then infinity).  Names give NaN
 * and infinities. */
cab_fit cab_decimal_f64(const cab_decimal *d, double *v);
cab_fit cab_decimal_f32(const cab_decimal *d, float *v);
cab_fit cab_decimal_f16(const cab_decimal *d, uint16_t *bits);
cab_fit cab_decimal_bf16(const cab_decimal *d, uint16_t *bits);
/* Whole numbers however they are spelt (12, 1.2e1, 120e-1).  CAB_FRACTION: it
 * is none; CAB_RANGE: its magnitude needs more than 64 bits.  -0 is 0. */
cab_fit cab_decimal_whole(const cab_decimal *d, bool *negative, uint64_t *magnitude);
/* The same within [lo, hi]. */
cab_fit cab_decimal_int(const cab_decimal *d, int64_t lo, int64_t hi, int64_t *v);
cab_fit cab_decimal_uint(const cab_decimal *d, uint64_t hi, uint64_t *v);

/* ---- writing ---- */

/* d * 10^e: the digits of a positive finite number; d has no trailing zero
 * (0 is 0 * 10^0). */
typedef struct cab_digits { uint64_t d; int e; } cab_digits;

/* Fewest digits that round to |v|, of those the nearest to it.  v is finite. */
cab_digits cab_shortest_f64(double v);
cab_digits cab_shortest_f32(float v);
cab_digits cab_shortest_f16(uint16_t bits);
cab_digits cab_shortest_bf16(uint16_t bits);

/* Room that the functions below need; what they write is shorter. */
enum { CAB_NUMBER_MAX = 40 };
/* As Python spells a float: 0.1, 1.0, -0.0, 1e-05, 1.5e+16.  Returns the end; no NUL. */
char *cab_digits_put(char *to, bool negative, cab_digits v);
char *cab_f64_put(char *to, double v);
char *cab_f32_put(char *to, float v);
char *cab_u64_put(char *to, uint64_t v);
char *cab_i64_put(char *to, int64_t v);

#endif
