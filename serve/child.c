/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.c - the compile child: started, waited for, and what it says doubted.
 *
 * posix_spawn, never fork, of a server with threads.  The child has the model (to
 * read), a file without a name (to write) and a pipe; no environment, no
 * terminal.  It could be in a stranger's hands by the time it answers: its report
 * is bounded text, its artifact is hashed and loaded here after it is dead.
 */
#include "serve/child.h"
#include "base/log.h"
#include "base/process.h"
#include "serve/json/io_json.h"
#include "serve/json/json_tree.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CAB_BUILD
#define CAB_BUILD "/usr/libexec/cabochon/cab-build"
#endif
enum { ASK_MS = 10, DEFAULT_SECONDS = 600, MOST_SECONDS = 1 << 14, MOST_THREADS = 64,
       MODEL = 3, ARTIFACT = 4, REPORT = 5, FREE_FD = 10, MAX_ARGS = 24 };
static const size_t MAX_REPORT = (size_t)1 << 20;
static const uint64_t DEFAULT_MEMORY = (uint64_t)4 << 30;

typedef struct build {
    const cab_build_order *o;
    cab_blob_writer *out;
    int model, artifact, pipe[2];          /* ours; -1 = none */
    pid_t pid;                             /* 0: none to reap */
    int status;                            /* of cab_child_reap */
    int64_t began;                         /* ns */
    cab_bytes report;
    cab_diag *d;
} build;

void cab_build_result_fini(cab_build_result *r)
{
    cab_bytes_fini(&r->io);
    cab_bytes_fini(&r->warnings);
}

static cab_status no_memory(build *b) { return cab_fail(b->d, CAB_ENOMEM, NULL, "out of memory"); }

/* ---- starting ---- */

/* Beside this program, else installed. */
static const char *program_of(const build *b, char place[PATH_MAX])
{
    const char *path = b->o->program ? b->o->program : cab_process_neighbour("cab-build", X_OK, place);
    return path ? path : CAB_BUILD;
}

typedef struct arguments { char *v[MAX_ARGS + 1]; char number[8][24]; int n, n_numbers; } arguments;

static void add_text(arguments *a, const char *flag, const char *value)
{
    if (!value || a->n + 2 > MAX_ARGS)
        return;
    a->v[a->n++] = (char *)flag;
    a->v[a->n++] = (char *)value;
}

static void add_number(arguments *a, const char *flag, uint64_t value)
{
    char *text = a->number[a->n_numbers++];
    snprintf(text, sizeof a->number[0], "%llu", (unsigned long long)value);
    add_text(a, flag, text);
}

/* What the child takes too. */
static int seconds_of(const build *b)
{
    int s = b->o->seconds;
    return s <= 0 ? DEFAULT_SECONDS : s < MOST_SECONDS ? s : MOST_SECONDS;
}

static void arguments_of(const build *b, arguments *a)
{
    const cab_build_order *o = b->o;
    int threads = o->threads <= 0 ? 1 : o->threads < MOST_THREADS ? o->threads : MOST_THREADS;
    *a = (arguments){ .v = { (char *)"cab-build" }, .n = 1 };
    add_text(a, "--model-fd", "3");
    add_text(a, "--artifact-fd", "4");
    add_text(a, "--report-fd", "5");
    add_text(a, "--name", o->name);
    add_text(a, "--target", o->target);
    add_number(a, "--threads", (uint64_t)threads);
    add_number(a, "--max-memory", o->max_memory ? o->max_memory : DEFAULT_MEMORY);
    if (o->max_artifact)
        add_number(a, "--max-artifact", o->max_artifact);
    /* Processor time: of all threads. */
    add_number(a, "--seconds", (uint64_t)seconds_of(b) * (uint64_t)threads);
    add_number(a, "--parent", (uint64_t)getpid());
}

static cab_status spawn(build *b)
{
    char place[PATH_MAX];
    const char *path = program_of(b, place);
    char *no_environment[] = { (char *)"LC_ALL=C", NULL };
    const cab_child_fd fds[] = { { b->model, MODEL }, { b->artifact, ARTIFACT }, { b->pipe[1], REPORT } };
    arguments a;
    arguments_of(b, &a);
    int rc = cab_child_start(&(cab_child){ .path = path, .argv = a.v, .env = no_environment, .fds = fds, .n_fds = 3,
                                           .apart = true }, &b->pid);
    close(b->pipe[1]);
    b->pipe[1] = -1;
    if (!rc)
        return CAB_OK;
    cab_fail(b->d, rc == ENOMEM ? CAB_ENOMEM : CAB_EIO, &(cab_where){ .file = path },
             "cannot start the compile child: %s", strerror(rc));
    cab_note(b->d, "it is installed with Cabochon, as cab-build");
    return rc == ENOMEM ? CAB_ENOMEM : CAB_EIO;
}

