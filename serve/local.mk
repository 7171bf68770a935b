# The server: models behind HTTP and gRPC (serve/README.md).
libserve_a_CPPFLAGS = $(AM_CPPFLAGS) -DCAB_BUILD='"$(pkglibexecdir)/cab-build"' $(SERVE_CFLAGS) $(SECCOMP_CFLAGS) $(JANSSON_CFLAGS)
libserve_a_SOURCES += \
	serve/access.c \
	serve/access.h \
	serve/api_grpc.c \
	serve/api_infer.c \
	serve/api_load.c \
	serve/api_meta.c \
	serve/api_policy.c \
	serve/api_register.c \
	serve/api_repository.c \
	serve/api_verbs.c \
	serve/auth.c \
	serve/auth.h \
	serve/bytes.c \
	serve/bytes.h \
	serve/call.c \
	serve/call.h \
	serve/catalog.c \
	serve/catalog.h \
	serve/child.c \
	serve/child.h \
	serve/classes.c \
	serve/classes.h \
	serve/codec.h \
	serve/codec_grpc.c \
	serve/codec_json.c \
	serve/control.c \
	serve/control.h \
	serve/grpc.c \
	serve/grpc.h \
	serve/handlers.c \
	serve/handlers.h \
	serve/journal.c \
	serve/journal.h \
	serve/listen.c \
	serve/listen.h \
	serve/metrics.c \
	serve/model_config.c \
	serve/model_config.h \
	serve/notify.c \
	serve/notify.h \
	serve/openapi.c \
	serve/pieces.c \
	serve/pieces.h \
	serve/repository.c \
	serve/repository.h \
	serve/repository_build.c \
	serve/repository_int.h \
	serve/repository_load.c \
	serve/repository_why.c \
	serve/route.c \
	serve/route.h \
	serve/routes.def \
	serve/rpcs.def \
	serve/serve_options.c \
	serve/serve_options.def \
	serve/serve_options.h \
	serve/service.c \
	serve/service.h \
	serve/service_end.c \
	serve/task.h \
	serve/workers.c \
	serve/workers.h \
	serve/http/coding.c \
	serve/http/coding.h \
	serve/http/conn.c \
	serve/http/conn.h \
	serve/http/conn_http1.c \
	serve/http/conn_http2.c \
	serve/http/conn_http2_int.h \
	serve/http/conn_http2_out.c \
	serve/http/conn_io.c \
	serve/http/conn_io.h \
	serve/http/conn_stream.c \
	serve/http/exchange.c \
	serve/http/exchange.h \
	serve/http/flate.c \
	serve/http/flate.h \
	serve/http/http1.c \
	serve/http/http1.h \
	serve/http/http1_answer.c \
	serve/http/http1_body.c \
	serve/http/http1_chars.c \
	serve/http/http1_int.h \
	serve/http/http1_target.c \
	serve/http/loop.c \
	serve/http/loop.h \
	serve/http/server.h \
	serve/http/tls.c \
	serve/json/io_json.c \
	serve/json/io_json.h \
	serve/json/json_element.c \
	serve/json/json_element.def \
	serve/json/json_element_int.h \
	serve/json/json_number.c \
	serve/json/json_number.h \
	serve/json/json_pull.c \
	serve/json/json_pull.h \
	serve/json/json_scan_int.h \
	serve/json/json_shortest.c \
	serve/json/json_shortest_int.h \
	serve/json/json_tensor.c \
	serve/json/json_tensor.h \
	serve/json/json_text.c \
	serve/json/json_text_int.h \
	serve/json/json_tree.c \
	serve/json/json_tree.h \
	serve/json/json_write.c \
	serve/json/pow5.c \
	serve/json/pow5.h \
	serve/registry/blobs.c \
	serve/registry/blobs.h \
	serve/registry/blobs_int.h \
	serve/registry/blobs_sweep.c \
	serve/registry/registry.c \
	serve/registry/registry.h \
	serve/registry/registry_find.c \
	serve/registry/registry_int.h \
	serve/registry/registry_policy.c \
	serve/registry/registry_put.c \
	serve/registry/registry_sql.def \
	serve/registry/root.c \
	serve/registry/root.h \
	serve/sched/batcher.c \
	serve/sched/batcher.h \
	serve/sched/instance.c \
	serve/sched/memory.c \
	serve/sched/memory.h \
	serve/sched/scheduler.c \
	serve/sched/scheduler.h \
	serve/sched/scheduler_int.h \
	serve/sched/served.c \
	serve/sched/served_life.c \
	serve/sched/shapes.c \
	serve/sched/shapes.h
nodist_libserve_a_SOURCES = serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
BUILT_SOURCES += serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
CLEANFILES += serve/schemas.inc serve/oip.pb-c.c serve/oip.pb-c.h
serve/oip.pb-c.h: serve/oip.pb-c.c
	@test -f $@ || { rm -f $<; $(MAKE) $(AM_MAKEFLAGS) $<; }
serve/oip.pb-c.c: serve/oip.proto
	@$(MKDIR_P) serve
	$(AM_V_GEN)$(PROTOC_C) --c_out=. -I$(top_srcdir) $(top_srcdir)/serve/oip.proto
serve/libserve_a-grpc.$(OBJEXT) serve/libserve_a-codec_grpc.$(OBJEXT) serve/libserve_a-api_grpc.$(OBJEXT) serve/libserve_a-api_load.$(OBJEXT): serve/oip.pb-c.h
EXTRA_DIST += serve/schemas.json serve/README.md serve/json/README.md serve/http/README.md serve/sched/README.md serve/registry/README.md serve/client/README.md serve/oip.proto
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
	serve/client/client.c \
	serve/client/client.h \
	serve/client/client_answer.c \
	serve/client/client_answer.h \
	serve/client/client_http.c \
	serve/client/client_infer.c \
	serve/client/client_load.c \
	serve/client/client_load.h \
	serve/client/client_options.def \
	serve/client/client_tensor.c \
	serve/client/histogram.c \
	serve/client/histogram.h \
	tools/rt_tensor.c \
	tools/rt_tensor.h
cab_client_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CFLAGS) $(JANSSON_CFLAGS)
cab_client_LDADD = libserve.a libcabrt.a $(CLIENT_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) -lpthread -lm
