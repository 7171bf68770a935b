#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD: a server, three models, and every way to call them by curl.  Each command is shown, then its answer.
#   - linear: y = 3 x + 2, by /register and /predict
#   - cnn28, cnn32: convolutional networks for 28x28 gray and 32x32 colour images, by /register, /discover, /call
set -u
build=${1:-build}
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
passed=0
failed=0

"$build/cab-serve" --root "$tmp/registry" --listen 127.0.0.1:0 --drain-ms 0 --log "$tmp/log" </dev/null >/dev/null 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$tmp"' EXIT
port=
for i in $(seq 1 200); do
    port=$(sed -n 's/.*"ready".*http:[^ ,"]*:\([0-9][0-9]*\).*/\1/p' "$tmp/log" 2>/dev/null)
    [ -n "$port" ] && break
    sleep 0.05
done
[ -n "$port" ] || { echo "the server is not ready"; cat "$tmp/log"; echo "samples/serve: 0 passed, 1 failed"; exit 1; }
url=http://127.0.0.1:$port

# answers NAME PATTERN CURL-ARGUMENTS...: the answer has the pattern
answers() {
    name=$1 pattern=$2
    shift 2
    echo "\$ curl $*" | sed "s|$tmp/||g"
    curl -s "$@" >"$tmp/answer"
    head -c 300 "$tmp/answer"
    echo
    if grep -q "$pattern" "$tmp/answer"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}
register() {
    answers "register $1" '"state":"ready"' --data-binary "@$tmp/$1.onnx" "$url/register?name=$1"
}

python3 "$here/models.py" make "$tmp"
answers "ready" '"ready":true' "$url/v2/health/ready"
register linear
answers "predict a number" '{"Y":\[\[17.0\]\]}' -d '{"X": 5}' "$url/predict"
answers "predict a list" '{"Y":\[\[5.0\],\[8.0\],\[11.0\]\]}' -d '{"X": [1, 2, 3]}' "$url/predict"
for net in cnn28 cnn32; do
    register $net
    answers "discover $net" "\"name\":\"$net\"" -d "{\"name\": \"$net\", \"datatype\": \"FP32\"}" "$url/discover"
    answers "call $net" '"classes"' -d "@$tmp/$net.call.json" "$url/call"
    if python3 "$here/models.py" compare "$tmp/$net.want.json" "$tmp/answer"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
answers "the wrong image" '"error"' -d '{"name": "cnn32", "inputs": {"image": [[1, 2], [3, 4]]}}' "$url/call"
answers "a model that is not there" '"error"' -d '{"name": "cnn64", "inputs": {}}' "$url/call"
answers "counters" 'nv_inference_count{model="cnn28",version="1"} 1' "$url/metrics"
kill "$server"
wait "$server"
if [ $? = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: the server's end"; fi
echo "samples/serve: $passed passed, $failed failed"
[ "$failed" = 0 ]
