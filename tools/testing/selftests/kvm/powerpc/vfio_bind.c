// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_DEV_VFIO: what it answers (the errno tables of
 * Documentation/virt/kvm/devices/vfio.rst, in their order), the sequences of calls
 * that QEMU does, and what is left when everything is let go, in any order.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

#include "cases.h"

static bool pinned(const struct env *env)
{
	return group_is_pinned(env->dev.id);
}

/* Errors of all attributes, and of adding and deleting a file */
CASE(errno_of_add_and_del)
{
	int null = open("/dev/null", O_RDWR);

	prepare(env, SHIFT);
	expect(env, vm_set_attr(&env->vm, KVM_DEV_VFIO_GROUP_ADD, (void *)1) == -EFAULT);
	expect(env, vm_set_attr(&env->vm, 99, &null) == -ENXIO);

	expect(env, vm_add_fd(&env->vm, -1) == -EBADF);
	expect(env, vm_add_fd(&env->vm, null) == -EINVAL);
	expect(env, vm_add_fd(&env->vm, env->dev.container) == -EINVAL);
	expect(env, vm_add_fd(&env->vm, env->dev.group) == -EEXIST);

	expect(env, vm_del_fd(&env->vm, -1) == -EBADF);
	expect(env, vm_del_fd(&env->vm, null) == -ENOENT);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == -ENOENT);
}

/* A LIOBN of this shape in place of the usual one is not bound */
static void expect_no_bind(struct env *env, __u64 start, __u64 entries)
{
	close(env->tablefd);
	env->tablefd = vm_create_liobn_at(&env->vm, LIOBN, SHIFT, start, entries);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == -EINVAL);
}

CASE(errno_of_bind)
{
	struct vm other;
	int foreign;
	__u64 start;

	prepare(env, SHIFT);
	vfio_open_device(&env->dev);
	expect(env, vm_bind_fds(&env->vm, -1, env->tablefd) == -EBADF);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, -1) == -EBADF);
	expect(env, vm_bind_fds(&env->vm, env->dev.container, env->tablefd) == -ENOENT);

	/* A VFIO device is a file that can be added, but has no table */
	expect(env, vm_add_fd(&env->vm, env->dev.device) == 0);
	expect(env, vm_bind_fds(&env->vm, env->dev.device, env->tablefd) == -EINVAL);
	expect(env, vm_del_fd(&env->vm, env->dev.device) == 0);

	/* No table, and a table of another VM */
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->dev.container) ==
	       -EINVAL);
	vm_create(&other, 1 << 20);
	foreign = vm_create_liobn(&other, LIOBN, SHIFT, ENTRIES);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, foreign) == -EINVAL);

	/* Another window, larger than the group's, and smaller pages */
	expect_no_bind(env, WINDOW, ENTRIES);
	expect_no_bind(env, 0, 2 * ENTRIES);
	/* pseries puts the window elsewhere, which does not match either */
	vfio_remove_window(&env->dev, 0);
	ktap_need(!vfio_add_window(&env->dev, 16, WINDOW, 1, &start),
		  "a window of 64K pages");
	expect_no_bind(env, start, ENTRIES);
}

/* In no container; in one without IOMMU driver; and then as it should be */
CASE(errno_of_unconfigured_group)
{
	vm_create(&env->vm, 16 << 20);
	vfio_open_only_group(&env->dev);
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
	expect(env, !pinned(env));
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == -EINVAL);

	env->dev.container = open("/dev/vfio/vfio", O_RDWR);
	expect(env, vfio_join(&env->dev, env->dev.container) == 0);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == -EINVAL);
	expect(env, !pinned(env));

	expect(env, !ioctl(env->dev.container, VFIO_SET_IOMMU,
			   VFIO_SPAPR_TCE_v2_IOMMU));
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
	expect(env, pinned(env));
}

