/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run: a hypercall at work on consecutive entries of a TCE table.  See
 * book3s_64_vio.h for its rules.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_RUN_H
#define POWERPC_KVM_BOOK3S_64_VIO_RUN_H

#ifndef KVMPPC_TCE_MODE
#error "Who includes this says by KVMPPC_TCE_MODE where its code runs"
#endif

#include "book3s_64_vio_table.h"
#include "book3s_64_vio_memory.h"

/* Tables that a run deals with; a LIOBN bound to more is left to the VMM */
#define KVMPPC_TCE_TABLES	4

/* Parts of an entry in a table; the VMM splits larger entries */
#define KVMPPC_TCE_PARTS	4096UL

/**
 * struct kvmppc_tce_run - a hypercall at work
 * @vcpu: the calling virtual CPU
 * @stt: the LIOBN
 * @slot: memslot met last
 * @idx: the entry that is next, counted from the LIOBN's first
 * @first: the first entry that is not invalidated yet
 * @end: the entry after the last of the call
 * @view: word of @idx in the guest's view, or NULL where that has no page
 * @view_left: entries from @idx on that share this page
 * @nr: tables
 * @work: hardware entries that a guest entry stands for, in all tables; 1 at least
 * @piece: hardware entries of a guest entry that are changed with preemption off, if
 *	@in_pieces
 * @one_part: one part per entry in each table, and not @in_pieces
 * @one_entry: @one_part, and one table
 * @in_pieces: entries are changed with the LIOBN's large_lock held
 * @mem: memory around the page met last, if @one_part
 * @flushes: how often the gather may still be full, in guest context
 * @gather: counts of regions
 * @pos: the tables, and the place of @idx in each: kept by steps if @one_entry, else looked
 *	up by kvmppc_tce_span_several()
 */
struct kvmppc_tce_run {
	struct kvm_vcpu *vcpu;
	struct kvmppc_spapr_tce_table *stt;
	struct kvm_memory_slot *slot;
	unsigned long idx;
	unsigned long first;
	unsigned long end;
	u64 *view;
	unsigned long view_left;
	unsigned int nr;
	unsigned long work;
	unsigned long piece;
	bool one_part;
	bool one_entry;
	bool in_pieces;
	struct kvmppc_tce_mem mem;
	unsigned int flushes;
	struct tce_user_gather gather;
	struct tce_user_pos pos[KVMPPC_TCE_TABLES];
};

/* @why: which counter of struct kvm_vcpu_stat, by its offset */
static __always_inline long __kvmppc_tce_hard(struct kvm_vcpu *vcpu, size_t why)
{
	u64 *counter = (void *)&vcpu->stat + why;

	vcpu->arch.tce_why = counter;
	++*counter;
	return H_TOO_HARD;
}

