/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers.c - what handlers share: they read bodies, find models, tell the time.
 */
#include "serve/handlers.h"
#include "base/log.h"
#include "serve/json/json_tree.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

cab_status cab_body_read(const cab_exchange *x, bool may_be_empty, json_t **out, cab_diag *d)
{
    json_error_t e;
    bool starved = true, none = may_be_empty && !x->body.n;
    *out = none ? json_object() : cab_json_load(x->body.p ? x->body.p : "", x->body.n, &e, &starved);
    if (json_is_object(*out))
        return CAB_OK;
    if (!*out && starved)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    cab_status k = cab_fail(d, CAB_EPARSE, NULL, "failed to parse the request JSON: %s", *out ? "not an object" : e.text);
    json_decref(*out);
    *out = NULL;
    return k;
}

cab_status cab_version_read(const json_t *v, int64_t *out, cab_diag *d)
{
    char *end = NULL;
    const char *text = json_string_value(v);
    *out = 0;
    if (text && *text >= '1' && *text <= '9')
        *out = strtoll(text, &end, 10);
    else if (json_is_integer(v))
        *out = json_integer_value(v);
    bool fine = !v || ((json_is_integer(v) || (end && !*end)) && *out >= 1 && *out <= CAB_VERSION_MOST);
    return fine ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "'version' must be a whole number from 1 on");
}

cab_status cab_base64_read(cab_pieces *mem, const json_t *v, void **out, size_t *n, cab_diag *d)
{
    size_t k = json_string_length(v);
    const char *p = json_string_value(v);
    if (!p || !k || k % 4 || k > INT32_MAX)
        return cab_fail(d, CAB_EINVAL, NULL, "a model file must be base64, padded, of less than 2 GB");
    if (!(*out = cab_pieces_take(mem, k / 4 * 3)))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    int got = EVP_DecodeBlock(*out, (const unsigned char *)p, (int)k);
    *n = got < 0 ? 0 : (size_t)got - (p[k - 1] == '=') - (p[k - 2] == '=');
    return got < 0 ? cab_fail(d, CAB_EINVAL, NULL, "a model file is no base64") : CAB_OK;
}

cab_resident *cab_find_loaded(cab_service *s, cab_exchange *x, cab_slice model, cab_slice version)
{
    cab_resident *l;
    int n = (int)(model.n < 200 ? model.n : 200), v = (int)(version.n < 200 ? version.n : 200);
    cab_found found = cab_catalog_get(s->catalog, model, version, &l);
    if (found != CAB_FOUND && !atomic_load(&s->ready)) {
        cab_exchange_refuse(x, 503, "the server is starting: its models are being loaded");
        return NULL;
    }
    switch (found) {
    case CAB_NO_MODEL:
        cab_exchange_refuse(x, 404, "Request for unknown model: '%.*s' is not found", n, model.p);
        return NULL;
    case CAB_NO_VERSION:
        if (!version.n) {
            cab_exchange_refuse(x, 404, "Request for unknown model: '%.*s' serves no version now that a request without one gets", n, model.p);
            return NULL;
        }
        cab_exchange_refuse(x, 404, "Request for unknown model: '%.*s' version %.*s is not at available version or label",
                            n, model.p, v, version.p);
        return NULL;
    default:
        return l;
    }
}

uint64_t cab_wall_ms(int64_t monotonic_ns)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    return monotonic_ns ? (uint64_t)(now - (cab_now_ns() - monotonic_ns) / 1000000) : 0;
}
