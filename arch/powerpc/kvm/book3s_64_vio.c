// SPDX-License-Identifier: GPL-2.0-only
/*
 * LIOBNs of a guest, which are its TCE tables, called by their numbers: creating
 * them (KVM_CREATE_SPAPR_TCE{,_64}), mapping their guest's view, binding them to the
 * hardware tables of VFIO groups, and the virtual-mode instance of the hypercall
 * engine in book3s_64_vio.h.
 *
 * Objects and who holds them:
 *
 *	VFIO group fd --(KVM_DEV_VFIO)--> owner --\
 *						   binding --> iommu_table
 *	LIOBN fd -----> LIOBN --------------------/
 *
 *  - A LIOBN lives as long as its file, and holds the VM.
 *  - A binding lives as long as its LIOBN and at least one owner.  It holds the
 *    table, which stays allocated when its window is removed; nothing is
 *    installed in it then (asm/tce_user.h), and it is let go when the LIOBN
 *    is bound anew, at the latest.
 *  - An owner is ended by kvm_spapr_tce_release_iommu_group(), or with the
 *    LIOBN; whichever comes first.  Whoever binds keeps the VFIO file
 *    referenced until then, so its address names it.  The IOMMU group behind
 *    the file would not do: it can be another file's by then, or freed.
 *
 * All of this changes under kvm->arch.spapr_tce_lock.  It nests inside
 * kvm->lock and KVM_DEV_VFIO's lock; nobody takes either of them under it.
 * Hypercalls read LIOBNs and bindings without the lock, in sections of the VM's mm
 * (asm/mm_iommu.h): an object that was unlinked is freed after a grace period, which
 * whoever unlinked it waits for.  It takes as long as a hypercall does: nobody waits
 * for a guest that runs.
 */

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <asm/kvm_book3s.h>
#include <asm/kvm_ppc.h>

#define KVMPPC_TCE_MODE	TCE_USER_VIRT
#include "book3s_64_vio.h"

#define CREATE_TRACE_POINTS
#include "trace_tce.h"

/*
 * Owners and bindings
 */

static struct kvmppc_tce_owner *
kvmppc_tce_find_owner(struct kvmppc_spapr_tce_iommu_table *stit,
		      struct file *file)
{
	struct kvmppc_tce_owner *owner;

	list_for_each_entry(owner, &stit->owners, next)
		if (owner->file == file)
			return owner;
	return NULL;
}

/* End @file's claim on @stit, or all claims if it is NULL; true when none is left */
static bool kvmppc_tce_end_owners(struct kvmppc_spapr_tce_table *stt,
				  struct kvmppc_spapr_tce_iommu_table *stit,
				  struct file *file)
{
	struct kvmppc_tce_owner *owner, *tmp;

	list_for_each_entry_safe(owner, tmp, &stit->owners, next) {
		if (file && owner->file != file)
			continue;
		trace_kvm_tce_release(stt->kvm, stt->liobn, stit->tbl,
				      owner->group);
		list_del(&owner->next);
		kfree(owner);
	}
	return list_empty(&stit->owners);
}

/* After a change of stt->iommu_tables */
static void kvmppc_tce_note_only_tbl(struct kvmppc_spapr_tce_table *stt)
{
	struct kvmppc_spapr_tce_iommu_table *stit;
	struct iommu_table *only = NULL;

	lockdep_assert_held(&stt->kvm->arch.spapr_tce_lock);

	/* What goes that way takes no lock but the line's */
	if (stt->way == KVMPPC_TCE_AT_ONCE && list_is_singular(&stt->iommu_tables)) {
		stit = list_first_entry(&stt->iommu_tables,
					struct kvmppc_spapr_tce_iommu_table,
					next);
		if (kvmppc_tce_has_one(stt, stit->tbl))
			only = stit->tbl;
	}

	/* Pairs with READ_ONCE() in kvmppc_tce_put_one() */
	smp_store_release(&stt->only_tbl, only);
}

/*
 * Take a binding off its LIOBN.  Hypercalls may go on reading it, and through
 * its next pointer the bindings behind it, until kvmppc_tce_free_bindings().
 */
