/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A call, or a piece of it: its arguments are checked, its entries worked one after the
 * other.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_CALL_H
#define POWERPC_KVM_BOOK3S_64_VIO_CALL_H

#include "book3s_64_vio_entry.h"
#include "book3s_64_vio_span.h"

/* The longest list of H_PUT_TCE_INDIRECT: a page of 4K (PAPR 14.5.4.2) */
#define KVMPPC_TCE_LIST_MAX	512UL

/*
 * How often a call in an early exit, or in real mode, may invalidate what it has done
 * so far, as it meets more regions than a gather can hold.  An invalidation is a call of
 * firmware, and the guest chooses the regions.  In a partial exit: never.
 */
#define KVMPPC_TCE_FLUSHES	8U

/**
 * struct kvmppc_tce_call - the arguments of a hypercall, and how far it is
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN as the guest passed it
 * @ioba: bus address of the next entry, in bytes
 * @n: entries left
 * @in_guest: their TCEs are in a list in guest memory
 * @list_gpa: where that is, a guest address; the rest of it does not cross a 4K page
 * @list: their TCEs, copied by the caller; NULL when all are @tce
 * @tce: see @list
 * @most: hardware entries that may be changed in one section, in all tables
 * @ret: H_PARAMETER when the arguments are wrong whatever the LIOBN is
 * @no_list: set when H_TOO_HARD means that the list has to be copied, or looked for again
 */
struct kvmppc_tce_call {
	struct kvm_vcpu *vcpu;
	unsigned long liobn;
	unsigned long ioba;
	unsigned long n;
	bool in_guest;
	unsigned long list_gpa;
	const __be64 *list;
	u64 tce;
	unsigned long most;
	long ret;
	bool no_list;
};

/*
 * How many of @n entries a run may work at once: those that stand for @most
 * hardware entries.  Virtual mode makes progress with any entry; other tiers (0)
 * leave large ones to it.
 */
static __always_inline unsigned long
kvmppc_tce_piece(const struct kvmppc_tce_run *run, unsigned long n,
		 unsigned long most)
{
	if (n <= most && n * run->work <= most)
		return n;
	if (KVMPPC_TCE_MODE != TCE_USER_VIRT)
		return 0;
	return max(most / run->work, 1UL);
}

/**
 * kvmppc_tce_args() - make a call of a hypercall's arguments
 * @call: where to store it
 * @vcpu: the calling virtual CPU
 * @req: H_PUT_TCE, H_PUT_TCE_INDIRECT or H_STUFF_TCE
 * @liobn: first argument, and so on
 * @ioba: bus address of the first entry, in bytes
 * @arg: a TCE, the guest address of a list, or what clear entries read back as
 * @n: entries; not used by H_PUT_TCE
 *
 * H_PARAMETER (PAPR 14.5.4.2) is the answer to a list that is longer than 4K or not
 * aligned to it, and to permissions in the value of H_STUFF_TCE, if the LIOBN is
 * known; else the VMM has to judge.
 */
static __always_inline void kvmppc_tce_args(struct kvmppc_tce_call *call,
					    struct kvm_vcpu *vcpu,
					    unsigned long req,
					    unsigned long liobn,
					    unsigned long ioba,
					    unsigned long arg, unsigned long n)
{
	const bool listed = req == H_PUT_TCE_INDIRECT;

	call->vcpu = vcpu;
	call->liobn = liobn;
	call->ioba = ioba;
	call->n = req == H_PUT_TCE ? 1 : n;
	call->in_guest = listed;
	call->list_gpa = listed ? arg : 0;
	call->list = NULL;
	call->tce = listed ? 0 : arg;
	call->most = TCE_USER_PIECE;
	call->no_list = false;

	call->ret = H_SUCCESS;
	if (listed && (n > KVMPPC_TCE_LIST_MAX || arg & (SZ_4K - 1)))
		call->ret = H_PARAMETER;
	if (req == H_STUFF_TCE && arg & TCE_USER_PERM)
		call->ret = H_PARAMETER;
}

/*
 * The list of @call, as far as it is left.  Registered memory is pinned, and its
 * pages go after a grace period only.  So the region is found, which is enough to
 * read from it in this section, and not held.  Virtual mode copies the list, as what
 * copies from user space survives an error in memory, wherever this is compiled.
 */
