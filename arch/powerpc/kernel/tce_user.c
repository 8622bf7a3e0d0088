// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * User TCEs for callers that run in virtual mode and may sleep: opening and
 * closing tables, mapping and unmapping ranges.  The rules are
 * described in asm/tce_user.h.
 *
 * Two kinds of tables differ in what keeps the memory behind an entry:
 *
 *  - registered (sPAPR TCE IOMMU v2): a count on a preregistered region.
 *    Hypercalls may change these tables, too.
 *
 *  - pinned (v1): a pin on the page, taken when the entry is mapped and
 *    dropped after it was invalidated.  Only the functions of this file change
 *    these.  Their user words have the page's host address in place of its user
 *    address, as the page is what has to be let go of, and DIRTY if the device may
 *    write to it.
 */

#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include <asm/tce_user.h>
#include <asm/time.h>

/* Pages that a piece of a pinned table's map or unmap lets go of */
#define TCE_USER_PINS		64UL

/*
 * How many times to wait, 1 to 2 ms each, for a busy hypervisor when entries must
 * be cleared
 */
#define TCE_USER_WAITS	500U

/**
 * tce_user_populate() - allocate the levels that lead to an entry
 * @tbl: table
 * @entry: entry, counted from bus address 0
 *
 * Context: does not sleep.
 * Return: 0; -ENOMEM.
 */
int tce_user_populate(struct iommu_table *tbl, unsigned long entry)
{
	if (!tbl->it_ops->populate)
		return 0;

	return tbl->it_ops->populate(tbl, entry);
}
EXPORT_SYMBOL_GPL(tce_user_populate);

/*
 * Lists: what a hypervisor is asked at once
 */

DEFINE_PER_CPU(struct tce_user_list *, tce_user_lists);
EXPORT_PER_CPU_SYMBOL_GPL(tce_user_lists);

/* One for each possible CPU.  They are never freed */
static bool tce_user_alloc_lists(void)
{
	static DEFINE_MUTEX(lock);
	unsigned int cpu;
	bool done = true;

	/*
	 * A hypervisor needs lists at multiples of 4K, and by real address: what is
	 * allocated by a power of two is aligned to it
	 */
	BUILD_BUG_ON(sizeof(struct tce_user_list) != 2 * SZ_4K);
	mutex_lock(&lock);
	for_each_possible_cpu(cpu) {
		struct tce_user_list *list = per_cpu(tce_user_lists, cpu);

		if (list)
			continue;
		list = kmalloc_node(sizeof(*list), GFP_KERNEL, cpu_to_node(cpu));
		WRITE_ONCE(per_cpu(tce_user_lists, cpu), list);
		done &= !!list;
	}
	mutex_unlock(&lock);
	return done;
}

/* Lines are locked: a hypervisor that is busy is asked again for @us only */
static int tce_user_ask_list(const struct tce_user_pos *pos,
			     const __be64 *tces, unsigned long n,
			     unsigned int us)
{
	const u64 limit = (u64)us * tb_ticks_per_usec, began = get_tb();
	int ret;

	/* By the clock: a hypervisor takes its time to say that it is busy, too */
	for (;;) {
		ret = pos->tbl->it_ops->put_list(pos->tbl, pos->entry, tces, n);
		if (ret != -EAGAIN || get_tb() - began >= limit)
			return ret;
		udelay(1);
	}
}

/* Ask for one entry alone, until @end, in the time base, if the hypervisor is busy */
static int tce_user_ask(const struct tce_user_pos *pos, unsigned long i,
			u64 tce, u64 end)
{
	int ret;

	while ((ret = pos->tbl->it_ops->put(pos->tbl, pos->entry + i, tce)) == -EAGAIN &&
	       (s64)(end - get_tb()) > 0)
		udelay(1);
	return ret;
}

/*
 * Have an entry lead to the new page, or else nowhere: the hypervisor refused lists.  If
 * it refuses both, nobody knows to which of the two pages it leads now.  They are in one
 * region, and the count of the new one holds both, until the entry has been cleared.
 */
static int tce_user_put_again(const struct tce_user_pos *pos,
			      struct tce_user_list *list, unsigned long i,
			      u64 end)
{
	int ret = tce_user_ask(pos, i, be64_to_cpu(list->tce[i]), end);

	if (ret && !tce_user_ask(pos, i, 0, end))
		list->user[i] = 0;
	return ret;
}