static void kvmppc_tce_unlink(struct kvmppc_spapr_tce_table *stt,
			      struct kvmppc_spapr_tce_iommu_table *stit,
			      struct hlist_head *dead)
{
	lockdep_assert_held(&stt->kvm->arch.spapr_tce_lock);

	list_del_rcu(&stit->next);
	kvmppc_tce_note_only_tbl(stt);
	hlist_add_head(&stit->dead, dead);
}

/* Wait for the hypercalls of a VM that are under way */
static void kvmppc_tce_synchronize(struct kvm *kvm)
{
	struct mm_iommu *iommu = READ_ONCE(kvm->mm->context.iommu);

	/* It is made before the first LIOBN: without it nothing was unlinked */
	if (iommu)
		mm_iommu_synchronize(iommu);
}

/* To be called when no hypercall uses what was unlinked */
static void kvmppc_tce_free_bindings(struct hlist_head *dead)
{
	struct kvmppc_spapr_tce_iommu_table *stit;
	struct hlist_node *tmp;

	hlist_for_each_entry_safe(stit, tmp, dead, dead) {
		iommu_tce_table_put(stit->tbl);
		kfree(stit);
	}
}

/**
 * kvm_spapr_tce_release_iommu_group() - end all bindings of a VFIO file
 * @kvm: the VM
 * @owner: the file, as it was passed to kvm_spapr_tce_attach_iommu_group()
 *
 * When this returns, no hypercall programs a table on behalf of the file.  What
 * another file of the same group has bound stays bound.  A file that was never
 * bound is fine.
 *
 * Context: may sleep, not in a section; kvm->lock may be held.
 */
void kvm_spapr_tce_release_iommu_group(struct kvm *kvm, struct file *owner)
{
	struct kvmppc_spapr_tce_iommu_table *stit, *tmp;
	struct kvmppc_spapr_tce_table *stt;
	struct hlist_head dead = HLIST_HEAD_INIT;

	mutex_lock(&kvm->arch.spapr_tce_lock);
	list_for_each_entry(stt, &kvm->arch.spapr_tce_tables, list) {
		list_for_each_entry_safe(stit, tmp, &stt->iommu_tables, next) {
			if (kvmppc_tce_end_owners(stt, stit, owner))
				kvmppc_tce_unlink(stt, stit, &dead);
		}
	}
	mutex_unlock(&kvm->arch.spapr_tce_lock);

	kvmppc_tce_synchronize(kvm);
	kvmppc_tce_free_bindings(&dead);
}

/* Let go of tables whose window was removed since they were bound */
static void kvmppc_tce_prune(struct kvmppc_spapr_tce_table *stt,
			     struct hlist_head *dead)
{
	struct kvmppc_spapr_tce_iommu_table *stit, *tmp;

	list_for_each_entry_safe(stit, tmp, &stt->iommu_tables, next) {
		if (tce_user_is_open(stit->tbl))
			continue;
		kvmppc_tce_end_owners(stt, stit, NULL);
		kvmppc_tce_unlink(stt, stit, dead);
	}
}

/*
 * Add a binding where its table's address belongs: lines are locked in one
 * table after the other, and two LIOBNs must not do so in opposite orders.
 */
static void kvmppc_tce_link(struct kvmppc_spapr_tce_table *stt,
			    struct kvmppc_spapr_tce_iommu_table *stit)
{
	struct kvmppc_spapr_tce_iommu_table *next;

	list_for_each_entry(next, &stt->iommu_tables, next)
		if (next->tbl > stit->tbl)
			break;

	/* Pairs with the dependent reads in kvmppc_tce_begin() */
	list_add_tail_rcu(&stit->next, &next->next);
	kvmppc_tce_note_only_tbl(stt);
	/* Long calls begin anew.  Pairs with the acquire in kvmppc_tce_virt() */
	smp_store_release(&stt->kvm->arch.tce_binds,
			  stt->kvm->arch.tce_binds + 1);
}

/*
 * Have entries worked in pieces from now on, if with @tbl they stand for so many
 * hardware entries.  While some runs know @tbl and others do not, all must change entries
 * in the same way.  So those that change entries at once end first.  Then entries are
 * changed in pieces, and then @tbl is bound.
 */
