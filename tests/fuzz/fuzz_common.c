/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_common.c - jobs and choices of the fuzz targets.
 */
#include "tests/fuzz/fuzz.h"
#include <string.h>

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

uint64_t fuzz_hash(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

fuzz_src fuzz_src_of(const uint8_t *p, size_t n)
{
    fuzz_src s = { p, n, { { 0 } } };
    cab_rng_seed(&s.r, fuzz_hash(p, n));
    return s;
}

int64_t fuzz_draw(fuzz_src *s, int64_t lo, int64_t hi)
{
    uint64_t span = (uint64_t)(hi - lo) + 1, v = 0;
    size_t need = span > 256 ? 2 : 1;
    if (span <= 1)
        return lo;
    if (s->n < need)
        return cab_rng_i64(&s->r, lo, hi);
    for (size_t i = 0; i < need; i++)
        v = v << 8 | s->p[i];
    s->p += need;
    s->n -= need;
    return lo + (int64_t)(v % span);
}
