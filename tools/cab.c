/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab.c - the command: picks a subcommand.
 */
#include "tools/tool.h"
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *doc;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "run", "compile a model in this process, run it, show or write its outputs", cmd_run },
    { "compile", "compile a model ahead of time into one .cab file", cmd_compile },
    { "bench", "time a model: optimised and naive, whole or per layer", cmd_bench },
    { "tune", "measure what the cost model cannot tell apart; write it down, or compile with it", cmd_tune },
    { "check", "say whether every node of a model is supported", cmd_check },
    { "inspect", "show what a .cab file holds and whether it loads here", cmd_inspect },
    { "serve", "serve models over HTTP and gRPC (cab serve --help)", cmd_serve },
    { "client", "call a server, register models there, measure it (cab client --help)", cmd_client },
};

static void usage(FILE *f)
{
    fprintf(f, "Cabochon " CAB_VERSION ", an ONNX compiler\n\nusage: cab COMMAND ...\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(f, "  %-8s  %s\n", commands[i].name, commands[i].doc);
    fprintf(f, "\nflags of run:      [--input [NAME=]FILE.pb|.npy]... [--output NAME]... [--output-dir DIR]\n"
               "                   [--naive] [--exact] [--threads N] [--seed S] [--trace] [--lines]\n"
               "                   [--dim NAME=N|NAME=LOW..HIGH|NAME=N,N,...] [--emit graph|program|sched|candidates|kir|c|header|cuda|llvm|asm]\n"
               "                   [--custom LIB.so]... [--functions FILE.onnx]...   (also compile, bench)\n"
               "                   [--cache DIR] [--no-cache] [--isolate]\n"
               "flags of compile:  -o FILE.cab [--naive] [--exact] [--dim ...] [--cache DIR] [--isolate]\n"
               "                   [--target native|x86-64-v2,x86-64-v3,x86-64-v4] [--embed-onnx] [--sign KEY]\n"
               "                   [--no-costs: without what cab bench --layers reads]\n"
               "                   [--input ...: values that decide sizes]\n"
               "                   --dim NAME=N,N,... keeps every size and adds a plan for each listed one\n"
               "                   [--emit c|header|obj|so|...: c is the whole model as portable C11, so a\n"
               "                   shared library with the same three functions, header their\n"
               "                   declarations; FILE's name becomes the prefix of their names]\n"
               "flags of bench:    [--input ...] [--threads N] [--runs N] [--naive] [--json [FILE.json]] [--huge-pages]\n"
               "                   [--layers [--naive-too] [--top N]: a row per kernel beside the peaks]\n"
               "                   [--dim ...] [--cache DIR] [--no-cache] [--worker]   (also of a MODEL.cab)\n"
               "                   [--tuning FILE: schedules from a record, or as MODEL.cab has them]   (also run, bench)\n"
               "flags of tune:     [-o FILE.cab] [--record FILE] [--input ...] [--dim ...] [--threads N] [--seconds N]\n"
               "                   [--at NAME=N: size of an open extent in the runs] [--target ...] [--seed S]\n"
               "flags of inspect:  [--layers] [--notes] [--verify=full] [--key PUB.pem] [--custom LIB.so]...\n"
               "environment: CAB_CACHE=DIR is --cache DIR\n"
               "\nexit status: 0 done, 77 unsupported, 2 usage, 1 any other failure\n");
}

int main(int argc, char **argv)
{
    if (argc >= 2 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
        printf("cab " CAB_VERSION "\n");
        return 0;
    }
    if (argc >= 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (argc >= 2)
        fprintf(stderr, "cab: no command '%s'\n", argv[1]);
    usage(stderr);
    return 2;
}
