/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_registry.c - bytes as a sequence of changes of a registry, beside a model of what must hold.
 *
 * The model has what was acknowledged: versions and their content, labels, policies, pins.  After each change: what
 * failed changed nothing; what is there is what was put; numbers only grow; what is chosen follows from policy, pin and
 * states; and closing and opening changes nothing.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "serve/bytes.h"
#include "serve/registry/registry.h"
#include "tests/fuzz/fuzz.h"

enum { NAMES = 2, VERSIONS = 12, LABELS = 2, CONTENTS = 3 };
static const char *const names[NAMES] = { "a", "b.c" }, *const labels[LABELS] = { "stable", "x-1" };
static const char *const configs[CONTENTS] = { "{}", "{\"max_batch_size\":4}", "{\"threads\":2}" };

typedef struct version { bool live; int content; cab_version_state state; } version;
typedef struct model {
    bool exists;
    int64_t most;                      /* highest number that it ever had */
    version v[VERSIONS + 1];           /* by number, from 1 on */
    int64_t label[LABELS], pin;
    cab_policy_kind policy;
    int64_t latest, specific[2];
    int n_specific;
} model;

static struct {
    char path[64];
    cab_root root;
    cab_blobs *blobs;
    cab_registry *r;
    cab_digest blob;
    model m[NAMES];
    cab_diag d;
} w;

/* ---- the world ---- */

static void open_world(void)
{
    w.root = (cab_root){ .dir = -1, .tmp = -1, .lock = -1 };
    if (cab_root_open(w.path, -1, &w.root, &w.d) || cab_blobs_open(&w.root, &w.blobs, &w.d) ||
        cab_registry_open(&w.root, w.blobs, &w.r, &w.d))
        fuzz_finding("cannot open: %s", w.d.n ? w.d.entries[0].text : "");
}

static void close_world(void)
{
    cab_registry_close(w.r);
    cab_blobs_close(w.blobs);
    cab_root_close(&w.root);
    w.r = NULL;
    w.blobs = NULL;
}

static int wipe(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)st;
    (void)kind;
    (void)f;
    return remove(path);
}

/* Everything that can be seen, as text. */
static void dump(cab_bytes *b)
{
    cab_model_list l = { 0 };
    cab_bytes_clear(b);
    if (cab_registry_models(w.r, NULL, &l, &w.d))
        fuzz_finding("models cannot be listed");
    for (size_t i = 0; i < l.n; i++) {
        const cab_model_info *m = &l.m[i];
        cab_version_list v = { 0 };
        const cab_query q = { .name = m->name };
        cab_bytes_printf(b, "%s %d %lld pin %lld %d", m->name, (int)m->policy, (long long)m->latest, (long long)m->pin, m->wanted);
        for (size_t k = 0; k < m->n_specific; k++)
            cab_bytes_printf(b, " %lld", (long long)m->specific[k]);
        for (size_t k = 0; k < m->n_labels; k++)
            cab_bytes_printf(b, " %s=%lld", m->labels[k].label, (long long)m->labels[k].version);
        if (cab_registry_discover(w.r, &q, &v, &w.d))
            fuzz_finding("versions cannot be listed");
        for (size_t k = 0; k < v.n; k++)
            cab_bytes_printf(b, "\n  %lld %s %d %s", (long long)v.v[k].version, v.v[k].config, (int)v.v[k].state, v.v[k].reason);
        cab_bytes_char(b, '\n');
        cab_version_list_fini(&v);
    }
    cab_model_list_fini(&l);
}

/* ---- what must hold ---- */

static void check_versions(const model *m, const char *name)
{
    for (int64_t n = 1; n <= VERSIONS; n++) {
        cab_version_list l = { 0 };
        cab_status k = cab_registry_find(w.r, name, n, &l, &w.d);
        if ((k == CAB_OK) != (m->exists && m->v[n].live))
            fuzz_finding("%s version %lld: %s", name, (long long)n, k == CAB_OK ? "is there" : "is missing");
        else if (k == CAB_OK && (strcmp(l.v[0].config, configs[m->v[n].content]) || l.v[0].state != m->v[n].state))
            fuzz_finding("%s version %lld is another", name, (long long)n);
        cab_version_list_fini(&l);
    }
}

static bool chooses(const model *m, int64_t n, int64_t taken)
{
    bool named = false;
    for (int i = 0; i < m->n_specific; i++)
        named = named || m->specific[i] == n;
    return m->policy == CAB_POLICY_ALL ? true : m->policy == CAB_POLICY_SPECIFIC ? named
         : taken < m->latest && (!m->pin || n <= m->pin);
}

