/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_int.h - a session: one thread's running state of a shared model.
 */
#ifndef CAB_RUNTIME_SESSION_INT_H
#define CAB_RUNTIME_SESSION_INT_H
#include <pthread.h>
#include "runtime/runtime_int.h"

/* Sizes and arena offsets for one tuple of slot values. */
typedef struct cab_packing {
    int64_t *slots;            /* the early ones */
    uint64_t *offsets;         /* per value; ARENA only */
    uint64_t arena_bytes, scratch_bytes;
    uint64_t stamp;            /* last use; 0 = empty */
} cab_packing;
#define CAB_PACKINGS 8         /* shapes a session remembers */

/* session_async.c: runs on a thread of the session's own, started when first
 * asked for. */
typedef struct cab_async {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, quit;
    bool waiting;              /* a run was handed over */
    bool busy;                 /* it is under way, or its done call is */
    const cab_tensor_view *inputs;
    cab_tensor_view *outputs;
    cab_done_fn done;
    void *user;
} cab_async;

/* A tensor in lists; several lists may share it. */
typedef struct cab_item {
    uint32_t refs;
    int dtype, rank;
    int64_t dims[CAB_PLAN_MAX_RANK];
    uint64_t bytes, room;
    void *data;                /* behind the struct, or the caller's memory */
    struct cab_item *next;  /* among those that wait for use */
} cab_item;
typedef struct cab_list {
    bool present;              /* optionals: holds something */
    uint32_t n, room;
    cab_item **e;
    cab_tensor_view *views;    /* of an output, for the caller */
    uint32_t n_views;
} cab_list;
typedef struct cab_states cab_states;  /* session_state.c */

struct cab_session {
    cab_session *owner;        /* the caller's, whose cancel and deadline count: itself, or the one
                                * this is lent to (session_pick.c) */
    struct cab_pick *pick;     /* session_pick.c; NULL until a model with several plans runs */
    cab_model *model;
    const cab_plan *plan;
    cab_session_options options;
    atomic_int cancel;
    _Atomic int64_t deadline;  /* 0 = none */
    cab_async async;
    uint64_t allocations, stamp;
    int64_t *slots;            /* of this run */
    void **data;               /* per value: memory in this run */
    uint64_t *bytes;           /* per value: bytes there */
    uint32_t *order;           /* scratch of the packer */
    void **bufs;               /* arguments of the current call */
    uint64_t *buf_bytes;
    int64_t *ints;
    cab_tensor_view *views;    /* of the current call of a custom operator */
    void **dynamic;            /* memory of DYNAMIC values, kept from run to run */
    uint64_t *dynamic_cap;
    uint32_t *dynamic_of;      /* number of DYNAMIC values -> which; exchanged by SWAP */
    uint64_t dynamic_bytes;    /* of them together */
    cab_list *lists;           /* per value, when there are any */
    cab_item **held;        /* per value: what a BORROWED tensor lies in */
    cab_item *spare;        /* elements for use again */
    const cab_tensor_view *inputs;     /* of this run */
    cab_tensor_view *outputs;
    cab_packing packing[CAB_PACKINGS];
    uint8_t *arena;
    uint64_t arena_bytes, scratch_bytes;   /* scratch: the last bytes of the arena */
    void *scratch;             /* for helpers whose need was not known at the start */
    uint64_t scratch_cap;
    void **out_mem;            /* per output: memory the session owns */
    uint64_t *out_cap;
    void **spare_mem;          /* per output: used instead while an input lies in out_mem */
    uint64_t *spare_cap;
    void **copy_to;            /* per output: made in out_mem, wanted there */
    cab_states *states;        /* NULL: none was bound yet */
    cab_trace_event *trace;
    size_t n_trace, cap_trace;
};

/* ---- session_flow.c: instructions that decide what runs, and memory for it ---- */
typedef struct cab_run {
    cab_session *s;
    cab_error *e;
    int64_t t0;
    uint32_t pc;               /* next instruction */
    bool in_pool;
    const cab_plan_instr *clear;   /* the ZERO that the next launch's tasks carry out */
} cab_run;
typedef int cab_instr_fn(cab_run *r, const cab_plan_instr *x);
cab_instr_fn cab_run_eval_shape, cab_run_size_read, cab_run_set, cab_run_check, cab_run_alloc,
    cab_run_swap, cab_run_list, cab_run_jump, cab_run_branch, cab_run_loop, cab_run_next;

/* ---- session_band.c ---- */
cab_instr_fn cab_run_band;
/* session.c, for it: a record of the trace, and the machine code of a launch. */
void cab_session_record(cab_run *r, const cab_plan_instr *x, int64_t start, int64_t ns);
cab_kernel_fn cab_session_kernel(const cab_session *s, uint32_t number);
/* ---- session_zero.c ---- */
int cab_run_zero(cab_run *r, const cab_plan_instr *x);
/* Launches a kernel of n tasks, which carry out r->clear. */
void cab_run_clearing(cab_run *r, cab_kernel_fn fn, int64_t n);

