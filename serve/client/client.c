/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - cab-client: the command line, and the commands that are one request.
 */
#include "serve/client/client.h"
#include "base/file.h"
#include "serve/client/client_load.h"
#include <openssl/evp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- cab client models ---- */

static cab_status models(const cab_client_args *a, cab_diag *d)
{
    json_t *all = NULL, *m;
    size_t i;
    CAB_TRY(cab_client_json(a, "POST", "/v2/repository/index", NULL, &all, d));
    if (a->json)
        json_dumpf(all, stdout, JSON_INDENT(2));
    else
        printf("%-32s %-8s %-12s %s\n", "NAME", "VERSION", "STATE", "REASON");
    json_array_foreach(a->json ? NULL : all, i, m) {
        const char *name = "", *version = "", *state = "", *reason = "";
        json_unpack(m, "{s:s, s?s, s?s, s?s}", "name", &name, "version", &version, "state", &state, "reason", &reason);
        printf("%-32s %-8s %-12s %s\n", name, version, state, reason);
    }
    if (a->json)
        putchar('\n');
    json_decref(all);
    return CAB_OK;
}

/* ---- cab client register ---- */

/* "/register?name=...": the body is the file itself. */
static cab_status send_file(const cab_client_args *a, const cab_mapping *f, json_t **answer, cab_diag *d)
{
    const struct { const char *name, *value; } all[] = { { "?name=", a->rest[1] }, { "&version=", a->version }, { "&config=", a->config } };
    const cab_bytes body = { .p = (char *)(uintptr_t)f->p, .n = f->n };
    cab_bytes path = { 0 };
    cab_bytes_str(&path, "/register");
    for (int i = 0; i < 3; i++)
        if (all[i].value) {
            cab_bytes_str(&path, all[i].name);
            cab_client_escape(all[i].value, &path);
        }
    cab_status s = path.failed ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory")
                               : cab_client_send(a, "POST", cab_bytes_cstr(&path), &body, CAB_CLIENT_FILE, answer, d);
    cab_bytes_fini(&path);
    return s;
}

/* A long configuration (labels of classes) has no room in a request's head. */
static cab_status send_json(const cab_client_args *a, const cab_mapping *f, json_t **answer, cab_diag *d)
{
    char *text = f->n <= INT32_MAX / 2 ? malloc(f->n / 3 * 4 + 8) : NULL;
    json_t *config = json_loads(a->config, JSON_REJECT_DUPLICATES, NULL);
    if (text)
        EVP_EncodeBlock((unsigned char *)text, f->p, (int)f->n);
    json_t *body = text && config ? json_pack("{s:s, s:s, s:s*, s:O}", "name", a->rest[1], "model", text, "version", a->version,
                                              "config", config) : NULL;
    cab_status s = body ? cab_client_json(a, "POST", "/register", body, answer, d)
                 : config ? cab_fail(d, CAB_ENOMEM, NULL, "%s: no memory for it, or 1 GB and more", a->rest[2])
                 : cab_fail(d, CAB_EINVAL, NULL, "--config is no JSON");
    json_decref(body);
    json_decref(config);
    free(text);
    return s;
}

static cab_status enroll(const cab_client_args *a, cab_diag *d)
{
    enum { LONG_CONFIG = 2048 };
    cab_mapping f;
    json_t *answer = NULL;
    CAB_TRY(cab_file_map(a->rest[2], &f, d));
    cab_status s = a->config && strlen(a->config) > LONG_CONFIG ? send_json(a, &f, &answer, d) : send_file(a, &f, &answer, d);
    if (s == CAB_OK && a->json)
        json_dumpf(answer, stdout, JSON_INDENT(2));
    else if (s == CAB_OK)
        printf("%s version %s is %s%s%s", a->rest[1], json_string_value(json_object_get(answer, "version")),
               json_string_value(json_object_get(answer, "state")), json_object_get(answer, "why") ? ", but does not serve: " : "",
               json_object_get(answer, "why") ? json_string_value(json_object_get(answer, "why")) : "");
    if (s == CAB_OK)
        putchar('\n');
    json_decref(answer);
    cab_file_unmap(&f);
    return s;
}

/* ---- cab client load ---- */

