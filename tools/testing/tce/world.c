// SPDX-License-Identifier: GPL-2.0-only
/*
 * See world.h.  The walk over the levels of a table is written anew here: that of
 * asm/tce_user.h is what is tested.
 */
#include <asm/tce_user.h>

#include "grace.h"
#include "world.h"

#define HUGE_PAGES	(1UL << (USER_HUGE_SHIFT - PAGE_SHIFT))
#define MIB_PAGES	(1UL << (20 - PAGE_SHIFT))

const struct layout_table layout_table[TABLES] = {
	{ .shift = 12, .size = 128 },
	{ .shift = 12, .size = 256, .levels = 1, .level_size = 16 },
	{ .shift = 16, .size = 64, .offset = 0x10 },
	{ .shift = 16, .size = 4096, .levels = 2, .level_size = 16 },
	{ .shift = 12, .size = 8200, .foreign = true, .lists = true },
	{ .shift = 24, .size = 4 },
	{ .shift = 12, .size = 128, .levels = 1, .level_size = 16, .pinned = true },
	{ .shift = 12, .size = 8200 },
	{ .shift = 24, .size = 2, .foreign = true, .pinned = true },
};

const int layout_group[GROUPS][IOMMU_TABLE_GROUP_MAX_TABLES] = {
	{ 0, 2 }, { 1, -1 }, { 3, 2 }, { 4, 5 }, { 6, 8 }, { 7, -1 }, { -1, -1 },
};

const struct layout_liobn layout_liobn[LIOBNS] = {
	{ 12, 0, 128 }, { 12, 0, 256 }, { 16, 0x10, 64 }, { 16, 0, 8 },
	{ 24, 0, 2 }, { 12, 0, 8200 }, { 25, 0, 1 },
};

#define SMALL(first, n)	{ USER_BASE + ((first) << PAGE_SHIFT), n }

/* Some overlap, one cannot be pinned, one is empty */
const struct layout_region layout_region[REGIONS] = {
	SMALL(0UL, 16), SMALL(16UL, 32), SMALL(48UL, 32), SMALL(8UL, 16),
	{ USER_HUGE_BASE, HUGE_PAGES },
	{ USER_HUGE_BASE + (1UL << USER_HUGE_SHIFT), HUGE_PAGES, true },
	SMALL(0UL, 1), SMALL(1UL, 1), SMALL(2UL, 1), SMALL(3UL, 1), SMALL(4UL, 1),
	SMALL(5UL, 1), SMALL(6UL, 1), SMALL(7UL, 1), SMALL(8UL, 1), SMALL(9UL, 1),
	{ USER_HUGE_BASE, MIB_PAGES }, SMALL(90UL, 10), SMALL(12UL, 0),
	{ USER_HUGE_BASE, 2 * HUGE_PAGES },
	{ USER_HUGE_BASE + (1UL << 23), HUGE_PAGES },
};

const unsigned long world_req[4] = {
	H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE, H_GET_TCE
};

struct world world;

/* Tables */

static const u64 *walk(unsigned int t, const u64 *view, unsigned long idx)
{
	const struct layout_table *lt = &layout_table[t];
	unsigned int level, i;

	for (level = lt->levels; level && view; --level) {
		unsigned long div = 1;

		for (i = 0; i < level; ++i)
			div *= lt->level_size;
		view = __va(be64_to_cpu(READ_ONCE(view[idx / div])) & ~3UL);
		idx %= div;
	}
	return view ? view + idx : NULL;
}

const u64 *world_words(unsigned int t, bool user, unsigned long idx, unsigned long *n)
{
	const struct layout_table *lt = &layout_table[t];
	const struct iommu_table *tbl = world.table[t];
	const u64 *view = user ? (u64 *)tbl->it_userspace : tbl->foreign;

	*n = lt->levels ? lt->level_size - idx % lt->level_size : lt->size - idx;
	if (!view)
		view = (u64 *)tbl->it_base;
	return walk(t, view, idx);
}

u64 world_order(unsigned int t, u64 word)
{
	return layout_table[t].foreign ? word : cpu_to_be64(word);
}

u64 world_hw(unsigned int t, unsigned long idx)
{
	unsigned long n;
	const u64 *word = world_words(t, false, idx, &n);

	return word ? world_order(t, READ_ONCE(*word)) : 0;
}

u64 world_user(unsigned int t, unsigned long idx)
{
	unsigned long n;
	const u64 *word = world_words(t, true, idx, &n);

	return word ? READ_ONCE(*word) : 0;
}

