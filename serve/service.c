/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - the rooms together: from options to a server (how it ends: service_end.c).
 */
#include "base/log.h"
#include "base/process.h"
#include "serve/handlers.h"
#include "serve/listen.h"
#include "serve/notify.h"
#include "serve/repository_int.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- requests ---- */

bool cab_service_is_ready(const cab_service *s)
{
    return atomic_load(&s->ready) && !atomic_load(&s->server.draining);
}

static bool allowed(cab_service *s, cab_exchange *x, cab_role role, cab_slice model)
{
    cab_token_name who = "";
    bool logs = s->o.log_requests || role == CAB_ROLE_ADMIN;
    cab_verdict v = cab_auth_check(s->auth, cab_exchange_field(x, "authorization"), role, model, logs ? who : NULL);
    if (*who)
        x->who = cab_pieces_text(&x->mem, cab_slice_of(who));
    if (v == CAB_AUTH_FINE)
        return true;
    if (v != CAB_AUTH_FORBIDDEN)
        cab_exchange_put_field(x, "www-authenticate", CAB_SLICE("Bearer"));
    cab_exchange_refuse(x, v == CAB_AUTH_FORBIDDEN ? 403 : 401, v == CAB_AUTH_FORBIDDEN ? "the token does not allow this"
                        : v == CAB_AUTH_UNKNOWN ? "the bearer token is not known" : "a bearer token is needed");
    return false;
}

bool cab_service_allows(cab_exchange *x, cab_role role, cab_slice model)
{
    return allowed(cab_service_of(x), x, role, model);
}

bool cab_service_may(const cab_exchange *x, cab_role role, cab_slice model)
{
    return cab_auth_check(cab_service_of(x)->auth, cab_exchange_field(x, "authorization"), role, model, NULL) == CAB_AUTH_FINE;
}

/* The listeners for health have a thread to themselves: nothing else may hold it up. */
static bool belongs_here(const cab_service *s, const cab_exchange *x, const cab_route *r)
{
    return x->loop != &s->health || r->role == CAB_ROLE_PUBLIC || !strcmp(r->path, "/metrics");
}

bool cab_service_takes(cab_exchange *x, cab_role role)
{
    bool fine = role != CAB_ROLE_ADMIN || atomic_load(&cab_service_of(x)->successor) <= 0;
    if (!fine)
        cab_exchange_refuse(x, 503, "the server is being replaced: ask again");
    return fine;
}

/* Text takes a nanosecond a byte to read, raw tensors a tenth: from here on another thread is worth its waking. */
static bool is_large(const cab_exchange *x)
{
    enum { TEXT = 64 << 10, RAW = 1 << 20 };
    size_t n = x->body.n;
    if (x->grpc)
        return n > RAW || (cab_body_is_long(n) && *x->body.p);
    if (n > TEXT)
        return n > RAW || !cab_exchange_field(x, "inference-header-content-length").p || cab_body_coding(x) != CAB_CODING_NONE;
    return cab_body_is_long(n) && cab_body_coding(x) != CAB_CODING_NONE;
}

bool cab_service_open(cab_exchange *x, cab_coding c, cab_slice in)
{
    const char *why;
    int status = cab_body_open(x, c, in, &why);
    if (status < 0)
        cab_workers_give(cab_service_of(x)->workers, x);
    else if (status)
        cab_exchange_refuse(x, status, "%s", why);
    return !status;
}

/* The body is as the handler wants it; false: answered, or a worker opens it. */
static bool is_open(cab_exchange *x)
{
    cab_coding c = x->body.n ? cab_body_coding(x) : CAB_CODING_NONE;
    if (c == CAB_CODING_NONE)
        return true;
    if (c != CAB_CODING_UNKNOWN)
        return cab_service_open(x, c, x->body);
    cab_exchange_put_field(x, "accept-encoding", CAB_SLICE("gzip, deflate"));
    cab_exchange_refuse(x, 415, "this Content-Encoding is not taken: gzip or deflate, and one of them");
    return false;
}

static void route(cab_service *s, cab_exchange *x)
{
    cab_target t = { { NULL, 0 }, { NULL, 0 } };
    const cab_route *r = cab_route_find(x, &t);
    if (r) {
        x->model = t.model;
        x->version = t.version;
        x->changes = r->role == CAB_ROLE_ADMIN;
    }
    if (!r)
        cab_exchange_answer(x);
    else if (!belongs_here(s, x, r))
        cab_exchange_refuse(x, 404, "this port is for health and metrics");
    else if (allowed(s, x, r->role, t.model) && cab_service_takes(x, r->role) && is_open(x))
        r->handler(s, x, &t);          /* else that was the answer */
}

