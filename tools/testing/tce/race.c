// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real threads on the same objects, for ThreadSanitizer, and for AddressSanitizer
 * with delays where another CPU may come in between.
 *
 *	race ROUNDS [SEED]
 *
 * Each thread is a virtual CPU and a thread of the VMM, and takes one step after
 * the other: a hypercall in any tier, an ioctl, a DMA.  Nothing stays: memory is
 * unregistered under lists and under pages being mapped, windows are removed,
 * LIOBNs, bindings and memslots come and go under calls, and nobody waits for
 * anybody but as the kernel does.  What the kernel locks around an ioctl is
 * locked here, too.  A device uses what it finds, which must be pinned memory each
 * time (device.c).  When all have stopped the books must balance: what the
 * hardware, the user words and the counts say is the same, and all can be undone.
 *
 * At the end it tells which steps have never met.
 */
#include <asm/tce_user.h>
#include <unistd.h>

#include "device.h"
#include "grace.h"
#include "world.h"

/* Steps in a round; the books are looked at after each */
#define STEPS		4000
#define THREADS		WORLD_VCPUS

/* Hardware entries that everybody changes: few, so that they meet */
#define ENTRIES		8UL

/* LIOBNs: of one table or several; of several parts an entry */
#define OWNED		0	/* with entries that belong to one virtual CPU each */
#define OTHER		1
#define PARTS		3

/* The entries of OWNED that virtual CPU n alone changes: this and OWN - 1 more */
#define OWN		ENTRIES
#define OWN_FIRST(n)	(32UL + (n) * OWN)

/* A container, with its lock, has some of the tables, and registers regions */
#define CONTAINERS	2

static struct container {
	struct mutex lock; /* as the ioctls of VFIO have it */
	struct mm_iommu_table_group_mem_t *mem[REGIONS];
} container[CONTAINERS];

static const u8 all_tables[] = { 0, 1, 4, 7 };
static const u8 all_groups[] = { 0, 1, 3, 5 };
static const u8 all_regions[] = { 0, 2, 3, 7, 8, 14, 15 };
static const u8 all_liobns[] = { OWNED, OTHER, PARTS };

#define ANY(cpu, array)	((array)[rnd(cpu, sizeof(array))])

enum kind {
	PUT_GUEST, LIST_GUEST, STUFF_GUEST, GET_GUEST,
	PUT_VIRT, LIST_VIRT, STUFF_VIRT, GET_VIRT,
	REGISTER, UNREGISTER, DROP, MAP, UNMAP, ADD, REMOVE, AGAIN,
	CREATE, DESTROY, BIND, RELEASE, FAULT, SLOT, SHOW, DMA,
	KINDS, NONE = KINDS
};

static const char * const kind_name[KINDS] = {
	"put", "list", "stuff", "get",
	"put-virt", "list-virt", "stuff-virt", "get-virt",
	"register", "unregister", "drop", "map", "unmap", "add", "remove", "again",
	"create", "destroy", "bind", "release", "fault", "slot", "show", "dma",
};

/* How often each is taken */
static const u8 weight[KINDS] = {
	20, 80, 20, 4, 10, 30, 10, 4,
	40, 40, 4, 10, 6, 6, 2, 2,
	6, 2, 12, 6, 4, 2, 4, 16,
};

static unsigned long done[KINDS], steps, hcalls, served, gone, checked;
/* Whether a step of one kind has begun while one of the other was under way */
static u8 met[KINDS][KINDS];

struct cpu {
	pthread_t thread;
	u32 seed;
	unsigned int nr;
	enum kind kind;
};

static struct cpu cpus[THREADS];

static u32 rnd(struct cpu *cpu, u32 below)
{
	cpu->seed ^= cpu->seed << 13;
	cpu->seed ^= cpu->seed >> 17;
	cpu->seed ^= cpu->seed << 5;
	return (cpu->seed >> 8) % below;
}

