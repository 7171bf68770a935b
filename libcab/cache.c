/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.c - compiled artifacts by the content of everything they come from.
 *
 *   DEV-INO.memo  model file as it lies there -> SHA-256 of its content
 *   KEY0.in       content, options, machine -> which inputs decide code
 *   KEY1.cab      KEY0 and those inputs' extents or bytes -> the artifact
 *
 * KEY0 and KEY1 are SHA-256 of texts that name everything; an artifact fixed
 * on inputs is filed under a key made from (at least) those inputs, so an
 * entry found is always right.  The normal load verifies it; one that is
 * damaged is removed and made anew.
 */
#include "libcab/libcab_int.h"
#include "codegen/codegen.h"
#include "libcab/build_id.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_MAGIC "cabin001"
static const uint64_t DEFAULT_BYTES = (uint64_t)4 << 30;

/* Which offered inputs decide code (places among the model's inputs). */
typedef struct deciders {
    bool shapes;               /* extents of all that were offered */
    uint32_t n;
    struct decider { uint32_t place; const char *name; } *p;
} deciders;

struct cab_cache {
    cab_job mem;
    cab_arena *arena;
    const cab_compiler *c;
    const char *dir;
    int lock;
    bool keyed;                /* content and key0 are known */
    cab_content content;
    uint8_t key0[32];
    const char *entry;         /* path found or written last */
};

/* ---- keys ---- */

static void hash_text(const cab_buf *b, uint8_t out[32])
{
    cab_hash_bytes(b->p, b->n, &(cab_cancel){ 0 }, out, NULL);
}

static void put_name(cab_buf *b, const char *s)
{
    if (s)
        cab_buf_quoted(b, s, strlen(s));
    else
        cab_buf_str(b, "-");
}

static void put_imports(cab_buf *b, const cab_import_options *o)
{
    for (int i = 0; i < o->n_inputs; i++) {
        const cab_import_input *in = &o->inputs[i];
        cab_buf_str(b, "input ");
        put_name(b, in->name);
        cab_buf_printf(b, " %d %d %d %d\n", (int)in->dtype, in->rank, in->data != NULL, in->list);
    }
    for (int i = 0; i < o->n_binds; i++) {
        put_name(b, o->binds[i].name);
        cab_buf_printf(b, " is %lld\n", (long long)o->binds[i].value);
    }
    for (int i = 0; i < o->n_ranges; i++) {
        put_name(b, o->ranges[i].name);
        cab_buf_printf(b, " in %lld %lld\n", (long long)o->ranges[i].lo,
                       (long long)o->ranges[i].hi);
    }
    for (int i = 0; i < o->n_functions; i++) {
        uint8_t sum[32];
        cab_sha256_of(o->functions[i].p, o->functions[i].n, sum);
        cab_buf_printf(b, "functions %s\n", cab_hex(b->arena, sum, sizeof sum));
    }
    cab_buf_printf(b, "static %d limits %llu %llu %llu %d\n", o->static_shapes,
                   (unsigned long long)o->max_nodes, (unsigned long long)o->max_messages,
                   (unsigned long long)o->max_bytes, o->max_depth);
}

static cab_status make_key0(cab_cache *k, const cab_opened *f)
{
    const cab_compiler *c = k->c;
    cab_buf b = cab_buf_on(k->arena);
    cab_buf_printf(&b, "cabochon cache 1, producer %s %s, plan %d\n", CAB_VERSION, CAB_BUILD_ID,
                   CAB_PLAN_VERSION);
    CAB_TRY(cab_codegen_identity(&b, c->target));
    cab_buf_printf(&b, "naive %d kernels %d exact %d seal %d costs %d embed %d\n", c->naive,
                   c->naive_kernels, c->exact, c->seal, !c->no_costs, c->embed_model);
    if (c->sign_seed) {                    /* a hash of it: keys are no place for secrets */
        uint8_t sum[32];
        cab_hash_bytes(c->sign_seed, 32, &(cab_cancel){ 0 }, sum, NULL);
        cab_buf_printf(&b, "sign %s\n", cab_hex(k->arena, sum, sizeof sum));
    }
    if (c->tuning) {
        uint8_t sum[32];
        cab_sha256_of(c->tuning, strlen(c->tuning), sum);
        cab_buf_printf(&b, "tuning %s\n", cab_hex(k->arena, sum, sizeof sum));
    }
    cab_buf_printf(&b, "model %s ", cab_hex(k->arena, k->content.all, 32));
    put_name(&b, f->name);
    cab_buf_char(&b, '\n');
    put_imports(&b, &c->import);
    hash_text(&b, k->key0);
    return CAB_OK;
}

