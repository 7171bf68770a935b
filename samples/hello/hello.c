/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello.c - load a compiled model, run it, print the result: twenty lines.
 *
 *   hello ../digits/digits.cab
 *
 * The input is made for samples/digits: a bar, which it reads as a one.
 * explained.c is the same program with everything a real one needs.
 */
#include <cab_rt.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    float image[64] = { [11] = 16, [19] = 16, [27] = 16, [35] = 16, [43] = 16, [51] = 16 };
    cab_model *model = NULL;
    cab_session *session = NULL;
    cab_error error = { CAB_RT_EINVAL, "usage: hello MODEL.cab" };
    cab_tensor_view out = { 0 }, in = { .dtype = 1, .rank = 4, .dims = { 1, 1, 8, 8 },
                                        .data = image, .bytes = sizeof image };
    int rc = argc != 2 || cab_model_load(argv[1], NULL, &model, &error) ||
             cab_session_create(model, NULL, &session, &error) ||
             cab_session_run(session, &in, &out, &error);
    for (int i = 0; !rc && i < 10; i++)
        printf("%d: %.3f\n", i, (double)((float *)out.data)[i]);
    if (rc) fprintf(stderr, "%s\n", error.text);
    cab_session_destroy(session);
    cab_model_destroy(model);
    return rc;
}
