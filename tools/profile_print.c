/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile_print.c - a profile as a table of 120 columns, and as JSON
 * (docs/profiling.md has its fields).
 */
#include "tools/profile.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 120 };

/* ---- the machine ---- */
static const char *processor(char *buf, size_t n)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(buf, n, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(buf, n, "%s", colon + 2);
        break;
    }
    if (f)
        fclose(f);
    return buf;
}

/* ---- the table ---- */
/* A number that may be unknown, right-aligned. */
static void cell(int width, int digits, double v)
{
    if (v < 0 || isnan(v))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, v);
}

/* At most width bytes and "..", cut between characters. */
static void fit(const char *text, int width, bool pad)
{
    int n = (int)strlen(text);
    bool cut = n > width;
    if (cut) {
        n = width - 2;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    printf("%.*s%s%*s", n, text, cut ? ".." : "", pad ? width - n - (cut ? 2 : 0) : 0, "");
}

static double rate(double count, double us) { return count < 0 || us <= 0 ? -1 : count / us / 1e3; }

/* 100 and over keep no digit. */
static void percent(double part) { cell(5, part < 0.995 ? 1 : 0, part < 0 ? -1 : 100 * part); }

static void print_row(const profile *p, const profile_row *r)
{
    int left = WIDTH - (p->naive ? 76 : 59);
    printf("%9.*f", r->us < 100 ? 2 : 1, r->us);
    percent(r->us / fmax(p->rows_us, 1e-9));
    printf(" %4.0f", r->calls);
    cell(7, 1, rate(r->cost.flops, r->us));
    percent(r->fma);
    cell(7, 1, rate(r->cost.bytes, r->us));
    percent(r->read);
    if (p->naive) {
        cell(9, r->naive_us < 100 ? 2 : 1, r->naive_us);
        cell(6, 1, r->us > 0 ? r->naive_us / r->us : -1);
    }
    printf("  ");
    fit(r->what, 22, true);
    printf(" ");
    fit(r->layers, left - 17, false);
    printf("\n");
}

/* A long text goes on in the next line, from a space on. */
static void wrap(const char *text)
{
    for (int room = WIDTH - 10; *text; text += strspn(text, " ")) {
        int n = (int)strlen(text);
        if (n > room)
            for (n = room; n > room / 2 && text[n] != ' '; n--)
                ;
        printf("%10s%.*s\n", "", n, text);
        text += n;
    }
}

/* How: the kernel, its amounts and its schedule. */
static void print_how(const profile_row *r)
{
    char text[600];
    int n = 0;
    if (!*r->kernel)
        return;
    n = snprintf(text, 300, "%.200s", r->kernel);
    if (r->cost.flops >= 0)
        n += snprintf(text + n, 40, "  %.4g Mop", r->cost.flops / 1e6);
    if (r->cost.special > 0)
        n += snprintf(text + n, 40, " + %.4g Mcalls", r->cost.special / 1e6);
    if (r->cost.bytes >= 0)
        n += snprintf(text + n, 40, ", %.4g MB", r->cost.bytes / 1e6);
    snprintf(text + n, sizeof text - (size_t)n, "  %s", r->sched);
    wrap(text);
}

static void print_rest(const profile *p, size_t first)
{
    double us = 0;
    for (size_t i = first; i < p->n; i++)
        us += p->row[i].us;
    if (first < p->n)
        printf("%9.1f %5.1f  the other %zu rows\n", us, 100 * us / fmax(p->rows_us, 1e-9),
               p->n - first);
}

static void print_machine(const profile *p)
{
    const peaks *k = &p->peaks;
    char cpu[100];
    printf("%s, %d thread%s: multiply-adds %.1f GFLOP/s; reads from L2 %.1f", processor(cpu, sizeof cpu),
           k->threads, k->threads == 1 ? "" : "s", k->fma, k->read_l2);
    if (k->read_l3 > 0)
        printf(", L3 %.1f", k->read_l3);
    printf(", memory %.1f GB/s\n", k->read_memory);
}

void profile_print(const profile *p, int top)
{
    size_t n = top && (size_t)top < p->n ? (size_t)top : p->n;
    print_machine(p);
    if (p->plan)
        printf("plan: %s\n", p->plan);
    printf("%9s %5s %4s %7s %5s %7s %5s", "us", "%", "n", "GFLOP/s", "%fma", "GB/s", "%read");
    if (p->naive)
        printf(" %9s %6s", "naive us", "x");
    printf("  %-22s %s\n", "what", "layers");
    for (size_t i = 0; i < n; i++) {
        print_row(p, &p->row[i]);
        print_how(&p->row[i]);
    }
    print_rest(p, n);
    printf("rows together %.1f us, a run without trace %.1f us: %+.1f %%; %d runs of each, means over "
           "the fastest quarter;\ntaken off: a trace record costs %.0f ns, a run waited %.1f us for its "
           "processor%s\n", p->rows_us, p->run_us, 100 * (p->rows_us / fmax(p->run_us, 1e-9) - 1),
           p->runs, p->event_ns, p->lost_us,
           p->has_costs ? "" : "; the artifact does not say what its kernels must do (section costs)");
}

/* ---- JSON ---- */
/* null: not known. */
static void put(json_t *j, const char *key, double v)
{
    json_object_set_new(j, key, v < 0 || !isfinite(v) ? json_null() : json_real(v));
}

static json_t *json_row(const profile *p, const profile_row *r)
{
    static const char *const kinds[] = { "map", "row", "contract", "window" };
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", r->kind, "kernel", r->kernel, "what",
                          r->what, "layers", r->layers, "sched", r->sched);
    json_object_set_new(j, "family", r->cost.kind < 0 ? json_null() : json_string(kinds[r->cost.kind]));
    put(j, "calls", r->calls);
    put(j, "us", r->us);
    put(j, "share", r->us / fmax(p->rows_us, 1e-9));
    put(j, "flops", r->cost.flops);
    put(j, "special", r->cost.special);
    put(j, "gflops", rate(r->cost.flops, r->us));
    put(j, "fma_part", r->fma);
    put(j, "bytes", r->cost.bytes);
    put(j, "weight_bytes", r->cost.weights);
    put(j, "gbytes", rate(r->cost.bytes, r->us));
    put(j, "read_part", r->read);
    put(j, "bound_us", r->bound_us);
    if (p->naive) {
        put(j, "naive_us", r->naive_us);
        put(j, "speedup", r->naive_us >= 0 && r->us > 0 ? r->naive_us / r->us : -1);
    }
    return j;
}

