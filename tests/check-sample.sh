#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-sample.sh BUILD: the shipped digits network in every mode gives right answers, and the
# same bytes as JIT and as artifact, with one thread and with two.
build=$1
top=$(cd "$(dirname "$0")/.." && pwd)
d=$top/samples/digits
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
is() {          # is NAME COMMAND...: the command succeeds
    name=$1; shift
    if "$@" >"$tmp/log" 2>&1; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name"; tail -5 "$tmp/log"; fi
}
run() {         # run DIR FLAGS...
    out=$tmp/$1; shift; mkdir -p "$out"
    "$build/cab" run "$d/digits.onnx" --input "image=$d/images.npy" --output-dir "$out" "$@"
}
for mode in opt naive; do
    flag=; [ $mode = naive ] && flag=--naive
    is "$mode: compile" "$build/cab" compile "$d/digits.onnx" -o "$tmp/$mode.cab" $flag
    is "$mode: answers" "$build/samples/digits/digits" "$tmp/$mode.cab" "$d/images.npy" "$d/labels.txt"
    is "$mode: run, 1 thread" run "$mode-1" --threads 1 $flag
    is "$mode: run, 2 threads" run "$mode-2" --threads 2 $flag
    is "$mode: same bytes for both" cmp "$tmp/$mode-1/output_0.pb" "$tmp/$mode-2/output_0.pb"
    mkdir -p "$tmp/$mode-rt"
    is "$mode: cab-rt" "$build/cab-rt" "$tmp/$mode.cab" --input "$d/images.npy" --output-dir "$tmp/$mode-rt"
    is "$mode: JIT = artifact" cmp "$tmp/$mode-1/output_0.pb" "$tmp/$mode-rt/output_0.pb"
