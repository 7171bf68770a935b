/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - the rooms together: from options to a server, and down again.
 */
#include "serve/service.h"
#include "base/log.h"
#include "serve/listen.h"
#include "serve/repository.h"
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- requests ---- */

static void log_request(cab_service *s, const cab_exchange *x)
{
    cab_bytes b = { 0 };
    cab_line_begin(&b, "info", "request");
    cab_line_text(&b, "method", cab_slice_of(cab_method_name(x->method)));
    cab_line_text(&b, "path", x->path);
    cab_line_int(&b, "bytes", (int64_t)x->body.n);
    cab_line_end(s->journal, &b);
    cab_bytes_fini(&b);
}

static bool allowed(cab_service *s, cab_exchange *x, cab_role role, cab_slice model)
{
    int status = cab_auth_check(s->auth, cab_exchange_field(x, "authorization"), role, model);
    if (!status)
        return true;
    if (status == 401)
        cab_exchange_put_field(x, "www-authenticate", CAB_SLICE("Bearer"));
    cab_exchange_refuse(x, status, status == 401 ? "a bearer token is needed" : "the token does not allow this");
    return false;
}

bool cab_service_allows(cab_exchange *x, cab_role role, cab_slice model)
{
    return allowed(cab_service_of(x), x, role, model);
}

static void handle(cab_server *server, cab_exchange *x)
{
    cab_service *s = server->user;
    cab_target t;
    if (s->o.log_requests)
        log_request(s, x);
    if (x->grpc) {
        cab_grpc_handle(s, x);
        return;
    }
    const cab_route *r = cab_route_find(x, &t);
    if (!r)
        cab_exchange_answer(x);
    else if (allowed(s, x, r->role, t.model))
        r->handler(s, x, &t);
}

/* ---- starting ---- */

static void bury_task(cab_service *s, cab_task *t)
{
    cab_loaded *l = (cab_loaded *)((char *)t - offsetof(cab_loaded, burial));
    (void)s;
    cab_loaded_destroy(l);
}

static void buried(void *user, cab_loaded *l)
{
    cab_service *s = user;
    l->burial.run = bury_task;
    cab_control_post(s->control, &l->burial);
}

static void take_limits(cab_service *s)
{
    const cab_options *o = &s->o;
    s->server = (cab_server){ .handle = handle, .user = s };
    s->server.limits = (cab_limits){
        .head_bytes = (size_t)o->max_head, .body_bytes = (size_t)o->max_body, .all_bodies = (size_t)o->max_bodies,
        .conns = (int)o->max_connections, .streams = (int)o->max_streams, .idle_ms = (int)o->idle_ms,
        .head_ms = (int)o->head_ms, .body_ms = (int)o->body_ms, .write_ms = (int)o->write_ms, .slowest = 64 << 10,
    };
}

static cab_status open_tls(cab_service *s, cab_diag *d)
{
    const cab_options *o = &s->o;
    if (!o->listen_tls.n)
        return CAB_OK;
    if (!*o->tls_cert || !*o->tls_key)
        return cab_fail(d, CAB_EINVAL, NULL, "listen_tls needs tls_cert and tls_key");
    return cab_tls_create(o->tls_cert, o->tls_key, *o->tls_client_ca ? o->tls_client_ca : NULL, &s->server.tls, d);
}

static cab_status open_store(cab_service *s, cab_diag *d)
{
    int64_t n = 0;
    if (!*s->o.root)
        return cab_fail(d, CAB_EINVAL, NULL, "--root DIR is needed: the folder of the registry");
    CAB_TRY(cab_root_open(s->o.root, cab_inherited_lock(), &s->root, d));
    CAB_TRY(cab_blobs_open(&s->root, &s->blobs, d));
    CAB_TRY(cab_registry_open(&s->root, s->blobs, &s->registry, d));
    return s->root.inherited ? CAB_OK : cab_registry_recover(s->registry, &n, d);
}

cab_status cab_service_init(cab_service *s, int argc, char **argv, cab_diag *d)
{
    *s = (cab_service){ .started_ns = cab_now_ns(), .root = { .dir = -1, .tmp = -1, .lock = -1 } };
    CAB_TRY(cab_options_read(&s->o, argc, argv, d));
    take_limits(s);
    CAB_TRY(cab_journal_create(s->o.log, &s->journal, d));
    CAB_TRY(cab_auth_create(s->o.tokens, &s->auth, d));
    CAB_TRY(open_tls(s, d));
    CAB_TRY(open_store(s, d));
    const cab_sched_options k = { .executors = (int)s->o.threads, .memory = (uint64_t)s->o.memory };
    s->sched = cab_sched_create(&k);
    s->catalog = cab_catalog_create(buried, s);
    if (!s->sched || !s->catalog || !cab_openapi_write(&s->openapi))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return cab_control_create(s, &s->control, d);
}

