/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User TCEs: translations that lead a device to the memory of a user address
 * space, installed and removed by VFIO ioctls and by hypercalls of a guest.
 *
 * A table that is open for user TCEs has two views of the same shape.  The
 * hardware view (it_base) is what the device walks.  The user view
 * (it_userspace) has a word per entry that says what the entry leads to:
 *
 *	63                                12 11          2     1      0
 *	+-----------------------------------+------------+-----+------+
 *	| user address of the IOMMU page    | 0          | SET | LOCK |
 *	+-----------------------------------+------------+-----+------+
 *
 * in the CPU's byte order; 0 is an entry that leads nowhere.  (Tables of pages that are
 * pinned one by one have the page's host address, see kernel/tce_user.c.)
 *
 * Only some words have LOCK.  The words of 16 entries share a cache line.  They have one
 * lock, LOCK in the word of the first of them, as CPUs that change words of one line wait
 * for each other anyway:
 *
 *	+---------+--------+--------+-----+---------+---------+-----
 *	| word 0  | word 1 | word 2 | ... | word 15 | word 16 | ...
 *	+-------*-+--------+--------+-----+---------+-------*-+-----
 *	        ^ LOCK of entries 0 to 15                   ^ of 16 to 31
 *
 * Between the two views and the @mapped count of the region behind the page
 * (asm/mm_iommu.h) these rules hold:
 *
 *  - An entry is one thing.  Whoever changes it holds the lock of its line.  Whenever
 *    that lock is free, the hardware word, the user word and the count belong
 *    together.  So the counts are right if two CPUs change one entry, whatever they do.
 *    The lock is held with preemption off and without sleeping.  Whoever takes several
 *    takes them by the address of the table, and within a table by entry.
 *
 *  - A user word is read and written by whoever holds its lock.  Only the word with the
 *    lock is published, by the release that unlocks.  So a look without the lock is a
 *    guess: whoever sees 0 there does not know that the hardware word is 0.  (Pinned tables are
 *    read under the lock of their container, which keeps writers away.)
 *
 *  - An entry with SET owns one count of its region.  The count is taken
 *    before the hardware word is written.
 *
 *  - The count of a translation that was removed or replaced goes to the
 *    *gather* of the CPU that did it, and is dropped after the gather has
 *    invalidated the hardware's cache: until then the device may still use the
 *    old translation.  It may not be used for a new translation to the same
 *    region either: that one could be removed, and its count dropped, by
 *    another CPU before the invalidation.  So a gather keeps apart @credit
 *    (taken, not used yet) and @removed.  Afterwards both may be kept for the next
 *    gather of the same reader ("Counts that stay" in asm/mm_iommu.h).
 *
 *  - A gather has a count, in @credit or @removed, of every region that it knows,
 *    until the gather is finished.  So no other region can be registered over its
 *    addresses in this time, and an address within it tells which region an entry
 *    leads to.  The last @credit must therefore stay.
 *
 *  - A gather lives within one section (mm_iommu_enter()) of the mm that the table
 *    leads to.  When a table is closed, it_mm is cleared and a grace period
 *    waited for: after that nobody installs anything in it, and no gather holds a
 *    count on its behalf.
 *
 * Everything here is inline, or static in each file that includes it, as it is
 * compiled for several tiers: for virtual mode, for a CPU that has just left a
 * guest with interrupts off (irqoff), and for one whose MMU is off (real).  The
 * mode is a constant wherever it is passed.
 *
 * Real mode reaches only what is in this header and in asm/mm_iommu.h, plus
 * iommu_table_ops::tce_kill_rm.
 */
#ifndef _ASM_POWERPC_TCE_USER_H
#define _ASM_POWERPC_TCE_USER_H

#include <linux/atomic.h>
#include <linux/log2.h>
#include <linux/percpu.h>
#include <linux/sizes.h>

#include <asm/extable.h>
#include <asm/iommu.h>
#include <asm/mm_iommu.h>
#include <asm/tce.h>

struct iommu_group;

enum tce_user_mode {
	TCE_USER_VIRT,	/* may sleep where no line is locked */
	TCE_USER_IRQOFF,	/* interrupts off, kernel mappings on */
	TCE_USER_REAL,	/* MMU off */
};

/*
 * How many hardware entries are changed in one section at most, in all tables together:
 * between two points where the CPU may be given up, or interrupts come on.  An entry of a
 * guest that stands for more is worked in pieces of as many.
 */
#define TCE_USER_PIECE	512UL

