// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * User TCEs for callers that run in virtual mode and may sleep: opening and
 * closing tables, mapping and unmapping ranges.  The rules are told in
 * asm/iommu_user.h.
 *
 * Two kinds of tables differ in what keeps the memory behind an entry:
 *
 *  - registered (sPAPR TCE IOMMU v2): a count on a preregistered region.
 *    Hypercalls may change these tables, too.
 *
 *  - pinned (v1): a pin on the page, taken when the entry is mapped and
 *    dropped after it was invalidated.  Only the functions of this file change
 *    these; the page is found through the hardware word.
 */

#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/srcu.h>

#include <asm/iommu_user.h>

/* Held by who reads tables and regions, in guest context from before entry on */
DEFINE_SRCU(iommu_user_srcu);
EXPORT_SYMBOL_GPL(iommu_user_srcu);

/* Pages that a piece of a pinned table's map or unmap lets go of */
#define IOMMU_USER_PINS		64UL

/**
 * iommu_user_exchange() - replace a hardware word that a hypervisor keeps
 * @tbl: table
 * @entry: entry, counted from bus address 0
 * @tce: new word
 * @old: where to store the old word, or NULL
 *
 * Context: does not sleep; the entry is locked.
 * Return: 0; -EIO the hypervisor refused.
 */
int iommu_user_exchange(struct iommu_table *tbl, unsigned long entry, u64 tce,
			u64 *old)
{
	enum dma_data_direction dir = iommu_tce_direction(tce);
	unsigned long hpa = tce & ~(u64)IOMMU_USER_PERM;

	if (tbl->it_ops->xchg_no_kill(tbl, entry, &hpa, &dir))
		return -EIO;

	if (old)
		*old = hpa | iommu_direction_to_tce_perm(dir);
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_user_exchange);

/**
 * iommu_user_populate() - allocate the levels that lead to an entry
 * @tbl: table
 * @entry: entry, counted from bus address 0
 *
 * Context: does not sleep.
 * Return: 0; -ENOMEM.
 */
int iommu_user_populate(struct iommu_table *tbl, unsigned long entry)
{
	if (!tbl->it_ops->populate)
		return 0;

	return tbl->it_ops->populate(tbl, entry);
}
EXPORT_SYMBOL_GPL(iommu_user_populate);

/**
 * iommu_user_open() - let user TCEs into a table
 * @tbl: table; the caller holds a reference until it has closed it
 * @mm: the address space that it is to lead to; referenced for as long
 * @pinned: pages are pinned one by one, not registered in advance
 *
 * Context: any.
 * Return: 0; -ENOMEM the table has no user view.
 */
int iommu_user_open(struct iommu_table *tbl, struct mm_struct *mm, bool pinned)
{
	if (!tbl->it_userspace)
		return -ENOMEM;

	/* A LIOBN may still be bound to what the table was before */
	WRITE_ONCE(tbl->it_pinned, pinned);
	/* Pairs with READ_ONCE() in iommu_user_table_get() */
	smp_store_release(&tbl->it_mm, mm);
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_user_open);

/* An entry's place, with its levels allocated */
static int iommu_user_reach(struct iommu_user_pos *pos, unsigned long entry)
{
	if (iommu_user_seek(pos, entry))
		return 0;
	if (iommu_user_populate(pos->tbl, entry) ||
	    !iommu_user_seek(pos, entry))
		return -ENOMEM;
	return 0;
}

static int iommu_user_map_one(struct iommu_user_batch *batch,
			      struct iommu_user_pos *pos, unsigned long ua,
			      u64 perm, unsigned long more)
{
	struct iommu_user_ref *ref;
	u64 old, tce;
	int ret;

	ref = iommu_user_ref(batch, ua, 1UL << pos->tbl->it_page_shift);
	if (!ref || !iommu_user_reserve(ref, 1, more, IOMMU_USER_VIRT))
		return -EINVAL;
	tce = iommu_user_tce(ref->mem, pos->tbl, ua, perm);
	if (!tce)
		return -EINVAL;

	preempt_disable();
	iommu_user_lock(pos->user, &old, true);
	ret = iommu_user_set(batch, pos, tce, old, IOMMU_USER_VIRT);
	if (!ret)
		ref->credit--;
	iommu_user_unlock(pos->user, ret ? old : ua | IOMMU_USER_SET);
	preempt_enable();
	return ret;
}

