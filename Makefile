# Every target sets up what it needs. Start with `make demo`.

.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
export PYTHON TORCH_INDEX

# One BLAS thread per process: the parallelism here is many small processes.
export OMP_NUM_THREADS ?= 1
# The arm's pictures are rendered off screen.
export MUJOCO_GL ?= egl

.PHONY: help demo test check format set-up

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.venv/.set-up: pyproject.toml constraints.txt scripts/set_up.sh
	@scripts/set_up.sh

set-up: .venv/.set-up ## Make .venv with everything (done once; again when pyproject.toml or constraints.txt change)

demo: .venv/.set-up ## Record, train, deploy, judge and report, all three machines (2 CPU cores, no GPU)
	@$(BIN)/genba demo

test: .venv/.set-up ## Run every test on two processes
	@$(BIN)/python -m pytest -n 2

check: .venv/.set-up ## Format, lint, import arrows, types, and the generated tables
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyrefly check
	$(BIN)/genba report readme --check
	$(BIN)/genba report stores --check
	$(BIN)/genba report readers --check
	$(BIN)/genba report conditions --check
	$(BIN)/python scripts/deciding.py --check
	$(BIN)/genba report vehicle-logs --check
	$(BIN)/python scripts/meta_world_table.py --check
	$(BIN)/python scripts/surprise.py table --check
	$(BIN)/python scripts/meta_drive_table.py --check
	$(BIN)/genba report job-shops --check
	$(BIN)/genba report anomalies --check
	$(BIN)/genba report conditions --machine vehicle --check

format: .venv/.set-up ## Format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
