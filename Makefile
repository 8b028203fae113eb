# Every target does its own set-up, in .venv and build/; nothing else on the machine is touched.
# Needs: Python 3.11 or newer (PYTHON=... picks one), node with npm for the guests, and a network the first time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed
STOCK := build/stock
STOCK_ENVIRONMENT := $(STOCK)/.installed

# What each target runs. ARGS is handed on: make test ARGS='-k pipes'
ARGS ?=
DEMO := $(BIN)/python examples/demo/run.py
DEMO_GUESTS := python
EXAMPLE := $(BIN)/wasi-sockets up service/examples/workload.yaml
EXAMPLE_GUESTS := tasks c-tasks-0.2.12
FUZZ_COMPONENTS := $(BIN)/python -m tests.fuzz.mutants
FUZZ_CALLS := $(BIN)/python -m tests.hostile.calls
LEAKS := $(BIN)/python -m tools.leaks
SOAK := $(BIN)/python -m tools.soak
DIFFERENTIAL := $(BIN)/python tools/differential.py
BENCH := $(BIN)/python -m benchmarks --stock $(STOCK)/bin/python
MATRIX := $(BIN)/python tools/matrix.py
OWN_VERSION = $(shell $(BIN)/python -c 'import sys; print("{}.{}".format(*sys.version_info[:2]))')
BUILD_GUESTS := $(BIN)/python tests/guests/build.py

COVERED_BY := tests/network tests/sockets tests/wasi tests/differential

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup guests demo example test coverage real-parts test-real-parts kubernetes kubernetes-up test-kubernetes \
        test-matrix test-oldest test-faults compare lint format types fuzz leaks soak differential bench bench-published \
        bench-kubernetes bench-telemetry lock news clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

setup: $(ENVIRONMENT) ## make .venv with the locked packages and this project

# Prints the first Python that is new enough.
define FIND_PYTHON
for candidate in '$(PYTHON)' python3.11 python3.12 python3.13 python3.14 python3; do \
  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    echo "$$candidate"; exit 0; fi; done; \
echo 'No Python 3.11 or newer with venv was found; name one: make PYTHON=/path/to/python3' >&2; exit 1
endef

