# SPDX-License-Identifier: Apache-2.0
"""The sample's models, made with Python alone: a line and two convolutional networks with seeded weights.

  models.py make DIR              linear.onnx, linear2.onnx, cnn28.onnx, cnn32.onnx; of the networks NAME.call.json, a request, and
                                  NAME.want.json, what a plain loop computes from it
  models.py compare WANT ANSWER   the largest difference is below 1e-4
"""
import json, math, os, random, struct, sys

# ---- ONNX is protobuf: fields of a number, a kind, a value ----


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(n, v):
    if isinstance(v, int):
        return varint(n << 3) + varint(v)
    v = v.encode() if isinstance(v, str) else v
    return varint(n << 3 | 2) + varint(len(v)) + v


def value(name, dims):
    """A float32 tensor; a text among the extents is one that each request decides."""
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def weight(name, dims, floats):
    return (b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name) +
            field(9, struct.pack("<%df" % len(floats), *floats)))


def node(op, inputs, outputs, **ints):
    """An attribute is a list of whole numbers, or one."""
    more = b""
    for name, v in ints.items():
        kind, body = (2, field(3, v)) if isinstance(v, int) else (7, b"".join(field(8, i) for i in v))
        more += field(5, field(1, name) + body + field(20, kind))
    return b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) + field(4, op) + more


def model(nodes, inputs, outputs, weights):
    graph = (b"".join(field(1, n) for n in nodes) + field(2, "sample") + b"".join(field(5, w) for w in weights) +
             b"".join(field(11, i) for i in inputs) + b"".join(field(12, o) for o in outputs))
    return field(1, 8) + field(8, field(1, "") + field(2, 17)) + field(7, graph)


# ---- the models ----

def line(a=3.0, b=2.0):
    """y = a x + b"""
    return model([node("MatMul", ["x", "w"], ["wx"]), node("Add", ["wx", "b"], ["y"])], [value("x", ["n", 1])], [value("y", ["n", 1])],
                 [weight("w", [1, 1], [a]), weight("b", [1], [b])])


class Cnn:
    """Two 3x3 convolutions with Relu and 2x2 pooling, a dense layer, Softmax."""

    def __init__(self, size, channels, seed):
        self.size, self.channels = size, channels
        r = random.Random(seed)
        some = lambda n, fan: [struct.unpack("<f", struct.pack("<f", r.gauss(0, 1.0 / math.sqrt(fan))))[0] for _ in range(n)]
        self.w1, self.b1 = some(8 * channels * 9, channels * 9), some(8, 8)
        self.w2, self.b2 = some(16 * 8 * 9, 72), some(16, 16)
        self.left = ((size - 2) // 2 - 2) // 2
        n = 16 * self.left * self.left
        self.w3, self.b3 = some(10 * n, n), some(10, 10)
        self.image = [round(r.random(), 3) for _ in range(channels * size * size)]

    def onnx(self):
        c, s, n = self.channels, self.size, 16 * self.left * self.left
        pool = dict(kernel_shape=[2, 2], strides=[2, 2])
        nodes = [node("Conv", ["image", "w1", "b1"], ["c1"]), node("Relu", ["c1"], ["r1"]), node("MaxPool", ["r1"], ["p1"], **pool),
                 node("Conv", ["p1", "w2", "b2"], ["c2"]), node("Relu", ["c2"], ["r2"]), node("MaxPool", ["r2"], ["p2"], **pool),
                 node("Flatten", ["p2"], ["f"]), node("Gemm", ["f", "w3", "b3"], ["g"], transB=1), node("Softmax", ["g"], ["classes"])]
        weights = [weight("w1", [8, c, 3, 3], self.w1), weight("b1", [8], self.b1), weight("w2", [16, 8, 3, 3], self.w2),
                   weight("b2", [16], self.b2), weight("w3", [10, n], self.w3), weight("b3", [10], self.b3)]
        return model(nodes, [value("image", ["n", c, s, s])], [value("classes", ["n", 10])], weights)

    def run(self):
        """The same by plain loops."""
        x, s = self.image, self.size
        for w, b, c_in, c_out in ((self.w1, self.b1, self.channels, 8), (self.w2, self.b2, 8, 16)):
            x, s = layer(x, s, w, b, c_in, c_out)
        y = [b + sum(w * v for w, v in zip(self.w3[k * len(x):], x)) for k, b in enumerate(self.b3)]
        e = [math.exp(v - max(y)) for v in y]
        return [v / sum(e) for v in e]


def layer(x, s, w, b, c_in, c_out):
    t, h = s - 2, (s - 2) // 2
    out = []
    for o in range(c_out):
        conv = [max(0.0, b[o] + sum(w[((o * c_in + i) * 3 + u) * 3 + v] * x[(i * s + y + u) * s + z + v]
                                    for i in range(c_in) for u in range(3) for v in range(3))) for y in range(t) for z in range(t)]
        out += [max(conv[(2 * y + u) * t + 2 * z + v] for u in range(2) for v in range(2)) for y in range(h) for z in range(h)]
    return out, h


def nested(flat, dims):
    if len(dims) == 1:
        return flat
    n = len(flat) // dims[0]
    return [nested(flat[i * n:(i + 1) * n], dims[1:]) for i in range(dims[0])]


def make(folder):
    def put(name, data):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data if isinstance(data, bytes) else json.dumps(data).encode())
    put("linear.onnx", line())
    put("linear2.onnx", line(10.0, 0.0))
    for name, net in (("cnn28", Cnn(28, 1, 28)), ("cnn32", Cnn(32, 3, 32))):
        put(name + ".onnx", net.onnx())
        image = nested(net.image, [1, net.channels, net.size, net.size])
        put(name + ".call.json", {"name": name, "inputs": {"image": image}})
        put(name + ".want.json", {"outputs": {"classes": [net.run()]}})


def compare(want, answer):
    with open(want) as f, open(answer) as g:
        a, b = json.load(f)["outputs"]["classes"], json.load(g)["outputs"]["classes"]
    worst = max(abs(x - y) for p, q in zip(a, b) for x, y in zip(p, q))
    best = max(range(10), key=lambda k: b[0][k])
    print("class %d, probability %.3f; largest difference from the plain loop %.1e" % (best, b[0][best], worst))
    return 0 if len(a) == len(b) and len(a[0]) == len(b[0]) and worst < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(make(sys.argv[2]) if sys.argv[1] == "make" else compare(*sys.argv[2:]))
