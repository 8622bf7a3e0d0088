// SPDX-License-Identifier: GPL-2.0-only
/* Sequences played on the world and on the model; see step.h */
#include <asm/tce_user.h>

#include "device.h"
#include "grace.h"
#include "model.h"
#include "step.h"

#define TCES_MAX	640
#define BAD_GPA		0x7000000000000UL

static int all_tier;

/* As VFIO has it around what changes a table */
static DEFINE_MUTEX(container_lock);

/* A user word that another CPU has locked, or NULL; and what it will be again */
static u64 *held, held_word;

static void let_go(void)
{
	if (held)
		tce_user_unlock(held, held_word);
	held = NULL;
}

static void hold(unsigned int t, unsigned long idx)
{
	unsigned long n;

	if (held || !model_may_hold(t))
		return;
	held = (u64 *)world_words(t, true, idx, &n);
	if (held)
		tce_user_lock(held, &held_word, true);
}

/* Numbers of LIOBNs, half of which share a bucket */
static unsigned long number(unsigned int l)
{
	return l & 1 ? l * 0x101 : l;
}

/*
 * Page @z in units of 1 << @shift, counted in the memslot that its topmost three
 * bits name.  A few lie behind the memslot's end.
 */
static unsigned long page_offset(u16 z, unsigned int shift,
				 struct kvm_memory_slot **slot)
{
	*slot = &world.kvm.memslots[0]->slot[(z >> 13) % KVM_SLOTS];
	z &= 0x1fff;
	return (z % (((*slot)->npages << PAGE_SHIFT >> shift) + 2)) << shift;
}

static unsigned long guest_address(unsigned int z, unsigned int shift)
{
	struct kvm_memory_slot *slot;
	unsigned long off = page_offset(z, shift, &slot);

	return (slot->base_gfn << PAGE_SHIFT) + off;
}

static unsigned long user_address(unsigned int z, unsigned int shift)
{
	struct kvm_memory_slot *slot;
	unsigned long off = page_offset(z, shift, &slot);

	return (slot->userspace_addr + off) & ~((1UL << shift) - 1);
}

/* TCE @i of a list */
static u64 list_tce(const struct step *s, unsigned int shift, unsigned int i)
{
	u64 perm = s->c >> 3 & 3 ? s->c >> 3 & 3 : (i * 2) % 3 + 1;
	u32 hash = (s->z + i) * 2654435761U;

	switch (s->c & 7) {
	case 0:
		return guest_address(s->z + i, shift) | perm;
	case 1:
		return guest_address(s->z, shift) | perm;
	case 2:
		return i % 3 == 2 ? (i % 2 ? i << 12 : 0) : guest_address(s->z + i, shift) | perm;
	case 3:
		return guest_address(s->z + (hash >> 28), shift) | perm;
	case 4:
		return i == s->y % TCES_MAX - 1U ? BAD_GPA | perm :
		       guest_address(s->z + i, shift) | perm;
	case 5:
		return guest_address((s->z + i) ^ (i & 1) * 0xc000, shift) | perm;
	case 6:
		return guest_address(s->z + i * (PAGE_SIZE >> min(shift, 0U + PAGE_SHIFT)),
				     shift) | perm;
	default:
		return guest_address(hash >> 16, shift) | (hash & 3);
	}
}

/* Where a list lies: registered or not, writable or not, nowhere, or aslant */
static unsigned long list_address(const struct step *s)
{
	const struct kvm_memory_slot *slot = world.kvm.memslots[0]->slot;

	switch (s->c >> 5) {
	case 0:
	case 1:
		return 40UL << PAGE_SHIFT;
	case 2:
		return (slot[3].base_gfn + 8) << PAGE_SHIFT;
	case 3:
		return (slot[2].base_gfn << PAGE_SHIFT) + (17UL << 20);
	case 4:
		return slot[1].base_gfn << PAGE_SHIFT;
	case 5:
		return 0;
	case 6:
		return BAD_GPA;
	default:
		return (40UL << PAGE_SHIFT) + 0x800;
	}
}

static void write_list(unsigned long gpa, const u64 *tce, unsigned long n)
{
	u64 *list = world_guest(gpa);
	unsigned long i;

	for (i = 0; list && i < min(n, 512UL); ++i)
		user_store(&list[i], cpu_to_be64(tce[i]));
}

