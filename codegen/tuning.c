/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuning.c - tuning records: which schedules kernels get instead of the model's
 * choice (docs/tuning.md).
 *
 *   cabochon tuning 1
 *   target emeraldrapids 64
 *   kernel 3f0e...c1 conv_12 sched { mr=14 nv=2 ... }
 *
 * A kernel is known by a hash of its Spec's text without names, and of which
 * operands are constants; the name beside it is for people.  Lines hold for the
 * target above them: a processor as LLVM names it, and bytes of its vectors.
 * The last line of a kernel counts.  A record comes from anywhere, so whatever it
 * says leads to correct code or is refused.
 */
#include <ctype.h>
#include <string.h>
#include "codegen/codegen_int.h"

#define HEAD "cabochon tuning 1"
#define FILE_NAME "tuning record"

enum { KEY_BYTES = 16, KEY = 2 * KEY_BYTES };

typedef struct entry {
    const char *target;        /* its line, whole */
    const char *key, *name;
    int line;
    cab_sched sched;
    bool used;
} entry;

struct cab_tuning {
    cab_arena *arena;
    CAB_VEC(entry) entries;
    cab_map *last;             /* "target key" -> number of the entry + 1 */
    cab_map *asked;            /* targets that kernels were looked up for */
};

/* ---- names of kernels and targets ---- */

static const char *target_line(cab_arena *a, const cab_target *t)
{
    return cab_printf(a, "target %s %d", t->cpu, t->vector_bytes);
}

/* The Spec without names. */
static void put_plain(cab_buf *b, const cab_spec *s, const bool *constant)
{
    cab_spec plain = *s;

    plain.name = "s";
    for (int i = 0; i < s->n_axes; i++)
        plain.axis[i].name = cab_printf(s->arena, "a%d", i);
    cab_spec_print(b, &plain);
    for (int i = 0; i < s->n_operands; i++)
        cab_buf_char(b, constant && constant[i] ? 'c' : '.');
}

static const char *key_of(cab_arena *a, const cab_spec *s, const bool *constant)
{
    cab_buf text = cab_buf_on(a), hex = cab_buf_on(a);
    uint8_t sum[32];

    put_plain(&text, s, constant);
    cab_sha256_of(text.p, text.n, sum);
    for (int i = 0; i < KEY_BYTES; i++)
        cab_buf_printf(&hex, "%02x", sum[i]);
    return cab_buf_cstr(&hex);
}

/* ---- writing ---- */

static void put_line(cab_buf *b, const char *key, const char *name, const cab_sched *c)
{
    cab_buf_printf(b, "kernel %s ", key);
    for (; *name; name++)
        cab_buf_char(b, isalnum((unsigned char)*name) ? *name : '_');
    cab_buf_char(b, ' ');
    cab_sched_print(b, c);
    cab_buf_char(b, '\n');
}

void cab_tuning_put_head(cab_buf *b, const cab_target *t)
{
    cab_buf_printf(b, HEAD "\n%s\n", target_line(b->arena, t));
}

void cab_tuning_put_kernel(cab_buf *b, const cab_spec *s, const bool *constant, const char *name,
                           const cab_sched *c)
{
    put_line(b, key_of(b->arena, s, constant), name, c);
}

void cab_tuning_put_used(const cab_tuning *t, cab_buf *b)
{
    const char *target = NULL;

    for (size_t i = 0; i < t->entries.n; i++) {
        const entry *e = &t->entries.p[i];
        if (!e->used)
            continue;
        if (!target)
            cab_buf_str(b, HEAD "\n");
        if (!target || strcmp(target, e->target))
            cab_buf_printf(b, "%s\n", target = e->target);
        put_line(b, e->key, e->name, &e->sched);
    }
}

/* ---- reading ---- */

typedef struct reader {
    cab_tuning *t;
    const char *p;
    int line;
    bool headed;
    const char *target;
    cab_diag *diag;
} reader;

static cab_status refuse(const reader *r, const char *why)
{
    cab_where w = { .file = FILE_NAME, .line = r->line };

    return cab_fail(r->diag, CAB_EPARSE, &w, "%s", why);
}

/* A word up to a blank or the end of the line; "" when there is none. */
static const char *word(reader *r)
{
    const char *from;

    while (*r->p == ' ' || *r->p == '\t')
        r->p++;
    from = r->p;
    r->p += strcspn(r->p, " \t\r\n");
    return cab_strndup(r->t->arena, from, (size_t)(r->p - from));
}

static bool at_end(reader *r)
{
    r->p += strspn(r->p, " \t\r");
    return *r->p == 0 || *r->p == '\n';
}

static bool is_key(const char *s)
{
    return strlen(s) == KEY && strspn(s, "0123456789abcdef") == KEY;
}

