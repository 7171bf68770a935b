/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.c - protobuf-c on a skeleton, under a budget.
 *
 * protobuf-c allocates through a callback, across which an arena may not jump:
 * it gets a bump pool of its own that answers NULL when its budget is spent.
 * Everything parsing makes is dropped at once by cab_parse_done, at the latest
 * with the caller's arena.
 */
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend_int.h"

#define POOL_CHUNK ((size_t)256 << 10)

typedef struct pool_chunk {
    struct pool_chunk *next;
    size_t used, size;
} pool_chunk;

#define POOL_HEAD ((sizeof(pool_chunk) + 15) & ~(size_t)15)

struct cab_parse_memory {
    ProtobufCAllocator allocator;
    pool_chunk *chunks;
    size_t held, budget;
    bool refused;                  /* an allocation was over the budget */
    bool exhausted;                /* malloc failed */
    cab_arena *scratch;            /* the skeleton */
};

cab_wire_limits cab_limits_of(const cab_import_options *o)
{
    static const cab_import_options none;

    o = o ? o : &none;
    return (cab_wire_limits){
        .nodes = o->max_nodes ? o->max_nodes : 1000000,
        .messages = o->max_messages ? o->max_messages : 8000000,
        .bytes = o->max_bytes ? o->max_bytes : (uint64_t)1 << 30,
        .depth = o->max_depth ? o->max_depth : 100,
    };
}

static void *pool_alloc(void *arg, size_t n)
{
    struct cab_parse_memory *m = arg;
    pool_chunk *c = m->chunks;
    size_t size;

    if (n > m->budget) {
        m->refused = true;
        return NULL;
    }
    n = (n + 15) & ~(size_t)15;
    if (!c || c->size - c->used < n) {
        size = n > POOL_CHUNK ? n : POOL_CHUNK;
        m->refused = size > m->budget - m->held;
        c = m->refused ? NULL : malloc(POOL_HEAD + size);
        if (!c) {
            m->exhausted = !m->refused;
            return NULL;
        }
        *c = (pool_chunk){ .next = m->chunks, .size = size };
        m->chunks = c;
        m->held += size;
    }
    c->used += n;
    return (char *)c + POOL_HEAD + c->used - n;
}

static void pool_free(void *arg, void *p)
{
    (void)arg;
    (void)p;
}

static void memory_drop(void *arg)
{
    struct cab_parse_memory *m = arg;

    for (pool_chunk *c = m->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    m->chunks = NULL;
    cab_arena_destroy(m->scratch);
    m->scratch = NULL;
}

void cab_parse_done(cab_parsed *m)
{
    if (m->memory)
        memory_drop(m->memory);
    *m = (cab_parsed){ 0 };
}

static const ProtobufCMessageDescriptor *descriptor_of(cab_wire_root root)
{
    switch (root) {
    case CAB_WIRE_TENSOR:
        return &onnx__tensor_proto__descriptor;
    case CAB_WIRE_SEQUENCE:
        return &onnx__sequence_proto__descriptor;
    case CAB_WIRE_OPTIONAL:
        return &onnx__optional_proto__descriptor;
    default:
        return &onnx__model_proto__descriptor;
    }
}

cab_status cab_parse(cab_arena *a, const uint8_t *p, size_t n,
                     cab_wire_root root, const cab_wire_limits *l,
                     const char *label, cab_parsed *out, cab_diag *d)
{
    struct cab_parse_memory *m = CAB_NEW(a, struct cab_parse_memory);
    cab_where where = { .file = label };
    cab_skeleton s;
    const uint8_t *bytes;
    uint64_t budget;

    *out = (cab_parsed){ .memory = m };
    m->allocator = (ProtobufCAllocator){ pool_alloc, pool_free, m };
    cab_arena_cleanup(a, memory_drop, m);
    m->scratch = cab_arena_create(cab_arena_job(a));
    if (!m->scratch)
        return cab_fail(d, CAB_ENOMEM, &where, "no memory to parse the file");
    CAB_TRY(cab_skeleton_build(m->scratch, p, n, root, l, label, &s, d));
    /* A message of two bytes becomes a struct of some hundred. */
    budget = ((uint64_t)64 << 20) + 32 * (uint64_t)s.bytes.n;
    m->budget = (size_t)(budget < l->bytes ? budget : l->bytes);
    bytes = (const uint8_t *)cab_buf_cstr(&s.bytes);
    out->msg = protobuf_c_message_unpack(descriptor_of(root), &m->allocator,
                                         s.bytes.n, bytes);
    out->chunks = s.chunks.p;
    out->n_chunks = s.chunks.n;
    if (out->msg)
        return CAB_OK;
    if (m->exhausted)
        return cab_fail(d, CAB_ENOMEM, &where, "no memory to parse the file");
    if (m->refused)
        return cab_fail(d, CAB_ELIMIT, &where,
                        "parsing takes more than %zu bytes of memory",
                        m->budget);
    return cab_fail(d, CAB_EMODEL, &where,
                    "malformed protobuf: a field has the wrong type");
}

static void unmap(void *arg)
{
    cab_file_unmap(arg);
}

cab_status cab_map_for(cab_arena *a, const char *path, cab_mapping **out,
                       cab_diag *d)
{
    cab_mapping *m = CAB_NEW(a, cab_mapping);

    /* First the cleanup: registering it may jump. */
    cab_arena_cleanup(a, unmap, m);
    *out = m;
    return cab_file_map(path, m, d);
}
