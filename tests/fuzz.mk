# Fuzz targets: tests/fuzz/fuzz.h says how they are made.  `make check` links each with a seeded
# mutation loop (tests/check-fuzz.sh runs it for seconds); `make fuzz-long` with libFuzzer.
fuzz_targets = \
	tests/fuzz/fuzz_onnx \
	tests/fuzz/fuzz_cir \
	tests/fuzz/fuzz_rules \
	tests/fuzz/fuzz_artifact \
	tests/fuzz/fuzz_graphs \
	tests/fuzz/fuzz_http1 \
	tests/fuzz/fuzz_json \
	tests/fuzz/fuzz_infer \
	tests/fuzz/fuzz_config \
	tests/fuzz/fuzz_h2 \
	tests/fuzz/fuzz_registry \
	tests/fuzz/fuzz_grpc
fuzz_libfuzzer = $(fuzz_targets:=.lib)
check_PROGRAMS += $(fuzz_targets)
EXTRA_PROGRAMS += $(fuzz_libfuzzer)
CLEANFILES += $(fuzz_libfuzzer)
EXTRA_DIST += tests/check-fuzz.sh tests/fuzz-long.sh tests/fuzz/json tests/fuzz/infer tests/fuzz/config tests/fuzz/h2 tests/fuzz/grpc

fuzz_onnx_files = tests/fuzz/fuzz_onnx.c tests/fuzz/mutate_wire.c
fuzz_cir_files = tests/fuzz/fuzz_cir.c tests/fuzz/mutate_text.c
fuzz_rules_files = tests/fuzz/fuzz_rules.c tests/fuzz/mutate_text.c
fuzz_artifact_files = tests/fuzz/fuzz_artifact.c
fuzz_graphs_files = tests/fuzz/fuzz_graphs.c tests/fuzz/graph.h tests/fuzz/graph_gen.h \
	tests/fuzz/graph_make.c tests/fuzz/graph_flow.c \
	tests/fuzz/graph_run.c tests/fuzz/graph_reduce.c
fuzz_http1_files = tests/fuzz/fuzz_http1.c tests/fuzz/mutate_text.c \
	tests/serve/http1_drive.c tests/serve/http1_drive.h
# Those of the server need no compiler.
fuzz_bare = tests/fuzz/fuzz.h tests/fuzz/fuzz_bare.h tests/fuzz/fuzz_src.c
fuzz_shared = $(fuzz_bare) tests/fuzz/fuzz_common.c
fuzz_json_files = tests/fuzz/fuzz_json.c tests/fuzz/mutate_text.c
fuzz_infer_files = tests/fuzz/fuzz_infer.c tests/fuzz/mutate_text.c
fuzz_config_files = tests/fuzz/fuzz_config.c tests/fuzz/mutate_text.c
fuzz_h2_files = tests/fuzz/fuzz_h2.c
fuzz_registry_files = tests/fuzz/fuzz_registry.c
fuzz_grpc_files = tests/fuzz/fuzz_grpc.c
fuzz_loop = $(fuzz_shared) tests/fuzz/fuzz_main.c
fuzz_lib = $(fuzz_shared) tests/fuzz/fuzz_lib.c
fuzz_bare_loop = $(fuzz_bare) tests/fuzz/fuzz_main.c
fuzz_bare_lib = $(fuzz_bare) tests/fuzz/fuzz_lib.c

