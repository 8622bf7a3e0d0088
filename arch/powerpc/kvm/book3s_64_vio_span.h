/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries of a run that resemble the one before, for as long as what was looked up for
 * that one stays valid.  They are changed line by line.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_SPAN_H
#define POWERPC_KVM_BOOK3S_64_VIO_SPAN_H

#include "book3s_64_vio_line.h"
#include "book3s_64_vio_view.h"

/*
 * Entries from run->idx on for which run->pos and run->view are right.  None before
 * the first step, or in a table of several parts.
 */
static __always_inline unsigned long
kvmppc_tce_span(const struct kvmppc_tce_run *run, const __be64 *list)
{
	if (!run->one_entry || !run->view_left || !run->pos[0].user)
		return 0;
	/* Only an entry that is mapped needs its page of the guest's view */
	if (list && !run->view)
		return 0;

	return min3(run->end - run->idx, run->view_left, run->pos[0].left);
}

/*
 * The same for several tables.  Their places are looked up again, as steps of several
 * tables leave run->pos alone.  The page of the guest's view must exist, too.
 */
static noinline __maybe_unused unsigned long
kvmppc_tce_span_several(struct kvmppc_tce_run *run)
{
	unsigned long n = run->end - run->idx;
	unsigned int t;

	if (!run->one_part || !n || !kvmppc_tce_view(run))
		return 0;

	n = min(n, run->view_left);
	for (t = 0; t < run->nr; ++t) {
		struct tce_user_pos *pos = &run->pos[t];

		tce_user_seek(pos, kvmppc_tce_entry(run->stt, pos->tbl,
						    run->idx));
		if (!pos->hw)
			return 0;
		n = min(n, pos->left);
	}
	return n;
}

static __always_inline void kvmppc_tce_span_end(struct kvmppc_tce_run *run,
						unsigned long n)
{
	tce_user_move(&run->pos[0], n);
	kvmppc_tce_move(run, n);
}

/*
 * Have a hypervisor change the @n entries of a span, whose lines are locked, and unlock
 * them.  @ref as for tce_user_put_list(); those that are to lead nowhere read back
 * as @tce.
 */
static __always_inline long
kvmppc_tce_put_span(struct kvmppc_tce_run *run, struct tce_user_ref *ref,
		    struct tce_user_list *out, unsigned long n, u64 tce)
{
	struct tce_user_pos *pos = &run->pos[0];
	unsigned long i;
	int ret;

	if (!n)
		return H_SUCCESS;

	ret = tce_user_put_list(&run->gather, ref, pos, out, n);
	for (i = 0; i < n; ++i) {
		const u64 user = out->user[i];

		if (!user)
			WRITE_ONCE(run->view[i], tce);
		else if (ref)
			WRITE_ONCE(run->view[i],
				   ((user & TCE_USER_UA) - run->mem.to_user) |
				   (be64_to_cpu(out->tce[i]) & TCE_USER_PERM));
		tce_user_change(pos->user + i, user);
	}
	tce_user_unlock_lines(pos->user, n);
	if (ret)
		return kvmppc_tce_refused(run, ret);

	*(ref ? &run->vcpu->stat.tce_mapped : &run->vcpu->stat.tce_cleared) += n;
	kvmppc_tce_span_end(run, n);
	return H_SUCCESS;
}

/*
 * Install up to @n TCEs from @list for as long as each leads to run->mem, its entry led
 * nowhere or to the same region, and so in all tables.  An entry where this ends is not
 * changed; it is read, and checked, anew.  @out as in struct kvmppc_tce_line.
 */
static __always_inline long
kvmppc_tce_map_span(struct kvmppc_tce_run *run, const __be64 *list,
		    unsigned long n, struct tce_user_list *out)
{
	const struct kvmppc_tce_mem mem = run->mem;
	struct kvmppc_tce_line line __uninitialized;
	struct tce_user_ref *ref = mem.ref;
	unsigned long i = 0;

	BUILD_BUG_ON(MM_IOMMU_HPA_DIRTY != TCE_PCI_WRITE);
	BUILD_BUG_ON(MM_IOMMU_CHUNK_SHIFT + PAGE_SHIFT > 32);

	line.out = out;
	line.gone = 0;
	line.end = 0;

	/* The last credit holds the region */
	if (unlikely(n * run->nr >= ref->credit))
		n = (ref->credit - 1) / run->nr;
	while (i == line.end && i < n && kvmppc_tce_lock_line(run, &line, i, n)) {
		i = kvmppc_tce_map_line(run, &mem, list, &line);
		if (!out || i == line.at)
			kvmppc_tce_unlock_line(run, &line, i, run->pos[0].hw);
	}

	if (out)
		return kvmppc_tce_put_span(run, ref, out, i, 0);

	run->vcpu->stat.tce_mapped += i;
	ref->credit -= i * run->nr;
	ref->removed += line.gone * run->nr;
	kvmppc_tce_span_end(run, i);
	return H_SUCCESS;
}

/*
 * Make up to @n entries lead nowhere and read back as @tce, for as long as they
 * lead nowhere, or to the region met last, and so in all tables.  An entry where this ends
 * is not changed.  @out as for kvmppc_tce_map_span().
 */
static __always_inline long
kvmppc_tce_clear_span(struct kvmppc_tce_run *run, u64 tce, unsigned long n,
		      struct tce_user_list *out)
{
	struct kvmppc_tce_line line __uninitialized;
	struct tce_user_ref *ref = run->gather.cur;
	unsigned long i = 0;

