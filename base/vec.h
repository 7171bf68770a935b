/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vec.h - growable arrays on an arena.
 *
 *   CAB_VEC(int) v = {0};      // zero is an empty vector
 *   cab_vec_push(arena, &v, 7);
 *   for (size_t i = 0; i < v.n; i++) use(v.p[i]);
 *
 * Growth copies inside the arena (old storage is freed with it).
 */
#ifndef CAB_BASE_VEC_H
#define CAB_BASE_VEC_H
#include "base/arena.h"

#define CAB_VEC(T) struct { T *p; size_t n, cap; }

void cab_vec_grow_(cab_arena *a, void **p, size_t *cap, size_t need,
                   size_t elem);
#define cab_vec_reserve(a, v, need)                                       \
    ((need) <= (v)->cap                                                   \
         ? (void)0                                                        \
         : cab_vec_grow_((a), (void **)&(v)->p, &(v)->cap, (need),        \
                         sizeof *(v)->p))
#define cab_vec_push(a, v, x)                                             \
    (cab_vec_reserve((a), (v), (v)->n + 1), (void)((v)->p[(v)->n++] = (x)))

#endif
