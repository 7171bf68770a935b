/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_inspect.c - cab inspect: what a .cab file holds, and whether it loads
 * on this machine.
 */
#include "tools/tool.h"
#include <stdio.h>
#include <string.h>

static void print_extent(const cab_plan *p, uint32_t slot)
{
    const cab_plan_scalar *s = &p->scalars[slot];
    if (s->op == CAB_S_CONST)
        printf("%lld", (long long)s->imm);
    else
        printf("%s", p->strings[s->name] ? p->strings + s->name : "?");
}

static void print_io(const cab_plan *p, const char *what, const uint32_t *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const cab_plan_value *v = &p->values[list[i]];
        printf("%-8s %s: %s[", what, p->strings + v->name,
               cab_dtype_name(cab_dtype_from_onnx(v->dtype)));
        for (int k = 0; k < v->rank; k++) {
            printf("%s", k ? ", " : "");
            print_extent(p, v->dims[k]);
        }
        printf("]%s\n", v->flags & CAB_V_FIXED ? "  (only this value: it decides sizes)" : "");
    }
}

static void print_plan(const cab_plan *p)
{
    char names[160];
    printf("model    %s, by %s\n", p->strings + p->header->model_name,
           p->strings + p->header->producer);
    printf("source   sha256 ");
    for (int i = 0; i < 32; i++)
        printf("%02x", p->header->model_hash[i]);
    printf("\nplan     version %u, %u instructions, %u kernels, %u buffers, %u sizes\n",
           CAB_PLAN_VERSION, p->header->n_instrs, p->header->n_kernels, p->header->n_values,
           p->header->n_scalars);
    printf("code     %llu bytes, needs %s\n", (unsigned long long)p->code_bytes,
           cab_isa_names(p->isa, names, sizeof names));
    printf("weights  %llu bytes\n", (unsigned long long)p->weights_bytes);
    print_io(p, "input", p->inputs, p->header->n_inputs);
    print_io(p, "output", p->outputs, p->header->n_outputs);
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const uint32_t *w = p->words + p->instrs[i].b;
        if (p->instrs[i].op == CAB_I_CUSTOM)
            printf("custom   %s::%s, node %s\n", p->strings + w[CAB_CUSTOM_DOMAIN],
                   p->strings + w[CAB_CUSTOM_NAME], p->strings + w[CAB_CUSTOM_NODE]);
    }
}

static void print_launches(const cab_plan *p)
{
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const cab_plan_instr *x = &p->instrs[i];
        if (x->op == CAB_I_LAUNCH)
            printf("%5u launch %-24s %-28s %s\n", i, p->strings + p->kernels[x->a].name,
                   p->strings + x->e, p->strings + x->d);
        else if (x->op == CAB_I_HELPER)
            printf("%5u helper %-24u %-28s %s\n", i, x->a, p->strings + x->e, p->strings + x->d);
        else if (x->op == CAB_I_CUSTOM)
            printf("%5u custom %-24s %-28s %s\n", i, p->strings + x->e, p->strings + x->e,
                   p->strings + x->d);
    }
}

int cmd_inspect(int argc, char **argv)
{
    tool_args args;
    cab_diag d;
    cab_mapping m;
    cab_plan p;
    cab_error e = { 0 };
    cab_model *model;
    if (!tool_parse_args(argc, argv, "layers custom", &args))
        return 2;
    if (!args.model) {
        fprintf(stderr, "usage: cab inspect MODEL.cab [--layers]\n");
        return 2;
    }
    cab_diag_init(&d);
    cab_status s = cab_file_map(args.model, &m, &d);
    tool_print_diag(&d);
    cab_diag_fini(&d);
    if (s != CAB_OK)
        return cab_status_exit(s);
    s = cab_plan_check_bytes(m.p, m.n, &p, &e);
    if (s == CAB_OK) {
        print_plan(&p);
        if (args.layers)
            print_launches(&p);
        cab_model_options mo = { .size = sizeof mo, .custom = args.compile.custom,
                                 .n_custom = args.compile.n_custom };
        s = (cab_status)cab_model_load(args.model, &mo, &model, &e);
        if (s == CAB_OK) {
            printf("loads on this machine\n");
            cab_model_destroy(model);
        }
    }
    if (s != CAB_OK)
        fprintf(stderr, "cab: %s: %s\n", args.model, e.text);
    cab_file_unmap(&m);
    return cab_status_exit(s);
}
