/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_graphs.c - bytes as the choices of a graph generator: the reference
 * evaluator, the naive and the optimised program must agree.
 *
 * A finding prints the reduced case and writes it to fuzz_graphs-SEED.cir;
 * such a file is an input too:  ./tests/fuzz_graphs fuzz_graphs-SEED.cir
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/fuzz/graph.h"

#define MARK "; seed "

typedef struct source { fuzz_src s; uint64_t seed; char *text; } source;

static cab_status make(cab_arena *a, void *arg, cab_diag *d)
{
    source *s = arg;
    cab_buf b = cab_buf_on(a);
    cab_graph *g = graph_make(a, &s->s, s->seed, d);
    if (!g)
        return cab_diag_has_errors(d) ? CAB_EINVAL : CAB_ELIMIT;
    CAB_TRY(cab_graph_verify(g, d));
    CAB_TRY(cab_passes_run_list(g, "dce", NULL, NULL, d));
    cab_graph_print(&b, g);
    s->text = strdup(cab_buf_cstr(&b));
    return s->text ? CAB_OK : CAB_ENOMEM;
}

typedef struct failing { const char *text; uint64_t seed; const char *why; } failing;

static cab_status reduce(cab_arena *a, void *arg, cab_diag *d)
{
    const failing *f = arg;
    const char *small = graph_reduce(a, f->text, f->seed);
    graph_verdict v = graph_try_apart(small, f->seed, true);
    const char *file = cab_printf(a, MARK "%" PRIu64 "\n; %s\n%s", f->seed, v.text, small);
    const char *path = cab_printf(a, "fuzz_graphs-%" PRIu64 ".cir", f->seed);
    cab_graph *g;
    cab_buf b = cab_buf_on(a);
    CAB_TRY(cab_file_write(path, file, strlen(file), d));
    CAB_TRY(cab_graph_parse(a, small, strlen(small), "case", &g, d));
    cab_graph_print_brief(&b, g);
    fuzz_finding("%s\nreduced (%s): %s\n%s", f->why, path, v.text, cab_buf_cstr(&b));
    return CAB_OK;
}

static void check(const char *text, uint64_t seed)
{
    static const char *const names[] = { "same", "unsupported", "skipped", "different" };
    graph_verdict v = fuzz_may_fork ? graph_try_apart(text, seed, false) : graph_try(text, seed);
    failing f = { text, seed, v.text };
    fuzz_count(names[v.answer]);
    if ((v.answer == GRAPH_UNSUPPORTED || v.answer == GRAPH_SKIPPED) && getenv("CAB_FUZZ_SAY"))
        fprintf(stderr, "%s: %s\n", names[v.answer], v.text);
    if (v.answer != GRAPH_FAILS)
        return;
    if (fuzz_may_fork) {
        alarm(0);              /* every attempt of the reducer has its own limit */
        fuzz_job(0, reduce, &f);
    } else {
        fuzz_finding("%s\n" MARK "%" PRIu64 "\n%s", v.text, seed, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s = { .s = fuzz_src_of(data, size), .seed = fuzz_hash(data, size) };
    if (size > strlen(MARK) && !memcmp(data, MARK, strlen(MARK))) {
        s.text = strndup((const char *)data, size);
        if (s.text)
            check(s.text, strtoull(s.text + strlen(MARK), NULL, 10));
    } else if (fuzz_job(0, make, &s) == CAB_OK) {
        check(s.text, s.seed);
    }
    free(s.text);
    return 0;
}
