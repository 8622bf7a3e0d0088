// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation fails once: that of what makes, binds, uses and releases LIOBNs,
 * windows and memory.  Each step is done with its first allocation failing, then
 * with its second one, and so on until none is left to fail, from the same
 * beginning each time.  It may succeed nevertheless; or it fails cleanly, with
 * nothing left behind.
 *
 * The kernel has to be built for that (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

#include "cases.h"

#define MORE		0x400000UL	/* bytes of further memory */
#define AT_MOST		200		/* allocations of a step */

/* The border of two leaves of a table, and of two pages of a guest's view */
#define BORDER		(8192 * PAGE)

/* What a step works on, besides the environment of the case */
static __u8 *more;
static const __u64 *view;

/**
 * struct step - what is done with failing allocations
 * @name: what it is
 * @begin: makes what it needs
 * @run: does it: 0 or an answer of a hypercall, or -errno
 * @end: checks what it has left, by what it said, and takes it all away
 * @refusal: what it may say when it has not succeeded, besides 0
 */
struct step {
	const char *name;
	void (*begin)(struct env *env);
	long (*run)(struct env *env);
	void (*end)(struct env *env, long ret);
	long refusal[2];
};

/* One round; true when an allocation has failed */
static bool fail(struct env *env, const struct step *step, unsigned int nth)
{
	long locked, after, ret;
	bool failed;

	step->begin(env);
	locked = locked_kib();
	fail_nth(nth);
	ret = step->run(env);
	failed = fail_nth_is_over();
	after = locked_kib();

	if (ret && (!failed || (ret != step->refusal[0] &&
				ret != step->refusal[1]))) {
		ktap_say("  %s, allocation %u%s: %ld", step->name, nth,
			 failed ? " fails" : "", ret);
		env->failed = true;
	}
	if (ret && after != locked) {
		ktap_say("  %s, allocation %u fails: %ld KiB locked, must be %ld",
			 step->name, nth, after, locked);
		env->failed = true;
	}
	step->end(env, ret);
	return failed;
}

static void sweep(struct env *env, const struct step *steps, unsigned int nr)
{
	const struct step *step;
	unsigned int nth;

	for (step = steps; step < steps + nr; step++) {
		nth = 1;
		while (nth < AT_MOST && fail(env, step, nth))
			nth++;
		ktap_say("  %s: %u allocations", step->name, nth - 1);
		expect(env, nth < AT_MOST);
	}
}

static void nothing(struct env *env)
{
}

static void expect_released(struct env *env)
{
	expect(env, released(env));
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
}

/*
 * Groups that VFIO takes from the platform and gives back
 */

static long try_take(struct env *env)
{
	struct vfio_dev *dev = &env->dev;
	char path[32];
	long ret;

	snprintf(path, sizeof(path), "/dev/vfio/%d", dev->id);
	dev->group = open(path, O_RDWR);
	if (dev->group < 0)
		return -errno;
	dev->container = open("/dev/vfio/vfio", O_RDWR);
	ret = dev->container < 0 ? -errno : vfio_join(dev, dev->container);
	if (!ret && ioctl(dev->container, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU))
		ret = -errno;
	if (ret) {
		close(dev->container);
		close(dev->group);
	}
	return ret;
}

static void open_group(struct env *env)
{
	vfio_open_group(&env->dev);
}

static long try_give_back(struct env *env)
{
	return close(env->dev.container) || close(env->dev.group) ? -errno : 0;
}

/* All that there was before is there again, and works */
static void check_taken(struct env *env, long ret)
{
	if (ret)
		open_group(env);
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, try_give_back(env) == 0);
}

static void check_given_back(struct env *env, long ret)
{
	open_group(env);
	check_taken(env, 0);
}

static void open_window(struct env *env)
{
	open_group(env);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
}

static long try_remove_device(struct env *env)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", env->dev.bdf);
	return write_file(path, "1") ? 0 : -errno;
}

/* The group that the platform could not put right is put right when the device is found */
static void check_found(struct env *env, long ret)
{
	const struct vfio_dev was = env->dev;

	close(env->dev.container);
	close(env->dev.group);
	vfio_rescan();
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	expect(env, !strcmp(env->dev.bdf, was.bdf));
	check_given_back(env, ret);
}

/* First, as the platform does some of it for the first one only */
CASE(take_and_give_back)
{
	static const struct step steps[] = {
		{ "taking a group", nothing, try_take, check_taken, { -ENOMEM } },
		{ "giving it back", open_group, try_give_back, check_given_back, { 0 } },
		{ "removing its device", open_window, try_remove_device, check_found,
		  { -ENOMEM } },
	};

	vm_create(&env->vm, 16 << 20);
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	sweep(env, steps, ARRAY_SIZE(steps));
}

/*
 * LIOBNs
 */

