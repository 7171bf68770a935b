/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuning_file.c - a tuning record from a file of its own, or from an artifact
 * that was made with it.
 */
#include "libcab/libcab_int.h"
#include <stdlib.h>
#include <string.h>

static const uint64_t LARGEST = (uint64_t)64 << 20;

static cab_status copy_text(const uint8_t *p, uint64_t n, const char *path, char **out, cab_diag *d)
{
    cab_where w = { .file = path };
    if (n > LARGEST || (n && memchr(p, 0, n)))
        return cab_fail(d, CAB_EPARSE, &w, "this is no tuning record: it is %s",
                        n > LARGEST ? "larger than any" : "not text");
    *out = n ? strndup((const char *)p, (size_t)n) : calloc(1, 1);
    return *out ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "no room for the record");
}

static cab_status from_artifact(const cab_mapping *m, const char *path, char **out, cab_diag *d)
{
    cab_where w = { .file = path };
    cab_error e = { 0 };
    cab_artifact f;
    const cab_file_section *s;
    if (cab_artifact_open(m->p, m->n, &f, &e) != CAB_OK)
        return cab_fail(d, CAB_EARTIFACT, &w, "%s", e.text);
    if (!(s = cab_artifact_find(&f, CAB_SEC_TUNING, 0)))
        return cab_fail(d, CAB_EINVAL, &w, "the artifact was made without a tuning record");
    if (cab_artifact_check(&f, s, &e) != CAB_OK)
        return cab_fail(d, CAB_EARTIFACT, &w, "%s", e.text);
    return copy_text(cab_artifact_bytes(&f, s), s->bytes, path, out, d);
}

cab_status cab_tuning_read(const char *path, char **out, cab_diag *d)
{
    cab_mapping m;
    CAB_TRY(cab_file_map(path, &m, d));
    bool artifact = m.n >= strlen(CAB_PLAN_MAGIC) &&
                    !memcmp(m.p, CAB_PLAN_MAGIC, strlen(CAB_PLAN_MAGIC));
    cab_status s = artifact ? from_artifact(&m, path, out, d) : copy_text(m.p, m.n, path, out, d);
    cab_file_unmap(&m);
    return s;
}