/* Leave a hypercall to the next tier; @why is counted by tce_hard_... */
#define kvmppc_tce_hard(vcpu, why) \
	__kvmppc_tce_hard(vcpu, offsetof(struct kvm_vcpu_stat, tce_hard_ ## why))

static __always_inline long __kvmppc_tce_hopeless(struct kvm_vcpu *vcpu, size_t why)
{
	vcpu->arch.tce_hopeless = true;
	return __kvmppc_tce_hard(vcpu, why);
}

/* The same, for what only the VMM can do: the tiers in between do not try */
#define kvmppc_tce_hopeless(vcpu, why) \
	__kvmppc_tce_hopeless(vcpu, offsetof(struct kvm_vcpu_stat, tce_hard_ ## why))

/*
 * Must the call be repeated a little later, because another CPU or the hypervisor
 * is busy?
 */
static __always_inline bool kvmppc_tce_is_busy(long ret)
{
	return ret == H_BUSY || ret == H_LONG_BUSY_ORDER_1_MSEC;
}

/* What a hypervisor below did not do, for @error: it refused, or is busy */
static __always_inline long kvmppc_tce_refused(struct kvmppc_tce_run *run,
					       int error)
{
	if (error != -EAGAIN)
		return H_HARDWARE;
	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		return H_LONG_BUSY_ORDER_1_MSEC;
	return kvmppc_tce_hard(run->vcpu, busy);
}

/*
 * Prepare a run of run->vcpu over entries [@idx, @idx + @n).  H_TOO_HARD when a table, or
 * so many entries, are not to be changed from here: the window was removed, a v1 container
 * pins its pages one by one, or this mode cannot.  H_BUSY, in virtual mode, while entries
 * begin to be worked in pieces.
 */
static __always_inline long
kvmppc_tce_begin(struct kvmppc_tce_run *run, struct kvmppc_spapr_tce_table *stt,
		 unsigned long idx, unsigned long n)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	struct kvmppc_spapr_tce_iommu_table *stit;
	unsigned long work = 0, foreign = 0;
	enum kvmppc_tce_way way;
	bool lists = false;
	struct list_head *at;

	run->stt = stt;
	run->slot = NULL;
	run->idx = idx;
	run->first = idx;
	run->end = idx + n;
	run->view_left = 0;
	run->mem.limit = 0;
	run->nr = 0;

	/* Pairs with list_add_tail_rcu() in kvmppc_tce_link() */
	for (at = READ_ONCE(stt->iommu_tables.next); at != &stt->iommu_tables;
	     at = READ_ONCE(at->next)) {
		struct iommu_table *tbl;
		unsigned long parts;

		stit = list_entry(at, struct kvmppc_spapr_tce_iommu_table, next);
		tbl = stit->tbl;
		if (run->nr == KVMPPC_TCE_TABLES ||
		    !kvmppc_tce_usable(stt->kvm, tbl))
			return kvmppc_tce_hopeless(run->vcpu, table);
		if (!tce_user_can(tbl, KVMPPC_TCE_MODE) ||
		    tce_user_is_crowded(tbl, KVMPPC_TCE_MODE))
			return kvmppc_tce_hard(run->vcpu, table);

		parts = 1UL << kvmppc_tce_parts_shift(stt, tbl);
		if (parts > KVMPPC_TCE_PARTS)
			return kvmppc_tce_hopeless(run->vcpu, count);
		work += parts;
		if (!tbl->it_base) {
			foreign += parts;
			lists |= !!tbl->it_ops->put_list;
		}
		run->pos[run->nr].tbl = tbl;
		run->pos[run->nr].left = 0;
		run->nr++;
	}

	/*
	 * Whoever takes the device away waits for an entry until it is done, and each
	 * part may be a hypercall
	 */
	if (unlikely(foreign > TCE_USER_PIECE))
		return kvmppc_tce_hopeless(run->vcpu, count);

	run->piece = foreign ? TCE_USER_FOREIGN : TCE_USER_PIECE;
	way = READ_ONCE(stt->way);
	/* A list that the hypervisor is too busy for keeps lines locked for some time */
	if (!virt && n && (way != KVMPPC_TCE_AT_ONCE || (lists && n > 1) ||
			   n * foreign > TCE_USER_FOREIGN))
		return kvmppc_tce_hard(run->vcpu, count);
	if (n && way == KVMPPC_TCE_NEITHER)
		return H_BUSY;
	/*
	 * Seen beside each other: a binding that was unlinked, and one made since.
	 * kvmppc_tce_note_pieces() has not added these up, and the next section sees one.
	 */
	if (n && way == KVMPPC_TCE_AT_ONCE &&
	    (work > TCE_USER_PIECE || foreign > TCE_USER_FOREIGN))
		return virt ? H_BUSY : kvmppc_tce_hard(run->vcpu, count);

	run->in_pieces = way == KVMPPC_TCE_IN_PIECES;
	run->one_part = run->nr && work == run->nr && !run->in_pieces;
	run->one_entry = work == 1 && !run->in_pieces;
	run->work = max(work, 1UL);
	tce_user_begin(&run->gather, &run->vcpu->arch.tce_reader);
	return H_SUCCESS;
}

/* Invalidate what was changed, then drop the counts of what was replaced */
static __always_inline void kvmppc_tce_flush(struct kvmppc_tce_run *run)
{
	unsigned long n = run->idx - run->first;
	unsigned int t;

	for (t = 0; n && t < run->nr; ++t) {
		struct iommu_table *tbl = run->pos[t].tbl;

		tce_user_kill(tbl,
			      kvmppc_tce_entry(run->stt, tbl, run->first),
			      n << kvmppc_tce_parts_shift(run->stt, tbl),
			      KVMPPC_TCE_MODE);
		run->vcpu->stat.tce_invalidations++;
	}

	if (run->nr)
		tce_user_finish(&run->gather);
	run->mem.limit = 0;
	run->first = run->idx;
}

static __always_inline void kvmppc_tce_move(struct kvmppc_tce_run *run,
					    unsigned long n)
{
	run->idx += n;
	if (run->view_left) {
		run->view_left -= n;
		if (run->view)
			run->view += n;
	}
}

static __always_inline void kvmppc_tce_next(struct kvmppc_tce_run *run)
{
	kvmppc_tce_move(run, 1);
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_RUN_H */
