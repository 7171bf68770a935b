/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_cir.c - bytes as graph text: parse, verify, print, parse again, print
 * again: the two prints are equal.  What the verifier accepts at CORE level
 * goes through the passes and on to KIR.
 */
#include <string.h>
#include "codegen/codegen.h"
#include "tests/fuzz/fuzz.h"

typedef struct text { const char *p; size_t n; } text;

static void check_print(cab_arena *a, const cab_graph *g, cab_diag *d)
{
    cab_buf one = cab_buf_on(a), two = cab_buf_on(a);
    cab_graph *again;
    cab_graph_print(&one, g);
    if (cab_graph_parse(a, cab_buf_cstr(&one), one.n, "print", &again, d) != CAB_OK) {
        fuzz_finding("what was printed cannot be read: %s\n%s", d->entries[d->n - 1].text, one.p);
        return;
    }
    cab_graph_print(&two, again);
    if (strcmp(cab_buf_cstr(&one), cab_buf_cstr(&two)))
        fuzz_finding("print and parse do not agree:\n%s\nand then\n%s", one.p, two.p);
}

static cab_status body(cab_arena *a, void *arg, cab_diag *d)
{
    const text *t = arg;
    cab_pass_options po = { .verify = true };
    cab_codegen_options co = { .target = "x86-64-v3" };
    cab_buf kir = cab_buf_on(a);
    cab_program *p;
    cab_graph *g;
    CAB_TRY(cab_graph_parse(a, t->p, t->n, "input", &g, d));
    CAB_TRY(cab_graph_verify(g, d));
    check_print(a, g, d);
    CAB_TRY(fuzz_passes(g, &po, &p, d));
    return cab_codegen_emit(a, p, &co, "kir", &kir, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    text t = { (const char *)data, size };
    fuzz_job(64 << 20, body, &t);
    return 0;
}