$(ENVIRONMENT): requirements.lock pyproject.toml
	@echo 'Setting up $(VENV)'
	@test -x $(BIN)/python || { python="$$($(FIND_PYTHON))" && "$$python" -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(STOCK_ENVIRONMENT): benchmarks/stock.lock $(ENVIRONMENT)
	@echo 'Setting up $(STOCK)'
	@test -x $(STOCK)/bin/python || $(BIN)/python -m venv $(STOCK)
	@$(STOCK)/bin/python -m pip install --quiet --require-hashes --requirement benchmarks/stock.lock
	@touch $@

guests: $(ENVIRONMENT) ## build the guest components that changed (build/guests)
	@$(BUILD_GUESTS) $(ARGS)

demo: $(ENVIRONMENT) ## a CPython guest served by an ASGI application in this process
	@$(BUILD_GUESTS) $(DEMO_GUESTS)
	$(DEMO) $(ARGS)

example: $(ENVIRONMENT) ## a workload: a CPython service, its clients in C and CPython, and an ASGI application
	@$(BUILD_GUESTS) $(EXAMPLE_GUESTS)
	$(EXAMPLE) --until-done $(ARGS)

test: $(ENVIRONMENT) ## every test
	@$(BUILD_GUESTS)
	$(BIN)/python -m pytest $(ARGS)

coverage: $(ENVIRONMENT) ## lines of network/ and sockets/ that their tests reach; fails below 95 %
	@mkdir -p build
	$(BIN)/python -m coverage run -m pytest $(COVERED_BY) $(ARGS)
	@for room in network sockets; do \
	  $(BIN)/python -m coverage report --include="wasi_sockets/$$room/*" || exit 1; done

test-matrix: $(ENVIRONMENT) ## wasmtime 45 to 50, and every CPython at hand (ARGS='--wasmtime 45.0.0')
	@$(BUILD_GUESTS)
	$(MATRIX) $(ARGS)

real-parts: $(ENVIRONMENT) ## fetch redis, PostgreSQL, nginx, wrk and an OTLP receiver, for the tests beside them
	@$(BIN)/python tests/real_parts/parts.py

test-real-parts: real-parts ## guests beside real servers and clients; `make test` runs these too, with what is fetched
	@$(BUILD_GUESTS)
	$(BIN)/python -m pytest tests/real_parts $(ARGS)

kubernetes: $(ENVIRONMENT) ## build kube-apiserver from Debian's sources, and fetch etcd (some minutes, once)
	@$(BIN)/python tests/kubernetes/parts.py

kubernetes-up: kubernetes ## a Kubernetes API server to try things on, until Ctrl-C; says what to export for it
	@$(BIN)/python -m tests.kubernetes.by_hand

test-kubernetes: kubernetes ## services beside a real Kubernetes API server, or that of KUBECONFIG
	@$(BUILD_GUESTS)
	KUBERNETES_AT_LENGTH=1 $(BIN)/python -m pytest tests/kubernetes tests/service/kubernetes $(ARGS)

test-faults: $(ENVIRONMENT) ## services that trap, hog and restart, many times: others go on, nothing is left (some minutes)
	@$(BUILD_GUESTS)
	WASI_SOCKETS_FAULT_ROUNDS=20 $(BIN)/python -m pytest tests/faults $(ARGS)

test-oldest: $(ENVIRONMENT) ## the oldest supported wasmtime, the suites that touch it most
	@$(BUILD_GUESTS)
	$(MATRIX) tests/engine tests/facade --wasmtime 45.0.0 --python $(OWN_VERSION)

compare: $(ENVIRONMENT) ## what changed from one wasmtime to another (OLD=50.0.1 NEW=51.0.0)
	@$(BUILD_GUESTS)
	$(BIN)/python tools/compare_wasmtime.py $(OLD) $(NEW) $(ARGS)

lint: $(ENVIRONMENT) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(ENVIRONMENT) ## ruff: put in order what can be
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(ENVIRONMENT) ## mypy --strict
	$(BIN)/mypy

fuzz: $(ENVIRONMENT) ## mutated components and hostile guests, the long run
	@$(BUILD_GUESTS)
	$(FUZZ_COMPONENTS) $(ARGS)
	$(FUZZ_CALLS) $(ARGS)

leaks: $(ENVIRONMENT) ## resident memory after many round trips, connections and instances
	@$(BUILD_GUESTS)
	$(LEAKS) $(ARGS)

soak: $(ENVIRONMENT) ## ten minutes of mixed load with restarts (ARGS=60 for one minute)
	@$(BUILD_GUESTS)
	$(SOAK) $(ARGS)

differential: $(ENVIRONMENT) ## the same socket operations at the kernel and in the virtual network, the long run
	$(DIFFERENTIAL) $(ARGS)

bench: $(ENVIRONMENT) $(STOCK_ENVIRONMENT) ## measure against stock wasmtime 47 over kernel loopback
	@$(BUILD_GUESTS)
	$(BENCH) $(ARGS)

bench-published: $(ENVIRONMENT) $(STOCK_ENVIRONMENT) real-parts ## wrk on published ports, and on what there was before
	@$(BUILD_GUESTS)
	$(BIN)/python -m benchmarks.publish_load --stock $(STOCK)/bin/python $(ARGS)

bench-kubernetes: kubernetes ## from a change at a Kubernetes API server to its handler, in a guest and outside
	@$(BUILD_GUESTS) static-site-controller
	$(BIN)/python -m benchmarks.kubernetes $(ARGS)

bench-telemetry: $(ENVIRONMENT) ## what telemetry costs, off and on, against a copy of the library without it
	$(BIN)/python -m benchmarks.telemetry $(ARGS)

lock: ## write the lock files anew (ARGS='--upgrade')
	PYTHON="$$($(FIND_PYTHON))" tools/lock.sh $(ARGS)

news: $(ENVIRONMENT) ## show what the news fragments add to the changelog
	$(BIN)/towncrier build --draft --version next

clean: ## remove everything that was built, .venv included
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
