/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The entries of a run that share the lock of a line: the loops that pay for each
 * instruction 512 times.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_LINE_H
#define POWERPC_KVM_BOOK3S_64_VIO_LINE_H

#include "book3s_64_vio_run.h"

/**
 * struct kvmppc_tce_line - entries of a span that share a lock
 * @at: the first one, counted from run->pos
 * @end: the entry after the last one
 * @nr: tables
 * @out: list for the hypervisor that keeps the table, or NULL
 * @gone: translations to the region met last that were replaced or removed
 * @words: user word of the first entry in each table, for tce_user_read()
 */
struct kvmppc_tce_line {
	unsigned long at;
	unsigned long end;
	unsigned int nr;
	struct tce_user_list *out;
	unsigned long gone;
	u64 *words[KVMPPC_TCE_TABLES];
};

/* Unlock the line in the first @nr tables */
static __always_inline void
kvmppc_tce_unlock_tables(const struct kvmppc_tce_run *run,
			 const struct kvmppc_tce_line *line, unsigned int nr)
{
	while (nr--)
		tce_user_unlock_line(run->pos[nr].user + line->at);
}

/*
 * Lock the line in all tables.  On failure return false with no table locked.  In the first
 * table it looks once, in every mode: the span ends then, and kvmppc_tce_step() waits.
 * Virtual mode waits for the others.
 */
static __always_inline bool kvmppc_tce_lock_tables(const struct kvmppc_tce_run *run,
						   struct kvmppc_tce_line *line)
{
	unsigned int t;

	if (!tce_user_trylock_line(run->pos[0].user + line->at, &line->words[0]))
		return false;

	for (t = 1; t < line->nr; ++t) {
		u64 *user = run->pos[t].user + line->at;

		if (likely(tce_user_trylock_line(user, &line->words[t])))
			continue;
		if (KVMPPC_TCE_MODE != TCE_USER_VIRT) {
			kvmppc_tce_unlock_tables(run, line, t);
			return false;
		}
		tce_user_lock_line(user, &line->words[t], true);
	}
	return true;
}

/*
 * Change entry @i of a span, which is in @line, in the other tables.  LOCK is part of @user
 * if the entry is the first one of its line, which it is in all tables or in none, as they
 * begin at the same entry.
 */
static __always_inline void
kvmppc_tce_set_others(struct kvmppc_tce_run *run, const struct kvmppc_tce_line *line,
		      unsigned long i, u64 tce, u64 user)
{
	unsigned int t;

	for (t = 1; t < line->nr; ++t) {
		struct tce_user_pos *pos = &run->pos[t];
		u64 *word = line->words[t] + (i - line->at);
		const u64 old = tce_user_read(word);

		/* The hardware view is in memory: nobody refuses */
		tce_user_store(pos->hw + i, tce);
		tce_user_gone(&run->batch, pos->tbl, pos->entry + i, old,
			      KVMPPC_TCE_MODE);
		WRITE_ONCE(*word, user);
	}
}

/*
 * Install TCEs from @list in the entries of @line, which is locked.  Returns where it
 * ended, counted from run->pos.
 */
static __always_inline unsigned long
kvmppc_tce_map_line(struct kvmppc_tce_run *run, const struct kvmppc_tce_mem *mem,
		    const __be64 *list, struct kvmppc_tce_line *line)
{
	__be64 *hw = line->out ? line->out->tce : run->pos[0].hw;
	u64 *user = line->words[0] - line->at;
	/* What turns a TCE without permissions into a user word; the lock stays */
	u64 to_word = mem->to_user + TCE_USER_SET + tce_user_kept_lock(line->words[0]);
	/*
	 * LOCK in a word makes it differ by 1 more from @first.  Regions are whole pages, so
	 * that does not matter.
	 */
	const u64 first = mem->ref->ua | TCE_USER_SET, size = mem->ref->size;
	const unsigned long base = mem->base + TCE_PCI_READ;
	u64 *shadow = run->shadow;
	unsigned long i;

	for (i = line->at; i < line->end; ++i) {
		u64 tce = kvmppc_tce_fetch(list + i);
		unsigned long off = tce - base;
		u64 old, new, word, hpa;
		u64 *page;

		if (off & mem->mask || off >= mem->limit)
			break;
		if (line->nr > 1 && tce_user_full(&run->batch, line->nr))
			break;

		old = READ_ONCE(user[i]);
		if (old - first < size)
			line->gone++;
		else if (unlikely(old & ~(u64)TCE_USER_LOCK))
			break;

		page = mem->page + (off >> PAGE_SHIFT);
		hpa = READ_ONCE(*page);
		if (unlikely(tce & ~hpa & MM_IOMMU_HPA_DIRTY))
			WRITE_ONCE(*page, hpa | MM_IOMMU_HPA_DIRTY);

		word = (hpa & PAGE_MASK) | (tce & ~PAGE_MASK);
		new = (tce & ~(u64)TCE_USER_PERM) + to_word;
		tce_user_store(hw + i, word);
		if (line->out) {
			line->out->user[i] = new & ~(u64)TCE_USER_LOCK;
		} else {
			/* While all tables' lines are locked */
			WRITE_ONCE(shadow[i], tce);
			if (line->nr > 1)
				kvmppc_tce_set_others(run, line, i, word, new);
			WRITE_ONCE(user[i], new);
		}
		/* No other entry of the line has the lock: each one gets here, or ends this */
		to_word = mem->to_user + TCE_USER_SET;
	}
	return i;
}

/*
 * Make the entries of @line, which is locked, lead nowhere and read back as @tce; those
 * that a hypervisor is to change (line->out) are only counted.  @ref is of the region met
 * last.  Returns where it ended, counted from run->pos.
 */
static __always_inline unsigned long
kvmppc_tce_clear_line(struct kvmppc_tce_run *run, const struct tce_user_ref *ref,
		      u64 tce, struct kvmppc_tce_line *line)
{
	__be64 *hw = run->pos[0].hw;
	const u64 first = ref->ua | TCE_USER_SET, size = ref->size;
	const bool listed = line->out;
	u64 *user = line->words[0] - line->at;
	u64 *shadow = run->shadow;
	u64 lock = tce_user_kept_lock(line->words[0]);
	unsigned long i;

	for (i = line->at; i < line->end; ++i) {
		const u64 old = READ_ONCE(user[i]);

		if (line->nr > 1 && tce_user_full(&run->batch, line->nr))
			break;
		/*
		 * What was mapped has a shadow page.  If run->shadow is NULL, another CPU has
		 * brought the page since: then this ends here.
		 */
		if (old - first < size && shadow && (listed || hw)) {
			line->gone++;
			if (!listed) {
				tce_user_store(hw + i, 0);
				WRITE_ONCE(user[i], lock);
			}
		} else if (unlikely(old & ~(u64)TCE_USER_LOCK)) {
			break;
		}
		if (!listed) {
			if (shadow)
				WRITE_ONCE(shadow[i], tce);
			if (line->nr > 1)
				kvmppc_tce_set_others(run, line, i, 0, lock);
		}
		/* As in kvmppc_tce_map_line() */
		lock = 0;
	}
	return i;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_LINE_H */