/* Each call is counted once, by who answered */
static void check_served(const struct kvm_vcpu *vcpu, const struct kvm_vcpu_stat *old,
			 enum tier tier, long ret)
{
	const struct kvm_vcpu_stat *new = &vcpu->stat;
	const u64 served[TIERS] = {
		[TIER_VIRT] = new->tce_virtual_mode - old->tce_virtual_mode,
		[TIER_EARLY] = new->tce_early_exit - old->tce_early_exit,
		[TIER_PARTIAL] = new->tce_partial_exit - old->tce_partial_exit,
		[TIER_TABLE] = new->tce_real_mode - old->tce_real_mode,
	};
	enum tier who = tier == TIER_REAL ? TIER_PARTIAL : tier, i;

	for (i = 0; i < TIERS; ++i)
		WRONG_IF(served[i] != (i == who && ret != H_TOO_HARD));
	WRONG_IF(new->tce_user_space - old->tce_user_space !=
	       (tier == TIER_VIRT && ret == H_TOO_HARD));
}

static long play_tier(struct kvm_vcpu *vcpu, const struct model_call *c,
		      const unsigned long *arg)
{
	struct kvm_vcpu_stat old = vcpu->stat;
	unsigned long kills = device_kills;
	struct seen seen = { .fatal = fatal_signal, .held = held };

	if (c->tier == TIER_VIRT)
		let_go();
	seen.ret = world_hcall(vcpu, c->tier, c->req, arg, &seen.tce);
	check_served(vcpu, &old, c->tier, seen.ret);
	seen.done = vcpu->stat.tce_mapped - old.tce_mapped +
		    vcpu->stat.tce_cleared - old.tce_cleared;
	seen.kills = device_kills - kills;
	seen.nomem = failed_alloc;
	seen.refused = world.refused;
	let_go();
	model_hcall(c, &seen);
	return seen.ret;
}

static void play_hcall(const struct step *s)
{
	const unsigned int l = s->b % (LIOBNS + 1);
	const struct layout_liobn *ll = &layout_liobn[l % LIOBNS];
	unsigned long idx = s->x % (ll->size + 4), arg[4];
	u64 tce[TCES_MAX] = {};
	struct model_call c = {
		.tier = all_tier < 0 ? s->a % TIERS : all_tier,
		.req = world_req[s->op - OP_PUT], .liobn = l, .n = 1, .tce = tce,
	};
	struct kvm_vcpu *vcpu;
	unsigned long i;

	/* Not aligned, or below a window that does not begin at 0 */
	if (s->op != OP_LIST && s->c & 16)
		c.ioba = (idx << ll->shift) + 0x100 * (s->c >> 5 & 1);
	else
		c.ioba = (ll->offset + idx) << ll->shift;

	switch (s->op) {
	case OP_PUT:
		tce[0] = guest_address(s->z, ll->shift) | (s->c & 3) | (s->c & 4) << 2;
		break;
	case OP_LIST:
		c.n = s->y % TCES_MAX;
		c.list_gpa = list_address(s);
		for (i = 0; i < c.n; ++i)
			tce[i] = list_tce(s, ll->shift, i);
		write_list(c.list_gpa, tce, c.n);
		break;
	case OP_STUFF:
		c.n = s->y & 0x8000 ? s->y : 1 + s->y % max(ll->size - min(idx, ll->size), 1UL);
		c.n <<= s->c & 64 ? 32 : 0;
		tce[0] = (s->c & 3) | (s->c & 4 ? 0x123000 : 0);
		break;
	}
	arg[0] = number(l);
	arg[1] = c.ioba;
	arg[2] = s->op == OP_LIST ? c.list_gpa : tce[0];
	arg[3] = c.n;

	vcpu = &world.vcpu[c.tier % WORLD_VCPUS];
	if (play_tier(vcpu, &c, arg) != H_TOO_HARD || c.tier == TIER_VIRT)
		return;
	c.tier = TIER_VIRT;
	play_tier(vcpu, &c, arg);
}

static void play_register(unsigned int r, struct seen *seen)
{
	const struct layout_region *lr = &layout_region[r];
	struct mm_iommu_table_group_mem_t *mem;

	mem = mm_iommu_get(&world.mm, lr->ua, lr->pages);
	use_vmalloc = lr->vmalloc;
	if (!mem)
		seen->ret = mm_iommu_new(&world.mm, lr->ua, lr->pages, &mem);
	use_vmalloc = false;
	seen->nomem = failed_alloc;
	model_register(r, seen);
	if (!seen->ret)
		world.mem[r] = mem;
}