static json_t *json_machine(const peaks *k)
{
    char cpu[100];
    json_t *j = json_pack("{s:s, s:i, s:I, s:I}", "cpu", processor(cpu, sizeof cpu), "vector_bytes",
                          k->vector_bytes, "l2_bytes", (json_int_t)k->l2_bytes, "l3_bytes",
                          (json_int_t)k->l3_bytes);
    put(j, "fma_gflops", k->fma);
    put(j, "read_l2_gbytes", k->read_l2);
    put(j, "read_l3_gbytes", k->read_l3 > 0 ? k->read_l3 : -1);
    put(j, "read_memory_gbytes", k->read_memory);
    return j;
}

static json_t *json_totals(const profile *p)
{
    double sum[4] = { 0 };
    for (size_t i = 0; i < p->n; i++) {
        const profile_row *r = &p->row[i];
        const double v[4] = { r->cost.flops, r->cost.special, r->cost.bytes, r->bound_us };
        for (int k = 0; k < 4; k++)
            sum[k] += fmax(0, v[k]);
    }
    json_t *j = json_pack("{s:i}", "runs", p->runs);
    put(j, "run_us", p->run_us);
    put(j, "lost_us", p->lost_us);
    put(j, "rows_us", p->rows_us);
    json_object_set_new(j, "difference", json_real(p->rows_us / fmax(p->run_us, 1e-9) - 1));
    put(j, "trace_record_ns", p->event_ns);
    put(j, "flops", sum[0]);
    put(j, "special", sum[1]);
    put(j, "bytes", sum[2]);
    put(j, "bound_us", sum[3]);
    return j;
}

static json_t *json_of(const profile *p, const tool_args *args)
{
    json_t *j = json_object(), *rows = json_array();
    json_object_set_new(j, "machine", json_machine(&p->peaks));
    json_object_set_new(j, "model", json_string(p->model));
    json_object_set_new(j, "plan", p->plan ? json_string(p->plan) : json_null());
    json_object_set_new(j, "threads", json_integer(args->threads));
    json_object_set_new(j, "naive", json_boolean(args->compile.naive));
    json_object_set_new(j, "totals", json_totals(p));
    for (size_t i = 0; i < p->n; i++)
        json_array_append_new(rows, json_row(p, &p->row[i]));
    json_object_set_new(j, "rows", rows);
    return j;
}

cab_status profile_json(const profile *p, const tool_args *args, cab_diag *d)
{
    const size_t flags = JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9);
    json_t *j = json_of(p, args);
    char *text = json_dumps(j, flags);
    cab_status s = CAB_OK;
    json_decref(j);
    if (!text)
        return cab_fail(d, CAB_ENOMEM, NULL, "no room for the JSON text");
    if (args->json_file)
        s = cab_file_write(args->json_file, text, strlen(text), d);
    else
        printf("%s\n", text);
    free(text);
    return s;
}
