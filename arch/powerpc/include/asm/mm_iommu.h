/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preregistered memory: user memory that was pinned once, in large regions,
 * so that single IOMMU pages of it can be handed to a device without asking
 * the memory management again.
 *
 * All of it belongs to one address space: struct mm_iommu, made when somebody first
 * asks for it (mm_iommu_of()), and gone with the mm.
 * Nobody waits here for another address space, nor for a guest that runs.
 *
 * Regions never overlap.  They are found through an array sorted by user address:
 *
 *	slot[0]		slot[1]		slot[2]
 *	ua..ua+size	(gone)		ua..ua+size
 *
 * A look-up is a binary search, preceded by one probe at the place where the
 * caller found its previous region, so that its cost does not grow with the
 * number of regions as long as a caller stays within one of them.  A new region
 * is published in a new array.  An unregistered one leaves an empty slot behind,
 * which needs no memory and so cannot fail.
 *
 * Life of a region.  @mapped is 1 when the region is registered and nobody has a count
 * of it, 1 + n when there are n counts, and 0 when it has been unregistered.  0 is
 * final.  Each translation that leads to the region has a count, and so has each gather
 * that holds it (asm/tce_user.h).  If @mapped is raised while it is not 0, the pages
 * stay pinned until it is lowered again.  A region is *dropped* when it has lost its last
 * registration and still has counts.  It is *retired* when @mapped became 0 and it left the
 * array, and *released* when its pages were unpinned.
 *
 * Counts that stay.  @mapped is one word for all virtual CPUs.  So a reader may *keep*
 * counts of one region from one section to the next: counts that it has taken and not
 * used, and those of translations that it has removed and invalidated.  It installs the
 * next translations with them, and does not write to @mapped.  While it keeps counts of a
 * region it has at least one, so the region stays.  To unregister a region, its
 * MM_IOMMU_KEEP is cleared, a grace period is waited for, and the counts that readers
 * still keep are taken back from them; then @mapped tells whether translations lead there.
 * For this to be safe, a reader looks at what it keeps, and changes it, in a section in
 * which it has seen MM_IOMMU_KEEP set.
 *
 * To find a region is not to hold it.  A reader may use a region that it has found
 *
 *  - until mm_iommu_leave(), to look at: the array, the region, its page list and
 *    the pages behind it are freed after a grace period only, or
 *
 *  - while it holds a count in @mapped, to install translations, and to conclude from
 *    an address that the address belongs to this region: as long as the region has a
 *    count, no other region can be registered over its addresses.
 *
 * Grace periods.  Hypercalls read in guest context, where RCU does not look.  So
 * each reader has a word of its own (struct mm_iommu_reader) that is odd from
 * mm_iommu_enter() to mm_iommu_leave(), which is while a hypercall or an ioctl, or a
 * piece of a long one, is served.  mm_iommu_synchronize() looks at the words of all readers
 * of the mm, and waits for those that are odd to move on.  A guest that computes
 * is not in a section, whatever it does and for how long.
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
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/types.h>

#include <asm/barrier.h>
#include <asm/page.h>

struct mm_struct;

/* Physical addresses in one chunk of a region's page list, as a shift */
#define MM_IOMMU_CHUNK_SHIFT	(PAGE_SHIFT - 3)
#define MM_IOMMU_CHUNK_SIZE	BIT(MM_IOMMU_CHUNK_SHIFT)

/*
 * In an address of the page list: a device may have written to the page.  The
 * same bit as TCE_PCI_WRITE, so that they can be compared at once.
 */
#define MM_IOMMU_HPA_DIRTY	2UL

/* What readers may do with a region */
#define MM_IOMMU_OPEN		1	/* install translations to it, with the MMU on */
#define MM_IOMMU_OPEN_REAL	2	/* and with the MMU off */
#define MM_IOMMU_KEEP		4	/* keep counts of it */

/*
 * How many counts a reader keeps at most.  If there are more it keeps half of this: enough for
 * the longest list of H_PUT_TCE_INDIRECT, and one to hold the region.
 */
#define MM_IOMMU_KEPT_MAX	(2 * (512UL + 1))

/**
 * struct mm_iommu_table_group_mem_t - one region of preregistered memory
 * @dead: links regions that were retired, until they are released
 * @used: registrations by containers; under mm_iommu::lock
 * @mapped: see "Life of a region" above
 * @pageshift: the largest IOMMU page that every page of the region can back
 * @open: MM_IOMMU_OPEN* and MM_IOMMU_KEEP; 0 when @used is 0, or the region was retired
 * @recalled: MM_IOMMU_KEEP stays clear: counts are being taken back, or were taken back
 *	after the region had been dropped; changed under mm_iommu::lock and mm_iommu::recall_lock
 * @ua: user address of the first byte, a multiple of PAGE_SIZE
 * @entries: size in pages of PAGE_SIZE
 * @chunks: page list: @entries host physical addresses, a page per chunk
 */
