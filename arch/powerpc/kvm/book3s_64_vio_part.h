/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hardware entries that a guest entry stands for, its parts: they are locked and
 * changed together, in all tables.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_PART_H
#define POWERPC_KVM_BOOK3S_64_VIO_PART_H

#include "book3s_64_vio_view.h"

/**
 * struct kvmppc_tce_part - one of the hardware entries of run->idx
 * @t: its table, an index into run->pos
 * @end: the entry after the last part in that table
 * @ua: bytes from the first part of that table on
 * @pos: its place
 */
struct kvmppc_tce_part {
	unsigned int t;
	unsigned long end;
	unsigned long ua;
	struct tce_user_pos pos;
};

/* Do up to @n entries at @pos, which have one lock, lead nowhere? */
static __always_inline bool kvmppc_tce_line_is_clear(const struct tce_user_pos *pos,
						     unsigned long n)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	u64 *words, old = 0;
	unsigned long i;

	if (virt)
		preempt_disable();
	if (tce_user_lock_line(pos->user, &words, virt)) {
		for (i = 0; i < n; ++i)
			old |= tce_user_read(words + i);
		tce_user_unlock_line(pos->user);
	} else {
		old = TCE_USER_LOCK;
	}
	if (virt)
		preempt_enable();
	return !old;
}

/* Have all parts of run->idx in a table a level? */
static __always_inline bool kvmppc_tce_has_levels(const struct kvmppc_tce_run *run,
						  struct iommu_table *tbl)
{
	unsigned long entry = kvmppc_tce_entry(run->stt, tbl, run->idx);
	unsigned long end = kvmppc_tce_entry(run->stt, tbl, run->idx + 1);
	struct tce_user_pos pos = { .tbl = tbl };

	for (; entry < end; entry += pos.left)
		if (!tce_user_seek(&pos, entry))
			return false;
	return true;
}

/* Do the parts of run->idx in a table, as far as they have a level, lead nowhere? */
static __always_inline bool kvmppc_tce_table_is_clear(const struct kvmppc_tce_run *run,
						      struct iommu_table *tbl)
{
	unsigned long entry = kvmppc_tce_entry(run->stt, tbl, run->idx);
	unsigned long end = kvmppc_tce_entry(run->stt, tbl, run->idx + 1);
	struct tce_user_pos pos = { .tbl = tbl };
	unsigned long n;

	for (; entry < end; entry += n) {
		if (!tce_user_seek(&pos, entry)) {
			n = pos.left;
			continue;
		}
		n = min3(end - entry, pos.left, tce_user_line_left(pos.user));
		if (!kvmppc_tce_line_is_clear(&pos, n))
			return false;
	}
	return true;
}

/*
 * Do all parts of run->idx lead nowhere, with @tce in the guest's view already, some of them
 * because they have no level?  To clear them no level has to be allocated.  If all have one,
 * nobody asks: the lines are locked for the change anyway.
 */
static __always_inline bool kvmppc_tce_is_absent(struct kvmppc_tce_run *run, u64 tce)
{
	bool absent = false;
	unsigned int t;

	for (t = 0; t < run->nr; ++t)
		absent |= run->pos[t].tbl->it_indirect_levels &&
			  !kvmppc_tce_has_levels(run, run->pos[t].tbl);

	for (t = 0; absent && t < run->nr; ++t)
		if (!kvmppc_tce_table_is_clear(run, run->pos[t].tbl))
			return false;

	return absent && kvmppc_tce_reads(run, tce);
}

/* The first part in table part->t; all levels are there */
static __always_inline void
kvmppc_tce_first_part(const struct kvmppc_tce_run *run,
		      struct kvmppc_tce_part *part)
{
	struct iommu_table *tbl = run->pos[part->t].tbl;

	part->end = kvmppc_tce_entry(run->stt, tbl, run->idx + 1);
	part->ua = 0;
	part->pos.tbl = tbl;
	tce_user_seek(&part->pos, kvmppc_tce_entry(run->stt, tbl, run->idx));
}

/* Locking order: by table, and by entry */
static __always_inline void
kvmppc_tce_next_part(const struct kvmppc_tce_run *run,
		     struct kvmppc_tce_part *part)
{
	struct tce_user_pos *pos = &part->pos;

	tce_user_next(pos);
	part->ua += 1UL << pos->tbl->it_page_shift;
	if (pos->entry == part->end) {
		if (++part->t < run->nr)
			kvmppc_tce_first_part(run, part);
	} else if (!pos->left) {
		tce_user_seek(pos, pos->entry);
	}
}

