# PYTHON: the interpreter to make the environment with; empty means what .ci/find-python finds.
# VENV: the folder of the environment.
PYTHON ?=
VENV ?= .venv

export PYTHON

demo_out = build/demo
python = $(VENV)/bin/python


help:
	@echo "make demo     install into $(VENV) and render four samples into $(demo_out)"
	@echo "make test     install the test tools too; run ruff, mypy and pytest"
	@echo "make lint     ruff and mypy alone"
	@echo "make verify-fit  thousands of fits, each accepted one checked independently;"
	@echo "              MESHES=DIR: heads and glasses found there, with pictures;"
	@echo "              WEAR=slipped, askew, pushed_up, undersized or oversized: worn that way"
	@echo "make verify-layers  layers put together from parts against layers traced in full"
	@echo "make verify-shadow  labels of shadows against references of many samples"
	@echo "make verify-soak  time and memory of one worker over 500 samples"
	@echo "make verify-faults  runs that are killed, hung, torn and starved against undisturbed ones"
	@echo "make verify-people  ages, tones and more in a plan of 2,000 against what is expected"
	@echo "make verify-light  shadows, exposure and cost of 200 samples; LIGHT=\"--count 40\": of 40"
	@echo "make verify-export  exports of 20,000 samples: time a sample and memory"
	@echo "make bench    what a sample costs, in plain renders; writes build/bench.json"
	@echo "make bench-fit  fits a second on one core, first fit of a large scan"
	@echo "make bench-lens  tracing through curved lenses against flat ones"
	@echo "make bench-people  samples of whole persons against bald ones"
	@echo "make bench-check  eyeglass check against decoding the same files"
	@echo "make bench-supervision  samples of a supervised worker against a bare loop"
	@echo "make install  only install; the command is then $(VENV)/bin/eyeglass"
	@echo "make clean    remove $(VENV), build/ and caches"
	@echo "Variables: BENCH=--curves, PYTHON=/path/to/python (3.13 or 3.11), VENV=.venv"

install:
	@.ci/install $(VENV)
	@.ci/check-system $(python)

demo: install
	@rm -rf $(demo_out)
	@$(VENV)/bin/eyeglass generate --count 4 --size 384 --scene portrait --seed 0 --out $(demo_out)
	@echo "Contact sheet: $(demo_out)/contact.png"

lint:
	@.ci/install $(VENV) test
	$(python) -m ruff check .
	$(python) -m mypy pipeline

test: lint
	@.ci/check-system $(python)
	$(python) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

campaign = PYTHONPATH=tests $(python) -m campaigns
MESHES ?=

# Campaigns without options are modules of their names.
campaigns = verify-shadow verify-soak verify-faults verify-export verify-people \
	bench-fit bench-lens bench-people bench-supervision

.PHONY: help demo test lint verify-fit verify-layers verify-light bench bench-check install clean $(campaigns)

$(campaigns):
	@.ci/install $(VENV) test
	$(campaign).$(subst -,_,$@)

verify-fit:
	@.ci/install $(VENV) test
	$(campaign).verify_fit $(if $(MESHES),--meshes "$(MESHES)") $(if $(WEAR),--wear "$(WEAR)")

# Six varied samples of the default scene.
verify-layers:
	@.ci/install $(VENV) test
	@rm -rf build/verify-layers
	$(VENV)/bin/eyeglass generate --verify-layers --count 6 --size 128 --spp 2048 --no-denoise \
		--out build/verify-layers

verify-light:
	@.ci/install $(VENV) test
	$(campaign).verify_light $(LIGHT)

bench:
	@.ci/install $(VENV)
	@mkdir -p build
	$(VENV)/bin/eyeglass bench --json build/bench.json $(BENCH)

bench-check:
	@.ci/install $(VENV) test
	@rm -rf build/bench-check
	$(VENV)/bin/eyeglass generate --count 4 --seed 8 --out build/bench-check/rendered
	$(campaign).bench_check

# A folder that is no environment is not ours to remove.
clean:
	if [ -f $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi
	rm -rf build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find .ci assets pipeline scenes tests -name __pycache__ -type d -prune -exec rm -rf {} +