/* As pages are, at the begin of a line */
static void *new_view(unsigned long entries)
{
	return shim_alloc(entries * 8, TCE_USER_LINE * 8, true);
}

static bool populate_view(unsigned int t, __be64 *view, unsigned long idx)
{
	const struct layout_table *lt = &layout_table[t];
	unsigned int level;

	for (level = lt->levels; level; --level) {
		unsigned long div = 1, i;
		u64 word, new;

		for (i = 0; i < level; ++i)
			div *= lt->level_size;
		word = READ_ONCE(view[idx / div]);
		if (!word) {
			/* Levels are allocated with GFP_ATOMIC, but never under a lock */
			void *p = new_view(lt->level_size);

			if (!p)
				return false;
			new = cpu_to_be64(__pa(p) | 3);
			if (__atomic_compare_exchange_n((u64 *)&view[idx / div], &word,
							new, false,
							__ATOMIC_SEQ_CST,
							__ATOMIC_SEQ_CST))
				word = new;
			else
				kfree(p);
		}
		view = __va(be64_to_cpu(word) & ~3UL);
		idx %= div;
	}
	return true;
}

static int op_populate(struct iommu_table *tbl, unsigned long entry)
{
	unsigned int t = tbl->nr;
	unsigned long idx = entry - tbl->it_offset;
	__be64 *hw = (__be64 *)tbl->it_base, *user = tbl->it_userspace;
	__be64 *first = idx & 1 ? hw : user, *second = idx & 1 ? user : hw;

	WRONG_IF(idx >= tbl->it_size);
	/* Either may be the one that fails */
	if (!populate_view(t, first, idx) || !populate_view(t, second, idx))
		return -ENOMEM;
	return 0;
}

static void free_view(unsigned int t, __be64 *view, unsigned int level)
{
	unsigned long i, n = layout_table[t].level_size;

	if (!level) {
		kfree(view);
		return;
	}
	if (level == layout_table[t].levels)
		n = layout_table[t].size;	/* allocated for the worst case */
	for (i = 0; i < n; ++i)
		if (view[i])
			free_view(t, __va(be64_to_cpu(view[i]) & ~3UL), level - 1);
	kfree(view);
}

/* The hypervisor changes an entry, or refuses to */
static int hypervisor_put(struct iommu_table *tbl, unsigned long entry, u64 tce)
{
	unsigned long idx = entry - tbl->it_offset;

	WRONG_IF(idx >= tbl->it_size);
	if (world.refuse && !--world.refuse) {
		world.refused = true;
		world.refuse = world.refuse_more ? 1 : 0;
		world.refuse_more -= world.refuse;
		return world.busy ? -EAGAIN : -EIO;
	}
	__atomic_store_n(&tbl->foreign[idx], tce, __ATOMIC_SEQ_CST);
	return 0;
}

/* The hypervisor is asked */
static int op_put(struct iommu_table *tbl, unsigned long entry, u64 tce)
{
	/* Who is busy is asked more often */
	if (!world.busy)
		shim_foreign(world.refused, world.refused_list);
	spot(SPOT_EXCHANGE, tbl);
	return hypervisor_put(tbl, entry, tce);
}

/* A list is worked up to the entry that is refused, by a machine that looks at 4K */
static int op_put_list(struct iommu_table *tbl, unsigned long entry,
		       const __be64 *tces, unsigned long n)
{
	unsigned long i;
	int ret = 0;

	WRONG_IF(READ_ONCE(tbl->it_mm_pinned));
	WRONG_IF(!n || n > 512 || (unsigned long)tces & 0xfff);
	/* Who is busy is asked more often */
	if (!world.busy)
		shim_foreign(world.refused, world.refused_list);
	spot(SPOT_EXCHANGE, tbl);
	for (i = 0; !ret && i < n; ++i)
		ret = hypervisor_put(tbl, entry + i, tces ? be64_to_cpu(tces[i]) : 0);
	if (ret)
		world.refused_list = n;
	spot(SPOT_EXCHANGE, tbl);
	return ret;
}

s64 world_mapped(unsigned int region)
{
	s64 mapped = atomic64_read(&world.mem[region]->mapped);
	const struct mm_iommu_reader *reader;

	list_for_each_entry(reader, &world.mm.context.iommu->readers, next)
		if (reader->kept == world.mem[region])
			mapped -= reader->nr_kept;
	return mapped;
}

/* Beginning and end */

