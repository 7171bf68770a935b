/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - the contract between compiler and runtime: the .cab file.
 *
 * One little-endian, mmap-able file:
 *   cab_file_header, cab_file_section[n_sections], then the sections, each at
 *   an aligned offset (code and weights: 4096).  Everything between them is 0.
 *   A plan section is a cab_plan_header followed by tables of fixed-size
 *   records; names are offsets into the strings section (NUL-terminated).  A
 *   reader checks every offset, count and index before use: a plan that passes
 *   cab_plan_check_bytes cannot make the runtime read or write outside its
 *   tables and buffers, except through kernel code, which its SHA-256 covers.
 *
 * Variants: the file holds one plan and one code section per level of
 * processor it was made for, best first; strings and weights are common to
 * all.  A runtime takes the first whose features the machine has.  Behind them
 * stand variants that specialise one of them: the same computation for given
 * extents, which are constants of their plans where the other's are open.
 *
 * Integrity: the header's hash covers header and section table; the table
 * holds a hash of every section (weights: only when the file is signed; else
 * zeros).  Plan, strings and code of the variant taken are hashed at every
 * load; weights are covered by one CRC-32C per CAB_CRC_CHUNK bytes, checked
 * when asked for.  A signature is of the header's hash, and so of everything.
 *
 * Compatibility: docs/artifact.md.  A runtime loads plan versions from
 * CAB_PLAN_OLDEST to CAB_PLAN_VERSION; the version counts every change of
 * layout or meaning.
 *
 * Execution: scalars are int64 slots.  The shape program fills them from the
 * input extents; tensors name slots as extents and bytes.  Slots from the first
 * SIZE_READ on are late: instructions set them and recompute what follows from
 * them, so they may change during a run.  Instructions run in order.  Buffers
 * of class ARENA have no late size; they are packed by the runtime from [first,
 * last] lifetimes once per tuple of the other slots.  Buffers of late sizes are
 * DYNAMIC, or outputs, and get their memory by ALLOC.
 */
#ifndef CAB_RUNTIME_PLAN_H
#define CAB_RUNTIME_PLAN_H
#include <stdbool.h>
#include <stdint.h>

#define CAB_PLAN_MAGIC "CABOCHN\n"
#define CAB_PLAN_VERSION 5
#define CAB_PLAN_OLDEST 2
#define CAB_PLAN_MAX_RANK 8
#define CAB_PLAN_NONE 0xffffffffu
#define CAB_PLAN_PAGE 4096u
#define CAB_PLAN_MAX_SECTIONS 320
#define CAB_CRC_CHUNK (1u << 20)

/* SECTION(number, id, "name").  Numbers from CAB_SEC_OPTIONAL on are skipped
 * by a runtime that does not know them; other unknown numbers are refused. */
#define CAB_SECTIONS(SECTION) \
    SECTION(1, PLAN, "plan") \
    SECTION(2, STRINGS, "strings") \
    SECTION(3, CODE, "code") \
    SECTION(4, WEIGHTS, "weights") \
    SECTION(5, CRC, "crc")                 /* uint32 per chunk of the weights */ \
    SECTION(6, SIGNATURE, "signature")     /* cab_file_signature */ \
    SECTION(7, NOTES, "notes")             /* text: targets, options, schedules */ \
    SECTION(8, MODEL, "model")             /* the ONNX file it was made from */
enum cab_section_kind {
#define SECTION(number, id, name) CAB_SEC_##id = number,
    CAB_SECTIONS(SECTION)
#undef SECTION
    CAB_SEC_COUNT,
    CAB_SEC_OPTIONAL = 0x8000,
    CAB_SEC_COSTS,                         /* for tools; below */
    CAB_SEC_TUNING                         /* text: the tuning record it was made with */
};

typedef struct cab_file_header {
    char magic[8];
    uint32_t version, n_sections;
    uint64_t file_bytes;
    uint8_t sha256[32];        /* of the header with zeros here, and the table */
    uint32_t reserved[2];
} cab_file_header;

