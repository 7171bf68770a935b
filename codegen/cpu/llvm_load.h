/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm_load.h - makes the functions of LLVM-C callable.
 */
#ifndef CAB_CODEGEN_CPU_LLVM_LOAD_H
#define CAB_CODEGEN_CPU_LLVM_LOAD_H
#include "base/diag.h"

/* Before the first call of an LLVM function on any thread; cheap afterwards. */
cab_status cab_llvm_load(cab_diag *d);

#endif
