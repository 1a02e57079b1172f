# Two commands are enough: `make run` and `make test`. Both need Python 3.11 or newer, and nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
ARGS   ?=
# For `make real-log`: the XES log to replay.
LOG    ?=
# For `make bench`: the parts to measure; core, peers and latency without any.
PARTS  ?=

.DEFAULT_GOAL := help
.PHONY: help run test properties plans check lock bench bench-all bench-peers profile bench-engine bench-map bench-priority bench-sqlite real-log clean \
        bench-submit bench-resume bench-size bench-fire bench-exports

help: ## Say what there is
	@echo "make run                 start the server with its examples; Ctrl-C stops all of it"
	@echo "make test                the whole suite, on SQLite and on PostgreSQL (ARGS=… goes to pytest)"
	@echo "make properties          the engine against 2,500 random workflows and what can happen to them"
	@echo "make plans               the plans of the hot statements beside a million jobs (PostgreSQL)"
	@echo "make check               lint, types, architecture, deployment checks, missing migrations"
	@echo "make bench               measure against hand-written queues and other products (PARTS=core for one part alone)"
	@echo "make bench-all           that, and every other part of the page: submitting, resuming, size, faults, exports, SQLite"
	@echo "make bench-peers         the part of it that is other products (ARGS='--only dbos' for one of them)"
	@echo "make profile             where a worker's time, the server's time and the write-ahead log go"
	@echo "make bench-engine        what a step and a publish cost, for 10, 100 and 1,000 tasks"
	@echo "make bench-priority      100,000 jobs of mixed priority: who is claimed when, and who waits how long"
	@echo "make bench-map           measure a map of 10,000 items: its rate, and the memory of the workers"
	@echo "make bench-sqlite        steps and submissions a second on SQLite, beside a loop written by hand"
	@echo "make bench-submit        submissions against a bare INSERT and a bare view"
	@echo "make bench-resume        waking, answering and resuming against a hand-written loop; what a parked job costs"
	@echo "make bench-size          the same with a million finished jobs as with none (ARGS='--rows 10000000')"
	@echo "make bench-fire          the same with workers killed, plugins that raise, sleep, or answer 1 MB"
	@echo "make bench-exports       memory and rate of the history and a report of a million rows"
	@echo "make real-log LOG=path   replay an XES log of a real office, and compare what comes out"
	@echo "make lock                compile requirements*.in, and those of benchmarks/peers, into the pinned files"
	@echo "make clean               remove what was built (not your data in var/)"

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, as python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Say which one: make run PYTHON=/path/to/python"; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.txt scripts/install.py | $(PY)
	@$(PY) scripts/install.py requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PY) scripts/install.py requirements-dev.txt
	@touch $@

run: $(VENV)/.installed
	@$(PY) scripts/run.py --with-parent $(ARGS)

test: $(VENV)/.installed-dev
	@$(PY) scripts/test.py $(ARGS)

properties: $(VENV)/.installed-dev
	HYPOTHESIS_PROFILE=long $(PY) -m pytest tests/engine/test_properties.py -q $(ARGS)

plans: $(VENV)/.installed-dev
	PLAN_ROWS=1000000 $(PY) -m pytest tests/models/test_plans.py -q --timeout 1200 $(ARGS)

check: $(VENV)/.installed-dev
	@$(PY) scripts/check.py

lock: $(VENV)/.installed-dev
	$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	for one in benchmarks/peers/*.in; do \
	    $(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 $$one -o $${one%.in}.txt || exit 1; \
	done

bench: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.run $(PARTS) $(ARGS)

bench-all: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.run all $(ARGS)

bench-peers: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.run peers $(ARGS)

profile: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.profile $(ARGS)

bench-engine: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.engine

bench-priority: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.priority $(ARGS)

bench-map: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.map $(ARGS)

bench-sqlite: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.sqlite $(ARGS)

bench-submit: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.submitting $(ARGS)

bench-resume: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.resuming $(ARGS)

bench-size: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.size $(ARGS)

bench-fire: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.under_fire $(ARGS)

bench-exports: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.exports $(ARGS)

real-log: $(VENV)/.installed-dev
	@test -n "$(LOG)" || { echo "Say which log: make real-log LOG=path/to/log.xes.gz"; exit 1; }
	@$(PY) -m benchmarks.real_log "$(LOG)" $(ARGS)

clean:
	rm -rf $(VENV) staticfiles .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
