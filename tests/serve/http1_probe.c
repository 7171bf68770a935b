/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_probe.c - the framing behind a pipe, for tests/serve/http1_h11.py.
 *
 * In: lengths (4 bytes, of this machine's order) and so many bytes each.  Out:
 * likewise what http1_drive says of the first request in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include "tests/serve/http1_drive.h"

int main(void)
{
    static const cab_http1_limits limits = CAB_HTTP1_LIMITS;
    for (uint32_t n; fread(&n, sizeof n, 1, stdin) == 1;) {
        char *p = malloc(n ? n : 1);
        http1_seen s;
        if (!p || fread(p, 1, n, stdin) != n)
            return EXIT_FAILURE;
        http1_drive(&s, p, n, &limits, 1, NULL, NULL);
        n = (uint32_t)s.text.n;
        fwrite(&n, sizeof n, 1, stdout);
        fwrite(s.text.p, 1, n, stdout);
        cab_bytes_fini(&s.text);
        free(p);
    }
    return EXIT_SUCCESS;
}
