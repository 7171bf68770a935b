# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/bytes.h \
	serve/bytes.c \
	serve/batcher.h \
	serve/batcher.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes \
	tests/test_batcher
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
tests_test_batcher_LDADD = $(serve_ldadd)
