/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_element.c - element types: reading and writing runs of elements.
 *
 * The rows of json_element.def are instances of two inline loops, so that a
 * type's loop has its conversion in it.
 */
#include "serve/json/json_element_int.h"
#include "include/cab_rt.h"
#include "serve/json/json_scan_int.h"
#include "serve/json/json_shortest_int.h"

/* ---- one element from a decimal ---- */

#define FLOAT_STORE(kind, format, bits_type)                                                \
    static inline cab_fit store_##kind(void *at, const cab_decimal *d, int64_t lo, uint64_t hi, \
                                       size_t size, const cab_pow5 *five)                   \
    {                                                                                       \
        bits_type v;                                                                        \
        cab_fit fit = CAB_FITS;                                                             \
        (void)lo, (void)hi, (void)size;                                                     \
        if (__builtin_expect(d->name != 0, 0))                                              \
            return store_name(at, d, format, sizeof v);                                     \
        v = (bits_type)json_bits(d, format, five);                                          \
        if (v == (bits_type)json_infinity(format))                                          \
            fit = CAB_RANGE;                                                                \
        v |= (bits_type)((bits_type)d->negative << (8 * sizeof v - 1));                     \
        memcpy(at, &v, sizeof v);                                                           \
        return fit;                                                                         \
    }

static cab_fit store_name(void *at, const cab_decimal *d, json_format f, size_t size)
{
    uint64_t v = json_infinity(f) | (d->name == 'N' ? (uint64_t)1 << (f.fraction - 1) : 0);
    v |= (uint64_t)d->negative << (8 * size - 1);
    memcpy(at, &v, size);      /* x86-64: low bytes first */
    return CAB_FITS;
}

FLOAT_STORE(f64, JSON_F64, uint64_t)
FLOAT_STORE(f32, JSON_F32, uint32_t)
FLOAT_STORE(f16, JSON_F16, uint16_t)
FLOAT_STORE(bf16, JSON_BF16, uint16_t)

static inline cab_fit store_int(void *at, const cab_decimal *d, int64_t lo, uint64_t hi, size_t size,
                                const cab_pow5 *five)
{
    int64_t v = 0;
    (void)five;
    cab_fit fit = cab_decimal_int(d, lo, (int64_t)hi, &v);
    memcpy(at, &v, size);
    return fit;
}

static inline cab_fit store_uint(void *at, const cab_decimal *d, int64_t lo, uint64_t hi, size_t size,
                                 const cab_pow5 *five)
{
    uint64_t v = 0;
    (void)lo, (void)five;
    cab_fit fit = cab_decimal_uint(d, hi, &v);
    memcpy(at, &v, size);
    return fit;
}

/* ---- a run of elements ---- */

typedef cab_fit store_fn(void *, const cab_decimal *, int64_t, uint64_t, size_t, const cab_pow5 *);

static inline __attribute__((always_inline)) size_t
read_run(const char **from, const char *end, char *at, size_t n, store_fn *store, int64_t lo,
         uint64_t hi, size_t size)
{
    const cab_pow5 *five = cab_pow5_table();
    cab_decimal d;
    size_t i = 0;
    for (; i < n; i++, at += size) {
        const char *p = json_skip_space(*from, end);
        if (p == end || *p != ',')
            break;
        p = json_skip_space(p + 1, end);
        if (p == end || !(p = json_number(p, end, &d)) || store(at, &d, lo, hi, size, five) != CAB_FITS)
            break;
        *from = p;
    }
    return i;
}

/* ---- writing ---- */

static char *put_word(char *to, const char *word)
{
    size_t n = strlen(word);
    memcpy(to, word, n);
    return to + n;
}

static char *put_nonfinite(char *to, bool nan, bool negative, cab_json_nonfinite how)
{
    if (how != CAB_NONFINITE_NAMES)
        return put_word(to, "null");
    return put_word(to, nan ? "NaN" : negative ? "-Infinity" : "Infinity");
}

