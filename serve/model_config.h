/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_config.h - how a model version is served, as JSON with the field names of Triton's ModelConfig.
 *
 *   {"max_batch_size": 8,
 *    "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 100,
 *                         "priority_levels": 2, "default_priority_level": 1,
 *                         "default_queue_policy": {"max_queue_size": 100, "default_timeout_microseconds": 50000}},
 *    "instance_group": [{"count": 2}], "threads": 1,
 *    "output": [{"name": "y", "labels": ["cat", "dog"]}]}
 *
 * Every field may be missing; one that is not known is an error, and so is one that says what cannot be done or is not
 * so (docs/serving.md lists them, and those that are taken and say nothing).  `threads` (ours): of one run; 1 by default.  `labels` (ours; Triton has a file for
 * them): the names of an output's classes.
 */
#ifndef CAB_SERVE_MODEL_CONFIG_H
#define CAB_SERVE_MODEL_CONFIG_H
#include "base/diag.h"
#include "serve/catalog.h"
#include "serve/sched/scheduler.h"

typedef struct cab_model_config {
    int64_t max_batch_size;    /* rows of one request, and of a batch; 0: the first axis is no batch */
    bool dynamic_batching;
    cab_served_config served;
} cab_model_config;

/* text "" or NULL: the defaults.  max_queue: the figure where the text has none. */
cab_status cab_model_config_read(const char *text, int64_t max_queue, cab_model_config *out, cab_diag *d);
/* Whether what c, read from the text, says of inputs and outputs is so of l's; and the labels of these, into l. */
cab_status cab_model_config_fit(const char *text, const cab_model_config *c, cab_resident *l, cab_diag *d);
/* The whole of it, as /v2/models/NAME/config answers, into l->config. */
bool cab_model_config_write(cab_resident *l, const cab_model_config *c);

#endif
