# SPDX-License-Identifier: Apache-2.0
# passes: from primitives to programs (layout, group, lower).
libpasses_a_SOURCES += \
    passes/group.c \
    passes/layout.c \
    passes/lower.c \
    passes/lower_direct.c \
    passes/lower_flow.c \
    passes/lower_helper.c \
    passes/lower_index.c \
    passes/lower_int.h \
    passes/lower_launch.c \
    passes/lower_place.c \
    passes/lower_root.c \
    passes/lower_seq.c \
    passes/lower_serial.c \
    passes/lower_state.c \
    passes/lower_value.c \
    passes/lower_wino.c
