#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# embed-rules.sh FILE.rules... - rule files as C text on standard output.
#
# Makes the tables passes/rule_int.h declares: the texts and paths in the order
# of the arguments, and one index row (name, file, class, line) per rule.
set -eu

cat <<'END'
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_text.c - made by tools/embed-rules.sh from the .rules files.
 */
#include "passes/rule_int.h"

END
echo 'const char *const cab_rules_text[CAB_RULES_COUNT] = {'
for f; do
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/' "$f"
    echo '    ,'
done
echo '};'
echo 'const char *const cab_rules_path[CAB_RULES_COUNT] = {'
for f; do
    echo "    \"passes/$(basename "$f")\","
done
echo '};'
echo 'const cab_rule_info cab_rules_index[] = {'
for f; do
    # The head of a rule (up to "match") may be wrapped over lines.
    awk -v file="passes/$(basename "$f")" '
        function flush() {
            if (name != "")
                printf "    { \"%s\", \"%s\", \"%s\", %d },\n", name, file, klass, line
            name = ""
        }
        /^rule / { flush(); name = $2; line = NR; klass = "exact"; head = 1 }
        head && /class rounding/ { klass = "rounding" }
        /^ *match / { head = 0 }
        END { flush() }' "$f"
done
echo '};'
echo 'const int cab_rules_index_n = (int)(sizeof cab_rules_index / sizeof *cab_rules_index);'
