/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sizes.c - several values for one extent: which specialisations an artifact
 * holds.
 *
 * An extent with one value is fixed.  One with several stays open in the
 * artifact's plan for all sizes, and every combination of the values of such
 * extents is compiled once more with them bound.
 */
#include "libcab/libcab_int.h"
#include "codegen/codegen.h"
#include <string.h>

typedef struct list { const char *name; int n; int64_t *value; } list;
typedef struct lists { cab_arena *arena; int n; list *of; } lists;

static list *find(const lists *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->of[i].name, name))
            return &l->of[i];
    return NULL;
}

static void add(lists *l, const cab_import_bind *b, int most)
{
    list *one = find(l, b->name);
    if (!one) {
        one = &l->of[l->n++];
        *one = (list){ b->name, 0, CAB_NEW_N(l->arena, int64_t, most) };
    }
    for (int i = 0; i < one->n; i++)
        if (one->value[i] == b->value)
            return;
    one->value[one->n++] = b->value;
}

static lists collect(cab_arena *a, const cab_import_options *o)
{
    lists l = { .arena = a, .of = CAB_NEW_N(a, list, o->n_binds + 1) };
    for (int i = 0; i < o->n_binds; i++)
        add(&l, &o->binds[i], o->n_binds);
    return l;
}

bool cab_sizes_listed(const cab_import_options *o)
{
    for (int i = 0; i < o->n_binds; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(o->binds[i].name, o->binds[k].name) &&
                o->binds[i].value != o->binds[k].value)
                return true;
    return false;
}

static cab_status count(const lists *l, const cab_import_options *o, int *out, cab_diag *d)
{
    int64_t n = 1;
    bool some = false;
    for (int i = 0; i < l->n && n <= CAB_MAX_SPECIAL; i++) {
        some = some || l->of[i].n > 1;
        n *= l->of[i].n;
    }
    if (n > CAB_MAX_SPECIAL)
        return cab_fail(d, CAB_EINVAL, NULL, "the sizes that are listed have more than %d "
                        "combinations, and each is compiled for itself", CAB_MAX_SPECIAL);
    for (int i = 0; i < o->n_ranges; i++) {
        const list *x = find(l, o->ranges[i].name);
        for (int k = 0; x && x->n > 1 && k < x->n; k++)
            if (x->value[k] < o->ranges[i].lo || x->value[k] > o->ranges[i].hi)
                return cab_fail(d, CAB_EINVAL, NULL, "'%s' is to be %lld, and is said to be from "
                                "%lld to %lld", x->name, (long long)x->value[k],
                                (long long)o->ranges[i].lo, (long long)o->ranges[i].hi);
    }
    *out = some ? (int)n : 0;
    return CAB_OK;
}

/* Combination number of them: the last list's values change fastest. */
static void combine(const lists *l, int number, cab_size *out)
{
    cab_import_bind *b = CAB_NEW_N(l->arena, cab_import_bind, l->n);
    for (int i = l->n - 1; i >= 0; i--) {
        b[i] = (cab_import_bind){ l->of[i].name, l->of[i].value[number % l->of[i].n] };
        number /= l->of[i].n;
    }
    cab_buf text = cab_buf_on(l->arena);
    for (int i = 0; i < l->n; i++)
        if (l->of[i].n > 1)
            cab_buf_printf(&text, "%s%s=%lld", text.n ? ", " : "", b[i].name,
                           (long long)b[i].value);
    out->label = cab_buf_cstr(&text);
    out->import.binds = b;
    out->import.n_binds = l->n;
}

cab_status cab_sizes_of(cab_arena *a, const cab_import_options *o, cab_sizes *out, cab_diag *d)
{
    lists l = collect(a, o);
    cab_import_bind *fixed = CAB_NEW_N(a, cab_import_bind, l.n + 1);
    *out = (cab_sizes){ .open = *o };
    CAB_TRY(count(&l, o, &out->n, d));
    out->open.binds = fixed;
    out->open.n_binds = 0;
    for (int i = 0; i < l.n; i++)
        if (l.of[i].n == 1)
            fixed[out->open.n_binds++] = (cab_import_bind){ l.of[i].name, l.of[i].value[0] };
    out->size = CAB_NEW_N(a, cab_size, out->n + 1);
    for (int i = 0; i < out->n; i++) {
        out->size[i].import = *o;
        combine(&l, i, &out->size[i]);
    }
    return CAB_OK;
}

/* ---- against the program that is open in them ---- */

static bool is_extent(const cab_program *p, const char *name)
{
    for (size_t i = 0; i < p->inputs.n; i++) {
        const cab_type *t = &p->buffers.p[p->inputs.p[i]].type;
        for (int k = 0; k < t->rank; k++)
            if (t->dims[k]->kind == CAB_DIM_SYM && !strcmp(t->dims[k]->name, name))
                return true;
    }
    return false;
}

static const int64_t *value_of(const cab_import_options *o, const char *name)
{
    for (int i = 0; i < o->n_binds; i++)
        if (!strcmp(o->binds[i].name, name))
            return &o->binds[i].value;
    return NULL;
}

/* An offered tensor of another size tells this size nothing but its type. */
static void fit_offer(cab_arena *a, const cab_type *t, const cab_import_options *o,
                      cab_import_input *in)
{
    int64_t *dims = cab_dup(a, in->dims, (size_t)in->rank * sizeof *dims);
    for (int k = 0; k < in->rank && in->rank == t->rank; k++) {
        const int64_t *v = t->dims[k]->kind == CAB_DIM_SYM ? value_of(o, t->dims[k]->name) : NULL;
        if (!v || *v == dims[k])
            continue;
        dims[k] = *v;
        in->data = NULL;
        in->bytes = 0;
    }
    in->dims = dims;
}

static void fit_offers(cab_arena *a, const cab_program *p, cab_import_options *o)
{
    cab_import_input *in = cab_dup(a, o->inputs, (size_t)o->n_inputs * sizeof *in);
    for (int i = 0; i < o->n_inputs; i++)
        for (size_t k = 0; k < p->inputs.n; k++) {
            const cab_buffer *b = &p->buffers.p[p->inputs.p[k]];
            if (in[i].name ? !strcmp(in[i].name, b->name) : (size_t)i == k)
                fit_offer(a, &b->type, o, &in[i]);
        }
    o->inputs = in;
}

cab_status cab_sizes_fit(cab_arena *a, cab_sizes *z, const cab_program *p, cab_diag *d)
{
    for (int i = 0; z->n && i < z->size[0].import.n_binds; i++) {
        const char *name = z->size[0].import.binds[i].name;
        if (!value_of(&z->open, name) && !is_extent(p, name))
            return cab_fail(d, CAB_EINVAL, NULL, "sizes are listed for '%s', and no input has an "
                            "open extent of that name", name);
    }
    for (int i = 0; i < z->n; i++)
        if (z->size[i].import.n_inputs)
            fit_offers(a, p, &z->size[i].import);
    return CAB_OK;
}