static void note(unsigned long *counter, unsigned long n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static bool go_on(void)
{
	return __atomic_load_n(&steps, __ATOMIC_RELAXED) < STEPS;
}

/* Once the locks of a step are taken */
static void step_begin(struct cpu *cpu, enum kind kind)
{
	unsigned int i;

	WRITE_ONCE(cpu->kind, kind);
	for (i = 0; i < THREADS; ++i) {
		enum kind other = __atomic_load_n(&cpus[i].kind, __ATOMIC_RELAXED);

		if (i == cpu->nr || other == NONE)
			continue;
		WRITE_ONCE(met[kind][other], 1);
		WRITE_ONCE(met[other][kind], 1);
	}
	note(&done[kind], 1);
}

static void step_end(struct cpu *cpu)
{
	WRITE_ONCE(cpu->kind, NONE);
	note(&steps, 1);
	spot_step();
}

/*
 * What is in force in a table after it was bound to OWNED.  The VMM has read the
 * guest's view when that was over.  What a virtual CPU has written to its own entries
 * since then has to be in the table, for as long as nobody has begun to undo the
 * binding.
 */
static struct {
	unsigned long begun, ended;	/* what undoes a binding */
	unsigned long valid;		/* @begun for which @view is; 0 for none */
	u64 view[THREADS * OWN];
} bound[TABLES];

static pthread_mutex_t bound_lock = PTHREAD_MUTEX_INITIALIZER;

static void undo_begin(unsigned int t)
{
	__atomic_fetch_add(&bound[t].begun, 1, __ATOMIC_SEQ_CST);
}

static void undo_end(unsigned int t)
{
	__atomic_fetch_add(&bound[t].ended, 1, __ATOMIC_SEQ_CST);
}

static unsigned long undone(unsigned int t)
{
	return __atomic_load_n(&bound[t].begun, __ATOMIC_SEQ_CST);
}

/* TCEs of OWNED, while it is there */
static bool read_view(unsigned long first, unsigned long n, u64 *to)
{
	const u64 *view;
	unsigned long i;

	CLASS(fd, f)(READ_ONCE(world.fd[OWNED]));

	if (fd_empty(f))
		return false;
	view = world_view(OWNED, 0);
	/* It may be of another file by now; what is read is thrown away then */
	if (!view || READ_ONCE(world.fd[OWNED]) < 0)
		return false;
	for (i = 0; i < n; ++i)
		to[i] = READ_ONCE(view[first + i]);
	return true;
}

static void note_bound(unsigned int t, unsigned long begun)
{
	pthread_mutex_lock(&bound_lock);
	if (bound[t].valid != begun &&
	    read_view(OWN_FIRST(0), THREADS * OWN, bound[t].view) &&
	    undone(t) == begun)
		bound[t].valid = begun;
	pthread_mutex_unlock(&bound_lock);
}

static void check_own_in(struct cpu *cpu, unsigned int t, const u64 *tce)
{
	const unsigned long first = OWN_FIRST(cpu->nr);
	u64 user[OWN], old[OWN];
	unsigned long i, begun;

	pthread_mutex_lock(&bound_lock);
	begun = bound[t].valid;
	memcpy(old, &bound[t].view[cpu->nr * OWN], sizeof(old));
	pthread_mutex_unlock(&bound_lock);
	if (!begun || undone(t) != begun)
		return;
	for (i = 0; i < OWN; ++i)
		user[i] = world_user(t, first + i) & ~TCE_USER_LOCK;
	if (undone(t) != begun)
		return;
	for (i = 0; i < OWN; ++i) {
		u64 want = tce[i] & 3 ? (USER_BASE + (tce[i] & ~3UL)) | TCE_USER_SET : 0;

		WRONG_IF_CHECKED(CHECK_BIND, tce[i] != old[i] && user[i] != want);
	}
	note(&checked, 1);
}

static struct container *container_of_table(unsigned int t)
{
	return &container[t % 2];
}

/* Nobody else changes the entries of this virtual CPU, nor their TCEs */
static void check_own(struct cpu *cpu)
{
	unsigned int i;
	u64 tce[OWN];

	if (!read_view(OWN_FIRST(cpu->nr), OWN, tce))
		return;
	for (i = 0; i < sizeof(all_tables); ++i) {
		struct mutex *lock = &container_of_table(all_tables[i])->lock;

		if (pthread_mutex_trylock(&lock->lock))
			continue;
		if (world.table[all_tables[i]])
			check_own_in(cpu, all_tables[i], tce);
		mutex_unlock(lock);
	}
}

/* Hypercalls */

/* A page of a region that comes and goes, or of none */
static unsigned long any_page(struct cpu *cpu)
{
	static const u8 page[] = { 0, 1, 2, 8, 9, 10, 48, 52 };

	return (unsigned long)ANY(cpu, page) << PAGE_SHIFT;
}

/*
 * Lists lie anywhere, too, and are rewritten by a guest while they are read.  Many
 * entries lead nowhere, or regions would seldom be free to go.
 */
static unsigned long write_list(struct cpu *cpu, unsigned long n)
{
	static const u8 page[] = { 1, 2, 8, 9, 52 };
	unsigned long off = (cpu->nr / 2 * SZ_4K) & ~PAGE_MASK;
	unsigned long gpa = (unsigned long)ANY(cpu, page) << PAGE_SHIFT | off;
	unsigned long ua = USER_BASE + gpa, base = any_page(cpu), i;
	u64 *list = __va(page_to_phys(user_find(ua)) | off);
	bool some = !rnd(cpu, 4);

	for (i = 0; i < n; ++i)
		user_store(&list[i], cpu_to_be64((base + ((u64)rnd(cpu, 16) << 12)) |
						 (some ? rnd(cpu, 4) : 0)));
	return gpa;
}

static void hcall(struct cpu *cpu, enum kind kind)
{
	struct kvm_vcpu *vcpu = &world.vcpu[cpu->nr];
	const bool own = !rnd(cpu, 4);
	const unsigned int l = own ? OWNED : ANY(cpu, all_liobns);
	const unsigned int shift = layout_liobn[l].shift;
	const unsigned long entries = own || l != PARTS ? ENTRIES : 1;
	unsigned long first = rnd(cpu, entries), n = 1 + rnd(cpu, entries - first);
	unsigned long req = world_req[kind % 4], arg[4] = { l };
	enum tier tier = kind >= PUT_VIRT ? TIER_VIRT : TIER_EARLY + rnd(cpu, TIERS - 1);

	arg[1] = (first + (own ? OWN_FIRST(cpu->nr) : 0)) << shift;
	if (req == H_PUT_TCE)
		arg[2] = any_page(cpu) | (rnd(cpu, 4) ? 0 : rnd(cpu, 4));
	else if (req == H_PUT_TCE_INDIRECT)
		arg[2] = write_list(cpu, n);
	arg[3] = n;
	step_begin(cpu, kind);
	note(&hcalls, 1);
	shim_mm = &world.mm;
	if (world_hcall(vcpu, tier, req, arg, NULL) == H_SUCCESS)
		note(&served, 1);
	/* Virtual mode hears of it, and passes it on */
	if (vcpu->arch.tce_hopeless)
		WRONG_IF(world_hcall(vcpu, TIER_VIRT, req, arg, NULL) != H_TOO_HARD);
	shim_mm = NULL;
	if (own)
		check_own(cpu);
	step_end(cpu);
}

/* Ioctls of VFIO: what is done to memory and windows */

static void register_region(struct container *con, unsigned int r)
{
	const struct layout_region *lr = &layout_region[r];

	if (con->mem[r])
		return;
	con->mem[r] = mm_iommu_get(&world.mm, lr->ua, lr->pages);
	/* Others may overlap */
	if (!con->mem[r] && mm_iommu_new(&world.mm, lr->ua, lr->pages, &con->mem[r]))
		con->mem[r] = NULL;
}

static bool unregister_region(struct container *con, unsigned int r)
{
	if (!con->mem[r] || mm_iommu_put(&world.mm, con->mem[r]))
		return false;
	con->mem[r] = NULL;
	note(&gone, 1);
	return true;
}

/* As when a container ends that has a table no more */
static void drop_region(struct container *con, unsigned int r)
{
	if (con->mem[r])
		mm_iommu_drop(&world.mm, con->mem[r]);
	con->mem[r] = NULL;
	mm_iommu_reap(&world.mm);
}

/* The lock is held here and below, and let go of in between: the window may go */
static void map(struct cpu *cpu, struct container *con, struct iommu_table *tbl,
		unsigned long ua)
{
	unsigned long n = 1 + rnd(cpu, 4);

	WRONG_IF(!iommu_tce_table_get(tbl));
	tce_user_map(tbl, tbl->it_offset + rnd(cpu, ENTRIES - n), n, ua,
		     iommu_tce_direction(1 + rnd(cpu, 3)), &con->lock);
	iommu_tce_table_put(tbl);
}

static void unmap(struct cpu *cpu, struct container *con, struct iommu_table *tbl)
{
	unsigned long n = 1 + rnd(cpu, ENTRIES - 1);

	WRONG_IF(!iommu_tce_table_get(tbl));
	tce_user_unmap(tbl, tbl->it_offset + rnd(cpu, ENTRIES - n), n, &con->lock);
	iommu_tce_table_put(tbl);
}

/* Nobody installs anything in a table that was closed */
static void check_closed(unsigned int t)
{
	unsigned long i, again;

	for (again = 0; again < 4; ++again) {
		sched_yield();
		for (i = 0; i < OWN_FIRST(THREADS); ++i)
			WRONG_IF(world_user(t, i) | world_hw(t, i));
	}
}

static void open_table(struct cpu *cpu, unsigned int t)
{
	bool pinned = checks & CHECK_PINNED && !rnd(cpu, 8);

	WRONG_IF(tce_user_open(world.table[t], &world.mm, pinned));
}

static void close_table(unsigned int t)
{
	undo_begin(t);
	tce_user_close(world.table[t]);
	check_closed(t);
	undo_end(t);
}

/* A window is there or is not; the same one may be closed and opened again */
static bool window(struct cpu *cpu, enum kind kind, unsigned int t)
{
	if (kind == ADD ? !!world.table[t] : !world.table[t])
		return false;
	step_begin(cpu, kind);
	switch (kind) {
	case ADD:
		world_add_table(t);
		device_attach(t);
		break;
	case REMOVE:
		close_table(t);
		device_detach(t);
		world_remove_table(t);
		mm_iommu_reap(&world.mm);
		break;
	case AGAIN:
		close_table(t);
		break;
	case MAP:
		map(cpu, container_of_table(t), world.table[t], USER_BASE + any_page(cpu));
		break;
	default:
		unmap(cpu, container_of_table(t), world.table[t]);
	}
	if (kind == ADD || kind == AGAIN)
		open_table(cpu, t);
	step_end(cpu);
	return true;
}

/*
 * Memory that was unregistered is registered again, and used: whoever has found
 * the old region has something else at the same addresses.  With the lock held.
 */
static void renew(struct cpu *cpu, struct container *con, unsigned int r)
{
	const struct layout_region *lr = &layout_region[r];
	unsigned int t = ANY(cpu, all_tables);

	step_begin(cpu, REGISTER);
	register_region(con, r);
	step_end(cpu);
	while (con != container_of_table(t))
		t = ANY(cpu, all_tables);
	if (!con->mem[r] || !world.table[t])
		return;
	step_begin(cpu, MAP);
	map(cpu, con, world.table[t],
	    lr->ua + ((unsigned long)rnd(cpu, lr->pages) << PAGE_SHIFT));
	step_end(cpu);
}

static void container_ioctl(struct cpu *cpu, enum kind kind)
{
	unsigned int t = ANY(cpu, all_tables), r = ANY(cpu, all_regions);
	struct container *con = kind < MAP ? &container[rnd(cpu, CONTAINERS)] :
					     container_of_table(t);
	bool again = false;

	mutex_lock(&con->lock);
	if (kind >= MAP) {
		window(cpu, kind, t);
	} else {
		step_begin(cpu, kind);
		if (kind == REGISTER)
			register_region(con, r);
		else if (kind == UNREGISTER)
			again = unregister_region(con, r) && rnd(cpu, 4);
		else
			drop_region(con, r);
		step_end(cpu);
		if (again)
			renew(cpu, con, r);
	}
	mutex_unlock(&con->lock);
}

/* Ioctls of KVM, and files that are closed */

static const u8 table_of_group[GROUPS] = { 0, 1, TABLES, 4, 6, 7, TABLES };

static void create(unsigned int l)
{
	const struct layout_liobn *ll = &layout_liobn[l];
	struct kvm_create_spapr_tce_64 args = {
		.liobn = l, .page_shift = ll->shift, .offset = ll->offset, .size = ll->size,
	};
	int fd = kvm_vm_ioctl_create_spapr_tce(&world.kvm, &args);

	/* Another thread may have been first */
	WRONG_IF(fd < 0 && fd != -EBUSY);
	if (fd >= 0)
		__atomic_store_n(&world.fd[l], fd, __ATOMIC_RELEASE);
}

static void destroy(unsigned int l)
{
	int fd = __atomic_exchange_n(&world.fd[l], -1, __ATOMIC_SEQ_CST);
	unsigned int i;

	if (fd < 0)
		return;
	for (i = 0; l == OWNED && i < sizeof(all_tables); ++i)
		undo_begin(all_tables[i]);
	shim_close(fd);
	for (i = 0; l == OWNED && i < sizeof(all_tables); ++i)
		undo_end(all_tables[i]);
}

static void bind(unsigned int l, unsigned int group)
{
	const unsigned int t = table_of_group[group];
	unsigned long begun = undone(t);
	bool still = __atomic_load_n(&bound[t].ended, __ATOMIC_SEQ_CST) == begun;
	int fd = READ_ONCE(world.fd[l]);
	long ret;

	if (fd < 0)
		return;
	ret = kvm_spapr_tce_attach_iommu_group(&world.kvm, fd, &world.group[group],
					       &world.group_file[group]);
	/* LIOBN and table may go just now */
	WRONG_IF(ret && ret != -EINVAL && ret != -EBADF);
	if (!ret && l == OWNED && still && begun)
		note_bound(t, begun);
}

static void release(unsigned int group)
{
	const unsigned int t = table_of_group[group];

	undo_begin(t);
	kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group_file[group]);
	undo_end(t);
}

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

