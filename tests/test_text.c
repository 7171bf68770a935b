/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_text.c - the text form and the verifier, from files.
 *
 *   test_text FILE...
 * A file with a comment "; error: TEXT" must be refused, by the parser or the
 * verifier, with an error that contains TEXT and is of that line: its place
 * names the line, or the node it names stands there.  Any other file must
 * verify, and print(parse(file)) must be the file, comments aside.
 */
#include "ir/ir.h"
#include "tests/test.h"

static const char *file;

static void complain(const char *what, const char *detail)
{
    test_failed++;
    fprintf(stderr, "%s: %s\n%s\n", file, what, detail);
}

/* The text without comments that fill a line. */
static char *without_comments(cab_arena *a, const char *text)
{
    cab_buf b = cab_buf_on(a);

    while (*text) {
        size_t n = strcspn(text, "\n");
        n += text[n] == '\n';
        if (*text != ';')
            cab_buf_bytes(&b, text, n);
        text += n;
    }
    cab_buf_cstr(&b);
    return b.p;
}

static void check_round_trip(cab_arena *a, const char *text, cab_graph *g)
{
    cab_buf b = cab_buf_on(a);
    const char *want = without_comments(a, text);

    cab_graph_print(&b, g);
    if (!strcmp(cab_buf_cstr(&b), want))
        test_passed++;
    else
        complain("prints as", cab_buf_cstr(&b));
}

/* True when the error's place is the line: "FILE:LINE:" or a node named
 * there. */
static bool is_of_line(const cab_diag_entry *e, int line, const char *text, size_t n)
{
    char place[32];
    const char *name = strchr(e->where, '\''), *end;

    snprintf(place, sizeof place, ":%d:", line);
    if (strstr(e->where, place))
        return true;
    end = name ? strchr(name + 1, '\'') : NULL;
    return end && memmem(text, n, name + 1, (size_t)(end - name - 1));
}

static void check_error(const char *text, const char *mark, cab_status s,
                        const cab_diag *d)
{
    const cab_diag_entry *e = cab_diag_first(d);
    const char *want = mark + strlen("; error: ");
    size_t n = strcspn(want, "\n");
    const char *start = mark;
    int line = 1;
    char *story;

    if (s == CAB_OK || !e) {
        complain("accepted, expected", want);
        return;
    }
    while (start > text && start[-1] != '\n')
        start--;
    for (const char *p = text; p < start; p++)
        line += *p == '\n';
    story = cab_diag_format(e);
    if (!memmem(e->text, strlen(e->text), want, n)
        || !is_of_line(e, line, start, (size_t)(mark - start)))
        complain("another error than expected", story);
    else
        test_passed++;
    free(story);
}

static void check_file(cab_arena *a)
{
    char *text;
    const char *mark;
    size_t n;
    cab_graph *g = NULL;
    cab_diag d;
    cab_status s;

    cab_diag_init(&d);
    if (cab_file_read(a, file, 1 << 24, &text, &n, &d) != CAB_OK) {
        complain("cannot be read", "");
        return;
    }
    s = cab_graph_parse(a, text, n, file, &g, &d);
    if (s == CAB_OK)
        s = cab_graph_verify(g, &d);
    mark = strstr(text, "; error: ");
    if (mark)
        check_error(text, mark, s, &d);
    else if (s == CAB_OK)
        check_round_trip(a, text, g);
    else
        complain("refused", cab_diag_first(&d) ? cab_diag_first(&d)->text : "");
    cab_diag_fini(&d);
}

int main(int argc, char **argv)
{
    cab_job job = {0};
    cab_arena *volatile a = cab_arena_create(&job);

    if (!a || CAB_JOB_ENTER(&job)) {
        complain("out of memory", "");
        TEST_END();
    }
    for (int i = 1; i < argc; i++) {
        file = argv[i];
        check_file(a);
        cab_arena_reset(a);
    }
    CHECK(argc > 1);
    cab_arena_destroy(a);
    TEST_END();
}
