/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_passes.c - text in, passes, text out (tests/passes).
 *
 *   test_passes [FILE.cir...]        default: every file of tests/passes
 *
 * A file is: a line "; run: cab-opt --passes=a,b [--exact] [--bisect-limit=N]
 * [--hashes]" (no bytes of constants), a graph, a line "; expect:", and what comes out: the graph, or the errors,
 * with "; " before each line.  CAB_BLESS=1 writes what came out into the file.
 */
#include <dirent.h>
#include "passes/pass.h"
#include "tests/test.h"

#define MARK "; expect:\n"

static const char *one_line(cab_arena *a, const char *text)
{
    return cab_strndup(a, text, strcspn(text, "\n"));
}

/* The value of " --name=value" or of the flag " --name" on the run line. */
static const char *option(cab_arena *a, const char *line, const char *name)
{
    const char *p = strstr(line, name);

    if (!p)
        return NULL;
    p += strlen(name);
    return *p == '=' ? cab_strndup(a, p + 1, strcspn(p + 1, " ")) : "";
}

static void put_errors(cab_buf *b, const cab_diag *d)
{
    for (size_t i = 0; i < d->n; i++) {
        char *s = cab_diag_format(&d->entries[i]);

        cab_buf_str(b, s ? s : "");
        free(s);
    }
}

static const char *run(cab_arena *a, const char *path, const char *text)
{
    const char *line = one_line(a, text), *passes = option(a, line, "--passes");
    const char *limit = option(a, line, "--bisect-limit");
    cab_pass_options o = { .verify = true, .exact = option(a, line, "--exact") != NULL,
                           .bisect_limit = limit ? atoi(limit) : 0 };
    cab_buf b = cab_buf_on(a);
    cab_graph *g;
    cab_diag d;

    cab_diag_init(&d);
    if (cab_graph_parse(a, text, strlen(text), path, &g, &d) == CAB_OK &&
        cab_passes_run_list(g, passes ? passes : "", &o, NULL, &d) == CAB_OK)
        (option(a, line, "--hashes") ? cab_graph_print_brief : cab_graph_print)(&b, g);
    put_errors(&b, &d);
    cab_diag_fini(&d);
    return cab_buf_cstr(&b);
}

/* Every line with "; " before it. */
static const char *commented(cab_arena *a, const char *s)
{
    cab_buf b = cab_buf_on(a);

    while (*s) {
        size_t n = strcspn(s, "\n");

        cab_buf_str(&b, n ? "; " : ";");
        cab_buf_bytes(&b, s, n);
        cab_buf_char(&b, '\n');
        s += n + (s[n] == '\n');
    }
    return cab_buf_cstr(&b);
}

static void check_file(cab_arena *a, const char *path)
{
    char *text;
    size_t n;
    const char *mark, *input, *got;
    cab_diag d;

    cab_diag_init(&d);
    if (cab_file_read(a, path, 1 << 20, &text, &n, &d) != CAB_OK) {
        CHECK(!"the file can be read");
        return;
    }
    mark = strstr(text, MARK);
    input = mark ? cab_strndup(a, text, (size_t)(mark - text)) : text;
    got = commented(a, run(a, path, input));
    if (getenv("CAB_BLESS")) {
        const char *whole = cab_printf(a, "%s%s%s", input, MARK, got);

        CHECK_EQ(cab_file_write(path, whole, strlen(whole), &d), CAB_OK);
    } else if (!mark || strcmp(mark + strlen(MARK), got)) {
        fprintf(stderr, "%s: got\n%s(CAB_BLESS=1 writes this into the file)\n", path, got);
        test_failed++;
    } else {
        test_passed++;
    }
    cab_diag_fini(&d);
}

static int by_name(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void check_folder(cab_arena *a, const char *dir)
{
    CAB_VEC(const char *) names = { 0 };
    DIR *f = opendir(dir);
    struct dirent *e;

    CHECK(f != NULL);
    while (f && (e = readdir(f)))
        if (strstr(e->d_name, ".cir"))
            cab_vec_push(a, &names, cab_printf(a, "%s/%s", dir, e->d_name));
    if (f)
        closedir(f);
    CHECK(names.n > 0);
    if (names.n)
        qsort(names.p, names.n, sizeof *names.p, by_name);
    for (size_t i = 0; i < names.n; i++)
        check_file(a, names.p[i]);
}

int main(int argc, char **argv)
{
    static cab_job job;
    const char *src = getenv("srcdir");
    cab_arena *a;

    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    a = cab_arena_create(&job);
    for (int i = 1; i < argc; i++)
        check_file(a, argv[i]);
    if (argc == 1)
        check_folder(a, cab_printf(a, "%s/tests/passes", src ? src : "."));
    cab_arena_destroy(a);
    TEST_END();
}
