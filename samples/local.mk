noinst_PROGRAMS += samples/digits/digits
samples_digits_digits_SOURCES = samples/digits/digits.c
samples_digits_digits_CPPFLAGS = -I$(top_srcdir)/include
samples_digits_digits_LDADD = libcabrt.a -lpthread
EXTRA_DIST += \
	samples/README.md \
	samples/digits/README.md \
	samples/digits/digits.onnx \
	samples/digits/images.npy \
	samples/digits/labels.txt \
	samples/digits/train.py
