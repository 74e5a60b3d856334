SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The tools are pinned in hack/tools/go.mod and built by Go when they are first used.
TOOL := go tool -modfile=hack/tools/go.mod
# Helm is pinned in a module of its own.
HELM := go tool -modfile=hack/chart/go.mod helm
# The folder with kube-apiserver, etcd and kubectl, for a recipe to ask for once they are built.
ASSETS = $$(hack/controlplane/build.sh | tail -n 1)
# A digest of every file that may be generated, one a line.
SNAPSHOT = find $(wildcard api applyconfiguration config docs charts dist) -type f | sort | xargs sha256sum

# The image: its name, the tags (the chart's appVersion and the commit), and the architecture by Go's name.
IMAGE ?= ghcr.io/rollcall-dev/rollcall
APP_VERSION = $(shell awk '$$1 == "appVersion:" {gsub(/"/, "", $$2); print $$2}' charts/rollcall/Chart.yaml)
VERSION ?= $(shell git describe --tags --always --dirty)
ARCH ?= $(shell go env GOARCH)
# The time in the image: that of the commit, so that a commit has one image.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
OUT ?= bin/image/$(ARCH)
# Time zones are compiled in: CEL expressions may name one.
REPRODUCIBLE = -trimpath -buildvcs=false -tags timetzdata -ldflags "-s -w -buildid="

##@ Build

.PHONY: build
build: ## Build the manager and the commands into bin/.
	CGO_ENABLED=0 go build -trimpath -o bin/manager .
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

.PHONY: image
image: programs ## Build the container image bin/rollcall-image.tar, with no daemon and no registry. ARCH=arm64 for another architecture.
	@cd hack/image && GOFLAGS=-mod=readonly go build -o ../../bin/image/pack .
	@bin/image/pack -o bin/rollcall-image.tar -ref "$(IMAGE):$(APP_VERSION)" -ref "$(IMAGE):$(VERSION)" -arch "$(ARCH)" \
		-created "$(SOURCE_DATE_EPOCH)" -version "$(VERSION)" -revision "$$(git rev-parse HEAD)" \
		$(OUT)/manager $(OUT)/rollcall-agent

.PHONY: programs
programs: # The programs of the image, in OUT: the same source gives the same bytes, wherever it lies.
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build $(REPRODUCIBLE) -o $(OUT)/manager .
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build $(REPRODUCIBLE) -o $(OUT)/rollcall-agent ./cmd/rollcall-agent

.PHONY: demo
demo: controlplane ## Run the demo on this machine: an API server, NATS and a fleet. ONCE=1 shows it once and ends.
	@echo "==> building bin/manager"
	go build -o bin/manager .
	@echo "==> running the demo"
	KUBEBUILDER_ASSETS="$(ASSETS)" go run ./hack/demo $(if $(ONCE),-once)

##@ Generate

.PHONY: generate
generate: ## Generate the DeepCopy functions and the apply configurations of the API.
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen applyconfiguration paths=./api/...

