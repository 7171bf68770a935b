#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gen_big_model.py - writes a model with many bytes of weights, quickly.

    gen_big_model.py OUT [BYTES [TENSORS]]      (500000000 125)

x [N, 1000] goes through TENSORS additions of a row of 1000 weights; each row
is gathered from a matrix of about BYTES / TENSORS bytes, stored as raw_data.
The weights are holes in a sparse file.  Plain bytes, no packages.
"""
import sys

COLS = 1000


def varint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def num(field, v):
    return varint(field << 3) + varint(v)


def head(field, n):
    return varint(field << 3 | 2) + varint(n)


def sub(field, body):
    body = body.encode() if isinstance(body, str) else body
    return head(field, len(body)) + body


def node(op, name, ins, out):
    return sub(1, b"".join(sub(1, i) for i in ins) + sub(2, out)
               + sub(3, name) + sub(4, op))


def value(field, name, *dims):
    shape = b"".join(sub(1, sub(2, d) if isinstance(d, str) else num(1, d))
                     for d in dims)
    tensor = num(1, 1) + sub(2, shape)
    return sub(field, sub(1, name) + sub(2, sub(1, tensor)))


def main():
    path = sys.argv[1]
    total = int(sys.argv[2]) if len(sys.argv) > 2 else 500000000
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 125
    rows = max(1, total // count // (4 * COLS))
    raw = rows * COLS * 4
    tensors = []
    for i in range(count):
        start = (num(1, rows) + num(1, COLS) + num(2, 1) + sub(8, f"w{i}")
                 + head(9, raw))
        tensors.append(head(5, len(start) + raw) + start)
    before = sub(5, num(2, 7) + sub(8, "zero") + sub(9, bytes(8)))
    after = value(11, "x", "N", COLS) + value(12, "y", "N", COLS)
    last = "x"
    for i in range(count):
        out = "y" if i == count - 1 else f"s{i}"
        after += node("Gather", f"gather{i}", [f"w{i}", "zero"], f"r{i}")
        after += node("Add", f"add{i}", [last, f"r{i}"], out)
        last = out
    after += sub(2, "big")
    graph = len(before) + sum(map(len, tensors)) + raw * count + len(after)
    with open(path, "wb") as f:
        f.write(num(1, 9) + sub(8, num(2, 17)) + head(7, graph) + before)
        for t in tensors:
            f.write(t)
            f.seek(raw, 1)
        f.write(after)


if __name__ == "__main__":
    main()
