/* SPDX-License-Identifier: Apache-2.0 */
/*
 * artifact.c - the container of a .cab file: header, section table, hashes,
 * and which of its variants fits a machine.
 *
 * Nothing here looks inside a section; plan.c does.
 */
#include "runtime/runtime_int.h"
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
#define SECTION(number, id, name) [number] = name,
    CAB_SECTIONS(SECTION)
#undef SECTION
};

const char *cab_section_name(uint32_t kind)
{
    return kind > 0 && kind < CAB_SEC_COUNT ? names[kind]
         : kind == CAB_SEC_COSTS ? "costs"
         : kind == CAB_SEC_TUNING ? "tuning" : "unknown";
}

static cab_status refuse(cab_error *e, const char *what)
{
    return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: %s", what);
}

static cab_status bad_section(cab_error *e, const cab_file_section *s, const char *what)
{
    return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: section %s %s",
                                   cab_section_name(s->kind), what);
}

static cab_status read_header(const uint8_t *p, uint64_t n, cab_artifact *a, cab_error *e)
{
    const cab_file_header *h = a->header = (const void *)p;
    if (n < sizeof *h || memcmp(h->magic, CAB_PLAN_MAGIC, sizeof h->magic))
        return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "not a Cabochon artifact");
    if (h->version < CAB_PLAN_OLDEST || h->version > CAB_PLAN_VERSION)
        return (cab_status)cab_rt_fail(
            e, CAB_EARTIFACT,
            "artifact of plan version %u; this runtime loads versions %d to %d: compile it again "
            "with a compiler of this runtime's release",
            h->version, CAB_PLAN_OLDEST, CAB_PLAN_VERSION);
    if (h->file_bytes != n)
        return refuse(e, "its length is not what the header says (cut off?)");
    if (h->n_sections > CAB_PLAN_MAX_SECTIONS ||
        sizeof *h + h->n_sections * sizeof *a->sections > n)
        return refuse(e, "section table");
    a->sections = (const void *)(p + sizeof *h);
    return CAB_OK;
}

static cab_status check_header_hash(const cab_artifact *a, cab_error *e)
{
    cab_file_header h = *a->header;
    uint8_t sum[32];
    cab_sha256 s;
    memset(h.sha256, 0, sizeof h.sha256);
    cab_sha256_init(&s);
    cab_sha256_add(&s, &h, sizeof h);
    cab_sha256_add(&s, a->sections, h.n_sections * sizeof *a->sections);
    cab_sha256_done(&s, sum);
    return memcmp(sum, a->header->sha256, sizeof sum) ? refuse(e, "checksum of header") : CAB_OK;
}

/* Sections follow one another, aligned, inside the file. */
static cab_status check_section(const cab_artifact *a, const cab_file_section *s, uint64_t *end,
                                cab_error *e)
{
    bool paged = s->kind == CAB_SEC_CODE || s->kind == CAB_SEC_WEIGHTS;
    if ((s->kind == 0 || s->kind >= CAB_SEC_COUNT) && s->kind < CAB_SEC_OPTIONAL)
        return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "the artifact has a section of kind %u, "
                                       "which this runtime does not know", s->kind);
    if (s->offset < *end || s->offset > a->n || s->bytes > a->n - s->offset)
        return bad_section(e, s, "lies outside the file");
    if (s->offset % (paged ? CAB_PLAN_PAGE : 64))
        return bad_section(e, s, "is not aligned");
    *end = s->offset + s->bytes;
    for (const cab_file_section *o = a->sections; o < s; o++)
        if (o->kind == s->kind && o->variant == s->variant)
            return bad_section(e, s, "stands twice");
    return CAB_OK;
}

/* Counts the variants: first those that stand alone, then what specialises
 * them. */
static cab_status check_variants(cab_artifact *a, cab_error *e)
{
    const cab_file_section *plan;
    for (; (plan = cab_artifact_find(a, CAB_SEC_PLAN, (uint32_t)a->n_variants)); a->n_variants++) {
        const cab_file_section *code = cab_artifact_find(a, CAB_SEC_CODE, (uint32_t)a->n_variants);
        if (!code || code->isa != plan->isa || code->special_of != plan->special_of)
            return refuse(e, "a plan has no code section");
        if (!plan->special_of && a->n_targets == a->n_variants)
            a->n_targets++;
        else if (!plan->special_of || plan->special_of > (uint32_t)a->n_targets ||
                 plan->isa != cab_artifact_find(a, CAB_SEC_PLAN, plan->special_of - 1)->isa)
            return bad_section(e, plan, "specialises no other");
    }
    return CAB_OK;
}

cab_status cab_artifact_open(const void *bytes, uint64_t n, cab_artifact *a, cab_error *e)
{
    *a = (cab_artifact){ .p = bytes, .n = n };
    if ((uintptr_t)bytes % 64)
        return (cab_status)cab_rt_fail(e, CAB_EINVAL, "artifact bytes must be 64-byte aligned");
    CAB_TRY(read_header(bytes, n, a, e));
    CAB_TRY(check_header_hash(a, e));
    uint64_t end = sizeof *a->header + a->header->n_sections * sizeof *a->sections;
    for (uint32_t i = 0; i < a->header->n_sections; i++)
        CAB_TRY(check_section(a, &a->sections[i], &end, e));
    CAB_TRY(check_variants(a, e));
    if (!a->n_variants || !cab_artifact_find(a, CAB_SEC_STRINGS, 0) ||
        !cab_artifact_find(a, CAB_SEC_WEIGHTS, 0))
        return refuse(e, "a section is missing");
    return CAB_OK;
}

