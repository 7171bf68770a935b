/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_tensor.h - tensor files for programs without the compiler (the server's client
 * too): .npy, and TensorProto with raw data (as numpy_helper writes them).
 */
#ifndef CAB_TOOLS_RT_TENSOR_H
#define CAB_TOOLS_RT_TENSOR_H
#include "include/cab_rt.h"

/* Reads a tensor; v->data is malloc'ed.  0, or -1 with the reason in *why. */
int rt_tensor_read(const char *path, cab_tensor_view *v, const char **why);
/* The same of a SequenceProto or an OptionalProto (kind: enum cab_value_kind);
 * a sequence's data are its views. */
int rt_value_read(const char *path, int kind, cab_tensor_view *v, const char **why);
/* Frees what a read has malloc'ed. */
void rt_value_free(cab_tensor_view *v);
/* Writes a TensorProto with raw data, or the message of that kind. */
int rt_value_write(const char *path, const char *name, int kind, const cab_tensor_view *v,
                   const char **why);
/* Writes a .npy file; bf16, which numpy has not, as <u2. */
int rt_npy_write(const char *path, const cab_tensor_view *v, const char **why);

#endif
