#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compile-and-run.sh BUILD MODEL OUTDIR [--input FILE]...: cab compile $CAB_COMPILE_FLAGS, then cab-rt.
build=$1 model=$2 outdir=$3
shift 3
cab=$(mktemp)
trap 'rm -f "$cab"' EXIT
"$build/cab" compile "$model" ${CAB_COMPILE_FLAGS:-} -o "$cab" >/dev/null || exit $?
"$build/cab-rt" "$cab" "$@" --output-dir "$outdir"
