# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/bytes.h \
	serve/bytes.c \
	serve/pow5.h serve/pow5.c \
	serve/json_number.h serve/json_scan_int.h serve/json_number.c \
	serve/json_shortest_int.h serve/json_shortest.c \
	serve/json_pull.h serve/json_text_int.h serve/json_pull.c serve/json_text.c \
	serve/json_tensor.h serve/json_element.def serve/json_element_int.h serve/json_element.c \
	serve/json_tensor.c serve/json_write.c
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
serve_tests = \
	tests/test_bytes \
	tests/test_json \
	tests/test_json_number \
	tests/test_json_tensor
check_PROGRAMS += $(serve_tests)
TESTS += $(serve_tests)
tests_test_bytes_LDADD = $(serve_ldadd)
tests_test_json_LDADD = $(serve_ldadd)
tests_test_json_number_LDADD = $(serve_ldadd)
tests_test_json_tensor_LDADD = $(serve_ldadd)
# Every float to text and back: some minutes.
json-long: tests/test_json_number
	./tests/test_json_number --all-f32
.PHONY: json-long
tests_bench_bench_json_LDADD = $(serve_ldadd)
