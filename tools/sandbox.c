/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.c - limits, Landlock and seccomp, in this order: each closes what the
 * one before it still needed.
 */
#include "tools/sandbox.h"
#include "base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static cab_status cannot(cab_diag *d, const char *what, int error)
{
    return cab_fail(d, CAB_EIO, NULL, "cannot set up the sandbox: %s: %s", what, strerror(error));
}

/* ---- limits ---- */

static bool set_limit(int which, uint64_t soft, uint64_t hard)
{
    return !setrlimit((__rlimit_resource_t)which, &(struct rlimit){ soft, hard });
}

/* AddressSanitizer maps terabytes for itself. */
#ifdef __SANITIZE_ADDRESS__
enum { LIMITS_ADDRESSES = 0 };
#else
enum { LIMITS_ADDRESSES = 1 };
#endif

static cab_status limit(const cab_sandbox *s, cab_diag *d)
{
    bool ok = cab_process_no_core();
    ok = ok && set_limit(RLIMIT_NOFILE, 64, 64);
    if (s->max_address && LIMITS_ADDRESSES)
        ok = ok && cab_process_limit_memory(s->max_address);
    if (s->max_file)
        ok = ok && set_limit(RLIMIT_FSIZE, s->max_file, s->max_file);
    if (s->max_cpu_s)                           /* SIGXCPU says why; SIGKILL if it is not heard */
        ok = ok && set_limit(RLIMIT_CPU, s->max_cpu_s, (uint64_t)s->max_cpu_s + 1);
    return ok ? CAB_OK : cannot(d, "limits", errno);
}

static cab_status live_with(pid_t parent, cab_diag *d)
{
    if (!parent)
        return CAB_OK;
    int rc = cab_process_die_with(parent);
    if (rc == ESRCH)
        return cab_fail(d, CAB_ECANCELLED, NULL, "the parent process has gone");
    return rc ? cannot(d, "the parent's death", rc) : CAB_OK;
}

/* ---- Landlock ---- */

/* Of newer headers than those we may be built with. */
#define FS_TRUNCATE (1ULL << 14)           /* ABI 3 */
#define FS_IOCTL_DEV (1ULL << 15)          /* ABI 5 */
#define NET_TCP 3ULL                       /* bind and connect: ABI 4 */
#define SCOPES 3ULL                        /* abstract sockets, signals: ABI 6 */
typedef struct ruleset_attr { uint64_t fs, net, scoped; } ruleset_attr;

/* All rights that a version of Landlock knows. */
static ruleset_attr everything(long abi, size_t *size)
{
    ruleset_attr a = { .fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
    if (abi >= 2)
        a.fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        a.fs |= FS_TRUNCATE;
    if (abi >= 4)
        a.net = NET_TCP;
    if (abi >= 5)
        a.fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        a.scoped = SCOPES;
    *size = abi >= 6 ? sizeof a : abi >= 4 ? 16 : 8;
    return a;
}

/* Where there is such a file or folder. */
static void open_up(int rules, const char *path, uint64_t rights)
{
    struct landlock_path_beneath_attr r = { .allowed_access = rights };
    r.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (r.parent_fd < 0)
        return;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &r, 0);
    close(r.parent_fd);
}

static const char *const library_folders[] = { "/lib", "/lib64", "/usr/lib", "/usr/lib64",
                                               "/usr/local/lib" };

static void open_libraries(int rules)
{
    const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    for (size_t i = 0; i < sizeof library_folders / sizeof *library_folders; i++)
        open_up(rules, library_folders[i], read | LANDLOCK_ACCESS_FS_EXECUTE);
    open_up(rules, "/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE);
}

/* *locked: whether the kernel has Landlock. */
static cab_status lock_files(const cab_sandbox *s, bool *locked, cab_diag *d)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    size_t size;
    *locked = abi >= 1;
    if (!*locked) {
        cab_warn(d, NULL, "this kernel has no Landlock: the compiler is kept from files by "
                          "seccomp alone");
        return CAB_OK;
    }
    ruleset_attr a = everything(abi, &size);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &a, size, 0);
    if (rules < 0)
        return cannot(d, "Landlock", errno);
    cab_status status = CAB_OK;
    if (s->libraries)
        open_libraries(rules);
    if (syscall(SYS_landlock_restrict_self, rules, 0))
        status = cannot(d, "Landlock", errno);
    close(rules);
    return status;
}

/* ---- seccomp ---- */

/* What computing, memory, and files that are open already need.  No memfd_create: what is written to such a file is
 * memory that no limit counts; whoever needs one makes it before. */
static const int allowed[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
    SCMP_SYS(dup), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(fsync), SCMP_SYS(fdatasync),
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid),
    SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(getrandom), SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

/* What no compilation asks for: whoever does runs somebody else's code. */
static const int deadly[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
    SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(bpf), SCMP_SYS(keyctl),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(reboot), SCMP_SYS(open_by_handle_at), SCMP_SYS(pidfd_getfd), SCMP_SYS(swapon),
};

static int allow_memory(scmp_filter_ctx f, bool libraries)
{
    if (libraries) {
        int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
        return rc ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0);
    }
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* clone3 hides its flags from a filter: told that there is none, libc takes clone. */
static int allow_threads(scmp_filter_ctx f, int threads)
{
    const uint64_t thread = 0x00010000;    /* CLONE_THREAD */
    int rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc || threads <= 1)
        return rc;
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
}

/* Not those that send signals (F_SETOWN) or take locks and leases. */
static int allow_fcntl(scmp_filter_ctx f)
{
    static const int commands[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL,
                                    F_ADD_SEALS, F_GET_SEALS };
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof commands / sizeof *commands; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
    return rc;
}

/* abort() and raise(): signals to itself; limits: asking for its own. */
static int allow_self(scmp_filter_ctx f)
{
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    return rc ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                                      SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
}

/* To read; which ones is Landlock's matter. */
static int allow_opening(scmp_filter_ctx f)
{
    static const int calls[] = { SCMP_SYS(openat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
                                 SCMP_SYS(access), SCMP_SYS(stat), SCMP_SYS(lstat) };
    const uint64_t writes = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, writes, 0));
    for (size_t i = 0; !rc && i < sizeof calls / sizeof *calls; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    return rc;
}

static int fill(scmp_filter_ctx f, const cab_sandbox *s)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof allowed / sizeof *allowed; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; !rc && i < sizeof deadly / sizeof *deadly; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    rc = rc ? rc : allow_memory(f, s->libraries);
    rc = rc ? rc : allow_threads(f, s->threads);
    rc = rc ? rc : allow_fcntl(f);
    rc = rc ? rc : allow_self(f);
    return rc || !s->libraries ? rc : allow_opening(f);
}

static cab_status filter_calls(const cab_sandbox *s, cab_diag *d)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!f)
        return cannot(d, "seccomp", ENOMEM);
    int rc = fill(f, s);
    rc = rc ? rc : seccomp_load(f);
    seccomp_release(f);
    return rc ? cannot(d, "seccomp", -rc) : CAB_OK;
}

cab_status cab_sandbox_enter(const cab_sandbox *s, cab_diag *d)
{
    bool locked;
    CAB_TRY(live_with(s->parent, d));
    if (syscall(SYS_close_range, (unsigned)s->last_fd + 1, ~0U, 0))
        return cannot(d, "open files", errno);
    CAB_TRY(limit(s, d));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return cannot(d, "no_new_privs", errno);
    CAB_TRY(lock_files(s, &locked, d));
    return filter_calls(s, d);
}
