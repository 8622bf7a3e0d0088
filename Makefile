# SPDX-License-Identifier: GPL-2.0
# What a person runs; each target is a script in lab/. BASE= picks another base
# kernel of lab/base, FLAVOUR= a directory of fragments in lab/config.

export BASE FLAVOUR MACHINES PART
BASE ?= 6.12
LINUX = build/linux$(if $(filter-out 6.12,$(BASE)),-$(BASE))

.PHONY: help setup setup-run tree refresh kernel kernel-base tests run demo check check-base tce bench scale profile lint series bisect apply check-all page clean
.DEFAULT_GOAL := help

.DEFAULT:
	@echo "error: there is no target $@; make help lists them" >&2; exit 2

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 22

setup: ## install the Debian packages that the lab needs
	@lab/setup

setup-run:
	@lab/setup run

tree: setup ## expand base kernel and this repository into build/linux
	@lab/tree

refresh: ## write edits made in build/linux back into this repository
	@lab/overlay refresh $(LINUX)

kernel: setup ## build/kernel/vmlinux: this tree
	@lab/kernel tree

kernel-base: setup ## build/base/vmlinux: the base, unmodified
	@lab/kernel base

tests: tree ## build/tests: the selftests
	@lab/tests build/tests

run: setup-run ## Debian's QEMU, a Linux guest, a network card and an NVMe drive
	@lab/client/demo $(or $(MACHINES),powernv9 powernv8)

demo: setup ## a small demonstration with a DMA engine, on powernv9 and powernv8
	@lab/demo $(or $(MACHINES),powernv9 powernv8)

check: setup ## all tests, on all machines (PART="NAME..." picks some)
	@lab/check

check-base: setup ## show that the tests of past defects fail on the base kernel
	@lab/check-base

check-all: setup ## the same, and what takes long; goes on where it was stopped (PART=)
	@lab/check all

tce: tree ## the TCE code in user space: model, sanitizers, threads, fuzzer
	@lab/tce $(TARGET)

bench: setup ## what hypercalls cost: user space, base kernel, this tree
	@lab/bench $(MACHINES)

scale: setup ## whether virtual CPUs hinder each other, by the clock, with the noise
	@lab/bench scale

profile: setup ## instructions by function (MACHINES=powernv9 LOAD=0 WAY=tree)
	@lab/profile $(firstword $(MACHINES) powernv9) $(or $(LOAD),0) $(or $(WAY),tree)

page: setup ## try each command of the administrators' page
	@lab/page $(firstword $(MACHINES) powernv9)

lint: tree ## all that compilers and checkers say, and would not say of the base
	@lab/lint
	@lab/x86
	@lab/static

series: tree ## build/series: this tree as patches to send (SIGNOFF="Name <mail>")
	@lab/series $(LINUX) build/series

bisect: tree ## build and boot every prefix of the series
	@lab/bisect

apply: ## does this apply to KERNEL=directory? Then do it, unless DRYRUN=1
	@lab/apply "$(KERNEL)" $(if $(DRYRUN),dry)

clean: ## remove everything generated, downloads included
	rm -rf build