const cab_file_section *cab_artifact_find(const cab_artifact *a, uint32_t kind, uint32_t variant)
{
    for (uint32_t i = 0; i < a->header->n_sections; i++)
        if (a->sections[i].kind == kind && a->sections[i].variant == variant)
            return &a->sections[i];
    return NULL;
}

const uint8_t *cab_artifact_bytes(const cab_artifact *a, const cab_file_section *s)
{
    return a->p + s->offset;
}

/* ---- variants ---- */

cab_status cab_artifact_choose(const cab_artifact *a, uint32_t isa, uint32_t *out, cab_error *e)
{
    char text[sizeof e->text], lacking[160];
    size_t at = 0;
    for (*out = 0; *out < (uint32_t)a->n_targets; ++*out) {
        uint32_t missing = cab_artifact_find(a, CAB_SEC_PLAN, *out)->isa & ~isa;
        if (!missing)
            return CAB_OK;
        int n = snprintf(text + at, sizeof text - at, "%s%s", at ? "; or " : "",
                         cab_isa_names(missing, lacking, sizeof lacking));
        at = n > 0 && at + (size_t)n < sizeof text ? at + (size_t)n : at;
    }
    return (cab_status)cab_rt_fail(
        e, CAB_EARTIFACT, "this processor lacks %.*s, which the artifact's code needs: compile it "
        "for this machine or with --target x86-64-v2,x86-64-v3,x86-64-v4", (int)at, text);
}

/* ---- integrity ---- */

static bool has_hash(const cab_file_section *s)
{
    static const uint8_t none[32];
    return memcmp(s->sha256, none, sizeof none) != 0;
}

cab_status cab_artifact_check(const cab_artifact *a, const cab_file_section *s, cab_error *e)
{
    uint8_t sum[32];
    if (!has_hash(s) && (s->kind == CAB_SEC_WEIGHTS || s->kind == CAB_SEC_SIGNATURE))
        return CAB_OK;
    cab_sha256_of(a->p + s->offset, s->bytes, sum);
    return memcmp(sum, s->sha256, sizeof sum) ? bad_section(e, s, "does not match its checksum")
                                              : CAB_OK;
}

static cab_status check_weights(const cab_artifact *a, cab_error *e)
{
    const cab_file_section *w = cab_artifact_find(a, CAB_SEC_WEIGHTS, 0);
    const cab_file_section *c = cab_artifact_find(a, CAB_SEC_CRC, 0);
    uint64_t chunks = (w->bytes + CAB_CRC_CHUNK - 1) / CAB_CRC_CHUNK;
    if (!c)
        return has_hash(w) || !w->bytes ? CAB_OK : bad_section(e, w, "carries no checksums");
    if (c->bytes != chunks * sizeof(uint32_t))
        return bad_section(e, c, "has another length than the weights ask for");
    const uint32_t *sums = (const void *)(a->p + c->offset);
    for (uint64_t i = 0; i < chunks; i++) {
        uint64_t at = i * CAB_CRC_CHUNK, n = w->bytes - at;
        if (cab_crc32c(0, a->p + w->offset + at, n < CAB_CRC_CHUNK ? n : CAB_CRC_CHUNK) == sums[i])
            continue;
        return (cab_status)cab_rt_fail(
            e, CAB_EARTIFACT, "damaged artifact: section weights does not match its checksum "
            "(bytes %llu to %llu)", (unsigned long long)at, (unsigned long long)(at + CAB_CRC_CHUNK));
    }
    return CAB_OK;
}

static bool zeros(const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

cab_status cab_artifact_verify(const cab_artifact *a, cab_error *e)
{
    uint64_t end = sizeof *a->header + a->header->n_sections * sizeof *a->sections;
    for (uint32_t i = 0; i < a->header->n_sections; i++) {
        const cab_file_section *s = &a->sections[i];
        if (!zeros(a->p + end, s->offset - end))
            return refuse(e, "bytes between sections");
        end = s->offset + s->bytes;
        CAB_TRY(cab_artifact_check(a, s, e));
    }
    return zeros(a->p + end, a->n - end) ? check_weights(a, e) : refuse(e, "bytes behind the last section");
}

cab_status cab_artifact_check_signature(const cab_artifact *a, const cab_model_options *o,
                                        cab_error *e)
{
    const cab_file_section *s = cab_artifact_find(a, CAB_SEC_SIGNATURE, 0);
    const cab_file_section *w = cab_artifact_find(a, CAB_SEC_WEIGHTS, 0);
    const cab_file_signature *sig = s ? (const void *)(a->p + s->offset) : NULL;
    uint8_t message[sizeof CAB_SIGNED - 1 + 32];
    if (!sig || s->bytes != sizeof *sig || (w->bytes && !has_hash(w)))
        return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "the artifact is not signed");
    memcpy(message, CAB_SIGNED, sizeof CAB_SIGNED - 1);
    memcpy(message + sizeof CAB_SIGNED - 1, a->header->sha256, 32);
    if (o->check_signature(o->signature_user, sig->public_key, sig->signature, message,
                           sizeof message))
        return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "the artifact's signature is not accepted");
    return cab_artifact_verify(a, e);
}
