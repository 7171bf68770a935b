/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_scan.h - the place in a text, shared by the Spec and program parsers.
 *
 * Works on a NUL-terminated copy of the text.  The first failure is recorded
 * and ends the parse; nothing is recovered.
 */
#ifndef CAB_IR_SPEC_SCAN_H
#define CAB_IR_SPEC_SCAN_H
#include "ir/spec_int.h"

typedef struct cab_scan {
    cab_arena *a;
    cab_dims *dims;
    const char *text, *s, *file;
    cab_diag *d;
    cab_program *p;
    cab_map *specs;                       /* by name */
    CAB_VEC(const char *) launches;       /* spec name per step, or NULL */
    CAB_VEC(cab_blob *) blobs;            /* as referred to by buffers */
    cab_spec *spec;                       /* being read */
    CAB_VEC(const cab_expr *) names;      /* tN of that spec */
    int nesting;
} cab_scan;

cab_status cab_scan_start(cab_scan *p, const char *text, size_t n);
cab_status cab_scan_fail(cab_scan *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void cab_scan_skip(cab_scan *p);
size_t cab_scan_word_length(const char *s);
/* Takes the word or the punctuation if it stands here. */
bool cab_scan_take(cab_scan *p, const char *t);
cab_status cab_scan_expect(cab_scan *p, const char *t);
cab_status cab_scan_i64(cab_scan *p, int64_t *out);
cab_status cab_scan_int(cab_scan *p, int64_t lo, int64_t hi, int *out);
cab_status cab_scan_double(cab_scan *p, double *out);
int cab_scan_hex_digit(char c);
cab_status cab_scan_dim(cab_scan *p, const cab_dim **out);
cab_status cab_scan_string(cab_scan *p, const char **out);
/* A word or a string. */
cab_status cab_scan_name(cab_scan *p, const char **out);
cab_status cab_scan_dtype(cab_scan *p, cab_dtype *out);
/* Number of the word in a NULL-terminated list. */
cab_status cab_scan_one_of(cab_scan *p, const char *const *names, int *out);

/* ---- spec_parse.c ---- */
/* spec @name kind { ... } -> p->spec, verified. */
cab_status cab_parse_spec(cab_scan *p);

#endif