typedef struct cab_file_section {
    uint32_t kind;
    uint32_t variant;          /* PLAN and CODE of one number belong together; else 0 */
    uint64_t offset, bytes;
    uint32_t isa;              /* PLAN, CODE: cab_isa bits the code needs */
    uint32_t special_of;       /* PLAN, CODE: 1 + the variant it specialises; 0: none */
    uint8_t sha256[32];        /* of the bytes; zeros: none (weights, signature) */
} cab_file_section;

/* Ed25519 (RFC 8032) of CAB_SIGNED followed by the header's sha256. */
#define CAB_SIGNED "cabochon artifact\n"
typedef struct cab_file_signature { uint8_t public_key[32], signature[64]; } cab_file_signature;

/* CPU features the code image needs (checked by CPUID and XCR0 at load). */
enum cab_isa {
    CAB_ISA_SSE42 = 1 << 0, CAB_ISA_AVX2_FMA = 1 << 1, CAB_ISA_F16C = 1 << 2,
    CAB_ISA_AVX512 = 1 << 3,   /* f bw dq vl cd */
    CAB_ISA_VNNI = 1 << 4, CAB_ISA_AVX512_BF16 = 1 << 5, CAB_ISA_AVX512_FP16 = 1 << 6,
    CAB_ISA_BMI2 = 1 << 7
};

typedef struct cab_plan_header {
    uint32_t n_scalars, n_checks, n_values, n_kernels, n_instrs, n_words, n_inputs, n_outputs;
    uint32_t model_name, producer;     /* strings */
    uint8_t model_hash[32];
    /* followed by, in this order: scalars, checks, values, kernels, instrs,
     * words (uint32 lists), inputs, outputs (uint32 value numbers) */
} cab_plan_header;

/* The shape program: slot i is computed from earlier slots. */
enum cab_scalar_op {
    CAB_S_CONST,               /* imm */
    CAB_S_INPUT_DIM,           /* extent b of input a */
    CAB_S_ADD, CAB_S_SUB, CAB_S_MUL, CAB_S_FLOORDIV, CAB_S_CEILDIV, CAB_S_MOD,
    CAB_S_MIN, CAB_S_MAX,
    CAB_S_SIZE_READ,           /* set by instruction SIZE_READ, SET or LOOP */
    CAB_S_CAPACITY,            /* room of the states whose first output is b; slot a when the
                                * session holds none of them */
    CAB_S_COUNT
};
typedef struct cab_plan_scalar { uint32_t op, a, b, name; int64_t imm; } cab_plan_scalar;

/* Of slots a and b, else the run is refused with the text: before it begins,
 * or (LATE) where an instruction CHECK stands. */
enum cab_check_kind { CAB_C_EQ, CAB_C_LE /* a <= b */, CAB_C_COUNT };
enum { CAB_C_LATE = 1 << 8 };          /* added to the kind */
typedef struct cab_plan_check { uint32_t a, b, why, kind; } cab_plan_check;

enum cab_value_class {
    CAB_V_INPUT,               /* index: input number */
    CAB_V_OUTPUT,              /* index: output number; caller's or session's memory */
    CAB_V_CONST,               /* offset: in the weights section */
    CAB_V_ARENA,
    CAB_V_ALIAS,               /* index: parent value; slot_offset: byte offset slot */
    CAB_V_DYNAMIC,             /* allocated by ALLOC; index: those of one number are never alive
                                * at once and share memory, which only grows */
    CAB_V_LIST,                /* a sequence or an optional inside */
    CAB_V_BORROWED,            /* a tensor that lies in a list, by LIST get */
    CAB_V_CLASS_COUNT
};
enum {
    CAB_V_ZEROED = 1,
    CAB_V_FIXED = 2,           /* input must equal the bytes at offset in weights */
    /* OUTPUT: the input CAB_GROWS_INPUT(offset) with more behind it along axis
     * CAB_GROWS_AXIS(offset).  Both have room in memory along that axis, the
     * output slot slot_offset (a CAPACITY) of it; outputs whose slots name one b
     * are held together. */
    CAB_V_GROWS = 4,
    CAB_V_NESTED = 8           /* an optional of sequences */
};
#define CAB_GROWS(input, axis) ((uint64_t)(input) << 8 | (uint64_t)(axis))
#define CAB_GROWS_INPUT(offset) ((uint32_t)((offset) >> 8))
#define CAB_GROWS_AXIS(offset) ((int)((offset) & 255))
typedef struct cab_plan_value {
    uint8_t cls, kind, dtype, rank;    /* kind: 0 tensor, 1 sequence, 2 optional; dtype: ONNX number
                                        * (of the elements); rank: 0 of lists */
    uint32_t flags;
    uint32_t name, index;
    uint32_t dims[CAB_PLAN_MAX_RANK];  /* scalar slots */
    uint32_t slot_bytes, slot_offset;
    uint64_t offset;                   /* lists: rank of the elements, CAB_PLAN_NONE: any */
    uint32_t first, last;              /* instructions that use it, inclusive */
} cab_plan_value;

