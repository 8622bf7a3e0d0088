# SPDX-License-Identifier: GPL-2.0
# What a person runs; each target is a script in lab/. "make help" lists the targets and
# the variables.

export BASE CASE DEBUG FLAVOUR MACHINES PART TARGET TEST
BASE ?= 6.12
LINUX = build/linux$(if $(filter-out 6.12,$(BASE)),-$(BASE))

targets := help run demo test check check-all check-base check-fixes check-cache tce lint page \
	bench scale profile tree refresh kernel kernel-base tests series bisect apply setup clean
# The last ones are for lab/machine/boot, watch and lab/series/bisect
variables := BASE CASE DEBUG DEFECT DRYRUN FLAVOUR FROM KERNEL LOAD MACHINES PART SIGNOFF TARGET \
	TEST TO WAY APPEND COMPILE CONFIGS LARGE_PAGES MEMORY PATIENCE SMP
.PHONY: $(targets) before setup-run
.DEFAULT_GOAL := help

unknown := $(filter-out $(targets),$(MAKECMDGOALS))
$(if $(unknown),$(error there is no target $(firstword $(unknown)); "make help" lists the targets))
given := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
unknown := $(filter-out $(variables),$(given))
$(if $(unknown),$(error there is no variable $(firstword $(unknown)); "make help" lists them))

help:
	@sed -n -e 's/^\([a-z-]*\):.*## /  make \1	/p' -e 's/^# \(.*:\)$$/\n\1/p' \
		-e 's/^#  \([A-Z]*=.*\)/  \1/p' Makefile | sed 1d | expand -t 22,30

# See what it does:

run: setup-run ## Debian's QEMU, a Linux guest, a network card and an NVMe drive
	@lab/client/show $(or $(MACHINES),powernv9 powernv8)

demo: setup ## a small demonstration with a DMA engine, on powernv9 and powernv8
	@lab/machine/test tce_demo $(or $(MACHINES),powernv9 powernv8)

# Test:

test: setup ## one selftest on the tree as edited: TEST=tce_observe (CASE=name, MACHINES)
	@lab/machine/test "$(TEST)" $(or $(MACHINES),powernv9)

check: setup ## the tests that must pass before a commit, on all machines (DEBUG=1: CI's)
	@lab/check/run

check-all: setup ## all tests, in hours; goes on where it was stopped
	@lab/check/run all

check-base: setup ## show that the test of each defect fails on a kernel that has it (CASE=name)
	@lab/check/base

check-fixes: setup ## show that the fixes for the base alone work (DEFECT="D4 D5" picks some)
	@lab/series/fixes/check

check-cache: setup ## the tests with host bridges that cache, and kernels that forget to tell them
	@PART="$(addsuffix .cache,$(or $(MACHINES),powernv8 powernv9 powernv10)) broken" \
		lab/check/run all

tce: tree ## the TCE code in user space (TARGET=random, fuzz, mutants, coverage, litmus)
	@lab/check/tce $(TARGET)

lint: tree ## what compilers and checkers say of this tree, and not of the base
	@lab/check/lint
	@lab/kernel/x86
	@lab/check/warnings

page: setup ## try each command of the administrators' page (after "make check")
	@lab/check/page $(firstword $(MACHINES) powernv9)

# Measure:

bench: setup ## what hypercalls cost: user space, base kernel, this tree
	@lab/bench/run $(MACHINES)

scale: setup ## whether virtual CPUs hinder each other, by the clock, with the noise
	@lab/bench/run scale

profile: setup ## instructions, atomics, ... by function (LOAD=0 WAY=tree; after "make check")
	@lab/bench/profile $(firstword $(MACHINES) powernv9) $(or $(LOAD),0) $(or $(WAY),tree)

# Change it:

tree: setup ## expand base kernel and this repository into build/linux
	@lab/tree/expand

refresh: before ## write edits made in build/linux back into this repository
	@# What the series' diffs are merged with, if they no longer apply
	@[ "$(or $(BASE),6.12)" != 6.12 ] || lab/series/write stack $(LINUX) >/dev/null 2>&1 || :
	@lab/tree/overlay refresh $(LINUX)
	@[ "$(or $(BASE),6.12)" != 6.12 ] || lab/series/write refresh $(LINUX)

kernel: setup ## build build/kernel/vmlinux, the kernel of this tree
	@lab/kernel/build tree

kernel-base: setup ## build build/base/vmlinux, the base kernel, unmodified
	@lab/kernel/build base

tests: tree ## build the selftests into build/tests
	@lab/kernel/selftests build/tests

# Send it, or put it on another kernel:

series: tree ## build/series: this tree as patches to send (PART=C, SIGNOFF="Name <mail>")
	@# The stack is kept for the usual base
	@[ $(LINUX) = build/linux ] || BASE= lab/tree/expand
	@lab/series/write $(LINUX) $(LINUX:build/linux%=build/series%)

bisect: tree ## build and boot every prefix of the series (PART=C FROM=200 TO=360)
	@lab/series/bisect

apply: before ## apply this to the kernel in KERNEL=directory; DRYRUN=1 only says if it fits
	@lab/tree/apply "$(KERNEL)" $(if $(DRYRUN),dry)

# Keep house:

setup: before ## install the Debian packages that the lab needs
	@lab/apt/setup

clean: ## remove everything generated, downloads included
	rm -rf build

# Variables:
#  MACHINES="pseries"	where (page, profile, bisect and check-base take the first machine only)
#  PART="tce lint"	only these parts of check or check-all, and what they need
#  PART=C	this part of the series (series, bisect)
#  DEBUG=1	check also on kernels with debugging and without an IOMMU, as CI does
#  BASE=7.2	another base kernel of lab/tree/base
#  FLAVOUR="debug 4k"	directories of lab/kernel/config, added to a kernel's configuration
#  CONFIGS= COMPILE=1	of bisect (lab/series/bisect)
#  APPEND= MEMORY= SMP=	of a machine, as PATIENCE= and LARGE_PAGES= (lab/machine/boot)

setup-run: before
	@lab/apt/setup fetch
	@# The sources are unpacked while packages for the rest are installed
	@lab/tree/expand & expand=$$!; \
		lab/apt/setup run || { kill $$expand; exit 1; }; wait $$expand

before:
	@GIVEN="$(strip $(given))" lab/check/before $(MAKECMDGOALS)
