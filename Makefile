# Everything a person or CI runs. Each target installs what it needs and says what it does.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Strictness lives here, not in the manifest: a package that depends on this one by path would inherit it.
STRICT := -Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error
# The package manager hands traits to the compiler in the order of a set: without this it is another one each time, and
# everything is compiled again. What serves and what is tested does without.
export SWIFT_DETERMINISTIC_HASHING := 1
RANDOM_HASHING := env -u SWIFT_DETERMINISTIC_HASHING
PACKAGES := libssl-dev libp11-kit-dev pkg-config softhsm2 libsofthsm2-dev libsqlite3-dev libpq-dev postgresql curl python3-minimal
MISSING = $(shell for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# What can be built with every trait off.
TRAITLESS := KeyCustody KeyCustodyEnvelope KeyCustodyTesting KeyCustodyMemory KeyCustodyFile KeyCustodyPKCS11 \
  KeyCustodyFaultModule keycustody

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

DATA ?= ./keycustody-data
# `debug` is what `make build` has made already: CI asks for it, for the time that a second form of everything takes.
CONFIGURATION ?= release
CONFIGURED = -c $(CONFIGURATION) $(if $(filter debug,$(CONFIGURATION)),$(STRICT))
RELEASED = $$(swift build $(CONFIGURED) --show-bin-path)/keycustody

.PHONY: released
released: dependencies
	@echo "building keycustody (the first time takes a few minutes)"
	@swift build $(CONFIGURED) --product keycustody --quiet

.PHONY: run
run: released ## Build in release mode and serve vaults from ./keycustody-data (DATA=DIR, DOMAIN=NAME, PORT=8443)
	@exec $(RANDOM_HASHING) "$(RELEASED)" serve --data "$(DATA)" $(if $(DOMAIN),--domain "$(DOMAIN)") $(if $(PORT),--port "$(PORT)")

.PHONY: run-check
run-check: released ## Start the vaults by make run, use them as it prints, stop and start them again
	Tests/Commands/run.sh

.PHONY: tour
tour: released ## Run the tour, on FILES="…" or those here: a customer's key made, used, withdrawn and given back, on SoftHSM
	@"$(RELEASED)" tour $(FILES)

.PHONY: build
build: dependencies ## Build everything, warnings being errors
	swift build --build-tests $(STRICT)

.PHONY: test
test: dependencies ## Run all tests, eight at a time: on few cores more would starve those that wait for a token
	swift build --build-tests $(STRICT)
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	$(RANDOM_HASHING) swift test --skip-build $(STRICT) --experimental-maximum-parallelization-width 8 2>&1 | tee $$log || \
	  { echo "what failed:"; grep -a '✘' $$log | cut -c1-400 | tail -n 12; tail -n 1 $$log; exit 1; }

.PHONY: kit
kit: dependencies ## Run the conformance kit on every backend, or on BACKENDS="memory pkcs11", faults included, and print the table
	swift run $(STRICT) KitReport $(BACKENDS)

.PHONY: lint
lint: ## Check the format of every Swift file
	swift format lint --strict --parallel --recursive Package.swift Sources Plugins Tests Examples Benchmarks Fuzzing

.PHONY: format
format: ## Format every Swift file
	swift format --in-place --parallel --recursive Package.swift Sources Plugins Tests Examples Benchmarks Fuzzing

.PHONY: traits
traits: dependencies ## Build the products that need no trait, with every trait off
	@for product in $(TRAITLESS); do \
	  swift build --disable-default-traits --scratch-path .build/no-traits --product $$product $(STRICT); \
	done

.PHONY: embed
embed: dependencies ## Build a package that embeds the core with traits: [] and look at what it fetched
	Tests/EmbeddingCheck/check.sh

.PHONY: examples
examples: dependencies ## Build and run the examples, the third-party plugin's tests included
	SWIFT_TEST_FLAGS="$(STRICT)" Examples/check.sh

.PHONY: interop
interop: PACKAGES += python3-venv
interop: dependencies ## Open what we sealed with a Python script, and the reverse
	SWIFT_TEST_FLAGS="$(STRICT)" Examples/open-without-us/check.sh

.PHONY: clients
clients: PACKAGES += python3-venv
clients: dependencies ## Run the official Python clients of Azure Key Vault against the server, on two kinds of provider
	SWIFT_TEST_FLAGS="$(STRICT)" Tests/Clients/run.sh

.PHONY: programs
programs: PACKAGES += python3-venv
programs: dependencies ## Run programs that keep their keys in a Key Vault against the server: MongoDB's, Storage's, TUF's
	SWIFT_TEST_FLAGS="$(STRICT)" Tests/Clients/run.sh programs

# One build folder for both packages: what they share is compiled once.
BENCHMARKS := --package-path Benchmarks --scratch-path $(CURDIR)/.build

.PHONY: bench
bench: dependencies ## Print ratios against baselines in the same run (QUICK=1: a smoke run; ROWS=R4,R9: those rows)
	swift run $(CONFIGURED) $(BENCHMARKS) bench $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS))

