EXTRA_DIST += \
	base/README.md \
	codegen/README.md \
	codegen/cpu/README.md \
	codegen/cuda/README.md \
	docs/design/README.md \
	include/README.md \
	tests/fuzz/README.md \
	tests/bench/README.md \
	tools/math_fit.py \
	docs/README.md \
	docs/style.md \
	docs/artifact.md \
	docs/debugging.md \
	docs/testing.md \
	docs/adding-an-op.md \
	docs/benchmarks.md \
	docs/embedding.md \
	docs/errors.md \
	docs/conformance.md \
	docs/conformance-misses.txt \
	tests/misses.py \
	tests/core_share.py \
	docs/design/decisions.md \
	docs/design/dynamic.md \
	docs/math.md \
	docs/ops.md \
	docs/writing-rules.md