static cab_status make_body(const cab_client_args *a, cab_bytes *body, long *json_bytes, cab_diag *d)
{
    cab_client_inputs in;
    cab_client_args seeded = *a;
    seeded.random = true;
    cab_status s = cab_client_inputs_make(&seeded, &in, d);
    if (s == CAB_OK)
        s = cab_client_body(&in, !a->text, body, json_bytes, d);
    cab_client_inputs_free(&in);
    return s;
}

/* All bytes of the request, so that a turn only sends them. */
static cab_status make_request(const cab_client_args *a, const cab_client_url *u, cab_bytes *to, cab_diag *d)
{
    cab_bytes body = { 0 }, path = { 0 }, token = { 0 };
    long json_bytes = -1;
    cab_status s = cab_client_token(a, &token, d);
    if (a->get)
        cab_bytes_str(&path, a->get);
    else
        cab_client_path(a, "infer", &path);
    if (s == CAB_OK && !a->get)
        s = make_body(a, &body, &json_bytes, d);
    cab_bytes_printf(to, strchr(u->host, ':') ? "%s %s HTTP/1.1\r\nHost: [%s]:%d\r\n" : "%s %s HTTP/1.1\r\nHost: %s:%d\r\n",
                     a->get ? "GET" : "POST", cab_bytes_cstr(&path), u->host, u->port);
    if (!a->get)
        cab_bytes_printf(to, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                         json_bytes < 0 ? "application/json" : "application/octet-stream", body.n);
    if (json_bytes >= 0)
        cab_bytes_printf(to, "Inference-Header-Content-Length: %ld\r\n", json_bytes);
    if (token.n)
        cab_bytes_printf(to, "Authorization: Bearer %s\r\n", cab_bytes_cstr(&token));
    cab_bytes_str(to, "\r\n");
    cab_bytes_put(to, body.p, body.n);
    if (s == CAB_OK && (to->failed || path.failed || body.failed))
        s = cab_fail(d, CAB_ENOMEM, NULL, "no memory for the request");
    cab_bytes_fini(&token);
    cab_bytes_fini(&path);
    cab_bytes_fini(&body);
    return s;
}

static json_t *times(const cab_histogram *h)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)h->n,
                     "mean", h->n ? h->sum_ns / (double)h->n / 1e6 : 0.0, "p50", (double)cab_histogram_at(h, 0.5) / 1e6,
                     "p90", (double)cab_histogram_at(h, 0.9) / 1e6, "p99", (double)cab_histogram_at(h, 0.99) / 1e6,
                     "p99.9", (double)cab_histogram_at(h, 0.999) / 1e6, "max", (double)h->max_ns / 1e6);
}

static void print_times(const char *what, const cab_histogram *h)
{
    const double q[] = { 0.5, 0.9, 0.99, 0.999 };
    if (!h->n)
        return;
    printf("%-10s", what);
    for (int i = 0; i < 4; i++)
        printf(" p%g %.3f ms,", q[i] * 100, (double)cab_histogram_at(h, q[i]) / 1e6);
    printf(" max %.3f ms of %llu\n", (double)h->max_ns / 1e6, (unsigned long long)h->n);
}

static cab_status report(const cab_client_args *a, const cab_load_plan *p, const cab_load_figures *f, cab_diag *d)
{
    json_t *statuses = json_object();
    for (int i = 0; i < CAB_LOAD_STATUSES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        if (f->status[i])
            json_object_set_new(statuses, name, json_integer((json_int_t)f->status[i]));
    }
    double all = (double)(f->good.n + f->other.n) / p->seconds, good = (double)f->in_time / p->seconds;
    json_t *o = json_pack("{s:i, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:O, s:o, s:o, s:f}", "connections", p->connections,
                          "rate", p->rate, "seconds", p->seconds, "requests_per_second", all, "goodput", good,
                          "sent", (json_int_t)f->sent, "broken", (json_int_t)f->broken, "unanswered", (json_int_t)f->unanswered,
                          "unsent", (json_int_t)f->unsent, "statuses", statuses, "latency_ms", times(&f->good),
                          "others_ms", times(&f->other), "client_cpu_seconds", f->cpu_seconds);
    if (a->json && o)
        json_dumpf(o, stdout, JSON_COMPACT);
    if (!a->json) {
        char *text = json_dumps(statuses, JSON_COMPACT);
        printf("%.0f requests/s, %.0f/s of them good, statuses %s, %llu broken, %llu unanswered, %llu unsent\n", all, good,
               text ? text : "", (unsigned long long)f->broken, (unsigned long long)f->unanswered,
               (unsigned long long)f->unsent);
        print_times("good", &f->good);
        print_times("others", &f->other);
        free(text);
    } else {
        putchar('\n');
    }
    json_decref(statuses);
    cab_status s = o ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    json_decref(o);
    return s;
}

