#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The helpers a plan may call (CAB_HELPERS in runtime/plan.h) are those of tests/helpers.expected
# or fewer: the list is reviewed.
list=$(sed -n 's/^ *HELPER([0-9]*, \([a-z_]*\),.*/\1/p' "$srcdir/runtime/plan.h" | sort)
[ -n "$list" ] || { echo "no helper found in runtime/plan.h: has the macro moved?"; exit 1; }
new=$(echo "$list" | grep -vxF -f "$srcdir/tests/helpers.expected")
[ -z "$new" ] || { echo "new helpers, not in the reviewed list: $new"; exit 1; }
