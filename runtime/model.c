/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c - a compiled model: one mapped file, shared by its sessions.
 *
 * Weights and tables are read through a read-only mapping; the code section
 * is mapped a second time, read-execute.  No page is ever writable and
 * executable, and none changes its protection.  Bytes in memory lend weights
 * and tables; their code goes into an anonymous file first.
 */
#include "runtime/linked.h"
#include "runtime/runtime_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAME(id) _Static_assert((int)CAB_RT_##id == (int)CAB_##id, "codes of cab_rt.h and errors.def")
SAME(OK); SAME(EINVAL); SAME(EIO); SAME(EPARSE); SAME(EMODEL); SAME(EUNSUPPORTED); SAME(ELIMIT);
SAME(ENOMEM); SAME(EARTIFACT); SAME(EINPUT); SAME(ECANCELLED); SAME(EINTERNAL); SAME(EDEADLINE);

const char *cab_rt_version(void) { return CAB_VERSION; }

size_t cab_tensor_bytes(int dtype, int rank, const int64_t *dims)
{
    cab_dtype dt = cab_dtype_from_onnx(dtype);
    uint64_t n = 1, bytes;
    bool ok = rank >= 0 && rank <= CAB_PLAN_MAX_RANK && dt != CAB_DT_none && dt != CAB_DT_str;
    for (int i = 0; ok && i < rank; i++)
        ok = dims[i] >= 0 && !__builtin_mul_overflow(n, (uint64_t)dims[i], &n);
    return ok && cab_dtype_bytes(dt, n, &bytes) ? bytes : SIZE_MAX;
}

/* ---- memory ---- */

static void *plain_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    return align <= 16 ? malloc(bytes) : aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void plain_release(void *user, void *p)
{
    (void)user;
    free(p);
}

void *cab_rt_alloc(const cab_allocator *a, size_t bytes, size_t align)
{
    return a->alloc(a->user, bytes ? bytes : 1, align);
}

void *cab_rt_alloc_zero(const cab_allocator *a, size_t n, size_t size)
{
    size_t bytes;
    void *p = __builtin_mul_overflow(n, size, &bytes) ? NULL : cab_rt_alloc(a, bytes, 16);
    return p ? memset(p, 0, bytes) : NULL;
}

void cab_rt_free(const cab_allocator *a, void *p)
{
    if (p)
        a->release(a->user, p);
}

/* ---- options ---- */

/* What the caller's struct holds, however short it is. */
void cab_rt_take_options(void *to, size_t n, const void *from)
{
    size_t given = 0;
    memset(to, 0, n);
    if (from)
        memcpy(&given, from, sizeof given);
    memcpy(to, from ? from : to, given < n ? given : n);
}

static int create(const cab_model_options *given, cab_model **out, cab_error *e)
{
    cab_model_options o;
    static const cab_allocator plain = { plain_alloc, plain_release, NULL };
    *out = NULL;
    if (e)
        *e = (cab_error){ 0 };
    if (given && given->size < sizeof given->size)
        return cab_rt_fail(e, CAB_EINVAL, "cab_model_options.size is not set (CAB_INIT)");
    cab_rt_take_options(&o, sizeof o, given);
    const cab_allocator *a = o.allocator ? o.allocator : &plain;
    if (!a->alloc || !a->release)
        return cab_rt_fail(e, CAB_EINVAL, "an allocator needs both of its functions");
    cab_model *m = cab_rt_alloc_zero(a, 1, sizeof *m);
    if (!m)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    m->alloc = *a;
    m->options = o;
    m->options.allocator = &m->alloc;
    atomic_init(&m->refs, 1);
    *out = m;
    return CAB_OK;
}

void cab_rt_log(const cab_model *m, int level, const char *text)
{
    if (m->options.log)
        m->options.log(m->options.log_user, level, text);
}

/* ---- loading ---- */

/* Code of the chosen variant, from fd at that offset. */
static int map_code(cab_model *m, int fd, uint64_t offset, cab_error *e)
{
    if (m->plan.code_bytes == 0)
        return CAB_OK;
    void *p = mmap(NULL, m->plan.code_bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)offset);
    if (p == MAP_FAILED)
        return cab_rt_fail(e, CAB_EIO, "the system refuses to map code from this file "
                                       "(noexec file system?)");
    m->code = p;
    return CAB_OK;
}

