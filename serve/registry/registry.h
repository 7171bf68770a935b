/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - what is registered: models by name, immutable versions, policies, labels.
 *
 * A SQLite file (ROOT/registry.db; WAL, synchronous=FULL) that names blobs
 * (blobs.h).  A function that changes something has made it durable when it
 * returns CAB_OK, and has changed nothing when it returns anything else.
 *
 * A registry is used by one thread at a time (the control thread); other
 * threads and processes open their own.  Every failure tells its story in d:
 *   CAB_EINVAL     the arguments are not possible (a name, a number, JSON text)
 *   CAB_ENOTFOUND  no such model, version or label
 *   CAB_ECONFLICT  it contradicts what is there (immutable, labelled, in use)
 *   CAB_EIO, CAB_ENOMEM   the file, the disk, memory; "busy" after 5 s is CAB_EIO
 *
 * Names of models, labels and tags: [A-Za-z0-9._-]{1,128}, not starting with a dot.
 * Versions: 1 .. 2^53 - 1, so that JSON readers keep them whole.
 */
#ifndef CAB_SERVE_REGISTRY_H
#define CAB_SERVE_REGISTRY_H
#include "serve/registry/blobs.h"
#include <stdint.h>

typedef struct cab_registry cab_registry;
static const int64_t CAB_VERSION_MOST = ((int64_t)1 << 53) - 1;
bool cab_name_valid(const char *name);

/* Makes the file when there is none.  Refuses a damaged one, one of another
 * program, and one of a newer version.  blobs may be NULL when nothing is put. */
cab_status cab_registry_open(const cab_root *root, cab_blobs *blobs, cab_registry **out,
                             cab_diag *d);
void cab_registry_close(cab_registry *r);                /* NULL is allowed */
/* A server that took the lock afresh: what its predecessor was building is
 * to be built again.  *n (may be NULL): how many. */
cab_status cab_registry_recover(cab_registry *r, int64_t *n, cab_diag *d);

/* From hold to settle changes are one: settle makes all of them durable, or with another s than CAB_OK (which it
 * returns) takes all back.  After one that failed only that is allowed. */
cab_status cab_registry_hold(cab_registry *r, cab_diag *d);
cab_status cab_registry_settle(cab_registry *r, cab_status s, cab_diag *d);

/* ---- versions ---- */
typedef enum cab_version_state {
    CAB_REGISTERED, CAB_BUILDING, CAB_READY, CAB_FAILED, CAB_VERSION_STATES
} cab_version_state;
const char *cab_version_state_text(cab_version_state s);

/* What a client says about a version: all of it is its content, which never
 * changes.  Texts are JSON objects, NULL = {}. */
typedef struct cab_version_content {
    const cab_digest *model;       /* ONNX; NULL when only an artifact is given */
    const cab_digest *artifact;    /* NULL: to be built from the model */
    const char *io;                /* what io_json.h describes; NULL: known when it is built or read */
    const char *resources;
    const char *config;            /* batching, instances, queue; NULL: that of the version when it is there,
                                    * else of the newest that has not failed */
    const char *const *tags;
    size_t n_tags;
    /* Not content: the inputs and outputs that the build must have (JSON), of a new version, or of one that has
     * failed and is to be built again.  NULL: any. */
    const char *promise;
} cab_version_content;

/* Adds a version; *version = 0 takes the next number (one more than any that the
 * model ever had), which *version is then.  The blobs must be stored.
 * The same content again is CAB_OK and changes nothing: under the same number,
 * or as "next" when the newest version has it (a client that lost the answer
 * may ask again).  *added (may be NULL) tells.  Other content under a number
 * that is or was taken: CAB_ECONFLICT.  State: registered; ready when both artifact and
 * io are given. */
cab_status cab_registry_put_version(cab_registry *r, const char *name, int64_t *version,
                                    const cab_version_content *c, bool *added, cab_diag *d);
/* reason: of a failure, NULL = "".  Ready needs an artifact: CAB_ECONFLICT. */
cab_status cab_registry_set_state(cab_registry *r, const char *name, int64_t version,
                                  cab_version_state state, const char *reason, cab_diag *d);
/* The build came out, or an artifact that the client gave was loaded: artifact, io
 * and state ready in one step.  What the client gave cannot be exchanged. */
cab_status cab_registry_set_built(cab_registry *r, const char *name, int64_t version,
                                  const cab_digest *artifact, const char *io, cab_diag *d);
/* A version that a label, the pin or a policy names is in use: CAB_ECONFLICT.
 * Its number stays taken, by the content it had. */
cab_status cab_registry_remove_version(cab_registry *r, const char *name, int64_t version,
                                       cab_diag *d);
