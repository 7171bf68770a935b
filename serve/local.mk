# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/bytes.h \
	serve/bytes.c
libserve_a_SOURCES += \
	serve/http1.h \
	serve/http1_int.h \
	serve/http1_chars.c \
	serve/http1.c \
	serve/http1_body.c \
	serve/http1_target.c \
	serve/http1_answer.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes \
	tests/test_http1 \
	tests/test_http1_table
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
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
