/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one file with LLVMFuzzerTestOneInput and, where bytes alone get
 * nowhere, LLVMFuzzerCustomMutator.  `make check` links it with fuzz_main.c, a
 * seeded mutation loop; `make fuzz-long` links the same file with libFuzzer
 * and fuzz_lib.c.  A target reports what is wrong with fuzz_finding; crashes
 * and sanitizer reports speak for themselves.
 */
#ifndef CAB_TESTS_FUZZ_H
#define CAB_TESTS_FUZZ_H
#include "passes/pass.h"
#include "tests/fuzz/fuzz_bare.h"

/* Runs body in a compile job of that many bytes.  A bug (CAB_EINTERNAL) is a
 * finding; any other status is the answer.  Out of memory is CAB_ELIMIT. */
typedef cab_status fuzz_body(cab_arena *a, void *arg, cab_diag *d);
cab_status fuzz_job(size_t budget, fuzz_body *body, void *arg);

/* The pipeline from where the graph stands: a CORE graph skips decompose. */
cab_status fuzz_passes(cab_graph *g, const cab_pass_options *o, cab_program **out, cab_diag *d);

/* Choices drawn from the input's bytes while they last, then from a generator
 * seeded by them: every byte string is a complete source. */
typedef struct fuzz_src { const uint8_t *p; size_t n; cab_rng r; } fuzz_src;
fuzz_src fuzz_src_of(const uint8_t *p, size_t n);
/* In [lo, hi]; hi - lo < 65536. */
int64_t fuzz_draw(fuzz_src *s, int64_t lo, int64_t hi);
uint64_t fuzz_hash(const void *p, size_t n);

#endif
