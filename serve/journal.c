/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.c - log lines.
 */
#include "serve/journal.h"
#include "serve/json/json_pull.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct cab_journal {
    char *path;
    pthread_mutex_t lock;
    int fd;
};

cab_status cab_journal_reopen(cab_journal *j, cab_diag *d)
{
    if (!*j->path)
        return CAB_OK;
    int fd = open(j->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return cab_fail(d, CAB_EIO, NULL, "cannot write the log file %s: %s", j->path, strerror(errno));
    pthread_mutex_lock(&j->lock);
    int old = j->fd;
    j->fd = fd;
    pthread_mutex_unlock(&j->lock);
    if (old > STDERR_FILENO)
        close(old);
    return CAB_OK;
}

cab_status cab_journal_create(const char *path, cab_journal **out, cab_diag *d)
{
    cab_journal *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j || !(j->path = strdup(path))) {
        free(j);
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    pthread_mutex_init(&j->lock, NULL);
    j->fd = STDERR_FILENO;
    cab_status s = cab_journal_reopen(j, d);
    if (s == CAB_OK)
        *out = j;
    else
        cab_journal_destroy(j);
    return s;
}

void cab_journal_destroy(cab_journal *j)
{
    if (!j)
        return;
    if (j->fd > STDERR_FILENO)
        close(j->fd);
    pthread_mutex_destroy(&j->lock);
    free(j->path);
    free(j);
}

/* ---- lines ---- */

void cab_line_begin(cab_bytes *b, const char *level, const char *event)
{
    struct timespec t;
    struct tm tm;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    cab_bytes_clear(b);
    cab_bytes_printf(b, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"event\":\"%s\"", text,
                     (int)(t.tv_nsec / 1000000), level, event);
}

void cab_line_text(cab_bytes *b, const char *name, cab_slice text)
{
    cab_bytes_printf(b, ",\"%s\":", name);
    cab_json_put_string(b, text);
}

void cab_line_int(cab_bytes *b, const char *name, int64_t v)
{
    cab_bytes_printf(b, ",\"%s\":%lld", name, (long long)v);
}

void cab_line_end(cab_journal *j, cab_bytes *b)
{
    cab_bytes_str(b, "}\n");
    if (b->failed)
        return;
    pthread_mutex_lock(&j->lock);
    for (size_t done = 0; done < b->n;) {
        ssize_t k = write(j->fd, b->p + done, b->n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;                     /* a full disk must not stop the server */
        done += (size_t)k;
    }
    pthread_mutex_unlock(&j->lock);
}

static void put_model(cab_bytes *b, const char *model, int64_t version)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)version);
    if (model)
        cab_line_text(b, "model", cab_slice_of(model));
    if (model && version)
        cab_line_text(b, "version", cab_slice_of(number));     /* a text, as the interface has it */
}

static void say(cab_journal *j, const char *level, const char *event, const char *model, int64_t version, const char *fmt, va_list ap)
{
    char text[1024];
    cab_bytes b = { 0 };
    vsnprintf(text, sizeof text, fmt, ap);
    cab_line_begin(&b, level, event);
    put_model(&b, model, version);
    cab_line_text(&b, "text", cab_slice_of(text));
    cab_line_end(j, &b);
    cab_bytes_fini(&b);
}

void cab_journal_say(cab_journal *j, const char *level, const char *event, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(j, level, event, NULL, 0, fmt, ap);
    va_end(ap);
}

void cab_journal_model(cab_journal *j, const char *level, const char *event, const char *model, int64_t version, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(j, level, event, model, version, fmt, ap);
    va_end(ap);
}

void cab_journal_diag(cab_journal *j, const char *event, const cab_diag *d)
{
    cab_journal_model_diag(j, event, NULL, 0, d);
}

void cab_journal_model_diag(cab_journal *j, const char *event, const char *model, int64_t version, const cab_diag *d)
{
    static const char *const levels[] = { [CAB_NOTE] = "info", [CAB_WARNING] = "warning", [CAB_ERROR] = "error" };
    cab_bytes b = { 0 };
    for (size_t i = 0; i < d->n; i++) {
        const cab_diag_entry *e = &d->entries[i];
        cab_line_begin(&b, levels[e->severity], event);
        put_model(&b, model, version);
        cab_line_text(&b, "code", cab_slice_of(cab_status_text(e->code)));
        cab_line_text(&b, "text", cab_slice_of(e->text));
        if (*e->where)
            cab_line_text(&b, "where", cab_slice_of(e->where));
        for (int k = 0; k < e->n_notes; k++)
            cab_line_text(&b, "note", cab_slice_of(e->notes[k]));
        cab_line_end(j, &b);
    }
    cab_bytes_fini(&b);
}
