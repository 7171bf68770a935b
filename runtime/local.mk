libruntime_a_SOURCES += \
	include/cab_rt.h \
	runtime/plan.h \
	runtime/runtime.h \
	runtime/runtime_int.h \
	runtime/session_int.h \
	runtime/plan.c \
	runtime/model.c \
	runtime/isa.c \
	runtime/shape.c \
	runtime/arena_pack.c \
	runtime/pool.c \
	runtime/helpers.c \
	runtime/custom.c \
	runtime/session_bind.c \
	runtime/session.c
EXTRA_DIST += runtime/README.md
