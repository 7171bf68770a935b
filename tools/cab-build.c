/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab-build.c - the program cab-build: one compilation for a server, in a sandbox.
 *
 *   cab-build --model-fd 3 --artifact-fd 4 --report-fd 5 [--name NAME] [--target T]
 *             [--threads N] [--max-memory BYTES] [--max-artifact BYTES] [--seconds N]
 *             [--parent PID]
 *
 * Loads LLVM, gives up everything else (sandbox.h), and only then looks at the
 * model's first byte.  Writes the artifact to its descriptor and one line of
 * JSON to the report's: {"code":N,"status":"...","text":"error: ...","bytes":N}.
 * Exit status as cab's.
 */
#include "include/cab.h"
#include "base/base.h"
#include "tools/sandbox.h"
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct order {
    int model, artifact, report;
    const char *name, *target;
    int threads;
    uint64_t max_memory, max_artifact;
    unsigned seconds;
    pid_t parent;
} order;

/* ---- the command line ---- */

typedef struct flag {
    const char *name;
    size_t at;                             /* in order */
    enum { TEXT, INT, U64 } kind;
    uint64_t lo, hi;
} flag;
#define AT(field) offsetof(order, field)
static const flag flags[] = {
    { "model-fd", AT(model), INT, 3, 63 },
    { "artifact-fd", AT(artifact), INT, 3, 63 },
    { "report-fd", AT(report), INT, 3, 63 },
    { "name", AT(name), TEXT, 0, 0 },
    { "target", AT(target), TEXT, 0, 0 },
    { "threads", AT(threads), INT, 1, 64 },
    { "max-memory", AT(max_memory), U64, 0, UINT64_MAX },
    { "max-artifact", AT(max_artifact), U64, 0, UINT64_MAX },
    { "seconds", AT(seconds), INT, 1, 1 << 20 },
    { "parent", AT(parent), INT, 1, INT32_MAX },
};
enum { N_FLAGS = sizeof flags / sizeof *flags };

static bool number(const char *s, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return *s >= '0' && *s <= '9' && !*end && !errno;
}

static bool take(const flag *f, const char *value, order *o)
{
    char *at = (char *)o + f->at;
    uint64_t n;
    if (f->kind == TEXT) {
        memcpy(at, &value, sizeof value);
        return true;
    }
    if (!number(value, &n) || n < f->lo || n > f->hi)
        return false;
    if (f->kind == INT)
        memcpy(at, &(int){ (int)n }, sizeof(int));
    else
        memcpy(at, &n, sizeof n);
    return true;
}

static bool parse(int argc, char **argv, order *o)
{
    struct option longs[N_FLAGS + 1] = { { 0 } };
    int at;
    for (int i = 0; i < N_FLAGS; i++)
        longs[i] = (struct option){ flags[i].name, required_argument, NULL, 1 };
    for (int c; (c = getopt_long(argc, argv, "", longs, &at)) != -1;)
        if (c != 1 || !take(&flags[at], optarg, o)) {
            if (c == 1)
                fprintf(stderr, "cab-build: --%s: not a number that is possible here\n",
                        flags[at].name);
            return false;
        }
    if (optind == argc && o->model && o->artifact && o->report)
        return true;
    fprintf(stderr, "usage: cab-build --model-fd N --artifact-fd N --report-fd N [--name NAME]\n"
                    "                 [--target T] [--threads N] [--max-memory BYTES]\n"
                    "                 [--max-artifact BYTES] [--seconds N] [--parent PID]\n");
    return false;
}

/* ---- the sandbox ---- */

/* Before files are out of reach.  True when the compiler, which asks by the
 * library's name (codegen/cpu/llvm_load.c), will find this one in memory. */
static bool preload(void)
{
    const char *path = CAB_LLVM_SO, *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!dlopen(name, RTLD_LAZY | RTLD_LOCAL) && !dlopen(path, RTLD_LAZY | RTLD_LOCAL))
        return false;
    void *again = dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    return again != NULL;
}

/* Where nothing is said: room for weights that grow to twice the model, and for code. */
static uint64_t artifact_limit(const order *o, uint64_t model)
{
    return o->max_artifact ? o->max_artifact : 2 * model + ((uint64_t)1 << 30);
}

