# Parlance: build, run, test. `make` alone lists the targets; longer steps are in scripts/.

PORT ?= 8787
STATE_DIR ?= .state/dev
VARS ?=

# Where build tools are kept, for all clones.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/parlance

export PORT STATE_DIR VARS TOOLS
# Node, wrangler, esbuild and wasm-opt are those of package.json.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help dev spin build build-worker build-spin test bench prove faults fuzz audit lint fmt clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  make dev PORT=9000 STATE_DIR=.state/b VARS="RATE_LIMIT_SCALE=0"\n'

# A build that is made in seconds after a change; RELEASE=1 serves what would be deployed.
dev: setup-rust setup-node ## Build, then serve on http://127.0.0.1:$PORT with state in $STATE_DIR
	@node scripts/build-worker.mjs $(if $(RELEASE),,--dev) functions/worker
	@node scripts/dev-vars.mjs
	@exec env STOP_WITH_PARENT=1 $(if $(RELEASE),,MAIN=functions/worker/build/dev/index.js) node scripts/dev.mjs

# It has a port and a state of its own, where none are given.
spin: export PORT := $(if $(filter file,$(origin PORT)),3000,$(PORT))
spin: export STATE_DIR := $(if $(filter file,$(origin STATE_DIR)),.state/spin,$(STATE_DIR))
spin: build-spin ## Build, then serve the Spin edition on http://127.0.0.1:3000
	@$(if $(if $(filter undefined,$(origin SPIN)),$(shell command -v spin),$(SPIN)),,node scripts/tools.mjs spin-host)
	@node scripts/dev-vars.mjs
	@exec scripts/spin.sh

build: build-worker build-spin ## Compile both editions to WebAssembly, if anything changed

build-worker: setup-rust setup-node ## Compile the Worker as it is deployed
	@node scripts/build-worker.mjs functions/worker

build-spin: setup-rust setup-node ## Compile the Spin component as it is deployed
	@node scripts/build-spin.mjs functions/spin

# STAGE=native runs one stage alone, with what it needs (scripts/test.mjs names them).
test: setup-rust setup-node ## Run every test: native, whole-system, foreign clients
	@node scripts/test.mjs $(STAGE)

# Bounded, and at length what `make test` does in short.
ROUNDS ?= 50
CYCLES ?= 10000
faults: build-worker ## Kill workerd ROUNDS times under load, fill its disk, connect CYCLES times
	@node scripts/dev-vars.mjs
	@node scripts/build-worker.mjs tests/test-worker
	TEST_WORKER=tests/test-worker/build node --test tests/node/faults/panics.test.mjs
	node tests/node/faults/full-disk.mjs || [ $$? -eq 77 ]
	node tests/node/faults/connections.mjs --cycles $(CYCLES)
	node tests/node/faults/kills.mjs --rounds $(ROUNDS)

fuzz: SEED ?= 1
fuzz: SEEDS ?= 200
fuzz: setup-rust ## Fuzz every target, or TARGET, with SEEDS seeds from SEED on
	cargo run --release -p parlance-fuzz -- --seeds $(SEEDS) --first $(SEED) $(if $(TARGET),--target $(TARGET))

# Compiled when it is first wanted, which takes minutes.
audit: export CARGO_DENY_VERSION := 0.20.2
audit: setup-node ## Licences, sources, known flaws and signatures of everything that is depended on
	@bash scripts/setup.sh deny
	@bash scripts/audit.sh

prove: SEEDS ?= 1000
prove: setup-rust ## Run SEEDS seeds of the simulation from SEED on, or from anywhere; KEEP=1 goes on after a failure; TRACE=1 shows what happens
	@cargo build --quiet --config simulation/prove.toml -p parlance-simulation
	@$(or $(CARGO_TARGET_DIR),target)/debug/parlance-simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep) $(if $(TRACE),--trace)

bench: build-worker ## Measure against the budgets (QUICK=1: a few minutes)
	@cargo build --profile load -p parlance-bench
	@cargo run --profile load -q -p parlance-bench -- $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

lint: setup-rust setup-node ## Formatting and clippy, natively and for WebAssembly
	@node scripts/lint.mjs

fmt: setup-rust ## Format the Rust code
	cargo fmt --all

clean: ## Remove what was built; keeps state, node_modules and the cached tools
	cargo clean
	rm -rf functions/*/build tests/*/build .wrangler

.PHONY: setup-rust setup-node
setup-rust:
	@bash scripts/setup.sh rust

setup-node:
	@bash scripts/setup.sh node
