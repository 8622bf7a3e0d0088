/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One guest entry of a run: it is looked up, checked, and changed, whatever the tables
 * are.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_ENTRY_H
#define POWERPC_KVM_BOOK3S_64_VIO_ENTRY_H

#include <linux/slab.h>

#include "book3s_64_vio_part.h"

/*
 * Remember the memory around the page at @ua, which is in run->slot and @ref, for
 * kvmppc_tce_map_span().
 */
static __always_inline void
kvmppc_tce_keep_mem(struct kvmppc_tce_run *run, unsigned long ua,
		    struct tce_user_ref *ref)
{
	const unsigned long size = 1UL << run->stt->page_shift;
	const unsigned long chunk_size = MM_IOMMU_CHUNK_SIZE << PAGE_SHIFT;
	const struct kvm_memory_slot *slot = run->slot;
	unsigned long slot_size = slot->npages << PAGE_SHIFT;
	unsigned long chunk, first, end;
	struct kvmppc_tce_mem *mem = &run->mem;

	mem->limit = 0;
	chunk = ua - (ua - ref->ua) % chunk_size;
	/* A slot may begin in the midst of a page, whose rest no TCE may name */
	first = ALIGN(max(slot->userspace_addr, chunk), size);
	end = min3(slot->userspace_addr + slot_size, ref->ua + ref->size,
		   chunk + chunk_size);

	mem->to_user = slot->userspace_addr - (slot->base_gfn << PAGE_SHIFT);
	if (end - first < size || mem->to_user & (size - 1))
		return;

	mem->page = mm_iommu_page(ref->mem, first);
	mem->ref = ref;
	kvmppc_tce_set_mem(mem, slot, first - mem->to_user, end - first, size);
}

/*
 * The page that @tce names, as the tables want it: its user address and what the
 * gather holds on its region, enough for all parts.
 */
static __always_inline long
kvmppc_tce_target(struct kvmppc_tce_run *run, u64 tce, unsigned long *ua,
		  struct tce_user_ref **pref)
{
	const unsigned long size = 1UL << run->stt->page_shift;
	const unsigned long work = run->work;
	struct tce_user_ref *ref;

	if (unlikely(!kvmppc_tce_to_ua(run->stt->kvm, &run->slot, tce, size,
				       ua, true)))
		return kvmppc_tce_hard(run->vcpu, memory);
	if (!run->nr)
		return H_SUCCESS;

	ref = tce_user_reserve(&run->gather, *ua, size, work,
			       (run->end - run->idx - 1) * work,
			       KVMPPC_TCE_MODE);
	if (unlikely(!ref))
		return kvmppc_tce_hard(run->vcpu, memory);

	if (run->one_part && run->end - run->idx > 1)
		kvmppc_tce_keep_mem(run, *ua, ref);

	*pref = ref;
	return H_SUCCESS;
}

/* An entry that is one entry of one table */
static __always_inline long
kvmppc_tce_set_one(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		   struct tce_user_ref *ref)
{
	const u64 perm = tce & TCE_USER_PERM;
	struct tce_user_pos *pos = &run->pos[0];
	u64 old, new = 0, user = 0;
	long ret = H_SUCCESS;
	int error;

	if (unlikely(!pos->left))
		tce_user_seek(pos, kvmppc_tce_entry(run->stt, pos->tbl,
						    run->idx));

	if (unlikely(!pos->user)) {
		if (!perm && kvmppc_tce_reads(run, tce))
			goto next;
		ret = kvmppc_tce_need_level(run, pos, pos->entry);
		if (ret != H_SUCCESS)
			return ret;
	}

	if (perm) {
		new = tce_user_hw(ref->mem, pos->tbl, ua, perm);
		if (unlikely(!new))
			return kvmppc_tce_hard(run->vcpu, memory);
		user = ua | TCE_USER_SET;
	}

	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_disable();

	if (unlikely(!tce_user_lock(pos->user, &old,
				    KVMPPC_TCE_MODE == TCE_USER_VIRT)))
		return kvmppc_tce_hard(run->vcpu, busy);

	error = tce_user_set(&run->gather, pos, new, old, KVMPPC_TCE_MODE);
	if (unlikely(error)) {
		user = old;
		ret = kvmppc_tce_refused(run, error);
	} else {
		if (perm)
			ref->credit--;
		kvmppc_tce_set_view(run, tce);
	}
	tce_user_unlock(pos->user, user);

	if (KVMPPC_TCE_MODE == TCE_USER_VIRT)
		preempt_enable();

	if (unlikely(ret != H_SUCCESS))
		return ret;
next:
	tce_user_next(pos);
	kvmppc_tce_next(run);
	return H_SUCCESS;
}

/* An entry of parts that can be changed at once */
static __always_inline long
kvmppc_tce_set_at_once(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		       struct tce_user_ref *ref)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	const u64 perm = tce & TCE_USER_PERM;
	struct kvmppc_tce_part first = { .t = 0 };
	long ret = H_SUCCESS;
	int error;

	kvmppc_tce_first_part(run, &first);
	if (virt)
		preempt_disable();

	if (!kvmppc_tce_lock_parts(run, &first, run->work))
		return kvmppc_tce_hard(run->vcpu, busy);
	if (!virt && kvmppc_tce_has_no_room(run, first, run->work)) {
		kvmppc_tce_unlock_parts(run, first, run->work);
		return kvmppc_tce_hard(run->vcpu, count);
	}

	error = kvmppc_tce_set_parts(run, first, run->work, perm, ua, ref);
	if (error) {
		/*
		 * Some parts have the old translation and some the new one: clear
		 * all, in all tables
		 */
		kvmppc_tce_set_parts(run, first, run->work, 0, 0, NULL);
		tce = 0;
		ret = kvmppc_tce_refused(run, error);
	}
	kvmppc_tce_set_view(run, tce);
	kvmppc_tce_unlock_parts(run, first, run->work);

	if (virt)
		preempt_enable();
	kvmppc_tce_put_gone(run, 0, run->nr);
	return ret;
}

