/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime_int.h - shared by the files of the runtime.
 */
#ifndef CAB_RUNTIME_RUNTIME_INT_H
#define CAB_RUNTIME_RUNTIME_INT_H
#include "base/base.h"
#include "runtime/runtime.h"
#include <stdatomic.h>

/* Records a story and returns code. */
int cab_rt_fail(cab_error *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct cab_model {
    atomic_int refs;
    cab_mapping file;
    cab_plan plan;
    void *code;                /* mapped read-execute; NULL when there is none */
};
/* For sessions: they keep the model alive. */
void cab_model_retain(cab_model *m);

static inline const char *cab_plan_text(const cab_plan *p, uint32_t at) { return p->strings + at; }

/* ---- shape.c ---- */
/* Computes slots [lo, hi); input_dim gives extents.  Fails on overflow and on
 * division by zero. */
int cab_shape_eval(const cab_plan *p, const cab_tensor_view *inputs, int64_t *slots,
                   uint32_t lo, uint32_t hi, cab_error *e);

/* ---- pool.c: the one thread pool of the process ---- */
/* A run begins / ends: workers spin between launches while one is active. */
void cab_pool_enter(int threads);
void cab_pool_leave(int threads);
/* Runs tasks [0, n) of a kernel on at most that many threads (0 = all). */
void cab_pool_run(cab_kernel_fn fn, void *const *bufs, const int64_t *ints, int64_t n,
                  int threads);
/* Processors this process may use: affinity and cgroup quota. */
int cab_pool_width(void);

/* ---- helpers.c ---- */
typedef struct cab_helper_call {
    const cab_plan *plan;
    const uint32_t *values;    /* value numbers */
    void *const *data;         /* their memory */
    const uint64_t *bytes;
    const int64_t *params;
    void *scratch;             /* session memory, scratch_bytes */
    uint64_t scratch_bytes;
} cab_helper_call;
typedef struct cab_helper_row {
    const char *name;
    uint32_t n_values, n_params;
    uint32_t written;          /* bit i: the helper writes value i */
    /* Scratch the call needs for these parameters. */
    uint64_t (*scratch)(const int64_t *params);
    int (*run)(const cab_helper_call *c, cab_error *e);
} cab_helper_row;
/* NULL when there is no such helper. */
const cab_helper_row *cab_helper_get(uint32_t number);

#endif
