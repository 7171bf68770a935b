# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/serve_int.h \
	serve/bytes.h \
	serve/bytes.c \
	serve/http1.h \
	serve/http1_int.h \
	serve/http1.c \
	serve/http1_chars.c \
	serve/http1_body.c \
	serve/http1_answer.c \
	serve/http1_target.c \
	serve/json_write.h \
	serve/json_write.c \
	serve/exchange.h \
	serve/exchange.c \
	serve/loop.h \
	serve/loop.c \
	serve/conn.h \
	serve/conn.c \
	serve/conn_http1.c \
	serve/conn_http2.c \
	serve/tls.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
check_PROGRAMS += tests/serve/carry
tests_serve_carry_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS)
tests_serve_carry_LDADD = $(serve_ldadd)
