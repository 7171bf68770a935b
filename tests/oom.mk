# Memory that runs out, and files that mean harm.
check_PROGRAMS += tests/oom/test_oom
TESTS += tests/oom/test_oom
tests_oom_test_oom_SOURCES = tests/oom/test_oom.c tests/test.h tests/open_files.h
tests_oom_test_oom_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup
EXTRA_DIST += tests/check-hostile.sh tests/hostile.py

hostile-long: cab
	sh $(srcdir)/tests/check-hostile.sh . $(CAB_SHARED) $(cab_cache) 5000
# Every allocation of a real model, not only some.
oom-long: tests/oom/test_oom
	srcdir=$(srcdir) CAB_OOM_ALL=1 ./tests/oom/test_oom
.PHONY: hostile-long oom-long
