/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_end.c - how a server ends: with or without a successor, and what it owes to those who are connected.
 */
#include "base/log.h"
#include "serve/listen.h"
#include "serve/notify.h"
#include "serve/repository_int.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void wish(cab_service *s, unsigned wish)
{
    for (int i = 0; i < s->server.n_loops; i++)
        cab_loop_wish(&s->server.loops[i], wish);
}

/* 0 is a process outside of our container. */
bool cab_service_has_successor(const cab_service *s, int pid)
{
    return pid > 0 && pid == atomic_load(&s->successor);
}

/* Waits; true: a second signal says to end now (a successor's says something else). */
static bool told_again(const cab_service *s, int ms)
{
    sigset_t set;
    siginfo_t i;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return sigtimedwait(&set, &i, &(struct timespec){ ms / 1000, ms % 1000 * 1000000L }) > 0 &&
           !cab_service_has_successor(s, i.si_pid);
}

/* Connections of clients: those for health stay until the end. */
static int clients(const cab_service *s)
{
    int n = 0;
    for (int i = 0; i < s->server.n_loops; i++)
        n += atomic_load(&s->server.loops[i].n_conns);
    return n;
}

/* The ports go when the loops have let them go: who comes now is told at once that nobody is here. */
static void close_ports(cab_service *s)
{
    int open = 1;
    for (int k = 0; open && k < 20000; k++) {
        open = 0;
        for (int i = 0; i < s->server.n_loops; i++)
            open += atomic_load(&s->server.loops[i].n_listeners);
        if (open)
            usleep(50);
    }
    if (!open)
        cab_listen_close(s, false);
}

/* Until all clients have gone, or the time is over; true: a second signal came. */
static bool wait_for_clients(const cab_service *s, int64_t ms)
{
    int64_t until = cab_now_ns() + ms * 1000000;
    bool hurry = false;
    while (!hurry && clients(s) > 0 && cab_now_ns() < until)
        hurry = told_again(s, 5);
    return hurry;
}

static void end_life(cab_service *s)
{
    pthread_mutex_lock(&s->life);
    s->ending = true;
    pthread_mutex_unlock(&s->life);
}

/* Who is told to end is told so for a successor that has not taken over, too. */
static void end_successor(const cab_service *s)
{
    int pid = atomic_load(&s->successor);
    if (pid > 0)
        kill(pid, SIGTERM);
}

/* It has the ports and the registry's lock: whoever waits for our end may want to start another server.  True: a second
 * signal came. */
static bool await_successor(cab_service *s, bool hurry)
{
    int pid = atomic_load(&s->successor);
    int64_t until = cab_now_ns() + s->o.finish_ms * 1000000;
    bool gone = pid <= 0;
    while (!gone && !hurry && cab_now_ns() < until) {
        gone = waitpid(pid, NULL, WNOHANG) == pid;
        hurry = !gone && told_again(s, 5);
    }
    if (!gone) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    atomic_store(&s->successor, 0);
    return hurry;
}

/* Another process has the clients that come.  True: a second signal came. */
static bool retire(cab_service *s)
{
    cab_journal_say(s->journal, "info", "draining", "process %d serves", atomic_load(&s->successor));
    wish(s, CAB_LOOP_DRAIN | CAB_LOOP_DEAF);
    if (s->has_health)
        cab_loop_wish(&s->health, CAB_LOOP_DRAIN | CAB_LOOP_DEAF);
    return wait_for_clients(s, s->o.drain_ms);
}

/* Nobody has.  True: likewise. */
static bool stop_taking(cab_service *s)
{
    cab_journal_say(s->journal, "info", "draining", "unready; new connections for %lld ms", (long long)s->o.drain_ms);
    atomic_store(&s->server.draining, true);
    cab_notify(s->journal, "STOPPING=1");
    end_successor(s);
    wish(s, CAB_LOOP_DRAIN);
    bool hurry = await_successor(s, told_again(s, (int)s->o.drain_ms));
    cab_listen_seal(s);
    return hurry;
}

void cab_service_drain(cab_service *s, bool succeeded)
{
    if (!succeeded)
        end_life(s);
    if (!cab_service_serves(s)) {      /* nor is it the one that a service manager means */
        cab_journal_say(s->journal, "info", "drained", "told to end before it served");
        return;
    }
    bool hurry = succeeded ? retire(s) : stop_taking(s);
    wish(s, CAB_LOOP_CLOSE);
    close_ports(s);
    if (!hurry)
        wait_for_clients(s, s->o.finish_ms);
    cab_journal_say(s->journal, "info", "drained", "%d connections were left", clients(s));
}

static void unload_all(cab_service *s, cab_task *t)
{
    (void)t;
    if (s->catalog)
        cab_repository_stop(s);
}

void cab_service_fini(cab_service *s)
{
    end_life(s);
    wish(s, CAB_LOOP_STOP);
    if (s->has_health)
        cab_loop_wish(&s->health, CAB_LOOP_STOP);
    if (s->control)
        cab_control_hurry(s->control);
    /* Connections go, and what was begun comes back; it needs the control thread and the executors. */
    for (int i = 0; i < s->server.n_loops; i++)
        cab_loop_fini(&s->server.loops[i]);
    if (s->has_health)
        cab_loop_fini(&s->health);
    cab_workers_destroy(s->workers);   /* have nothing to do any more */
    /* The control thread may be loading: when nothing can ask it to load any more it takes all out, and what is left
     * for it then is to destroy that. */
    if (s->control) {
        cab_control_settle(s->control);
        s->last.run = unload_all;
        cab_control_post(s->control, &s->last);
    }
    cab_control_destroy(s->control);
    free(s->server.loops);
    cab_listen_close(s, true);
    cab_catalog_destroy(s->catalog);
    if (s->sched)
        cab_sched_destroy(s->sched);
    cab_obstacles_fini(s);
    cab_registry_close(s->registry);
    cab_blobs_close(s->blobs);
    cab_root_close(&s->root);
    cab_tls_destroy(s->server.tls);
    cab_auth_destroy(s->auth);
    cab_journal_destroy(s->journal);
    cab_bytes_fini(&s->openapi);
    cab_options_fini(&s->o);
}