static long try_liobn(struct env *env)
{
	struct kvm_create_spapr_tce_64 args = {
		.liobn = LIOBN + 1, .page_shift = SHIFT, .size = 1 << 20,
	};

	env->tablefd = ioctl(env->vm.fd, KVM_CREATE_SPAPR_TCE_64, &args);
	return env->tablefd < 0 ? -errno : 0;
}

/* A failure that had left it there would make the next one fail with EBUSY */
static void close_liobn(struct env *env, long ret)
{
	if (!ret)
		close(env->tablefd);
}

CASE(create_liobn)
{
	const struct step step = {
		"KVM_CREATE_SPAPR_TCE_64", nothing, try_liobn, close_liobn,
		{ -ENOMEM },
	};

	vm_create(&env->vm, 1 << 20);
	sweep(env, &step, 1);
}

static void map_view(struct env *env)
{
	ktap_need(!try_liobn(env), "KVM_CREATE_SPAPR_TCE_64");
	view = mmap(NULL, MORE, PROT_READ, MAP_SHARED, env->tablefd, 0);
	ktap_need(view != MAP_FAILED, "mapping a guest's view");
}

/* A call that reads a time from there, which is 0 */
static long fault_view(struct env *env)
{
	return nanosleep((const struct timespec *)view, NULL) ? -errno : 0;
}

static void unmap_view(struct env *env, long ret)
{
	expect(env, !*view);
	munmap((void *)view, MORE);
	close(env->tablefd);
}

CASE(fault_of_a_view)
{
	const struct step step = {
		"a fault in a guest's view", map_view, fault_view, unmap_view,
		{ -EFAULT },
	};

	vm_create(&env->vm, 1 << 20);
	sweep(env, &step, 1);
}

/*
 * Groups
 */

static void open_liobn(struct env *env)
{
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
}

static long try_bind(struct env *env)
{
	return vm_bind(&env->vm, &env->dev, env->tablefd);
}

/* Not bound: hypercalls are answered, and the device reaches nothing */
static void check_bound(struct env *env, long ret)
{
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	if (ret) {
		expect_released(env);
	} else {
		expect(env, unregister(env) == -EBUSY);
		expect(env, put(env, 0, 0) == H_SUCCESS);
	}
	close(env->tablefd);
}

CASE(bind)
{
	const struct step step = {
		"SET_SPAPR_TCE", open_liobn, try_bind, check_bound, { -ENOMEM },
	};

	prepare(env, SHIFT);
	close(env->tablefd);
	sweep(env, &step, 1);
}

static void leave_group(struct env *env)
{
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
}

static long try_add(struct env *env)
{
	return vm_group_add(&env->vm, &env->dev);
}

static void check_added(struct env *env, long ret)
{
	if (ret)
		expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_group_add(&env->vm, &env->dev) == -EEXIST);
}

CASE(add_group)
{
	const struct step step = {
		"GROUP_ADD", leave_group, try_add, check_added, { -ENOMEM },
	};

	prepare(env, SHIFT);
	sweep(env, &step, 1);
}

/*
 * Hypercalls and MAP_DMA, where neither the table's lower levels nor the guest's view
 * have a page yet
 */

static unsigned int levels;

