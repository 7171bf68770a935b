/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write.h - pieces of JSON text.
 */
#ifndef CAB_SERVE_JSON_WRITE_H
#define CAB_SERVE_JSON_WRITE_H
#include "serve/bytes.h"
#include <stdint.h>

/* "text", escaped; bytes that are not UTF-8 become U+FFFD. */
void cab_json_put_text(cab_bytes *b, cab_slice text);
/* "name":  (a name that needs no escapes) */
void cab_json_put_name(cab_bytes *b, const char *name);
void cab_json_put_int(cab_bytes *b, int64_t v);

#endif