typedef struct cab_plan_kernel {
    uint32_t name, flags;
    uint64_t offset, bytes;            /* in the code section */
} cab_plan_kernel;

enum cab_instr_op {
    CAB_I_LAUNCH,      /* a kernel, b words: [n_bufs, values..., n_params, slots...], c slot of n_tasks, d string: layers, e string: what */
    CAB_I_HELPER,      /* a helper number, b words: [n_values, values..., n_params, slots...], d layers */
    CAB_I_ZERO,        /* a value: c = 0: all its bytes become 0; else c parts of CAB_ZERO_PART words from
                        * word b on, slots: offset, bytes of a run, bytes from run to run, runs.
                        * A runtime that knows no parts clears all, which is right too. */
    CAB_I_COPY,        /* a <- b, same bytes */
    CAB_I_EVAL_SHAPE,  /* recompute slots a .. b-1 */
    CAB_I_SIZE_READ,   /* slot a <- element c of value b (i64 or i32 or bool) */
    CAB_I_ALLOC,       /* value a (DYNAMIC, OUTPUT) by its slot_bytes; b: 1 = what it holds stays */
    CAB_I_JUMP,        /* to instruction a */
    CAB_I_BRANCH,      /* to instruction a when slot b == 0 */
    CAB_I_LOOP,        /* slot a counts from 0 while < slot b; leaves to instruction c */
    CAB_I_NEXT,        /* slot a += 1, back to the LOOP at instruction b */
    CAB_I_END,
    CAB_I_CUSTOM,      /* a its number among these instructions, b words (below), d layers, e what */
    CAB_I_SET,         /* slot a <- slot b */
    CAB_I_CHECK,       /* check a must hold; d layers */
    CAB_I_SWAP,        /* values a and b (ARENA, DYNAMIC or lists; ARENA: same bytes) change memory */
    CAB_I_LIST,        /* list operation a, b words: [n_values, values..., n_params, slots...], c slot that is set, d layers */
    CAB_I_SAME,        /* to instruction a when values b and c are the same memory */
    CAB_I_BAND,        /* the a launches behind it, where they have the same number of tasks: task t of one needs
                        * of the others only their tasks t, so a thread may run it in all of them.  b words:
                        * [n_values, values..., n_params, slots...]: values that only these launches use, slots:
                        * tasks of a matrix (per), then of each value bytes of the part of one task, bytes of a
                        * matrix.  Task t uses the part from t / per * matrix + t % per * part on, and part
                        * bytes elsewhere will do. */
    CAB_I_COUNT
};
/* Words of a CUSTOM instruction; those of different ones do not overlap:
 *   domain, name, node (strings), n_inputs, n_outputs, n_attrs,
 *   per tensor: value (CAB_PLAN_NONE = absent input), dtype, rank, rank slots
 *   per attribute: name, cab_plan_attr, n, then n elements: integers of two
 *   words (low first), floats of one (their bits), or one string. */
enum cab_plan_attr { CAB_PA_INTS, CAB_PA_FLOATS, CAB_PA_TEXT, CAB_PA_COUNT };
enum { CAB_CUSTOM_DOMAIN, CAB_CUSTOM_NAME, CAB_CUSTOM_NODE, CAB_CUSTOM_INPUTS, CAB_CUSTOM_OUTPUTS,
       CAB_CUSTOM_ATTRS, CAB_CUSTOM_HEAD };