static void begin_fresh(struct env *env)
{
	__u64 start;

	ktap_need(!vfio_add_window(&env->dev, SHIFT, WINDOW, levels, &start) &&
		  !start, "making a window");
	open_liobn(env);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

static void end_fresh(struct env *env, long ret)
{
	expect_released(env);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	close(env->tablefd);
}

static long try_put(struct env *env)
{
	return put(env, BORDER, DATA | RW);
}

static long try_list(struct env *env)
{
	return indirect(env, BORDER - 2 * PAGE, LIST, 4);
}

/* The list is not in registered memory, so it is copied */
static long try_copied_list(struct env *env)
{
	return indirect(env, BORDER - 2 * PAGE, HOLE, 4);
}

static long try_stuff(struct env *env)
{
	return stuff(env, BORDER - 2 * PAGE, 0x5000, 4);
}

/* What was not done is not there, and what H_GET_TCE says is in force */
static void check_mapped(struct env *env, long ret)
{
	unsigned int i, there = 0;

	for (i = 0; i < 4; i++) {
		__u64 tce = get(env, BORDER - 2 * PAGE + i * PAGE);

		expect(env, !tce || tce == 0x5000 || (tce & RW) == RW);
		there += (tce & RW) != 0;
	}
	expect(env, ret || get(env, BORDER));
	if (there)
		expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	end_fresh(env, ret);
}

static long try_map_dma(struct env *env)
{
	return vfio_map(&env->dev, BORDER - 0x10000, env->vm.mem + DATA, 0x20000);
}

static void check_map_dma(struct env *env, long ret)
{
	if (!ret) {
		expect(env, unregister(env) == -EBUSY);
		expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	}
	end_fresh(env, ret);
}

static void map_with_levels(struct env *env, unsigned int nr)
{
	static const struct step steps[] = {
		{ "H_PUT_TCE", begin_fresh, try_put, check_mapped,
		  { H_NOT_ENOUGH_RESOURCES, FROM_USER } },
		{ "H_PUT_TCE_INDIRECT", begin_fresh, try_list, check_mapped,
		  { H_NOT_ENOUGH_RESOURCES, FROM_USER } },
		{ "H_PUT_TCE_INDIRECT, copied", begin_fresh, try_copied_list,
		  check_mapped, { H_NOT_ENOUGH_RESOURCES, FROM_USER } },
		{ "H_STUFF_TCE", begin_fresh, try_stuff, check_mapped,
		  { H_NOT_ENOUGH_RESOURCES, FROM_USER } },
		{ "MAP_DMA", begin_fresh, try_map_dma, check_map_dma, { -ENOMEM } },
	};
	__u64 start;

	prepare(env, SHIFT);
	close(env->tablefd);
	fill_list(env, RW);
	more = vm_add_memory(&env->vm, 1, HOLE, MORE);
	memcpy(more, env->vm.mem + LIST, PAGE);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	levels = nr;
	if (vfio_add_window(&env->dev, SHIFT, WINDOW, levels, &start) || start)
		case_skip("no such table at bus address 0");
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	sweep(env, steps, ARRAY_SIZE(steps));
}

CASE_CALL(map_in_a_table_of_one_level, map_with_levels, 1);
CASE_CALL(map_in_a_table_of_two_levels, map_with_levels, 2);

/*
 * Windows and memory
 */

static long try_window(struct env *env)
{
	__u64 start;

	return vfio_add_window(&env->dev, SHIFT, WINDOW, levels, &start);
}

/* A window that is there is one for the device: it can be bound, and so used */
static void remove_window(struct env *env, long ret)
{
	if (!ret)
		expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, vfio_remove_window(&env->dev, 0) == (ret ? -EINVAL : 0));
}

CASE(create_window)
{
	const struct step step = {
		"TCE_CREATE", nothing, try_window, remove_window, { -ENOMEM },
	};

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	for (levels = 1; levels <= 2; levels++) {
		if (try_window(env))
			continue;
		expect(env, vfio_remove_window(&env->dev, 0) == 0);
		sweep(env, &step, 1);
	}
}

/* Memory that nobody has touched */
static void map_more(struct env *env)
{
	more = new_memory(MORE);
}

static long try_register(struct env *env)
{
	return vfio_try_register(&env->dev, more, MORE);
}

static void unregister_more(struct env *env, long ret)
{
	if (ret)
		expect(env, vfio_unregister(&env->dev, more, MORE) == -ENOENT);
	else
		expect(env, released_range(env, more, MORE));
	munmap(more, MORE);
}

CASE(register_memory)
{
	const struct step step = {
		"REGISTER_MEMORY", map_more, try_register, unregister_more,
		{ -ENOMEM, -EFAULT },
	};

	prepare(env, SHIFT);
	sweep(env, &step, 1);
}

/*
 * Release: cannot fail
 */

static void begin_release(struct env *env)
{
	begin_fresh(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, LAST, DATA | RW) == H_SUCCESS);
}

static long try_remove(struct env *env)
{
	return vfio_remove_window(&env->dev, 0);
}

static void check_removed(struct env *env, long ret)
{
	expect_released(env);
	close(env->tablefd);
}

static long try_del(struct env *env)
{
	return vm_group_del(&env->vm, &env->dev);
}

/* The table is the group's: its entries stay */
static void check_deleted(struct env *env, long ret)
{
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	end_fresh(env, ret);
}

static long try_close(struct env *env)
{
	return close(env->tablefd) ? -errno : 0;
}

static void check_closed(struct env *env, long ret)
{
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect_released(env);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
}

static long try_unmap(struct env *env)
{
	return vfio_unmap(&env->dev, 0, WINDOW);
}

static long try_unregister(struct env *env)
{
	return vfio_unmap(&env->dev, 0, WINDOW) ? -EINVAL : unregister(env);
}

static void check_unregistered(struct env *env, long ret)
{
	expect(env, ret || unregister(env) == -ENOENT);
	if (!ret)
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
	end_fresh(env, ret);
}

CASE(release)
{
	static const struct step steps[] = {
		{ "UNMAP_DMA", begin_release, try_unmap, end_fresh, { 0 } },
		{ "UNREGISTER_MEMORY", begin_release, try_unregister,
		  check_unregistered, { 0 } },
		{ "TCE_REMOVE", begin_release, try_remove, check_removed, { 0 } },
		{ "close of a LIOBN", begin_release, try_close, check_closed, { 0 } },
		{ "GROUP_DEL", begin_release, try_del, check_deleted, { 0 } },
	};

	prepare(env, SHIFT);
	close(env->tablefd);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	levels = 1;
	sweep(env, steps, ARRAY_SIZE(steps));
}

int main(void)
{
	return run_cases();
}
