/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_kit.h - a tiny plan writer: artifacts made by hand, without kernels.
 */
#ifndef CAB_TESTS_PLAN_KIT_H
#define CAB_TESTS_PLAN_KIT_H
#include "runtime/runtime_int.h"
#include "tests/artifact_kit.h"
#include "tests/test.h"
#include <unistd.h>

typedef struct plan_kit {
    cab_plan_scalar scalars[32];
    cab_plan_check checks[8];
    cab_plan_value values[16];
    cab_plan_instr instrs[64];
    uint32_t words[64], inputs[4], outputs[4];
    cab_plan_header h;
    char strings[512];
    uint32_t n_strings;
    uint8_t weights[256];
    _Alignas(64) uint8_t file[16384];
    size_t n;
} plan_kit;

static inline uint32_t text(plan_kit *k, const char *s)
{
    uint32_t at = k->n_strings;
    k->n_strings += (uint32_t)strlen(s) + 1;
    strcpy(k->strings + at, s);
    return at;
}

static inline void start(plan_kit *k)
{
    memset(k, 0, sizeof *k);
    text(k, "");
}

static inline uint32_t scalar(plan_kit *k, uint32_t op, uint32_t a, uint32_t b, int64_t imm)
{
    k->scalars[k->h.n_scalars] = (cab_plan_scalar){ op, a, b, 0, imm };
    return k->h.n_scalars++;
}

static inline uint32_t num(plan_kit *k, int64_t v) { return scalar(k, CAB_S_CONST, 0, 0, v); }

/* A rank-1 i64 value of n elements (a slot). */
static inline uint32_t value(plan_kit *k, uint8_t cls, uint32_t n, uint32_t bytes)
{
    cab_plan_value v = { .cls = cls, .dtype = 7, .rank = 1, .dims = { n }, .slot_bytes = bytes,
                         .last = 31 };
    if (cls == CAB_V_INPUT) {
        v.index = k->h.n_inputs;
        v.name = text(k, "in");
        k->inputs[k->h.n_inputs++] = k->h.n_values;
    } else if (cls == CAB_V_OUTPUT) {
        v.index = k->h.n_outputs;
        v.name = text(k, "out");
        k->outputs[k->h.n_outputs++] = k->h.n_values;
    }
    k->values[k->h.n_values] = v;
    return k->h.n_values++;
}

static inline uint32_t instr(plan_kit *k, uint32_t op, uint32_t a, uint32_t b, uint32_t c)
{
    k->instrs[k->h.n_instrs] = (cab_plan_instr){ op, a, b, c, 0, 0 };
    return k->h.n_instrs++;
}

static inline void put(plan_kit *k, size_t *at, const void *p, size_t n)
{
    memcpy(k->file + *at, p, n);
    *at += n;
}

static inline void finish(plan_kit *k)
{
    size_t at = 512, plan_at = 512;
    for (uint32_t i = 0; i < k->h.n_values; i++)
        k->values[i].last = k->h.n_instrs;
    memset(k->file, 0, sizeof k->file);
    put(k, &at, &k->h, sizeof k->h);
    put(k, &at, k->scalars, k->h.n_scalars * sizeof *k->scalars);
    put(k, &at, k->checks, k->h.n_checks * sizeof *k->checks);
    put(k, &at, k->values, k->h.n_values * sizeof *k->values);
    put(k, &at, k->instrs, k->h.n_instrs * sizeof *k->instrs);
    put(k, &at, k->words, k->h.n_words * 4);
    put(k, &at, k->inputs, k->h.n_inputs * 4);
    put(k, &at, k->outputs, k->h.n_outputs * 4);
    cab_file_section sec[4] = {
        { .kind = CAB_SEC_PLAN, .offset = plan_at, .bytes = at - plan_at },
        { .kind = CAB_SEC_STRINGS, .offset = 4096, .bytes = k->n_strings },
        { .kind = CAB_SEC_CODE, .offset = 8192 },
        { .kind = CAB_SEC_WEIGHTS, .offset = 8192, .bytes = sizeof k->weights } };
    memcpy(k->file + 4096, k->strings, k->n_strings);
    memcpy(k->file + 8192, k->weights, sizeof k->weights);
    k->n = 12288;
    cab_file_header h = { .magic = CAB_PLAN_MAGIC, .version = CAB_PLAN_VERSION, .n_sections = 4,
                          .file_bytes = k->n };
    kit_seal(k->file, &h, sec);
}

static inline int load_with(plan_kit *k, const cab_model_options *o, cab_model **m, cab_error *e)
{
    cab_diag d;
    int fd = cab_memfd("test", k->n);
    cab_diag_init(&d);
    CHECK(fd >= 0);
    CHECK_EQ(cab_fd_write_at(fd, 0, k->file, k->n, &d), CAB_OK);
    int rc = cab_model_load_fd(fd, "test", o, m, e);
    close(fd);
    cab_diag_fini(&d);
    return rc;
}

static inline int load(plan_kit *k, cab_model **m, cab_error *e) { return load_with(k, NULL, m, e); }

static inline cab_tensor_view i64s(int64_t *p, int64_t n)
{
    return (cab_tensor_view){ 7, 1, { n }, p, (size_t)n * 8 };
}

#endif
