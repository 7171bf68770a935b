bin_PROGRAMS += cab cab-opt cab-rt
cab_SOURCES = \
	tools/tool.h \
	tools/bench.h \
	tools/cab.c \
	tools/options.c \
	tools/custom_lib.c \
	tools/custom_lib.h \
	tools/numbers.c \
	tools/numbers.h \
	tools/feeds.c \
	tools/report.c \
	tools/cmd_run.c \
	tools/cmd_compile.c \
	tools/cmd_check.c \
	tools/cmd_inspect.c \
	tools/cmd_bench.c \
	tools/cmd_tune.c \
	tools/cmd_serve.c \
	tools/bench.c \
	tools/peak.c \
	tools/peak.h \
	tools/costs.c \
	tools/costs.h \
	tools/profile.c \
	tools/profile.h \
	tools/profile_rows.c \
	tools/profile_print.c \
	tools/bench_worker.c
cab_LDADD = $(compiler_ldadd) $(JANSSON_LIBS)
cab_opt_SOURCES = tools/tool.h tools/cab-opt.c tools/report.c
cab_opt_LDADD = $(compiler_ldadd)
# The runtime alone: no LLVM, no protobuf, no passes.
cab_rt_SOURCES = \
	tools/cab-rt.c \
	tools/rt_run.c \
	tools/rt_run.h \
	tools/rt_tensor.c \
	tools/rt_tensor.h \
	tools/custom_lib.c \
	tools/custom_lib.h \
	tools/numbers.c \
	tools/numbers.h
cab_rt_LDADD = libcabrt.a -lpthread
# The child of the server: one compilation in a sandbox.
pkglibexec_PROGRAMS += cab-build
cab_build_SOURCES = tools/cab-build.c tools/sandbox.c tools/sandbox.h
cab_build_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
cab_build_LDADD = $(compiler_ldadd) $(SECCOMP_LIBS) $(JANSSON_LIBS)
EXTRA_DIST += tools/README.md tools/gen_schema.py tools/embed-rules.sh tools/check-layers.sh
noinst_PROGRAMS += tools/gen-doc
tools_gen_doc_SOURCES = tools/gen-doc.c
tools_gen_doc_LDADD = $(compiler_ldadd)
