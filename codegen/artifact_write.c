/* SPDX-License-Identifier: Apache-2.0 */
/*
 * artifact_write.c - variants, strings, constants, notes and costs -> the bytes of a
 * .cab file (runtime/plan.h), in an anonymous file.
 *
 * The same input gives the same bytes: no time, no path, no address is in
 * them.
 */
#include "codegen/codegen_int.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct writer {
    cab_file_header header;
    cab_file_section sec[CAB_PLAN_MAX_SECTIONS];
    const void *from[CAB_PLAN_MAX_SECTIONS];   /* NULL: filled in place */
    uint8_t *file;                             /* mapped */
} writer;

static void add(writer *w, uint32_t kind, const void *p, uint64_t n)
{
    uint32_t i = w->header.n_sections++;
    w->sec[i] = (cab_file_section){ .kind = kind, .bytes = n };
    w->from[i] = p;
}

/* Its plan or its code. */
static void add_variant(writer *w, uint32_t kind, uint32_t number, const cab_variant *v,
                        const cab_buf *b)
{
    uint32_t i = w->header.n_sections;
    add(w, kind, b->p, b->n);
    w->sec[i].variant = number;
    w->sec[i].isa = v->isa;
    w->sec[i].special_of = v->special_of;
}

static uint64_t round_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

static void place(writer *w)
{
    uint64_t at = sizeof w->header + w->header.n_sections * sizeof *w->sec;
    for (uint32_t i = 0; i < w->header.n_sections; i++) {
        bool paged = w->sec[i].kind == CAB_SEC_CODE || w->sec[i].kind == CAB_SEC_WEIGHTS;
        at = round_up(at, paged ? CAB_PLAN_PAGE : 64);
        w->sec[i].offset = at;
        at += w->sec[i].bytes;
    }
    w->header.file_bytes = round_up(at, CAB_PLAN_PAGE);
}

static cab_file_section *find(writer *w, uint32_t kind)
{
    for (uint32_t i = 0; i < w->header.n_sections; i++)
        if (w->sec[i].kind == kind)
            return &w->sec[i];
    return NULL;
}

static void sum_weights(writer *w)
{
    const cab_file_section *weights = find(w, CAB_SEC_WEIGHTS), *crc = find(w, CAB_SEC_CRC);
    for (uint64_t at = 0; crc && at < weights->bytes; at += CAB_CRC_CHUNK) {
        uint64_t n = weights->bytes - at;
        uint32_t sum = cab_crc32c(0, w->file + weights->offset + at,
                                  n < CAB_CRC_CHUNK ? n : CAB_CRC_CHUNK);
        memcpy(w->file + crc->offset + at / CAB_CRC_CHUNK * 4, &sum, 4);
    }
}

/* Weights are hashed for a signature only: CRCs do against accidents. */
static void hash_sections(writer *w, bool is_signed)
{
    for (uint32_t i = 0; i < w->header.n_sections; i++) {
        cab_file_section *s = &w->sec[i];
        if (s->kind != CAB_SEC_SIGNATURE && (s->kind != CAB_SEC_WEIGHTS || is_signed))
            cab_sha256_of(w->file + s->offset, s->bytes, s->sha256);
    }
    cab_sha256 sum;
    cab_sha256_init(&sum);
    cab_sha256_add(&sum, &w->header, sizeof w->header);
    cab_sha256_add(&sum, w->sec, w->header.n_sections * sizeof *w->sec);
    cab_sha256_done(&sum, w->header.sha256);
}

static cab_status sign(writer *w, const cab_codegen_options *o, cab_diag *d)
{
    uint8_t message[sizeof CAB_SIGNED - 1 + 32];
    cab_file_signature sig;
    memcpy(message, CAB_SIGNED, sizeof CAB_SIGNED - 1);
    memcpy(message + sizeof CAB_SIGNED - 1, w->header.sha256, 32);
    if (o->sign(o->sign_user, message, sizeof message, sig.public_key, sig.signature))
        return cab_fail(d, CAB_EINVAL, NULL, "the artifact could not be signed");
    memcpy(w->file + find(w, CAB_SEC_SIGNATURE)->offset, &sig, sizeof sig);
    return CAB_OK;
}

static cab_status fill(writer *w, const cab_planner *last, cab_diag *d)
{
    const cab_codegen_options *o = last->src->options;
    for (uint32_t i = 0; i < w->header.n_sections; i++)
        if (w->from[i] && w->sec[i].bytes)
            memcpy(w->file + w->sec[i].offset, w->from[i], w->sec[i].bytes);
    CAB_TRY(cab_constants_write(&last->constants, w->file + find(w, CAB_SEC_WEIGHTS)->offset, o, d));
    sum_weights(w);
    hash_sections(w, o->sign != NULL);
    memcpy(w->file, &w->header, sizeof w->header);
    memcpy(w->file + sizeof w->header, w->sec, w->header.n_sections * sizeof *w->sec);
    return o->sign ? sign(w, o, d) : CAB_OK;
}

static void list_sections(writer *w, const cab_variant *v, int n, const cab_planner *last,
                          const cab_extras *extras)
{
    const cab_codegen_options *o = last->src->options;
    uint64_t chunks = (last->constants.bytes + CAB_CRC_CHUNK - 1) / CAB_CRC_CHUNK;
    for (int i = 0; i < n; i++)
        add_variant(w, CAB_SEC_PLAN, (uint32_t)i, &v[i], &v[i].plan);
    add(w, CAB_SEC_STRINGS, last->scalars.text.p, last->scalars.text.n);
    if (o->seal) {
        add(w, CAB_SEC_NOTES, extras->notes.p, extras->notes.n);
        if (extras->costs.n)
            add(w, CAB_SEC_COSTS, extras->costs.p, extras->costs.n);
        if (extras->tuning.n)
            add(w, CAB_SEC_TUNING, extras->tuning.p, extras->tuning.n);
        add(w, CAB_SEC_CRC, NULL, chunks * 4);
    }
    if (o->sign)
        add(w, CAB_SEC_SIGNATURE, NULL, sizeof(cab_file_signature));
    for (int i = 0; i < n; i++)
        add_variant(w, CAB_SEC_CODE, (uint32_t)i, &v[i], v[i].code);
    add(w, CAB_SEC_WEIGHTS, NULL, last->constants.bytes);
    if (o->embed)
        add(w, CAB_SEC_MODEL, o->embed, o->embed_bytes);
}

cab_status cab_variants_write(cab_arena *a, const cab_variant *variants, int n,
                              const cab_planner *last, const cab_extras *extras, int *out_fd,
                              uint64_t *out_size, cab_diag *d)
{
    writer *w = CAB_NEW(a, writer);
    w->header = (cab_file_header){ .magic = CAB_PLAN_MAGIC, .version = CAB_PLAN_VERSION };
    list_sections(w, variants, n, last, extras);
    place(w);
    uint64_t bytes = w->header.file_bytes;
    int fd = cab_memfd("cabochon", bytes);
    if (fd < 0)
        return cab_fail(d, CAB_ENOMEM, NULL, "no room for an artifact of %llu bytes",
                        (unsigned long long)bytes);
    w->file = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w->file == MAP_FAILED) {
        close(fd);
        return cab_fail(d, CAB_ENOMEM, NULL, "cannot map the artifact");
    }
    cab_status s = fill(w, last, d);
    munmap(w->file, bytes);
    if (s != CAB_OK) {
        close(fd);
        return s;
    }
    *out_fd = fd;
    *out_size = bytes;
    return CAB_OK;
}
