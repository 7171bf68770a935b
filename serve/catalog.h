/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.h - the model versions that are loaded, by name.
 *
 * Readers are the I/O threads, for every request; the writer is the control
 * thread.  A version that was taken out lives until the last request that got
 * it has let it go; then `buried` gets it (its end may take long).
 */
#ifndef CAB_SERVE_CATALOG_H
#define CAB_SERVE_CATALOG_H
#include "include/cab_rt.h"
#include "serve/bytes.h"
#include "serve/task.h"
#include <stdatomic.h>
#include <stdint.h>

struct cab_served;
struct json_t;
enum { CAB_NAME_BYTES = 129 };

/* One loaded version.  Everything but refs is fixed when the catalog has it. */
typedef struct cab_resident {
    atomic_int refs;
    struct cab_catalog *catalog;
    char name[CAB_NAME_BYTES];
    int64_t version;
    char version_text[24];
    cab_model *model;
    struct cab_served *served;
    int n_inputs, n_outputs;
    cab_tensor_info *inputs, *outputs;
    int64_t max_batch;         /* 0: no batching */
    struct json_t *labels;     /* of classes: {"output": ["text", ...]}; or NULL */
    cab_bytes config;          /* as /v2/models/NAME/config answers */
    cab_task burial;           /* of `buried` */
} cab_resident;

/* The names of versions that a model has beside their numbers. */
typedef struct cab_name { char name[CAB_NAME_BYTES]; int64_t version; } cab_name;

typedef struct cab_catalog cab_catalog;
cab_catalog *cab_catalog_create(void (*buried)(void *user, cab_resident *l), void *user);
/* Every version has been taken out and let go. */
void cab_catalog_destroy(cab_catalog *c);

typedef enum cab_found { CAB_FOUND, CAB_NO_MODEL, CAB_NO_VERSION } cab_found;
/* version: a number, a label, or empty for the latest.  *out has a reference for the caller.
 * [any thread] */
cab_found cab_catalog_get(cab_catalog *c, cab_slice model, cab_slice version, cab_resident **out);
void cab_resident_ref(cab_resident *l);
/* [any thread, no lock held] NULL is allowed. */
void cab_resident_unref(cab_resident *l);

/* Everything loaded of a model (n 0: it is gone), at once: requests see the old set or the new.  The catalog
 * takes over the caller's reference of each; latest is one of them.  False: out of memory, nothing changed.
 * [control thread] */
bool cab_catalog_set(cab_catalog *c, const char *model, cab_resident *const *versions, int n, int64_t latest,
                     const cab_name *labels, int n_labels);
/* All that is loaded, of one model (NULL: of all), each with a reference; malloc'ed, for cab_catalog_let_go.
 * -1: out of memory.  [any thread] */
int cab_catalog_list(cab_catalog *c, const char *model, cab_resident ***out);
void cab_catalog_let_go(cab_resident **list, int n);

#endif
