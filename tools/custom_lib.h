/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custom_lib.h - custom operators for the commands, from shared libraries.
 *
 * A library exports one or both of
 *   const cab_custom_op *cab_custom_ops(size_t *n);         kernels: to run
 *   const cab_custom_shape *cab_custom_shapes(size_t *n);   types: to compile
 */
#ifndef CAB_TOOLS_CUSTOM_LIB_H
#define CAB_TOOLS_CUSTOM_LIB_H
#include "include/cab.h"

/* What all libraries loaded so far bring. */
typedef struct custom_lib {
    cab_custom_op *ops;
    size_t n_ops;
    cab_custom_shape *shapes;
    size_t n_shapes;
} custom_lib;

/* Loads one more, for the life of the process.  NULL, or why not. */
const char *custom_lib_load(const char *path);
const custom_lib *custom_lib_all(void);

#endif
