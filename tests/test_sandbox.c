/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sandbox.c - what a compile child can no longer do (tools/sandbox.c).
 *
 * Each attempt is made by a child of its own, which enters the sandbox first;
 * its exit status is the errno it met, or 0 when nothing stopped it.
 */
#include "tools/sandbox.h"
#include "tests/test.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { LIMITS_ADDRESSES = 0 };             /* it maps terabytes for itself */
#else
enum { LIMITS_ADDRESSES = 1 };
#endif
enum { PASSED = 0, NOT_ENTERED = 200, KILLED = 1000 };
static int early_socket = -1;              /* connected to nothing, open before the sandbox */
static int early_file = -1;                /* one without a name, likewise */

static int met(long rc) { return rc < 0 ? errno : PASSED; }

/* ---- attempts ---- */

static int read_file(void) { return met(open("/etc/passwd", O_RDONLY)); }
static int write_file(void) { return met(open("/tmp/cab-sandbox-was-here", O_CREAT | O_WRONLY, 0600)); }
static int list_folder(void) { return met(open("/", O_RDONLY | O_DIRECTORY)); }
static int open_socket(void) { return met(socket(AF_INET, SOCK_STREAM, 0)); }
static int open_unix(void) { return met(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int fork_one(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    return met(pid);
}
static int fork_raw(void)
{
    long pid = syscall(SYS_vfork);
    if (!pid)
        _exit(0);
    return met(pid);
}
static int connect_early(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return met(connect(early_socket, (struct sockaddr *)&to, sizeof to));
}
static int execute(void)
{
    char *argv[] = { (char *)"true", NULL };
    return met(execve("/bin/true", argv, NULL));
}
static int kill_parent(void) { return met(kill(getppid(), 0)); }
static int kill_group(void) { return met(kill(0, 0)); }
static int signal_thread(void) { return met(syscall(SYS_tgkill, getppid(), getppid(), 0)); }
static int own_signals(void) { return met(fcntl(early_socket, F_SETOWN, getppid())); }
static int trace(void) { return met(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int ring(void) { return met(syscall(SYS_io_uring_setup, 1, NULL)); }
static int bpf_call(void) { return met(syscall(SYS_bpf, 0, NULL, 0)); }
static int keys(void) { return met(syscall(SYS_keyctl, 0, 0)); }
static int mount_call(void) { return met(syscall(SYS_mount, "a", "/", "b", 0, NULL)); }
static int new_user(void) { return met(syscall(SYS_unshare, 0x10000000)); }
static int raise_limit(void)
{
    struct rlimit l = { 1 << 20, 1 << 20 };
    return met(setrlimit(RLIMIT_NOFILE, &l));
}
static int run_memory(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? PASSED : met(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int map_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno : PASSED;
}
static void *nothing(void *user) { return user; }
static int start_thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, nothing, NULL);
    return rc ? rc : pthread_join(t, NULL);
}
static int inside(void) { return met(open("/usr/lib", O_RDONLY | O_DIRECTORY)); }
static int inside_writing(void) { return met(open("/usr/lib/cab-sandbox-was-here", O_WRONLY | O_CREAT, 0600)); }
static int beside(void) { return met(open("/usr/lib/../../etc/passwd", O_RDONLY)); }
static int too_much_memory(void)
{
    return mmap(NULL, (size_t)1 << 32, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0) == MAP_FAILED ? errno : PASSED;
}
static int too_much_time(void)
{
    for (volatile unsigned even = 0; even != 1; even += 2)
        ;
    return PASSED;
}
static int too_large_file(void)
{
    return met(ftruncate(early_file, 2 << 20));
}
static int another_file(void) { return met(memfd_create("another", 0)); }
static int low_descriptors(void) { return fcntl(early_socket, F_GETFD) < 0 ? errno : PASSED; }

/* What a compilation does. */
static int ordinary(void)
{
    int fd = early_file;
    void *p = malloc(1 << 20);
    char *m = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct stat st;
    bool ok = fd >= 0 && p && m != MAP_FAILED && !ftruncate(fd, 100) && pwrite(fd, "x", 1, 0) == 1 &&
              !fstat(fd, &st) && st.st_size == 100 && !munmap(m, 4096) && !close(fd);
    free(p);
    return ok ? PASSED : 99;
}

/* ---- the children ---- */

static int in_child(const cab_sandbox *s, int (*attempt)(void))
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        cab_sandbox mine = *s;
        mine.parent = getppid();
        _exit(cab_sandbox_enter(&mine, NULL) == CAB_OK ? attempt() : NOT_ENTERED);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFSIGNALED(status) ? KILLED + WTERMSIG(status) : WEXITSTATUS(status);
}

static const struct { const char *name; int (*attempt)(void); int expected; } strict[] = {
    { "ordinary work", ordinary, PASSED },
    { "another file without a name", another_file, EPERM },
    { "read a file", read_file, EPERM },
    { "write a file", write_file, EPERM },
    { "list a folder", list_folder, EPERM },
    { "TCP socket", open_socket, EPERM },
    { "local socket", open_unix, EPERM },
    { "connect", connect_early, EPERM },
    { "fork", fork_one, EPERM },
    { "vfork", fork_raw, EPERM },
    { "thread", start_thread, EPERM },
    { "another program", execute, KILLED + SIGSYS },
    { "signal to the parent", kill_parent, EPERM },
    { "signal to the group", kill_group, EPERM },
    { "signal to a thread of the parent", signal_thread, EPERM },
    { "signals of a descriptor", own_signals, EPERM },
    { "trace", trace, KILLED + SIGSYS },
    { "io_uring", ring, KILLED + SIGSYS },
    { "bpf", bpf_call, KILLED + SIGSYS },
    { "keys", keys, KILLED + SIGSYS },
    { "mount", mount_call, KILLED + SIGSYS },
    { "user namespace", new_user, KILLED + SIGSYS },
    { "raise a limit", raise_limit, EPERM },
    { "make memory executable", run_memory, EPERM },
    { "map executable memory", map_code, EPERM },
};

static void check_strict(void)
{
    const cab_sandbox s = { .last_fd = early_socket, .threads = 1 };
    for (size_t i = 0; i < sizeof strict / sizeof *strict; i++) {
        int got = in_child(&s, strict[i].attempt);
        if (got != strict[i].expected)
            fprintf(stderr, "%s:\n", strict[i].name);
        CHECK_EQ(got, strict[i].expected);
    }
    CHECK_EQ(access("/tmp/cab-sandbox-was-here", F_OK), -1);
}

/* The libraries' folders are readable: those, and only to read. */
static void check_libraries(void)
{
    const cab_sandbox s = { .last_fd = 9, .threads = 2, .libraries = true };
    const bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1;
    CHECK_EQ(in_child(&s, inside), PASSED);
    CHECK_EQ(in_child(&s, inside_writing), EPERM);
    CHECK_EQ(in_child(&s, start_thread), PASSED);
    CHECK_EQ(in_child(&s, fork_one), EPERM);
    CHECK_EQ(in_child(&s, low_descriptors), EBADF);
    if (landlock) {
        CHECK_EQ(in_child(&s, beside), EACCES);
        CHECK_EQ(in_child(&s, read_file), EACCES);
        CHECK_EQ(in_child(&s, list_folder), EACCES);
    }
}

/* A kernel without Landlock: it is said, and seccomp keeps files out. */
static int without_landlock(void)
{
    const cab_sandbox s = { .last_fd = 9, .threads = 1 };
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    cab_diag d;
    if (!f || seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SYS_landlock_create_ruleset, 0) ||
        seccomp_load(f))
        return 98;
    seccomp_release(f);
    cab_diag_init(&d);
    if (cab_sandbox_enter(&s, &d) != CAB_OK || d.n != 1 || !strstr(d.entries[0].text, "no Landlock"))
        return 97;
    return read_file();
}

static void check_without_landlock(void)
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(without_landlock());
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), EPERM);
}

static void check_limits(void)
{
    const cab_sandbox s = { .last_fd = early_file, .threads = 1, .max_address = (uint64_t)1 << 30,
                            .max_file = 1 << 20, .max_cpu_s = 1 };
    CHECK_EQ(in_child(&s, too_much_memory), LIMITS_ADDRESSES ? ENOMEM : PASSED);
    CHECK_EQ(in_child(&s, too_large_file), KILLED + SIGXFSZ);
    CHECK_EQ(in_child(&s, too_much_time), KILLED + SIGXCPU);
}

int main(void)
{
    early_socket = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, 20);
    early_file = fcntl(memfd_create("work", MFD_CLOEXEC), F_DUPFD, 4);
    check_strict();
    check_libraries();
    check_without_landlock();
    check_limits();
    TEST_END();
}
