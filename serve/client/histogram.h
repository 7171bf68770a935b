/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h - times in buckets of 1.6 % each: a million of them in 16 KB.
 *
 * Not for several threads at once.
 */
#ifndef CAB_SERVE_HISTOGRAM_H
#define CAB_SERVE_HISTOGRAM_H
#include <stdint.h>

enum { CAB_HISTOGRAM_STEPS = 64, CAB_HISTOGRAM_OCTAVES = 38 };

/* {0} is empty. */
typedef struct cab_histogram {
    uint64_t n;
    int64_t max_ns;
    double sum_ns;
    uint64_t bucket[CAB_HISTOGRAM_STEPS * CAB_HISTOGRAM_OCTAVES];
} cab_histogram;

/* A negative time counts as 0; one beyond an hour counts in the last bucket. */
void cab_histogram_add(cab_histogram *h, int64_t ns);
/* The time that a share q (0..1) of them does not exceed, at most 1.6 % too large; 0 when empty. */
int64_t cab_histogram_at(const cab_histogram *h, double q);

#endif
