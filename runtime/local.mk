libruntime_a_SOURCES += \
	include/cab_rt.h \
	runtime/plan.h \
	runtime/runtime.h \
	runtime/runtime_int.h \
	runtime/session_int.h \
	runtime/artifact.c \
	runtime/plan.c \
	runtime/model.c \
	runtime/linked.c \
	runtime/linked.h \
	runtime/isa.c \
	runtime/shape.c \
	runtime/arena_pack.c \
	runtime/pool.c \
	runtime/pool_width.c \
	runtime/helpers.c \
	runtime/custom.c \
	runtime/session_bind.c \
	runtime/session_band.c \
	runtime/session_flow.c \
	runtime/session_list.c \
	runtime/session_overlap.c \
	runtime/session_async.c \
	runtime/session_pick.c \
	runtime/special.c \
	runtime/special_load.c \
	runtime/session_state.c \
	runtime/session_zero.c \
	runtime/session.c
EXTRA_DIST += runtime/README.md
