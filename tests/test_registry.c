/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_registry.c - the server's folder, its stored files, and the registry.
 */
#include "serve/registry/registry_int.h"
#include "tests/serve/store_kit.h"
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tools ---- */

static cab_digest add(store *p, const char *text) { return store_add(p, text, strlen(text)); }

static const char *blob_path(const cab_digest *g)
{
    static char path[512];
    char hex[CAB_DIGEST_TEXT];
    cab_digest_text(g, hex);
    snprintf(path, sizeof path, "%s/a/blobs/sha256/%.2s/%s", top, hex, hex);
    return path;
}

/* ---- the folder ---- */

static void check_root(void)
{
    cab_root a, b;
    CHECK_EQ(cab_root_open(in_top("r/deep/root/"), -1, &a, &diag), CAB_OK);
    CHECK(!a.inherited);
    struct stat st;
    CHECK(!stat(in_top("r/deep/root"), &st) && (st.st_mode & 0777) == 0700);
    CHECK(!stat(in_top("r/deep/root/registry.db"), &st) && (st.st_mode & 0777) == 0600);
    CHECK_EQ(cab_root_open("/proc/none/root", -1, &b, &diag), CAB_EIO);
    CHECK(says("cannot make the folder"));
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), -1, &b, &diag), CAB_ECONFLICT);
    char who[40];
    snprintf(who, sizeof who, "(process %ld)", (long)getpid());
    CHECK(says(who));
    /* A successor inherits the lock; what the predecessor is writing stays. */
    int fd = openat(a.tmp, "blob.in.the.making", O_CREAT | O_WRONLY, 0600);
    close(fd);
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), dup(a.lock), &b, &diag), CAB_OK);
    CHECK(b.inherited && files_in(in_top("r/deep/root/tmp")) == 1);
    cab_root_close(&a);
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), -1, &a, NULL), CAB_ECONFLICT);
    int other = open("/dev/null", O_RDONLY);
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), other, &a, &diag), CAB_EINVAL);
    CHECK(says("is not this folder's"));
    CHECK(fcntl(other, F_GETFD) >= 0);
    close(other);
    cab_root_close(&b);
    chmod(in_top("r/deep/root/registry.db"), 0644);
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), -1, &a, &diag), CAB_OK);
    CHECK(!stat(in_top("r/deep/root/registry.db"), &st) && (st.st_mode & 0777) == 0600);
    CHECK_EQ(files_in(in_top("r/deep/root/tmp")), 0);
    cab_root_close(&a);
    chmod(in_top("r/deep/root"), 0777);
    CHECK_EQ(cab_root_open(in_top("r/deep/root"), -1, &a, &diag), CAB_EIO);
    CHECK(says("others own this folder or may write into it"));
}

/* ---- stored files ---- */

