# SPDX-License-Identifier: Apache-2.0
# frontend: model files to graphs; needs base, ir and protobuf-c.
libfrontend_a_SOURCES += \
    frontend/frontend.h \
    frontend/frontend_int.h \
    frontend/externals.c \
    frontend/import.c \
    frontend/import_attr.c \
    frontend/import_input.c \
    frontend/import_tensor.c \
    frontend/inline.c \
    frontend/npy.c \
    frontend/opset.c \
    frontend/order.c \
    frontend/skeleton.c \
    frontend/tensor_io.c \
    frontend/unpack.c \
    frontend/upgrade_attr.c \
    frontend/upgrade_form.c \
    frontend/upgrades.def
nodist_libfrontend_a_SOURCES = \
    frontend/onnx.pb-c.c \
    frontend/onnx.pb-c.h
BUILT_SOURCES += frontend/onnx.pb-c.c frontend/onnx.pb-c.h
CLEANFILES += frontend/onnx.pb-c.c frontend/onnx.pb-c.h
EXTRA_DIST += frontend/onnx.proto frontend/README.md tools/gen_big_model.py

frontend/onnx.pb-c.h: frontend/onnx.pb-c.c
	@test -f $@ || { rm -f $<; $(MAKE) $(AM_MAKEFLAGS) $<; }
frontend/onnx.pb-c.c: frontend/onnx.proto
	@$(MKDIR_P) frontend
	$(AM_V_GEN)$(PROTOC_C) --c_out=. -I$(top_srcdir) $(top_srcdir)/frontend/onnx.proto
