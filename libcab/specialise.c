/* SPDX-License-Identifier: Apache-2.0 */
/*
 * specialise.c - sizes that a model meets often get a plan of their own, made
 * by a thread in the background while the plan for all sizes serves them.
 *
 * The runtime tells of every run for which it had no special plan
 * (cab_watch.missed).  Here they are counted by the extents of all inputs; a
 * tuple that was met often enough is compiled with the same options and these
 * extents, and attached to the model.  What is compiled is compiled from the
 * model's own file or bytes again; the runtime refuses a plan of another
 * content.  Each time a tuple's plan was given up for others' it must be met
 * twice as often before it is made again, so that more hot tuples than there
 * may be plans do not keep the compiler busy for ever.
 */
#include "libcab/libcab_int.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TUPLES = 64, AFTER = 32, MOST = 8 };

typedef enum state { COUNTED, WANTED, COMPILED, REFUSED } state;

typedef struct tuple {
    uint64_t hash;
    uint64_t seen;             /* last, by the clock of misses; 0: an empty place */
    uint32_t runs, need;
    state state;
    int64_t *dims;             /* of all inputs */
} tuple;

typedef struct specialiser {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started;
    atomic_bool quit;
    cab_model *model;          /* not held: it ends this first */
    cab_job mem;
    cab_arena *arena;
    cab_compiler c;            /* as the model was compiled */
    cab_source source;
    uint32_t most;
    uint32_t n_inputs, n_dims;
    const cab_tensor_info *inputs;     /* of the model */
    cab_import_input *offer;   /* per input; the thread's */
    int64_t *dims;             /* the thread's: of the tuple it compiles */
    uint64_t clock;
    uint32_t after;
    tuple tuples[TUPLES];
} specialiser;

/* ---- counting ---- */

static uint64_t hash_of(const specialiser *z, const cab_tensor_view *in)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < z->n_inputs; i++)
        for (int k = 0; k < z->inputs[i].rank; k++) {
            h = (h ^ (uint64_t)in[i].dims[k]) * 0xff51afd7ed558ccdu;
            h ^= h >> 29;
        }
    return h;
}

static bool same_dims(const specialiser *z, const int64_t *dims, const cab_tensor_view *in)
{
    for (uint32_t i = 0; i < z->n_inputs; dims += z->inputs[i++].rank)
        if (memcmp(dims, in[i].dims, (size_t)z->inputs[i].rank * sizeof *dims))
            return false;
    return true;
}

static void start_tuple(specialiser *z, tuple *t, uint64_t hash, const cab_tensor_view *in)
{
    int64_t *dims = t->dims;
    for (uint32_t i = 0; i < z->n_inputs; dims += z->inputs[i++].rank)
        memcpy(dims, in[i].dims, (size_t)z->inputs[i].rank * sizeof *dims);
    *t = (tuple){ .hash = hash, .need = z->after, .dims = t->dims };
}

/* Its place; a new one takes that of the tuple that was not met for longest and
 * that the thread is not about. */
static tuple *find_tuple(specialiser *z, const cab_tensor_view *in)
{
    uint64_t hash = hash_of(z, in);
    tuple *oldest = NULL;
    for (int i = 0; i < TUPLES; i++) {
        tuple *t = &z->tuples[i];
        if (t->seen && t->hash == hash && same_dims(z, t->dims, in))
            return t;
        if (t->state != WANTED && (!oldest || t->seen < oldest->seen))
            oldest = t;
    }
    if (oldest)
        start_tuple(z, oldest, hash, in);
    return oldest;
}

/* ---- compiling ---- */

static int asked(void *user)
{
    return atomic_load(&((specialiser *)user)->quit);
}

/* The value the caller offered for the model, where it has this size. */
static void offer_value(const specialiser *z, uint32_t i, cab_import_input *to)
{
    const cab_import_options *o = &z->c.import;
    for (int k = 0; k < o->n_inputs; k++) {
        const cab_import_input *in = &o->inputs[k];
        if (in->name ? strcmp(in->name, to->name) : (uint32_t)k != i)
            continue;
        if (in->data && in->dtype == to->dtype && in->rank == to->rank &&
            !memcmp(in->dims, to->dims, (size_t)in->rank * sizeof *in->dims)) {
            to->data = in->data;
            to->bytes = in->bytes;
        }
        return;
    }
}

