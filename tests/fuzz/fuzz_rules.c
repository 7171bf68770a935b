/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rules.c - bytes as the text of rewrite rules: compiled or refused.
 * (tests/test_rules.c evaluates both sides of every shipped rule.)
 */
#include <stdlib.h>
#include <string.h>
#include "passes/rule_int.h"
#include "tests/fuzz/fuzz.h"

static cab_status body(cab_arena *a, void *arg, cab_diag *d)
{
    cab_ruleset *rs;
    return cab_ruleset_parse(a, arg, "input", &rs, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    if (text)
        fuzz_job(16 << 20, body, text);
    free(text);
    return 0;
}