/* A number above those the child uses, so that moving them does not collide. */
static int high(int fd) { return cab_fd_above(fd, FREE_FD); }

static cab_status prepare(build *b, cab_blobs *store)
{
    int fd;
    uint64_t bytes;
    CAB_TRY(cab_blobs_open_one(store, &b->o->model, &fd, &bytes, b->d));
    b->model = high(fd);
    uint64_t limit = b->o->max_artifact ? b->o->max_artifact : 2 * bytes + ((uint64_t)1 << 30);
    CAB_TRY(cab_blob_begin(store, limit, &b->out, b->d));
    b->artifact = fcntl(cab_blob_fd(b->out), F_DUPFD_CLOEXEC, FREE_FD);
    if (b->model < 0 || b->artifact < 0 || pipe2(b->pipe, O_CLOEXEC))
        return cab_fail(b->d, CAB_EIO, NULL, "cannot prepare the compile child: %s",
                        strerror(errno));
    b->pipe[0] = high(b->pipe[0]);
    b->pipe[1] = high(b->pipe[1]);
    if (b->pipe[0] < 0 || b->pipe[1] < 0 || fcntl(b->pipe[0], F_SETFL, O_NONBLOCK))
        return cab_fail(b->d, CAB_EIO, NULL, "too many open files");
    return CAB_OK;
}

/* ---- waiting ---- */

/* What has arrived; false at the end of it. */
static cab_status receive(build *b, bool *more)
{
    char *to = cab_bytes_room(&b->report, 4096);
    if (!to)
        return cab_fail(b->d, CAB_EINTERNAL, NULL, "the compile child says more than %zu bytes",
                        MAX_REPORT);
    ssize_t k = read(b->pipe[0], to, 4096);
    *more = k > 0 || (k < 0 && (errno == EAGAIN || errno == EINTR));
    if (k > 0)
        cab_bytes_wrote(&b->report, (size_t)k);
    return CAB_OK;
}

static cab_status check_time(const build *b)
{
    if (cab_now_ns() - b->began < (int64_t)seconds_of(b) * 1000000000)
        return CAB_OK;
    cab_fail(b->d, CAB_EDEADLINE, NULL, "the compilation took longer than %d s and was ended",
             seconds_of(b));
    cab_note(b->d, "allow it more time, or compile the model on another machine and register the "
                   "artifact");
    return CAB_EDEADLINE;
}

static cab_status check_wanted(const build *b)
{
    return b->o->cancelled && b->o->cancelled(b->o->cancel_user)
               ? cab_fail(b->d, CAB_ECANCELLED, NULL, "the compilation was cancelled") : CAB_OK;
}

/* Until the child is gone: it may have closed the pipe and go on. */
static cab_status listen_to(build *b)
{
    bool open = true;
    while (b->pid) {
        struct pollfd p = { .fd = open ? b->pipe[0] : -1, .events = POLLIN };
        poll(&p, 1, ASK_MS);
        CAB_TRY(check_wanted(b));
        cab_child_reap(&b->pid, &b->status, WNOHANG);
        if (p.revents)
            CAB_TRY(receive(b, &open));
        CAB_TRY(check_time(b));
    }
    /* What it had said when it ended. */
    while (open) {
        struct pollfd p = { .fd = b->pipe[0], .events = POLLIN };
        if (poll(&p, 1, 0) <= 0)
            break;
        CAB_TRY(receive(b, &open));
    }
    return CAB_OK;
}

/* ---- how it ended ---- */

static const struct { int number; const char *why; } ends[] = {
    { SIGKILL, "by an operator, or because the machine ran out of memory" },
    { SIGXCPU, "it used more processor time than it may" },
    { SIGXFSZ, "the artifact grew larger than it may" },
    { SIGSYS, "it asked the kernel for something that no compilation needs: the model may be "
              "an attack" },
};

/* Why there is no report. */
static cab_status obituary(build *b)
{
    int s = b->status, number = s != -1 && WIFSIGNALED(s) ? WTERMSIG(s) : 0;
    const char *why = "a bug in Cabochon or LLVM, or a model that means harm";
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i].number == number)
            why = ends[i].why;
    if (number)
        cab_fail(b->d, CAB_EINTERNAL, NULL, "the compile child was killed by signal %d (%s): %s",
                 number, strsignal(number), why);
    else if (s != -1)
        cab_fail(b->d, CAB_EINTERNAL, NULL, "the compile child ended with status %d and without a "
                                            "report", WEXITSTATUS(s));
    else
        cab_fail(b->d, CAB_EINTERNAL, NULL, "the compile child ended without a report");
    cab_note(b->d, "it may hold %llu bytes of memory and run %d s: perhaps it needs more",
             (unsigned long long)(b->o->max_memory ? b->o->max_memory : DEFAULT_MEMORY),
             seconds_of(b));
    return CAB_EINTERNAL;
}