cab_status cab_client_load(const cab_client_args *a, cab_diag *d)
{
    static cab_load_figures f;
    cab_client_url u;
    cab_bytes request = { 0 };
    char *end = NULL;
    cab_load_plan p = { .host = u.host, .request = &request, .connections = a->connections, .seconds = a->seconds,
                        .warmup = a->warmup, .awake = a->awake };
    p.rate = strcmp(a->rate, "max") ? strtod(a->rate, &end) : 0;
    if ((end && (*end || !(p.rate > 0 && p.rate <= 1e9))) || p.connections < 1 || !(p.seconds > 0))
        return cab_fail(d, CAB_EINVAL, NULL, "--rate is a number to 1e9, or max; --connections and --seconds are more than 0");
    if (!a->get == (a->n_rest < 2))
        return cab_fail(d, CAB_EINVAL, NULL, "load wants a MODEL, or --get PATH");
    CAB_TRY(cab_client_url_read(a->rest[0], &u, d));
    if (u.secure)
        return cab_fail(d, CAB_EINVAL, NULL, "load speaks no TLS");
    p.port = u.port;
    cab_status s = make_request(a, &u, &request, d);
    if (s == CAB_OK)
        s = cab_load_run(&p, &f, d);
    if (s == CAB_OK)
        s = report(a, &p, &f, d);
    cab_bytes_fini(&request);
    return s;
}

/* ---- the command line ---- */

enum kind { TEXT, LIST, COUNT, NUMBER, SWITCH, SEED };

enum { INFER = 1, MODELS = 2, REGISTER = 4, LOAD = 8, ALL = INFER | MODELS | REGISTER | LOAD };

static const struct option {
    const char *flag;
    enum kind kind;
    size_t at;
    const char *value;
    int commands;
    const char *doc;
} options[] = {
#define OPTION(flag, kind, field, value, commands, doc) { flag, kind, offsetof(cab_client_args, field), value, commands, doc },
#include "serve/client/client_options.def"
};

static const struct command {
    const char *name, *rest, *doc;
    int id, least, most;       /* words after the name */
    cab_status (*run)(const cab_client_args *a, cab_diag *d);
} commands[] = {
    { "infer", "URL MODEL", "calls a model, prints or writes its outputs", INFER, 2, 2, cab_client_infer },
    { "models", "URL", "what the server's registry has", MODELS, 1, 1, models },
    { "register", "URL NAME FILE.onnx", "adds a version of a model", REGISTER, 3, 3, enroll },
    { "load", "URL MODEL", "measures: an open loop of requests at fixed times, or as fast as they are answered", LOAD, 1, 2,
      cab_client_load },
};

/* "infer, load" */
static void print_takers(FILE *f, int mask)
{
    const char *before = " [";
    for (size_t i = 0; mask != ALL && i < sizeof commands / sizeof *commands; i++)
        if (commands[i].id & mask) {
            fprintf(f, "%s%s", before, commands[i].name);
            before = ", ";
        }
    fprintf(f, mask == ALL ? "\n" : "]\n");
}

static void usage(FILE *f)
{
    fprintf(f, "cab-client " CAB_VERSION ": a client of cab serve\n\nusage: cab client COMMAND ... [flags]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(f, "  %-8s %-20s %s\n", commands[i].name, commands[i].rest, commands[i].doc);
    fprintf(f, "\n");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        fprintf(f, "  --%-12s %-10s %s", options[i].flag, options[i].value, options[i].doc);
        print_takers(f, options[i].commands);
    }
    fprintf(f, "\nexit status: 0, 1 when the server or a file says no, 2 for a command line that is wrong\n");
}

