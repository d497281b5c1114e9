# Every target makes its own set-up: Debian packages through sudo where they are missing, .venv for Python.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak bundle test-packages test-installer test-container test-windows clean

PYTHON := .venv/bin/python

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-16s%s\n", $$1, $$2 }'

demo: ## watch a Modbus device through the whole chain, with an outage; ends with Ctrl-C
	@tools/setup demo
	@$(PYTHON) -m tests.demo

test: ## all tests but those of the installer, packages, container and Windows (about 4 minutes)
	@tools/setup test
	@$(PYTHON) -m pytest -n 4 -m "not installer and not packages and not container and not windows" $(PYTEST_ARGUMENTS)

check: ## ruff and mypy; PSScriptAnalyzer where PowerShell is at hand
	@tools/setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m tests.installer.analyze

bench: ## measure against socat and ser2net in the same run; writes docs/benchmarks
	@tools/setup test
	@$(PYTHON) -m tests.benchmarks --output docs/benchmarks

soak: ## 30 minutes of faults at random, and a table of what they cost (SOAK_ARGUMENTS="--seconds 60 --seed 9")
	@tools/setup test
	@$(PYTHON) -m tests.faults $(SOAK_ARGUMENTS)

bundle: ## the zip for the Windows host, in dist/
	@tools/setup windows
	@PYTHONPATH=tools $(PYTHON) -m bundle

test-packages: ## install the parts with the newest and the lowest versions, on each Python that is here
	@tools/setup test
	@$(PYTHON) -m pytest -n 0 -m packages -rP tests/packages $(PYTEST_ARGUMENTS)

test-installer: ## run the Windows installer in PowerShell with a fault at each call (about 5 minutes)
	@tools/setup test powershell
	@$(PYTHON) -m pytest -n 2 -m installer tests/installer $(PYTEST_ARGUMENTS)

test-container: ## build the image and run it as the deployment manifest says (root or sudo)
	@tools/setup test
	@tests/container/run

test-windows: ## install the built bundle in Windows Python under wine and relay through it
	@tools/setup test windows
	@$(PYTHON) -m pytest -n 0 -m windows -rP tests/windows $(PYTEST_ARGUMENTS)

clean: ## remove what the other targets made
	@rm -rf .venv .cache dist *.egg-info
