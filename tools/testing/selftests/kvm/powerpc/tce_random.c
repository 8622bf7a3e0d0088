// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that does very many TCE hypercalls, whose arguments come from a generator
 * that loves edges.  Each answer is compared with a model, and in the end what
 * H_GET_TCE, the VMM and the device see of the tables, and what is counted of
 * registered memory.
 *
 * Settings, by environment or the kernel's command line:
 *
 *	tce_seed=NUMBER		where the generator begins; a failure tells it
 *	tce_calls=NUMBER	how many hypercalls it does on each tier
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "cases.h"
#include "model.h"

#define CALLS		100000
#define BATCH		2000	/* in one go of the guest */
#define ROUND		(5 * BATCH)	/* with the same LIOBNs and tables */
#define SAMPLES		3	/* entries that the device tries in the end */
#define COMPLAINTS	5

/* Guest addresses: lists of TCEs, hypercalls, and other pieces of memory */
#define LISTS		VM_FREE
#define NR_LISTS	64UL
#define BATCH_AT	0x200000UL
#define MEMORY		0x1000000UL
#define REGISTERED	0xc00000UL
#define ELSEWHERE	(HOLE + 0x100000)
#define READ_ONLY	(HOLE + 0x800000)
#define PIECE		0x100000UL

/* Entries of the first LIOBN; the device's scratch page comes after them */
#define NR_FIRST	0x8000UL
#define SCRATCH_BUS	(NR_FIRST << SHIFT)
#define SCRATCH		0x80000UL
#define SAMPLE		64

/**
 * struct game - the machine and the model of it
 * @env: virtual machine and device
 * @other: a device in another group, if @tables is 2
 * @tables: hardware tables
 * @model: the model
 * @fds: file descriptors of the LIOBNs
 * @seed: where the generator began
 * @state: where it is
 * @calls: hypercalls done
 * @complaints: differences found
 */
struct game {
	struct env *env;
	struct vfio_dev other;
	unsigned int tables;
	struct model model;
	int fds[MODEL_LIOBNS];
	__u64 seed, state;
	unsigned long calls;
	unsigned int complaints;
};

/* xorshift64 */
static __u64 any(struct game *g)
{
	g->state ^= g->state << 13;
	g->state ^= g->state >> 7;
	g->state ^= g->state << 17;
	return g->state;
}

static __u64 below(struct game *g, __u64 n)
{
	return (any(g) >> 16) % n;
}

static __u64 one_of(struct game *g, const __u64 *list, size_t nr)
{
	return list[below(g, nr)];
}

/*
 * The generator
 */

static __u64 good_tce(struct game *g, unsigned int shift)
{
	static const __u64 edges[] = {
		0, REGISTERED / 2, REGISTERED / 2 - 0x10000,
		REGISTERED - 0x10000,
	};
	__u64 gpa = below(g, REGISTERED >> shift) << shift;

	if (!below(g, 8))
		gpa = one_of(g, edges, ARRAY_SIZE(edges));
	return gpa | (below(g, 4) ? RW : 1 + below(g, 2));
}

static __u64 any_tce(struct game *g, unsigned int shift)
{
	static const __u64 odd[] = {
		REGISTERED, MEMORY - 0x10000, MEMORY, HOLE, ELSEWHERE,
		ELSEWHERE + PIECE - 0x10000, ELSEWHERE + PIECE, READ_ONLY,
		READ_ONLY + PIECE, 1UL << 60, 1UL << 63, ~0xffffUL, ~0xfffUL,
	};
	static const __u64 off[] = { 0x4, 0x10, 0x800, 0x1000, 0xffc };

	switch (below(g, 16)) {
	case 0:
	case 1:
		return one_of(g, odd, ARRAY_SIZE(odd)) | below(g, 4);
	case 2:
		return good_tce(g, shift) +
		       one_of(g, off, ARRAY_SIZE(off));
	case 3:
		return any(g);
	case 4:
	case 5:
		return good_tce(g, shift) & ~RW;
	case 6:
		return 0;
	default:
		return good_tce(g, shift);
	}
}

