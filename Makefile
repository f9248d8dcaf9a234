# make demo      the three conversations of Kubernetes networking, with captures in ./out
# make test      every test
# make bench     how long the built-in scenarios take, from start to last line
# make goodput   writes captures/goodput.csv anew (Docs/Measuring.md)
# make peers     Hairpin against ns-3, C and the kernel, interleaved; ROUNDS=3 JOBS="bridge tcp" OUT=samples.tsv (Docs/Peers.md)
# make install PREFIX=/usr/local
# make clean

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
BUILD ?= .build
OUT ?= out
RUNS ?= 20
CONVERSATIONS = container-to-container pod-to-pod pod-to-service

HAIRPIN = $(BUILD)/release/hairpin
RESOURCES = hairpin_HairpinScenario.resources

.PHONY: build demo test bench goodput peers peer-requirements install uninstall clean requirements

build: requirements
	$(SWIFT) build -c release --build-path $(BUILD) --product hairpin

demo: build
	@$(HAIRPIN) run $(CONVERSATIONS) --captures $(OUT)
	@echo
	@echo "The captures are in ./$(OUT). Open them in Wireshark:"
	@for name in $(CONVERSATIONS); do echo "  wireshark $(OUT)/$$name.pcapng"; done
	@echo "In Wireshark, frame.packet_id follows one packet over its hops: veth, bridge, rewritten address."

test: requirements
	$(SWIFT) test --build-path $(BUILD)

bench: build
	@printf '%-28s %8s %8s   (%s runs, wall time from start to last line)\n' scenario min median $(RUNS)
	@for name in $(CONVERSATIONS); do \
	  for run in $$(seq $(RUNS)); do \
	    begin=$$(date +%s%N); $(HAIRPIN) run $$name >/dev/null 2>&1 || { echo "$$name failed" >&2; exit 1; }; end=$$(date +%s%N); \
	    echo $$((end - begin)); \
	  done | sort -n | awk -v name=$$name '{ t[NR] = $$1 / 1e6 } END { printf "%-28s %5.1f ms %5.1f ms\n", name, t[1], NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2 }'; \
	done

# In a change that says why: the table is compared by the tests.
goodput: requirements
	HAIRPIN_WRITE_GOODPUT=1 $(SWIFT) test --build-path $(BUILD) --filter GoodputTests

# Settings reach the script through the environment, as make hands on those of its command line.
peers: build peer-requirements
	@HAIRPIN="$(HAIRPIN)" BUILD="$(BUILD)" Sources/Peers/run

install: build
	install -d "$(DESTDIR)$(PREFIX)/libexec/hairpin" "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 $(HAIRPIN) "$(DESTDIR)$(PREFIX)/libexec/hairpin/hairpin"
	rm -rf "$(DESTDIR)$(PREFIX)/libexec/hairpin/$(RESOURCES)"
	cp -R $(BUILD)/release/$(RESOURCES) "$(DESTDIR)$(PREFIX)/libexec/hairpin/"
	ln -sfn ../libexec/hairpin/hairpin "$(DESTDIR)$(PREFIX)/bin/hairpin"

uninstall:
	rm -rf "$(DESTDIR)$(PREFIX)/libexec/hairpin" "$(DESTDIR)$(PREFIX)/bin/hairpin"

clean:
	rm -rf .build out

# Swift itself, and the headers of libpcap and zlib. On Debian and Ubuntu the headers are installed; elsewhere you are told what is missing.
requirements:
	@command -v $(SWIFT) >/dev/null || { echo "Swift 6.1 or newer is needed: https://www.swift.org/install" >&2; exit 1; }
	@if command -v pkg-config >/dev/null && pkg-config --exists libpcap zlib; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "The development files of libpcap and zlib, and pkg-config, are needed:" >&2; \
	  echo "  Fedora: dnf install libpcap-devel zlib-devel pkgconf-pkg-config" >&2; \
	  echo "  Arch:   pacman -S libpcap zlib pkgconf" >&2; \
	  echo "  macOS:  brew install libpcap pkg-config" >&2; \
	  exit 1; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null; then sudo=sudo; else \
	  echo "As root: apt-get install libpcap-dev zlib1g-dev pkg-config" >&2; exit 1; fi; \
	echo "Installing libpcap-dev, zlib1g-dev and pkg-config with $${sudo:+sudo }apt-get."; \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq libpcap-dev zlib1g-dev pkg-config

# What the peers are built with. Whatever is missing is installed on Debian and Ubuntu; without it those peers are reported as not run.
peer-requirements:
	@missing=; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v g++ >/dev/null || missing="$$missing g++"; \
	if [ -z "$(NS3_FLAGS)" ] && [ ! -e /usr/include/ns3/core-module.h ]; then missing="$$missing libns3-dev"; fi; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "Without$$missing some peers cannot run." >&2; exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null; then sudo=sudo; else \
	  echo "Without$$missing some peers cannot run. As root: apt-get install$$missing" >&2; exit 0; fi; \
	echo "Installing$$missing with $${sudo:+sudo }apt-get."; \
	{ $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing; } || \
	  echo "They could not be installed; some peers cannot run." >&2
