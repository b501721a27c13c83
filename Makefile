# Thin over run.py, which does the same on Windows: py run.py demo
PYTHON ?= python3

.PHONY: demo test check setup

demo test check setup:
	@$(PYTHON) run.py $@
