/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.c - the op table, expanded from the rows.
 *
 * Each including of ops.def picks one kind of row and makes one array per op,
 * named after it; every array begins with an empty row, so that an op without
 * rows of that kind is no special case.  ONNX ops have names here and their
 * rows in schema.c.  Everything is constant data.
 */
#include <string.h>
#include "ir/ir_int.h"

enum { CLASS_X, CLASS_F, CLASS_S, CLASS_U, CLASS_B };

/* The names TYPE rows may use. */
enum {
    FLOAT = 0
#define DTYPE(id, text, onnx, bits, cls, c, cuda) \
    | (CLASS_##cls == CLASS_F ? 1 << CAB_DT_##id : 0)
#include "base/dtype.def"
    ,
    INT = 0
#define DTYPE(id, text, onnx, bits, cls, c, cuda) \
    | (CLASS_##cls == CLASS_S || CLASS_##cls == CLASS_U ? 1 << CAB_DT_##id : 0)
#include "base/dtype.def"
    ,
    ALL = 0
#define DTYPE(id, text, onnx, bits, cls, c, cuda) \
    | (CAB_DT_##id == CAB_DT_none ? 0 : 1 << CAB_DT_##id)
#include "base/dtype.def"
    ,
    ANY = ALL | CAB_SET_SEQ | CAB_SET_OPT,
    BOOL = 1 << CAB_DT_bool,
    I64 = 1 << CAB_DT_i64,
    F32 = 1 << CAB_DT_f32,
    I32I64 = 1 << CAB_DT_i32 | 1 << CAB_DT_i64,
    NUM = FLOAT | INT,
    NUMBOOL = NUM | BOOL,
    INTBOOL = INT | BOOL
};
_Static_assert(CAB_DT_COUNT <= 28, "a set of dtypes is a mask in an int, beside those of kinds");

#define OP(id, traits, infer, doc) }; static const cab_io_row in_##id[] = { {0},
#define IN(id, name, var, arity) { #name, #var, CAB_##arity },
static const cab_io_row in_none[] = { {0},
#include "ir/ops.def"
};

#define OP(id, traits, infer, doc) }; static const cab_io_row out_##id[] = { {0},
#define OUT(id, name, var) { #name, #var, CAB_ONE },
#define OUTS(id, name, var) { #name, #var, CAB_VAR },
static const cab_io_row out_none[] = { {0},
#include "ir/ops.def"
};

#define OP(id, traits, infer, doc) }; static const cab_attr_row attr_##id[] = { {0},
#define ATTR(id, name, kind, def) { #name, CAB_ATTR_##kind, def },
static const cab_attr_row attr_none[] = { {0},
#include "ir/ops.def"
};

#define OP(id, traits, infer, doc) }; static const cab_type_row type_##id[] = { {0},
#define TYPE(id, var, set) { #var, (cab_dtset)(set) },
static const cab_type_row type_none[] = { {0},
#include "ir/ops.def"
};

#define ROWS(a) ((int)(sizeof(a) / sizeof *(a)) - 1)
#define CORE_ROW(id, name, traits, doc, infer)                              \
    [CAB_OP_##id] = { CAB_OP_##id, name, NULL, NULL, (traits), doc, infer,  \
        ROWS(in_##id), ROWS(out_##id), ROWS(attr_##id), ROWS(type_##id),    \
        in_##id + 1, out_##id + 1, attr_##id + 1, type_##id + 1 },

/* "Conv" for the main domain, "ai.onnx.ml.Scaler" for the others. */
static const cab_op table[CAB_OP_COUNT] = {
    CORE_ROW(none, "", 0, "", NULL)
#define OP(id, traits, infer, doc) CORE_ROW(id, #id, traits, doc, cab_infer_##infer)
#include "ir/ops.def"
#define ONNX_OP(op, dom, text)                                              \
    [CAB_OP_##op] = { .id = CAB_OP_##op,                                    \
        .name = dom "." text + (sizeof dom == 1),                           \
        .domain = dom, .onnx_name = text, .doc = "" },
#include "ir/schema_ops.def"
};

/* Lengths of the names: the lookups compare these bytes first. */
static const uint8_t name_len[CAB_OP_COUNT] = {
#define OP(id, traits, infer, doc) [CAB_OP_##id] = sizeof #id - 1,
#include "ir/ops.def"
#define ONNX_OP(op, dom, text)                                              \
    [CAB_OP_##op] = sizeof dom "." text - 1 - (sizeof dom == 1),
#include "ir/schema_ops.def"
};

const cab_op *cab_op_get(cab_op_id id)
{
    CAB_ASSERT((unsigned)id < CAB_OP_COUNT);
    return &table[id];
}

const cab_op *cab_op_find(const char *name, size_t n)
{
    for (int i = CAB_OP_none + 1; n && i < CAB_OP_COUNT; i++)
        if (name_len[i] == n && table[i].name[0] == name[0]
            && !memcmp(table[i].name, name, n))
            return &table[i];
    return NULL;
}

const cab_op *cab_op_find_onnx(const char *domain, const char *name)
{
    size_t n = strlen(name);

    if (!strcmp(domain, "ai.onnx"))
        domain = "";
    if (*domain)
        n += strlen(domain) + 1;
    for (int i = CAB_OP_first_onnx_; i < CAB_OP_COUNT; i++)
        if (name_len[i] == n && !strcmp(table[i].onnx_name, name)
            && !strcmp(table[i].domain, domain))
            return &table[i];
    return NULL;
}
