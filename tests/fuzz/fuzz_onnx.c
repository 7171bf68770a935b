/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_onnx.c - bytes as a model file: import, every pass with the verifier
 * after it, kernels up to KIR.  LLVM is left out: it sees verified KIR only.
 */
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "tests/fuzz/fuzz.h"

typedef struct model { const uint8_t *p; size_t n; bool naive; } model;

static cab_status compile(cab_arena *a, void *arg, cab_diag *d)
{
    const model *m = arg;
    cab_import_options io = { .max_nodes = 2000, .max_messages = 50000, .max_bytes = 8 << 20 };
    cab_pass_options po = { .naive = m->naive, .verify = true };
    cab_codegen_options co = { .naive = m->naive, .target = "x86-64-v3" };
    cab_buf text = cab_buf_on(a);
    cab_program *p;
    cab_graph *g;
    CAB_TRY(cab_import_memory(a, m->p, m->n, NULL, &io, &g, d));
    CAB_TRY(cab_passes_run(g, &po, &p, d));
    return cab_codegen_emit(a, p, &co, "kir", &text, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model m = { data, size, size & 1 };
    fuzz_job(64 << 20, compile, &m);
    return 0;
}