static void work(cab_exchange *x)
{
    cab_service *s = cab_service_of(x);
    if (!x->grpc)
        route(s, x);
    else if (x->loop == &s->health)
        cab_exchange_refuse(x, 501, "this port is for health and metrics");
    else
        cab_grpc_handle(s, x);
}

static void handle(cab_server *server, cab_exchange *x)
{
    cab_service *s = server->user;
    cab_access_begin(x);
    if (is_large(x))
        cab_workers_give(s->workers, x);
    else
        work(x);
}

/* The thread for health waits for nobody: it packs its figures itself. */
static bool pack(cab_exchange *x, bool io)
{
    cab_service *s = cab_service_of(x);
    bool done = !s->o.compress || cab_answer_pack(x, io && x->loop != &s->health);
    if (!done)
        cab_workers_give(s->workers, x);
    return done;
}

/* ---- starting ---- */

static void bury_task(cab_service *s, cab_task *t)
{
    cab_resident *l = (cab_resident *)((char *)t - offsetof(cab_resident, burial));
    (void)s;
    cab_resident_destroy(l);
}

static void buried(void *user, cab_resident *l)
{
    cab_service *s = user;
    l->burial.run = bury_task;
    cab_control_post(s->control, &l->burial);
}

static void take_limits(cab_service *s)
{
    const cab_options *o = &s->o;
    s->server = (cab_server){ .handle = handle, .opens = cab_grpc_opens, .part = cab_grpc_part, .pack = pack, .ended = cab_access_end, .user = s };
    s->server.limits = (cab_limits){
        .head_bytes = (size_t)o->max_head, .body_bytes = (size_t)o->max_body, .answer_bytes = (size_t)o->max_answer,
        .all_bodies = (size_t)o->max_bodies,
        .conns = (int)o->max_connections, .streams = (int)o->max_streams, .idle_ms = (int)o->idle_ms,
        .head_ms = (int)o->head_ms, .body_ms = (int)o->body_ms, .write_ms = (int)o->write_ms, .slowest = 64 << 10,
    };
}

static cab_status open_tls(cab_service *s, cab_diag *d)
{
    const cab_options *o = &s->o;
    if (!o->listen_tls.n)
        return CAB_OK;
    return cab_tls_create(o->tls_cert, o->tls_key, *o->tls_client_ca ? o->tls_client_ca : NULL, &s->server.tls, d);
}

static cab_status open_store(cab_service *s, cab_diag *d)
{
    int64_t n = 0;
    if (!*s->o.root)
        return cab_fail(d, CAB_EINVAL, NULL, "--root DIR is needed: the folder of the registry");
    CAB_TRY(cab_root_open(s->o.root, cab_inherited_lock(), &s->root, d));
    s->preceded = s->root.inherited;
    CAB_TRY(cab_blobs_open(&s->root, &s->blobs, d));
    CAB_TRY(cab_registry_open(&s->root, s->blobs, &s->registry, d));
    return s->root.inherited ? CAB_OK : cab_registry_recover(s->registry, &n, d);
}

cab_status cab_service_init(cab_service *s, int argc, char **argv, cab_diag *d)
{
    *s = (cab_service){ .started_ns = cab_now_ns(), .life = PTHREAD_MUTEX_INITIALIZER, .access = { .lock = PTHREAD_MUTEX_INITIALIZER }, .root = { .dir = -1, .tmp = -1, .lock = -1 } };
    CAB_TRY(cab_options_read(&s->o, argc, argv, d));
    take_limits(s);
    CAB_TRY(cab_journal_create(s->o.log, &s->journal, d));
    CAB_TRY(cab_auth_create(s->o.tokens, &s->auth, d));
    CAB_TRY(open_tls(s, d));
    CAB_TRY(open_store(s, d));
    const uint64_t memory = s->o.memory ? (uint64_t)s->o.memory : cab_process_memory() / 4 * 3;
    const cab_sched_options k = { .executors = (int)s->o.threads, .memory = memory };
    s->sched = cab_sched_create(&k);
    s->catalog = cab_catalog_create(buried, s);
    int readers = s->o.read_threads ? (int)s->o.read_threads : cab_pool_threads() / 2;
    s->workers = cab_workers_create(readers, work);
    if (!s->sched || !s->catalog || !s->workers || !cab_openapi_write(&s->openapi))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return cab_control_create(s, &s->control, d);
}

