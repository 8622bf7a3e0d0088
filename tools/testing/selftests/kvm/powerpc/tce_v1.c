// SPDX-License-Identifier: GPL-2.0-only
/*
 * A group whose container is of the first version (VFIO_SPAPR_TCE_IOMMU), which pins
 * each page as it is mapped: no hypercall changes its table, the VMM does.
 */
#include <endian.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "cases.h"

/* What the VMM keeps of the LIOBN, as H_GET_TCE reads it */
static __u64 *view;

/* Pages pinned for devices, in the whole host */
static long pinned(void)
{
	int vmstat;
	long pins;

	/* What a CPU counts is seen up to a second later, or when this asks for it */
	if (!write_file("/proc/sys/vm/stat_refresh", "1"))
		sleep(3);
	vmstat = open("/proc/vmstat", O_RDONLY);
	ktap_need(vmstat >= 0, "opening /proc/vmstat");
	pins = pins_in(vmstat);
	close(vmstat);
	return pins;
}

static void begin_v1(struct env *env)
{
	vm_create(&env->vm, 16 << 20);
	vfio_open_group_v1(&env->dev);
	vfio_enable_v1(&env->dev);
	/* The default window comes into being when it is used */
	ktap_need(!vfio_map(&env->dev, 0, env->vm.mem + DATA, PAGE) &&
		  !vfio_unmap(&env->dev, 0, PAGE), "using the window");
	vfio_open_device(&env->dev);

	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	view = mmap(NULL, ENTRIES * 8, PROT_READ | PROT_WRITE, MAP_SHARED,
		    env->tablefd, 0);
	ktap_need(view != MAP_FAILED, "mapping the LIOBN's entries");
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

/* True when the device writes to the page at bus address 0, and it is this one */
static bool reaches(struct env *env, __u64 gpa)
{
	static __u8 mark;
	__u8 *page = env->vm.mem + gpa;

	memset(env->vm.mem + DATA + 0x10000, ++mark, PAGE);
	if (vfio_map(&env->dev, PAGE, env->vm.mem + DATA + 0x10000, PAGE))
		return false;
	edu_copy(&env->dev, PAGE, 0, PAGE);
	vfio_unmap(&env->dev, PAGE, PAGE);
	return page[0] == mark && page[PAGE - 1] == mark;
}

CASE(hypercalls_change_nothing)
{
	begin_v1(env);
	fill_list(env, RW);
	expect(env, put(env, 0, DATA | RW) == FROM_USER);
	expect(env, indirect(env, 0, LIST, 512) == FROM_USER);
	expect(env, get(env, 0) == 0);
	expect(env, !reaches(env, DATA));

	ktap_need(!vfio_map(&env->dev, 0, env->vm.mem + DATA + PAGE, PAGE),
		  "mapping");
	expect(env, put(env, 0, DATA | RW) == FROM_USER);
	expect(env, put(env, 0, 0) == FROM_USER);
	expect(env, indirect(env, 0, LIST, 512) == FROM_USER);
	expect(env, stuff(env, 0, 0, 512) == FROM_USER);
	expect(env, reaches(env, DATA + PAGE));
}

/* What a VMM does when a hypercall reaches it */
static long answer_by_ioctl(struct vm *vm, __u64 nr, __u64 *args)
{
	struct env *env = (struct env *)((char *)vm - offsetof(struct env, vm));
	const __u64 *list = (__u64 *)(vm->mem + args[2]);
	__u64 i, tce, bus, n = nr == H_PUT_TCE ? 1 : args[3];
	int ret;

	for (i = 0; i < n; i++) {
		bus = args[1] + i * PAGE;
		tce = nr == H_PUT_TCE_INDIRECT ? be64toh(list[i]) : args[2];
		ret = tce & RW ? vfio_map(&env->dev, bus, vm->mem + (tce & ~RW), PAGE) :
				 vfio_unmap(&env->dev, bus, PAGE);
		if (ret)
			return H_PARAMETER;
		view[bus / PAGE] = tce;
	}
	return H_SUCCESS;
}

CASE(vmm_changes_what_the_guest_asks_for)
{
	long locked;

	begin_v1(env);
	env->vm.answer = answer_by_ioctl;
	locked = locked_kib();
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, reaches(env, DATA));
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, get(env, 0) == 0);
	expect(env, !reaches(env, DATA));
	expect(env, env->vm.user_exits == 2);

	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 511 * PAGE) == ((DATA + 511 * PAGE) | RW));
	expect(env, stuff(env, 0, 0, 512) == H_SUCCESS);
	expect(env, get(env, 511 * PAGE) == 0);
	expect(env, env->vm.user_exits == 4);
	expect(env, locked_kib() == locked);
}

/* The whole window is accounted for at once, whatever is mapped */
CASE(all_is_given_back)
{
	long pins = pinned(), locked = locked_kib();

	begin_v1(env);
	ktap_say("  %ld KiB locked", locked_kib() - locked);
	expect(env, locked_kib() >= locked + (long)(WINDOW / 1024));
	env->vm.answer = answer_by_ioctl;
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, pinned() == pins + 512);

	close(env->dev.device);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	munmap(view, ENTRIES * 8);
	close(env->tablefd);
	expect(env, vfio_leave(&env->dev) == 0);
	close(env->dev.container);
	expect(env, locked_kib() == locked);
	expect(env, pinned() == pins);
}

int main(void)
{
	return run_cases_on_tiers();
}