static void check_blobs(store *p)
{
    cab_digest g = add(p, "abc"), h, other;
    char hex[CAB_DIGEST_TEXT], text[8] = "";
    cab_digest_text(&g, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(cab_digest_parse(hex, &h) && cab_digest_equal(&g, &h));
    CHECK(!cab_digest_parse("BA", &h));
    hex[0] = 'B';
    CHECK(!cab_digest_parse(hex, &h));
    int fd;
    uint64_t n;
    CHECK_EQ(cab_blobs_open_one(p->blobs, &g, &fd, &n, &diag), CAB_OK);
    CHECK(n == 3 && read(fd, text, 8) == 3 && !strcmp(text, "abc") && write(fd, "x", 1) < 0);
    close(fd);
    h = add(p, "abc");
    CHECK(cab_digest_equal(&g, &h));
    /* Piecewise, bounded, refused. */
    cab_blob_writer *w;
    CHECK_EQ(cab_blob_begin(p->blobs, 4, &w, &diag), CAB_OK);
    CHECK_EQ(cab_blob_append(w, "ab", 2, &diag), CAB_OK);
    CHECK_EQ(cab_blob_append(w, "c", 1, &diag), CAB_OK);
    CHECK_EQ(cab_blob_commit(w, &g, &h, &diag), CAB_OK);
    CHECK(cab_digest_equal(&g, &h));
    CHECK_EQ(cab_blob_begin(p->blobs, 2, &w, &diag), CAB_OK);
    CHECK_EQ(cab_blob_append(w, "abc", 3, &diag), CAB_ELIMIT);
    CHECK(says("larger than the 2 bytes"));
    cab_blob_abort(w);
    CHECK_EQ(cab_blob_begin(p->blobs, 0, &w, &diag), CAB_OK);
    CHECK_EQ(cab_blob_append(w, "abd", 3, &diag), CAB_OK);
    CHECK_EQ(cab_blob_commit(w, &g, &h, &diag), CAB_EINVAL);
    CHECK(says("do not have the SHA-256 that was named"));
    /* Written by somebody else. */
    CHECK_EQ(cab_blob_begin(p->blobs, 0, &w, &diag), CAB_OK);
    CHECK(write(cab_blob_fd(w), "lent", 4) == 4);
    CHECK_EQ(cab_blob_append(w, "x", 1, NULL), CAB_EINTERNAL);
    CHECK_EQ(cab_blob_commit(w, NULL, &other, &diag), CAB_OK);
    CHECK(cab_digest_equal(&other, &(cab_digest[]){ add(p, "lent") }[0]));
    int pipes[2];
    CHECK(!pipe(pipes) && write(pipes[1], "abc", 3) == 3);
    close(pipes[1]);
    CHECK_EQ(cab_blobs_add_fd(p->blobs, pipes[0], 0, &h, &diag), CAB_OK);
    CHECK(cab_digest_equal(&g, &h));
    close(pipes[0]);
    memset(&other, 7, sizeof other);
    CHECK_EQ(cab_blobs_open_one(p->blobs, &other, &fd, NULL, &diag), CAB_ENOTFOUND);
    CHECK(says("no stored file has the SHA-256 0707"));
    CHECK_EQ(files_in(in_top("a/tmp")), 0);
}

/* Damage is seen, and healed by adding the bytes again. */
static void check_damage(store *p)
{
    cab_digest g = add(p, "sound bytes");
    int fd;
    CHECK_EQ(cab_blobs_verify(p->blobs, &g, &diag), CAB_OK);
    chmod(blob_path(&g), 0600);
    fd = open(blob_path(&g), O_WRONLY);
    CHECK(write(fd, "S", 1) == 1);
    close(fd);
    CHECK_EQ(cab_blobs_verify(p->blobs, &g, &diag), CAB_EIO);
    CHECK(says("is damaged"));
    add(p, "sound bytes");
    CHECK_EQ(cab_blobs_verify(p->blobs, &g, &diag), CAB_OK);
    unlink(blob_path(&g));
    CHECK(!symlink("/etc/passwd", blob_path(&g)));
    CHECK_EQ(cab_blobs_open_one(p->blobs, &g, &fd, NULL, &diag), CAB_EIO);
    cab_diag_clear(&diag);
    add(p, "sound bytes");
    CHECK_EQ(cab_blobs_verify(p->blobs, &g, &diag), CAB_OK);
    CHECK_EQ(files_in(in_top("a/tmp")), 0);
}

enum { WRITERS = 4, ROUNDS = 40 };

static void *write_many(void *user)
{
    store *p = user;
    char text[32];
    intptr_t bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        cab_digest g;
        snprintf(text, sizeof text, "common %d", i);
        bad += cab_blobs_add(p->blobs, text, strlen(text), &g, NULL) != CAB_OK ||
               cab_blobs_verify(p->blobs, &g, NULL) != CAB_OK;
    }
    return (void *)bad;
}

static int keep_none(void *user, const cab_digest *g)
{
    (void)user; (void)g;
    return 0;
}

/* The same bytes from several threads, with a sweep that keeps the young. */
static void check_threads(store *p)
{
    pthread_t t[WRITERS];
    cab_blobs_swept swept;
    for (int i = 0; i < WRITERS; i++)
        CHECK(!pthread_create(&t[i], NULL, write_many, p));
    for (int i = 0; i < 10; i++)
        CHECK_EQ(cab_blobs_sweep(p->blobs, keep_none, NULL, 3600, &swept, &diag), CAB_OK);
    for (int i = 0; i < WRITERS; i++) {
        void *bad;
        CHECK(!pthread_join(t[i], &bad) && !bad);
    }
    CHECK_EQ(files_in(in_top("a/tmp")), 0);
}

/* ---- versions ---- */

static const char io_text[] =
    "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,3,224,224]}],"
    "\"outputs\":[{\"name\":\"y\",\"datatype\":\"INT64\",\"shape\":[-1]}]}";

