/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.h - a growing byte/text buffer on an arena (printers, writers).
 */
#ifndef CAB_BASE_BUF_H
#define CAB_BASE_BUF_H
#include "base/arena.h"

typedef struct cab_buf { cab_arena *arena; char *p; size_t n, cap; } cab_buf;
static inline cab_buf cab_buf_on(cab_arena *a) { return (cab_buf){ .arena = a }; }
void cab_buf_bytes(cab_buf *b, const void *p, size_t n);
void cab_buf_str(cab_buf *b, const char *s);
void cab_buf_char(cab_buf *b, char c);
void cab_buf_printf(cab_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends zero bytes until the length is a multiple of align. */
void cab_buf_align(cab_buf *b, size_t align);
/* NUL-terminated contents (the NUL is not counted in n). */
const char *cab_buf_cstr(cab_buf *b);
/* Shortest decimal text that reads back as the same double/float; inf, -inf,
 * nan spelled so. */
void cab_buf_f64(cab_buf *b, double v);
void cab_buf_f32(cab_buf *b, float v);
/* C-quoted string: "..." with \" \\ \n \t \xHH escapes. */
void cab_buf_quoted(cab_buf *b, const char *s, size_t n);

#endif
