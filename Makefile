# The two commands: `make run` and `make test`. Both set up everything they need first.
MACHINE ?= qemu-x86_64
PYTHON  ?= python3
VENV    := .venv
AETHER  := $(VENV)/bin/aether
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help setup run build test test-machines lint unit bench clean
.DELETE_ON_ERROR:

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: $(AETHER) ## Set up, build the machine, boot it and talk to it
	$(AETHER) run $(MACHINE)

build: $(AETHER) ## Set up and build the machine's image
	$(AETHER) build $(MACHINE)

setup: $(AETHER) ## Set up alone: leaves the command as .venv/bin/aether
	@echo "ready: $(AETHER)"

test: $(VENV)/dev ## Set up, check and run every test, the booted ones too
	$(VENV)/bin/python tests/run.py

test-machines: $(VENV)/dev ## Three virtual machines, each from the generic image to its own, and the fallback
	$(VENV)/bin/python -m pytest tests/machines

lint: $(VENV)/dev ## Style and types
	$(VENV)/bin/python tests/run.py --only lint

unit: $(VENV)/dev ## The tests that need no build and no machine
	$(VENV)/bin/python tests/run.py --only unit

bench: $(VENV)/dev ## Measure: sizes, boot, speed, memory, against a stock Debian image
	$(VENV)/bin/python -m bench $(MACHINE)

clean: ## Remove the virtual environment; the cache and the machines' disks stay
	rm -rf $(VENV)

# The host gives Python, apt and its keyring; everything else comes into the cache.
$(AETHER): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than 3.11" >&2; \
	      echo "hint: use Debian 12 or 13, or make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@missing=; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	test -e /etc/ssl/certs/ca-certificates.crt || missing="$$missing ca-certificates"; \
	test -e /usr/share/keyrings/debian-archive-keyring.gpg || missing="$$missing debian-archive-keyring"; \
	if [ -n "$$missing" ]; then \
	    echo "installing$$missing"; \
	    $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq -y --no-install-recommends $$missing >/dev/null; fi
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: $(AETHER)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