#define TCE_USER_LOCK		BIT(0)	/* of the first entry of a line */
#define TCE_USER_SET		BIT(1)
#define TCE_USER_DIRTY	BIT(2)	/* of pinned tables, see kernel/tce_user.c */
#define TCE_USER_UA		(~(SZ_4K - 1UL))

#define TCE_USER_PERM		(TCE_PCI_READ | TCE_PCI_WRITE)

/*
 * How many entries are changed one by one at most, with preemption off, in tables that a
 * hypervisor below keeps, in all of them together: each may take a hypercall to it.  Lists
 * have up to TCE_USER_PIECE, see tce_user_put_list().
 */
#define TCE_USER_FOREIGN	16UL

/* A busy hypervisor is asked again for so long while lines are locked */
#define TCE_USER_BUSY_US	50U

/*
 * And for so long to clear what it was busy for: until then nobody knows where those
 * entries lead.  PAPR's shortest H_LONG_BUSY is 1 ms.
 */
#define TCE_USER_SETTLE_US	5000U

/* Entries that share a lock: those whose words share a cache line */
#define TCE_USER_LINE		16UL

/* Counts that are taken for one translation, and for those that are likely to follow */
#define TCE_USER_KEEP		64UL

/* How often a tier that may give up looks at a locked line */
#define TCE_USER_SPINS	64

/**
 * struct tce_user_ref - counts that a gather holds on one region
 * @mem: the region
 * @ua: its first user address
 * @size: its size in bytes
 * @credit: counts taken for translations to come, and one to hold the region
 * @removed: counts of translations gone, to be dropped after invalidation
 *
 * The sum of @credit and @removed is never 0.
 */
struct tce_user_ref {
	struct mm_iommu_table_group_mem_t *mem;
	unsigned long ua;
	unsigned long size;
	unsigned long credit;
	unsigned long removed;
};

/* Regions that a gather can deal with before it must invalidate */
#define TCE_USER_REFS		8

/**
 * struct tce_user_gather - changes waiting for one invalidation
 * @reader: who changes them, in a section of it
 * @cur: the region met last
 * @nr: regions in use
 * @nr_gone: words in @gone
 * @gone: user words of what went beside the regions, or NULL: whoever has set it
 *	invalidates for all of them, and drops them
 * @ref: the regions
 */
struct tce_user_gather {
	struct mm_iommu_reader *reader;
	struct tce_user_ref *cur;
	unsigned int nr;
	unsigned int nr_gone;
	u64 *gone;
	struct tce_user_ref ref[TCE_USER_REFS];
};

/**
 * struct tce_user_pos - a place in a table
 * @tbl: the table
 * @entry: number of the entry, counted from bus address 0
 * @left: entries from here on that lie in one piece
 * @hw: hardware word; NULL when a hypervisor keeps the hardware view
 * @user: user word; NULL when one of the two views lacks the level
 */
struct tce_user_pos {
	struct iommu_table *tbl;
	unsigned long entry;
	unsigned long left;
	__be64 *hw;
	u64 *user;
};

/**
 * struct tce_user_list - changes of entries for a hypervisor to make at once
 * @tce: the words, where the hypervisor can read them
 * @user: user words of what the entries are to lead to, or lead to in the end
 *
 * A CPU has one, which serves while preemption is off.  What has the lines of entries
 * locked collects them here and has them changed by tce_user_put_list().
 */
struct tce_user_list {
	__be64 tce[TCE_USER_PIECE];
	u64 user[TCE_USER_PIECE];
};

DECLARE_PER_CPU(struct tce_user_list *, tce_user_lists);

int tce_user_put_list(struct tce_user_gather *gather,
		      struct tce_user_ref *ref,
		      const struct tce_user_pos *pos,
		      struct tce_user_list *list, unsigned long n);

int tce_user_open(struct iommu_table *tbl, struct mm_struct *mm, bool pinned);
void tce_user_close(struct iommu_table *tbl);
long tce_user_map(struct iommu_table *tbl, unsigned long entry,
		  unsigned long pages, unsigned long ua,
		  enum dma_data_direction dir, struct mutex *lock);
void tce_user_unmap(struct iommu_table *tbl, unsigned long entry,
		    unsigned long pages, struct mutex *lock);
void tce_user_end_ioctls(struct iommu_table *tbl);
struct iommu_table *tce_user_table_get(struct iommu_group *grp,
				       struct mm_struct *mm,
				       unsigned int page_shift,
				       u64 offset, u64 size);
int tce_user_populate(struct iommu_table *tbl, unsigned long entry);

