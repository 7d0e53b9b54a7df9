# Every entry of the project, one line of truth each. One profile everywhere: llama.cpp is built once.
.PHONY: run test lint bench soak cuda-module gpu-check package setup build page
.NOTPARALLEL:

bin := $(or $(CARGO_TARGET_DIR),target)/debug
page_sources := $(shell find ui -type f -not -path 'ui/node_modules/*' -not -path 'ui/dist/*' -not -name '*.test.ts' 2>/dev/null)

run: setup build ## the app with the starter model; without a display one real message, and a picture of it
	scripts/run $(bin)

test: setup build ## everything that can fail; tests start the built programs
	npm --prefix ui run check
	npm --prefix ui test
	npm --prefix ui run e2e
	cargo test --workspace --no-fail-fast
	scripts/test-scripts

lint: page ## format, lints, licences and advisories, shell, page
	scripts/lint

bench: setup build ## the figures of docs/PERFORMANCE.md
	scripts/bench $(bin)/reprise-cli
	scripts/bench-window

soak: setup build ## kills by the thousand, honest restores, forgeries, calibration: hours
	REPRISE_SOAK=1 cargo test -p reprise-cli --test cli -- --nocapture killed_while_states hopping
	REPRISE_VERIFICATION=full cargo test -p reprise-chat --test verification -- --nocapture --test-threads 1

cuda-module: ## ggml's CUDA module, without a GPU or an installed toolkit: about 25 minutes; REPRISE_CUDA_ARCHITECTURES
	scripts/cuda-module $(REPRISE_CUDA_ARCHITECTURES)

gpu-check: setup build cuda-module ## the table of docs/GPU.md, on a machine with an NVIDIA card
	scripts/gpu-check

package:
	@echo "There are no installers yet." >&2; exit 1

setup: ## system packages, tools, models; does only what is missing
	@scripts/setup

build: page
	cargo build --workspace
	scripts/remote-device $(bin)

page: ui/dist/index.html

ui/dist/index.html: ui/node_modules/.package-lock.json $(page_sources)
	npm --prefix ui run build

ui/node_modules/.package-lock.json: ui/package-lock.json
	npm --prefix ui ci --no-audit --no-fund
	@touch $@
