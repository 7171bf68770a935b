/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_bare.h - the part of fuzz.h that knows no compiler.
 */
#ifndef CAB_TESTS_FUZZ_BARE_H
#define CAB_TESTS_FUZZ_BARE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
/* The driver's own byte mutation (libFuzzer has one of the same name). */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Something is wrong with this input.  libFuzzer: the end of the process;
 * fuzz_main.c: said, saved to a file and counted. */
void fuzz_finding(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* True under fuzz_main.c: a target may run risky inputs in a child. */
extern const bool fuzz_may_fork;
/* What the targets did, for the driver's last line: "12 refused". */
void fuzz_count(const char *what);

#endif
