.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

help: ## What there is to do
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Make .venv with the command .venv/bin/sliceplane

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sliceplane needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

peers: install ## Build etcd, kube-apiserver, kube-controller-manager and the oracle (minutes, once)
	$(BIN)/python -m e2e.cluster.build

demo: install ## A local control plane, three zones, Services under change, and a live table
	$(BIN)/python -m e2e.demo

format: install ## Format the sources
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

lint: install ## Format, lint and types
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

unit: install ## Unit and property tests: seconds, no server
	$(BIN)/python -m pytest -q -n auto -m "not server"

check: lint unit ## The word before a push

# A TLS connection that a test gives up while it is being made is closed only after its loop has ended.
UNCLOSED = $(foreach of,transport resource <socket,-W "ignore:unclosed $(of):ResourceWarning")
e2e: install ## Tests against the real API server and kube-controller-manager
	CI=1 $(BIN)/python -m pytest -q -n 2 -m server $(UNCLOSED)

e2e-upstream: install ## Kubernetes' own sig-network tests, with KCM alone and with Sliceplane
	$(BIN)/python -m e2e.upstream

test: check e2e ## Everything that must pass

SEEDS ?= 200
parity: install ## Random histories on two API servers, one served by KCM and one by Sliceplane (SEEDS=200)
	$(BIN)/python -m tests.parity api --seeds $(SEEDS)
	$(BIN)/python -m tests.parity api --seeds $(SEEDS) --topology
	$(BIN)/python -m tests.parity api --seeds $(SEEDS) --pairs 6

N ?= 100000
fuzz-parity: install ## Random snapshots through the cores and upstream's controllers (N=100000)
	$(BIN)/python -m tests.parity core --snapshots $(N)
	$(BIN)/python -m tests.parity core --snapshots $(N) --topology
	$(BIN)/python -m tests.parity legacy --snapshots $(N) --kind endpoints
	$(BIN)/python -m tests.parity legacy --snapshots $(N) --kind mirroring

SCENARIOS ?=
BENCH ?=
bench: install ## KCM and Sliceplane in one run, with ratios, goals and pictures in out/ (SCENARIOS="all", BENCH="--rounds 1")
	$(BIN)/python -m e2e.bench $(addprefix --scenario ,$(SCENARIOS)) $(BENCH)

SCENARIO ?= churn
profile: install ## Where Sliceplane's time goes, by py-spy: tables, and a flame graph in out/ (SCENARIO=cold|churn|idle)
	$(BIN)/python -m e2e.bench.profile $(SCENARIO)

bench-scaling: install ## Time and memory by the number of Pods, 1k to 150k, without an API server
	$(BIN)/python -m e2e.bench.scaling

MINUTES ?= 10
bench-leaders: install ## Two replicas under churn, the leader killed every 30 s (MINUTES=10)
	$(BIN)/python -m e2e.bench.leaders --minutes $(MINUTES)

bench-failover: install ## How long nobody writes when a leader goes, KCM and Sliceplane in one run
	$(BIN)/python -m e2e.bench.failover

bench-ipam: install ## Services created against pools that are nearly full, with and without Sliceplane
	$(BIN)/python -m e2e.bench.ipam

bench-synthetic: install ## A million Pods on a synthetic API server, after showing that it measures the same
	$(BIN)/python -m e2e.bench.synthetic

bench-tracing: install ## What traces cost, with receivers that are well, hang, and are not there
	$(BIN)/python -m e2e.bench.tracing

topology-report: install ## Traffic between zones and overload, by the kind of hints: table and picture in out/
	$(BIN)/python -m e2e.topology

lock: install ## Renew requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --extra dev --no-header --no-annotate pyproject.toml -o requirements.lock

clean: ## Remove what was made here (the cache of built peers stays)
	rm -rf .venv build out *.egg-info .mypy_cache .ruff_cache .hypothesis

.PHONY: help install peers demo format lint unit check e2e e2e-upstream test parity fuzz-parity bench profile bench-failover bench-ipam bench-leaders bench-scaling bench-synthetic bench-tracing topology-report lock clean
