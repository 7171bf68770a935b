/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.h - FIPS 180-4 SHA-256 (kernel keys, artifact sections).
 */
#ifndef CAB_BASE_SHA256_H
#define CAB_BASE_SHA256_H
#include <stddef.h>
#include <stdint.h>

typedef struct cab_sha256 {
    uint32_t h[8];
    uint64_t n;
    uint8_t block[64];
    int fast;                  /* by the processor's instructions; tests may clear it */
} cab_sha256;
void cab_sha256_init(cab_sha256 *s);
void cab_sha256_add(cab_sha256 *s, const void *p, size_t n);
void cab_sha256_done(cab_sha256 *s, uint8_t out[32]);
/* All in one. */
void cab_sha256_of(const void *p, size_t n, uint8_t out[32]);

#endif
