# Needs Python >= 3.11 and make; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin

# Version and location of an interpreter.
IDENTITY := -c 'import sys; print(sys.version.split()[0], sys.base_prefix)'

# A .venv keeps its interpreter, so a different PYTHON is an error.
ifneq ($(filter command environment,$(origin PYTHON)),)
ifneq ($(wildcard $(BIN)/python),)
ifeq ($(filter clean,$(MAKECMDGOALS)),)
FOUND := $(shell $(BIN)/python $(IDENTITY))
ifneq ($(FOUND),$(shell $(PYTHON) $(IDENTITY)))
$(error .venv was created by another interpreter than $(PYTHON), $(FOUND): make clean first, or omit PYTHON)
endif
endif
endif
endif

.PHONY: demo test check docs pictures bench clean

demo: .venv/cli
	@$(BIN)/aurpay demo

test: .venv/dev
	$(BIN)/pytest -n auto

# All checks: each installed Python, lint, types, lowest dependencies, the wheel.
check: .venv/dev
	$(BIN)/nox

# The documentation, in docs/_build; building it downloads nothing.
docs: .venv/docs
	@$(BIN)/sphinx-build -q -E -W --keep-going -n docs docs/_build
	@$(BIN)/python docs/check.py docs/_build
	@echo docs/_build/index.html

# Needs Debian's Chromium.
pictures: .venv/dev
	$(BIN)/nox -s pictures

# All parts, or some: make bench ARGS="orders store waiting sandbox imports peers"
bench: .venv/dev
	$(BIN)/nox -s bench -- $(ARGS)

clean:
	rm -rf .venv .nox docs/_build .coverage* .hypothesis .pytest_cache .mypy_cache .ruff_cache dist

.venv/cli: .venv/pip pyproject.toml
	@echo "Installing aurpay-async ..."
	@$(BIN)/pip install --quiet --editable '.[cli]'
	@touch $@

.venv/dev: .venv/pip pyproject.toml
	@echo "Installing aurpay-async and the dependencies of its tests ..."
	@$(BIN)/pip install --quiet --editable '.[cli,fast]' --group dev
	@touch $@ .venv/cli

.venv/docs: .venv/pip pyproject.toml
	@echo "Installing aurpay-async and the dependencies of its documentation ..."
	@$(BIN)/pip install --quiet --editable '.[cli]' --group docs
	@touch $@ .venv/cli

# `--group` needs pip 25.1.
.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 " + "$(MAKECMDGOALS)")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
