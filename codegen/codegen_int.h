/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codegen_int.h - from kernels to one artifact: the parts of codegen.c.
 */
#ifndef CAB_CODEGEN_CODEGEN_INT_H
#define CAB_CODEGEN_CODEGEN_INT_H
#include "codegen/codegen.h"
#include "codegen/gen.h"
#include "runtime/plan.h"

/* ---- tuning.c: schedules from a record ---- */
typedef struct cab_tuning cab_tuning;
cab_status cab_tuning_parse(cab_arena *a, const char *text, cab_tuning **out, cab_diag *d);
/* *sched becomes the record's, where it has one for the kernel. */
cab_status cab_tuning_choose(cab_tuning *t, const cab_spec *s, const cab_target *target,
                             const bool *constant, cab_sched *sched, cab_diag *d);
/* When everything is made: a warning about lines that nothing was made from. */
void cab_tuning_report(const cab_tuning *t, cab_diag *d);
/* A record of what was used: of another record that gives the same. */
void cab_tuning_put_used(const cab_tuning *t, cab_buf *b);
void cab_tuning_put_head(cab_buf *b, const cab_target *t);
void cab_tuning_put_kernel(cab_buf *b, const cab_spec *s, const bool *constant, const char *name,
                           const cab_sched *c);

/* ---- link.c: the only place that knows ELF and relocations ---- */
typedef struct cab_symbol { const char *name; uint64_t offset, bytes; } cab_symbol;
typedef struct cab_image {
    cab_buf code;              /* position-independent, no external symbols */
    CAB_VEC(cab_symbol) symbols;
} cab_image;
/* Appends one x86-64 ELF relocatable object.  Writable data, undefined symbols
 * and relocations other than PC-relative ones are internal errors. */
cab_status cab_link_object(cab_arena *a, cab_image *img, const void *elf, size_t n,
                           cab_diag *d);
const cab_symbol *cab_image_find(const cab_image *img, const char *name);

/* ---- scalars.c: dimension expressions -> the shape program ---- */
typedef struct cab_scalars {
    cab_arena *arena;
    cab_map *by_dim;           /* cab_dim pointer -> slot + 1 */
    cab_map *strings;          /* text -> offset + 1 */
    cab_buf text;              /* the strings section */
    CAB_VEC(cab_plan_scalar) slots;
} cab_scalars;
void cab_scalars_init(cab_scalars *s, cab_arena *a);
uint32_t cab_scalars_text(cab_scalars *s, const char *text);   /* NULL = "" */
/* Symbols that are extents of the program's inputs become INPUT_DIM slots. */
void cab_scalars_bind_inputs(cab_scalars *s, const cab_program *p);
/* A symbol that a step of the program sets. */
void cab_scalars_bind_late(cab_scalars *s, const cab_dim *sym);
/* Puts the slots in order; the new number of each.  Slots made after it stand
 * behind all of these. */
uint32_t *cab_scalars_order(cab_scalars *s);
/* Symbols that are the room of states become CAPACITY slots. */
cab_status cab_scalars_bind_states(cab_scalars *s, const cab_program *p, cab_diag *d);
uint32_t cab_scalars_const(cab_scalars *s, int64_t v);
/* Slot of an expression; fails when it names a symbol no input binds. */
cab_status cab_scalars_slot(cab_scalars *s, const cab_dim *x, uint32_t *out, cab_diag *d);
/* Every symbol in x is bound. */
bool cab_scalars_known(const cab_scalars *s, const cab_dim *x);
/* Slot of ceil(elems * bits / 8). */
cab_status cab_scalars_bytes(cab_scalars *s, cab_dims *dims, const cab_dim *elems,
                             cab_dtype dt, uint32_t *out, cab_diag *d);

