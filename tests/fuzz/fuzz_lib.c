/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_lib.c - findings under libFuzzer: said, then the end.
 */
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>

const bool fuzz_may_fork = false;

void fuzz_count(const char *what) { (void)what; }

void fuzz_finding(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "finding: ");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}