.PHONY: manifests
manifests: ## Generate the custom resource definitions and the manager's roles.
	$(TOOL) controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths="./controllers/...;./internal/manager" output:rbac:artifacts:config=config/rbac
	$(TOOL) controller-gen rbac:roleName=metrics-auth-role,fileName=metrics_auth_role.yaml paths=./internal/metricsauth output:rbac:artifacts:config=config/rbac
	@mkdir -p charts/rollcall/files/crd charts/rollcall/files/rbac
	cp config/crd/bases/*.yaml charts/rollcall/files/crd
	cp $(addprefix config/rbac/,role.yaml leader_election_role.yaml metrics_auth_role.yaml metrics_reader_role.yaml) charts/rollcall/files/rbac

.PHONY: dist
dist: controlplane ## Generate dist/install.yaml, which installs everything with one kubectl apply.
	@mkdir -p dist
	$(ASSETS)/kubectl kustomize config/default >dist/install.yaml

.PHONY: docs
docs: ## Generate docs/reference: the API, conditions, metrics, flags, labels and annotations.
	@mkdir -p docs/reference
	$(TOOL) crd-ref-docs --renderer=markdown --source-path=api --output-path=docs/reference/api.md \
		--config=hack/tools/crd-ref-docs/config.yaml --templates-dir=hack/tools/crd-ref-docs/templates --log-level=WARN
	go run ./hack/docs

.PHONY: fmt
fmt: ## Format the code.
	$(TOOL) golangci-lint fmt

##@ Measure

.PHONY: bench
bench: ## Measure what docs/performance.md promises, each figure beside its raw floor; BENCH_ALLOW_MISS=1 lets it pass a miss.
	@assets=$$(hack/controlplane/build.sh kube-controller-manager | tail -n 1); \
	echo "==> measuring: about a quarter of an hour, on a machine that does nothing else"; \
	missed=0; KUBEBUILDER_ASSETS="$$assets" go run ./bench || missed=$$?; \
	echo "==> running what the race detector makes too slow to measure"; \
	KUBEBUILDER_ASSETS="$$assets" go test -run 'TestTenThousandPods|TestReadyToVisible|TestCleanStopHandsOver' -count=1 -v -timeout 5m ./test/pods; \
	exit $$missed

.PHONY: bench-scale
bench-scale: ## Measure one manager with 100,000 nodes; BENCH_ALLOW_MISS=1 lets it pass a miss.
	@assets=$$(hack/controlplane/build.sh | tail -n 1); \
	echo "==> measuring: about five minutes, on a machine that does nothing else"; \
	KUBEBUILDER_ASSETS="$$assets" go run ./bench -scale -nodes 100000 -out bench/scale.json

##@ Check

.PHONY: controlplane
controlplane: ## Build the API server, etcd, kubectl and kube-controller-manager of the tests; the last line printed is their folder.
	@hack/controlplane/build.sh kube-controller-manager

.PHONY: test
# Most tests wait for time to pass, so more of them run at once than there are cores.
test: controlplane ## Run all tests, with the race detector, against a real API server and a real NATS server.
	@echo "==> running the tests"
	go list ./... | grep -v -e '/test/faults$$' -e '/test/hostile$$' | KUBEBUILDER_ASSETS="$(ASSETS)" xargs go test -race -parallel 8 -timeout 20m
	@echo "==> attacking a manager, with nothing beside it that waits for time to pass"
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -race ./test/hostile
	@echo "==> breaking things, one of each kind"
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -race -count=1 -parallel 4 ./test/faults
	cd hack/image && go test -race ./...

.PHONY: compat
compat: ## Try the slices with the code of those who read them; it compiles for minutes. IF_CHANGED=1 does it where they or that code changed.
	@$(if $(IF_CHANGED),hack/changed.sh test/compat controllers/endpointslice docs/scrape-the-fleet.md || exit 0;) \
	assets=$$(hack/controlplane/build.sh kube-controller-manager | tail -n 1); \
	cd test/compat; \
	echo "==> trying the slices with those who read them"; \
	KUBEBUILDER_ASSETS="$$assets" go test -count=1 -parallel 4 ./...; \
	echo "==> checking test/compat"; \
	go mod tidy -diff; \
	GOLANGCI_LINT_CACHE=$(CURDIR)/bin/golangci-lint go tool -modfile=../../hack/tools/go.mod golangci-lint run

.PHONY: faults
faults: controlplane ## Break everything, a thousand times, and print what came of it. FAULTS_SEED=<number> does the same again, FAULTS_LOGS=<folder> keeps all logs.
	@echo "==> breaking things: about half an hour, on a machine that does nothing else"
	KUBEBUILDER_ASSETS="$(ASSETS)" go test ./test/faults -run TestFaults -count=1 -parallel 3 -timeout 90m -v -faults.full \
		$(if $(FAULTS_SEED),-faults.seed=$(FAULTS_SEED)) $(if $(FAULTS_LOGS),-faults.keep=$(abspath $(FAULTS_LOGS)))

.PHONY: e2e
e2e: ## Run the end-to-end test in a real cluster, with real pods and traffic. Linux, as root. E2E_LOGS=<folder> keeps all logs.
	go test -tags e2e -count=1 -timeout 60m -v ./test/e2e

# The linter's cache is this clone's own: in one that clones share it finds what it said of a clone that is gone, with
# paths that no exclusion matches any more.
lint: export GOLANGCI_LINT_CACHE = $(CURDIR)/bin/golangci-lint

.PHONY: lint
lint: ## Look for faults in the code.
	$(TOOL) golangci-lint run
	cd hack/image && go tool -modfile=../tools/go.mod golangci-lint run

.PHONY: chart-lint
chart-lint: ## Look for faults in the chart.
	$(HELM) lint --strict charts/rollcall

.PHONY: verify
verify: ## Fail if something generated is out of date, the modules are untidy, or the linters find a fault.
	@before=$$(mktemp); after=$$(mktemp); trap 'rm -f "$$before" "$$after"' EXIT; \
	$(SNAPSHOT) >"$$before"; \
	$(MAKE) generate manifests docs dist; \
	$(SNAPSHOT) >"$$after"; \
	if ! cmp -s "$$before" "$$after"; then \
		echo "verify: these files were out of date; commit them as they are now:" >&2; \
		{ diff "$$before" "$$after" || true; } | awk '/^[<>]/ {print "  " $$3}' | sort -u >&2; \
		exit 1; \
	fi
	go mod tidy -diff
	$(MAKE) lint chart-lint

##@ Help

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
