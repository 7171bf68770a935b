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
	libcab/custom_shape.c \
	libcab/emit_so.c \
	libcab/paths.c \
	libcab/sizes.c \
	libcab/specialise.c \
	libcab/sign.c \
	libcab/isolate.c \
	libcab/tune.c \
	libcab/tuning_file.c \
	libcab/wire.c
libcab_a_SOURCES = $(libcab_own) $(libcodegen_a_SOURCES) $(libpasses_a_SOURCES) \
	$(libfrontend_a_SOURCES) $(libir_a_SOURCES)
nodist_libcab_a_SOURCES = libcab/build_id.h $(nodist_libcodegen_a_SOURCES) $(nodist_libfrontend_a_SOURCES) $(nodist_libpasses_a_SOURCES)
EXTRA_DIST += libcab/README.md
pkgconfig_DATA += libcab/cab.pc

# Names this compiler in the keys of the cache: another source is another compiler.
BUILT_SOURCES += libcab/build_id.h
CLEANFILES += libcab/build_id.h
libcab/build_id.h: $(libcab_a_SOURCES) $(libbase_a_SOURCES) $(CAB_RULE_FILES) runtime/plan.h
	@$(MKDIR_P) libcab
	$(AM_V_GEN)echo "#define CAB_BUILD_ID \"`cat $^ | sha256sum | cut -c1-32`\"" > $@.tmp && mv $@.tmp $@

# The child of a host that compiles with isolate.
pkglibexec_PROGRAMS += cab-compile-worker
cab_compile_worker_SOURCES = libcab/worker.c
cab_compile_worker_LDADD = $(compiler_ldadd)
