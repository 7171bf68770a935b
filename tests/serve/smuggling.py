# SPDX-License-Identifier: Apache-2.0
"""smuggling.py BUILD: every row of smuggling.txt through sockets, with a request behind it.

What is refused is answered once, with the row's status, and closed; what comes behind it is answered never.
"""
import concurrent.futures, os, re, sys
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from http1_table import rows
from wire import Carry, dial

BEHIND = b"GET /size HTTP/1.1\r\nHost: a\r\nX-A: smuggled\r\nConnection: close\r\n\r\n"
ELSEWHERE = ("the preface of HTTP/2",)           # conn.c knows it before the parser does
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def send(port, data, piecewise):
    s = dial(port)
    s.settimeout(8)
    got = b""
    try:
        if piecewise:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
        else:
            s.sendall(data)
    except OSError:
        pass                           # refused and closed before the last byte
    try:
        while piece := s.recv(65536):
            got += piece
        end = True
    except ConnectionResetError:
        end = True
    except OSError:
        end = False
    s.close()
    return got, end


def one(port, want, name, data, piecewise):
    tail = b"" if want == "more" else BEHIND
    got, end = send(port, data + tail, piecewise)
    statuses = [int(v) for v in STATUS.findall(got) if v != b"100"]     # "go on": where the body came later
    what = (name, want, piecewise, statuses)
    if want == "ok":
        return end and statuses and all(v in (200, 204, 404) for v in statuses), what
    end = end and statuses and b"\r\nConnection: close\r\n" in got[got.rfind(b"HTTP/1.1 %d " % statuses[-1]):]
    if want == "more":              # its time is over
        return end and statuses and statuses[-1] == 408, what
    return end and statuses and statuses[-1] == int(want) and b"smuggled" not in got and \
        all(v in (200, 404) for v in statuses[:-1]), what


def main():
    carry = Carry(sys.argv[1])
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for i, (want, name, data) in enumerate(rows()):
            if name in ELSEWHERE:
                continue
            jobs.append(pool.submit(one, carry.port, want, name, data, False))
            if len(data) < 2000 and i % 3 == 0:
                jobs.append(pool.submit(one, carry.port, want, name, data, True))
        for j in jobs:
            check(*j.result())
    last, rc = carry.stop()
    check(rc == 0 and last == "0 connections, 0 bytes left", ("what is left", last, rc))
    verdict("smuggling.py")


main()
