/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_api.c - the C header of one model: names, types and shapes of its inputs
 * and outputs, and three functions.
 *
 * The text depends on the program's inputs and outputs only, not on how the
 * functions are made: a file of C text and a shared object over the runtime
 * both keep what it promises.
 */
#include "codegen/c_model_int.h"

static const char head[] =
    "#ifndef @_MODEL_H\n#define @_MODEL_H\n#include <stddef.h>\n#include <stdint.h>\n"
    "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";

static const char tail[] =
    "/* A dense row-major tensor in the caller's memory. */\n"
    "typedef struct @_tensor {\n"
    "    int dtype;                 /* ONNX TensorProto.DataType number */\n"
    "    int rank;\n"
    "    int64_t dims[8];\n"
    "    void *data;\n"
    "    size_t bytes;              /* room at data */\n"
    "} @_tensor;\n\n"
    "/* Runs the model: 0, or another number when it cannot be run, and then the\n"
    " * reason is @_error().  Inputs are read only; dtype, rank, dims, data and bytes\n"
    " * are filled in by the caller.  Of an output the caller fills in data and bytes,\n"
    " * or data = NULL: then both are filled in, the memory is made by malloc and is the\n"
    " * caller's to free (when the run fails, data is NULL again).  dtype, rank and dims\n"
    " * are filled in.  Several threads may run the model at once. */\n"
    "int @_run(const @_tensor *inputs, @_tensor *outputs);\n\n"
    "/* What a run with inputs of these dtypes and dims needs; their data is not read.\n"
    " * Fills in dtype, rank, dims and bytes of the outputs (data stays), and the bytes\n"
    " * a run allocates for itself and frees.  0, or refuses as @_run would. */\n"
    "int @_memory(const @_tensor *inputs, @_tensor *outputs, size_t *work);\n\n"
    "/* Why the last call in this thread failed, one line. */\n"
    "const char *@_error(void);\n\n"
    "#ifdef __cplusplus\n}\n#endif\n#endif\n";

static void list(cab_buf *b, const cab_program *p, const char *what, const int *io, size_t n)
{
    cab_buf_printf(b, "/* %s, in order:\n", what);
    for (size_t i = 0; i < n; i++) {
        const cab_buffer *x = &p->buffers.p[io[i]];
        cab_buf line = cab_buf_on(b->arena);
        cab_buf_printf(&line, "%s: %s[", x->name ? x->name : "", cab_dtype_name(x->type.dtype));
        for (int k = 0; k < x->type.rank; k++) {
            cab_buf_str(&line, k ? ", " : "");
            cab_dim_print(&line, x->type.dims[k]);
        }
        cab_buf_printf(&line, "] (dtype %d%s)", cab_dtype_onnx(x->type.dtype),
                       x->blob ? "; must hold the bytes the model was compiled for" : "");
        cab_buf_printf(b, " *   %zu  ", i);
        cab_cm_comment(b, cab_buf_cstr(&line));
        cab_buf_char(b, '\n');
    }
    cab_buf_str(b, n ? " */\n" : " *   none\n */\n");
}

void cab_cm_api(cab_buf *b, const cab_program *p, const char *prefix)
{
    cab_cmodel c = { .arena = b->arena, .b = b, .prefix = prefix };
    cab_cm_put(&c, head);
    list(b, p, "inputs", p->inputs.p, p->inputs.n);
    list(b, p, "outputs", p->outputs.p, p->outputs.n);
    cab_buf_printf(b, "enum { %s_INPUTS = %zu, %s_OUTPUTS = %zu };\n\n", prefix, p->inputs.n,
                   prefix, p->outputs.n);
    cab_cm_put(&c, tail);
}