/* Regions that the world has as long as the model has them */
static void forget_regions(void)
{
	bool any = false;
	unsigned int r;

	for (r = 0; r < REGIONS; ++r) {
		any |= model_is_there(r);
		if (!model_is_there(r))
			world.mem[r] = NULL;
	}
	WRONG_IF(world_has_regions() != any);
}

static void play_region(const struct step *s, struct seen *seen)
{
	const unsigned int r = s->a % REGIONS;

	if (s->op == OP_REGISTER) {
		play_register(r, seen);
		forget_regions();
		return;
	}
	if (s->op != OP_REAP && !model_registered(r))
		return;
	if (s->op == OP_REAP)
		mm_iommu_reap(&world.mm);
	else if (s->op == OP_DROP)
		mm_iommu_drop(&world.mm, world.mem[r]);
	else
		seen->ret = mm_iommu_put(&world.mm, world.mem[r]);
	if (s->op == OP_REAP)
		model_reap();
	else if (s->op == OP_DROP)
		model_drop(r);
	else
		model_unregister(r, seen);
	forget_regions();
}

/* A table without a user view cannot be opened */
static void check_no_view(struct iommu_table *tbl)
{
	__be64 *view = tbl->it_userspace;

	tbl->it_userspace = NULL;
	WRONG_IF(tce_user_open(tbl, &world.mm, false) != -ENOMEM);
	tbl->it_userspace = view;
}

static void play_table(const struct step *s, struct seen *seen)
{
	const unsigned int t = s->a % TABLES;
	const struct layout_table *lt = &layout_table[t];
	struct iommu_table *tbl = world.table[t];
	unsigned long first = s->x % lt->size, n = 1 + s->y % (lt->size - first);
	const bool other = s->b & 1 && !lt->pinned;
	const unsigned int perm = 1 + s->b % 3;
	unsigned long ua = user_address(s->z, lt->shift), kills = device_kills;

	if (s->op == OP_OPEN) {
		if (model_is_open(t))
			return;
		check_no_view(tbl);
		seen->ret = tce_user_open(tbl, other ? &world.other : &world.mm, lt->pinned);
		WRONG_IF(seen->ret && !(failed_alloc && seen->ret == -ENOMEM));
		if (!seen->ret)
			model_open(t, other);
		return;
	}
	if (!model_is_open(t))
		return;
	switch (s->op) {
	case OP_CLOSE:
		world.refuse = 0;
		tce_user_close(tbl);
		model_close(t);
		break;
	case OP_MAP:
		if (tbl->it_mm != &world.mm && tbl->it_mm_pinned != &world.mm)
			break;
		mutex_lock(&container_lock);
		seen->ret = tce_user_map(tbl, lt->offset + first, n, ua,
					 iommu_tce_direction(perm), &container_lock);
		mutex_unlock(&container_lock);
		seen->nomem = failed_alloc;
		seen->refused = world.refused;
		seen->kills = device_kills - kills;
		model_map(t, first, n, ua, perm, seen);
		break;
	default:
		mutex_lock(&container_lock);
		tce_user_unmap(tbl, lt->offset + first, n, &container_lock);
		mutex_unlock(&container_lock);
		seen->kills = device_kills - kills;
		seen->refused = world.refused;
		model_unmap(t, first, n, seen);
	}
}

/* What the ioctl must refuse */
static int create_badly(unsigned int what)
{
	struct kvm_create_spapr_tce_64 args[] = {
		{ .liobn = 77, .page_shift = 12, .size = 0 },
		{ .liobn = 77, .page_shift = 11, .size = 16 },
		{ .liobn = 77, .page_shift = 35, .size = 16 },
		{ .liobn = 77, .page_shift = 12, .size = 16, .offset = ~0ULL },
		{ .liobn = 77, .page_shift = 12, .size = 1ULL << 52 },
	};

	return kvm_vm_ioctl_create_spapr_tce(&world.kvm, &args[what % 5]);
}

static void play_create(const struct step *s, unsigned int l, struct seen *seen)
{
	const struct layout_liobn *ll = &layout_liobn[l];
	struct kvm_create_spapr_tce_64 args = {
		.liobn = number(l), .page_shift = ll->shift,
		.offset = ll->offset, .size = ll->size,
	};

	if (s->b) {
		WRONG_IF(create_badly(s->b) != -EINVAL);
		return;
	}
	seen->ret = kvm_vm_ioctl_create_spapr_tce(&world.kvm, &args);
	seen->nomem = failed_alloc;
	model_create(l, seen);
	if (seen->ret >= 0)
		world.fd[l] = seen->ret;
}

