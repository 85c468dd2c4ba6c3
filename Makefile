# The front door. What the words do stands in crates/xtask; `cargo xtask help` lists more.
.PHONY: help run test torture lint bench fuzz docs cc

help:
	@echo "make run     start Culver on ports of this machine's loopback, with a demo account; prints how to connect"
	@echo "make test    everything that proves the project; installs what the tests need, where it may"
	@echo "make torture 10,000 (TORTURE_HISTORIES) histories of the store with a fault at any system call, and power losses"
	@echo "make lint    formatting, clippy, licences"
	@echo "make bench   Culver beside Dovecot on the same mail; prints and writes BENCHMARKS.md"
	@echo "make fuzz    every fuzz target for FUZZ_SECONDS (60) each"
	@echo "make docs    print docs/reference/ and the generated part of README.md anew"

# ARGS: further arguments, as in `make run ARGS="--users 3"`.
run: cc
	@cargo run --quiet --package culver -- demo $(ARGS)

test: cc
	@cargo xtask test $(ARGS)

torture: cc
	@cargo xtask torture

lint: cc
	@cargo xtask lint

bench: cc
	@cargo xtask bench $(ARGS)

fuzz: cc
	@cargo xtask fuzz $(ARGS)

docs: cc
	@cargo xtask docs

# Rust itself cannot link without a C compiler, so xtask could not say this.
cc:
	@command -v cc >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev; } || { \
	  echo "A C compiler is missing. Install it: sudo apt-get install gcc libc6-dev" >&2; exit 1; }
