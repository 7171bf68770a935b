# SPDX-License-Identifier: Apache-2.0
# ir: the graph level (the Specs and the evaluators are in eval.mk).
libir_a_SOURCES += \
    ir/attr.c \
    ir/build.c \
    ir/check.c \
    ir/const.c \
    ir/graph.c \
    ir/foreign.c \
    ir/infer.c \
    ir/infer_flow.c \
    ir/infer_move.c \
    ir/infer_reduce.c \
    ir/infer_seq.c \
    ir/infer_sym.c \
    ir/infer_wino.c \
    ir/wino.c \
    ir/wino.h \
    ir/ir.h \
    ir/ir_int.h \
    ir/lex.c \
    ir/op.c \
    ir/ops.def \
    ir/ops_core.def \
    ir/parse.c \
    ir/parse_const.c \
    ir/parse_type.c \
    ir/print.c \
    ir/print_const.c \
    ir/scalar.def \
    ir/schema.c \
    ir/schema.def \
    ir/schema_ms.def \
    ir/schema_ms_ops.def \
    ir/schema_ops.def \
    ir/type.c \
    ir/verify.c
EXTRA_DIST += ir/README.md
