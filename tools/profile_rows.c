/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile_rows.c - the records of a trace and the instructions they are of,
 * with their names, schedules and costs.
 *
 * A record does not say which instruction made it.  They come in the order in
 * which instructions run, so the next one with these names is it; behind a
 * loop's end the search begins anew.
 */
#include "tools/profile.h"
#include <jansson.h>
#include <string.h>

/* ---- which plan ran ---- */
static bool is_labelled(const cab_artifact *f, uint32_t variant, const cab_plan *main,
                        const char *label)
{
    cab_extent_is is[64];
    cab_plan special;
    uint32_t n;
    char text[200];
    return cab_plan_open(f, variant, &special, NULL) == CAB_OK &&
           cab_sized_check(main, &special, is, 64, &n, NULL) == CAB_OK &&
           !strcmp(cab_sized_label(main, is, n < 64 ? n : 64, text, sizeof text), label);
}

cab_status profile_plan_find(cab_arena *a, const cab_mapping *file, const cab_trace_event *t,
                             size_t n, profile_plan *out, cab_diag *d)
{
    cab_error e = { 0 };
    uint32_t chosen;
    *out = (profile_plan){ .arena = a };
    cab_status s = cab_artifact_open(file->p, file->n, &out->file, &e);
    if (s == CAB_OK)
        s = cab_artifact_choose(&out->file, cab_isa_here(), &chosen, &e);
    if (s == CAB_OK)
        s = cab_plan_open(&out->file, out->variant = chosen, &out->plan, &e);
    if (s == CAB_OK && n && !strcmp(t[0].kind, "plan")) {
        out->label = cab_strndup(a, t[0].name, strlen(t[0].name));
        for (uint32_t v = (uint32_t)out->file.n_targets; v < (uint32_t)out->file.n_variants; v++)
            if (cab_artifact_find(&out->file, CAB_SEC_PLAN, v)->special_of == chosen + 1 &&
                is_labelled(&out->file, v, &out->plan, out->label))
                out->variant = v;
        s = cab_plan_open(&out->file, out->variant, &out->plan, &e);
    }
    return s == CAB_OK ? s : cab_fail(d, s, NULL, "%s", e.text);
}

/* ---- records and instructions ---- */
static const char *kind_of(uint32_t op)
{
    static const char *const kinds[CAB_I_COUNT] = {
        [CAB_I_LAUNCH] = "launch", [CAB_I_HELPER] = "helper", [CAB_I_CUSTOM] = "custom",
        [CAB_I_ZERO] = "zero", [CAB_I_COPY] = "copy", [CAB_I_ALLOC] = "alloc", [CAB_I_LIST] = "list",
    };
    return kinds[op];
}

static bool has_names(uint32_t op)
{
    return op == CAB_I_LAUNCH || op == CAB_I_HELPER || op == CAB_I_CUSTOM || op == CAB_I_LIST;
}

static bool is_of(const cab_plan *p, uint32_t instr, const cab_trace_event *t)
{
    const cab_plan_instr *x = &p->instrs[instr];
    const char *kind = kind_of(x->op);
    if (!kind || strcmp(kind, t->kind))
        return false;
    if (!has_names(x->op))
        return true;
    return !strcmp(p->strings + x->d, t->layers) && !strcmp(p->strings + x->e, t->what) &&
           (x->op != CAB_I_LAUNCH || !strcmp(p->strings + p->kernels[x->a].name, t->name));
}

/* n_instrs when it is of none (an output that is copied at the end). */
static uint32_t find_instr(const cab_plan *p, uint32_t from, const cab_trace_event *t)
{
    uint32_t n = p->header->n_instrs;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = from + k < n ? from + k : from + k - n;
        if (is_of(p, i, t))
            return i;
    }
    return n;
}

void profile_spread(const profile_plan *p, const cab_trace_event *t, size_t n, double *ns,
                    double *calls)
{
    uint32_t all = p->plan.header->n_instrs, from = 0;
    memset(ns, 0, (all + 1) * sizeof *ns);
    memset(calls, 0, (all + 1) * sizeof *calls);
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(t[i].kind, "plan"))
            continue;
        uint32_t at = find_instr(&p->plan, from, &t[i]);
        ns[at] += (double)t[i].ns;
        calls[at]++;
        from = at < all ? at + 1 : from;
    }
}

/* ---- rows ---- */
/* The notes' line of a kernel, in the block of the plan's variant. */
static const char *sched_of(const profile_plan *p, const char *kernel)
{
    const cab_file_section *s = cab_artifact_find(&p->file, CAB_SEC_NOTES, 0);
    if (!s)
        return "";
    const char *at = (const char *)cab_artifact_bytes(&p->file, s), *end = at + s->bytes, *eol;
    size_t n = strlen(kernel);
    for (int64_t block = -1; at < end; at = eol + 1) {
        eol = memchr(at, '\n', (size_t)(end - at));
        eol = eol ? eol : end;
        if (eol - at > 7 && !memcmp(at, "target ", 7))
            block++;
        else if (block == p->variant && (size_t)(eol - at) > n + 4 && !memcmp(at + 2, kernel, n) &&
                 at[2 + n] == ':')
            return cab_strndup(p->arena, at + n + 4, (size_t)(eol - at) - n - 4);
    }
    return "";
}

/* Names of a model may be any bytes; tables and JSON are UTF-8. */
static const char *clean(const profile_plan *p, const char *text)
{
    json_t *j = json_string(text);
    json_decref(j);
    if (j)
        return text;
    char *out = cab_strndup(p->arena, text, strlen(text));
    for (char *c = out; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return out;
}

/* A value that is cleared or copied goes by its name. */
static void name_row(const profile_plan *p, const cab_plan_instr *x, profile_row *r)
{
    const cab_plan *q = &p->plan;
    if (has_names(x->op)) {
        r->layers = clean(p, q->strings + x->d);
        r->what = clean(p, q->strings + x->e);
    } else {
        r->layers = clean(p, q->strings + q->values[x->a].name);
        r->what = r->kind;
    }
    if (x->op == CAB_I_LAUNCH) {
        r->kernel = clean(p, q->strings + q->kernels[x->a].name);
        r->sched = clean(p, sched_of(p, r->kernel));
    }
}

cab_status profile_rows(const profile_plan *p, const char *model, const cab_tensor_view *inputs,
                        profile *out, uint32_t **out_instr, cab_diag *d)
{
    uint32_t n = p->plan.header->n_instrs;
    costs c;
    CAB_TRY(costs_open(p->arena, &p->file, p->variant, &p->plan, inputs, &c, d));
    out->plan = p->label ? clean(p, p->label) : NULL;
    out->model = clean(p, model);
    out->has_costs = c.found;
    out->row = CAB_NEW_N(p->arena, profile_row, n + 2);
    *out_instr = CAB_NEW_N(p->arena, uint32_t, n + 2);
    for (uint32_t i = 0; i <= n; i++) {
        profile_row r = { .kind = "copy", .kernel = "", .what = "output onto input", .layers = "",
                          .sched = "", .naive_us = -1, .fma = -1, .read = -1, .bound_us = -1,
                          .cost = { -1, -1, -1, -1, -1 } };
        if (i < n && !(r.kind = kind_of(p->plan.instrs[i].op)))
            continue;
        if (i < n) {
            name_row(p, &p->plan.instrs[i], &r);
            r.cost = costs_of(&c, i);
        }
        (*out_instr)[out->n] = i;
        out->row[out->n++] = r;
    }
    return CAB_OK;
}
