/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.c - the database: opened, checked, made; statements and transactions.
 */
#include "serve/registry/registry_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { APPLICATION = 0x43616252, SCHEMA = 2, BUSY_MS = 5000 };     /* "CabR" */

/* As registry_sql.def spells them. */
_Static_assert(CAB_REGISTERED == 0 && CAB_BUILDING == 1 && CAB_READY == 2 && CAB_FAILED == 3,
               "states are stored as numbers");

static const char *const sql[] = {
#define SQL(id, text) text,
#include "serve/registry/registry_sql.def"
};

/* A version's rows go with it; what must not dangle (labels, pin, choice) holds it. */
static const char schema[] =
    "CREATE TABLE model(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    " policy INTEGER NOT NULL DEFAULT 0, latest INTEGER NOT NULL DEFAULT 1 CHECK(latest >= 1), "
    " pin INTEGER, wanted INTEGER NOT NULL DEFAULT 1, last INTEGER NOT NULL DEFAULT 0, "
    " created INTEGER NOT NULL, FOREIGN KEY(id, pin) REFERENCES version(model, version));"
    "CREATE TABLE version(model INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE, "
    " version INTEGER NOT NULL CHECK(version >= 1), onnx BLOB CHECK(length(onnx) = 32), "
    " artifact BLOB CHECK(length(artifact) = 32), given INTEGER NOT NULL, io TEXT NOT NULL, "
    " resources TEXT NOT NULL, config TEXT NOT NULL, tags TEXT NOT NULL, "
    " content BLOB NOT NULL CHECK(length(content) = 32), "
    " state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3), reason TEXT NOT NULL, "
    " created INTEGER NOT NULL, promise TEXT, PRIMARY KEY(model, version)) WITHOUT ROWID;"
    "CREATE INDEX version_onnx ON version(onnx);"
    "CREATE INDEX version_artifact ON version(artifact);"
    "CREATE TABLE retired(model INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE, "
    " version INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY(model, version)) WITHOUT ROWID;"
    "CREATE TABLE label(model INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE, "
    " label TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY(model, label), "
    " FOREIGN KEY(model, version) REFERENCES version(model, version)) WITHOUT ROWID;"
    "CREATE INDEX label_version ON label(model, version);"
    "CREATE TABLE moved(id INTEGER PRIMARY KEY, model INTEGER NOT NULL, label TEXT NOT NULL, "
    " version INTEGER NOT NULL, "
    " FOREIGN KEY(model, version) REFERENCES version(model, version) ON DELETE CASCADE);"
    "CREATE INDEX moved_label ON moved(model, label);"
    "CREATE INDEX moved_version ON moved(model, version);"
    "CREATE TABLE choice(model INTEGER NOT NULL REFERENCES model(id) ON DELETE CASCADE, "
    " version INTEGER NOT NULL, PRIMARY KEY(model, version), "
    " FOREIGN KEY(model, version) REFERENCES version(model, version)) WITHOUT ROWID;"
    "CREATE TABLE tensor(model INTEGER NOT NULL, version INTEGER NOT NULL, side INTEGER NOT NULL, "
    " name TEXT NOT NULL, datatype TEXT NOT NULL, shape TEXT, "
    " FOREIGN KEY(model, version) REFERENCES version(model, version) ON DELETE CASCADE);"
    "CREATE INDEX tensor_version ON tensor(model, version);"
    "CREATE TABLE tag(model INTEGER NOT NULL, version INTEGER NOT NULL, tag TEXT NOT NULL, "
    " PRIMARY KEY(model, version, tag), "
    " FOREIGN KEY(model, version) REFERENCES version(model, version) ON DELETE CASCADE) "
    " WITHOUT ROWID;";

/* ---- failures ---- */

static const struct { int rc; cab_status status; const char *note; } meanings[] = {
    { SQLITE_NOMEM, CAB_ENOMEM, NULL },
    { SQLITE_BUSY, CAB_EIO, "another process has held the registry for 5 s: try again" },
    { SQLITE_FULL, CAB_EIO, "the disk is full; nothing was changed" },
    { SQLITE_READONLY, CAB_EIO, "the server may not write the file" },
    { SQLITE_NOTADB, CAB_EIO, "the file is something else: restore registry.db (and registry.db-wal) "
                              "from a copy; stored models are in blobs/, untouched" },
    { SQLITE_CORRUPT, CAB_EIO, "the file is damaged: restore registry.db (and registry.db-wal) from "
                               "a copy; stored models are in blobs/, untouched" },
};

