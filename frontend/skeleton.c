/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skeleton.c - a model file without its payloads.
 *
 * One walk over the wire format, before protobuf-c sees a byte.  What
 * onnx.proto names is copied; payloads of tensors are replaced by an index
 * into a table of (pointer, length); everything else is dropped.  The walk
 * enforces the limits on depth, count and size, which protobuf-c has none of,
 * and touches no payload: importing costs the size of the graph, not of the
 * weights.  It checks the shape of the wire format only; the meaning of fields
 * is the parser's and the importer's matter.
 */
#include "frontend/frontend_int.h"

enum message {
    M_MODEL, M_OPSET, M_GRAPH, M_NODE, M_ATTR, M_TENSOR, M_SPARSE, M_PAIR,
    M_INFO, M_TYPE, M_TENSOR_TYPE, M_OF_TYPE, M_MAP_TYPE, M_OPAQUE, M_SHAPE,
    M_DIM, M_FUNCTION, M_SEQUENCE, M_OPTIONAL, M_COUNT
};

/* What happens to a field: dropped (0), copied, cut out, or entered. */
enum { COPY = 1, CUT = 2, ENTER = 3 };
#define INTO(m) (ENTER + (m))
#define MAX_FIELD 26
#define CHUNK_FIELD 1000

static const uint8_t actions[M_COUNT][MAX_FIELD] = {
    [M_MODEL] = { [1] = COPY, [2] = COPY, [3] = COPY, [7] = INTO(M_GRAPH),
                  [8] = INTO(M_OPSET), [25] = INTO(M_FUNCTION) },
    [M_OPSET] = { [1] = COPY, [2] = COPY },
    [M_GRAPH] = { [1] = INTO(M_NODE), [2] = COPY, [5] = INTO(M_TENSOR),
                  [11] = INTO(M_INFO), [12] = INTO(M_INFO),
                  [15] = INTO(M_SPARSE) },
    [M_NODE] = { [1] = COPY, [2] = COPY, [3] = COPY, [4] = COPY,
                 [5] = INTO(M_ATTR), [7] = COPY, [8] = COPY },
    [M_ATTR] = { [1] = COPY, [2] = COPY, [3] = COPY, [4] = COPY,
                 [5] = INTO(M_TENSOR), [6] = INTO(M_GRAPH), [7] = COPY,
                 [8] = COPY, [9] = COPY, [10] = INTO(M_TENSOR),
                 [11] = INTO(M_GRAPH), [14] = INTO(M_TYPE), [20] = COPY,
                 [21] = COPY, [22] = INTO(M_SPARSE) },
    [M_TENSOR] = { [1] = COPY, [2] = COPY, [4] = CUT, [5] = CUT, [6] = COPY,
                   [7] = CUT, [8] = COPY, [9] = CUT, [10] = CUT, [11] = CUT,
                   [13] = INTO(M_PAIR), [14] = COPY },
    [M_SPARSE] = { [1] = INTO(M_TENSOR), [2] = INTO(M_TENSOR), [3] = COPY },
    [M_PAIR] = { [1] = COPY, [2] = COPY },
    [M_INFO] = { [1] = COPY, [2] = INTO(M_TYPE) },
    [M_TYPE] = { [1] = INTO(M_TENSOR_TYPE), [4] = INTO(M_OF_TYPE),
                 [5] = INTO(M_MAP_TYPE), [7] = INTO(M_OPAQUE),
                 [8] = INTO(M_TENSOR_TYPE), [9] = INTO(M_OF_TYPE) },
    [M_TENSOR_TYPE] = { [1] = COPY, [2] = INTO(M_SHAPE) },
    [M_OF_TYPE] = { [1] = INTO(M_TYPE) },
    [M_MAP_TYPE] = { [1] = COPY },
    [M_OPAQUE] = { [2] = COPY },
    [M_SHAPE] = { [1] = INTO(M_DIM) },
    [M_DIM] = { [1] = COPY, [2] = COPY },
    [M_FUNCTION] = { [1] = COPY, [4] = COPY, [5] = COPY, [6] = COPY,
                     [7] = INTO(M_NODE), [9] = INTO(M_OPSET), [10] = COPY,
                     [11] = INTO(M_ATTR), [13] = COPY },
    [M_SEQUENCE] = { [1] = COPY, [2] = COPY, [3] = INTO(M_TENSOR),
                     [5] = INTO(M_SEQUENCE), [7] = INTO(M_OPTIONAL) },
    [M_OPTIONAL] = { [1] = COPY, [2] = COPY, [3] = INTO(M_TENSOR),
                     [5] = INTO(M_SEQUENCE), [7] = INTO(M_OPTIONAL) },
};

typedef struct walker {
    cab_arena *arena;
    const uint8_t *base;
    const cab_wire_limits *limits;
    const char *label;
    cab_skeleton *out;
    cab_diag *diag;
    uint64_t n_nodes, n_messages;
} walker;

/* One field as it lies in the file. */
typedef struct field {
    const uint8_t *start, *body;
    size_t n;                  /* bytes of the body */
    uint32_t number;
    int wire;
} field;