static void check_versions(store *p)
{
    cab_digest m = add(p, "model"), a = add(p, "artifact");
    cab_version_content c = { .model = &m, .resources = "{\"b\": 1, \"a\": 2}" };
    const char *const tags[] = { "vision", "big", "vision" };
    int64_t v = 0;
    bool added;
    c.tags = tags;
    c.n_tags = 3;
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, &added, &diag), CAB_OK);
    CHECK(v == 1 && added);
    v = 0;                                 /* the same again, as next and by number */
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, &added, &diag), CAB_OK);
    CHECK(v == 1 && !added);
    c.resources = "{\"a\":2,\"b\":1}";
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, &added, &diag), CAB_OK);
    CHECK(v == 1 && !added);
    c.resources = "{\"a\":2,\"b\":2}";
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, &added, &diag), CAB_ECONFLICT);
    CHECK(says("version 1 of 'net' is there, with other content"));
    v = 7;
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, NULL, &diag), CAB_OK);
    c.config = "{\"max_batch\":8}";
    v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, NULL, &diag), CAB_OK);
    CHECK_EQ(v, 8);
    cab_version_list l;
    CHECK_EQ(cab_registry_find(p->reg, "net", 1, &l, &diag), CAB_OK);
    CHECK(l.n == 1 && l.v[0].has_model && !l.v[0].has_artifact && l.v[0].created_ms > 0);
    CHECK(cab_digest_equal(&l.v[0].model, &m));
    CHECK_STR(l.v[0].resources, "{\"a\":2,\"b\":1}");
    CHECK_STR(l.v[0].config, "{}");
    CHECK_STR(l.v[0].tags, "[\"big\",\"vision\"]");
    CHECK_STR(l.v[0].io, "");
    CHECK_STR(cab_version_state_text(l.v[0].state), "registered");
    cab_version_list_fini(&l);
    CHECK_EQ(cab_registry_set_state(p->reg, "net", 1, CAB_READY, NULL, &diag), CAB_ECONFLICT);
    CHECK(says("has no artifact yet"));
    CHECK_EQ(cab_registry_set_built(p->reg, "net", 1, &a, io_text, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_state(p->reg, "net", 7, CAB_FAILED, "no room", &diag), CAB_OK);
    CHECK_EQ(cab_registry_find(p->reg, "net", 1, &l, &diag), CAB_OK);
    CHECK(l.v[0].state == CAB_READY && l.v[0].has_artifact && !l.v[0].artifact_given);
    cab_version_list_fini(&l);
    CHECK_EQ(cab_registry_find(p->reg, "net", 7, &l, &diag), CAB_OK);
    CHECK_STR(l.v[0].reason, "no room");
    cab_version_list_fini(&l);
}

static const char *config_of(store *p, const char *name, int64_t version)
{
    static char text[256];
    cab_version_list l;
    CHECK_EQ(cab_registry_find(p->reg, name, version, &l, &diag), CAB_OK);
    snprintf(text, sizeof text, "%s", l.n ? l.v[0].config : "none");
    cab_version_list_fini(&l);
    return text;
}

/* -> the version. */
static int64_t put_config(store *p, const cab_digest *m, int64_t version, const char *config, bool *added)
{
    cab_version_content c = { .model = m, .config = config };
    CHECK_EQ(cab_registry_put_version(p->reg, "heir", &version, &c, added, &diag), CAB_OK);
    return version;
}

/* What is not said of a configuration stays as it was. */
static void check_inheritance(store *p)
{
    cab_digest m1 = add(p, "model"), m2 = add(p, "another model");
    bool added;
    CHECK_EQ(put_config(p, &m1, 0, NULL, &added), 1);
    CHECK_STR(config_of(p, "heir", 1), "{}");
    CHECK_EQ(put_config(p, &m1, 0, "{\"threads\": 2}", &added), 2);
    CHECK_EQ(put_config(p, &m2, 0, NULL, &added), 3);
    CHECK_STR(config_of(p, "heir", 3), "{\"threads\":2}");
    CHECK(put_config(p, &m2, 0, NULL, &added) == 3 && !added);       /* asked again */
    CHECK_EQ(put_config(p, &m2, 0, "{}", &added), 4);
    CHECK_STR(config_of(p, "heir", 4), "{}");
    CHECK(put_config(p, &m2, 3, NULL, &added) == 3 && !added);       /* it is what that version has */
    CHECK_EQ(put_config(p, &m1, 0, "{\"threads\":7}", &added), 5);   /* not of one that failed */
    CHECK_EQ(cab_registry_set_state(p->reg, "heir", 5, CAB_FAILED, "too many", &diag), CAB_OK);
    CHECK_EQ(put_config(p, &m2, 0, NULL, &added), 6);
    CHECK_STR(config_of(p, "heir", 6), "{}");
    CHECK_EQ(cab_registry_remove_model(p->reg, "heir", &diag), CAB_OK);
}

static const char *promise_of(store *p, int64_t version)
{
    static char text[256];
    cab_version_list l;
    CHECK_EQ(cab_registry_find(p->reg, "kept", version, &l, &diag), CAB_OK);
    snprintf(text, sizeof text, "%s", l.n && l.v[0].promise ? l.v[0].promise : "none");
    cab_version_list_fini(&l);
    return text;
}

