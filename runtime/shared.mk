# The shared library: the sources of libcabrt.a again, position-independent, with the functions of
# cab_rt.h as its only symbols.  The number behind .so is that of the interface: functions are added
# to it, never changed (tests/check-abi.sh); it rises when that cannot be kept.
rt_soname = libcabrt.so.0
rt_shared = $(rt_soname).1.0
noinst_DATA = $(rt_soname)
CLEANFILES += $(rt_shared) $(rt_soname) libcabrt.so
$(rt_soname): $(libcabrt_a_SOURCES) include/cab_rt.h
	$(AM_V_CCLD)$(CC) $(DEFS) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) -DCAB_SHARED_BUILD -fPIC \
		-fvisibility=hidden -ffunction-sections -fdata-sections -shared -Wl,-soname,$(rt_soname) \
		-Wl,--gc-sections $(SO_FLAGS) -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack $(AM_LDFLAGS) $(LDFLAGS) \
		-o $(rt_shared) $(filter %.c,$^) -lpthread -lm
	$(AM_V_at)ln -sf $(rt_shared) $(rt_soname) && ln -sf $(rt_soname) libcabrt.so

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = runtime/cabrt.pc
install-data-local: $(rt_soname)
	$(MKDIR_P) $(DESTDIR)$(libdir)
	$(INSTALL_PROGRAM) $(rt_shared) $(DESTDIR)$(libdir)/$(rt_shared)
	cd $(DESTDIR)$(libdir) && ln -sf $(rt_shared) $(rt_soname) && ln -sf $(rt_soname) libcabrt.so
uninstall-local:
	cd $(DESTDIR)$(libdir) && rm -f $(rt_shared) $(rt_soname) libcabrt.so
