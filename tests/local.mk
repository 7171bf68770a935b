# One line per test program; all may use every floor of the house.
unit_tests = \
	tests/test_base \
	tests/test_dim \
	tests/test_ir \
	tests/test_eval \
	tests/test_spec \
	tests/test_frontend \
	tests/test_frontend_hostile \
	tests/test_tensor_io \
	tests/test_rules \
	tests/test_lower \
	tests/test_kir \
	tests/test_math \
	tests/test_cuda \
	tests/test_gen \
	tests/test_llvm \
	tests/test_tiles \
	tests/test_runtime \
	tests/test_session_flow \
	tests/test_artifact \
	tests/test_state \
	tests/test_mdwe \
	tests/test_custom \
	tests/test_libcab \
	tests/test_sizes \
	tests/test_band \
	tests/test_costs \
	tests/test_tune
check_PROGRAMS += $(unit_tests) tests/test_text tests/test_passes
TESTS += $(unit_tests) tests/golden-text.sh tests/golden-passes.sh tests/golden-docs.sh tests/golden-helpers.sh tests/check-abi.sh \
	tests/check-custom.sh tests/check-profile.sh tests/check-gates.sh tests/check-tune.sh
check_PROGRAMS += tests/abi_layout
tests_abi_layout_CPPFLAGS = -I$(top_srcdir)/include
tests_abi_layout_LDADD =
# What a program links when it does not say; its source is PROGRAM.c likewise.
LDADD = $(compiler_ldadd)

tests_test_base_SOURCES = tests/test_base.c tests/test.h
tests_test_frontend_SOURCES = tests/test_frontend.c tests/wire.h
tests_test_custom_SOURCES = tests/test_custom.c tests/wire.h tests/swirl.c
tests_test_runtime_SOURCES = tests/test_runtime.c tests/artifact_kit.h tests/plan_kit.h
tests_test_session_flow_SOURCES = tests/test_session_flow.c tests/artifact_kit.h tests/plan_kit.h
tests_test_libcab_SOURCES = tests/test_libcab.c tests/test.h tests/open_files.h tests/wire.h
tests_test_artifact_SOURCES = tests/test_artifact.c tests/compile_kit.h
tests_test_state_SOURCES = tests/test_state.c tests/compile_kit.h
tests_test_sizes_SOURCES = tests/test_sizes.c tests/test.h tests/wire.h
tests_test_costs_SOURCES = tests/test_costs.c tests/compile_kit.h tests/artifact_kit.h tools/costs.c tools/costs.h
tests_test_kir_SOURCES = tests/test_kir.c tests/kir_host.h
tests_test_gen_SOURCES = tests/test_gen.c tests/kernel_run.h
tests_test_llvm_SOURCES = tests/test_llvm.c tests/kernel_run.h
tests_test_tiles_SOURCES = tests/test_tiles.c tests/bench/layer.c tests/bench/layer.h

# Measurements: built by hand, `make tests/bench/bench_kernels`.
EXTRA_PROGRAMS = tests/bench/bench_nest tests/bench/import_model tests/eval_suite \
	tests/bench/bench_kernels tests/bench/rt_figures tests/bench/bench_dynamic tests/bench/decode_state \
	tests/bench/bench_http1 \
	tests/bench/bench_json \
	tests/bench/sched_cost
tests_bench_bench_kernels_SOURCES = tests/bench/bench_kernels.c tests/bench/layer.c tests/bench/layer.h \
	tests/bench/peers.c tests/bench/peers.h tools/peak.c tools/peak.h
tests_bench_bench_kernels_LDADD = $(compiler_ldadd) -ldl
tests_bench_bench_dynamic_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE -I$(top_srcdir)/include
tests_bench_rt_figures_CPPFLAGS = -D_GNU_SOURCE -I$(top_srcdir)/include
tests_bench_rt_figures_LDADD = libcabrt.a -lpthread -lm
tests_bench_decode_state_CPPFLAGS = $(tests_bench_rt_figures_CPPFLAGS)
tests_bench_decode_state_LDADD = $(tests_bench_rt_figures_LDADD)
tests_bench_sched_cost_LDADD = libserve.a libcabrt.a -lpthread -lm
CLEANFILES += $(EXTRA_PROGRAMS)

