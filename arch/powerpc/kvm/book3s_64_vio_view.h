/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a run writes: the word that the guest reads back, and the levels of the tables
 * that it is bound to.  What is not there is allocated in virtual mode only.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_VIEW_H
#define POWERPC_KVM_BOOK3S_64_VIO_VIEW_H

#include "book3s_64_vio_run.h"

/* The word of the guest's view of run->idx; NULL when its page is not there */
static __always_inline u64 *kvmppc_tce_view(struct kvmppc_tce_run *run)
{
	u64 *page;

	if (likely(run->view_left && run->view))
		return run->view;

	/* Pairs with smp_store_release() in kvmppc_tce_view_alloc() */
	page = READ_ONCE(run->stt->pages[run->idx / TCES_PER_PAGE]);
	run->view = page ? page + run->idx % TCES_PER_PAGE : NULL;
	run->view_left = TCES_PER_PAGE - run->idx % TCES_PER_PAGE;
	return run->view;
}

static __always_inline long
kvmppc_tce_need_view(struct kvmppc_tce_run *run)
{
	if (likely(kvmppc_tce_view(run)))
		return H_SUCCESS;
	if (KVMPPC_TCE_MODE != TCE_USER_VIRT)
		return kvmppc_tce_hard(run->vcpu, view);
	return kvmppc_tce_view_alloc(run->stt, run->idx);
}

/* Make sure that the level of @entry exists in both views of pos->tbl */
static __always_inline long
kvmppc_tce_need_level(struct kvmppc_tce_run *run, struct tce_user_pos *pos,
		      unsigned long entry)
{
	if (likely(tce_user_seek(pos, entry)))
		return H_SUCCESS;
	if (KVMPPC_TCE_MODE != TCE_USER_VIRT)
		return kvmppc_tce_hard(run->vcpu, level);
	if (tce_user_populate(pos->tbl, entry) ||
	    !tce_user_seek(pos, entry))
		return H_NOT_ENOUGH_RESOURCES;
	return H_SUCCESS;
}

/* Make sure that all parts of run->idx have a level in both views */
static __always_inline long
kvmppc_tce_need_levels(struct kvmppc_tce_run *run)
{
	unsigned int t;
	long ret;

	for (t = 0; t < run->nr; ++t) {
		struct tce_user_pos pos = { .tbl = run->pos[t].tbl };
		unsigned long entry = kvmppc_tce_entry(run->stt, pos.tbl, run->idx);
		unsigned long end = kvmppc_tce_entry(run->stt, pos.tbl, run->idx + 1);

		for (; entry < end; entry += pos.left) {
			ret = kvmppc_tce_need_level(run, &pos, entry);
			if (ret != H_SUCCESS)
				return ret;
		}
	}
	return H_SUCCESS;
}

/* Does the next entry read back as @tce? */
static __always_inline bool kvmppc_tce_reads(struct kvmppc_tce_run *run, u64 tce)
{
	u64 *view = kvmppc_tce_view(run);

	return (view ? READ_ONCE(*view) : 0) == tce;
}

static __always_inline void kvmppc_tce_set_view(struct kvmppc_tce_run *run,
						u64 tce)
{
	u64 *view;

	/*
	 * If it was absent, the last writer of the entry may have brought it:
	 * pairs with the release in tce_user_unlock_line().
	 */
	if (unlikely(!run->view_left || !run->view)) {
		run->view_left = 0;
		smp_acquire__after_ctrl_dep();
	}
	view = kvmppc_tce_view(run);
	if (view)
		WRITE_ONCE(*view, tce);
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_VIEW_H */
