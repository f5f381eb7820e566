# Weft. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO        ?= go
TOOL      := $(GO) tool -modfile=tools/go.mod
PKGS      ?= ./...
FUZZTIME  ?= 3s
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X weft/internal/buildinfo.version=$(VERSION)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help build demo test postgres sdk race lint fmt fuzz-smoke e2e bench cross package check clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## the three programs, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: ## everything on this machine, without root; ONCE=1 ends after the last step
	$(GO) run ./integration/demo $(if $(ONCE),-once)

test: ## every test that needs nothing but Go; the others skip with the reason
	$(GO) vet -tags e2e $(PKGS)
	GO='$(GO)' tools/gotest -timeout 8m -- $(PKGS)

postgres: ## the control plane and its store on PostgreSQL, which the tests start
	WEFT_TEST_DATABASE=postgres GO='$(GO)' tools/gotest -count 1 -timeout 8m -- ./control ./control/store

sdk: ## drive the management API with the SDKs that others wrote for it
	cd integration/sdk && $(GO) vet ./... && $(GO) test -timeout 5m ./...

# One request or row after the other: many, and nothing beside them but what the database sees.
ONE_AFTER_THE_OTHER := TestTable_|TestView_|TestReplay|TestPermissions|TestEverything_|TestPreconditions_AtEveryEndpoint|_Conforms$$|_Races$$|_Upgrade$$

race: ## the same with the race detector, but for what builds packages, counts growth, or starts programs by the thousand
	GO='$(GO)' tools/gotest -race -timeout 14m -skip '$(ONE_AFTER_THE_OTHER)' -- $$($(GO) list $(PKGS) | grep -vE '/(packaging(/.*)?|integration/soak|cmd(/.*)?|cli)$$')
	$(GO) test -race -timeout 5m -run 'Watch|Pick|Pager|Reachable|Forward|Flow' ./cli

lint: ## golangci-lint, pinned in tools/go.mod
	$(TOOL) golangci-lint run --timeout 10m ./...

fmt: ## format every Go file
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

fuzz-smoke: ## every fuzz target for FUZZTIME
	@tools/fuzz-smoke $(FUZZTIME)

e2e: ## real programs in network namespaces; needs root, OpenSSH and rsync
	GO='$(GO)' tools/gotest -tags e2e -count 1 -timeout 12m -v -- ./integration/...

bench: ## the committed benchmarks; each prints ratios of one run
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./vnet ./access ./control/... ./tunnel/... ./gateway/... ./agent ./cli/... ./integration/...

cross: ## build for every platform that is supported, without optimizations: it is about what compiles
	@set -e; for p in $(PLATFORMS); do \
	  echo "build $$p"; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -trimpath -gcflags='all=-N -l' -o /dev/null ./cmd/warp-cli ./cmd/warp-svc ./cmd/weft; \
	done

package: ## deb, rpm, apk, MSI, images, archives, SBOMs and checksums, into dist/; PLATFORMS="linux/amd64 ..." chooses
	@rm -rf dist
	packaging/build dist $(PLATFORMS)

check: test race lint cross fuzz-smoke ## what CI runs, without the end-to-end tests

clean: ## remove what was built
	rm -rf bin dist
