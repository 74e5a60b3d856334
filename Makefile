SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The tools are pinned in hack/tools/go.mod and built by Go when they are first used.
TOOL := go tool -modfile=hack/tools/go.mod
# The folder with kube-apiserver, etcd and kubectl, for a recipe to ask for once they are built.
ASSETS = $$(hack/controlplane/build.sh | tail -n 1)
# A digest of every file that may be generated, one a line.
SNAPSHOT = find $(wildcard api applyconfiguration config docs charts) -type f | sort | xargs sha256sum

##@ Build

.PHONY: build
build: ## Build the manager and the commands into bin/.
	CGO_ENABLED=0 go build -trimpath -o bin/manager .
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

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
manifests: ## Generate the custom resource definitions and the manager's role.
	$(TOOL) controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths="./controllers/...;./internal/manager" output:rbac:artifacts:config=config/rbac

.PHONY: docs
docs: ## Generate docs/reference: the API, conditions, metrics, flags, labels and annotations.
	@mkdir -p docs/reference
	$(TOOL) crd-ref-docs --renderer=markdown --source-path=api --output-path=docs/reference/api.md \
		--config=hack/tools/crd-ref-docs/config.yaml --templates-dir=hack/tools/crd-ref-docs/templates --log-level=WARN
	go run ./hack/docs

.PHONY: fmt
fmt: ## Format the code.
	$(TOOL) golangci-lint fmt

##@ Check

.PHONY: controlplane
controlplane: ## Build the API server, etcd and kubectl of the tests; the last line printed is their folder.
	@hack/controlplane/build.sh

.PHONY: test
test: controlplane ## Run all tests, with the race detector, against a real API server and a real NATS server.
	@echo "==> running the tests"
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -race ./...

.PHONY: lint
lint: ## Look for faults in the code.
	$(TOOL) golangci-lint run

.PHONY: verify
verify: ## Fail if something generated is out of date, the modules are untidy, or the linters find a fault.
	@before=$$(mktemp); after=$$(mktemp); trap 'rm -f "$$before" "$$after"' EXIT; \
	$(SNAPSHOT) >"$$before"; \
	$(MAKE) generate manifests docs; \
	$(SNAPSHOT) >"$$after"; \
	if ! cmp -s "$$before" "$$after"; then \
		echo "verify: these files were out of date; commit them as they are now:" >&2; \
		{ diff "$$before" "$$after" || true; } | awk '/^[<>]/ {print "  " $$3}' | sort -u >&2; \
		exit 1; \
	fi
	go mod tidy -diff
	$(MAKE) lint

##@ Help

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