cab_status cab_reg_fail(cab_registry *r, int rc, const char *doing, cab_diag *d)
{
    cab_status s = CAB_EIO;
    const char *note = NULL;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].rc == (rc & 0xff)) {
            s = meanings[i].status;
            note = meanings[i].note;
        }
    cab_fail(d, s, &(cab_where){ .file = r->path }, "cannot %s: %s", doing,
             r->db && sqlite3_extended_errcode(r->db) == rc ? sqlite3_errmsg(r->db)
                                                             : sqlite3_errstr(rc));
    if (note)
        cab_note(d, "%s", note);
    return s;
}

/* ---- statements ---- */

static int bind(sqlite3_stmt *s, const char *fmt, va_list ap)
{
    int rc = SQLITE_OK;
    for (int i = 1; *fmt && rc == SQLITE_OK; fmt++, i++) {
        const cab_digest *g;
        if (*fmt == 'i') {
            rc = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        } else if (*fmt == 't') {
            rc = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
        } else {
            g = va_arg(ap, const cab_digest *);
            rc = g ? sqlite3_bind_blob(s, i, g->b, sizeof g->b, SQLITE_STATIC) : SQLITE_OK;
        }
    }
    return rc;
}

/* Ends what SQLite has open.  SQLite may need memory for that, too: false: there was none, and the next statement tries
 * again, before it reads what was never so. */
static bool take_back(cab_registry *r)
{
    if (!sqlite3_get_autocommit(r->db))
        cab_reg_run(r, CAB_SQL_ROLLBACK, NULL, NULL, "");
    return sqlite3_get_autocommit(r->db);
}

static cab_status vstart(cab_registry *r, cab_reg_sql id, sqlite3_stmt **out, cab_diag *d,
                         const char *fmt, va_list ap)
{
    int rc = SQLITE_OK;
    *out = NULL;
    if (id != CAB_SQL_ROLLBACK && !r->inside && !take_back(r))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory: an earlier change that failed is not taken back yet; try again");
    if (!r->stmt[id])
        rc = sqlite3_prepare_v3(r->db, sql[id], -1, SQLITE_PREPARE_PERSISTENT, &r->stmt[id], NULL);
    if (rc == SQLITE_OK)
        rc = bind(r->stmt[id], fmt, ap);
    if (rc == SQLITE_OK) {
        *out = r->stmt[id];
        return CAB_OK;
    }
    cab_reg_done(r->stmt[id]);
    return cab_reg_fail(r, rc, "ask the registry", d);
}

cab_status cab_reg_start(cab_registry *r, cab_reg_sql id, sqlite3_stmt **out, cab_diag *d,
                         const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cab_status s = vstart(r, id, out, d, fmt, ap);
    va_end(ap);
    return s;
}

