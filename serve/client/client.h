/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - cab-client: a client of the server, and a generator of load.
 *
 * One thread.  Failures are stories (cab_diag); only main prints them.
 */
#ifndef CAB_SERVE_CLIENT_H
#define CAB_SERVE_CLIENT_H
#include "base/diag.h"
#include "include/cab_rt.h"
#include "serve/bytes.h"
#include <jansson.h>
#include <stdint.h>

enum { CAB_CLIENT_LIST = 64 };
typedef struct cab_client_list { const char *at[CAB_CLIENT_LIST]; int n; } cab_client_list;

/* The command line. */
typedef struct cab_client_args {
    const char *rest[3];       /* what has no flag: URL, MODEL or NAME, FILE */
    int n_rest;
    const char *version, *token_file, *ca, *config, *output_dir, *get, *rate;
    cab_client_list input, shape;
    uint64_t seed;
    int connections;
    double seconds, warmup;
    bool json, text, binary, random, awake;
} cab_client_args;

/* Where requests go. */
typedef struct cab_client_url {
    char host[256];
    int port;
    bool secure;
} cab_client_url;

/* ---- client_http.c ---- */
/* "http://host:port", "https://...", "host:port". */
cab_status cab_client_url_read(const char *text, cab_client_url *out, cab_diag *d);
/* CAB_TOKEN, or the first line of --token-file; "" without one.  to: empty. */
cab_status cab_client_token(const cab_client_args *a, cab_bytes *to, cab_diag *d);
typedef struct cab_client_answer {
    int status;
    long json_bytes;           /* Inference-Header-Content-Length; -1 without */
    cab_bytes body;            /* the caller's to free */
} cab_client_answer;
/* text as a part of a query, appended. */
void cab_client_escape(const char *text, cab_bytes *to);
/* One request and its whole answer.  json_bytes >= 0: the body is that much JSON, and tensors behind it. */
enum { CAB_CLIENT_ALL_JSON = -1, CAB_CLIENT_FILE = -2 };
cab_status cab_client_ask(const cab_client_args *a, const char *method, const char *path, const cab_bytes *body,
                          long json_bytes, cab_client_answer *out, cab_diag *d);
/* The same, where a status other than 2xx is a failure with the server's words; *out is its JSON (NULL: nobody asks). */
cab_status cab_client_send(const cab_client_args *a, const char *method, const char *path, const cab_bytes *body, long json_bytes,
                           json_t **out, cab_diag *d);
cab_status cab_client_json(const cab_client_args *a, const char *method, const char *path, const json_t *body,
                           json_t **out, cab_diag *d);
/* What the server said instead of an answer. */
cab_status cab_client_refused(const cab_client_answer *w, const char *path, cab_diag *d);

/* ---- client_tensor.c ---- */
/* Inputs of a model, filled as the command line says. */
typedef struct cab_client_inputs {
    int n;
    char *name[CAB_CLIENT_LIST];
    cab_tensor_view view[CAB_CLIENT_LIST];
} cab_client_inputs;
/* Asks for the model's metadata, reads files or makes seeded values: floats in [-1, 1), integers 0 or 1. */
cab_status cab_client_inputs_make(const cab_client_args *a, cab_client_inputs *out, cab_diag *d);
void cab_client_inputs_free(cab_client_inputs *in);
/* The body of an inference request; binary: raw tensors behind the JSON, *json_bytes its length, else -1. */
cab_status cab_client_body(const cab_client_inputs *in, bool binary, cab_bytes *to, long *json_bytes, cab_diag *d);
/* "/v2/models/NAME/versions/VERSION/infer" (what: "infer"; "" ends before it). */
void cab_client_path(const cab_client_args *a, const char *what, cab_bytes *to);

/* ---- the commands ---- */
cab_status cab_client_infer(const cab_client_args *a, cab_diag *d);
cab_status cab_client_load(const cab_client_args *a, cab_diag *d);

#endif
