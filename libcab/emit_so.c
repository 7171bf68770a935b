/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit_so.c - a model as a shared library with the three functions of its C
 * header (codegen/c_api.c).
 *
 * The artifact, its kernels' object file, a few generated lines and libcabrt
 * go through the system's C compiler and linker.  The kernels are bound by that
 * linker, not by ours: the two check each other.
 */
#include "libcab/libcab_int.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* @ is the prefix; runtime/linked.h declares the same. */
static const char stub_head[] =
    "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
    "typedef void kernel(void *const *, const int64_t *, int64_t, int64_t);\n"
    "struct linked {\n    const unsigned char *artifact, *end;\n    kernel *const *kernels;\n"
    "    void *_Atomic state;\n};\n"
    "int cab_linked_run(struct linked *, const void *, void *, char *);\n"
    "int cab_linked_memory(struct linked *, const void *, void *, size_t *, char *);\n"
    "__asm__(\".section .rodata\\n.balign 4096\\ncab_artifact_start:\\n.incbin \\\"model.cab\\\"\\n\"\n"
    "        \"cab_artifact_end:\\n.byte 0\\n.previous\\n\");\n"
    "extern const unsigned char cab_artifact_start[], cab_artifact_end[];\n";

static const char stub_tail[] =
    "static struct linked model = { cab_artifact_start, cab_artifact_end, kernels, NULL };\n"
    "static _Thread_local char error[500];\n"
    "#define PUBLIC __attribute__((visibility(\"default\")))\n"
    "PUBLIC int @_run(const void *inputs, void *outputs);\n"
    "PUBLIC int @_run(const void *inputs, void *outputs)\n"
    "{ return cab_linked_run(&model, inputs, outputs, error); }\n"
    "PUBLIC int @_memory(const void *inputs, void *outputs, size_t *work);\n"
    "PUBLIC int @_memory(const void *inputs, void *outputs, size_t *work)\n"
    "{ return cab_linked_memory(&model, inputs, outputs, work, error); }\n"
    "PUBLIC const char *@_error(void);\n"
    "PUBLIC const char *@_error(void) { return error; }\n";

static void put_with_prefix(cab_buf *b, const char *text, const char *prefix)
{
    for (; *text; text++)
        if (*text == '@')
            cab_buf_str(b, prefix);
        else
            cab_buf_char(b, *text);
}

/* names: kernels by number, a line each. */
static void write_stub(cab_buf *b, const char *names, const char *prefix)
{
    put_with_prefix(b, stub_head, prefix);
    for (const char *p = names; *p; p += strcspn(p, "\n") + 1)
        cab_buf_printf(b, "extern kernel %.*s;\n", (int)strcspn(p, "\n"), p);
    cab_buf_str(b, "static kernel *const kernels[] = {\n");
    for (const char *p = names; *p; p += strcspn(p, "\n") + 1)
        cab_buf_printf(b, "    %.*s,\n", (int)strcspn(p, "\n"), p);
    cab_buf_str(b, "    0\n};\n");
    put_with_prefix(b, stub_tail, prefix);
}

/* ---- the system's compiler ---- */

static cab_status run_compiler(cab_arena *a, const char *folder, const char *const *argv, cab_diag *d)
{
    const char *log = cab_printf(a, "%s/log", folder);
    posix_spawn_file_actions_t fa;
    int status = -1;
    char *text = NULL;
    size_t n;
    pid_t pid;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&fa, 1, 2);
    int rc = posix_spawn_file_actions_addchdir_np(&fa, folder);
    rc = rc ? rc : posix_spawnp(&pid, argv[0], &fa, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    if (rc) {
        cab_fail(d, CAB_EUNSUPPORTED, NULL, "cannot start the C compiler %s: %s", argv[0], strerror(rc));
        cab_note(d, "a shared library is linked by the system: apt-get install gcc, or set CC");
        return CAB_EUNSUPPORTED;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CAB_OK;
    if (cab_file_read(a, log, 65536, &text, &n, NULL) != CAB_OK)
        text = "";
    text[strcspn(text, "\n")] = 0;
    return cab_fail(d, CAB_EIO, NULL, "the C compiler %s failed: %s", argv[0], text);
}

static cab_status put_file(const char *folder, const char *name, const void *p, size_t n,
                           cab_arena *a, cab_diag *d)
{
    return cab_file_write(cab_printf(a, "%s/%s", folder, name), p, n, d);
}

static cab_status build(const cab_so_parts *s, const char *folder, cab_arena *a, cab_diag *d)
{
    const char *exports = cab_printf(a, "{ global: %s_run; %s_memory; %s_error; local: *; };\n",
                                     s->prefix, s->prefix, s->prefix);
    const char *cc = getenv("CC");
    cab_buf stub = cab_buf_on(a);
    write_stub(&stub, s->names, s->prefix);
    CAB_TRY(put_file(folder, "model.cab", s->artifact.p, s->artifact.n, a, d));
    CAB_TRY(put_file(folder, "kernels.o", s->object, s->object_bytes, a, d));
    CAB_TRY(put_file(folder, "stub.c", stub.p, stub.n, a, d));
    CAB_TRY(put_file(folder, "exports", exports, strlen(exports), a, d));
    const char *out = cab_printf(a, "%s/model.so", folder);
    const char *soname = strrchr(s->path, '/') ? strrchr(s->path, '/') + 1 : s->path;
    const char *argv[] = { cc && *cc ? cc : "cc", "-shared", "-fPIC", "-O1", "-std=c11",
                           "-fvisibility=hidden", "-o", out, "stub.c", "kernels.o",
                           cab_part(a, "libcabrt.a", R_OK, CAB_RUNTIME_ARCHIVE), "-lpthread", "-lm", "-Wl,--version-script=exports",
                           "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-Wl,-z,defs",
                           cab_printf(a, "-Wl,-soname,%s", soname), NULL };
    CAB_TRY(run_compiler(a, folder, argv, d));
    cab_mapping m;
    CAB_TRY(cab_file_map(out, &m, d));
    cab_status rc = cab_file_write(s->path, m.p, m.n, d);
    cab_file_unmap(&m);
    return rc;
}

cab_status cab_so_write(cab_arena *a, const cab_so_parts *s, cab_diag *d)
{
    static const char *const files[] = { "model.cab", "kernels.o", "stub.c", "exports", "log",
                                         "model.so" };
    const char *tmp = getenv("TMPDIR");
    char *folder = cab_printf(a, "%s/cab-so-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return cab_fail(d, CAB_EIO, NULL, "%s: %s", folder, strerror(errno));
    cab_status rc = build(s, folder, a, d);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(cab_printf(a, "%s/%s", folder, files[i]));
    rmdir(folder);
    return rc;
}
