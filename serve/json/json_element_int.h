/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_element_int.h - one row per element type: what tensors' readers and
 * writers call for a run of elements.
 */
#ifndef CAB_SERVE_JSON_ELEMENT_INT_H
#define CAB_SERVE_JSON_ELEMENT_INT_H
#include "serve/json/json_tensor.h"

typedef struct json_element {
    const char *name;
    size_t bytes;
    bool is_bool;
    /* One element. */
    cab_fit (*store)(void *at, const cab_decimal *d);
    /* ", number" again and again from *p on, at most n times, into at[0..]; how many
     * were read.  Leaves *p before whatever it does not understand or take. */
    size_t (*read)(const char **p, const char *end, void *at, size_t n);
    /* Elements from at[0] on with commas between them; n * (CAB_NUMBER_MAX + 1) bytes of room. */
    char *(*write)(char *to, const void *at, size_t n, cab_json_nonfinite how);
} json_element;

/* NULL: no JSON form. */
const json_element *cab_json_element_of(int dtype);

#endif
