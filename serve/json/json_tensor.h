/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tensor.h - arrays of numbers in JSON <-> tensors in memory.
 *
 * Element types are enum cab_element's numbers (include/cab_rt.h): every one there.
 * Numbers are rounded once, to nearest even, straight to the type.
 * Integers may be spelt 1, 1.0 or 1e0 but not 1.5; bool takes true, false, 0, 1.
 * A number outside of the type's range is refused, a float's that would become
 * infinite too.  Reads and writes what the caller gives; only
 * cab_json_read_any and the writer grow memory, the caller's cab_bytes.
 */
#ifndef CAB_SERVE_JSON_TENSOR_H
#define CAB_SERVE_JSON_TENSOR_H
#include "serve/json/json_pull.h"

enum { CAB_JSON_MAX_RANK = 8 };

/* What was wrong with a tensor. */
typedef enum cab_json_fault_kind {
    CAB_FAULT_NONE,
    CAB_FAULT_TEXT,            /* no JSON */
    CAB_FAULT_SHAPE,           /* ragged, too few, too many, nested too deeply */
    CAB_FAULT_VALUE,           /* an element that is no number, or does not fit */
    CAB_FAULT_LIMIT,           /* more than to->limit allows */
    CAB_FAULT_MEMORY,
    CAB_FAULT_TYPE             /* a type that has no JSON form */
} cab_json_fault_kind;

typedef struct cab_json_fault {
    cab_json_fault_kind kind;
    size_t at;                 /* byte of the text (reading) */
    char text[160];            /* names element and value: "[3][0]: 300 is out of the range of UINT8" */
} cab_json_fault;

/* Reads the value that comes next of j into `to`: the elements of dims (extents
 * >= 0, rank <= CAB_JSON_MAX_RANK; their product is the caller's to check against
 * memory), row-major.  The value is nested as dims are, or one flat array.
 * False: *f, and `to` holds anything. */
bool cab_json_read_tensor(cab_json *j, int dtype, int rank, const int64_t *dims, void *to,
                          cab_json_fault *f);

/* The same for a shape that is not known: a number (rank 0), a vector, nested
 * lists.  Appends the elements to `to` (a buffer that begins aligned for the
 * type, as malloc gives) and tells rank and extents. */
bool cab_json_read_any(cab_json *j, int dtype, cab_bytes *to, int *rank, int64_t dims[CAB_JSON_MAX_RANK],
                       cab_json_fault *f);

/* JSON has no NaN and no infinity. */
typedef enum cab_json_nonfinite {
    CAB_NONFINITE_NULL,        /* null, as JavaScript does */
    CAB_NONFINITE_NAMES        /* NaN, Infinity, -Infinity: no JSON, but what Triton writes and Python reads */
} cab_json_nonfinite;

/* Appends the tensor at data (aligned for its type) as an array, flat or nested as dims are (rank 0: flat is
 * [x], nested is x).  Floats are the shortest text that reads back as the same
 * element.  False: *f; without room (memory, or the limit) CAB_FAULT_MEMORY, and
 * to->failed. */
bool cab_json_write_tensor(cab_bytes *to, int dtype, int rank, const int64_t *dims, const void *data,
                           bool nested, cab_json_nonfinite how, cab_json_fault *f);

/* The name of a type in the Open Inference Protocol ("FP32"), NULL without one;
 * its bytes; the type of a name, 0 without one. */
const char *cab_json_type_name(int dtype);
size_t cab_json_type_bytes(int dtype);
int cab_json_type_of(cab_slice name);
/* Extents as "[1,-1,3]". */
void cab_json_put_extents(cab_bytes *b, int rank, const int64_t *dims);

#endif
