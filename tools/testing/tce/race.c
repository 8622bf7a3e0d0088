// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real threads on the same entries, for ThreadSanitizer, and for AddressSanitizer
 * with delays where another CPU may come in between.
 *
 *	race SECONDS [SEED]
 *
 * Four virtual CPUs make hypercalls in all tiers; VFIO maps, unmaps, closes and
 * opens a table; memory is registered and unregistered; groups are bound and
 * released, LIOBNs come and go; and a device uses what it finds, which must be
 * pinned memory each time (device.c).  At the end the books must balance: what
 * the hardware, the user words, the shadow and the counts say is the same.
 */
#include <asm/iommu_user.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "world.h"

/* In a second; the books are looked at after each */
#define ROUNDS		5

/* Few entries, so that they meet; in two pieces of a table with levels */
#define ENTRIES		24UL
#define SHARED		1	/* LIOBN, its group and table, there to the end */
#define CROSSED		0	/* another one */
#define COMING		3	/* LIOBN that comes and goes */
#define STAYING		2	/* region that is there to the end */
#define FIRST_PAGE	6	/* of the regions of one page, which come and go */
#define CLOSING		3	/* table that VFIO closes */

static bool over;
static bool crossed;	/* LIOBNs share tables, and were bound in opposite orders */
static unsigned long hcalls, served, dmas, maps, gone;

struct cpu {
	pthread_t thread;
	u32 seed;
	unsigned int nr;
};

static u32 rnd(struct cpu *cpu, u32 below)
{
	cpu->seed ^= cpu->seed << 13;
	cpu->seed ^= cpu->seed >> 17;
	cpu->seed ^= cpu->seed << 5;
	return (cpu->seed >> 8) % below;
}

static bool go_on(void)
{
	return !__atomic_load_n(&over, __ATOMIC_RELAXED);
}

