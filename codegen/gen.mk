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
	codegen/gen_ahead.c \
	codegen/gen_turn.c \
	codegen/gen_window.c \
	codegen/sched.c \
	codegen/sched_contract.c \
	codegen/sched_text.c \
	codegen/sched_tune.c \
	codegen/sched_int.h \
	codegen/cpu/llvm.c \
	codegen/cpu/llvm_fn.c \
	codegen/cpu/llvm_int.h \
	codegen/cpu/llvm_load.c \
	codegen/cpu/llvm_load.h \
	codegen/cpu/llvm_ops.c \
	codegen/cpu/target.c

# The functions of LLVM-C that codegen/cpu calls: a table for llvm_load.c, and names of our own.
cab_llvm_sources = $(srcdir)/codegen/cpu/llvm.c $(srcdir)/codegen/cpu/llvm_fn.c \
	$(srcdir)/codegen/cpu/llvm_ops.c $(srcdir)/codegen/cpu/target.c
nodist_libcodegen_a_SOURCES = codegen/cpu/llvm_names.h codegen/cpu/llvm_rename.h
BUILT_SOURCES += codegen/cpu/llvm_names.h codegen/cpu/llvm_rename.h
CLEANFILES += codegen/cpu/llvm_names.h codegen/cpu/llvm_rename.h
codegen/cpu/llvm_names.h: $(cab_llvm_sources)
	@$(MKDIR_P) codegen/cpu
	$(AM_V_GEN)grep -oh '\<LLVM[A-Z][A-Za-z0-9]* *(' $(cab_llvm_sources) | tr -d ' (' | \
		LC_ALL=C sort -u | $(AWK) '{ printf "NAME(%d, %s)\n", NR - 1, $$1 }' > $@.tmp && mv $@.tmp $@
codegen/cpu/llvm_rename.h: codegen/cpu/llvm_names.h
	$(AM_V_GEN)sed 's/NAME([0-9]*, \(.*\))/#define \1 cab_\1/' codegen/cpu/llvm_names.h > $@.tmp && mv $@.tmp $@