/**
 * tce_user_is_open() - does a table lead to a user address space
 * @tbl: table
 *
 * Context: any; a snapshot.
 * Return: true, or false when its window was removed.
 */
static inline bool tce_user_is_open(const struct iommu_table *tbl)
{
	return READ_ONCE(tbl->it_mm) || READ_ONCE(tbl->it_mm_pinned);
}

/*
 * Gathers
 */

static __always_inline void tce_user_begin(struct tce_user_gather *gather,
					   struct mm_iommu_reader *reader)
{
	gather->reader = reader;
	gather->nr = 0;
	gather->gone = NULL;
	gather->cur = &gather->ref[0];
	gather->ref[0] = (struct tce_user_ref){};
}

static __always_inline bool tce_user_ref_has(const struct tce_user_ref *ref,
					     unsigned long ua,
					     unsigned long size)
{
	return mm_iommu_within(ref->ua, ref->size, ua, size);
}

/* What @gather holds on the region that has all of a range; NULL if nothing */
static __always_inline struct tce_user_ref *
tce_user_ref_find(struct tce_user_gather *gather, unsigned long ua,
		  unsigned long size)
{
	unsigned int i;

	for (i = 0; i < gather->nr; ++i) {
		if (tce_user_ref_has(&gather->ref[i], ua, size)) {
			gather->cur = &gather->ref[i];
			return gather->cur;
		}
	}
	return NULL;
}

/* Add @mem, with counts that the caller has and passes on */
static __always_inline struct tce_user_ref *
tce_user_ref_add(struct tce_user_gather *gather,
		 struct mm_iommu_table_group_mem_t *mem,
		 unsigned long credit, unsigned long removed)
{
	struct tce_user_ref *ref = &gather->ref[gather->nr++];

	ref->mem = mem;
	ref->ua = mem->ua;
	ref->size = mem->entries << PAGE_SHIFT;
	ref->credit = credit;
	ref->removed = removed;
	gather->cur = ref;
	return ref;
}

/**
 * tce_user_full() - must a gather invalidate before its next entry
 * @gather: the gather
 * @tables: how many tables have the entry
 *
 * An entry that is one entry of each table needs room for the region that it is
 * to lead to, and for those that it leaves.  Whoever asks before each entry, and
 * invalidates what the gather has changed when the answer is true, pays for one
 * invalidation per some entries, not one per entry.
 *
 * Return: true when room for so many regions is not left.
 */
static __always_inline bool
tce_user_full(const struct tce_user_gather *gather, unsigned int tables)
{
	return unlikely(gather->nr + tables >= TCE_USER_REFS);
}

/* May new translations lead to @mem, and may @mode look at its page list? */
static __always_inline bool
tce_user_open_region(const struct mm_iommu_table_group_mem_t *mem,
		     const enum tce_user_mode mode)
{
	return READ_ONCE(mem->open) & (mode == TCE_USER_REAL ?
				       MM_IOMMU_OPEN_REAL : MM_IOMMU_OPEN);
}

/* Count @n translations more that lead to @mem, unless it is being unregistered */
static __always_inline bool
tce_user_take(struct mm_iommu_table_group_mem_t *mem, unsigned long n)
{
	s64 old = atomic64_read(&mem->mapped);

	/*
	 * Fails from the moment when mm_iommu_retire() has stored 0.  What is
	 * counted is not there yet, so nothing has to be ordered.
	 */
	do {
		if (unlikely(old <= 0))
			return false;
	} while (!atomic64_try_cmpxchg_relaxed(&mem->mapped, &old, old + n));

	return true;
}

static noinline __maybe_unused struct tce_user_ref *
tce_user_reserve_more(struct tce_user_gather *gather, unsigned long ua,
		      unsigned long size, unsigned long need,
		      unsigned long more, const enum tce_user_mode mode)
{
	struct tce_user_ref *ref = tce_user_ref_find(gather, ua, size);
	struct mm_iommu_table_group_mem_t *mem;
	unsigned long credit, all = need + more + 1;

	if (ref) {
		if (ref->credit > need)
			return ref;
		mem = ref->mem;
	} else {
		if (gather->nr == TCE_USER_REFS)
			return NULL;
		mem = mm_iommu_find(gather->reader->iommu, ua, size,
				    &gather->reader->hint, true);
		if (!mem)
			return NULL;
	}

	if (!tce_user_open_region(mem, mode))
		return NULL;

	credit = mm_iommu_use_kept(gather->reader, mem);
	if (ref)
		credit += ref->credit;
	if (credit < all) {
		/* Does not fail where there is a count already */
		if (!tce_user_take(mem, all - credit))
			return NULL;
		credit = all;
	}

	if (!ref)
		return tce_user_ref_add(gather, mem, credit, 0);
	ref->credit = credit;
	return ref;
}

