/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab-rt.c - runs .cab files with libcabrt alone: no LLVM, no protobuf.
 *
 *   cab-rt MODEL.cab [--input [NAME=]FILE]... [--output-dir DIR] [FLAGS]
 *   cab-rt --lines [FLAGS]
 *
 *   --threads N          --verify=code|full     --max-memory BYTES[K|M|G]
 *   --deadline MS        --custom LIB.so        --trace
 *
 * --lines: one line in, ARTIFACT TAB OUTDIR TAB INPUT ..., one answer out:
 * "ok", "unsupported: why" or "error: why".
 */
#include "base/status.h"
#include "tools/custom_lib.h"
#include "tools/numbers.h"
#include "tools/rt_run.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum flag { F_INPUT, F_OUTPUT_DIR, F_THREADS, F_VERIFY, F_MAX_MEMORY, F_DEADLINE, F_CUSTOM,
            F_TRACE, F_LINES };

static bool complain(const char *flag, const char *wants, const char *text)
{
    fprintf(stderr, "cab-rt: --%s wants %s, not '%s'\n", flag, wants, text);
    return false;
}

static bool apply(rt_run *r, enum flag f, const char *text, bool *lines)
{
    int64_t v = 0;
    size_t bytes = 0;
    const char *why;
    switch (f) {
    case F_INPUT:
        if (r->n_inputs == RT_MAX_INPUTS) {
            fprintf(stderr, "cab-rt: at most %d --input\n", RT_MAX_INPUTS);
            return false;
        }
        r->input[r->n_inputs++] = text;
        return true;
    case F_OUTPUT_DIR: r->output_dir = text; return true;
    case F_TRACE: r->session.trace = 1; return true;
    case F_LINES: return *lines = true;
    case F_THREADS:
        if (!number_whole(text, 0, 1024, &v))
            return complain("threads", "a whole number from 0 to 1024", text);
        r->session.threads = (int)v;
        return true;
    case F_VERIFY:
        if (strcmp(text, "full") && strcmp(text, "code"))
            return complain("verify", "code or full", text);
        r->verify = text[0] == 'f' ? CAB_VERIFY_FULL : CAB_VERIFY_CODE;
        return true;
    case F_MAX_MEMORY:
        if (!number_bytes(text, &bytes))
            return complain("max-memory", "bytes, as 512M or 4G", text);
        r->session.max_bytes = bytes;
        return true;
    case F_DEADLINE:
        if (!number_whole(text, 1, INT32_MAX, &r->deadline_ms))
            return complain("deadline", "milliseconds from 1 to 2147483647", text);
        return true;
    case F_CUSTOM:
        if ((why = custom_lib_load(text)))
            fprintf(stderr, "cab-rt: %s: %s\n", text, why);
        return !why;
    }
    return false;
}

static bool parse(int argc, char **argv, rt_run *r, bool *lines)
{
    static const struct option flags[] = {
        { "input", required_argument, NULL, F_INPUT },
        { "output-dir", required_argument, NULL, F_OUTPUT_DIR },
        { "threads", required_argument, NULL, F_THREADS },
        { "verify", required_argument, NULL, F_VERIFY },
        { "max-memory", required_argument, NULL, F_MAX_MEMORY },
        { "deadline", required_argument, NULL, F_DEADLINE },
        { "custom", required_argument, NULL, F_CUSTOM },
        { "trace", no_argument, NULL, F_TRACE }, { "lines", no_argument, NULL, F_LINES },
        { NULL, 0, NULL, 0 }
    };
    int c;
    while ((c = getopt_long(argc, argv, "", flags, NULL)) != -1)
        if (c == '?' || !apply(r, (enum flag)c, optarg, lines))
            return false;
    if (optind < argc)
        r->model = argv[optind++];
    if (optind == argc && !r->model == *lines)
        return true;
    fprintf(stderr, "usage: cab-rt MODEL.cab [--input [NAME=]FILE.pb|.npy]... [--output-dir DIR]\n"
                    "       cab-rt --lines            ARTIFACT TAB OUTDIR TAB FILE ... a line\n"
                    "  [--threads N] [--verify=code|full] [--max-memory BYTES[K|M|G]] [--deadline MS]\n"
                    "  [--custom LIB.so]... [--trace]\n");
    return false;
}

static int run_line(rt_run *r, char *line)
{
    char *part[RT_MAX_INPUTS + 3];
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *p = line; p && n < RT_MAX_INPUTS + 3; n++) {
        part[n] = p;
        if ((p = strchr(p, '\t')))
            *p++ = 0;
    }
    if (n < 2 || n > RT_MAX_INPUTS + 2) {
        snprintf(r->story, sizeof r->story, "a line is ARTIFACT TAB OUTDIR TAB INPUTS, at most %d",
                 RT_MAX_INPUTS);
        return CAB_RT_EINVAL;
    }
    r->model = part[0];
    r->output_dir = part[1];
    r->n_inputs = n - 2;
    for (int i = 2; i < n; i++)
        r->input[i - 2] = part[i];
    return rt_run_once(r);
}

static int run_lines(const rt_run *flags)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        rt_run r = *flags;
        r.quiet = true;
        int rc = run_line(&r, line);
        if (rc == CAB_RT_OK)
            printf("ok\n");
        else
            printf("%s: %s\n", rc == CAB_RT_EUNSUPPORTED ? "unsupported" : "error", r.story);
        fflush(stdout);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    rt_run r = { .session = CAB_INIT(cab_session_options) };
    bool lines = false;
    if (!parse(argc, argv, &r, &lines))
        return 2;
    if (lines)
        return run_lines(&r);
    int rc = rt_run_once(&r);
    if (rc != CAB_RT_OK)
        fprintf(stderr, "cab-rt: %s\n", r.story);
    return cab_status_exit((cab_status)rc);
}