struct mm_iommu_table_group_mem_t {
	struct llist_node dead;
	unsigned long used;
	atomic64_t mapped;
	unsigned int pageshift;
	unsigned int open;
	bool recalled;
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
 * @nr: slots
 * @slot: the slots, empty ones included
 */
struct mm_iommu_regions {
	unsigned int nr;
	struct mm_iommu_slot slot[] __counted_by(nr);
};

/**
 * struct mm_iommu - what an mm has of preregistered memory, and who reads it
 * @recall_lock: held while counts are taken back; the others are taken under it
 * @lock: registrations; no lock is taken under it
 * @regions: the array, or NULL; changed under @lock, read in sections
 * @readers_lock: @readers; held while a grace period is waited for
 * @readers: struct mm_iommu_reader::next
 */
struct mm_iommu {
	struct mutex recall_lock; /* who takes back counts */
	struct mutex lock; /* registrations */
	struct mm_iommu_regions *regions;
	struct mutex readers_lock; /* list of readers */
	struct list_head readers;
};

/**
 * struct mm_iommu_reader - who reads regions, and tables that lead to them
 * @next: in mm_iommu::readers
 * @iommu: the mm's object
 * @seq: odd in a section; written by one CPU at a time
 * @hint: where it found its last region, see mm_iommu_find()
 * @old_hint: the same for regions of translations that have gone, and of guest's lists
 * @kept: region that it keeps counts of, or NULL; see "Counts that stay" above
 * @nr_kept: how many, 1 at least; not used without @kept
 *
 * There is one in each virtual CPU, and one in each open table for the VFIO ioctls
 * that work on it.
 */
struct mm_iommu_reader {
	struct list_head next;
	struct mm_iommu *iommu;
	unsigned int seq;
	u32 hint;
	u32 old_hint;
	struct mm_iommu_table_group_mem_t *kept;
	unsigned long nr_kept;
};

/**
 * mm_iommu_enter() - begin a section
 * @reader: not in a section
 *
 * Context: any, real mode included.  A section is bounded: it may sleep for memory,
 * but neither waits for user space nor runs a guest.
 */
static __always_inline void mm_iommu_enter(struct mm_iommu_reader *reader)
{
	WRITE_ONCE(reader->seq, reader->seq + 1);
	/*
	 * Either the section sees what was unlinked before a grace period, or
	 * the grace period sees the section.  Pairs with the smp_mb() in
	 * mm_iommu_wait_all().
	 */
	smp_mb();
}

/**
 * mm_iommu_leave() - end a section
 * @reader: in a section
 *
 * Context: as mm_iommu_enter().
 */
static __always_inline void mm_iommu_leave(struct mm_iommu_reader *reader)
{
	/* Pairs with the acquire in mm_iommu_wait() */
	smp_store_release(&reader->seq, reader->seq + 1);
}

struct mm_iommu *mm_iommu_of(struct mm_struct *mm);
void mm_iommu_reader_add(struct mm_iommu *iommu, struct mm_iommu_reader *reader);
void mm_iommu_reader_del(struct mm_iommu_reader *reader);
void mm_iommu_synchronize(struct mm_iommu *iommu);

long mm_iommu_new(struct mm_struct *mm, unsigned long ua, unsigned long entries,
		  struct mm_iommu_table_group_mem_t **pmem);
struct mm_iommu_table_group_mem_t *mm_iommu_get(struct mm_struct *mm,
						unsigned long ua,
						unsigned long entries);
long mm_iommu_put(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem);
void mm_iommu_drop(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem);
bool mm_iommu_reap(struct mm_struct *mm);

/* Is a range within the @all bytes from @first on? */
static __always_inline bool mm_iommu_within(unsigned long first, unsigned long all,
					    unsigned long ua, unsigned long size)
{
	/* A @ua below @first wraps, and is further away than any size */
	return ua - first < all && size <= all - (ua - first);
}

/**
 * mm_iommu_has() - does a region hold all of a range of user addresses
 * @mem: region that is there to be looked at
 * @ua: first user address
 * @size: bytes, at least 1
 *
 * Context: any, real mode included.
 * Return: true if it does.
 */
static __always_inline bool
mm_iommu_has(const struct mm_iommu_table_group_mem_t *mem, unsigned long ua,
	     unsigned long size)
{
	return mm_iommu_within(mem->ua, mem->entries << PAGE_SHIFT, ua, size);
}

/**
 * mm_iommu_kept() - the region that a reader keeps counts of
 * @reader: in a section
 *
 * Context: any, real mode included.
 * Return: the region, of which the reader may use and change @nr_kept for the rest of the
 * section; or NULL.
 */
static __always_inline struct mm_iommu_table_group_mem_t *
mm_iommu_kept(const struct mm_iommu_reader *reader)
{
	/* It is there to be looked at in this section, whoever takes its counts back */
	struct mm_iommu_table_group_mem_t *mem = READ_ONCE(reader->kept);

	return mem && READ_ONCE(mem->open) & MM_IOMMU_KEEP ? mem : NULL;
}

/**
 * mm_iommu_use_kept() - have the counts that a reader keeps of a region
 * @reader: in a section; keeps none of the region afterwards
 * @mem: region
 *
 * Context: any, real mode included.
 * Return: how many, which are the caller's from now on; 0 if it keeps none.
 */
static __always_inline unsigned long
mm_iommu_use_kept(struct mm_iommu_reader *reader,
		  const struct mm_iommu_table_group_mem_t *mem)
{
	if (mm_iommu_kept(reader) != mem)
		return 0;

	WRITE_ONCE(reader->kept, NULL);
	return reader->nr_kept;
}

/**
 * mm_iommu_keep() - keep counts of a region, or drop them
 * @reader: in a section; what it keeps of another region is dropped
 * @mem: region
 * @n: counts that the caller has of it, and passes on; 1 at least
 *
 * The caller has invalidated what these counts were of, and waited for that (mb()).
 *
 * Context: any, real mode included.
 */
static __always_inline void mm_iommu_keep(struct mm_iommu_reader *reader,
					  struct mm_iommu_table_group_mem_t *mem,
					  unsigned long n)
{
	struct mm_iommu_table_group_mem_t *kept = mm_iommu_kept(reader);

	/* What it keeps and may not change, it cannot exchange either */
	if (unlikely(!(READ_ONCE(mem->open) & MM_IOMMU_KEEP) ||
		     (!kept && READ_ONCE(reader->kept)))) {
		atomic64_sub(n, &mem->mapped);
		return;
	}

	if (likely(kept == mem)) {
		n += reader->nr_kept;
	} else {
		if (kept)
			atomic64_sub(reader->nr_kept, &kept->mapped);
		WRITE_ONCE(reader->kept, mem);
	}
	if (unlikely(n > MM_IOMMU_KEPT_MAX)) {
		atomic64_sub(n - MM_IOMMU_KEPT_MAX / 2, &mem->mapped);
		n = MM_IOMMU_KEPT_MAX / 2;
	}
	reader->nr_kept = n;
}

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

/**
 * mm_iommu_slot_of() - the slot where the region of a user address is, if any is
 * @regions: the array, with a slot at least
 * @ua: user address
 *
 * Context: any, real mode included; in a section, or mm_iommu::lock is held.
 * Return: number of the last slot that does not start above @ua, or 0.
 */
static __always_inline unsigned int
mm_iommu_slot_of(const struct mm_iommu_regions *regions, unsigned long ua)
{
	unsigned int lo = 0, hi = regions->nr, at;

	while (hi - lo > 1) {
		at = lo + (hi - lo) / 2;
		if (regions->slot[at].ua <= ua)
			lo = at;
		else
			hi = at;
	}
	return lo;
}

static noinline __maybe_unused struct mm_iommu_table_group_mem_t *
mm_iommu_search(struct mm_iommu_regions *regions, unsigned long ua,
		unsigned long size, u32 *hint)
{
	unsigned int lo = mm_iommu_slot_of(regions, ua);

	if (!mm_iommu_slot_has(&regions->slot[lo], ua, size))
		return NULL;

	WRITE_ONCE(*hint, lo);
	return READ_ONCE(regions->slot[lo].mem);
}

/**
 * mm_iommu_find() - the region that holds a range of user addresses
 * @iommu: whose memory
 * @ua: first user address
 * @size: bytes, at least 1; up to PAGE_SIZE they do not cross a page
 * @hint: slot number where the caller found its last region; updated
 * @search: look in other slots, too
 *
 * Context: any, real mode included; in a section.
 * Return: the region that holds all of the range, or NULL.  It is found, not held.
 */
static __always_inline struct mm_iommu_table_group_mem_t *
mm_iommu_find(struct mm_iommu *iommu, unsigned long ua, unsigned long size,
	      u32 *hint, const bool search)
{
	/* Pairs with the smp_store_release() in mm_iommu_insert() */
	struct mm_iommu_regions *regions = READ_ONCE(iommu->regions);
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

	/* A guest may choose @ua, and what is behind the list must not be followed */
	i = array_index_nospec(i, mem->entries);

	return &mem->chunks[i >> MM_IOMMU_CHUNK_SHIFT]
			   [i & (MM_IOMMU_CHUNK_SIZE - 1)];
}

#endif /* _ASM_POWERPC_MM_IOMMU_H */