/* As the importer finds them (frontend/import_input.c). */
static const cab_import_input *offered(const cab_import_options *o, const struct decider *x)
{
    for (int i = 0; i < o->n_inputs; i++) {
        const char *want = o->inputs[i].name;
        if (want ? !strcmp(want, x->name) : (uint32_t)i == x->place)
            return &o->inputs[i];
    }
    return NULL;
}

static void put_extents(cab_buf *b, const cab_import_input *in)
{
    for (int i = 0; i < in->rank && !in->list; i++)
        cab_buf_printf(b, " %lld", (long long)in->dims[i]);
    cab_buf_char(b, '\n');
}

/* Path of the artifact for these deciders. */
static const char *entry_path(cab_cache *k, const deciders *w)
{
    const cab_import_options *o = &k->c->import;
    cab_buf b = cab_buf_on(k->arena);
    uint8_t sum[32];
    cab_buf_printf(&b, "artifact %s\n", cab_hex(k->arena, k->key0, 32));
    for (int i = 0; w->shapes && i < o->n_inputs; i++) {
        cab_buf_str(&b, "extents");
        put_extents(&b, &o->inputs[i]);
    }
    for (uint32_t i = 0; i < w->n; i++) {
        const cab_import_input *in = offered(o, &w->p[i]);
        cab_buf_printf(&b, "value %u ", w->p[i].place);
        put_name(&b, w->p[i].name);
        if (!in || !in->data) {
            cab_buf_str(&b, " absent\n");
            continue;
        }
        cab_hash_bytes(in->data, in->bytes, &(cab_cancel){ 0 }, sum, NULL);
        cab_buf_printf(&b, " %s", cab_hex(k->arena, sum, 32));
        put_extents(&b, in);
    }
    hash_text(&b, sum);
    return cab_printf(k->arena, "%s/%s.cab", k->dir, cab_hex(k->arena, sum, 32));
}

/* ---- which inputs decide ---- */

static const char *in_path(cab_cache *k)
{
    return cab_printf(k->arena, "%s/%s.in", k->dir, cab_hex(k->arena, k->key0, 32));
}

static void add_decider(cab_cache *k, deciders *w, uint32_t place, const char *name)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (w->p[i].place == place)
            return;
    struct decider *p = CAB_NEW_N(k->arena, struct decider, w->n + 1);
    if (w->n)
        memcpy(p, w->p, w->n * sizeof *p);
    uint32_t at = w->n;
    for (; at && p[at - 1].place > place; at--)
        p[at] = p[at - 1];
    p[at] = (struct decider){ place, cab_strdup(k->arena, name) };
    w->p = p;
    w->n++;
}

static bool read_deciders(cab_cache *k, deciders *w)
{
    const uint8_t *p;
    size_t n;
    uint32_t head[2], place;
    *w = (deciders){ 0 };
    if (!cab_sealed_read(k->arena, in_path(k), &p, &n) || n < 8 + sizeof head ||
        memcmp(p, IN_MAGIC, 8))
        return false;
    memcpy(head, p + 8, sizeof head);
    w->shapes = head[0];
    const uint8_t *at = p + 8 + sizeof head, *end = p + n;
    for (uint32_t i = 0; i < head[1]; i++) {
        if (end - at < 5 || !memchr(at + 4, 0, (size_t)(end - at) - 4))
            return false;
        memcpy(&place, at, 4);
        add_decider(k, w, place, (const char *)at + 4);
        at += 4 + strlen((const char *)at + 4) + 1;
    }
    return true;
}

static void write_deciders(cab_cache *k, const deciders *w)
{
    cab_buf b = cab_buf_on(k->arena);
    uint32_t head[2] = { w->shapes, w->n };
    cab_buf_bytes(&b, IN_MAGIC, 8);
    cab_buf_bytes(&b, head, sizeof head);
    for (uint32_t i = 0; i < w->n; i++) {
        cab_buf_bytes(&b, &w->p[i].place, 4);
        cab_buf_bytes(&b, w->p[i].name, strlen(w->p[i].name) + 1);
    }
    cab_sealed_write(in_path(k), &b);
}

/* What this artifact was fixed on, with what others of its kind were. */
static void add_fixed(cab_cache *k, const cab_plan *p, bool shapes, deciders *w)
{
    w->shapes |= shapes;
    for (uint32_t i = 0; i < p->header->n_inputs; i++) {
        const cab_plan_value *v = &p->values[p->inputs[i]];
        if (v->flags & CAB_V_FIXED)
            add_decider(k, w, i, p->strings + v->name);
    }
}

