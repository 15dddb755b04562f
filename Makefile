# The Lepton Book. `make help` lists the targets.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
ONLY ?= chapters
JOBS ?= 2# chapters at a time, each on one thread: small steps gain nothing from a second
NBVAL := $(if $(LAX),--nbval-lax,--nbval)
BUILD := $(BIN)/jupyter-book build . -W -n --keep-going
PAGES := _build/html

# $(call step,NAME,COMMAND,WHAT TO DO WHEN IT FAILS)
define step
@echo "== $(1)"
@$(2) || { echo; echo "FAILED: $(1)"; echo "What to do: $(3)"; exit 1; }
endef

.PHONY: help book test lab serve benchmarks status pdf zip colab format clean \
	lint lock unit structure chapters render browser

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile

book: .venv/book-installed  ## build the book into _build/html
	$(call step,build,$(BUILD),read the WARNING lines above: each names a file and a line)
	@echo "Open $(PAGES)/index.html in a browser (no server and no network needed)."

ifneq ($(ONLY),chapters)
test: lint structure chapters  ## check everything; ONLY=FILE checks one chapter
	@echo "passed: $(ONLY)"
else
test: lint unit structure chapters render browser
	@echo "passed: lint, unit tests, structure, chapters, book, browser"
endif

lint: .venv/all-installed
	$(call step,ruff,$(BIN)/ruff check . && $(BIN)/ruff format --check .,run 'make format' and look at what it could not mend)

unit: .venv/all-installed
	$(call step,unit tests,$(BIN)/python -m pytest -q tests --ignore=tests/test_book.py --ignore=tests/test_publish.py,run the one that failed: $(BIN)/python -m pytest tests/FILE.py -k NAME)

structure: .venv/all-installed
	$(call step,notebook structure,$(BIN)/python tools/notebooks.py check $(filter-out chapters,$(ONLY)),each line above names the cell and the remedy)

ifeq ($(ONLY),chapters)
SIDE_BY_SIDE = -n $(JOBS) --dist loadfile
chapters: export TF_NUM_INTRAOP_THREADS := 1
chapters: export OMP_NUM_THREADS := 1
chapters: export OPENBLAS_NUM_THREADS := 1
endif
chapters: .venv/all-installed
	$(call step,chapters run and reproduce their outputs,$(BIN)/python -m pytest -q $(NBVAL) --nbval-current-env --nbval-cell-timeout 600 -p no:cacheprovider $(SIDE_BY_SIDE) $(ONLY),open the chapter named above; if the change is meant: $(BIN)/python tools/notebooks.py run FILE)

render: .venv/all-installed
	$(call step,build,$(BUILD),read the WARNING lines above: each names a file and a line)

browser: render
	$(call step,the built book in a browser,$(BIN)/python -m pytest -q -rs tests/test_book.py tests/test_publish.py,open the page named above from $(PAGES))

lab: .venv/all-installed  ## open JupyterLab on the chapters
	$(BIN)/jupyter lab chapters

serve: book  ## serve the built book on http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(PAGES) 8000

benchmarks: .venv/all-installed  ## measure what benchmarks/runs.toml lists
	$(BIN)/python tools/benchmarks.py $(NAME)

status: .venv/all-installed  ## measure run time and memory of every chapter
	$(BIN)/python tools/notebooks.py status

zip: book .venv/all-installed  ## pack book, notebooks, data and wheel for a USB stick
	$(BIN)/python tools/publish.py zip

pdf: .venv/all-installed  ## print the whole book (needs Chromium)
	$(BIN)/python tools/publish.py pdf

colab: .venv/all-installed  ## run two chapters with the versions Colab has
	$(call step,chapters with the versions of Colab,$(BIN)/python tools/colab.py,the cell named above needs to run with those versions too)

format: .venv/all-installed  ## format and lint with what ruff can mend itself
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: .venv/all-installed  ## pin the newest allowed versions (then re-execute every chapter)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header \
		--no-annotate --all-extras --group all --output-file requirements.txt pyproject.toml

clean:  ## remove what was built (keeps .venv)
	rm -rf _build build dist *.egg-info

# A stamp a stage: the book alone needs no TensorFlow. pip >= 25.1 reads dependency groups.
.venv/pip-installed:
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 14), f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ..."'
	$(PYTHON) -m venv .venv || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

.venv/book-installed: requirements.txt pyproject.toml | .venv/pip-installed
	$(BIN)/python -m pip install --quiet --constraint requirements.txt --group book
	@touch $@

.venv/all-installed: requirements.txt pyproject.toml | .venv/pip-installed
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch .venv/book-installed $@
