# `make help` lists the targets. PYTHON=/path/to/python3 chooses the Python of .venv,
# VENV=DIRECTORY another place for it.

VENV ?= .venv
PY = $(VENV)/bin/python
OLDEST = $(VENV)-oldest
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-slow test-float64 coverage test-oldest lint types docs dist dist-check \
	bench clean FORCE

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-base ## fit, check and translate simulated stars; results in demo/
	$(VENV)/bin/bayestrans demo --out demo --overwrite

test: $(VENV)/.installed-test ## the tests that are not slow, and the examples in the docstrings
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report= --doctest-modules bayestrans tests

test-slow: $(VENV)/.installed-test ## the slow tests, with the figures they print
	$(PY) -m pytest -n 2 --dist worksteal -m slow -rP --durations=20 tests

test-float64: $(VENV)/.installed-test ## the numerical tests in double precision
	JAX_ENABLE_X64=1 $(PY) -m pytest -m "not slow" tests/test_oracles.py tests/test_student.py \
		tests/test_network.py tests/test_scale.py

coverage: ## lines of the package that the last `make test` ran, file by file
	$(PY) -m coverage report --show-missing

test-oldest: $(VENV)/.installed-oldest ## the fast tests with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -n 2 -m "not slow" -W default -p no:cacheprovider tests

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.installed-dev ## mypy on the package
	$(PY) -m mypy

docs: $(VENV)/.installed-docs ## the documentation, in docs/_build/html; warnings are errors
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

dist: $(VENV)/.installed-dev ## wheel and sdist in dist/, looked into, and the wheel installed and run
	$(PY) tools/check_dist.py

dist-check: $(VENV)/.installed-dev ## the same into empty environments, with a small demo (minutes)
	$(PY) tools/check_dist.py --empty

bench: $(VENV)/.installed-bench $(VENV)-bde/.installed ## every method side by side, as a page of the docs (hours)
	BAYESTRANS_BDE_PYTHON=$(VENV)-bde/bin/python $(PY) benchmarks/side_by_side.py \
		--json docs/side_by_side.json --page docs/side_by_side_tables.md \
		--more docs/side_by_side_more.md
	$(PY) benchmarks/growth.py --page docs/growth_table.md --picture docs/pictures/growth.png
	$(PY) benchmarks/fit.py --seconds 40
	$(PY) benchmarks/nuts.py

# It fixes an old version of a library of ours, so it has an environment to itself.
$(VENV)-bde/.installed: $(VENV)/.made
	@$(PY) -m venv $(VENV)-bde
	@$(VENV)-bde/bin/python -m pip install --quiet --disable-pip-version-check sklearn-contrib-bde==1.0.2
	@touch $@

clean: ## remove what the other targets made, except .venv
	rm -rf demo build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find bayestrans tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps lie inside the environment, so they vanish with it. The script does
# nothing, and leaves the age of .made alone, where the environment is complete.
$(VENV)/.made: FORCE
	@sh tools/make-venv.sh "$(VENV)"

$(VENV)/.installed-base: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing bayestrans into $(VENV) (some minutes the first time)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing bayestrans[$*] into $(VENV) (some minutes the first time)"
	@$(INSTALL) -e '.[$*]'
	@touch $@

# Old libraries warn about newer ones below them: the tests there do not take warnings for errors.
$(VENV)/.installed-oldest: $(VENV)/.made pyproject.toml
	@sh tools/make-venv.sh "$(OLDEST)"
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(PY) -m uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
		--only-binary :all: --no-binary bayestrans -e '.[test]'
	@touch $@
