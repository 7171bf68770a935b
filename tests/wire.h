/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - writes small model files in memory, for tests of the front end.
 *
 * A wire is a growing byte string; w_* append protobuf fields, m_* whole
 * messages of the format.  Text lists are separated by commas; an empty item
 * is an absent operand.  wires are freed by w_free.
 */
#ifndef CAB_TESTS_WIRE_H
#define CAB_TESTS_WIRE_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct wire { unsigned char *p; size_t n, cap; } wire;

static inline void w_bytes(wire *w, const void *p, size_t n)
{
    if (w->n + n > w->cap) {
        w->cap = (w->n + n) * 2 + 64;
        w->p = realloc(w->p, w->cap);
        if (!w->p)
            abort();
    }
    if (n)
        memcpy(w->p + w->n, p, n);
    w->n += n;
}

static inline void w_free(wire *w)
{
    free(w->p);
    *w = (wire){ 0 };
}

static inline void w_varint(wire *w, uint64_t v)
{
    unsigned char b;

    do {
        b = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        w_bytes(w, &b, 1);
        v >>= 7;
    } while (v);
}

static inline void w_num(wire *w, int field, int64_t v)
{
    w_varint(w, (uint64_t)field << 3);
    w_varint(w, (uint64_t)v);
}

static inline void w_blob(wire *w, int field, const void *p, size_t n)
{
    w_varint(w, (uint64_t)field << 3 | 2);
    w_varint(w, n);
    w_bytes(w, p, n);
}

static inline void w_str(wire *w, int field, const char *s)
{
    w_blob(w, field, s, strlen(s));
}

static inline void w_float(wire *w, int field, float v)
{
    w_varint(w, (uint64_t)field << 3 | 5);
    w_bytes(w, &v, 4);
}

/* Appends sub as a message field and frees it. */
static inline void w_sub(wire *w, int field, wire sub)
{
    w_blob(w, field, sub.p, sub.n);
    w_free(&sub);
}

/* Each item of a comma-separated list as a string field. */
static inline void w_list(wire *w, int field, const char *items)
{
    while (items && *items) {
        size_t n = strcspn(items, ",");

        w_blob(w, field, items, n);
        items += n + (items[n] == ',');
    }
}

/* ---- attributes ---- */
static inline wire m_attr_head(const char *name, int type)
{
    wire w = { 0 };

    w_str(&w, 1, name);
    w_num(&w, 20, type);
    return w;
}

static inline wire m_attr_int(const char *name, int64_t v)
{
    wire w = m_attr_head(name, 2);

    w_num(&w, 3, v);
    return w;
}

static inline wire m_attr_float(const char *name, float v)
{
    wire w = m_attr_head(name, 1);

    w_float(&w, 2, v);
    return w;
}

static inline wire m_attr_str(const char *name, const char *v)
{
    wire w = m_attr_head(name, 3);

    w_str(&w, 4, v);
    return w;
}

static inline wire m_attr_ints(const char *name, const int64_t *v, int n)
{
    wire w = m_attr_head(name, 7);

    for (int i = 0; i < n; i++)
        w_num(&w, 8, v[i]);
    return w;
}

static inline wire m_attr_sub(const char *name, int type, int field, wire sub)
{
    wire w = m_attr_head(name, type);

    w_sub(&w, field, sub);
    return w;
}

static inline wire m_attr_ref(const char *name, int type, const char *param)
{
    wire w = m_attr_head(name, type);

    w_str(&w, 21, param);
    return w;
}

/* ---- nodes, values, tensors ---- */
static inline wire m_node(const char *op, const char *in, const char *out)
{
    wire w = { 0 };

    w_list(&w, 1, in);
    w_list(&w, 2, out);
    w_str(&w, 4, op);
    return w;
}

/* A float tensor; a dim of -1 is named N, -2 has no value. */
static inline wire m_value(const char *name, int rank, const int64_t *dims)
{
    wire w = { 0 }, type = { 0 }, tensor = { 0 }, shape = { 0 };

    for (int i = 0; i < rank; i++) {
        wire d = { 0 };

        if (dims[i] >= 0)
            w_num(&d, 1, dims[i]);
        else if (dims[i] == -1)
            w_str(&d, 2, "N");
        w_sub(&shape, 1, d);
    }
    w_num(&tensor, 1, 1);
    if (rank >= 0)
        w_sub(&tensor, 2, shape);
    w_sub(&type, 1, tensor);
    w_str(&w, 1, name);
    w_sub(&w, 2, type);
    return w;
}

static inline wire m_tensor(const char *name, int dtype, int rank,
                            const int64_t *dims)
{
    wire w = { 0 };

    for (int i = 0; i < rank; i++)
        w_num(&w, 1, dims[i]);
    w_num(&w, 2, dtype);
    w_str(&w, 8, name);
    return w;
}

static inline void w_external(wire *tensor, const char *key, const char *value)
{
    wire e = { 0 };

    w_str(&e, 1, key);
    w_str(&e, 2, value);
    w_sub(tensor, 13, e);
}

/* ---- models ---- */
static inline wire m_opset(const char *domain, int version)
{
    wire w = { 0 };

    if (*domain)
        w_str(&w, 1, domain);
    w_num(&w, 2, version);
    return w;
}

/* A model of one graph, which is freed. */
static inline wire m_model(int opset, wire graph)
{
    wire w = { 0 };

    w_num(&w, 1, 8);
    w_sub(&w, 8, m_opset("", opset));
    w_sub(&w, 7, graph);
    return w;
}

/* x [N, 4] -> node -> y. */
static inline wire m_one_node(int opset, wire node)
{
    const int64_t dims[2] = { -1, 4 };
    wire g = { 0 };

    w_sub(&g, 1, node);
    w_str(&g, 2, "g");
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    return m_model(opset, g);
}

#endif
