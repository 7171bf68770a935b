/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.c - a language model, token by token: its caches of keys and values
 * are the session's, grow in place, and are never copied from run to run.
 *
 *   decode MODEL.cab N ID...
 *
 * Prints the N most likely tokens after the prompt of those numbers.  The
 * model takes input_ids and position_ids (i64, [1, n]) beside its caches and
 * gives logits (f32, [1, n, words]); that is what exporters write.  Links
 * libcabrt.a -lpthread -lm.
 */
#include <cab_rt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TENSORS = 256, ROOM = 256 };

typedef struct decoder {
    cab_model *model;
    cab_session *session;
    int ids, positions, logits;
    cab_tensor_view in[MAX_TENSORS], out[MAX_TENSORS];     /* all zero: the caches' stay so */
    cab_error error;
} decoder;

static int refuse(decoder *d, const char *text)
{
    snprintf(d->error.text, sizeof d->error.text, "%s", text);
    return d->error.code = CAB_RT_EUNSUPPORTED;
}

static int start(decoder *d, const char *path)
{
    if (cab_model_load(path, NULL, &d->model, &d->error) ||
        cab_session_create(d->model, NULL, &d->session, &d->error))
        return d->error.code;
    d->ids = cab_model_find_input(d->model, "input_ids");
    d->positions = cab_model_find_input(d->model, "position_ids");
    d->logits = cab_model_find_output(d->model, "logits");
    int n = cab_model_state_count(d->model);
    if (d->ids < 0 || d->positions < 0 || d->logits < 0 ||
        cab_model_input_count(d->model) > MAX_TENSORS ||
        cab_model_output_count(d->model) > MAX_TENSORS)
        return refuse(d, "no decoder with input_ids, position_ids and logits");
    if (cab_model_input_count(d->model) != n + 2)
        return refuse(d, "some inputs are neither tokens nor caches");
    /* Every pair that grows: empty now, with room for ROOM steps at once. */
    for (int i = 0; i < n; i++) {
        cab_state_info s;
        cab_model_state(d->model, i, &s);
        if (cab_session_bind_state(d->session, s.input, s.output, NULL, ROOM, &d->error))
            return d->error.code;
    }
    return 0;
}

static int64_t most_likely(const cab_tensor_view *logits)
{
    int64_t words = logits->dims[2], best = 0;
    const float *last = (const float *)logits->data + (logits->dims[1] - 1) * words;
    for (int64_t i = 1; i < words; i++)
        best = last[i] > last[best] ? i : best;
    return best;
}

/* n tokens, the first at that position; the caches take them in. */
static int feed(decoder *d, int64_t *ids, int64_t *positions, int64_t n, int64_t *next)
{
    size_t bytes = (size_t)n * sizeof *ids;
    d->in[d->ids] = (cab_tensor_view){ CAB_TYPE_I64, 2, { 1, n }, ids, bytes };
    d->in[d->positions] = (cab_tensor_view){ CAB_TYPE_I64, 2, { 1, n }, positions, bytes };
    int rc = cab_session_run(d->session, d->in, d->out, &d->error);
    if (rc == 0)
        *next = most_likely(&d->out[d->logits]);
    return rc;
}

static int decode(decoder *d, int64_t *ids, int64_t *positions, int64_t n_prompt, int64_t n)
{
    int64_t at = 0, count = n_prompt, next = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < count; k++)
            positions[k] = at + k;
        int rc = feed(d, ids, positions, count, &next);
        if (rc)
            return rc;
        printf("%s%" PRId64, i ? " " : "", next);
        fflush(stdout);
        at += count;
        count = 1;
        ids[0] = next;
    }
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    static decoder d;
    int rc = 2;
    if (argc < 4) {
        fprintf(stderr, "usage: decode MODEL.cab N ID...\n");
        return rc;
    }
    int64_t n = argc - 3, *ids = calloc((size_t)n * 2, sizeof *ids);
    for (int i = 0; ids && i < n; i++)
        ids[i] = atoll(argv[3 + i]);
    rc = ids ? start(&d, argv[1]) : refuse(&d, "out of memory");
    if (rc == 0)
        rc = decode(&d, ids, ids + n, n, atoll(argv[2]));
    if (rc)
        fprintf(stderr, "decode: %s\n", d.error.text);
    cab_session_destroy(d.session);
    cab_model_destroy(d.model);
    free(ids);
    return rc != 0;
}
