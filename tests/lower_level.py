#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An artifact as a lesser machine takes it: copies IN.cab, with its first N targets needing a processor
that does not exist, so that the next one runs.

  lower_level.py IN.cab N OUT.cab
"""
import hashlib, shutil, struct, sys

HEADER = struct.Struct("<8sIIQ32sII")       # cab_file_header
ROW = struct.Struct("<IIQQII32s")           # cab_file_section
PLAN, CODE, NO_SUCH = 1, 3, 1 << 31


def main():
    source, n, to = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    shutil.copyfile(source, to)
    with open(to, "r+b") as f:
        magic, version, rows, size, _, r0, r1 = HEADER.unpack(f.read(HEADER.size))
        table = b""
        for _ in range(rows):
            row = list(ROW.unpack(f.read(ROW.size)))
            if row[0] in (PLAN, CODE) and row[1] < n:
                row[4] |= NO_SUCH
            table += ROW.pack(*row)
        head = HEADER.pack(magic, version, rows, size, bytes(32), r0, r1)
        digest = hashlib.sha256(head + table).digest()
        f.seek(0)
        f.write(HEADER.pack(magic, version, rows, size, digest, r0, r1) + table)


if __name__ == "__main__":
    main()
