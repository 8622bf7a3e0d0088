# SPDX-License-Identifier: GPL-2.0
# The parts of "make check" and "make check-all", and what each needs; lab/check/part says
# what each does, lab/check/run runs some at a time, in this order: what others wait for, or
# what takes longest, comes first.

MACHINES ?= powernv8 powernv9 powernv9-hash powernv10 pseries
room := $(dir $(lastword $(MAKEFILE_LIST)))

# on MACHINES: those of them that are to be tested
on = $(filter $(MACHINES),$(1))

# A part of the tests and tiers, and all of them (lab/check/part)
debug_4k := $(addsuffix .debug-4k-nohz,$(call on,powernv9))
debug_4k_all := $(addsuffix .debug-4k-nohz-all,$(call on,powernv9))
# A CPU without a tick, which a guest that computes keeps for itself
nohz := $(addsuffix .nohz,$(call on,powernv9))
# Its windows are made and removed by a hypervisor, where the others make tables
faults := $(addsuffix .faults,$(call on,pseries))
large := $(addsuffix .large-pages,$(call on,powernv9 pseries))
groups := $(addsuffix .five-groups,$(call on,powernv9))
# Real mode is what powernv8's own tests are for; QEMU and drivers are the same there.
client := $(addsuffix .client,$(call on,powernv9))
powernv := $(call on,powernv9 powernv8 powernv9-hash powernv10)
client_all := $(addsuffix .client-all,$(powernv))
# The guest of a guest takes a quarter of an hour
client_l2 := $(addsuffix .client-l2,$(call on,pseries))
debug := $(addsuffix .debug,$(powernv))
random := $(addsuffix .random,$(MACHINES))
# Tests that these do as powernv9 and powernv8 do
rest := $(addsuffix .rest,$(call on,powernv9-hash powernv10))
# KASAN has a radix host only.
# Most of KVM's own selftests do not know what machine they are on.
library := $(addsuffix .library,$(filter-out powernv9,$(MACHINES)))
kasan := $(addsuffix .kasan,$(call on,powernv9 powernv10))
# The bridges of pseries are the hypervisor's.
cache := $(addsuffix .cache,$(call on,powernv8 powernv9 powernv10))
4k := $(addsuffix .4k,$(call on,powernv9 powernv8))
boots := $(MACHINES) $(large) $(groups)
here := x86 lint tce litmus overlay watch wrong
# A kernel with debugging, and one that few have, are too long a wait for each change
deep := kernel-debug-4k-nohz $(debug_4k) $(nohz) $(faults) no-iommu

CHECK := kernel tests warnings $(if $(DEBUG),$(deep)) $(boots) $(client) $(here)
ALL := $(filter-out $(client) $(debug_4k) tce x86,$(CHECK) $(deep)) $(debug_4k_all) $(rest) $(library) kernel-debug $(debug) $(client_all) $(client_l2) $(random) \
	kernel-client kernel-kasan $(kasan) kernel-4k $(4k) qemu-cache $(cache) broken \
	lint-series tce-all x86-all mutants debian modular page bisect
PARTS := $(sort $(CHECK) $(ALL))

.PHONY: list-check list-all $(PARTS)
list-check: ; @echo $(CHECK)
list-all: ; @echo $(ALL)

$(PARTS): ; @$(room)part $@

$(boots) $(rest) $(library) $(random): kernel tests
$(client) $(client_l2): kernel
$(client_all): kernel-client tests
$(debug_4k) $(debug_4k_all) $(nohz) $(faults): kernel-debug-4k-nohz tests
$(debug): kernel-debug tests
$(kasan): kernel-kasan tests
$(4k): kernel-4k tests
$(cache) broken: kernel tests qemu-cache
modular page bisect: tests
# Each writes build/series
lint-series: | lint
bisect: | lint-series
# One build at a time, the one first that most wait for
kernel-debug-4k-nohz kernel-debug kernel-client kernel-kasan kernel-4k: | kernel
