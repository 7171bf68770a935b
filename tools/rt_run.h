/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_run.h - one run of a .cab file by cab-rt: load, read, run, deliver.
 */
#ifndef CAB_TOOLS_RT_RUN_H
#define CAB_TOOLS_RT_RUN_H
#include "include/cab_rt.h"
#include <stdbool.h>

enum { RT_MAX_INPUTS = 64 };

typedef struct rt_run {
    const char *model, *output_dir;      /* output_dir NULL: a line per output on stdout */
    const char *input[RT_MAX_INPUTS];    /* "FILE" or "NAME=FILE" */
    int n_inputs;
    int verify;                          /* enum cab_verify */
    int64_t deadline_ms;                 /* of the run alone; 0 = none */
    cab_session_options session;
    bool quiet;                          /* nothing on stdout */
    char story[4800];                    /* out: "FILE: why" when it failed */
} rt_run;

/* CAB_RT_OK, or an enum cab_rt_code with the story. */
int rt_run_once(rt_run *r);

#endif
