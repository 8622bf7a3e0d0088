/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine behind H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE and H_GET_TCE:
 * one text for every tier that serves these hypercalls.
 *
 * A LIOBN is a window of bus addresses of the guest, with entries of the page
 * size that the guest chose.  It has a *shadow*, which keeps the TCEs as the
 * guest wrote them, is read by H_GET_TCE and mapped by the VMM; and it may be
 * *bound* to hardware tables (struct iommu_table), whose pages are of the same
 * size or smaller, so that a guest entry stands for 1 or more hardware entries,
 * its *parts*.
 *
 * A hypercall works consecutive guest entries, one after the other: a *run* (struct
 * kvmppc_tce_run; struct kvm_run is something else).  Each entry is read once,
 * checked completely, and then changed in all tables and in the shadow;
 * after the last one every table is invalidated once and the counts of the
 * translations that went are dropped (asm/iommu_user.h).  So an answer other
 * than H_SUCCESS leaves the entries before the one that failed done, in the
 * same way everywhere, and those from it on untouched.
 *
 * If two CPUs change one guest entry, each locks the lines of all parts, ordered by the
 * address of the table and then by entry.  It changes them, writes the shadow and unlocks
 * them.  So the shadow shows what was installed.  VFIO ioctls and other LIOBNs hold locks
 * of the same lines, one at a time or in the same order.  So a CPU that holds a lock waits
 * only for locks that come later in this order.  In guest context no CPU waits while it
 * holds a lock: if it cannot have the lock of a part, it gives up before it has changed
 * the entry.  An entry of more parts than may be worked without preemption
 * is changed in pieces, in virtual mode, and a mutex keeps other CPUs from such
 * entries of the LIOBN meanwhile.  A LIOBN that is bound to nothing
 * has a single word per entry and needs no lock.
 *
 * Most entries are like the one before: they are next to it in the tables and in the
 * shadow, and lead to memory near by.  An entry is worked by
 * kvmppc_tce_step(), which looks everything up and leaves what it found in
 * struct kvmppc_tce_run; kvmppc_tce_map_span() and kvmppc_tce_clear_span() go on
 * from there for as long as that serves, and change nothing otherwise.  Both are
 * compiled for one table, where each instruction counts, and for several.
 *
 * A tier may give up with H_TOO_HARD, and the next one does the whole call
 * again: to write an entry twice does no harm.  It gives up before it changes
 * a guest entry, never within one.
 *
 * What a run reads - LIOBNs, bindings, tables, regions - stays for the section
 * (asm/mm_iommu.h) in which the hypercall, or a piece of it, is served; what is
 * found in one section is looked up anew in the next.  Memslots stay while
 * kvm->srcu is held, by virtual mode for each piece and in guest context from
 * before guest entry.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_H
#define POWERPC_KVM_BOOK3S_64_VIO_H

#ifndef KVMPPC_TCE_MODE
#error "Who includes this says by KVMPPC_TCE_MODE where its code runs"
#endif

#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include <asm/hvcall.h>
#include <asm/iommu_user.h>
#include <asm/kvm_book3s.h>
#include <asm/kvm_ppc.h>

#define TCES_PER_PAGE		(PAGE_SIZE / sizeof(u64))

/* The longest list of H_PUT_TCE_INDIRECT: a page of 4K (PAPR 14.5.4.2) */
#define KVMPPC_TCE_LIST_MAX	512UL

/* Tables that a run deals with; a LIOBN bound to more is left to the VMM */
#define KVMPPC_TCE_TABLES	4

/* LIOBNs of one bucket, which is searched with interrupts off */
#define KVMPPC_TCE_CROWD	64

/* Parts of an entry in a table; the VMM splits larger entries */
#define KVMPPC_TCE_PARTS	4096UL

/* Hardware entries of a hypercall where a system reset would be fatal */
#define KVMPPC_TCE_PARTIAL_MAX	16UL

/*
 * How often a call in an early exit, or in real mode, may invalidate what it has done
 * so far, as it meets more regions than a batch can hold.  An invalidation is a call of
 * firmware, and the guest chooses the regions.  In a partial exit: never.
 */
#define KVMPPC_TCE_FLUSHES	8U

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
 * @only: the table bound, if it is the only one and kvmppc_tce_put_one() serves
 *	it; goes with @iommu_tables
 * @way: how an entry is changed; an entry that stands for more hardware entries than
 *	may be changed with preemption off has to be in pieces.  It only moves on to
 *	the next value.  It moves to the last value a grace period after the one before,
 *	and before the table that makes it necessary is bound
 * @alloc_lock: serializes the allocation of shadow pages
 * @large_lock: serializes changes of entries that are worked in pieces
 * @nr_pages: shadow pages that are there
 * @pages: the shadow; NULL where all TCEs are 0.  A page once there stays.
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
	struct iommu_table *only;
	enum kvmppc_tce_way way;
	struct mutex alloc_lock; /* shadow pages */
	struct mutex large_lock; /* entries worked in pieces */
	unsigned long nr_pages;
	u64 *pages[];
};

/* Pages of a shadow of @entries */
static inline unsigned long kvmppc_tce_pages(unsigned long entries)
{
	return DIV_ROUND_UP(entries, TCES_PER_PAGE);
}

/**
 * struct kvmppc_tce_mem - guest memory around the page met last
 * @base: guest address of its first byte, a multiple of the page's size
 * @limit: bytes; a page that begins below it, counted from @base, is within
 * @to_user: what turns a guest address into a user address
 * @mask: bits of a TCE, counted from @base, that must be those of TCE_PCI_READ
 * @page: word of the page list for @base
 * @ref: the region, in the batch
 *
 * All of it lies in one memslot, one region and one chunk of its page list.
 */
struct kvmppc_tce_mem {
	unsigned long base;
	unsigned long limit;
	unsigned long to_user;
	u64 mask;
	u64 *page;
	struct iommu_user_ref *ref;
};

/**
 * struct kvmppc_tce_run - a hypercall at work
 * @stat: counters of the calling virtual CPU
 * @stt: the LIOBN
 * @slot: memslot met last
 * @idx: the entry that is next, counted from the LIOBN's first
 * @first: the first entry that is not invalidated yet
 * @end: the entry after the last of the call
 * @shadow: word of @idx, or NULL where there is no page
 * @shadow_left: entries from @idx on that share this page
 * @nr: tables
 * @work: hardware entries that a guest entry stands for, in all tables; 1 at least
 * @at_once: hardware entries that a piece of a guest entry may have
 * @flat: one part per entry in each table, and not @in_pieces
 * @simple: @flat, and one table
 * @in_pieces: entries are changed with the LIOBN's large_lock held
 * @mem: memory around the page met last, if @flat
 * @flushes: how often the batch may still be full, in guest context
 * @batch: counts of regions
 * @pos: places of @idx in the tables
 */
struct kvmppc_tce_run {
	struct kvm_vcpu_stat *stat;
	struct kvmppc_spapr_tce_table *stt;
	struct kvm_memory_slot *slot;
	unsigned long idx;
	unsigned long first;
	unsigned long end;
	u64 *shadow;
	unsigned long shadow_left;
	unsigned int nr;
	unsigned long work;
	unsigned long at_once;
	bool flat;
	bool simple;
	bool in_pieces;
	struct kvmppc_tce_mem mem;
	unsigned int flushes;
	struct iommu_user_batch batch;
	struct iommu_user_pos pos[KVMPPC_TCE_TABLES];
};

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

/* Leave a hypercall to the next tier, and count why */
static __always_inline long kvmppc_tce_hard(u64 *why)
{
	++*why;
	return H_TOO_HARD;
}

