/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_inspect.c - cab inspect: what a .cab file holds, whether it is whole, and
 * whether it loads on this machine.
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
        printf("%-9s %s: %s[", what, p->strings + v->name,
               cab_dtype_name(cab_dtype_from_onnx(v->dtype)));
        for (int k = 0; k < v->rank; k++) {
            printf("%s", k ? ", " : "");
            print_extent(p, v->dims[k]);
        }
        printf("]%s\n", v->flags & CAB_V_FIXED ? "  (only this value: it decides sizes)" : "");
    }
}

static void print_hex(const char *what, const uint8_t *p, int n)
{
    printf("%s", what);
    for (int i = 0; i < n; i++)
        printf("%02x", p[i]);
    printf("\n");
}

/* The plans for certain sizes, of the first target. */
static cab_status print_specials(const cab_artifact *a, const cab_plan *p, cab_error *e)
{
    for (uint32_t v = (uint32_t)a->n_targets; v < (uint32_t)a->n_variants; v++) {
        cab_extent_is is[64];
        cab_plan s;
        uint32_t n;
        char label[200];
        if (cab_artifact_find(a, CAB_SEC_PLAN, v)->special_of != 1)
            continue;
        CAB_TRY(cab_plan_open(a, v, &s, e));
        CAB_TRY(cab_sized_check(p, &s, is, 64, &n, e));
        printf("special   %s: %u instructions, %u kernels\n",
               cab_sized_label(p, is, n < 64 ? n : 64, label, sizeof label), s.header->n_instrs,
               s.header->n_kernels);
    }
    return CAB_OK;
}

static void print_sections(const cab_artifact *a)
{
    char names[160];
    for (uint32_t i = 0; i < a->header->n_sections; i++) {
        const cab_file_section *s = &a->sections[i];
        printf("section   %-9s %12llu bytes at %llu", cab_section_name(s->kind),
               (unsigned long long)s->bytes, (unsigned long long)s->offset);
        if (s->special_of)
            printf("  for certain sizes");
        else if (s->kind == CAB_SEC_CODE)
            printf("  needs %s", cab_isa_names(s->isa, names, sizeof names));
        printf("\n");
    }
}

static void print_plan(const cab_artifact *a, const cab_plan *p)
{
    const cab_file_section *sig = cab_artifact_find(a, CAB_SEC_SIGNATURE, 0);
    printf("model     %s, by %s\n", p->strings + p->header->model_name,
           p->strings + p->header->producer);
    print_hex("source    sha256 ", p->header->model_hash, 32);
    print_hex("artifact  sha256 ", a->header->sha256, 32);
    if (sig && sig->bytes == sizeof(cab_file_signature))
        print_hex("signed    ed25519 key ", cab_artifact_bytes(a, sig), 32);
    printf("plan      version %u, %u instructions, %u kernels, %u buffers, %u sizes\n",
           a->header->version, p->header->n_instrs, p->header->n_kernels, p->header->n_values,
           p->header->n_scalars);
    print_sections(a);
    print_io(p, "input", p->inputs, p->header->n_inputs);
    print_io(p, "output", p->outputs, p->header->n_outputs);
}

static void print_custom(const cab_plan *p)
{
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const uint32_t *w = p->words + p->instrs[i].b;
        if (p->instrs[i].op == CAB_I_CUSTOM)
            printf("custom    %s::%s, node %s\n", p->strings + w[CAB_CUSTOM_DOMAIN],
                   p->strings + w[CAB_CUSTOM_NAME], p->strings + w[CAB_CUSTOM_NODE]);
    }
}

static void print_notes(const cab_artifact *a)
{
    const cab_file_section *s = cab_artifact_find(a, CAB_SEC_NOTES, 0);
    if (s)
        fwrite(cab_artifact_bytes(a, s), 1, s->bytes, stdout);
}