/* ---- finding ---- */

/* A whole artifact: fd, else -1. */
static int open_entry(cab_cache *k, uint64_t *out_size)
{
    static const struct timespec touched[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
    cab_mapping m;
    cab_plan plan;
    cab_error e = { 0 };
    int fd = open(k->entry, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    cab_status s = cab_fd_map(fd, k->entry, &m, NULL);
    if (s == CAB_OK) {
        s = cab_plan_check_bytes(m.p, m.n, &plan, &e);
        *out_size = m.n;
        cab_file_unmap(&m);
    }
    if (s == CAB_OK) {
        futimens(fd, touched);
        return fd;
    }
    close(fd);
    cab_log(1, "cache: %s: %s", k->entry, e.text);
    cab_cache_reject(k);
    return -1;
}

static cab_status find(cab_cache *k, cab_opened *f, cab_compiled *out, cab_diag *d)
{
    deciders w;
    cab_status s = cab_content_get(k->arena, k->dir, f, k->c, &k->content, d);
    if (s == CAB_ECANCELLED)
        return s;
    if (s != CAB_OK || make_key0(k, f) != CAB_OK)
        return CAB_OK;
    k->keyed = true;
    f->hash = k->content.model;
    if (!read_deciders(k, &w))
        return CAB_OK;
    k->entry = entry_path(k, &w);
    out->fd = open_entry(k, &out->size);
    out->cached = out->fd >= 0;
    out->fixed_shapes = w.shapes;
    cab_log(1, "cache: %s %s", out->cached ? "found" : "no", k->entry);
    return CAB_OK;
}

cab_status cab_cache_find(cab_cache *k, cab_opened *f, cab_compiled *out, cab_diag *d)
{
    *out = (cab_compiled){ .fd = -1 };
    if (CAB_JOB_ENTER(&k->mem) == 0)
        return find(k, f, out, d);
    k->keyed = false;
    return CAB_OK;
}

/* ---- keeping ---- */

static void keep(cab_cache *k, const cab_compiled *r, const cab_mapping *m)
{
    deciders w;
    cab_plan plan;
    cab_error e;
    uint64_t limit = k->c->cache_bytes ? k->c->cache_bytes : DEFAULT_BYTES;
    if (m->n > limit || cab_plan_check_bytes(m->p, m->n, &plan, &e) != CAB_OK)
        return;
    read_deciders(k, &w);
    add_fixed(k, &plan, r->fixed_shapes, &w);
    k->entry = entry_path(k, &w);
    if (cab_file_write(k->entry, m->p, m->n, NULL) != CAB_OK) {
        cab_log(1, "cache: cannot write %s", k->entry);
        return;
    }
    write_deciders(k, &w);
    cab_cache_trim(k->arena, k->dir, limit, strrchr(k->entry, '/') + 1);
}

void cab_cache_keep(cab_cache *k, const cab_opened *f, const cab_compiled *r)
{
    cab_mapping m;
    if (!k->keyed || !cab_content_same(&k->content, f) ||
        cab_fd_map(r->fd, "artifact", &m, NULL) != CAB_OK)
        return;
    if (CAB_JOB_ENTER(&k->mem) == 0)
        keep(k, r, &m);
    cab_file_unmap(&m);
}

void cab_cache_reject(cab_cache *k)
{
    cab_log(1, "cache: removing %s", k->entry);
    unlink(k->entry);
}

/* ---- life ---- */

static void open_guarded(cab_cache *k, cab_diag *d)
{
    if (CAB_JOB_ENTER(&k->mem))
        return;
    k->dir = cab_strdup(k->arena, k->c->cache_dir);
    if (cab_cache_folder(k->arena, k->dir, d) == CAB_OK)
        k->lock = cab_cache_lock(k->arena, k->dir);
}

cab_cache *cab_cache_open(const cab_compiler *c, cab_diag *d)
{
    /* Their shape functions are code we cannot name in a key. */
    if (c->n_custom)
        return NULL;
    cab_cache *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    *k = (cab_cache){ .c = c, .lock = -1 };
    k->arena = cab_arena_create(&k->mem);
    if (k->arena)
        open_guarded(k, d);
    if (k->lock >= 0)
        return k;
    cab_cache_close(k);
    return NULL;
}

void cab_cache_close(cab_cache *k)
{
    if (!k)
        return;
    if (k->lock >= 0)
        close(k->lock);
    cab_arena_destroy(k->arena);
    free(k);
}
