# SPDX-License-Identifier: Apache-2.0
# Schedules, generators and the LLVM renderer.
libcodegen_a_SOURCES += \
	codegen/gen.h \
	codegen/gen_int.h \
	codegen/gen.c \
	codegen/gen_expr.c \
	codegen/gen_nest.c \
	codegen/gen_red.c \
	codegen/gen_contract.c \
	codegen/sched.c \
	codegen/sched_contract.c \
	codegen/sched_int.h \
	codegen/cpu/llvm.c \
	codegen/cpu/llvm_fn.c \
	codegen/cpu/llvm_int.h \
	codegen/cpu/llvm_ops.c \
	codegen/cpu/target.c
