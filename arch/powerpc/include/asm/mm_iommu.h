/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preregistered memory: user memory that was pinned once, in large regions,
 * so that single IOMMU pages of it can be handed to a device without asking
 * the memory management again.
 *
 * Regions belong to an mm and never overlap.  They are found through
 * mm->context.iommu_regions, an array sorted by user address:
 *
 *	slot[0]		slot[1]		slot[2]
 *	ua..ua+size	(gone)		ua..ua+size
 *
 * A lookup is a binary search, preceded by one probe at the place where the
 * caller found its previous region, so that its cost does not grow with the
 * number of regions as long as a caller stays within one of them.  A new region
 * is published in a new array; an unregistered one leaves an empty slot behind,
 * which needs no memory and so cannot fail.
 *
 * Life of a region.  @mapped is 1 when the region is registered and no
 * translation leads to it, 1 + n when n translations (or the batches that are
 * about to install or have just removed them, see asm/iommu_user.h) do, and 0
 * when it has been unregistered; 0 is final.  Whoever raises @mapped from a
 * value other than 0 keeps the pages pinned until it lowers it again.
 *
 * The array, the regions and their page lists are read by hypercalls in guest
 * context, where RCU does not look.  They are freed after a grace period of
 * iommu_user_srcu only; everything in this header wants that to be held, or
 * mm_iommu_lock, or a count in @mapped.
 *
 * What is read with the MMU off must lie in the linear map: the descriptor, the
 * array and the chunks of the page list are small enough for the slab and page
 * allocators.  The table of chunks is too, unless a region has millions of
 * pages; then @open lacks MM_IOMMU_OPEN_REAL.
 */
#ifndef _ASM_POWERPC_MM_IOMMU_H
#define _ASM_POWERPC_MM_IOMMU_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/mm_types.h>
#include <linux/rcupdate.h>
#include <linux/srcu.h>

/* Physical addresses in one chunk of a region's page list, as a shift */
#define MM_IOMMU_CHUNK_SHIFT	(PAGE_SHIFT - 3)
#define MM_IOMMU_CHUNK_SIZE	BIT(MM_IOMMU_CHUNK_SHIFT)

/*
 * In an address of the page list: a device may have written to the page.  The
 * same bit as TCE_PCI_WRITE, so that they can be compared at once.
 */
#define MM_IOMMU_HPA_DIRTY	2UL

/* Who may install translations that lead to a region */
#define MM_IOMMU_OPEN		1	/* anybody with the MMU on */
#define MM_IOMMU_OPEN_REAL	2	/* and with the MMU off */

/**
 * struct mm_iommu_table_group_mem_t - one region of preregistered memory
 * @rcu: defers the release past iommu_user_srcu
 * @used: registrations by containers; under mm_iommu_lock
 * @mapped: see "Life of a region" above
 * @pageshift: the largest IOMMU page that every page of the region can back
 * @open: MM_IOMMU_OPEN*; 0 when @used is
 * @ua: user address of the first byte, a multiple of PAGE_SIZE
 * @entries: size in pages of PAGE_SIZE
 * @chunks: page list: @entries host physical addresses, a page per chunk
 */
struct mm_iommu_table_group_mem_t {
	struct rcu_head rcu;
	unsigned long used;
	atomic64_t mapped;
	unsigned int pageshift;
	unsigned int open;
	u64 ua;
	u64 entries;
	u64 **chunks;
};

/**
 * struct mm_iommu_slot - where a region is found
 * @ua: first user address; stays when the region goes, to keep the order
 * @size: bytes
 * @mem: the region, or NULL when it has been unregistered
 */
struct mm_iommu_slot {
	u64 ua;
	u64 size;
	struct mm_iommu_table_group_mem_t *mem;
};

/**
 * struct mm_iommu_regions - all regions of an mm, sorted by user address
 * @rcu: defers the release past iommu_user_srcu
 * @nr: slots
 * @slot: the slots, empty ones included
 */
struct mm_iommu_regions {
	struct rcu_head rcu;
	unsigned int nr;
	struct mm_iommu_slot slot[] __counted_by(nr);
};

extern struct srcu_struct iommu_user_srcu;

/**
 * iommu_user_enter_guest() - let guest context read regions and tables
 *
 * Context: before guest entry, where RCU still watches.
 * Return: what iommu_user_exit_guest() wants.
 */