static void kvmppc_tce_note_pieces(struct kvmppc_spapr_tce_table *stt,
				   const struct iommu_table *tbl)
{
	struct kvmppc_spapr_tce_iommu_table *stit;
	unsigned long work, foreign;

	lockdep_assert_held(&stt->kvm->arch.spapr_tce_lock);

	work = 1UL << kvmppc_tce_parts_shift(stt, tbl);
	foreign = tbl->it_ops->put ? work : 0;
	list_for_each_entry(stit, &stt->iommu_tables, next) {
		unsigned long parts = 1UL << kvmppc_tce_parts_shift(stt, stit->tbl);

		work += parts;
		foreign += stit->tbl->it_ops->put ? parts : 0;
	}

	if (stt->way == KVMPPC_TCE_IN_PIECES ||
	    (work <= TCE_USER_PIECE && foreign <= TCE_USER_FOREIGN))
		return;

	WRITE_ONCE(stt->way, KVMPPC_TCE_NEITHER);
	kvmppc_tce_note_only_tbl(stt);
	kvmppc_tce_synchronize(stt->kvm);
	WRITE_ONCE(stt->way, KVMPPC_TCE_IN_PIECES);
}

/*
 * Record that @file, for the group with the id @group, wants @tbl bound.  Takes
 * over the reference on @tbl.
 */
static long kvmppc_tce_bind(struct kvm *kvm, struct kvmppc_spapr_tce_table *stt,
			    struct iommu_table *tbl, struct file *file,
			    int group)
{
	struct kvmppc_spapr_tce_iommu_table *stit, *bound = NULL;
	struct kvmppc_tce_owner *owner;

	lockdep_assert_held(&kvm->arch.spapr_tce_lock);

	list_for_each_entry(stit, &stt->iommu_tables, next)
		if (stit->tbl == tbl)
			bound = stit;

	if (bound && kvmppc_tce_find_owner(bound, file)) {
		iommu_tce_table_put(tbl);
		return 0;
	}

	owner = kzalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		goto err_put;
	owner->file = file;
	owner->group = group;

	if (bound) {
		list_add_tail(&owner->next, &bound->owners);
		trace_kvm_tce_bind(kvm, stt->liobn, tbl, group);
		iommu_tce_table_put(tbl);
		return 0;
	}

	stit = kzalloc(sizeof(*stit), GFP_KERNEL_ACCOUNT);
	if (!stit)
		goto err_owner;

	stit->tbl = tbl;
	INIT_LIST_HEAD(&stit->owners);
	list_add_tail(&owner->next, &stit->owners);
	kvmppc_tce_note_pieces(stt, tbl);
	kvmppc_tce_link(stt, stit);
	trace_kvm_tce_bind(kvm, stt->liobn, tbl, group);
	return 0;

err_owner:
	kfree(owner);
err_put:
	iommu_tce_table_put(tbl);
	return -ENOMEM;
}

/**
 * kvm_spapr_tce_attach_iommu_group() - bind a LIOBN to a group's table
 * @kvm: the VM
 * @tablefd: file descriptor of the LIOBN
 * @grp: the group; referenced by the caller, and looked at during the call only
 * @owner: the VFIO file of the group, in whose name the binding is made; the
 *	caller keeps it referenced, and pinned, until it has released it
 *
 * The table is the one that begins where the LIOBN begins, is not shorter, and
 * has pages not larger.  To bind what is bound already changes nothing.
 *
 * When this returns, sections that did not know of the binding are over.  What hypercalls
 * have mapped in them, or earlier, the guest's view says.  It is not installed in the table.
 *
 * Context: may sleep, not in a section; kvm->lock may be held.
 * Return: 0; -EBADF @tablefd is not open; -EINVAL it is no LIOBN of this VM, or
 * the group has no matching table; -EPERM the table leads to the memory of
 * another process; -ENOMEM.
 */
long kvm_spapr_tce_attach_iommu_group(struct kvm *kvm, int tablefd,
				      struct iommu_group *grp,
				      struct file *owner)
{
	struct kvmppc_spapr_tce_table *stt;
	struct iommu_table *tbl;
	struct hlist_head dead = HLIST_HEAD_INIT;
	long ret = -EINVAL;

	CLASS(fd, f)(tablefd);

	if (fd_empty(f))
		return -EBADF;

