/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_common.c - compile jobs of the fuzz targets.
 */
#include "tests/fuzz/fuzz.h"

static void internal_error(const cab_diag *d)
{
    const cab_diag_entry *e = cab_diag_first(d);
    fuzz_finding("internal error: %s: %s", e ? e->where : "", e ? e->text : "no story");
}

cab_status fuzz_job(size_t budget, fuzz_body *body, void *arg)
{
    cab_job job = { .budget = budget };
    cab_arena *a = cab_arena_create(&job);
    cab_status s;
    cab_diag d;
    cab_diag_init(&d);
    if (CAB_JOB_ENTER(&job) == 0)
        s = body(a, arg, &d);
    else
        s = CAB_ELIMIT;
    if (s == CAB_EINTERNAL)
        internal_error(&d);
    if (s != CAB_OK && s != CAB_ELIMIT && !cab_diag_has_errors(&d))
        fuzz_finding("status %d without a story", (int)s);
    cab_arena_destroy(a);
    cab_diag_fini(&d);
    if (job.used)
        fuzz_finding("%zu bytes of the job are left", job.used);
    fuzz_count(s == CAB_OK ? "ok" : s == CAB_EUNSUPPORTED ? "unsupported"
               : s == CAB_ELIMIT ? "over budget" : "refused");
    return s;
}

cab_status fuzz_passes(cab_graph *g, const cab_pass_options *o, cab_program **out, cab_diag *d)
{
    int n;
    const cab_pass *rows = cab_pass_rows(&n);
    cab_buf names = cab_buf_on(g->arena);
    if (g->level == CAB_LEVEL_ONNX)
        return cab_passes_run(g, o, out, d);
    for (int i = 0; i < n; i++)
        if (!(rows[i].needs & CAB_FACT_ONNX) && !(o->naive && rows[i].optional))
            cab_buf_printf(&names, "%s%s", names.n ? "," : "", rows[i].name);
    return cab_passes_run_list(g, cab_buf_cstr(&names), o, out, d);
}
