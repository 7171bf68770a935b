/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema.c - every version of every op of the standard, as constant tables.
 *
 * Expanded from the generated rows in schema.def the way op.c expands ops.def:
 * one array per version and kind of row.  Versions of an op stand together,
 * oldest first, in the order of schema_ops.def, which first_of relies on.
 */
#include <limits.h>
#include <string.h>
#include "ir/ir_int.h"

enum {
#define DTYPE(id, text, onnx, bits, cls, c, cuda) DT_##id = 1 << CAB_DT_##id,
#include "base/dtype.def"
    F32 = DT_f32, F16 = DT_f16, F64 = DT_f64, BF16 = DT_bf16,
    U8 = DT_u8, U16 = DT_u16, U32 = DT_u32, U64 = DT_u64, U4 = DT_u4, U2 = DT_u2,
    I8 = DT_i8, I16 = DT_i16, I32 = DT_i32, I64 = DT_i64, I4 = DT_i4, I2 = DT_i2,
    STR = DT_str, BOOL = DT_bool, C64 = DT_c64, C128 = DT_c128,
    F8E4M3 = DT_f8e4m3, F8E4M3FNUZ = DT_f8e4m3fnuz, F8E5M2 = DT_f8e5m2,
    F8E5M2FNUZ = DT_f8e5m2fnuz, F4E2M1 = DT_f4e2m1, F8E8M0 = DT_f8e8m0,
    KIND_SEQ = (int)CAB_SET_SEQ, KIND_OPT = (int)CAB_SET_OPT,
    KIND_MAP = (int)CAB_SET_MAP
};

#define SCHEMA(id, since, dep, a, b, c, d) \
    }; static const cab_io_row in_##id##_##since[] = { {0},
#define S_IN(id, since, name, var, arity) { name, var, CAB_##arity },
static const cab_io_row in_none[] = { {0},
#include "ir/schema.def"
};

#define SCHEMA(id, since, dep, a, b, c, d) \
    }; static const cab_io_row out_##id##_##since[] = { {0},
#define S_OUT(id, since, name, var, arity) { name, var, CAB_##arity },
static const cab_io_row out_none[] = { {0},
#include "ir/schema.def"
};

#define SCHEMA(id, since, dep, a, b, c, d) \
    }; static const cab_schema_attr attr_##id##_##since[] = { {0},
#define S_ATTR(id, since, name, kind, def) { name, CAB_ATTR_##kind, def },
static const cab_schema_attr attr_none[] = { {0},
#include "ir/schema.def"
};

#define SCHEMA(id, since, dep, a, b, c, d) \
    }; static const cab_type_row type_##id##_##since[] = { {0},
#define S_TYPE(id, since, var, set) { var, (cab_dtset)(set) },
static const cab_type_row type_none[] = { {0},
#include "ir/schema.def"
};

#define ROWS(a) ((int)(sizeof(a) / sizeof *(a)) - 1)
#define ROW(op, id, since, dep, a, b, c, d)                                 \
    { op, since, dep, a, b, c, d, ROWS(in_##id), ROWS(out_##id),            \
      ROWS(attr_##id), ROWS(type_##id),                                     \
      in_##id + 1, out_##id + 1, attr_##id + 1, type_##id + 1 },

/* Row 0 is a sentinel of no op. */
static const cab_schema table[] = {
    ROW(CAB_OP_none, none, 0, false, 0, 0, 0, 0)
#define SCHEMA(id, since, dep, a, b, c, d) \
    ROW(CAB_OP_##id, id##_##since, since, dep, a, b, c, d)
#include "ir/schema.def"
};

enum { N_ROWS = sizeof table / sizeof *table };

/* First row of the op by bisection: rows are sorted by op id. */
static int first_of(cab_op_id op)
{
    int lo = 1, hi = N_ROWS;

    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (table[mid].op < op)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const cab_schema *cab_schema_at(cab_op_id op, int opset)
{
    const cab_schema *best = NULL;

    for (int i = first_of(op); i < N_ROWS && table[i].op == op; i++)
        if (table[i].since <= opset)
            best = &table[i];
    return best;
}

const cab_schema *cab_schema_newest(cab_op_id op)
{
    return cab_schema_at(op, INT_MAX);
}

int cab_schema_count(void)
{
    return N_ROWS - 1;
}

int cab_schema_newest_opset(const char *domain)
{
    int newest = 0;

    if (!strcmp(domain, "ai.onnx"))
        domain = "";
    for (int i = 1; i < N_ROWS; i++)
        if (table[i].since > newest
            && !strcmp(cab_op_get(table[i].op)->domain, domain))
            newest = table[i].since;
    return newest;
}
