/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - paths to handlers, by the rows of routes.def.
 */
#include "serve/route.h"
#include "serve/handlers.h"
#include <stdio.h>

#define ROUTE(id, method, path, handler, role, body, answer, doc) \
    { #id, path, doc, body, answer, CAB_METHOD_##method, CAB_ROLE_##role, cab_api_##handler },
const cab_route cab_routes[] = {
#include "serve/routes.def"
};
const int cab_n_routes = sizeof cab_routes / sizeof *cab_routes;

enum { SEGMENTS_MAX = 8 };

/* The next segment of a pattern, without its slash. */
static cab_slice next_segment(const char **at)
{
    const char *p = *at + 1, *end = strchr(p, '/');
    size_t n = end ? (size_t)(end - p) : strlen(p);
    *at = p + n;
    return (cab_slice){ p, n };
}

static bool same(cab_slice a, cab_slice b)
{
    return a.n == b.n && !memcmp(a.p, b.p, a.n);
}

static bool matches(const char *pattern, const cab_slice *seg, int n, cab_target *t)
{
    *t = (cab_target){ { "", 0 }, { "", 0 } };
    int i = 0;
    for (const char *at = pattern; *at; i++) {
        cab_slice want = next_segment(&at);
        if (i == n)
            return false;
        if (cab_slice_is(want, "{model}"))
            t->model = seg[i];
        else if (cab_slice_is(want, "{version}"))
            t->version = seg[i];
        else if (!same(want, seg[i]))
            return false;
    }
    return i == n;
}

/* "GET, POST": what the path would take. */
static void say_allowed(cab_exchange *x, const cab_slice *seg, int n)
{
    cab_target t;
    enum { ROOM = 128 };
    char *to = cab_pieces_take(&x->mem, ROOM);
    size_t used = 0;
    for (int i = 0; to && i < cab_n_routes; i++)
        if (matches(cab_routes[i].path, seg, n, &t) && used < ROOM)
            used += (size_t)snprintf(to + used, ROOM - used, "%s%s%s", used ? ", " : "",
                                     cab_method_name(cab_routes[i].method),
                                     cab_routes[i].method == CAB_METHOD_GET ? ", HEAD" : "");
    cab_exchange_say(x, 405, "this path takes another method");
    if (to && used < ROOM)
        cab_exchange_put_field(x, "allow", (cab_slice){ to, used });
}

/* Segments of a path that a pattern begins with; *end: of them in the pattern. */
static int begins_with(const char *pattern, const cab_slice *seg, int n, const char **end)
{
    int i = 0;
    *end = pattern;
    for (const char *at = pattern; *at && i < n; i++, *end = at) {
        cab_slice want = next_segment(&at);
        if (want.p[0] != '{' && !same(want, seg[i]))
            break;
    }
    return i;
}

/* For the log: the part of a path that is known, "/v2/models/{model}/...": the rest is a stranger's. */
static const char *known_part(cab_exchange *x, const cab_slice *seg, int n)
{
    cab_slice best = { "", 0 };
    int most = 0;
    for (int i = 0; i < cab_n_routes; i++) {
        const char *end;
        int k = begins_with(cab_routes[i].path, seg, n, &end);
        if (k > most) {
            most = k;
            best = (cab_slice){ cab_routes[i].path, (size_t)(end - cab_routes[i].path) };
        }
    }
    char *text = cab_pieces_take(&x->mem, best.n + sizeof "/...");
    if (!text)
        return "...";
    memcpy(text, best.p, best.n);
    memcpy(text + best.n, "/...", sizeof "/...");
    return text;
}

const cab_route *cab_route_find(cab_exchange *x, cab_target *t)
{
    cab_slice seg[SEGMENTS_MAX];
    const char *why;
    bool known = false;
    x->route = "...";
    cab_method method = x->method == CAB_METHOD_HEAD ? CAB_METHOD_GET : x->method;
    char *room = cab_pieces_take(&x->mem, x->path.n);
    if (!room) {
        cab_exchange_say(x, 503, "out of memory");
        return NULL;
    }
    int n = cab_http1_segments(x->path, room, seg, SEGMENTS_MAX, &why);
    if (n < 0) {
        cab_exchange_say(x, 400, why);
        return NULL;
    }
    for (int i = 0; n <= SEGMENTS_MAX && i < cab_n_routes; i++)
        if (matches(cab_routes[i].path, seg, n, t)) {
            known = true;
            x->route = cab_routes[i].path;
            if (cab_routes[i].method == method)
                return &cab_routes[i];
        }
    if (known) {
        say_allowed(x, seg, n);
        return NULL;
    }
    x->route = known_part(x, seg, n < SEGMENTS_MAX ? n : SEGMENTS_MAX);
    cab_exchange_say(x, 404, "there is nothing at this path; /openapi.json has all of them");
    return NULL;
}

cab_status cab_route_leaves(const char *model, cab_diag *d)
{
    static const char models[] = "/v2/models/";
    for (int i = 0; i < cab_n_routes; i++)
        if (!strncmp(cab_routes[i].path, models, sizeof models - 1) && !strcmp(cab_routes[i].path + sizeof models - 1, model))
            return cab_fail(d, CAB_EINVAL, NULL, "a model cannot be called '%s': %s is something else", model, cab_routes[i].path);
    return CAB_OK;
}
