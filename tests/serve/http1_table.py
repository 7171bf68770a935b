# SPDX-License-Identifier: Apache-2.0
"""The rows of smuggling.txt as (verdict, name, bytes).

http1_table.py FOLDER writes the bytes of each row into a file there: seeds of fuzz_http1.
"""
import os
import re
import sys

SIMPLE = {b'r': b'\r', b'n': b'\n', b't': b'\t', b'0': b'\0', b'\\': b'\\'}
ESCAPE = re.compile(rb'\\(?:\{(\d+) (.)\}|x([0-9a-f]{2})|(.))')


def unescape(line):
    def one(m):
        if m[1]:
            return m[2] * int(m[1])
        return bytes([int(m[3], 16)]) if m[3] else SIMPLE[m[4]]
    return ESCAPE.sub(one, line)


def rows(path=os.path.join(os.path.dirname(os.path.abspath(__file__)), 'smuggling.txt')):
    out = []
    for line in open(path, 'rb').read().split(b'\n'):
        if line.startswith(b'== '):
            _, verdict, name = line.decode().split(' ', 2)
            out.append([verdict, name, b''])
        elif out and not line.startswith(b'#'):
            out[-1][2] += unescape(line)
    return [tuple(r) for r in out]


if __name__ == '__main__':
    for i, (_, _, data) in enumerate(rows()):
        with open('%s/row%d' % (sys.argv[1], i), 'wb') as f:
            f.write(data)
