/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_onnx.c - bytes as a model file: import, every pass with the verifier
 * after it, kernels up to KIR.  LLVM is left out: it sees verified KIR only.
 * Every fourth size takes some operators for those of the host program, with
 * answers of all kinds, and the file for a library of functions too.
 */
#include <string.h>
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "tests/fuzz/fuzz.h"

static int answer(void *user, cab_foreign_query *q)
{
    uint64_t h = cab_hash(q->node, strlen(q->node), (uint64_t)q->n_in + 1);
    (void)user;
    for (int i = 0; i < q->n_out; i++) {
        cab_foreign_type *t = &q->out[i];
        h = h * 6364136223846793005u + 1442695040888963407u;
        t->dtype = h >> 20 & 15 ? 1 : (int)(h >> 24 & 31);
        t->rank = h >> 30 & 15 ? (int)(h >> 34) & 3 : (int)(h >> 34 & 15) - 2;
        for (int k = 0; k < CAB_MAX_RANK; k++)
            t->dims[k] = (cab_foreign_extent){ (int64_t)(h >> 40 & 7) - (h >> 43 & 31 ? 0 : 5),
                                               h >> k & 1 ? 0 : -1, (int)(h >> 44 & 1) };
    }
    for (int i = 0; i < q->n_in; i++)
        for (int k = 0; k < q->in[i].rank; k++)
            h += strlen(q->in[i].dim_names[k]);
    return h >> 50 & 15 ? 0 : (int)(h >> 54 & 15);
}

typedef struct model { const uint8_t *p; size_t n; bool naive; } model;

static cab_status compile(cab_arena *a, void *arg, cab_diag *d)
{
    const model *m = arg;
    cab_import_options io = { .max_nodes = 2000, .max_messages = 50000, .max_bytes = 8 << 20 };
    static const cab_foreign_op ops[] = { { "", "Relu", answer, NULL }, { "", "Add", answer, NULL },
                                          { "", "MatMul", answer, NULL }, { "", "Conv", answer, NULL },
                                          { "", "MaxPool", answer, NULL } };
    const cab_import_functions functions = { m->p, m->n, "functions" };
    if (m->n % 4 == 2) {
        io.foreign = ops;
        io.n_foreign = sizeof ops / sizeof *ops;
        io.functions = &functions;
        io.n_functions = 1;
    }
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