/* With all versions and labels; the name is free again. */
cab_status cab_registry_remove_model(cab_registry *r, const char *name, cab_diag *d);

/* ---- which versions are served ---- */
typedef enum cab_policy_kind { CAB_POLICY_LATEST, CAB_POLICY_ALL, CAB_POLICY_SPECIFIC } cab_policy_kind;
typedef struct cab_policy {
    cab_policy_kind kind;
    int64_t latest;                /* kind latest: how many, >= 1 */
    const int64_t *versions;       /* kind specific: these, which must exist */
    size_t n_versions;
} cab_policy;
/* A new model has: latest 1.  Ends what a rollback has pinned. */
cab_status cab_registry_set_policy(cab_registry *r, const char *name, const cab_policy *p,
                                   cab_diag *d);
/* version 0 takes the label away.  One of digits only is CAB_EINVAL: it would be read as a number. */
cab_status cab_registry_set_label(cab_registry *r, const char *name, const char *label,
                                  int64_t version, cab_diag *d);
/* label: back to the version it had before (step by step when repeated).  NULL:
 * "latest" is pinned to the ready version below the one it means now, of those that the
 * policy may choose: it means that one, whatever is registered later, until a policy is set.
 * The version it means afterwards -> *version (may be NULL). */
cab_status cab_registry_rollback(cab_registry *r, const char *name, const char *label,
                                 int64_t *version, cab_diag *d);
/* Whether the model is to be in memory; a new one is (true). */
cab_status cab_registry_set_wanted(cab_registry *r, const char *name, bool wanted, cab_diag *d);

/* The ready versions that the policy chooses, newest first; malloc'ed, the
 * caller frees.  A newer version that is not ready does not displace one that is. */
cab_status cab_registry_chosen(cab_registry *r, const char *name, int64_t **out, size_t *n,
                               cab_diag *d);
/* The version that a label names; label NULL: the one "latest" means, the newest ready one
 * that the policy may choose and the pin allows. */
cab_status cab_registry_resolve(cab_registry *r, const char *name, const char *label,
                                int64_t *version, cab_diag *d);

/* ---- looking ---- */
typedef struct cab_version_info {
    char *name;
    int64_t version;
    bool has_model, has_artifact, artifact_given;
    cab_digest model, artifact;
    char *io, *resources, *config; /* JSON objects; io "" when not known yet */
    char *tags;                    /* JSON array */
    char *promise;                 /* NULL: none */
    cab_version_state state;
    char *reason;
    int64_t created_ms;            /* since 1970 */
} cab_version_info;
typedef struct cab_version_list { cab_version_info *v; size_t n; } cab_version_list;
void cab_version_list_fini(cab_version_list *l);

typedef struct cab_label { char *label; int64_t version; } cab_label;
typedef struct cab_model_info {
    char *name;
    cab_policy_kind policy;
    int64_t latest, pin;           /* pin 0 = none */
    bool wanted;
    int64_t *specific;             /* of the policy */
    size_t n_specific;
    cab_label *labels;
    size_t n_labels;
    int64_t n_versions, created_ms;
} cab_model_info;
typedef struct cab_model_list { cab_model_info *m; size_t n; } cab_model_list;
void cab_model_list_fini(cab_model_list *l);

/* One version; out->n is 1 on success. */
cab_status cab_registry_find(cab_registry *r, const char *name, int64_t version,
                             cab_version_list *out, cab_diag *d);
/* One model (name) or all (NULL), by name. */
cab_status cab_registry_models(cab_registry *r, const char *name, cab_model_list *out,
                               cab_diag *d);

/* What is not set (NULL, 0) does not restrict.  The conditions on an input or
 * output hold for one and the same tensor. */
typedef struct cab_query {
    const char *name;              /* exact, or a beginning that ends in '*' */
    int64_t version;
    int state;                     /* 1 + cab_version_state; 0 = any */
    const char *io_name, *dtype;   /* "FP32" */
    const char *shape;             /* "[1,3,-1,-1]": ranks agree, extents do unless one is -1 */
    int side;                      /* 1 inputs, 2 outputs, 0 both */
    const char *tag;
    const char *after_name;        /* continue behind this one (paging) */
    int64_t after_version;
    int limit;                     /* 0 = 1000, which is the most */
} cab_query;
cab_status cab_registry_discover(cab_registry *r, const cab_query *q, cab_version_list *out,
                                 cab_diag *d);

/* ---- garbage ---- */
/* Removes stored files that no version names and that are older than
 * min_age_s.  No version can be put meanwhile. */
cab_status cab_registry_collect(cab_registry *r, int64_t min_age_s, cab_blobs_swept *out,
                                cab_diag *d);

#endif
