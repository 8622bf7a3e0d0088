// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address translation of a guest on POWER.
 *
 * Every VM has a radix tree.  The MMU of a radix guest walks it; KVM is told
 * where it is.  The MMU of a hash guest searches a hashed page table, which the
 * library cannot easily ask what is mapped: it looks that up in the tree.
 *
 * Tree and process table are big-endian, whatever the guest is.  The formats are
 * those that Power ISA 3.0, Book III, has under "Radix Tree Translation" and
 * "Process Table".  POWER9 and later want exactly these levels.
 */
#include <endian.h>

#include "kvm_util.h"
#include "processor.h"

#define LEVELS			4
#define LAST			(LEVELS - 1)
#define ROOT_BITS		13
#define ROOT_SIZE		(8ULL << ROOT_BITS)

#define ENTRY_VALID		BIT_ULL(63)
#define ENTRY_LEAF		BIT_ULL(62)
#define ENTRY_ADDRESS		0x01ffffffffffff00ULL	/* of a table */
#define PTE_ADDRESS		0x01fffffffffff000ULL	/* of a page */
#define PTE_REFERENCED		BIT_ULL(8)
#define PTE_CHANGED		BIT_ULL(7)
#define PTE_PRIVILEGED		BIT_ULL(3)
#define PTE_READ		BIT_ULL(2)
#define PTE_WRITE		BIT_ULL(1)
#define PTE_EXECUTE		BIT_ULL(0)
#define PTE_FLAGS		(ENTRY_VALID | ENTRY_LEAF | PTE_REFERENCED | \
				 PTE_CHANGED | PTE_PRIVILEGED | PTE_READ | \
				 PTE_WRITE | PTE_EXECUTE)

/* Process table entry: 52 bits of address, given as 52 - 31 in two pieces */
#define PROCESS_ADDRESS_BITS	((2ULL << 61) | (5ULL << 5))
/* Second word of a partition table entry: the guest's tree is radix */
#define PARTITION_RADIX		BIT_ULL(63)

/* Index bits of each level; the last has what is left of 2M */
static unsigned int level_bits(struct kvm_vm *vm, int level)
{
	static const unsigned int bits[LEVELS - 1] = { ROOT_BITS, 9, 9 };

	return level == LAST ? 21 - vm->page_shift : bits[level];
}

/* The lowest address bit of its index */
static unsigned int level_shift(struct kvm_vm *vm, int level)
{
	static const unsigned int shift[LEVELS - 1] = { 39, 30, 21 };

	return level == LAST ? vm->page_shift : shift[level];
}

static uint64_t *entry_of(struct kvm_vm *vm, uint64_t table, int level,
			  uint64_t gva)
{
	uint64_t mask = (1ULL << level_bits(vm, level)) - 1;

	return (uint64_t *)addr_gpa2hva(vm, table) +
	       ((gva >> level_shift(vm, level)) & mask);
}

/* A table has to be aligned to its size, and is smaller than a page */
static uint64_t table_alloc(struct kvm_vm *vm, int level)
{
	struct kvm_vm_arch *arch = &vm->arch;
	uint64_t size = 8ULL << level_bits(vm, level);
	uint64_t table = align_up(arch->table_next, size);

	if (table + size > arch->table_end) {
		table = vm_alloc_page_table(vm);
		arch->table_end = table + vm->page_size;
	}
	arch->table_next = table + size;
	return table;
}

static void configure_radix(struct kvm_vm *vm)
{
	uint64_t table = vm_alloc_page_table(vm);
	struct kvm_ppc_mmuv3_cfg config = {
		.flags = KVM_PPC_MMUV3_RADIX,
		.process_table = PARTITION_RADIX | table,
	};

	/* The smallest process table has 4K; entry 0, as the guest's PID is 0 */
	*(uint64_t *)addr_gpa2hva(vm, table) =
		htobe64(PROCESS_ADDRESS_BITS | vm->pgd | ROOT_BITS);
	vm_ioctl(vm, KVM_PPC_CONFIGURE_V3_MMU, &config);
}