/*
 * The hypervisor refused the list with @error, and nobody knows which entries it has
 * changed.  Ask it to clear all of them; if it refuses, ask for each entry alone.  On
 * return list->user[] says what the entries lead to.  What it was too busy for is worth
 * trying anew, whatever it has refused besides.
 */
static int tce_user_settle(bool map, const struct tce_user_pos *pos,
			   struct tce_user_list *list, unsigned long n,
			   int error)
{
	unsigned long i;
	int ret = 0;
	u64 end;

	if (map && !tce_user_ask_list(pos, NULL, n, TCE_USER_SETTLE_US)) {
		memset(list->user, 0, n * sizeof(list->user[0]));
		return error;
	}

	end = get_tb() + (map ? (u64)TCE_USER_SETTLE_US * tb_ticks_per_usec : 0);
	for (i = 0; i < n; ++i) {
		if (map)
			error = tce_user_put_again(pos, list, i, end);
		else
			error = tce_user_ask(pos, i, 0, end);
		if (!error)
			continue;
		if (!map)
			list->user[i] = tce_user_read(&pos->user[i]);
		if (ret != -EAGAIN)
			ret = error;
	}
	return ret;
}

/**
 * tce_user_put_list() - change a list of entries whose lines are locked
 * @gather: takes over the counts of the translations that were there
 * @ref: what the gather holds on the region that the entries are to lead to, with
 *	@credit above @n; NULL to have them lead nowhere
 * @pos: the first entry; they lie in one piece, and with @ref lead nowhere or into its
 *	region
 * @list: this CPU's; its words are not looked at when @ref is NULL
 * @n: entries, 512 at most
 *
 * The caller has locked the lines of the entries.  It changes each entry to the word
 * that list->user[] has then, and unlocks the lines.
 *
 * A hypervisor that refuses is asked 1 time more, or if it refuses that as well up to
 * 2 times for each entry; one that is busy as often as TCE_USER_SETTLE_US permit.
 *
 * Context: preemption off.
 * Return: 0; -EIO when the hypervisor refused, -EAGAIN when it is busy.  Then some
 * entries can lead to where they were to lead, others that were to lead somewhere lead
 * nowhere, and others stay, as far as it allows.
 */
int tce_user_put_list(struct tce_user_gather *gather,
		      struct tce_user_ref *ref,
		      const struct tce_user_pos *pos,
		      struct tce_user_list *list, unsigned long n)
{
	unsigned long i;
	int ret;

	lockdep_assert_preemption_disabled();
	/* User words are read here that are not those of tce_user_trylock_line() */
	smp_acquire__after_ctrl_dep();
	if (!ref)
		memset(list->user, 0, n * sizeof(list->user[0]));
	ret = tce_user_ask_list(pos, ref ? list->tce : NULL, n, TCE_USER_BUSY_US);
	if (ret)
		ret = tce_user_settle(ref, pos, list, n, ret);

