/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - the debug ladder (docs/debugging.md).
 *
 * CAB_DEBUG=n: 1 passes and times, 2 rule hits and kernel choices, 3 graph
 * after each pass, 4 KIR and emitted C/CUDA, 5 every rewrite, 6 assembly.
 * CAB_DUMP=name,name prints the graph before and after those passes.
 * Nothing is printed unless the environment asks: a library is silent.
 */
#ifndef CAB_BASE_LOG_H
#define CAB_BASE_LOG_H
#include <stdbool.h>
#include <stdint.h>

int cab_debug_level(void);
bool cab_debug_dumps(const char *pass);
void cab_log(int level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Monotonic nanoseconds. */
int64_t cab_now_ns(void);

#endif
