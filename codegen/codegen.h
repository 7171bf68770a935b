/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codegen.h - program of Specs -> artifact bytes.
 *
 * Schedules every Spec, shares equal kernels, generates KIR, renders machine
 * code through LLVM, links it into one position-independent image, lays out
 * constants (packed as the kernels want them), plans lifetimes and writes the
 * plan (runtime/plan.h).  The same bytes are mapped for a JIT run and written
 * as a .cab file.
 */
#ifndef CAB_CODEGEN_CODEGEN_H
#define CAB_CODEGEN_CODEGEN_H
#include "base/cancel.h"
#include "ir/spec.h"

typedef struct cab_codegen_options {
    bool naive;                /* kernels with the empty schedule */
    const char *target;        /* NULL or "native"; or levels: "x86-64-v2,x86-64-v4" */
    int threads;               /* compile threads; 0 = 1 */
    const char *producer;      /* metadata: "cab 0.1.0" */
    const char *model_name;
    const char *tuning;        /* text of a tuning record (tuning.c); NULL = none */
    const char *prefix;        /* of the names in C text: an identifier; NULL = "model" */
    const uint8_t *model_hash; /* SHA-256 of the model file, 32 bytes; NULL = zeros */
    bool seal;                 /* for a file: checksums of the weights, notes, costs */
    bool last_use;             /* nothing reads the program's constants afterwards: their memory
                                * is given back while the file fills */
    bool no_costs;             /* seal without what kernels must do (for tools) */
    const void *embed;         /* the ONNX file, to be carried along; NULL = not */
    uint64_t embed_bytes;
    /* NULL: no signature.  Ed25519; returns 0 when the signature is made. */
    int (*sign)(void *user, const void *message, size_t n, uint8_t public_key[32],
                uint8_t signature[64]);
    void *sign_user;
    cab_cancel cancel;         /* asked between kernels, batches of machine code, constants */
} cab_codegen_options;

/* Levels in o->target; at most that many stand in one artifact. */
#define CAB_MAX_TARGETS 8
/* Programs that specialise another in one artifact. */
#define CAB_MAX_SPECIAL 16

/* The finished artifact as an anonymous file (memfd): *out_fd is the caller's
 * to close; *out_size its bytes.  JIT maps it, compile copies it to a path. */
cab_status cab_codegen(cab_arena *a, const cab_program *p, const cab_codegen_options *o,
                       int *out_fd, uint64_t *out_size, cab_diag *d);

/* The same computation with some extents of its inputs bound. */
typedef struct cab_codegen_special {
    const cab_program *program;
    const char *label;         /* "batch=1, seq=128", for the notes */
} cab_codegen_special;
/* As cab_codegen, with n specialisations of p in the same artifact; a run whose
 * extents are those of one takes it.  They have inputs and outputs of the same
 * names and types. */
cab_status cab_codegen_sized(cab_arena *a, const cab_program *p, const cab_codegen_special *special,
                             int n, const cab_codegen_options *o, int *out_fd, uint64_t *out_size,
                             cab_diag *d);

/* Writes a text that names the machine code o->target asks for: LLVM and the
 * processor; equal texts mean equal code.  Does not load LLVM. */
cab_status cab_codegen_identity(cab_buf *out, const char *target);

/* Text of every kernel for people and golden tests: "kir", "cuda", "llvm", "asm", "sched",
 * "candidates" (a tuning record with several lines for a kernel, the first of which is the
 * model's choice; names are those of launches in a trace); or
 * of the whole program: "c", one file of portable C11, and "header", its declarations. */
cab_status cab_codegen_emit(cab_arena *a, const cab_program *p, const cab_codegen_options *o,
                            const char *form, cab_buf *out, cab_diag *d);

#endif
