// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TCE hypercalls: answers at the edges, and what is left behind when a call
 * fails.  Everything here is the same whoever serves the call.
 *
 * That nothing leads to memory any more is seen by unregistering it: that lets go
 * of it only when the kernel counts no translation.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>
#include <linux/mman.h>
#include <linux/vfio.h>

#include "cases.h"

static void put_and_get(struct env *env)
{
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, LAST, DATA | TCE_READ) == H_SUCCESS);
	expect(env, get(env, LAST) == (DATA | TCE_READ));
	expect(env, get(env, PAGE) == 0);
	expect(env, put(env, WINDOW, DATA | RW) == H_PARAMETER);
	expect(env, put(env, 0x800, DATA | RW) == H_PARAMETER);
	expect(env, put(env, ~0xfffUL, DATA | RW) == H_PARAMETER);
	expect(env, env->vm.user_exits == 0);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, put(env, LAST, 0x5000) == H_SUCCESS);
	expect(env, get(env, LAST) == 0x5000);
	expect(env, released(env));
}

static void indirect_lists(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 0) == H_SUCCESS);
	expect(env, get(env, 0) == 0);
	expect(env, indirect(env, 0, LIST, 1) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0);
	expect(env, indirect(env, PAGE, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 512 * PAGE) == ((DATA + 511 * PAGE) | RW));
	expect(env, indirect(env, PAGE, LIST, 512) == H_SUCCESS);
	expect(env, indirect(env, 0, LIST, 513) == H_PARAMETER);
	expect(env, indirect(env, 0, LIST, 1UL << 60) == H_PARAMETER);
	expect(env, indirect(env, 0, LIST + 8, 1) == H_PARAMETER);
	expect(env, env->vm.user_exits == 0);
	expect(env, indirect(env, 0, HOLE, 1) == FROM_USER);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, 513) == H_SUCCESS);
	expect(env, released(env));
}

static void stuff_runs(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, indirect(env, LAST - 511 * PAGE, LIST, 512) == H_SUCCESS);
	expect(env, stuff(env, 0, RW, 1) == H_PARAMETER);
	expect(env, stuff(env, 0, 0, 0) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, stuff(env, 0, 0x7000, 2) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0x7000);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0);
	expect(env, get(env, LAST) == 0);
	expect(env, env->vm.user_exits == 0);
	expect(env, released(env));
}

static void unknown_liobn(struct env *env)
{
	const long user = FROM_USER;

	begin(env);
	expect(env, vm_hypercall(&env->vm, &user, H_PUT_TCE, LIOBN + 1, 0,
				 DATA | RW, 0) == FROM_USER);
}

/* A list that leads to another region with each entry costs a few more stores */
static void lists_of_many_regions(struct env *env)
{
	const size_t piece = 1 << 16;
	const unsigned int pieces = 200;
	struct vm_call map = { H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 512 } };
	struct vm_call clear = { H_STUFF_TCE, { LIOBN, 0, 0, 512 } };
	__u64 before, ticks;
	unsigned int i;

	begin(env);
	expect(env, released(env));
	for (i = 0; i < env->vm.size / piece; i++)
		vfio_register(&env->dev, env->vm.mem + i * piece, piece);
	for (i = 0; i < 512; i++)
		set_list(env, i, (DATA + i % pieces * piece) | RW);

	vm_time(&env->vm, &map, &clear, 1);
	before = stat_of(env, "tce_invalidations");
	ticks = vm_time(&env->vm, &map, &clear, 1);
	ktap_say("  %llu invalidations, %llu ticks",
		 (unsigned long long)stat_of(env, "tce_invalidations") - before,
		 (unsigned long long)ticks);
	expect(env, stat_of(env, "tce_invalidations") - before <= 2 * 512 / 6);
	expect(env, get(env, 0) == 0);
	for (i = 0; i < env->vm.size / piece; i++)
		expect(env, released_range(env, env->vm.mem + i * piece, piece));
}

static void bad_memory(struct env *env)
{
	begin(env);
	vm_add_memory(&env->vm, 1, HOLE + (1 << 20), 1 << 20);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	/* In no memslot, and in one that is not registered */
	expect(env, put(env, 0, HOLE | RW) == FROM_USER);
	expect(env, put(env, 0, (HOLE + (1 << 20)) | RW) == FROM_USER);
	/* Not the address of a page */
	expect(env, put(env, 0, (DATA + 0x10) | RW) == FROM_USER);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, released(env));
}