/* A table that was removed has them still */
static void set_ops(unsigned int t)
{
	const struct layout_table *lt = &layout_table[t];

	world.ops[t] = (struct iommu_table_ops){
		.tce_kill = world.kill,
		.tce_kill_rm = lt->foreign ? NULL : world.kill,
		.put = lt->foreign ? op_put : NULL,
		.put_list = lt->foreign && lt->lists ? op_put_list : NULL,
		.populate = lt->levels ? op_populate : NULL,
	};
}

void world_add_table(unsigned int t)
{
	const struct layout_table *lt = &layout_table[t];
	struct iommu_table *tbl = kzalloc(sizeof(*tbl), GFP_KERNEL);
	unsigned int i, j;

	*tbl = (struct iommu_table){
		.it_indirect_levels = lt->levels, .it_level_size = lt->level_size,
		.it_ops = &world.ops[t], .refs = 1, .nr = t,
		.it_userspace = new_view(lt->size),
	};
	if (lt->foreign)
		tbl->foreign = new_view(lt->size);
	else
		tbl->it_base = (unsigned long)new_view(lt->size);
	world.table[t] = tbl;
	for (i = 0; i < GROUPS; ++i)
		for (j = 0; j < IOMMU_TABLE_GROUP_MAX_TABLES; ++j)
			if (layout_group[i][j] == t)
				/* Pairs with READ_ONCE() in tce_user_table_get() */
				smp_store_release(&world.table_group[i].tables[j], tbl);
	/* A table is shown to its groups before it is opened, by some before it is whole */
	tbl->it_offset = lt->offset;
	tbl->it_size = lt->size;
	tbl->it_page_shift = lt->shift;
}

void world_remove_table(unsigned int t)
{
	struct iommu_table *tbl = world.table[t];
	unsigned int i, j;

	for (i = 0; i < GROUPS; ++i)
		for (j = 0; j < IOMMU_TABLE_GROUP_MAX_TABLES; ++j)
			if (layout_group[i][j] == t)
				WRITE_ONCE(world.table_group[i].tables[j], NULL);
	world.table[t] = NULL;
	iommu_tce_table_put(tbl);
}

static void free_table_rcu(struct rcu_head *head)
{
	kfree(container_of(head, struct iommu_table, rcu));
}

/* The last reference has gone */
void world_free_table(struct iommu_table *tbl)
{
	const unsigned int levels = layout_table[tbl->nr].levels;

	free_view(tbl->nr, tbl->it_userspace, levels);
	if (tbl->it_base)
		free_view(tbl->nr, (__be64 *)tbl->it_base, levels);
	kfree(tbl->foreign);
	call_srcu(&shim_rcu, &tbl->rcu, free_table_rcu);
}

void world_set_slot(unsigned int slot, u32 flags)
{
	struct kvm_memslots *old = world.kvm.memslots[0], *new;

	new = kmalloc(sizeof(*new), GFP_KERNEL);
	memcpy(new->slot, old->slot, sizeof(new->slot));
	new->last_used_slot.counter = 0;
	new->slot[slot].flags = flags;
	/* Pairs with rcu_dereference_raw() in kvmppc_tce_slot() */
	smp_store_release(&world.kvm.memslots[0], new);
	synchronize_srcu(&world.kvm.srcu);
	kfree(old);
}

static int other_release(struct inode *inode, struct file *file)
{
	return 0;
}

static const struct file_operations other_fops = { .release = other_release };

