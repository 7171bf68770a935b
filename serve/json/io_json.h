/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_json.h - what goes into a model and what comes out, as JSON text.
 *
 *   {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], "outputs": [...]}
 *
 * datatype: as the Open Inference Protocol spells it; shape: -1 where a run
 * decides; a sequence or an optional has "kind", and no shape when ranks may differ.
 */
#ifndef CAB_SERVE_IO_JSON_H
#define CAB_SERVE_IO_JSON_H
#include "base/diag.h"
#include "include/cab_rt.h"
#include "serve/bytes.h"
#include <jansson.h>

/* Of a loaded model, into out (check out->failed). */
void cab_io_write(const cab_model *m, cab_bytes *out);
/* CAB_EINVAL when it is not of that form. */
cab_status cab_io_check(const json_t *io, cab_diag *d);

#endif
