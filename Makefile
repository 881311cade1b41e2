# `make demo` shows the tool on synthetic data; `make test` checks the project.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export RAY_USAGE_STATS_ENABLED ?= 0
export RAY_USAGE_STATS_REPORT_URL ?= http://127.0.0.1:9/

.PHONY: install demo test check soak audit bench
install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	touch $@

demo: install
	$(BIN)/gitract-cv sweep
	$(BIN)/gitract-cv report
	$(BIN)/gitract-cv ensemble --top 3

test: check

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --no-loadscope-reorder

# Sweeps under random kills, for an hour each: `make test` has two short rounds of them.
soak: install
	$(BIN)/python -m tests.soak --minutes 60
	$(BIN)/python -m tests.soak --minutes 60 --ray

# Known vulnerabilities of the pinned versions; asks an advisory database.
audit: install
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# Every claim of speed, against the peers, in an environment of their own.
BENCHMARKS := hausdorff fold_scoring rle cache batches augment training_step validation_epoch sweep report
bench:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -e ".[bench]" -c constraints.txt
	for name in $(BENCHMARKS); do \
	  .venv-bench/bin/python -m benchmarks.speed.$$name --out benchmarks/results/$$name.md || exit 1; \
	done
