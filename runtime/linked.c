/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linked.c - a model inside a shared library: its kernels were bound by the
 * system linker, its artifact lies in the library's read-only data.
 *
 * What `cab compile --emit=so` puts between the three functions of the model's
 * header and the runtime.  Sessions are kept for the next call, so any number
 * of threads may run the model.
 */
#include "runtime/linked.h"
#include "runtime/session_int.h"
#include <stdlib.h>
#include <string.h>

enum { IDLE = 16 };
typedef struct state {
    pthread_mutex_t lock;
    cab_model *model;
    cab_session *idle[IDLE];
    int n_idle;
} state;

/* Several first calls may meet: one state stays, the others are dropped. */
static int find_state(cab_linked *l, state **out, cab_error *e)
{
    void *none = NULL;
    *out = atomic_load(&l->state);
    if (*out)
        return CAB_OK;
    state *s = calloc(1, sizeof *s);
    if (!s)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    int rc = cab_model_load_linked(l->artifact, (size_t)(l->end - l->artifact), l->kernels,
                                   &s->model, e);
    pthread_mutex_init(&s->lock, NULL);
    if (rc == CAB_OK && atomic_compare_exchange_strong(&l->state, &none, (void *)s)) {
        *out = s;
        return CAB_OK;
    }
    cab_model_destroy(s->model);
    free(s);
    *out = rc == CAB_OK ? none : NULL;     /* another thread's */
    return rc;
}

static int take(state *t, cab_session **s, cab_error *e)
{
    *s = NULL;
    pthread_mutex_lock(&t->lock);
    if (t->n_idle > 0)
        *s = t->idle[--t->n_idle];
    pthread_mutex_unlock(&t->lock);
    return *s ? CAB_OK : cab_session_create(t->model, NULL, s, e);
}

static int enter(cab_linked *l, state **t, cab_session **s, cab_error *e)
{
    *s = NULL;
    int rc = find_state(l, t, e);
    return rc == CAB_OK ? take(*t, s, e) : rc;
}

static void give_back(state *t, cab_session *s)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    bool keep = s && t->n_idle < IDLE;
    if (keep)
        t->idle[t->n_idle++] = s;
    pthread_mutex_unlock(&t->lock);
    if (!keep)
        cab_session_destroy(s);
}

static int story(char *to, const cab_error *e, int rc)
{
    memcpy(to, e->text, sizeof e->text);
    return rc;
}

/* Types and bytes of the outputs for these inputs. */
static int shapes(cab_session *s, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                  size_t *work, cab_error *e)
{
    cab_memory need;
    int rc = cab_session_estimate(s, inputs, &need, e);
    for (uint32_t i = 0; i < s->plan->header->n_outputs && rc == CAB_OK; i++) {
        const cab_plan_value *v = &s->plan->values[s->plan->outputs[i]];
        outputs[i].dtype = v->dtype;
        outputs[i].rank = v->rank;
        for (int k = 0; k < v->rank; k++)
            outputs[i].dims[k] = s->slots[v->dims[k]];
        outputs[i].bytes = (size_t)s->slots[v->slot_bytes];
    }
    if (work)
        *work = rc == CAB_OK ? (size_t)need.intermediate : 0;
    return rc;
}

int cab_linked_memory(cab_linked *l, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                      size_t *work, char error[500])
{
    cab_session *s;
    cab_error e = { 0 };
    state *t;
    int rc = enter(l, &t, &s, &e);
    if (rc == CAB_OK)
        rc = shapes(s, inputs, outputs, work, &e);
    give_back(t, s);
    return story(error, &e, rc);
}

/* Memory by malloc for outputs that have none; own[i] remembers which. */
static int find_outputs(cab_session *s, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                        uint64_t *own, cab_error *e)
{
    uint32_t n = s->plan->header->n_outputs;
    bool some = false;
    for (uint32_t i = 0; i < n; i++)
        some = some || !outputs[i].data;
    if (!some)
        return CAB_OK;
    if (n > 64)
        return cab_rt_fail(e, CAB_EINPUT, "with more than 64 outputs all memory is the caller's");
    cab_tensor_view want[64];
    int rc = shapes(s, inputs, want, NULL, e);
    for (uint32_t i = 0; i < n && rc == CAB_OK; i++) {
        if (outputs[i].data)
            continue;
        outputs[i].data = malloc(want[i].bytes ? want[i].bytes : 1);
        outputs[i].bytes = want[i].bytes;
        *own |= (uint64_t)1 << i;
        if (!outputs[i].data)
            rc = cab_rt_fail(e, CAB_ENOMEM, "no memory for an output of %zu bytes", want[i].bytes);
    }
    return rc;
}

int cab_linked_run(cab_linked *l, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                   char error[500])
{
    cab_session *s;
    uint64_t own = 0;
    cab_error e = { 0 };
    state *t;
    int rc = enter(l, &t, &s, &e);
    if (rc == CAB_OK)
        rc = find_outputs(s, inputs, outputs, &own, &e);
    if (rc == CAB_OK)
        rc = cab_session_run(s, inputs, outputs, &e);
    for (int i = 0; i < 64 && rc != CAB_OK; i++)
        if (own >> i & 1) {
            free(outputs[i].data);
            outputs[i].data = NULL;
        }
    give_back(t, s);
    return story(error, &e, rc);
}