/* ---- constants.c: the weights section ---- */
typedef struct cab_constant {
    int buffer;                /* of the program */
    const cab_pack *pack;      /* NULL = as it is */
    const cab_blob *blob;
    uint64_t offset, bytes;    /* in the section; offset is 64-aligned */
} cab_constant;
typedef struct cab_constants {
    cab_arena *arena;
    CAB_VEC(cab_constant) list;
    cab_map *by_key;           /* (blob, pack) -> index + 1 */
    cab_map *by_content;       /* of bytes -> blob; NULL: blobs are told apart by address */
    cab_map *known;            /* address and length -> blob of by_content */
    uint64_t bytes;
} cab_constants;
void cab_constants_init(cab_constants *c, cab_arena *a);
/* From here on equal bytes are one constant, wherever they lie: the programs of
 * one file fold the same things. */
void cab_constants_compare(cab_constants *c);
/* Index of the constant; equal requests share one. */
int cab_constants_add(cab_constants *c, int buffer, const cab_blob *blob, const cab_pack *pack);
/* Writes one constant, as kernels want it. */
cab_status cab_constant_write(const cab_constant *k, uint8_t *dst, const cab_cancel *cancel,
                              cab_diag *d);
/* ---- constants_write.c ---- */
/* Writes every constant at base + offset. */
cab_status cab_constants_write(const cab_constants *c, uint8_t *base, const cab_codegen_options *o,
                               cab_diag *d);

/* ---- plan_write.c ---- */
/* A kernel of the artifact and the steps that launch it. */
typedef struct cab_unit {
    const cab_spec *spec;
    const bool *constant;      /* per operand */
    cab_sched sched;
    cab_kernel kernel;
    const char *symbol;
} cab_unit;
/* ---- band.c: launches that run band of rows by band ---- */
typedef struct cab_band {
    int first, n;              /* steps */
    int buffer[CAB_BAND_LAUNCHES];             /* i: what launch i passes on to the next, and */
    const cab_dim *stride[CAB_BAND_LAUNCHES];  /* elements of a row of it */
    const cab_dim *rows, *block, *per;         /* rows of a matrix, of a task; tasks of a matrix */
} cab_band;
typedef struct cab_bands { CAB_VEC(cab_band) list; } cab_bands;
/* Finds them; how their units run becomes what a band needs. */
void cab_bands_find(cab_arena *a, const cab_program *p, const cab_target *t, cab_unit *units,
                    size_t n_units, const int *unit_of_step, cab_bands *out);
/* NULL: the step is in none. */
const cab_band *cab_band_of(const cab_bands *b, size_t step);

typedef struct cab_plan_source {
    const cab_program *program;
    const cab_codegen_options *options;
    const cab_unit *units;
    size_t n_units;
    const int *unit_of_step;   /* -1 for helpers */
    const cab_image *image;    /* NULL: no machine code, so no table of kernels */
    const struct cab_planner *before;  /* variant of the same file; NULL: this is the first */
    bool compare;              /* equal constants of the variants lie apart in memory */
    const cab_bands *bands;    /* NULL: none */
} cab_plan_source;
/* plan_flow.c: a block of steps while its instructions are written. */
typedef struct cab_block {
    bool loop;
    uint32_t first;                    /* its first instruction */
    CAB_VEC(uint32_t) leave;           /* instructions whose target is its end */
} cab_block;
typedef struct cab_slots { const uint32_t *p; size_t n; } cab_slots;
/* The tables of a plan while they are made, and when they are done. */
typedef struct cab_planner {
    cab_arena *arena;
    const cab_plan_source *src;
    const cab_program *p;
    cab_diag *diag;
    cab_scalars scalars;
    cab_constants constants;
    CAB_VEC(cab_plan_value) values;
    CAB_VEC(int) constant_of;          /* value -> index in constants, -1 */
    CAB_VEC(cab_plan_instr) instrs;
    CAB_VEC(uint32_t) words;
    CAB_VEC(cab_plan_kernel) kernels;
    CAB_VEC(cab_plan_check) checks;
    uint32_t *value_of;                /* buffer -> value, CAB_PLAN_NONE until made */
    uint8_t *zero_done;                /* buffer was cleared */
    uint32_t n_custom;                 /* instructions of that kind so far */
    CAB_VEC(uint32_t) slot_words;      /* which words are slots */
    uint8_t *has_memory;               /* buffer of a late size: ALLOC was written */
    uint8_t *swaps_late;               /* buffer changes places with one of a late size */
    CAB_VEC(cab_block) open;           /* IF and LOOP without their END yet */
    CAB_VEC(uint32_t) symbols;         /* slots of the symbols set so far, in order */
    CAB_VEC(uint32_t) changed;         /* of those: not followed by EVAL_SHAPE yet */
    CAB_VEC(cab_slots) causes;         /* by number in EVAL_SHAPE.c: what changed */
} cab_planner;
cab_status cab_plan_build(cab_arena *a, const cab_plan_source *s, cab_planner *out, cab_diag *d);
/* ---- plan_flow.c: steps that decide what runs ---- */
/* Symbols of the run get their slots before any other use of them; buffers that
 * change places have memory of one class. */