static void check_chosen(const model *m, const char *name)
{
    int64_t *got = NULL, taken = 0;
    size_t n = 0;
    if (cab_registry_chosen(w.r, name, &got, &n, &w.d) != CAB_OK) {
        if (m->exists)
            fuzz_finding("%s: nothing can be chosen", name);
        return;
    }
    for (int64_t v = VERSIONS; v >= 1; v--) {
        if (!m->v[v].live || m->v[v].state != CAB_READY || !chooses(m, v, taken))
            continue;
        if ((size_t)taken >= n || got[taken] != v)
            fuzz_finding("%s: version %lld is not chosen", name, (long long)v);
        taken++;
    }
    if ((size_t)taken != n)
        fuzz_finding("%s: %zu versions are chosen, not %lld", name, n, (long long)taken);
    free(got);
}

static void check_all(void)
{
    for (int i = 0; i < NAMES; i++) {
        const model *m = &w.m[i];
        check_versions(m, names[i]);
        check_chosen(m, names[i]);
        for (int k = 0; k < LABELS; k++) {
            int64_t v = 0;
            cab_status s = cab_registry_resolve(w.r, names[i], labels[k], &v, &w.d);
            if (m->exists && m->label[k] ? s != CAB_OK || v != m->label[k] : s == CAB_OK)
                fuzz_finding("%s: label %s names %lld, not %lld", names[i], labels[k], (long long)v, (long long)m->label[k]);
        }
    }
}

/* ---- changes: true, it was done ---- */

static void expect(bool may, cab_status k, const char *what)
{
    if (may != (k == CAB_OK))
        fuzz_finding("%s: %s, and it should%s", what, cab_status_text(k), may ? "" : " not");
}

static bool is_used(const model *m, int64_t n)
{
    bool used = m->pin == n;
    for (int k = 0; k < LABELS; k++)
        used = used || m->label[k] == n;
    for (int k = 0; k < m->n_specific; k++)
        used = used || (m->policy == CAB_POLICY_SPECIFIC && m->specific[k] == n);
    return used;
}

static bool put(fuzz_src *s, model *m, const char *name)
{
    int64_t asked = fuzz_draw(s, 0, 6), n = asked;
    int content = (int)fuzz_draw(s, 0, CONTENTS - 1);
    const cab_version_content c = { .model = &w.blob, .config = configs[content] };
    bool added = false;
    cab_status k = m->most >= VERSIONS && !asked ? CAB_ELIMIT : cab_registry_put_version(w.r, name, &n, &c, &added, &w.d);
    if (k != CAB_OK) {
        if (k != CAB_ELIMIT && (k != CAB_ECONFLICT || !asked || asked > m->most))
            fuzz_finding("put %s %lld: %s", name, (long long)asked, cab_status_text(k));
        return false;
    }
    if (n < 1 || n > VERSIONS || (asked && n != asked) || (added && m->exists && !asked && n != m->most + 1) ||
        (added && m->v[n].live) || (!added && (!m->v[n].live || m->v[n].content != content)))
        fuzz_finding("put %s %lld: it is version %lld", name, (long long)asked, (long long)n);
    if (n < 1 || n > VERSIONS)
        return false;
    if (!m->exists)
        *m = (model){ .exists = true, .latest = 1 };
    if (added)
        m->v[n] = (version){ true, content, CAB_REGISTERED };
    m->most = n > m->most ? n : m->most;
    return true;
}

static bool set_state(fuzz_src *s, model *m, const char *name)
{
    int64_t n = fuzz_draw(s, 1, 6);
    cab_version_state to = (cab_version_state)fuzz_draw(s, 0, CAB_VERSION_STATES - 1);
    cab_status k = to == CAB_READY ? cab_registry_set_built(w.r, name, n, &w.blob, "{\"inputs\":[],\"outputs\":[]}", &w.d)
                                   : cab_registry_set_state(w.r, name, n, to, to == CAB_FAILED ? "why" : NULL, &w.d);
    expect(m->exists && m->v[n].live, k, "a state");
    if (k == CAB_OK)
        m->v[n].state = to;
    return k == CAB_OK;
}

static bool set_label(fuzz_src *s, model *m, const char *name)
{
    int i = (int)fuzz_draw(s, 0, LABELS - 1);
    int64_t n = fuzz_draw(s, 0, 6);
    cab_status k = cab_registry_set_label(w.r, name, labels[i], n, &w.d);
    expect(m->exists && (n ? m->v[n].live : m->label[i] != 0), k, "a label");
    if (k == CAB_OK)
        m->label[i] = n;
    return k == CAB_OK;
}