/**
 * tce_user_reserve() - hold a region, and take counts for translations to come
 * @gather: the gather
 * @ua: user address
 * @size: bytes from there on
 * @need: translations that must be possible; 0 to look at the memory only
 * @more: translations that are likely to follow
 * @mode: where this runs
 *
 * Return: what the gather holds on the region that has all of the range, with
 * @credit above @need; NULL when there is no such region, it is being
 * unregistered, its page list cannot be read in @mode, or the gather has no room
 * for it, see tce_user_full().
 */
static __always_inline struct tce_user_ref *
tce_user_reserve(struct tce_user_gather *gather, unsigned long ua,
		 unsigned long size, unsigned long need, unsigned long more,
		 const enum tce_user_mode mode)
{
	struct tce_user_ref *ref = gather->cur;

	if (likely(tce_user_ref_has(ref, ua, size) && ref->credit > need))
		return ref;

	return tce_user_reserve_more(gather, ua, size, need, more, mode);
}

static noinline __maybe_unused struct mm_iommu_table_group_mem_t *
tce_user_keep_more(struct mm_iommu_reader *reader, unsigned long ua,
		   unsigned long size, const enum tce_user_mode mode)
{
	struct mm_iommu_table_group_mem_t *mem;

	mem = mm_iommu_find(reader->iommu, ua, size, &reader->hint, true);
	if (!mem || !tce_user_open_region(mem, mode) ||
	    !tce_user_take(mem, TCE_USER_KEEP))
		return NULL;

	mm_iommu_keep(reader, mem, TCE_USER_KEEP);
	return mm_iommu_kept(reader) == mem ? mem : NULL;
}

/**
 * tce_user_keep() - keep counts of a region, for one translation at least
 * @reader: in a section
 * @ua: user address
 * @size: bytes from there on
 * @mode: where this runs
 * @search: look for the region; otherwise it is the one that the reader keeps
 *
 * Return: the region that has all of the range, of which the reader keeps a count for a
 * translation and one more; NULL when there is no such region, it is being unregistered,
 * or its page list cannot be read in @mode.
 */
static __always_inline struct mm_iommu_table_group_mem_t *
tce_user_keep(struct mm_iommu_reader *reader, unsigned long ua,
	      unsigned long size, const enum tce_user_mode mode,
	      const bool search)
{
	struct mm_iommu_table_group_mem_t *mem = mm_iommu_kept(reader);

	if (likely(mem && reader->nr_kept > 1 && mm_iommu_has(mem, ua, size) &&
		   tce_user_open_region(mem, mode)))
		return mem;

	return search ? tce_user_keep_more(reader, ua, size, mode) : NULL;
}

/**
 * tce_user_finish() - drop the counts that a gather holds, but for the region met last
 * @gather: the gather; can be used again
 *
 * The caller has invalidated everything that the gather removed or replaced.  The reader
 * keeps the counts of the region that the gather met last, as far as mm_iommu_keep() lets it.
 */
static __always_inline void tce_user_finish(struct tce_user_gather *gather)
{
	unsigned long removed = 0;
	unsigned int i;

	for (i = 0; i < gather->nr; ++i)
		removed |= gather->ref[i].removed;

	/* Credit that was not used led no device anywhere */
	if (removed) {
		/*
		 * The invalidation is complete before a count goes.  Pairs with
		 * the atomic64_cmpxchg() in mm_iommu_retire().
		 */
		mb();
	}

	for (i = 0; i < gather->nr; ++i) {
		const struct tce_user_ref *ref = &gather->ref[i];

		if (ref == gather->cur)
			mm_iommu_keep(gather->reader, ref->mem,
				      ref->credit + ref->removed);
		else
			atomic64_sub(ref->credit + ref->removed,
				     &ref->mem->mapped);
	}

	tce_user_begin(gather, gather->reader);
}

/**
 * tce_user_can() - can a table be changed in some mode
 * @tbl: table
 * @mode: where that is to be done
 *
 * Return: true, or false when it has to be done in virtual mode.
 */
static __always_inline bool tce_user_can(const struct iommu_table *tbl,
					 const enum tce_user_mode mode)
{
	return mode != TCE_USER_REAL ||
	       (tbl->it_base && tbl->it_ops->tce_kill_rm);
}

