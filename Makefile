# Every entry of the project, one line of truth each. One profile everywhere: llama.cpp is built once.
.PHONY: run test lint bench package setup build
.NOTPARALLEL:

bin := $(or $(CARGO_TARGET_DIR),target)/debug

run: setup build ## one real conversation with the starter model
	@mkdir -p target/run
	$(bin)/reprise-cli chat --model models/SmolLM2-135M-Instruct.Q4_1.gguf --data-dir target/run/data --prompt "In one sentence: why do people keep diaries?" --prompt "Now say it in five words."

test: setup build ## everything that can fail; tests start the built worker and command line
	cargo test --workspace --no-fail-fast
	scripts/test-scripts

lint: ## format, lints, licences and advisories, shell
	scripts/lint

bench: setup build ## the figures of docs/PERFORMANCE.md
	scripts/bench $(bin)/reprise-cli

package:
	@echo "There are no installers yet." >&2; exit 1

setup: ## system packages, tools, models; does only what is missing
	@scripts/setup

build:
	cargo build --workspace