static void note(unsigned long *counter, unsigned long n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* A page of one of the regions that come and go, of one that stays, or of none */
static unsigned long any_page(struct cpu *cpu)
{
	unsigned long page = rnd(cpu, 4) ? rnd(cpu, 12) : 48 + rnd(cpu, 4);

	return page << PAGE_SHIFT;
}

/* Lists are rewritten by a guest while they are read */
static unsigned long write_list(struct cpu *cpu, unsigned long n)
{
	unsigned long gpa = ((52UL + cpu->nr % 2) << PAGE_SHIFT);
	__be64 *list = world_guest(gpa);
	unsigned long i, base = any_page(cpu);

	for (i = 0; i < n; ++i)
		WRITE_ONCE(list[i], cpu_to_be64((base + ((u64)rnd(cpu, 16) << 12)) |
						rnd(cpu, 4)));
	return gpa;
}

static void one_hcall(struct cpu *cpu)
{
	unsigned long req = world_req[rnd(cpu, 10) * 4 / 10];
	static const unsigned int which[8] = {
		CROSSED, CROSSED, COMING, COMING, SHARED, SHARED, SHARED, SHARED
	};
	unsigned int l = which[rnd(cpu, 8)];
	unsigned int shift = layout_liobn[l].shift;
	unsigned long first = rnd(cpu, l == COMING ? 8 : ENTRIES), n;
	unsigned long arg[4] = { l, first << shift };
	enum tier tier = rnd(cpu, TIERS);

	n = 1 + rnd(cpu, (l == COMING ? 8 : ENTRIES) - first);
	switch (req) {
	case H_PUT_TCE:
		arg[2] = any_page(cpu) | rnd(cpu, 4);
		break;
	case H_PUT_TCE_INDIRECT:
		arg[2] = write_list(cpu, n);
		break;
	}
	arg[3] = n;
	note(&hcalls, 1);
	if (world_hcall(&world.vcpu[cpu->nr], tier, req, arg, NULL) == H_SUCCESS)
		note(&served, 1);
	else if (tier != TIER_VIRT)
		world_hcall(&world.vcpu[cpu->nr], TIER_VIRT, req, arg, NULL);
}

static void *guest(void *arg)
{
	while (go_on())
		one_hcall(arg);
	return NULL;
}

/* Nobody installs anything in a table that was closed */
static void check_closed(void)
{
	unsigned long i, again;

	for (again = 0; again < 4; ++again) {
		sched_yield();
		for (i = 0; i < ENTRIES; ++i)
			WRONG_IF(world_user(CLOSING, i) | world_hw(CLOSING, i));
	}
}

/* The only one to map and unmap in each table, as a container's lock has it */
static void *vfio(void *arg)
{
	struct cpu *cpu = arg;

	while (go_on()) {
		struct iommu_table *tbl = &world.table[rnd(cpu, 4) ? SHARED : CLOSING];
		unsigned long n = 1 + rnd(cpu, 4), ua;

		ua = USER_BASE + any_page(cpu);
		if (rnd(cpu, 2))
			iommu_user_map(tbl, rnd(cpu, ENTRIES - n), n, ua,
				       iommu_tce_direction(1 + rnd(cpu, 3)));
		else
			iommu_user_unmap(tbl, rnd(cpu, ENTRIES - n), n);
		note(&maps, 1);
		if (rnd(cpu, 32))
			continue;
		iommu_user_close(&world.table[CLOSING]);
		check_closed();
		WRONG_IF(iommu_user_open(&world.table[CLOSING], &world.mm, false));
	}
	return NULL;
}

/* An unregistered region must not be reached by the device */
static void *memory(void *arg)
{
	struct mm_iommu_table_group_mem_t **mem = world.mem;
	struct cpu *cpu = arg;

	while (go_on()) {
		unsigned int r = FIRST_PAGE + rnd(cpu, 10);
		const struct layout_region *lr = &layout_region[r];

		if (!mem[r]) {
			WRONG_IF(mm_iommu_new(&world.mm, lr->ua, lr->pages, &mem[r]));
		} else if (!mm_iommu_put(&world.mm, mem[r])) {
			mem[r] = NULL;
			note(&gone, 1);
		}
		srcu_drain(&iommu_user_srcu);
		if (rnd(cpu, 2))
			sched_yield();
	}
	return NULL;
}

static void create(unsigned int l)
{
	const struct layout_liobn *ll = &layout_liobn[l];
	struct kvm_create_spapr_tce_64 args = {
		.liobn = l, .page_shift = ll->shift, .offset = ll->offset, .size = ll->size,
	};

	world.fd[l] = kvm_vm_ioctl_create_spapr_tce(&world.kvm, &args);
	WRONG_IF(world.fd[l] < 0);
}

static void bind(unsigned int l, unsigned int group)
{
	long ret = kvm_spapr_tce_attach_iommu_group(&world.kvm, world.fd[l],
						    &world.group[group]);

	/* The table may be closed just now */
	WRONG_IF(ret && ret != -EINVAL);
}

static void *vmm(void *arg)
{
	struct cpu *cpu = arg;

	while (go_on()) {
		create(COMING);
		bind(COMING, crossed ? 1 : 2);
		bind(COMING, 0);
		if (rnd(cpu, 2))
			kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group[2]);
		world_shadow(COMING, 0);
		shim_close(world.fd[COMING]);
		world.fd[COMING] = -1;
	}
	return NULL;
}

static void *device(void *arg)
{
	struct cpu *cpu = arg;

	while (go_on()) {
		device_dma(rnd(cpu, 2) ? SHARED : CLOSING, rnd(cpu, ENTRIES));
		note(&dmas, 1);
		sched_yield();
	}
	return NULL;
}

