# Every target makes its own set-up: Debian packages through sudo where they are missing, .venv for Python.
.DEFAULT_GOAL := help
.PHONY: help demo test check schemas requirements audit dockerfiles docs pictures bench bench-tty soak bundle release release-notes check-tag publish check-workflows check-model test-packages test-dotnet test-installer test-container test-browser test-monitoring test-release test-arm64 test-tty test-windows clean

PYTHON := .venv/bin/python

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-16s%s\n", $$1, $$2 }'

demo: ## watch a Modbus device through the whole chain, with an outage; ends with Ctrl-C
	@tools/setup demo
	@$(PYTHON) -m tests.demo

test: ## all tests but those that have a target of their own below (about ten minutes on two cores)
	@tools/setup test
	@$(PYTHON) -m pytest -n 4 -m "not dotnet and not installer and not packages and not container and not browser and not monitoring and not release and not arm64 and not tty and not windows" $(PYTEST_ARGUMENTS)

check: ## ruff and mypy; PSScriptAnalyzer where PowerShell is at hand
	@tools/setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m tests.installer.analyze

requirements: ## pin the libraries with their hashes (REQUIREMENTS_ARGUMENTS="--upgrade" takes the newest)
	@tools/setup
	@tools/requirements $(REQUIREMENTS_ARGUMENTS)

audit: ## look for known vulnerabilities of all pinned libraries (asks the service of the Python index)
	@tools/setup
	@tools/audit

dockerfiles: ## write Dockerfile.arm64v8 from Dockerfile.amd64
	@sed 's,--platform=linux/amd64,--platform=linux/arm64,; s,-f Dockerfile.amd64,-f Dockerfile.arm64v8,; s,x86_64,aarch64,g; s,x86-64,aarch64,g' Dockerfile.amd64 >Dockerfile.arm64v8

docs: ## renew the tables of the reference, and make a site of docs/ in dist/docs; a link that leads nowhere fails it
	@tools/setup
	@PYTHONPATH=.:module $(PYTHON) tools/reference.py
	@$(PYTHON) -m sphinx --quiet --fail-on-warning --keep-going docs dist/docs
	@echo "dist/docs/index.html"

schemas: ## write the JSON Schemas and the DTDL model into schemas/
	@tools/setup
	@$(PYTHON) tools/write_schemas.py

pictures: ## the pictures of docs/monitoring.md, from a real chain and a real browser
	@tools/setup test browser
	@$(PYTHON) -m tests.pictures

bench: ## measure against socat and ser2net in the same run; writes docs/benchmarks
	@tools/setup test
	@$(PYTHON) -m tests.benchmarks --output docs/benchmarks

bench-tty: ## measure a character device against a pty in user-mode Linux, and its server here
	@tools/setup test tty
	@$(PYTHON) -m tests.tty.machine $(PYTHON) -m tests.tty.benchmark
	@$(PYTHON) -m tests.tty.benchmark requests

soak: ## 30 minutes of faults at random, and a table of what they cost (SOAK_ARGUMENTS="--seconds 60 --seed 9")
	@tools/setup test
	@$(PYTHON) -m tests.faults $(SOAK_ARGUMENTS)

bundle: ## the zip for the Windows host, in dist/
	@tools/setup windows
	@PYTHONPATH=tools $(PYTHON) -m bundle

release: ## all files of a release, in dist/ (RELEASE_ARGUMENTS="--registry REGISTRY"; root or sudo)
	@tools/setup release
	@mkdir -p dist
	@tools/as_root $(PYTHON) -m release $(RELEASE_ARGUMENTS)

release-notes: ## the changelog's section of this version, in dist/publishing/
	@mkdir -p dist/publishing
	@python3 tools/release_notes.py >dist/publishing/release-notes.md

check-tag: ## compare the tag in TAG, such as v1.1.0, with VERSION and the changelog; without TAG nothing
	@test -z "$(TAG)" || python3 tools/release_notes.py --check "$(TAG)"

publish: ## push the images of dist/ to REGISTRY as one manifest list (REGISTRY_USER, REGISTRY_PASSWORD)
	@tools/setup release
	@tools/publish

check-workflows: ## actionlint, zizmor and the published schemas on .github
	@tools/setup workflows
	@tools/check_workflows

check-model: ## Microsoft's parser on the DTDL model in schemas/
	@tools/setup workflows
	@tools/check_model

test-packages: ## install the parts with the newest and the lowest versions, on each Python that is here
	@tools/setup test
	@$(PYTHON) -m pytest -n 0 -m packages -rP tests/packages $(PYTEST_ARGUMENTS)

test-installer: ## run the Windows installer in PowerShell with all faults at each call (about 12 minutes; SWEEP=third: 5)
	@tools/setup test powershell
	@SWEEP=$(SWEEP) $(PYTHON) -m pytest -n 2 -m installer tests/installer $(PYTEST_ARGUMENTS)

test-dotnet: ## use the ports with System.IO.Ports: PowerShell 7, and ../shared/dotnet where it is (about a minute)
	@tools/setup test powershell
	@$(PYTHON) -m pytest -n 2 -m dotnet tests/dotnet $(PYTEST_ARGUMENTS)

test-container: ## build the image and run it as the deployment manifest says (root or sudo)
	@tools/setup test
	@tests/container/run $(PYTEST_ARGUMENTS)

test-browser: ## open the page of `monitor --web` in a headless Chromium
	@tools/setup test browser
	@$(PYTHON) -m pytest -n 0 -m browser tests/browser $(PYTEST_ARGUMENTS)

test-monitoring: ## the alert rules and the dashboard before a Prometheus that scrapes the module
	@tools/setup test monitoring
	@$(PYTHON) -m pytest -n 0 -m monitoring tests/monitoring $(PYTEST_ARGUMENTS)

test-release: ## make a release, compare it with what is inside, load it, run it and publish it to a registry here (root or sudo)
	@tools/setup test release registry
	@tools/as_root $(PYTHON) -m pytest -n 0 -m release -o cache_dir=.cache/container/pytest -rP tests/release $(PYTEST_ARGUMENTS)

test-arm64: ## run the module's own tests of ptys and relays in the arm64 image, by emulation (root or sudo)
	@tools/setup test release
	@tools/as_root $(PYTHON) -m pytest -n 0 -m arm64 -o cache_dir=.cache/container/pytest -rP tests/arm64 $(PYTEST_ARGUMENTS)

test-tty: ## character devices as serial ports, in user-mode Linux with CUSE (six minutes)
	@tools/setup test tty powershell
	@npm ci --prefix tests/tty/node --ignore-scripts --no-audit --no-fund --silent || echo "node-serialport cannot be had, so its test is skipped"
	@PYTHONPATH=.:tools $(PYTHON) -m tests.tty.suites || echo "the libraries' own tests cannot be had, so they are skipped"
	@$(PYTHON) -m tests.tty.machine $(PYTHON) -m pytest -n 0 -m tty -o cache_dir=.cache/tty/pytest tests/tty $(PYTEST_ARGUMENTS)

test-windows: ## install the built bundle in Windows Python under wine and relay through it
	@tools/setup test windows
	@$(PYTHON) -m pytest -n 0 -m windows -rP tests/windows $(PYTEST_ARGUMENTS)

clean: ## remove what the other targets made
	@rm -rf .venv .cache dist *.egg-info
