# SPDX-License-Identifier: Apache-2.0
# base: the ground floor; needs libc alone.
libbase_a_SOURCES += \
    base/arena.c \
    base/arena.h \
    base/base.h \
    base/buf.c \
    base/buf.h \
    base/crc32c.c \
    base/crc32c.h \
    base/cancel.h \
    base/diag.c \
    base/diag.h \
    base/dim.c \
    base/dim.h \
    base/dim_div.c \
    base/dim_int.h \
    base/dim_poly.c \
    base/dim_text.c \
    base/dtype.c \
    base/dtype.def \
    base/dtype.h \
    base/errors.def \
    base/file.c \
    base/file.h \
    base/log.c \
    base/log.h \
    base/map.c \
    base/map.h \
    base/process.c \
    base/process.h \
    base/rng.c \
    base/rng.h \
    base/sha256.c \
    base/sha256.h \
    base/status.c \
    base/status.h \
    base/vec.c \
    base/vec.h
