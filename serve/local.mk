# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/bytes.h \
	serve/bytes.c \
	serve/batcher.h \
	serve/batcher.c \
	serve/memory.h \
	serve/memory.c \
	serve/shapes.h \
	serve/shapes.c \
	serve/sched.h \
	serve/sched_int.h \
	serve/sched.c \
	serve/served.c \
	serve/served_life.c \
	serve/instance.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes \
	tests/test_batcher \
	tests/test_sched
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
tests_test_batcher_LDADD = $(serve_ldadd)
# Compiles models, and makes allocations fail.
tests_test_sched_SOURCES = tests/test_sched.c tests/test.h tests/wire.h
tests_test_sched_LDADD = libserve.a $(compiler_ldadd)
tests_test_sched_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=aligned_alloc
