/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime.h - what the rest of the house sees of the runtime: the public
 * interface, the plan, and the checks that tools want to show.
 */
#ifndef CAB_RUNTIME_RUNTIME_H
#define CAB_RUNTIME_RUNTIME_H
#include "base/diag.h"
#include "include/cab_rt.h"
#include "runtime/plan.h"

/* ---- artifact.c: the container ---- */
/* A file in memory; header and table are checked. */
typedef struct cab_artifact {
    const uint8_t *p;
    uint64_t n;
    const cab_file_header *header;
    const cab_file_section *sections;
    int n_variants;            /* all */
    int n_targets;             /* of them, those that specialise no other: 0 .. n_targets - 1 */
} cab_artifact;
/* p: 64-byte aligned.  No allocation. */
cab_status cab_artifact_open(const void *p, uint64_t n, cab_artifact *out, cab_error *e);
/* NULL when there is none. */
const cab_file_section *cab_artifact_find(const cab_artifact *a, uint32_t kind, uint32_t variant);
const uint8_t *cab_artifact_bytes(const cab_artifact *a, const cab_file_section *s);
/* The first target for those features; else what the machine lacks, in words. */
cab_status cab_artifact_choose(const cab_artifact *a, uint32_t isa, uint32_t *out, cab_error *e);
/* One section against its hash. */
cab_status cab_artifact_check(const cab_artifact *a, const cab_file_section *s, cab_error *e);
/* Every byte of the file: hashes, CRCs, zeros between. */
cab_status cab_artifact_verify(const cab_artifact *a, cab_error *e);
/* By o->check_signature; what is signed is verified, byte by byte. */
cab_status cab_artifact_check_signature(const cab_artifact *a, const cab_model_options *o,
                                        cab_error *e);
const char *cab_section_name(uint32_t kind);

/* ---- plan.c ---- */
/* A plan in memory, all pointers into the mapping, every index checked. */
typedef struct cab_plan {
    uint32_t isa;              /* features the code needs */
    const cab_plan_header *header;
    const cab_plan_scalar *scalars;
    const cab_plan_check *checks;
    const cab_plan_value *values;
    const cab_plan_kernel *kernels;
    const cab_plan_instr *instrs;
    const uint32_t *words;
    const uint32_t *inputs, *outputs;
    uint32_t n_early;                  /* slots before the first late one */
    uint32_t n_custom;                 /* instructions CUSTOM */
    uint32_t n_aliases;                /* values ALIAS */
    uint32_t n_lists;                  /* values of kind sequence or optional */
    uint32_t n_dynamic;                /* numbers of DYNAMIC memory */
    const char *strings;
    uint32_t strings_bytes;
    const uint8_t *code, *weights;     /* in the mapping */
    uint64_t code_offset, code_bytes, weights_offset, weights_bytes;
} cab_plan;

/* Hashes and validates one variant and fills *out.  No allocation. */
cab_status cab_plan_open(const cab_artifact *a, uint32_t variant, cab_plan *out, cab_error *e);
/* The first variant of a file, whatever processor it is for. */
cab_status cab_plan_check_bytes(const void *p, uint64_t n, cab_plan *out, cab_error *e);
const cab_plan *cab_model_plan(const cab_model *m);

/* ---- shape.c ---- */
/* Computes slots [lo, hi); inputs give extents, capacity the room of states by
 * family (0: dense; NULL: all).  inputs NULL: both as at the start of the run.
 * Fails on overflow and on division by zero. */
int cab_shape_eval(const cab_plan *p, const cab_tensor_view *inputs, const int64_t *capacity,
                   int64_t *slots, uint32_t lo, uint32_t hi, cab_error *e);

/* ---- special.c: plans that serve some sizes of a model ---- */
/* An extent of an input that is a constant of the special plan only. */
typedef struct cab_extent_is { uint32_t input, axis; int64_t value; } cab_extent_is;
/* Whether special is plan with some extents bound: the same names, types and
 * model.  Writes at most cap of these extents and counts them all; no
 * allocation. */
cab_status cab_sized_check(const cab_plan *plan, const cab_plan *special, cab_extent_is *out,
                             uint32_t cap, uint32_t *out_n, cab_error *e);
/* "batch=1, seq=128", cut to fit; returns buf. */
const char *cab_sized_label(const cab_plan *plan, const cab_extent_is *is, uint32_t n_is,
                              char *buf, size_t n);
/* Plans for certain sizes at present, those of the file and those attached.  [any thread] */
uint32_t cab_model_special_count(const cab_model *m);

/* ---- special_load.c ---- */
/* A model that can be attached to m, from the n bytes of an artifact of the same
 * model, which may go when this returns.  Constants are m's where m has them: it
 * must not be used after m. */
int cab_model_load_special(const cab_model *m, const void *p, size_t n, cab_model **out,
                           cab_error *e);

/* ---- special.c ---- */
/* Who wants to know which sizes are run for which there is no special plan. */
typedef struct cab_watch {
    /* After such a run succeeded, on its thread; inputs tell their extents. */
    void (*missed)(void *user, const cab_tensor_view *inputs);
    /* Once, before the model ends; when it returns nothing more may come from the
     * watcher. */
    void (*gone)(void *user);
    void *user;
} cab_watch;
/* Before the first session is made; once. */
int cab_model_watch(cab_model *m, const cab_watch *w, cab_error *e);
/* Runs of the sizes of special, made by cab_model_load_special, take it from their
 * next run on.  On success the caller's reference is m's, which gives up
 * attached ones that were not run for longest until at most `most` are left (and
 * special itself when its sizes have a plan already).  m is watched.  [any thread, while m lives] */
int cab_model_attach(cab_model *m, cab_model *special, uint32_t most, cab_error *e);
/* isa bits this machine and kernel offer. */
uint32_t cab_isa_here(void);
const char *cab_isa_names(uint32_t isa, char *buf, size_t n);

#endif