/*
 * Change all parts of run->idx, in pieces; returns the last error.  Nothing here gives
 * the CPU up: whoever takes the device away waits for the section, and the VMM decides
 * when its thread would get the CPU back.
 */
static __always_inline int
kvmppc_tce_set_pieces(struct kvmppc_tce_run *run, u64 perm, unsigned long ua,
		      struct tce_user_ref *ref)
{
	struct kvmppc_tce_part first = { .t = 0 };
	unsigned long left, n;
	unsigned int t;
	int error = 0, ret;

	lockdep_assert_held(&run->stt->large_lock);
	kvmppc_tce_first_part(run, &first);
	for (left = run->work; left && !(error && perm);) {
		n = min(left, run->piece);
		t = first.t;
		preempt_disable();
		kvmppc_tce_lock_parts(run, &first, n);
		ret = kvmppc_tce_set_parts(run, first, n, perm, ua, ref);
		if (ret)
			error = ret;
		kvmppc_tce_unlock_parts(run, first, n);
		preempt_enable();
		for (; n; --n, --left)
			kvmppc_tce_next_part(run, &first);
		kvmppc_tce_put_gone(run, t, first.t);
	}
	return error;
}

/* An entry with more parts than can be changed at once; virtual mode only */
static __always_inline long
kvmppc_tce_set_in_pieces(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
			 struct tce_user_ref *ref)
{
	long ret = H_SUCCESS;
	int error;

	/* Do not wait in a section: kvmppc_tce_virt() waits outside of it */
	if (!mutex_trylock(&run->stt->large_lock))
		return H_BUSY;
	error = kvmppc_tce_set_pieces(run, tce & TCE_USER_PERM, ua, ref);
	if (error) {
		kvmppc_tce_set_pieces(run, 0, 0, NULL);
		tce = 0;
		ret = kvmppc_tce_refused(run, error);
	}
	kvmppc_tce_set_view(run, tce);
	mutex_unlock(&run->stt->large_lock);
	return ret;
}

/* An entry with several parts */
static noinline __maybe_unused long
kvmppc_tce_set_many(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		    struct tce_user_ref *ref)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	const u64 perm = tce & TCE_USER_PERM;
	unsigned int t;
	long ret = H_SUCCESS;

	if (!perm && kvmppc_tce_is_absent(run, tce))
		goto next;

	for (t = 0; perm && t < run->nr; ++t)
		if (!tce_user_hw(ref->mem, run->pos[t].tbl, ua, perm))
			return kvmppc_tce_hard(run->vcpu, memory);

	ret = kvmppc_tce_need_levels(run);
	if (ret != H_SUCCESS)
		return ret;

	/* Without it the gather invalidates for each entry that it has no room for */
	if (virt && run->work > TCE_USER_REFS) {
		run->gather.nr_gone = 0;
		run->gather.gone = kmalloc_array(run->in_pieces ? run->piece : run->work,
						 sizeof(u64), GFP_NOWAIT);
	}
	if (virt && run->in_pieces)
		ret = kvmppc_tce_set_in_pieces(run, tce, ua, ref);
	else
		ret = kvmppc_tce_set_at_once(run, tce, ua, ref);
	if (virt)
		kfree(run->gather.gone);
	run->gather.gone = NULL;
	if (ret == H_TOO_HARD || kvmppc_tce_is_busy(ret))
		return ret;

next:
	kvmppc_tce_next(run);
	return ret;
}

/*
 * Give the next entry of the run a TCE.  On an answer other than H_SUCCESS the entry is as
 * it was, but for one of several parts that a hypervisor below did not change all: that
 * leads nowhere then, and reads back as 0.  The run has moved past it if the hypervisor
 * refused (H_HARDWARE), and has not if it is busy.
 */
static __always_inline long kvmppc_tce_step(struct kvmppc_tce_run *run, u64 tce)
{
	const bool virt = KVMPPC_TCE_MODE == TCE_USER_VIRT;
	struct tce_user_ref *ref = NULL;
	unsigned long ua = 0;
	long ret;

	if (tce_user_full(&run->gather, run->nr)) {
		if (!virt && !run->flushes--)
			return kvmppc_tce_hard(run->vcpu, count);
		kvmppc_tce_flush(run);
	}

	if (tce & TCE_USER_PERM) {
		ret = kvmppc_tce_target(run, tce, &ua, &ref);
		if (unlikely(ret != H_SUCCESS))
			return ret;
	}

	/* A page of the guest's view that is not there says 0 */
	if (tce) {
		ret = kvmppc_tce_need_view(run);
		if (unlikely(ret != H_SUCCESS))
			return ret;
	}

	if (likely(run->one_entry))
		return kvmppc_tce_set_one(run, tce, ua, ref);
	if (run->nr)
		return kvmppc_tce_set_many(run, tce, ua, ref);

	kvmppc_tce_set_view(run, tce);
	kvmppc_tce_next(run);
	return H_SUCCESS;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_ENTRY_H */
