/* SPDX-License-Identifier: Apache-2.0 */
/*
 * register_loop.c - the prey of kill-registry.py.
 *
 *   register_loop ROOT SEED          registers without end; prints "NAME VERSION SHA256" for each
 *                                    version after it was acknowledged
 *   register_loop ROOT verify <FILE  every line of FILE is in the registry, every stored file is what
 *                                    its name says, nothing else lies about
 */
#include "serve/registry/registry.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODELS = 5, MOST = 200 << 10 };
typedef struct place { cab_root root; cab_blobs *blobs; cab_registry *reg; cab_diag d; } place;

static int complain(place *p, const char *what)
{
    const cab_diag_entry *e = cab_diag_first(&p->d);
    fprintf(stderr, "register_loop: %s%s%s\n", what, e ? ": " : "", e ? e->text : "");
    return 1;
}

static bool open_all(place *p, const char *path)
{
    cab_diag_init(&p->d);
    return cab_root_open(path, -1, &p->root, &p->d) == CAB_OK &&
           cab_blobs_open(&p->root, &p->blobs, &p->d) == CAB_OK &&
           cab_registry_open(&p->root, p->blobs, &p->reg, &p->d) == CAB_OK;
}

static void close_all(place *p)
{
    cab_registry_close(p->reg);
    cab_blobs_close(p->blobs);
    cab_root_close(&p->root);
    cab_diag_fini(&p->d);
}

/* ---- registering ---- */

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 20;
}

/* In pieces, as uploads come. */
static cab_status add_blob(place *p, uint64_t *state, char *buf, cab_digest *out)
{
    size_t n = next(state) % 8 ? 1 + next(state) % 5000 : 1 + next(state) % MOST, at = 0;
    cab_blob_writer *w;
    for (size_t i = 0; i + 8 <= n; i += 8)
        memcpy(buf + i, &(uint64_t){ next(state) }, 8);
    CAB_TRY(cab_blob_begin(p->blobs, 0, &w, &p->d));
    while (at < n) {
        size_t k = n - at < 30000 ? n - at : 30000;
        cab_status s = cab_blob_append(w, buf + at, k, &p->d);
        if (s != CAB_OK) {
            cab_blob_abort(w);
            return s;
        }
        at += k;
    }
    return cab_blob_commit(w, NULL, out, &p->d);
}

static int go_on(place *p, uint64_t state, char *buf)
{
    for (;;) {
        char name[16], hex[CAB_DIGEST_TEXT], line[128];
        cab_digest g;
        int64_t v = 0;
        snprintf(name, sizeof name, "m%d", (int)(next(&state) % MODELS));
        if (add_blob(p, &state, buf, &g) != CAB_OK ||
            cab_registry_put_version(p->reg, name, &v, &(cab_version_content){ .model = &g }, NULL,
                                     &p->d) != CAB_OK)
            return complain(p, "cannot register");
        cab_digest_text(&g, hex);
        int n = snprintf(line, sizeof line, "%s %lld %s\n", name, (long long)v, hex);
        if (write(1, line, (size_t)n) != n)
            return 1;
        if (next(&state) % 4 == 0 &&
            cab_registry_set_label(p->reg, name, "newest", v, &p->d) != CAB_OK)
            return complain(p, "cannot label");
    }
}

/* ---- afterwards ---- */

static int check_line(place *p, const char *line)
{
    char name[129], hex[CAB_DIGEST_TEXT];
    long long v;
    cab_digest g;
    cab_version_list l;
    if (sscanf(line, "%128s %lld %64s", name, &v, hex) != 3 || !cab_digest_parse(hex, &g))
        return complain(p, "a line that says nothing");
    if (cab_registry_find(p->reg, name, v, &l, &p->d) != CAB_OK)
        return complain(p, "lost");
    bool same = cab_digest_equal(&l.v[0].model, &g);
    cab_version_list_fini(&l);
    if (!same)
        return complain(p, "another content");
    return cab_blobs_verify(p->blobs, &g, &p->d) == CAB_OK ? 0 : complain(p, "damaged");
}

static int check_stored(place *p, const char *path, int *n)
{
    int bad = 0;
    char folder[4096];
    for (int i = 0; i < 256; i++) {
        snprintf(folder, sizeof folder, "%s/blobs/sha256/%02x", path, i);
        DIR *d = opendir(folder);
        for (struct dirent *e; d && (e = readdir(d));) {
            cab_digest g;
            if (e->d_name[0] == '.')
                continue;
            (*n)++;
            if (!cab_digest_parse(e->d_name, &g) || cab_blobs_verify(p->blobs, &g, &p->d) != CAB_OK)
                bad += complain(p, "torn");
        }
        if (d)
            closedir(d);
    }
    return bad;
}

static int verify(place *p, const char *path)
{
    char line[256], tmp[4096];
    int bad = 0, lines = 0, files = 0, left = 0;
    while (fgets(line, sizeof line, stdin)) {
        bad += check_line(p, line);
        lines++;
    }
    bad += check_stored(p, path, &files);
    snprintf(tmp, sizeof tmp, "%s/tmp", path);
    DIR *d = opendir(tmp);
    for (struct dirent *e; d && (e = readdir(d));)
        left += e->d_name[0] != '.';
    if (d)
        closedir(d);
    if (!d || left)
        bad += complain(p, "litter in tmp/");
    printf("%d acknowledged versions, %d stored files, %d bad\n", lines, files, bad);
    return bad != 0;
}

int main(int argc, char **argv)
{
    place p = { 0 };
    char *buf = calloc(1, MOST + 8);
    int rc;
    if (argc != 3 || !buf)
        return 2;
    if (!open_all(&p, argv[1]))
        rc = complain(&p, "cannot open");
    else if (!strcmp(argv[2], "verify"))
        rc = verify(&p, argv[1]);
    else
        rc = go_on(&p, strtoull(argv[2], NULL, 10), buf);
    close_all(&p);
    free(buf);
    return rc;
}