done
# The model as C text, through its header alone: the 20 x 10 floats are those of the machine code
# for the same target.
c_text() {      # c_text DIR c|so FLAGS...
    out=$tmp/$1 form=$2; shift 2; mkdir -p "$out"
    printf '%s\t%s\t%s\n' "$d/digits.onnx" "$out" "$d/images.npy" |
        python3 "$top/tests/emit_c_run.py" "$build" --form "$form" --cflags="$cflags" --flags="$*" | tee "$tmp/answer"
    grep -qx ok "$tmp/answer"
}
cflags=-O1
nm "$build/tools/rt_tensor.o" | grep -q __asan && cflags="-O0 -fsanitize=address,undefined"
if command -v cc >/dev/null && command -v python3 >/dev/null; then
    is "C text: target" run v3 --target x86-64-v3
    is "C text: naive" c_text c-naive c --naive
    is "C text: optimised" c_text c-opt c
    pairs="c-naive:naive-1 c-opt:v3"
    case $cflags in                        # a sanitizer's libcabrt.a fits no library without it
    *sanitize*) ;;
    *) is "shared library" c_text so so; pairs="$pairs so:opt-1" ;;
    esac
    for pair in $pairs; do
        for x in ${pair%:*} ${pair#*:}; do tail -c 800 "$tmp/$x/output_0.pb" >"$tmp/$x.raw"; done
        is "same bytes, $pair" cmp "$tmp/${pair%:*}.raw" "$tmp/${pair#*:}.raw"
    done
fi
refuses() { ! "$@"; }
# Code of a level holds no instruction of a higher one (this machine would run it).
above() {       # above LEVEL AWK-PATTERN: no line of the disassembly fits
    "$build/cab" compile "$d/digits.onnx" --target "$1" --emit=obj -o "$tmp/level.o" &&
        objdump -d --no-show-raw-insn "$tmp/level.o" >"$tmp/level.s" &&
        [ "$(wc -l <"$tmp/level.s")" -gt 500 ] && ! awk "$2 { found = 1 } END { exit !found }" "$tmp/level.s"
}
if command -v objdump >/dev/null; then
    is "x86-64-v2: nothing of AVX" above x86-64-v2 '$2 ~ /^v/ || /%[yz]mm/'
    is "x86-64-v3: nothing of AVX-512" above x86-64-v3 '/%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])/'
fi
if command -v openssl >/dev/null; then
    for k in ours theirs; do
        openssl genpkey -algorithm ed25519 -out "$tmp/$k.pem" 2>/dev/null
        openssl pkey -in "$tmp/$k.pem" -pubout -out "$tmp/$k.pub"
    done
    is "signed" "$build/cab" compile "$d/digits.onnx" -o "$tmp/signed.cab" --sign "$tmp/ours.pem"
    is "signed by us" "$build/cab" inspect "$tmp/signed.cab" --key "$tmp/ours.pub"
    is "not by others" refuses "$build/cab" inspect "$tmp/signed.cab" --key "$tmp/theirs.pub"
    is "nor when unsigned" refuses "$build/cab" inspect "$tmp/opt.cab" --key "$tmp/ours.pub"
    is "a key that is none" refuses "$build/cab" inspect "$tmp/signed.cab" --key "$d/labels.txt"
fi
is "check" "$build/cab" check "$d/digits.onnx"
is "inspect" "$build/cab" inspect "$tmp/opt.cab"
is "seeded run" "$build/cab" run "$d/digits.onnx" --seed 3
is "bench" "$build/cab" bench "$d/digits.onnx" --runs 3 --layers
is "compile is reproducible" "$build/cab" compile "$d/digits.onnx" -o "$tmp/again.cab"
is "... bit for bit" cmp "$tmp/opt.cab" "$tmp/again.cab"
# cab-rt: many runs by one process; what it may be told to check and to spend.
mkdir -p "$tmp/lines-1" "$tmp/lines-2"
printf '%s\t%s\t%s\n' "$tmp/opt.cab" "$tmp/lines-1" "$d/images.npy" "$tmp/none.cab" "$tmp" "$d/images.npy" \
    "$tmp/opt.cab" "$tmp/lines-2" "image=$d/images.npy" | "$build/cab-rt" --lines >"$tmp/answers"
is "cab-rt --lines: answers" [ "$(cut -d: -f1 "$tmp/answers" | tr '\n' ' ')" = "ok error ok " ]
is "cab-rt --lines: bytes" cmp "$tmp/opt-1/output_0.pb" "$tmp/lines-1/output_0.pb"
is "cab-rt --lines: bytes again" cmp "$tmp/opt-1/output_0.pb" "$tmp/lines-2/output_0.pb"
is "cab-rt, all flags" "$build/cab-rt" "$tmp/opt.cab" --input "$d/images.npy" --verify=full --threads 2 \
    --max-memory 64M --deadline 60000
cp "$tmp/opt.cab" "$tmp/bent.cab"       # a byte among the weights, which end the file
printf '\377' | dd of="$tmp/bent.cab" bs=1 seek=$(($(wc -c <"$tmp/bent.cab") - 1)) conv=notrunc 2>/dev/null
# Bad calls answer in words and with their exit status, never with a signal.
status() {      # status WANT NAME COMMAND...
    want=$1 name=$2; shift 2
    "$@" >"$tmp/log" 2>&1; got=$?
    if [ $got = "$want" ] && [ -s "$tmp/log" ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name: exit $got, expected $want"; tail -3 "$tmp/log"; fi
}
head -c 5000 "$d/digits.onnx" >"$tmp/cut.onnx"
head -c 5000 "$tmp/opt.cab" >"$tmp/cut.cab"
status 2 "no command" "$build/cab"
status 2 "unknown flag" "$build/cab" run "$d/digits.onnx" --frobnicate
status 1 "missing file" "$build/cab" run "$tmp/none.onnx"
status 1 "cut model" "$build/cab" run "$tmp/cut.onnx"
status 1 "cut artifact" "$build/cab-rt" "$tmp/cut.cab" --input "$d/images.npy"
status 1 "bent artifact" "$build/cab-rt" "$tmp/bent.cab" --input "$d/images.npy" --verify=full
status 1 "too little memory" "$build/cab-rt" "$tmp/opt.cab" --input "$d/images.npy" --max-memory 1K
status 2 "memory beyond numbers" "$build/cab-rt" "$tmp/opt.cab" --max-memory 1099511627776G
status 2 "memory beyond numbers, cab" "$build/cab" run "$d/digits.onnx" --max-memory 1099511627776G
status 2 "a model and --lines" "$build/cab-rt" "$tmp/opt.cab" --lines
status 1 "artifact as model" "$build/cab" run "$tmp/opt.cab"
status 1 "labels as input" "$build/cab" run "$d/digits.onnx" --input "$d/labels.txt"
echo "sample: $passed passed, $failed failed"
[ $failed = 0 ]
