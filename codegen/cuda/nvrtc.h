/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvrtc.h - CUDA text -> PTX through NVIDIA's run-time compiler, when found.
 *
 * The library is opened at run time by own prototypes: nothing of NVIDIA's is
 * needed to build, and a system without it just says so.
 */
#ifndef CAB_CODEGEN_CUDA_NVRTC_H
#define CAB_CODEGEN_CUDA_NVRTC_H
#include "base/base.h"

typedef struct cab_nvrtc cab_nvrtc;

/* Opens the library: path, else $CAB_NVRTC, else the usual
 * places.  CAB_EUNSUPPORTED when there is none.  Close with cab_nvrtc_close. */
cab_status cab_nvrtc_open(const char *path, cab_nvrtc **out, cab_diag *d);
void cab_nvrtc_close(cab_nvrtc *n);
/* major * 1000 + minor * 10, as CUDA counts. */
int cab_nvrtc_version(const cab_nvrtc *n);
/* PTX of the text for an architecture ("compute_80"), NUL-terminated, on the
 * arena; no fused contraction.  The compiler's log becomes the error's text. */
cab_status cab_nvrtc_ptx(const cab_nvrtc *n, cab_arena *a, const char *text, const char *name,
                         const char *arch, char **out, cab_diag *d);

#endif
