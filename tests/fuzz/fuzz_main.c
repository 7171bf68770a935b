/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_main.c - a seeded mutation loop over seed files, for one target.
 *
 *   fuzz_X [-n ROUNDS] [-t SECONDS] [-s SEED] [-m MAX_BYTES] FILE...
 *
 * Runs every file as it is, then mutants of them (random bytes when there is
 * no file) until the rounds or the seconds are over; with neither, the files alone (how a saved input is tried
 * again).  An input with a finding, a crash or more than 20 seconds is written
 * to fuzz-X-SEED-ROUND.bin.  The seed is always printed; -1 takes the clock.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include "tests/fuzz/fuzz.h"

extern void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));
#pragma weak LLVMFuzzerCustomMutator

const bool fuzz_may_fork = true;
enum { MAX_SEEDS = 4096, LIMIT_S = 20, MAX_SAVED = 10 };

typedef struct seed_file { uint8_t *p; size_t n; } seed_file;

static struct {
    const char *name;
    uint64_t seed, round;
    const uint8_t *data;       /* the input under trial */
    size_t size;
    int n_findings;
    bool said;                 /* a finding for this input */
} now;

static struct { const char *what; uint64_t n; } counts[8];

void fuzz_count(const char *what)
{
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!counts[i].what || !strcmp(counts[i].what, what)) {
            counts[i].what = what;
            counts[i].n++;
            return;
        }
}

/* ---- findings ---- */

/* Only calls that a signal handler may make, snprintf of integers aside. */
static void save(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s-%llu-%llu.bin", now.name, (unsigned long long)now.seed,
             (unsigned long long)now.round);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, now.data, now.size) != (ssize_t)now.size)
        return;
    close(fd);
    dprintf(STDERR_FILENO, "%s: input saved in %s\n", now.name, path);
}

void fuzz_finding(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: seed %llu, round %llu: ", now.name, (unsigned long long)now.seed,
            (unsigned long long)now.round);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    if (!now.said && now.n_findings++ < MAX_SAVED)
        save();
    now.said = true;
}

static void on_death(void)
{
    if (now.data)
        save();
}

static void on_signal(int sig)
{
    dprintf(STDERR_FILENO, "%s: seed %llu, round %llu: %s\n", now.name,
            (unsigned long long)now.seed, (unsigned long long)now.round,
            sig == SIGALRM ? "the input takes too long" : "crash");
    on_death();
    signal(sig, SIG_DFL);
    if (sig == SIGALRM)
        _exit(1);
    raise(sig);
}

static void catch_all(void)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(on_death);
        return;
    }
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], on_signal);
}

/* ---- mutation ---- */
static cab_rng rng;
static seed_file *seeds;
static size_t n_seeds;

static size_t below(size_t n) { return n ? (size_t)(cab_rng_u64(&rng) % n) : 0; }

static size_t cut(uint8_t *p, size_t n)
{
    size_t at = below(n), len = 1 + below(below(4) ? 16 : n - at);
    if (len > n - at)
        len = n - at;
    memmove(p + at, p + at + len, n - at - len);
    return n - len;
}

/* Bytes of this or another seed, put in or laid over. */
static size_t transplant(uint8_t *p, size_t n, size_t max)
{
    const seed_file *f = &seeds[below(n_seeds)];
    size_t from = below(f->n), len = 1 + below(64), at = below(n + 1);
    if (f->n == 0)
        return n;
    if (len > f->n - from)
        len = f->n - from;
    if (below(2) && n + len <= max) {
        memmove(p + at + len, p + at, n - at);
        memcpy(p + at, f->p + from, len);
        return n + len;
    }
    if (len > n - at)
        len = n - at;
    memcpy(p + at, f->p + from, len);
    return n;
}

size_t LLVMFuzzerMutate(uint8_t *p, size_t n, size_t max)
{
    static const uint64_t odd[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, UINT32_MAX,
                                    INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, 1u << 20 };
    if (n == 0)
        return transplant(p, 0, max);
    switch (below(6)) {
    case 0: p[below(n)] ^= (uint8_t)(1u << below(8)); return n;
    case 1: p[below(n)] = (uint8_t)cab_rng_u64(&rng); return n;
    case 2: return cut(p, n);
    case 3: {
        size_t len = (size_t)1 << below(4), at = below(n);
        uint64_t v = odd[below(sizeof odd / sizeof *odd)];
        memcpy(p + at, &v, len > n - at ? n - at : len);
        return n;
    }
    default: return transplant(p, n, max);
    }
}