	mutex_lock(&kvm->arch.spapr_tce_lock);
	list_for_each_entry(stt, &kvm->arch.spapr_tce_tables, list)
		if (stt == fd_file(f)->private_data)
			break;
	if (list_entry_is_head(stt, &kvm->arch.spapr_tce_tables, list))
		goto out_unlock;

	kvmppc_tce_prune(stt, &dead);

	tbl = tce_user_table_get(grp, kvm->mm, stt->page_shift, stt->offset,
				 stt->size);
	if (IS_ERR(tbl))
		ret = PTR_ERR(tbl);
	else
		ret = kvmppc_tce_bind(kvm, stt, tbl, owner,
				      iommu_group_id(grp));

out_unlock:
	mutex_unlock(&kvm->arch.spapr_tce_lock);

	kvmppc_tce_synchronize(kvm);
	kvmppc_tce_free_bindings(&dead);
	return ret;
}

/*
 * The guest's view
 */

/* Pages to account for: the guest's view, if all of it is used, and its index */
static unsigned long kvmppc_stt_pages(unsigned long tce_pages)
{
	unsigned long bytes = sizeof(struct kvmppc_spapr_tce_table) +
			      tce_pages * sizeof(u64 *);

	return tce_pages + DIV_ROUND_UP(bytes, PAGE_SIZE);
}

/**
 * kvmppc_tce_view_alloc() - bring a page of the guest's view into being
 * @stt: LIOBN
 * @idx: an entry that the page is to have
 *
 * Context: may sleep.
 * Return: H_SUCCESS, H_NOT_ENOUGH_RESOURCES.
 */
long kvmppc_tce_view_alloc(struct kvmppc_spapr_tce_table *stt,
			   unsigned long idx)
{
	u64 **slot = &stt->pages[idx / TCES_PER_PAGE];
	u64 *page;

	mutex_lock(&stt->alloc_lock);
	page = *slot;
	if (!page) {
		page = (u64 *)get_zeroed_page(GFP_KERNEL);
		/* Read by debugfs without the lock */
		if (page)
			WRITE_ONCE(stt->nr_pages, stt->nr_pages + 1);
		/* Pairs with READ_ONCE() in kvmppc_tce_view() */
		smp_store_release(slot, page);
	}
	mutex_unlock(&stt->alloc_lock);

	return page ? H_SUCCESS : H_NOT_ENOUGH_RESOURCES;
}

static vm_fault_t kvm_spapr_tce_fault(struct vm_fault *vmf)
{
	struct kvmppc_spapr_tce_table *stt = vmf->vma->vm_file->private_data;

	if (vmf->pgoff >= kvmppc_tce_pages(stt->size))
		return VM_FAULT_SIGBUS;

	if (kvmppc_tce_view_alloc(stt, vmf->pgoff * TCES_PER_PAGE))
		return VM_FAULT_OOM;

	vmf->page = virt_to_page(stt->pages[vmf->pgoff]);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct kvm_spapr_tce_vm_ops = {
	.fault = kvm_spapr_tce_fault,
};

static int kvm_spapr_tce_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &kvm_spapr_tce_vm_ops;
	return 0;
}

/*
 * LIOBNs
 */

static void kvmppc_tce_free(struct kvmppc_spapr_tce_table *stt)
{
	unsigned long i, npages = kvmppc_tce_pages(stt->size);

	for (i = 0; i < npages; i++)
		free_page((unsigned long)stt->pages[i]);

	account_locked_vm(stt->kvm->mm, kvmppc_stt_pages(npages), false);
	mutex_destroy(&stt->alloc_lock);
	mutex_destroy(&stt->large_lock);
	kfree(stt);
}

