/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile.h - where the time of a run goes: cab bench --layers.
 */
#ifndef CAB_TOOLS_PROFILE_H
#define CAB_TOOLS_PROFILE_H
#include "tools/bench.h"
#include "tools/costs.h"
#include "tools/peak.h"

/* An instruction that was timed, and all of its calls in a run. */
typedef struct profile_row {
    const char *kind;          /* "launch", "helper", "custom", "zero", "copy", "alloc", "list", or
                                * "between": what the run does beside these */
    const char *kernel, *what, *layers, *sched;    /* "": none */
    double calls, us;          /* per run */
    double naive_us;           /* < 0: not measured */
    cost cost;                 /* per run; -1: not known */
    double fma, read;          /* part of each peak; < 0: not known */
    double bound_us;           /* no run is faster, if the peaks are; < 0: not known */
} profile_row;

typedef struct profile {
    const char *model;
    const char *plan;          /* which of several plans ran; NULL: there is one */
    peaks peaks;
    size_t n;
    profile_row *row;          /* longest first */
    double rows_us;            /* their sum */
    double run_us;             /* a run without trace, but for */
    double lost_us;            /* what its thread waited for a processor */
    double event_ns;           /* what one trace record costs: taken off */
    int runs;                  /* of each kind; times are means over the fastest quarter */
    bool naive;                /* naive_us was measured */
    bool has_costs;
} profile;

/* Runs b's model so many times without trace and as often with it; names and
 * texts live in b's arena.  args->naive_too: and with naive kernels. */
cab_status profile_make(bench *b, const tool_args *args, int runs, profile *out);

/* ---- profile_rows.c ---- */
/* The instructions that ran, while they are timed. */
typedef struct profile_plan {
    cab_arena *arena;
    cab_artifact file;
    cab_plan plan;
    uint32_t variant;
    const char *label;
} profile_plan;
/* The plan that made this trace. */
cab_status profile_plan_find(cab_arena *a, const cab_mapping *file, const cab_trace_event *t,
                             size_t n, profile_plan *out, cab_diag *d);
/* ns and calls per instruction of one run; both have one entry more, for what is
 * none. */
void profile_spread(const profile_plan *p, const cab_trace_event *t, size_t n, double *ns,
                    double *calls);
/* Everything of the rows but times and calls; one per instruction that a trace
 * shows, in plan order, in *out_instr its number. */
cab_status profile_rows(const profile_plan *p, const char *model, const cab_tensor_view *inputs,
                        profile *out, uint32_t **out_instr, cab_diag *d);

/* ---- profile_print.c ---- */
/* At most top rows; 0: all. */
void profile_print(const profile *p, int top);
/* To the file, or to stdout. */
cab_status profile_json(const profile *p, const tool_args *args, cab_diag *d);

#endif
