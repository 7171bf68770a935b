/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numbers.c - numbers in flags.
 */
#include "tools/numbers.h"
#include <errno.h>
#include <stdlib.h>

bool number_whole(const char *text, int64_t lo, int64_t hi, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (!*text || *end || errno || v < lo || v > hi)
        return false;
    *out = v;
    return true;
}

bool number_bytes(const char *text, size_t *out)
{
    const uint64_t most = 1ull << 50;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (*text < '0' || *text > '9' || errno || end[shift ? 1 : 0] || v > most >> shift)
        return false;
    *out = (size_t)(v << shift);
    return true;
}
