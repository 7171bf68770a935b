/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vec.c - growth of arena vectors.
 */
#include "base/vec.h"
#include <string.h>

void cab_vec_grow_(cab_arena *a, void **p, size_t *cap, size_t need,
                   size_t elem)
{
    size_t bytes, want = *cap > SIZE_MAX / 2 ? SIZE_MAX : *cap * 2;
    void *q;

    if (want < 8)
        want = 8;
    if (want < need)
        want = need;
    if (__builtin_mul_overflow(want, elem, &bytes))
        bytes = SIZE_MAX;           /* which cab_alloc refuses */
    q = cab_alloc(a, bytes);
    if (*cap)
        memcpy(q, *p, *cap * elem);
    *p = q;
    *cap = want;
}