static void list_fails_half_way(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	set_list(env, 5, HOLE | RW);
	expect(env, indirect(env, 0, LIST, 10) == FROM_USER);
	expect(env, get(env, 4 * PAGE) == ((DATA + 4 * PAGE) | RW));
	expect(env, get(env, 5 * PAGE) == 0);
	expect(env, get(env, 6 * PAGE) == 0);
	expect(env, stuff(env, 0, 0, 5) == H_SUCCESS);
	expect(env, released(env));
}

/* A map that reaches past the window's end */
static void ioctl_past_the_window(struct env *env)
{
	begin(env);
	expect(env, vfio_map(&env->dev, LAST, env->vm.mem, 0x10000) == -EINVAL);
	expect(env, vfio_map(&env->dev, WINDOW, env->vm.mem, PAGE) == -ENXIO);
	expect(env, vfio_unmap(&env->dev, LAST, 0x10000) == -EINVAL);
	expect(env, released(env));
}

/* A window that begins elsewhere: nothing is below it, and nothing above */
static void window_with_offset(struct env *env)
{
	const long user = FROM_USER;
	const __u64 start = 1UL << 40;

	prepare(env, SHIFT);
	vm_create_liobn_at(&env->vm, LIOBN + 1, SHIFT, start, 16);
	env->liobn = LIOBN + 1;
	expect(env, put(env, start, DATA | RW) == H_SUCCESS);
	expect(env, put(env, start + 15 * PAGE, DATA | RW) == H_SUCCESS);
	expect(env, put(env, start + 16 * PAGE, DATA | RW) == H_PARAMETER);
	expect(env, put(env, start - PAGE, DATA | RW) == H_PARAMETER);
	expect(env, put(env, 0, DATA | RW) == H_PARAMETER);
	expect(env, stuff(env, start, 0, 16) == H_SUCCESS);
	expect(env, stuff(env, start, 0, 17) == H_PARAMETER);
	expect(env, stuff(env, start + PAGE, 0, 16) == H_PARAMETER);
	expect(env, stuff(env, start + 16 * PAGE, 0, 0) == H_SUCCESS);
	expect(env, vm_hypercall(&env->vm, &user, H_GET_TCE, LIOBN + 1,
				 start - PAGE, 0, 0) == H_PARAMETER);
}

/* Counts and addresses that wrap when they are multiplied or added up */
static void counts_that_wrap(struct env *env)
{
	begin(env);
	expect(env, stuff(env, 0, 0, 1UL << 52) == H_PARAMETER);
	expect(env, stuff(env, 0, 0, 1UL << 60) == H_PARAMETER);
	expect(env, stuff(env, LAST, 0, -1UL) == H_PARAMETER);
	expect(env, stuff(env, WINDOW, 0, 0) == H_SUCCESS);
	expect(env, stuff(env, WINDOW, 0, 1) == H_PARAMETER);
	expect(env, indirect(env, -PAGE, LIST, 2) == H_PARAMETER);
	expect(env, put(env, 0, ~0xfffUL | RW) == FROM_USER);
	expect(env, get(env, 0) == 0);
	expect(env, released(env));
}

/* A window of one of two page sizes in place of the default one */
static void prepare_window(struct env *env, size_t memory,
			   unsigned int liobn_shift, unsigned int shift,
			   unsigned int or_shift)
{
	__u64 start;

	prepare_sizes(env, memory, liobn_shift);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	if ((vfio_add_window(&env->dev, shift, WINDOW, 1, &start) &&
	     vfio_add_window(&env->dev, or_shift, WINDOW, 1, &start)) || start)
		case_skip("no table of such pages at bus address 0");
}

