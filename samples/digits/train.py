# SPDX-License-Identifier: Apache-2.0
"""Trains the sample's digits network and writes it with 20 images it has not seen.

  python3 train.py [OUTDIR]      needs numpy, scikit-learn, onnx; about half a minute

Network: 8x8 image / 16 -> conv 3x3 (1 -> 8) -> relu -> max pool 2 -> conv 3x3 (8 -> 16) -> relu
-> 256 -> 10.  Plain numpy: im2col convolutions, softmax cross-entropy, SGD with momentum.
Data: the handwritten digits of scikit-learn (UCI ML repository, 1797 images of 8x8).
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED, EPOCHS, BATCH, RATE, MOMENTUM, DECAY = 7, 60, 32, 0.05, 0.9, 1e-4


def columns(x):
    """[N, C, H, W] -> [N, H, W, C * 9]: the 3x3 neighbourhood of every pixel, zero-padded."""
    n, c, h, w = x.shape
    p = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [p[:, :, i:i + h, j:j + w] for i in range(3) for j in range(3)]
    return np.stack(taps, 2).reshape(n, c * 9, h, w).transpose(0, 2, 3, 1)


def scatter(g, shape):
    """Transpose of columns()."""
    n, c, h, w = shape
    g = g.transpose(0, 3, 1, 2).reshape(n, c, 9, h, w)
    p = np.zeros((n, c, h + 2, w + 2), np.float32)
    for t in range(9):
        p[:, :, t // 3:t // 3 + h, t % 3:t % 3 + w] += g[:, :, t]
    return p[:, :, 1:-1, 1:-1]


def forward(p, x):
    k1 = columns(x)
    a1 = np.maximum(k1 @ p["w1"] + p["b1"], 0).transpose(0, 3, 1, 2)
    n, c, h, w = a1.shape
    blocks = a1.reshape(n, c, h // 2, 2, w // 2, 2)
    m = blocks.max((3, 5))
    k2 = columns(m)
    a2 = np.maximum(k2 @ p["w2"] + p["b2"], 0).transpose(0, 3, 1, 2)
    f = a2.reshape(n, -1)
    return f @ p["w3"] + p["b3"], (k1, a1, blocks, m, k2, a2, f)


def gradients(p, x, y):
    logits, (k1, a1, blocks, m, k2, a2, f) = forward(p, x)
    e = np.exp(logits - logits.max(1, keepdims=True))
    d = e / e.sum(1, keepdims=True)
    loss = -np.log(d[np.arange(len(y)), y] + 1e-12).mean()
    d[np.arange(len(y)), y] -= 1
    d /= len(y)
    g = {"w3": f.T @ d, "b3": d.sum(0)}
    d2 = ((d @ p["w3"].T).reshape(a2.shape) * (a2 > 0)).transpose(0, 2, 3, 1)
    g["w2"] = k2.reshape(-1, k2.shape[-1]).T @ d2.reshape(-1, d2.shape[-1])
    g["b2"] = d2.sum((0, 1, 2))
    dm = scatter(d2 @ p["w2"].T, m.shape)
    first = blocks == m[:, :, :, None, :, None]
    d1 = (first * dm[:, :, :, None, :, None]).reshape(a1.shape)
    d1 = (d1 * (a1 > 0)).transpose(0, 2, 3, 1)
    g["w1"] = k1.reshape(-1, k1.shape[-1]).T @ d1.reshape(-1, d1.shape[-1])
    g["b1"] = d1.sum((0, 1, 2))
    return loss, g


def train(x, y, rng):
    scale = lambda i, o: (rng.standard_normal((i, o)) * np.sqrt(2 / i)).astype(np.float32)
    p = {"w1": scale(9, 8), "b1": np.zeros(8, np.float32), "w2": scale(72, 16),
         "b2": np.zeros(16, np.float32), "w3": scale(256, 10), "b3": np.zeros(10, np.float32)}
    v = {k: np.zeros_like(t) for k, t in p.items()}
    for epoch in range(EPOCHS):
        rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(x))
        for at in range(0, len(x), BATCH):
            pick = order[at:at + BATCH]
            _, g = gradients(p, x[pick], y[pick])
            for k in p:
                v[k] = MOMENTUM * v[k] - rate * (g[k] + DECAY * p[k])
                p[k] = (p[k] + v[k]).astype(np.float32)
    return p


def to_onnx(p):
    """w [C * 9, O] of columns() -> ONNX [O, C, 3, 3]."""
    conv = lambda w: w.T.reshape(w.shape[1], -1, 3, 3)
    init = {"w1": conv(p["w1"]), "b1": p["b1"], "w2": conv(p["w2"]), "b2": p["b2"],
            "w3": p["w3"], "b3": p["b3"]}
    node = helper.make_node
    nodes = [
        node("Mul", ["image", "sixteenth"], ["x"], name="scale"),
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("MaxPool", ["r1"], ["m1"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["m1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("Flatten", ["r2"], ["f"], name="flatten"),
        node("Gemm", ["f", "w3", "b3"], ["logits"], name="classify"),
        node("Softmax", ["logits"], ["probability"], name="softmax"),
    ]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(t, np.float32), k) for k, t in init.items()]
    tensors.append(numpy_helper.from_array(np.array(1 / 16, np.float32), "sixteenth"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])
    out = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "digits", [image], [out], tensors)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="samples/digits/train.py")
    m.ir_version = 8
    onnx.checker.check_model(m)
    return m


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    rng = np.random.default_rng(SEED)
    digits = load_digits()
    x, y = digits.images[:, None].astype(np.float32), digits.target
    order = rng.permutation(len(x))
    held, rest = order[:360], order[360:]
    p = train(x[rest] / 16, y[rest], rng)
    right = (forward(p, x[held] / 16)[0].argmax(1) == y[held]).mean()
    print(f"{right:.1%} of {len(held)} unseen images are read right")
    onnx.save(to_onnx(p), out / "digits.onnx")
    # Two images of each digit, from the held-out part.
    pick = np.concatenate([[i for i in held if y[i] == d][:2] for d in range(10)])
    np.save(out / "images.npy", x[pick])
    (out / "labels.txt").write_text(" ".join(str(v) for v in y[pick]) + "\n")


if __name__ == "__main__":
    main()