/* ---- what it said ---- */

/* "error: unsupported: node 'x': why" without what the code says anyway. */
static const char *without_code(const char *line, cab_status code)
{
    const char *text = cab_status_text(code);
    size_t n = strlen(text);
    return !strncmp(line, text, n) && !strncmp(line + n, ": ", 2) ? line + n + 2 : line;
}

/* A line of the compiler's report, into the story. */
static void tell_line(build *b, const char *line, cab_status code)
{
    if (!strncmp(line, "note: ", 6))
        cab_note(b->d, "%s", line + 6);
    else if (!strncmp(line, "warning: ", 9))
        cab_warn(b->d, NULL, "%s", line + 9);
    else if (!strncmp(line, "error: ", 7))
        cab_fail(b->d, code, NULL, "%s", without_code(line + 7, code));
    else
        cab_fail(b->d, code, NULL, "%s", line);
}

static cab_status retell(build *b, const char *text, cab_status code)
{
    char *copy = strdup(text), *save;
    bool said = false;
    if (!copy)
        return no_memory(b);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        tell_line(b, line, code);
        said = said || !strncmp(line, "error: ", 7);
    }
    free(copy);
    if (!said)
        cab_fail(b->d, code, NULL, "the compiler does not say why");
    return code;
}

/* Its status and text; the child may claim anything. */
static cab_status understand(build *b, const json_t *j, cab_build_result *r)
{
    json_int_t code = json_integer_value(json_object_get(j, "code"));
    const char *text = json_string_value(json_object_get(j, "text"));
    if (!json_is_integer(json_object_get(j, "code")) || !text || code < 0 ||
        code >= CAB_STATUS_COUNT)
        return obituary(b);
    if (code)
        return retell(b, text, (cab_status)code);
    if (b->status != -1 && (!WIFEXITED(b->status) || WEXITSTATUS(b->status)))
        return obituary(b);
    cab_bytes_str(&r->warnings, text);
    return CAB_OK;
}

static cab_status read_report(build *b, cab_build_result *r)
{
    json_error_t e;
    bool starved;
    json_t *j = cab_json_load(b->report.p ? b->report.p : "", b->report.n, &e, &starved);
    cab_status s = j ? understand(b, j, r) : starved ? no_memory(b) : obituary(b);
    json_decref(j);
    return s;
}

/* ---- the artifact ---- */

static cab_status inspect(build *b, cab_build_result *r)
{
    cab_model_options mo = CAB_INIT(cab_model_options);
    cab_model *m;
    cab_error e = { 0 };
    mo.verify = CAB_VERIFY_FULL;
    int code = cab_model_load_fd(cab_blob_fd(b->out), "the new artifact", &mo, &m, &e);
    if (code == CAB_RT_ENOMEM)
        return no_memory(b);
    if (code) {
        cab_fail(b->d, CAB_EARTIFACT, NULL, "what the compile child made does not load: %s", e.text);
        return CAB_EARTIFACT;
    }
    cab_io_write(m, &r->io);
    cab_model_destroy(m);
    return r->io.failed ? no_memory(b) : CAB_OK;
}

static cab_status run(build *b, cab_blobs *store, cab_build_result *r)
{
    CAB_TRY(check_wanted(b));
    CAB_TRY(prepare(b, store));
    CAB_TRY(spawn(b));
    CAB_TRY(listen_to(b));
    CAB_TRY(read_report(b, r));
    CAB_TRY(inspect(b, r));
    cab_blob_writer *w = b->out;
    b->out = NULL;
    r->seconds = (double)(cab_now_ns() - b->began) / 1e9;
    off_t size = lseek(b->artifact, 0, SEEK_END);
    r->bytes = size > 0 ? (uint64_t)size : 0;
    return cab_blob_commit(w, NULL, &r->artifact, b->d);
}

cab_status cab_build_artifact(cab_blobs *store, const cab_build_order *o, cab_build_result *r, cab_diag *d)
{
    build b = { .o = o, .model = -1, .artifact = -1, .pipe = { -1, -1 }, .d = d,
                .began = cab_now_ns(), .report = { .limit = MAX_REPORT } };
    *r = (cab_build_result){ 0 };
    cab_status s = run(&b, store, r);
    if (b.pid) {
        kill(b.pid, SIGKILL);
        cab_child_reap(&b.pid, &b.status, 0);
    }
    int fds[] = { b.model, b.artifact, b.pipe[0], b.pipe[1] };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    cab_blob_abort(b.out);
    cab_bytes_fini(&b.report);
    return s;
}
