# SPDX-License-Identifier: Apache-2.0
# libcab: the compiler as one library, for commands and host programs.  With libcabrt it is whole.
libcab_own = \
	include/cab.h \
	libcab/libcab.h \
	libcab/libcab_int.h \
	libcab/api.c \
	libcab/cache.c \
	libcab/cache_dir.c \
	libcab/cache_files.c \
	libcab/compile.c \
	libcab/isolate.c \
	libcab/wire.c
libcab_a_SOURCES = $(libcab_own) $(libcodegen_a_SOURCES) $(libpasses_a_SOURCES) \
	$(libfrontend_a_SOURCES) $(libir_a_SOURCES)
nodist_libcab_a_SOURCES = $(nodist_libcodegen_a_SOURCES) $(nodist_libfrontend_a_SOURCES) $(nodist_libpasses_a_SOURCES)
EXTRA_DIST += libcab/README.md

# The child of a host that compiles with isolate.
pkglibexec_PROGRAMS += cab-compile-worker
cab_compile_worker_SOURCES = libcab/worker.c
cab_compile_worker_LDADD = $(compiler_ldadd)
