/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text_int.h - strings inside a JSON text.
 */
#ifndef CAB_SERVE_JSON_TEXT_INT_H
#define CAB_SERVE_JSON_TEXT_INT_H
#include <stdbool.h>

/* The string whose first byte (behind the quote) is p: its closing quote, or
 * NULL with *why and *at.  *escaped: it has escapes. */
const char *cab_json_string(const char *p, const char *end, bool *escaped, const char **why, const char **at);

#endif
