/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explained.c - hello.c with the contract of every call, errors handled, and
 * nothing about the model taken for granted but "float tensors".
 *
 *   explained MODEL.cab [BATCH]
 *
 * Every extent that the model leaves open becomes BATCH (default 1); the
 * inputs are filled with 0, 1, 2 ... 15, 0, 1 ...  Links libcabrt.a -lpthread.
 */
#define _POSIX_C_SOURCE 200809L     /* clock_gettime with -std=c11 */
#include <cab_rt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FLOAT = 1, MAX_TENSORS = 16 };       /* 1: ONNX TensorProto.FLOAT */

/* Everything that has to be given back, in one place: the functions below
 * return at the first error, and main frees whatever there is by then. */
typedef struct job {
    cab_model *model;
    cab_session *session;
    int n_in, n_out;
    cab_tensor_view in[MAX_TENSORS], out[MAX_TENSORS];
    cab_error error;
} job;

static int refuse(job *j, const char *text)
{
    snprintf(j->error.text, sizeof j->error.text, "%s", text);
    return j->error.code = CAB_RT_EUNSUPPORTED;
}

/* The library never prints unless it is asked to; the text has no newline. */
static void on_log(void *user, int level, const char *text)
{
    (void)user;
    fprintf(stderr, "%s: %s\n", level == 1 ? "warning" : "note", text);
}

/* cab_model_load maps the file: nothing is read before it is needed, and all
 * processes that map it share the memory.  So never write into a file that
 * is in use; make a new one and rename it into place.  Anything wrong with the
 * file (cut, damaged, of another version, for another processor) is
 * CAB_RT_EARTIFACT with the reason in the text, not a crash later. */
static int load(job *j, const char *path)
{
    cab_model_options o = CAB_INIT(cab_model_options);  /* sets .size; zero is the default */
    o.log = on_log;
    o.verify = CAB_VERIFY_FULL;     /* weights too: slower, right for a file from the network */
    return cab_model_load(path, &o, &j->model, &j->error);
}

static void print_info(const char *what, const cab_tensor_info *t)
{
    printf("%s '%s': dtype %d [", what, t->name, t->dtype);
    for (int k = 0; k < t->rank; k++) {
        if (t->dims[k] >= 0)
            printf("%s%" PRId64, k ? ", " : "", t->dims[k]);
        else                        /* open: the inputs of each run decide */
            printf("%s%s", k ? ", " : "", *t->dim_names[k] ? t->dim_names[k] : "?");
    }
    printf("]\n");
}

/* A view is the caller's claim about its memory: dtype, rank, extents, where,
 * and how many bytes are there.  A run checks it against the model. */
static int make_input(job *j, cab_tensor_view *v, const cab_tensor_info *t, int64_t batch)
{
    size_t n = 1;
    if (t->dtype != FLOAT)
        return refuse(j, "this sample fills float inputs only");
    v->dtype = t->dtype;
    v->rank = t->rank;
    for (int k = 0; k < t->rank; k++) {
        v->dims[k] = t->dims[k] >= 0 ? t->dims[k] : batch;
        n *= (size_t)v->dims[k];
    }
    v->bytes = n * sizeof(float);
    float *x = v->data = malloc(v->bytes ? v->bytes : 1);
    if (!x)
        return refuse(j, "out of memory");
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 16);
    return 0;
}

/* Inputs are given in the model's order; a program that knows a name finds
 * its place with cab_model_find_input (-1: no such input). */
static int make_inputs(job *j, int64_t batch)
{
    j->n_in = cab_model_input_count(j->model);
    j->n_out = cab_model_output_count(j->model);
    if (j->n_in > MAX_TENSORS || j->n_out > MAX_TENSORS)
        return refuse(j, "more inputs or outputs than this sample has room for");
    for (int i = 0; i < j->n_in; i++) {
        cab_tensor_info t;          /* its name lives as long as the model */
        cab_model_input(j->model, i, &t);
        print_info("input", &t);
        int rc = make_input(j, &j->in[i], &t, batch);
        if (rc)
            return rc;
    }
    return 0;
}

/* The need of a run is known before anything is allocated: refuse a request
 * that is too large here, with an answer, instead of dying of it later.  The
 * data of the inputs is not looked at, so a server can ask before it has it. */
