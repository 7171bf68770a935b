/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm_load.c - LLVM is loaded when code is first made.
 *
 * Relocating that library costs 10 to 30 ms and as many MB of private pages:
 * a program that finds its artifact in the cache, or compiles in a child
 * process, does not pay.  Every function of the C interface that this folder
 * calls (llvm_names.h, made from its sources) is a jump through a table which
 * cab_llvm_load fills.  Our names for them (llvm_rename.h) are not LLVM's: a
 * host program may link an LLVM of its own.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include "codegen/gen.h"
#include "codegen/cpu/llvm_load.h"

__attribute__((visibility("hidden"))) extern void *cab_llvm_slot[];

#define NAME(i, fn)                                                           \
    ".globl cab_" #fn "\n.hidden cab_" #fn "\n.type cab_" #fn ", @function\n" \
    "cab_" #fn ": jmp *cab_llvm_slot + 8 * " #i "(%rip)\n"
__asm__(".pushsection .text\n"
#include "codegen/cpu/llvm_names.h"
        ".popsection\n");
#undef NAME

static const char *const names[] = {
#define NAME(i, fn) #fn,
#include "codegen/cpu/llvm_names.h"
#undef NAME
};
enum { N_NAMES = sizeof names / sizeof *names };

void *cab_llvm_slot[N_NAMES];
static char problem[256];

static void load(void)
{
    const char *path = CAB_LLVM_SO, *slash = strrchr(path, '/');
    void *lib = dlopen(slash ? slash + 1 : path, RTLD_LAZY | RTLD_LOCAL);

    if (!lib)
        lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (!lib) {
        const char *why = dlerror();
        strncpy(problem, why ? why : path, sizeof problem - 1);
        return;
    }
    for (int i = 0; i < N_NAMES; i++) {
        cab_llvm_slot[i] = dlsym(lib, names[i]);
        if (!cab_llvm_slot[i])
            strncpy(problem, names[i], sizeof problem - 1);
    }
}

cab_status cab_llvm_load(cab_diag *d)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    if (!problem[0])
        return CAB_OK;
    cab_fail(d, CAB_EIO, NULL, "cannot load LLVM: %s", problem);
    cab_note(d, "compiling needs %s, the library Cabochon was built with", CAB_LLVM_SO);
    return CAB_EIO;
}