/* Part @i of some: has it another lock than the one before it? */
static __always_inline bool
kvmppc_tce_has_own_lock(const struct kvmppc_tce_part *part, unsigned long i)
{
	return !i || !part->ua || tce_user_has_lock(part->pos.user);
}

/* Unlock the lines of @n parts */
static __always_inline void
kvmppc_tce_unlock_parts(const struct kvmppc_tce_run *run,
			struct kvmppc_tce_part part, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; ++i, kvmppc_tce_next_part(run, &part))
		if (kvmppc_tce_has_own_lock(&part, i))
			tce_user_unlock_line(part.pos.user);
}

/*
 * Lock the lines of @n parts.  False when another CPU has one of them, for whichever
 * entry, and this mode does not wait for it.
 */
static __always_inline bool
kvmppc_tce_lock_parts(const struct kvmppc_tce_run *run,
		      const struct kvmppc_tce_part *first, unsigned long n)
{
	struct kvmppc_tce_part part = *first;
	unsigned long i;
	u64 *word;

	for (i = 0; i < n; ++i, kvmppc_tce_next_part(run, &part)) {
		if (!kvmppc_tce_has_own_lock(&part, i))
			continue;
		if (KVMPPC_TCE_MODE == TCE_USER_VIRT) {
			tce_user_lock_line(part.pos.user, &word, true);
		} else if (!tce_user_trylock_line(part.pos.user, &word)) {
			kvmppc_tce_unlock_parts(run, *first, i);
			return false;
		}
	}
	/* Their words are read one by one now: pairs with tce_user_unlock_line() */
	smp_acquire__after_ctrl_dep();
	return true;
}

/*
 * May @n parts, whose lines are locked, lead to more regions than the gather has room for?  A
 * region that is met again after another counts twice.  Each would take an invalidation of
 * its own, which is not for guest context.
 */
static __always_inline bool
kvmppc_tce_has_no_room(struct kvmppc_tce_run *run, struct kvmppc_tce_part part,
		       unsigned long n)
{
	unsigned int room = TCE_USER_REFS - run->gather.nr;
	struct mm_iommu_table_group_mem_t *mem = NULL;

	for (; n; --n, kvmppc_tce_next_part(run, &part)) {
		const u64 old = READ_ONCE(*part.pos.user);
		const unsigned long ua = old & TCE_USER_UA;

		if (!(old & TCE_USER_SET) ||
		    (mem && mm_iommu_has(mem, ua, 1)) ||
		    tce_user_ref_find(&run->gather, ua, 1))
			continue;
		if (!room--)
			return true;
		mem = tce_user_region(run->gather.reader, ua);
	}
	return false;
}

/*
 * Change @n parts, whose lines are locked; all of them are tried if it is to clear.  Returns
 * the last error.
 */
static __always_inline int
kvmppc_tce_set_parts(struct kvmppc_tce_run *run, struct kvmppc_tce_part part,
		     unsigned long n, u64 perm, unsigned long ua,
		     struct tce_user_ref *ref)
{
	int error = 0, ret;

	for (; n && !(error && perm); --n, kvmppc_tce_next_part(run, &part)) {
		u64 old = tce_user_read(part.pos.user);
		u64 user = 0, new = 0;

		if (perm) {
			new = tce_user_hw(ref->mem, part.pos.tbl,
					  ua + part.ua, perm);
			user = (ua + part.ua) | TCE_USER_SET;
		}
		ret = tce_user_set(&run->gather, &part.pos, new, old,
				   KVMPPC_TCE_MODE);
		if (ret) {
			error = ret;
			continue;
		}
		if (perm)
			ref->credit--;
		tce_user_change(part.pos.user, user);
	}

	return error;
}

/*
 * What was gone of run->idx, in tables @t to @last, that the gather had no room for: one
 * invalidation for all
 */
static __always_inline void kvmppc_tce_put_gone(struct kvmppc_tce_run *run,
						unsigned int t, unsigned int last)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	struct tce_user_gather *gather = &run->gather;

	if (!virt || !gather->gone || !gather->nr_gone)
		return;

	for (; t < run->nr && t <= last; ++t) {
		struct iommu_table *tbl = run->pos[t].tbl;

		tce_user_kill(tbl, kvmppc_tce_entry(run->stt, tbl, run->idx),
			      1UL << kvmppc_tce_parts_shift(run->stt, tbl),
			      KVMPPC_TCE_MODE);
		run->vcpu->stat.tce_invalidations++;
	}
	while (gather->nr_gone)
		tce_user_drop(gather->reader, gather->gone[--gather->nr_gone]);
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_PART_H */
