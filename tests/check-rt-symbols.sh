#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-rt-symbols.sh BUILD: the runtime library needs libc and pthreads only, and cab-rt links
# neither LLVM nor protobuf.
build=$1
bad=$(nm -u "$build/libcabrt.a" | awk '/ U /{print $2}' | sort -u |
      grep -E '^(LLVM|protobuf_c|onnx__|cblas_|cab_(graph|node|value|op|pass|passes|program|spec|kir|k_|import|codegen|llvm|infer|eval))')
# What one member needs, another must define, or libc.
if [ -n "$bad" ]; then
    echo "libcabrt.a refers to the compiler: $bad"
    exit 1
fi
libs=$(ldd "$build/cab-rt" | grep -iE 'llvm|protobuf|blas|z3|stdc\+\+')
if [ -n "$libs" ]; then
    echo "cab-rt links more than the runtime: $libs"
    exit 1
fi