/* Closes fd. */
static cab_status load(const specialiser *z, int fd, cab_model **m, cab_diag *d)
{
    cab_mapping bytes;
    cab_error e = { 0 };
    cab_status s = cab_fd_map(fd, "artifact", &bytes, d);
    close(fd);
    CAB_TRY(s);
    int rc = cab_model_load_special(z->model, bytes.p, bytes.n, m, &e);
    cab_file_unmap(&bytes);
    return rc == CAB_RT_OK ? CAB_OK : cab_fail(d, (cab_status)rc, NULL, "%s", e.text);
}

/* A model for z->dims; NULL when it cannot be made. */
static cab_model *make(specialiser *z)
{
    cab_compiler c = z->c;
    cab_compiled made;
    cab_model *m = NULL;
    cab_diag d;
    const int64_t *dims = z->dims;
    for (uint32_t i = 0; i < z->n_inputs; dims += z->inputs[i++].rank) {
        z->offer[i] = (cab_import_input){ .name = z->inputs[i].name, .rank = z->inputs[i].rank,
                                          .dtype = cab_dtype_from_onnx(z->inputs[i].dtype),
                                          .dims = dims };
        offer_value(z, i, &z->offer[i]);
    }
    c.import.inputs = z->offer;
    c.import.n_inputs = (int)z->n_inputs;
    c.import.static_shapes = true;
    c.cancel = (cab_cancel){ asked, z };
    cab_diag_init(&d);
    cab_status s = cab_compiler_run(&c, &z->source, &made, &d);
    if (s == CAB_OK)
        s = load(z, made.fd, &m, &d);
    if (s != CAB_OK)
        cab_log(1, "specialise: %s", cab_diag_first(&d) ? cab_diag_first(&d)->text : "failed");
    cab_diag_fini(&d);
    return m;
}

static bool make_and_attach(specialiser *z)
{
    cab_error e = { 0 };
    cab_model *m = make(z);
    if (!m)
        return false;
    if (cab_model_attach(z->model, m, z->most, &e) == CAB_RT_OK)
        return true;
    cab_log(1, "specialise: %s", e.text);
    cab_model_destroy(m);
    return false;
}

static tuple *wanted(specialiser *z)
{
    for (int i = 0; i < TUPLES; i++)
        if (z->tuples[i].state == WANTED)
            return &z->tuples[i];
    return NULL;
}

static void *work(void *arg)
{
    specialiser *z = arg;
    tuple *t;
    pthread_mutex_lock(&z->lock);
    while (!atomic_load(&z->quit)) {
        if (!(t = wanted(z))) {
            pthread_cond_wait(&z->changed, &z->lock);
            continue;
        }
        memcpy(z->dims, t->dims, z->n_dims * sizeof *z->dims);
        pthread_mutex_unlock(&z->lock);
        bool made = make_and_attach(z);
        pthread_mutex_lock(&z->lock);
        t->state = made ? COMPILED : REFUSED;
        t->runs = 0;
        if (t->need <= UINT32_MAX / 2)
            t->need *= 2;
    }
    pthread_mutex_unlock(&z->lock);
    return NULL;
}

/* Signals of the host stay with its own threads. */
static bool wake(specialiser *z)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    z->started = z->started || pthread_create(&z->thread, NULL, work, z) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_cond_signal(&z->changed);
    return z->started;
}

/* ---- what the runtime calls ---- */

/* Nobody waits to be counted. */
static void missed(void *user, const cab_tensor_view *in)
{
    specialiser *z = user;
    if (pthread_mutex_trylock(&z->lock))
        return;
    tuple *t = find_tuple(z, in);
    if (t)
        t->seen = ++z->clock;
    if (t && t->state != WANTED && t->state != REFUSED && ++t->runs >= t->need && wake(z))
        t->state = WANTED;
    pthread_mutex_unlock(&z->lock);
}

static void drop(specialiser *z)
{
    cab_arena_destroy(z->arena);
    pthread_cond_destroy(&z->changed);
    pthread_mutex_destroy(&z->lock);
    free(z);
}