/* A memslot goes, and another comes in its place */
static void change_slot(struct cpu *cpu)
{
	pthread_mutex_lock(&slots_lock);
	step_begin(cpu, SLOT);
	world_set_slot(0, KVM_MEMSLOT_INVALID);
	world_set_slot(0, rnd(cpu, 8) ? 0 : KVM_MEM_READONLY);
	step_end(cpu);
	pthread_mutex_unlock(&slots_lock);
}

static void kvm_ioctl(struct cpu *cpu, enum kind kind)
{
	unsigned int l = ANY(cpu, all_liobns), group = ANY(cpu, all_groups);

	if (kind == SLOT) {
		change_slot(cpu);
		return;
	}
	step_begin(cpu, kind);
	switch (kind) {
	case CREATE:
		create(l);
		break;
	case DESTROY:
		destroy(l);
		break;
	case BIND:
		bind(l, group);
		break;
	case RELEASE:
		release(group);
		break;
	case FAULT:
		world_view(l, 0);
		break;
	case SHOW:
		world_show();
		break;
	default:
		device_dma(ANY(cpu, all_tables), rnd(cpu, ENTRIES));
	}
	step_end(cpu);
}

static void *work(void *arg)
{
	struct cpu *cpu = arg;
	unsigned int sum = 0, i;

	for (i = 0; i < KINDS; ++i)
		sum += weight[i];
	while (go_on()) {
		unsigned int pick = rnd(cpu, sum);
		enum kind kind = 0;

		for (; pick >= weight[kind]; ++kind)
			pick -= weight[kind];
		if (kind < REGISTER)
			hcall(cpu, kind);
		else if (kind < CREATE)
			container_ioctl(cpu, kind);
		else
			kvm_ioctl(cpu, kind);
		/* Whoever is waited for shall come to run, too */
		if (!rnd(cpu, 8))
			sched_yield();
	}
	return NULL;
}

