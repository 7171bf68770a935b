# SPDX-License-Identifier: Apache-2.0
"""http1_h11.py BUILD [ROUNDS] [SEED]: our framing of requests beside that of h11 (pip install h11).

The rows of smuggling.txt and ROUNDS mutants of them go through both.  What h11 refuses we refuse, and
what both accept both read alike: method, target, version, fields, body, keep-alive, where the next
request starts.  The exceptions stand in `lenient`; what we refuse and h11 does not is counted.
"""
import random
import re
import struct
import subprocess
import sys
import h11
from http1_table import rows

PIECES = [b'\r', b'\n', b'\r\n', b' ', b'\t', b':', b',', b';', b'\0', b'\x0b', b'\x7f', b'\xff', b'0', b'1', b'f',
          b'%2f', b'?', b'/', b'*', b'[', b'chunked', b'Transfer-Encoding: chunked\r\n', b'Content-Length: 1\r\n',
          b'Content-Length: 0\r\n', b'Host: a\r\n', b'Host: b:1\r\n', b'Connection: close\r\n', b'X: y\r\n',
          b'Connection: keep-alive\r\n', b'Expect: 100-continue\r\n', b'HTTP/1.0', b'HTTP/1.1', b'0\r\n\r\n',
          b'GET ', b'POST ', b'OPTIONS *', b'http://a']


def mutant(r, seeds):
    b = bytearray(r.choice(seeds[r.randrange(2)]))
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        at = r.randrange(len(b) + 1)
        kind = r.randrange(6)
        if kind == 0 and b:
            b[at % len(b)] = r.randrange(256)
        elif kind == 1:
            del b[at:at + r.choice((1, 1, 2, 8))]
        elif kind == 2:
            other = r.choice(seeds[1])
            b = b[:at] + other[r.randrange(len(other)):]
        elif kind == 3 and b'\r\n' in b:
            ends = [m.end() for m in re.finditer(b'\r\n', bytes(b))]
            at = r.choice(ends)
            b[at:at] = r.choice(PIECES)
        else:
            b[at:at] = r.choice(PIECES)
    return bytes(b) or b'G'        # no bytes are the end to h11


def by_h11(data):
    """'refused WHY', 'open', or what the first request says."""
    c = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    body = b''
    try:
        c.receive_data(data)
        while True:
            e = c.next_event()
            if e is h11.NEED_DATA:
                return 'open'
            if isinstance(e, h11.Request):
                request = e
            elif isinstance(e, h11.Data):
                body += bytes(e.data)
            elif isinstance(e, h11.EndOfMessage):
                break
    except h11.RemoteProtocolError as e:
        return 'refused %s' % e
    fields = [(k, v) for k, v in request.headers if k not in (b'transfer-encoding', b'content-length')]
    return (request.method, request.target, request.http_version, fields, body, keeps(request, c.their_state),
            len(data) - len(c.trailing_data[0]))


def keeps(request, state):
    """None: h11 closes after HTTP/1.0 whatever it says, and leaves upgrades to its caller."""
    if request.http_version == b'1.0' or state is h11.MIGHT_SWITCH_PROTOCOL:
        return None
    return state is h11.DONE


def by_us(text):
    if text.startswith(b'open') or text.endswith(b'open 1 closed 0\n'):
        return 'open'
    m = re.search(rb'\nrefused (.*)\nopen 0 closed 0\n$', text)
    if m:
        return 'refused ' + m[1].decode()
    head, rest = text.split(b'\nbody ', 1)
    lines = head.split(b'\n')
    facts = dict(zip(*[iter(lines[5].decode().split(' '))] * 2))
    m = re.fullmatch(rb'(.*)\nend (\d+)\nopen 0 closed \d\n', rest, re.S)
    fields = [tuple(line.split(b': ', 1)) for line in lines[6:]]
    fields = [(k, v) for k, v in fields if k not in (b'transfer-encoding', b'content-length')]
    return (lines[0].split(b' ', 1)[1], lines[1].split(b' ', 1)[1], b'1.' + facts['minor'].encode(), fields,
            m[1], facts['keep'] == '1', int(m[2]))


def lenient(data, theirs):
    """What h11 refuses and we accept, each with its reason."""
    if data.startswith(b'\r\n'):
        return 'an empty line before a request'        # RFC 9112, 2.2: SHOULD ignore it
    return None


def probe(build, cases):
    sent = b''.join(struct.pack('=I', len(c)) + c for c in cases)
    out = subprocess.run([build + '/tests/serve/http1_probe'], input=sent, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    while at < len(out):
        n, = struct.unpack_from('=I', out, at)
        yield by_us(out[at + 4:at + 4 + n])
        at += 4 + n


def compare(case, ours, theirs):
    """A word for the counts; starts with '!' when it is wrong."""
    refused = [isinstance(x, str) and x.startswith('refused') for x in (ours, theirs)]
    if refused[0]:
        return 'refused by both' if refused[1] else 'refused by us alone'
    if refused[1]:
        why = lenient(case, theirs)
        # h11 looks at lines before the head is whole; we say the same when it is.
        return 'not over yet' if ours == 'open' else why or '!refused by h11 alone'
    if ours == 'open' or theirs == 'open':
        return 'not over yet' if ours == theirs else '!an end that one does not see'
    if theirs[5] is None:
        ours = ours[:5] + (None,) + ours[6:]
    return 'read alike' if ours == theirs else '!read differently'


def main(build, rounds=20000, seed=1):
    table = rows()
    short = [(v, c) for v, _, c in table if len(c) < 4000]
    seeds = [c for v, c in short if v == 'ok'], [c for _, c in short]
    r = random.Random(int(seed))
    cases = [c for _, _, c in table] + [mutant(r, seeds) for _ in range(int(rounds))]
    counts, shown, wrong = {}, 0, 0
    for case, ours in zip(cases, probe(build, cases)):
        theirs = by_h11(case)
        word = compare(case, ours, theirs)
        counts[word] = counts.get(word, 0) + 1
        wrong += word[0] == '!'
        if word[0] == '!' and shown < 10:
            shown += 1
            print('%s\n  bytes %r\n  we    %s\n  h11   %s' % (word[1:], case[:600], ours, theirs))
    print(', '.join('%d %s' % (n, w.strip('!')) for w, n in sorted(counts.items())))
    print('http1_h11 (h11 %s, seed %s): %d passed, %d failed' % (h11.__version__, seed, len(cases) - wrong, wrong))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