enum { CAB_ZERO_PART = 4, CAB_BAND_LAUNCHES = 4 };
typedef struct cab_plan_instr { uint32_t op, a, b, c, d, e; } cab_plan_instr;

/* Section COSTS: what launches must do, whatever schedule they run by.  A block
 * for every variant, in order: header, scalars (CONST and what has arguments),
 * rows.  The numbers of the scalars go on where those of the variant's plan
 * end; a row of each LAUNCH, in order, names slots (CAB_PLAN_NONE: not known). */
typedef struct cab_costs_header { uint32_t variant, n_scalars, n_rows, reserved; } cab_costs_header;
typedef struct cab_plan_cost {
    uint32_t instr;
    uint32_t kind;             /* 0 map, 1 row reduction, 2 sum of products, 3 window */
    uint32_t flops;            /* operations; a multiply and the add of its sum are two */
    uint32_t special;          /* calls of exp, sin, pow ..., not in flops */
    uint32_t bytes;            /* of distinct elements, each operand's once */
    uint32_t weights;          /* those of them in constants */
} cab_plan_cost;

/* What can be done with lists.  Letters: L list, W list that is written, T
 * tensor, B BORROWED tensor, D tensor that is written.  A place in a list
 * counts from the end when negative; INT64_MAX is behind the last.
 * LIST(id, "word", values, params (-1: any), sets a slot) */
#define CAB_LISTS(LIST) \
    LIST(CLEAR, "list_clear", "W", 0, 0) \
    LIST(NONE, "list_none", "W", 0, 0) \
    LIST(COPY, "list_copy", "WL", 0, 0) \
    LIST(MOVE, "list_move", "WW", 0, 0) \
    LIST(INSERT, "list_insert", "WT", -1, 0)       /* place, extents */ \
    LIST(ERASE, "list_erase", "W", 1, 0)           /* place */ \
    LIST(LENGTH, "list_length", "L", 0, 1) \
    LIST(HAS, "list_has", "L", 0, 1) \
    LIST(DIM, "list_dim", "L", 3, 1)               /* place, axis, rank */ \
    LIST(GET, "list_get", "BL", 1, 0)              /* place */ \
    LIST(CONCAT_DIM, "list_concat_dim", "L", 4, 1) /* axis, rank, along, new axis */ \
    LIST(CONCAT, "list_concat", "DL", 2, 0)        /* along, new axis */
enum cab_list_op {
#define LIST(id, word, values, params, sets) CAB_L_##id,
    CAB_LISTS(LIST)
#undef LIST
    CAB_L_COUNT
};

/* The reviewed list of C helpers a plan may call (tests/helpers.expected).
 * HELPER(number, name, n_values, n_params) */
#define CAB_HELPERS(HELPER) \
    HELPER(0, topk, 3, 6)   /* x, values, indices; outer, n, inner, k, largest, dtype */ \
    HELPER(1, sort, 2, 3)   /* x, order; rows, their elements, dtype */ \
    HELPER(2, nms, 6, 6)    /* boxes, scores, iou, threshold, selected, count; batches, boxes,
                             * classes, limit, center, filter */ \
    HELPER(3, bounds, 1, 3) /* index, refused when an element is not one of -rows .. rows - 1; elements, rows, dtype */
enum cab_helper {
#define HELPER(number, name, n_values, n_params) CAB_H_##name = number,
    CAB_HELPERS(HELPER)
#undef HELPER
};

/* The rule that places ARENA values by lifetime (arena_pack.c): offsets[v] for
 * each, 64-byte aligned.  order is scratch of n_values.  False when the total
 * overflows.  The compiler asks it too where all sizes are known. */
bool cab_arena_pack(const cab_plan_value *values, uint32_t n_values, const int64_t *slots,
                    uint64_t *offsets, uint32_t *order, uint64_t *out_bytes);

/* Kernel entry: tasks lo .. hi-1. */
typedef void (*cab_kernel_fn)(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi);

#endif