void cab_reg_done(sqlite3_stmt *s)
{
    if (!s)
        return;
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

/* What SQLite cannot go on from (no memory, say) takes the whole change back, also when it was only read. */
static cab_status still_held(const cab_registry *r, cab_diag *d)
{
    return r->held && sqlite3_get_autocommit(r->db)
               ? cab_fail(d, CAB_ENOMEM, NULL, "the change was taken back: the registry was out of memory, or could not write")
               : CAB_OK;
}

cab_status cab_reg_step(cab_registry *r, sqlite3_stmt *s, bool *row, cab_diag *d)
{
    CAB_TRY(still_held(r, d));
    int rc = sqlite3_step(s);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? CAB_OK
                                                 : cab_reg_fail(r, rc, "use the registry", d);
}

cab_status cab_reg_run(cab_registry *r, cab_reg_sql id, int *changes, cab_diag *d,
                       const char *fmt, ...)
{
    sqlite3_stmt *q;
    bool row = true;
    va_list ap;
    va_start(ap, fmt);
    cab_status s = vstart(r, id, &q, d, fmt, ap);
    va_end(ap);
    while (s == CAB_OK && row)
        s = cab_reg_step(r, q, &row, d);
    if (s == CAB_OK && changes)
        *changes = sqlite3_changes(r->db);
    cab_reg_done(q);
    return s;
}

/* The first row's column goes through take. */
typedef void (*column)(sqlite3_stmt *q, void *out);

static cab_status vfirst(cab_registry *r, cab_reg_sql id, column take, void *out, bool *found,
                         cab_diag *d, const char *fmt, va_list ap)
{
    sqlite3_stmt *q;
    bool row = false;
    cab_status s = vstart(r, id, &q, d, fmt, ap);
    if (s == CAB_OK)
        s = cab_reg_step(r, q, &row, d);
    if (s == CAB_OK && row)
        take(q, out);
    if (found)
        *found = row;
    cab_reg_done(q);
    return s;
}

static void take_number(sqlite3_stmt *q, void *out) { *(int64_t *)out = sqlite3_column_int64(q, 0); }

static void take_digest(sqlite3_stmt *q, void *out)
{
    if (sqlite3_column_bytes(q, 0) == sizeof(cab_digest))
        memcpy(out, sqlite3_column_blob(q, 0), sizeof(cab_digest));
}

static void take_text(sqlite3_stmt *q, void *out)
{
    const char *text = (const char *)sqlite3_column_text(q, 0);
    *(char **)out = text ? strdup(text) : NULL;
}

cab_status cab_reg_number(cab_registry *r, cab_reg_sql id, int64_t *out, bool *found, cab_diag *d,
                          const char *fmt, ...)
{
    va_list ap;
    *out = 0;
    va_start(ap, fmt);
    cab_status s = vfirst(r, id, take_number, out, found, d, fmt, ap);
    va_end(ap);
    return s;
}

cab_status cab_reg_digest(cab_registry *r, cab_reg_sql id, cab_digest *out, bool *found,
                          cab_diag *d, const char *fmt, ...)
{
    va_list ap;
    *out = (cab_digest){ { 0 } };
    va_start(ap, fmt);
    cab_status s = vfirst(r, id, take_digest, out, found, d, fmt, ap);
    va_end(ap);
    return s;
}

cab_status cab_reg_text(cab_registry *r, cab_reg_sql id, char **out, cab_diag *d, const char *fmt,
                        ...)
{
    bool found;
    va_list ap;
    *out = NULL;
    va_start(ap, fmt);
    cab_status s = vfirst(r, id, take_text, out, &found, d, fmt, ap);
    va_end(ap);
    if (s == CAB_OK && found && !*out)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return s;
}

/* ---- transactions ---- */

cab_status cab_reg_begin(cab_registry *r, cab_diag *d)
{
    if (r->held)
        return CAB_OK;
    cab_status s = cab_reg_run(r, CAB_SQL_BEGIN, NULL, d, "");
    r->inside = s == CAB_OK;
    return s;
}

cab_status cab_reg_end(cab_registry *r, cab_status s, cab_diag *d)
{
    if (r->held)
        return s;
    if (s == CAB_OK)
        s = cab_reg_run(r, CAB_SQL_COMMIT, NULL, d, "");
    r->inside = false;
    if (s != CAB_OK)
        take_back(r);                  /* SQLite has taken some failures back by itself */
    return s;
}

cab_status cab_registry_hold(cab_registry *r, cab_diag *d)
{
    CAB_TRY(cab_reg_begin(r, d));
    r->held = true;
    return CAB_OK;
}

cab_status cab_registry_settle(cab_registry *r, cab_status s, cab_diag *d)
{
    s = s == CAB_OK ? still_held(r, d) : s;
    r->held = false;
    return cab_reg_end(r, s, d);
}

/* ---- opening ---- */

static int pragma_text(void *out, int n, char **value, char **names)
{
    (void)names;
    if (n > 0 && value[0])
        snprintf(out, 64, "%s", value[0]);
    return 0;
}

/* The answer's first 63 bytes -> out. */
static cab_status pragma(cab_registry *r, const char *text, char out[64], cab_diag *d)
{
    char ignored[64];
    out = out ? out : ignored;
    out[0] = 0;
    int rc = sqlite3_exec(r->db, text, pragma_text, out, NULL);
    return rc == SQLITE_OK ? CAB_OK : cab_reg_fail(r, rc, "open the registry", d);
}

/* upgrades[i]: from form i + 1 to the next. */
static const char *const upgrades[SCHEMA - 1] = { "ALTER TABLE version ADD COLUMN promise TEXT" };

/* Runs the texts, then says that this is the form that this server knows. */
static cab_status write_schema(cab_registry *r, const char *const *texts, int n, cab_diag *d)
{
    char text[128];
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < n; i++)
        rc = sqlite3_exec(r->db, texts[i], NULL, NULL, NULL);
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION,
             SCHEMA);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(r->db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? CAB_OK : cab_reg_fail(r, rc, "make the registry", d);
}

static cab_status check_kind(cab_registry *r, cab_diag *d)
{
    char application[64], version[64], tables[64];
    cab_where w = { .file = r->path };
    CAB_TRY(pragma(r, "PRAGMA application_id", application, d));
    CAB_TRY(pragma(r, "PRAGMA user_version", version, d));
    CAB_TRY(pragma(r, "SELECT count(*) FROM sqlite_schema", tables, d));
    if (!atoi(application) && !atoi(version) && !atoi(tables))
        return write_schema(r, (const char *const[]){ schema }, 1, d);
    if (atoi(application) != APPLICATION)
        return cab_fail(d, CAB_EIO, &w, "a database of another program");
    int form = atoi(version);
    if (form == SCHEMA)
        return CAB_OK;
    if (form >= 1 && form < SCHEMA)
        return write_schema(r, upgrades + form - 1, SCHEMA - form, d);
    cab_fail(d, CAB_EIO, &w, "its form is number %s; this server knows number %d", version, SCHEMA);
    cab_note(d, "a newer Cabochon made it: run that one");
    return CAB_EIO;
}

