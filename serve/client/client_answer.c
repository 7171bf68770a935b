/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_answer.c - reads the heads of answers, passes over their bodies.
 */
#include "serve/client/client_answer.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The value of a field of the head [p, end), NULL without it. */
static const char *field(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        p++;
        if ((size_t)(end - p) > n && !strncasecmp(p, name, n) && p[n] == ':')
            return p + n + 1 + strspn(p + n + 1, " ");
    }
    return NULL;
}

/* A whole head, its empty line included. */
static bool read_head(cab_answer *a, const char *p, size_t n)
{
    const char *end = p + n, *v;
    if (n < 16 || memcmp(p, "HTTP/1.", 7))
        return false;
    a->status = atoi(p + 9);
    a->left = 0;
    if ((v = field(p, end, "content-length")))
        a->left = strtoull(v, NULL, 10);
    else if (a->status != 204 && a->status != 304)
        return false;
    v = field(p, end, "connection");
    a->close = v && !strncasecmp(v, "close", 5);
    a->in_body = true;
    return true;
}

/* The end of the head in [p, p + n), or NULL. */
static const char *head_end(const char *p, size_t n)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    return end ? end + 4 : NULL;
}

static cab_answer_got pass_body(cab_answer *a, size_t n)
{
    uint64_t k = n < a->left ? n : a->left;
    a->left -= k;
    if (a->left)
        return CAB_ANSWER_MORE;
    a->in_body = false;
    a->kept = 0;
    return CAB_ANSWER_DONE;
}

cab_answer_got cab_answer_read(cab_answer *a, const char *p, size_t n)
{
    if (a->in_body)
        return pass_body(a, n);
    const char *from = p, *end;
    size_t all = n, before = a->kept;
    if (before) {              /* after the beginning that is kept */
        size_t k = n < sizeof a->head - before ? n : sizeof a->head - before;
        memcpy(a->head + before, p, k);
        from = a->head;
        all = before + k;
    }
    end = head_end(from, all);
    if (end) {
        size_t head = (size_t)(end - from);
        return read_head(a, from, head) ? pass_body(a, before + n - head) : CAB_ANSWER_BROKEN;
    }
    if (all >= sizeof a->head)
        return CAB_ANSWER_BROKEN;
    if (!before)
        memcpy(a->head, p, n);
    a->kept = all;
    return CAB_ANSWER_MORE;
}
