/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - cab-serve: the server as a program.
 *
 * SIGTERM, SIGINT: drains, a second one ends at once.  SIGHUP: reads tokens and
 * certificates again and opens the log anew.  SIGUSR2: hands over to this
 * program started afresh.  All signals are taken by this thread.
 */
#include "serve/listen.h"
#include "serve/service.h"
#include <event2/thread.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int help(void)
{
    cab_bytes b = { 0 };
    cab_bytes_str(&b, "cab-serve " CAB_VERSION ": models behind HTTP and gRPC\n\nusage: cab serve --root DIR [flags]\n"
                      "       cab serve --hash-token        (reads a token, writes its line for the tokens' file)\n\n");
    cab_options_help(&b);
    cab_bytes_str(&b, "  --config          FILE     the same as a JSON object, names with _ instead of -\n"
                      "\nSIGTERM drains and ends, SIGHUP reads tokens, certificates and log again, SIGUSR2 restarts without a gap.\n"
                      "Everything about the interface: GET /openapi.json; docs/serving.md.\n");
    fputs(cab_bytes_cstr(&b), stdout);
    cab_bytes_fini(&b);
    return 0;
}

static int hash_token(void)
{
    char token[4096], hash[72];
    if (!fgets(token, sizeof token, stdin))
        return 1;
    size_t n = strcspn(token, "\r\n");
    cab_auth_hash((cab_slice){ token, n }, hash);
    printf("%s call NAME\n", hash);
    return n ? 0 : 1;
}

/* What a successor is: whatever stands by then where this program was started from. */
static const char *program_of(char **argv, char place[PATH_MAX])
{
    ssize_t n = strchr(argv[0], '/') ? -1 : readlink("/proc/self/exe", place, PATH_MAX - 1);
    if (n < 0)
        return argv[0];
    place[n] = 0;
    return place;
}

static void hand_over(cab_service *s, const char *program, char **argv, cab_diag *d)
{
    cab_diag_clear(d);
    cab_service_says_busy(s, true);
    if (cab_hand_over(s, program, argv, d) == CAB_OK)
        return;
    cab_journal_diag(s->journal, "hand-over failed", d);
    if (atomic_load(&s->successor) <= 0)       /* else one is starting already */
        cab_service_says_busy(s, false);
}

/* A successor that ended instead of taking over. */
static void look_after_successor(cab_service *s)
{
    int status, pid = atomic_load(&s->successor);
    if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid)
        return;
    atomic_store(&s->successor, 0);
    cab_journal_say(s->journal, "error", "hand-over failed", "process %d ended with %s %d; this one serves on", pid,
                    WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    cab_service_says_busy(s, false);
}

static void serve(cab_service *s, const sigset_t *signals, char **argv, cab_diag *d)
{
    char place[PATH_MAX];
    const char *program = program_of(argv, place);
    siginfo_t i;
    for (;;) {
        int n = sigwaitinfo(signals, &i);
        if (n == SIGHUP) {
            cab_service_reload(s);
        } else if (n == SIGUSR2) {
            hand_over(s, program, argv, d);
        } else if (n == SIGUSR1) {
            cab_service_inherit(s);
        } else if (n == SIGCHLD) {
            look_after_successor(s);
        } else if (n > 0) {
            cab_service_drain(s, n == SIGTERM && cab_service_has_successor(s, i.si_pid));
            return;
        }
    }
}

static int complain(const cab_diag *d)
{
    cab_status worst = CAB_OK;
    for (size_t i = 0; i < d->n; i++) {
        char *text = cab_diag_format(&d->entries[i]);
        fprintf(stderr, "cab-serve: %s", text ? text : "out of memory\n");
        free(text);
        worst = d->entries[i].code;
    }
    return cab_status_exit(worst);
}

/* Memory of large requests is used again: to give it back and get it anew is a page fault for each 4 KB, a third of
 * what a request of 1 MB costs. */
enum { KEPT = 64 << 20 };

int main(int argc, char **argv)
{
    static cab_service s;
    sigset_t signals;
    cab_diag d;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || (argc == 2 && !strcmp(argv[i], "help")))
            return help();
    if (argc == 2 && !strcmp(argv[1], "--hash-token"))
        return hash_token();
    if (argc == 2 && !strcmp(argv[1], "--version"))
        return printf("cab-serve " CAB_VERSION "\n") < 0;
    mallopt(M_MMAP_THRESHOLD, KEPT / 2);
    mallopt(M_TRIM_THRESHOLD, KEPT);
    cab_diag_init(&d);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGUSR1);      /* of a successor: its predecessor has ended */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int rc = 0;
    if (cab_inherited_lock() >= 0 && !prctl(PR_SET_PDEATHSIG, SIGUSR1) && !cab_predecessor())
        kill(getpid(), SIGUSR1);       /* it ended before it could be looked after */
    if (cab_service_init(&s, argc, argv, &d) == CAB_OK && cab_service_start(&s, &d) == CAB_OK)
        serve(&s, &signals, argv, &d);
    else
        rc = complain(&d);
    cab_service_fini(&s);
    cab_diag_fini(&d);
    return rc;
}