/* A promise is of a build, no part of the content: another one may follow when the first was broken. */
static void check_promises(store *p)
{
    cab_digest m = add(p, "model");
    cab_version_content c = { .model = &m, .promise = "{\"inputs\":[]}" };
    int64_t v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    CHECK_STR(promise_of(p, 1), "{\"inputs\":[]}");
    c.promise = "{\"outputs\":[]}";
    CHECK_EQ(cab_registry_put_version(p->reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    CHECK_STR(promise_of(p, 1), "{\"inputs\":[]}");
    CHECK_EQ(cab_registry_set_state(p->reg, "kept", 1, CAB_FAILED, "no", &diag), CAB_OK);
    CHECK_EQ(cab_registry_put_version(p->reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    CHECK_STR(promise_of(p, 1), "{\"outputs\":[]}");
    c.promise = NULL;
    CHECK_EQ(cab_registry_put_version(p->reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    CHECK_STR(promise_of(p, 1), "none");
    CHECK_EQ(cab_registry_remove_model(p->reg, "kept", &diag), CAB_OK);
}

/* Several changes, taken back as one, or kept as one. */
static void check_hold(store *p)
{
    cab_digest m = add(p, "model");
    cab_version_content c = { .model = &m };
    int64_t v = 0;
    for (int kept = 0; kept < 2; kept++) {
        CHECK_EQ(cab_registry_hold(p->reg, &diag), CAB_OK);
        CHECK_EQ(cab_registry_put_version(p->reg, "held", &v, &c, NULL, &diag), CAB_OK);
        CHECK_EQ(cab_registry_set_label(p->reg, "held", "x", v, &diag), CAB_OK);
        CHECK_EQ(cab_registry_settle(p->reg, kept ? CAB_OK : CAB_EARTIFACT, &diag), kept ? CAB_OK : CAB_EARTIFACT);
        CHECK_EQ(cab_registry_resolve(p->reg, "held", "x", &v, NULL), kept ? CAB_OK : CAB_ENOTFOUND);
    }
    CHECK_EQ(cab_registry_remove_model(p->reg, "held", &diag), CAB_OK);
}

static int no_rollback(void *user, int action, const char *what, const char *b, const char *c, const char *e)
{
    (void)user, (void)b, (void)c, (void)e;
    return action == SQLITE_TRANSACTION && !strcmp(what, "ROLLBACK") ? SQLITE_DENY : SQLITE_OK;
}

/* What cannot be taken back at once (no memory for the rollback, say) is neither read nor built upon, and goes later. */
static void check_late_rollback(void)
{
    store p = store_open("late");
    int64_t v = 0;
    const cab_digest g = add(&p, "late");
    cab_version_list l = { 0 };
    sqlite3_set_authorizer(p.reg->db, no_rollback, NULL);
    CHECK_EQ(cab_registry_hold(p.reg, &diag), CAB_OK);
    CHECK_EQ(cab_registry_put_version(p.reg, "late", &v, &(cab_version_content){ .model = &g }, NULL, &diag), CAB_OK);
    CHECK_EQ(cab_registry_settle(p.reg, CAB_ECANCELLED, NULL), CAB_ECANCELLED);
    CHECK_EQ(cab_registry_find(p.reg, "late", 1, &l, &diag), CAB_ENOMEM);
    CHECK(says("not taken back yet"));
    CHECK_EQ(cab_registry_hold(p.reg, &diag), CAB_ENOMEM);
    CHECK(says("not taken back yet"));
    sqlite3_set_authorizer(p.reg->db, NULL, NULL);
    CHECK_EQ(cab_registry_find(p.reg, "late", 1, &l, &diag), CAB_ENOTFOUND);
    CHECK(says("late"));
    v = 0;
    CHECK_EQ(cab_registry_put_version(p.reg, "late", &v, &(cab_version_content){ .model = &g }, NULL, &diag), CAB_OK);
    CHECK_EQ(cab_registry_find(p.reg, "late", 1, &l, &diag), CAB_OK);
    cab_version_list_fini(&l);
    store_close(&p);
}

static void check_refusals(store *p)
{
    cab_digest m = add(p, "model"), none = { { 1 } };
    cab_version_content c = { .model = &m };
    cab_version_list l;
    int64_t v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, ".hidden", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("cannot be the name of a model"));
    CHECK_EQ(cab_registry_put_version(p->reg, "a/b", &v, &c, NULL, NULL), CAB_EINVAL);
    CHECK_EQ(cab_registry_put_version(p->reg, "", &v, &c, NULL, NULL), CAB_EINVAL);
    char longest[130];
    memset(longest, 'x', sizeof longest);
    longest[129] = 0;
    CHECK(!cab_name_valid(longest));
    longest[128] = 0;
    CHECK(cab_name_valid(longest));
    v = -1;
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    v = CAB_VERSION_MOST + 1;
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("cannot be a version"));
    v = 0;
    c.config = "{\"a\":1,\"a\":2}";
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("config: not JSON"));
    c.config = "[1]";
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("config: not a JSON object"));
    c.config = NULL;
    c.io = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP33\",\"shape\":[]}],\"outputs\":[]}";
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("no datatype that is known"));
    c.io = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-2]}],\"outputs\":[]}";
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("neither a number from 0 nor -1"));
    c.io = NULL;
    c.model = NULL;
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_EINVAL);
    CHECK(says("needs a model"));
    c.model = &none;
    CHECK_EQ(cab_registry_put_version(p->reg, "m", &v, &c, NULL, &diag), CAB_ENOTFOUND);
    CHECK(says("is not stored"));
    /* None of this made the model. */
    CHECK_EQ(cab_registry_find(p->reg, "m", 1, &l, &diag), CAB_ENOTFOUND);
    CHECK(says("no model is called 'm'"));
    CHECK_EQ(cab_registry_find(p->reg, "net", 99, &l, &diag), CAB_ENOTFOUND);
    CHECK(says("the model 'net' has no version 99"));
    CHECK_EQ(cab_registry_set_state(p->reg, "net", 99, CAB_READY, NULL, NULL), CAB_ENOTFOUND);
    CHECK_EQ(cab_registry_set_state(p->reg, "net", 1, (cab_version_state)9, NULL, NULL), CAB_EINVAL);
}

