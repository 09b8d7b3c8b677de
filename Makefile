# Each target does its own set-up on a fresh Debian or Ubuntu machine: `make demo` and `make test` are all you need.
.PHONY: help demo test lint format venv system browser screenshots
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON_IN_VENV := .venv/bin/python
READY := .venv/.ready

help:
	@echo "make demo         open napari with a sample image, annotated and ready for the button"
	@echo "make test         every check: lint, types and the whole test suite"
	@echo "make lint         ruff, mypy and import-linter only"
	@echo "make format       let ruff rewrite the files"
	@echo "make screenshots  make the images of docs/images again"
	@echo "make venv         only the environment: system libraries and .venv"

system:
	@scripts/install-system-libraries.sh

# A report's page is opened in it by the tests. Ubuntu's package of that name is a snap: there, and on other systems,
# those tests say that they are skipped unless a Chromium is there.
browser: system
	@if grep -qsx 'ID=debian' /etc/os-release; then scripts/install-system-libraries.sh chromium; fi

# Made again when the dependencies change; otherwise this costs nothing.
$(READY): pyproject.toml scripts/make-environment.sh | system
	@scripts/make-environment.sh
	@touch $@

venv: system $(READY)

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# A process for each core, each with one PyTorch thread: threads of two processes on one core wait for each other.
PYTEST := OMP_NUM_THREADS=1 scripts/on-virtual-screen.sh $(PYTHON_IN_VENV) -m pytest -n logical --dist worksteal

# Everything under PyQt6, then the tests marked both_bindings under PySide6.
test: lint browser
	@QT_API=pyqt6 $(PYTEST)
	@QT_API=pyside6 PYTEST_QT_API=pyside6 $(PYTEST) tests/plugin -m both_bindings

# With a screen: a window for a person. Without: the same path, driven by the script, on a virtual screen.
demo: venv
	@if [ "$$(uname -s)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
		echo "No display here: driving the demo on a virtual screen."; \
		scripts/on-virtual-screen.sh $(PYTHON_IN_VENV) scripts/demo.py --headless --out demo-output; \
	else \
		$(PYTHON_IN_VENV) scripts/demo.py; \
	fi

screenshots: venv
	@scripts/on-virtual-screen.sh $(PYTHON_IN_VENV) scripts/demo.py --headless --out docs/images --images-only
	@scripts/on-virtual-screen.sh $(PYTHON_IN_VENV) scripts/film.py --out docs/images