/* ---- session_bind.c: inputs, sizes, memory -> data[] ---- */
/* 64-byte aligned, counted; NULL when out of memory. */
void *cab_session_alloc(cab_session *s, uint64_t bytes);
void cab_session_free(cab_session *s, void *p);
int cab_session_bind(cab_session *s, const cab_tensor_view *inputs,
                     cab_tensor_view *outputs, cab_error *e);
/* Scratch for a helper, until the next call. */
int cab_session_scratch(cab_session *s, uint64_t need, void **out, cab_error *e);
/* Memory for an output whose size is known by now. */
int cab_session_bind_output(cab_session *s, uint32_t output, cab_error *e);
/* Extents of the outputs that were decided during the run. */
int cab_session_late_outputs(cab_session *s, cab_error *e);
int cab_session_check(const cab_session *s, const cab_plan_check *c, cab_error *e);
/* Refuses extents and sizes that are negative or enormous, also those that an extent of 0 hides: kernels would go
 * through the others doing nothing.  Slots from n_slots on are not known yet; from: what decides them. */
int cab_session_check_size(const cab_session *s, const cab_plan_value *v, uint32_t n_slots, const char *from, cab_error *e);
/* The packing for these inputs; nothing is allocated for tensors. */
int cab_session_size(cab_session *s, const cab_tensor_view *inputs, cab_packing **out,
                     cab_error *e);
/* Whether that many more bytes of tensors are within the limit of the run. */
bool cab_session_room(const cab_session *s, uint64_t bytes);
/* custom.c: one instruction CUSTOM. */
int cab_session_custom(cab_session *s, const cab_plan_instr *x, cab_error *e);
/* Address of a value whose extents are known; checks aliases against parents. */
int cab_session_locate(cab_session *s, uint32_t value, cab_error *e);


/* ---- session_list.c: sequences and optionals ---- */
/* The caller's view of input i as a list. */
int cab_list_bind(cab_session *s, uint32_t i, cab_error *e);
/* The views of output i. */
int cab_list_give(cab_session *s, uint32_t i, cab_error *e);
int cab_list_check_input(const cab_plan *p, uint32_t i, const cab_tensor_view *t, cab_error *e);
void cab_list_swap(cab_session *s, uint32_t a, uint32_t b);
/* What the run held goes back; keep: but for the outputs. */
void cab_lists_end(cab_session *s, bool keep);
void cab_lists_fini(cab_session *s);

/* ---- session_overlap.c: outputs that lie on inputs ---- */
/* Whether some input of this run lies in [p, p + n). */
bool cab_session_holds_input(const cab_session *s, const void *p, uint64_t n,
                             const cab_tensor_view *inputs);
/* Whether output i at [p, p + n) must be made aside: *aside.  Refuses overlaps
 * with other outputs. */
int cab_session_overlap(const cab_session *s, uint32_t i, const void *p, uint64_t n,
                        const cab_tensor_view *inputs, const cab_tensor_view *outputs,
                        bool *aside, cab_error *e);

/* ---- session.c ---- */
/* cab_session_run on this session's own plan. */
int cab_session_run_plan(cab_session *s, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                         cab_error *e);
/* ---- session_bind.c ---- */
int cab_session_estimate_plan(cab_session *s, const cab_tensor_view *inputs, cab_memory *out,
                              cab_error *e);

/* ---- session_pick.c: one session on several plans ---- */
/* The session that ran last; s itself where there is one plan. */
const cab_session *cab_session_ran(const cab_session *s);
/* Of the sessions behind s. */
uint64_t cab_pick_allocations(const cab_session *s);
void cab_pick_fini(cab_session *s);
/* ---- session_state.c: tensors carried from run to run; each call does nothing
 * where no state is bound ---- */
/* Puts states in the place of the caller's inputs: *inputs.  outputs may be NULL. */
int cab_state_begin(cab_session *s, const cab_tensor_view **inputs, cab_tensor_view *outputs,
                    cab_error *e);
/* After the shape program: makes room for what the run adds, and computes the
 * sizes again when that took more.  Numbers only. */
int cab_state_room(cab_session *s, const cab_tensor_view *inputs, cab_error *e);
/* Finds the memory for that room. */
int cab_state_grow(cab_session *s, cab_error *e);
/* *done: the output is a state, its memory bound and t filled in. */
int cab_state_output(cab_session *s, uint32_t output, cab_tensor_view *t, bool *done,
                     cab_error *e);
/* A run has succeeded: its outputs are the states now. */
void cab_state_end(cab_session *s);
/* Room by family (cab_shape_eval); bytes that states hold beside a run's outputs. */
const int64_t *cab_state_capacity(const cab_session *s);
uint64_t cab_state_bytes(const cab_session *s);
void cab_state_fini(cab_session *s);

/* ---- session_async.c ---- */
void cab_async_init(cab_async *a);
void cab_async_fini(cab_async *a);     /* waits, and joins the thread */

#endif