/* The same, for what only the VMM can do: the tiers in between do not try */
static __always_inline long kvmppc_tce_hopeless(struct kvm_vcpu *vcpu, u64 *why)
{
	vcpu->arch.tce_hopeless = true;
	return kvmppc_tce_hard(why);
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

/*
 * Prepare a run over entries [@idx, @idx + @n).  H_TOO_HARD when a table is not
 * to be changed from here: its window was removed, a v1 container pins its
 * pages one by one, or this mode cannot.
 */
static __always_inline long
kvmppc_tce_begin(struct kvmppc_tce_run *run, struct kvm_vcpu *vcpu,
		 struct kvmppc_spapr_tce_table *stt, unsigned long idx,
		 unsigned long n)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
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
	run->shadow_left = 0;
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
			return kvmppc_tce_hopeless(vcpu,
						   &run->stat->tce_hard_table);
		if (!iommu_user_can(tbl, KVMPPC_TCE_MODE) ||
		    iommu_user_is_crowded(tbl, KVMPPC_TCE_MODE))
			return kvmppc_tce_hard(&run->stat->tce_hard_table);

		parts = 1UL << kvmppc_tce_parts_shift(stt, tbl);
		if (parts > KVMPPC_TCE_PARTS)
			return kvmppc_tce_hopeless(vcpu,
						   &run->stat->tce_hard_count);
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
	if (unlikely(foreign > IOMMU_USER_PIECE))
		return kvmppc_tce_hopeless(vcpu, &run->stat->tce_hard_count);

	run->at_once = foreign ? IOMMU_USER_FOREIGN : IOMMU_USER_PIECE;
	way = READ_ONCE(stt->way);
	/* A list that the hypervisor is too busy for keeps lines locked for some time */
	if (!virt && n && (way != KVMPPC_TCE_AT_ONCE || (lists && n > 1) ||
			   n * foreign > IOMMU_USER_FOREIGN))
		return kvmppc_tce_hard(&run->stat->tce_hard_count);
	if (n && way == KVMPPC_TCE_NEITHER)
		return H_BUSY;
	/* A binding that has ended is seen beside one that was not to be with it */
	if (n && way == KVMPPC_TCE_AT_ONCE &&
	    (work > IOMMU_USER_PIECE || foreign > IOMMU_USER_FOREIGN))
		return virt ? H_BUSY : kvmppc_tce_hard(&run->stat->tce_hard_count);

	run->in_pieces = way == KVMPPC_TCE_IN_PIECES;
	run->flat = run->nr && work == run->nr && !run->in_pieces;
	run->simple = work == 1 && !run->in_pieces;
	run->work = max(work, 1UL);
	iommu_user_begin(&run->batch, &vcpu->arch.tce_reader);
	return H_SUCCESS;
}

/* Invalidate what was changed, then drop the counts of what was replaced */
static __always_inline void kvmppc_tce_flush(struct kvmppc_tce_run *run)
{
	unsigned long n = run->idx - run->first;
	unsigned int t;

	for (t = 0; n && t < run->nr; ++t) {
		struct iommu_table *tbl = run->pos[t].tbl;

		iommu_user_kill(tbl,
				kvmppc_tce_entry(run->stt, tbl, run->first),
				n << kvmppc_tce_parts_shift(run->stt, tbl),
				KVMPPC_TCE_MODE);
		run->stat->tce_invalidations++;
	}

	if (run->nr)
		iommu_user_put(&run->batch);
	run->mem.limit = 0;
	run->first = run->idx;
}

static noinline __maybe_unused struct kvm_memory_slot *
kvmppc_tce_search_slot(struct kvm_memslots *slots, gfn_t gfn)
{
	return __gfn_to_memslot(slots, gfn);
}

/* The memslot of @gfn, most often the one met last; NULL if not and no @search */
static __always_inline struct kvm_memory_slot *
kvmppc_tce_slot(struct kvm *kvm, gfn_t gfn, const bool search)
{
	/* kvm->srcu is held, but lockdep cannot be asked everywhere */
	struct kvm_memslots *slots = rcu_dereference_raw(kvm->memslots[0]);
	struct kvm_memory_slot *slot;

	slot = (void *)atomic_long_read(&slots->last_used_slot);
	if (likely(slot && gfn - slot->base_gfn < slot->npages))
		return slot;

	return search ? kvmppc_tce_search_slot(slots, gfn) : NULL;
}

/*
 * User address of the page that @tce names.  All of it must be in one memslot, and not
 * in a read-only one if @tce lets the device write.  @last is the memslot met last, or
 * NULL; for @search see kvmppc_tce_slot().
 */
static __always_inline bool kvmppc_tce_to_ua(struct kvm *kvm,
					     struct kvm_memory_slot **last,
					     u64 tce, unsigned long size,
					     unsigned long *ua,
					     const bool search)
{
	unsigned long gpa = tce & ~(u64)IOMMU_USER_PERM;
	struct kvm_memory_slot *slot = *last;
	unsigned long off;

	if (unlikely(gpa & (size - 1)))
		return false;

	if (!slot || (gpa >> PAGE_SHIFT) - slot->base_gfn >= slot->npages) {
		slot = kvmppc_tce_slot(kvm, gpa >> PAGE_SHIFT, search);
		if (!slot)
			return false;
		*last = slot;
	}

	if (unlikely(slot->flags & (KVM_MEMSLOT_INVALID | KVM_MEM_READONLY)) &&
	    (slot->flags & KVM_MEMSLOT_INVALID || tce & TCE_PCI_WRITE))
		return false;

	/* Memslots are made of kernel pages */
	off = gpa - (slot->base_gfn << PAGE_SHIFT);
	off = array_index_nospec(off, slot->npages << PAGE_SHIFT);
	if (size > PAGE_SIZE && size > (slot->npages << PAGE_SHIFT) - off)
		return false;

	*ua = slot->userspace_addr + off;
	return true;
}

/* The shadow word of run->idx; NULL when its page is not there */
static __always_inline u64 *kvmppc_tce_shadow(struct kvmppc_tce_run *run)
{
	u64 *page;

	if (likely(run->shadow_left && run->shadow))
		return run->shadow;

	/* Pairs with smp_store_release() in kvmppc_tce_shadow_alloc() */
	page = READ_ONCE(run->stt->pages[run->idx / TCES_PER_PAGE]);
	run->shadow = page ? page + run->idx % TCES_PER_PAGE : NULL;
	run->shadow_left = TCES_PER_PAGE - run->idx % TCES_PER_PAGE;
	return run->shadow;
}

static __always_inline void kvmppc_tce_move(struct kvmppc_tce_run *run,
					    unsigned long n)
{
	run->idx += n;
	if (run->shadow_left) {
		run->shadow_left -= n;
		if (run->shadow)
			run->shadow += n;
	}
}

static __always_inline void kvmppc_tce_next(struct kvmppc_tce_run *run)
{
	kvmppc_tce_move(run, 1);
}

/*
 * What cannot be done in every tier; kvmppc_tce_shadow_alloc() and
 * iommu_user_populate() sleep or allocate and belong to virtual mode.
 */
long kvmppc_tce_shadow_alloc(struct kvmppc_spapr_tce_table *stt,
			     unsigned long idx);

static __always_inline long
kvmppc_tce_need_shadow(struct kvmppc_tce_run *run)
{
	if (likely(kvmppc_tce_shadow(run)))
		return H_SUCCESS;
	if (KVMPPC_TCE_MODE != IOMMU_USER_VIRT)
		return kvmppc_tce_hard(&run->stat->tce_hard_shadow);
	return kvmppc_tce_shadow_alloc(run->stt, run->idx);
}

/* Make sure that the level of @entry exists in both views of pos->tbl */
static __always_inline long
kvmppc_tce_need_level(struct kvmppc_tce_run *run, struct iommu_user_pos *pos,
		      unsigned long entry)
{
	if (likely(iommu_user_seek(pos, entry)))
		return H_SUCCESS;
	if (KVMPPC_TCE_MODE != IOMMU_USER_VIRT)
		return kvmppc_tce_hard(&run->stat->tce_hard_level);
	if (iommu_user_populate(pos->tbl, entry) ||
	    !iommu_user_seek(pos, entry))
		return H_NOT_ENOUGH_RESOURCES;
	return H_SUCCESS;
}

/* The places of all parts of run->idx; on return each run->pos is at the first */
static __always_inline long
kvmppc_tce_need_levels(struct kvmppc_tce_run *run)
{
	unsigned int t;
	long ret;

	for (t = 0; t < run->nr; ++t) {
		struct iommu_user_pos *pos = &run->pos[t];
		unsigned long first = kvmppc_tce_entry(run->stt, pos->tbl,
						       run->idx);
		unsigned long end = kvmppc_tce_entry(run->stt, pos->tbl,
						     run->idx + 1);
		unsigned long entry;

		for (entry = first; entry < end; entry += pos->left) {
			ret = kvmppc_tce_need_level(run, pos, entry);
			if (ret != H_SUCCESS)
				return ret;
		}
		iommu_user_seek(pos, first);
	}
	return H_SUCCESS;
}

