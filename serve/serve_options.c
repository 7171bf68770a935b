/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve_options.c - flags, environment and configuration file, by the rows of serve_options.def.
 */
#include "serve/serve_options.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef enum kind { KIND_TEXT, KIND_LIST, KIND_COUNT, KIND_BYTES, KIND_MS, KIND_SWITCH } kind;
typedef struct row { const char *name, *text, *doc; kind kind; size_t at; int64_t least, most; } row;
#define DAY 86400000
#define PETA ((int64_t)1 << 50)
static const row rows[] = {
#define OPTION(field, kind, text, least, most, doc) { #field, text, doc, KIND_##kind, offsetof(cab_options, field), least, most },
#include "serve/serve_options.def"
};
enum { N = sizeof rows / sizeof *rows, NAME = 64 };

/* "--a-b", as a flag; "CAB_SERVE_A_B". */
static void flag_of(const row *r, char out[NAME])
{
    snprintf(out, NAME, "--%s", r->name);
    for (char *p = out; (p = strchr(p, '_'));)
        *p = '-';
}

#define VARIABLES "CAB_SERVE_"
static void variable_of(const row *r, char out[NAME])
{
    snprintf(out, NAME, VARIABLES "%s", r->name);
    for (char *p = out + strlen(VARIABLES); *p; p++)
        *p = (char)toupper((unsigned char)*p);
}

/* ---- values ---- */

/* where: the flag, the variable, or file and key. */
static cab_status bad(cab_diag *d, const char *where, const char *text, const char *why)
{
    return cab_fail(d, CAB_EINVAL, NULL, "%s = '%s': %s", where, text, why);
}

static int64_t unit_of(char c)
{
    return c == 'K' ? (int64_t)1 << 10 : c == 'M' ? (int64_t)1 << 20 : c == 'G' ? (int64_t)1 << 30 : 0;
}

static cab_status set_number(int64_t *to, const row *r, const char *text, const char *where, cab_diag *d)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int64_t unit = r->kind == KIND_BYTES && *end ? unit_of(*end) : 1;
    if (!isdigit((unsigned char)text[0]) || errno || v > INT64_MAX / (unit ? unit : 1) || !unit ||
        (unit > 1 ? end[1] : *end))
        return bad(d, where, text, r->kind == KIND_BYTES ? "not a size such as 512, 64K, 16M, 2G"
                                 : r->kind == KIND_MS ? "not a number of milliseconds" : "not a number");
    *to = v * unit;
    if (*to < r->least || *to > r->most)
        return cab_fail(d, CAB_EINVAL, NULL, "%s = '%s': must be from %lld to %lld", where, text, (long long)r->least,
                        (long long)r->most);
    return CAB_OK;
}

static cab_status add_text(cab_text_list *l, const char *text, const char *where, cab_diag *d)
{
    if (l->n == CAB_LIST_MAX)
        return bad(d, where, text, "too many of them");
    char *copy = strdup(text);
    if (!copy)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    l->at[l->n++] = copy;
    return CAB_OK;
}

static cab_status set(cab_options *o, const row *r, const char *text, const char *where, cab_diag *d)
{
    void *to = (char *)o + r->at;
    if (r->kind == KIND_LIST)
        return *text ? add_text(to, text, where, d) : CAB_OK;
    if (r->kind != KIND_TEXT)
        return set_number(to, r, text, where, d);
    char **at = to, *copy = strdup(text);
    if (!copy)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    free(*at);
    *at = copy;
    return CAB_OK;
}

/* ---- sources; each sets what no earlier one has ---- */

static const row *find(const char *name, char separator)
{
    for (int i = 0; i < N; i++) {
        const char *a = rows[i].name, *b = name;
        while (*a && (*a == *b || (*a == '_' && *b == separator)))
            a++, b++;
        if (!*a && !*b)
            return &rows[i];
    }
    return NULL;
}