/* Most lists are good; in others, one entry in sixteen may be anything */
static void make_lists(struct game *g)
{
	unsigned long l, i;

	for (l = 0; l < NR_LISTS; l++) {
		__u64 *list = (__u64 *)(g->env->vm.mem + LISTS + l * PAGE);
		const unsigned int shift = below(g, 4) ? 12 : 16;
		const bool good = below(g, 4);

		for (i = 0; i < PAGE / sizeof(*list); i++)
			list[i] = htobe64(good || below(g, 16) ?
					  good_tce(g, shift) :
					  any_tce(g, shift));
	}
}

static __u64 any_list(struct game *g)
{
	static const __u64 odd[] = {
		HOLE, MEMORY, MEMORY - PAGE, REGISTERED, ELSEWHERE, READ_ONLY,
		ELSEWHERE + PIECE - PAGE, ~0xfffUL, LISTS + 8, LISTS + 0x800,
	};

	if (!below(g, 16))
		return one_of(g, odd, ARRAY_SIZE(odd));
	return LISTS + below(g, NR_LISTS) * PAGE;
}

static __u64 any_count(struct game *g, const struct model_liobn *l)
{
	const __u64 odd[] = {
		513, l->size, l->size + 1, 1UL << 32, (1UL << 32) + 1,
		1UL << 52, 1UL << 60, ~0UL,
	};
	static const __u64 usual[] = {
		0, 1, 2, 3, 15, 16, 17, 255, 256, 257, 511, 512,
	};

	switch (below(g, 16)) {
	case 0:
		return one_of(g, odd, ARRAY_SIZE(odd));
	case 1:
		return below(g, 600);
	case 2:
	case 3:
	case 4:
		return one_of(g, usual, ARRAY_SIZE(usual));
	default:
		return below(g, 24);
	}
}

/* Where @n entries begin, most often within the window */
static __u64 any_bus(struct game *g, const struct model_liobn *l, __u64 n)
{
	const __u64 edges[] = {
		0, 1, l->size - 1, l->size, l->size - n, l->size - n + 1,
		511, 512, 8191, 8192, 8192 - n / 2, 512 - n / 2,
	};
	static const __u64 odd[] = { -0x1000UL, ~0UL, 1UL << 63, 1UL << 44 };
	__u64 bus, idx = below(g, 64);

	if (!below(g, 4))
		idx = one_of(g, edges, ARRAY_SIZE(edges));
	else if (!below(g, 16))
		idx = below(g, l->size);
	bus = (l->first + idx) << l->shift;
	switch (below(g, 64)) {
	case 0:
		return one_of(g, odd, ARRAY_SIZE(odd));
	case 1:
		return bus + 1 + below(g, 0xfff);
	case 2:
		return bus ^ 1UL << below(g, 64);
	default:
		return bus;
	}
}

static struct vm_call any_call(struct game *g)
{
	static const __u64 unknown[] = { 0, LIOBN + 99, LIOBN + (1UL << 32), ~0UL };
	static const __u64 weight[] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3 };
	const __u64 pick = one_of(g, weight, ARRAY_SIZE(weight));
	const struct model_liobn *l = &g->model.liobn[pick];
	struct vm_call call = { .args = { l->liobn } };
	__u64 n = any_count(g, l);

	if (!below(g, 64))
		call.args[0] = one_of(g, unknown, ARRAY_SIZE(unknown));
	call.args[1] = any_bus(g, l, n);
	call.args[3] = n;
	switch (below(g, 8)) {
	case 0:
	case 1:
		call.nr = H_PUT_TCE_INDIRECT;
		call.args[2] = any_list(g);
		break;
	case 2:
	case 3:
		call.nr = H_STUFF_TCE;
		call.args[2] = below(g, 2) ? 0 : any(g) & ~(below(g, 8) ? RW : 0);
		break;
	case 4:
		call.nr = H_GET_TCE;
		break;
	default:
		call.nr = H_PUT_TCE;
		call.args[2] = any_tce(g, l->shift);
	}
	return call;
}

