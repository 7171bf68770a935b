/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scarce.h - memory that runs out where a test says, for the server and the libraries it stands on.
 *
 * The server's own calls go through here by --wrap (tests/serve.mk), those of libevent, nghttp2, jansson, SQLite and
 * OpenSSL by what they let one set.  It holds under sanitizers, too.
 */
#ifndef CAB_TESTS_SERVE_SCARCE_H
#define CAB_TESTS_SERVE_SCARCE_H
#include <stdbool.h>

/* Before any of the libraries is used. */
void scarce_init(void);
/* This thread's allocations are neither counted nor refused. */
void scarce_spare_me(void);
/* From here on the n-th allocation (0: none) is refused; whole: all from it on. */
void scarce_begin(long n, bool whole);
/* None is refused any more; how many there were. */
long scarce_end(void);
/* Blocks that were taken and not given back, SQLite's aside; its bytes. */
long scarce_blocks(void);
long scarce_sqlite_bytes(void);

#endif