static cab_status malformed(walker *w, const uint8_t *at, const char *why)
{
    cab_where where = { .file = w->label };

    cab_fail(w->diag, CAB_EMODEL, &where, "malformed protobuf at byte %zu: %s",
             (size_t)(at - w->base), why);
    cab_note(w->diag, "the file is cut short, damaged, or not of this format");
    return CAB_EMODEL;
}

static cab_status over(walker *w, const char *what, uint64_t limit)
{
    cab_where where = { .file = w->label };

    return cab_fail(w->diag, CAB_ELIMIT, &where, "more than %llu %s",
                    (unsigned long long)limit, what);
}

bool cab_read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;

        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

static cab_status read_field(walker *w, const uint8_t *p, const uint8_t *end,
                             field *f)
{
    uint64_t tag, n = 0;

    f->start = p;
    if (!cab_read_varint(&p, end, &tag) || tag >> 3 == 0 || tag >> 3 > 536870911)
        return malformed(w, f->start, "no field number");
    f->number = (uint32_t)(tag >> 3);
    f->wire = (int)(tag & 7);
    f->body = p;
    switch (f->wire) {
    case 0:
        if (!cab_read_varint(&p, end, &n))
            return malformed(w, f->start, "a number does not end");
        n = (uint64_t)(p - f->body);
        break;
    case 1:
        n = 8;
        break;
    case 2:
        if (!cab_read_varint(&p, end, &n))
            return malformed(w, f->start, "a length does not end");
        f->body = p;
        break;
    case 5:
        n = 4;
        break;
    default:
        return malformed(w, f->start, "unknown wire type");
    }
    if (n > (uint64_t)(end - f->body))
        return malformed(w, f->start, "a field reaches past its message");
    f->n = (size_t)n;
    return CAB_OK;
}

static void put_varint(cab_buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        cab_buf_char(b, (char)(v | 0x80));
    cab_buf_char(b, (char)v);
}

static cab_status cut(walker *w, const field *f)
{
    cab_chunk c = { f->body, f->n, (uint8_t)f->number, (uint8_t)f->wire };

    if (++w->n_messages > w->limits->messages)
        return over(w, "messages", w->limits->messages);
    put_varint(&w->out->bytes, CHUNK_FIELD << 3);
    put_varint(&w->out->bytes, w->out->chunks.n);
    cab_vec_push(w->arena, &w->out->chunks, c);
    return CAB_OK;
}

static cab_status walk(walker *w, const uint8_t *p, const uint8_t *end,
                       enum message m, int depth);

/* Writes a message whose length is known only afterwards: the length takes
 * five bytes, padded. */
static cab_status enter(walker *w, const field *f, enum message m, int depth)
{
    cab_buf *b = &w->out->bytes;
    uint64_t n;
    size_t at;

    put_varint(b, (uint64_t)f->number << 3 | 2);
    at = b->n;
    cab_buf_bytes(b, "\x80\x80\x80\x80", 5);
    CAB_TRY(walk(w, f->body, f->body + f->n, m, depth + 1));
    n = b->n - at - 5;
    for (int i = 0; i < 5; i++)
        b->p[at + (size_t)i] =
            (char)((n >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
    return CAB_OK;
}

static cab_status walk(walker *w, const uint8_t *p, const uint8_t *end,
                       enum message m, int depth)
{
    if (depth > w->limits->depth)
        return over(w, "levels of nested messages",
                    (uint64_t)w->limits->depth);
    if (++w->n_messages > w->limits->messages)
        return over(w, "messages", w->limits->messages);
    /* A tensor becomes a node, and two bytes of one 200 when unpacked. */
    if ((m == M_NODE || m == M_TENSOR) && ++w->n_nodes > w->limits->nodes)
        return over(w, "nodes and tensors", w->limits->nodes);
    while (p < end) {
        field f;
        uint8_t action;

        CAB_TRY(read_field(w, p, end, &f));
        p = f.body + f.n;
        action = f.number < MAX_FIELD ? actions[m][f.number] : 0;
        if (action == 0)
            continue;
        if (action == CUT)
            CAB_TRY(cut(w, &f));
        else if (action == COPY)
            cab_buf_bytes(&w->out->bytes, f.start, (size_t)(p - f.start));
        else if (f.wire != 2)
            return malformed(w, f.start, "a message field is no message");
        else
            CAB_TRY(enter(w, &f, (enum message)(action - ENTER), depth));
        if (w->out->bytes.n > w->limits->bytes)
            return over(w, "bytes of graph structure", w->limits->bytes);
    }
    return CAB_OK;
}

cab_status cab_skeleton_build(cab_arena *a, const uint8_t *p, size_t n,
                              cab_wire_root root, const cab_wire_limits *l,
                              const char *label, cab_skeleton *out, cab_diag *d)
{
    static const enum message first[] = {
        [CAB_WIRE_MODEL] = M_MODEL, [CAB_WIRE_TENSOR] = M_TENSOR,
        [CAB_WIRE_SEQUENCE] = M_SEQUENCE, [CAB_WIRE_OPTIONAL] = M_OPTIONAL,
    };
    walker w = { .arena = a, .base = p, .limits = l, .label = label,
                 .out = out, .diag = d };

    *out = (cab_skeleton){ .bytes = cab_buf_on(a) };
    return walk(&w, p, p + n, first[root], 1);
}
