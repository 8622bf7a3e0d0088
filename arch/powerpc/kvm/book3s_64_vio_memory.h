/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the TCEs of a guest name: its memory, found in memslots.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_MEMORY_H
#define POWERPC_KVM_BOOK3S_64_VIO_MEMORY_H

#ifndef KVMPPC_TCE_MODE
#error "Who includes this says by KVMPPC_TCE_MODE where its code runs"
#endif

#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include <asm/tce_user.h>

/**
 * struct kvmppc_tce_mem - guest memory around the page met last
 * @base: guest address of its first byte, a multiple of the page's size
 * @limit: bytes; a page that begins below it, counted from @base, is within
 * @to_user: what turns a guest address into a user address
 * @mask: bits of a TCE, counted from @base, that must be those of TCE_PCI_READ
 * @page: word of the page list for @base
 * @ref: the region, in the gather
 *
 * All of it lies in one memslot, one region and one chunk of its page list.
 */
struct kvmppc_tce_mem {
	unsigned long base;
	unsigned long limit;
	unsigned long to_user;
	u64 mask;
	u64 *page;
	struct tce_user_ref *ref;
};

static noinline __maybe_unused struct kvm_memory_slot *
kvmppc_tce_search_slot(struct kvm_memslots *slots, gfn_t gfn)
{
	return __gfn_to_memslot(slots, gfn);
}

/* The memslot of @gfn, most often the one met last; NULL if not and no @search */
static __always_inline struct kvm_memory_slot *
kvmppc_tce_slot(struct kvm *kvm, gfn_t gfn, const bool search)
{
	struct kvm_memory_slot *slot;
	struct kvm_memslots *slots;

	/* kvm->srcu is held, but lockdep cannot be asked in guest context */
	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		slots = kvm_memslots(kvm);
	else
		slots = rcu_dereference_raw(kvm->memslots[0]);

	slot = (void *)atomic_long_read(&slots->last_used_slot);
	if (likely(slot && gfn - slot->base_gfn < slot->npages))
		return slot;

	return search ? kvmppc_tce_search_slot(slots, gfn) : NULL;
}

/*
 * User address of the page that @tce names.  All of it must be in one memslot, and not
 * in a read-only one if @tce lets the device write.  @last is the memslot met last, or
 * NULL; for @search see kvmppc_tce_slot().
 */
static __always_inline bool kvmppc_tce_to_ua(struct kvm *kvm,
					     struct kvm_memory_slot **last,
					     u64 tce, unsigned long size,
					     unsigned long *ua,
					     const bool search)
{
	unsigned long gpa = tce & ~(u64)TCE_USER_PERM;
	struct kvm_memory_slot *slot = *last;
	unsigned long off;

	if (unlikely(gpa & (size - 1)))
		return false;

	if (!slot || (gpa >> PAGE_SHIFT) - slot->base_gfn >= slot->npages) {
		slot = kvmppc_tce_slot(kvm, gpa >> PAGE_SHIFT, search);
		if (!slot)
			return false;
		*last = slot;
	}

	if (unlikely(slot->flags & (KVM_MEMSLOT_INVALID | KVM_MEM_READONLY)) &&
	    (slot->flags & KVM_MEMSLOT_INVALID || tce & TCE_PCI_WRITE))
		return false;

	/* Memslots are made of kernel pages */
	off = gpa - (slot->base_gfn << PAGE_SHIFT);
	off = array_index_nospec(off, slot->npages << PAGE_SHIFT);
	if (size > PAGE_SIZE && size > (slot->npages << PAGE_SHIFT) - off)
		return false;

	*ua = slot->userspace_addr + off;
	return true;
}

/* Have @mem be @bytes of @slot from guest address @base on, for pages of @size */
static __always_inline void
kvmppc_tce_set_mem(struct kvmppc_tce_mem *mem, const struct kvm_memory_slot *slot,
		   unsigned long base, unsigned long bytes, unsigned long size)
{
	mem->base = base;
	mem->mask = size - 1;
	if (!(slot->flags & KVM_MEM_READONLY))
		mem->mask &= ~(u64)TCE_PCI_WRITE;
	/* The permissions of a TCE may stand in the low bits */
	mem->limit = bytes - size + TCE_USER_PERM + 1;
}

/* A TCE of a list: in guest memory, or in the copy that virtual mode makes */
static __always_inline u64 kvmppc_tce_fetch(const __be64 *word)
{
	if (KVMPPC_TCE_MODE == TCE_USER_IRQOFF)
		return tce_user_fetch(word);
	/* With the MMU off, the CPU cannot go on after a machine check at this load */
	return tce_user_load(word);
}

/*
 * Is the page known to be poisoned?  To read it here may be fatal for the host.
 * Virtual mode reads it by its user address, and fails as the guest would.  Real mode
 * cannot look at the page, so it asks whether any page of the host is poisoned.
 */
static __always_inline bool kvmppc_tce_poisoned(u64 hpa)
{
#ifdef CONFIG_MEMORY_FAILURE
	if (KVMPPC_TCE_MODE == TCE_USER_REAL)
		return atomic_long_read(&num_poisoned_pages);
	/* A page of hugetlbfs fails as a whole */
	return is_page_hwpoison(pfn_to_page(hpa >> PAGE_SHIFT));
#else
	return false;
#endif
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_MEMORY_H */
