/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's TCE table, which the guest calls by its LIOBN, and what it is bound to.
 * Needs no KVMPPC_TCE_MODE.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_TABLE_H
#define POWERPC_KVM_BOOK3S_64_VIO_TABLE_H

#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nospec.h>

#include <asm/hvcall.h>
#include <asm/tce_user.h>
#include <asm/kvm_book3s.h>
#include <asm/kvm_ppc.h>

#define TCES_PER_PAGE		(PAGE_SIZE / sizeof(u64))

/* LIOBNs of one bucket, which is searched with interrupts off */
#define KVMPPC_TCE_CROWD	64

/**
 * struct kvmppc_tce_owner - a VFIO file on whose behalf a LIOBN is bound
 * @next: in kvmppc_spapr_tce_iommu_table::owners
 * @file: the file; referenced by who bound it, until it is released
 * @group: id of the group behind it, for people.  Groups come and go, and so do
 *	their ids, while the file stays.
 */
struct kvmppc_tce_owner {
	struct list_head next;
	struct file *file;
	int group;
};

/**
 * struct kvmppc_spapr_tce_iommu_table - a LIOBN's binding to a hardware table
 * @next: in kvmppc_spapr_tce_table::iommu_tables
 * @tbl: the table; a reference is held
 * @owners: the files that share the binding, under kvm->arch.spapr_tce_lock
 * @dead: links bindings that were unlinked, until they are freed
 */
struct kvmppc_spapr_tce_iommu_table {
	struct list_head next;
	struct iommu_table *tbl;
	struct list_head owners;
	struct hlist_node dead;
};

/*
 * While an entry is changed in pieces, no line is locked between two pieces.  So
 * nobody may change entries at once in that time, and nobody may change them in pieces
 * while others change them at once.
 */
enum kvmppc_tce_way {
	KVMPPC_TCE_AT_ONCE,
	KVMPPC_TCE_NEITHER,
	KVMPPC_TCE_IN_PIECES,
};

/**
 * struct kvmppc_spapr_tce_table - a LIOBN
 * @list: in kvm->arch.spapr_tce_tables, under kvm->arch.spapr_tce_lock
 * @hash: in kvm->arch.spapr_tce_hash; changed under the same, read in sections
 * @kvm: the VM; a reference is held
 * @liobn: the number by which the guest calls it
 * @page_shift: size of a guest entry's page, as a shift
 * @offset: first entry, counted from bus address 0
 * @size: entries
 * @iommu_tables: bindings in the order of their tables' addresses; changed
 *	under kvm->arch.spapr_tce_lock, read in sections
 * @only_tbl: the table bound, if it is the only one and kvmppc_tce_put_one() serves
 *	it; goes with @iommu_tables
 * @way: how an entry is changed; an entry that stands for more hardware entries than
 *	may be changed with preemption off has to be in pieces.  It only moves on to
 *	the next value.  It moves to the last value a grace period after the one before,
 *	and before the table that makes it necessary is bound
 * @alloc_lock: serializes the allocation of @pages
 * @large_lock: serializes changes of entries that are worked in pieces
 * @nr_pages: how many of @pages are there
 * @pages: the guest's view; NULL where all TCEs are 0.  A page once there stays.
 */
struct kvmppc_spapr_tce_table {
	struct list_head list;
	struct hlist_node hash;
	struct kvm *kvm;
	u64 liobn;
	u32 page_shift;
	u64 offset;
	u64 size;
	struct list_head iommu_tables;
	struct iommu_table *only_tbl;
	enum kvmppc_tce_way way;
	struct mutex alloc_lock; /* of @pages */
	struct mutex large_lock; /* entries worked in pieces */
	unsigned long nr_pages;
	u64 *pages[];
};

/*
 * What cannot be done in every tier; kvmppc_tce_view_alloc() and
 * tce_user_populate() sleep or allocate and belong to virtual mode.
 */
long kvmppc_tce_view_alloc(struct kvmppc_spapr_tce_table *stt,
			   unsigned long idx);

/* Pages of a guest's view of @entries */
static inline unsigned long kvmppc_tce_pages(unsigned long entries)
{
	return DIV_ROUND_UP(entries, TCES_PER_PAGE);
}

static __always_inline struct hlist_head *kvmppc_tce_bucket(struct kvm *kvm,
							    unsigned long liobn)
{
	/* VMMs number LIOBNs by host bridge (x 256) and window */
	return &kvm->arch.spapr_tce_hash[(liobn ^ liobn >> 8) %
					 KVMPPC_TCE_BUCKETS];
}

static __always_inline struct kvmppc_spapr_tce_table *
kvmppc_tce_find(struct kvm *kvm, unsigned long liobn)
{
	struct kvmppc_spapr_tce_table *stt;
	struct hlist_node *node;

	/* Pairs with hlist_add_head_rcu() at creation */
	for (node = READ_ONCE(kvmppc_tce_bucket(kvm, liobn)->first); node;
	     node = READ_ONCE(node->next)) {
		stt = hlist_entry(node, struct kvmppc_spapr_tce_table, hash);
		if (stt->liobn == liobn)
			return stt;
	}
	return NULL;
}

/* Entries [*@idx, *@idx + @n) of @stt, or H_PARAMETER if it lacks any of them */
static __always_inline long
kvmppc_tce_window(const struct kvmppc_spapr_tce_table *stt, unsigned long ioba,
		  unsigned long n, unsigned long *idx)
{
	*idx = (ioba >> stt->page_shift) - stt->offset;

	/* An ioba below the window makes *idx huge */
	if (ioba & ((1UL << stt->page_shift) - 1) || *idx > stt->size ||
	    n > stt->size - *idx)
		return H_PARAMETER;

	/* Beyond the last one there are none to look at */
	*idx = array_index_nospec(*idx, stt->size);
	return H_SUCCESS;
}

static __always_inline unsigned int
kvmppc_tce_parts_shift(const struct kvmppc_spapr_tce_table *stt,
		       const struct iommu_table *tbl)
{
	return stt->page_shift - tbl->it_page_shift;
}

/* First hardware entry of guest entry @idx */
static __always_inline unsigned long
kvmppc_tce_entry(const struct kvmppc_spapr_tce_table *stt,
		 const struct iommu_table *tbl, unsigned long idx)
{
	return (stt->offset + idx) << kvmppc_tce_parts_shift(stt, tbl);
}

/* Can a table be changed from here, and is it for this VM? */
static __always_inline bool kvmppc_tce_usable(const struct kvm *kvm,
					      const struct iommu_table *tbl)
{
	/* Clear once the window was removed, or where pages are pinned singly */
	return READ_ONCE(tbl->it_mm) == kvm->mm;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_TABLE_H */
