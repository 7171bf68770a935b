# SPDX-License-Identifier: Apache-2.0
"""flow_models.py BUILD [WORD]: If, Loop and Scan against onnxruntime: JIT, artifact and C text, optimised and naive.

Each case is a model in the text form of onnx and lists of input values, one list a run; one artifact serves all the
runs of a case; what onnxruntime refuses to run must be refused.  WORD: only cases whose name has it.  Values are seeded."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
from onnx import helper, numpy_helper

SEED = 20261127
build = pathlib.Path(sys.argv[1]).resolve()
tests = pathlib.Path(__file__).resolve().parent
word = sys.argv[2] if len(sys.argv) > 2 else ""
rng = np.random.default_rng(SEED)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
i = lambda v: np.array(v, np.int64)
b = lambda v: np.array(v, np.bool_)

# name, inputs and outputs, nodes, runs
CASES = [
    ("trip count", "(float[N] x, int64 n) => (float[N] y, float[K, N] s)", """
  c = Constant<value = bool {1}>()
  y, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[N] v) => (bool co, float[N] w, float[N] u) {
    co = Identity(ci)
    w = Add(v, x)
    u = Mul(w, v)
  }>""", [[f(4), i(3)], [f(4), i(0)], [f(7), i(1)], [f(1), i(9)], [f(3), i(-2)]]),
    ("no condition", "(float[N] x, int64 n) => (float[N] y)", """
  y = Loop(n, , x) <body = b (int64 t, bool ci, float[N] v) => (bool co, float[N] w) {
    co = Identity(ci)
    w = Add(v, x)
  }>""", [[f(4), i(3)], [f(4), i(0)]]),
    ("no trip count", "(float[N] x, bool c) => (float[N] y, int64[K] s)", """
  ten = Constant<value = float {10}>()
  y, s = Loop(, c, x) <body = b (int64 t, bool ci, float[N] v) => (bool co, float[N] w, int64 u) {
    w = Add(v, v)
    a = Abs(w)
    m = ReduceMax<keepdims = 0>(a)
    co = Less(m, ten)
    u = Identity(t)
  }>""", [[f(4), b(True)], [f(4), b(False)], [np.float32([100]), b(True)]]),
    ("neither", "(float[N] x) => (float[N] y)", """
  ten = Constant<value = float {10}>()
  y = Loop(, , x) <body = b (int64 t, bool ci, float[N] v) => (bool co, float[N] w) {
    w = Add(v, v)
    a = Abs(w)
    m = ReduceMax<keepdims = 0>(a)
    co = Less(m, ten)
  }>""", [[f(4)], [np.float32([100, 3])]]),
    ("both, break in the middle", "(float[N] x, int64 n, bool c) => (float[N] y, float[K, N] s, int64 k)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  ten = Constant<value = float {10}>()
  y, k, s = Loop(n, c, x, zero) <body = b (int64 t, bool ci, float[N] v, int64 p)
                                  => (bool co, float[N] w, int64 q, float[N] u) {
    w = Add(v, v)
    q = Add(p, one)
    u = Neg(v)
    a = Abs(w)
    m = ReduceMax<keepdims = 0>(a)
    co = Less(m, ten)
  }>""", [[f(4), i(2), b(True)], [f(4), i(50), b(True)], [f(4), i(50), b(False)], [f(4), i(0), b(True)]]),
    ("condition false in the model", "(float[N] x) => (float[N] y, float[K, N] s)", """
  c = Constant<value = bool {0}>()
  y, s = Loop(, c, x) <body = b (int64 t, bool ci, float[N] v) => (bool co, float[N] w, float[N] u) {
    co = Identity(ci)
    w = Add(v, x)
    u = Identity(w)
  }>""", [[f(4)]]),
    ("grows by concat", "(float[N] x, int64 n) => (float[M] y, float[K] s)", """
  c = Constant<value = bool {1}>()
  y, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[P] v) => (bool co, float[Q] w, float u) {
    co = Identity(ci)
    z = Neg(x)
    w = Concat<axis = 0>(v, z)
    u = ReduceSum<keepdims = 0>(w)
  }>""", [[f(4), i(3)], [f(2), i(0)], [f(1), i(40)], [f(3), i(1)]]),
    ("doubles", "(float[N] x, int64 n) => (float[M] y)", """
  c = Constant<value = bool {1}>()
  y = Loop(n, c, x) <body = b (int64 t, bool ci, float[P] v) => (bool co, float[Q] w) {
    co = Identity(ci)
    w = Concat<axis = 0>(v, v)
  }>""", [[f(3), i(5)], [f(3), i(0)]]),
    ("shrinks", "(float[N, 3] x, int64 n) => (float[M, 3] y, float[K, 3] s)", """
  c = Constant<value = bool {1}>()
  one = Constant<value = int64[1] {1}>()
  big = Constant<value = int64[1] {1000}>()
  y, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[P, 3] v) => (bool co, float[Q, 3] w, float[3] u) {
    co = Identity(ci)
    u = ReduceMean<axes = [0], keepdims = 0>(v)
    r = Slice(v, one, big)
    w = Tanh(r)
  }>""", [[f(6, 3), i(4)], [f(5, 3), i(0)]]),
    ("grows in two axes, columns", "(float[N, M] x, int64 n) => (float[A, B] y)", """
  c = Constant<value = bool {1}>()
  y = Loop(n, c, x) <body = b (int64 t, bool ci, float[P, Q] v) => (bool co, float[R, S] w) {
    co = Identity(ci)
    z = Concat<axis = 0>(v, v)
    zz = Sin(z)
    w = Concat<axis = 1>(zz, z)
  }>""", [[f(2, 3), i(3)], [f(2, 3), i(0)], [f(1, 1), i(1)]]),
    ("collects parts of changing size", "(int64 n) => (int64[M] y)", """
  c = Constant<value = bool {1}>()
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  none = Constant<value = int64[1] {-7}>()
  y = Loop(n, c, none) <body = b (int64 t, bool ci, int64[P] v) => (bool co, int64[Q] w) {
    co = Identity(ci)
    r = Range(zero, t, one)
    w = Concat<axis = 0>(v, r)
  }>""", [[i(4)], [i(0)], [i(9)]]),
    ("states change places", "(float[N] x, float[N] y, int64 n) => (float[N] a, float[N] b, float[K, N] s)", """
  a, b, s = Loop(n, , x, y) <body = b (int64 t, bool ci, float[N] v, float[N] w)
                              => (bool ci, float[N] w, float[N] v, float[N] v) { z = Identity(v) }>""",
     [[f(3), f(3), i(3)], [f(3), f(3), i(0)], [f(3), f(3), i(4)]]),
    ("three go round", "(float[N] x, float[N] y, float[N] z, int64 n) => (float[N] a, float[N] b, float[N] c)", """
  a, b, c = Loop(n, , x, y, z) <body = b (int64 t, bool ci, float[N] u, float[N] v, float[N] w)
                              => (bool ci, float[N] q, float[N] w, float[N] u) { q = Add(v, u) }>""",
     [[f(3), f(3), f(3), i(5)], [f(3), f(3), f(3), i(1)]]),
    ("fibonacci", "(int64 n) => (int64 a, int64[K] s)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  a, bb, s = Loop(n, , zero, one) <body = b (int64 t, bool ci, int64 u, int64 v)
                              => (bool ci, int64 v, int64 w, int64 w) { w = Add(u, v) }>""",
     [[i(12)], [i(0)]]),
    ("gives an outer value, twice", "(float[N] x, float[N] y, int64 n) => (float[N] a, float[K, N] s, float[L, N] r)", """
  a, s, r = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] y, float[N] y, float[N] y)
                              { q = Identity(u) }>""",
     [[f(3), f(3), i(3)], [f(3), f(3), i(0)]]),
    ("one result at three places", "(float[N] x, int64 n) => (float[N] a, float[N] b, float[K, N] s)", """
  a, b, s = Loop(n, , x, x) <body = b (int64 t, bool ci, float[N] u, float[N] v)
                              => (bool ci, float[N] q, float[N] q, float[N] q) { q = Sub(u, v)
  }>""", [[f(3), i(3)], [f(3), i(0)], [f(2), i(1)]]),
    ("carries a constant on", "(float[2] x, int64 n) => (float[2] a, float[K, 2] s)", """
  k = Constant<value = float[2] {5, 6}>()
  a, s = Loop(n, , x) <body = b (int64 t, bool ci, float[2] u) => (bool ci, float[2] k, float[2] q) { q = Add(u, k) }>""",
     [[f(2), i(3)], [f(2), i(0)]]),
    ("gives the iteration", "(int64 n) => (int64[K] s, bool[L] r)", """
  c = Constant<value = bool {1}>()
  s, r = Loop(n, c) <body = b (int64 t, bool ci) => (bool ci, int64 t, bool ci) { q = Identity(t) }>""",
     [[i(5)], [i(0)]]),
    ("only stacks, rows", "(float[N, 3] x) => (float[K, 3] s)", """
  sh = Shape<start = 0, end = 1>(x)
  z = Constant<value = int64[1] {0}>()
  n = Squeeze(sh, z)
  c = Constant<value = bool {1}>()
  s = Loop(n, c) <body = b (int64 t, bool ci) => (bool ci, float[3] r) {
    g = Gather<axis = 0>(x, t)
    r = Softmax<axis = 0>(g)
  }>""", [[f(4, 3)], [f(1, 3)]]),
    ("outer names at two levels", "(float[N] x, float[N] y, int64 n, int64 m) => (float[N] a, float[K, L, N] s)", """
  k = Exp(y)
  a, s = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q, float[J, N] r) {
    h = Add(u, y)
    q, r = Loop(m, , h) <body = bb (int64 t2, bool cj, float[N] v) => (bool cj, float[N] p, float[N] o) {
      p0 = Sub(v, k)
      p1 = Add(p0, u)
      p = Tanh(p1)
      o = Mul(p, x)
    }>
  }>""", [[f(3), f(3), i(3), i(2)], [f(3), f(3), i(2), i(1)]]),
    ("inner loop as often as the outer is far", "(float[N] x, int64 n) => (float[N] a, int64 total)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  a, total = Loop(n, , x, zero) <body = b (int64 t, bool ci, float[N] u, int64 z) => (bool ci, float[N] q, int64 zz) {
    q, zz = Loop(t, , u, z) <body = bb (int64 t2, bool cj, float[N] v, int64 y) => (bool cj, float[N] p, int64 yy) {
      p = Sin(v)
      yy = Add(y, one)
    }>
  }>""", [[f(3), i(4)], [f(3), i(0)], [f(3), i(1)]]),
    ("an inner value grows anew every time", "(float[N] x, int64 n, int64 m) => (float[N] a, float[K] s)", """
  zz = Constant<value = int64[1] {0}>()
  a, s = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q, float r) {
    tm = Add(t, m)
    g = Loop(tm, , u) <body = bb (int64 t2, bool cj, float[P] v) => (bool cj, float[Q] p) {
      p = Concat<axis = 0>(v, x)
    }>
    r = ReduceSum<keepdims = 0>(g)
    q = Add(u, r)
  }>""", [[f(3), i(4), i(2)], [f(3), i(3), i(0)], [f(3), i(0), i(0)]]),
    ("stacks parts that are sized inside", "(float[N] x, float k, int64 n) => (int64[K, M] s, float[N] a)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  c = Constant<value = bool {1}>()
  fzero = Constant<value = float {0}>()
  a, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] v, int64[L] r) {
    m0 = ReduceSum<keepdims = 0>(u)
    m1 = Mul(m0, fzero)
    m = Add(m1, k)
    i0 = Cast<to = 7>(m)
    more = Range(zero, i0, one)
    add = ReduceSum<keepdims = 0>(more)
    fadd = Cast<to = 1>(add)
    v = Add(u, fadd)
    r0 = Range(zero, i0, one)
    r1 = Add(r0, t)
    r = Neg(r1)
  }>""", [[f(3), np.float32(4), i(3)], [f(3), np.float32(300), i(20)], [f(3), np.float32(0), i(2)],
          [f(3), np.float32(2), i(0)]]),
    ("stacks parts that are sized inside, until a break", "(float[N] x, float k, int64 n) => (int64[K, M] s, float[N] a)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  c = Constant<value = bool {1}>()
  fzero = Constant<value = float {0}>()
  fone = Constant<value = float {1}>()
  top = Constant<value = float {6}>()
  a, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[N] u) => (bool co, float[N] v, int64[L] r) {
    m0 = ReduceSum<keepdims = 0>(u)
    m1 = Mul(m0, fzero)
    m = Add(m1, k)
    i0 = Cast<to = 7>(m)
    r0 = Range(zero, i0, one)
    r1 = Add(r0, t)
    r = Neg(r1)
    v = Add(u, fone)
    b0 = ReduceMax<keepdims = 0>(v)
    co = Less(b0, top)
  }>""", [[f(3), np.float32(4), i(3)], [f(3), np.float32(300), i(20)], [f(3), np.float32(0), i(2)],
          [f(3), np.float32(2), i(0)], [f(3) + 10, np.float32(70), i(9)]]),
    ("grown parts in a grown loop", "(float[N] x, int64 n, int64 k) => (float[M] y, float[J] z)", """
  c = Constant<value = bool {1}>()
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  y, z = Loop(n, c, x, x) <body = b (int64 t, bool ci, float[P] u, float[R] p) => (bool ci, float[Q] v, float[S] w) {
    h = Concat<axis = 0>(u, p)
    g = Loop(t, c, h) <body = bb (int64 t2, bool cj, float[P] e) => (bool cj, float[Q] d) {
      ri = Range(zero, k, one)
      r = Cast<to = 1>(ri)
      rs = Sin(e)
      d = Concat<axis = 0>(rs, r)
    }>
    s = ReduceSum<keepdims = 0>(g)
    v0 = Concat<axis = 0>(u, x)
    v = Add(v0, s)
    w0 = Concat<axis = 0>(p, p)
    w = Tanh(w0)
  }>""", [[f(3), i(3), i(4)], [f(2), i(5), i(0)], [f(2), i(0), i(5)]]),
    ("stacks what it carries, before it grows", "(float[N] x, int64 n) => (float[M] y, float[K, L] s)", """
  c = Constant<value = bool {1}>()
  y, s = Loop(n, c, x) <body = b (int64 t, bool ci, float[P] v) => (bool ci, float[Q] w, float[P] u) {
    w = Concat<axis = 0>(v, v)
    u = Neg(v)
  }>""", [[f(4), i(1)], [f(4), i(0)], [f(4), i(3)]]),
    ("changes its size once", "(float[N] x, float[M] z, int64 n) => (float[K] y)", """
  c = Constant<value = bool {1}>()
  y = Loop(n, c, x) <body = b (int64 t, bool ci, float[P] v) => (bool ci, float[M] w) {
    s = ReduceSum<keepdims = 0>(v)
    w = Add(z, s)
  }>""", [[f(4), f(2), i(3)], [f(4), f(7), i(2)], [f(4), f(7), i(0)]]),
    ("If on data", "(float[N] x, bool c) => (float[N] y)", """
  y = If(c) <then_branch = g1 () => (float[N] a) { a = Add(x, x) },
             else_branch = g2 () => (float[N] a) { a = Neg(x) }>""", [[f(4), b(True)], [f(4), b(False)]]),
    ("If: outer values, constants, twice", "(float[2] x, float[2] y, bool c) => (float[2] p, float[2] q, float[2] r)", """
  k = Constant<value = float[2] {5, 6}>()
  p, q, r = If(c) <then_branch = g1 () => (float[2] x, float[2] x, float[2] k) { z = Identity(x) },
                   else_branch = g2 () => (float[2] y, float[2] z, float[2] z) { z = Add(y, k) }>""",
     [[f(2), f(2), b(True)], [f(2), f(2), b(False)]]),
    ("If: sizes differ", "(float[N] x, bool c) => (float[M] y, float[M] z)", """
  y = If(c) <then_branch = g1 () => (float[P] a) { a = Concat<axis = 0>(x, x) },
             else_branch = g2 () => (float[Q] a) { a = Neg(x) }>
  z = Exp(y)""", [[f(4), b(True)], [f(4), b(False)], [f(2), b(True)]]),
    ("If: sizes differ, not used further", "(float[N] x, bool c) => (float[M] y)", """
  y = If(c) <then_branch = g1 () => (float[P] a) { a = Concat<axis = 0>(x, x) },
             else_branch = g2 () => (float[Q] x) { a = Neg(x) }>""", [[f(4), b(True)], [f(4), b(False)]]),
    ("If in Loop in If", "(float[N] x, bool c, int64 n) => (float[N] y)", """
  two = Constant<value = int64 {2}>()
  zero = Constant<value = int64 {0}>()
  y = If(c) <then_branch = g1 () => (float[N] a) {
    h = Neg(x)
    a = Loop(n, , h) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q) {
      m = Mod(t, two)
      odd = Greater(m, zero)
      q = If(odd) <then_branch = g3 () => (float[N] d) { d = Add(u, x) },
                   else_branch = g4 () => (float[N] d) { e = Mul(u, h)
        d = Sub(e, x) }>
    }>
  }, else_branch = g2 () => (float[N] x) { z = Identity(x) }>""",
     [[f(4), b(True), i(3)], [f(4), b(False), i(3)], [f(4), b(True), i(0)]]),
    ("If grows in Loop", "(float[N] x, int64 n) => (float[M] y)", """
  two = Constant<value = int64 {2}>()
  zero = Constant<value = int64 {0}>()
  y = Loop(n, , x) <body = b (int64 t, bool ci, float[P] u) => (bool ci, float[Q] q) {
    m = Mod(t, two)
    odd = Greater(m, zero)
    q = If(odd) <then_branch = g3 () => (float[R] d) { d = Concat<axis = 0>(u, x) },
                 else_branch = g4 () => (float[S] d) { d = Neg(u) }>
  }>""", [[f(4), i(3)], [f(4), i(0)], [f(2), i(9)]]),
    ("Loop in Scan", "(float[S, N] x, int64 n, float[N] h) => (float[N] y, float[S, N] z)", """
  y, z = Scan<num_scan_inputs = 1, body = b (float[N] u, float[N] p) => (float[N] v, float[N] w) {
    a = Loop(n, , p) <body = bb (int64 t, bool ci, float[N] c) => (bool ci, float[N] d) {
      e = Add(c, u)
      d = Sin(e)
    }>
    v = Add(a, u)
    w = Sub(a, u)
  }>(h, x)""", [[f(4, 3), i(2), f(3)], [f(1, 3), i(0), f(3)], [f(7, 2), i(3), f(2)]]),
    ("Scan: axes and directions", "(float[2, S, 3] x, float[S, 4] y, float[2, 3] h)"
     " => (float[2, 3] a, float[2, S, 3] p, float[4, S] q)", """
  a, p, q = Scan<num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [1, 0],
                 scan_output_axes = [1, -1], scan_output_directions = [0, 1],
                 body = b (float[2, 3] u, float[2, 3] s, float[4] t) => (float[2, 3] v, float[2, 3] o, float[4] r) {
    v = Add(u, s)
    o = Tanh(v)
    r = Mul(t, t)
  }>(h, x, y)""", [[f(2, 5, 3), f(5, 4), f(2, 3)], [f(2, 1, 3), f(1, 4), f(2, 3)]]),
    ("Scan: hands on what it gets", "(float[S, 3] x, float[3] h) => (float[3] a, float[S, 3] p, float[S, 3] q)", """
  a, p, q = Scan<num_scan_inputs = 1, body = b (float[3] u, float[3] s) => (float[3] s, float[3] u, float[3] s) {
    z = Identity(u)
  }>(h, x)""", [[f(5, 3), f(3)], [f(1, 3), f(3)]]),
    ("Scan without state", "(float[S, 3] x) => (float[S] p)", """
  p = Scan<num_scan_inputs = 1, body = b (float[3] s) => (float r) { r = ReduceSum<keepdims = 0>(s) }>(x)""",
     [[f(5, 3)], [f(2, 3)]]),
    ("matrix product in a loop", "(float[N, 3] x, float[3, 3] w, int64 n) => (float[N, 3] y, float[K, N, 3] s)", """
  wt = Transpose<perm = [1, 0]>(w)
  y, s = Loop(n, , x) <body = b (int64 t, bool ci, float[N, 3] u) => (bool ci, float[N, 3] q, float[N, 3] r) {
    m = MatMul(u, wt)
    q = Tanh(m)
    r = Softmax<axis = 1>(q)
  }>""", [[f(2, 3), f(3, 3), i(3)], [f(5, 3), f(3, 3), i(1)], [f(5, 3), f(3, 3), i(0)]]),
    ("weights in a loop", "(float[N, 3] x, int64 n) => (float[N, 3] y)", """
  w = Constant<value = float[3, 3] {1, 2, 3, 4, 5, 6, 7, 8, -9}>()
  k = Constant<value = float {0.05}>()
  wt = Transpose<perm = [1, 0]>(w)
  y = Loop(n, , x) <body = b (int64 t, bool ci, float[N, 3] u) => (bool ci, float[N, 3] q) {
    w2 = Mul(wt, k)
    m = MatMul(u, w2)
    q = Relu(m)
  }>""", [[f(2, 3), i(3)], [f(5, 3), i(1)]]),
    ("convolution in a loop", "(float[1, 4, 8, 8] x, float[4, 4, 3, 3] w, int64 n) => (float[1, 4, 8, 8] y)", """
  y = Loop(n, , x) <body = b (int64 t, bool ci, float[1, 4, 8, 8] u) => (bool ci, float[1, 4, 8, 8] q) {
    m = Conv<pads = [1, 1, 1, 1], kernel_shape = [3, 3]>(u, w)
    a = Tanh(m)
    q = Conv<pads = [1, 1, 1, 1], kernel_shape = [3, 3]>(a, w)
  }>""", [[f(1, 4, 8, 8), f(4, 4, 3, 3), i(2)], [f(1, 4, 8, 8), f(4, 4, 3, 3), i(0)]]),
    ("results used further", "(float[N] x, int64 n) => (float[M] y, float[A, B] z, float[C] r)", """
  flat = Constant<value = int64[1] {-1}>()
  a, s = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q, float[N] o) {
    q = Sin(u)
    o = Cos(u)
  }>
  y = Concat<axis = 0>(a, x, a)
  z = Transpose<perm = [1, 0]>(s)
  r = Reshape(s, flat)""", [[f(4), i(3)], [f(1), i(2)]]),
    ("one loop after the other", "(float[N] x, int64 n) => (float[M] y, float[L] z)", """
  a = Loop(n, , x) <body = b (int64 t, bool ci, float[P] u) => (bool ci, float[Q] q) { q = Concat<axis = 0>(u, x) }>
  y = Loop(n, , a) <body = b2 (int64 t, bool ci, float[P] u) => (bool ci, float[Q] q) {
    o = Sin(u)
    q = Concat<axis = 0>(o, x)
  }>
  z = Neg(a)""", [[f(4), i(3)], [f(2), i(0)], [f(1), i(5)]]),
    ("a result is an output twice", "(float[N] x, int64 n) => (float[N] y, float[N] z)", """
  y = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q) { q = Sin(u) }>
  z = Identity(y)""", [[f(4), i(3)]]),
    ("a result that no one wants", "(float[N] x, int64 n) => (float[K, N] s)", """
  y, s, r = Loop(n, , x) <body = b (int64 t, bool ci, float[N] u) => (bool ci, float[N] q, float[N] o, float[N] p) {
    q = Sin(u)
    o = Exp(u)
    p = Neg(o)
  }>""", [[f(4), i(3)]]),
    ("sizes from a carried number", "(int64 n) => (int64[K] s)", """
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  k, s = Loop(n, , one) <body = b (int64 t, bool ci, int64 u) => (bool ci, int64 w, int64 o) {
    r = Range(zero, u, one)
    o = ReduceSum<keepdims = 0>(r)
    w = Add(u, u)
  }>""", [[i(5)], [i(0)], [i(1)]]),
    ("stops when it holds enough", "(float[N] x) => (float[M] y, int64[K] s)", """
  big = Constant<value = int64 {20}>()
  z0 = Constant<value = int64[1] {0}>()
  y, s = Loop(, , x) <body = b (int64 t, bool ci, float[P] u) => (bool co, float[Q] q, int64 n) {
    q = Concat<axis = 0>(u, x)
    sh = Shape(q)
    n = Squeeze(sh, z0)
    co = Less(n, big)
  }>""", [[f(4)], [f(30)], [f(1)]]),
    ("types", "(double[N] x, float16[2] h, uint8[N] u, bool[N] p, int64 n)"
     " => (double[N] a, float16[2] g, uint8[N] v, bool[N] q, float16[K, 2] s)", """
  a, g, v, q, s = Loop(n, , x, h, u, p) <body = b (int64 t, bool ci, double[N] a0, float16[2] g0, uint8[N] v0, bool[N] q0)
         => (bool ci, double[N] a1, float16[2] g1, uint8[N] v1, bool[N] q1, float16[2] s1) {
    a1 = Mul(a0, x)
    g1 = Add(g0, h)
    v1 = Add(v0, u)
    q1 = Not(q0)
    s1 = Neg(g1)
  }>""", [[rng.standard_normal(3), f(2).astype(np.float16), np.uint8([200, 7, 100]), b([1, 0, 1]), i(k)] for k in (3, 0)]),
    ("trip count of one element, rank 1", "(float[N] x, int64[1] n) => (float[N] y)", """
  c = Constant<value = bool[1] {1}>()
  y = Loop(n, c, x) <body = b (int64[1] t, bool[1] ci, float[N] v) => (bool[1] co, float[N] w) {
    co = Identity(ci)
    g = Cast<to = 1>(t)
    w = Add(v, g)
  }>""", [[f(4), i([3])], [f(4), i([0])]]),
    ("steps of an LSTM decided by the input", "(float[S, 2, 3] x) => (float[S, 1, 2, 4] y, float[1, 2, 4] h)", """
  w = ConstantOfShape<value = float[1] {0.3}>(ws)
  r = ConstantOfShape<value = float[1] {-0.2}>(rs)
  y, h = LSTM<hidden_size = 4>(x, w, r)""", [[f(5, 2, 3)], [f(1, 2, 3)], [f(17, 2, 3)]],
     "int64[3] ws = {1, 16, 3}, int64[3] rs = {1, 16, 4}"),
    ("a GRU both ways with lengths", "(float[S, 2, 3] x, int32[2] n) => (float[S, 2, 2, 4] y, float[2, 2, 4] h)", """
  w = ConstantOfShape<value = float[1] {0.3}>(ws)
  r = ConstantOfShape<value = float[1] {-0.2}>(rs)
  y, h = GRU<hidden_size = 4, direction = "bidirectional">(x, w, r, , n)""",
     [[f(6, 2, 3), np.int32([6, 3])], [f(9, 2, 3), np.int32([1, 9])]], "int64[3] ws = {2, 12, 3}, int64[3] rs = {2, 12, 4}"),
    ("an LSTM both ways with lengths, states and peepholes",
     "(float[S, 2, 3] x, float[2, 16, 3] w, float[2, 16, 4] r, float[2, 32] b, int32[2] n, float[2, 2, 4] h0,"
     " float[2, 2, 4] c0, float[2, 12] p) => (float[S, 2, 2, 4] y, float[2, 2, 4] h, float[2, 2, 4] c)",
     """
  y, h, c = LSTM<hidden_size = 4, direction = "bidirectional">(x, w, r, b, n, h0, c0, p)""",
     [[f(s, 2, 3), f(2, 16, 3), f(2, 16, 4), f(2, 32), np.int32(n), f(2, 2, 4), f(2, 2, 4), f(2, 12)]
      for s, n in ((7, [7, 2]), (12, [5, 12]))]),
    ("a GRU both ways, its reset late", "(float[S, 3, 3] x, float[2, 12, 3] w, float[2, 12, 4] r, float[2, 24] b)"
     " => (float[S, 2, 3, 4] y, float[2, 3, 4] h)", """
  y, h = GRU<hidden_size = 4, direction = "bidirectional", linear_before_reset = 1>(x, w, r, b)""",
     [[f(8, 3, 3), f(2, 12, 3), f(2, 12, 4), f(2, 24)]]),
    ("an RNN both ways, its steps written out", "(float[3, 2, 3] x, float[2, 4, 3] w, float[2, 4, 4] r, int32[2] n)"
     " => (float[3, 2, 2, 4] y, float[2, 2, 4] h)", """
  y, h = RNN<hidden_size = 4, direction = "bidirectional">(x, w, r, , n)""",
     [[f(3, 2, 3), f(2, 4, 3), f(2, 4, 4), np.int32([1, 3])]]),
    ("an RNN whose ways have other activations", "(float[S, 2, 3] x, float[2, 4, 3] w, float[2, 4, 4] r, int32[2] n)"
     " => (float[S, 2, 2, 4] y, float[2, 2, 4] h)", """
  y, h = RNN<hidden_size = 4, direction = "bidirectional", activations = ["Tanh", "Relu"]>(x, w, r, , n)""",
     [[f(6, 2, 3), f(2, 4, 3), f(2, 4, 4), np.int32([4, 6])]]),
]