void world_begin(void (*kill)(struct iommu_table *tbl, unsigned long entry,
			      unsigned long pages))
{
	struct kvm *kvm = &world.kvm;
	struct kvm_memslots *slots;
	unsigned int i;

	fail_alloc = 0;
	fatal_signal = false;
	use_vmalloc = false;
	user_find(USER_BASE);
	memset(&world, 0, sizeof(world));
	world.kill = kill;
	mm_iommu_init(&world.mm);
	mm_iommu_init(&world.other);
	kvm->mm = &world.mm;
	kvm->refs = 1;
	slots = kzalloc(sizeof(*slots), GFP_KERNEL);
	kvm->memslots[0] = slots;
	kvm->srcu = (struct srcu_struct)SRCU_INIT;
	mutex_init(&kvm->arch.spapr_tce_lock);
	INIT_LIST_HEAD(&kvm->arch.spapr_tce_tables);
	kvm->arch.tce_tiers = KVMPPC_TCE_TIERS;
	kvm->debugfs_dentry = &world.debugfs;
	kvmppc_tce_debugfs_init(kvm);
	memset(kvm->arch.enabled_hcalls, 0xff, sizeof(kvm->arch.enabled_hcalls));

	/* Guest memory: ordinary, read-only, huge, and beyond what can be registered */
	slots->slot[0] = (struct kvm_memory_slot){ 0, 56, USER_BASE, 0 };
	slots->slot[1] = (struct kvm_memory_slot){ 64, 16,
		USER_BASE + (56UL << PAGE_SHIFT), KVM_MEM_READONLY };
	slots->slot[2] = (struct kvm_memory_slot){ 0x10000000 >> PAGE_SHIFT,
		USER_HUGE, USER_HUGE_BASE, 0 };
	slots->slot[3] = (struct kvm_memory_slot){ 0x40000000 >> PAGE_SHIFT, 20,
		USER_BASE + (74UL << PAGE_SHIFT), 0 };
	/* Half a huge page aslant */
	slots->slot[4] = (struct kvm_memory_slot){ 0x80000000 >> PAGE_SHIFT,
		HUGE_PAGES, USER_HUGE_BASE + (1UL << 23), 0 };

	for (i = 0; i < WORLD_VCPUS; ++i) {
		world.vcpu[i].kvm = kvm;
		WRONG_IF(kvmppc_tce_vcpu_init(&world.vcpu[i]));
	}
	for (i = 0; i < GROUPS; ++i) {
		/* The last group is not one of sPAPR TCE */
		if (i < GROUPS - 1)
			world.group[i].data = &world.table_group[i];
		world.table_group[i].group = &world.group[i];
	}
	for (i = 0; i < TABLES; ++i) {
		set_ops(i);
		world_add_table(i);
	}
	for (i = 0; i < LIOBNS; ++i)
		world.fd[i] = -1;
	world.other_fd = anon_inode_getfd("other", &other_fops, NULL, 0);
}

void world_close(void)
{
	unsigned int i;

	fail_alloc = 0;
	world.refuse = 0;
	fatal_signal = false;
	for (i = 0; i < GROUPS; ++i)
		kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group_file[i]);
	for (i = 0; i < LIOBNS; ++i)
		if (world.fd[i] >= 0)
			shim_close(world.fd[i]);
	shim_close(world.other_fd);
	for (i = 0; i < TABLES; ++i) {
		if (!world.table[i])
			continue;
		tce_user_close(world.table[i]);
		WRONG_IF(world.table[i]->refs != 1);
	}
}

/* Everything ends, and nothing may be left */
void world_end(void)
{
	unsigned int i;

	for (i = 0; i < REGIONS; ++i) {
		if (!world.mem[i])
			continue;
		WRONG_IF(world_mapped(i) != 1);
		while (world.mem[i]->used > 1)
			mm_iommu_drop(&world.mm, world.mem[i]);
		WRONG_IF(mm_iommu_put(&world.mm, world.mem[i]));
	}
	for (i = 0; i < TABLES; ++i)
		if (world.table[i])
			world_remove_table(i);
	for (i = 0; i < WORLD_VCPUS; ++i)
		kvmppc_tce_vcpu_destroy(&world.vcpu[i]);
	mm_iommu_destroy(&world.mm);
	mm_iommu_destroy(&world.other);
	grace_settle();
	for (i = 0; i < USER_PAGES; ++i)
		WRONG_IF(user_page[i].pins);
	kfree(world.kvm.memslots[0]);
	WRONG_IF(world.mm.locked_vm || world.kvm.refs != 1 || allocated);
}

bool world_has_regions(void)
{
	const struct mm_iommu_regions *regions = world.mm.context.iommu->regions;
	unsigned int i;

	for (i = 0; regions && i < regions->nr; ++i)
		if (regions->slot[i].mem)
			return true;
	return false;
}

void world_show(void)
{
	struct seq_file file = { world.debugfs.data };

	WRONG_IF(world.debugfs.f_op->show(&file, NULL));
}

/* Memory */

const u64 *world_view(unsigned int l, unsigned long page)
{
	struct vm_area_struct vma = {};
	struct vm_fault vmf = { .vma = &vma, .pgoff = page };

	CLASS(fd, f)(READ_ONCE(world.fd[l]));

	/* Another thread may have closed it, and opened something else */
	if (fd_empty(f) || !fd_file(f)->f_op->mmap)
		return NULL;
	vma.vm_file = fd_file(f);
	WRONG_IF(fd_file(f)->f_op->mmap(fd_file(f), &vma));
	return vma.vm_ops->fault(&vmf) ? NULL : (u64 *)vmf.page;
}