static cab_status from_flags(cab_options *o, int argc, char **argv, bool *done, const char **config, cab_diag *d)
{
    for (int i = 1; i < argc; i++) {
        char name[NAME], where[NAME];
        const char *equals = strchr(argv[i], '=');
        size_t n = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        if (strncmp(argv[i], "--", 2) || n >= sizeof name)
            return cab_fail(d, CAB_EINVAL, NULL, "'%s' is no flag; --help lists them", argv[i]);
        memcpy(name, argv[i] + 2, n - 2);
        name[n - 2] = 0;
        const row *r = find(name, '-');
        bool is_config = !strcmp(name, "config");
        if (!r && !is_config)
            return cab_fail(d, CAB_EINVAL, NULL, "no flag --%s; --help lists them", name);
        if (!equals && i + 1 == argc)
            return cab_fail(d, CAB_EINVAL, NULL, "--%s needs a value", name);
        const char *text = equals ? equals + 1 : argv[++i];
        if (is_config) {
            *config = text;
            continue;
        }
        flag_of(r, where);
        CAB_TRY(set(o, r, text, where, d));
        done[r - rows] = true;
    }
    return CAB_OK;
}

static cab_status set_parts(cab_options *o, const row *r, const char *text, const char *where, cab_diag *d)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        char *part = strndup(p, n);
        cab_status s = part ? set(o, r, part, where, d) : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
        free(part);
        CAB_TRY(s);
        p += n + (p[n] == ',');
    }
    return CAB_OK;
}

/* INHERIT is what a successor is told (listen.c). */
static cab_status know_variable(const char *entry, cab_diag *d)
{
    char name[NAME];
    size_t n = strcspn(entry, "=");
    if (strncmp(entry, VARIABLES, strlen(VARIABLES)) || !strncmp(entry, VARIABLES "INHERIT=", strlen(VARIABLES "INHERIT=")))
        return CAB_OK;
    for (int i = 0; i < N; i++) {
        variable_of(&rows[i], name);
        if (n == strlen(name) && !strncmp(entry, name, n))
            return CAB_OK;
    }
    return cab_fail(d, CAB_EINVAL, NULL, "no variable %.*s; --help lists the flags, whose names they have", (int)n, entry);
}

static cab_status from_environment(cab_options *o, bool *done, cab_diag *d)
{
    extern char **environ;
    for (char **e = environ; *e; e++)
        CAB_TRY(know_variable(*e, d));
    for (int i = 0; i < N; i++) {
        char name[NAME];
        variable_of(&rows[i], name);
        const char *text = getenv(name);
        if (!text || done[i])
            continue;
        CAB_TRY(rows[i].kind == KIND_LIST ? set_parts(o, &rows[i], text, name, d) : set(o, &rows[i], text, name, d));
        done[i] = true;
    }
    return CAB_OK;
}

static cab_status set_json(cab_options *o, const row *r, const json_t *v, const char *file, cab_diag *d)
{
    char text[32], where[256];
    snprintf(where, sizeof where, "%.150s: %s", file, r->name);
    if (json_is_string(v))
        return set(o, r, json_string_value(v), where, d);
    if (json_is_boolean(v) || json_is_integer(v)) {
        json_int_t n = json_is_integer(v) ? json_integer_value(v) : json_is_true(v);
        snprintf(text, sizeof text, "%lld", (long long)n);
        return set(o, r, text, where, d);
    }
    return bad(d, where, "...", "neither text nor number");
}

static cab_status from_file(cab_options *o, const char *file, bool *done, cab_diag *d)
{
    json_error_t e;
    const char *name;
    json_t *v, *top = json_load_file(file, JSON_REJECT_DUPLICATES, &e);
    cab_status s = CAB_OK;
    if (!json_is_object(top)) {
        json_decref(top);
        return cab_fail(d, CAB_EPARSE, &(cab_where){ .file = file, .line = top ? 1 : e.line, .col = e.column },
                        "%s", top ? "not an object" : e.text);
    }
    json_object_foreach(top, name, v) {
        const row *r = find(name, '_');
        if (s == CAB_OK && !r)
            s = cab_fail(d, CAB_EINVAL, NULL, "%s: no option '%s'; --help lists them", file, name);
        if (s != CAB_OK || done[r - rows])
            continue;
        if (r->kind != KIND_LIST || !json_is_array(v))
            s = set_json(o, r, v, file, d);
        for (size_t i = 0; s == CAB_OK && r->kind == KIND_LIST && i < json_array_size(v); i++)
            s = set_json(o, r, json_array_get(v, i), file, d);
        done[r - rows] = true;
    }
    json_decref(top);
    return s;
}

