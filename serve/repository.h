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
#include "serve/exchange.h"
#include "serve/registry.h"

struct cab_service;

/* Loads what the model's policy chooses and is not loaded, takes out what is not chosen any more, in one step
 * for those who call.  afresh: NULL keeps what is loaded; else everything is loaded again, with this model
 * configuration, or with "" its own.  A version that cannot be
 * loaded leaves all as it was. */
cab_status cab_repository_apply(struct cab_service *s, const char *model, const char *afresh, cab_diag *d);
/* Every model of the registry; what fails is said in the log.  Versions that have no artifact are built; alone: also
 * those that another process was building. */
void cab_repository_start(struct cab_service *s, bool alone);
/* Builds every version of that state that no build here is of. */
void cab_repository_build_all(struct cab_service *s, cab_version_state state, cab_diag *d);
/* Takes everything out. */
void cab_repository_stop(struct cab_service *s);
/* Builds a version that is not ready, then loads it and answers x (NULL: nobody waits) with its description;
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
/* The same of a registered one. */
cab_status cab_repository_describe(struct cab_service *s, const char *model, int64_t version, cab_bytes *out, cab_diag *d);

#endif