u64 *world_guest(unsigned long gpa)
{
	struct kvm_memory_slot *slot = __gfn_to_memslot(world.kvm.memslots[0],
							gpa >> PAGE_SHIFT);
	struct page *page;

	if (!slot)
		return NULL;
	page = user_find(slot->userspace_addr + gpa - (slot->base_gfn << PAGE_SHIFT));
	return page ? __va(page_to_phys(page) | (gpa & ~PAGE_MASK)) : NULL;
}

/* Hypercalls */

static long hcall_virt(struct kvm_vcpu *vcpu, unsigned long req, const unsigned long *a)
{
	switch (req) {
	case H_PUT_TCE:
		return kvmppc_h_put_tce(vcpu, a[0], a[1], a[2]);
	case H_PUT_TCE_INDIRECT:
		return kvmppc_h_put_tce_indirect(vcpu, a[0], a[1], a[2], a[3]);
	case H_STUFF_TCE:
		return kvmppc_h_stuff_tce(vcpu, a[0], a[1], a[2], a[3]);
	default:
		return kvmppc_h_get_tce(vcpu, a[0], a[1]);
	}
}

static long hcall_table(struct kvm_vcpu *vcpu, unsigned long req, const unsigned long *a)
{
	vcpu->arch.regs.gpr[3] = req;
	switch (req) {
	case H_PUT_TCE:
		return kvmppc_rm_h_put_tce(vcpu, a[0], a[1], a[2]);
	case H_PUT_TCE_INDIRECT:
		return kvmppc_rm_h_put_tce_indirect(vcpu, a[0], a[1], a[2], a[3]);
	case H_STUFF_TCE:
		return kvmppc_rm_h_stuff_tce(vcpu, a[0], a[1], a[2], a[3]);
	default:
		return kvmppc_rm_h_get_tce(vcpu, a[0], a[1]);
	}
}

static long hcall_exit(struct kvm_vcpu *vcpu, enum tier tier, unsigned long req,
		       const unsigned long *a)
{
	static bool (* const serve[TIERS])(struct kvm_vcpu *vcpu) = {
		[TIER_EARLY] = kvmppc_early_tce_hcall,
		[TIER_PARTIAL] = kvmppc_partial_tce_hcall,
		[TIER_REAL] = kvmppc_rm_tce_hcall,
	};
	unsigned long *gpr = vcpu->arch.regs.gpr;

	gpr[3] = req;
	memcpy(&gpr[4], a, 4 * sizeof(*a));
	return serve[tier](vcpu) ? (long)gpr[3] : H_TOO_HARD;
}

/* Entries that a stay in guest context may change */
static unsigned int work_limit(enum tier tier)
{
	/* Where a reset or a machine check is fatal it has to be short */
	return tier == TIER_PARTIAL || tier == TIER_REAL ? WORLD_PARTIAL : TCE_USER_PIECE;
}

static __thread unsigned int guest_calls;

static long hcall_guest(struct kvm_vcpu *vcpu, enum tier tier, unsigned long req,
			const unsigned long *a)
{
	const unsigned int calls = ++guest_calls;
	/* From before guest entry on, for the sake of memslots */
	int idx = srcu_read_lock(&vcpu->kvm->srcu);
	struct shim_pmu pmu;
	long ret;

	/* The counters run, or sampling is on, or both, or neither */
	pmu.mmcr0 = calls & 1 ? MMCR0_FC : 0;
	pmu.mmcr2 = calls;
	pmu.mmcra = calls & 2 ? calls : 0;
	pmu.mmcrs = calls & 4 ? calls : 0;
	shim_pmu = pmu;
	shim_enter_guest(work_limit(tier));
	if (tier == TIER_TABLE)
		ret = hcall_table(vcpu, req, a);
	else
		ret = hcall_exit(vcpu, tier, req, a);
	shim_exit_guest();
	WRONG_IF(memcmp(&shim_pmu, &pmu, sizeof(pmu)));
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
	return ret;
}

long world_hcall(struct kvm_vcpu *vcpu, enum tier tier, unsigned long req,
		 const unsigned long *arg, u64 *tce)
{
	long ret;

	if (tier == TIER_VIRT)
		ret = hcall_virt(vcpu, req, arg);
	else
		ret = hcall_guest(vcpu, tier, req, arg);
	WRONG_IF(preempt_off || sections);
	if (tce)
		*tce = vcpu->arch.regs.gpr[4];
	return ret;
}