/* Have @mem be @bytes of @slot from guest address @base on, for pages of @size */
static __always_inline void
kvmppc_tce_set_mem(struct kvmppc_tce_mem *mem, const struct kvm_memory_slot *slot,
		   unsigned long base, unsigned long bytes, unsigned long size)
{
	mem->base = base;
	mem->mask = size - 1;
	if (!(slot->flags & KVM_MEM_READONLY))
		mem->mask &= ~(u64)TCE_PCI_WRITE;
	/* The permissions of a TCE may stand in the low bits */
	mem->limit = bytes - size + IOMMU_USER_PERM + 1;
}

/*
 * Remember the memory around the page at @ua, which is in run->slot and @ref, for
 * kvmppc_tce_map_span().
 */
static __always_inline void
kvmppc_tce_keep_mem(struct kvmppc_tce_run *run, unsigned long ua,
		    struct iommu_user_ref *ref)
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
 * batch holds on its region, enough for all parts.
 */
static __always_inline long
kvmppc_tce_target(struct kvmppc_tce_run *run, u64 tce, unsigned long *ua,
		  struct iommu_user_ref **pref)
{
	const unsigned long size = 1UL << run->stt->page_shift;
	const unsigned long work = run->work;
	struct iommu_user_ref *ref;

	if (unlikely(!kvmppc_tce_to_ua(run->stt->kvm, &run->slot, tce, size,
				       ua, true)))
		return kvmppc_tce_hard(&run->stat->tce_hard_memory);
	if (!run->nr)
		return H_SUCCESS;

	ref = iommu_user_reserve(&run->batch, *ua, size, work,
				 (run->end - run->idx - 1) * work,
				 KVMPPC_TCE_MODE);
	if (unlikely(!ref))
		return kvmppc_tce_hard(&run->stat->tce_hard_memory);

	if (run->flat && run->end - run->idx > 1)
		kvmppc_tce_keep_mem(run, *ua, ref);

	*pref = ref;
	return H_SUCCESS;
}

/* Does the next entry read back as @tce? */
static __always_inline bool kvmppc_tce_reads(struct kvmppc_tce_run *run, u64 tce)
{
	u64 *shadow = kvmppc_tce_shadow(run);

	return (shadow ? READ_ONCE(*shadow) : 0) == tce;
}

static __always_inline void kvmppc_tce_set_shadow(struct kvmppc_tce_run *run,
						  u64 tce)
{
	u64 *shadow;

	/*
	 * If it was absent, the last writer of the entry may have brought it:
	 * pairs with the release in iommu_user_unlock_line().
	 */
	if (unlikely(!run->shadow_left || !run->shadow)) {
		run->shadow_left = 0;
		smp_acquire__after_ctrl_dep();
	}
	shadow = kvmppc_tce_shadow(run);
	if (shadow)
		WRITE_ONCE(*shadow, tce);
}

/* A TCE of a list: in guest memory, or in the copy that virtual mode makes */
static __always_inline u64 kvmppc_tce_fetch(const __be64 *word)
{
	if (KVMPPC_TCE_MODE == IOMMU_USER_EARLY)
		return iommu_user_fetch(word);
	/* With the MMU off, the CPU cannot go on after a machine check at this load */
	return iommu_user_load(word);
}

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
	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		return H_LONG_BUSY_ORDER_1_MSEC;
	return kvmppc_tce_hard(&run->stat->tce_hard_busy);
}

/* An entry that is one entry of one table */
static __always_inline long
kvmppc_tce_set_one(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		   struct iommu_user_ref *ref)
{
	const u64 perm = tce & IOMMU_USER_PERM;
	struct iommu_user_pos *pos = &run->pos[0];
	u64 old, new = 0, user = 0;
	long ret = H_SUCCESS;
	int error;

	if (unlikely(!pos->left))
		iommu_user_seek(pos, kvmppc_tce_entry(run->stt, pos->tbl,
						      run->idx));

	if (unlikely(!pos->user)) {
		if (!perm && kvmppc_tce_reads(run, tce))
			goto next;
		ret = kvmppc_tce_need_level(run, pos, pos->entry);
		if (ret != H_SUCCESS)
			return ret;
	}

	if (perm) {
		new = iommu_user_tce(ref->mem, pos->tbl, ua, perm);
		if (unlikely(!new))
			return kvmppc_tce_hard(&run->stat->tce_hard_memory);
		user = ua | IOMMU_USER_SET;
	}

	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_disable();

	if (unlikely(!iommu_user_lock(pos->user, &old,
				      KVMPPC_TCE_MODE == IOMMU_USER_VIRT)))
		return kvmppc_tce_hard(&run->stat->tce_hard_busy);

	error = iommu_user_set(&run->batch, pos, new, old, KVMPPC_TCE_MODE);
	if (unlikely(error)) {
		user = old;
		ret = kvmppc_tce_refused(run, error);
	} else {
		if (perm)
			ref->credit--;
		kvmppc_tce_set_shadow(run, tce);
	}
	iommu_user_unlock(pos->user, user);

	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_enable();

	if (unlikely(ret != H_SUCCESS))
		return ret;
next:
	iommu_user_next(pos);
	kvmppc_tce_next(run);
	return H_SUCCESS;
}

/* Do up to @n entries at @pos, which have one lock, lead nowhere? */
static __always_inline bool kvmppc_tce_line_is_clear(const struct iommu_user_pos *pos,
						     unsigned long n)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
	u64 *words, old = 0;
	unsigned long i;

	if (virt)
		preempt_disable();
	if (iommu_user_lock_line(pos->user, &words, virt)) {
		for (i = 0; i < n; ++i)
			old |= iommu_user_read(words + i);
		iommu_user_unlock_line(pos->user);
	} else {
		old = IOMMU_USER_LOCK;
	}
	if (virt)
		preempt_enable();
	return !old;
}

/* Do the parts of run->idx in a table lead nowhere?  *@absent is set if one has no level */
static __always_inline bool
kvmppc_tce_table_is_clear(const struct kvmppc_tce_run *run, struct iommu_table *tbl,
			  bool *absent)
{
	unsigned long entry = kvmppc_tce_entry(run->stt, tbl, run->idx);
	unsigned long end = kvmppc_tce_entry(run->stt, tbl, run->idx + 1);
	struct iommu_user_pos pos = { .tbl = tbl };
	unsigned long n;

	for (; entry < end; entry += n) {
		if (!iommu_user_seek(&pos, entry)) {
			*absent = true;
			n = pos.left;
			continue;
		}
		n = min3(end - entry, pos.left, iommu_user_line_left(pos.user));
		if (!kvmppc_tce_line_is_clear(&pos, n))
			return false;
	}
	return true;
}

/*
 * Do all parts of run->idx lead nowhere, with @tce in the shadow already, some of them
 * because they have no level?  To clear them no level has to be allocated.  Where tables
 * have one level, nobody asks: the lines are locked for the change anyway.
 */
static __always_inline bool kvmppc_tce_is_absent(struct kvmppc_tce_run *run, u64 tce)
{
	bool levels = false, absent = false;
	unsigned int t;

	for (t = 0; t < run->nr; ++t)
		levels |= run->pos[t].tbl->it_indirect_levels;

	for (t = 0; levels && t < run->nr; ++t)
		if (!kvmppc_tce_table_is_clear(run, run->pos[t].tbl, &absent))
			return false;

	return absent && kvmppc_tce_reads(run, tce);
}

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
	struct iommu_user_pos pos;
};

/* The first part in table part->t; all levels are there */
static __always_inline void
kvmppc_tce_first_part(const struct kvmppc_tce_run *run,
		      struct kvmppc_tce_part *part)
{
	struct iommu_table *tbl = run->pos[part->t].tbl;

	part->end = kvmppc_tce_entry(run->stt, tbl, run->idx + 1);
	part->ua = 0;
	part->pos.tbl = tbl;
	iommu_user_seek(&part->pos, kvmppc_tce_entry(run->stt, tbl, run->idx));
}