EXTRA_DIST += \
	tests/README.md \
	tests/bench/dynamic.py \
	tests/bench/kernels.py \
	tests/bench/ratio.py \
	tests/golden-text.sh \
	tests/golden-passes.sh \
	tests/golden-docs.sh \
	tests/golden-helpers.sh \
	tests/check-abi.sh \
	tests/abi.expected \
	tests/helpers.expected \
	tests/check-kit.sh \
	tests/check-custom.sh \
	tests/check-profile.sh \
	tests/check-gates.sh \
	tests/check-tune.sh \
	tests/check-models.sh \
	tests/check-samples.sh \
	tests/check-corpus.sh \
	tests/smollm2_greedy.py \
	tests/carried_state.py \
	tests/check-rt-symbols.sh \
	tests/check-sample.sh \
	tests/check-shared.sh \
	tests/check-shared-asan.sh \
	tests/compile-and-run.sh \
	tests/check-artifact.sh \
	tests/artifact_run.py \
	tests/lower_level.py \
	tests/kill-cache.sh \
	tests/kill-artifact.sh \
	tests/warm_start.py \
	tests/compile_memory.py \
	tests/minilm_lengths.py \
	tests/bad_calls.py \
	tests/emit_c_driver.c \
	tests/emit_c_run.py \
	tests/strip_shapes.py \
	tests/late_sizes.py \
	tests/c-text-misses.txt \
	tests/flow_models.py \
	tests/ms_ops.py \
	tests/seq_models.py \
	tests/tables.py \
	tests/turned.py \
	tests/onnx_kit.py \
	tests/windows.py \
	tests/winograd.py \
	tests/ratchet-optimised.txt \
	tests/ratchet-naive.txt \
	tests/ir \
	tests/verify \
	tests/passes \
	tests/lower \
	tests/kir

# Rewrites the lists of official node tests that pass, from a run of the whole suite.
CAB_SHARED ?= $(top_srcdir)/../shared
cab_cache = $${XDG_CACHE_HOME:-$$HOME/.cache}/cabochon
ratchet: cab
	for n in optimised naive; do \
		flag=; test $$n = naive && flag=--naive; \
		$(cab_cache)/corpus/.venv/bin/python $(CAB_SHARED)/conformance/run_node_tests.py \
			$(cab_cache)/suite-1.23.2/node --server --cmd "./cab run --lines $$flag" -j2 \
			--write-ratchet $(srcdir)/tests/ratchet-$$n.txt | tail -1; \
	done
# Times beside onnxruntime, interleaved (make bench MODELS=a,b): docs/benchmarks.md.
MODELS = digits_cnn,minilm_l3,resnet50
bench: cab
	$(cab_cache)/corpus/.venv/bin/python $(CAB_SHARED)/peers/bench.py --corpus $(cab_cache)/corpus \
		--out bench.json --peers ort --threads 1,2 --models $(MODELS) \
		--cmd cabochon='./cab bench --worker --threads {threads}' \
		--cmd naive='./cab bench --worker --naive --threads {threads}'
# The same some times over, and a verdict: the ratio to the fastest peer of every model, its 95 % bound
# (make bench-ratio RUNS=5 PEERS=ort,openvino PEER_PY=... OLD=ratio-before.json).
RUNS = 5
PEERS = ort
PEER_PY = $(cab_cache)/corpus/.venv/bin/python
CORPUS = $(cab_cache)/corpus
THREADS = 1,2
bench-ratio: cab
	for i in $$(seq $(RUNS)); do \
		$(cab_cache)/corpus/.venv/bin/python $(CAB_SHARED)/peers/bench.py --corpus $(CORPUS) \
			--out bench-run$$i.json --peers $(PEERS) --python "*=$(PEER_PY)" --threads $(THREADS) --rounds 3 \
			--models $(MODELS) --cmd cabochon='./cab bench --worker --threads {threads}' || exit 1; \
	done
	python3 $(srcdir)/tests/bench/ratio.py $$(seq -f 'bench-run%g.json' $(RUNS)) --json ratio.json \
		$(if $(OLD),--old $(OLD))
