/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository.h - what the registry wants, made true in the catalog.
 *
 * All of it on the control thread.
 */
#ifndef CAB_SERVE_REPOSITORY_H
#define CAB_SERVE_REPOSITORY_H
#include "base/diag.h"
#include "serve/catalog.h"
#include "serve/http/exchange.h"
#include "serve/registry/registry.h"

struct cab_service;
struct cab_set;

/* Loads what is wanted and not loaded (what the policy chooses, what labels name), takes out what is not wanted any
 * more, in one step for those who call.  What does not load is an obstacle: the rest is served, the reason is kept
 * and told (cab_repository_serves, the index), and a version whose artifact is at fault is built again, behind
 * what else is done.  Fails for want of memory, or by the registry. */
cab_status cab_repository_apply(struct cab_service *s, const char *model, cab_diag *d);

/* A change of what is wanted of a model: begun, made in the registry, and ended with what became of that.  The end
 * loads what is wanted then; a version that the change brings in, puts first or would lose and that does not load
 * takes the change back, with its story; so does one that would leave nothing to who asks without a version.  Else it is durable, and served.  Between the two nothing else happens. */
typedef struct cab_change {
    const char *model;
    struct cab_set *before;
    int64_t built;             /* only this version's failure counts, and is not healed; 0: see above */
    bool must_serve;           /* only what is lost counts, or that nothing is loaded in the end */
} cab_change;
cab_status cab_repository_begin(struct cab_service *s, const char *model, cab_change *c, cab_diag *d);
/* afresh: NULL keeps what is loaded; else everything is loaded again, with this model configuration, or with "" its own. */
cab_status cab_repository_end(struct cab_service *s, cab_change *c, cab_status k, const char *afresh, cab_diag *d);

/* Every model of the registry; what fails is said in the log.  Versions that have no artifact are built; alone: also
 * those that another process was building.  A successor that does not serve yet first builds again what does not load
 * for its artifact; false: something of what is wanted is not loaded. */
bool cab_repository_start(struct cab_service *s, bool alone);
/* Builds every version of that state that no build here is of. */
void cab_repository_build_all(struct cab_service *s, cab_version_state state, cab_diag *d);
/* A model that was removed. */
cab_status cab_repository_forget(struct cab_service *s, const char *model, cab_diag *d);
/* Removes stored files that no version names any more and that are older than an hour; not while another process has
 * the folder, too, and not so often that it would be felt.  To be called when there may be some. */
void cab_repository_sweep(struct cab_service *s);
/* Takes everything out. */
void cab_repository_stop(struct cab_service *s);
/* Builds a version that is not ready, or does not load, then loads it and answers x (NULL: nobody waits) with its description;
 * x->user set: with nothing.  Where it is being built already x waits for that build; CAB_ECANCELLED where another
 * process does that.  promise: {"inputs", "outputs"} that x wants to see (JSON); NULL: any.  What the registry has as
 * the version's promise decides whether it is built or has failed. */
cab_status cab_repository_build(struct cab_service *s, const cab_version_info *v, const char *promise, cab_exchange *x,
                                cab_diag *d);
/* Whether an interface (JSON, of the registry) is what was promised: CAB_EMODEL, CAB_EPARSE. */
cab_status cab_repository_holds(const char *io, const char *promise, cab_diag *d);
/* Frees a version that nobody has any more. */
void cab_resident_destroy(cab_resident *l);
/* A version as /register and /discover answer it: name, version, state, inputs, outputs, resources... */
void cab_version_put(cab_bytes *out, const cab_version_info *v);
bool cab_repository_has(struct cab_service *s, const char *model, int64_t version);    /* it is loaded */
/* Whether it is loaded; else why not. */
bool cab_repository_serves(struct cab_service *s, const cab_version_info *v, cab_bytes *why);
/* Tries once more to load a version that did not; true: it has to be built. */
bool cab_repository_retry(struct cab_service *s, const cab_version_info *v);
/* The same of a registered one, and "serving", "why". */
cab_status cab_repository_describe(struct cab_service *s, const char *model, int64_t version, cab_bytes *out, cab_diag *d);

#endif