tests_fuzz_fuzz_onnx_SOURCES = $(fuzz_onnx_files) $(fuzz_loop)
tests_fuzz_fuzz_cir_SOURCES = $(fuzz_cir_files) $(fuzz_loop)
tests_fuzz_fuzz_rules_SOURCES = $(fuzz_rules_files) $(fuzz_loop)
tests_fuzz_fuzz_artifact_SOURCES = $(fuzz_artifact_files) $(fuzz_loop)
tests_fuzz_fuzz_graphs_SOURCES = $(fuzz_graphs_files) $(fuzz_loop)
tests_fuzz_fuzz_http1_SOURCES = $(fuzz_http1_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_http1_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_json_SOURCES = $(fuzz_json_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_json_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_infer_SOURCES = $(fuzz_infer_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_infer_LDADD = $(serve_ldadd)
# The model has no queue.
infer_wrap = -Wl,--wrap=cab_served_turns_away
tests_fuzz_fuzz_infer_LDFLAGS = $(AM_LDFLAGS) $(infer_wrap)
tests_fuzz_fuzz_config_SOURCES = $(fuzz_config_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_config_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_config_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_h2_SOURCES = $(fuzz_h2_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_h2_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS)
tests_fuzz_fuzz_h2_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_registry_SOURCES = $(fuzz_registry_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_registry_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_grpc_SOURCES = $(fuzz_grpc_files) $(fuzz_bare_loop)
tests_fuzz_fuzz_grpc_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(PROTOBUF_C_CFLAGS)
tests_fuzz_fuzz_grpc_LDADD = $(serve_ldadd)
# Its model has no scheduler, and nothing is built or loaded.
grpc_wrap = -Wl,--wrap=cab_served_turns_away,--wrap=cab_served_get_stats,--wrap=cab_served_get_batches \
	-Wl,--wrap=cab_served_get_config,--wrap=cab_call_submit_inline,--wrap=cab_call_release \
	-Wl,--wrap=cab_repository_begin,--wrap=cab_repository_end,--wrap=cab_repository_build,--wrap=cab_loop_post
tests_fuzz_fuzz_grpc_LDFLAGS = $(AM_LDFLAGS) $(grpc_wrap)
tests_fuzz_fuzz_onnx_lib_SOURCES = $(fuzz_onnx_files) $(fuzz_lib)
tests_fuzz_fuzz_cir_lib_SOURCES = $(fuzz_cir_files) $(fuzz_lib)
tests_fuzz_fuzz_rules_lib_SOURCES = $(fuzz_rules_files) $(fuzz_lib)
tests_fuzz_fuzz_artifact_lib_SOURCES = $(fuzz_artifact_files) $(fuzz_lib)
tests_fuzz_fuzz_graphs_lib_SOURCES = $(fuzz_graphs_files) $(fuzz_lib)
tests_fuzz_fuzz_http1_lib_SOURCES = $(fuzz_http1_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_http1_lib_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_json_lib_SOURCES = $(fuzz_json_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_json_lib_LDADD = $(tests_fuzz_fuzz_json_LDADD)
tests_fuzz_fuzz_infer_lib_SOURCES = $(fuzz_infer_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_infer_lib_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_config_lib_SOURCES = $(fuzz_config_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_config_lib_CPPFLAGS = $(tests_fuzz_fuzz_config_CPPFLAGS)
tests_fuzz_fuzz_config_lib_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_h2_lib_SOURCES = $(fuzz_h2_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_h2_lib_CPPFLAGS = $(tests_fuzz_fuzz_h2_CPPFLAGS)
tests_fuzz_fuzz_h2_lib_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_registry_lib_SOURCES = $(fuzz_registry_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_registry_lib_LDADD = $(serve_ldadd)
tests_fuzz_fuzz_grpc_lib_SOURCES = $(fuzz_grpc_files) $(fuzz_bare_lib)
tests_fuzz_fuzz_grpc_lib_CPPFLAGS = $(tests_fuzz_fuzz_grpc_CPPFLAGS)
tests_fuzz_fuzz_grpc_lib_LDADD = $(serve_ldadd)
libfuzzer_flags = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_onnx_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_cir_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_rules_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_artifact_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_graphs_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_http1_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_json_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_infer_lib_LDFLAGS = $(libfuzzer_flags) $(infer_wrap)
tests_fuzz_fuzz_config_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_h2_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_registry_lib_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_fuzz_grpc_lib_LDFLAGS = $(libfuzzer_flags) $(grpc_wrap)

# Each target for FUZZ_SECONDS with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, in a
# build folder of its own; needs clang and its runtime: apt-get install clang-22 libclang-rt-22-dev
FUZZ_SECONDS = 600
fuzz-long:
	sh $(srcdir)/tests/fuzz-long.sh $(abs_srcdir) $(abs_builddir)/fuzz $(FUZZ_SECONDS)
.PHONY: fuzz-long