static inline int iommu_user_enter_guest(void)
{
	if (!IS_ENABLED(CONFIG_SPAPR_TCE_IOMMU))
		return 0;
	return srcu_read_lock(&iommu_user_srcu);
}

/**
 * iommu_user_exit_guest() - end what iommu_user_enter_guest() began
 * @idx: what that returned
 *
 * Context: after all threads that entered with it have left the guest.
 */
static inline void iommu_user_exit_guest(int idx)
{
	if (IS_ENABLED(CONFIG_SPAPR_TCE_IOMMU))
		srcu_read_unlock(&iommu_user_srcu, idx);
}

bool mm_iommu_preregistered(struct mm_struct *mm);
long mm_iommu_new(struct mm_struct *mm, unsigned long ua, unsigned long entries,
		  struct mm_iommu_table_group_mem_t **pmem);
struct mm_iommu_table_group_mem_t *mm_iommu_get(struct mm_struct *mm,
						unsigned long ua,
						unsigned long entries);
long mm_iommu_put(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem);
void mm_iommu_drop(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem);
void mm_iommu_reap(struct mm_struct *mm);

static __always_inline bool mm_iommu_slot_has(const struct mm_iommu_slot *slot,
					      unsigned long ua,
					      unsigned long size)
{
	/*
	 * A @ua below the slot wraps, and is further away than any size.  What
	 * does not cross a kernel page does not leave the slot in its middle.
	 */
	return ua - slot->ua < slot->size &&
	       (size <= PAGE_SIZE || size <= slot->size - (ua - slot->ua));
}

static noinline __maybe_unused struct mm_iommu_table_group_mem_t *
mm_iommu_search(struct mm_iommu_regions *regions, unsigned long ua,
		unsigned long size, u32 *hint)
{
	unsigned int lo = 0, hi = regions->nr, at;

	/* The last slot that does not start above @ua */
	while (hi - lo > 1) {
		at = lo + (hi - lo) / 2;
		if (regions->slot[at].ua <= ua)
			lo = at;
		else
			hi = at;
	}

	if (!mm_iommu_slot_has(&regions->slot[lo], ua, size))
		return NULL;

	WRITE_ONCE(*hint, lo);
	return READ_ONCE(regions->slot[lo].mem);
}

/**
 * mm_iommu_find() - the region that holds a range of user addresses
 * @mm: whose memory
 * @ua: first user address
 * @size: bytes, at least 1; up to PAGE_SIZE they do not cross a page
 * @hint: slot number where the caller found its last region; updated
 * @search: look in other slots, too
 *
 * Context: any, real mode included; iommu_user_srcu held.
 * Return: the region that holds all of the range, or NULL.
 */
static __always_inline struct mm_iommu_table_group_mem_t *
mm_iommu_find(struct mm_struct *mm, unsigned long ua, unsigned long size,
	      u32 *hint, const bool search)
{
	/* Pairs with the smp_store_release() in mm_iommu_publish() */
	struct mm_iommu_regions *regions =
		READ_ONCE(mm->context.iommu_regions);
	unsigned int at = READ_ONCE(*hint);

	if (unlikely(!regions))
		return NULL;

	if (likely(at < regions->nr &&
		   mm_iommu_slot_has(&regions->slot[at], ua, size)))
		return READ_ONCE(regions->slot[at].mem);

	return search ? mm_iommu_search(regions, ua, size, hint) : NULL;
}

/**
 * mm_iommu_page() - the word of the page list for a user address
 * @mem: the region
 * @ua: user address within it
 *
 * Context: as mm_iommu_find(); in real mode only with
 * MM_IOMMU_OPEN_REAL.
 * Return: where the host physical address of the page, a multiple of PAGE_SIZE
 * but for MM_IOMMU_HPA_DIRTY, is kept.
 */
static __always_inline u64 *
mm_iommu_page(const struct mm_iommu_table_group_mem_t *mem, unsigned long ua)
{
	unsigned long i = (ua - mem->ua) >> PAGE_SHIFT;

	return &mem->chunks[i >> MM_IOMMU_CHUNK_SHIFT]
			   [i & (MM_IOMMU_CHUNK_SIZE - 1)];
}

#endif /* _ASM_POWERPC_MM_IOMMU_H */
