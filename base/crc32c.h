/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds damage in
 * weights at the speed of memory.  It is no defence against an enemy.
 */
#ifndef CAB_BASE_CRC32C_H
#define CAB_BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Of n bytes; crc is 0, or the result for the bytes before them. */
uint32_t cab_crc32c(uint32_t crc, const void *p, size_t n);

#endif