/*
 * Map a piece of a registered table, as far as the regions in it fit into a
 * batch; *@done counts entries, on failure too.
 */
static int iommu_user_map_piece(struct iommu_table *tbl, unsigned long entry,
				unsigned long pages, unsigned long ua,
				u64 perm, unsigned long *done)
{
	struct iommu_user_pos pos = { .tbl = tbl };
	struct iommu_user_batch batch __uninitialized;
	unsigned long i;
	int idx, ret = 0;
	u32 hint = 0;

	idx = srcu_read_lock(&iommu_user_srcu);
	iommu_user_begin(&batch, tbl->it_mm, &hint);
	for (i = 0; i < pages && !iommu_user_full(&batch); ++i) {
		if (!pos.left)
			ret = iommu_user_reach(&pos, entry + i);
		if (!ret)
			ret = iommu_user_map_one(&batch, &pos, ua, perm,
						 pages - i - 1);
		if (ret)
			break;
		ua += 1UL << tbl->it_page_shift;
		iommu_user_next(&pos);
	}
	if (i)
		iommu_user_kill(tbl, entry, i, IOMMU_USER_VIRT);
	iommu_user_put(&batch);
	srcu_read_unlock(&iommu_user_srcu, idx);

	*done += i;
	return ret;
}

static void iommu_user_unmap_one(struct iommu_user_batch *batch,
				 struct iommu_user_pos *pos)
{
	u64 old;
	int ret;

	/* Pairs with the release in iommu_user_unlock() */
	if (!smp_load_acquire(pos->user))
		return;

	preempt_disable();
	iommu_user_lock(pos->user, &old, true);
	ret = iommu_user_set(batch, pos, 0, old, IOMMU_USER_VIRT);
	iommu_user_unlock(pos->user, ret ? old : 0);
	preempt_enable();
}

/* Unmap a piece of a registered table likewise; returns how many entries */
static unsigned long iommu_user_unmap_piece(struct iommu_table *tbl,
					    struct mm_struct *mm,
					    unsigned long entry,
					    unsigned long pages)
{
	struct iommu_user_pos pos = { .tbl = tbl };
	unsigned long end = entry + pages, at = entry;
	struct iommu_user_batch batch __uninitialized;
	bool there = false;
	u32 hint = 0;
	int idx;

	idx = srcu_read_lock(&iommu_user_srcu);
	iommu_user_begin(&batch, mm, &hint);
	while (at < end && !iommu_user_full(&batch)) {
		if (!pos.left && !iommu_user_seek(&pos, at)) {
			at += pos.left;
			pos.left = 0;
			continue;
		}
		there = true;
		iommu_user_unmap_one(&batch, &pos);
		iommu_user_next(&pos);
		at++;
	}
	/* Entries that do not exist may reach past the piece */
	at = min(at, end);
	/* Other CPUs' invalidations of these entries may be still to come */
	if (there)
		iommu_user_kill(tbl, entry, at - entry, IOMMU_USER_VIRT);
	iommu_user_put(&batch);
	srcu_read_unlock(&iommu_user_srcu, idx);

	return at - entry;
}

/*
 * Pinned tables.  The lock of the entry is taken for the sake of the rule; the
 * container's lock keeps other writers away.
 */

static u64 iommu_user_swap_pinned(struct iommu_user_pos *pos, u64 tce, u64 user,
				  int *ret)
{
	u64 old = 0, word;

	preempt_disable();
	iommu_user_lock(pos->user, &word, true);
	if (pos->hw) {
		/* The hardware word is that of the last writer */
		smp_acquire__after_ctrl_dep();
		old = iommu_user_load(pos->hw);
		iommu_user_store(pos->hw, tce);
		*ret = 0;
	} else {
		*ret = iommu_user_exchange(pos->tbl, pos->entry, tce, &old);
	}
	iommu_user_unlock(pos->user, *ret ? word : user);
	preempt_enable();

	return *ret ? 0 : old;
}

