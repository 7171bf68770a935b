# Tests of the server: unit tests (docs/testing.md), and programs that scripts drive.
serve_tests = \
	tests/test_bytes \
	tests/test_flate \
	tests/test_classes \
	tests/test_http1 \
	tests/test_http1_table \
	tests/test_json \
	tests/test_json_number \
	tests/test_json_tensor \
	tests/test_batcher \
	tests/test_sched \
	tests/test_registry \
	tests/test_sandbox \
	tests/test_build \
	tests/test_client \
	tests/test_scarce \
	tests/test_durable
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
tests_test_flate_LDADD = $(serve_ldadd)
tests_test_classes_LDADD = $(serve_ldadd)
check_PROGRAMS += tests/serve/carry
tests_serve_carry_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS)
tests_serve_carry_LDADD = $(serve_ldadd)

EXTRA_DIST += tests/serve/wire.py tests/serve/check-serve.sh tests/serve/smuggling.py tests/serve/slow.py tests/serve/limits.py tests/serve/flags.py tests/serve/log.py tests/serve/coded.py tests/serve/streams.py
EXTRA_DIST += tests/serve/restart.py tests/serve/succession.py tests/serve/systemd.py tests/serve/swap.py tests/serve/leak.py tests/serve/canary.py tests/serve/large.py
# Memory over 10,000 loads and 50,000 requests; minutes.
serve-leak: cab-serve cab-build
	python3 $(srcdir)/tests/serve/leak.py . 10000 50000
.PHONY: serve-leak
EXTRA_DIST += tests/serve/kit.py tests/serve/rest.py tests/serve/registry.py tests/serve/clients.py tests/serve/check-clients.sh \
	tests/serve/openapi.py tests/serve/peer.py tests/serve/triton.py tests/serve/triton_echo.c tests/serve/doc.py
# The same requests to tritonserver, which comes from PyPI the first time.
serve-peer: cab-serve cab-build
	python=$$(python3 $(srcdir)/tests/serve/triton.py) && $$python $(srcdir)/tests/serve/peer.py .
.PHONY: serve-peer
tests_test_http1_LDADD = $(serve_ldadd)
tests_test_http1_table_SOURCES = tests/test_http1_table.c tests/test.h tests/serve/http1_drive.c tests/serve/http1_drive.h
tests_test_http1_table_LDADD = $(serve_ldadd)
EXTRA_DIST += tests/serve/smuggling.txt tests/serve/http1_table.py tests/serve/http1_h11.py

# The framing beside h11's; needs Python with h11: make http1-h11 python_with_h11=...
check_PROGRAMS += tests/serve/http1_probe
tests_serve_http1_probe_SOURCES = tests/serve/http1_probe.c tests/serve/http1_drive.c tests/serve/http1_drive.h
tests_serve_http1_probe_LDADD = $(serve_ldadd)
python_with_h11 = python3
http1-h11: tests/serve/http1_probe
	$(python_with_h11) $(srcdir)/tests/serve/http1_h11.py .
.PHONY: http1-h11
tests_bench_bench_http1_LDADD = $(serve_ldadd)
tests_test_json_LDADD = $(serve_ldadd)
tests_test_json_number_LDADD = $(serve_ldadd)
tests_test_json_tensor_LDADD = $(serve_ldadd)
# Every float to text and back: some minutes.
json-long: tests/test_json_number
	./tests/test_json_number --all-f32