/* ---- what is served ---- */

static const char *chosen(store *p, const char *name)
{
    static char text[256];
    int64_t *v;
    size_t n;
    text[0] = 0;
    CHECK_EQ(cab_registry_chosen(p->reg, name, &v, &n, &diag), CAB_OK);
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), 32, "%s%lld", i ? " " : "", (long long)v[i]);
    free(v);
    return text;
}

static int64_t means(store *p, const char *name, const char *label)
{
    int64_t v = -1;
    cab_registry_resolve(p->reg, name, label, &v, NULL);
    return v;
}

static void check_policies(store *p)
{
    cab_digest a = add(p, "ready made");
    char config[32];
    for (int64_t v = 1; v <= 5; v++) {
        cab_version_content c = { .artifact = &a, .io = io_text, .config = config };
        snprintf(config, sizeof config, "{\"n\":%d}", (int)v);
        CHECK_EQ(cab_registry_put_version(p->reg, "p", &v, &c, NULL, &diag), CAB_OK);
    }
    CHECK_STR(chosen(p, "p"), "5");
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_LATEST, 2, 0, 0 },
                                     &diag), CAB_OK);
    CHECK_STR(chosen(p, "p"), "5 4");
    /* A version that is not ready does not displace one that is. */
    CHECK_EQ(cab_registry_set_state(p->reg, "p", 5, CAB_FAILED, "x", &diag), CAB_OK);
    CHECK_STR(chosen(p, "p"), "4 3");
    CHECK_EQ(means(p, "p", NULL), 4);
    CHECK_EQ(cab_registry_set_state(p->reg, "p", 5, CAB_READY, NULL, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_ALL, 0, 0, 0 }, &diag),
             CAB_OK);
    CHECK_STR(chosen(p, "p"), "5 4 3 2 1");
    const int64_t some[] = { 2, 4 }, missing[] = { 2, 9 };
    CHECK_EQ(cab_registry_set_policy(p->reg, "p",
                                     &(cab_policy){ CAB_POLICY_SPECIFIC, 0, some, 2 }, &diag), CAB_OK);
    CHECK_STR(chosen(p, "p"), "4 2");
    CHECK_EQ(cab_registry_set_policy(p->reg, "p",
                                     &(cab_policy){ CAB_POLICY_SPECIFIC, 0, missing, 2 }, &diag),
             CAB_ENOTFOUND);
    CHECK(says("no version 9"));
    CHECK_STR(chosen(p, "p"), "4 2");
    CHECK_EQ(cab_registry_remove_version(p->reg, "p", 2, &diag), CAB_ECONFLICT);
    CHECK(says("the version policy names it"));
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_LATEST, 0, 0, 0 },
                                     &diag), CAB_EINVAL);
    CHECK(says("at least 1"));
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_LATEST, 1, 0, 0 },
                                     &diag), CAB_OK);
    /* The pin and the way back. */
    int64_t v;
    CHECK_EQ(cab_registry_rollback(p->reg, "p", NULL, &v, &diag), CAB_OK);
    CHECK(v == 4 && means(p, "p", NULL) == 4);
    CHECK_STR(chosen(p, "p"), "4");
    CHECK_EQ(cab_registry_rollback(p->reg, "p", NULL, &v, &diag), CAB_OK);
    CHECK_EQ(v, 3);
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_LATEST, 1, 0, 0 }, &diag), CAB_OK);
    CHECK_EQ(means(p, "p", NULL), 5);      /* a policy set anew ends a rollback */
    for (int64_t to = 4; to >= 1; to--)
        CHECK(cab_registry_rollback(p->reg, "p", NULL, &v, &diag) == CAB_OK && v == to);
    CHECK_EQ(cab_registry_rollback(p->reg, "p", NULL, &v, &diag), CAB_ECONFLICT);
    CHECK(says("no ready version below 1"));
    CHECK_EQ(cab_registry_remove_version(p->reg, "p", 1, &diag), CAB_ECONFLICT);
    CHECK(says("the pin of a rollback names it"));
    /* Back among those that the policy has; a version that it leaves out is never meant. */
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_SPECIFIC, 0, some, 2 }, &diag), CAB_OK);
    CHECK_EQ(means(p, "p", NULL), 4);
    CHECK(cab_registry_rollback(p->reg, "p", NULL, &v, &diag) == CAB_OK && v == 2 && means(p, "p", NULL) == 2);
    CHECK_STR(chosen(p, "p"), "4 2");
    CHECK_EQ(cab_registry_rollback(p->reg, "p", NULL, &v, &diag), CAB_ECONFLICT);
    CHECK(says("no ready version below 2"));
    CHECK_EQ(cab_registry_set_policy(p->reg, "p", &(cab_policy){ CAB_POLICY_LATEST, 1, 0, 0 }, &diag), CAB_OK);
    /* What came with the version cannot be built over. */
    cab_digest b = add(p, "another");
    CHECK_EQ(cab_registry_set_built(p->reg, "p", 5, &b, io_text, &diag), CAB_ECONFLICT);
    CHECK_EQ(cab_registry_set_built(p->reg, "p", 5, &a, io_text, NULL), CAB_OK);
    CHECK(says("came with its artifact"));
}