/* Locking order: by table, and by entry */
static __always_inline void
kvmppc_tce_next_part(const struct kvmppc_tce_run *run,
		     struct kvmppc_tce_part *part)
{
	struct iommu_user_pos *pos = &part->pos;

	iommu_user_next(pos);
	part->ua += 1UL << pos->tbl->it_page_shift;
	if (pos->entry == part->end) {
		if (++part->t < run->nr)
			kvmppc_tce_first_part(run, part);
	} else if (!pos->left) {
		iommu_user_seek(pos, pos->entry);
	}
}

/* Part @i of some: has it another lock than the one before it? */
static __always_inline bool
kvmppc_tce_begins_line(const struct kvmppc_tce_part *part, unsigned long i)
{
	return !i || !part->ua || iommu_user_has_lock(part->pos.user);
}

/* Unlock the lines of @n parts */
static __always_inline void
kvmppc_tce_unlock_parts(const struct kvmppc_tce_run *run,
			struct kvmppc_tce_part part, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; ++i, kvmppc_tce_next_part(run, &part))
		if (kvmppc_tce_begins_line(&part, i))
			iommu_user_unlock_line(part.pos.user);
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
		if (!kvmppc_tce_begins_line(&part, i))
			continue;
		if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT) {
			iommu_user_lock_line(part.pos.user, &word, true);
		} else if (!iommu_user_trylock(part.pos.user, &word)) {
			kvmppc_tce_unlock_parts(run, *first, i);
			return false;
		}
	}
	/* Their words are read one by one now: pairs with iommu_user_unlock_line() */
	smp_acquire__after_ctrl_dep();
	return true;
}

/*
 * Do @n parts, whose lines are locked, lead to more regions than the batch has room for?  Each
 * would take an invalidation of its own, which is not for guest context.
 */
static __always_inline bool
kvmppc_tce_crowded(struct kvmppc_tce_run *run, struct kvmppc_tce_part part,
		   unsigned long n)
{
	unsigned int room = IOMMU_USER_REFS - run->batch.nr;
	struct mm_iommu_table_group_mem_t *mem = NULL;

	for (; n; --n, kvmppc_tce_next_part(run, &part)) {
		const u64 old = READ_ONCE(*part.pos.user);
		const unsigned long ua = old & IOMMU_USER_UA;

		if (!(old & IOMMU_USER_SET) ||
		    (mem && ua - mem->ua < mem->entries << PAGE_SHIFT) ||
		    iommu_user_ref_find(&run->batch, ua, 1))
			continue;
		if (!room--)
			return true;
		mem = iommu_user_region(run->batch.reader, ua);
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
		     struct iommu_user_ref *ref)
{
	int error = 0, ret;

	for (; n && !(error && perm); --n, kvmppc_tce_next_part(run, &part)) {
		u64 old = iommu_user_read(part.pos.user);
		u64 user = 0, new = 0;

		if (perm) {
			new = iommu_user_tce(ref->mem, part.pos.tbl,
					     ua + part.ua, perm);
			user = (ua + part.ua) | IOMMU_USER_SET;
		}
		ret = iommu_user_set(&run->batch, &part.pos, new, old,
				     KVMPPC_TCE_MODE);
		if (ret) {
			error = ret;
			continue;
		}
		if (perm)
			ref->credit--;
		iommu_user_change(part.pos.user, user);
	}

	return error;
}

/*
 * What was gone of run->idx, in tables @t to @last, that the batch had no room for: one
 * invalidation for all
 */
static __always_inline void kvmppc_tce_put_gone(struct kvmppc_tce_run *run,
						unsigned int t, unsigned int last)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
	struct iommu_user_batch *batch = &run->batch;

	if (!virt || !batch->gone || !batch->nr_gone)
		return;

	for (; t < run->nr && t <= last; ++t) {
		struct iommu_table *tbl = run->pos[t].tbl;

		iommu_user_kill(tbl, kvmppc_tce_entry(run->stt, tbl, run->idx),
				1UL << kvmppc_tce_parts_shift(run->stt, tbl),
				KVMPPC_TCE_MODE);
		run->stat->tce_invalidations++;
	}
	while (batch->nr_gone)
		iommu_user_drop(batch->reader, NULL, batch->gone[--batch->nr_gone]);
}

/* An entry of parts that can be changed at once */
static __always_inline long
kvmppc_tce_set_at_once(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		       struct iommu_user_ref *ref)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
	const u64 perm = tce & IOMMU_USER_PERM;
	struct kvmppc_tce_part first = { .t = 0 };
	long ret = H_SUCCESS;
	int error;

	kvmppc_tce_first_part(run, &first);
	if (virt)
		preempt_disable();

	if (!kvmppc_tce_lock_parts(run, &first, run->work))
		return kvmppc_tce_hard(&run->stat->tce_hard_busy);
	if (!virt && kvmppc_tce_crowded(run, first, run->work)) {
		kvmppc_tce_unlock_parts(run, first, run->work);
		return kvmppc_tce_hard(&run->stat->tce_hard_count);
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
	kvmppc_tce_set_shadow(run, tce);
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
		      struct iommu_user_ref *ref)
{
	struct kvmppc_tce_part first = { .t = 0 };
	unsigned long left, n;
	unsigned int t;
	int error = 0, ret;

	kvmppc_tce_first_part(run, &first);
	for (left = run->work; left && !(error && perm);) {
		n = min(left, run->at_once);
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
			 struct iommu_user_ref *ref)
{
	long ret = H_SUCCESS;
	int error;

	/* Do not wait in a section: kvmppc_tce_virt() waits outside of it */
	if (!mutex_trylock(&run->stt->large_lock))
		return H_BUSY;
	error = kvmppc_tce_set_pieces(run, tce & IOMMU_USER_PERM, ua, ref);
	if (error) {
		kvmppc_tce_set_pieces(run, 0, 0, NULL);
		tce = 0;
		ret = kvmppc_tce_refused(run, error);
	}
	kvmppc_tce_set_shadow(run, tce);
	mutex_unlock(&run->stt->large_lock);
	return ret;
}

/* An entry with several parts */
static noinline __maybe_unused long
kvmppc_tce_set_many(struct kvmppc_tce_run *run, u64 tce, unsigned long ua,
		    struct iommu_user_ref *ref)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
	const u64 perm = tce & IOMMU_USER_PERM;
	unsigned int t;
	long ret = H_SUCCESS;

	if (!perm && kvmppc_tce_is_absent(run, tce))
		goto next;

	for (t = 0; perm && t < run->nr; ++t)
		if (!iommu_user_tce(ref->mem, run->pos[t].tbl, ua, perm))
			return kvmppc_tce_hard(&run->stat->tce_hard_memory);

	ret = kvmppc_tce_need_levels(run);
	if (ret != H_SUCCESS)
		return ret;

	/* Without it the batch invalidates for each entry that it has no room for */
	if (virt && run->work > IOMMU_USER_REFS) {
		run->batch.nr_gone = 0;
		run->batch.gone = kmalloc_array(run->in_pieces ? run->at_once : run->work,
						sizeof(u64), GFP_NOWAIT);
	}
	if (virt && run->in_pieces)
		ret = kvmppc_tce_set_in_pieces(run, tce, ua, ref);
	else
		ret = kvmppc_tce_set_at_once(run, tce, ua, ref);
	if (virt)
		kfree(run->batch.gone);
	run->batch.gone = NULL;
	if (ret == H_TOO_HARD || kvmppc_tce_is_busy(ret))
		return ret;

next:
	kvmppc_tce_next(run);
	return ret;
}

/*
 * Give the next entry of the run a TCE.  On an answer other than H_SUCCESS the
 * entry is as it was, unless a hypervisor below refused (H_HARDWARE) or was busy.
 */
