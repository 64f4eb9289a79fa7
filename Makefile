# Every target builds the environment first if it is missing: `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

# As the scripts have it (pytorch/scripts/thread_waits.py), for tests and benchmarks.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 10000
endif

.PHONY: install demo paper test test-all faults bench bench-zoo lint clean

install: $(READY)

$(READY): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.txt --requirement requirements-dev.txt
	touch $@

# The main job on the embedded digits, into demo/: nothing is downloaded, nothing outside the folder is touched.
DEMO := --results-dir demo/results --plots-dir demo/plots
demo: install
	$(RUN) experiment_rotation.py simple_conv digits $(DEMO) --overwrite
	$(RUN) experiment_variance.py simple_conv digits $(DEMO)
	$(RUN) plot_variances_models.py $(DEMO)
	@echo
	@echo "Everything on one page: demo/plots/index.html. What each figure shows: docs/reading-figures.md"

# What the tables of the paper need, as far as it is missing; PAPER="--datasets mnist --seeds 3" and the like say what.
paper: install
	$(RUN) reproduce_paper.py $(PAPER)

# Two processes of one thread each.
PYTEST := $(RUN) -m pytest --numprocesses 2 --dist worksteal
test: install
	OMP_NUM_THREADS=1 $(PYTEST) -m "not slow"

# The slow tests too, with as many threads as scripts have.
test-all: install
	$(PYTEST)

# Put each known fault of earlier implementations back in turn; a test must fail each time.
faults: install
	$(RUN) tests/put_faults_back.py

# What the measure costs beyond the forward passes that it needs, its peak memory, tmeasures where it is installed, and
# what training costs beyond its bare steps.
bench: install
	PYTHONPATH=. $(RUN) benchmarks/measure_speed.py --bf16
	PYTHONPATH=. $(RUN) benchmarks/measure_speed.py --batch-sizes 256 --samples 512
	PYTHONPATH=. $(RUN) benchmarks/peak_memory.py
	PYTHONPATH=. $(RUN) benchmarks/compare_tmeasures.py
	PYTHONPATH=. $(RUN) benchmarks/train_speed.py

# The same for networks of torchvision, part by part: hours on two cores; ZOO="--samples 16 --steps 4" takes less.
bench-zoo: install
	PYTHONPATH=. $(RUN) benchmarks/measure_zoo.py $(ZOO)

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache
