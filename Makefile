# make demo   sets up and runs the main job: ask the twin a question, watch its data cross the emulated network
# make test   sets up and runs all tests
# make soak   sets up and runs half an hour of faults, memory and descriptors watched (not part of make test)
# make setup  only the set-up: system packages, .venv, our package (quick when it is already done)
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := mininet openvswitch-switch iproute2 iputils-ping ethtool procps python3 python3-venv
TOOLS := mnexec ovs-vsctl tc ip ping ethtool ps $(PYTHON)

.PHONY: demo test soak setup system lint proto lock clean

demo: setup
	$(SUDO) $(BIN)/links demo

test: setup lint
	$(SUDO) env CI="$(CI)" LINKS_DATA="$(LINKS_DATA)" $(BIN)/python -m pytest $(PYTEST_ARGS)

# Half an hour of faults; memory and descriptors must stay flat.
soak: setup
	$(SUDO) $(BIN)/python -m evaluation.soak $(SOAK_ARGS)

setup: system .venv/ready

# System packages: only when one of the tools is missing.
system:
	@missing=; PATH="$$PATH:/usr/sbin:/sbin"; for tool in $(TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -x $(BIN)/python ] || $(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	command -v apt-get >/dev/null || { echo "Missing:$$missing. Install the equivalents of Debian's $(APT), then run make again." >&2; exit 1; }; \
	echo "Installing system packages ($$missing is missing)"; \
	$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(APT)

.venv/ready: setup.py requirements.lock build-constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "LINKs needs Python 3.11 to 3.13; this is $$($(PYTHON) --version). Name another one: make PYTHON=python3.11" >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.3'
	$(BIN)/python -m pip install -q --build-constraint build-constraints.txt -c requirements.lock -e '.[embedding,test]'
	@# A second channel model for the tests; alone, since its full set of dependencies brings pytest plugins that clash.
	$(BIN)/python -m pip install -q --no-deps -c requirements.lock pycraf astropy pyerfa astropy-iers-data
	@touch $@

lint: setup
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .

# Generated code is checked in; a test regenerates and compares it.
proto: setup
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. proto/*.proto

# Freezes the versions of this environment for reproducible installs.
lock:
	( echo "# Exact versions of a tested environment; make lock writes this file."; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' ) > requirements.lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
