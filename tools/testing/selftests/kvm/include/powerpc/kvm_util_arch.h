/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_UTIL_ARCH_H
#define SELFTEST_KVM_UTIL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct kvm_vm_arch - what a VM has on POWER only
 * @radix: the guest's MMU walks a radix tree; else it has a hashed page table
 * @table_next: where the next table of the tree goes
 * @table_end: the end of the page in which it is
 * @hpt_used: how many entries of each group of the hashed page table are in use
 * @hpt_slb: SLB entry of a segment: the bits for its page size
 * @hpt_enc: the page size in a hashed page table entry
 */
struct kvm_vm_arch {
	bool radix;
	uint64_t table_next;
	uint64_t table_end;
	uint64_t hpt_used;
	uint32_t hpt_slb;
	uint32_t hpt_enc;
};

#endif /* SELFTEST_KVM_UTIL_ARCH_H */
