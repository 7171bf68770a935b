/* SPDX-License-Identifier: Apache-2.0 */
/*
 * constants.c - the weights section: constants as kernels want them.
 *
 * A constant is stored as it is, or in the packed form a kernel asked for
 * (cab_pack), once per distinct form, 64-byte aligned.  Sources may be
 * unaligned (mapped model files).
 */
#include "codegen/codegen_int.h"
#include <string.h>

void cab_constants_init(cab_constants *c, cab_arena *a)
{
    *c = (cab_constants){ .arena = a, .by_key = cab_map_create(a) };
}

void cab_constants_compare(cab_constants *c)
{
    if (c->by_content)
        return;
    c->by_content = cab_map_create(c->arena);
    c->known = cab_map_create(c->arena);
}

typedef struct blob_key { const void *data; uint64_t bytes; } blob_key;

/* The first blob of the same bytes; it stands for all of them. */
static const cab_blob *same_blob(cab_constants *c, const cab_blob *blob)
{
    blob_key key = { blob->data, blob->bytes };
    if (!c->by_content || !blob->bytes)
        return blob;
    const cab_blob *one = cab_map_get(c->known, &key, sizeof key);
    if (one)
        return one;
    uint64_t sum = (uint64_t)cab_crc32c(0, blob->data, blob->bytes) << 32 ^ blob->bytes;
    one = cab_map_getu(c->by_content, sum);
    if (!one)
        cab_map_setu(c->by_content, sum, (void *)(uintptr_t)blob);
    if (!one || one->bytes != blob->bytes || memcmp(one->data, blob->data, blob->bytes))
        one = blob;
    cab_map_set(c->known, &key, sizeof key, (void *)(uintptr_t)one);
    return one;
}

typedef struct constant_key { const cab_blob *blob; const void *data; cab_pack pack; } constant_key;

static uint64_t packed_bytes(const cab_pack *p)
{
    uint64_t n = 1, bytes;
    for (int i = p->n_dims - 1; i >= 0; i--) {
        n += i == p->hi ? (uint64_t)p->pad : 0;
        n *= (uint64_t)p->dims[i];
    }
    CAB_ASSERT(cab_dtype_bytes(p->dtype, n, &bytes));
    return bytes;
}

int cab_constants_add(cab_constants *c, int buffer, const cab_blob *blob, const cab_pack *pack)
{
    constant_key key;
    memset(&key, 0, sizeof key);
    blob = same_blob(c, blob);
    key.data = blob->data;
    if (pack) {
        key.pack = *pack;
        key.pack.operand = 0;          /* the same form from any operand slot */
    } else {
        key.pack.n_dims = -1;
        key.pack.base = (int64_t)blob->bytes;
    }
    uintptr_t known = (uintptr_t)cab_map_get(c->by_key, &key, sizeof key);
    if (known)
        return (int)(known - 1);
    cab_constant k = { buffer, pack, blob, c->bytes,
                       pack ? packed_bytes(pack) : blob->bytes };
    c->bytes = (c->bytes + k.bytes + 63) & ~(uint64_t)63;
    cab_vec_push(c->arena, &c->list, k);
    cab_map_set(c->by_key, &key, sizeof key, (void *)(uintptr_t)c->list.n);
    return (int)c->list.n - 1;
}

/* One run of the innermost packed dim: n elements, source step apart. */
static void pack_run(uint8_t *dst, const uint8_t *src, int64_t n, int64_t step, int size)
{
    if (step == 1) {
        memcpy(dst, src, (size_t)(n * size));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(dst + i * size, src + i * step * size, (size_t)size);
}

static void pack_constant(const cab_pack *p, const cab_blob *blob, uint8_t *dst)
{
    int64_t at[8] = { 0 };
    int last = p->n_dims - 1, size = cab_dtype_bits(p->dtype) / 8;
    CAB_ASSERT(p->lo == last && p->hi >= 0 && p->hi < last);
    int64_t run = p->dims[last], n_rows = 1;
    for (int i = 0; i < last; i++)
        n_rows *= p->dims[i];
    memset(dst, 0, packed_bytes(p));
    for (int64_t row = 0; row < n_rows; row++, dst += run * size) {
        int64_t src = p->base, n = run;
        for (int i = 0; i < last; i++)
            src += p->coef[i] * at[i];
        int64_t left = p->bound - at[p->hi] * run;
        n = left < n ? left : n;
        if (n > 0) {
            int64_t far = src + (n - 1) * p->coef[last];
            int64_t elems = (int64_t)(blob->bytes / (uint64_t)size);
            CAB_ASSERT(src >= 0 && src < elems && far >= 0 && far < elems);
            pack_run(dst, (const uint8_t *)blob->data + src * size, n, p->coef[last], size);
        }
        for (int i = last - 1; i >= 0; i--) {
            if (i == p->hi)
                dst += (int64_t)p->pad * size;
            if (++at[i] < p->dims[i])
                break;
            at[i] = 0;
        }
    }
}

/* Large weights, too, leave time to be asked. */
static cab_status copy(uint8_t *to, const cab_blob *blob, const cab_cancel *cancel, cab_diag *d)
{
    const uint64_t step = (uint64_t)8 << 20;
    for (uint64_t at = 0; at < blob->bytes; at += step) {
        CAB_TRY(cab_cancel_check(cancel, d));
        memcpy(to + at, (const uint8_t *)blob->data + at,
               blob->bytes - at < step ? blob->bytes - at : step);
    }
    return CAB_OK;
}

cab_status cab_constant_write(const cab_constant *k, uint8_t *dst, const cab_cancel *cancel,
                              cab_diag *d)
{
    CAB_TRY(cab_cancel_check(cancel, d));
    if (!k->pack)
        return copy(dst, k->blob, cancel, d);
    pack_constant(k->pack, k->blob, dst);
    return CAB_OK;
}