.PHONY: scale
scale: dependencies ## Print how figures grow up to RESOURCES=100000 and ITEMS=1000000, one process killed in the middle of its work
	swift run -c release $(BENCHMARKS) bench --scale $(or $(RESOURCES),100000),$(or $(ITEMS),1000000)

.PHONY: fuzz
fuzz: dependencies ## Fuzz every reader of outside bytes (QUICK=1: 10^7 executions; MINUTES=10: for each target)
	Fuzzing/run.sh $(if $(QUICK),quick,long $(or $(MINUTES),10))

.PHONY: vectors
vectors: dependencies ## Run every published vector file that is there and print what ran of each
	SWIFT_TEST_FLAGS="$(STRICT)" Tests/Vectors/run.sh

.PHONY: faults
faults: PACKAGES += p11-kit p11-kit-modules
faults: dependencies ## Run the PKCS#11 provider under injected faults on SoftHSM (QUICK=1: a sample of it; 25 minutes else)
	@swift build $(STRICT)
	@runs="$$(swift build --show-bin-path $(STRICT))/KeyCustodyFaultRuns"; failed=""; \
	"$$runs" exhaustive $(if $(QUICK),--stride 17) || failed="$$failed exhaustive"; \
	"$$runs" sustained $(if $(QUICK),--seconds 15) || failed="$$failed sustained"; \
	"$$runs" hang $(if $(QUICK),--seconds 2) || failed="$$failed hang"; \
	"$$runs" daemon --sessions 1 $(if $(QUICK),--rounds 1) || failed="$$failed daemon"; \
	if [ -n "$$failed" ]; then echo "faults: short in:$$failed"; exit 1; fi; echo "faults: every figure is met"

.PHONY: simulate
simulate: dependencies ## Run SEEDS=2000 deployments of several processes through crashes, outages and races, and check a model
	@swift build -c release --product Simulation --quiet
	@"$$(swift build -c release --show-bin-path)/Simulation" $(or $(SEEDS),2000) $(FIRST)

.PHONY: revocation
revocation: dependencies ## Measure how long a key is used on after a revocation, by two processes under load (ROUNDS=10)
	swift run $(STRICT) KeyCustodyRevocationRuns $(ROUNDS)

.PHONY: crash
crash: released ## Kill PostgreSQL and a served vault under load, and count what came of it (ROUNDS=20, VAULT_ROUNDS=200)
	swift build --product KeyCustodyCrashRuns $(STRICT)
	@runs="$$(swift build --show-bin-path $(STRICT))/KeyCustodyCrashRuns"; failed=""; \
	"$$runs" postgresql $(ROUNDS) || failed="$$failed postgresql"; \
	"$$runs" vault $(VAULT_ROUNDS) --executable "$(RELEASED)" || failed="$$failed vault"; \
	if [ -n "$$failed" ]; then echo "crash: not as it should be:$$failed"; exit 1; fi

.PHONY: fips
fips: PACKAGES += build-essential dpkg-dev perl
fips: dependencies ## Build OpenSSL's FIPS provider from Debian's source and run the tests of the cryptography on it
	@swift build --build-tests $(STRICT)
	@provider="$$(Tests/FIPS/provider.sh)"; \
	echo "testing on OpenSSL's FIPS provider of $$(cat "$$provider/version"), in $$provider"; \
	OPENSSL_MODULES="$$provider" OPENSSL_CONF="$$provider/openssl.cnf" KEYCUSTODY_FIPS=true \
	  swift test --skip-build $(STRICT) --filter 'KeyCustody(Crypto|Envelope|Services|Memory|File)Tests'

.PHONY: secrets
secrets: dependencies ## Search the memory of a process that has closed its deployment for secrets, and ask for a core of another
	swift test $(STRICT) --filter SecretsTests

.PHONY: commands
commands: dependencies ## Run the executable end to end, as a user would
	swift build --product keycustody $(STRICT)
	Tests/Commands/check.sh "$$(swift build --show-bin-path $(STRICT))/keycustody"
	Tests/Commands/serve.sh "$$(swift build --show-bin-path $(STRICT))/keycustody"

.PHONY: clean
clean: ## Remove build products
	rm -rf .build Examples/.build Examples/*/.build Tests/EmbeddingCheck/.build Fuzzing/.build
