# demo, test and lint need nothing but Python 3.11 and the package index; everything lands in .venv.
# A stamp file per install makes the second call quick. Other Python: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install --quiet

.PHONY: demo chat test lint clean

demo: $(VENV)/.demo
	@$(RUN) -m medq_vlm.cli demo

# The reading room in a browser; other address or login: make chat CHAT="--port 8000"
chat: $(VENV)/.chat
	@$(RUN) -m medq_vlm.cli chat $(CHAT)

# One worker per core of a small machine; torch threads would only get in each other's way.
test: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "MedQ needs Python 3.11 or newer, and $(PYTHON) is older or missing." \
		  "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(RUN)
	@echo "Installing MedQ into $(VENV) (some minutes the first time)."
	@$(PIP) --editable .
	@$(RUN) -m medq_vlm.cli download
	@touch $@

$(VENV)/.chat: pyproject.toml | $(RUN)
	@echo "Installing MedQ and its reading room into $(VENV) (some minutes the first time)."
	@$(PIP) --editable '.[app]'
	@$(RUN) -m medq_vlm.cli download
	@touch $@

$(VENV)/.dev: pyproject.toml | $(RUN)
	@echo "Installing MedQ and its test tools into $(VENV) (some minutes the first time)."
	@$(PIP) --editable '.[app,cluster,dev,train]'
	@$(RUN) -m medq_vlm.cli download
	@touch $@