static bool set_policy(fuzz_src *s, model *m, const char *name)
{
    int64_t v[2] = { fuzz_draw(s, 1, 6), fuzz_draw(s, 1, 6) };
    cab_policy p = { .kind = (cab_policy_kind)fuzz_draw(s, 0, 2), .latest = fuzz_draw(s, 1, 3), .versions = v,
                     .n_versions = v[0] == v[1] ? 1 : 2 };
    bool fine = m->exists;
    for (size_t i = 0; p.kind == CAB_POLICY_SPECIFIC && i < p.n_versions; i++)
        fine = fine && m->v[v[i]].live;
    cab_status k = cab_registry_set_policy(w.r, name, &p, &w.d);
    expect(fine, k, "a policy");
    if (k != CAB_OK)
        return false;
    m->policy = p.kind;
    m->latest = p.latest;
    m->pin = 0;
    m->n_specific = p.kind == CAB_POLICY_SPECIFIC ? (int)p.n_versions : 0;
    memcpy(m->specific, v, sizeof v);
    return true;
}

/* The newest ready version up to `most` that the policy may choose; 0: none. */
static int64_t meant(const model *m, int64_t most)
{
    for (int64_t n = most; n >= 1; n--)
        if (m->v[n].live && m->v[n].state == CAB_READY && (m->policy != CAB_POLICY_SPECIFIC || chooses(m, n, 0)))
            return n;
    return 0;
}

static bool go_back(model *m, const char *name)
{
    int64_t to = 0, now = meant(m, m->pin ? m->pin : VERSIONS), before = now ? meant(m, now - 1) : 0;
    cab_status k = cab_registry_rollback(w.r, name, NULL, &to, &w.d);
    expect(m->exists && before, k, "a rollback");
    if (k == CAB_OK && to != before)
        fuzz_finding("%s: back to version %lld, not %lld", name, (long long)to, (long long)before);
    if (k == CAB_OK)
        m->pin = to;
    return k == CAB_OK;
}

static bool remove_version(fuzz_src *s, model *m, const char *name)
{
    int64_t n = fuzz_draw(s, 1, 6);
    bool may = m->exists && m->v[n].live && !is_used(m, n);
    cab_status k = cab_registry_remove_version(w.r, name, n, &w.d);
    expect(may, k, "a removal");
    if (k == CAB_OK)
        m->v[n].live = false;
    return k == CAB_OK;
}

static bool remove_model(model *m, const char *name)
{
    cab_status k = cab_registry_remove_model(w.r, name, &w.d);
    expect(m->exists, k, "the removal of a model");
    if (k == CAB_OK)
        *m = (model){ .exists = false };
    return k == CAB_OK;
}

/* As a server that ends and starts again. */
static bool reopen(fuzz_src *s)
{
    cab_bytes before = { 0 }, after = { 0 };
    dump(&before);
    close_world();
    open_world();
    if (!w.r)
        return false;
    dump(&after);
    if (before.n != after.n || memcmp(before.p ? before.p : "", after.p ? after.p : "", before.n))
        fuzz_finding("opened again it is another");
    cab_bytes_fini(&before);
    cab_bytes_fini(&after);
    int64_t n;
    if (fuzz_draw(s, 0, 1) && cab_registry_recover(w.r, &n, &w.d) == CAB_OK)
        for (int i = 0; i < NAMES * VERSIONS; i++) {
            version *v = &w.m[i / VERSIONS].v[1 + i % VERSIONS];
            v->state = v->live && v->state == CAB_BUILDING ? CAB_REGISTERED : v->state;
        }
    return true;
}

static bool change(fuzz_src *s)
{
    int i = (int)fuzz_draw(s, 0, NAMES - 1);
    model *m = &w.m[i];
    switch (fuzz_draw(s, 0, 15)) {
    case 0: case 1: case 2: case 3: case 4: return put(s, m, names[i]);
    case 5: case 6: case 7: return set_state(s, m, names[i]);
    case 8: case 9: return set_label(s, m, names[i]);
    case 10: return set_policy(s, m, names[i]);
    case 11: return go_back(m, names[i]);
    case 12: case 13: return remove_version(s, m, names[i]);
    case 14: return fuzz_draw(s, 0, 3) ? false : remove_model(m, names[i]);
    default: return reopen(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_src s = fuzz_src_of(data, size);
    cab_bytes before = { 0 }, after = { 0 };
    memset(&w, 0, sizeof w);
    cab_diag_init(&w.d);
    snprintf(w.path, sizeof w.path, "%s/cab-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(w.path))
        return 0;
    open_world();
    if (w.r && cab_blobs_add(w.blobs, "x", 1, &w.blob, &w.d) == CAB_OK) {
        for (int i = 0; w.r && i < 48; i++) {
            dump(&before);
            bool done = change(&s);
            fuzz_count(done ? "changes" : "refused");
            cab_diag_clear(&w.d);
            if (!done && w.r) {
                dump(&after);
                if (before.n != after.n || memcmp(before.p ? before.p : "", after.p ? after.p : "", before.n))
                    fuzz_finding("what was refused changed something");
            }
            if (w.r)
                check_all();
            cab_diag_clear(&w.d);
        }
    }
    cab_bytes_fini(&before);
    cab_bytes_fini(&after);
    close_world();
    cab_diag_fini(&w.d);
    nftw(w.path, wipe, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
