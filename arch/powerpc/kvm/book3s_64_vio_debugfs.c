// SPDX-License-Identifier: GPL-2.0-only
/*
 * What LIOBNs a VM has, and what they are bound to, in the VM's directory of
 * debugfs.  The files are described in Documentation/virt/kvm/ppc-tce.rst.
 *
 * LIOBNs, bindings and their owners stay while kvm->arch.spapr_tce_lock is held.
 * The files go before the VM does: removing them waits for whoever is reading, and
 * a file that stays open reads nothing more.
 */

#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include <asm/kvm_ppc.h>

#include "book3s_64_vio_table.h"

/* Bytes that the guest's view takes, as far as it is there */
static unsigned long kvmppc_tce_memory(const struct kvmppc_spapr_tce_table *stt)
{
	return struct_size(stt, pages, kvmppc_tce_pages(stt->size)) +
	       (READ_ONCE(stt->nr_pages) << PAGE_SHIFT);
}

static unsigned long kvmppc_tce_mapped_in(const u64 *page, unsigned long n)
{
	unsigned long i, mapped = 0;

	for (i = 0; i < n; ++i)
		mapped += !!(READ_ONCE(page[i]) & TCE_USER_PERM);
	return mapped;
}

/*
 * Entries that lead somewhere.  They are counted when somebody asks: a counter
 * kept by hypercalls would be one that all virtual CPUs write to.
 */
static unsigned long kvmppc_tce_mapped(const struct kvmppc_spapr_tce_table *stt)
{
	unsigned long i, mapped = 0;

	for (i = 0; i < kvmppc_tce_pages(stt->size); ++i) {
		/* Pairs with smp_store_release() in kvmppc_tce_view_alloc() */
		const u64 *page = READ_ONCE(stt->pages[i]);

		if (page)
			mapped += kvmppc_tce_mapped_in(page, min(TCES_PER_PAGE,
							stt->size -
							i * TCES_PER_PAGE));
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return mapped;
}

static void
kvmppc_tce_show_binding(struct seq_file *m,
			const struct kvmppc_spapr_tce_iommu_table *stit)
{
	const struct iommu_table *tbl = stit->tbl;
	const struct kvmppc_tce_owner *owner;
	const char *state = "in-use";

	if (!tce_user_is_open(tbl))
		state = "removed";
	else if (READ_ONCE(tbl->it_mm_pinned))
		state = "v1-container";

	seq_printf(m, "  table start 0x%lx size 0x%lx page 0x%lx state %s groups",
		   tbl->it_offset << tbl->it_page_shift,
		   tbl->it_size << tbl->it_page_shift,
		   1UL << tbl->it_page_shift, state);
	list_for_each_entry(owner, &stit->owners, next)
		seq_printf(m, " %d", owner->group);
	seq_putc(m, '\n');
}

static int kvmppc_tce_tables_show(struct seq_file *m, void *unused)
{
	struct kvm *kvm = m->private;
	struct kvmppc_spapr_tce_iommu_table *stit;
	struct kvmppc_spapr_tce_table *stt;

	if (mutex_lock_interruptible(&kvm->arch.spapr_tce_lock))
		return -EINTR;

	list_for_each_entry(stt, &kvm->arch.spapr_tce_tables, list) {
		seq_printf(m, "liobn 0x%llx start 0x%llx size 0x%llx page 0x%lx memory %lu mapped %lu\n",
			   stt->liobn, stt->offset << stt->page_shift,
			   stt->size << stt->page_shift, 1UL << stt->page_shift,
			   kvmppc_tce_memory(stt), kvmppc_tce_mapped(stt));
		list_for_each_entry(stit, &stt->iommu_tables, next)
			kvmppc_tce_show_binding(m, stit);
	}

	mutex_unlock(&kvm->arch.spapr_tce_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(kvmppc_tce_tables);

/**
 * kvmppc_tce_debugfs_init() - create a VM's debugfs files about its TCEs
 * @kvm: the VM; its directory is there, and goes with all that is in it
 *
 * Context: may sleep.
 */
void kvmppc_tce_debugfs_init(struct kvm *kvm)
{
	debugfs_create_file("tce_tables", 0400, kvm->debugfs_dentry, kvm,
			    &kvmppc_tce_tables_fops);
	debugfs_create_u32("tce_tiers", 0400, kvm->debugfs_dentry,
			   &kvm->arch.tce_tiers);
}