static void check_labels(store *p)
{
    int64_t v;
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(cab_registry_set_label(p->reg, "p", "stable", i, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "stable", 3, &diag), CAB_OK);
    CHECK_EQ(means(p, "p", "stable"), 3);
    CHECK_EQ(cab_registry_remove_version(p->reg, "p", 3, &diag), CAB_ECONFLICT);
    CHECK(says("the label 'stable' names it"));
    CHECK_EQ(cab_registry_rollback(p->reg, "p", "stable", &v, &diag), CAB_OK);
    CHECK(v == 2 && means(p, "p", "stable") == 2);
    CHECK_EQ(cab_registry_rollback(p->reg, "p", "stable", &v, &diag), CAB_OK);
    CHECK_EQ(v, 1);
    CHECK_EQ(cab_registry_rollback(p->reg, "p", "stable", &v, &diag), CAB_ECONFLICT);
    CHECK(says("no earlier version to go back to"));
    CHECK_EQ(means(p, "p", "stable"), 1);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "gone", 2, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "gone", 0, &diag), CAB_OK);
    CHECK_EQ(means(p, "p", "gone"), -1);
    CHECK_EQ(cab_registry_rollback(p->reg, "p", "gone", &v, &diag), CAB_OK);
    CHECK_EQ(v, 2);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "gone", 0, &diag), CAB_OK);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "gone", 0, &diag), CAB_ENOTFOUND);
    CHECK_EQ(cab_registry_rollback(p->reg, "p", "never", &v, &diag), CAB_ENOTFOUND);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "x", 77, &diag), CAB_ENOTFOUND);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "bad label", 1, &diag), CAB_EINVAL);
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "2", 1, &diag), CAB_EINVAL);
    CHECK(says("'2' cannot be a label"));
    CHECK_EQ(cab_registry_set_label(p->reg, "p", "2", 0, &diag), CAB_ENOTFOUND);
    cab_diag_clear(&diag);
    cab_model_list l;
    CHECK_EQ(cab_registry_set_wanted(p->reg, "p", false, &diag), CAB_OK);
    CHECK_EQ(cab_registry_models(p->reg, NULL, &l, &diag), CAB_OK);
    CHECK(l.n == 2 && !strcmp(l.m[0].name, "net") && l.m[0].wanted && l.m[0].n_versions == 3);
    CHECK(!strcmp(l.m[1].name, "p") && !l.m[1].wanted && l.m[1].latest == 1 && !l.m[1].pin);
    CHECK(l.m[1].n_labels == 1 && !strcmp(l.m[1].labels[0].label, "stable") &&
          l.m[1].labels[0].version == 1);
    cab_model_list_fini(&l);
    CHECK_EQ(cab_registry_models(p->reg, "nobody", &l, NULL), CAB_ENOTFOUND);
}

/* "net/1 p/5" */
static const char *found(store *p, cab_query q)
{
    static char text[512];
    cab_version_list l;
    text[0] = 0;
    CHECK_EQ(cab_registry_discover(p->reg, &q, &l, &diag), CAB_OK);
    for (size_t i = 0; i < l.n; i++)
        snprintf(text + strlen(text), 64, "%s%s/%lld", i ? " " : "", l.v[i].name,
                 (long long)l.v[i].version);
    cab_version_list_fini(&l);
    return text;
}