def with_identities(graph, inner=False):
    """onnxruntime refuses bodies that give an outer value, or one value twice: each result gets a node of its own."""
    for n in graph.node:
        for a in n.attribute:
            if a.HasField("g"):
                with_identities(a.g, True)
    for k, o in enumerate(graph.output if inner else ()):
        graph.node.append(helper.make_node("Identity", [o.name], [f"{graph.name}_{k}"]))
        o.name = f"{graph.name}_{k}"


def reference(model, feeds):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    with_identities(model.graph)
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    o.log_severity_level = 4
    s = ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])
    wants = []
    for feed in feeds:
        try:
            wants.append(s.run(None, feed))
        except Exception:
            wants.append(None)     # to be refused in words
    return wants


def differs(got, want):
    want = np.asarray(want)
    if got.shape[:1] == want.shape[:1] == (0,) and got.ndim == want.ndim and got.dtype == want.dtype:
        return ""                  # a loop that never ran: the other extents are not told by the standard
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape} for {want.dtype}{want.shape}"
    exact = got.dtype.kind in "iub"
    tolerance = 4e-3 if got.dtype == np.float16 else 1e-4
    ok = np.array_equal(got, want) if exact else np.allclose(got, want, rtol=tolerance, atol=tolerance)
    return "" if ok else f"{got.ravel()[:8]} for {want.ravel()[:8]}"


