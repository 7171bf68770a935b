/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_build.c - models become artifacts in the compile child, and every way in
 * which that can end.
 *
 * This program is also a child that misbehaves: started by the name cab-build, it does
 * what --name tells.
 */
#include "serve/child.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/serve/store_kit.h"
#include "tests/wire.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- children that misbehave ---- */

static void say(const char *text)
{
    if (write(5, text, strlen(text)) < 0)
        _exit(3);
}

static void forever(void)
{
    for (;;)
        pause();
}

static void flood(void)
{
    for (;;)
        say("{\"code\":0,\"text\":\"and on and on and on and on and on and on and on and on\"");
}

static void stub_sleep(void) { forever(); }
static void stub_deaf(void) { close(5); forever(); }
static void stub_kill(void) { raise(SIGKILL); }
static void stub_sys(void) { raise(SIGSYS); }
static void stub_silent(void) { }
static void stub_garbage(void) { say("not JSON\n"); }
static void stub_code(void) { say("{\"code\":99,\"text\":\"x\"}\n"); }
static void stub_empty(void) { say("{\"code\":0,\"text\":\"\"}\n"); }
static void stub_liar(void) { stub_empty(); if (write(4, "not an artifact", 15) != 15) _exit(3); }
static void stub_torn(void) { stub_empty(); signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
static void stub_control(void) { say("{\"code\":4,\"text\":\"error: invalid model: \\u001b[31mred\\nnote: a\\nodd line\"}\n"); }

typedef struct misdeed {
    const char *name;
    void (*act)(void);
    cab_status status;
    const char *story;
} misdeed;
static const misdeed misdeeds[] = {
    { "sleep", stub_sleep, CAB_EDEADLINE, "took longer than 1 s and was ended" },
    { "deaf", stub_deaf, CAB_EDEADLINE, "took longer than 1 s and was ended" },
    { "kill", stub_kill, CAB_EINTERNAL, "the compile child was killed by signal 9" },
    { "sys", stub_sys, CAB_EINTERNAL, "the model may be an attack" },
    { "silent", stub_silent, CAB_EINTERNAL, "ended with status 0 and without a report" },
    { "garbage", stub_garbage, CAB_EINTERNAL, "without a report" },
    { "code", stub_code, CAB_EINTERNAL, "without a report" },
    { "empty", stub_empty, CAB_EARTIFACT, "does not load" },
    { "liar", stub_liar, CAB_EARTIFACT, "does not load" },
    { "torn", stub_torn, CAB_EINTERNAL, "killed by signal 11" },
    { "control", stub_control, CAB_EMODEL, "?[31mred" },
    { "flood", flood, CAB_EINTERNAL, "says more than" },
};
enum { N_MISDEEDS = sizeof misdeeds / sizeof *misdeeds };

static int misbehave(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        for (int k = 0; k < N_MISDEEDS && !strcmp(argv[i], "--name"); k++)
            if (!strcmp(argv[i + 1], misdeeds[k].name))
                misdeeds[k].act();
    return 0;
}

/* ---- tools ---- */

static char self[4096];
static store a;                            /* the one folder of this test */

/* Files in the store and in tmp/, and open descriptors: nothing may stay behind. */
static int traces(void)
{
    int n = files_in("/proc/self/fd") + files_in(in_top("a/tmp"));
    for (int i = 0; i < 256; i++) {
        char name[32];
        snprintf(name, sizeof name, "a/blobs/sha256/%02x", i);
        n += files_in(in_top(name));
    }
    return n;
}

/* ---- builds ---- */

static cab_digest digits;                  /* a sound model */

static void check_sound(void)
{
    cab_build_order o = { .model = digits, .name = "digits", .seconds = 60 };
    cab_build_result r, again;
    int64_t v = 0;
    CHECK_EQ(cab_build_artifact(a.blobs, &o, &r, &diag), CAB_OK);
    CHECK(strstr(cab_bytes_cstr(&r.io), "\"datatype\":\"FP32\"") != NULL);
    CHECK(r.bytes > 10000 && r.seconds > 0);
    CHECK_EQ(cab_blobs_verify(a.blobs, &r.artifact, &diag), CAB_OK);
    o.threads = 2;
    CHECK_EQ(cab_build_artifact(a.blobs, &o, &again, &diag), CAB_OK);
    CHECK(cab_digest_equal(&r.artifact, &again.artifact));
    cab_build_result_fini(&again);
    CHECK_EQ(cab_registry_put_version(a.reg, "digits", &v, &(cab_version_content){ .model = &digits },
                                      NULL, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_built(a.reg, "digits", v, &r.artifact, cab_bytes_cstr(&r.io), &diag),
             CAB_OK);
    cab_build_result_fini(&r);
}

/* One build that must fail so, leaving no trace. */
static void refuse(cab_build_order o, cab_status status, const char *story)
{
    cab_build_result r;
    int before = traces();
    cab_status s = cab_build_artifact(a.blobs, &o, &r, &diag);
    cab_build_result_fini(&r);
    if (s != status)
        fprintf(stderr, "%s:\n", o.name ? o.name : story);
    CHECK_EQ(s, status);
    CHECK(says(story));
    CHECK_EQ(traces(), before);
}

static bool later(void *user) { return ++*(int *)user > 3; }

static void check_misdeeds(void)
{
    for (int i = 0; i < N_MISDEEDS; i++)
        refuse((cab_build_order){ .model = digits, .name = misdeeds[i].name, .program = self,
                                  .seconds = 1 }, misdeeds[i].status, misdeeds[i].story);
    refuse((cab_build_order){ .model = digits, .program = "/no/such/program" }, CAB_EIO,
           "cannot start the compile child");
    int64_t t = cab_now_ns();
    int asked = 0;
    refuse((cab_build_order){ .model = digits, .name = "sleep", .program = self, .cancelled = later, .cancel_user = &asked },
           CAB_ECANCELLED, "was cancelled");
    CHECK_EQ(asked, 4);
    refuse((cab_build_order){ .model = digits, .cancelled = later, .cancel_user = &asked }, CAB_ECANCELLED, "was cancelled");
    refuse((cab_build_order){ .model = digits, .program = "/no/such/program", .cancelled = later, .cancel_user = &asked },
           CAB_ECANCELLED, "was cancelled");              /* before it begins */
    CHECK(cab_now_ns() - t < (int64_t)2 * 1000000000);
    cab_digest none = { { 9 } };
    refuse((cab_build_order){ .model = none }, CAB_ENOTFOUND, "no stored file");
}

static void check_models(const uint8_t *p, size_t n)
{
    uint8_t *other = malloc(n);
    memcpy(other, p, n);
    uint8_t *relu = memmem(other, n, "Relu", 4);
    CHECK(relu != NULL);
    if (relu)
        memcpy(relu, "Ralu", 4);
    refuse((cab_build_order){ .model = store_add(&a, other, n) }, CAB_EUNSUPPORTED, "Ralu");
    refuse((cab_build_order){ .model = store_add(&a, "hello", 5) }, CAB_EMODEL, "invalid model");
    refuse((cab_build_order){ .model = store_add(&a, "", 0) }, CAB_EMODEL, "invalid model");
    refuse((cab_build_order){ .model = store_add(&a, p, n / 2) }, CAB_EMODEL, "invalid model");
    refuse((cab_build_order){ .model = digits, .max_memory = 1000 }, CAB_ELIMIT, "over a budget");
    refuse((cab_build_order){ .model = digits, .max_artifact = 1000 }, CAB_EINTERNAL,
           "grew larger than it may");
    refuse((cab_build_order){ .model = digits, .target = "z80" }, CAB_EUNSUPPORTED, "z80");
    free(other);
}

/* Kills the first child it sees. */
static void *kill_child(void *user)
{
    const char *path = user;
    for (int tries = 0; tries < 5000; tries++) {
        FILE *f = fopen(path, "re");
        int pid = 0, n = f ? fscanf(f, "%d", &pid) : 0;
        if (f)
            fclose(f);
        if (n == 1 && pid > 0) {
            kill(pid, SIGKILL);
            return NULL;
        }
        usleep(1000);
    }
    return NULL;
}

/* The true child, killed by an operator. */
static void check_killed(void)
{
    char path[96];
    pthread_t t;
    cab_build_result r;
    int before = traces();
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    if (access(path, R_OK))                /* a kernel that does not tell */
        return;
    CHECK(!pthread_create(&t, NULL, kill_child, path));
    CHECK_EQ(cab_build_artifact(a.blobs, &(cab_build_order){ .model = digits }, &r, &diag), CAB_EINTERNAL);
    cab_build_result_fini(&r);
    CHECK(!pthread_join(t, NULL));
    CHECK(says("was killed by signal 9"));
    CHECK_EQ(traces(), before);
}

/* y = x + w, and w lies in another file. */
static void check_external(void)
{
    const int64_t dims[2] = { -1, 4 }, four[1] = { 4 };
    wire g = { 0 }, t = m_tensor("w", 1, 1, four);
    w_external(&t, "location", "registry.db");
    w_num(&t, 14, 1);
    w_sub(&g, 1, m_node("Add", "x,w", "y"));
    w_str(&g, 2, "g");
    w_sub(&g, 5, t);
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    wire m = m_model(14, g);
    cab_build_order o = { .model = store_add(&a, m.p, m.n) };
    w_free(&m);
    refuse(o, CAB_EMODEL, "of a file without a folder");
}

/* A version that cannot be built does not touch the one that is served. */
static void check_registry_intact(void)
{
    cab_version_list l;
    cab_digest bad = store_add(&a, "hello", 5);
    int64_t v = 0, served;
    CHECK_EQ(cab_registry_put_version(a.reg, "digits", &v, &(cab_version_content){ .model = &bad }, NULL,
                                      &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_state(a.reg, "digits", v, CAB_BUILDING, NULL, &diag), CAB_OK);
    refuse((cab_build_order){ .model = bad, .name = "kill", .program = self }, CAB_EINTERNAL,
           "killed by signal 9");
    CHECK_EQ(cab_registry_set_state(a.reg, "digits", v, CAB_FAILED, "killed", &diag), CAB_OK);
    CHECK_EQ(cab_registry_resolve(a.reg, "digits", NULL, &served, &diag), CAB_OK);
    CHECK_EQ(served, 1);
    CHECK_EQ(cab_registry_find(a.reg, "digits", 1, &l, &diag), CAB_OK);
    CHECK(l.v[0].state == CAB_READY);
    CHECK_EQ(cab_blobs_verify(a.blobs, &l.v[0].artifact, &diag), CAB_OK);
    cab_version_list_fini(&l);
}

static void check_all(void)
{
    const char *srcdir = getenv("srcdir");
    char path[4096];
    cab_mapping m;
    snprintf(path, sizeof path, "%s/samples/digits/digits.onnx", srcdir ? srcdir : "..");
    CHECK_EQ(cab_file_map(path, &m, &diag), CAB_OK);
    digits = store_add(&a, m.p, m.n);
    check_sound();
    check_misdeeds();
    check_killed();
    check_models(m.p, m.n);
    check_external();
    check_registry_intact();
    signal(SIGCHLD, SIG_IGN);              /* a host that reaps by itself */
    check_sound();
    signal(SIGCHLD, SIG_DFL);
    cab_file_unmap(&m);
}

int main(int argc, char **argv)
{
    if (!strcmp(argv[0], "cab-build"))
        _exit(misbehave(argc, argv));
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return EXIT_FAILURE;
    self[n] = 0;
    store_kit_begin("build");
    a = store_open("a");
    check_all();
    store_close(&a);
    store_kit_end();
    TEST_END();
}