	for (i = 0; i < n; ++i) {
		const u64 old = tce_user_read(&pos->user[i]);

		if (list->user[i] && !ref)
			continue;
		if (list->user[i])
			ref->credit--;
		tce_user_gone(gather, pos->tbl, pos->entry + i, old,
			      TCE_USER_VIRT);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(tce_user_put_list);

/**
 * tce_user_open() - let user TCEs into a table
 * @tbl: table; the caller holds a reference until it has closed it
 * @mm: the address space that it is to lead to; referenced for as long
 * @pinned: pages are pinned one by one, not registered in advance
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM the table has no user view, or no memory; -EINVAL a platform has
 * allocated the view, or its levels, where no line begins.
 */
int tce_user_open(struct iommu_table *tbl, struct mm_struct *mm, bool pinned)
{
	struct mm_struct **owner = pinned ? &tbl->it_mm_pinned : &tbl->it_mm;
	struct mm_iommu *iommu = mm_iommu_of(mm);

	if (!tbl->it_userspace || !iommu)
		return -ENOMEM;
	/* Else the locks of the first entries would lie in front of the view */
	if (WARN_ON_ONCE(!tce_user_has_lock((__force u64 *)tbl->it_userspace) ||
			 tbl->it_level_size % TCE_USER_LINE))
		return -EINVAL;
	if (!pinned && tbl->it_ops->put_list && !tce_user_alloc_lists())
		return -ENOMEM;

	if (!pinned)
		mm_iommu_reader_add(iommu, &tbl->it_reader);
	/* Pairs with the acquire in tce_user_table_get() */
	smp_store_release(owner, mm);
	return 0;
}
EXPORT_SYMBOL_GPL(tce_user_open);

/* Whom @tbl leads to; what else it says of itself may be read after this */
static struct mm_struct *tce_user_owner(struct iommu_table *tbl)
{
	/* Pairs with the release in tce_user_open() */
	struct mm_struct *mm = smp_load_acquire(&tbl->it_mm);

	/* And so does this */
	return mm ?: smp_load_acquire(&tbl->it_mm_pinned);
}

/* An entry's place, with its levels allocated */
static int tce_user_reach(struct tce_user_pos *pos, unsigned long entry)
{
	if (tce_user_seek(pos, entry))
		return 0;
	if (tce_user_populate(pos->tbl, entry) ||
	    !tce_user_seek(pos, entry))
		return -ENOMEM;
	return 0;
}

static int tce_user_map_one(struct tce_user_gather *gather,
			    struct tce_user_pos *pos, unsigned long ua,
			    u64 perm, unsigned long more)
{
	struct tce_user_ref *ref;
	u64 old, tce;
	int ret;

	ref = tce_user_reserve(gather, ua, 1UL << pos->tbl->it_page_shift, 1,
			       more, TCE_USER_VIRT);
	if (!ref)
		return -EINVAL;
	tce = tce_user_hw(ref->mem, pos->tbl, ua, perm);
	if (!tce)
		return -EINVAL;

	preempt_disable();
	tce_user_lock(pos->user, &old, true);
	ret = tce_user_set(gather, pos, tce, old, TCE_USER_VIRT);
	if (!ret)
		ref->credit--;
	tce_user_unlock(pos->user, ret ? old : ua | TCE_USER_SET);
	preempt_enable();
	return ret;
}

/*
 * Can an entry join a list?  It leads nowhere, or to the region that the gather met
 * last: that of the list, which has to be one (tce_user_put_list()).  The @first entry
 * of the list, and each that begins a line, has its line locked if it can join.
 */
static bool tce_user_join(const struct tce_user_gather *gather, u64 *user, bool first)
{
	const bool lock = first || tce_user_has_lock(user);
	u64 *word = user;
	u64 old;

	if (lock) {
		tce_user_lock_line(user, &word, true);
		/* Others of the line are read later: pairs with tce_user_unlock_line() */
		smp_acquire__after_ctrl_dep();
	}
	old = tce_user_read(word);
	if (!(old & TCE_USER_SET) ||
	    tce_user_ref_has(gather->cur, old & TCE_USER_UA, 1))
		return true;

	if (lock)
		tce_user_unlock_line(user);
	return false;
}

/* Change the @n entries that have joined, which may be none, and unlock their lines */
static int tce_user_end_list(struct tce_user_gather *gather,
			     struct tce_user_ref *ref,
			     const struct tce_user_pos *pos,
			     struct tce_user_list *list, unsigned long n)
{
	unsigned long i;
	int ret;

	if (!n)
		return 0;

	ret = tce_user_put_list(gather, ref, pos, list, n);
	for (i = 0; i < n; ++i)
		tce_user_change(pos->user + i, list->user[i]);
	tce_user_unlock_lines(pos->user, n);
	return ret;
}

/*
 * Map the entries from @pos on that are to lead to one region, by one list.  *@done
 * counts them, on failure too; it is 0 when the first one does not fit into a list.
 */
static int tce_user_map_list(struct tce_user_gather *gather,
			     const struct tce_user_pos *pos,
			     unsigned long pages, unsigned long ua, u64 perm,
			     unsigned long *done)
{
	const unsigned int shift = pos->tbl->it_page_shift;
	struct tce_user_list *list;
	struct tce_user_ref *ref;
	unsigned long i = 0, n;
	u64 tce;
	int ret;

	*done = 0;
	ref = tce_user_reserve(gather, ua, 1UL << shift, 1, pages - 1,
			       TCE_USER_VIRT);
	if (!ref)
		return 0;
	n = min3(pages, pos->left, (ref->ua + ref->size - ua) >> shift);
	n = min(n, ref->credit - 1);

	preempt_disable();
	list = tce_user_list(pos->tbl);
	for (; list && i < n; ++i) {
		tce = tce_user_hw(ref->mem, pos->tbl, ua + (i << shift), perm);
		if (!tce || !tce_user_join(gather, pos->user + i, !i))
			break;
		tce_user_store(&list->tce[i], tce);
		list->user[i] = (ua + (i << shift)) | TCE_USER_SET;
	}
	ret = tce_user_end_list(gather, ref, pos, list, i);
	preempt_enable();

	*done = i;
	return ret;
}

/*
 * Map a piece of a registered table, as far as the regions in it fit into a
 * gather; *@done counts entries, on failure too.  -EAGAIN when the hypervisor is busy:
 * then the last *@again of them have to be done once more.
 */
static int tce_user_map_piece(struct iommu_table *tbl, unsigned long entry,
			      unsigned long pages, unsigned long ua,
			      u64 perm, unsigned long *done,
			      unsigned long *again)
{
	struct tce_user_pos pos = { .tbl = tbl };
	struct tce_user_gather gather __uninitialized;
	unsigned long i = 0, n = 0;
	int ret = 0;

	mm_iommu_enter(&tbl->it_reader);
	tce_user_begin(&gather, &tbl->it_reader);
	while (!ret && i < pages && !tce_user_full(&gather, 1)) {
		n = 0;
		if (!pos.left)
			ret = tce_user_reach(&pos, entry + i);
		if (!ret && !pos.hw)
			ret = tce_user_map_list(&gather, &pos, pages - i, ua,
						perm, &n);
		if (!ret && !n) {
			ret = tce_user_map_one(&gather, &pos, ua, perm,
					       pages - i - 1);
			n = !ret;
		}
		i += n;
		ua += n << tbl->it_page_shift;
		tce_user_move(&pos, n);
	}
	if (i)
		tce_user_kill(tbl, entry, i, TCE_USER_VIRT);
	tce_user_finish(&gather);
	mm_iommu_leave(&tbl->it_reader);

	*done += i;
	*again = n;
	return ret;
}

/* -EAGAIN when the hypervisor is busy; what it refuses keeps its count */
static int tce_user_unmap_one(struct tce_user_gather *gather,
			      struct tce_user_pos *pos)
{
	u64 old;
	int ret;

	preempt_disable();
	tce_user_lock(pos->user, &old, true);
	ret = tce_user_set(gather, pos, 0, old, TCE_USER_VIRT);
	tce_user_unlock(pos->user, ret ? old : 0);
	preempt_enable();
	return ret;
}

/*
 * Unmap the entries from @pos on that lead to the region met last, or nowhere, by one
 * list; *@n counts them.  Returns as tce_user_unmap_one().
 */
static int tce_user_unmap_list(struct tce_user_gather *gather,
			       const struct tce_user_pos *pos,
			       unsigned long pages, unsigned long *n)
{
	struct tce_user_list *list;
	int ret;

	*n = 0;
	pages = min(pages, pos->left);
	preempt_disable();
	list = tce_user_list(pos->tbl);
	while (list && *n < pages && tce_user_join(gather, pos->user + *n, !*n))
		++*n;
	ret = tce_user_end_list(gather, NULL, pos, list, *n);
	preempt_enable();

	return ret;
}

/*
 * Unmap the entries from @pos on that have one lock, for as long as the gather has room
 * for the regions that they leave; in a table that a hypervisor keeps, until one leads
 * somewhere.  Returns how many.
 */
static unsigned long tce_user_unmap_line(struct tce_user_gather *gather,
					 struct tce_user_pos *pos,
					 unsigned long pages)
{
	unsigned long n = min3(pages, pos->left, tce_user_line_left(pos->user));
	unsigned long i;
	u64 *word;
	u64 old;

	preempt_disable();
	tce_user_lock_line(pos->user, &word, true);
	for (i = 0; i < n && !tce_user_full(gather, 1); ++i) {
		old = tce_user_read(word + i);
		if (!old)
			continue;
		if (!pos->hw)
			break;
		tce_user_store(pos->hw + i, 0);
		tce_user_gone(gather, pos->tbl, pos->entry + i, old, TCE_USER_VIRT);
		tce_user_change(pos->user + i, 0);
	}
	tce_user_unlock_line(pos->user);
	preempt_enable();
	return i;
}

/* Unmap some entries from @pos on; *@n counts them.  Returns as tce_user_unmap_one() */
static int tce_user_unmap_some(struct tce_user_gather *gather,
			       struct tce_user_pos *pos, unsigned long pages,
			       unsigned long *n)
{
	int ret;

	/* Most of a window leads nowhere: a hypervisor need not be asked */
	*n = tce_user_unmap_line(gather, pos, pages);
	if (*n)
		return 0;

	ret = tce_user_unmap_list(gather, pos, pages, n);
	if (!*n) {
		ret = tce_user_unmap_one(gather, pos);
		*n = 1;
	}
	return ret;
}

/*
 * How many entries from @entry on lead nowhere because they share a level that the user
 * view lacks, of those above, too?  A window of many terabytes costs a page or two while
 * it is empty, and is to be walked in no time.
 */
static unsigned long tce_user_absent(const struct iommu_table *tbl,
				     unsigned long entry)
{
	const unsigned int shift = ilog2(tbl->it_level_size);
	const unsigned long idx = entry - tbl->it_offset;
	unsigned int below = tbl->it_indirect_levels * shift;
	__be64 *view = (__force __be64 *)tbl->it_userspace;

	for (; below; below -= shift) {
		unsigned long i = (idx >> below) & (tbl->it_level_size - 1);
		u64 word = tce_user_load(&view[i]);

		if (!word)
			return (1UL << below) - (idx & ((1UL << below) - 1));
		view = __va(word & ~(u64)TCE_USER_PERM);
	}
	return 0;
}

/*
 * Go to entry *@at.  If it does not exist, return false and move *@at past the
 * entries that do not
 */
static bool tce_user_find(struct tce_user_pos *pos, unsigned long *at)
{
	if (pos->left || tce_user_seek(pos, *at))
		return true;

	/*
	 * The user view has the level and the hardware view has not: its allocation
	 * had failed
	 */
	*at += tce_user_absent(pos->tbl, *at) ?: pos->left;
	pos->left = 0;
	return false;
}

/*
 * Unmap a piece of a registered table, as tce_user_map_piece() maps one.  Returns how many
 * entries, which is more than @pages when those at its end do not exist, nor do others after
 * them.  Ends with *@busy where the hypervisor is; without @busy what it is too busy for is
 * left.
 */
static unsigned long tce_user_unmap_piece(struct iommu_table *tbl,
					  unsigned long entry,
					  unsigned long pages, bool *busy)
{
	struct tce_user_pos pos = { .tbl = tbl };
	unsigned long end = entry + pages, at = entry;
	struct tce_user_gather gather __uninitialized;
	unsigned long n = 0;
	bool there = false;
	int ret;

	mm_iommu_enter(&tbl->it_reader);
	tce_user_begin(&gather, &tbl->it_reader);
	while (at < end && !tce_user_full(&gather, 1)) {
		if (!tce_user_find(&pos, &at))
			continue;
		there = true;
		ret = tce_user_unmap_some(&gather, &pos, end - at, &n);
		tce_user_move(&pos, n);
		at += n;
		if (busy && ret == -EAGAIN) {
			*busy = true;
			break;
		}
	}
	/* Other CPUs' invalidations of these entries may be still to come */
	if (there)
		tce_user_kill(tbl, entry, min(at, end) - entry, TCE_USER_VIRT);
	tce_user_finish(&gather);
	mm_iommu_leave(&tbl->it_reader);

	/* Those of the last list have to be looked at again */
	if (busy && *busy)
		at -= n;

	return at - entry;
}

/*
 * Pinned tables.  The lock of the line is taken for the sake of the rule; the
 * container's lock keeps other writers away, and user words may be read under it.
 */

/* Returns as tce_user_write(); on success *@old is the user word that was there */
static int tce_user_set_pinned(struct tce_user_pos *pos, u64 tce, u64 user, u64 *old)
{
	int ret;

	preempt_disable();
	tce_user_lock(pos->user, old, true);
	ret = tce_user_write(pos->tbl, pos->hw, pos->entry, tce, TCE_USER_VIRT);
	tce_user_unlock(pos->user, ret ? *old : user);
	preempt_enable();

	return ret;
}

/* After invalidation: @words are the user words that were replaced */
static void tce_user_unpin(const u64 *words, unsigned long nr)
{
	unsigned long i;

	/* The invalidation is complete before the pages go to others */
	mb();

	for (i = 0; i < nr; ++i) {
		struct page *page = pfn_to_page(words[i] >> PAGE_SHIFT);

		/* Not under the page's lock, which user space can hold (FUSE) */
		if (words[i] & TCE_USER_DIRTY)
			SetPageDirty(page);
		unpin_user_page(page);
	}
}

/* Pin a page for each of @n entries; returns for how many that was possible */
static unsigned long tce_user_pin(const struct iommu_table *tbl,
				  unsigned long ua, unsigned long n, u64 perm,
				  struct page **page)
{
	const unsigned int flags = perm & TCE_PCI_WRITE ? FOLL_WRITE : 0;
	unsigned long i;

	for (i = 0; i < n; ++i) {
		if (pin_user_pages_fast(ua & PAGE_MASK, 1, flags, &page[i]) != 1)
			break;
		ua += 1UL << tbl->it_page_shift;
	}
	return i;
}

/* The pin on @page is the entry's on success */
static int tce_user_map_one_pinned(struct tce_user_pos *pos,
				   struct page *page, unsigned long ua,
				   u64 perm, u64 *old)
{
	u64 user = page_to_phys(page) | TCE_USER_SET;

	/* The device must not reach more than the page that was pinned */
	if (page_shift(compound_head(page)) < pos->tbl->it_page_shift)
		return -EPERM;

	if (perm & TCE_PCI_WRITE)
		user |= TCE_USER_DIRTY;
	if (pos->hw)
		perm = tce_user_ioda_perm(perm);
	return tce_user_set_pinned(pos, page_to_phys(page) | (ua & ~PAGE_MASK) | perm,
				   user, old);
}

/* Map a piece of a pinned table; @lock is let go of while it pins */
static int tce_user_map_pinned(struct iommu_table *tbl, unsigned long entry,
			       unsigned long pages, unsigned long ua,
			       u64 perm, struct mutex *lock,
			       unsigned long *done)
{
	struct page *page[TCE_USER_PINS] __uninitialized;
	u64 old[TCE_USER_PINS] __uninitialized;
	struct tce_user_pos pos = { .tbl = tbl };
	const unsigned int ends = tbl->it_ends;
	unsigned long i, pinned, nr = 0;
	int ret = 0;

	pages = min(pages, TCE_USER_PINS);
	mutex_unlock(lock);
	pinned = tce_user_pin(tbl, ua, pages, perm, page);
	mutex_lock(lock);

	if (tbl->it_ends != ends)
		ret = -ENXIO;
	for (i = 0; !ret && i < pinned; ++i) {
		if (!pos.left)
			ret = tce_user_reach(&pos, entry + i);
		if (!ret)
			ret = tce_user_map_one_pinned(&pos, page[i], ua, perm,
						      &old[nr]);
		if (ret)
			break;
		nr += !!(old[nr] & TCE_USER_SET);
		ua += 1UL << tbl->it_page_shift;
		tce_user_next(&pos);
	}
	if (i)
		tce_user_kill(tbl, entry, i, TCE_USER_VIRT);
	tce_user_unpin(old, nr);
	unpin_user_pages(page + i, pinned - i);

	*done += i;
	return ret ?: pinned < pages ? -EFAULT : 0;
}

/* Returns how many entries, as tce_user_unmap_piece(), with @busy likewise */
static unsigned long tce_user_unmap_pinned(struct iommu_table *tbl,
					   unsigned long entry,
					   unsigned long pages, bool *busy)
{
	struct tce_user_pos pos = { .tbl = tbl };
	unsigned long at = entry, end = entry + pages, first = entry, nr = 0;
	u64 old[TCE_USER_PINS] __uninitialized;
	int ret;

	while (at < end) {
		if (!tce_user_find(&pos, &at))
			continue;
		if (READ_ONCE(*pos.user)) {
			ret = tce_user_set_pinned(&pos, 0, 0, &old[nr]);
			if (ret == -EAGAIN && busy) {
				*busy = true;
				break;
			}
			nr += !ret;
		}
		tce_user_next(&pos);
		at++;
		if (nr == TCE_USER_PINS) {
			tce_user_kill(tbl, first, at - first,
				      TCE_USER_VIRT);
			tce_user_unpin(old, nr);
			first = at;
			nr = 0;
		}
	}
	if (nr) {
		tce_user_kill(tbl, first, min(at, end) - first,
			      TCE_USER_VIRT);
		tce_user_unpin(old, nr);
	}
	return at - entry;
}

/*
 * Unmap the first of some entries, with those that do not exist; returns how many.
 * @busy as for tce_user_unmap_piece(), but false at first.
 */
static unsigned long tce_user_clear_piece(struct iommu_table *tbl,
					  unsigned long entry,
					  unsigned long pages, bool *busy)
{
	unsigned long n = min(pages, TCE_USER_PIECE);

	if (tbl->it_mm_pinned)
		n = tce_user_unmap_pinned(tbl, entry, n, busy);
	else
		n = tce_user_unmap_piece(tbl, entry, n, busy);
	return min(n, pages);
}

/* Between two pieces; a hypervisor that is busy is given a moment */
static void tce_user_pause(bool busy)
{
	if (busy)
		usleep_range(1000, 2000);
	else
		cond_resched();
}

static void tce_user_clear(struct iommu_table *tbl, unsigned long entry,
			   unsigned long pages)
{
	unsigned int waits = TCE_USER_WAITS, all = 32 * TCE_USER_WAITS;

	while (pages) {
		bool busy = false;
		unsigned long n = tce_user_clear_piece(tbl, entry, pages,
						       waits ? &busy : NULL);

		entry += n;
		pages -= n;
		/* Each piece that gets through is waited for anew, but not for ever */
		all -= busy && all;
		if (waits)
			waits = n && all ? TCE_USER_WAITS : waits - busy;
		tce_user_pause(busy);
	}
}

/* Between two pieces.  Returns false if the map or unmap must end */
static bool tce_user_yield(const struct iommu_table *tbl, unsigned int ends,
			   struct mutex *lock, bool busy)
{
	mutex_unlock(lock);
	tce_user_pause(busy);
	mutex_lock(lock);
	return tbl->it_ends == ends;
}

/**
 * tce_user_map() - map a range of user addresses
 * @tbl: open table
 * @entry: first entry, counted from bus address 0
 * @pages: entries; all within the table
 * @ua: user address, a multiple of the table's page size
 * @dir: what the device may do
 * @lock: held by the caller, as by everybody who calls this, tce_user_unmap() or
 *	tce_user_close() for @tbl
 *
 * Translations that were there are replaced.  On failure those that this call
 * has installed are removed again.
 *
 * Whoever takes the device away waits for @lock.  So it is let go of after each
 * piece, and while pages of a pinned table are pinned, as user space decides how
 * long it takes to bring a page.
 *
 * Context: may sleep; the caller holds a reference on @tbl.  Hypercalls may work on
 * a registered table meanwhile.
 * Return: 0; -EINVAL memory that is not registered, or in pages smaller than the
 * table's; -EFAULT, -EPERM the same for a pinned table; -ENXIO the table is not
 * open, or tce_user_end_ioctls() was called meanwhile; -ENOMEM; -EIO the
 * hypervisor refused; -EINTR the process is being killed.
 */
long tce_user_map(struct iommu_table *tbl, unsigned long entry,
		  unsigned long pages, unsigned long ua,
		  enum dma_data_direction dir, struct mutex *lock)
{
	long ret = tce_user_is_open(tbl) ? 0 : -ENXIO;
	u64 perm = iommu_direction_to_tce_perm(dir);
	const unsigned int ends = tbl->it_ends;
	unsigned long done = 0, reached = 0;

	while (!ret && done < pages) {
		unsigned long n = min(pages - done, TCE_USER_PIECE);
		unsigned long from = ua + (done << tbl->it_page_shift), again = 0;
		bool busy;

		if (tbl->it_mm_pinned)
			ret = tce_user_map_pinned(tbl, entry + done, n, from,
						  perm, lock, &done);
		else
			ret = tce_user_map_piece(tbl, entry + done, n, from,
						 perm, &done, &again);
		busy = ret == -EAGAIN;
		reached = max(reached, done);
		if (busy)
			done -= again;
		if ((ret && !busy) || done == pages)
			break;
		ret = 0;
		if (fatal_signal_pending(current))
			ret = -EINTR;
		else if (!tce_user_yield(tbl, ends, lock, busy))
			ret = -ENXIO;
	}

	/* Whoever has ended this clears the table */
	if (reached && ret && tbl->it_ends == ends)
		tce_user_unmap(tbl, entry, reached, lock);
	return ret;
}
EXPORT_SYMBOL_GPL(tce_user_map);

/**
 * tce_user_unmap() - remove the translations of a range
 * @tbl: table; one that is closed has none
 * @entry: first entry, counted from bus address 0
 * @pages: entries; all within the table
 * @lock: as for tce_user_map()
 *
 * Context: as tce_user_map().
 */
void tce_user_unmap(struct iommu_table *tbl, unsigned long entry,
		    unsigned long pages, struct mutex *lock)
{
	const unsigned int ends = tbl->it_ends;

	/* A group that has left its container took the window with it */
	while (pages && tce_user_is_open(tbl)) {
		bool busy = false;
		unsigned long n = tce_user_clear_piece(tbl, entry, pages, &busy);

		entry += n;
		pages -= n;
		/* When the process ends, its container clears what is left */
		if (busy && fatal_signal_pending(current))
			break;
		if (pages && !tce_user_yield(tbl, ends, lock, busy))
			break;
	}
}
EXPORT_SYMBOL_GPL(tce_user_unmap);

/**
 * tce_user_end_ioctls() - wait for those who map or unmap
 * @tbl: table
 *
 * The caller has seen to it that nobody begins, and clears the table now.
 *
 * Context: any; the caller holds the lock that tce_user_map() lets go of.
 */
void tce_user_end_ioctls(struct iommu_table *tbl)
{
	tbl->it_ends++;
}
EXPORT_SYMBOL_GPL(tce_user_end_ioctls);

/**
 * tce_user_synchronize() - wait for the hypercalls that use a table
 * @tbl: table, open or closed
 *
 * For whoever changes what hypercalls read of a table: its groups, and what the
 * table leads to.  A table that was closed has waited.
 *
 * Whoever closes the table meanwhile is waited for: until then there are hypercalls,
 * and then there may be no mm.
 *
 * Context: may sleep, for as long as a hypercall or closing takes; without it_lock.
 */
void tce_user_synchronize(struct iommu_table *tbl)
{
	mutex_lock(&tbl->it_lock);
	if (tbl->it_mm)
		mm_iommu_synchronize(tbl->it_reader.iommu);
	mutex_unlock(&tbl->it_lock);
}
EXPORT_SYMBOL_GPL(tce_user_synchronize);

/**
 * tce_user_close() - end user TCEs in a table
 * @tbl: table that was opened
 *
 * When this returns nobody installs anything in the table, and none of its entries holds
 * memory, but those that a hypervisor refuses to clear, or is too busy for until
 * tce_user_clear() gives up.  To close a table again, or one that never was open, is fine.
 *
 * Context: may sleep, for as long as a hypercall and the clearing take: 16 s and more if
 * a hypervisor stays busy.
 */
void tce_user_close(struct iommu_table *tbl)
{
	const bool registered = tbl->it_mm;

	if (!tce_user_is_open(tbl))
		return;

	mutex_lock(&tbl->it_lock);
	tce_user_end_ioctls(tbl);
	WRITE_ONCE(tbl->it_mm, NULL);
	/* Hypercalls that saw it_mm set are over after this */
	if (registered)
		mm_iommu_synchronize(tbl->it_reader.iommu);
	tce_user_clear(tbl, tbl->it_offset, tbl->it_size);
	if (registered)
		mm_iommu_reader_del(&tbl->it_reader);
	WRITE_ONCE(tbl->it_mm_pinned, NULL);
	mutex_unlock(&tbl->it_lock);
}
EXPORT_SYMBOL_GPL(tce_user_close);

static bool tce_user_covers(const struct iommu_table *tbl,
			    unsigned int page_shift, u64 offset, u64 size)
{
	return tbl->it_page_shift <= page_shift &&
	       tbl->it_offset << tbl->it_page_shift == offset << page_shift &&
	       tbl->it_size << tbl->it_page_shift >= size << page_shift;
}

/**
 * tce_user_table_get() - the open table of a group that covers a window
 * @grp: group, pinned by the caller
 * @mm: the address space that the table must lead to
 * @page_shift: the window's page size
 * @offset: its first entry, counted from bus address 0, in such pages
 * @size: its entries
 *
 * A table is freed after an RCU grace period, and off the group's list before
 * its last reference goes; so it is there to be looked at.
 *
 * Context: any.
 * Return: the table, with a reference; ERR_PTR(-EINVAL) when the group is not
 * one of sPAPR TCE or has no such table; ERR_PTR(-EPERM) when the table leads to
 * another address space.
 */
struct iommu_table *tce_user_table_get(struct iommu_group *grp,
				       struct mm_struct *mm,
				       unsigned int page_shift,
				       u64 offset, u64 size)
{
	struct iommu_table *found = ERR_PTR(-EINVAL);
	struct iommu_table_group *table_group;
	unsigned int i;

	rcu_read_lock();
	table_group = iommu_group_get_iommudata(grp);
	if (!table_group || READ_ONCE(table_group->group) != grp)
		goto out_unlock;

	for (i = 0; i < IOMMU_TABLE_GROUP_MAX_TABLES; ++i) {
		struct iommu_table *tbl = READ_ONCE(table_group->tables[i]);
		struct mm_struct *owner = tbl ? tce_user_owner(tbl) : NULL;

		if (!owner || !tce_user_covers(tbl, page_shift, offset, size))
			continue;
		if (owner != mm) {
			found = ERR_PTR(-EPERM);
			continue;
		}
		if (iommu_tce_table_get(tbl)) {
			found = tbl;
			break;
		}
	}
out_unlock:
	rcu_read_unlock();
	return found;
}
EXPORT_SYMBOL_GPL(tce_user_table_get);