static void play_fault(const struct step *s, unsigned int l)
{
	unsigned long pages = DIV_ROUND_UP(layout_liobn[l].size, PAGE_SIZE / 8);
	unsigned long page = s->x % (pages + 1);
	const u64 *view;

	if (!model_is_created(l))
		return;
	view = world_view(l, page);
	WRONG_IF(view ? page == pages : page < pages && !failed_alloc);
	if (view)
		model_fault(l, page, true);
}

static long bind(int fd, unsigned int group)
{
	return kvm_spapr_tce_attach_iommu_group(&world.kvm, fd, &world.group[group],
						&world.group_file[group]);
}

static void play_liobn(const struct step *s, struct seen *seen)
{
	const unsigned int l = s->a % LIOBNS, group = s->b % GROUPS;

	switch (s->op) {
	case OP_CREATE:
		play_create(s, l, seen);
		break;
	case OP_FAULT:
		play_fault(s, l);
		break;
	case OP_DESTROY:
		if (!model_is_created(l))
			break;
		shim_close(world.fd[l]);
		world.fd[l] = -1;
		model_destroy(l);
		break;
	case OP_BIND:
		if (s->c & 1) {
			WRONG_IF(bind(world.other_fd, group) != -EINVAL);
			break;
		}
		seen->ret = bind(world.fd[l], group);
		seen->nomem = failed_alloc;
		model_bind(l, group, seen);
		break;
	default:
		kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group_file[s->a % GROUPS]);
		model_release(s->a % GROUPS);
	}
}

static void enable_hcalls(unsigned int mask)
{
	unsigned long *enabled = world.kvm.arch.enabled_hcalls;
	unsigned int i;

	memset(enabled, 0, sizeof(world.kvm.arch.enabled_hcalls));
	for (i = 0; i < 4; ++i)
		if (mask & 1U << i)
			enabled[world_req[i] / 4 / 64] |= 1UL << world_req[i] / 4 % 64;
}

/* Hypercalls of other kinds are left alone */
static void check_not_ours(void)
{
	const unsigned long arg[4] = {};
	enum tier tier;

	for (tier = TIER_EARLY; tier < TIER_TABLE; ++tier)
		WRONG_IF(world_hcall(&world.vcpu[0], tier, H_REMOVE, arg, NULL) != H_TOO_HARD);
}

static void play_setting(const struct step *s)
{
	switch (s->op) {
	case OP_SLOT:
		world.kvm.memslots[0]->slot[s->a % KVM_SLOTS].flags =
			(s->b & 1 ? KVM_MEM_READONLY : 0) |
			(s->b & 2 ? KVM_MEMSLOT_INVALID : 0);
		break;
	case OP_TIERS:
		world.kvm.arch.tce_tiers = s->a & KVMPPC_TCE_TIERS;
		break;
	case OP_HCALLS:
		enable_hcalls(s->a);
		check_not_ours();
		break;
	case OP_FAIL:
		fail_alloc = 1 + s->x % 64;
		break;
	case OP_REFUSE:
		world.refuse = 1 + s->x % 64;
		break;
	case OP_FATAL:
		fatal_signal = true;
		break;
	case OP_HOLD:
		hold(s->a % TABLES, s->x % layout_table[s->a % TABLES].size);
		break;
	}
}

static void play_one(const struct step *s)
{
	struct seen seen = { .fatal = fatal_signal };

	if (s->op >= OP_SLOT) {
		play_setting(s);
		return;
	}

	if (s->op < OP_PUT)
		let_go();
	if (s->op >= OP_PUT)
		play_hcall(s);
	else if (s->op >= OP_CREATE)
		play_liobn(s, &seen);
	else if (s->op >= OP_OPEN)
		play_table(s, &seen);
	else
		play_region(s, &seen);

	fail_alloc = 0;
	failed_alloc = false;
	world.refuse = 0;
	world.refused = false;
	world.refused_list = 0;
	fatal_signal = false;
	grace_settle();
	device_dma_all();
	model_check();
}

void step_play(const struct step *steps, unsigned int nr, int tier)
{
	unsigned int i;

	all_tier = tier;
	held = NULL;
	trace_on = nr & 1;
	world_begin(device_kill);
	device_begin();
	model_begin();
	for (i = 0; i < nr; ++i)
		play_one(&steps[i]);
	let_go();
	model_end();
	world_close();
	device_end();
	world_end();
}
