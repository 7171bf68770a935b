/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcab_int.h - shared by the files of libcab/.
 */
#ifndef CAB_LIBCAB_LIBCAB_INT_H
#define CAB_LIBCAB_LIBCAB_INT_H
#include "ir/spec.h"
#include "libcab/libcab.h"

/* A source while it is compiled. */
typedef struct cab_opened {
    const char *label;         /* for messages and external data; may be NULL */
    const char *name;          /* of the model; "" without one */
    int fd;                    /* of the file; -1 for bytes */
    cab_mapping map;           /* its bytes, once cab_opened_map was called */
    bool mapped;               /* map is ours to undo */
    const uint8_t *hash;       /* SHA-256 of the bytes, when known */
} cab_opened;
cab_status cab_opened_map(cab_opened *f, cab_diag *d);

/* ---- compile.c ---- */
/* Compiles in this process, on this thread's landing pad. */
cab_status cab_compile_here(const cab_compiler *c, cab_opened *f, cab_compiled *out, cab_diag *d);
/* SHA-256 of n bytes; asks for cancellation now and then. */
cab_status cab_hash_bytes(const void *p, size_t n, const cab_cancel *cancel, uint8_t out[32],
                          cab_diag *d);

/* ---- sizes.c: extents with several values ---- */
typedef struct cab_size {
    cab_import_options import; /* all listed extents bound */
    const char *label;         /* "batch=1, seq=128" */
} cab_size;
typedef struct cab_sizes {
    cab_import_options open;   /* extents with one value are bound, listed ones open */
    int n;                     /* combinations of the listed values; 0: nothing is listed */
    cab_size *size;
} cab_sizes;
/* Whether some extent has several values among o->binds. */
bool cab_sizes_listed(const cab_import_options *o);
cab_status cab_sizes_of(cab_arena *a, const cab_import_options *o, cab_sizes *out, cab_diag *d);
/* p: the program made from z->open.  Refuses names it has no open extent of, and
 * takes values of other sizes from what is offered. */
cab_status cab_sizes_fit(cab_arena *a, cab_sizes *z, const cab_program *p, cab_diag *d);

/* ---- specialise.c ---- */
/* From now on sizes that m meets `after` times (0 = 32) are compiled in the
 * background, at most `most` (0 = 8) at a time.  m was made by c from s, has no
 * custom operators and no session yet; the options are copied, s->p is not. */
cab_status cab_specialise(cab_model *m, const cab_compiler *c, const cab_source *s,
                          const cab_model_options *mo, int after, int most, cab_diag *d);

/* ---- paths.c ---- */
/* A part of the installation: beside the program or one folder up (a build
 * folder), else where it was installed. */
const char *cab_part(cab_arena *a, const char *name, int mode, const char *installed);

/* ---- sign.c ---- */
/* cab_codegen_options.sign; user: the 32 bytes of the private key. */
int cab_sign_ed25519(void *user, const void *message, size_t n, uint8_t public_key[32],
                     uint8_t signature[64]);

/* ---- emit_so.c ---- */
typedef struct cab_so_parts {
    cab_mapping artifact;
    const void *object;        /* the kernels, relocatable */
    size_t object_bytes;
    const char *names;         /* of the kernels, by number, a line each */
    const char *prefix, *path; /* of the functions; of the library */
} cab_so_parts;
/* Links a shared library with the system's C compiler ($CC, else cc). */
cab_status cab_so_write(cab_arena *a, const cab_so_parts *s, cab_diag *d);

/* ---- isolate.c ---- */
/* Compiles in a child process; it is gone when this returns. */
cab_status cab_compile_isolated(const cab_compiler *c, cab_opened *f, cab_compiled *out,
                                cab_diag *d);

/* ---- wire.c: what parent and child say to each other ---- */
/* Options, label and name as bytes; the model travels as a descriptor. */
void cab_wire_put_request(cab_buf *b, const cab_compiler *c, const cab_opened *f);
/* Everything read lives in the arena or points into p. */
cab_status cab_wire_get_request(cab_arena *a, const void *p, size_t n, cab_compiler *c,
                                cab_opened *f, cab_diag *d);
void cab_wire_put_answer(cab_buf *b, cab_status s, const cab_compiled *r, const cab_diag *from);
/* The child's status; CAB_EINTERNAL when the bytes are no answer. */
cab_status cab_wire_get_answer(const void *p, size_t n, cab_compiled *r,
                               cab_diag *to, bool *whole);
/* Descriptors of the child. */
enum { CAB_WORKER_REQUEST = 3, CAB_WORKER_MODEL = 4, CAB_WORKER_SOCKET = 5 };

/* ---- cache.c ---- */
typedef struct cab_cache cab_cache;
/* NULL when there is no cache for this compilation (a warning says why, when
 * the user can change it). */
cab_cache *cab_cache_open(const cab_compiler *c, cab_diag *d);
void cab_cache_close(cab_cache *k);
/* Finds the artifact.  CAB_OK with out->fd < 0: not there; f->hash is set
 * then.  An error only when cancelled. */
cab_status cab_cache_find(cab_cache *k, cab_opened *f, cab_compiled *out, cab_diag *d);
/* Keeps a fresh artifact; failing to is no failure. */
void cab_cache_keep(cab_cache *k, const cab_opened *f, const cab_compiled *r);
/* The entry found is bad after all: the next run makes it anew. */
void cab_cache_reject(cab_cache *k);

/* ---- cache_files.c: which files a model is made of, and their content ---- */
typedef struct cab_file_id { uint64_t dev, ino, size; int64_t mtime, ctime; } cab_file_id;
typedef struct cab_content {
    cab_file_id folder;        /* where external data is looked for */
    size_t n_files;            /* 0: bytes; [0] is the model, then external data */
    cab_file_id *files;
    const char **names;
    uint8_t model[32];         /* SHA-256 of the model's bytes */
    uint8_t all[32];           /* and of external data with it */
} cab_content;
/* From a memo in dir, or by reading the files (then a memo is left).
 * CAB_EIO: some file cannot be read; nothing is said in d. */
cab_status cab_content_get(cab_arena *a, const char *dir, cab_opened *f, const cab_compiler *c,
                           cab_content *out, cab_diag *d);
/* Whether the files are still those. */
bool cab_content_same(const cab_content *k, const cab_opened *f);

/* ---- cache_dir.c: the folder ---- */
/* A private folder, made when it is not there. */
cab_status cab_cache_folder(cab_arena *a, const char *path, cab_diag *d);
/* While one is held, temporaries are somebody's.  The first holder removes
 * those of processes that were killed.  -1: go without. */
int cab_cache_lock(cab_arena *a, const char *dir);
/* Removes what was used longest ago until the rest fits in limit. */
void cab_cache_trim(cab_arena *a, const char *dir, uint64_t limit, const char *but);
/* Small files that end in a hash of what stands before. */
bool cab_sealed_read(cab_arena *a, const char *path, const uint8_t **out, size_t *out_n);
void cab_sealed_write(const char *path, cab_buf *b);
const char *cab_hex(cab_arena *a, const uint8_t *p, size_t n);

#endif
