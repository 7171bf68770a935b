/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository_int.h - what the files of the repository know of each other.  [control thread]
 */
#ifndef CAB_SERVE_REPOSITORY_INT_H
#define CAB_SERVE_REPOSITORY_INT_H
#include "serve/repository.h"
#include "serve/service.h"

/* A version that is wanted, and what became of it. */
typedef struct cab_item {
    int64_t version;
    bool chosen;               /* by the policy; else a label names it */
    cab_resident *loaded;      /* with a reference; NULL: it was not loaded */
    cab_diag why;              /* it does not load */
    bool heals;                /* but would when it were built again */
} cab_item;

/* What is wanted of a model, chosen ones first, newest first. */
typedef struct cab_set {
    cab_model_list model;      /* one */
    cab_item *item;
    size_t n;
    int64_t latest;            /* what a request without a version is to get; 0: nothing is ready */
} cab_set;

/* ---- repository_load.c ---- */
/* config: instead of the version's own; NULL or "": that.  CAB_EARTIFACT: the artifact does not load, or is missing. */
cab_status cab_repository_load(cab_service *s, const cab_version_info *v, const char *config, cab_resident **out, cab_diag *d);

/* ---- repository_why.c: what is wanted and not loaded ---- */
typedef struct cab_obstacle {
    struct cab_obstacle *next;
    char name[CAB_NAME_BYTES];
    int64_t version;
    char *why;
    bool heals, tried;         /* a build may help; one was begun */
} cab_obstacle;
/* NULL: it loads, or is not wanted. */
const cab_obstacle *cab_obstacle_find(const cab_service *s, const char *name, int64_t version);
/* Those of a model are what of the set is not loaded; a new one is said in the log. */
void cab_obstacles_note(cab_service *s, const char *name, const cab_set *set);
/* Builds again what a build can heal and none was begun for. */
void cab_obstacles_heal(cab_service *s);
/* The same of one version; true: it is being built. */
bool cab_repository_heal_one(cab_service *s, const char *name, int64_t version);
void cab_obstacles_fini(cab_service *s);
/* A successor that does not serve yet: what its predecessor serves it must be able to serve, too. */
bool cab_repository_succeeds(const cab_service *s);

#endif
