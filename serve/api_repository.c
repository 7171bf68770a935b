/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_repository.c - the model repository extension: index, load, unload.
 */
#include "serve/io_json.h"
#include "serve/json_pull.h"
#include "serve/repository.h"
#include "serve/service.h"
#include <stdio.h>
#include <stdlib.h>

void cab_exchange_fail(cab_exchange *x, const cab_diag *d)
{
    static const struct { cab_status code; int status; } rows[] = {
        { CAB_EINVAL, 400 }, { CAB_EPARSE, 400 }, { CAB_EMODEL, 422 }, { CAB_EUNSUPPORTED, 422 }, { CAB_EINPUT, 400 },
        { CAB_EARTIFACT, 422 }, { CAB_ENOTFOUND, 404 }, { CAB_ECONFLICT, 409 }, { CAB_ELIMIT, 422 }, { CAB_ENOMEM, 503 },
        { CAB_EDEADLINE, 422 }, { CAB_ECANCELLED, 503 },
    };
    const cab_diag_entry *e = cab_diag_first(d);
    cab_bytes b = { .limit = 4096 };
    int status = 500;
    for (size_t i = 0; e && i < sizeof rows / sizeof *rows; i++)
        status = rows[i].code == e->code ? rows[i].status : status;
    cab_bytes_printf(&b, "%s%s%s", e ? e->where : "", e && *e->where ? ": " : "", e ? e->text : "an error without a story");
    for (int i = 0; e && i < e->n_notes; i++)
        cab_bytes_printf(&b, "; %s", e->notes[i]);
    cab_exchange_refuse(x, status, "%s", cab_bytes_cstr(&b));
    cab_bytes_fini(&b);
}

/* The segment of the path that a task is about; its exchange has it. */
static const char *model_of(cab_exchange *x, cab_slice model)
{
    return x->user = cab_pieces_text(&x->mem, model);
}

static void answer(cab_exchange *x, cab_status k, const cab_diag *d)
{
    if (k != CAB_OK) {
        cab_exchange_fail(x, d);
        return;
    }
    x->status = 200;
    cab_exchange_answer(x);
}

/* ---- index ---- */

static const char *state_of(cab_service *s, const cab_version_info *v)
{
    cab_loaded *l;
    char number[24];
    int n = snprintf(number, sizeof number, "%lld", (long long)v->version);
    if (cab_catalog_get(s->catalog, cab_slice_of(v->name), (cab_slice){ number, (size_t)n }, &l) == CAB_FOUND) {
        cab_loaded_unref(l);
        return "READY";
    }
    return v->state == CAB_BUILDING || v->state == CAB_REGISTERED ? "LOADING" : "UNAVAILABLE";
}

static const char *reason_of(const cab_version_info *v, const char *state)
{
    return *v->reason ? v->reason : !strcmp(state, "UNAVAILABLE") ? "unloaded" : "";
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

static void index_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    cab_version_list l = { 0 };
    cab_query q = { 0 };
    cab_diag d;
    bool ready = only_ready(x->body), first = true;
    cab_diag_init(&d);
    cab_status k = cab_registry_discover(s->registry, &q, &l, &d);
    cab_bytes_char(&x->out, '[');
    for (size_t i = 0; i < l.n; i++) {
        const char *state = state_of(s, &l.v[i]);
        if (ready && strcmp(state, "READY"))
            continue;
        cab_bytes_printf(&x->out, "%s{\"name\":\"%s\",\"version\":\"%lld\",\"state\":\"%s\",\"reason\":", first ? "" : ",",
                         l.v[i].name, (long long)l.v[i].version, state);
        cab_json_put_string(&x->out, cab_slice_of(reason_of(&l.v[i], state)));
        cab_bytes_char(&x->out, '}');
        first = false;
    }
    cab_bytes_char(&x->out, ']');
    cab_version_list_fini(&l);
    x->type = "application/json";
    answer(x, k, &d);
    cab_diag_fini(&d);
}

void cab_api_repository_index(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    cab_control_do(s, x, index_task);
}

/* ---- load, unload ---- */

static void load_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = cab_registry_set_wanted(s->registry, x->user, true, &d);
    k = k == CAB_OK ? cab_repository_apply(s, x->user, true, &d) : k;
    answer(x, k, &d);
    cab_diag_fini(&d);
}

void cab_api_repository_load(cab_service *s, cab_exchange *x, const cab_target *t)
{
    if (model_of(x, t->model))
        cab_control_do(s, x, load_task);
    else
        cab_exchange_refuse(x, 503, "out of memory");
}

static void unload_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = cab_registry_set_wanted(s->registry, x->user, false, &d);
    k = k == CAB_OK ? cab_repository_apply(s, x->user, false, &d) : k;
    answer(x, k, &d);
    cab_diag_fini(&d);
}

void cab_api_repository_unload(cab_service *s, cab_exchange *x, const cab_target *t)
{
    if (model_of(x, t->model))
        cab_control_do(s, x, unload_task);
    else
        cab_exchange_refuse(x, 503, "out of memory");
}