/* Are more groups to be told of an invalidation than may be in @mode? */
static __always_inline bool tce_user_is_crowded(const struct iommu_table *tbl,
						const enum tce_user_mode mode)
{
	return mode != TCE_USER_VIRT && unlikely(READ_ONCE(tbl->it_crowded));
}

/**
 * tce_user_kill() - invalidate what the hardware cached of a run of entries
 *
 * The table's operation orders the stores to the entries before it, so that the
 * hardware does not fetch again what was there.
 *
 * @tbl: table; tce_user_can() it
 * @entry: first entry, counted from bus address 0
 * @pages: entries
 * @mode: where this runs
 */
static __always_inline void tce_user_kill(struct iommu_table *tbl,
					  unsigned long entry,
					  unsigned long pages,
					  const enum tce_user_mode mode)
{
	if (mode == TCE_USER_REAL)
		tbl->it_ops->tce_kill_rm(tbl, entry, pages);
	else if (tbl->it_ops->tce_kill)
		tbl->it_ops->tce_kill(tbl, entry, pages);
}

/*
 * Words
 */

/*
 * Hardware words are big-endian.  The compiler makes nine instructions of a swap
 * next to a volatile access; the C version is for the test in tools/testing/tce.
 */
static __always_inline void tce_user_store(__be64 *hw, u64 tce)
{
#ifdef CONFIG_PPC64
	asm volatile(STDX_BE " %1,%y0" : "=Z" (*hw) : "r" (tce));
#else
	WRITE_ONCE(*hw, cpu_to_be64(tce));
#endif
}

/**
 * tce_user_load() - read a big-endian word, once
 * @word: where a guest or a device may be writing
 *
 * Return: its value.
 */
static __always_inline u64 tce_user_load(const __be64 *word)
{
#ifdef CONFIG_PPC64
	u64 value;

	asm volatile(LDX_BE " %0,%y1" : "=r" (value) : "Z" (*word));
	return value;
#else
	return be64_to_cpu(READ_ONCE(*word));
#endif
}

/**
 * tce_user_fetch() - read a TCE of a list in guest memory
 * @word: where it is, in registered memory that the host has mapped
 *
 * The page may have an uncorrectable error that nobody knows of yet.  Then its
 * machine check goes on behind the load, if the MMU is on and this is not part of a
 * module, as machine checks look for no tables of modules.
 *
 * Return: its value, or one that leads to no memory.
 */
static __always_inline u64 tce_user_fetch(const __be64 *word)
{
#ifdef CONFIG_PPC64
	u64 value;

	asm volatile("1:	" LDX_BE " %0,%y1\n"
		     "2:\n"
		     ".section .fixup,\"ax\"\n"
		     "3:	li %0,-1\n"
		     "	b 2b\n"
		     ".previous\n"
		     EX_TABLE(1b, 3b)
		     : "=r" (value) : "Z" (*word));
	return value;
#else
	return tce_user_load(word);
#endif
}

/*
 * Places
 */

static __always_inline __be64 *tce_user_walk(const struct iommu_table *tbl,
					     __be64 *view, unsigned long idx)
{
	const unsigned long mask = tbl->it_level_size - 1;
	unsigned long level = tbl->it_indirect_levels;
	unsigned int shift;

	if (!level)
		return view + idx;

	shift = ilog2(tbl->it_level_size);
	do {
		/* Pairs with the cmpxchg() that publishes a zeroed level */
		u64 tce = tce_user_load(&view[(idx >> (level * shift)) &
						mask]);

		if (!tce)
			return NULL;
		view = __va(tce & ~(u64)TCE_USER_PERM);
	} while (--level);

	return view + (idx & mask);
}

/**
 * tce_user_seek() - find the place of an entry
 * @pos: where to store it; @pos->tbl is set, @pos->entry may be anything
 * @entry: entry within the table, counted from bus address 0
 *
 * Return: true; false when the level that would hold the entry does not exist
 * yet, in which case @pos->left is the number of entries that share this.
 */
static __always_inline bool tce_user_seek(struct tce_user_pos *pos,
					  unsigned long entry)
{
	struct iommu_table *tbl = pos->tbl;
	unsigned long idx = entry - tbl->it_offset;

	pos->entry = entry;
	pos->left = tbl->it_size - idx;
	if (tbl->it_indirect_levels)
		pos->left = min(pos->left, tbl->it_level_size -
				(idx & (tbl->it_level_size - 1)));

	pos->hw = NULL;
	pos->user = (__force u64 *)tce_user_walk(tbl, tbl->it_userspace, idx);
	if (!pos->user)
		return false;

	if (!tbl->it_base)
		return true;

	pos->hw = tce_user_walk(tbl, (__be64 *)tbl->it_base, idx);
	if (!pos->hw)
		pos->user = NULL;
	return pos->user;
}

