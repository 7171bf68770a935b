/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_figures.c - what the runtime costs: docs/benchmarks.md, "The runtime".
 *
 *   rt_figures MODEL.cab load       median time from a path to a session that could run
 *   rt_figures MODEL.cab overhead   median time of a run (inputs all zero), allocations in it
 *   rt_figures MODEL.cab idle       resident memory of a program that has run once
 *   rt_figures MODEL.cab share N    N processes that have run once: proportional set sizes
 *
 * Extents that the inputs decide are 1.  Links libcabrt alone.
 */
#include <cab_rt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_IO = 256, ROUNDS = 101 };
static cab_tensor_view in[MAX_IO], out[MAX_IO];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const cab_error *e)
{
    fprintf(stderr, "rt_figures: %s\n", e->text);
    exit(1);
}

static int element_bytes(int dtype)
{
    static const int bytes[] = { 0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2 };
    return dtype > 0 && dtype < (int)(sizeof bytes / sizeof *bytes) ? bytes[dtype] : 1;
}

static void make_inputs(const cab_model *m)
{
    for (int i = 0; i < cab_model_input_count(m) && i < MAX_IO; i++) {
        cab_tensor_info info;
        size_t n = 1;
        cab_model_input(m, i, &info);
        in[i] = (cab_tensor_view){ .dtype = info.dtype, .rank = info.rank };
        for (int k = 0; k < info.rank; k++)
            n *= (size_t)(in[i].dims[k] = info.dims[k] < 0 ? 1 : info.dims[k]);
        in[i].bytes = n * (size_t)element_bytes(info.dtype);
        in[i].data = calloc(in[i].bytes + 1, 1);
    }
}

static cab_session *ready(const char *path, cab_model **m)
{
    cab_session_options o = { .size = sizeof o, .threads = 1 };
    cab_session *s;
    cab_error e;
    if (cab_model_load(path, NULL, m, &e) || cab_session_create(*m, &o, &s, &e))
        die(&e);
    return s;
}

static void run(cab_session *s)
{
    cab_error e;
    if (cab_session_run(s, in, out, &e))
        die(&e);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

static void load(const char *path)
{
    double us[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        cab_model *m;
        double t = now_us();
        cab_session *s = ready(path, &m);
        us[i] = now_us() - t;
        cab_session_destroy(s);
        cab_model_destroy(m);
    }
    printf("load to ready: median %.3f ms of %d\n", median(us, ROUNDS) / 1e3, ROUNDS);
}

static void overhead(const char *path)
{
    enum { RUNS = 1000 };
    double us[ROUNDS];
    cab_model *m;
    cab_session *s = ready(path, &m);
    make_inputs(m);
    run(s);
    uint64_t before = cab_session_allocations(s);
    for (int i = 0; i < ROUNDS; i++) {
        double t = now_us();
        for (int k = 0; k < RUNS; k++)
            run(s);
        us[i] = (now_us() - t) / RUNS;
    }
    printf("a run: median %.0f ns of %d x %d, %llu allocations\n", median(us, ROUNDS) * 1e3, ROUNDS,
           RUNS, (unsigned long long)(cab_session_allocations(s) - before));
}

/* A line of a process's smaps_rollup, in kB. */
static long rollup(int pid, const char *key)
{
    char line[256];
    long kb = -1;
    snprintf(line, sizeof line, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(line, "r");
    while (f && kb < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            kb = atol(line + strlen(key));
    if (f)
        fclose(f);
    return kb;
}

static void idle(const char *path)
{
    cab_model *m;
    cab_session *s = ready(path, &m);
    make_inputs(m);
    run(s);
    printf("resident %.2f MB: anonymous %.2f MB (arena %.2f MB), the rest file-backed\n",
           (double)rollup(getpid(), "Rss:") / 1024, (double)rollup(getpid(), "Anonymous:") / 1024,
           (double)cab_session_arena_bytes(s) / 1048576);
}

/* A process that has run once, says so, and waits. */
static int bystander(const char *path, int out_fd, int in_fd)
{
    int pid = fork();
    char c = 'r';
    if (pid)
        return pid;
    idle(path);
    _exit(write(out_fd, &c, 1) == 1 && read(in_fd, &c, 1) == 1 ? 0 : 1);
}

static void share(const char *path, int n)
{
    enum { MAX = 64 };
    int go[2], back[2], pid[MAX];
    double pss = 0, rss = 0;
    char c;
    if (n > MAX || pipe(go) || pipe(back))
        exit(1);
    for (int i = 0; i < n; i++)
        pid[i] = bystander(path, back[1], go[0]);
    for (int i = 0; i < n; i++)
        if (read(back[0], &c, 1) != 1)
            exit(1);
    for (int i = 0; i < n; i++) {
        pss += (double)rollup(pid[i], "Pss:") / 1024;
        rss += (double)rollup(pid[i], "Rss:") / 1024;
    }
    for (int i = 0; i < n; i++)
        if (write(go[1], "x", 1) != 1)
            exit(1);
    while (wait(NULL) > 0)
        ;
    printf("%d processes: resident %.1f MB in all, proportional %.1f MB\n", n, rss, pss);
}

int main(int argc, char **argv)
{
    if (argc >= 3 && !strcmp(argv[2], "load"))
        load(argv[1]);
    else if (argc >= 3 && !strcmp(argv[2], "overhead"))
        overhead(argv[1]);
    else if (argc >= 3 && !strcmp(argv[2], "idle"))
        idle(argv[1]);
    else if (argc >= 4 && !strcmp(argv[2], "share"))
        share(argv[1], atoi(argv[3]));
    else
        return 2;
    return 0;
}
