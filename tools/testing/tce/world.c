// SPDX-License-Identifier: GPL-2.0-only
/*
 * See world.h.  The walk over the levels of a table is written anew here: that of
 * asm/iommu_user.h is what is tested.
 */
#include <asm/iommu_user.h>

#include "device.h"
#include "world.h"

#define HUGE_PAGES	(1UL << (USER_HUGE_SHIFT - PAGE_SHIFT))
#define MIB_PAGES	(1UL << (20 - PAGE_SHIFT))

const struct layout_table layout_table[TABLES] = {
	{ .shift = 12, .size = 128 },
	{ .shift = 12, .size = 256, .levels = 1, .level_size = 16 },
	{ .shift = 16, .size = 64, .offset = 0x10 },
	{ .shift = 16, .size = 512, .levels = 2, .level_size = 8 },
	{ .shift = 12, .size = 128, .foreign = true },
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
	const u64 *view = user ? (u64 *)world.table[t].it_userspace : world.foreign[t];

	*n = lt->levels ? lt->level_size - idx % lt->level_size : lt->size - idx;
	if (!view)
		view = (u64 *)world.table[t].it_base;
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
			void *p = kzalloc(lt->level_size * 8, GFP_KERNEL);

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
	unsigned int t = tbl - world.table;
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

static int op_exchange(struct iommu_table *tbl, long entry, unsigned long *hpa,
		       enum dma_data_direction *dir)
{
	unsigned int t = tbl - world.table;
	unsigned long idx = entry - tbl->it_offset;
	u64 old;

	WRONG_IF(idx >= tbl->it_size);
	if (world.refuse && !--world.refuse) {
		world.refused = true;
		return -EIO;
	}
	old = __atomic_exchange_n(&world.foreign[t][idx],
				  *hpa | iommu_direction_to_tce_perm(*dir),
				  __ATOMIC_SEQ_CST);
	*hpa = old & ~3UL;
	*dir = iommu_tce_direction(old);
	return 0;
}

s64 world_mapped(unsigned int region)
{
	return atomic64_read(&world.mem[region]->mapped);
}

/* Beginning and end */

static void begin_table(unsigned int t)
{
	const struct layout_table *lt = &layout_table[t];
	struct iommu_table *tbl = &world.table[t];
	struct iommu_table_ops *ops = &world.ops[t];

	*ops = (struct iommu_table_ops){
		.tce_kill = device_kill,
		.tce_kill_rm = lt->foreign ? NULL : device_kill,
		.xchg_no_kill = op_exchange,
		.populate = lt->levels ? op_populate : NULL,
	};
	*tbl = (struct iommu_table){
		.it_indirect_levels = lt->levels, .it_level_size = lt->level_size,
		.it_offset = lt->offset, .it_size = lt->size,
		.it_page_shift = lt->shift, .it_ops = ops, .refs = 1,
		.it_userspace = kzalloc(lt->size * 8, GFP_KERNEL),
	};
	if (lt->foreign)
		world.foreign[t] = kzalloc(lt->size * 8, GFP_KERNEL);
	else
		tbl->it_base = (unsigned long)kzalloc(lt->size * 8, GFP_KERNEL);
}

static int other_release(struct inode *inode, struct file *file)
{
	return 0;
}

static const struct file_operations other_fops = { .release = other_release };

void world_begin(void)
{
	struct kvm *kvm = &world.kvm;
	unsigned int i, j;

	fail_alloc = 0;
	fatal_signal = false;
	use_vmalloc = false;
	user_find(USER_BASE);
	memset(&world, 0, sizeof(world));
	mm_iommu_init(&world.mm);
	mm_iommu_init(&world.other);
	kvm->mm = &world.mm;
	kvm->refs = 1;
	kvm->memslots[0] = &world.slots;
	kvm->srcu = (struct srcu_struct){ .lock = PTHREAD_MUTEX_INITIALIZER };
	mutex_init(&kvm->arch.spapr_tce_lock);
	INIT_LIST_HEAD(&kvm->arch.spapr_tce_tables);
	kvm->arch.tce_tiers = KVMPPC_TCE_TIERS;
	memset(kvm->arch.enabled_hcalls, 0xff, sizeof(kvm->arch.enabled_hcalls));

	/* Guest memory: ordinary, read-only, huge, and beyond what can be registered */
	world.slots.slot[0] = (struct kvm_memory_slot){ 0, 56, USER_BASE, 0 };
	world.slots.slot[1] = (struct kvm_memory_slot){ 64, 16,
		USER_BASE + (56UL << PAGE_SHIFT), KVM_MEM_READONLY };
	world.slots.slot[2] = (struct kvm_memory_slot){ 0x10000000 >> PAGE_SHIFT,
		USER_HUGE, USER_HUGE_BASE, 0 };
	world.slots.slot[3] = (struct kvm_memory_slot){ 0x40000000 >> PAGE_SHIFT, 20,
		USER_BASE + (74UL << PAGE_SHIFT), 0 };
	/* Half a huge page aslant */
	world.slots.slot[4] = (struct kvm_memory_slot){ 0x80000000 >> PAGE_SHIFT,
		HUGE_PAGES, USER_HUGE_BASE + (1UL << 23), 0 };

	for (i = 0; i < WORLD_VCPUS; ++i)
		world.vcpu[i].kvm = kvm;
	device_begin();
	for (i = 0; i < TABLES; ++i)
		begin_table(i);
	for (i = 0; i < GROUPS; ++i) {
		/* The last group is not one of sPAPR TCE */
		if (i < GROUPS - 1)
			world.group[i].data = &world.table_group[i];
		world.table_group[i].group = &world.group[i];
		for (j = 0; j < IOMMU_TABLE_GROUP_MAX_TABLES; ++j)
			if (layout_group[i][j] >= 0)
				world.table_group[i].tables[j] =
					&world.table[layout_group[i][j]];
	}
	for (i = 0; i < LIOBNS; ++i)
		world.fd[i] = -1;
	world.other_fd = anon_inode_getfd("other", &other_fops, NULL, 0);
}

/* Everything ends, and nothing may be left */
void world_end(void)
{
	unsigned int i;

	fail_alloc = 0;
	world.refuse = 0;
	fatal_signal = false;
	for (i = 0; i < GROUPS; ++i)
		kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group[i]);
	for (i = 0; i < LIOBNS; ++i)
		if (world.fd[i] >= 0)
			shim_close(world.fd[i]);
	shim_close(world.other_fd);
	for (i = 0; i < TABLES; ++i) {
		iommu_user_close(&world.table[i]);
		WRONG_IF(world.table[i].refs != 1);
	}
	device_dma_all();
	for (i = 0; i < REGIONS; ++i) {
		if (!world.mem[i])
			continue;
		WRONG_IF(world_mapped(i) != 1);
		while (world.mem[i]->used > 1)
			mm_iommu_drop(&world.mm, world.mem[i]);
		WRONG_IF(mm_iommu_put(&world.mm, world.mem[i]));
	}
	srcu_drain(&iommu_user_srcu);
	for (i = 0; i < USER_PAGES; ++i)
		WRONG_IF(user_page[i].pins);
	for (i = 0; i < TABLES; ++i) {
		free_view(i, world.table[i].it_userspace, layout_table[i].levels);
		if (world.table[i].it_base)
			free_view(i, (__be64 *)world.table[i].it_base,
				  layout_table[i].levels);
		kfree(world.foreign[i]);
	}
	device_end();
	WRONG_IF(world.mm.locked_vm || world.kvm.refs != 1 || allocated);
}

