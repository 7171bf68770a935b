/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dtype.h - element types: names, widths, classes, scalar conversion.
 */
#ifndef CAB_BASE_DTYPE_H
#define CAB_BASE_DTYPE_H
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

typedef enum cab_dtype {
#define DTYPE(id, text, onnx, bits, cls, c, cuda) CAB_DT_##id,
#include "base/dtype.def"
    CAB_DT_COUNT
} cab_dtype;

const char *cab_dtype_name(cab_dtype t);
const char *cab_dtype_c(cab_dtype t);
const char *cab_dtype_cuda(cab_dtype t);
int cab_dtype_bits(cab_dtype t);
int cab_dtype_onnx(cab_dtype t);
/* CAB_DT_none for a number the standard does not define. */
cab_dtype cab_dtype_from_onnx(int64_t number);
/* CAB_DT_none when the text is no dtype. */
cab_dtype cab_dtype_parse(const char *text, size_t n);
bool cab_dtype_is_float(cab_dtype t);
bool cab_dtype_is_int(cab_dtype t);      /* signed or unsigned, not bool */
bool cab_dtype_is_signed(cab_dtype t);   /* signed integer */
/* Bytes of n packed elements: ceil(n * bits / 8); false on overflow. */
bool cab_dtype_bytes(cab_dtype t, uint64_t n, uint64_t *out_bytes);

uint16_t cab_f32_to_f16(float v);        /* nearest even */
float cab_f16_to_f32(uint16_t v);
uint16_t cab_f32_to_bf16(float v);       /* nearest even, NaN kept */
float cab_bf16_to_f32(uint16_t v);
/* Element i of a packed array, widened.  Every arithmetic dtype; 0 for the
 * others.  As i64: floats truncate and saturate (NaN is 0), u64 wraps. */
double cab_elem_f64(cab_dtype t, const void *p, uint64_t i);
int64_t cab_elem_i64(cab_dtype t, const void *p, uint64_t i);

#endif
