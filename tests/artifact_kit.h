/* SPDX-License-Identifier: Apache-2.0 */
/*
 * artifact_kit.h - makes the hashes of a hand-made artifact good.
 */
#ifndef CAB_TESTS_ARTIFACT_KIT_H
#define CAB_TESTS_ARTIFACT_KIT_H
#include <string.h>
#include "base/base.h"
#include "runtime/plan.h"

/* file holds sections; h and sec are completed and put at its start. */
static inline void kit_seal(uint8_t *file, cab_file_header *h, cab_file_section *sec)
{
    cab_sha256 sum;
    for (uint32_t i = 0; i < h->n_sections; i++)
        if (sec[i].kind != CAB_SEC_WEIGHTS && sec[i].kind != CAB_SEC_SIGNATURE)
            cab_sha256_of(file + sec[i].offset, sec[i].bytes, sec[i].sha256);
    memset(h->sha256, 0, sizeof h->sha256);
    cab_sha256_init(&sum);
    cab_sha256_add(&sum, h, sizeof *h);
    cab_sha256_add(&sum, sec, h->n_sections * sizeof *sec);
    cab_sha256_done(&sum, h->sha256);
    memcpy(file, h, sizeof *h);
    memcpy(file + sizeof *h, sec, h->n_sections * sizeof *sec);
}

#endif
