/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen-doc.c - docs/ops.md from the tables: the primitives with their operands
 * and attributes, and which operators of the standard decompose to them.
 */
#include "ir/ir.h"
#include "passes/pass.h"
#include <stdio.h>
#include <string.h>

static const char *const arity_mark[] = { [CAB_ONE] = "", [CAB_OPT] = "?", [CAB_VAR] = "..." };

static void print_io(const cab_io_row *row, int n)
{
    for (int i = 0; i < n; i++)
        printf("%s%s%s: %s", i ? ", " : "", row[i].name, arity_mark[row[i].arity], row[i].var);
}

static void print_dtypes(cab_dtset set)
{
    const char *gap = "";
    for (int t = 1; t < CAB_DT_COUNT; t++)
        if (set & CAB_DTBIT(t)) {
            printf("%s%s", gap, cab_dtype_name((cab_dtype)t));
            gap = " ";
        }
}

static const char *const kind_name[CAB_ATTR_KIND_COUNT] = {
    [CAB_ATTR_INT] = "int",       [CAB_ATTR_FLOAT] = "float",   [CAB_ATTR_STR] = "string",
    [CAB_ATTR_TENSOR] = "tensor", [CAB_ATTR_GRAPH] = "graph",   [CAB_ATTR_INTS] = "ints",
    [CAB_ATTR_FLOATS] = "floats", [CAB_ATTR_STRS] = "strings",  [CAB_ATTR_DIMS] = "dims",
    [CAB_ATTR_DTYPE] = "dtype",   [CAB_ATTR_GRAPHS] = "graphs", [CAB_ATTR_TENSORS] = "tensors",
    [CAB_ATTR_TYPE] = "type",
};

static void print_core(const cab_op *op)
{
    printf("### %s\n\n%s\n\n    %s(", op->name, op->doc, op->name);
    print_io(op->in, op->n_in);
    printf(") -> (");
    print_io(op->out, op->n_out);
    printf(")\n");
    for (int i = 0; i < op->n_attr; i++) {
        const cab_attr_row *a = &op->attr[i];
        printf("    %s: %s%s%s\n", a->name, kind_name[a->kind],
               !a->def ? ", required" : *a->def ? ", default " : ", optional",
               a->def ? a->def : "");
    }
    for (int i = 0; i < op->n_type; i++) {
        printf("    %s: ", op->type[i].var);
        print_dtypes(op->type[i].set);
        printf("\n");
    }
    printf("\n");
}

static void print_onnx(const bool *supported)
{
    const char *domain = NULL;
    int known = 0, all = 0;
    for (int i = CAB_OP_first_onnx_; i < CAB_OP_COUNT; i++) {
        all++;
        known += supported[i];
    }
    printf("## Operators of the standard\n\n%d of the %d operators in the rows decompose; a form of one "
           "that does not\nsays so by node (`cab check`). Opsets 7 to %d are brought to the newest on "
           "import.\n", known, all, cab_schema_newest_opset(""));
    for (int i = CAB_OP_first_onnx_; i < CAB_OP_COUNT; i++) {
        const cab_op *op = cab_op_get((cab_op_id)i);
        if (!domain || strcmp(domain, op->domain)) {
            domain = op->domain;
            printf("\n%s:\n", domain[0] ? domain : "ai.onnx");
        }
        if (supported[i])
            printf("%s\n", op->onnx_name);
    }
}

int main(void)
{
    static bool supported[CAB_OP_COUNT];
    cab_job job = { 0 };
    cab_arena *a = cab_arena_create(&job);
    if (!a || CAB_JOB_ENTER(&job) || cab_passes_known(a, supported, NULL) != CAB_OK)
        return 1;
    printf("# Operators\n\nWritten by tools/gen-doc from `ir/ops.def` and `passes/decompose.*`; do not "
           "edit.\n\n## Primitives\n\nOperands marked ? are optional, ... repeat. Elementwise primitives "
           "broadcast as numpy does.\n\n");
    for (int i = CAB_OP_none + 1; i < CAB_OP_first_onnx_; i++)
        print_core(cab_op_get((cab_op_id)i));
    print_onnx(supported);
    cab_arena_destroy(a);
    return 0;
}