static int kvm_spapr_tce_release(struct inode *inode, struct file *filp)
{
	struct kvmppc_spapr_tce_table *stt = filp->private_data;
	struct kvmppc_spapr_tce_iommu_table *stit, *tmp;
	struct kvm *kvm = stt->kvm;
	struct hlist_head dead = HLIST_HEAD_INIT;

	mutex_lock(&kvm->arch.spapr_tce_lock);
	list_del(&stt->list);
	hlist_del_rcu(&stt->hash);
	list_for_each_entry_safe(stit, tmp, &stt->iommu_tables, next) {
		kvmppc_tce_end_owners(stt, stit, NULL);
		kvmppc_tce_unlink(stt, stit, &dead);
	}
	mutex_unlock(&kvm->arch.spapr_tce_lock);

	/* Hypercalls may be using the LIOBN, bound or not */
	kvmppc_tce_synchronize(kvm);
	kvmppc_tce_free_bindings(&dead);
	kvmppc_tce_free(stt);
	kvm_put_kvm(kvm);
	return 0;
}

static const struct file_operations kvm_spapr_tce_fops = {
	.mmap           = kvm_spapr_tce_mmap,
	.release	= kvm_spapr_tce_release,
};

static struct kvmppc_spapr_tce_table *
kvmppc_tce_alloc(struct kvm *kvm, const struct kvm_create_spapr_tce_64 *args)
{
	unsigned long npages = kvmppc_tce_pages(args->size);
	struct kvmppc_spapr_tce_table *stt;
	int ret;

	ret = account_locked_vm(kvm->mm, kvmppc_stt_pages(npages), true);
	if (ret)
		return ERR_PTR(ret);

	/* The size is the VMM's choice: no warning when it is too large */
	stt = kzalloc(struct_size(stt, pages, npages),
		      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!stt) {
		account_locked_vm(kvm->mm, kvmppc_stt_pages(npages), false);
		return ERR_PTR(-ENOMEM);
	}

	stt->liobn = args->liobn;
	stt->page_shift = args->page_shift;
	stt->offset = args->offset;
	stt->size = args->size;
	stt->kvm = kvm;
	mutex_init(&stt->alloc_lock);
	mutex_init(&stt->large_lock);
	INIT_LIST_HEAD(&stt->iommu_tables);
	return stt;
}

/**
 * kvmppc_tce_vcpu_init() - let a virtual CPU serve TCE hypercalls
 * @vcpu: a new one, of a VM of any kind
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM.
 */
int kvmppc_tce_vcpu_init(struct kvm_vcpu *vcpu)
{
	struct mm_iommu *iommu = mm_iommu_of(vcpu->kvm->mm);

	if (!iommu)
		return -ENOMEM;

	mm_iommu_reader_add(iommu, &vcpu->arch.tce_reader);
	return 0;
}

/**
 * kvmppc_tce_vcpu_destroy() - end what kvmppc_tce_vcpu_init() began
 * @vcpu: no longer runs
 *
 * Context: may sleep.
 */
void kvmppc_tce_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	mm_iommu_reader_del(&vcpu->arch.tce_reader);
}

/* Has a VMM chosen numbers that make the search for a LIOBN long? */
static bool kvmppc_tce_is_crowded(struct kvm *kvm, u64 liobn)
{
	struct hlist_node *node;
	unsigned int n = 0;

	lockdep_assert_held(&kvm->arch.spapr_tce_lock);

	hlist_for_each(node, kvmppc_tce_bucket(kvm, liobn))
		n++;
	return n >= KVMPPC_TCE_CROWD;
}

/**
 * kvm_vm_ioctl_create_spapr_tce() - KVM_CREATE_SPAPR_TCE{,_64}
 * @kvm: the VM
 * @args: what the VMM asks for; @offset and @size in pages of 1 << @page_shift
 *
 * Context: may sleep.
 * Return: a file descriptor; -EINVAL; -EBUSY the VM has this LIOBN; -ENOSPC it has
 * too many that share a bucket with it; -ENOMEM no memory or over the limit of
 * locked memory; -EMFILE.
 */
int kvm_vm_ioctl_create_spapr_tce(struct kvm *kvm,
				  struct kvm_create_spapr_tce_64 *args)
{
	struct kvmppc_spapr_tce_table *stt;
	int ret;

	if (!args->size || args->page_shift < 12 || args->page_shift > 34 ||
	    args->offset + args->size < args->offset ||
	    args->offset + args->size > (ULLONG_MAX >> args->page_shift))
		return -EINVAL;

	if (!mm_iommu_of(kvm->mm))
		return -ENOMEM;

	stt = kvmppc_tce_alloc(kvm, args);
	if (IS_ERR(stt))
		return PTR_ERR(stt);