/*
 * Playing and comparing
 */

static void complain(struct game *g)
{
	g->env->failed = true;
	if (++g->complaints < COMPLAINTS)
		return;
	ktap_say("  so much is wrong that the test ends here");
	fflush(stdout);
	_exit(1);
}

static void compare_call(struct game *g, const struct vm_called *seen)
{
	const struct vm_call *c = &seen->call;
	__u64 value = 0;
	long must = model_call(&g->model, c, FROM_USER, &value);
	const bool read = c->nr == H_GET_TCE && must == H_SUCCESS;

	if (seen->answer == must && (!read || seen->value == value))
		return;
	ktap_say("  seed %llu, call %lu: 0x%llx(0x%llx, 0x%llx, 0x%llx, 0x%llx)",
		 g->seed, g->calls, c->nr, c->args[0], c->args[1], c->args[2],
		 c->args[3]);
	ktap_say("  answered %lld, must be %ld", seen->answer, must);
	if (read)
		ktap_say("  and read back 0x%llx, must be 0x%llx", seen->value, value);
	complain(g);
}

static void play_batch(struct game *g, unsigned int nr)
{
	struct vm_called *calls = (void *)(g->env->vm.mem + BATCH_AT);
	const long user = FROM_USER;
	unsigned int i;

	make_lists(g);
	for (i = 0; i < nr; i++)
		calls[i] = (struct vm_called){ .call = any_call(g) };
	vm_batch(&g->env->vm, &user, BATCH_AT, nr);
	for (i = 0; i < nr; i++) {
		compare_call(g, &calls[i]);
		g->calls++;
	}
}

/* What the VMM sees of a LIOBN */
static void compare_view(struct game *g, unsigned int i)
{
	const struct model_liobn *l = &g->model.liobn[i];
	const size_t size = l->size * sizeof(__u64);
	const __u64 *view = mmap(NULL, size, PROT_READ, MAP_SHARED,
				 g->fds[i], 0);
	__u64 idx;

	ktap_need(view != MAP_FAILED, "mapping the guest's view of LIOBN %u", i);
	for (idx = 0; idx < l->size; idx++) {
		if (view[idx] == l->tce[idx])
			continue;
		ktap_say("  seed %llu: entry 0x%llx of LIOBN %u is 0x%llx, must be 0x%llx",
			 g->seed, idx, i, view[idx], l->tce[idx]);
		complain(g);
	}
	munmap((void *)view, size);
}

static int on_region(struct game *g, const struct vfio_dev *dev, unsigned int i,
		     int (*what)(const struct vfio_dev *dev, void *mem,
				 size_t size))
{
	const struct model_region *r = &g->model.region[i];

	return what(dev, model_memory(&g->model, r->gpa), r->size);
}

/* Registered memory can be let go of where nothing leads to it, and only there */
static void compare_regions(struct game *g)
{
	unsigned int i;

	for (i = 0; i < MODEL_REGIONS && g->model.region[i].size; i++) {
		const unsigned long mapped = g->model.region[i].mapped;
		const int must = mapped ? -EBUSY : 0;
		int ret;

		/* The last to let go is told */
		if (g->tables > 1)
			on_region(g, &g->other, i, vfio_unregister);
		ret = on_region(g, &g->env->dev, i, vfio_unregister);
		if (ret != must) {
			ktap_say("  seed %llu: unregistering 0x%llx, %lu times mapped, says %d",
				 g->seed, g->model.region[i].gpa, mapped, ret);
			complain(g);
		}
		if (!ret)
			on_region(g, &g->env->dev, i, vfio_try_register);
		if (g->tables > 1)
			on_region(g, &g->other, i, vfio_try_register);
	}
}