static __always_inline long
kvmppc_tce_list(struct kvmppc_tce_call *call, struct kvmppc_tce_run *run,
		const __be64 **list)
{
	struct mm_iommu_table_group_mem_t *mem;
	unsigned long ua;
	u64 hpa;

	*list = call->list;
	if (!call->in_guest)
		return H_SUCCESS;

	call->no_list = true;
	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		return H_TOO_HARD;
	if (!kvmppc_tce_to_ua(call->vcpu->kvm, &run->slot, call->list_gpa,
			      sizeof(**list), &ua, true))
		return kvmppc_tce_hard(run->vcpu, list);
	mem = tce_user_region(run->gather.reader, ua);
	if (!mem || !tce_user_open_region(mem, KVMPPC_TCE_MODE))
		return kvmppc_tce_hard(run->vcpu, list);

	hpa = READ_ONCE(*mm_iommu_page(mem, ua)) & PAGE_MASK;
	if (unlikely(kvmppc_tce_poisoned(hpa)))
		return kvmppc_tce_hard(run->vcpu, list);

	*list = __va(hpa | (ua & ~PAGE_MASK));
	call->no_list = false;
	return H_SUCCESS;
}

/**
 * kvmppc_tce_put() - serve a hypercall that writes TCEs, or a piece of it
 * @call: the call; on return it says what is left of it
 *
 * Context: kvm->srcu held; in a section; no lock held; in virtual mode
 * preemption on.
 * Return: H_SUCCESS when the entries that @call has moved past are in force,
 * which are all in a mode other than TCE_USER_VIRT; H_PARAMETER when the
 * LIOBN has not all of the entries; H_TOO_HARD when the next tier has to try;
 * H_NOT_ENOUGH_RESOURCES when memory for a page of the guest's view or a table level cannot
 * be had; H_HARDWARE when the hypervisor below refused; in virtual mode
 * H_LONG_BUSY_ORDER_1_MSEC when it is busy, and H_BUSY when another CPU has an entry that
 * is worked in pieces, or will be from now on.  After another answer than H_SUCCESS entries
 * that @call has not moved past are as they were (PAPR 14.5.4.2), or where the hypervisor
 * below was in the way, each leads to what reads back.
 */
static __always_inline long kvmppc_tce_put(struct kvmppc_tce_call *call)
{
	struct kvmppc_spapr_tce_table *stt;
	struct kvmppc_tce_run run __uninitialized;
	const __be64 *list;
	unsigned long idx, n;
	long ret;

	run.vcpu = call->vcpu;
	stt = kvmppc_tce_find(call->vcpu->kvm, call->liobn);
	if (!stt)
		return kvmppc_tce_hopeless(run.vcpu, liobn);

	if (call->ret != H_SUCCESS)
		return call->ret;

	ret = kvmppc_tce_window(stt, call->ioba, call->n, &idx);
	if (ret != H_SUCCESS)
		return ret;

	ret = kvmppc_tce_begin(&run, stt, idx, call->n);
	if (ret != H_SUCCESS)
		return ret;

	n = kvmppc_tce_piece(&run, call->n, call->most);
	if (!n && call->n)
		return kvmppc_tce_hard(run.vcpu, count);
	run.end = idx + n;
	/* A partial exit is what has less */
	run.flushes = call->most == TCE_USER_PIECE ? KVMPPC_TCE_FLUSHES : 0;

	ret = kvmppc_tce_list(call, &run, &list);
	if (ret != H_SUCCESS)
		return ret;

	while (run.idx < run.end) {
		u64 tce = call->tce;

		if (list)
			tce = kvmppc_tce_fetch(list + (run.idx - idx));
		ret = kvmppc_tce_step(&run, tce);
		if (unlikely(ret != H_SUCCESS))
			break;
		if (tce & TCE_USER_PERM)
			run.vcpu->stat.tce_mapped++;
		else
			run.vcpu->stat.tce_cleared++;
		ret = kvmppc_tce_hurry(&run,
				       list ? list + (run.idx - idx) : NULL, tce);
		if (unlikely(ret != H_SUCCESS))
			break;
	}

	kvmppc_tce_flush(&run);

	n = run.idx - idx;
	if (call->list)
		call->list += n;
	call->list_gpa += n * sizeof(*list);
	call->n -= n;
	call->ioba += n << stt->page_shift;
	return ret;
}

/**
 * kvmppc_tce_get() - serve H_GET_TCE
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the entry, in bytes
 * @tce: where to store the TCE
 *
 * Context: in a section; any mode.
 * Return: H_SUCCESS; H_PARAMETER; H_TOO_HARD when the LIOBN is not known.
 */
static __always_inline long kvmppc_tce_get(struct kvm_vcpu *vcpu,
					   unsigned long liobn,
					   unsigned long ioba, u64 *tce)
{
	struct kvmppc_spapr_tce_table *stt = kvmppc_tce_find(vcpu->kvm, liobn);
	unsigned long idx;
	u64 *page;
	long ret;

	if (!stt)
		return kvmppc_tce_hard(vcpu, liobn);

	ret = kvmppc_tce_window(stt, ioba, 1, &idx);
	if (ret != H_SUCCESS)
		return ret;

	page = READ_ONCE(stt->pages[idx / TCES_PER_PAGE]);
	*tce = page ? READ_ONCE(page[idx % TCES_PER_PAGE]) : 0;
	return H_SUCCESS;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_CALL_H */
