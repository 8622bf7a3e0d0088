// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TCE hypercalls: what they do to entries, and what is left behind when a call
 * fails; their answers are in tce_answers.  Everything here is the same whoever
 * serves the call.
 *
 * To see that nothing leads to memory, the tests unregister it: the kernel refuses that
 * while it counts a translation.
 */
#include <errno.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "cases.h"

CASE(put_and_get)
{
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, LAST, DATA | TCE_READ) == H_SUCCESS);
	expect(env, get(env, LAST) == (DATA | TCE_READ));
	expect(env, get(env, PAGE) == 0);
	expect(env, env->vm.user_exits == 0);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, put(env, LAST, 0x5000) == H_SUCCESS);
	expect(env, get(env, LAST) == 0x5000);
	expect(env, released(env));
}

CASE(indirect_lists)
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
	expect(env, env->vm.user_exits == 0);
	expect(env, indirect(env, 0, HOLE, 1) == FROM_USER);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, 513) == H_SUCCESS);
	expect(env, released(env));
}

CASE(stuff_runs)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, indirect(env, LAST - 511 * PAGE, LIST, 512) == H_SUCCESS);
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

/* A list that leads to another region with each entry costs a few more stores */
CASE(lists_of_many_regions)
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
		 stat_of(env, "tce_invalidations") - before, ticks);
	expect(env, stat_of(env, "tce_invalidations") - before <= 2 * 512 / 6);
	expect(env, get(env, 0) == 0);
	for (i = 0; i < env->vm.size / piece; i++)
		expect(env, released_range(env, env->vm.mem + i * piece, piece));
}

CASE(list_fails_half_way)
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
CASE(ioctl_past_the_window)
{
	begin(env);
	expect(env, vfio_map(&env->dev, LAST, env->vm.mem, 0x10000) == -EINVAL);
	expect(env, vfio_map(&env->dev, WINDOW, env->vm.mem, PAGE) == -ENXIO);
	expect(env, vfio_unmap(&env->dev, LAST, 0x10000) == -EINVAL);
	expect(env, released(env));
}

/* Levels that no entry needed yet do not exist, and clearing brings none */
CASE(levels_of_a_table)
{
	begin_two_levels(env);
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
CASE(read_only_memslot)
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

/* A guest's view costs nothing where no entry was written: 2 GiB of it, used whole */
CASE(unused_liobn_is_small)
{
	long kib;

	prepare(env, SHIFT);
	kib = proc_kib("/proc/meminfo", "MemFree");
	vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, 1UL << 28);
	env->liobn = LIOBN + 1;
	expect(env, put(env, 0x1234000, 0) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, 1 << 20) == H_SUCCESS);
	expect(env, get(env, 0x1234000) == 0);
	/* A CPU may take tens of MiB for its own list of free pages meanwhile */
	expect(env, kib - proc_kib("/proc/meminfo", "MemFree") < 128 << 10);
}

static void wait_for_tick(struct ticker *ticker)
{
	const unsigned long ticks = atomic_load(&ticker->ticks);

	while (atomic_load(&ticker->ticks) == ticks)
		sched_yield();
}

/*
 * Another task of the same CPU gets the CPU during a long hypercall: it never waits for a
 * quarter of the call.  How often it runs does not tell: when the call is over, it gets the
 * time that it has waited, and this is counted with the call.
 */
CASE(long_call_is_polite)
{
	const __u64 most = 1UL << 26;
	struct ticker ticker;
	__u64 entries, took, gap;

	prepare(env, SHIFT);
	vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, most);
	env->liobn = LIOBN + 1;
	run_on_cpu(0);
	start_ticker(&ticker, 0);

	/* A fast machine may need the most for a call that takes long */
	for (entries = most >> 6; entries <= most; entries <<= 3) {
		wait_for_tick(&ticker);
		atomic_store(&ticker.gap, 0);
		took = now_ns();
		expect(env, stuff(env, 0, 0, entries) == H_SUCCESS);
		took = now_ns() - took;
		wait_for_tick(&ticker);
		gap = atomic_load(&ticker.gap);
		ktap_say("  the other task waits for %llu of %llu us", gap / 1000,
			 took / 1000);
		if (gap < took / 4)
			break;
	}
	stop_ticker(&ticker);
	expect(env, gap < took / 4);
}

/* KVM without hardware support runs the same handlers */
CASE(guest_of_kvm_pr)
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
	expect(env, get(env, 511 * PAGE) == ((DATA + 511 * PAGE) | RW));
	expect(env, hcall(env, H_GET_TCE, WINDOW, 0, 0) == H_PARAMETER);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, get(env, 511 * PAGE) == 0);
	expect(env, env->vm.user_exits == 0);
	expect(env, released(env));
}

int main(void)
{
	return run_cases_on_tiers();
}
