/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse_type.c - types: f32[N,4*M] layout(0,2,3,1) quant(1, 0, %s, _),
 * seq(...), optional(...).
 */
#include <string.h>
#include "ir/ir_int.h"

enum { MAX_NESTING = 64 };

/* Integers "0,2,3,1" into out[0..rank-1]. */
static cab_status parse_small(cab_lex *l, int rank, int64_t max, int32_t *out)
{
    for (int i = 0; i < rank; i++) {
        int64_t v;
        if (i)
            CAB_TRY(cab_lex_expect(l, ','));
        CAB_TRY(cab_lex_int(l, &v));
        if (v < 0 || v > max)
            return cab_lex_fail(l, l->p, CAB_EPARSE, "%lld in a layout", (long long)v);
        out[i] = (int32_t)v;
    }
    return CAB_OK;
}

/* Before the halos; it is no comment here. */
static bool semicolon(cab_lex *l)
{
    l->p += strspn(l->p, " \t");
    if (*l->p != ';')
        return false;
    l->p++;
    return true;
}

static cab_status parse_layout(cab_lex *l, int rank, cab_layout *out)
{
    int32_t perm[CAB_MAX_RANK];
    bool seen[CAB_MAX_RANK] = { false };
    const char *from = l->p;

    out->rank = rank;
    CAB_TRY(cab_lex_expect(l, '('));
    CAB_TRY(parse_small(l, rank, rank - 1, perm));
    for (int i = 0; i < rank; i++) {
        if (seen[perm[i]])
            return cab_lex_fail(l, from, CAB_EPARSE, "a layout repeats axis %d",
                                (int)perm[i]);
        seen[perm[i]] = true;
        out->perm[i] = (uint8_t)perm[i];
    }
    if (semicolon(l)) {
        CAB_TRY(parse_small(l, rank, 1 << 20, out->halo_lo));
        if (!semicolon(l))
            return cab_lex_fail(l, l->p, CAB_EPARSE, "the upper halos expected");
        CAB_TRY(parse_small(l, rank, 1 << 20, out->halo_hi));
    }
    return cab_lex_expect(l, ')');
}

static cab_status parse_quant(cab_parser *p, int rank, cab_quant *out)
{
    cab_lex *l = &p->l;
    const char *from = l->p;
    int64_t axis;

    CAB_TRY(cab_lex_expect(l, '('));
    CAB_TRY(cab_lex_int(l, &axis));
    CAB_TRY(cab_lex_expect(l, ','));
    CAB_TRY(cab_lex_int(l, &out->block));
    CAB_TRY(cab_lex_expect(l, ','));
    if (axis < -1 || axis >= rank || out->block < 0)
        return cab_lex_fail(l, from, CAB_EPARSE, "a quantisation of axis %lld",
                            (long long)axis);
    out->axis = (int)axis;
    CAB_TRY(cab_parse_value(p, &out->scale));
    CAB_TRY(cab_lex_expect(l, ','));
    CAB_TRY(cab_parse_value(p, &out->zero));
    if (!out->scale)
        return cab_lex_fail(l, from, CAB_EPARSE, "a quantisation without a scale");
    return cab_lex_expect(l, ')');
}

static cab_status parse_tensor_type(cab_parser *p, cab_type *out)
{
    cab_lex *l = &p->l;

    *out = (cab_type){ .kind = CAB_KIND_tensor };
    if (!cab_lex_word(l, "any"))
        CAB_TRY(cab_lex_dtype(l, &out->dtype));
    CAB_TRY(cab_lex_expect(l, '['));
    if (cab_lex_char(l, '*')) {
        out->rank = CAB_RANK_UNKNOWN;
        return cab_lex_expect(l, ']');
    }
    while (!cab_lex_char(l, ']')) {
        if (out->rank)
            CAB_TRY(cab_lex_expect(l, ','));
        if (out->rank == CAB_MAX_RANK)
            return cab_lex_fail(l, l->p, CAB_EUNSUPPORTED, "a rank over %d",
                                CAB_MAX_RANK);
        CAB_TRY(cab_lex_dim(l, p->g->dims, &out->dims[out->rank]));
        if (out->dims[out->rank++]->hi < 0)
            return cab_lex_fail(l, l->p, CAB_EPARSE, "a negative extent");
    }
    if (cab_lex_word(l, "layout")) {
        cab_layout *layout = CAB_NEW(l->arena, cab_layout);
        CAB_TRY(parse_layout(l, out->rank, layout));
        out->layout = layout;
    }
    if (cab_lex_word(l, "quant")) {
        cab_quant *quant = CAB_NEW(l->arena, cab_quant);
        CAB_TRY(parse_quant(p, out->rank, quant));
        out->quant = quant;
    }
    return CAB_OK;
}

cab_status cab_parse_type(cab_parser *p, cab_type *out)
{
    cab_lex *l = &p->l;
    cab_type *at = out;
    int nesting = 0;

    for (;; nesting++) {
        bool seq = cab_lex_word(l, "seq");
        if (!seq && !cab_lex_word(l, "optional"))
            break;
        if (nesting == MAX_NESTING)
            return cab_lex_fail(l, l->p, CAB_ELIMIT, "types nested over %d deep",
                                MAX_NESTING);
        CAB_TRY(cab_lex_expect(l, '('));
        *at = (cab_type){ .kind = seq ? CAB_KIND_sequence : CAB_KIND_optional };
        cab_type *elem = CAB_NEW(l->arena, cab_type);
        at->elem = elem;
        at = elem;
    }
    CAB_TRY(parse_tensor_type(p, at));
    while (nesting--)
        CAB_TRY(cab_lex_expect(l, ')'));
    return CAB_OK;
}