/**
 * tce_user_move() - go on to a later entry of the same piece
 * @pos: the place
 * @n: entries, at most @pos->left
 */
static __always_inline void tce_user_move(struct tce_user_pos *pos,
					  unsigned long n)
{
	pos->entry += n;
	pos->left -= n;
	if (pos->user)
		pos->user += n;
	if (pos->hw)
		pos->hw += n;
}

static __always_inline void tce_user_next(struct tce_user_pos *pos)
{
	tce_user_move(pos, 1);
}

/*
 * Entries
 */

/* The word with the lock of an entry.  A view, and each level of it, begins with such a word */
static __always_inline u64 *tce_user_line(u64 *user)
{
	return (u64 *)((unsigned long)user & ~(TCE_USER_LINE * sizeof(u64) - 1));
}

/* Entries from @user on that have the same lock */
static __always_inline unsigned long tce_user_line_left(const u64 *user)
{
	return TCE_USER_LINE - ((unsigned long)user / sizeof(u64)) % TCE_USER_LINE;
}

/* Is this the word that has the lock of its line? */
static __always_inline bool tce_user_has_lock(const u64 *user)
{
	return tce_user_line_left(user) == TCE_USER_LINE;
}

/**
 * tce_user_trylock_line() - look once whether a line can be locked, and do so
 * @user: user word of an entry
 * @words: where to store the address @user once more, made from the lock's answer: words
 *	of the line that are read from there on are read after the lock was taken
 *
 * What the last writer stored comes before what this one stores, as the stores
 * depend on the answer: for that no barrier is needed.  Nor is one for reading the
 * user words, as their address depends on the answer.  Whoever reads what else the last
 * writer stored, or looks up what a word leads to, has to add one.
 *
 * Context: preemption off.
 * Return: true, and the line is to be unlocked by tce_user_unlock_line(); false
 * when another CPU has locked it.
 */
static __always_inline bool tce_user_trylock_line(u64 *user, u64 **words)
{
	/* Pairs with the release in tce_user_unlock_line() */
	u64 first = atomic64_fetch_or_relaxed(TCE_USER_LOCK,
					      (atomic64_t *)tce_user_line(user));
#ifdef CONFIG_PPC64
	unsigned long zero;

	/* No compiler knows that this is 0, nor does the CPU */
	asm("xor %0,%1,%1" : "=r" (zero) : "r" (first));
	*words = (u64 *)((unsigned long)user + zero);
#else
	smp_acquire__after_ctrl_dep();
	*words = user;
#endif
	return !(first & TCE_USER_LOCK);
}

/**
 * tce_user_lock_line() - become the one who changes the entries of a line
 * @user: user word of one of them
 * @words: as for tce_user_trylock_line()
 * @wait: do not give up
 *
 * Context: preemption off.
 * Return: true, and the line is to be unlocked by tce_user_unlock_line(); false
 * when another CPU kept it locked and @wait is false.
 */
static __always_inline bool tce_user_lock_line(u64 *user, u64 **words, bool wait)
{
	unsigned int tries = TCE_USER_SPINS;

	while (unlikely(!tce_user_trylock_line(user, words))) {
		do {
			if (!wait && !--tries)
				return false;
			cpu_relax();
		} while (READ_ONCE(*tce_user_line(user)) & TCE_USER_LOCK);
	}
	return true;
}

/*
 * What an entry leads to; its line is locked.  @word is one of tce_user_trylock_line()'s
 * words, or there was an acquire since.
 */
static __always_inline u64 tce_user_read(const u64 *word)
{
	return READ_ONCE(*word) & ~(u64)TCE_USER_LOCK;
}

/* What has to stay in a user word while its line is locked */
static __always_inline u64 tce_user_kept_lock(const u64 *user)
{
	return tce_user_has_lock(user) ? TCE_USER_LOCK : 0;
}

/* Say what an entry leads to; its line is locked, and stays so */
static __always_inline void tce_user_change(u64 *user, u64 word)
{
	WRITE_ONCE(*user, word | tce_user_kept_lock(user));
}

/* Publish what was changed in the line of an entry */
static __always_inline void tce_user_unlock_line(u64 *user)
{
	u64 *line = tce_user_line(user);

	/* The hardware words, too; pairs with tce_user_trylock_line() */
	smp_store_release(line, tce_user_read(line));
}

