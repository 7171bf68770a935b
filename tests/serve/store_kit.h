/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_kit.h - a folder of the test's own, stores in it, and what their failures say.
 *
 * For one test program: store_kit_begin first, store_kit_end last; in between
 * `diag` is where everything of the server tells its story.
 */
#ifndef CAB_TESTS_STORE_KIT_H
#define CAB_TESTS_STORE_KIT_H
#include "serve/registry/registry.h"
#include "tests/test.h"
#include <dirent.h>

static char top[64];                       /* the folder */
static cab_diag diag;

/* Ends the program where there can be no folder. */
static inline void store_kit_begin(const char *name)
{
    cab_diag_init(&diag);
    snprintf(top, sizeof top, "/tmp/cab-%s-XXXXXX", name);
    if (!mkdtemp(top)) {
        perror(top);
        exit(EXIT_FAILURE);
    }
}

/* Nothing was said that the test did not ask about. */
static inline void store_kit_end(void)
{
    char command[128];
    CHECK_EQ(diag.n, 0);
    cab_diag_fini(&diag);
    snprintf(command, sizeof command, "rm -rf %s", top);
    CHECK_EQ(system(command), 0);
}

/* A path in the folder; good until the fourth call after this one (of the same thread). */
static inline const char *in_top(const char *name)
{
    static _Thread_local char path[4][512];
    static _Thread_local int at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", top, name);
    return p;
}

/* Whether the story so far has the words; forgets it. */
static inline bool says(const char *words)
{
    bool yes = false;
    for (size_t i = 0; i < diag.n; i++) {
        char *text = cab_diag_format(&diag.entries[i]);
        yes = yes || (text && strstr(text, words));
        free(text);
    }
    if (!yes)
        for (size_t i = 0; i < diag.n; i++)
            fprintf(stderr, "it said: %s\n", diag.entries[i].text);
    cab_diag_clear(&diag);
    return yes;
}

/* Hidden ones aside; 0 where there is no such folder. */
static inline int files_in(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* ---- a store: everything that lies in one folder of the server's ---- */

typedef struct store { cab_root root; cab_blobs *blobs; cab_registry *reg; } store;

/* What does not open stays NULL; to be closed in any case. */
static inline cab_status store_try(const char *path, store *s, cab_diag *d)
{
    *s = (store){ .root = { .lock = -1, .tmp = -1, .dir = -1 } };
    CAB_TRY(cab_root_open(path, -1, &s->root, d));
    CAB_TRY(cab_blobs_open(&s->root, &s->blobs, d));
    return cab_registry_open(&s->root, s->blobs, &s->reg, d);
}

static inline store store_open(const char *name)
{
    store s;
    CHECK_EQ(store_try(in_top(name), &s, &diag), CAB_OK);
    return s;
}

static inline void store_close(store *s)
{
    cab_registry_close(s->reg);
    cab_blobs_close(s->blobs);
    cab_root_close(&s->root);
}

static inline cab_digest store_add(store *s, const void *p, size_t n)
{
    cab_digest g = { { 0 } };
    CHECK_EQ(cab_blobs_add(s->blobs, p, n, &g, &diag), CAB_OK);
    return g;
}

#endif