/* Can the device at @dev write to, and read from, what an entry leads to? */
static void try_entry(struct game *g, const struct vfio_dev *dev, __u64 entry,
		      __u64 tce)
{
	__u8 none[SAMPLE], *scratch = g->env->vm.mem + SCRATCH;
	__u8 *page = tce ? model_memory(&g->model, tce & ~RW) : none;
	__u8 saved[SAMPLE], marks[SAMPLE];
	bool right;

	memcpy(saved, page, SAMPLE);
	memset(marks, 0x11, SAMPLE);
	memset(scratch, 0x11, SAMPLE);
	memset(page, 0x22, SAMPLE);
	edu_copy(dev, SCRATCH_BUS, entry << SHIFT, SAMPLE);
	right = !memcmp(page, marks, SAMPLE) == !!(tce & TCE_WRITE);

	memset(page, 0x33, SAMPLE);
	memset(scratch, 0x44, SAMPLE);
	memset(marks, 0x33, SAMPLE);
	edu_copy(dev, entry << SHIFT, SCRATCH_BUS, SAMPLE);
	/* On bare metal, who may write may read */
	if (!tce || tce & TCE_READ)
		right = right && !memcmp(scratch, marks, SAMPLE) == !!tce;
	memcpy(page, saved, SAMPLE);
	if (right)
		return;
	ktap_say("  seed %llu: the device does not find 0x%llx at entry 0x%llx",
		 g->seed, tce, entry);
	complain(g);
}

static void compare_device(struct game *g)
{
	static const __u64 border[] = { 0, 512, 8191, NR_FIRST - 1 };
	unsigned int i, t;

	for (i = 0; i < SAMPLES; i++) {
		__u64 e = below(g, 64);

		if (!below(g, 4))
			e = one_of(g, border, ARRAY_SIZE(border));
		t = below(g, g->tables);
		try_entry(g, t ? &g->other : &g->env->dev, e,
			  g->model.table[t].tce[e]);
	}
}

static void clear_all(struct game *g)
{
	struct model_liobn *l;

	for (l = g->model.liobn; l < g->model.liobn + MODEL_LIOBNS; l++)
		expect(g->env, !hcall_of(g->env, l->liobn, H_STUFF_TCE,
					 l->first << l->shift, 0, l->size));
}

/*
 * Tables, LIOBNs and memory
 */

static void open_window(struct game *g, struct vfio_dev *dev,
			unsigned int levels)
{
	__u64 start;

	ktap_need(!vfio_remove_window(dev, 0), "removing a window");
	/* Some machines have tables of one level only */
	ktap_need((!vfio_add_window(dev, SHIFT, WINDOW, levels, &start) ||
		   !vfio_add_window(dev, SHIFT, WINDOW, 1, &start)) && !start,
		  "making a window at bus address 0");
	ktap_need(!vfio_map(dev, SCRATCH_BUS, g->env->vm.mem + SCRATCH, PAGE),
		  "mapping the scratch page");
}

static void close_window(struct game *g, struct vfio_dev *dev)
{
	expect(g->env, !vfio_unmap(dev, SCRATCH_BUS, PAGE));
}

static void make_liobn(struct game *g, unsigned int i, unsigned int shift,
		       __u64 first, __u64 size, unsigned int tables)
{
	struct model_liobn *l = &g->model.liobn[i];
	struct vm *vm = &g->env->vm;

	free(l->tce);
	*l = (struct model_liobn){
		.liobn = LIOBN + i, .shift = shift, .first = first,
		.size = size, .tables = tables,
		.tce = calloc(size, sizeof(__u64)),
	};
	g->fds[i] = vm_create_liobn_at(vm, l->liobn, shift, first << shift, size);
	if (tables & 1)
		ktap_need(!vm_bind(vm, &g->env->dev, g->fds[i]), "binding");
	if (tables & 2)
		ktap_need(!vm_bind(vm, &g->other, g->fds[i]), "binding");
}

