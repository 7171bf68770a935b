/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.c - an octave of times has 64 buckets; below 64 ns each time has its own.
 */
#include "serve/client/histogram.h"

enum { STEP_BITS = 6, LAST = CAB_HISTOGRAM_STEPS * CAB_HISTOGRAM_OCTAVES - 1 };

static int bucket_of(int64_t ns)
{
    if (ns < CAB_HISTOGRAM_STEPS)
        return (int)ns;
    int top = 63 - __builtin_clzll((unsigned long long)ns), shift = top - STEP_BITS;
    int at = ((shift + 1) << STEP_BITS) + (int)((ns >> shift) - CAB_HISTOGRAM_STEPS);
    return at < LAST ? at : LAST;
}

/* The largest time of a bucket. */
static int64_t end_of(int at)
{
    if (at < CAB_HISTOGRAM_STEPS)
        return at;
    int shift = (at >> STEP_BITS) - 1;
    int64_t step = (at & (CAB_HISTOGRAM_STEPS - 1)) + CAB_HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void cab_histogram_add(cab_histogram *h, int64_t ns)
{
    ns = ns > 0 ? ns : 0;
    h->bucket[bucket_of(ns)]++;
    h->n++;
    h->sum_ns += (double)ns;
    h->max_ns = ns > h->max_ns ? ns : h->max_ns;
}

int64_t cab_histogram_at(const cab_histogram *h, double q)
{
    double want = q * (double)h->n;
    uint64_t before = 0;
    for (int i = 0; i <= LAST; i++) {
        before += h->bucket[i];
        if (before && (double)before >= want)
            return end_of(i) < h->max_ns ? end_of(i) : h->max_ns;
    }
    return h->max_ns;
}