/* The memory that the table leads to is another process's */
CASE(errno_of_foreign_memory)
{
	int status;
	pid_t pid;

	prepare(env, SHIFT);
	pid = fork();
	if (!pid) {
		struct env child = *env;

		vm_create(&child.vm, 1 << 20);
		child.tablefd = vm_create_liobn(&child.vm, LIOBN, SHIFT,
						ENTRIES);
		expect(&child, vm_add_fd(&child.vm, child.dev.group) == 0);
		expect(&child, vm_bind_fds(&child.vm, child.dev.group,
					   child.tablefd) == -EPERM);
		_exit(child.failed);
	}
	waitpid(pid, &status, 0);
	expect(env, !status);
}

CASE(pin_keeps_the_container)
{
	begin(env);
	expect(env, pinned(env));
	expect(env, vfio_leave(&env->dev) == -EBUSY);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);

	/* Nothing but KVM holds the group now, and the table is still its */
	close(env->dev.group);
	close(env->dev.container);
	expect(env, put(env, PAGE, DATA | RW) == H_SUCCESS);
	expect(env, get(env, PAGE) == (DATA | RW));
	expect(env, pinned(env));
	expect(env, locked_kib() >= (long)(env->vm.size / 1024));

	/* Closing KVM's device lets go of the group, and the memory with it */
	close(env->vm.vfio);
	expect(env, !pinned(env));
	expect(env, locked_kib() < (long)(env->vm.size / 1024));
	vfio_open_group(&env->dev);
}

CASE(bound_twice_is_bound_once)
{
	begin(env);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
	expect(env, !pinned(env));
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, released(env));
}

/* A 32-bit and a 64-bit window of one group, each with its LIOBN */
CASE(two_windows_of_a_group)
{
	__u64 start;
	int large;

	need_pages_of_64k();
	begin(env);
	ktap_need(!vfio_add_window(&env->dev, 16, WINDOW, 1, &start),
		  "a second window");
	large = vm_create_liobn_at(&env->vm, LIOBN + 1, 16, start, WINDOW >> 16);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, large) == 0);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, hcall_of(env, LIOBN + 1, H_PUT_TCE, start, DATA | RW, 0) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, hcall_of(env, LIOBN + 1, H_PUT_TCE, start, 0, 0) == H_SUCCESS);
	expect(env, released(env));
	expect(env, env->vm.user_exits == 0);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
}

/* One LIOBN on the groups of two devices, in one container: both see the entry */
CASE(one_table_of_two_groups)
{
	__u8 *page = NULL;
	struct vfio_dev other;
	int err;

	need_more(env, &other, 1);
	prepare(env, SHIFT);
	vfio_open_only_group(&other);
	other.container = env->dev.container;
	err = vfio_join(&other, env->dev.container);
	if (err == -EBUSY)
		case_skip("a container has one group on this machine");
	ktap_need(!err, "two groups in one container (%d)", err);
	expect(env, vm_add_fd(&env->vm, other.group) == 0);
	expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
	expect(env, vm_bind_fds(&env->vm, other.group, env->tablefd) == 0);
	vfio_open_device(&env->dev);
	vfio_open_device(&other);

	page = env->vm.mem + DATA;
	expect(env, put(env, 0x100000, DATA | TCE_READ) == H_SUCCESS);
	expect(env, put(env, 0x101000, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, edu_copies_page(&other, 0x100000, page));

	/* One of them gone, the other one's binding is in force */
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
	expect(env, edu_copies_page(&other, 0x100000, page));
	expect(env, put(env, 0x101000, 0) == H_SUCCESS);
	memset(page + PAGE, 0, PAGE);
	edu_write(&other, 0x101000, PAGE);
	expect(env, page[PAGE] == 0);
	expect(env, vm_del_fd(&env->vm, other.group) == 0);
}

/* Each group is told of each invalidation: five are too many where it has to be quick */
CASE(one_table_of_five_groups)
{
	struct vfio_dev more[4];
	__u64 slow;
	unsigned int i;

	need_more(env, more, ARRAY_SIZE(more));
	begin(env);
	/* The first one in a page of the guest's view has memory to allocate */
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	for (i = 0; i < ARRAY_SIZE(more); i++) {
		slow = stat_of(env, "tce_virtual_mode");
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		expect(env, stuff(env, 0, 0, 1) == H_SUCCESS);
		expect(env, stat_of(env, "tce_virtual_mode") == slow);
		vfio_open_only_group(&more[i]);
		ktap_need(!vfio_join(&more[i], env->dev.container), "joining");
	}
	slow = stat_of(env, "tce_virtual_mode");
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, PAGE, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, stat_of(env, "tce_virtual_mode") == slow + 2);
	vfio_open_device(&more[3]);
	expect(env, edu_copies_page(&more[3], 0, env->vm.mem + DATA));

	close(more[3].device);
	close(more[3].group);
	expect(env, stuff(env, 0, 0, 2) == H_SUCCESS);
	expect(env, stat_of(env, "tce_virtual_mode") == slow + 2);
}

