/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custom_op.c - an operator of the host program, in a model of its own.
 *
 *   custom_op rownorm.onnx OUT.cab
 *
 *   sample::RowNorm(h [N, C]) {epsilon} -> unit [N, C], length [N]
 *     length[n] = sqrt(sum of h[n, c]^2 + epsilon), unit[n, c] = h[n, c] / length[n]
 *
 * Two functions make an operator.  The compiler wants its shapes (cab.h), the
 * runtime its kernel (cab_rt.h).  Here both are in one program, which compiles
 * and runs the model, then writes it to OUT.cab and loads that as a program
 * without compiler would: with the kernel only.
 */
#include <cab.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLOAT = 1, ROWS = 3, COLS = 4 };
static const float epsilon_default = 1e-6f;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "custom_op: %s: %s\n", what, why);
    return 1;
}

static int refuse(cab_error *e, int code, const char *why)
{
    snprintf(e->text, sizeof e->text, "%s", why);
    return e->code = code;
}

/* ---- what the compiler asks: type and extents of the results ---- */
/* Called while compiling, once or more per node.  An extent is given as "the
 * same as that of an input" wherever it is: then the batch may stay open.
 * What is refused here is an error of the model, with the node's name, before
 * anything runs.  So check everything here that the kernel relies on. */
static int rownorm_shape(void *user, const char *node, int n_inputs, const cab_tensor_info *in,
                         int n_attrs, const cab_custom_attr *attrs, int n_outputs,
                         cab_custom_type *out, cab_error *e)
{
    (void)user;
    (void)node;
    (void)n_attrs;
    (void)attrs;
    if (n_inputs != 1 || n_outputs > 2 || in[0].dtype != FLOAT || in[0].rank != 2)
        return refuse(e, CAB_RT_EMODEL, "RowNorm wants one float matrix and has two results");
    out[0] = (cab_custom_type){ FLOAT, 2, { cab_extent_of(0, 0), cab_extent_of(0, 1) } };
    if (n_outputs > 1)
        out[1] = (cab_custom_type){ FLOAT, 1, { cab_extent_of(0, 0) } };
    return 0;
}

/* ---- what the runtime calls: the kernel ---- */
static float float_attr(const cab_custom_call *c, const char *name, float otherwise)
{
    for (int i = 0; i < c->n_attrs; i++)
        if (!strcmp(c->attrs[i].name, name) && c->attrs[i].floats && c->attrs[i].n == 1)
            return c->attrs[i].floats[0];
    return otherwise;
}

/* Inputs are dense row-major; results have their memory already.  Sessions in
 * several threads may be in here at once: it keeps no state.  It must be a
 * function of its inputs: the compiler drops calls whose results nobody uses. */
static int rownorm(void *user, const cab_custom_call *c, cab_error *e)
{
    (void)user;
    /* An artifact may come from elsewhere; this costs nothing. */
    if (c->n_inputs != 1 || c->n_outputs < 1 || c->inputs[0].dtype != FLOAT || c->inputs[0].rank != 2)
        return refuse(e, CAB_RT_EMODEL, "RowNorm wants one float matrix");
    int64_t rows = c->inputs[0].dims[0], cols = c->inputs[0].dims[1];
    const float *x = c->inputs[0].data;
    float *unit = c->outputs[0].data;
    float *length = c->n_outputs > 1 ? c->outputs[1].data : NULL;
    float epsilon = float_attr(c, "epsilon", epsilon_default);
    for (int64_t n = 0; n < rows; n++, x += cols, unit += cols) {
        float sum = epsilon;
        for (int64_t k = 0; k < cols; k++)
            sum += x[k] * x[k];
        float l = sqrtf(sum);
        for (int64_t k = 0; k < cols; k++)
            unit[k] = x[k] / l;
        if (length)
            length[n] = l;
    }
    return 0;
}