static void check_discovery(store *p)
{
    CHECK_STR(found(p, (cab_query){ 0 }), "net/1 net/7 net/8 p/1 p/2 p/3 p/4 p/5");
    CHECK_STR(found(p, (cab_query){ .name = "net" }), "net/1 net/7 net/8");
    CHECK_STR(found(p, (cab_query){ .name = "ne*", .version = 7 }), "net/7");
    CHECK_STR(found(p, (cab_query){ .name = "*", .state = 1 + CAB_FAILED }), "net/7");
    CHECK_STR(found(p, (cab_query){ .name = "%" "x*" }), "");
    CHECK_STR(found(p, (cab_query){ .tag = "big", .version = 1 }), "net/1");
    CHECK_STR(found(p, (cab_query){ .tag = "small" }), "");
    CHECK_STR(found(p, (cab_query){ .io_name = "x", .dtype = "FP32", .side = 1, .limit = 2 }),
              "net/1 p/1");
    CHECK_STR(found(p, (cab_query){ .io_name = "x", .dtype = "INT64" }), "");
    CHECK_STR(found(p, (cab_query){ .dtype = "INT64", .side = 2, .name = "net" }), "net/1");
    CHECK_STR(found(p, (cab_query){ .shape = "[1,3,224,224]", .name = "net" }), "net/1");
    CHECK_STR(found(p, (cab_query){ .shape = "[1, -1, -1, 224]", .name = "net" }), "net/1");
    CHECK_STR(found(p, (cab_query){ .shape = "[1,3,224,225]" }), "");
    CHECK_STR(found(p, (cab_query){ .shape = "[1,3,224]" }), "");
    CHECK_STR(found(p, (cab_query){ .shape = "[]" }), "");
    CHECK_STR(found(p, (cab_query){ .shape = "[4]", .side = 1 }), "");
    CHECK_STR(found(p, (cab_query){ .after_name = "net", .after_version = 8, .limit = 2 }),
              "p/1 p/2");
    cab_version_list l;
    CHECK_EQ(cab_registry_discover(p->reg, &(cab_query){ .name = "a*b*" }, &l, &diag), CAB_EINVAL);
    CHECK(says("at the end of a name only"));
    CHECK_EQ(cab_registry_discover(p->reg, &(cab_query){ .shape = "[1.5]" }, &l, &diag), CAB_EINVAL);
    CHECK(says("not a list like"));
}

/* ---- removing, and the sweep ---- */

static void check_removal(store *p)
{
    cab_digest m = add(p, "model"), only = add(p, "only of version 9"), a = add(p, "artifact"), loose;
    cab_version_content c = { .model = &only }, d = { .model = &m };
    cab_blobs_swept swept;
    int64_t v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, NULL, &diag), CAB_OK);
    CHECK_EQ(v, 9);
    CHECK_EQ(cab_registry_remove_version(p->reg, "net", 9, &diag), CAB_OK);
    CHECK_EQ(cab_registry_remove_version(p->reg, "net", 9, NULL), CAB_ENOTFOUND);
    /* The number stays taken. */
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &d, NULL, &diag), CAB_ECONFLICT);
    CHECK(says("was removed, and had other content"));
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &c, NULL, &diag), CAB_OK);
    CHECK_EQ(cab_registry_remove_version(p->reg, "net", 9, &diag), CAB_OK);
    v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, "net", &v, &d, NULL, &diag), CAB_OK);
    CHECK_EQ(v, 10);
    loose = add(p, "never registered");
    CHECK_EQ(cab_registry_collect(p->reg, 3600, &swept, &diag), CAB_OK);
    CHECK_EQ(swept.removed, 0);
    CHECK_EQ(cab_registry_collect(p->reg, 0, &swept, &diag), CAB_OK);
    CHECK(swept.removed > 0 && swept.kept == 3);       /* model, artifact, ready made */
    CHECK(!cab_blobs_has(p->blobs, &loose) && !cab_blobs_has(p->blobs, &only));
    CHECK(cab_blobs_has(p->blobs, &m) && cab_blobs_has(p->blobs, &a));
    /* A model goes whole, and its name starts again. */
    CHECK_EQ(cab_registry_remove_model(p->reg, "p", &diag), CAB_OK);
    CHECK_EQ(cab_registry_remove_model(p->reg, "p", NULL), CAB_ENOTFOUND);
    v = 0;
    CHECK_EQ(cab_registry_put_version(p->reg, "p", &v, &d, NULL, &diag), CAB_OK);
    CHECK_EQ(v, 1);
    CHECK_EQ(cab_registry_remove_model(p->reg, "p", &diag), CAB_OK);
    CHECK_EQ(cab_registry_collect(p->reg, 0, &swept, &diag), CAB_OK);
    CHECK(swept.removed == 1 && swept.kept == 2);
}

/* ---- again, and beside another ---- */

static void check_reopen(void)
{
    store p = store_open("a");
    int64_t n;
    cab_version_list l;
    CHECK_EQ(cab_registry_set_state(p.reg, "net", 7, CAB_BUILDING, NULL, &diag), CAB_OK);
    store_close(&p);
    p = store_open("a");
    CHECK_EQ(cab_registry_recover(p.reg, &n, &diag), CAB_OK);
    CHECK_EQ(n, 1);
    CHECK_EQ(cab_registry_find(p.reg, "net", 7, &l, &diag), CAB_OK);
    CHECK(l.v[0].state == CAB_REGISTERED);
    cab_version_list_fini(&l);
    store_close(&p);
}

typedef struct rival { store *p; int added; int failed; } rival;

static void *register_many(void *user)
{
    rival *k = user;
    cab_registry *r;
    if (cab_registry_open(&k->p->root, k->p->blobs, &r, NULL) != CAB_OK) {
        k->failed = 1000;
        return NULL;
    }
    for (int i = 0; i < ROUNDS; i++) {
        char text[48];
        cab_digest g;
        int64_t v = 0;
        bool added = false;
        snprintf(text, sizeof text, "%p %d", user, i);
        cab_status s = cab_blobs_add(k->p->blobs, text, strlen(text), &g, NULL);
        if (s == CAB_OK)
            s = cab_registry_put_version(r, "race", &v, &(cab_version_content){ .model = &g },
                                         &added, NULL);
        k->failed += s != CAB_OK;
        k->added += added;
    }
    cab_registry_close(r);
    return NULL;
}