/* Memory */

const u64 *world_shadow(unsigned int l, unsigned long page)
{
	struct file *file = fd_file(shim_fd(world.fd[l]));
	struct vm_area_struct vma = { .vm_file = file };
	struct vm_fault vmf = { .vma = &vma, .pgoff = page };

	WRONG_IF(file->f_op->mmap(file, &vma));
	return vma.vm_ops->fault(&vmf) ? NULL : (u64 *)vmf.page;
}

void *world_guest(unsigned long gpa)
{
	struct kvm_memory_slot *slot = __gfn_to_memslot(&world.slots, gpa >> PAGE_SHIFT);
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

static long hcall_guest(struct kvm_vcpu *vcpu, enum tier tier, unsigned long req,
			const unsigned long *a)
{
	int idx = srcu_read_lock(&vcpu->kvm->srcu), user = iommu_user_enter_guest();
	long ret;

	/* Nobody may sleep or allocate */
	preempt_disable();
	if (tier == TIER_TABLE)
		ret = hcall_table(vcpu, req, a);
	else
		ret = hcall_exit(vcpu, tier, req, a);
	preempt_enable();
	iommu_user_exit_guest(user);
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
	WRONG_IF(preempt_off);
	if (tce)
		*tce = vcpu->arch.regs.gpr[4];
	return ret;
}