/* The kernel changes four tables for a hypercall, and no more: user space may */
CASE(more_tables_than_the_kernel_serves)
{
	struct vfio_dev more[4];
	unsigned int i;

	need_more(env, more, ARRAY_SIZE(more));
	begin(env);
	fill_list(env, RW);
	for (i = 0; i < 3; i++)
		bind_further(env, &more[i]);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);

	bind_further(env, &more[3]);
	expect(env, put(env, 0, (DATA + PAGE) | RW) == FROM_USER);
	expect(env, put(env, 0, 0) == FROM_USER);
	expect(env, indirect(env, 0, LIST, 2) == FROM_USER);
	expect(env, stuff(env, 0, 0, 2) == FROM_USER);
	expect(env, get(env, 0) == (DATA | RW));

	/* The first table has the entry still, and the last one never had it */
	expect(env, vm_group_del(&env->vm, &more[3]) == 0);
	vfio_open_device(&env->dev);
	memset(env->vm.mem + DATA, 0x5a, PAGE);
	edu_read(&env->dev, 0, PAGE);
	expect(env, put(env, PAGE, (DATA + PAGE) | RW) == H_SUCCESS);
	edu_write(&env->dev, PAGE, PAGE);
	expect(env, env->vm.mem[DATA + PAGE] == 0x5a);
	vfio_open_device(&more[3]);
	edu_write(&more[3], 0, PAGE);
	expect(env, env->vm.mem[DATA] == 0x5a);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	for (i = 0; i < ARRAY_SIZE(more); i++)
		expect(env, vfio_unregister(&more[i], env->vm.mem,
					    env->vm.size) == 0);
	expect(env, released(env));
}

/* After GROUP_DEL hypercalls do not reach the table */
CASE(released_group_is_left_alone)
{
	__u8 *page;

	begin(env);
	vfio_open_device(&env->dev);
	page = env->vm.mem + DATA;
	memset(page, 0x11, PAGE);
	expect(env, put(env, 0x100000, DATA | RW) == H_SUCCESS);
	edu_read(&env->dev, 0x100000, PAGE);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);

	/* The guest believes that it moved the page; the device does not */
	put(env, 0x100000, (DATA + PAGE) | RW);
	memset(page, 0, 2 * PAGE);
	edu_write(&env->dev, 0x100000, PAGE);
	expect(env, page[0] == 0x11);
	expect(env, page[PAGE] == 0);
}

struct closing {
	struct env *env;
	unsigned int what;
};

static void *close_one(void *arg)
{
	struct closing *closing = arg;
	struct env *env = closing->env;
	const int fds[] = {
		env->dev.group, env->dev.container, env->dev.device, env->tablefd,
		env->vm.vfio,
	};

	if (closing->what < ARRAY_SIZE(fds))
		close(fds[closing->what]);
	else
		vm_close(&env->vm);
	return NULL;
}

/* All descriptors closed at once, by a thread each; then all is free again */
CASE(closed_by_racing_threads)
{
	struct closing closing[6];
	pthread_t threads[6];
	unsigned int i, round;
	long locked = locked_kib();

	for (round = 0; round < 6; round++) {
		begin(env);
		vfio_open_device(&env->dev);
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		for (i = 0; i < 6; i++) {
			closing[i] = (struct closing){ env, (i + round) % 6 };
			pthread_create(&threads[i], NULL, close_one,
				       &closing[i]);
		}
		for (i = 0; i < 6; i++)
			pthread_join(threads[i], NULL);
		munmap(env->vm.mem, env->vm.size);
	}
	expect(env, locked_kib() == locked);
}

