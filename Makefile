# Matron. Two commands for a newcomer: make demo, make test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
TOOL := go tool -modfile=tools.mod
export CGO_ENABLED ?= 0
DEMO_DIR ?= demo-data
VULNDB := $(firstword $(wildcard ../shared/vulndb))

TEST_PACKAGES := chromium fonts-liberation orthanc orthanc-dicomweb dcmtk gcc libc6-dev rsyslog rsyslog-gnutls strace e2fsprogs mount python3-hl7 postgresql libreoffice-calc

.PHONY: help demo build test check lint unit race browser fuzz vuln scripts crashtest powercut bench bench-audit bench-detect trace deps test-deps assets clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: build ## Run a demonstration hospital on this machine (RESET=1 starts anew)
	$(if $(RESET),rm -rf -- "$(DEMO_DIR)",)
	@exec ./bin/matron demo --dir "$(DEMO_DIR)"

build: bin/matron ## Build ./bin/matron

.PHONY: bin/matron
bin/matron: assets
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/matron

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

deps: node_modules/.package-lock.json ## Install what building and running need

assets: dashboards/assets/dist/matron.css ## Compile the style sheet

dashboards/assets/dist/matron.css: node_modules/.package-lock.json $(shell find dashboards/assets/src -type f 2>/dev/null)
	npm run --silent assets
	@touch $@

test-deps: deps ## Install what the tests need: Debian packages by name
	@./.ci/packages $(TEST_PACKAGES)

test: test-deps build ## Run every test
	$(MAKE) lint
	$(MAKE) race
	$(MAKE) scripts
	$(MAKE) browser
	$(MAKE) fuzz
	$(MAKE) vuln

lint: assets ## Formatting, linters and vet
	@unformatted=$$(git ls-files '*.go' | xargs $(TOOL) gofumpt -l); if [ -n "$$unformatted" ]; then echo "not gofumpt'd: $$unformatted"; exit 1; fi
	$(TOOL) golangci-lint run ./...
	go vet ./...

unit: assets deps ## Go tests, fast
	go test -shuffle=on ./...

# What starts whole programs or engines over and over: the race detector would slow it and see little.
WHOLE := /cmd/matron$$|/audit/(crashtest|history|retention)$$

race: assets deps ## Go tests with the race detector
	CGO_ENABLED=1 go test -race -shuffle=on -p 4 -timeout 20m $$(go list ./... | grep -vE '$(WHOLE)')

scripts: build ## Whole programs: the real binary from boot to verify, killed and without power
	go test -count=1 -timeout 20m $$(go list ./... | grep -E '$(WHOLE)')

browser: build ## Pages in a real browser, with and without JavaScript
	npm run --silent test:browser

FUZZTIME ?= 3s
fuzz: assets ## Every fuzz target for FUZZTIME; fails when one is missing
	@./.ci/fuzz $(FUZZTIME)

vuln: assets ## Known vulnerabilities in what the binary calls
	@if [ -n "$(VULNDB)" ]; then $(TOOL) govulncheck -db "file://$$(realpath $(VULNDB))" ./...; \
	else echo "vuln: no vulnerability database beside this folder, nothing checked"; fi

crashtest: assets deps ## Every crash trial, where make test runs a sample; root, 20 minutes
	go test -count=1 -v -timeout 2h ./audit/crashtest -args -full

TRIALS ?= 50
powercut: assets deps ## Cut the power of a disk in use, TRIALS times; root
	go test -count=1 -v -timeout 2h -run PowerCut ./audit/crashtest -args -full -trials $(TRIALS)

bench: build ## Measure against peers in the same run and print ratios
	go build -modfile=bench.mod -trimpath -o bin/caddy github.com/caddyserver/caddy/v2/cmd/caddy
	go run ./cmd/matron/bench -caddy bin/caddy

ROWS ?= 4000000
BACKLOG ?= 1200000
bench-audit: assets deps ## Measure journal, shipping, reindex, bytes and questions (ROWS=, BACKLOG=)
	go run ./cmd/matron/bench/trail -rows $(ROWS) -backlog $(BACKLOG)

STAFF ?= 12000
DAYS ?= 29
TIMES ?= 1
bench-detect: build ## Measure detection: STAFF people, DAYS days that come TIMES times; with TIMES=11 107 million accesses
	@mkdir -p build/detect
	./bin/matron simulate hospital --seed 7 --staff $(STAFF) --days $(DAYS) --out build/detect/once
	go run ./cmd/matron/bench/months -in build/detect/once -out build/detect/all -days $(DAYS) -times $(TIMES)
	rm -rf build/detect/once
	/usr/bin/time -f "%U s user, %S s system, %e s elapsed, %M KiB at most" ./bin/matron detect run --run build/detect/all --dry-run
	rm -rf build/detect

TRACE ?= build/matron-trace.json
trace: build ## Run every Go test and write $(TRACE), which a release ships: which test shows which control
	@mkdir -p build
	@failed=0; go test -json -timeout 30m ./... > build/tests.json || failed=$$?; \
	./bin/matron hazard trace --tests build/tests.json --commit "$$(git rev-parse HEAD)" --build "$(VERSION)" --out "$(TRACE)"; exit $$failed

clean: ## Remove what was built
	rm -rf bin node_modules dashboards/assets/dist/*.css dashboards/assets/dist/*.js
