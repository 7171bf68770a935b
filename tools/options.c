/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - the flags of the subcommands, one table.
 */
#include "tools/tool.h"
#include "tools/custom_lib.h"
#include "tools/numbers.h"
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum flag {
    F_INPUT, F_OUTPUT, F_OUTPUT_DIR, F_OUT, F_EMIT, F_LINES, F_LAYERS, F_JSON, F_WORKER,
    F_TRACE, F_THREADS, F_RUNS, F_HUGE_PAGES, F_SEED, F_DIM, F_NAIVE, F_EXACT, F_TARGET, F_MAX_MEMORY,
    F_COMPILE_THREADS, F_CUSTOM, F_FUNCTIONS, F_NOTES, F_VERIFY, F_EMBED, F_SIGN, F_KEY, F_CACHE, F_NO_CACHE,
    F_ISOLATE, F_NAIVE_TOO, F_TOP, F_NO_COSTS, F_TUNING, F_RECORD, F_SECONDS, F_AT, F_COUNT
};

static const struct option flags[] = {
    { "input", required_argument, NULL, F_INPUT },
    { "output", required_argument, NULL, F_OUTPUT },
    { "output-dir", required_argument, NULL, F_OUTPUT_DIR },
    { "out", required_argument, NULL, F_OUT },
    { "emit", required_argument, NULL, F_EMIT },
    { "lines", no_argument, NULL, F_LINES },
    { "layers", no_argument, NULL, F_LAYERS },
    { "json", optional_argument, NULL, F_JSON },
    { "worker", no_argument, NULL, F_WORKER },
    { "trace", no_argument, NULL, F_TRACE },
    { "threads", required_argument, NULL, F_THREADS },
    { "runs", required_argument, NULL, F_RUNS },
    { "huge-pages", no_argument, NULL, F_HUGE_PAGES },
    { "seed", required_argument, NULL, F_SEED },
    { "dim", required_argument, NULL, F_DIM },
    { "naive", no_argument, NULL, F_NAIVE },
    { "exact", no_argument, NULL, F_EXACT },
    { "target", required_argument, NULL, F_TARGET },
    { "max-memory", required_argument, NULL, F_MAX_MEMORY },
    { "compile-threads", required_argument, NULL, F_COMPILE_THREADS },
    { "custom", required_argument, NULL, F_CUSTOM },
    { "functions", required_argument, NULL, F_FUNCTIONS },
    { "notes", no_argument, NULL, F_NOTES },
    { "verify", required_argument, NULL, F_VERIFY },
    { "embed-onnx", no_argument, NULL, F_EMBED },
    { "sign", required_argument, NULL, F_SIGN },
    { "key", required_argument, NULL, F_KEY },
    { "cache", required_argument, NULL, F_CACHE },
    { "no-cache", no_argument, NULL, F_NO_CACHE },
    { "isolate", no_argument, NULL, F_ISOLATE },
    { "naive-too", no_argument, NULL, F_NAIVE_TOO },
    { "top", required_argument, NULL, F_TOP },
    { "no-costs", no_argument, NULL, F_NO_COSTS },
    { "tuning", required_argument, NULL, F_TUNING },
    { "record", required_argument, NULL, F_RECORD },
    { "seconds", required_argument, NULL, F_SECONDS },
    { "at", required_argument, NULL, F_AT },
    { NULL, 0, NULL, 0 }
};

static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static bool number(const char *flag, const char *text, int64_t lo, int64_t hi, int64_t *out)
{
    if (number_whole(text, lo, hi, out))
        return true;
    fprintf(stderr, "cab: --%s wants a whole number from %lld to %lld, not '%s'\n", flag,
            (long long)lo, (long long)hi, text);
    return false;
}

static bool bytes(const char *text, size_t *out)
{
    if (number_bytes(text, out))
        return true;
    fprintf(stderr, "cab: --max-memory wants bytes, as 512M or 4G, not '%s'\n", text);
    return false;
}

