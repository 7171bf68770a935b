# SPDX-License-Identifier: Apache-2.0
# passes: rewriting and lowering of graphs (layout, group, lower: lower.mk).
libpasses_a_SOURCES += \
    passes/canon.c \
    passes/cse.c \
    passes/dce.c \
    passes/decompose.c \
    passes/decompose.def \
    passes/decompose_attention.c \
    passes/decompose_help.c \
    passes/decompose_body.c \
    passes/decompose_flow.c \
    passes/decompose_index.c \
    passes/decompose_int.h \
    passes/decompose_late.c \
    passes/decompose_loss.c \
    passes/decompose_move.c \
    passes/decompose_ms.c \
    passes/decompose_norm.c \
    passes/decompose_pad.c \
    passes/decompose_pool.c \
    passes/decompose_product.c \
    passes/decompose_quant.c \
    passes/decompose_reduce.c \
    passes/decompose_resize.c \
    passes/decompose_resize_late.c \
    passes/decompose_rnn.c \
    passes/decompose_sample.c \
    passes/decompose_scalar.c \
    passes/decompose_scatter.c \
    passes/decompose_select.c \
    passes/decompose_seq.c \
    passes/decompose_shape.c \
    passes/decompose_signal.c \
    passes/decompose_train.c \
    passes/decompose_turned.c \
    passes/decompose_window.c \
    passes/fold.c \
    passes/fuse.c \
    passes/guards.c \
    passes/guards_table.c \
    passes/hoist.c \
    passes/match.c \
    passes/pass.c \
    passes/pass.h \
    passes/pass_int.h \
    passes/passes.def \
    passes/rewrite.c \
    passes/rule.c \
    passes/sink.c \
    passes/symbols.c \
    passes/rule_int.h \
    passes/winograd.c

# The order is that of cab_rules_file (passes/rule_int.h).
CAB_RULE_FILES = \
    $(srcdir)/passes/canon.rules \
    $(srcdir)/passes/fuse.rules \
    $(srcdir)/passes/decompose.rules
EXTRA_DIST += \
    passes/README.md \
    passes/canon.rules \
    passes/fuse.rules \
    passes/decompose.rules \
    tools/embed-rules.sh
nodist_libpasses_a_SOURCES = passes/rules_text.c
CLEANFILES += passes/rules_text.c
passes/rules_text.c: $(CAB_RULE_FILES) $(srcdir)/tools/embed-rules.sh
	$(AM_V_GEN)mkdir -p passes && \
	$(srcdir)/tools/embed-rules.sh $(CAB_RULE_FILES) > $@.tmp && mv $@.tmp $@