static int map_code_copy(cab_model *m, cab_error *e)
{
    int fd = m->plan.code_bytes ? cab_memfd("cabochon-code", m->plan.code_bytes) : -1, rc;
    if (!m->plan.code_bytes)
        return CAB_OK;
    if (fd < 0 || cab_fd_write_at(fd, 0, m->plan.code, m->plan.code_bytes, NULL) != CAB_OK)
        rc = cab_rt_fail(e, CAB_ENOMEM, "no memory for %llu bytes of code",
                         (unsigned long long)m->plan.code_bytes);
    else
        rc = map_code(m, fd, 0, e);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* A line for the host's log: what was loaded, and when faster code for a
 * better processor lay beside it. */
static void log_choice(const cab_model *m, const cab_artifact *a, uint32_t variant)
{
    char text[256], names[160];
    if (!m->options.log)
        return;
    snprintf(text, sizeof text, "%.60s: target %u of %d (%s), %.1f MB of weights%s",
             cab_model_name(m), variant + 1, a->n_targets,
             cab_isa_names(m->plan.isa, names, sizeof names), (double)m->plan.weights_bytes / 1e6,
             variant ? "; the processor lacks what the first target needs" : "");
    cab_rt_log(m, variant ? 1 : 2, text);
}

static int verify(const cab_model *m, const cab_artifact *a, cab_error *e)
{
    if (m->options.check_signature)
        return cab_artifact_check_signature(a, &m->options, e);
    return m->options.verify == CAB_VERIFY_FULL ? cab_artifact_verify(a, e) : CAB_OK;
}

/* fd < 0: the bytes are in memory. */
static int open_code(cab_model *m, int fd, cab_error *e)
{
    return fd < 0 ? map_code_copy(m, e) : map_code(m, fd, m->plan.code_offset, e);
}

cab_model *cab_model_beside(const cab_model *m)
{
    cab_model *s = cab_rt_alloc_zero(&m->alloc, 1, sizeof *s);
    if (!s)
        return NULL;
    s->alloc = m->alloc;
    s->options = m->options;
    s->options.allocator = &s->alloc;
    atomic_init(&s->refs, 1);
    return s;
}

static int open_special(cab_model *m, const cab_artifact *a, uint32_t variant, int fd, cab_error *e)
{
    cab_model *s = cab_model_beside(m);
    if (!s)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    int rc = cab_plan_open(a, variant, &s->plan, e);
    if (rc == CAB_OK)
        rc = cab_custom_resolve(s, &m->options, e);
    if (rc == CAB_OK)
        rc = open_code(s, fd, e);
    if (rc == CAB_OK)
        rc = cab_sized_add(m, s, e);
    if (rc != CAB_OK)
        cab_model_destroy(s);
    return rc;
}

static int open_specials(cab_model *m, const cab_artifact *a, uint32_t target, int fd, cab_error *e)
{
    for (uint32_t v = (uint32_t)a->n_targets; v < (uint32_t)a->n_variants; v++) {
        if (cab_artifact_find(a, CAB_SEC_PLAN, v)->special_of != target + 1)
            continue;
        int rc = open_special(m, a, v, fd, e);
        if (rc != CAB_OK)
            return rc;
    }
    return CAB_OK;
}

static int open_artifact(cab_model *m, const void *p, uint64_t n, int fd, cab_error *e)
{
    cab_artifact a;
    uint32_t target;
    CAB_TRY((cab_status)cab_artifact_open(p, n, &a, e));
    CAB_TRY(cab_artifact_choose(&a, cab_isa_here(), &target, e));
    CAB_TRY(cab_plan_open(&a, target, &m->plan, e));
    CAB_TRY((cab_status)cab_custom_resolve(m, &m->options, e));
    log_choice(m, &a, target);
    CAB_TRY((cab_status)verify(m, &a, e));
    if (m->linked)                     /* its kernels are those of one plan */
        return CAB_OK;
    CAB_TRY((cab_status)open_code(m, fd, e));
    return open_specials(m, &a, target, fd, e);
}

static int done(cab_model *m, int rc, cab_model **out)
{
    if (rc == CAB_OK)
        *out = m;
    else
        cab_model_destroy(m);
    return rc;
}

static int map_file(cab_model *m, int fd, const char *label, cab_error *e)
{
    cab_diag d;
    cab_diag_init(&d);
    int rc = cab_fd_map(fd, label ? label : "the file", &m->file, &d);
    if (rc != CAB_OK)
        cab_rt_fail(e, rc, "%s", cab_diag_first(&d) ? cab_diag_first(&d)->text : "cannot map");
    cab_diag_fini(&d);
    return rc;
}

int cab_model_load_fd(int fd, const char *label, const cab_model_options *o, cab_model **out,
                      cab_error *e)
{
    cab_model *m;
    *out = NULL;
    int rc = create(o, &m, e);
    if (rc != CAB_OK)
        return rc;
    rc = map_file(m, fd, label, e);
    if (rc == CAB_OK)
        rc = open_artifact(m, m->file.p, m->file.n, fd, e);
    return done(m, rc, out);
}

int cab_model_load(const char *path, const cab_model_options *o, cab_model **out, cab_error *e)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cab_rt_fail(e, CAB_EIO, "cannot open %s: %s", path, strerror(errno));
    int rc = cab_model_load_fd(fd, path, o, out, e);
    close(fd);
    return rc;
}

