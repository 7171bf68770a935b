/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_text.c - schedules as text, one line: print(parse(t)) == t.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "codegen/gen.h"

/* Every number of a cab_sched, with the largest that a text may ask for. */
static const struct field { const char *name; size_t at; int most; } fields[] = {
#define FIELD(name, most) { #name, offsetof(cab_sched, name), most }
    FIELD(mr, 64), FIELD(nv, 64), FIELD(ku, 64), FIELD(kc, 1 << 30), FIELD(lanes, CAB_KIR_MAX_LANES),
    FIELD(vec_axis, CAB_SPEC_AXES - 1), FIELD(unroll, 64), FIELD(m_axis, CAB_SPEC_AXES - 1),
    FIELD(n_axis, CAB_SPEC_AXES - 1), FIELD(task_axes, CAB_SPEC_AXES), FIELD(task_block, 1 << 30),
    FIELD(n_block, 1 << 30), FIELD(turn, 2), FIELD(swap, 1), FIELD(pack_b, 1), FIELD(skip, 3),
    FIELD(row_stores, 1), FIELD(stage_rows, 1), FIELD(ir_passes, 1),
#undef FIELD
};
enum { N_FIELDS = sizeof fields / sizeof *fields };
_Static_assert(N_FIELDS * sizeof(int) == sizeof(cab_sched), "every field has its row");

static int *field_of(cab_sched *s, const struct field *f)
{
    return (int *)(void *)((char *)s + f->at);
}

void cab_sched_print(cab_buf *b, const cab_sched *sched)
{
    cab_sched s = *sched;

    cab_buf_str(b, "sched {");
    for (int i = 0; i < N_FIELDS; i++)
        if (*field_of(&s, &fields[i]))
            cab_buf_printf(b, " %s=%d", fields[i].name, *field_of(&s, &fields[i]));
    cab_buf_str(b, " }");
}

static const struct field *find(const char *name, size_t n)
{
    for (int i = 0; i < N_FIELDS; i++)
        if (strlen(fields[i].name) == n && !memcmp(fields[i].name, name, n))
            return &fields[i];
    return NULL;
}

static const char *blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* NAME=NUMBER */
static const char *parse_field(cab_arena *a, const char **p, cab_sched *out)
{
    size_t n = strcspn(*p, "= \t\r\n}");
    int shown = n < 40 ? (int)n : 40;
    const struct field *f = find(*p, n);
    const char *digits = *p + n + 1;
    char *end;
    long v;

    if (!f)
        return cab_printf(a, "a schedule has no '%.*s'", shown, *p);
    if ((*p)[n] != '=' || !isdigit((unsigned char)*digits))
        return cab_printf(a, "'%s' wants a number", f->name);
    v = strtol(digits, &end, 10);
    if (v > f->most)
        return cab_printf(a, "'%s' is at most %d", f->name, f->most);
    if (!v || *field_of(out, f))
        return cab_printf(a, "'%s' %s", f->name, v ? "stands twice" : "is 0: leave it out");
    *field_of(out, f) = (int)v;
    *p = end;
    return NULL;
}

const char *cab_sched_parse(cab_arena *a, const char **p, cab_sched *out)
{
    static const char head[] = "sched {";
    const char *why;

    *out = (cab_sched){ 0 };
    if (strncmp(*p, head, sizeof head - 1))
        return "a schedule begins with 'sched {'";
    *p = blanks(*p + sizeof head - 1);
    while (**p && **p != '}' && **p != '\r' && **p != '\n') {
        if ((why = parse_field(a, p, out)))
            return why;
        if (!strchr(" \t\r\n}", **p))         /* its end too */
            return "blanks part the numbers of a schedule";
        *p = blanks(*p);
    }
    if (**p != '}')
        return "the schedule is not closed by '}'";
    ++*p;
    return NULL;
}
