# Everything a person or CI runs. Each target installs what it needs and says what it does.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Strictness lives here, not in the manifest: a package that depends on this one by path would inherit it.
STRICT := -Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error
PACKAGES := libssl-dev libp11-kit-dev pkg-config softhsm2 libsofthsm2-dev
MISSING = $(shell for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: dependencies
dependencies: ## Install the missing Debian packages
	@if [ -n "$(MISSING)" ]; then \
	  echo "installing: $(MISSING)"; \
	  $(SUDO) apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(MISSING) >/dev/null; \
	fi

.PHONY: run tour
run tour: dependencies ## Build in release mode and run the tour on SoftHSM
	@echo "building keycustody (the first time takes a few minutes)"
	@swift build -c release --product keycustody --quiet
	@$$(swift build -c release --show-bin-path)/keycustody tour

.PHONY: build
build: dependencies ## Build everything, warnings being errors
	swift build --build-tests $(STRICT)

.PHONY: test
test: dependencies ## Run all tests
	swift test $(STRICT)

.PHONY: lint
lint: ## Check the format of every Swift file
	swift format lint --strict --parallel --recursive Package.swift Sources Plugins Tests Examples Benchmarks

.PHONY: format
format: ## Format every Swift file
	swift format --in-place --parallel --recursive Package.swift Sources Plugins Tests Examples Benchmarks

.PHONY: traits
traits: dependencies ## Build the libraries with every trait off
	swift build --disable-default-traits --scratch-path .build/no-traits $(STRICT)

.PHONY: embed
embed: dependencies ## Build a package that embeds the core with traits: [] and look at what it fetched
	Tests/EmbeddingCheck/check.sh

.PHONY: examples
examples: dependencies ## Build and run the examples, the third-party plugin's tests included
	Examples/check.sh

.PHONY: interop
interop: dependencies ## Open what we sealed with a Python script, and the reverse
	SWIFT_TEST_FLAGS="$(STRICT)" Examples/open-without-us/check.sh

.PHONY: bench
bench: dependencies ## Print ratios against baselines in the same run (QUICK=1 for a smoke run)
	swift run -c release --package-path Benchmarks bench $(if $(QUICK),--quick)

.PHONY: commands
commands: dependencies ## Run the executable end to end, as a user would
	swift build --product keycustody $(STRICT)
	Tests/Commands/check.sh "$$(swift build --show-bin-path $(STRICT))/keycustody"

.PHONY: clean
clean: ## Remove build products
	rm -rf .build Examples/.build Examples/*/.build Tests/EmbeddingCheck/.build Benchmarks/.build
