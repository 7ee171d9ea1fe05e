# meshcore: what a newcomer and CI run. `make help` lists the targets.
CCACHE := $(if $(shell command -v ccache),ccache )
ifeq ($(origin CC),default)
CC := $(CCACHE)gcc
endif
# The C++ compiler beside CC, for the one file that talks to RE2.
ifeq ($(origin CXX),default)
CXX := $(subst gcc,g++,$(patsubst %clang,%clang++,$(CC)))
endif
CFLAGS ?= -O2 -g
BUILD ?= build/core
PYTHON ?= python3
VENV ?= .venv
FUZZ_SECONDS ?= 10
# Most of the Python tests wait for programs, so more of them run than there are cores.
JOBS ?= $(shell expr 2 \* $$(nproc))
# V=1 shows the commands.
Q := $(if $(V),,@)
SUBMAKE = $(MAKE) --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

WARN := -Wall -Wextra -Werror -Wno-unused-parameter
CPPFLAGS_ALL = -std=gnu11 $(WARN) -Icsrc -Icsrc/include -Ithird_party -Ithird_party/llhttp $(CODECS) $(CPPFLAGS)
CXXFLAGS_ALL = -std=gnu++17 $(WARN) -Icsrc $(CPPFLAGS)
# Compression beyond gzip is built in where its library is.
has = $(shell printf '\043include <$(1)>\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
BROTLI := $(call has,brotli/encode.h)
ZSTD := $(call has,zstd.h)
CODECS := $(if $(BROTLI),-DMC_WITH_BROTLI) $(if $(ZSTD),-DMC_WITH_ZSTD)
LDLIBS := -lre2 -lstdc++ -lz $(if $(BROTLI),-lbrotlienc -lbrotlidec) $(if $(ZSTD),-lzstd) -lm -lpthread
RE2_MISSING := meshcore: RE2 is missing; install its development files (Debian, Ubuntu: apt-get install libre2-dev)

CORE_SRC := $(sort $(wildcard csrc/*/*.c csrc/*/*/*.c))
LLHTTP_SRC := $(addprefix third_party/llhttp/,api.c http.c llhttp.c)
LLHTTP := third_party/llhttp/llhttp.h $(LLHTTP_SRC)
CORE_CXX := csrc/base/regex.cc
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o) $(CORE_CXX:%.cc=$(BUILD)/%.o)
LLHTTP_OBJ := $(LLHTTP_SRC:%.c=$(BUILD)/%.o)
TEST_SRC := $(sort $(wildcard tests/c/*/test_*.c tests/c/*/*/test_*.c))
TEST_BIN := $(TEST_SRC:tests/c/%.c=$(BUILD)/tests/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)

PY := $(VENV)/bin/python
# ThreadSanitizer of older compilers cannot map its shadow on a kernel that randomizes many bits.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)
SANITIZE := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  %-10s %s\n", $$1, $$2}'

# --- the C core, alone ---------------------------------------------------------------------------------

.PHONY: core test-c run-test-c sim
core: $(BUILD)/libmeshcore.a ## csrc/ as one static library, no Python needed but to fetch llhttp

$(LLHTTP) &: third_party.lock.json
	@$(if $(wildcard $(PY)),$(PY),$(PYTHON)) _build/vendor.py
	@touch $(LLHTTP)

$(BUILD)/libmeshcore.a: $(CORE_OBJ) $(LLHTTP_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/third_party/%.o: third_party/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) -std=gnu11 -MMD -MP -c $< -o $@

$(BUILD)/%.o: %.c | $(LLHTTP)
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	@echo '#include <re2/re2.h>' | $(CXX) $(CXXFLAGS_ALL) -x c++ -fsyntax-only - 2>/dev/null || \
		{ echo "$(RE2_MISSING)" >&2; exit 1; }
	@echo "  CXX $<"
	$(Q)$(CXX) $(CFLAGS) $(CXXFLAGS) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@

# The C tests link a core of their own whose allocator can be told to fail.
test-c: ## the C tests
	@$(SUBMAKE) -k BUILD=build/core-test CPPFLAGS="-DMC_TEST_ALLOC $(CPPFLAGS)" run-test-c

TEST_RUNS := $(TEST_BIN:%=run-%)
.PHONY: $(TEST_RUNS) run-sim
run-test-c: $(TEST_RUNS) run-sim

$(TEST_RUNS): run-%: %
	@$(RUN) $< $(ARGS)

run-sim: $(BUILD)/sim
	@$(RUN) $<

sim: ## the simulator: SEED=n replays one seed and tells every event; without it many seeds
	@$(SUBMAKE) BUILD=build/core-test CPPFLAGS="-DMC_TEST_ALLOC $(CPPFLAGS)" build/core-test/sim
	@$(RUN) build/core-test/sim $(SEED)

$(BUILD)/sim: tests/sim/sim.c $(BUILD)/libmeshcore.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -Itests/c -MMD -MP -MF $@.d $< $(BUILD)/libmeshcore.a $(LDLIBS) -o $@

$(BUILD)/tests/%: tests/c/%.c $(BUILD)/libmeshcore.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -Itests/c -MMD -MP -MF $@.d $< $(BUILD)/libmeshcore.a $(LDLIBS) -o $@

# --- sanitizers and fuzzers ----------------------------------------------------------------------------

.PHONY: check asan tsan fuzz run-fuzz
check: asan tsan fuzz ## the C tests under sanitizers, then every fuzzer for FUZZ_SECONDS

asan: ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(SUBMAKE) -k BUILD=build/asan CPPFLAGS="-DMC_TEST_ALLOC $(CPPFLAGS)" \
		CFLAGS="$(SANITIZE) -fsanitize=address,undefined" run-test-c

tsan: ## the C tests under ThreadSanitizer
	@$(SUBMAKE) -k BUILD=build/tsan RUN="$(NO_ASLR)" CPPFLAGS="-DMC_TEST_ALLOC $(CPPFLAGS)" \
		CFLAGS="$(SANITIZE) -fsanitize=thread" run-test-c

fuzz: ## every fuzzer of tests/fuzz, from its corpus; TARGET=name for one
	@tools/setup.sh check
	@$(SUBMAKE) -k BUILD=build/fuzz CC="$(CCACHE)clang" \
		CFLAGS="$(SANITIZE) -fsanitize=fuzzer-no-link,address,undefined" \
		CXXFLAGS="-fno-sanitize=function,vptr" run-fuzz

# New inputs go below build/; a crash leaves its input there too. The kept corpus only seeds.
FUZZ_RUNS := $(addprefix run-fuzz-,$(or $(TARGET),$(FUZZ_TARGETS)))
.PHONY: $(FUZZ_RUNS)
run-fuzz: $(FUZZ_RUNS)

$(FUZZ_RUNS): run-fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/corpus/$* tests/fuzz/corpus/$*
	@$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix=$(BUILD)/$*- $(BUILD)/corpus/$* tests/fuzz/corpus/$* >$(BUILD)/$*.log 2>&1 || \
		{ tail -40 $(BUILD)/$*.log; exit 1; }
	@sed -n "s/^stat::number_of_executed_units: */fuzz $*: ok, inputs tried: /p" $(BUILD)/$*.log

$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(BUILD)/libmeshcore.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(CPPFLAGS_ALL) -Itests/c -Itests/fuzz -MMD -MP -MF $@.d $< \
		$(BUILD)/libmeshcore.a $(LDLIBS) -o $@

# --- Python --------------------------------------------------------------------------------------------

.PHONY: dev build test test-beside test-py
dev: $(VENV)/.ready ## a virtual environment with the package installed in place, and the tools

$(VENV)/.ready: pyproject.toml setup.py tools/setup.sh
	@PYTHON=$(PYTHON) tools/setup.sh build test
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	@$(PY) -m pip install --quiet --group dev
	@CC="$(CC)" $(PY) -m pip install --quiet --no-build-isolation --editable .
	@touch $@

build: dev ## the extension modules, what changed of them
	@$(PY) _build/vendor.py && $(PY) _build/schema.py
	@CC="$(CC)" $(PY) setup.py --quiet build_ext --inplace

# The Python tests mostly wait, for programs and limits of time: what computes beside them gives way.
test: lint test-c ## everything that CI runs
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-py test-beside

test-beside:
	@nice -n 19 $(MAKE) --no-print-directory gate-quick check

test-py: build ## the Python tests; ARGS goes to pytest
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS) || { \
		echo "What failed beside the others, once more alone (its first failure stands above):"; \
		$(PY) -m pytest -q --last-failed --last-failed-no-failures none $(ARGS); }

