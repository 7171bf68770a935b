#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/ops.md is what the tables say.  CAB_BLESS=1 rewrites it.
[ -n "${CAB_BLESS:-}" ] && ./tools/gen-doc >"$srcdir/docs/ops.md"
./tools/gen-doc | diff - "$srcdir/docs/ops.md"
