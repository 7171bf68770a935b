/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - for benchmarks: the same products and convolutions by libraries
 * that others made (MKL, oneDNN, OpenBLAS), found at run time.
 */
#ifndef CAB_TESTS_BENCH_PEERS_H
#define CAB_TESTS_BENCH_PEERS_H
#include <stdbool.h>
#include <stdint.h>

/* out = a x b; row-major. */
typedef struct peer_gemm { int64_t m, n, k; const float *a, *b; } peer_gemm;
/* NCHW, weights [o, c / group, kernel, kernel], bias, relu; padded by half a kernel. */
typedef struct peer_conv {
    int64_t h, c, o, kernel, stride, group;
    const float *x, *w, *bias;
} peer_conv;

typedef struct peer_call {
    const char *peer;
    void (*run)(struct peer_call *c);
    /* Row-major result of the last run; malloc'ed once. */
    const float *(*result)(struct peer_call *c);
    void *state;
    char how[96];              /* the implementation it chose, where it says so */
} peer_call;

enum { PEER_CALLS = 8 };
/* Opens the libraries in those folders (name:name), one thread each; prints which. */
void peers_open(const char *folders);
/* The calls that can do it, ready to run; their number. */
int peers_gemm(const peer_gemm *g, peer_call *out);
int peers_conv(const peer_conv *v, peer_call *out);

#endif
