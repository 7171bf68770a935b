/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - the debug ladder and the clock.
 *
 * The environment is read at each question: there is no state to initialise,
 * and a test may change the level between two calls.
 */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int cab_debug_level(void)
{
    const char *s = getenv("CAB_DEBUG");
    long n = s ? strtol(s, NULL, 10) : 0;

    return n < 0 ? 0 : n > 9 ? 9 : (int)n;
}

bool cab_debug_dumps(const char *pass)
{
    const char *s = getenv("CAB_DUMP");
    size_t n = strlen(pass);

    while (s && *s) {
        size_t k = strcspn(s, ",");
        if (k == n && !memcmp(s, pass, n))
            return true;
        s += k;
        s += *s == ',';
    }
    return false;
}

void cab_log(int level, const char *fmt, ...)
{
    size_t n = strlen(fmt);
    va_list ap;

    if (cab_debug_level() < level)
        return;
    flockfile(stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (!n || fmt[n - 1] != '\n')
        putc_unlocked('\n', stderr);
    funlockfile(stderr);
}

int64_t cab_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
