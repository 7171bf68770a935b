libcodegen_a_SOURCES += \
	codegen/codegen.h \
	codegen/codegen_int.h \
	codegen/codegen.c \
	codegen/link.c \
	codegen/scalars.c \
	codegen/constants.c \
	codegen/plan_write.c \
	codegen/artifact_write.c