/* The same for @n entries from @user on, in one piece; each line was locked once */
static __always_inline void tce_user_unlock_lines(u64 *user, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i += tce_user_line_left(user + i))
		tce_user_unlock_line(user + i);
}

/**
 * tce_user_lock() - lock the line of an entry to change this entry alone
 * @user: its user word
 * @old: where to store what the entry leads to
 * @wait: do not give up
 *
 * Context: preemption off; no other entry of the line may be locked by this CPU.
 * Return: true, and the line is to be unlocked by tce_user_unlock(); false
 * when another CPU kept it locked and @wait is false.
 */
static __always_inline bool tce_user_lock(u64 *user, u64 *old, bool wait)
{
	u64 *word;

	if (!tce_user_lock_line(user, &word, wait))
		return false;

	*old = tce_user_read(word);
	return true;
}

/* Have an entry lead to what @word says, and end what tce_user_lock() began */
static __always_inline void tce_user_unlock(u64 *user, u64 word)
{
	if (tce_user_has_lock(user)) {
		/* As in tce_user_unlock_line() */
		smp_store_release(user, word);
	} else {
		WRITE_ONCE(*user, word);
		tce_user_unlock_line(user);
	}
}

/*
 * The region that @ua lies in.  If a translation to @ua is counted, there is one.  Otherwise
 * it is only found, and may be NULL.
 */
static __always_inline struct mm_iommu_table_group_mem_t *
tce_user_region(struct mm_iommu_reader *reader, unsigned long ua)
{
	return mm_iommu_find(reader->iommu, ua, 1, &reader->old_hint, true);
}

/**
 * tce_user_drop() - give up the count of a translation that has gone
 * @reader: who removed it; keeps the count if it keeps others of the region, or none
 * @old: the user word that it had, with TCE_USER_SET
 *
 * The caller has invalidated the entry.  Until the count is dropped the region
 * stays registered, so it is found.
 */
static __always_inline void
tce_user_drop(struct mm_iommu_reader *reader, u64 old)
{
	const unsigned long ua = old & TCE_USER_UA;
	struct mm_iommu_table_group_mem_t *mem, *kept = mm_iommu_kept(reader);

	/*
	 * The invalidation is complete before the count goes: pairs with
	 * mm_iommu_retire(), as in tce_user_finish().  And the look-up sees the
	 * array in which whoever set @old found the region: pairs with the
	 * release in tce_user_unlock_line().
	 */
	mb();
	if (likely(kept && mm_iommu_has(kept, ua, 1)))
		mem = kept;
	else
		mem = tce_user_region(reader, ua);

	if (likely(!kept || mem == kept))
		mm_iommu_keep(reader, mem, 1);
	else
		atomic64_dec(&mem->mapped);
}

/* As tce_user_gone(), for a region that is not the one met last */
static noinline __maybe_unused void
tce_user_gone_other(struct tce_user_gather *gather, struct iommu_table *tbl,
		    unsigned long entry, u64 old,
		    const enum tce_user_mode mode)
{
	const unsigned long ua = old & TCE_USER_UA;
	struct tce_user_ref *ref = tce_user_ref_find(gather, ua, 1);

	if (ref) {
		ref->removed++;
		return;
	}

	if (unlikely(gather->nr == TCE_USER_REFS)) {
		if (mode == TCE_USER_VIRT && gather->gone) {
			gather->gone[gather->nr_gone++] = old;
			return;
		}
		/*
		 * The gather has no room for one more region: invalidate this entry
		 * alone.  In guest context callers make sure that this does not happen.
		 */
		tce_user_kill(tbl, entry, 1, mode);
		tce_user_drop(gather->reader, old);
		return;
	}

	/*
	 * The look-up sees the array in which whoever set @old found the
	 * region, or a later one.  It is in all of them, as the translation
	 * counts it.  Pairs with the release in tce_user_unlock_line().
	 */
	smp_acquire__after_ctrl_dep();
	tce_user_ref_add(gather, tce_user_region(gather->reader, ua), 0, 1);
}

/**
 * tce_user_gone() - an entry whose line is locked leads elsewhere now
 * @gather: takes over the count of the translation that was there
 * @tbl: table
 * @entry: the entry, counted from bus address 0; its hardware word is changed
 * @old: the user word that was read while the line was locked
 * @mode: where this runs
 */
static __always_inline void tce_user_gone(struct tce_user_gather *gather,
					  struct iommu_table *tbl,
					  unsigned long entry, u64 old,
					  const enum tce_user_mode mode)
{
	if (!(old & TCE_USER_SET))
		return;

	if (likely(tce_user_ref_has(gather->cur, old & TCE_USER_UA, 1)))
		gather->cur->removed++;
	else
		tce_user_gone_other(gather, tbl, entry, old, mode);
}

