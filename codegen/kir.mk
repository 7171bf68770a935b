# SPDX-License-Identifier: Apache-2.0
# The kernel level: builder, verifier, text, math, interpreter, renderers.
libcodegen_a_SOURCES += \
	codegen/kir.c \
	codegen/kir.h \
	codegen/kir_c.c \
	codegen/kir_csrc.h \
	codegen/kir_csrc_body.c \
	codegen/kir_csrc_expr.c \
	codegen/kir_eval.c \
	codegen/kir_int.h \
	codegen/kir_interp.c \
	codegen/kir_math.c \
	codegen/kir_math_coef.h \
	codegen/kir_math_int.h \
	codegen/kir_math_pow.c \
	codegen/kir_math_trig.c \
	codegen/kir_ops.c \
	codegen/kir_ops.def \
	codegen/kir_text.c \
	codegen/kir_verify.c \
	codegen/cuda/kir_cuda.c \
	codegen/cuda/nvrtc.c \
	codegen/cuda/nvrtc.h
