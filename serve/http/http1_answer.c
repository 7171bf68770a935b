/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_answer.c - heads of answers.
 *
 * Everything is checked before a byte is written: no value can end its line, no
 * field can say another length than the framing does.
 */
#include <stdio.h>
#include <time.h>
#include "serve/http/http1_int.h"

const char *cab_http_reason(int status)
{
    static const struct { int status; const char *reason; } rows[] = {
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
        { 206, "Partial Content" }, { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
        { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
        { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
        { 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" },
        { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" },
        { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" },
        { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
        { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" },
        { 100, "Continue" }, { 101, "Switching Protocols" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "Unknown";
}

void cab_http_date(int64_t seconds, char out[CAB_HTTP_DATE])
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        tm = (struct tm){ .tm_mday = 1, .tm_year = 70, .tm_wday = 4 };
    /* The remainders say to the compiler what gmtime_r promises. */
    snprintf(out, CAB_HTTP_DATE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days[(unsigned)tm.tm_wday % 7],
             (unsigned)tm.tm_mday % 100, months[(unsigned)tm.tm_mon % 12],
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

/* ---- what may not be written ---- */

static bool field_ok(const cab_http1_field *f)
{
    static const char *const ours[] = { "content-length", "transfer-encoding", "connection" };
    if (!f->name.n || !cab_ch_all(f->name, CAB_CH_TOKEN) || !cab_ch_all(f->value, CAB_CH_VALUE))
        return false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (cab_ch_same(f->name, ours[i]))
            return false;
    return true;
}

static bool framing_ok(const cab_http1_answer *a)
{
    bool bodiless = a->status < 200 || a->status == 204 || a->status == 304;
    return a->status >= 100 && a->status <= 999 && bodiless == (a->framing == CAB_HTTP1_NO_BODY);
}

static bool answer_ok(const cab_http1_answer *a)
{
    for (size_t i = 0; i < a->n_extra; i++)
        if (!field_ok(&a->extra[i]))
            return false;
    return framing_ok(a) && cab_ch_all(a->date, CAB_CH_VALUE) && cab_ch_all(a->type, CAB_CH_VALUE);
}

/* ---- writing ---- */

static void number(cab_bytes *out, uint64_t v, size_t least)
{
    char text[24], *c = text + sizeof text;
    do
        *--c = (char)('0' + v % 10);
    while ((v /= 10) != 0 || (size_t)(text + sizeof text - c) < least);
    cab_bytes_put(out, c, (size_t)(text + sizeof text - c));
}

static void line(cab_bytes *out, cab_slice name, cab_slice value)
{
    char *to = cab_bytes_room(out, name.n + value.n + 4);
    if (!to)
        return;
    memcpy(to, name.p, name.n);
    memcpy(to + name.n, ": ", 2);
    if (value.n)
        memcpy(to + name.n + 2, value.p, value.n);
    memcpy(to + name.n + 2 + value.n, "\r\n", 2);
    cab_bytes_wrote(out, name.n + value.n + 4);
}

static void framing(cab_bytes *out, const cab_http1_answer *a)
{
    if (a->framing == CAB_HTTP1_LENGTH) {
        cab_bytes_slice(out, CAB_SLICE("Content-Length: "));
        number(out, a->length, 1);
        cab_bytes_slice(out, CAB_SLICE("\r\n"));
    }
    /* Only what the version does not say by itself. */
    if (a->minor == 1 && !a->keep_alive)
        cab_bytes_slice(out, CAB_SLICE("Connection: close\r\n"));
    if (a->minor == 0 && a->keep_alive)
        cab_bytes_slice(out, CAB_SLICE("Connection: keep-alive\r\n"));
}

bool cab_http1_answer_write(cab_bytes *out, const cab_http1_answer *a)
{
    size_t before = out->n;
    if (!answer_ok(a))
        return false;
    cab_bytes_slice(out, CAB_SLICE("HTTP/1.1 "));
    number(out, (uint64_t)a->status, 3);
    cab_bytes_char(out, ' ');
    cab_bytes_str(out, cab_http_reason(a->status));
    cab_bytes_slice(out, CAB_SLICE("\r\n"));
    if (a->date.n)
        line(out, CAB_SLICE("Date"), a->date);
    if (a->type.n)
        line(out, CAB_SLICE("Content-Type"), a->type);
    framing(out, a);
    for (size_t i = 0; i < a->n_extra; i++)
        line(out, a->extra[i].name, a->extra[i].value);
    cab_bytes_slice(out, CAB_SLICE("\r\n"));
    if (out->failed)
        out->n = before;
    return !out->failed;
}