/* Tables of one level or two, and the first LIOBN bound to one of them or to all */
static void begin_round(struct game *g, unsigned int round)
{
	const unsigned int all = (1U << g->tables) - 1, levels = 1 + round % 2;
	unsigned int t;

	open_window(g, &g->env->dev, levels);
	if (g->tables > 1)
		open_window(g, &g->other, levels);
	for (t = 0; t < g->tables; t++) {
		free(g->model.table[t].tce);
		g->model.table[t].tce = calloc(ENTRIES, sizeof(__u64));
	}
	make_liobn(g, 0, SHIFT, 0, NR_FIRST, round % 3 ? 1 : all);
	/* Smaller, of larger pages, and bound to nothing */
	make_liobn(g, 1, SHIFT, 0, 1000, 1);
	make_liobn(g, 2, 16, 0, 300, g->tables);
	make_liobn(g, 3, SHIFT, 1UL << 28, 600, 0);
}

static void end_round(struct game *g, bool last)
{
	unsigned int i;

	for (i = 0; i < MODEL_LIOBNS; i++)
		compare_view(g, i);
	if (last)
		compare_device(g);
	close_window(g, &g->env->dev);
	if (g->tables > 1)
		close_window(g, &g->other);
	compare_regions(g);
	clear_all(g);
	for (i = 0; i < MODEL_REGIONS; i++)
		g->model.region[i].mapped = 0;
	compare_regions(g);
	for (i = 0; i < MODEL_LIOBNS; i++)
		close(g->fds[i]);
}

static void add_region(struct game *g, unsigned int i, __u64 gpa, __u64 size)
{
	g->model.region[i] = (struct model_region){
		.gpa = gpa, .size = size,
	};
	ktap_need(!on_region(g, &g->env->dev, i, vfio_try_register) &&
		  (g->tables < 2 || !on_region(g, &g->other, i, vfio_try_register)),
		  "registering guest memory");
}

static void add_slot(struct game *g, unsigned int i, __u64 gpa, __u32 flags)
{
	__u8 *mem = vm_add_memory_flags(&g->env->vm, i, gpa, PIECE, flags);

	g->model.slot[i] = (struct model_slot){ gpa, PIECE, mem, flags };
}

/* A VM with registered memory, some that is not, and where KVM can, read-only */
static void begin_game(struct game *g)
{
	struct env *env = g->env;
	unsigned int i;

	vm_create(&env->vm, MEMORY);
	g->model.slot[0] = (struct model_slot){
		.size = MEMORY, .mem = env->vm.mem,
	};
	vfio_open_group(&env->dev);
	g->tables = 1 + vfio_find_next(&g->other, &env->dev, EDU_VENDOR,
					EDU_DEVICE);
	if (g->tables > 1)
		vfio_open_group(&g->other);
	for (i = 0; i < 2; i++)
		add_region(g, i, i * REGISTERED / 2, REGISTERED / 2);
	add_slot(g, 1, ELSEWHERE, 0);
	if (ioctl(env->vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) > 0) {
		add_slot(g, 2, READ_ONLY, KVM_MEM_READONLY);
		add_region(g, 2, READ_ONLY, PIECE);
	}
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
	vfio_open_device(&env->dev);
	if (g->tables > 1) {
		ktap_need(!vm_group_add(&env->vm, &g->other), "adding the group");
		vfio_open_device(&g->other);
	}
}

CASE(random_hypercalls)
{
	const unsigned long calls = setting("tce_calls", CALLS);
	struct game g = { .env = env, .seed = setting("tce_seed", 1) };
	unsigned long left, n;
	unsigned int round;

	g.state = (g.seed + 1) * 0x9e3779b97f4a7c15UL;
	ktap_say("  tce_seed=%llu tce_calls=%lu", g.seed, calls);
	begin_game(&g);
	for (round = 0; g.calls < calls; round++) {
		begin_round(&g, round);
		for (left = ROUND; left && g.calls < calls; left -= n) {
			n = BATCH;
			if (calls - g.calls < n)
				n = calls - g.calls;
			play_batch(&g, n);
		}
		end_round(&g, g.calls == calls);
	}
	ktap_say("  %lu of %lu hypercalls reached user space",
		 env->vm.user_exits, env->vm.hypercalls);
}

int main(void)
{
	return run_cases_on_tiers();
}
