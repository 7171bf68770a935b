/* SPDX-License-Identifier: Apache-2.0 */
/*
 * triton_echo.c - a backend for tritonserver that answers output "y" with input "x".
 *
 * The other side of tests/bench/serve.py.  Declares what it uses of the backend's C interface itself.
 */
#include <stdint.h>
#include <string.h>

typedef struct error error;
error *TRITONBACKEND_RequestInputByIndex(void *request, uint32_t i, void **input);
error *TRITONBACKEND_InputProperties(void *input, const char **name, int *type, const int64_t **shape, uint32_t *rank,
                                     uint64_t *bytes, uint32_t *buffers);
error *TRITONBACKEND_InputBuffer(void *input, uint32_t i, const void **p, uint64_t *bytes, int *memory, int64_t *id);
error *TRITONBACKEND_ResponseNew(void **response, void *request);
error *TRITONBACKEND_ResponseOutput(void *response, void **output, const char *name, int type, const int64_t *shape,
                                    uint32_t rank);
error *TRITONBACKEND_OutputBuffer(void *output, void **p, uint64_t bytes, int *memory, int64_t *id);
error *TRITONBACKEND_ResponseSend(void *response, uint32_t flags, error *e);
error *TRITONBACKEND_RequestRelease(void *request, uint32_t flags);
error *TRITONBACKEND_ModelInstanceExecute(void *instance, void **requests, uint32_t n);

static void answer(void *request)
{
    void *input, *response, *output, *to;
    const char *name;
    const int64_t *shape;
    const void *from;
    uint64_t bytes = 0, part;
    uint32_t rank = 0, buffers;
    int type = 0, memory = 0;
    int64_t id = 0;
    TRITONBACKEND_RequestInputByIndex(request, 0, &input);
    TRITONBACKEND_InputProperties(input, &name, &type, &shape, &rank, &bytes, &buffers);
    TRITONBACKEND_InputBuffer(input, 0, &from, &part, &memory, &id);
    TRITONBACKEND_ResponseNew(&response, request);
    TRITONBACKEND_ResponseOutput(response, &output, "y", type, shape, rank);
    memory = 0;
    TRITONBACKEND_OutputBuffer(output, &to, bytes, &memory, &id);
    memcpy(to, from, bytes);
    TRITONBACKEND_ResponseSend(response, 1, 0);
    TRITONBACKEND_RequestRelease(request, 1);
}

error *TRITONBACKEND_ModelInstanceExecute(void *instance, void **requests, uint32_t n)
{
    (void)instance;
    for (uint32_t i = 0; i < n; i++)
        answer(requests[i]);
    return 0;
}
