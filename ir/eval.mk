# SPDX-License-Identifier: Apache-2.0
libir_a_SOURCES += \
	ir/eval.c \
	ir/eval_contract.c \
	ir/eval_flow.c \
	ir/eval_int.h \
	ir/eval_reduce.c \
	ir/eval_scalar.c \
	ir/eval_select.c \
	ir/eval_tensor.c \
	ir/eval_wino.c \
	ir/program_eval.c \
	ir/program_parse.c \
	ir/spec.c \
	ir/spec.h \
	ir/spec_equal.c \
	ir/spec_eval.c \
	ir/spec_int.h \
	ir/spec_parse.c \
	ir/spec_scan.c \
	ir/spec_scan.h \
	ir/spec_simplify.c \
	ir/spec_text.c \
	ir/spec_verify.c
