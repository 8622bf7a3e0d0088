// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that the kernel drives is taken for a guest, and given back, however the
 * VMM ended: a USB controller, which finds what is plugged in by DMA alone.  It has
 * addresses of 32 bits, and so uses the kernel's own table.
 */
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <linux/vfio.h>

#include "cases.h"

/* QEMU's pci-ohci, and its driver */
#define USB_VENDOR	0x106b
#define USB_DEVICE	0x003f
#define USB_DRIVER	"ohci-pci"

/* Has the controller fetched the descriptors of a USB device? */
static bool usb_works(const struct env *env)
{
	char pattern[PATH_MAX];
	glob_t found;
	bool works;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/pci/devices/%s/usb*/*-1/product", env->dev.bdf);
	works = !glob(pattern, 0, NULL, &found);
	if (works)
		globfree(&found);
	return works;
}

static void wait_for_usb(const struct env *env)
{
	while (!usb_works(env))
		usleep(10000);
}

/* The VMM, in a process of its own, which @end ends */
static void vmm_of_the_device(struct env *env, void (*end)(struct env *env))
{
	int status;
	pid_t pid;

	wait_for_usb(env);
	vfio_give_to(&env->dev, "vfio-pci");
	expect(env, !usb_works(env));
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
	wait_for_usb(env);
}

static void kill_vmm(struct env *env)
{
	(void)env;
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
	expect(env, !ioctl(env->dev.group, VFIO_GROUP_UNSET_CONTAINER));
}

static void after_a_vmm_was_killed(struct env *env)
{
	vmm_of_the_device(env, kill_vmm);
}

static void after_its_window_was_removed(struct env *env)
{
	vmm_of_the_device(env, remove_window);
}

static void after_a_vmm_let_go(struct env *env)
{
	vmm_of_the_device(env, let_go);
}

static const struct test_case cases[] = {
	CASE(after_a_vmm_was_killed),
	CASE(after_its_window_was_removed),
	CASE(after_a_vmm_let_go),
};

int main(void)
{
	return run_cases_of(cases, ARRAY_SIZE(cases), USB_VENDOR, USB_DEVICE);
}
