# Parlance: build, run, test. `make` alone lists the targets; longer steps are in scripts/.

PORT ?= 8787
STATE_DIR ?= .state/dev
VARS ?=

# The tools must fit the crates, so their versions are those that Cargo.toml pins.
WASM_BINDGEN_VERSION := $(shell sed -n 's/^wasm-bindgen = "=\([^"]*\)".*/\1/p' Cargo.toml)
WORKER_BUILD_VERSION := $(shell sed -n 's/^worker = "=\([^"]*\)".*/\1/p' Cargo.toml)
# One place for all clones: compiling the tools takes minutes.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/parlance

export PORT STATE_DIR VARS WASM_BINDGEN_VERSION WORKER_BUILD_VERSION TOOLS
# Node, wrangler, esbuild and wasm-opt are those of package.json.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# Crates that become WebAssembly and that only tests use.
TEST_WORKERS := tests/sql-worker tests/fault-worker
TEST_COMPONENTS := tests/sql-spin
# Tests of the whole system on workerd. The contract is run for each edition.
SYSTEM_TESTS := $(patsubst tests/tests/%.rs,--test %,$(wildcard tests/tests/*.rs))

.PHONY: help dev spin build build-worker build-spin test faults fuzz audit bench lint fmt clean setup
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  make dev PORT=9000 STATE_DIR=.state/b VARS="RATE_LIMIT_SCALE=0"\n'

dev: build-worker ## Build, then serve on http://127.0.0.1:$PORT with state in $STATE_DIR
	@node scripts/dev-vars.mjs
	@exec env STOP_WITH_PARENT=1 node scripts/dev.mjs

# It has a port and a state of its own, where none are given.
spin: export PORT := $(if $(filter file,$(origin PORT)),3000,$(PORT))
spin: export STATE_DIR := $(if $(filter file,$(origin STATE_DIR)),.state/spin,$(STATE_DIR))
spin: build-spin ## Build, then serve the Spin edition on http://127.0.0.1:3000
	@node scripts/dev-vars.mjs
	@exec scripts/spin.sh

build: build-worker build-spin ## Compile both editions to WebAssembly, if anything changed

build-worker: setup
	@node scripts/build-worker.mjs functions/worker

build-spin: setup-rust setup-node
	@node scripts/build-spin.mjs functions/spin

test: build ## Run every test: native, whole-system, foreign clients
	@node scripts/dev-vars.mjs
	@node scripts/build-worker.mjs $(TEST_WORKERS)
	@node scripts/build-spin.mjs $(TEST_COMPONENTS)
	cargo test --workspace --exclude parlance-tests --exclude parlance-spin-host
	cargo test -p parlance-spin-host
	cargo test -p parlance-tests --lib $(SYSTEM_TESTS)
	@scripts/contract.sh
	$(if $(wildcard tests/node),node --test "tests/node/**/*.test.mjs")

bench: build-worker ## Measure against the budgets (QUICK=1: a few minutes)
	@cargo build --profile load -p parlance-bench
	@cargo run --profile load -q -p parlance-bench -- $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# Bounded, and at length what `make test` does in short.
ROUNDS ?= 50
CYCLES ?= 10000
faults: build-worker ## Kill workerd ROUNDS times under load, fill its disk, connect CYCLES times
	@node scripts/dev-vars.mjs
	@node scripts/build-worker.mjs tests/fault-worker
	node --test tests/node/faults/panics.test.mjs
	node tests/node/faults/full-disk.mjs || [ $$? -eq 77 ]
	node tests/node/faults/connections.mjs --cycles $(CYCLES)
	node tests/node/faults/kills.mjs --rounds $(ROUNDS)

SEEDS ?= 200
SEED ?= 1
fuzz: setup-rust ## Fuzz every target, or TARGET, with SEEDS seeds from SEED on
	cargo run --release -p parlance-fuzz -- --seeds $(SEEDS) --first $(SEED) $(if $(TARGET),--target $(TARGET))

# Compiled when it is first wanted, which takes minutes.
audit: export CARGO_DENY_VERSION := 0.20.2
audit: setup-node ## Licences, sources, known flaws and signatures of everything that is depended on
	@bash scripts/setup.sh deny
	@bash scripts/audit.sh

lint: setup-rust ## Formatting and clippy, natively and for WebAssembly
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@bash scripts/clippy-wasm.sh wasm32-unknown-unknown functions/worker durable-objects $(TEST_WORKERS)
	@bash scripts/clippy-wasm.sh wasm32-wasip2 functions/spin $(TEST_COMPONENTS)

fmt: setup-rust ## Format the Rust code
	cargo fmt --all

clean: ## Remove what was built; keeps state, node_modules and the cached tools
	cargo clean
	rm -rf functions/*/build tests/*/build .wrangler

setup: setup-rust
	@bash scripts/setup.sh node tools

.PHONY: setup-rust setup-node
setup-rust:
	@bash scripts/setup.sh rust

setup-node:
	@bash scripts/setup.sh node