int cab_model_load_memory(const void *p, size_t n, const char *label, const cab_model_options *o,
                          cab_model **out, cab_error *e)
{
    cab_model *m;
    (void)label;                       /* bytes have no file that could fail */
    *out = NULL;
    int rc = create(o, &m, e);
    if (rc != CAB_OK)
        return rc;
    if ((uintptr_t)p % 64 && n) {
        void *copy = m->copy = cab_rt_alloc(&m->alloc, n, 64);
        if (!copy)
            return done(m, cab_rt_fail(e, CAB_ENOMEM, "out of memory"), out);
        p = memcpy(copy, p, n);
    }
    return done(m, open_artifact(m, p, n, -1, e), out);
}

int cab_model_load_linked(const void *p, size_t n, const cab_kernel_fn *kernels, cab_model **out,
                          cab_error *e)
{
    cab_model *m;
    *out = NULL;
    int rc = create(NULL, &m, e);
    if (rc != CAB_OK)
        return rc;
    m->linked = kernels;
    return done(m, open_artifact(m, p, n, -1, e), out);
}

void cab_model_retain(cab_model *m) { atomic_fetch_add(&m->refs, 1); }

void cab_model_destroy(cab_model *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    cab_sized_drop(m);
    if (m->code)
        munmap(m->code, m->plan.code_bytes);
    cab_custom_drop(m);
    if (m->file.p)
        cab_file_unmap(&m->file);
    cab_allocator a = m->alloc;
    cab_rt_free(&a, m->copy);
    cab_rt_free(&a, m);
}

/* ---- what a model says of itself ---- */

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
    for (int k = 0; k < CAB_PLAN_MAX_RANK; k++)
        out->dim_names[k] = "";
    if (v->kind) {
        out->rank = v->offset <= CAB_PLAN_MAX_RANK ? (int)v->offset : CAB_RANK_SEQUENCE;
        for (int k = 0; k < out->rank; k++)
            out->dims[k] = -1;
        return CAB_OK;
    }
    for (int k = 0; k < v->rank; k++) {
        const cab_plan_scalar *s = &p->scalars[v->dims[k]];
        out->dims[k] = s->op == CAB_S_CONST ? s->imm : -1;
        if (s->op != CAB_S_CONST)
            out->dim_names[k] = cab_plan_text(p, s->name);
    }
    return CAB_OK;
}

static int kind(const cab_plan *p, const uint32_t *list, uint32_t n, int i)
{
    return i < 0 || (uint32_t)i >= n ? -1 : p->values[list[i]].kind;
}

int cab_model_input_kind(const cab_model *m, int i)
{
    return kind(&m->plan, m->plan.inputs, m->plan.header->n_inputs, i);
}

int cab_model_output_kind(const cab_model *m, int i)
{
    return kind(&m->plan, m->plan.outputs, m->plan.header->n_outputs, i);
}

int cab_model_input(const cab_model *m, int i, cab_tensor_info *out)
{
    return info(&m->plan, m->plan.inputs, m->plan.header->n_inputs, i, out);
}

int cab_model_output(const cab_model *m, int i, cab_tensor_info *out)
{
    return info(&m->plan, m->plan.outputs, m->plan.header->n_outputs, i, out);
}

static int find(const cab_plan *p, const uint32_t *list, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(cab_plan_text(p, p->values[list[i]].name), name))
            return (int)i;
    return -1;
}

int cab_model_find_input(const cab_model *m, const char *name)
{
    return find(&m->plan, m->plan.inputs, m->plan.header->n_inputs, name);
}

int cab_model_find_output(const cab_model *m, const char *name)
{
    return find(&m->plan, m->plan.outputs, m->plan.header->n_outputs, name);
}

int cab_model_estimate(cab_model *m, const cab_tensor_view *inputs, cab_memory *out, cab_error *e)
{
    cab_session *s;
    int rc = cab_session_create(m, NULL, &s, e);
    if (rc == CAB_OK)
        rc = cab_session_estimate(s, inputs, out, e);
    cab_session_destroy(s);
    return rc;
}
