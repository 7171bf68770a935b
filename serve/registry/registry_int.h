/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry_int.h - SQLite as the registry's files use it.
 */
#ifndef CAB_SERVE_REGISTRY_INT_H
#define CAB_SERVE_REGISTRY_INT_H
#include "serve/registry/registry.h"
#include <sqlite3.h>

typedef enum cab_reg_sql {
#define SQL(id, text) CAB_SQL_##id,
#include "serve/registry/registry_sql.def"
    CAB_SQL_COUNT
} cab_reg_sql;

struct cab_registry {
    sqlite3 *db;
    cab_blobs *blobs;
    char *path;
    bool held;                 /* cab_registry_hold: one transaction around many */
    bool inside;               /* between begin and end: a transaction that SQLite has open otherwise is a failure's */
    sqlite3_stmt *stmt[CAB_SQL_COUNT];
};

/* The story of a result code; rc is not OK.  doing: "register a version". */
cab_status cab_reg_fail(cab_registry *r, int rc, const char *doing, cab_diag *d);

/* ---- one statement ----
 * fmt, a letter a parameter: i = int64_t, t = const char * (NULL allowed; it must live
 * until the statement is done), g = const cab_digest * (NULL allowed). */
cab_status cab_reg_start(cab_registry *r, cab_reg_sql id, sqlite3_stmt **out, cab_diag *d,
                         const char *fmt, ...);
/* *row: whether there is one. */
cab_status cab_reg_step(cab_registry *r, sqlite3_stmt *s, bool *row, cab_diag *d);
void cab_reg_done(sqlite3_stmt *s);
/* Start to end.  *changes (may be NULL): rows that were changed. */
cab_status cab_reg_run(cab_registry *r, cab_reg_sql id, int *changes, cab_diag *d,
                       const char *fmt, ...);
/* The number in the first row; *found (may be NULL) = whether there is one, else 0. */
cab_status cab_reg_number(cab_registry *r, cab_reg_sql id, int64_t *out, bool *found, cab_diag *d,
                          const char *fmt, ...);
/* The same for a digest. */
cab_status cab_reg_digest(cab_registry *r, cab_reg_sql id, cab_digest *out, bool *found,
                          cab_diag *d, const char *fmt, ...);
/* A text, malloc'ed; NULL when there is no row. */
cab_status cab_reg_text(cab_registry *r, cab_reg_sql id, char **out, cab_diag *d,
                        const char *fmt, ...);

/* ---- changes: begin, then end with what became of them ---- */
cab_status cab_reg_begin(cab_registry *r, cab_diag *d);
/* OK: commits, and the outcome is the commit's; else: takes all back, returns s.  Held, both do nothing. */
cab_status cab_reg_end(cab_registry *r, cab_status s, cab_diag *d);

/* ---- what several files need ---- */
/* CAB_EINVAL, CAB_ENOTFOUND. */
cab_status cab_reg_model(cab_registry *r, const char *name, int64_t *id, cab_diag *d);
/* CAB_EINVAL unless `name` can be the name of a `what`. */
cab_status cab_reg_check_name(const char *what, const char *name, cab_diag *d);
/* CAB_ENOTFOUND unless the version is there. */
cab_status cab_reg_check_version(cab_registry *r, int64_t model, const char *name, int64_t version,
                                 cab_diag *d);
/* That story: CAB_ENOTFOUND. */
cab_status cab_reg_no_version(const char *name, int64_t version, cab_diag *d);
/* The rows of a description that can be asked for. */
cab_status cab_reg_put_tensors(cab_registry *r, int64_t model, int64_t version, const char *io,
                               cab_diag *d);
/* A json_t "[1,-1]" -> "1,-1", malloc'ed; NULL: out of memory. */
char *cab_reg_shape_text(const void *json);
/* SQL's shape_fits(stored, asked): the rule of cab_query.shape. */
void cab_reg_shape_fits(sqlite3_context *c, int n, sqlite3_value **v);

#endif
