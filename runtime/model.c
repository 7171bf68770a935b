/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c - a compiled model: one mapped file, shared by its sessions.
 *
 * Weights and tables are read through a read-only mapping; the code section
 * is mapped a second time, read-execute.  No page is ever writable and
 * executable, and none changes its protection.
 */
#include "runtime/runtime_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int check_isa(const cab_plan *p, cab_error *e)
{
    uint32_t lacking = p->file->isa & ~cab_isa_here();
    char names[160];
    if (!lacking)
        return CAB_OK;
    return cab_rt_fail(e, CAB_EARTIFACT,
                       "this processor lacks %s, which the artifact's code needs: "
                       "compile it for this machine or with --target x86-64-v3",
                       cab_isa_names(lacking, names, sizeof names));
}

static int map_code(cab_model *m, int fd, cab_error *e)
{
    if (m->plan.code_bytes == 0)
        return CAB_OK;
    void *p = mmap(NULL, m->plan.code_bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd,
                   (off_t)m->plan.code_offset);
    if (p == MAP_FAILED)
        return cab_rt_fail(e, CAB_EIO, "the system refuses to map code from this file "
                                       "(noexec file system?)");
    m->code = p;
    return CAB_OK;
}

int cab_model_load_fd(int fd, const char *label, const cab_model_options *o, cab_model **out,
                      cab_error *e)
{
    *out = NULL;
    cab_model *m = calloc(1, sizeof *m);
    if (!m)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    atomic_init(&m->refs, 1);
    cab_diag d;
    cab_diag_init(&d);
    int s = cab_fd_map(fd, label, &m->file, &d);
    if (s != CAB_OK)
        cab_rt_fail(e, s, "%s", cab_diag_first(&d) ? cab_diag_first(&d)->text : "cannot map");
    cab_diag_fini(&d);
    if (s == CAB_OK)
        s = cab_plan_check_bytes(m->file.p, m->file.n, &m->plan, e);
    if (s == CAB_OK)
        s = check_isa(&m->plan, e);
    if (s == CAB_OK)
        s = cab_custom_resolve(m, o, e);
    if (s == CAB_OK)
        s = map_code(m, fd, e);
    if (s != CAB_OK) {
        cab_model_destroy(m);
        return s;
    }
    *out = m;
    return CAB_OK;
}

int cab_model_load(const char *path, const cab_model_options *o, cab_model **out, cab_error *e)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cab_rt_fail(e, CAB_EIO, "cannot open %s: %s", path, strerror(errno));
    int s = cab_model_load_fd(fd, path, o, out, e);
    close(fd);
    return s;
}

void cab_model_retain(cab_model *m) { atomic_fetch_add(&m->refs, 1); }

void cab_model_destroy(cab_model *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    if (m->code)
        munmap(m->code, m->plan.code_bytes);
    cab_custom_drop(m);
    if (m->file.p)
        cab_file_unmap(&m->file);
    free(m);
}

const cab_plan *cab_model_plan(const cab_model *m) { return &m->plan; }
const char *cab_model_name(const cab_model *m) { return cab_plan_text(&m->plan, m->plan.header->model_name); }
int cab_model_input_count(const cab_model *m) { return (int)m->plan.header->n_inputs; }
int cab_model_output_count(const cab_model *m) { return (int)m->plan.header->n_outputs; }

static int info(const cab_plan *p, const uint32_t *list, uint32_t n, int i, cab_tensor_info *out)
{
    if (i < 0 || (uint32_t)i >= n)
        return CAB_EINVAL;
    const cab_plan_value *v = &p->values[list[i]];
    memset(out, 0, sizeof *out);
    out->name = cab_plan_text(p, v->name);
    out->dtype = v->dtype;
    out->rank = v->rank;
    for (int k = 0; k < v->rank; k++) {
        const cab_plan_scalar *s = &p->scalars[v->dims[k]];
        out->dims[k] = s->op == CAB_S_CONST ? s->imm : -1;
    }
    return CAB_OK;
}

int cab_model_input(const cab_model *m, int i, cab_tensor_info *out)
{
    return info(&m->plan, m->plan.inputs, m->plan.header->n_inputs, i, out);
}

int cab_model_output(const cab_model *m, int i, cab_tensor_info *out)
{
    return info(&m->plan, m->plan.outputs, m->plan.header->n_outputs, i, out);
}
