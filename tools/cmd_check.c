/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_check.c - cab check: every unsupported node of a model at once.
 */
#include "tools/tool.h"
#include <stdio.h>

int cmd_check(int argc, char **argv)
{
    tool_args args;
    cab_diag diag;
    size_t nodes = 0;
    if (!tool_parse_args(argc, argv, "dim max-memory custom functions", &args))
        return 2;
    if (!args.model) {
        fprintf(stderr, "usage: cab check MODEL.onnx\n");
        return 2;
    }
    cab_diag_init(&diag);
    cab_status s = cab_compiler_check(&args.compile, &(cab_source){ .path = args.model }, &nodes,
                                      &diag);
    tool_print_diag(&diag);
    if (s == CAB_OK)
        printf("%s: all %zu nodes are supported\n", args.model, nodes);
    cab_diag_fini(&diag);
    return cab_status_exit(s);
}