/* Every commit reaches the disk; a file that was tampered with runs nothing. */
static cab_status configure(cab_registry *r, cab_diag *d)
{
    char mode[64], sound[64];
    sqlite3_busy_timeout(r->db, BUSY_MS);
    sqlite3_extended_result_codes(r->db, 1);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    CAB_TRY(pragma(r, "PRAGMA cell_size_check = ON", NULL, d));
    CAB_TRY(pragma(r, "PRAGMA journal_mode = WAL", mode, d));
    if (strcmp(mode, "wal"))
        return cab_fail(d, CAB_EIO, &(cab_where){ .file = r->path },
                        "cannot keep a write-ahead log beside it (the mode is \"%s\")", mode);
    CAB_TRY(pragma(r, "PRAGMA synchronous = FULL", NULL, d));
    CAB_TRY(pragma(r, "PRAGMA foreign_keys = ON", NULL, d));
    CAB_TRY(pragma(r, "PRAGMA quick_check(1)", sound, d));
    return strcmp(sound, "ok") ? cab_reg_fail(r, SQLITE_CORRUPT, "use the registry", d) : CAB_OK;
}

static cab_status open_db(cab_registry *r, const cab_root *root, cab_diag *d)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (asprintf(&r->path, "%s/registry.db", root->path) < 0) {
        r->path = NULL;
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    int rc = sqlite3_open_v2(r->path, &r->db, flags, NULL);
    if (rc != SQLITE_OK)
        return cab_reg_fail(r, rc, "open the registry", d);
    rc = sqlite3_create_function(r->db, "cab_shape_fits", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                 NULL, cab_reg_shape_fits, NULL, NULL);
    if (rc != SQLITE_OK)
        return cab_reg_fail(r, rc, "open the registry", d);
    CAB_TRY(configure(r, d));
    CAB_TRY(cab_reg_begin(r, d));
    CAB_TRY(cab_reg_end(r, check_kind(r, d), d));
    return fsync(root->dir) ? cab_fail(d, CAB_EIO, &(cab_where){ .file = root->path },
                                       "cannot make the registry's name durable")
                            : CAB_OK;
}

cab_status cab_registry_open(const cab_root *root, cab_blobs *blobs, cab_registry **out,
                             cab_diag *d)
{
    cab_registry *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    r->blobs = blobs;
    cab_status s = open_db(r, root, d);
    if (s == CAB_OK)
        *out = r;
    else
        cab_registry_close(r);
    return s;
}

void cab_registry_close(cab_registry *r)
{
    if (!r)
        return;
    for (int i = 0; i < CAB_SQL_COUNT; i++)
        sqlite3_finalize(r->stmt[i]);
    sqlite3_close(r->db);
    free(r->path);
    free(r);
}

cab_status cab_registry_recover(cab_registry *r, int64_t *n, cab_diag *d)
{
    int changes = 0;
    CAB_TRY(cab_reg_run(r, CAB_SQL_RECOVER, &changes, d, ""));
    if (n)
        *n = changes;
    return CAB_OK;
}

/* ---- what several files need ---- */

bool cab_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n >= 1 && n <= 128 && !name[n] && name[0] != '.';
}

cab_status cab_reg_check_name(const char *what, const char *name, cab_diag *d)
{
    if (name && cab_name_valid(name))
        return CAB_OK;
    cab_fail(d, CAB_EINVAL, NULL, "'%.140s' cannot be the name of a %s", name ? name : "", what);
    cab_note(d, "1 to 128 letters, digits, '.', '_' and '-', not starting with '.'");
    return CAB_EINVAL;
}

cab_status cab_reg_model(cab_registry *r, const char *name, int64_t *id, cab_diag *d)
{
    bool found;
    CAB_TRY(cab_reg_check_name("model", name, d));
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_ID, id, &found, d, "t", name));
    return found ? CAB_OK : cab_fail(d, CAB_ENOTFOUND, NULL, "no model is called '%s'", name);
}

cab_status cab_reg_no_version(const char *name, int64_t version, cab_diag *d)
{
    return cab_fail(d, CAB_ENOTFOUND, NULL, "the model '%s' has no version %lld", name,
                    (long long)version);
}

cab_status cab_reg_check_version(cab_registry *r, int64_t model, const char *name, int64_t version,
                                 cab_diag *d)
{
    int64_t given;
    bool found;
    CAB_TRY(cab_reg_number(r, CAB_SQL_VERSION_GIVEN, &given, &found, d, "ii", model, version));
    return found ? CAB_OK : cab_reg_no_version(name, version, d);
}