	mutex_lock(&kvm->arch.spapr_tce_lock);
	kvm_get_kvm(kvm);

	if (kvmppc_tce_find(kvm, stt->liobn))
		ret = -EBUSY;
	else if (kvmppc_tce_is_crowded(kvm, stt->liobn))
		ret = -ENOSPC;
	else
		ret = anon_inode_getfd("kvm-spapr-tce", &kvm_spapr_tce_fops,
				       stt, O_RDWR | O_CLOEXEC);
	if (ret < 0) {
		kvm_put_kvm_no_destroy(kvm);
	} else {
		list_add_tail(&stt->list, &kvm->arch.spapr_tce_tables);
		hlist_add_head_rcu(&stt->hash,
				   kvmppc_tce_bucket(kvm, stt->liobn));
	}
	mutex_unlock(&kvm->arch.spapr_tce_lock);

	/*
	 * Not under spapr_tce_lock: this waits for mmap_lock, and KVM_DEV_VFIO_GROUP_DEL
	 * waits for spapr_tce_lock
	 */
	if (ret < 0)
		kvmppc_tce_free(stt);

	return ret;
}

/*
 * Hypercalls in virtual mode
 */

/* A section of @vcpu, in which it may look at memslots, too */
static int kvmppc_tce_virt_enter(struct kvm_vcpu *vcpu)
	__acquires(&vcpu->kvm->srcu)
{
	int idx = srcu_read_lock(&vcpu->kvm->srcu);

	mm_iommu_enter(&vcpu->arch.tce_reader);
	return idx;
}

static void kvmppc_tce_virt_leave(struct kvm_vcpu *vcpu, int idx)
	__releases(&vcpu->kvm->srcu)
{
	mm_iommu_leave(&vcpu->arch.tce_reader);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
}

/*
 * Work the pieces of a call, with a chance to be rescheduled in between.
 *
 * A table that is bound between two pieces would lack the entries of the first.
 * Whoever binds waits for the section that is under way, and a later one sees that
 * tce_binds has changed: the call begins anew.
 */
static long kvmppc_tce_virt(struct kvmppc_tce_call *call)
{
	const struct kvmppc_tce_call whole = *call;
	struct kvm_vcpu *vcpu = call->vcpu;
	unsigned int binds = 0, now;
	long ret;
	int idx;

	for (;;) {
		idx = kvmppc_tce_virt_enter(vcpu);
		/* Before the bindings: pairs with kvmppc_tce_link() */
		now = smp_load_acquire(&vcpu->kvm->arch.tce_binds);
		if (now != binds) {
			*call = whole;
			binds = now;
		}
		ret = kvmppc_tce_put(call);
		kvmppc_tce_virt_leave(vcpu, idx);

		if (!kvmppc_tce_is_busy(ret) && (ret != H_SUCCESS || !call->n))
			return ret;
		/*
		 * Nobody knows how long a hypervisor is busy, and the signal may be for
		 * the VMM.  But the VMM must not change entries between two pieces of
		 * another CPU.
		 */
		if (fatal_signal_pending(current))
			return H_TOO_HARD;
		if (ret == H_LONG_BUSY_ORDER_1_MSEC && signal_pending(current))
			return kvmppc_tce_hard(vcpu, busy);
		if (ret == H_LONG_BUSY_ORDER_1_MSEC)
			usleep_range(1000, 2000);
		else if (ret != H_SUCCESS)
			usleep_range(50, 200);
		else
			cond_resched();
	}
}

/* Serve a call from a copy of its list */
static long kvmppc_tce_virt_copy(struct kvmppc_tce_call *call)
{
	struct kvm *kvm = call->vcpu->kvm;
	__be64 *list;
	long ret;
	int idx;

	list = kmalloc_array(call->n, sizeof(*list), GFP_KERNEL);
	if (!list)
		return kvmppc_tce_hard(call->vcpu, list);

	idx = srcu_read_lock(&kvm->srcu);
	ret = kvm_read_guest(kvm, call->list_gpa, list,
			     call->n * sizeof(*list));
	srcu_read_unlock(&kvm->srcu, idx);

	call->in_guest = false;
	call->list = list;
	if (ret)
		ret = kvmppc_tce_hard(call->vcpu, list);
	else
		ret = kvmppc_tce_virt(call);
	kfree(list);
	return ret;
}