static void print_launches(const cab_plan *p)
{
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const cab_plan_instr *x = &p->instrs[i];
        if (x->op == CAB_I_LAUNCH)
            printf("%5u launch %-24s %-28s %s\n", i, p->strings + p->kernels[x->a].name,
                   p->strings + x->e, p->strings + x->d);
        else if (x->op == CAB_I_BAND)
            printf("%5u band   the next %u together, task by task\n", i, x->a);
        else if (x->op == CAB_I_HELPER)
            printf("%5u helper %-24u %-28s %s\n", i, x->a, p->strings + x->e, p->strings + x->d);
        else if (x->op == CAB_I_CUSTOM)
            printf("%5u custom %-24s %-28s %s\n", i, p->strings + x->e, p->strings + x->e,
                   p->strings + x->d);
    }
}

/* What a run needs, where no extent is open; -1 = the inputs decide. */
static void print_need(cab_model *m)
{
    cab_tensor_view in[64];
    cab_memory need;
    int n = cab_model_input_count(m);
    for (int i = 0; i < n && n <= 64; i++) {
        cab_tensor_info info;
        cab_model_input(m, i, &info);
        in[i] = (cab_tensor_view){ .dtype = info.dtype, .rank = info.rank };
        memcpy(in[i].dims, info.dims, sizeof in[i].dims);
        for (int k = 0; k < info.rank; k++)
            if (info.dims[k] < 0)
                n = 65;
    }
    if (n <= 64 && cab_model_estimate(m, in, &need, NULL) == 0)
        printf("memory    a run needs %.2f MB, outputs %.2f MB, weights %.2f MB (mapped)\n",
               (double)need.intermediate / 1e6, (double)need.outputs / 1e6,
               (double)need.weights / 1e6);
    else
        printf("memory    depends on the extents of the inputs (cab run prints it)\n");
}

static cab_status try_here(const tool_args *args, const cab_artifact *a, cab_error *e)
{
    uint32_t variant;
    cab_model *m;
    int rc = cab_model_load(args->model, &args->load, &m, e);
    if (rc != CAB_OK) {
        printf("does not load here: %s\n", e->text);
        return (cab_status)rc;
    }
    print_need(m);
    cab_artifact_choose(a, cab_isa_here(), &variant, NULL);
    printf("loads on this machine (target %u of %d)%s\n", variant + 1, a->n_targets,
           args->trust_key ? "; signed by that key, every checksum holds"
           : args->load.verify == CAB_VERIFY_FULL ? "; every checksum holds" : "");
    cab_model_destroy(m);
    return CAB_OK;
}

static cab_status inspect(const tool_args *args, const cab_mapping *m, cab_error *e)
{
    cab_artifact a;
    cab_plan p;
    CAB_TRY(cab_artifact_open(m->p, m->n, &a, e));
    CAB_TRY(cab_plan_open(&a, 0, &p, e));
    print_plan(&a, &p);
    CAB_TRY(print_specials(&a, &p, e));
    print_custom(&p);
    if (args->layers)
        print_launches(&p);
    if (args->notes)
        print_notes(&a);
    return try_here(args, &a, e);
}

int cmd_inspect(int argc, char **argv)
{
    tool_args args;
    cab_diag d;
    cab_mapping m;
    cab_error e = { 0 };
    if (!tool_parse_args(argc, argv, "layers notes verify key custom", &args))
        return 2;
    if (!args.model) {
        fprintf(stderr, "usage: cab inspect MODEL.cab [--layers] [--notes] [--verify=full] [--key PUB.pem]\n");
        return 2;
    }
    cab_diag_init(&d);
    uint8_t key[32];
    cab_status s = args.trust_key ? cab_sign_key_read(args.trust_key, true, key, &d) : CAB_OK;
    if (args.trust_key) {
        args.load.check_signature = cab_check_signature;
        args.load.signature_user = key;
    }
    if (s == CAB_OK)
        s = cab_file_map(args.model, &m, &d);
    tool_print_diag(&d);
    cab_diag_fini(&d);
    if (s != CAB_OK)
        return cab_status_exit(s);
    s = inspect(&args, &m, &e);
    if (s != CAB_OK)
        fprintf(stderr, "cab: %s: %s\n", args.model, e.text);
    cab_file_unmap(&m);
    return cab_status_exit(s);
}
