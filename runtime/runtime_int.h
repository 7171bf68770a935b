/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime_int.h - shared by the files of the runtime.
 */
#ifndef CAB_RUNTIME_RUNTIME_INT_H
#define CAB_RUNTIME_RUNTIME_INT_H
#include "base/base.h"
#include "runtime/runtime.h"
#include <pthread.h>
#include <stdatomic.h>

/* Records a story and returns code. */
int cab_rt_fail(cab_error *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* special.c: a model's others, for certain sizes. */
#define CAB_SPECIAL_LIMIT 64
struct cab_specials {
    pthread_mutex_t lock;      /* of n and list */
    atomic_uint changes;       /* of them so far */
    uint32_t n, n_own;         /* own: of the model's file, first */
    cab_model *list[CAB_SPECIAL_LIMIT];
    cab_watch watch;
};

struct cab_model {
    atomic_int refs;
    cab_allocator alloc;
    cab_model_options options; /* pointers in it are the caller's; allocator is ours */
    cab_mapping file;          /* or */
    void *copy;                /* bytes that were not aligned */
    cab_plan plan;
    void *code;                /* mapped read-execute; NULL when there is none */
    const cab_kernel_fn *linked;       /* linked.c: kernels outside the artifact; NULL */
    struct cab_custom_entry *custom;   /* custom.c: per instruction CUSTOM */
    struct cab_specials *specials;     /* NULL: one plan for all sizes */
    const char *label;         /* which of several plans this is; NULL when it is alone */
    cab_extent_is *is;         /* of one in specials: the sizes it serves, and its label */
    uint32_t n_is;
    _Atomic int64_t used;      /* when it last ran, of the monotonic clock; watched models only */
};

/* ---- model.c: memory through the host's hooks ---- */
void *cab_rt_alloc(const cab_allocator *a, size_t bytes, size_t align);
void *cab_rt_alloc_zero(const cab_allocator *a, size_t n, size_t size);
void cab_rt_free(const cab_allocator *a, void *p);      /* NULL is allowed */
/* Copies a struct that begins with its size; what it lacks is 0. */
void cab_rt_take_options(void *to, size_t n, const void *from);
void cab_rt_log(const cab_model *m, int level, const char *text);
/* For sessions: they keep the model alive. */
void cab_model_retain(cab_model *m);

/* A constant lies in the weights, or, of an attached plan, where its offset from
 * them leads (special_load.c). */
static inline void *cab_plan_constant(const cab_plan *p, const cab_plan_value *v)
{
    return (void *)((uintptr_t)p->weights + v->offset);
}
static inline const char *cab_plan_text(const cab_plan *p, uint32_t at) { return p->strings + at; }

/* An empty model with the memory and the options of another; NULL: no memory. */
cab_model *cab_model_beside(const cab_model *m);

/* ---- special.c ---- */
/* Takes the caller's reference of special, a plan of m's own file; no session is
 * there yet. */
int cab_sized_add(cab_model *m, cab_model *special, cab_error *e);
/* The model ends; what it watched or had attached goes. */
void cab_sized_drop(cab_model *m);

/* ---- custom.c: kernels of the host program ---- */
typedef struct cab_custom_entry {
    cab_custom_op op;
    cab_custom_call call;      /* all but the tensors */
    const uint32_t *tensors;   /* words of them */
} cab_custom_entry;
/* Finds the kernel of every instruction CUSTOM and decodes its attributes. */
int cab_custom_resolve(cab_model *m, const cab_model_options *o, cab_error *e);
void cab_custom_drop(cab_model *m);
/* Most tensors of any call. */
uint32_t cab_custom_tensors(const cab_model *m);

/* ---- pool.c: the one thread pool of the process ---- */
/* A run begins / ends: workers spin between launches while one is active. */
void cab_pool_enter(int threads);
void cab_pool_leave(int threads);
/* Runs tasks [0, n) of a kernel on at most that many threads (0 = all). */
void cab_pool_run(cab_kernel_fn fn, void *const *bufs, const int64_t *ints, int64_t n,
                  int threads);

/* ---- pool_width.c ---- */
/* Processors this process may keep busy: affinity and cgroup quotas; >= 1. */
int cab_processors(void);

/* ---- session_list.c ---- */
typedef struct cab_list_row { const char *word, *values; int n_params; bool sets; } cab_list_row;
/* NULL when there is no such operation. */
const cab_list_row *cab_list_row_of(uint32_t op);

/* ---- helpers.c ---- */
typedef struct cab_helper_call {
    const cab_plan *plan;
    const uint32_t *values;    /* value numbers */
    void *const *data;         /* their memory */
    const uint64_t *bytes;
    const int64_t *params;
    const char *layers;        /* of the instruction */
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