/* Numbers by their bits. */
#define FLOAT_PUT(kind, format, bits_type, shortest)                                        \
    static inline char *put_##kind(char *to, const void *at, cab_json_nonfinite how, const cab_pow5 *five) \
    {                                                                                       \
        bits_type v;                                                                        \
        (void)five;                                                                         \
        memcpy(&v, at, sizeof v);                                                           \
        bool negative = v >> (8 * sizeof v - 1);                                            \
        if (__builtin_expect((v & json_infinity(format)) == json_infinity(format), 0))      \
            return put_nonfinite(to, (v & (((uint64_t)1 << (format).fraction) - 1)) != 0, negative, how); \
        return json_put_digits(to, negative, shortest);                                      \
    }

/* Formats of at most 24 bits: zero, or by their parts. */
static inline cab_digits digits_32(uint64_t bits, int fraction, int bias, const cab_pow5 *five)
{
    return bits ? json_shortest_32(json_parts(bits, fraction, bias), five) : (cab_digits){ 0, 0 };
}

static inline cab_digits digits_64(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return cab_shortest_f64(v);
}

FLOAT_PUT(f64, JSON_F64, uint64_t, digits_64(v))
FLOAT_PUT(f32, JSON_F32, uint32_t, digits_32(v & 0x7fffffff, 23, 127, five))
FLOAT_PUT(f16, JSON_F16, uint16_t, digits_32(v & 0x7fff, 10, 15, five))
FLOAT_PUT(bf16, JSON_BF16, uint16_t, digits_32(v & 0x7fff, 7, 127, five))

/* ---- rows ---- */

#define put_int(to, at, how, five) cab_i64_put(to, *(at))
#define put_uint(to, at, how, five) cab_u64_put(to, *(at))

#define ELEMENT(tail, text, type, kind, lo, hi)                                             \
    static cab_fit store_of_##tail(void *at, const cab_decimal *d)                          \
    {                                                                                       \
        return store_##kind(at, d, lo, hi, sizeof(type), cab_pow5_table());                 \
    }                                                                                       \
    static size_t read_##tail(const char **p, const char *end, void *at, size_t n)          \
    {                                                                                       \
        return read_run(p, end, at, n, store_##kind, lo, hi, sizeof(type));                 \
    }                                                                                       \
    static char *write_##tail(char *to, const void *at, size_t n, cab_json_nonfinite how)   \
    {                                                                                       \
        const type *v = at;                                                                 \
        const cab_pow5 *five = cab_pow5_table();                                            \
        (void)how, (void)five;                                                              \
        for (size_t i = 0; i < n; i++) {                                                    \
            to = put_##kind(to, v + i, how, five);                                                \
            *to++ = ',';                                                                    \
        }                                                                                   \
        return to - (n > 0);                                                                \
    }
#include "serve/json/json_element.def"

/* true and false are words: numbers come by store_uint, answers by this. */
static char *write_words(char *to, const void *at, size_t n, cab_json_nonfinite how)
{
    const uint8_t *v = at;
    (void)how;
    for (size_t i = 0; i < n; i++) {
        to = put_word(to, v[i] ? "true" : "false");
        *to++ = ',';
    }
    return to - (n > 0);
}

static const json_element rows[] = {
#define ELEMENT(tail, text, type, kind, lo, hi)                                             \
    [CAB_TYPE_##tail] = { text, sizeof(type), CAB_TYPE_##tail == CAB_TYPE_BOOL, \
                          store_of_##tail, read_##tail,                                     \
                          CAB_TYPE_##tail == CAB_TYPE_BOOL ? write_words : write_##tail },
#include "serve/json/json_element.def"
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const json_element *cab_json_element_of(int dtype)
{
    return dtype > 0 && dtype < N_ROWS && rows[dtype].name ? &rows[dtype] : NULL;
}

const char *cab_json_type_name(int dtype)
{
    const json_element *t = cab_json_element_of(dtype);
    return t ? t->name : NULL;
}

size_t cab_json_type_bytes(int dtype)
{
    const json_element *t = cab_json_element_of(dtype);
    return t ? t->bytes : 0;
}

int cab_json_type_of(cab_slice name)
{
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].name && cab_slice_is(name, rows[i].name))
            return i;
    return 0;
}