/* Count who answers */
static long kvmppc_tce_virt_answer(struct kvm_vcpu *vcpu, long ret)
{
	if (ret == H_TOO_HARD)
		vcpu->stat.tce_user_space++;
	else
		vcpu->stat.tce_virtual_mode++;
	return ret;
}

static long kvmppc_tce_virt_one(struct kvm_vcpu *vcpu, unsigned long liobn,
				unsigned long ioba, unsigned long tce)
{
	int idx = kvmppc_tce_virt_enter(vcpu);
	long ret;

	ret = kvmppc_tce_put_one(vcpu, &vcpu->stat.tce_virtual_mode, liobn,
				 ioba, tce, true);
	kvmppc_tce_virt_leave(vcpu, idx);
	return ret;
}

static __always_inline long
kvmppc_tce_virt_serve(struct kvm_vcpu *vcpu, unsigned long req,
		      unsigned long liobn, unsigned long ioba,
		      unsigned long arg, unsigned long n)
{
	struct kvmppc_tce_call call __uninitialized;
	long ret = H_TOO_HARD;

	/* A tier before has found that only the VMM can do it */
	if (vcpu->arch.tce_hopeless)
		goto out;
	vcpu->arch.tce_why = NULL;

	if (kvmppc_tce_is_one(req, arg, n)) {
		ret = kvmppc_tce_virt_one(vcpu, liobn, ioba, arg);
		if (ret != H_TOO_HARD)
			return ret;
	}

	kvmppc_tce_args(&call, vcpu, req, liobn, ioba, arg, n);
	ret = kvmppc_tce_virt(&call);
	if (ret == H_TOO_HARD && call.no_list) {
		/* All of it: a table may have been bound since it began */
		kvmppc_tce_args(&call, vcpu, req, liobn, ioba, arg, n);
		ret = kvmppc_tce_virt_copy(&call);
	}
out:
	vcpu->arch.tce_hopeless = false;
	return kvmppc_tce_virt_answer(vcpu, ret);
}

/*
 * Tracing.  The engine has no trace points, as it is compiled for tiers that
 * must not have any; what it did is seen by what it counted.
 */

#define KVMPPC_TCE_REASON(name) \
	{ #name, offsetof(struct kvm_vcpu_stat, tce_hard_ ## name) }

static const struct {
	const char *name;
	size_t counter;
} kvmppc_tce_reasons[] = {
	KVMPPC_TCE_REASON(busy),
	KVMPPC_TCE_REASON(liobn),
	KVMPPC_TCE_REASON(table),
	KVMPPC_TCE_REASON(count),
	KVMPPC_TCE_REASON(level),
	KVMPPC_TCE_REASON(view),
	KVMPPC_TCE_REASON(list),
	KVMPPC_TCE_REASON(memory),
};

/* Why the last tier that was asked left the call at hand; NULL before the first one */
static const char *kvmppc_tce_reason(const struct kvm_vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kvmppc_tce_reasons); ++i)
		if (vcpu->arch.tce_why ==
		    (void *)&vcpu->stat + kvmppc_tce_reasons[i].counter)
			return kvmppc_tce_reasons[i].name;
	return NULL;
}

/* As kvmppc_tce_virt_serve(), and tell what happens */
static noinline long
kvmppc_tce_virt_traced(struct kvm_vcpu *vcpu, unsigned long req,
		       unsigned long liobn, unsigned long ioba,
		       unsigned long arg, unsigned long n)
{
	const struct kvm_vcpu_stat *stat = &vcpu->stat;
	u64 mapped = stat->tce_mapped, cleared = stat->tce_cleared;
	const char *reason = kvmppc_tce_reason(vcpu);
	long ret;

	if (reason)
		trace_kvm_tce_fallback(vcpu, req, liobn, ioba, n,
				       "virtual-mode", reason);

	ret = kvmppc_tce_virt_serve(vcpu, req, liobn, ioba, arg, n);

	mapped = stat->tce_mapped - mapped;
	if (mapped)
		trace_kvm_tce_map(vcpu, liobn, ioba, mapped, ret);
	cleared = stat->tce_cleared - cleared;
	if (cleared)
		trace_kvm_tce_unmap(vcpu, liobn, ioba, cleared, ret);

	if (ret == H_TOO_HARD)
		trace_kvm_tce_fallback(vcpu, req, liobn, ioba, n, "user-space",
				       kvmppc_tce_reason(vcpu) ?: "killed");
	return ret;
}

