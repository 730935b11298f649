# binproxy: `make` alone lists the targets. Needs Go and a POSIX shell; a target
# installs what else it needs, or says what that is.
.DEFAULT_GOAL := help
.PHONY: help preload build dockerfile frontend release demo test test-all bench lint clean clean-cache install

PREFIX  ?= /usr/local
DESTDIR ?=
BIN      = $(DESTDIR)$(PREFIX)/bin
MAN      = $(DESTDIR)$(PREFIX)/share/man

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

preload: ## after a change of shim/preload/c: its libraries anew, which git keeps; needs clang-19 and lld-19
	@scripts/preload-build shim/preload/lib

build: ## ./binproxy, one static binary
	@scripts/build binproxy

dockerfile: ## ./binproxy-dockerfile, which `binproxy dockerfile` calls; by BuildKit's parser
	@cd frontend && CGO_ENABLED=0 GOFLAGS= GOWORK=off go build -trimpath -buildvcs=false -ldflags='-s -w' -o ../binproxy-dockerfile ./cmd/binproxy-dockerfile

frontend: ## dist/frontend, an OCI layout: the image of the BuildKit frontend for amd64 and arm64 hosts (docs/frontend.md)
	@go run ./scripts/frontend

release: ## dist/: archives, packages, images, a bill of materials and the sums of a release (docs/install.md)
	@go run ./scripts/release

demo: build ## the main job from end to end: an arm64 image from a Dockerfile as it is, on a host with nothing registered
	@go run ./scripts/packages --required scripts/packages-demo
	@go run ./scripts/demo

test: ## each capability once, with real parts, in a quarter of an hour; brings what the tests need when root
	@go run ./scripts/test -short

test-all: ## every test
	@go run ./scripts/test

bench: ## the ratios of docs/architecture.md's budgets; ROWS=REGEXP, AGAINST=an earlier program or revision
	@go run ./scripts/bench -run '$(ROWS)' -against '$(AGAINST)'

lint: ## gofmt, go vet, staticcheck, shellcheck, actionlint
	@scripts/lint

install: build ## into PREFIX (/usr/local), under DESTDIR if given: the program, binproxy-dockerfile if it was made, and the man pages
	@go run ./scripts/man dist/man
	install -d '$(BIN)' '$(MAN)/man1'
	install -m 755 binproxy '$(BIN)/binproxy'
	if [ -e binproxy-dockerfile ]; then install -m 755 binproxy-dockerfile '$(BIN)/'; fi
	install -m 644 dist/man/*.1 '$(MAN)/man1/'

clean: ## remove what was built here
	rm -rf binproxy binproxy-dockerfile bundle dist

clean-cache: ## remove the downloads that were kept for the next run
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/binproxy"