static cab_status read_kernel(reader *r)
{
    entry e = { .target = r->target, .key = word(r), .name = word(r), .line = r->line };
    cab_tuning *t = r->t;
    const char *why;

    if (!e.target)
        return refuse(r, "a kernel before any 'target'");
    if (!is_key(e.key))
        return refuse(r, "'kernel' wants 32 digits of a hash, a name and a schedule");
    if (!*e.name || strlen(e.name) > 200)
        return refuse(r, "the kernel has no name, or one of more than 200 letters");
    r->p += strspn(r->p, " \t");
    if ((why = cab_sched_parse(t->arena, &r->p, &e.sched)))
        return refuse(r, why);
    cab_vec_push(t->arena, &t->entries, e);
    cab_map_sets(t->last, cab_printf(t->arena, "%s %s", e.target, e.key),
                 (void *)(uintptr_t)t->entries.n);
    return CAB_OK;
}

static cab_status read_target(reader *r)
{
    const char *cpu = word(r), *bytes = word(r);

    if (!*cpu || strlen(cpu) > 100 || !*bytes || strlen(bytes) > 3 ||
        strspn(bytes, "0123456789") != strlen(bytes))
        return refuse(r, "'target' wants a processor and the bytes of its vectors");
    r->target = cab_printf(r->t->arena, "target %s %s", cpu, bytes);
    return CAB_OK;
}

static cab_status read_line(reader *r)
{
    const char *from = r->p += strspn(r->p, " \t"), *what;

    if (*r->p == '#') {
        r->p += strcspn(r->p, "\n");
        return CAB_OK;
    }
    if (at_end(r))
        return CAB_OK;
    if (!strncmp(from, HEAD, sizeof HEAD - 1)) {
        r->p = from + sizeof HEAD - 1;
        r->headed = true;
        r->target = NULL;
        return at_end(r) ? CAB_OK : refuse(r, "a tuning record of another version");
    }
    if (!r->headed)
        return refuse(r, "this is no tuning record: it does not begin with '" HEAD "'");
    what = word(r);
    if (strcmp(what, "kernel") && strcmp(what, "target"))
        return refuse(r, cab_printf(r->t->arena, "'%.40s' is neither target nor kernel", what));
    CAB_TRY(*what == 'k' ? read_kernel(r) : read_target(r));
    return at_end(r) ? CAB_OK : refuse(r, "there is more on the line than belongs there");
}

cab_status cab_tuning_parse(cab_arena *a, const char *text, cab_tuning **out, cab_diag *d)
{
    cab_tuning *t = CAB_NEW(a, cab_tuning);
    reader r = { .t = t, .p = text, .diag = d };

    t->arena = a;
    t->last = cab_map_create(a);
    t->asked = cab_map_create(a);
    while (*r.p) {
        r.line++;
        CAB_TRY(read_line(&r));
        r.p += *r.p == '\n';
    }
    if (!r.headed)
        return refuse(&r, "this is no tuning record: it is empty");
    *out = t;
    return CAB_OK;
}

/* ---- using ---- */

/* Its number + 1. */
static const void *entry_of(const cab_tuning *t, const char *target, const char *key)
{
    return cab_map_gets(t->last, cab_printf(t->arena, "%s %s", target, key));
}

cab_status cab_tuning_choose(cab_tuning *t, const cab_spec *s, const cab_target *target,
                             const bool *constant, cab_sched *sched, cab_diag *d)
{
    const char *line = target_line(t->arena, target);
    uintptr_t n = (uintptr_t)entry_of(t, line, key_of(t->arena, s, constant));
    entry *e = n ? &t->entries.p[n - 1] : NULL;
    cab_where w = { .file = FILE_NAME, .line = e ? e->line : 0 };

    cab_map_sets(t->asked, line, t);
    if (!e)
        return CAB_OK;
    if (!cab_sched_allowed(s, constant, &e->sched))
        return cab_fail(d, CAB_EINVAL, &w, "no kernel '%s' can be made by this schedule", e->name);
    e->used = true;
    *sched = e->sched;
    return CAB_OK;
}

void cab_tuning_report(const cab_tuning *t, cab_diag *d)
{
    size_t mine = 0, used = 0, all = 0;

    for (size_t i = 0; i < t->entries.n; i++) {
        const entry *e = &t->entries.p[i];
        if ((uintptr_t)entry_of(t, e->target, e->key) != i + 1)
            continue;          /* a later line is in its place */
        mine += cab_map_gets(t->asked, e->target) != NULL;
        used += e->used;
        all++;
    }
    cab_log(1, "tuning: %zu of %zu lines are used, %zu are for these targets", used, all, mine);
    if (all && !mine)
        cab_warn(d, NULL, "the tuning record is for other targets (%s): nothing of it is used",
                 t->entries.p[0].target + strlen("target "));
    else if (used < mine)
        cab_warn(d, NULL, "%zu of the %zu lines of the tuning record for this target are for kernels "
                 "that this model does not have: it is older than the model, or made by another "
                 "version of the compiler", mine - used, mine);
}