	/* Without a guest's view, all TCEs are 0 */
	if (!run->view && tce)
		return H_SUCCESS;

	/*
	 * A hypervisor is not asked for entries that lead nowhere before the first.  This
	 * look without the lock is a guess: the step tries again.
	 */
	if (!run->view || !READ_ONCE(run->pos[0].user[0]))
		out = NULL;

	line.out = out;
	line.gone = 0;
	line.end = 0;

	while (i == line.end && i < n && kvmppc_tce_lock_line(run, &line, i, n)) {
		i = kvmppc_tce_clear_line(run, ref, tce, &line);
		if (!out || i == line.at)
			kvmppc_tce_unlock_line(run, &line, i, NULL);
	}

	if (out)
		return kvmppc_tce_put_span(run, NULL, out, i, tce);

	run->vcpu->stat.tce_cleared += i;
	ref->removed += line.gone * run->nr;
	kvmppc_tce_span_end(run, i);
	return H_SUCCESS;
}

/* For tables in memory; functions, so that the loops are there once */
static noinline __maybe_unused void
kvmppc_tce_map_lines(struct kvmppc_tce_run *run, const __be64 *list,
		     unsigned long n)
{
	kvmppc_tce_map_span(run, list, n, NULL);
}

static noinline __maybe_unused void
kvmppc_tce_clear_lines(struct kvmppc_tce_run *run, u64 tce, unsigned long n)
{
	kvmppc_tce_clear_span(run, tce, n, NULL);
}

/* And for a table that a hypervisor keeps, if it takes lists */
static noinline __maybe_unused long
kvmppc_tce_list_span(struct kvmppc_tce_run *run, const __be64 *list, u64 tce,
		     unsigned long n)
{
	struct tce_user_list *out = NULL;

	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		out = tce_user_list(run->pos[0].tbl);
	if (!out)
		return H_SUCCESS;
	if (list)
		return kvmppc_tce_map_span(run, list, n, out);
	return kvmppc_tce_clear_span(run, tce, n, out);
}

/* What of guest memory is in the memslot met last; @mem->limit is 0 if nothing is */
static __always_inline void
kvmppc_tce_slot_mem(const struct kvmppc_tce_run *run, struct kvmppc_tce_mem *mem)
{
	const unsigned long size = 1UL << run->stt->page_shift;
	const struct kvm_memory_slot *slot = run->slot;
	unsigned long slot_size = slot ? slot->npages << PAGE_SHIFT : 0;

	mem->limit = 0;
	if (slot_size >= size && !(slot->flags & KVM_MEMSLOT_INVALID))
		kvmppc_tce_set_mem(mem, slot, slot->base_gfn << PAGE_SHIFT, slot_size,
				   size);
}

/*
 * Write up to @n entries of a LIOBN that is bound to nothing, for as long as their
 * TCEs lead to memslots that are found at once.  Without a list, all are @tce, which has
 * no permissions (H_STUFF_TCE).
 */
static noinline __maybe_unused void
kvmppc_tce_write_span(struct kvmppc_tce_run *run, const __be64 *list, u64 tce,
		      unsigned long n)
{
	const unsigned long size = 1UL << run->stt->page_shift;
	u64 *view = run->view;
	unsigned long i, mapped = 0, off, ua;
	struct kvmppc_tce_mem mem = {};

	for (i = 0; !list && i < n; ++i)
		WRITE_ONCE(view[i], tce);

	kvmppc_tce_slot_mem(run, &mem);
	for (; i < n; ++i) {
		tce = kvmppc_tce_fetch(list + i);
		off = tce - mem.base;
		if (off < mem.limit && (tce & mem.mask) == TCE_PCI_READ) {
			mapped++;
		} else if (tce & TCE_USER_PERM) {
			if (!kvmppc_tce_to_ua(run->stt->kvm, &run->slot, tce,
					      size, &ua, false))
				break;
			kvmppc_tce_slot_mem(run, &mem);
			mapped++;
		}
		WRITE_ONCE(view[i], tce);
	}

	run->vcpu->stat.tce_mapped += mapped;
	run->vcpu->stat.tce_cleared += i - mapped;
	kvmppc_tce_move(run, i);
}

/*
 * Work entries that resemble the one before; @list as in kvmppc_tce_call.  Returns H_SUCCESS,
 * or what kvmppc_tce_refused() says.
 */
static __always_inline long kvmppc_tce_hurry(struct kvmppc_tce_run *run,
					     const __be64 *list, u64 tce)
{
	long ret = H_SUCCESS;
	unsigned long n;

	if (!run->nr) {
		n = min(run->end - run->idx, run->view_left);
		if (n && run->view)
			kvmppc_tce_write_span(run, list, tce, n);
		return H_SUCCESS;
	}

	n = run->nr > 1 ? kvmppc_tce_span_several(run) : kvmppc_tce_span(run, list);
	if (!n || (list && !run->mem.limit))
		return H_SUCCESS;

	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_disable();
	if (unlikely(!run->pos[0].hw) && KVMPPC_TCE_MODE != TCE_USER_REAL)
		ret = kvmppc_tce_list_span(run, list, tce, n);
	else if (list)
		kvmppc_tce_map_lines(run, list, n);
	else
		kvmppc_tce_clear_lines(run, tce, n);
	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_enable();
	return ret;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_SPAN_H */