static void load_task(cab_service *s, cab_task *t)
{
    cab_bytes where = { 0 };
    cab_repository_start(s);
    cab_listen_describe(s, &where);
    atomic_store(&s->ready, true);
    cab_journal_say(s->journal, "info", "ready", "%s, %.1f ms after the start", cab_bytes_cstr(&where),
                    (double)(cab_now_ns() - s->started_ns) / 1e6);
    cab_bytes_fini(&where);
    cab_tell_predecessor();
    free(t);
}

static cab_status start_loops(cab_service *s, cab_diag *d)
{
    int n = s->o.io_threads < 1 ? 1 : (int)s->o.io_threads;
    s->server.poll_ns = cab_pool_threads() > 1 ? s->o.poll_us * 1000 : 0;     /* one processor: clients need it */
    s->server.loops = calloc((size_t)n, sizeof *s->server.loops);
    if (!s->server.loops)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (; s->server.n_loops < n; s->server.n_loops++)
        CAB_TRY(cab_loop_init(&s->server.loops[s->server.n_loops], &s->server, d));
    CAB_TRY(cab_listen_all(s, d));
    for (int i = 0; i < n; i++)
        CAB_TRY(cab_loop_start(&s->server.loops[i], d));
    return s->has_health ? cab_loop_start(&s->health, d) : CAB_OK;
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

/* ---- running, ending ---- */

void cab_service_reload(cab_service *s)
{
    cab_diag d;
    cab_diag_init(&d);
    cab_journal_reopen(s->journal, &d);
    cab_auth_reload(s->auth, &d);
    if (s->server.tls)
        cab_tls_reload(s->server.tls, &d);
    cab_journal_diag(s->journal, "reload failed", &d);
    cab_journal_say(s->journal, "info", "reloaded", "tokens, certificates, log");
    cab_diag_fini(&d);
}

static void wish(cab_service *s, unsigned wish)
{
    for (int i = 0; i < s->server.n_loops; i++)
        cab_loop_wish(&s->server.loops[i], wish);
}

/* Waits; true: a second signal says to end now. */
static bool told_again(int ms)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return sigtimedwait(&set, NULL, &(struct timespec){ ms / 1000, ms % 1000 * 1000000L }) > 0;
}

void cab_service_drain(cab_service *s)
{
    cab_journal_say(s->journal, "info", "draining", "unready; new connections for %lld ms", (long long)s->o.drain_ms);
    atomic_store(&s->server.draining, true);
    wish(s, CAB_LOOP_DRAIN);
    bool hurry = told_again((int)s->o.drain_ms);
    wish(s, CAB_LOOP_CLOSE);
    int64_t until = cab_now_ns() + s->o.finish_ms * 1000000;
    while (!hurry && atomic_load(&s->server.conns) > 0 && cab_now_ns() < until)
        hurry = told_again(5);
    cab_journal_say(s->journal, "info", "drained", "%d connections were left", atomic_load(&s->server.conns));
}

void cab_service_fini(cab_service *s)
{
    wish(s, CAB_LOOP_STOP);
    if (s->has_health)
        cab_loop_wish(&s->health, CAB_LOOP_STOP);
    if (s->control)
        cab_control_hurry(s->control);
    /* Connections go, and what was begun comes back; it needs the control thread and the executors. */
    for (int i = 0; i < s->server.n_loops; i++)
        cab_loop_fini(&s->server.loops[i]);
    if (s->has_health)
        cab_loop_fini(&s->health);
    if (s->catalog)
        cab_repository_stop(s);
    cab_control_destroy(s->control);   /* its last tasks destroy what was loaded */
    free(s->server.loops);
    cab_listen_close(s);
    cab_catalog_destroy(s->catalog);
    if (s->sched)
        cab_sched_destroy(s->sched);
    cab_registry_close(s->registry);
    cab_blobs_close(s->blobs);
    cab_root_close(&s->root);
    cab_tls_destroy(s->server.tls);
    cab_auth_destroy(s->auth);
    cab_journal_destroy(s->journal);
    cab_bytes_fini(&s->openapi);
    cab_options_fini(&s->o);
}
