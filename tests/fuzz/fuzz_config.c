/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_config.c - texts that say how to serve: a model configuration or, behind "file:", the server's own options.
 *
 * JSON is read as jansson reads it: what one takes both take, as the same value.  A configuration that is taken keeps
 * within what the scheduler is promised; what is refused has a story.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "serve/json/json_tree.h"
#include "serve/model_config.h"
#include "serve/serve_options.h"
#include "tests/fuzz/fuzz_bare.h"

/* jansson takes deeper nesting, and a NUL behind a number. */
static bool differs_by_choice(const char *p, size_t n, const json_error_t *ours)
{
    return strstr(ours->text, "deep") || memchr(p, 0, n);
}

static void compare(const char *p, size_t n)
{
    json_error_t e, f;
    bool starved;
    json_t *ours = cab_json_load(p, n, &e, &starved), *theirs = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &f);
    if (starved)
        fuzz_finding("a lack of memory");
    if (!ours != !theirs && !(!ours && differs_by_choice(p, n, &e)))
        fuzz_finding("%s, jansson: %s", ours ? "taken" : e.text, theirs ? "taken" : f.text);
    if (ours && theirs && !json_equal(ours, theirs))
        fuzz_finding("another value than jansson's");
    if (!ours && !*e.text)
        fuzz_finding("refused without a word");
    json_decref(ours);
    json_decref(theirs);
}

static bool within(const cab_model_config *c)
{
    const cab_batch_config *q = &c->served.queue;
    bool fine = c->max_batch_size >= 0 && c->served.instances >= 0 && c->served.instances <= 1 << 20 && c->served.threads >= 0 &&
                q->n_preferred >= 0 && q->n_preferred <= CAB_BATCH_PREFERRED && q->levels >= 0 && q->levels <= CAB_BATCH_LEVELS &&
                q->max_delay_ns >= 0 && q->default_timeout_ns >= 0;
    for (int i = 0; fine && i < q->n_preferred; i++)
        fine = q->preferred[i] >= 1 && q->preferred[i] <= q->max_batch;
    return fine;
}

static void config(const char *text)
{
    cab_model_config c;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = cab_model_config_read(text, 100, &c, &d);
    fuzz_count(k == CAB_OK ? "configurations" : "refused");
    if (k != CAB_OK && !cab_diag_first(&d))
        fuzz_finding("refused without a story");
    if (k == CAB_OK && !within(&c))
        fuzz_finding("a configuration beyond its bounds");
    cab_diag_fini(&d);
}

static void options(const char *p, size_t n)
{
    char path[64], *argv[] = { (char *)"cab-serve", (char *)"--config", path };
    cab_options o;
    cab_diag d;
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cab_diag_init(&d);
    cab_status k = cab_options_read(&o, 3, argv, &d);
    fuzz_count(k == CAB_OK ? "files" : "files refused");
    if (k != CAB_OK && !cab_diag_first(&d))
        fuzz_finding("a file refused without a story");
    if (k == CAB_OK && (!o.root || !o.log || o.max_body < 0 || o.idle_ms < 0 || o.idle_ms > 86400000 || o.log_requests > 1))
        fuzz_finding("options beyond their bounds");
    cab_options_fini(&o);
    cab_diag_fini(&d);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char magic[] = "file:";
    const size_t skip = sizeof magic - 1;
    if (size >= skip && !memcmp(data, magic, skip)) {
        options((const char *)data + skip, size - skip);
        return 0;
    }
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    compare(text, size);
    config(text);
    free(text);
    return 0;
}