static cab_status set(const struct option *o, const char *value, cab_client_args *a, cab_diag *d)
{
    enum { COUNT_MAX = 1 << 20, NUMBER_MAX = 1000000 };
    char *field = (char *)a + o->at, *end = NULL;
    bool fine = true;
    long n;
    double x;
    cab_client_list *list = (cab_client_list *)(void *)field;
    switch (o->kind) {
    case TEXT: *(const char **)(void *)field = value; return CAB_OK;
    case SWITCH: *(bool *)field = true; return CAB_OK;
    case LIST:
        if (!strchr(value, '=') || list->n == CAB_CLIENT_LIST)
            return cab_fail(d, CAB_EINVAL, NULL, "--%s: NAME=..., at most %d times", o->flag, CAB_CLIENT_LIST);
        list->at[list->n++] = value;
        return CAB_OK;
    case COUNT:
        n = strtol(value, &end, 10);
        *(int *)(void *)field = (int)n;
        fine = n >= 0 && n <= COUNT_MAX;
        break;
    case NUMBER:
        *(double *)(void *)field = x = strtod(value, &end);
        fine = x >= 0 && x <= NUMBER_MAX;
        break;
    case SEED:
        *(uint64_t *)(void *)field = strtoull(value, &end, 10);
        a->random = true;
        break;
    }
    if (end == value || *end)
        return cab_fail(d, CAB_EINVAL, NULL, "--%s: '%s' is no number", o->flag, value);
    return fine ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "--%s: %s is not from 0 to %d", o->flag, value, o->kind == COUNT ? COUNT_MAX : NUMBER_MAX);
}

/* "--flag value" or "--flag=value" at argv[*i]. */
static cab_status one_flag(int argc, char **argv, int *i, const struct command *c, cab_client_args *a, cab_diag *d)
{
    const char *text = argv[*i] + 2;
    size_t n = strcspn(text, "=");
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        const struct option *o = &options[k];
        if (strncmp(o->flag, text, n) || o->flag[n])
            continue;
        if (!(o->commands & c->id))
            return cab_fail(d, CAB_EINVAL, NULL, "%s does not take --%s", c->name, o->flag);
        const char *value = text[n] ? text + n + 1 : NULL;
        if (o->kind == SWITCH)
            return value ? cab_fail(d, CAB_EINVAL, NULL, "--%s takes no value", o->flag) : set(o, NULL, a, d);
        if (!value && ++*i < argc)
            value = argv[*i];
        return value ? set(o, value, a, d) : cab_fail(d, CAB_EINVAL, NULL, "--%s wants %s", o->flag, o->value);
    }
    return cab_fail(d, CAB_EINVAL, NULL, "no flag %s", argv[*i]);
}

static cab_status parse(int argc, char **argv, const struct command *c, cab_client_args *a, cab_diag *d)
{
    for (int i = 2; i < argc; i++) {
        if (!strncmp(argv[i], "--", 2))
            CAB_TRY(one_flag(argc, argv, &i, c, a, d));
        else if (a->n_rest < c->most)
            a->rest[a->n_rest++] = argv[i];
        else
            return cab_fail(d, CAB_EINVAL, NULL, "'%s' is one word too many: cab client %s %s", argv[i], c->name, c->rest);
    }
    return a->n_rest < c->least ? cab_fail(d, CAB_EINVAL, NULL, "usage: cab client %s %s", c->name, c->rest) : CAB_OK;
}

static int complain(const cab_diag *d, cab_status s)
{
    for (size_t i = 0; i < d->n; i++) {
        char *text = cab_diag_format(&d->entries[i]);
        fprintf(stderr, "cab client: %s", text ? text : "out of memory\n");
        free(text);
    }
    return cab_status_exit(s);
}

int main(int argc, char **argv)
{
    static cab_client_args a = { .connections = 16, .rate = "max", .seconds = 10 };
    const struct command *c = NULL;
    cab_diag d;
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name))
            c = &commands[i];
    bool help = argc > 1 && !strcmp(argv[1], "help");
    for (int i = 1; i < argc; i++)
        help = help || !strcmp(argv[i], "--help");
    if (!c || help) {
        usage(help ? stdout : stderr);
        return help ? 0 : 2;
    }
    signal(SIGPIPE, SIG_IGN);
    cab_diag_init(&d);
    cab_status s = parse(argc, argv, c, &a, &d);
    if (s == CAB_OK)
        s = c->run(&a, &d);
    int rc = complain(&d, s);
    cab_diag_fini(&d);
    return rc;
}
