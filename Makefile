# make quickstart   from a clone to scored designs; run again, it continues
# make test         the whole test suite
# make lint         style and types
# make types        signatures checked while tests run, shapes of tensors among them
# make chaos        kill -9 at random moments, twenty times each verb; fuzz: every reader, 100,000 cases
# make docs         the documentation as a site, in build/site
# make tables       its tables of samplers, methods and columns, from what the code says of them
# make frontier-quick, frontier, ablation, duality   the study of docs/frontier.md; stopped, each goes on
#
# PYTHON chooses the interpreter of the virtual environment, ARGS adds to a command:
#   make quickstart PYTHON=python3.12 ARGS="--out runs/quickstart --seed 1"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: quickstart test lint types chaos fuzz docs tables frontier-quick frontier ablation duality

# The network is needed for the installation alone.
quickstart: .venv/installed-quickstart
	HF_HUB_OFFLINE=1 $(BIN)/didi-protein quickstart $(ARGS)

# One thread a worker: two workers with all threads each would wait for one another.
# By worksteal neighbours stay in one process, and what a module sets up is set up once.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

# What is fast of the core; for more, DIDI_CHECK_TYPES=1 pytest tests/... . Processes that a test starts
# run unchecked.
TYPED := data/test_batch_plan distill/test_contrast distill/test_dcd distill/test_didi_loss distill/test_equal_rows \
	distill/test_mmd distill/test_sdtt distill/test_terms distill/test_train_joint_head evaluation/test_causal evaluation/test_headroom evaluation/test_judge io/test_transfer \
	models/test_attention models/test_discriminator models/test_dit models/test_joint_head models/test_noise models/test_packed models/test_positions \
	models/test_recompute models/test_safe_reader sampling/test_contrast_sampling sampling/test_joint_draw sampling/test_momentum sampling/test_remdm sampling/test_reveal \
	training/test_precision $(addprefix diffusion/test_,absorbing draws duality gaussian uniform)

types: .venv/installed-dev
	DIDI_CHECK_TYPES=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not slow" \
		$(TYPED:%=tests/didi_core/%.py) $(ARGS)

docs: .venv/installed-docs
	$(BIN)/python -m mkdocs build $(ARGS)

tables: .venv/installed-dev
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/column_tables.py docs/outputs.md docs/filter.md

# Writes benchmarks/results/chaos.json; ARGS="--kills 50 --jobs generate --seed 1" for more.
chaos: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.chaos $(ARGS)

# One reader after the other: stopped, go on with ARGS="-k fasta" and the like.
fuzz: .venv/installed-dev
	OMP_NUM_THREADS=1 DIDI_FUZZ_CASES=3800 $(BIN)/python -m pytest tests/fuzz -v $(ARGS)

# One core a job, two at once; ARGS="--at-once 16" on a larger machine.
frontier-quick: .venv/installed-quickstart
	$(BIN)/python -m benchmarks.frontier run quick $(ARGS)

frontier: .venv/installed-quickstart
	$(BIN)/python -m benchmarks.frontier run full $(ARGS)

ablation: .venv/installed-quickstart
	$(BIN)/python -m benchmarks.frontier run ablation $(ARGS)

duality: .venv/installed-quickstart
	$(BIN)/python -m benchmarks.frontier run duality $(ARGS)

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/installed-quickstart: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[metrics,report,order]"
	touch $@

.venv/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[dev]"
	touch $@ .venv/installed-quickstart

.venv/installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[docs]"
	touch $@
