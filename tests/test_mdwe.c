/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mdwe.c - no page is ever writable and executable, none becomes
 * executable later.
 *
 *   test_mdwe PROGRAM ARGS...   runs a program under that rule
 *   test_mdwe                   runs the commands on the sample so
 *
 * The rule is a seccomp filter (mmap with both rights, mprotect that gains
 * execution: the process is killed) and, where the kernel has it, PR_SET_MDWE.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/test.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
enum { REFUSE_EXEC_GAIN = 1 };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define AND(value) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, value)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)

/* Low words of the rights: PROT_* fit 32 bits (the machine is little-endian). */
static struct sock_filter rules[] = {
    LOAD(arch), IF(AUDIT_ARCH_X86_64, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr), IF(SYS_mmap, 0, 3),
    LOAD(args[2]), AND(PROT_WRITE | PROT_EXEC), IF(PROT_WRITE | PROT_EXEC, 5, 6),
    IF(SYS_mprotect, 1, 0), IF(SYS_pkey_mprotect, 0, 4),
    LOAD(args[2]), AND(PROT_EXEC), IF(PROT_EXEC, 0, 1),
    RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW),
};

static bool restrict_self(void)
{
    struct sock_fprog p = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0L, 0L, 0L) && errno != EINVAL)
        return false;
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
}

/* What the rule is for must be caught, or the test means nothing. */
static int break_rule(int how)
{
    pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        if (!restrict_self())
            _exit(2);
        void *p = mmap(NULL, 4096, how ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        _exit(p == MAP_FAILED || mprotect(p, 4096, PROT_READ | PROT_EXEC) ? 3 : 0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) || WEXITSTATUS(status) == 3;
}

static int run(const char *self, const char *const *argv)
{
    const char *all[16] = { self };
    pid_t pid = fork();
    int status = -1;
    for (int i = 0; i < 14 && argv[i]; i++)
        all[i + 1] = argv[i];
    if (pid == 0) {
        execv(self, (char **)(uintptr_t)all);
        _exit(126);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (!restrict_self())
            return 125;
        execv(argv[1], argv + 1);
        return 126;
    }
    const char *top = getenv("srcdir") ? getenv("srcdir") : "..";
    char model[4096], images[4096];
    snprintf(model, sizeof model, "%s/samples/digits/digits.onnx", top);
    snprintf(images, sizeof images, "%s/samples/digits/images.npy", top);
    CHECK(break_rule(0));
    CHECK(break_rule(1));
    CHECK_EQ(run(argv[0], (const char *const[]){ "./cab", "run", model, "--input", images, NULL }), 0);
    CHECK_EQ(run(argv[0], (const char *const[]){ "./cab", "compile", model, "-o", "mdwe.cab", NULL }), 0);
    CHECK_EQ(run(argv[0], (const char *const[]){ "./cab-rt", "mdwe.cab", "--input", images, NULL }), 0);
    CHECK_EQ(run(argv[0], (const char *const[]){ "./tests/test_artifact", NULL }), 0);
    unlink("mdwe.cab");
    TEST_END();
}
