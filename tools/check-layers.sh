#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The layering law (docs/style.md): which directory may include which.  Prints
# every line that breaks it; exit status 1 when there is one.
cd "$(dirname "$0")/.." || exit 2
bad=0
# dir : allowed include prefixes (its own *_int.h is implied by "dir/")
law() {
    dir=$1; shift
    for f in $(find "$dir" -name '*.[ch]' -o -name '*.[ch]pp' -o -name '*.def' | sort); do
        grep -nE '^ *# *include *"' "$f" | while IFS= read -r line; do
            path=$(printf '%s' "$line" | sed 's/.*"\(.*\)".*/\1/')
            ok=0
            for p in "$@"; do case $path in $p) ok=1 ;; esac; done
            # Another directory's private header is never allowed.
            case $path in
                "$dir"/*) ;;
                *_int.h) ok=0 ;;
            esac
            [ $ok = 1 ] || printf '%s:%s\n' "$f" "$line"
        done
    done
}
out=$(
    law base 'base/*'
    law ir 'ir/*' 'base/*'
    law frontend 'frontend/*' 'base/*' 'ir/ir.h' 'ir/spec.h'
    law passes 'passes/*' 'base/*' 'ir/ir.h' 'ir/spec.h' 'ir/wino.h' 'ir/scalar.def' 'ir/schema_ops.def' 'ir/ops.def'
    law codegen 'codegen/*' 'base/*' 'ir/ir.h' 'ir/spec.h' 'ir/scalar.def' 'runtime/plan.h'
    law runtime 'runtime/*' 'base/*' 'include/cab_rt.h'
    law libcab 'libcab/*' 'base/*' 'include/*' 'ir/ir.h' 'ir/spec.h' 'frontend/frontend.h' 'passes/pass.h' \
        'codegen/codegen.h' 'runtime/runtime.h' 'runtime/plan.h'
    law include 'cab_rt.h'
    # The server: its rooms know nothing of one another but JSON, and of what stands above them only memory for bytes.
    bytes='serve/bytes.h'
    law serve/json 'serve/json/*' "$bytes" 'base/*' 'include/cab_rt.h'
    law serve/http 'serve/http/*' 'serve/json/json_pull.h' "$bytes" 'serve/pieces.h' 'base/*'
    law serve/sched 'serve/sched/*' 'base/*' 'include/cab_rt.h'
    law serve/registry 'serve/registry/*' 'serve/json/io_json.h' 'serve/json/json_tree.h' 'base/*'
    # It reads and writes tensor files, as cab-rt does.
    law serve/client 'serve/client/*' 'serve/json/json_tensor.h' "$bytes" 'base/*' 'include/cab_rt.h' 'tools/rt_tensor.h'
    for f in serve/*.[ch] serve/*.def; do
        grep -nE '^ *# *include *"(serve/[a-z]+/.*_int\.h|serve/client/|tools/|ir/|libcab/)' "$f" | sed "s|^|$f:|"
    done
    law serve 'serve/*' 'base/*' 'include/cab_rt.h' 'tools/rt_tensor.h'
    # Programs see one public header of each directory.
    law tools 'tools/*' 'base/*' 'include/*' 'ir/ir.h' 'ir/spec.h' 'frontend/frontend.h' 'passes/pass.h' \
        'codegen/codegen.h' 'runtime/runtime.h' 'libcab/libcab.h'
    law samples 'none'
    # A file's name says which file it is.
    git ls-files '*.c' '*.h' 2>/dev/null | sed 's|.*/||' | sort | uniq -d | sed 's|$|: more than one file of that name|'
    # Foreign libraries stay in their rooms.
    grep -rnE '^ *# *include *<llvm-c' --include='*.[ch]' . | grep -v '^./codegen/cpu/' | grep -v '^./build'
    grep -rnE '^ *# *include.*(protobuf-c|pb-c)' --include='*.[ch]' base ir passes codegen runtime tools samples
)
if [ -n "$out" ]; then
    echo "$out"
    echo "layering: the lines above break docs/style.md"
    exit 1
fi
exit 0