# Models exported from torch, likewise; fetches 3 GB the first time.
FULL = tv_mobilenet_v2,tv_efficientnet_b0,tv_convnext_tiny,tv_vit_b_16,bert_base,gpt2_small,lstm_lm,whisper_tiny_enc
bench-full: cab
	python3 $(CAB_SHARED)/models/fetch.py --set full --out $(cab_cache)/corpus-full
	$(MAKE) bench-ratio CORPUS=$(cab_cache)/corpus-full THREADS=1 MODELS=$(FULL)
# Kernels against the peaks of the machine (make bench-kernels COMPARE=before.json ALLOW=0.9 WHAT="gemm winograd"),
# and beside MKL, oneDNN and OpenBLAS: docs/benchmarks.md.
ALLOW = 0.9
bench-kernels: tests/bench/bench_kernels
	python3 $(srcdir)/tests/bench/kernels.py tests/bench/bench_kernels --json bench-kernels.json \
		$(if $(COMPARE),--compare $(COMPARE) --allow $(ALLOW)) $(WHAT)
bench-peers: tests/bench/bench_kernels
	python3 $(srcdir)/tests/bench/kernels.py tests/bench/bench_kernels --json bench-peers.json --install --peers \
		--targets $(WHAT)
# One symbolic artifact at many sizes, beside compilations for one size: docs/benchmarks.md.
bench-dynamic: tests/bench/bench_dynamic
	$(cab_cache)/corpus/.venv/bin/python $(srcdir)/tests/bench/dynamic.py tests/bench/bench_dynamic \
		$(cab_cache)/corpus . $(WHAT)
# Every model of the corpus, all data sets, optimised and naive.
corpus: cab cab-rt
	sh $(srcdir)/tests/check-corpus.sh . $(CAB_SHARED) $(cab_cache)/corpus
# Every node test through its C text, compiled by cc; it has no form yet for sizes of the run.
emit-c-conformance: cab libcabrt.a tools/rt_tensor.o
	grep -Fvxf $(srcdir)/tests/c-text-misses.txt $(srcdir)/tests/ratchet-optimised.txt >emit-c-expected.txt
	$(cab_cache)/corpus/.venv/bin/python $(CAB_SHARED)/conformance/run_node_tests.py \
		$(cab_cache)/suite-1.23.2/node --server --cmd 'python3 $(srcdir)/tests/emit_c_run.py .' -j2 \
		--timeout 120 --list-failures --expect emit-c-expected.txt
# Every node test through its artifact: cab compile, cab-rt.
artifact-conformance: cab cab-rt
	$(cab_cache)/corpus/.venv/bin/python $(CAB_SHARED)/conformance/run_node_tests.py \
		$(cab_cache)/suite-1.23.2/node --server --cmd 'python3 $(srcdir)/tests/artifact_run.py .' -j2 \
		--timeout 60 --list-failures --expect $(srcdir)/tests/ratchet-optimised.txt
# The cache and the file that is written under kill -9, many times.
kill-long: cab
	sh $(srcdir)/tests/kill-cache.sh . $(srcdir)/samples/digits/digits.onnx 200
	m=$(cab_cache)/corpus/densenet121/model.onnx; test -f $$m || m=$(srcdir)/samples/digits/digits.onnx; \
	sh $(srcdir)/tests/kill-artifact.sh . $$m 200
.PHONY: ratchet bench bench-ratio bench-full bench-kernels bench-peers bench-dynamic corpus emit-c-conformance artifact-conformance kill-long
