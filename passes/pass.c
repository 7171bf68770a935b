/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass.c - the runner: passes in order, each checked, timed and dumped.
 *
 * Before a pass: what it needs must hold.  After it: facts are updated, the
 * graph is verified when asked, CAB_DEBUG and CAB_DUMP are served, and the
 * scratch arena is emptied.  A bug inside a pass writes the graph as text to
 * standard error with the command that runs the pass on it again.
 */
#include "passes/pass_int.h"
#include <stdio.h>
#include <string.h>

enum { CAB_FACT_0 = 0 };       /* the 0 of passes.def rows */
enum { ALWAYS = 0, OPT = 1 };

static const cab_pass rows[] = {
#define PASS(fn, needs, gives, breaks, opt, doc)                              \
    { #fn, doc, CAB_FACT_##needs, CAB_FACT_##gives, CAB_FACT_##breaks, opt, cab_pass_##fn },
#include "passes/passes.def"
};
#define N_ROWS ((int)(sizeof rows / sizeof *rows))

const cab_pass *cab_pass_rows(int *n)
{
    *n = N_ROWS;
    return rows;
}

/* ---- one run ---- */

/* Lives in the graph's arena: when memory runs out, the arena's cleanup frees
 * the scratch and puts the hook back. */
typedef struct run {
    cab_graph *g;
    cab_pass_ctx c;
    uint32_t facts;
    const cab_pass *now;
    void (*hook)(void *);
    void *hook_arg;
} run;

static void end_run(void *p)
{
    run *r = p;

    if (!r->c.scratch)
        return;
    cab_arena_destroy(r->c.scratch);
    r->c.scratch = NULL;
    cab_bug_hook = r->hook;
    cab_bug_hook_arg = r->hook_arg;
}

static void write_graph(run *r, FILE *f)
{
    cab_buf b = cab_buf_on(r->c.scratch);

    cab_graph_print(&b, r->g);
    fputs(cab_buf_cstr(&b), f);
}

/* The crash reproducer (base/status.h). */
static void write_crash(void *arg)
{
    run *r = arg;

    fprintf(stderr, "; crash.cir: save from here and run\n"
            "; cab-opt --passes=%s crash.cir\n", r->now ? r->now->name : "");
    write_graph(r, stderr);
}

static void dump(run *r, const char *when)
{
    bool named = cab_debug_dumps(r->now->name);

    if (!named && (cab_debug_level() < 3 || *when == 'b'))
        return;
    fprintf(stderr, "; graph %s %s\n", when, r->now->name);
    write_graph(r, stderr);
}

/* A graph, then those inside it: what is known outside goes in.  Decompose and
 * lower walk by themselves. */
static cab_status run_tree(run *r, const cab_pass *p, cab_graph *g)
{
    cab_graph *sub;

    CAB_TRY(p->run(g, &r->c));
    if (p->run == cab_pass_decompose || p->run == cab_pass_lower)
        return CAB_OK;
    for (const cab_node *n = g->first; n; n = n->next)
        for (int k = 0; (sub = cab_node_subgraph(n, k)); k++)
            CAB_TRY(run_tree(r, p, sub));
    return CAB_OK;
}

static cab_status run_pass(run *r, const cab_pass *p)
{
    int64_t t0 = cab_now_ns();
    cab_status s;

    r->now = p;
    CAB_TRY(cab_cancel_check(&r->c.o->cancel, r->c.diag));
    if ((r->facts & p->needs) != p->needs)
        return cab_fail(r->c.diag, CAB_EINVAL, NULL,
                        "pass %s needs what does not hold here (%s)", p->name,
                        r->g->level == CAB_LEVEL_ONNX ? "run decompose first"
                                                      : "the order of passes.def shows it");
    dump(r, "before");
    r->c.n_changes = 0;
    s = run_tree(r, p, r->g);
    if (s == CAB_OK && r->c.o->verify)
        s = cab_graph_verify(r->g, r->c.diag);
    if (s == CAB_OK)
        dump(r, "after");
    r->facts = (r->facts & ~p->breaks) | p->gives;
    cab_log(1, "pass %-10s %8.3f ms  %llu changes, %zu nodes", p->name,
            (double)(cab_now_ns() - t0) / 1e6, (unsigned long long)r->c.n_changes,
            cab_graph_count(r->g));
    cab_arena_reset(r->c.scratch);
    return s;
}

static cab_status run_named(run *r, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, ",");
        const cab_pass *p = NULL;

        for (int i = 0; i < N_ROWS && !p; i++)
            if (strlen(rows[i].name) == n && !memcmp(rows[i].name, names, n))
                p = &rows[i];
        if (!p)
            return cab_fail(r->c.diag, CAB_EINVAL, NULL, "there is no pass %.*s", (int)n, names);
        CAB_TRY(run_pass(r, p));
        names += n;
        names += *names == ',';
    }
    return CAB_OK;
}

static cab_status run_all(run *r)
{
    const char *stop = r->c.o->stop_after;

    for (int i = 0; i < N_ROWS; i++) {
        bool last = stop && !strcmp(stop, rows[i].name);

        if (!(r->c.o->naive && rows[i].optional))
            CAB_TRY(run_pass(r, &rows[i]));
        if (last)
            break;
    }
    return CAB_OK;
}

static cab_status run_passes(cab_graph *g, const char *names, const cab_pass_options *o,
                             cab_program **out, cab_diag *d)
{
    static const cab_pass_options defaults;
    cab_job *job = cab_arena_job(g->arena);
    run *r = CAB_NEW(g->arena, run);
    cab_status s;

    r->g = g;
    r->c = (cab_pass_ctx){ .o = o ? o : &defaults, .diag = d };
    r->facts = g->level == CAB_LEVEL_ONNX ? CAB_FACT_ONNX : CAB_FACT_CORE;
    r->hook = cab_bug_hook;
    r->hook_arg = cab_bug_hook_arg;
    cab_arena_cleanup(g->arena, end_run, r);
    r->c.scratch = cab_arena_create(job);
    if (!r->c.scratch)
        longjmp(job->pad, 1);
    cab_bug_hook = write_crash;
    cab_bug_hook_arg = r;
    s = names ? run_named(r, names) : run_all(r);
    if (out)
        *out = s == CAB_OK ? r->c.program : NULL;
    end_run(r);
    return s;
}

cab_status cab_passes_run(cab_graph *g, const cab_pass_options *o, cab_program **out,
                          cab_diag *d)
{
    return run_passes(g, NULL, o, out, d);
}

cab_status cab_passes_run_list(cab_graph *g, const char *names, const cab_pass_options *o,
                               cab_program **out, cab_diag *d)
{
    return run_passes(g, names, o, out, d);
}

cab_status cab_passes_check(cab_graph *g, cab_diag *d)
{
    return g->level == CAB_LEVEL_CORE ? CAB_OK : run_passes(g, "decompose", NULL, NULL, d);
}