# --- demonstration -------------------------------------------------------------------------------------

.PHONY: demo chaos
demo: build ## two upstreams, the gateway on examples/front_proxy.yaml, real traffic, the counters
	@tools/setup.sh test
	@$(PY) examples/demo.py

chaos: build ## upstreams die, freeze, fail, return, leave and join under load: what clients see of it
	@tools/setup.sh test
	@$(PY) tests/py/chaos.py $(ARGS)

# --- benchmarks ------------------------------------------------------------------------------------------

.PHONY: bench bench-proxy bench-micro gate gate-quick
bench: bench-micro bench-proxy ## everything there is to compare, a quarter of an hour

bench-proxy: build ## whole proxies side by side (bench/proxy); ARGS goes to it, takes a quarter of an hour
	@tools/setup.sh test bench
	@$(PY) -m bench.proxy $(ARGS)

bench-micro: build ## primitives beside other libraries (bench/micro); ARGS goes to it
	@$(PY) -m pip install --quiet --group bench
	@$(PY) -m bench.micro $(ARGS)

gate-quick: | $(LLHTTP)
	@tools/setup.sh gate
	@$(PYTHON) -m bench.gate.gate --no-proof

gate: | $(LLHTTP) ## instruction counts of the hot paths against the baseline (bench/gate); ARGS goes to it
	@tools/setup.sh gate
	@$(PYTHON) -m bench.gate.gate $(ARGS)

$(BUILD)/bench/%: bench/%.c $(BUILD)/libmeshcore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -Itests/c -MMD -MP -MF $@.d $< $(BUILD)/libmeshcore.a $(LDLIBS) -o $@

# --- housekeeping --------------------------------------------------------------------------------------

.PHONY: lint format regen clean
lint: build ## formatters, linters, types, stubs and the include directions
	@$(PY) tools/lint.py

format: dev ## rewrite the sources in the house style
	@$(PY) tools/lint.py --fix

regen: build ## rewrite the generated files from their sources
	@$(PY) tools/regen.py

clean: ## remove what was built, keep the virtual environment
	rm -rf build dist src/*.egg-info
	find src -name '*.so' -delete

-include $(CORE_OBJ:.o=.d) $(LLHTTP_OBJ:.o=.d) $(addsuffix .d,$(TEST_BIN) $(BUILD)/sim)
-include $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%.d)