/* Hardware and user words say the same; counts are what they add up to */

static void balance_table(unsigned int t, s64 *mapped)
{
	const struct iommu_table *tbl = world.table[t];
	unsigned long i;
	unsigned int r;

	for (i = 0; tbl && tbl->it_mm && i < layout_table[t].size; ++i) {
		u64 user = world_user(t, i), hw = world_hw(t, i);
		unsigned long ua = user & ~0xfffUL;

		WRONG_IF(!user != !hw);
		if (!user)
			continue;
		WRONG_IF((user & 0xfff) != TCE_USER_SET);
		WRONG_IF((hw & ~0xfffUL) != (page_to_phys(user_find(ua)) | (ua & ~PAGE_MASK)));
		for (r = 0; r < REGIONS; ++r)
			mapped[r] += ua - layout_region[r].ua <
				     layout_region[r].pages << PAGE_SHIFT;
	}
}

static void balance(void)
{
	s64 mapped[REGIONS] = {};
	unsigned int t, r, c;

	for (t = 0; t < TABLES; ++t)
		balance_table(t, mapped);
	for (r = 0; r < REGIONS; ++r) {
		for (c = 0; c < CONTAINERS; ++c) {
			if (!container[c].mem[r])
				continue;
			world.mem[r] = container[c].mem[r];
			if (world_mapped(r) != mapped[r] + 1)
				printf("# region %u is counted %ld, %ld entries lead there\n",
				       r, (long)world_mapped(r), (long)mapped[r]);
			WRONG_IF(world_mapped(r) != mapped[r] + 1);
		}
		world.mem[r] = NULL;
	}
}

