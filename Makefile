# Everything a person or a CI server does with this checkout. `make` alone lists it.
#
# Works with GNU make 3.81 (macOS) and later. Needs Python 3.11 to 3.14; gets everything else from PyPI.
#   make setup PYTHON=python3.12       choose the Python
#   make test ARGS="-k rotation -x"    pass options on to pytest (or, with `demo`, to thermocline)

.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

ifneq ($(words $(CURDIR)),1)
$(error make can't work in a folder whose path has a space in it: "$(CURDIR)". Move the checkout, or run tools/setup and call the programs in .venv/bin yourself)
endif

BIN := .venv/bin
READY := .venv/.ready
BENCH := .venv-bench/bin
BENCH_READY := .venv-bench/.ready
DAGSTER_FOLDER := .thermocline/dagster

# Somebody else's environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
export DAGSTER_DISABLE_TELEMETRY := yes
# A range of days is planned in one event instead of one a day, and its days are noted together; docs/guide/dagster.md has the numbers.
export DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS := 1
export DAGSTER_EVENT_BATCH_SIZE := 500

.PHONY: help setup demo test test-faults soak bench bench-quick lint check format dev stop clean distclean hooks

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## install the locked packages into .venv, nothing else

# A checkout that was moved holds scripts that point at its old place: set it up again.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
ifneq ($(shell cat $(BENCH_READY) 2>/dev/null),$(CURDIR))
.PHONY: $(BENCH_READY)
endif

$(READY): uv.lock pyproject.toml
	@tools/setup
	@echo "$(CURDIR)" > $(READY)

demo: setup  ## run the whole pipeline once on real bars: backfill, load, rotate, verify, query
	@$(BIN)/thermocline demo $(ARGS)

# A worker is a process with a PostgreSQL of its own; beyond eight they only get in each other's way.
test: setup  ## run every test but those of test-faults
	@$(BIN)/pytest -n logical --maxprocesses 8 --dist loadgroup --ignore=tests/faults $(ARGS)

test-faults: setup  ## kill every act at every point, break every store, and see that no row is lost or doubled
	@$(BIN)/pytest -n auto --dist loadgroup tests/faults $(ARGS)

# Pass on e.g. ARGS="--kills 1000 --seed 7"; a run that finds something prints the seed that finds it again.
soak: setup  ## kill a random mix of acts 200 times at random moments, beside a model of what should be there
	@PYTHONPATH="$(CURDIR):$(CURDIR)/tests" $(BIN)/python -m killing.soak $(ARGS)

# Pass on e.g. ARGS="--only load --rows 1000000", or ARGS=--render to make the page of what was measured before.
bench: $(BENCH_READY)  ## measure everything beside what people use instead, and write docs/benchmarks.md: a quarter of an hour
	@$(BENCH)/python benchmarks/full.py $(ARGS)

$(BENCH_READY): uv.lock pyproject.toml tools/setup
	@tools/setup bench
	@echo "$(CURDIR)" > $(BENCH_READY)

# Pass on e.g. ARGS="--only moving --share 0.2" to try a part of it out with a fifth of the rows.
bench-quick: setup  ## measure this against what it is held against, in about a minute; the last line is JSON
	@$(BIN)/python benchmarks/quick.py $(ARGS)

lint: style types imports files  ## check style, types, the direction of imports and the files around the code

.PHONY: style types imports files  # the parts of lint, for `make -j lint`
style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

files: setup
	$(BIN)/pytest --quiet tests/unit/test_project_files.py

check: lint test test-faults  ## lint, then both kinds of tests: what must pass before a commit

format: setup  ## fix what can be fixed and lay the code out
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Dagster reads dagster.yaml in DAGSTER_HOME, and writes beside it: a link keeps the one file and the other's litter apart.
dev: setup  ## start the Dagster UI and its daemon on http://localhost:3000
	@mkdir -p $(DAGSTER_FOLDER)
	@ln -sf ../../dagster.yaml $(DAGSTER_FOLDER)/dagster.yaml
	@echo "Dagster keeps its records in $(DAGSTER_FOLDER), where dagster.yaml is linked: never mind its warning about the file."
	@DAGSTER_HOME="$(CURDIR)/$(DAGSTER_FOLDER)" VIRTUAL_ENV="$(CURDIR)/.venv" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dg dev $(ARGS)

stop:  ## stop the embedded PostgreSQL
	@if [ -x $(BIN)/thermocline ]; then $(BIN)/thermocline stop; else echo "nothing is set up here"; fi

clean:  ## delete every cache; rows in .thermocline stay
	rm -rf .tmp_dagster_home_* .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
	@find . \( -name .venv -o -name .venv-bench -o -name .uv -o -name .git -o -name .thermocline \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and delete .venv, .venv-bench and .uv too
	rm -rf .venv .venv-bench .uv

hooks: setup  ## let git run the quick checks before every commit
	@$(BIN)/pre-commit install
