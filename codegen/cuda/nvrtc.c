/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvrtc.c - opening libnvrtc and compiling with it.
 */
#include "codegen/cuda/nvrtc.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* Facts of the library's interface (CUDA 11.2 to 13): an opaque program, int
 * results with 0 for success. */
typedef struct program *program;

struct cab_nvrtc {
    void *so;
    int number;
    int (*version)(int *major, int *minor);
    int (*create)(program *p, const char *text, const char *name, int n_headers,
                  const char *const *headers, const char *const *names);
    int (*destroy)(program *p);
    int (*compile)(program p, int n, const char *const *options);
    int (*ptx_size)(program p, size_t *n);
    int (*ptx)(program p, char *out);
    int (*log_size)(program p, size_t *n);
    int (*log)(program p, char *out);
    const char *(*error)(int result);
};

static const char *const places[] = {
    "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
    "/usr/local/cuda/lib64/libnvrtc.so", "/usr/local/cuda/lib/libnvrtc.so",
    "/usr/local/cuda-13.0/lib/libnvrtc.so", "/usr/lib/x86_64-linux-gnu/libnvrtc.so",
};

/* dlsym through memcpy: ISO C has no cast from object to function pointer. */
static bool bind(void *so, const char *name, void *slot)
{
    void *p = dlsym(so, name);

    memcpy(slot, &p, sizeof p);
    return p != NULL;
}

static bool bind_all(cab_nvrtc *n)
{
    return bind(n->so, "nvrtcVersion", &n->version) &&
           bind(n->so, "nvrtcCreateProgram", &n->create) &&
           bind(n->so, "nvrtcDestroyProgram", &n->destroy) &&
           bind(n->so, "nvrtcCompileProgram", &n->compile) &&
           bind(n->so, "nvrtcGetPTXSize", &n->ptx_size) &&
           bind(n->so, "nvrtcGetPTX", &n->ptx) &&
           bind(n->so, "nvrtcGetProgramLogSize", &n->log_size) &&
           bind(n->so, "nvrtcGetProgramLog", &n->log) &&
           bind(n->so, "nvrtcGetErrorString", &n->error);
}

static void *find(const char *path)
{
    const char *env = getenv("CAB_NVRTC");
    void *so = NULL;

    if (path || env)
        return dlopen(path ? path : env, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; !so && i < sizeof places / sizeof *places; i++)
        so = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
    return so;
}

cab_status cab_nvrtc_open(const char *path, cab_nvrtc **out, cab_diag *d)
{
    cab_nvrtc *n = calloc(1, sizeof *n);
    int major, minor;
    cab_status s;

    if (!n)
        return cab_fail(d, CAB_ENOMEM, NULL, "NVRTC");
    n->so = find(path);
    if (n->so && bind_all(n) && n->version(&major, &minor) == 0) {
        n->number = major * 1000 + minor * 10;
        *out = n;
        return CAB_OK;
    }
    s = cab_fail(d, CAB_EUNSUPPORTED, NULL, n->so ? "NVRTC lacks a function" : "no NVRTC found");
    cab_note(d, "set CAB_NVRTC to the path of libnvrtc.so");
    cab_nvrtc_close(n);
    return s;
}

void cab_nvrtc_close(cab_nvrtc *n)
{
    if (n && n->so)
        dlclose(n->so);
    free(n);
}

int cab_nvrtc_version(const cab_nvrtc *n) { return n->number; }

static cab_status failed(const cab_nvrtc *n, cab_arena *a, program p, int result,
                         const char *name, cab_diag *d)
{
    size_t size = 0;
    char *log = cab_strdup(a, "");

    if (p && n->log_size(p, &size) == 0 && size) {
        log = cab_alloc_zero(a, size + 1, 1);
        if (n->log(p, log) != 0)
            *log = 0;
    }
    return cab_fail(d, CAB_EINTERNAL, NULL, "NVRTC on '%s': %s: %s", name, n->error(result), log);
}

cab_status cab_nvrtc_ptx(const cab_nvrtc *n, cab_arena *a, const char *text, const char *name,
                         const char *arch, char **out, cab_diag *d)
{
    const char *options[] = { cab_printf(a, "--gpu-architecture=%s", arch), "--fmad=false",
                              "--ftz=false", "--prec-div=true", "--prec-sqrt=true" };
    size_t size = 0;
    program p = NULL;
    cab_status s = CAB_OK;
    int result = n->create(&p, text, name, 0, NULL, NULL);

    if (!result)
        result = n->compile(p, sizeof options / sizeof *options, options);
    if (!result)
        result = n->ptx_size(p, &size);
    if (!result) {
        *out = cab_alloc_zero(a, size + 1, 1);
        result = n->ptx(p, *out);
    }
    if (result)
        s = failed(n, a, p, result, name, d);
    if (p)
        n->destroy(&p);
    return s;
}
