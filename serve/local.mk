# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) -DCAB_BUILD='"$(pkglibexecdir)/cab-build"' $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/api_infer.c \
	serve/api_load.c \
	serve/api_meta.c \
	serve/api_policy.c \
	serve/api_register.c \
	serve/api_repository.c \
	serve/api_verbs.c \
	serve/auth.c \
	serve/auth.h \
	serve/batcher.c \
	serve/batcher.h \
	serve/blobs.c \
	serve/blobs.h \
	serve/blobs_int.h \
	serve/blobs_sweep.c \
	serve/build.c \
	serve/build.h \
	serve/bytes.c \
	serve/bytes.h \
	serve/catalog.c \
	serve/catalog.h \
	serve/classes.c \
	serve/classes.h \
	serve/codec.h \
	serve/coding.c \
	serve/coding.h \
	serve/codec_json.c \
	serve/conn.c \
	serve/conn.h \
	serve/conn_http1.c \
	serve/conn_http2.c \
	serve/conn_http2_int.h \
	serve/conn_http2_out.c \
	serve/conn_io.c \
	serve/conn_io.h \
	serve/conn_stream.c \
	serve/control.c \
	serve/control.h \
	serve/access.c \
	serve/access.h \
	serve/api_grpc.c \
	serve/codec_grpc.c \
	serve/flate.c \
	serve/flate.h \
	serve/grpc.c \
	serve/grpc.h \
	serve/rpcs.def \
	serve/exchange.c \
	serve/exchange.h \
	serve/http1.c \
	serve/http1.h \
	serve/http1_answer.c \
	serve/http1_body.c \
	serve/http1_chars.c \
	serve/http1_int.h \
	serve/http1_target.c \
	serve/infer.c \
	serve/infer.h \
	serve/instance.c \
	serve/io_json.c \
	serve/io_json.h \
	serve/journal.c \
	serve/journal.h \
	serve/json_element.c \
	serve/json_element.def \
	serve/json_element_int.h \
	serve/json_number.c \
	serve/json_number.h \
	serve/json_pull.c \
	serve/json_pull.h \
	serve/json_scan_int.h \
	serve/json_shortest.c \
	serve/json_shortest_int.h \
	serve/json_tensor.c \
	serve/json_tensor.h \
	serve/json_text.c \
	serve/json_text_int.h \
	serve/json_tree.c \
	serve/json_write.c \
	serve/listen.c \
	serve/listen.h \
	serve/loop.c \
	serve/loop.h \
	serve/memory.c \
	serve/memory.h \
	serve/metrics.c \
	serve/model_config.c \
	serve/model_config.h \
	serve/notify.c \
	serve/notify.h \
	serve/openapi.c \
	serve/options.c \
	serve/options.def \
	serve/options.h \
	serve/pieces.c \
	serve/pieces.h \
	serve/pow5.c \
	serve/pow5.h \
	serve/registry.c \
	serve/registry.h \
	serve/registry_find.c \
	serve/registry_int.h \
	serve/registry_policy.c \
	serve/registry_put.c \
	serve/registry_sql.def \
	serve/repository.c \
	serve/repository_build.c \
	serve/repository_int.h \
	serve/repository_load.c \
	serve/repository_why.c \
	serve/repository.h \
	serve/root.c \
	serve/root.h \
	serve/route.c \
	serve/route.h \
	serve/routes.def \
	serve/sched.c \
	serve/sched.h \
	serve/sched_int.h \
	serve/serve_int.h \
	serve/served.c \
	serve/served_life.c \
	serve/service.c \
	serve/service_end.c \
	serve/service.h \
	serve/shapes.c \
	serve/shapes.h \
	serve/task.h \
	serve/tls.c \
	serve/workers.c \
	serve/workers.h
nodist_libserve_a_SOURCES = serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
BUILT_SOURCES += serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
CLEANFILES += serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
serve/oip.pb-c.h: serve/oip.pb-c.c
	@test -f $@ || { rm -f $<; $(MAKE) $(AM_MAKEFLAGS) $<; }
serve/oip.pb-c.c: serve/oip.proto
	@$(MKDIR_P) serve
	$(AM_V_GEN)$(PROTOC_C) --c_out=. -I$(top_srcdir) $(top_srcdir)/serve/oip.proto
serve/libserve_a-grpc.$(OBJEXT) serve/libserve_a-codec_grpc.$(OBJEXT) serve/libserve_a-api_grpc.$(OBJEXT) serve/libserve_a-api_load.$(OBJEXT): serve/oip.pb-c.h
EXTRA_DIST += serve/schemas.json serve/README.md serve/oip.proto
serve/libserve_a-openapi.$(OBJEXT): serve/schemas.inc
serve/schemas.inc: serve/schemas.json
	@$(MKDIR_P) serve
	$(AM_V_GEN)printf 'static const char schemas_json[] =\n' >$@ && \
	sed 's/["\\]/\\&/g; s/^/"/; s/$$/\\n"/' $(srcdir)/serve/schemas.json >>$@ && printf ';\n' >>$@
serve_ldadd = libserve.a libcabrt.a $(SERVE_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(PROTOBUF_C_LIBS) -lpthread -lm
bin_PROGRAMS += cab-serve
cab_serve_SOURCES = serve/main.c
cab_serve_CPPFLAGS = $(AM_CPPFLAGS) $(SERVE_CFLAGS) $(JANSSON_CFLAGS)
cab_serve_LDADD = $(serve_ldadd)
# The unit is installed where systemd looks below the prefix; it names this bindir.
unitdir = $(prefix)/lib/systemd/system
unit_DATA = serve/cabochon.service
# What it is told lies in cabsysconfdir, and says nothing until somebody writes there.
cabsysconfdir = $(sysconfdir)/cabochon
EXTRA_DIST += serve/cabochon.service.in serve/serve.json
CLEANFILES += serve/cabochon.service
install-data-hook:
	$(MKDIR_P) "$(DESTDIR)$(cabsysconfdir)"
	test -e "$(DESTDIR)$(cabsysconfdir)/serve.json" || $(INSTALL_DATA) $(srcdir)/serve/serve.json "$(DESTDIR)$(cabsysconfdir)/serve.json"
uninstall-hook:
	! cmp -s $(srcdir)/serve/serve.json "$(DESTDIR)$(cabsysconfdir)/serve.json" || rm -f "$(DESTDIR)$(cabsysconfdir)/serve.json"
serve/cabochon.service: serve/cabochon.service.in
	@$(MKDIR_P) serve
	$(AM_V_GEN)sed -e 's|[@]bindir[@]|$(bindir)|' -e 's|[@]sysconfdir[@]|$(sysconfdir)|' $(srcdir)/serve/cabochon.service.in >$@
# Its client, which cab client starts.
bin_PROGRAMS += cab-client
cab_client_SOURCES = \
	serve/client.c \
	serve/client.h \
	serve/client_answer.c \
	serve/client_answer.h \
	serve/client_http.c \
	serve/client_infer.c \
	serve/client_load.c \
	serve/client_load.h \
	serve/client_options.def \
	serve/client_tensor.c \
	serve/histogram.c \
	serve/histogram.h \
	tools/rt_tensor.c \
	tools/rt_tensor.h
cab_client_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CFLAGS) $(JANSSON_CFLAGS)
cab_client_LDADD = libserve.a libcabrt.a $(CLIENT_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) -lpthread -lm
