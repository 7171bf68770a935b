/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http1_table.c - the rows of tests/serve/smuggling.txt: whole, at every
 * split, in small pieces.
 */
#include "tests/serve/http1_drive.h"
#include "tests/test.h"

static const cab_http1_limits limits = CAB_HTTP1_LIMITS;

typedef struct row { char verdict[8], name[128]; cab_bytes bytes; } row;

/* One character of a line, escapes undone; what follows it. */
static const char *unescape(const char *c, cab_bytes *out)
{
    static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
    char *end, hex[3] = { 0 };
    if (*c != '\\') {
        cab_bytes_char(out, *c);
        return c + 1;
    }
    if (*++c == '{') {
        for (long n = strtol(c + 1, &end, 10); n; n--)
            cab_bytes_char(out, end[1]);
        CHECK(end[0] == ' ' && end[2] == '}');
        return end + 3;
    }
    if (*c == 'x') {
        memcpy(hex, c + 1, 2);
        cab_bytes_char(out, (char)strtol(hex, NULL, 16));
        return c + 3;
    }
    const char *at = strchr(from, *c);
    CHECK(at != NULL);
    cab_bytes_char(out, at ? to[at - from] : '?');
    return c + 1;
}

/* The next row of the file; next holds its first line and gets that of the one after. */
static bool read_row(FILE *f, char *next, size_t max, row *r)
{
    r->bytes = (cab_bytes){ 0 };
    if (sscanf(next, "== %7s %127[^\n]", r->verdict, r->name) != 2)
        return false;
    while (fgets(next, (int)max, f) && strncmp(next, "== ", 3) != 0) {
        next[strcspn(next, "\n")] = 0;
        for (const char *c = *next == '#' ? "" : next; *c;)
            c = unescape(c, &r->bytes);
        *next = 0;
    }
    return true;
}

static void verdict(const http1_seen *s, char out[8])
{
    snprintf(out, 8, "%s", s->open ? "more" : "ok");
    if (s->status)
        snprintf(out, 8, "%d", s->status);
}

static bool same(const http1_seen *a, const http1_seen *b)
{
    return a->text.n == b->text.n && !memcmp(a->text.p, b->text.p, a->text.n) && a->used == b->used;
}

/* Pieces of *arg bytes, then the rest (a split); or all of that size. */
static size_t split(void *arg, size_t left)
{
    size_t n = *(size_t *)arg;
    *(size_t *)arg = left;
    return n;
}
static size_t each(void *arg, size_t left)
{
    return *(size_t *)arg < left ? *(size_t *)arg : left;
}

static void expect_same(const row *r, const http1_seen *whole, http1_piece *piece, size_t arg)
{
    http1_seen s;
    size_t first = arg;
    http1_drive(&s, r->bytes.p, r->bytes.n, &limits, 0, piece, &arg);
    if (!same(&s, whole)) {
        fprintf(stderr, "%s, %zu bytes: %s\n", r->name, first, cab_bytes_cstr(&s.text));
        CHECK(!"a verdict depends on the pieces");
    }
    cab_bytes_fini(&s.text);
}

static void check_row(const row *r)
{
    http1_seen whole;
    char got[8];
    http1_drive(&whole, r->bytes.p, r->bytes.n, &limits, 0, NULL, NULL);
    verdict(&whole, got);
    if (strcmp(got, r->verdict))
        fprintf(stderr, "%s: %s\n", r->name, whole.why ? whole.why : "");
    CHECK_STR(got, r->verdict);
    for (size_t i = 1; i < r->bytes.n; i += r->bytes.n > 2000 ? 97 : 1)
        expect_same(r, &whole, split, i);
    for (size_t i = 1; i <= 7; i += 3)
        expect_same(r, &whole, each, r->bytes.n > 2000 ? i * 64 : i);
    cab_bytes_fini(&whole.text);
}

static void check_table(void)
{
    const char *dir = getenv("srcdir");
    static char path[4096], line[16384];
    snprintf(path, sizeof path, "%s/tests/serve/smuggling.txt", dir ? dir : ".");
    FILE *f = fopen(path, "r");
    int n = 0;
    CHECK(f != NULL);
    if (!f)
        return;
    while (fgets(line, sizeof line, f) && strncmp(line, "== ", 3) != 0)
        ;
    for (row r; read_row(f, line, sizeof line, &r); n++) {
        check_row(&r);
        cab_bytes_fini(&r.bytes);
    }
    CHECK(n >= 199);
    fclose(f);
}

int main(void)
{
    check_table();
    TEST_END();
}
