/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - what people read: findings, tensors.
 */
#include "tools/tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tool_print_diag(const cab_diag *d)
{
    for (size_t i = 0; i < d->n; i++) {
        char *text = cab_diag_format(&d->entries[i]);
        if (text)
            fprintf(stderr, "cab: %s", text);
        free(text);
    }
}

const char *tool_one_line(cab_arena *a, const cab_diag *d, cab_status s)
{
    const cab_diag_entry *e = cab_diag_first(d);
    if (!e)
        return cab_status_text(s);
    char *text = cab_printf(a, "%s%s%s", e->where, e->where[0] ? ": " : "", e->text);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    return text;
}

const char *tool_type_text(cab_arena *a, int dtype, int rank, const int64_t *dims)
{
    cab_buf b = cab_buf_on(a);
    cab_buf_printf(&b, "%s[", cab_dtype_name(cab_dtype_from_onnx(dtype)));
    for (int i = 0; i < rank; i++) {
        cab_buf_str(&b, i ? ", " : "");
        if (dims[i] < 0)
            cab_buf_char(&b, '?');
        else
            cab_buf_printf(&b, "%lld", (long long)dims[i]);
    }
    cab_buf_char(&b, ']');
    return cab_buf_cstr(&b);
}

cab_status tool_emit(const tool_args *args, cab_diag *d)
{
    char *text;
    size_t n;
    CAB_TRY(cab_compiler_emit(&args->compile, &(cab_source){ .path = args->model }, args->emit,
                              args->output_file, &text, &n, d));
    cab_status s = CAB_OK;
    if (!strcmp(args->emit, "so"))
        return CAB_OK;                 /* it is written */
    if (args->output_file)
        s = cab_file_write(args->output_file, text, n, d);
    else
        fwrite(text, 1, n, stdout);
    free(text);
    return s;
}

/* A sequence element by element; an optional without a value. */
static void print_list(const char *name, const cab_tensor_view *t)
{
    char item[256];
    if (t->rank == CAB_RANK_NONE) {
        printf("%s: nothing\n", name);
        return;
    }
    printf("%s: a sequence of %lld\n", name, (long long)t->dims[0]);
    for (int64_t i = 0; i < t->dims[0]; i++) {
        snprintf(item, sizeof item, "  %.200s[%lld]", name, (long long)i);
        tool_print_tensor(item, (const cab_tensor_view *)t->data + i);
    }
}

void tool_print_tensor(const char *name, const cab_tensor_view *t)
{
    if (t->rank < 0) {
        print_list(name, t);
        return;
    }
    cab_dtype dt = cab_dtype_from_onnx(t->dtype);
    int64_t n = 1;
    printf("%s: %s[", name, cab_dtype_name(dt));
    for (int i = 0; i < t->rank; i++) {
        printf(i ? ", %lld" : "%lld", (long long)t->dims[i]);
        n *= t->dims[i];
    }
    printf("]");
    double lo = INFINITY, hi = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = cab_elem_f64(dt, t->data, (uint64_t)i);
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
        sum += v;
    }
    if (n)
        printf("  min %.6g  mean %.6g  max %.6g  first", lo, sum / (double)n, hi);
    for (int64_t i = 0; i < n && i < 6; i++)
        printf(" %.6g", cab_elem_f64(dt, t->data, (uint64_t)i));
    printf("\n");
}