static __always_inline long
kvmppc_tce_virt_call(struct kvm_vcpu *vcpu, unsigned long req,
		     unsigned long liobn, unsigned long ioba,
		     unsigned long arg, unsigned long n)
{
	long ret;

	if (trace_kvm_tce_map_enabled() || trace_kvm_tce_unmap_enabled() ||
	    trace_kvm_tce_fallback_enabled())
		ret = kvmppc_tce_virt_traced(vcpu, req, liobn, ioba, arg, n);
	else
		ret = kvmppc_tce_virt_serve(vcpu, req, liobn, ioba, arg, n);
	vcpu->arch.tce_why = NULL;
	return ret;
}

/**
 * kvmppc_h_put_tce() - H_PUT_TCE
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address, a multiple of the LIOBN's page size
 * @tce: guest address of a page and TCE_PCI_{READ,WRITE}; without permissions
 *	the entry leads nowhere and reads back as @tce
 *
 * Context: may sleep.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means user space.
 */
long kvmppc_h_put_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
		      unsigned long ioba, unsigned long tce)
{
	return kvmppc_tce_virt_call(vcpu, H_PUT_TCE, liobn, ioba, tce, 1);
}
EXPORT_SYMBOL_GPL(kvmppc_h_put_tce);

/**
 * kvmppc_h_put_tce_indirect() - H_PUT_TCE_INDIRECT
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the first entry
 * @tce_list: guest address of the list of TCEs, a multiple of 4K
 * @npages: entries, up to KVMPPC_TCE_LIST_MAX
 *
 * What is checked of the list is what is installed, whoever writes to it meanwhile.
 *
 * Context: may sleep.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means user space.
 */
long kvmppc_h_put_tce_indirect(struct kvm_vcpu *vcpu, unsigned long liobn,
			       unsigned long ioba, unsigned long tce_list,
			       unsigned long npages)
{
	return kvmppc_tce_virt_call(vcpu, H_PUT_TCE_INDIRECT, liobn, ioba,
				    tce_list, npages);
}
EXPORT_SYMBOL_GPL(kvmppc_h_put_tce_indirect);

/**
 * kvmppc_h_stuff_tce() - H_STUFF_TCE
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the first entry
 * @tce_value: what the entries shall read back as; no permissions
 * @npages: entries, as many as the guest likes
 *
 * Context: may sleep.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means user space.
 */
long kvmppc_h_stuff_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
			unsigned long ioba, unsigned long tce_value,
			unsigned long npages)
{
	return kvmppc_tce_virt_call(vcpu, H_STUFF_TCE, liobn, ioba, tce_value,
				    npages);
}
EXPORT_SYMBOL_GPL(kvmppc_h_stuff_tce);

/**
 * kvmppc_h_get_tce() - H_GET_TCE
 * @vcpu: the calling virtual CPU; on success its GPR4 is the TCE
 * @liobn: LIOBN
 * @ioba: bus address of the entry
 *
 * Context: may sleep.
 * Return: as kvmppc_tce_get().
 */
long kvmppc_h_get_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
		      unsigned long ioba)
{
	u64 tce = 0;
	long ret;

	mm_iommu_enter(&vcpu->arch.tce_reader);
	ret = kvmppc_tce_get(vcpu, liobn, ioba, &tce);
	mm_iommu_leave(&vcpu->arch.tce_reader);
	vcpu->arch.tce_why = NULL;
	kvmppc_tce_virt_answer(vcpu, ret);

	if (ret == H_SUCCESS)
		kvmppc_set_gpr(vcpu, 4, tce);
	else if (ret == H_TOO_HARD)
		trace_kvm_tce_fallback(vcpu, H_GET_TCE, liobn, ioba, 1,
				       "user-space", "liobn");
	return ret;
}
EXPORT_SYMBOL_GPL(kvmppc_h_get_tce);