/* After invalidation: @tces are the words that were replaced */
static void iommu_user_unpin(const u64 *tces, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; ++i) {
		struct page *page = pfn_to_page(tces[i] >> PAGE_SHIFT);

		unpin_user_pages_dirty_lock(&page, 1,
					    tces[i] & TCE_PCI_WRITE);
	}
}

static int iommu_user_map_one_pinned(struct iommu_user_pos *pos,
				     unsigned long ua, u64 perm, u64 *old)
{
	const unsigned int shift = pos->tbl->it_page_shift;
	struct page *page;
	u64 tce;
	int ret;

	if (pin_user_pages_fast(ua & PAGE_MASK, 1,
				perm & TCE_PCI_WRITE ? FOLL_WRITE : 0,
				&page) != 1)
		return -EFAULT;

	/* The device must not reach more than the page that was pinned */
	if (page_shift(compound_head(page)) < shift) {
		unpin_user_page(page);
		return -EPERM;
	}

	if ((perm & TCE_PCI_WRITE) && pos->hw)
		perm |= TCE_PCI_READ;	/* IODA knows no write-only pages */
	tce = page_to_phys(page) | (ua & ~PAGE_MASK) | perm;
	*old = iommu_user_swap_pinned(pos, tce, ua | IOMMU_USER_SET, &ret);
	if (ret)
		unpin_user_page(page);
	return ret;
}

static int iommu_user_map_pinned(struct iommu_table *tbl, unsigned long entry,
				 unsigned long pages, unsigned long ua,
				 u64 perm, unsigned long *done)
{
	struct iommu_user_pos pos = { .tbl = tbl };
	u64 old[IOMMU_USER_PINS] __uninitialized;
	unsigned long i, nr = 0;
	int ret = 0;

	pages = min(pages, IOMMU_USER_PINS);
	for (i = 0; i < pages; ++i) {
		if (!pos.left)
			ret = iommu_user_reach(&pos, entry + i);
		if (!ret)
			ret = iommu_user_map_one_pinned(&pos, ua, perm,
							&old[nr]);
		if (ret)
			break;
		nr += !!(old[nr] & IOMMU_USER_PERM);
		ua += 1UL << tbl->it_page_shift;
		iommu_user_next(&pos);
	}
	if (i)
		iommu_user_kill(tbl, entry, i, IOMMU_USER_VIRT);
	iommu_user_unpin(old, nr);

	*done += i;
	return ret;
}

static void iommu_user_unmap_pinned(struct iommu_table *tbl,
				    unsigned long entry, unsigned long pages)
{
	struct iommu_user_pos pos = { .tbl = tbl };
	unsigned long at = entry, end = entry + pages, first = entry, nr = 0;
	u64 old[IOMMU_USER_PINS] __uninitialized;
	int ret;

	while (at < end) {
		if (!pos.left && !iommu_user_seek(&pos, at)) {
			at += pos.left;
			pos.left = 0;
			continue;
		}
		if (*pos.user) {
			old[nr] = iommu_user_swap_pinned(&pos, 0, 0, &ret);
			nr += !!(old[nr] & IOMMU_USER_PERM);
		}
		iommu_user_next(&pos);
		at++;
		if (nr == IOMMU_USER_PINS) {
			iommu_user_kill(tbl, first, at - first,
					IOMMU_USER_VIRT);
			iommu_user_unpin(old, nr);
			first = at;
			nr = 0;
		}
	}
	if (nr) {
		iommu_user_kill(tbl, first, min(at, end) - first,
				IOMMU_USER_VIRT);
		iommu_user_unpin(old, nr);
	}
}

static void iommu_user_clear(struct iommu_table *tbl, struct mm_struct *mm,
			     unsigned long entry, unsigned long pages)
{
	while (pages) {
		unsigned long n = min(pages, IOMMU_USER_PIECE);

		if (tbl->it_pinned)
			iommu_user_unmap_pinned(tbl, entry, n);
		else
			n = iommu_user_unmap_piece(tbl, mm, entry, n);
		entry += n;
		pages -= n;
		cond_resched();
	}
}