/* 16M for the guest, 64K in the table: 256 entries for one, edges included */
static void guest_pages_of_16m(struct env *env)
{
	const unsigned long big = 16 << 20;

	prepare_window(env, 3 * big, 24, 16, 16);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	expect(env, put(env, 0, big | RW) == H_SUCCESS);
	expect(env, put(env, WINDOW - big, 2 * big | TCE_READ) == H_SUCCESS);
	expect(env, get(env, WINDOW - big) == (2 * big | TCE_READ));
	expect(env, put(env, 0x10000, big | RW) == H_PARAMETER);
	/* Not the address of a page of 16M; and beyond memory */
	expect(env, put(env, 0, (big + 0x10000) | RW) == FROM_USER);
	expect(env, put(env, 0, 3 * big | RW) == FROM_USER);
	expect(env, get(env, 0) == (big | RW));
	expect(env, unregister(env) == -EBUSY);

	set_list(env, 0, big | RW);
	set_list(env, 1, 2 * big | RW);
	set_list(env, 2, 3 * big | RW);
	expect(env, indirect(env, 0, LIST, 3) == FROM_USER);
	expect(env, get(env, big) == (2 * big | RW));
	expect(env, get(env, 2 * big) == 0);
	expect(env, stuff(env, 0, 0, WINDOW / big) == H_SUCCESS);
	expect(env, released(env));
}

/* The device must not be led to a page larger than what it was given */
static void pages_too_small(struct env *env)
{
	const unsigned long big = 16 << 20;

	/* POWER8 has pages of 16M, later ones of 2M */
	prepare_window(env, 2 * big, 24, 24, 21);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	expect(env, put(env, 0, big | RW) == FROM_USER);
	expect(env, get(env, 0) == 0);
	set_list(env, 0, big | RW);
	expect(env, indirect(env, 0, LIST, 1) == FROM_USER);
	expect(env, vfio_map(&env->dev, 0, env->vm.mem, big) < 0);
	expect(env, released(env));
}

/* Memory in pages of 2M or 16M, as the CPU's MMU has them; NULL when it has none */
static __u8 *large_memory(size_t size)
{
	unsigned int shift;
	char path[80], pages[8];
	__u8 *mem;

	for (shift = 21; shift <= 24; shift += 3) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages",
			 1U << (shift - 10));
		snprintf(pages, sizeof(pages), "%zu", (size >> shift) + 4);
		write_file(path, pages);
		mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			   shift << MAP_HUGE_SHIFT, -1, 0);
		if (mem != MAP_FAILED)
			return mem;
	}
	return NULL;
}

/* IOMMU pages larger than the kernel's lead to memory that is in such pages */
static void pages_of_2m_and_16m(struct env *env)
{
	const unsigned long big = 16 << 20;
	struct kvm_userspace_memory_region region = {
		.slot = 1,
		.guest_phys_addr = HOLE,
		.memory_size = 2 * big,
	};
	__u8 *mem;

	prepare_window(env, big, 24, 24, 21);
	vfio_open_device(&env->dev);
	mem = large_memory(2 * big);
	if (!mem)
		case_skip("no memory in large pages");
	region.userspace_addr = (uintptr_t)mem;
	ktap_need(!ioctl(env->vm.fd, KVM_SET_USER_MEMORY_REGION, &region),
		  "KVM_SET_USER_MEMORY_REGION");
	vfio_register(&env->dev, mem, 2 * big);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");

	expect(env, put(env, 0, (HOLE + big) | RW) == H_SUCCESS);
	expect(env, get(env, 0) == ((HOLE + big) | RW));
	memset(mem + big + 0x345000, 0x77, PAGE);
	edu_read(&env->dev, 0x345000, PAGE);
	edu_write(&env->dev, 0x1000, PAGE);
	expect(env, mem[big + 0x1000] == 0x77 && mem[big + 0x1fff] == 0x77);
	set_list(env, 0, HOLE | RW);
	set_list(env, 1, (HOLE + big) | RW);
	expect(env, indirect(env, big, LIST, 2) == H_SUCCESS);
	edu_write(&env->dev, big + 0x234000, PAGE);
	expect(env, mem[0x234000] == 0x77);
	expect(env, put(env, 0, (HOLE + 0x10000) | RW) == FROM_USER);
	expect(env, vfio_unregister(&env->dev, mem, 2 * big) == -EBUSY);

	expect(env, stuff(env, 0, 0, 3) == H_SUCCESS);
	edu_write(&env->dev, 0x5000, PAGE);
	expect(env, mem[big + 0x5000] == 0);
	expect(env, vfio_map(&env->dev, 0, mem, 2 * big) == 0);
	expect(env, vfio_unmap(&env->dev, 0, 2 * big) == 0);
	expect(env, released_range(env, mem, 2 * big));
}