/* Two connections: every version has a number of its own. */
static void check_rivals(store *p)
{
    rival k[2] = { { .p = p }, { .p = p } };
    pthread_t t[2];
    cab_model_list l;
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&t[i], NULL, register_many, &k[i]));
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_join(t[i], NULL) && !k[i].failed && k[i].added == ROUNDS);
    CHECK_EQ(cab_registry_models(p->reg, "race", &l, &diag), CAB_OK);
    CHECK_EQ(l.m[0].n_versions, 2 * ROUNDS);
    cab_model_list_fini(&l);
    CHECK_STR(found(p, (cab_query){ .name = "race", .version = 2 * ROUNDS }), "race/80");
}

/* ---- files that are not as they should be ---- */

static void overwrite(const char *path, off_t at, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && pwrite(fd, text, n, at) == (ssize_t)n);
    close(fd);
}

static cab_status try_open(const char *name)
{
    cab_root root;
    cab_registry *r = NULL;
    CHECK_EQ(cab_root_open(in_top(name), -1, &root, &diag), CAB_OK);
    cab_status s = cab_registry_open(&root, NULL, &r, &diag);
    cab_registry_close(r);
    cab_root_close(&root);
    return s;
}

static void execute(const char *path, const char *text)
{
    sqlite3 *db;
    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Form 1, which knew no promises, as the first release left it. */
static void check_upgrade(void)
{
    store p = store_open("old");
    cab_digest m = add(&p, "model");
    cab_version_content c = { .model = &m, .config = "{\"threads\":3}" };
    int64_t v = 0;
    CHECK_EQ(cab_registry_put_version(p.reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    store_close(&p);
    execute(in_top("old/registry.db"), "ALTER TABLE version DROP COLUMN promise; PRAGMA user_version = 1");
    for (int i = 0; i < 2; i++) {          /* the second time there is nothing to do */
        p = store_open("old");
        CHECK_STR(config_of(&p, "kept", 1), "{\"threads\":3}");
        CHECK_STR(promise_of(&p, 1), "none");
        store_close(&p);
    }
    p = store_open("old");
    c.promise = "{\"inputs\":[]}";
    v = 0;
    c.config = "{}";
    CHECK_EQ(cab_registry_put_version(p.reg, "kept", &v, &c, NULL, &diag), CAB_OK);
    CHECK_STR(promise_of(&p, 2), "{\"inputs\":[]}");
    store_close(&p);
}

static void check_damaged(void)
{
    char junk[8192];
    memset(junk, 0x5a, sizeof junk);
    store p = store_open("d1");
    store_close(&p);
    overwrite(in_top("d1/registry.db"), 0, junk, 100);
    CHECK_EQ(try_open("d1"), CAB_EIO);
    CHECK(says("restore registry.db"));
    p = store_open("d2");
    for (int i = 0; i < 200; i++) {
        char text[16];
        int64_t v = 0;
        snprintf(text, sizeof text, "m%d", i);
        cab_digest g = add(&p, text);
        CHECK_EQ(cab_registry_put_version(p.reg, text, &v, &(cab_version_content){ .model = &g },
                                          NULL, &diag), CAB_OK);
    }
    store_close(&p);
    overwrite(in_top("d2/registry.db"), 4096 * 3, junk, sizeof junk);
    CHECK_EQ(try_open("d2"), CAB_EIO);
    CHECK(says("the file is damaged"));
    p = store_open("d3");
    store_close(&p);
    execute(in_top("d3/registry.db"), "PRAGMA user_version = 3");
    CHECK_EQ(try_open("d3"), CAB_EIO);
    CHECK(says("a newer Cabochon made it"));
    p = store_open("d4");
    store_close(&p);
    unlink(in_top("d4/registry.db"));
    execute(in_top("d4/registry.db"), "CREATE TABLE t(x)");
    CHECK_EQ(try_open("d4"), CAB_EIO);
    CHECK(says("a database of another program"));
    CHECK(!mkdir(in_top("d5"), 0700) && !mkdir(in_top("d5/registry.db"), 0700));
    CHECK_EQ(try_open("d5"), CAB_EIO);
    CHECK(says("cannot open the registry"));
}

int main(void)
{
    store_kit_begin("registry");
    check_root();
    store p = store_open("a");
    check_blobs(&p);
    check_damage(&p);
    check_threads(&p);
    check_versions(&p);
    check_inheritance(&p);
    check_promises(&p);
    check_hold(&p);
    check_refusals(&p);
    check_policies(&p);
    check_labels(&p);
    check_discovery(&p);
    check_removal(&p);
    check_rivals(&p);
    store_close(&p);
    check_late_rollback();
    check_reopen();
    check_upgrade();
    check_damaged();
    store_kit_end();
    TEST_END();
}