/* Hardware, user word and shadow say the same; counts are what they add up to */
static void balance(void)
{
	s64 mapped[REGIONS] = {};
	unsigned int t, r;
	unsigned long i;

	for (t = 0; t < TABLES; ++t) {
		for (i = 0; world.table[t].it_mm && i < layout_table[t].size; ++i) {
			u64 user = world_user(t, i), hw = world_hw(t, i);
			unsigned long ua = user & ~0xfffUL;

			WRONG_IF(!user != !hw);
			if (!user)
				continue;
			WRONG_IF((user & 0xfff) != IOMMU_USER_SET);
			WRONG_IF((hw & ~0xfffUL) !=
			       (page_to_phys(user_find(ua)) | (ua & ~PAGE_MASK)));
			for (r = 0; r < REGIONS; ++r)
				mapped[r] += ua - layout_region[r].ua <
					     layout_region[r].pages << PAGE_SHIFT;
		}
	}
	for (r = 0; r < REGIONS; ++r) {
		if (r != STAYING && (r < FIRST_PAGE || r >= FIRST_PAGE + 10))
			continue;
		WRONG_IF(!world.mem[r] && mapped[r]);
		WRONG_IF(world.mem[r] && world_mapped(r) != mapped[r] + 1);
	}
}

/* With VFIO at rest the shadow says what the table has */
static void balance_shadow(void)
{
	const u64 *shadow = world_shadow(SHARED, 0);
	unsigned long i;

	for (i = 0; i < ENTRIES; ++i) {
		u64 user = world_user(SHARED, i), tce = shadow[i];

		WRONG_IF(!(tce & 3) != !user);
		if (!user)
			continue;
		WRONG_IF(USER_BASE + (tce & ~3UL) != (user & ~3UL));
		WRONG_IF((world_hw(SHARED, i) & 3) != ((tce & 3) | (tce >> 1 & 1)));
	}
}

static void begin(void)
{
	world_begin();
	WRONG_IF(mm_iommu_new(&world.mm, layout_region[STAYING].ua,
			      layout_region[STAYING].pages, &world.mem[STAYING]));
	WRONG_IF(iommu_user_open(&world.table[0], &world.mm, false));
	WRONG_IF(iommu_user_open(&world.table[SHARED], &world.mm, false));
	WRONG_IF(iommu_user_open(&world.table[CLOSING], &world.mm, false));
	create(SHARED);
	bind(SHARED, SHARED);
	create(CROSSED);
	bind(CROSSED, 0);
	if (crossed)
		bind(CROSSED, 1);
}

/*
 * One round: all of them for a while; then look, and take everything down.  Every
 * other round is without VFIO, and every third with LIOBNs that share tables.
 */
static void one_round(unsigned int nr, u32 seed)
{
	static void *(* const job[])(void *) = {
		guest, guest, guest, guest, memory, vmm, device, vfio,
	};
	struct timespec ts = { .tv_nsec = 1000000000L / ROUNDS };
	const bool with_vfio = nr % 2;
	unsigned int i, n = ARRAY_SIZE(job) - !with_vfio;
	struct cpu cpu[ARRAY_SIZE(job)];

	crossed = !(nr % 3);
	begin();
	alarm(20);
	__atomic_store_n(&over, false, __ATOMIC_RELAXED);
	windows = true;
	trace_on = nr & 1;
	for (i = 0; i < n; ++i) {
		cpu[i].nr = i;
		cpu[i].seed = (seed + i) * 2654435761U | 1;
		WRONG_IF(pthread_create(&cpu[i].thread, NULL, job[i], &cpu[i]));
	}
	nanosleep(&ts, NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (i = 0; i < n; ++i)
		pthread_join(cpu[i].thread, NULL);
	windows = false;
	balance();
	if (!with_vfio && !crossed)
		balance_shadow();
	world_end();
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? atoi(argv[1]) : 5, i;
	u32 seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;

	for (i = 0; i < seconds * ROUNDS; ++i)
		one_round(i, seed + i * 16);
	printf("# seed %u: %lu hypercalls (%lu served in the first tier), %lu maps and unmaps\n",
	       seed, hcalls, served, maps);
	printf("# %lu regions unregistered, %lu DMAs\n", gone, dmas);
	return 0;
}