def call(words):
    try:
        r = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return 124, "no answer in 120 s"
    return r.returncode, " ".join(r.stderr.split())[:300]


def results(d, want):
    why = ""
    for k, w in enumerate(want):
        t = onnx.TensorProto()
        path = d / f"output_{k}.pb"
        t.ParseFromString(path.read_bytes())
        path.unlink()
        text = differs(numpy_helper.to_array(t), w)
        why = why or (f"output {k}: {text}" if text else "")
    return why


def run(words, d, want):
    rc, text = call([*words, "--output-dir", d])
    if want is None:
        return "" if 0 < rc < 124 and text else f"exit {rc}, and a refusal was expected: {text}"
    return f"exit {rc}: {text}" if rc else results(d, want)


def ways(d, files, wants, flags):
    """What is wrong, for each way and run."""
    for inputs, want in zip(files, wants):
        yield "run", run([build / "cab", "run", d / "m.onnx", *inputs, *flags], d, want)
    rc, text = call([build / "cab", "compile", d / "m.onnx", "-o", d / "m.cab", *flags])
    yield "compile", f"exit {rc}: {text}" if rc else ""
    for inputs, want in zip(files, wants) if not rc else ():
        yield "artifact", run([build / "cab-rt", d / "m.cab", *inputs], d, want)