static size_t mutate(uint8_t *p, size_t n, size_t max)
{
    for (size_t k = 1 + below(below(3) ? 3 : 10); k; k--)
        n = LLVMFuzzerCustomMutator
                ? LLVMFuzzerCustomMutator(p, n, max, (unsigned)cab_rng_u64(&rng))
                : LLVMFuzzerMutate(p, n, max);
    return n;
}

/* ---- the loop ---- */

/* The exact bytes on the heap: a read past them is seen. */
static void try_input(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        return;
    if (n)
        memcpy(copy, p, n);
    now.data = copy;
    now.size = n;
    now.said = false;
    alarm(LIMIT_S);
    LLVMFuzzerTestOneInput(copy, n);
    alarm(0);
    now.data = NULL;
    free(copy);
}

static bool load(const char *path, size_t max)
{
    seed_file *f = &seeds[n_seeds];
    FILE *in = fopen(path, "rb");
    if (!in) {
        fprintf(stderr, "%s: cannot open %s\n", now.name, path);
        return false;
    }
    f->p = malloc(max);
    f->n = f->p ? fread(f->p, 1, max, in) : 0;
    fclose(in);
    uint8_t *small = realloc(f->p, f->n + 1);
    f->p = small ? small : f->p;
    n_seeds++;
    return f->p != NULL;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t mutant(uint8_t *p, size_t max)
{
    const seed_file *f = &seeds[below(n_seeds)];
    if (f->n)
        memcpy(p, f->p, f->n);
    return mutate(p, f->n, max);
}

/* Without files: what targets that draw choices want. */
static size_t random_bytes(uint8_t *p)
{
    enum { BYTES = 256 };
    for (size_t i = 0; i < BYTES; i++)
        p[i] = (uint8_t)cab_rng_u64(&rng);
    return BYTES;
}

static void loop(uint64_t rounds, double limit, size_t max)
{
    double end = seconds() + limit;
    uint8_t *p = malloc(max);
    if (!p)
        return;
    for (; now.round < rounds && (limit == 0 || seconds() < end); now.round++) {
        cab_rng_seed(&rng, now.seed * 1000003 + now.round);
        try_input(p, n_seeds ? mutant(p, max) : random_bytes(p));
    }
    free(p);
}

static int report(void)
{
    printf("%s: seed %llu, %llu rounds", now.name, (unsigned long long)now.seed,
           (unsigned long long)now.round);
    for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i].what; i++)
        printf(", %llu %s", (unsigned long long)counts[i].n, counts[i].what);
    printf(": %d findings\n", now.n_findings);
    for (size_t i = 0; i < n_seeds; i++)
        free(seeds[i].p);
    free(seeds);
    return now.n_findings ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    uint64_t rounds = 0;
    double limit = 0;
    size_t max = 1 << 18;
    const char *slash = strrchr(argv[0], '/');
    int c;
    now.name = slash ? slash + 1 : argv[0];
    now.seed = 1;
    while ((c = getopt(argc, argv, "n:t:s:m:")) != -1)
        switch (c) {
        case 'n': rounds = strtoull(optarg, NULL, 10); break;
        case 't': limit = strtod(optarg, NULL); break;
        case 's': now.seed = strcmp(optarg, "-1") ? strtoull(optarg, NULL, 10)
                                                  : (uint64_t)time(NULL); break;
        case 'm': max = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    catch_all();
    seeds = calloc(MAX_SEEDS, sizeof *seeds);
    for (int i = optind; seeds && i < argc && n_seeds < MAX_SEEDS; i++)
        if (load(argv[i], max))
            try_input(seeds[n_seeds - 1].p, seeds[n_seeds - 1].n);
    if (rounds || limit > 0)
        loop(rounds ? rounds : UINT64_MAX, limit, max);
    return report();
}
