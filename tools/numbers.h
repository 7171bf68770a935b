/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numbers.h - numbers in flags.  Silent: the caller says what it wanted.
 */
#ifndef CAB_TOOLS_NUMBERS_H
#define CAB_TOOLS_NUMBERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole number from lo to hi. */
bool number_whole(const char *text, int64_t lo, int64_t hi, int64_t *out);
/* Bytes with an optional K, M or G, up to a PiB. */
bool number_bytes(const char *text, size_t *out);

#endif
