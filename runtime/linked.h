/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linked.h - for the library that `cab compile --emit=so` makes: what its
 * generated source calls (libcab/emit_so.c writes the same declarations into
 * it, since this header is not installed).
 */
#ifndef CAB_RUNTIME_LINKED_H
#define CAB_RUNTIME_LINKED_H
#include "include/cab_rt.h"
#include "runtime/plan.h"

typedef struct cab_linked {
    const unsigned char *artifact, *end;   /* 64-byte aligned */
    const cab_kernel_fn *kernels;      /* by number, as in the plan of variant 0 */
    void *_Atomic state;               /* NULL until the first call */
} cab_linked;

/* As P_run and P_memory of the model's header (codegen/c_api.c); the story of
 * a failure goes to error.  Any number of threads. */
int cab_linked_run(cab_linked *l, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                   char error[500]);
int cab_linked_memory(cab_linked *l, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                      size_t *work, char error[500]);

/* As cab_model_load_memory, with kernels that are bound already. */
int cab_model_load_linked(const void *p, size_t n, const cab_kernel_fn *kernels, cab_model **out,
                          cab_error *e);

#endif
