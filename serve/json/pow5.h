/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pow5.h - powers of five, 128 bits of each.
 *
 * What conversions between decimal and binary multiply by, in either direction
 * (json_number.c, json_shortest.c).
 */
#ifndef CAB_SERVE_POW5_H
#define CAB_SERVE_POW5_H
#include <stdint.h>

enum { CAB_POW5_MIN = -342, CAB_POW5_MAX = 324 };

/* The first 128 bits of a power, the highest one set; what follows is cut off. */
typedef struct cab_pow5 { uint64_t hi, lo; } cab_pow5;

/* table[q] is 5^q, CAB_POW5_MIN <= q <= CAB_POW5_MAX; exact for q in 0..55 only.
 * Computed by the first call (0.1 ms), then constant.  [any thread] */
const cab_pow5 *cab_pow5_table(void);

#endif