static const cab_custom_shape shapes[] = { { "sample", "RowNorm", rownorm_shape, NULL } };
static const cab_custom_op kernels[] = { { "sample", "RowNorm", rownorm, NULL } };

/* ---- the program ---- */
static float x[ROWS * COLS] = { 3, 4, 0, -5, 1, 1, 1, 1, 0, 0, 0, 2 };

/* y = RowNorm(relu(x)) + 1, in as many words. */
static int check(const float *y, const float *length)
{
    for (int n = 0; n < ROWS; n++) {
        float sum = epsilon_default;
        for (int k = 0; k < COLS; k++)
            sum += x[n * COLS + k] > 0 ? x[n * COLS + k] * x[n * COLS + k] : 0;
        for (int k = 0; k < COLS; k++) {
            float h = x[n * COLS + k] > 0 ? x[n * COLS + k] : 0;
            if (!(fabsf(y[n * COLS + k] - (h / sqrtf(sum) + 1)) < 1e-5f))
                return fail("result", "y is wrong");
        }
        if (!(fabsf(length[n] - sqrtf(sum)) < 1e-5f))
            return fail("result", "length is wrong");
    }
    return 0;
}

static int run(cab_model *m, const char *what)
{
    cab_session *s = NULL;
    cab_error e = { 0 };
    cab_tensor_view in = { .dtype = FLOAT, .rank = 2, .dims = { ROWS, COLS }, .data = x, .bytes = sizeof x };
    cab_tensor_view out[2] = { { .data = NULL } };
    int rc = 0;
    if (cab_session_create(m, NULL, &s, &e) || cab_session_run(s, &in, out, &e))
        rc = fail(what, e.text);
    if (!rc)
        rc = check(out[0].data, out[1].data);
    for (int n = 0; !rc && n < ROWS; n++)
        printf("%s: row %d has length %.3f\n", what, n, (double)((float *)out[1].data)[n]);
    cab_session_destroy(s);
    return rc;
}

static int compile(const char *onnx, const char *cab)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_model_options mo = CAB_INIT(cab_model_options);
    cab_report *report = NULL;
    cab_model *m = NULL;
    cab_error e = { 0 };
    int fd = -1, rc;
    o.custom = shapes;
    o.n_custom = sizeof shapes / sizeof *shapes;
    mo.custom = kernels;
    mo.n_custom = sizeof kernels / sizeof *kernels;
    /* An artifact without a name: to load, to write to a path, or both.  (When
     * only the model is wanted: cab_jit_file.) */
    rc = cab_compile_file(onnx, &o, &fd, &report);
    fputs(cab_report_text(report), stderr);
    cab_report_destroy(report);
    if (rc)
        return 1;
    if (cab_artifact_write(fd, cab, &e))
        rc = fail(cab, e.text);
    else if (cab_model_load_fd(fd, onnx, &mo, &m, &e))
        rc = fail(onnx, e.text);
    close(fd);                      /* the model keeps its own mapping */
    if (!rc)
        rc = run(m, "compiled here");
    cab_model_destroy(m);
    return rc;
}

/* The file knows which operators it needs, by name; their code is not in it. */
static int load(const char *cab)
{
    cab_model_options mo = CAB_INIT(cab_model_options);
    cab_model *m = NULL;
    cab_error e = { 0 };
    if (!cab_model_load(cab, NULL, &m, &e)) {
        cab_model_destroy(m);
        return fail(cab, "loaded without the kernel it needs");
    }
    printf("without the kernel: %s\n", e.text);
    mo.custom = kernels;
    mo.n_custom = sizeof kernels / sizeof *kernels;
    if (cab_model_load(cab, &mo, &m, &e))
        return fail(cab, e.text);
    int rc = run(m, "from the file");
    cab_model_destroy(m);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fail("usage", "custom_op rownorm.onnx OUT.cab");
    int rc = compile(argv[1], argv[2]);
    return rc ? rc : load(argv[2]);
}