/* Bindings ended by four at once while the guest goes on */
static void *del_group(void *arg)
{
	struct env *env = arg;

	vm_del_fd(&env->vm, env->dev.group);
	return NULL;
}

static void *remove_and_create(void *arg)
{
	struct env *env = arg;
	__u64 start;

	vfio_remove_window(&env->dev, 0);
	vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start);
	return NULL;
}

static void *close_liobn(void *arg)
{
	struct env *env = arg;

	close(env->tablefd);
	return NULL;
}

CASE(released_by_racing_threads)
{
	void *(*work[])(void *) = { del_group, remove_and_create, close_liobn };
	pthread_t threads[3];
	unsigned int i, j, round;

	begin(env);
	for (round = 0; round < 30; round++) {
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		for (i = 0; i < 3; i++)
			pthread_create(&threads[i], NULL, work[(i + round) % 3],
				       env);
		for (j = 0; j < 10; j++)
			put(env, j * PAGE, DATA | RW);
		for (i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);

		vfio_create_window(&env->dev, SHIFT, WINDOW);
		expect(env, released(env));
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
		expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
		expect(env, !vm_bind_fds(&env->vm, env->dev.group, env->tablefd));
	}
}

/* QEMU: start, the large window, and a guest that resets itself a hundred times */
CASE(qemu_start_large_window_reset)
{
	const unsigned int big = 24, small = 16;
	__u64 start = 0;
	unsigned int i;
	int large;

	need_pages_of_64k();
	vm_create(&env->vm, 32 << 20);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
	vfio_open_device(&env->dev);

	for (i = 0; i < 100; i++) {
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
		ktap_need(!vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start),
			  "the small window");
		expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);

		ktap_need(!vfio_add_window(&env->dev, small, WINDOW, 1, &start),
			  "the large window");
		large = vm_create_liobn_at(&env->vm, LIOBN + 1, big, start,
					   WINDOW >> big);
		expect(env, vm_bind_fds(&env->vm, env->dev.group, large) == 0);
		/* One entry of the guest is 256 of the table */
		if (i % 10 == 0)
			expect(env, hcall_of(env, LIOBN + 1, H_PUT_TCE, start, RW, 0) ==
				    H_SUCCESS);

		expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
		expect(env, vfio_remove_window(&env->dev, 0) == 0);
		close(env->tablefd);
		expect(env, vfio_unmap(&env->dev, start, WINDOW) == 0);
		expect(env, vfio_remove_window(&env->dev, start) == 0);
		close(large);
	}
	expect(env, released(env));
	expect(env, env->vm.user_exits == 0);
}

/* QEMU: unplug; then plug in again, and bind the LIOBN that stayed */
CASE(qemu_unplug_and_replug)
{
	unsigned int i;

	begin(env);
	for (i = 0; i < 4; i++) {
		vfio_open_device(&env->dev);
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);

		close(env->dev.device);
		expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
		expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
		expect(env, vfio_remove_window(&env->dev, 0) == 0);
		expect(env, released(env));
		expect(env, vfio_leave(&env->dev) == 0);
		close(env->dev.container);
		close(env->dev.group);

		vfio_open_group(&env->dev);
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
		expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
		vfio_create_window(&env->dev, SHIFT, WINDOW);
		expect(env, vm_bind_fds(&env->vm, env->dev.group, env->tablefd) == 0);
	}
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
}

/* QEMU: quit and SIGKILL are no calls at all, with the device at work */
CASE(qemu_is_gone)
{
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		pid = fork();
		if (!pid) {
			begin(env);
			vfio_open_device(&env->dev);
			put(env, 0x100000, DATA | RW);
			if (i % 2)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		expect(env, i % 2 ? WIFSIGNALED(status) : !status);
	}
	/* The group can be had again */
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
}

int main(void)
{
	return run_cases();
}
