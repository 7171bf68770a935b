/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag.c - recording and writing out failures.
 *
 * Names in a story come from files: control characters are replaced, so an
 * entry is one line and cannot drive a terminal.  When memory is short an
 * entry is dropped; a note for a dropped entry is dropped too.
 */
#include "base/diag.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t DEFAULT_LIMIT = 1000;

void cab_diag_init(cab_diag *d)
{
    *d = (cab_diag){ .limit = DEFAULT_LIMIT };
}

void cab_diag_clear(cab_diag *d)
{
    for (size_t i = 0; i < d->n; i++) {
        cab_diag_entry *e = &d->entries[i];
        free(e->where);
        free(e->text);
        for (int k = 0; k < e->n_notes; k++)
            free(e->notes[k]);
        free(e->notes);
    }
    d->n = 0;
    d->last_dropped = false;
}

void cab_diag_fini(cab_diag *d)
{
    cab_diag_clear(d);
    free(d->entries);
    d->entries = NULL;
    d->cap = 0;
}

static char *one_line(const char *fmt, va_list ap)
{
    char *s;

    if (vasprintf(&s, fmt, ap) < 0)
        return NULL;
    for (char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = *p == '\n' || *p == '\t' ? ' ' : '?';
    return s;
}

__attribute__((format(printf, 1, 2)))
static char *line_of(const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = one_line(fmt, ap);
    va_end(ap);
    return s;
}

/* "f.cir:3:4", "node 'x' (Conv, opset 11)", or both. */
static char *where_text(const cab_where *w)
{
    char place[32] = "", opset[32] = "";
    bool named = w && w->node && *w->node, typed = w && w->op && *w->op;

    if (!w)
        return strdup("");
    if (w->file && w->line > 0 && w->col > 0)
        snprintf(place, sizeof place, ":%d:%d", w->line, w->col);
    else if (w->file && w->line > 0)
        snprintf(place, sizeof place, ":%d", w->line);
    if (w->opset > 0)
        snprintf(opset, sizeof opset, ", opset %d", w->opset);
    return line_of("%s%s%s%s%s%s%s%s%s%s",
                   w->file ? w->file : "", place,
                   w->file && (named || typed) ? ": " : "",
                   named ? "node '" : typed ? "a node" : "",
                   named ? w->node : "", named ? "'" : "",
                   typed ? " (" : "", typed ? w->op : "",
                   typed ? opset : "", typed ? ")" : "");
}

static bool grow(cab_diag *d)
{
    size_t cap = d->cap ? d->cap * 2 : 8;
    cab_diag_entry *p;

    if (d->n < d->cap)
        return true;
    p = realloc(d->entries, cap * sizeof *p);
    if (!p)
        return false;
    d->entries = p;
    d->cap = cap;
    return true;
}

static void record(cab_diag *d, cab_severity severity, cab_status code,
                   const cab_where *w, const char *fmt, va_list ap)
{
    cab_diag_entry e = { .code = code, .severity = severity };

    if (!d)
        return;
    d->last_dropped = true;
    if (d->n >= (d->limit ? d->limit : DEFAULT_LIMIT) || !grow(d))
        return;
    e.where = where_text(w);
    e.text = one_line(fmt, ap);
    if (!e.where || !e.text) {
        free(e.where);
        free(e.text);
        return;
    }
    d->entries[d->n++] = e;
    d->last_dropped = false;
}

cab_status cab_vfail(cab_diag *d, cab_status code, const cab_where *w,
                     const char *fmt, va_list ap)
{
    record(d, CAB_ERROR, code, w, fmt, ap);
    return code;
}

cab_status cab_fail(cab_diag *d, cab_status code, const cab_where *w,
                    const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    record(d, CAB_ERROR, code, w, fmt, ap);
    va_end(ap);
    return code;
}

void cab_warn(cab_diag *d, const cab_where *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    record(d, CAB_WARNING, CAB_OK, w, fmt, ap);
    va_end(ap);
}

void cab_note(cab_diag *d, const char *fmt, ...)
{
    cab_diag_entry *e;
    va_list ap;
    char **notes, *s;

    if (!d || !d->n || d->last_dropped)
        return;
    e = &d->entries[d->n - 1];
    va_start(ap, fmt);
    s = one_line(fmt, ap);
    va_end(ap);
    notes = realloc(e->notes, ((size_t)e->n_notes + 1) * sizeof *notes);
    if (notes)
        e->notes = notes;
    if (notes && s)
        e->notes[e->n_notes++] = s;
    else
        free(s);
}

bool cab_diag_has_errors(const cab_diag *d)
{
    return cab_diag_first(d) != NULL;
}

const cab_diag_entry *cab_diag_first(const cab_diag *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->entries[i].severity == CAB_ERROR)
            return &d->entries[i];
    return NULL;
}

char *cab_diag_format(const cab_diag_entry *e)
{
    static const char *const words[] = {
        [CAB_NOTE] = "note", [CAB_WARNING] = "warning", [CAB_ERROR] = "error",
    };
    bool coded = e->code != CAB_OK;
    char *out = NULL;
    size_t n;
    FILE *f = open_memstream(&out, &n);

    if (!f)
        return NULL;
    fprintf(f, "%s: %s%s%s%s%s\n", words[e->severity],
            coded ? cab_status_text(e->code) : "", coded ? ": " : "",
            e->where, *e->where ? ": " : "", e->text);
    for (int i = 0; i < e->n_notes; i++)
        fprintf(f, "note: %s\n", e->notes[i]);
    if (fclose(f)) {
        free(out);
        return NULL;
    }
    return out;
}
