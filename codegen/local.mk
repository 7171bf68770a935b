libcodegen_a_SOURCES += \
	codegen/codegen.h \
	codegen/codegen_int.h \
	codegen/codegen.c \
	codegen/link.c \
	codegen/scalars.c \
	codegen/c_api.c \
	codegen/c_flow.c \
	codegen/c_model.c \
	codegen/c_model_int.h \
	codegen/c_shape.c \
	codegen/c_tables.c \
	codegen/c_text.c \
	codegen/constants.c \
	codegen/constants_write.c \
	codegen/plan_flow.c \
	codegen/plan_write.c \
	codegen/plan_zero.c \
	codegen/band.c \
	codegen/plan_costs.c \
	codegen/cost.c \
	codegen/tuning.c \
	codegen/artifact_write.c