static void gone(void *user)
{
    specialiser *z = user;
    pthread_mutex_lock(&z->lock);
    atomic_store(&z->quit, true);
    pthread_cond_signal(&z->changed);
    pthread_mutex_unlock(&z->lock);
    if (z->started)
        pthread_join(z->thread, NULL);
    drop(z);
}

/* ---- starting ---- */

/* What outlives the caller's call: the options travel as to a worker. */
static cab_status keep_options(specialiser *z, const cab_compiler *c, const cab_source *s,
                               cab_diag *d)
{
    cab_buf b = cab_buf_on(z->arena);
    cab_opened f = { .label = s->path, .name = c->model_name };
    cab_wire_put_request(&b, c, &f);
    CAB_TRY(cab_wire_get_request(z->arena, b.p, b.n, &z->c, &f, d));
    z->source = (cab_source){ f.label, s->p, s->n };
    z->c.model_name = f.name;
    z->c.cache_dir = c->cache_dir ? cab_strdup(z->arena, c->cache_dir) : NULL;
    z->c.cache_bytes = c->cache_bytes;
    z->c.isolate = c->isolate;
    z->c.worker = c->worker ? cab_strdup(z->arena, c->worker) : NULL;
    z->c.embed_model = false;
    z->c.sign_seed = NULL;
    return CAB_OK;
}

/* Listed sizes have their plans: one value of each name is left. */
static void keep_fixed(specialiser *z)
{
    cab_sizes sizes;
    if (cab_sizes_of(z->arena, &z->c.import, &sizes, NULL) == CAB_OK) {
        z->c.import.binds = sizes.open.binds;
        z->c.import.n_binds = sizes.open.n_binds;
    }
}

static void keep_inputs(specialiser *z)
{
    z->n_inputs = (uint32_t)cab_model_input_count(z->model);
    cab_tensor_info *info = CAB_NEW_N(z->arena, cab_tensor_info, z->n_inputs + 1);
    for (uint32_t i = 0; i < z->n_inputs; i++) {
        cab_model_input(z->model, (int)i, &info[i]);
        z->n_dims += (uint32_t)info[i].rank;
    }
    z->inputs = info;
    z->offer = CAB_NEW_N(z->arena, cab_import_input, z->n_inputs + 1);
    z->dims = CAB_NEW_N(z->arena, int64_t, z->n_dims + 1);
    for (int i = 0; i < TUPLES; i++)
        z->tuples[i].dims = CAB_NEW_N(z->arena, int64_t, z->n_dims + 1);
}

static cab_status set_up(specialiser *z, const cab_compiler *c, const cab_source *s,
                         const cab_model_options *mo, cab_diag *d)
{
    z->arena = cab_arena_create(&z->mem);
    if (!z->arena || CAB_JOB_ENTER(&z->mem))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    CAB_TRY(keep_options(z, c, s, d));
    keep_fixed(z);
    keep_inputs(z);
    if (mo && mo->size > offsetof(cab_model_options, check_signature) && mo->check_signature)
        z->c.cache_dir = NULL;         /* who wrote there is not known */
    return CAB_OK;
}

static bool some_open(const cab_model *m)
{
    cab_tensor_info info;
    for (int i = 0; i < cab_model_input_count(m); i++) {
        cab_model_input(m, i, &info);
        for (int k = 0; k < info.rank; k++)
            if (info.dims[k] < 0)
                return true;
    }
    return false;
}

cab_status cab_specialise(cab_model *m, const cab_compiler *c, const cab_source *s,
                          const cab_model_options *mo, int after, int most, cab_diag *d)
{
    cab_error e = { 0 };
    if (!some_open(m))
        return CAB_OK;
    specialiser *z = calloc(1, sizeof *z);
    if (!z)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    pthread_mutex_init(&z->lock, NULL);
    pthread_cond_init(&z->changed, NULL);
    z->model = m;
    z->after = after ? (uint32_t)after : AFTER;
    z->most = most ? (uint32_t)most : MOST;
    cab_status status = set_up(z, c, s, mo, d);
    cab_watch w = { missed, gone, z };
    if (status == CAB_OK && cab_model_watch(m, &w, &e) != CAB_RT_OK)
        status = cab_fail(d, CAB_ENOMEM, NULL, "%s", e.text);
    if (status != CAB_OK)
        drop(z);
    return status;
}
