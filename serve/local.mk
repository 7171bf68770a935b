# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) -DCAB_BUILD='"$(pkglibexecdir)/cab-build"' $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/bytes.h \
	serve/bytes.c
libserve_a_SOURCES += \
	serve/root.h serve/root.c \
	serve/blobs.h serve/blobs_int.h serve/blobs.c serve/blobs_sweep.c \
	serve/io_json.h serve/io_json.c \
	serve/registry.h serve/registry_int.h serve/registry_sql.def \
	serve/registry.c serve/registry_put.c serve/registry_policy.c serve/registry_find.c \
	serve/build.h serve/build.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes \
	tests/test_registry \
	tests/test_sandbox \
	tests/test_build \
	tests/test_durable
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
tests_test_registry_LDADD = $(serve_ldadd)
tests_test_sandbox_SOURCES = tests/test_sandbox.c tools/sandbox.c tools/sandbox.h
tests_test_sandbox_LDADD = libcabrt.a $(SECCOMP_LIBS) -lpthread -lm
tests_test_build_LDADD = $(serve_ldadd)
# The prey of kill-registry.py.
check_PROGRAMS += tests/serve/register_loop
tests_serve_register_loop_LDADD = $(serve_ldadd)
EXTRA_DIST += tests/serve/kill-registry.py tests/serve/hostile-build.py
tests_test_durable_LDADD = $(serve_ldadd)
tests_test_durable_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fsync,--wrap=linkat,--wrap=renameat,--wrap=openat \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup

registry-kill-long: tests/serve/register_loop
	python3 $(srcdir)/tests/serve/kill-registry.py tests/serve/register_loop 200
kill-long: registry-kill-long
.PHONY: registry-kill-long
