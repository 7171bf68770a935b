/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_json.c - bytes as JSON: the pull parser beside jansson, the tensor
 * reader beside itself.
 *
 * Both accept the same texts, but for what is known: the depth allowed (ours is
 * set, jansson's is 2048); NUL in a key and reals beyond double's range, which
 * jansson refuses; a NUL behind a number or a word, which it passes over.
 * Where both accept, numbers and strings are equal.  A tensor that was read is
 * written, read again into its shape, and is the same.
 */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include "include/cab_rt.h"
#include "serve/json/json_tensor.h"
#include "tests/fuzz/fuzz.h"

enum { DEPTH = 100 };
static const cab_json_limits limits = { .depth = DEPTH };

typedef struct known { bool nul_in_key, too_large; } known;

static cab_json_token drain(cab_json *j, known *k)
{
    cab_json_token t;
    double v;
    while ((t = cab_json_next(j)) != CAB_JSON_END && t != CAB_JSON_ERROR) {
        size_t end = j->at + j->text.n + 2;
        if ((t == CAB_JSON_KEY || t == CAB_JSON_STRING || t == CAB_JSON_NUMBER) &&
            (j->text.p < j->start || j->text.p + j->text.n > j->end || end < j->at))
            fuzz_finding("a token outside of the text");
        if (t == CAB_JSON_KEY) {
            char one[4096];
            size_t n = cab_json_unescape_to(j->text, one, sizeof one);
            k->nul_in_key |= memchr(one, 0, n < sizeof one ? n : sizeof one) != NULL || n > sizeof one;
        }
        k->too_large |= t == CAB_JSON_NUMBER && cab_decimal_f64(&j->number, &v) == CAB_RANGE;
    }
    if (j->at > (size_t)(j->end - j->start))
        fuzz_finding("a place outside of the text");
    return t;
}

/* ---- values beside jansson's ---- */

static void same(cab_json *j, cab_json_token t, const json_t *v);

static void same_string(cab_slice text, const json_t *v)
{
    char *to = malloc(text.n + 1);
    size_t n = to ? cab_json_unescape_to(text, to, text.n) : 0;
    if (to && (!json_is_string(v) || n != json_string_length(v) || (n && memcmp(to, json_string_value(v), n))))
        fuzz_finding("a string differs: %.*s", (int)text.n, text.p);
    free(to);
}

static void same_number(const cab_json *j, const json_t *v)
{
    double d;
    cab_decimal_f64(&j->number, &d);
    if (!json_is_real(v) || memcmp(&d, &(double){ json_real_value(v) }, sizeof d))
        fuzz_finding("a number differs: %.*s: %.17g", (int)j->text.n, j->text.p, d);
}

/* Reads to the end of the object that was begun. */
static bool leave(cab_json *j)
{
    for (unsigned outside = j->depth - 1; j->depth > outside;)
        if (cab_json_next(j) == CAB_JSON_ERROR)
            return false;
    return true;
}

/* Keys that come twice: jansson keeps the last, so objects are only passed over. */
static void same(cab_json *j, cab_json_token t, const json_t *v)
{
    size_t i = 0;
    switch (t) {
    case CAB_JSON_STRING: same_string(j->text, v); break;
    case CAB_JSON_NUMBER: same_number(j, v); break;
    case CAB_JSON_ARRAY:
        while ((t = cab_json_next(j)) != CAB_JSON_ARRAY_END && i < json_array_size(v))
            same(j, t, json_array_get(v, i++));
        if (!json_is_array(v) || i != json_array_size(v) || t != CAB_JSON_ARRAY_END)
            fuzz_finding("an array differs");
        break;
    case CAB_JSON_OBJECT:
        if (!json_is_object(v) || !leave(j))
            fuzz_finding("an object differs");
        break;
    case CAB_JSON_TRUE: case CAB_JSON_FALSE: case CAB_JSON_NULL:
        if (json_typeof(v) != (t == CAB_JSON_TRUE ? JSON_TRUE : t == CAB_JSON_FALSE ? JSON_FALSE : JSON_NULL))
            fuzz_finding("a word differs");
        break;
    default: fuzz_finding("no value (%d)", (int)t);
    }
}

static void beside_jansson(cab_slice text)
{
    cab_json j;
    known k = { false, false };
    json_error_t e;
    cab_json_init(&j, text, &limits);
    bool ours = drain(&j, &k) == CAB_JSON_END;
    json_t *v = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    fuzz_count(ours ? "accepted" : "refused");
    if (ours && !v && !k.nul_in_key && !k.too_large)
        fuzz_finding("jansson refuses: %s at %d", e.text, e.position);
    bool nul = !ours && j.at && j.at < text.n && !text.p[j.at] && isalnum((unsigned char)text.p[j.at - 1]);
    if (!ours && v && !nul && strcmp(j.why, "nested too deeply"))
        fuzz_finding("jansson accepts; ours: %s at %zu", j.why, j.at);
    if (ours && v) {
        cab_json_init(&j, text, &limits);
        same(&j, cab_json_next(&j), v);
    }
    json_decref(v);
    cab_json_init(&j, text, &limits);
    if ((cab_json_skip(&j) && cab_json_next(&j) == CAB_JSON_END) != ours)
        fuzz_finding("skipping and reading do not agree");
}

/* ---- tensors ---- */

static void write_and_read(int type, int rank, const int64_t *dims, const cab_bytes *t, bool nested)
{
    cab_bytes text = { 0 };
    cab_json_fault f;
    cab_json j;
    char *back = malloc(t->n ? t->n : 1);
    if (!cab_json_write_tensor(&text, type, rank, dims, t->p, nested, CAB_NONFINITE_NAMES, &f))
        fuzz_finding("a tensor cannot be written: %s", f.text);
    cab_json_init(&j, (cab_slice){ text.p, text.n }, NULL);
    if (!cab_json_read_tensor(&j, type, rank, dims, back, &f) || cab_json_next(&j) != CAB_JSON_END)
        fuzz_finding("what was written cannot be read: %s", f.text);
    else if (t->n && memcmp(back, t->p, t->n))
        fuzz_finding("type %d: written and read do not agree: %.200s", type, text.p);
    free(back);
    cab_bytes_fini(&text);
}

/* dims decided by the input: what is read must stay within them. */
static void into_shape(cab_slice text, int type, fuzz_src *s)
{
    int64_t dims[3], n = 1;
    int rank = (int)fuzz_draw(s, 0, 3);
    cab_json_fault f;
    cab_json j;
    for (int i = 0; i < rank; i++)
        n *= dims[i] = fuzz_draw(s, 0, 4);
    void *to = malloc((size_t)n * cab_json_type_bytes(type) + 1);
    cab_json_init(&j, text, &limits);
    if (!cab_json_read_tensor(&j, type, rank, dims, to, &f) && (f.kind == CAB_FAULT_NONE || !*f.text))
        fuzz_finding("refused without a word");
    free(to);
}

static void tensor(cab_slice text, fuzz_src *s)
{
    static const int types[] = { 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16 };
    int type = types[fuzz_draw(s, 0, 12)], rank;
    int64_t dims[CAB_JSON_MAX_RANK];
    cab_bytes to = { .limit = 1 << 20 };
    cab_json_fault f;
    cab_json j;
    cab_json_init(&j, text, &limits);
    if (cab_json_read_any(&j, type, &to, &rank, dims, &f)) {
        int64_t n = (int64_t)cab_json_type_bytes(type);
        for (int i = 0; i < rank; i++)
            n *= dims[i];
        if ((size_t)n != to.n)
            fuzz_finding("%zu bytes for a shape of %lld", to.n, (long long)n);
        fuzz_count("tensors");
        write_and_read(type, rank, dims, &to, true);
        write_and_read(type, rank, dims, &to, false);
    } else if (f.kind == CAB_FAULT_NONE || !*f.text) {
        fuzz_finding("refused without a word");
    }
    into_shape(text, type, s);
    cab_bytes_fini(&to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);                   /* its own, for AddressSanitizer */
    fuzz_src s = fuzz_src_of(NULL, 0);
    cab_rng_seed(&s.r, fuzz_hash(data, size));
    memcpy(copy, data, size);
    cab_slice text = { copy, size };
    beside_jansson(text);
    tensor(text, &s);
    free(copy);
    return 0;
}