/* ---- what must go together ---- */

static cab_status check_folder(const char *path, cab_diag *d)
{
    struct stat st;
    if (!*path || (!stat(path, &st) && S_ISDIR(st.st_mode)))
        return CAB_OK;
    return cab_fail(d, CAB_EINVAL, NULL, "--imports = '%s': no folder", path);
}

/* As the compiler's, which this program does not have (codegen/cpu/target.c): else each build would fail. */
static cab_status check_targets(const char *list, cab_diag *d)
{
    static const char *const names[] = { "native", "x86-64-v2", "x86-64-v3", "x86-64-v4" };
    for (const char *p = list;; p++) {
        size_t n = strcspn(p, ","), i = 0;
        while (i < sizeof names / sizeof *names && (strncmp(p, names[i], n) || names[i][n]))
            i++;
        if (i == sizeof names / sizeof *names)
            return cab_fail(d, CAB_EINVAL, NULL, "--build-target = '%s': '%.*s' is none of native, x86-64-v2, x86-64-v3, x86-64-v4",
                            list, (int)n, p);
        p += n;
        if (!*p)
            return CAB_OK;
    }
}

static cab_status check(const cab_options *o, cab_diag *d)
{
    bool tls = o->listen_tls.n > 0;
    if (!o->listen.n && !tls)
        return cab_fail(d, CAB_EINVAL, NULL, "no port for clients: neither --listen nor --listen-tls");
    if (tls && (!*o->tls_cert || !*o->tls_key))
        return cab_fail(d, CAB_EINVAL, NULL, "--listen-tls needs --tls-cert and --tls-key");
    if (!tls && (*o->tls_cert || *o->tls_key || *o->tls_client_ca))
        return cab_fail(d, CAB_EINVAL, NULL, "--tls-cert, --tls-key and --tls-client-ca are for --listen-tls: no port would speak TLS");
    CAB_TRY(check_folder(o->imports, d));
    return check_targets(o->build_target, d);
}

/* Who asks for TLS does not get a port without it beside that. */
static bool has_default(const cab_options *o, const row *r)
{
    return strcmp(r->name, "listen") || !o->listen_tls.n;
}

cab_status cab_options_read(cab_options *o, int argc, char **argv, cab_diag *d)
{
    bool done[N] = { false };
    const char *config = NULL;
    *o = (cab_options){ 0 };
    CAB_TRY(from_flags(o, argc, argv, done, &config, d));
    CAB_TRY(from_environment(o, done, d));
    if (config)
        CAB_TRY(from_file(o, config, done, d));
    for (int i = 0; i < N; i++)
        if (!done[i] && has_default(o, &rows[i]))
            CAB_TRY(set(o, &rows[i], rows[i].text, "default", d));
    return check(o, d);
}

void cab_options_fini(cab_options *o)
{
    for (int i = 0; i < N; i++) {
        void *at = (char *)o + rows[i].at;
        if (rows[i].kind == KIND_TEXT)
            free(*(char **)at);
        for (int k = 0; rows[i].kind == KIND_LIST && k < ((cab_text_list *)at)->n; k++)
            free(((cab_text_list *)at)->at[k]);
    }
    *o = (cab_options){ 0 };
}

void cab_options_help(cab_bytes *b)
{
    static const char *const words[] = { "TEXT", "TEXT...", "N", "BYTES", "MS", "0|1" };
    for (int i = 0; i < N; i++) {
        char flag[NAME];
        flag_of(&rows[i], flag);
        cab_bytes_printf(b, "  %-17s %-8s %s", flag, words[rows[i].kind], rows[i].doc);
        cab_bytes_printf(b, *rows[i].text ? " [%s]\n" : "\n", rows[i].text);
    }
}