/* NUMBER or LOW..HIGH. */
static bool one_dim(tool_args *a, const char *name, char *text)
{
    char *dots = strstr(text, "..");
    int64_t lo, hi;
    if (dots)
        *dots = 0;
    if (!number("dim", text, 0, INT32_MAX, &lo))
        return false;
    hi = lo;
    if (dots && !number("dim", dots + 2, lo, INT32_MAX, &hi))
        return false;
    if (a->n_dims == 64 || a->n_ranges == 64) {
        fprintf(stderr, "cab: at most 64 sizes by --dim\n");
        return false;
    }
    if (lo == hi)
        a->dim[a->n_dims++] = (cab_import_bind){ name, lo };
    else
        a->range[a->n_ranges++] = (cab_import_range){ name, lo, hi };
    return true;
}

static bool dim(tool_args *a, char *text)
{
    char *eq = strrchr(text, '=');
    if (!eq || eq == text) {
        fprintf(stderr, "cab: --dim wants NAME=NUMBER[,NUMBER...] or NAME=LOW..HIGH, not '%s'\n", text);
        return false;
    }
    *eq = 0;
    for (char *p = eq + 1, *next; p; p = next) {
        if ((next = strchr(p, ',')))
            *next++ = 0;
        if (!one_dim(a, text, p))
            return false;
    }
    return true;
}

static bool verify(tool_args *a, const char *text)
{
    if (strcmp(text, "full") && strcmp(text, "code")) {
        fprintf(stderr, "cab: --verify is code or full, not '%s'\n", text);
        return false;
    }
    a->load.verify = text[0] == 'f' ? CAB_VERIFY_FULL : CAB_VERIFY_CODE;
    return true;
}

static bool add(const char **list, int *n, const char *what, const char *text)
{
    if (*n == 64) {
        fprintf(stderr, "cab: at most 64 --%s\n", what);
        return false;
    }
    list[(*n)++] = text;
    return true;
}

static bool custom(const char *path)
{
    const char *why = custom_lib_load(path);
    if (why)
        fprintf(stderr, "cab: --custom %s: %s\n", path, why);
    return !why;
}

/* The bytes stay mapped to the end of the process. */
static bool functions(tool_args *a, const char *path)
{
    cab_mapping m;
    cab_diag d;
    if (a->n_functions == 64) {
        fprintf(stderr, "cab: at most 64 --functions\n");
        return false;
    }
    cab_diag_init(&d);
    cab_status s = cab_file_map(path, &m, &d);
    tool_print_diag(&d);
    cab_diag_fini(&d);
    if (s == CAB_OK)
        a->functions[a->n_functions++] = (cab_import_functions){ m.p, m.n, path };
    return s == CAB_OK;
}

/* The text stays to the end of the process. */
static bool tuning(tool_args *a, const char *path)
{
    static char *text;
    cab_diag d;
    free(text);
    text = NULL;
    cab_diag_init(&d);
    cab_status s = cab_tuning_read(path, &text, &d);
    tool_print_diag(&d);
    cab_diag_fini(&d);
    a->compile.tuning = text;
    return s == CAB_OK;
}

/* NAME=NUMBER: an extent that stays open, in the runs. */
static bool size_of_runs(tool_args *a, char *text)
{
    char *eq = strrchr(text, '=');
    int64_t v;
    if (!eq || eq == text || a->n_at == 64) {
        fprintf(stderr, "cab: --at wants NAME=NUMBER, at most 64 times, not '%s'\n", text);
        return false;
    }
    *eq = 0;
    if (!number("at", eq + 1, 0, INT32_MAX, &v))
        return false;
    a->at[a->n_at++] = (cab_import_bind){ text, v };
    return true;
}

/* What the libraries bring, for the importer and for the runtime. */
static void use_custom(tool_args *a)
{
    const custom_lib *l = custom_lib_all();
    a->compile.custom = l->shapes;
    a->compile.n_custom = l->n_shapes;
    a->load.size = sizeof a->load;
    a->load.custom = l->ops;
    a->load.n_custom = l->n_ops;
}

