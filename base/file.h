/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - mapped and atomically written files.
 */
#ifndef CAB_BASE_FILE_H
#define CAB_BASE_FILE_H
#include "base/diag.h"
#include <stdint.h>

typedef struct cab_mapping { const uint8_t *p; size_t n; } cab_mapping;

/* Opens a file for reading; never waits for a writer. */
cab_status cab_file_open(const char *path, int *out_fd, cab_diag *d);
/* Maps a regular file read-only (an empty file gives n = 0, p non-NULL). */
cab_status cab_file_map(const char *path, cab_mapping *out, cab_diag *d);
/* As cab_file_map, of an open descriptor (stays open; label names it). */
cab_status cab_fd_map(int fd, const char *label, cab_mapping *out, cab_diag *d);
void cab_file_unmap(cab_mapping *m);
/* Opens a file strictly beneath the folder of base_path: openat2 with
 * RESOLVE_BENEATH and NO_SYMLINKS, regular, one link.  -> *out_fd. */
cab_status cab_file_open_beneath(const char *base_path, const char *relative,
                                 int *out_fd, cab_diag *d);
/* The same for whoever has words of their own: the descriptor, or -1 and errno, EXDEV for what leads out of the
 * folder or through a link, EISDIR for what is no regular file of one link. */
int cab_file_beneath(const char *base_path, const char *relative);
/* Writes path whole or not at all: a file without a name (or PATH.tmp.XXXXXXXX), fsync, rename. */
cab_status cab_file_write(const char *path, const void *p, size_t n, cab_diag *d);
/* Reads a whole (small) file or stream, NUL-terminated; the text lives as
 * long as the arena.  CAB_ELIMIT when it is longer than limit. */
struct cab_arena;
cab_status cab_file_read(struct cab_arena *a, const char *path, size_t limit,
                         char **out, size_t *out_n, cab_diag *d);
/* Anonymous sealed-size file for JIT images; -1 on failure. */
int cab_memfd(const char *name, size_t size);
/* Makes the file for the next cab_memfd now, for a process that gives up making some: its descriptor, or -1. */
int cab_memfd_reserve(const char *name);
/* Writes all n bytes at offset. */
cab_status cab_fd_write_at(int fd, uint64_t offset, const void *p, size_t n,
                           cab_diag *d);

#endif