/**
 * tce_user_write() - change the hardware word of an entry whose line is locked
 * @tbl: table
 * @hw: the word; NULL when a hypervisor keeps the hardware view
 * @entry: the entry, counted from bus address 0
 * @tce: new hardware word: host physical address and permissions, or 0
 * @mode: where this runs
 *
 * Return: 0; -EIO when the hypervisor refused, or -EAGAIN when it is busy, in which
 * cases nothing was changed.
 */
static __always_inline int tce_user_write(struct iommu_table *tbl, __be64 *hw,
					  unsigned long entry, u64 tce,
					  const enum tce_user_mode mode)
{
	if (mode == TCE_USER_REAL || likely(hw)) {
		tce_user_store(hw, tce);
		return 0;
	}

	/* The user word says what is there: nobody has to ask */
	return tbl->it_ops->put(tbl, entry, tce);
}

/**
 * tce_user_set() - change an entry whose line is locked
 * @gather: takes over the count of the translation that was there
 * @pos: the entry
 * @tce: new hardware word, as for tce_user_write()
 * @old: the user word that was read while the line was locked
 * @mode: where this runs
 *
 * Return: as tce_user_write().
 */
static __always_inline int tce_user_set(struct tce_user_gather *gather,
					struct tce_user_pos *pos,
					u64 tce, u64 old,
					const enum tce_user_mode mode)
{
	int ret;

	/* What leads nowhere stays so: a hypervisor need not be asked */
	if (!tce && !old)
		return 0;

	ret = tce_user_write(pos->tbl, pos->hw, pos->entry, tce, mode);
	if (ret)
		return ret;

	tce_user_gone(gather, pos->tbl, pos->entry, old, mode);
	return 0;
}

/**
 * tce_user_list() - this CPU's list for changes of a table
 * @tbl: table that is open, and that a hypervisor keeps
 *
 * Context: preemption off.
 * Return: the list; NULL when the hypervisor takes one entry at a time.
 */
static __always_inline struct tce_user_list *
tce_user_list(const struct iommu_table *tbl)
{
	return tbl->it_ops->put_list ? this_cpu_read(tce_user_lists) : NULL;
}

/* IODA knows no write-only pages */
static __always_inline u64 tce_user_ioda_perm(u64 perm)
{
	return perm | (perm & TCE_PCI_WRITE ? TCE_PCI_READ : 0);
}

/**
 * tce_user_word() - hardware word for a page of a region
 * @mem: the region; holds all of the IOMMU page
 * @shift: size of the IOMMU page, as a shift
 * @ua: user address, a multiple of PAGE_SIZE or of a smaller IOMMU page
 * @perm: TCE_PCI_READ, TCE_PCI_WRITE or both
 *
 * The memory counts as written to from now on when @perm lets a device write.
 *
 * Return: the word; 0 when the region's pages are smaller than the IOMMU page
 * or @ua is not aligned to it.
 */
static __always_inline u64
tce_user_word(const struct mm_iommu_table_group_mem_t *mem,
	      unsigned int shift, unsigned long ua, u64 perm)
{
	u64 *page, hpa;

	/* Pages of the size that the region promises begin at its multiples */
	if (unlikely(shift > PAGE_SHIFT) &&
	    (shift > mem->pageshift || ua & ((1UL << shift) - 1)))
		return 0;

	page = mm_iommu_page(mem, ua);
	hpa = READ_ONCE(*page);
	if ((perm & TCE_PCI_WRITE) && !(hpa & MM_IOMMU_HPA_DIRTY))
		WRITE_ONCE(*page, hpa | MM_IOMMU_HPA_DIRTY);

	return (hpa & PAGE_MASK) | (ua & ~PAGE_MASK) | perm;
}

/**
 * tce_user_hw() - hardware word for a page of a region, in a table
 * @mem: as for tce_user_word(), and so on
 * @tbl: table that the word is for
 * @ua: user address
 * @perm: permissions
 *
 * Return: as tce_user_word().
 */
static __always_inline u64
tce_user_hw(const struct mm_iommu_table_group_mem_t *mem,
	    const struct iommu_table *tbl, unsigned long ua, u64 perm)
{
	return tce_user_word(mem, tbl->it_page_shift, ua,
			     tbl->it_base ? tce_user_ioda_perm(perm) : perm);
}

#endif /* _ASM_POWERPC_TCE_USER_H */