static __always_inline long kvmppc_tce_step(struct kvmppc_tce_run *run, u64 tce)
{
	const bool virt = KVMPPC_TCE_MODE == IOMMU_USER_VIRT;
	struct iommu_user_ref *ref = NULL;
	unsigned long ua = 0;
	long ret;

	if (iommu_user_full(&run->batch, run->nr)) {
		if (!virt && !run->flushes--)
			return kvmppc_tce_hard(&run->stat->tce_hard_count);
		kvmppc_tce_flush(run);
	}

	if (tce & IOMMU_USER_PERM) {
		ret = kvmppc_tce_target(run, tce, &ua, &ref);
		if (unlikely(ret != H_SUCCESS))
			return ret;
	}

	/* A shadow page that is not there says 0 */
	if (tce) {
		ret = kvmppc_tce_need_shadow(run);
		if (unlikely(ret != H_SUCCESS))
			return ret;
	}

	if (likely(run->simple))
		return kvmppc_tce_set_one(run, tce, ua, ref);
	if (run->nr)
		return kvmppc_tce_set_many(run, tce, ua, ref);

	kvmppc_tce_set_shadow(run, tce);
	kvmppc_tce_next(run);
	return H_SUCCESS;
}

/*
 * Entries from run->idx on for which run->pos and run->shadow serve.  None before
 * the first step, or in a table of several parts.
 */
static __always_inline unsigned long
kvmppc_tce_span(const struct kvmppc_tce_run *run, const __be64 *list)
{
	if (!run->simple || !run->shadow_left || !run->pos[0].user)
		return 0;
	/* An entry that stays clear needs no shadow page; one that is mapped does */
	if (list && !run->shadow)
		return 0;

	return min3(run->end - run->idx, run->shadow_left, run->pos[0].left);
}

/*
 * The same for several tables.  Their places are looked up again, as a step that found
 * all of them clear has not moved there.  The shadow page must exist, too.
 */
