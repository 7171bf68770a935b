/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classes.h - the classification extension of the Open Inference Protocol: the largest elements of an output, as texts.
 */
#ifndef CAB_SERVE_CLASSES_H
#define CAB_SERVE_CLASSES_H
#include <stdint.h>
#include "serve/bytes.h"

struct json_t;

/* Whether elements of that type (enum cab_element) have an order: all but BOOL. */
bool cab_classes_known(int dtype);
/* Appends the k (at most n) largest of n elements, the largest first, of equal ones the first; NaN is below all
 * numbers.  Each is 4 bytes of length (little endian) and "VALUE:INDEX" or, where labels (an array of texts, or NULL)
 * has one, "VALUE:INDEX:LABEL"; VALUE as printf's %f or %lld.  False: out of memory (to->failed too). */
bool cab_classes_put(cab_bytes *to, int dtype, const void *data, size_t n, size_t k, const struct json_t *labels);

#endif
