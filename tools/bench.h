/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - a loaded model that can be timed; shared by cab bench, its worker
 * mode and the profile.
 */
#ifndef CAB_TOOLS_BENCH_H
#define CAB_TOOLS_BENCH_H
#include "tools/tool.h"

typedef struct bench {
    cab_job job;
    cab_arena *arena;
    cab_diag diag;
    tool_feeds feeds;
    cab_tensor_view *in, *out;
    cab_mapping artifact;      /* its bytes, when they were to be kept; else p is NULL */
    cab_model *model;
    cab_session *session;
    cab_compile_times times;
    double load_ms, first_ms;
} bench;

/* Compiles (or loads: the model may be an artifact), creates the session, runs
 * once.  files may be empty: seeded.  keep: with b->artifact, which then has
 * notes and costs. */
cab_status bench_open(bench *b, const tool_args *args, const char *const *files, int n_files,
                      bool keep);
void bench_close(bench *b);
/* The file begins as artifacts do. */
bool bench_is_artifact(const char *path);
/* One timed run, milliseconds; < 0 when it failed (story in b->diag). */
double bench_run(bench *b);
/* Median of n numbers (sorts them). */
double bench_median(double *ms, size_t n);

#endif