/* Once the tables are closed nothing holds a region, nor one that nobody knows */
static void undo_all(void)
{
	unsigned int i, c;

	for (i = 0; i < TABLES; ++i)
		if (world.table[i])
			tce_user_close(world.table[i]);
	for (c = 0; c < CONTAINERS; ++c) {
		for (i = 0; i < REGIONS; ++i) {
			if (container[c].mem[i])
				WRONG_IF(mm_iommu_put(&world.mm, container[c].mem[i]));
			container[c].mem[i] = NULL;
		}
	}
	mm_iommu_reap(&world.mm);
	WRONG_IF(world_has_regions());
	world_close();
	device_end();
	world_end();
}

static void begin(void)
{
	unsigned int i;

	world_begin(device_kill);
	device_begin();
	for (i = 0; i < CONTAINERS; ++i)
		mutex_init(&container[i].lock);
	memset(bound, 0, sizeof(bound));
	for (i = 0; i < sizeof(all_tables); ++i) {
		unsigned int t = all_tables[i];

		bound[t].begun = 1;
		bound[t].ended = 1;
		WRONG_IF(tce_user_open(world.table[t], &world.mm, false));
	}
}

/* One round: all of them for some steps; then look, and take everything down */
static void one_round(unsigned int nr, u32 seed)
{
	unsigned int i;

	begin();
	limit_time(300);
	steps = 0;
	spots = true;
	spot_random(nr % 2 ? SPOT_LOCK : nr / 2 % SPOTS);
	trace_on = nr & 1;
	grace_begin();
	for (i = 0; i < THREADS; ++i) {
		cpus[i].nr = i;
		cpus[i].seed = (seed + i) * 2654435761U | 1;
		cpus[i].kind = NONE;
	}
	for (i = 0; i < THREADS; ++i)
		WRONG_IF(pthread_create(&cpus[i].thread, NULL, work, &cpus[i]));
	for (i = 0; i < THREADS; ++i)
		pthread_join(cpus[i].thread, NULL);
	grace_end();
	spots = false;
	balance();
	undo_all();
}

/* Steps that never met, for who reads this; a lock keeps two of SLOT apart */
static void print_met(void)
{
	unsigned int a, b, pairs = 0, all = 0;

	for (a = 0; a < KINDS; ++a) {
		for (b = a; b < KINDS; ++b) {
			if (a == SLOT && b == SLOT)
				continue;
			all++;
			pairs += met[a][b];
			if (!met[a][b])
				printf("# never met: %s and %s\n", kind_name[a], kind_name[b]);
		}
	}
	printf("# %u of %u pairs of steps met\n", pairs, all);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 20, i;
	u32 seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;

	for (i = 0; i < rounds; ++i)
		one_round(i, seed + i * 16);
	for (i = 0; i < KINDS; ++i)
		printf("# %lu %s\n", done[i], kind_name[i]);
	print_met();
	printf("# seed %u: %lu hypercalls (%lu succeeded in their tier)\n", seed, hcalls, served);
	printf("# %lu regions unregistered, %lu looks at tables just bound\n", gone, checked);
	printf("# at most %u entries at once\n", most_work);
	return 0;
}
