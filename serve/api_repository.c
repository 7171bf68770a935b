/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_repository.c - the index of the model repository extension.
 */
#include "serve/handlers.h"
#include "serve/json/json_pull.h"
#include "serve/repository_int.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- index ---- */

static const char *state_of(cab_service *s, const cab_version_info *v)
{
    if (cab_repository_has(s, v->name, v->version))
        return "READY";
    return v->state == CAB_BUILDING || v->state == CAB_REGISTERED || cab_control_building(s->control, v->name, v->version, &v->model)
           ? "LOADING" : "UNAVAILABLE";
}

static const char *reason_of(cab_service *s, const cab_version_info *v, const char *state)
{
    const cab_obstacle *o = cab_obstacle_find(s, v->name, v->version);
    return *v->reason ? v->reason : o ? o->why : !strcmp(state, "UNAVAILABLE") ? "unloaded" : "";
}

static bool only_ready(cab_slice body)
{
    cab_json j;
    bool ready = false;
    cab_json_init(&j, body, NULL);
    for (cab_json_token t = cab_json_next(&j); t != CAB_JSON_ERROR && t != CAB_JSON_END; t = cab_json_next(&j))
        if (t == CAB_JSON_KEY && j.depth == 1 && cab_json_is(&j, "ready"))
            ready = cab_json_next(&j) == CAB_JSON_TRUE;
    return ready;
}

/* How many; *fine is false when memory ran out. */
static size_t index_rows(cab_service *s, cab_exchange *x, const cab_version_list *l, bool ready, cab_index_row *rows, bool *fine)
{
    size_t n = 0;
    *fine = true;
    for (size_t i = 0; i < l->n; i++) {
        char number[24];
        int k = snprintf(number, sizeof number, "%lld", (long long)l->v[i].version);
        const char *state = state_of(s, &l->v[i]);
        if (ready && strcmp(state, "READY"))
            continue;
        rows[n] = (cab_index_row){ cab_pieces_text(&x->mem, cab_slice_of(l->v[i].name)),
                                   cab_pieces_text(&x->mem, (cab_slice){ number, (size_t)k }), state,
                                   cab_pieces_text(&x->mem, cab_slice_of(reason_of(s, &l->v[i], state))) };
        *fine = *fine && rows[n].name && rows[n].version && rows[n].reason;
        n++;
    }
    return n;
}

static void put_index(cab_exchange *x, const cab_index_row *rows, size_t n)
{
    cab_bytes *b = &x->out;
    cab_bytes_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        cab_bytes_printf(b, "%s{\"name\":\"%s\",\"version\":\"%s\",\"state\":\"%s\",\"reason\":", i ? "," : "",
                         rows[i].name, rows[i].version, rows[i].state);
        cab_json_put_string(b, cab_slice_of(rows[i].reason));
        cab_bytes_char(b, '}');
    }
    cab_bytes_char(b, ']');
    x->status = 200;
    x->type = "application/json";
    if (b->failed)
        cab_exchange_refuse(x, 503, "out of memory");
    else
        cab_exchange_answer(x);
}

/* Page by page: the registry hands out so many at a time. */
static cab_status every_version(cab_service *s, cab_version_list *all, cab_diag *d)
{
    for (;;) {
        cab_version_list page = { 0 };
        const cab_version_info *last = all->n ? &all->v[all->n - 1] : NULL;
        const cab_query q = { .after_name = last ? last->name : NULL, .after_version = last ? last->version : 0 };
        CAB_TRY(cab_registry_discover(s->registry, &q, &page, d));
        if (!page.n) {
            cab_version_list_fini(&page);
            return CAB_OK;
        }
        cab_version_info *grown = realloc(all->v, (all->n + page.n) * sizeof *grown);
        if (!grown) {
            cab_version_list_fini(&page);
            return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
        }
        all->v = grown;
        memcpy(grown + all->n, page.v, page.n * sizeof *grown);
        all->n += page.n;
        free(page.v);                  /* what its rows hold is all's now */
    }
}

static void index_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    cab_version_list l = { 0 };
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = every_version(s, &l, &d);
    cab_index_row *rows = k == CAB_OK ? cab_pieces_zero(&x->mem, l.n + 1, sizeof *rows) : NULL;
    bool fine = rows != NULL;
    size_t n = rows ? index_rows(s, x, &l, x->user != NULL, rows, &fine) : 0;
    cab_version_list_fini(&l);
    if (k != CAB_OK)
        cab_exchange_fail(x, &d);
    else if (!fine)
        cab_exchange_refuse(x, 503, "out of memory");
    else if (x->grpc)
        cab_grpc_index(x, rows, n);
    else
        put_index(x, rows, n);
    cab_diag_fini(&d);
}

void cab_index_repository(cab_service *s, cab_exchange *x, bool ready)
{
    x->user = ready ? x : NULL;        /* what index_task is told */
    cab_control_do(s, x, index_task);
}

void cab_api_repository_index(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    cab_index_repository(s, x, only_ready(x->body));
}
