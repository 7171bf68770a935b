/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit_c_driver.c - runs one model's C text through its public header alone.
 *
 *   driver OUTDIR INPUT.pb|INPUT.npy ...
 *
 * Compiled beside the text, with the header as model.h.  Asks for the sizes
 * first and gives half of the outputs memory of exactly that size, so that both
 * ways of the contract are walked; a run without its inputs must be refused.
 */
#include "model.h"
#include "include/cab_rt.h"
#include "tools/rt_tensor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    printf("%s: %s\n", what, why);
    return 1;
}

static int read_inputs(int n, char **file, model_tensor *in)
{
    const char *why;
    if (n != model_INPUTS)
        return fail("inputs", "another number than the model has");
    for (int i = 0; i < n; i++) {
        cab_tensor_view v;
        if (rt_tensor_read(file[i], &v, &why))
            return fail(file[i], why);
        in[i] = (model_tensor){ v.dtype, v.rank, { 0 }, v.data, v.bytes };
        memcpy(in[i].dims, v.dims, sizeof v.dims);
    }
    return 0;
}

static int write_output(const char *dir, int i, const model_tensor *t)
{
    char path[4096];
    const char *why;
    cab_tensor_view v = { t->dtype, t->rank, { 0 }, t->data, t->bytes };
    memcpy(v.dims, t->dims, sizeof v.dims);
    snprintf(path, sizeof path, "%s/output_%d.pb", dir, i);
    return rt_value_write(path, "output", CAB_KIND_TENSOR, &v, &why) ? fail(path, why) : 0;
}

/* A wrong rank must be told in words, not read. */
static int refuses(const model_tensor *in, model_tensor *out)
{
    model_tensor wrong[model_INPUTS + 1];
    if (model_INPUTS == 0)
        return 0;
    memcpy(wrong, in, model_INPUTS * sizeof *in);
    wrong[0].rank++;
    wrong[0].dims[7] = 1;
    return model_run(wrong, out) && model_error()[0] ? 0 : fail("a wrong rank", "was accepted");
}

int main(int argc, char **argv)
{
    static model_tensor in[model_INPUTS + 1], out[model_OUTPUTS + 1];
    size_t work;
    int rc = argc < 2 ? fail("usage", "driver OUTDIR INPUT...") : 0;
    if (!rc)
        rc = read_inputs(argc - 2, argv + 2, in);
    if (!rc)
        rc = refuses(in, out);
    if (!rc && model_memory(in, out, &work))
        rc = fail("memory", model_error());
    for (int i = 0; !rc && i < model_OUTPUTS; i += 2)
        out[i].data = malloc(out[i].bytes + !out[i].bytes);
    if (!rc && model_run(in, out))
        rc = fail("run", model_error());
    for (int i = 0; !rc && i < model_OUTPUTS; i++)
        rc = write_output(argv[1], i, &out[i]);
    for (int i = 0; i < model_INPUTS; i++)
        free(in[i].data);
    for (int i = 0; i < model_OUTPUTS; i++)
        free(out[i].data);
    return rc;
}
