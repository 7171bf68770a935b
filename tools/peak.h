/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak.h - what the processor can do at best: multiply-adds, and reads from
 * each level of memory.  For benchmarks that say how far they are from it.
 */
#ifndef CAB_TOOLS_PEAK_H
#define CAB_TOOLS_PEAK_H
#include <stdint.h>

/* GFLOP/s of f32 multiply-adds (two operations each) in vectors of 64, 32 or 16
 * bytes on that many threads at once; a few milliseconds, the best of them. */
double peak_fma(int vector_bytes, int threads);
/* GB/s read from buffers of so many bytes, one per thread, again and again. */
double peak_read(int vector_bytes, uint64_t bytes, int threads);
/* Bytes of that level of the data caches (2, 3) on this machine; 0: none. */
uint64_t peak_cache_bytes(int level);
/* Widest vectors of this processor, in bytes. */
int peak_vector_bytes(void);

/* A machine, measured some times: the best of each. */
typedef struct peaks {
    int threads, vector_bytes;
    uint64_t l2_bytes, l3_bytes;           /* 0: no such level */
    double fma;                            /* GFLOP/s */
    double read_l2, read_l3, read_memory;  /* GB/s */
} peaks;
void peaks_init(peaks *p, int threads);
/* Some 50 ms a thread. */
void peaks_measure(peaks *p);
/* GB/s at which data of so many bytes is read again. */
double peaks_read_of(const peaks *p, double bytes);

#endif
