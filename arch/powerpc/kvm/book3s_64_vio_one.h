/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The short way of calls that change a single entry.  It has no run.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_ONE_H
#define POWERPC_KVM_BOOK3S_64_VIO_ONE_H

#ifndef KVMPPC_TCE_MODE
#error "Who includes this says by KVMPPC_TCE_MODE where its code runs"
#endif

#include "book3s_64_vio_table.h"
#include "book3s_64_vio_memory.h"

/* Can kvmppc_tce_put_one() change this table, in every mode that may change it? */
static __always_inline bool
kvmppc_tce_has_one(const struct kvmppc_spapr_tce_table *stt,
		   const struct iommu_table *tbl)
{
	return !tbl->it_indirect_levels &&
	       tbl->it_page_shift == stt->page_shift &&
	       (!tbl->it_base || tce_user_can(tbl, TCE_USER_REAL));
}

/* Is it a call of one entry, which kvmppc_tce_put_one() may serve? */
static __always_inline bool kvmppc_tce_is_one(unsigned long req,
					      unsigned long arg,
					      unsigned long n)
{
	return req == H_PUT_TCE || (req == H_STUFF_TCE && n == 1 &&
				    !(arg & TCE_USER_PERM));
}

/*
 * The hardware word for @tce, for which the reader keeps a count of its region, and one
 * more to hold it; 0 when that cannot be.
 */
static __always_inline u64
kvmppc_tce_one_word(struct kvm *kvm, struct mm_iommu_reader *reader,
		    const struct iommu_table *tbl, u64 tce,
		    unsigned long *ua, const bool search)
{
	const unsigned long size = 1UL << tbl->it_page_shift;
	struct mm_iommu_table_group_mem_t *mem;
	struct kvm_memory_slot *slot = NULL;

	if (!kvmppc_tce_to_ua(kvm, &slot, tce, size, ua, search))
		return 0;

	mem = tce_user_keep(reader, *ua, size, KVMPPC_TCE_MODE, search);
	if (unlikely(!mem))
		return 0;

	return tce_user_hw(mem, tbl, *ua, tce & TCE_USER_PERM);
}

/**
 * kvmppc_tce_put_one() - serve a hypercall that writes a single TCE
 * @vcpu: the calling virtual CPU
 * @served: counter of hypercalls served
 * @liobn: LIOBN
 * @ioba: bus address of the entry, in bytes
 * @tce: TCE
 * @search: look for memslot and region; otherwise they are those met last
 *
 * The short way for what guests do most: an entry of one part, in one table that
 * has no levels, with the page of the guest's view there.  Table and LIOBN begin at the same
 * entry (tce_user_table_get()).
 *
 * Context: as kvmppc_tce_put().
 * Return: H_SUCCESS; H_TOO_HARD when kvmppc_tce_put() has to be asked, and
 * nothing was changed.
 */
static __always_inline long kvmppc_tce_put_one(struct kvm_vcpu *vcpu,
					       u64 *served, unsigned long liobn,
					       unsigned long ioba, u64 tce,
					       const bool search)
{
	struct mm_iommu_reader *reader = &vcpu->arch.tce_reader;
	struct kvm *kvm = vcpu->kvm;
	struct kvmppc_spapr_tce_table *stt;
	u64 *view, *user, old = 0, word = 0, new = 0;
	struct iommu_table *tbl;
	unsigned long idx, ua;
	__be64 *hw = NULL;
	int error = 0;

	stt = kvmppc_tce_find(kvm, liobn);
	if (unlikely(!stt))
		return H_TOO_HARD;
	if (kvmppc_tce_window(stt, ioba, 1, &idx) != H_SUCCESS)
		return H_TOO_HARD;

	/* Pairs with smp_store_release() in kvmppc_tce_note_only_tbl() */
	tbl = READ_ONCE(stt->only_tbl);
	if (unlikely(!tbl || !kvmppc_tce_usable(kvm, tbl)) ||
	    tce_user_is_crowded(tbl, KVMPPC_TCE_MODE))
		return H_TOO_HARD;
	if (likely(tbl->it_base))
		hw = (__be64 *)tbl->it_base + idx;
	else if (KVMPPC_TCE_MODE == TCE_USER_REAL)
		return H_TOO_HARD;
	view = READ_ONCE(stt->pages[idx / TCES_PER_PAGE]);
	if (unlikely(!view))
		return H_TOO_HARD;
	view += idx % TCES_PER_PAGE;
	user = (__force u64 *)tbl->it_userspace + idx;

	if (tce & TCE_USER_PERM) {
		word = kvmppc_tce_one_word(kvm, reader, tbl, tce, &ua, search);
		if (!word)
			return H_TOO_HARD;
		new = ua | TCE_USER_SET;
	}

	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_disable();
	if (unlikely(!tce_user_lock(user, &old,
				    KVMPPC_TCE_MODE == TCE_USER_VIRT)))
		return H_TOO_HARD;
	/* As in tce_user_set() */
	if (word || old)
		error = tce_user_write(tbl, hw, stt->offset + idx, word, KVMPPC_TCE_MODE);
	if (likely(!error))
		WRITE_ONCE(*view, tce);
	tce_user_unlock(user, error ? old : new);
	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_enable();

	if (unlikely(error))
		return H_TOO_HARD;

	if (word) {
		reader->nr_kept--;
		vcpu->stat.tce_mapped++;
	} else {
		vcpu->stat.tce_cleared++;
	}
	vcpu->stat.tce_invalidations++;
	++*served;

	tce_user_kill(tbl, stt->offset + idx, 1, KVMPPC_TCE_MODE);
	if (old & TCE_USER_SET)
		tce_user_drop(reader, old);
	return H_SUCCESS;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_ONE_H */
