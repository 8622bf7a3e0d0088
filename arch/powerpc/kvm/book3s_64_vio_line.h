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
 * @out: list for the hypervisor that keeps the table, which is the only one then, or NULL
 * @gone: translations to the region met last that were replaced or removed in each table
 * @words: user word of the first entry in the first table, for tce_user_read()
 *
 * Functions for other tables are passed values of it, so that it stays in registers.
 */
struct kvmppc_tce_line {
	unsigned long at;
	unsigned long end;
	struct tce_user_list *out;
	unsigned long gone;
	u64 *words;
};

/* Lock the line of entry @at in table @t; *@words as line->words */
static __always_inline bool
kvmppc_tce_lock_table(const struct kvmppc_tce_run *run, unsigned int t,
		      unsigned long at, u64 **words)
{
	u64 *user = run->pos[t].user + at;

	if (likely(tce_user_trylock_line(user, words)))
		return true;
	/* In the first table it looks once: the span ends, and kvmppc_tce_step() waits */
	return t && KVMPPC_TCE_MODE == TCE_USER_VIRT &&
	       tce_user_lock_line(user, words, true);
}

/*
 * Lock the line of entries @at to @end in the tables after the first one, too.  They begin
 * at the same entry: the lock is part of the same word in each, or of none that is looked at
 * here.  If not all can be locked, or their user words are not those of the first table,
 * @words, all tables are unlocked, and this is false.
 */
static noinline __maybe_unused bool
kvmppc_tce_lock_others(const struct kvmppc_tce_run *run, unsigned long at,
		       unsigned long end, const u64 *words)
{
	unsigned int t;
	u64 *others, differ = 0;

	for (t = 1; !differ && t < run->nr; ++t) {
		unsigned long n = end - at;

		if (!kvmppc_tce_lock_table(run, t, at, &others))
			break;
		while (n--)
			differ |= READ_ONCE(others[n]) ^ READ_ONCE(words[n]);
	}
	if (likely(!differ && t == run->nr))
		return true;

	/* Tables 0 to t - 1 are locked */
	while (t--)
		tce_user_unlock_line(run->pos[t].user + at);
	return false;
}

/*
 * Lock the line that has entry @at in all tables, and have @line say which entries: those
 * from @at on that are below @n.  False if nothing is locked, as another CPU has one of the
 * locks or the tables differ.
 */
static __always_inline bool
kvmppc_tce_lock_line(const struct kvmppc_tce_run *run, struct kvmppc_tce_line *line,
		     unsigned long at, unsigned long n)
{
	if (!kvmppc_tce_lock_table(run, 0, at, &line->words))
		return false;

	line->at = at;
	line->end = min(n, at + tce_user_line_left(run->pos[0].user + at));
	return likely(run->nr == 1) ||
	       kvmppc_tce_lock_others(run, at, line->end, line->words);
}

/*
 * Copy entries from @at on that are below @end from the first table to the others, and
 * unlock those.  LOCK is copied with the word that has it.
 *
 * @hw is the first table's hardware view if this CPU has written each of these entries, or
 * NULL if they lead nowhere now.  Some of these led nowhere before, so it has not written
 * them, and nothing orders a load of a hardware word after the lock: it could be one that led
 * to memory (power-entry-copied).  In such user words it has seen 0, and sees no older ones.
 */
static noinline __maybe_unused void
kvmppc_tce_copy_line(const struct kvmppc_tce_run *run, unsigned long at,
		     unsigned long end, const __be64 *hw)
{
	const u64 *user = run->pos[0].user;
	unsigned long i;
	unsigned int t;

	for (t = 1; t < run->nr; ++t) {
		u64 *others = run->pos[t].user;
		__be64 *to = run->pos[t].hw;

		/* In memory: nobody refuses */
		for (i = at; i < end; ++i) {
			WRITE_ONCE(to[i], hw ? READ_ONCE(hw[i]) : 0);
			WRITE_ONCE(others[i], READ_ONCE(user[i]));
		}
		tce_user_unlock_line(others + at);
	}
}

/* Its entries below @end are changed in the first table: change the others, and unlock */
static __always_inline void
kvmppc_tce_unlock_line(const struct kvmppc_tce_run *run, const struct kvmppc_tce_line *line,
		       unsigned long end, const __be64 *hw)
{
	if (unlikely(run->nr > 1))
		kvmppc_tce_copy_line(run, line->at, end, hw);
	tce_user_unlock_line(run->pos[0].user + line->at);
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
	u64 *user = line->words - line->at;
	/* What turns a TCE without permissions into a user word; the lock stays */
	u64 to_word = mem->to_user + TCE_USER_SET + tce_user_kept_lock(line->words);
	/*
	 * LOCK in a word makes it differ by 1 more from @first.  Regions are whole pages, so
	 * that does not matter.
	 */
	const u64 first = mem->ref->ua | TCE_USER_SET, size = mem->ref->size;
	const unsigned long base = mem->base + TCE_PCI_READ;
	u64 *view = run->view;
	unsigned long i;

	for (i = line->at; i < line->end; ++i) {
		u64 tce = kvmppc_tce_fetch(list + i);
		unsigned long off = tce - base;
		u64 old, new, word, hpa;
		u64 *page;

		if (off & mem->mask || off >= mem->limit)
			break;

		old = READ_ONCE(user[i]);
		if (old - first < size)
			line->gone++;
		else if (unlikely(old & ~(u64)TCE_USER_LOCK))
			break;

		/* A chunk of the list has less than 4G */
		page = mem->page + ((u32)off >> PAGE_SHIFT);
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
			WRITE_ONCE(view[i], tce);
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
	u64 *user = line->words - line->at;
	u64 *view = run->view;
	u64 lock = tce_user_kept_lock(line->words);
	unsigned long i;

	for (i = line->at; i < line->end; ++i) {
		const u64 old = READ_ONCE(user[i]);

		/*
		 * What was mapped has a page of the guest's view.  If @view is NULL, another
		 * CPU has brought the page since: then this ends here.
		 */
		if (old - first < size && view && (listed || hw)) {
			line->gone++;
			if (!listed) {
				tce_user_store(hw + i, 0);
				WRITE_ONCE(user[i], lock);
			}
		} else if (unlikely(old & ~(u64)TCE_USER_LOCK)) {
			break;
		}
		if (!listed && view)
			WRITE_ONCE(view[i], tce);
		/* As in kvmppc_tce_map_line() */
		lock = 0;
	}
	return i;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_LINE_H */