.PHONY: json-long
tests_bench_bench_json_LDADD = $(serve_ldadd)
tests_test_batcher_LDADD = $(serve_ldadd)
# Compiles models, and makes allocations fail.
tests_test_sched_SOURCES = tests/test_sched.c tests/test.h tests/wire.h
tests_test_sched_LDADD = libserve.a $(compiler_ldadd)
tests_test_sched_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=aligned_alloc
tests_test_registry_SOURCES = tests/test_registry.c tests/test.h tests/serve/store_kit.h
tests_test_registry_LDADD = $(serve_ldadd)
tests_test_sandbox_SOURCES = tests/test_sandbox.c tools/sandbox.c tools/sandbox.h
tests_test_sandbox_LDADD = libcabrt.a $(SECCOMP_LIBS) -lpthread -lm
tests_test_build_SOURCES = tests/test_build.c tests/test.h tests/serve/store_kit.h tests/wire.h
tests_test_build_LDADD = $(serve_ldadd)
# The prey of kill-registry.py.
check_PROGRAMS += tests/serve/register_loop
tests_serve_register_loop_LDADD = $(serve_ldadd)
EXTRA_DIST += tests/serve/kill-registry.py tests/serve/hostile-build.py
tests_test_durable_SOURCES = tests/test_durable.c tests/test.h tests/serve/store_kit.h
tests_test_durable_LDADD = $(serve_ldadd)
tests_test_durable_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fsync,--wrap=linkat,--wrap=renameat,--wrap=openat \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
tests_test_scarce_SOURCES = tests/test_scarce.c tests/test.h tests/open_files.h tests/wire.h tests/serve/scarce.c tests/serve/scarce.h \
	tests/serve/scarce_client.c tests/serve/scarce_client.h tests/serve/scarce_requests.c
tests_test_scarce_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(JANSSON_CFLAGS) $(PROTOBUF_C_CFLAGS)
tests_test_scarce_LDADD = $(serve_ldadd)
tests_test_scarce_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=free \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=vasprintf,--wrap=asprintf,--wrap=nghttp2_session_server_new,--wrap=cab_exchange_reset

registry-kill-long: tests/serve/register_loop
	python3 $(srcdir)/tests/serve/kill-registry.py . 200
kill-long: registry-kill-long
.PHONY: registry-kill-long
tests_test_client_SOURCES = tests/test_client.c tests/test.h serve/client/histogram.c serve/client/histogram.h serve/client/client_answer.c serve/client/client_answer.h
tests_test_client_LDADD = libcabrt.a
EXTRA_DIST += tests/serve/client.py tests/serve/overload.py
# What an overloaded model still does, 20 s a row (./check takes 1.5): about five minutes.
serve-overload: cab-serve cab-client cab-build
	python3 $(srcdir)/tests/serve/overload.py . --seconds 20 --json overload.json
.PHONY: serve-overload
# What a request costs, beside tritonserver (docs/benchmarks.md); needs wrk, h2load and, the first time, PyPI.
serve_flags =
bench-serve: cab-serve cab-client cab-build
	python3 $(srcdir)/tests/bench/serve.py . --rounds 3 $(addprefix --flag=,$(serve_flags))
.PHONY: bench-serve
EXTRA_DIST += tests/bench/serve.py
# The server under ThreadSanitizer, in a build folder of its own; serve_tsan=... picks pieces (tests/serve/tsan.sh).
serve_tsan =
serve-built: $(BUILT_SOURCES)
serve-tsan:
	sh $(srcdir)/tests/serve/tsan.sh $(abs_srcdir) $(abs_builddir)/tsan $(serve_tsan)
.PHONY: serve-built serve-tsan
EXTRA_DIST += tests/serve/tsan.sh tests/serve/tsan.supp
# The server's tests with the bounds of time as they are meant; wants a quiet machine.
serve-strict: cab-serve cab-client cab-build tests/serve/carry tests/serve/register_loop
	CAB_SLACK=1 sh $(srcdir)/tests/serve/check-serve.sh .
.PHONY: serve-strict
# NVIDIA's perf_analyzer as a client: make serve-analyzer perf_analyzer=PATH
perf_analyzer = perf_analyzer
serve-analyzer: cab-serve cab-build
	python3 $(srcdir)/tests/serve/analyzer.py . $(perf_analyzer)
.PHONY: serve-analyzer
EXTRA_DIST += tests/serve/analyzer.py
