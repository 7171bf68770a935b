/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openapi.c - the interface as an OpenAPI 3.0 document, from the rows of routes.def and schemas.json.
 */
#include "serve/handlers.h"
#include "serve/schemas.inc"
#include <jansson.h>
#include <stdlib.h>

static json_t *reference(const char *schema)
{
    cab_bytes b = { 0 };
    cab_bytes_printf(&b, "#/components/schemas/%s", schema);
    json_t *o = json_pack("{s:s}", "$ref", cab_bytes_cstr(&b));
    cab_bytes_fini(&b);
    return o;
}

static const char *const raw = "application/octet-stream";

/* binary: tensors may stand as raw bytes behind the JSON. */
static json_t *content(const char *schema, bool binary)
{
    if (!strcmp(schema, "text"))
        return json_pack("{s:{s:{s:s}}}", "text/plain", "schema", "type", "string");
    json_t *all = json_pack("{s:{s:o}}", "application/json", "schema", reference(schema));
    if (binary)
        json_object_set_new(all, raw, json_pack("{s:{s:s,s:s}}", "schema", "type", "string", "format", "binary"));
    return all;
}

static bool is_binary(const char *schema)
{
    return !strcmp(schema, "InferRequest") || !strcmp(schema, "InferAnswer") || !strcmp(schema, "Register");
}

static json_t *response(const char *doc, const char *schema)
{
    json_t *o = json_pack("{s:s}", "description", doc);
    if (*schema)
        json_object_set_new(o, "content", content(schema, is_binary(schema)));
    return o;
}

/* Parameters, by the path's segment or the body's schema that they stand beside. */
static const struct { const char *path, *body, *in, *name, *type, *doc; } parameter_rows[] = {
    { "{model}", "", "path", "model", "string", "The model's name" },
    { "{version}", "", "path", "version", "string", "A number or a label" },
    { "", "InferRequest", "header", "Inference-Header-Content-Length", "integer",
      "Bytes of the JSON, where raw tensors (binary_data_size) stand behind it; 0: the body is the only input's tensor" },
    { "", "Register", "query", "name", "string", "With a query the body is the model's file" },
    { "", "Register", "query", "version", "integer", "Of such a body: the next one without it" },
    { "", "Register", "query", "config", "string", "Of such a body: a model configuration, JSON" },
    { "", "Register", "query", "wait", "boolean", "Of such a body" },
};

static json_t *parameters(const cab_route *r)
{
    json_t *all = json_array();
    for (size_t i = 0; i < sizeof parameter_rows / sizeof *parameter_rows; i++)
        if (strstr(r->path, parameter_rows[i].path) && (!*parameter_rows[i].body || !strcmp(r->body, parameter_rows[i].body)))
            json_array_append_new(all, json_pack("{s:s,s:s,s:b,s:s,s:{s:s}}", "name", parameter_rows[i].name, "in", parameter_rows[i].in,
                                                 "required", *parameter_rows[i].path != 0, "description", parameter_rows[i].doc,
                                                 "schema", "type", parameter_rows[i].type));
    return all;
}

static void add_responses(json_t *all, const cab_route *r)
{
    static const struct { const char *status, *doc; cab_role from; bool body; } rows[] = {
        { "400", "The request is wrong; the text says where", CAB_ROLE_PUBLIC, false },
        { "401", "No token, or none that is known", CAB_ROLE_READ, false },
        { "403", "The token does not allow this", CAB_ROLE_READ, false },
        { "404", "No such model or version", CAB_ROLE_READ, false },
        { "409", "It contradicts what is registered", CAB_ROLE_ADMIN, true },
        { "413", "Too long, or more memory than the server allows", CAB_ROLE_READ, true },
        { "415", "Compressed, and not by gzip or deflate", CAB_ROLE_READ, true },
        { "422", "The model cannot be compiled or loaded; the text says why", CAB_ROLE_ADMIN, true },
        { "429", "The queue is full; Retry-After says when to come again", CAB_ROLE_CALL, true },
        { "500", "An error of the server", CAB_ROLE_READ, false },
        { "503", "Not ready, draining, or out of memory", CAB_ROLE_PUBLIC, false },
        { "504", "The time of the request was over", CAB_ROLE_CALL, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (r->role >= rows[i].from && (!rows[i].body || *r->body))
            json_object_set_new(all, rows[i].status, response(rows[i].doc, "Error"));
}

static json_t *operation(const cab_route *r)
{
    json_t *o = json_pack("{s:s,s:s,s:o}", "operationId", r->id, "summary", r->doc, "parameters", parameters(r));
    json_t *all = json_object();
    json_object_set_new(all, "200", response("Done", r->answer));
    if (!strcmp(r->id, "register")) {
        json_object_set_new(all, "201", response("It serves", r->answer));
        json_object_set_new(all, "202", response("It is registered, and being built", r->answer));
    }
    add_responses(all, r);
    if (!strcmp(r->id, "ready"))
        json_object_set_new(all, "503", response("Not yet, or not any more", r->answer));
    json_object_set_new(o, "responses", all);
    if (*r->body)
        json_object_set_new(o, "requestBody", json_pack("{s:b,s:o}", "required", r->role != CAB_ROLE_READ && strcmp(r->body, "LoadRequest") != 0,
                                                        "content", content(r->body, is_binary(r->body))));
    json_object_set_new(o, "security", r->role == CAB_ROLE_PUBLIC ? json_array() : json_pack("[{},{s:[]}]", "bearer"));
    return o;
}

bool cab_openapi_write(cab_bytes *out)
{
    static const char *const methods[CAB_METHOD_COUNT] = { [CAB_METHOD_GET] = "get", [CAB_METHOD_POST] = "post",
                                                          [CAB_METHOD_DELETE] = "delete" };
    json_t *paths = json_object(), *schemas = json_loads(schemas_json, 0, NULL);
    for (int i = 0; i < cab_n_routes; i++) {
        const cab_route *r = &cab_routes[i];
        json_t *path = json_object_get(paths, r->path);
        if (!path) {
            path = json_object();
            json_object_set_new(paths, r->path, path);
        }
        json_object_set_new(path, methods[r->method], operation(r));
    }
    json_t *doc = json_pack("{s:s,s:{s:s,s:s,s:{s:s}},s:o,s:{s:o,s:{s:{s:s,s:s}}}}", "openapi", "3.0.3", "info", "title",
                            "Cabochon", "version", CAB_VERSION, "license", "name", "Apache-2.0", "paths", paths,
                            "components", "schemas", schemas, "securitySchemes", "bearer", "type", "http", "scheme", "bearer");
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    if (text)
        cab_bytes_str(out, text);
    free(text);
    json_decref(doc);
    return text && !out->failed;
}