void virt_arch_pgd_alloc(struct kvm_vm *vm)
{
	if (vm->pgd_created)
		return;

	vm->pgd = vm_phy_pages_alloc(vm, ROOT_SIZE / vm->page_size,
				     KVM_GUEST_PAGE_TABLE_MIN_PADDR,
				     vm->memslots[MEM_REGION_PT]);
	TEST_ASSERT(!(vm->pgd % ROOT_SIZE),
		    "The radix tree's root 0x%lx is not aligned to its size",
		    vm->pgd);
	vm->pgd_created = true;

	vm->arch.radix = vm_check_cap(vm, KVM_CAP_PPC_MMU_RADIX);
	if (vm->arch.radix)
		configure_radix(vm);
	else
		powerpc_hpt_alloc(vm);
}

void virt_arch_pg_map(struct kvm_vm *vm, uint64_t vaddr, uint64_t paddr)
{
	uint64_t table = vm->pgd;
	uint64_t *entry;
	int level;

	TEST_ASSERT(!(vaddr % vm->page_size) && !(paddr % vm->page_size),
		    "Cannot map 0x%lx to 0x%lx: not aligned to pages of 0x%x",
		    vaddr, paddr, vm->page_size);
	TEST_ASSERT(sparsebit_is_set(vm->vpages_valid, vaddr >> vm->page_shift),
		    "Virtual address 0x%lx is beyond %u bits", vaddr,
		    POWERPC_VA_BITS);
	TEST_ASSERT(paddr >> vm->page_shift <= vm->max_gfn,
		    "Physical address 0x%lx is beyond page 0x%lx", paddr,
		    vm->max_gfn);

	for (level = 0; level < LAST; level++) {
		entry = entry_of(vm, table, level, vaddr);
		if (!*entry)
			*entry = htobe64(ENTRY_VALID | table_alloc(vm, level + 1) |
					 level_bits(vm, level + 1));
		table = be64toh(*entry) & ENTRY_ADDRESS;
	}
	entry = entry_of(vm, table, LAST, vaddr);
	TEST_ASSERT(!*entry, "0x%lx is mapped already", vaddr);
	*entry = htobe64(PTE_FLAGS | paddr);

	if (!vm->arch.radix)
		powerpc_hpt_map(vm, vaddr, paddr);
}

uint64_t addr_arch_gva2gpa(struct kvm_vm *vm, uint64_t gva)
{
	uint64_t table = vm->pgd;
	uint64_t entry;
	int level;

	TEST_ASSERT(vm->pgd_created, "Nothing is mapped at 0x%lx, or elsewhere",
		    gva);

	for (level = 0; ; level++) {
		entry = be64toh(*entry_of(vm, table, level, gva));
		TEST_ASSERT(entry & ENTRY_VALID, "Nothing is mapped at 0x%lx",
			    gva);
		if (level == LAST)
			return (entry & PTE_ADDRESS) + gva % vm->page_size;
		table = entry & ENTRY_ADDRESS;
	}
}

static void dump_table(FILE *stream, struct kvm_vm *vm, uint8_t indent,
		       uint64_t table, int level, uint64_t gva)
{
	uint64_t *entries = addr_gpa2hva(vm, table), i, entry;

	for (i = 0; i < 1ULL << level_bits(vm, level); i++) {
		uint64_t at = gva + (i << level_shift(vm, level));

		entry = be64toh(entries[i]);
		if (!entry)
			continue;
		if (level == LAST)
			fprintf(stream, "%*s0x%lx: 0x%lx\n", indent, "", at,
				entry);
		else
			dump_table(stream, vm, indent, entry & ENTRY_ADDRESS,
				   level + 1, at);
	}
}

void virt_arch_dump(FILE *stream, struct kvm_vm *vm, uint8_t indent)
{
	if (vm->pgd_created)
		dump_table(stream, vm, indent, vm->pgd, 0, 0);
}

void vm_vaddr_populate_bitmap(struct kvm_vm *vm)
{
	sparsebit_set_num(vm->vpages_valid, 0,
			  1ULL << (POWERPC_VA_BITS - vm->page_shift));
}