static int estimate(job *j)
{
    cab_memory need;
    int rc = cab_model_estimate(j->model, j->in, &need, &j->error);
    if (rc)
        return rc;                  /* shapes that do not fit the model: CAB_RT_EINPUT */
    printf("needs %" PRIu64 " bytes inside and %" PRIu64 " for results; %" PRIu64
           " of weights are mapped\n", need.intermediate, need.outputs, need.weights);
    return 0;
}

/* A session holds the memory of runs; make one per thread that runs the
 * model, and keep it: once it has seen a shape, a run allocates nothing. */
static int make_session(job *j)
{
    cab_session_options o = CAB_INIT(cab_session_options);
    o.threads = 0;                  /* all of the pool; 1 = this thread only.  Same bytes. */
    o.max_bytes = (uint64_t)1 << 30;        /* more is CAB_RT_ELIMIT, not the OOM killer */
    return cab_session_create(j->model, &o, &j->session, &j->error);
}

/* Deadlines are points in time of CLOCK_MONOTONIC and hold for all runs until
 * they are changed: set one before each request.  Zero takes it away. */
static int64_t in_ms(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + ms * 1000000;
}

/* A first run with data = NULL: the session owns the results, which are valid
 * until its next run, and the views come back with dtype, extents, data and
 * bytes.  That also tells the size of memory of one's own, as here; a program
 * that knows the size begins with make_room's views. */
static int first_run(job *j)
{
    for (int i = 0; i < j->n_out; i++)
        j->out[i] = (cab_tensor_view){ .data = NULL };
    cab_session_deadline(j->session, in_ms(10000));
    return cab_session_run(j->session, j->in, j->out, &j->error);
}

/* Caller-owned memory: data and bytes set.  `bytes` is how much there is; too
 * little is CAB_RT_EINPUT and nothing is written past it. */
static int make_room(job *j)
{
    for (int i = 0; i < j->n_out; i++) {
        j->out[i].data = malloc(j->out[i].bytes ? j->out[i].bytes : 1);
        if (!j->out[i].data) {
            while (i < j->n_out)    /* those still name memory of the session */
                j->out[i++].data = NULL;
            return refuse(j, "out of memory");
        }
    }
    return 0;
}

static void print_output(const cab_tensor_info *t, const cab_tensor_view *v)
{
    print_info("output", t);
    for (size_t i = 0; v->dtype == FLOAT && i < v->bytes / sizeof(float) && i < 10; i++)
        printf("  %zu: %.3f\n", i, (double)((float *)v->data)[i]);
}

static int run(job *j)
{
    cab_session_deadline(j->session, in_ms(10000));
    int rc = cab_session_run(j->session, j->in, j->out, &j->error);
    if (rc)                         /* CAB_RT_EDEADLINE if the 10 s were over; the session is still good */
        return rc;
    for (int i = 0; i < j->n_out; i++) {
        cab_tensor_info t;
        cab_model_output(j->model, i, &t);
        print_output(&t, &j->out[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    job j = { 0 };
    int rc, mine = 0;
    long batch = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    if (argc < 2 || argc > 3 || batch < 1) {
        fprintf(stderr, "usage: explained MODEL.cab [BATCH]\n");
        return 2;
    }
    rc = load(&j, argv[1]);
    if (!rc) {
        printf("%s, run by libcabrt %s on up to %d threads\n", cab_model_name(j.model),
               cab_rt_version(), cab_pool_threads());
        rc = make_inputs(&j, batch);
    }
    if (!rc) rc = estimate(&j);
    if (!rc) rc = make_session(&j);
    if (!rc) rc = first_run(&j);
    if (!rc) {
        mine = 1;                   /* from here on, out[].data is ours to free */
        rc = make_room(&j);
    }
    if (!rc) rc = run(&j);
    if (rc)
        fprintf(stderr, "explained: %s (code %d)\n", j.error.text, j.error.code);
    /* The order does not matter: a session keeps its model alive.  NULL is allowed. */
    cab_session_destroy(j.session);
    cab_model_destroy(j.model);
    for (int i = 0; i < MAX_TENSORS; i++) {
        free(j.in[i].data);
        if (mine)
            free(j.out[i].data);
    }
    return rc ? 1 : 0;
}