/* Levels that no entry needed yet do not exist, and clearing brings none */
static void levels_of_a_table(struct env *env)
{
	__u64 start;

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	if (vfio_add_window(&env->dev, SHIFT, WINDOW, 2, &start) || start)
		case_skip("no table of two levels at bus address 0");
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");

	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, put(env, LAST, 0) == H_SUCCESS);
	fill_list(env, RW);
	/* Across the border of two leaves of 64K */
	expect(env, indirect(env, (8192 - 256) * PAGE, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 8192 * PAGE) == ((DATA + 256 * PAGE) | RW));
	expect(env, put(env, LAST, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, get(env, LAST) == 0);
	expect(env, released(env));
}

/* Where KVM has such memslots, a device may read from them only */
static void read_only_memslot(struct env *env)
{
	const __u64 gpa = HOLE;
	__u8 *mem;

	begin(env);
	if (ioctl(env->vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
		case_skip("this KVM has no read-only memslots");
	mem = vm_add_memory_flags(&env->vm, 1, gpa, 1 << 20, KVM_MEM_READONLY);
	vfio_register(&env->dev, mem, 1 << 20);
	expect(env, put(env, 0, gpa | TCE_READ) == H_SUCCESS);
	expect(env, put(env, 0, gpa | RW) == FROM_USER);
	expect(env, put(env, 0, gpa | TCE_WRITE) == FROM_USER);
	expect(env, get(env, 0) == (gpa | TCE_READ));
}

/* A shadow costs nothing where no entry was written: 2 GiB of it, used whole */
static void unused_liobn_is_small(struct env *env)
{
	long kib;

	prepare(env, SHIFT);
	kib = proc_kib("/proc/meminfo", "MemFree");
	vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, 1UL << 28);
	env->liobn = LIOBN + 1;
	expect(env, put(env, 0x1234000, 0) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, 1 << 20) == H_SUCCESS);
	expect(env, get(env, 0x1234000) == 0);
	expect(env, kib - proc_kib("/proc/meminfo", "MemFree") < 16 << 10);
}

struct ticker {
	atomic_ulong ticks;
	atomic_bool stop;
};

static void *tick(void *arg)
{
	struct ticker *ticker = arg;

	run_on_cpu(0);
	while (!atomic_load(&ticker->stop)) {
		atomic_fetch_add(&ticker->ticks, 1);
		sched_yield();
	}
	return NULL;
}

/* Another task of the same CPU gets on during a hypercall that takes long */
static void long_call_is_polite(struct env *env)
{
	const __u64 entries = 1UL << 26;
	struct ticker ticker = { 0 };
	unsigned long ticks;
	pthread_t thread;

	prepare(env, SHIFT);
	vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, entries);
	env->liobn = LIOBN + 1;
	run_on_cpu(0);
	pthread_create(&thread, NULL, tick, &ticker);
	while (!atomic_load(&ticker.ticks))
		sched_yield();

	ticks = atomic_load(&ticker.ticks);
	expect(env, stuff(env, 0, 0, entries) == H_SUCCESS);
	ticks = atomic_load(&ticker.ticks) - ticks;
	atomic_store(&ticker.stop, true);
	pthread_join(thread, NULL);
	ktap_say("  the other task ran %lu times", ticks);
	expect(env, ticks >= 20);
}

/* KVM without hardware support runs the same handlers */
static void guest_of_kvm_pr(struct env *env)
{
	vfio_open_group(&env->dev);
	if (!vm_create_pr(&env->vm, 16 << 20))
		case_skip("this machine's KVM runs no guests without hardware");
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");

	fill_list(env, RW);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, put(env, WINDOW, DATA | RW) == H_PARAMETER);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, env->vm.user_exits == 0);
	expect(env, released(env));
}

static const struct test_case cases[] = {
	CASE(put_and_get),
	CASE(indirect_lists),
	CASE(stuff_runs),
	CASE(unknown_liobn),
	CASE(lists_of_many_regions),
	CASE(bad_memory),
	CASE(list_fails_half_way),
	CASE(ioctl_past_the_window),
	CASE(window_with_offset),
	CASE(counts_that_wrap),
	CASE(guest_pages_of_16m),
	CASE(pages_too_small),
	CASE(pages_of_2m_and_16m),
	CASE(levels_of_a_table),
	CASE(read_only_memslot),
	CASE(unused_liobn_is_small),
	CASE(long_call_is_polite),
	CASE(guest_of_kvm_pr),
};

int main(void)
{
	return run_cases_on_tiers(cases, ARRAY_SIZE(cases));
}