/**
 * iommu_user_map() - map a range of user addresses
 * @tbl: open table
 * @entry: first entry, counted from bus address 0
 * @pages: entries; all within the table
 * @ua: user address, a multiple of the table's page size
 * @dir: what the device may do
 *
 * Translations that were there are replaced.  On failure those that this call
 * has installed are removed again.
 *
 * Context: may sleep; the caller is the only one to call this, iommu_user_unmap()
 * or iommu_user_close() for @tbl.  Hypercalls may work on the table meanwhile.
 * Return: 0; -EINVAL memory that is not registered, or in pages smaller than the
 * table's; -EFAULT, -EPERM the same for a pinned table; -ENOMEM; -EIO the
 * hypervisor refused; -EINTR the process is being killed.
 */
long iommu_user_map(struct iommu_table *tbl, unsigned long entry,
		    unsigned long pages, unsigned long ua,
		    enum dma_data_direction dir)
{
	u64 perm = iommu_direction_to_tce_perm(dir);
	unsigned long done = 0;
	long ret = 0;

	while (!ret && done < pages) {
		unsigned long n = min(pages - done, IOMMU_USER_PIECE);
		unsigned long from = ua + (done << tbl->it_page_shift);

		if (tbl->it_pinned)
			ret = iommu_user_map_pinned(tbl, entry + done, n, from,
						    perm, &done);
		else
			ret = iommu_user_map_piece(tbl, entry + done, n, from,
						   perm, &done);
		if (!ret && done < pages && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}

	if (ret)
		iommu_user_clear(tbl, tbl->it_mm, entry, done);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_user_map);

/**
 * iommu_user_unmap() - remove the translations of a range
 * @tbl: open table
 * @entry: first entry, counted from bus address 0
 * @pages: entries; all within the table
 *
 * Context: as iommu_user_map().
 */
void iommu_user_unmap(struct iommu_table *tbl, unsigned long entry,
		      unsigned long pages)
{
	iommu_user_clear(tbl, tbl->it_mm, entry, pages);
}
EXPORT_SYMBOL_GPL(iommu_user_unmap);

/**
 * iommu_user_close() - end user TCEs in a table
 * @tbl: table that was opened
 *
 * When this returns nobody installs anything in the table, and none of its
 * entries holds memory.  To close a table again, or one that never was open, is
 * fine.
 *
 * Context: may sleep, as long as a CPU may stay in a guest.
 */
void iommu_user_close(struct iommu_table *tbl)
{
	struct mm_struct *mm = tbl->it_mm;

	if (!mm)
		return;

	WRITE_ONCE(tbl->it_mm, NULL);
	/*
	 * A guest that leaves its CPU alone keeps a read section open, be it of
	 * another VM.  Interrupt all of them.
	 */
	kick_all_cpus_sync();
	/* Pairs with the read sections around hypercalls that saw it_mm set */
	synchronize_srcu(&iommu_user_srcu);
	iommu_user_clear(tbl, mm, tbl->it_offset, tbl->it_size);
}
EXPORT_SYMBOL_GPL(iommu_user_close);

static bool iommu_user_covers(const struct iommu_table *tbl,
			      unsigned int page_shift, u64 offset, u64 size)
{
	return tbl->it_page_shift <= page_shift &&
	       tbl->it_offset << tbl->it_page_shift == offset << page_shift &&
	       tbl->it_size << tbl->it_page_shift >= size << page_shift;
}

/**
 * iommu_user_table_get() - the open table of a group that covers a window
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
struct iommu_table *iommu_user_table_get(struct iommu_group *grp,
					 struct mm_struct *mm,
					 unsigned int page_shift,
					 u64 offset, u64 size)
{
	struct iommu_table *found = ERR_PTR(-EINVAL);
	struct iommu_table_group *table_group;
	unsigned int i;

	rcu_read_lock();
	table_group = iommu_group_get_iommudata(grp);
	if (!table_group || table_group->group != grp)
		goto out_unlock;

	for (i = 0; i < IOMMU_TABLE_GROUP_MAX_TABLES; ++i) {
		struct iommu_table *tbl = READ_ONCE(table_group->tables[i]);
		struct mm_struct *owner = tbl ? READ_ONCE(tbl->it_mm) : NULL;

		if (!owner || !iommu_user_covers(tbl, page_shift, offset, size))
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
EXPORT_SYMBOL_GPL(iommu_user_table_get);