void cab_plan_bind_symbols(cab_planner *w);
cab_status cab_plan_flow(cab_planner *w, const cab_step *s);
/* A buffer of a late size that s is the first to touch gets its memory. */
cab_status cab_plan_alloc_first(cab_planner *w, const cab_step *s);
/* The same for outputs that no step touches. */
cab_status cab_plan_alloc_outputs(cab_planner *w);
/* Before a step that is no SET: sizes follow the symbols that changed. */
void cab_plan_follow(cab_planner *w);
/* When all is written: slots in order, DYNAMIC memory shared. */
void cab_plan_finish_flow(cab_planner *w);
/* plan_write.c, for it: the value of a buffer; its lifetime reaches to now. */
cab_status cab_plan_value_of(cab_planner *w, int buffer, uint32_t *out);
void cab_plan_touch(cab_planner *w, uint32_t value);
cab_status cab_plan_slot_word(cab_planner *w, const cab_dim *x);
/* plan_zero.c: what steps leave unwritten of the buffer becomes 0. */
cab_status cab_plan_zero(cab_planner *w, const cab_buffer *b, uint32_t value);
cab_status cab_plan_slot_word(cab_planner *w, const cab_dim *x);
/* Appends the plan section; may still add strings. */
void cab_plan_bytes(cab_planner *w, cab_buf *b);

/* ---- cost.c ---- */
typedef struct cab_cost {      /* as in cab_plan_cost */
    const cab_dim *flops, *special, *bytes, *weights;
} cab_cost;
/* constant: per operand, NULL: none is. */
void cab_spec_cost(const cab_spec *s, const bool *constant, cab_cost *out);

/* ---- plan_costs.c ---- */
/* Appends a block of the section COSTS.  The plan's bytes were written: slots
 * are added. */
cab_status cab_plan_costs(cab_planner *w, uint32_t variant, cab_buf *b);

/* ---- artifact_write.c ---- */
typedef struct cab_variant {
    cab_buf plan;
    const cab_buf *code;
    uint32_t isa, special_of;  /* as in cab_file_section */
} cab_variant;
/* Sections that only tools and people read. */
typedef struct cab_extras { cab_buf notes, costs, tuning; } cab_extras;
/* The container around variants; last holds the strings and constants. */
cab_status cab_variants_write(cab_arena *a, const cab_variant *variants, int n,
                              const cab_planner *last, const cab_extras *extras, int *out_fd,
                              uint64_t *out_size, cab_diag *d);

/* ---- c_model.c: the same, as text ---- */
/* One file of C11 and the header of its public functions. */
cab_status cab_c_model(cab_arena *a, const cab_plan_source *s, cab_buf *out, cab_diag *d);
cab_status cab_c_header(const cab_program *p, const cab_codegen_options *o, cab_buf *out,
                        cab_diag *d);

#endif