static noinline __maybe_unused unsigned long
kvmppc_tce_span_several(struct kvmppc_tce_run *run)
{
	unsigned long n = run->end - run->idx;
	unsigned int t;

	if (!run->flat || !n || !kvmppc_tce_shadow(run))
		return 0;

	n = min(n, run->shadow_left);
	for (t = 0; t < run->nr; ++t) {
		struct iommu_user_pos *pos = &run->pos[t];

		iommu_user_seek(pos, kvmppc_tce_entry(run->stt, pos->tbl,
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
	iommu_user_move(&run->pos[0], n);
	kvmppc_tce_move(run, n);
}

/* Unlock the line of the entry at run->pos + @i in the first @nr tables */
static __always_inline void kvmppc_tce_unlock_lines(const struct kvmppc_tce_run *run,
						    unsigned long i, unsigned int nr)
{
	while (nr--)
		iommu_user_unlock_line(run->pos[nr].user + i);
}

/*
 * Lock the line of the entry at run->pos + @i in @nr tables.  On failure return false
 * with no table locked.  The first table is tried only, in every mode: kvmppc_tce_step()
 * is going to wait.  Virtual mode waits for the others.
 */
static __always_inline bool
kvmppc_tce_lock_lines(const struct kvmppc_tce_run *run, unsigned long i,
		      unsigned int nr, u64 **words)
{
	unsigned int t;

	if (!iommu_user_trylock(run->pos[0].user + i, &words[0]))
		return false;

	for (t = 1; t < nr; ++t) {
		u64 *user = run->pos[t].user + i;

		if (likely(iommu_user_trylock(user, &words[t])))
			continue;
		if (KVMPPC_TCE_MODE != IOMMU_USER_VIRT) {
			kvmppc_tce_unlock_lines(run, i, t);
			return false;
		}
		iommu_user_lock_line(user, &words[t], true);
	}
	return true;
}

/*
 * Change entry @i of a span in the other tables; @at is its place behind @words.  LOCK is
 * part of @user if the entry is the first one of its line, which it is in all tables or
 * in none, as they begin at the same entry.
 */
static __always_inline void kvmppc_tce_set_others(struct kvmppc_tce_run *run,
						  unsigned long i, unsigned long at,
						  unsigned int nr, u64 tce,
						  u64 user, u64 **words)
{
	unsigned int t;

	for (t = 1; t < nr; ++t) {
		struct iommu_user_pos *pos = &run->pos[t];
		u64 *word = words[t] + at;
		const u64 old = iommu_user_read(word);

		/* The hardware view is in memory: nobody refuses */
		iommu_user_store(pos->hw + i, tce);
		iommu_user_gone(&run->batch, pos->tbl, pos->entry + i, old,
				KVMPPC_TCE_MODE);
		WRITE_ONCE(*word, user);
	}
}

/*
 * Have a hypervisor change the @n entries of a span, whose lines are locked, and unlock
 * them.  @ref as for iommu_user_put_list(); those that are to lead nowhere read back
 * as @tce.
 */
static __always_inline long
kvmppc_tce_put_span(struct kvmppc_tce_run *run, struct iommu_user_ref *ref,
		    struct iommu_user_list *out, unsigned long n, u64 tce)
{
	struct iommu_user_pos *pos = &run->pos[0];
	unsigned long i;
	int ret;

	if (!n)
		return H_SUCCESS;

	ret = iommu_user_put_list(&run->batch, ref, pos, out, n);
	for (i = 0; i < n; ++i) {
		const u64 user = out->user[i];

		if (!user)
			WRITE_ONCE(run->shadow[i], tce);
		else if (ref)
			WRITE_ONCE(run->shadow[i],
				   ((user & IOMMU_USER_UA) - run->mem.to_user) |
				   (be64_to_cpu(out->tce[i]) & IOMMU_USER_PERM));
		iommu_user_change(pos->user + i, user);
	}
	iommu_user_unlock_lines(pos->user, n);
	if (ret)
		return kvmppc_tce_refused(run, ret);

	*(ref ? &run->stat->tce_mapped : &run->stat->tce_cleared) += n;
	kvmppc_tce_span_end(run, n);
	return H_SUCCESS;
}

/*
 * Install TCEs from @list in entries @i to @end of a span, whose lines are locked.
 * *@replaced counts those that led to the region already.  Returns where it ended.
 */
static __always_inline unsigned long
kvmppc_tce_map_line(struct kvmppc_tce_run *run, const struct kvmppc_tce_mem *mem,
		    const __be64 *list, unsigned long i, unsigned long end,
		    const unsigned int nr, struct iommu_user_list *out,
		    u64 **words, unsigned long *replaced)
{
	__be64 *hw = out ? out->tce : run->pos[0].hw;
	const unsigned long at = i;
	u64 *user = words[0] - i;
	/* What turns a TCE without permissions into a user word; the lock stays */
	u64 to_word = mem->to_user + IOMMU_USER_SET + iommu_user_kept_lock(words[0]);
	/* A lock is less than a page: it makes no difference for whether a word leads there */
	const u64 first = mem->ref->ua | IOMMU_USER_SET, size = mem->ref->size;
	const unsigned long base = mem->base + TCE_PCI_READ;
	u64 *shadow = run->shadow;

	for (; i < end; ++i) {
		u64 tce = kvmppc_tce_fetch(list + i);
		unsigned long off = tce - base;
		u64 old, new, word, hpa;
		u64 *page;

		if (off & mem->mask || off >= mem->limit)
			break;
		if (nr > 1 && iommu_user_full(&run->batch, nr))
			break;

		old = READ_ONCE(user[i]);
		if (old - first < size)
			++*replaced;
		else if (unlikely(old & ~(u64)IOMMU_USER_LOCK))
			break;

		page = mem->page + (off >> PAGE_SHIFT);
		hpa = READ_ONCE(*page);
		if (unlikely(tce & ~hpa & MM_IOMMU_HPA_DIRTY))
			WRITE_ONCE(*page, hpa | MM_IOMMU_HPA_DIRTY);

		word = (hpa & PAGE_MASK) | (tce & ~PAGE_MASK);
		new = (tce & ~(u64)IOMMU_USER_PERM) + to_word;
		iommu_user_store(hw + i, word);
		if (out) {
			out->user[i] = new & ~(u64)IOMMU_USER_LOCK;
		} else {
			/* While all tables' lines are locked */
			WRITE_ONCE(shadow[i], tce);
			if (nr > 1)
				kvmppc_tce_set_others(run, i, i - at, nr, word, new,
						      words);
			WRITE_ONCE(user[i], new);
		}
		to_word = mem->to_user + IOMMU_USER_SET;
	}
	return i;
}

/*
 * Install up to @n TCEs from @list for as long as each leads to run->mem, and
 * replaces in the first table what led nowhere or to the same region.  An entry
 * where this ends is not changed; it is read, and checked, anew.  @out is the list
 * for the hypervisor that keeps the table, or NULL.
 */
static __always_inline long
kvmppc_tce_map_span(struct kvmppc_tce_run *run, const __be64 *list,
		    unsigned long n, const bool several,
		    struct iommu_user_list *out)
{
	const struct kvmppc_tce_mem mem = run->mem;
	const unsigned int nr = several ? run->nr : 1;
	u64 *words[KVMPPC_TCE_TABLES] __uninitialized;
	struct iommu_user_ref *ref = mem.ref;
	unsigned long i = 0, at, end = 0, replaced = 0;

	BUILD_BUG_ON(MM_IOMMU_HPA_DIRTY != TCE_PCI_WRITE);

	/* The last credit holds the region */
	n = min(n, (ref->credit - 1) / nr);
	while (i == end && i < n) {
		at = i;
		if (!kvmppc_tce_lock_lines(run, at, nr, words))
			break;
		end = min(n, at + iommu_user_line_left(run->pos[0].user + at));
		i = kvmppc_tce_map_line(run, &mem, list, at, end, nr, out, words,
					&replaced);
		if (!out || i == at)
			kvmppc_tce_unlock_lines(run, at, nr);
	}

	if (out)
		return kvmppc_tce_put_span(run, ref, out, i, 0);

	run->stat->tce_mapped += i;
	ref->credit -= i * nr;
	ref->removed += replaced;
	kvmppc_tce_span_end(run, i);
	return H_SUCCESS;
}

/*
 * Make entries @i to @end of a span lead nowhere and read back as @tce; their lines are
 * locked.  @listed: what a hypervisor does.  *@removed counts those that led to the
 * region of @ref.  Returns where it ended.
 */
static __always_inline unsigned long
kvmppc_tce_clear_line(struct kvmppc_tce_run *run, const struct iommu_user_ref *ref,
		      u64 tce, unsigned long i, unsigned long end,
		      const unsigned int nr, bool listed, u64 **words,
		      unsigned long *removed)
{
	__be64 *hw = run->pos[0].hw;
	const u64 first = ref->ua | IOMMU_USER_SET, size = ref->size;
	const unsigned long at = i;
	u64 *user = words[0] - i;
	u64 *shadow = run->shadow;
	u64 lock = iommu_user_kept_lock(words[0]);

	for (; i < end; ++i) {
		const u64 old = READ_ONCE(user[i]);

		if (nr > 1 && iommu_user_full(&run->batch, nr))
			break;
		/* What was mapped has a shadow; here it was looked for before */
		if (old - first < size && shadow && (listed || hw)) {
			++*removed;
			if (!listed) {
				iommu_user_store(hw + i, 0);
				WRITE_ONCE(user[i], lock);
			}
		} else if (unlikely(old & ~(u64)IOMMU_USER_LOCK)) {
			break;
		}
		if (!listed) {
			if (shadow)
				WRITE_ONCE(shadow[i], tce);
			if (nr > 1)
				kvmppc_tce_set_others(run, i, i - at, nr, 0, lock, words);
		}
		lock = 0;
	}
	return i;
}

/*
 * Make up to @n entries lead nowhere and read back as @tce, for as long as they
 * lead nowhere, or to the region met last, in the first table.  An entry where this ends
 * is not changed.  @out as for kvmppc_tce_map_span().
 */
static __always_inline long
kvmppc_tce_clear_span(struct kvmppc_tce_run *run, u64 tce, unsigned long n,
		      const bool several, struct iommu_user_list *out)
{
	const unsigned int nr = several ? run->nr : 1;
	u64 *words[KVMPPC_TCE_TABLES] __uninitialized;
	/* kvmppc_tce_set_others() may change which region was met last */
	struct iommu_user_ref *ref = run->batch.cur;
	/*
	 * A hypervisor is not asked for entries that lead nowhere before the first.  This
	 * look without the lock is a guess: the step tries again.
	 */
	const bool listed = out && run->shadow && READ_ONCE(run->pos[0].user[0]);
	unsigned long i = 0, at, end = 0, removed = 0;

	/* Without a shadow, all TCEs are 0 */
	if (!run->shadow && tce)
		return H_SUCCESS;

	while (i == end && i < n) {
		at = i;
		if (!kvmppc_tce_lock_lines(run, at, nr, words))
			break;
		end = min(n, at + iommu_user_line_left(run->pos[0].user + at));
		i = kvmppc_tce_clear_line(run, ref, tce, at, end, nr, listed, words,
					  &removed);
		if (!listed || i == at)
			kvmppc_tce_unlock_lines(run, at, nr);
	}

	if (listed)
		return kvmppc_tce_put_span(run, NULL, out, i, tce);

	run->stat->tce_cleared += i;
	ref->removed += removed;
	kvmppc_tce_span_end(run, i);
	return H_SUCCESS;
}

/* Each span function once for one table and once for several */
static noinline __maybe_unused void
kvmppc_tce_map_one(struct kvmppc_tce_run *run, const __be64 *list,
		   unsigned long n)
{
	kvmppc_tce_map_span(run, list, n, false, NULL);
}

static noinline __maybe_unused void
kvmppc_tce_clear_one(struct kvmppc_tce_run *run, u64 tce, unsigned long n)
{
	kvmppc_tce_clear_span(run, tce, n, false, NULL);
}

static noinline __maybe_unused void
kvmppc_tce_map_several(struct kvmppc_tce_run *run, const __be64 *list,
		       unsigned long n)
{
	kvmppc_tce_map_span(run, list, n, true, NULL);
}

static noinline __maybe_unused void
kvmppc_tce_clear_several(struct kvmppc_tce_run *run, u64 tce, unsigned long n)
{
	kvmppc_tce_clear_span(run, tce, n, true, NULL);
}

/* And for a table that a hypervisor keeps, if it takes lists */
static noinline __maybe_unused long
kvmppc_tce_list_span(struct kvmppc_tce_run *run, const __be64 *list, u64 tce,
		     unsigned long n)
{
	struct iommu_user_list *out = iommu_user_list(run->pos[0].tbl);

	if (!out || KVMPPC_TCE_MODE != IOMMU_USER_VIRT)
		return H_SUCCESS;
	if (list)
		return kvmppc_tce_map_span(run, list, n, false, out);
	return kvmppc_tce_clear_span(run, tce, n, false, out);
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
	u64 *shadow = run->shadow;
	unsigned long i, mapped = 0, off, ua;
	struct kvmppc_tce_mem mem = {};

	for (i = 0; !list && i < n; ++i)
		WRITE_ONCE(shadow[i], tce);

	kvmppc_tce_slot_mem(run, &mem);
	for (; i < n; ++i) {
		tce = kvmppc_tce_fetch(list + i);
		off = tce - mem.base;
		if (off < mem.limit && (tce & mem.mask) == TCE_PCI_READ) {
			mapped++;
		} else if (tce & IOMMU_USER_PERM) {
			if (!kvmppc_tce_to_ua(run->stt->kvm, &run->slot, tce,
					      size, &ua, false))
				break;
			kvmppc_tce_slot_mem(run, &mem);
			mapped++;
		}
		WRITE_ONCE(shadow[i], tce);
	}

	run->stat->tce_mapped += mapped;
	run->stat->tce_cleared += i - mapped;
	kvmppc_tce_move(run, i);
}

/*
 * Work entries that resemble the one before; @list as in kvmppc_tce_call.  Other than
 * H_SUCCESS as from kvmppc_tce_refused().
 */
static __always_inline long kvmppc_tce_hurry(struct kvmppc_tce_run *run,
					     const __be64 *list, u64 tce)
{
	const bool several = run->nr > 1;
	long ret = H_SUCCESS;
	unsigned long n;

	if (!run->nr) {
		n = min(run->end - run->idx, run->shadow_left);
		if (n && run->shadow)
			kvmppc_tce_write_span(run, list, tce, n);
		return H_SUCCESS;
	}

	n = several ? kvmppc_tce_span_several(run) : kvmppc_tce_span(run, list);
	if (!n || (list && !run->mem.limit))
		return H_SUCCESS;

	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_disable();
	if (unlikely(!run->pos[0].hw) && KVMPPC_TCE_MODE != IOMMU_USER_REAL)
		ret = kvmppc_tce_list_span(run, list, tce, n);
	else if (list && several)
		kvmppc_tce_map_several(run, list, n);
	else if (list)
		kvmppc_tce_map_one(run, list, n);
	else if (several)
		kvmppc_tce_clear_several(run, tce, n);
	else
		kvmppc_tce_clear_one(run, tce, n);
	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_enable();
	return ret;
}

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
	if (KVMPPC_TCE_MODE != IOMMU_USER_VIRT)
		return 0;
	return max(most / run->work, 1UL);
}

/**
 * struct kvmppc_tce_call - the arguments of a hypercall, and how far it is
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN as the guest passed it
 * @ioba: bus address of the next entry, in bytes
 * @n: entries left
 * @in_guest: their TCEs are in a list in guest memory, at
 * @list_gpa: guest address; the rest of the list does not cross a 4K page
 * @list: their TCEs, copied by the caller; NULL when all are @tce
 * @tce: see @list
 * @most: hardware entries that may be changed at once, in all tables
 * @ret: H_PARAMETER when the arguments are wrong whatever the LIOBN is
 * @no_list: set when the list has to be copied
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
	call->most = IOMMU_USER_PIECE;
	call->no_list = false;

	call->ret = H_SUCCESS;
	if (listed && (n > KVMPPC_TCE_LIST_MAX || arg & (SZ_4K - 1)))
		call->ret = H_PARAMETER;
	if (req == H_STUFF_TCE && arg & IOMMU_USER_PERM)
		call->ret = H_PARAMETER;
}

/*
 * Is the page known to be poisoned?  To read it here would be fatal for the host.
 * Virtual mode reads it by its user address, and fails as the guest would.  Real mode
 * cannot look at the page, so it asks whether any page of the host is poisoned.
 */
static __always_inline bool kvmppc_tce_poisoned(u64 hpa)
{
#ifdef CONFIG_MEMORY_FAILURE
	if (KVMPPC_TCE_MODE == IOMMU_USER_REAL)
		return atomic_long_read(&num_poisoned_pages);
	/* A page of hugetlbfs fails as a whole */
	return is_page_hwpoison(pfn_to_page(hpa >> PAGE_SHIFT));
#else
	return false;
#endif
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
	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		return H_TOO_HARD;
	if (!kvmppc_tce_to_ua(call->vcpu->kvm, &run->slot, call->list_gpa,
			      sizeof(**list), &ua, true))
		return kvmppc_tce_hard(&run->stat->tce_hard_list);
	mem = iommu_user_region(run->batch.reader, ua);
	if (!mem || !iommu_user_open_region(mem, KVMPPC_TCE_MODE))
		return kvmppc_tce_hard(&run->stat->tce_hard_list);

	hpa = READ_ONCE(*mm_iommu_page(mem, ua)) & PAGE_MASK;
	if (unlikely(kvmppc_tce_poisoned(hpa)))
		return kvmppc_tce_hard(&run->stat->tce_hard_list);

	*list = __va(hpa | (ua & ~PAGE_MASK));
	call->no_list = false;
	return H_SUCCESS;
}

/* Can kvmppc_tce_put_one() change this table, in every mode that may change it? */
static __always_inline bool
kvmppc_tce_has_one(const struct kvmppc_spapr_tce_table *stt,
		   const struct iommu_table *tbl)
{
	return !tbl->it_indirect_levels &&
	       tbl->it_page_shift == stt->page_shift &&
	       (!tbl->it_base || iommu_user_can(tbl, IOMMU_USER_REAL));
}

/*
 * The hardware word for @tce, whose region is counted for it and stored in @pmem;
 * 0 when that cannot be.
 */
static __always_inline u64
kvmppc_tce_one_word(struct kvm *kvm, struct mm_iommu_reader *reader,
		    const struct iommu_table *tbl, u64 tce,
		    unsigned long *ua, struct mm_iommu_table_group_mem_t **pmem,
		    const bool search)
{
	const unsigned int shift = tbl->it_page_shift;
	struct mm_iommu_table_group_mem_t *mem;
	struct kvm_memory_slot *slot = NULL;
	u64 word;

	if (!kvmppc_tce_to_ua(kvm, &slot, tce, 1UL << shift, ua, search))
		return 0;

	mem = mm_iommu_find(reader->iommu, *ua, 1UL << shift, &reader->hint,
			    search);
	if (!mem || !iommu_user_open_region(mem, KVMPPC_TCE_MODE))
		return 0;

	word = iommu_user_tce(mem, tbl, *ua, tce & IOMMU_USER_PERM);
	if (!word || !iommu_user_take(mem, 1))
		return 0;

	*pmem = mem;
	return word;
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
 * has no levels, with the shadow page there.  Table and LIOBN begin at the same
 * entry (iommu_user_table_get()).
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
	struct mm_iommu_table_group_mem_t *mem = NULL;
	struct mm_iommu_reader *reader = &vcpu->arch.tce_reader;
	struct kvm *kvm = vcpu->kvm;
	struct kvmppc_spapr_tce_table *stt;
	u64 *shadow, *user, old = 0, word = 0, new = 0;
	struct iommu_table *tbl;
	unsigned long idx, ua;
	__be64 *hw = NULL;
	int error = 0;

	stt = kvmppc_tce_find(kvm, liobn);
	if (unlikely(!stt))
		return H_TOO_HARD;
	if (kvmppc_tce_window(stt, ioba, 1, &idx) != H_SUCCESS)
		return H_TOO_HARD;

	/* Pairs with smp_store_release() in kvmppc_tce_note_only() */
	tbl = READ_ONCE(stt->only);
	if (unlikely(!tbl || !kvmppc_tce_usable(kvm, tbl)) ||
	    iommu_user_is_crowded(tbl, KVMPPC_TCE_MODE))
		return H_TOO_HARD;
	if (likely(tbl->it_base))
		hw = (__be64 *)tbl->it_base + idx;
	else if (KVMPPC_TCE_MODE == IOMMU_USER_REAL)
		return H_TOO_HARD;
	shadow = READ_ONCE(stt->pages[idx / TCES_PER_PAGE]);
	if (unlikely(!shadow))
		return H_TOO_HARD;
	shadow += idx % TCES_PER_PAGE;
	user = (__force u64 *)tbl->it_userspace + idx;

	if (tce & IOMMU_USER_PERM) {
		word = kvmppc_tce_one_word(kvm, reader, tbl, tce, &ua, &mem,
					   search);
		if (!word)
			return H_TOO_HARD;
		new = ua | IOMMU_USER_SET;
	}

	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_disable();
	if (unlikely(!iommu_user_lock(user, &old,
				      KVMPPC_TCE_MODE == IOMMU_USER_VIRT))) {
		if (mem)
			atomic64_dec(&mem->mapped);
		return H_TOO_HARD;
	}
	/* As in iommu_user_set() */
	if (word || old)
		error = iommu_user_write(tbl, hw, stt->offset + idx, word, KVMPPC_TCE_MODE);
	if (likely(!error))
		WRITE_ONCE(*shadow, tce);
	iommu_user_unlock(user, error ? old : new);
	if (KVMPPC_TCE_MODE == IOMMU_USER_VIRT)
		preempt_enable();

	if (unlikely(error)) {
		if (mem)
			atomic64_dec(&mem->mapped);
		return H_TOO_HARD;
	}

	if (word)
		vcpu->stat.tce_mapped++;
	else
		vcpu->stat.tce_cleared++;
	vcpu->stat.tce_invalidations++;
	++*served;

	iommu_user_kill(tbl, stt->offset + idx, 1, KVMPPC_TCE_MODE);
	if (old & IOMMU_USER_SET)
		iommu_user_drop(reader, mem, old);
	return H_SUCCESS;
}

/**
 * kvmppc_tce_put() - serve a hypercall that writes TCEs, or a piece of it
 * @call: the call; on return it says what is left of it
 *
 * Context: kvm->srcu held; in a section; no lock held; in virtual mode
 * preemption on.
 * Return: H_SUCCESS when the entries that @call has moved past are in force,
 * which are all in a mode other than IOMMU_USER_VIRT; H_PARAMETER when the
 * LIOBN has not all of the entries; H_TOO_HARD when the next tier has to try;
 * H_NOT_ENOUGH_RESOURCES when memory for a shadow page or a table level cannot
 * be had; H_HARDWARE when the hypervisor below refused; in virtual mode
 * H_LONG_BUSY_ORDER_1_MSEC when it is busy, and H_BUSY when another CPU has an entry that
 * is worked in pieces, or will be from now on.  But for H_SUCCESS, entries that @call
 * has not moved past are as they were (PAPR 14.5.4.2), or where the hypervisor below was
 * in the way, each leads to what reads back.
 */
static __always_inline long kvmppc_tce_put(struct kvmppc_tce_call *call)
{
	struct kvmppc_spapr_tce_table *stt;
	struct kvmppc_tce_run run __uninitialized;
	const __be64 *list;
	unsigned long idx, n;
	long ret;

	run.stat = &call->vcpu->stat;
	stt = kvmppc_tce_find(call->vcpu->kvm, call->liobn);
	if (!stt)
		return kvmppc_tce_hopeless(call->vcpu,
					   &run.stat->tce_hard_liobn);

	if (call->ret != H_SUCCESS)
		return call->ret;

	ret = kvmppc_tce_window(stt, call->ioba, call->n, &idx);
	if (ret != H_SUCCESS)
		return ret;

	ret = kvmppc_tce_begin(&run, call->vcpu, stt, idx, call->n);
	if (ret != H_SUCCESS)
		return ret;

	n = kvmppc_tce_piece(&run, call->n, call->most);
	if (!n && call->n)
		return kvmppc_tce_hard(&run.stat->tce_hard_count);
	run.end = idx + n;
	run.flushes = call->most == IOMMU_USER_PIECE ? KVMPPC_TCE_FLUSHES : 0;

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
		if (tce & IOMMU_USER_PERM)
			run.stat->tce_mapped++;
		else
			run.stat->tce_cleared++;
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
 * @kvm: the VM
 * @liobn: LIOBN
 * @ioba: bus address of the entry, in bytes
 * @tce: where to store the TCE
 *
 * Context: in a section; any mode.
 * Return: H_SUCCESS; H_PARAMETER; H_TOO_HARD when the LIOBN is not known.
 */
static __always_inline long kvmppc_tce_get(struct kvm *kvm, unsigned long liobn,
					   unsigned long ioba, u64 *tce)
{
	struct kvmppc_spapr_tce_table *stt = kvmppc_tce_find(kvm, liobn);
	unsigned long idx;
	u64 *page;
	long ret;

	if (!stt)
		return H_TOO_HARD;

	ret = kvmppc_tce_window(stt, ioba, 1, &idx);
	if (ret != H_SUCCESS)
		return ret;

	page = READ_ONCE(stt->pages[idx / TCES_PER_PAGE]);
	*tce = page ? READ_ONCE(page[idx % TCES_PER_PAGE]) : 0;
	return H_SUCCESS;
}

/*
 * Guest context: what the tiers before virtual mode share
 */

/*
 * In real mode no function may be called.  It exists on bare metal only, so the
 * registers are in the vCPU
 */
static __always_inline unsigned long
kvmppc_tce_gpr(struct kvm_vcpu *vcpu, int num)
{
	if (KVMPPC_TCE_MODE == IOMMU_USER_REAL)
		return vcpu->arch.regs.gpr[num];
	return kvmppc_get_gpr(vcpu, num);
}

static __always_inline void
kvmppc_tce_set_gpr(struct kvm_vcpu *vcpu, int num, unsigned long value)
{
	if (KVMPPC_TCE_MODE == IOMMU_USER_REAL)
		vcpu->arch.regs.gpr[num] = value;
	else
		kvmppc_set_gpr(vcpu, num, value);
}

/* Is it a call of one entry, which kvmppc_tce_put_one() may serve? */
static __always_inline bool kvmppc_tce_is_one(unsigned long req,
					      unsigned long arg,
					      unsigned long n)
{
	return req == H_PUT_TCE || (req == H_STUFF_TCE && n == 1 &&
				    !(arg & IOMMU_USER_PERM));
}

/*
 * All that the shortest way cannot do.  A function of its own, so that the shortest
 * way needs fewer registers
 */
static noinline __maybe_unused long
kvmppc_tce_guest_more(struct kvm_vcpu *vcpu, u64 *served, unsigned long req,
		      unsigned long liobn, unsigned long ioba,
		      unsigned long arg, unsigned long n, unsigned long most)
{
	struct kvmppc_tce_call call __uninitialized;
	long ret;

	if (kvmppc_tce_is_one(req, arg, n)) {
		ret = kvmppc_tce_put_one(vcpu, served, liobn, ioba, arg, true);
		if (ret != H_TOO_HARD)
			return ret;
	}

	kvmppc_tce_args(&call, vcpu, req, liobn, ioba, arg, n);
	call.most = most;
	ret = kvmppc_tce_put(&call);
	if (ret != H_TOO_HARD)
		++*served;
	return ret;
}

/* Serve H_GET_TCE, whose answer goes to GPR4 */
static __always_inline long
kvmppc_tce_guest_get(struct kvm_vcpu *vcpu, u64 *served, unsigned long liobn,
		     unsigned long ioba)
{
	u64 tce;
	long ret;

	mm_iommu_enter(&vcpu->arch.tce_reader);
	ret = kvmppc_tce_get(vcpu->kvm, liobn, ioba, &tce);
	mm_iommu_leave(&vcpu->arch.tce_reader);
	if (ret == H_SUCCESS)
		kvmppc_tce_set_gpr(vcpu, 4, tce);
	if (ret != H_TOO_HARD)
		++*served;
	return ret;
}

/*
 * Serve another hypercall, of @most hardware entries; for the other arguments see
 * kvmppc_tce_args().
 */
static __always_inline long
kvmppc_tce_guest_put(struct kvm_vcpu *vcpu, u64 *served, unsigned long req,
		     unsigned long liobn, unsigned long ioba,
		     unsigned long arg, unsigned long n, unsigned long most)
{
	long ret = H_TOO_HARD;

	mm_iommu_enter(&vcpu->arch.tce_reader);
	if (kvmppc_tce_is_one(req, arg, n))
		ret = kvmppc_tce_put_one(vcpu, served, liobn, ioba, arg, false);
	if (unlikely(ret == H_TOO_HARD))
		ret = kvmppc_tce_guest_more(vcpu, served, req, liobn, ioba, arg,
					    n, most);
	mm_iommu_leave(&vcpu->arch.tce_reader);
	return ret;
}

/*
 * Serve the hypercall that @vcpu exited for, if it is one of ours and @tier is
 * on, with @most hardware entries at most.  True when it is done, and the answer is
 * in GPR3.
 */
static __always_inline bool kvmppc_tce_guest_hcall(struct kvm_vcpu *vcpu,
						   u64 *served,
						   unsigned int tier,
						   unsigned long most)
{
	unsigned long req = kvmppc_tce_gpr(vcpu, 3);
	unsigned long liobn = kvmppc_tce_gpr(vcpu, 4);
	unsigned long ioba = kvmppc_tce_gpr(vcpu, 5);
	unsigned long n = kvmppc_tce_gpr(vcpu, 7);
	long ret;

	if (req != H_PUT_TCE && req != H_STUFF_TCE &&
	    req != H_PUT_TCE_INDIRECT && req != H_GET_TCE)
		return false;

	if (!(vcpu->kvm->arch.tce_tiers & tier) || vcpu->arch.tce_hopeless ||
	    !test_bit(req / 4, vcpu->kvm->arch.enabled_hcalls))
		return false;

	if (req == H_GET_TCE)
		ret = kvmppc_tce_guest_get(vcpu, served, liobn, ioba);
	else if (tier == KVMPPC_TCE_TIER_PARTIAL && req != H_PUT_TCE && n > most)
		ret = H_TOO_HARD;
	else
		ret = kvmppc_tce_guest_put(vcpu, served, req, liobn, ioba,
					   kvmppc_tce_gpr(vcpu, 6), n, most);
	if (ret == H_TOO_HARD)
		return false;

	kvmppc_tce_set_gpr(vcpu, 3, ret);
	return true;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_H */
