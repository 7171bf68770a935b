#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The verdicts of tests/bench/kernels.py and ratio.py: they pass what is as fast, and fail what is slower, by name.
src=${srcdir:-.}/tests/bench
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0
expect() {      # expect STATUS WORDS COMMAND...
    want=$1 words=$2; shift 2
    out=$("$@" 2>&1); rc=$?
    if [ $rc != "$want" ] || ! printf '%s\n' "$out" | grep -q "$words"; then
        echo "exit status $rc, expected $want with '$words': $*"; printf '%s\n' "$out"; bad=1
    fi
}

# A program that writes such JSON: part of a row as given.
kernels() {
    cat >"$dir/$1" <<PROGRAM
#!/bin/sh
cat >"\$2" <<JSON
{"machine": {}, "rows": [
 {"name": "gemm a", "us": $3, "of": "fma", "part": $2, "peers": {"mkl": {"us": 100}, "onednn": {"us": 95}, "openblas": {"us": 50}}},
 {"name": "conv b", "us": 100, "of": "fma", "part": 0.9, "peers": {"onednn": {"us": 110}}}]}
JSON
PROGRAM
    chmod +x "$dir/$1"
}
kernels fast 0.95 95; kernels same 0.88 96; kernels slow 0.80 110
expect 0 '' python3 "$src/kernels.py" "$dir/fast" --json "$dir/old.json"
expect 0 '2 rows, 0 below' python3 "$src/kernels.py" "$dir/same" --compare "$dir/old.json"
expect 1 'SLOWER gemm a: 80.0 % of fma, was 95.0 %' python3 "$src/kernels.py" "$dir/slow" --compare "$dir/old.json"
expect 0 '2 rows, 0 below' python3 "$src/kernels.py" "$dir/slow" --compare "$dir/old.json" --allow 0.8
expect 0 'median ratio 1.05' python3 "$src/kernels.py" "$dir/fast" --peers --targets
expect 1 'below the target: gemm a 0.86' python3 "$src/kernels.py" "$dir/slow" --peers --targets

# Runs of bench.py: ours, the peers, and one with wrong results, which does not count.
runs() {        # runs NAME OURS...
    name=$1; shift; k=0
    for ms in "$@"; do
        k=$((k + 1))
        cat >"$dir/$name$k.json" <<JSON
{"results": [{"model": "net", "threads": 1, "batch": 1, "peers": {
 "cabochon": {"ms": $ms, "spread": 0.1}, "naive": {"ms": 1}, "ort": {"ms": 10.5, "spread": 0.1}, "ov": {"ms": 10, "spread": 0.1},
 "wrong": {"ms": 2, "spread": 0.1, "err": 0.5}, "broken": {"ok": false}}}]}
JSON
    done
}
runs good 8 8.2 7.9 8.1 8 8.3; runs near 9.9 10.2 10.6 9.8 10.9 10.4; runs bad 12 12.1 12 12.3 12 12
expect 0 '| net | 1 | 8.050 | ov | 10.000 | 1.24 |' python3 "$src/ratio.py" "$dir"/good?.json --json "$dir/ratio.json"
expect 0 'geometric mean 1.25 over 1, 1 of 1' python3 "$src/ratio.py" "$dir/good1.json"
expect 1 'below' python3 "$src/ratio.py" "$dir"/near?.json
expect 1 '0 of 1 at their target' python3 "$src/ratio.py" "$dir"/bad?.json
expect 0 '' python3 "$src/ratio.py" "$dir"/bad?.json --target 0.8
expect 1 'SLOWER net at 1 threads' python3 "$src/ratio.py" "$dir"/bad?.json --target 0.8 --old "$dir/ratio.json"
echo '{"net": 1.5}' >"$dir/targets.json"
expect 1 '| 1.50 | below' python3 "$src/ratio.py" "$dir"/good?.json --targets "$dir/targets.json"
exit $bad