static bool apply(tool_args *a, enum flag f, char *text)
{
    int64_t v = 0;
    switch (f) {
    case F_INPUT: return add(a->input, &a->n_inputs, "input", text);
    case F_OUTPUT: return add(a->output, &a->n_outputs, "output", text);
    case F_OUTPUT_DIR: a->output_dir = text; return true;
    case F_OUT: a->output_file = text; return true;
    case F_EMIT: a->emit = text; return true;
    case F_LINES: return a->lines = true;
    case F_LAYERS: return a->layers = true;
    case F_JSON: a->json_file = text; return a->json = true;
    case F_HUGE_PAGES: return a->huge_pages = true;
    case F_NAIVE_TOO: return a->naive_too = true;
    case F_NO_COSTS: return a->compile.no_costs = true;
    case F_TOP:
        if (!number("top", text, 1, 1000000, &v))
            return false;
        a->top = (int)v;
        return true;
    case F_TUNING: return tuning(a, text);
    case F_RECORD: a->record = text; return true;
    case F_AT: return size_of_runs(a, text);
    case F_SECONDS:
        if (!number("seconds", text, 1, 86400, &v))
            return false;
        a->seconds = (int)v;
        return true;
    case F_WORKER: return a->worker = true;
    case F_TRACE: return a->show_trace = true;
    case F_NOTES: return a->notes = true;
    case F_VERIFY: return verify(a, text);
    case F_EMBED: return a->compile.embed_model = true;
    case F_SIGN: a->sign_key = text; return true;
    case F_KEY: a->trust_key = text; return true;
    case F_NAIVE: return a->compile.naive = true;
    case F_EXACT: return a->compile.exact = true;
    case F_TARGET: a->compile.target = text; return true;
    case F_MAX_MEMORY: return bytes(text, &a->compile.max_memory);
    case F_DIM: return dim(a, text);
    case F_CACHE: a->compile.cache_dir = text; return true;
    case F_NO_CACHE: a->compile.cache_dir = NULL; return true;
    case F_ISOLATE: return a->compile.isolate = true;
    case F_THREADS:
        if (!number("threads", text, 0, 1024, &v))
            return false;
        a->threads = (int)v;
        return true;
    case F_COMPILE_THREADS:
        if (!number("compile-threads", text, 1, 1024, &v))
            return false;
        a->compile.threads = (int)v;
        return true;
    case F_RUNS:
        if (!number("runs", text, 1, 1000000, &v))
            return false;
        a->runs = (int)v;
        return true;
    case F_SEED:
        if (!number("seed", text, 0, INT64_MAX, &v))
            return false;
        a->seed = (uint64_t)v;
        return true;
    case F_CUSTOM: return custom(text);
    case F_FUNCTIONS: return functions(a, text);
    case F_COUNT: break;
    }
    return false;
}

/* --json FILE.json: a word that follows an option with no value of its own is
 * the model, but for this ending. */
static char *json_file(int argc, char **argv)
{
    const char *next = optind < argc ? argv[optind] : "";
    size_t n = strlen(next);
    return n > 5 && next[0] != '-' && !strcmp(next + n - 5, ".json") ? argv[optind++] : NULL;
}

/* Those this process may use; a compilation has no use for many. */
static int processors(void)
{
    enum { MOST = 8 };
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > MOST ? MOST : n;
}

bool tool_parse_args(int argc, char **argv, const char *allowed, tool_args *out)
{
    int c, at = -1;
    *out = (tool_args){ .seed = 1 };
    out->compile.threads = processors();
    /* Only where the command has the flags: a check is never cached. */
    if (listed(allowed, "no-cache") && getenv("CAB_CACHE") && *getenv("CAB_CACHE"))
        out->compile.cache_dir = getenv("CAB_CACHE");
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, ":o:", flags, &at)) != -1) {
        if (c == '?' || c == ':') {
            fprintf(stderr, c == ':' ? "cab: %s wants a value\n" : "cab: unknown flag %s\n",
                    argv[optind - 1]);
            return false;
        }
        enum flag f = c == 'o' ? F_OUT : (enum flag)c;
        const char *name = flags[f].name;
        if (!listed(allowed, name)) {
            fprintf(stderr, "cab: this command takes no --%s\n", name);
            return false;
        }
        char *text = f == F_JSON && !optarg ? json_file(argc, argv) : optarg;
        if (!apply(out, f, text))
            return false;
    }
    if (optind < argc)
        out->model = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "cab: one model, please; what is '%s'?\n", argv[optind]);
        return false;
    }
    out->compile.import.n_binds = out->n_dims;
    out->compile.import.binds = out->dim;
    out->compile.import.n_ranges = out->n_ranges;
    out->compile.import.ranges = out->range;
    out->compile.import.n_functions = out->n_functions;
    out->compile.import.functions = out->functions;
    use_custom(out);
    return true;
}
