// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that the kernel drives is taken for a guest, and given back, however the
 * VMM ended: a USB controller, which finds what is plugged in by DMA alone.  It has
 * addresses of 32 bits, and so uses the kernel's own table.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include "cases.h"

/* Has the controller fetched the descriptors of a USB device? */
static bool usb_works(const struct vfio_dev *usb)
{
	char pattern[PATH_MAX];
	glob_t found;
	bool works;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/pci/devices/%s/usb*/*-1/product", usb->bdf);
	works = !glob(pattern, 0, NULL, &found);
	if (works)
		globfree(&found);
	return works;
}

static void wait_for_usb(const struct vfio_dev *usb)
{
	while (!usb_works(usb))
		usleep(10000);
}

/* The VMM, in a process of its own, which @end ends */
static void vmm_of_the_device(struct env *env, void (*end)(struct env *env))
{
	int status;
	pid_t pid;

	wait_for_usb(&env->dev);
	vfio_give_to(&env->dev, "vfio-pci");
	expect(env, !usb_works(&env->dev));
	pid = fork();
	if (!pid) {
		begin(env);
		vfio_open_device(&env->dev);
		fill_list(env, RW);
		expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
		expect(env, put(env, LAST, DATA | RW) == H_SUCCESS);
		end(env);
		fflush(stdout);
		_exit(env->failed);
	}
	waitpid(pid, &status, 0);
	expect(env, !status || WIFSIGNALED(status));
	vfio_give_to(&env->dev, USB_DRIVER);
	wait_for_usb(&env->dev);
}

static void kill_vmm(struct env *env)
{
	kill(getpid(), SIGKILL);
}

static void remove_window(struct env *env)
{
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	kill_vmm(env);
}

static void let_go(struct env *env)
{
	close(env->dev.device);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect(env, released(env));
	expect(env, vfio_leave(&env->dev) == 0);
}

CASE_CALL(after_a_vmm_was_killed, vmm_of_the_device, kill_vmm);
CASE_CALL(after_its_window_was_removed, vmm_of_the_device, remove_window);
CASE_CALL(after_a_vmm_let_go, vmm_of_the_device, let_go);

/* The DMA engine behind the same bridge is the VMM's, and the controller @usb is not */
static void begin_beside(struct env *env, struct vfio_dev *usb)
{
	*usb = env->dev;
	if (!vfio_find_beside(&env->dev, usb, EDU_VENDOR, EDU_DEVICE))
		case_skip("no DMA engine is in the controller's group");
	vfio_give_to(&env->dev, "vfio-pci");
}

CASE(host_has_the_neighbour)
{
	int container = open("/dev/vfio/vfio", O_RDWR);
	struct vfio_dev usb;

	wait_for_usb(&env->dev);
	begin_beside(env, &usb);
	vfio_open_only_group(&env->dev);
	expect(env, vfio_join(&env->dev, container) == -EPERM);
	vm_create(&env->vm, 16 << 20);
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == -EINVAL);
	expect(env, usb_works(&usb));
}

CASE(neighbour_is_given_back)
{
	struct vfio_dev usb;
	__u8 *page;

	wait_for_usb(&env->dev);
	vfio_give_to(&env->dev, "vfio-pci");
	begin_beside(env, &usb);
	begin(env);
	page = env->vm.mem + DATA;
	vfio_open_device(&env->dev);
	usb.group = env->dev.group;
	usb.container = env->dev.container;
	vfio_open_device(&usb);
	expect(env, put(env, LAST, DATA | RW) == H_SUCCESS);
	close(usb.device);
	vfio_take_from_driver(&usb);
	memset(page, 0x5a, PAGE / 2);
	edu_copy(&env->dev, LAST, LAST + PAGE / 2, PAGE / 2);
	expect(env, page[PAGE - 1] == 0x5a);
	expect(env, stuff(env, LAST, 0, 1) == H_SUCCESS);
	expect_works(env);
	end_vmm(env);
	vfio_give_to(&usb, USB_DRIVER);
	wait_for_usb(&usb);
}

int main(void)
{
	return run_cases_of(USB_VENDOR, USB_DEVICE);
}
