# Programs that host authors copy from: they see include/ and nothing else, whatever AM_CPPFLAGS says.
# On top of the runtime alone:
rt_samples = \
	samples/digits/digits \
	samples/hello/hello \
	samples/hello/explained \
	samples/threads/threads \
	samples/decode/decode
# ... and with the compiler:
compiler_samples = \
	samples/jit/jit \
	samples/custom_op/custom_op
noinst_PROGRAMS += $(rt_samples) $(compiler_samples)
sample_cppflags = -I$(top_srcdir)/include
sample_ldadd = libcabrt.a -lpthread -lm
samples_digits_digits_SOURCES = samples/digits/digits.c
samples_digits_digits_CPPFLAGS = $(sample_cppflags)
samples_digits_digits_LDADD = $(sample_ldadd)
samples_hello_hello_SOURCES = samples/hello/hello.c
samples_hello_hello_CPPFLAGS = $(sample_cppflags)
samples_hello_hello_LDADD = $(sample_ldadd)
samples_hello_explained_SOURCES = samples/hello/explained.c
samples_hello_explained_CPPFLAGS = $(sample_cppflags)
samples_hello_explained_LDADD = $(sample_ldadd)
samples_threads_threads_SOURCES = samples/threads/threads.c
samples_threads_threads_CPPFLAGS = $(sample_cppflags)
samples_threads_threads_LDADD = $(sample_ldadd)
samples_decode_decode_SOURCES = samples/decode/decode.c
samples_decode_decode_CPPFLAGS = $(sample_cppflags)
samples_decode_decode_LDADD = $(sample_ldadd)
samples_jit_jit_SOURCES = samples/jit/jit.c
samples_jit_jit_CPPFLAGS = $(sample_cppflags)
samples_jit_jit_LDADD = $(compiler_ldadd)
samples_custom_op_custom_op_SOURCES = samples/custom_op/custom_op.c
samples_custom_op_custom_op_CPPFLAGS = $(sample_cppflags)
samples_custom_op_custom_op_LDADD = $(compiler_ldadd)

# What the machine may lack; configure says so.
if HAVE_CXX17
noinst_PROGRAMS += samples/cpp/hello
samples_cpp_hello_SOURCES = samples/cpp/hello.cpp
samples_cpp_hello_CPPFLAGS = $(sample_cppflags)
samples_cpp_hello_CXXFLAGS = $(WARN_CXXFLAGS) $(SAN_FLAGS)
samples_cpp_hello_LDADD = $(sample_ldadd)
endif
if HAVE_JPEG
noinst_PROGRAMS += samples/classify/classify
samples_classify_classify_SOURCES = samples/classify/classify.c
samples_classify_classify_CPPFLAGS = $(sample_cppflags) $(JPEG_CFLAGS)
samples_classify_classify_LDADD = $(sample_ldadd) $(JPEG_LIBS)
endif

EXTRA_DIST += \
	samples/README.md \
	samples/classify/README.md \
	samples/classify/digits.txt \
	samples/classify/make_digit.py \
	samples/classify/seven.jpg \
	samples/custom_op/make_model.py \
	samples/custom_op/rownorm.onnx \
	samples/digits/README.md \
	samples/digits/digits.onnx \
	samples/digits/images.npy \
	samples/digits/labels.txt \
	samples/digits/train.py
EXTRA_DIST += samples/serve/README.md samples/serve/run.sh samples/serve/models.py samples/serve/from_triton.py