static cab_status confine(const order *o, cab_diag *d)
{
    const uint64_t libraries = (uint64_t)512 << 20;     /* what LLVM holds beside our arenas */
    bool loaded = preload();
    struct stat st;
    if (fstat(o->model, &st) || !S_ISREG(st.st_mode))
        return cab_fail(d, CAB_EIO, NULL, "the model is not a file");
    uint64_t model = (uint64_t)st.st_size;
    const int fds[] = { o->model, o->artifact, o->report, cab_memfd_reserve("cabochon") };    /* the compiler's file */
    int last = 0;
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        last = fds[i] > last ? fds[i] : last;
    cab_sandbox s = {
        .last_fd = last, .parent = o->parent,
        .max_address = o->max_memory ? o->max_memory + libraries + model : 0,
        .max_file = artifact_limit(o, model), .max_cpu_s = o->seconds, .threads = o->threads,
        .libraries = !loaded,
    };
    setpriority(PRIO_PROCESS, 0, 10);      /* requests go first */
    return cab_sandbox_enter(&s, d);
}

/* ---- the work ---- */

typedef struct outcome { cab_status status; uint64_t bytes; char *text; } outcome;

/* No mapping: that would count for the limit of memory. */
static cab_status copy(int from, int to, uint64_t *bytes, cab_diag *d)
{
    const size_t piece = (size_t)1 << 20;
    char *buf = malloc(piece);
    cab_status s = buf ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    *bytes = 0;
    while (s == CAB_OK) {
        ssize_t k = pread(from, buf, piece, (off_t)*bytes);
        if (k < 0 && errno != EINTR)
            s = cab_fail(d, CAB_EIO, NULL, "cannot read the artifact: %s", strerror(errno));
        if (k == 0)
            break;
        if (k > 0 && (s = cab_fd_write_at(to, *bytes, buf, (size_t)k, d)) == CAB_OK)
            *bytes += (uint64_t)k;
    }
    free(buf);
    return s;
}

static cab_status compile(const order *o, outcome *out, cab_diag *d)
{
    cab_compile_options co = CAB_INIT(cab_compile_options);
    cab_report *report = NULL;
    cab_mapping m;
    int fd;
    CAB_TRY(cab_fd_map(o->model, "the model", &m, d));
    co.target = o->target;
    co.threads = o->threads;
    co.max_memory = o->max_memory;
    co.model_name = o->name ? o->name : "";
    cab_status s = (cab_status)cab_compile_memory(m.p, m.n, NULL, &co, &fd, &report);
    out->text = strdup(cab_report_text(report));
    cab_report_destroy(report);
    cab_file_unmap(&m);
    if (s == CAB_OK) {
        s = copy(fd, o->artifact, &out->bytes, d);
        close(fd);
    }
    return s;
}

static cab_status work(const order *o, outcome *out, cab_diag *d)
{
    CAB_TRY(confine(o, d));
    return compile(o, out, d);
}

/* ---- the report ---- */

/* Names in a story are a stranger's bytes: what is not ASCII text becomes '?', but for UTF-8. */
static json_t *text_of(char *text)
{
    json_t *j = json_string(text);
    for (char *p = text; !j && *p; p++)
        if (*p & 0x80)
            *p = '?';
    return j ? j : json_string(text);
}

/* What the compiler said, then what was said around it. */
static char *whole_text(const outcome *r, const cab_diag *d)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return NULL;
    fputs(r->text ? r->text : "", f);
    for (size_t i = 0; i < d->n; i++) {
        char *line = cab_diag_format(&d->entries[i]);
        fputs(line ? line : "", f);
        free(line);
    }
    return fclose(f) ? NULL : text;
}

static bool tell(int fd, const outcome *r, const cab_diag *d)
{
    char *text = whole_text(r, d);
    json_t *j = json_pack("{s:i, s:s, s:o, s:I}", "code", (int)r->status, "status",
                          cab_status_text(r->status), "text",
                          text ? text_of(text) : json_string(""), "bytes", (json_int_t)r->bytes);
    char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
    size_t n = line ? strlen(line) : 0;
    bool ok = line != NULL;
    for (const char *at = line; ok && n;) {
        ssize_t k = write(fd, at, n);
        ok = k > 0 || (k < 0 && errno == EINTR);
        at += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
    ok = ok && write(fd, "\n", 1) == 1;
    free(line);
    json_decref(j);
    free(text);
    return ok;
}

int main(int argc, char **argv)
{
    order o = { .threads = 1 };
    outcome r = { 0 };
    cab_diag d;
    if (!parse(argc, argv, &o))
        return 2;
    /* They are the server's; a service manager may send them to all processes of the service. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    cab_diag_init(&d);
    r.status = work(&o, &r, &d);
    bool told = tell(o.report, &r, &d);
    /* Nothing more: what ends by itself at exit may need calls that are gone. */
    _exit(told ? cab_status_exit(r.status) : EXIT_FAILURE);
}
