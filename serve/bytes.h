/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - a growing byte buffer on the heap, and slices of text.
 *
 * What the server writes answers into.  A failed allocation is remembered and
 * later calls do nothing, so that a writer is checked once, at its end.
 */
#ifndef CAB_SERVE_BYTES_H
#define CAB_SERVE_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Text that somebody else owns; not NUL-terminated. */
typedef struct cab_slice { const char *p; size_t n; } cab_slice;
#define CAB_SLICE(literal) ((cab_slice){ (literal), sizeof(literal) - 1 })
static inline cab_slice cab_slice_of(const char *s) { return (cab_slice){ s, strlen(s) }; }
static inline bool cab_slice_is(cab_slice a, const char *s)
{
    return a.n == strlen(s) && !memcmp(a.p, s, a.n);
}

/* {0} is empty. */
typedef struct cab_bytes {
    char *p;
    size_t n, cap;
    size_t limit;              /* most that it may hold; 0 = no limit */
    bool failed, over;         /* out of memory, or over the limit; that it was the limit */
} cab_bytes;

void cab_bytes_fini(cab_bytes *b);
/* Empties it, keeps the memory. */
static inline void cab_bytes_clear(cab_bytes *b) { b->n = 0; b->failed = b->over = false; }
/* Room for n more bytes at p + n, or NULL. */
char *cab_bytes_room(cab_bytes *b, size_t n);
/* n bytes were written into the room. */
static inline void cab_bytes_wrote(cab_bytes *b, size_t n) { b->n += n; }
void cab_bytes_put(cab_bytes *b, const void *p, size_t n);
static inline void cab_bytes_str(cab_bytes *b, const char *s) { cab_bytes_put(b, s, strlen(s)); }
static inline void cab_bytes_slice(cab_bytes *b, cab_slice s) { cab_bytes_put(b, s.p, s.n); }
void cab_bytes_char(cab_bytes *b, char c);
void cab_bytes_printf(cab_bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* NUL-terminated contents (the NUL is not counted); "" when it failed. */
const char *cab_bytes_cstr(cab_bytes *b);

#endif
