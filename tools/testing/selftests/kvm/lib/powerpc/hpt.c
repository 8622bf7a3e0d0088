// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hashed page table of a guest on a hash host.
 *
 * KVM keeps the table.  Entries are written through the file descriptor that is
 * made for migration, so a guest needs no code for it.  Addresses are in one
 * segment, whose SLB entry each CPU gets before it runs.
 *
 * The formats are those that Power ISA 2.07, Book III-S, has under "Segment
 * Lookaside Buffer" and "Page Table"; KVM's interface keeps to them on later CPUs.
 */
#include <endian.h>

#include "kvm_util.h"
#include "processor.h"

/* log2 of bytes; enough for some gigabytes in the pages that the guest has */
#define HPT_ORDER_4K		24
#define HPT_ORDER_64K		22
/* An entry has 16 bytes, and a group eight entries */
#define GROUP_SIZE		8
#define GROUP_ORDER		7
/* In the last one KVM has what the guest sees with translation off */
#define GROUP_FREE		7

/* The segment: addresses below 1T; any VSID that is not KVM's */
#define SEGMENT_VSID		1ULL
#define SEGMENT_1T		BIT_ULL(62)	/* in SLB and page table entry */
#define SLB_VALID		BIT_ULL(27)
#define SLB_VSID_SHIFT		24

#define HPTE_VSID_SHIFT		24
#define HPTE_LARGE		BIT_ULL(2)	/* pages of more than 4K */
#define HPTE_SECONDARY		BIT_ULL(1)
#define HPTE_VALID		BIT_ULL(0)
#define HPTE_ENC_SHIFT		12
#define HPTE_REFERENCED		BIT_ULL(8)
#define HPTE_CHANGED		BIT_ULL(7)
#define HPTE_COHERENT		BIT_ULL(4)
#define HPTE_WRITE		(2ULL << 0)	/* PP, for keys 0 and 1 */

/* What is written at one index: a header of KVM's and one entry, big-endian */
struct hpt_write {
	struct kvm_get_htab_header header;
	uint64_t first;
	uint64_t second;
};

static __u32 hpt_order(const struct kvm_vm *vm)
{
	return vm->page_size > MIN_PAGE_SIZE ? HPT_ORDER_64K : HPT_ORDER_4K;
}

static uint64_t hpt_groups(const struct kvm_vm *vm)
{
	return 1ULL << (hpt_order(vm) - GROUP_ORDER);
}

/* How KVM encodes pages of the guest's size, in segments with this base size */
static bool find_page_size(struct kvm_vm *vm,
			   const struct kvm_ppc_smmu_info *info)
{
	int i;

	for (i = 0; i < KVM_PPC_PAGE_SIZES_MAX_SZ; i++) {
		const struct kvm_ppc_one_seg_page_size *sps = &info->sps[i];

		if (sps->page_shift != vm->page_shift)
			continue;
		TEST_ASSERT(sps->enc[0].page_shift == vm->page_shift,
			    "A segment's first page size is its base size");
		vm->arch.hpt_slb = sps->slb_enc;
		vm->arch.hpt_enc = sps->enc[0].pte_enc;
		return true;
	}
	return false;
}

void powerpc_hpt_alloc(struct kvm_vm *vm)
{
	struct kvm_ppc_smmu_info info;
	__u32 order = hpt_order(vm);
	unsigned int pages;

	vm_ioctl(vm, KVM_PPC_GET_SMMU_INFO, &info);
	__TEST_REQUIRE(info.flags & KVM_PPC_1T_SEGMENTS &&
		       find_page_size(vm, &info),
		       "This host's guests have no pages of 0x%x bytes in segments of 1T",
		       vm->page_size);

	vm_ioctl(vm, KVM_PPC_ALLOCATE_HTAB, &order);
	pages = vm_calc_num_guest_pages(vm->mode, hpt_groups(vm));
	vm->arch.hpt_used = vm_phy_pages_alloc(vm, pages,
					       KVM_GUEST_PAGE_TABLE_MIN_PADDR,
					       vm->memslots[MEM_REGION_PT]);
}

/* Fails with EBUSY while a CPU runs: then map before */
static void hpt_write(struct kvm_vm *vm, uint64_t index, uint64_t first,
		      uint64_t second)
{
	struct kvm_get_htab_fd get = { .flags = KVM_GET_HTAB_WRITE };
	struct hpt_write entry = {
		.header = { .index = index, .n_valid = 1 },
		.first = htobe64(first),
		.second = htobe64(second),
	};
	int fd = __vm_ioctl(vm, KVM_PPC_GET_HTAB_FD, &get);
	ssize_t done;

	TEST_ASSERT_VM_VCPU_IOCTL(fd >= 0, KVM_PPC_GET_HTAB_FD, fd, vm);
	done = write(fd, &entry, sizeof(entry));
	TEST_ASSERT(done == sizeof(entry),
		    "Writing page table entry 0x%lx failed, errno: %i (%s)",
		    index, errno, strerror(errno));
	/* Not kept open, as it would keep the VM */
	close(fd);
}

void powerpc_hpt_map(struct kvm_vm *vm, uint64_t vaddr, uint64_t paddr)
{
	uint64_t hash = SEGMENT_VSID ^ (SEGMENT_VSID << 25) ^
			(vaddr >> vm->page_shift);
	uint64_t mask = hpt_groups(vm) - 1, group = hash & mask;
	uint8_t *used = addr_gpa2hva(vm, vm->arch.hpt_used);
	uint64_t first = SEGMENT_1T | SEGMENT_VSID << HPTE_VSID_SHIFT |
			 vaddr >> 23 << 7 | HPTE_VALID;

	if (used[group] == GROUP_FREE) {
		group ^= mask;
		first |= HPTE_SECONDARY;
	}
	TEST_ASSERT(used[group] < GROUP_FREE,
		    "No room in the hashed page table for 0x%lx", vaddr);
	if (vm->page_size > MIN_PAGE_SIZE)
		first |= HPTE_LARGE;

	hpt_write(vm, group * GROUP_SIZE + used[group]++, first,
		  paddr | vm->arch.hpt_enc << HPTE_ENC_SHIFT | HPTE_REFERENCED |
		  HPTE_CHANGED | HPTE_COHERENT | HPTE_WRITE);
}

void powerpc_hpt_set_slb(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.u.s.ppc64.slb[0].slbe = SLB_VALID;
	sregs.u.s.ppc64.slb[0].slbv = SEGMENT_1T |
				      SEGMENT_VSID << SLB_VSID_SHIFT |
				      vcpu->vm->arch.hpt_slb;
	vcpu_sregs_set(vcpu, &sregs);
}