static cab_status start_threads(cab_service *s, cab_diag *d)
{
    for (int i = 0; i < s->server.n_loops; i++)
        CAB_TRY(cab_loop_start(&s->server.loops[i], d));
    s->serving = true;
    return s->has_health ? cab_loop_start(&s->health, d) : CAB_OK;
}

bool cab_service_serves(cab_service *s)
{
    pthread_mutex_lock(&s->life);
    bool serving = s->serving;
    pthread_mutex_unlock(&s->life);
    return serving;
}

static void say_ready(cab_service *s)
{
    cab_bytes where = { 0 };
    cab_listen_describe(s, &where);
    cab_journal_say(s->journal, "info", "ready", "%s, %.1f ms after the start", cab_bytes_cstr(&where),
                    (double)(cab_now_ns() - s->started_ns) / 1e6);
    cab_bytes_fini(&where);
}

/* Told to, and the thread that takes signals has not come to it. */
static bool will_end(void)
{
    sigset_t set;
    return !sigpending(&set) && (sigismember(&set, SIGTERM) || sigismember(&set, SIGINT));
}

/* A successor takes connections when it can answer, for all models; until then its predecessor has them, and goes on to
 * have them when this one is told to end before. */
static void succeed(cab_service *s, bool whole)
{
    cab_diag d;
    cab_diag_init(&d);
    pthread_mutex_lock(&s->life);
    bool told = s->ending || will_end(), fine = whole && !told && start_threads(s, &d) == CAB_OK;
    if (fine) {
        say_ready(s);
        cab_notify(s->journal, "MAINPID=%d\nREADY=1", (int)getpid());
        cab_tell_predecessor();
    }
    pthread_mutex_unlock(&s->life);
    cab_journal_diag(s->journal, "hand-over failed", &d);
    cab_diag_fini(&d);
    if (!told && !fine)
        kill(getpid(), SIGTERM);
}

static void load_task(cab_service *s, cab_task *t)
{
    bool whole = cab_repository_start(s, !s->root.inherited);
    atomic_store(&s->ready, true);
    free(t);
    if (s->root.inherited) {
        succeed(s, whole);
        return;
    }
    say_ready(s);
    cab_notify(s->journal, "READY=1");
}

static void inherit_task(cab_service *s, cab_task *t)
{
    s->preceded = false;
    cab_repository_start(s, true);     /* what is loaded or being built stays as it is */
    free(t);
}

void cab_service_inherit(cab_service *s)
{
    cab_task *t = s->root.inherited ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return;
    t->run = inherit_task;
    cab_control_post(s->control, t);
}

static cab_status start_loops(cab_service *s, cab_diag *d)
{
    int n = s->o.io_threads < 1 ? 1 : (int)s->o.io_threads;
    s->server.poll_ns = cab_pool_threads() > 1 ? s->o.poll_us * 1000 : 0;     /* one processor: clients need it */
    s->server.loops = calloc((size_t)n, sizeof *s->server.loops);
    if (!s->server.loops)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    while (s->server.n_loops < n)      /* one that fails is to be ended, too */
        CAB_TRY(cab_loop_init(&s->server.loops[s->server.n_loops++], &s->server, d));
    CAB_TRY(cab_listen_all(s, d));
    return s->root.inherited ? CAB_OK : start_threads(s, d);
}

cab_status cab_service_start(cab_service *s, cab_diag *d)
{
    cab_task *t = calloc(1, sizeof *t);
    if (!t)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    t->run = load_task;
    cab_status k = start_loops(s, d);
    if (k == CAB_OK)
        cab_control_post(s->control, t);
    else
        free(t);
    return k;
}

/* ---- running ---- */

/* Before it is ready the manager waits for that. */
void cab_service_says_busy(const cab_service *s, bool busy)
{
    if (!atomic_load(&s->ready))
        return;
    if (busy)
        cab_notify_reloading(s->journal);
    else
        cab_notify(s->journal, "READY=1");
}

void cab_service_reload(cab_service *s)
{
    cab_diag d;
    cab_diag_init(&d);
    cab_service_says_busy(s, true);
    bool fine = cab_journal_reopen(s->journal, &d) == CAB_OK;
    fine = cab_auth_reload(s->auth, &d) == CAB_OK && fine;
    fine = (!s->server.tls || cab_tls_reload(s->server.tls, &d) == CAB_OK) && fine;
    if (fine)
        cab_journal_say(s->journal, "info", "reloaded", "tokens, certificates, log");
    else                               /* what it names stays as it was, the others are new */
        cab_journal_diag(s->journal, "reload failed", &d);
    cab_service_says_busy(s, false);
    cab_diag_fini(&d);
}