def c_text(d, files, wants, flags):
    """The C form, strictly compiled; it has none for sizes that data decides, and says so."""
    server = [sys.executable, tests / "emit_c_run.py", build, f"--flags={' '.join(flags)}"]
    for inputs, want in zip(files, wants):
        line = "\t".join(map(str, [d / "m.onnx", d, *(x.split("=")[1] for x in inputs[1::2])]))
        p = subprocess.run(server, input=line + "\n", capture_output=True, text=True, timeout=300)
        answer = p.stdout.strip()
        if answer.startswith("unsupported") and "size is decided by data" in answer:
            yield "C text", ""
        elif want is None:
            yield "C text", "" if answer.startswith("error: exit 1") else answer
        else:
            yield "C text", results(d, want) if answer == "ok" else answer + p.stderr[-200:]
        if not answer.startswith("ok"):
            return


def write_inputs(d, feeds):
    files = []
    for n, feed in enumerate(feeds):
        files.append([])
        for name, v in feed.items():
            np.save(d / f"{n}_{name}.npy", v)
            files[-1] += ["--input", f"{name}={d / f'{n}_{name}.npy'}"]
    return files


passed = failed = 0
for name, signature, nodes, runs, *init in CASES:
    if word not in name:
        continue
    more = f"<{init[0]}>" if init else ""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]>\ng {signature} {more} {{{nodes}\n}}')
    feeds = [dict(zip([x.name for x in model.graph.input], map(np.asarray, values))) for values in runs]
    wants = reference(model, feeds)
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        onnx.save(model, d / "m.onnx")
        files = write_inputs(d, feeds)
        for flags in ([], ["--naive"]):
            for n, (way, why) in enumerate([*ways(d, files, wants, flags), *(c_text(d, files, wants, flags) if not flags else ())]):
                passed, failed = passed + (not why), failed + bool(why)
                if why:
                    print(f"FAILED: {name}, {way} {n} {' '.join(flags)}: {why}")
print(f"seed {SEED}; If, Loop and Scan: {passed} passed, {failed} failed")
sys.exit(bool(failed))
