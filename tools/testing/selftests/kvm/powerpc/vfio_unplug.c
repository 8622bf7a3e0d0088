// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's administrator takes a device away while a VMM still has its group, and
 * finds it again: the old group is dead for good, the new one works, and whatever the
 * VMM does to the old one afterwards, even if it ends, the new one is not affected.
 *
 * The last case takes the host bridge, too, where that can be done: no test that
 * needs the device can run after this one.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"

#define GROUPS		"/sys/kernel/iommu_groups"
#define DEVICES		"/sys/bus/pci/devices"

/* The directory of the device tree, as links in sysfs spell it */
#define DEVICE_TREE	"/firmware/devicetree/base"

static unsigned int count_groups(void)
{
	DIR *dir = opendir(GROUPS);
	unsigned int nr = 0;
	struct dirent *at;

	while (dir && (at = readdir(dir)))
		nr += at->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return nr;
}

/* The device comes back in a group as it finds it; @dev is as good as new then */
static void find_again(struct vfio_dev *dev)
{
	const struct vfio_dev was = *dev;

	vfio_rescan();
	vfio_find(dev, EDU_VENDOR, EDU_DEVICE);
	ktap_need(!strcmp(dev->bdf, was.bdf), "%s is back, not %s", was.bdf, dev->bdf);
	ktap_say("  %s was in group %d, is in group %d", dev->bdf, was.id, dev->id);
}

/* A VMM that has the device again, in every way that is there */
static void begin_again(struct env *env)
{
	begin(env);
	vfio_open_device(&env->dev);
	expect_works(env);
}

/* The VMM has added the group, and perhaps bound it */
static void lose_device(struct env *env, bool bound)
{
	const unsigned int groups = count_groups();
	struct env again = *env, third = *env;
	int fd;

	/* An earlier case may have had it in another group */
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	prepare(env, SHIFT);
	if (bound) {
		expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	}
	vfio_remove(&env->dev);
	expect(env, released(env) == false);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) < 0);
	find_again(&again.dev);
	begin_again(&again);

	/* The end of the old one, in any order with the new one's life */
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect_works(&again);
	fd = vm_create_liobn(&again.vm, LIOBN + 1, SHIFT, ENTRIES);
	expect(&again, vm_bind(&again.vm, &again.dev, fd) == 0);
	close(env->dev.container);
	close(env->dev.group);
	expect_works(&again);
	end_vmm(&again);

	/* And for whoever comes after that */
	vfio_remove(&again.dev);
	third.dev = again.dev;
	find_again(&third.dev);
	begin_again(&third);
	end_vmm(&third);
	expect(env, count_groups() == groups);
	env->failed |= again.failed | third.failed;
}

CASE_CALL(group_was_added, lose_device, false);
CASE_CALL(group_was_bound, lose_device, true);

/* Its VMM ends by a signal, or anyhow, with everything open */
CASE(group_was_left)
{
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	vfio_remove(&env->dev);
	vfio_rescan();
}

CASE(device_of_the_last_case)
{
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	begin_again(env);
	end_vmm(env);
}

/* A VMM has a group of two devices */
static void begin_with_neighbour(struct env *env, struct vfio_dev *usb)
{
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	if (!vfio_find_next(usb, &env->dev, USB_VENDOR, USB_DEVICE) ||
	    !vfio_find_beside(&env->dev, usb, EDU_VENDOR, EDU_DEVICE))
		case_skip("no group here has two devices");
	vfio_give_to(usb, "vfio-pci");
	vfio_give_to(&env->dev, "vfio-pci");
	begin(env);
	vfio_open_device(&env->dev);
}

/* The host finds the other device again, and the VMM's works on */
CASE(neighbour_is_found_again)
{
	struct vfio_dev usb;

	begin_with_neighbour(env, &usb);
	expect_works(env);
	expect(env, put(env, LAST, DATA | RW) == H_SUCCESS);

	vfio_remove(&usb);
	expect_works(env);
	vfio_rescan();
	expect(env, vfio_find_beside(&usb, &env->dev, USB_VENDOR, USB_DEVICE));
	expect_works(env);
	expect(env, get(env, LAST) == (DATA | RW));
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	end_vmm(env);
}

/* The same while the VMM has removed its window, as it does when its guest is reset */
CASE(neighbour_is_found_without_a_window)
{
	struct vfio_dev usb;
	__u64 start;

	begin_with_neighbour(env, &usb);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	vfio_remove(&usb);
	vfio_rescan();
	expect(env, vfio_find_beside(&usb, &env->dev, USB_VENDOR, USB_DEVICE));
	expect(env, !vfio_has_driver(&usb, USB_DRIVER));

	expect(env, vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start) == 0);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect_works(env);
	end_vmm(env);
	vfio_give_to(&usb, USB_DRIVER);
}

/* The place in the device tree that a device is described at */
static bool node_of(const struct vfio_dev *dev, char *node, size_t size)
{
	char path[PATH_MAX], link[PATH_MAX] = "";
	const char *at;

	snprintf(path, sizeof(path), DEVICES "/%s/of_node", dev->bdf);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return false;
	at = strstr(link, DEVICE_TREE);
	if (!at)
		return false;
	snprintf(node, size, "%s", at + strlen(DEVICE_TREE));
	return true;
}

static void drop_node(struct env *env, const char *node)
{
	char text[PATH_MAX + 16];

	snprintf(text, sizeof(text), "remove_node %s", node);
	ktap_say("  %s", text);
	expect(env, write_file("/proc/powerpc/ofdt", text));
}

/* A host bridge goes, and its group's data with it; the VMM still has the group */
CASE(host_bridge_goes)
{
	const unsigned int groups = count_groups();
	char node[PATH_MAX];

	if (access("/proc/powerpc/ofdt", W_OK))
		case_skip("nodes of the device tree cannot be removed");
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	begin(env);
	ktap_need(node_of(&env->dev, node, sizeof(node)), "finding the node of %s",
		  env->dev.bdf);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	vfio_remove(&env->dev);

	drop_node(env, node);
	*strrchr(node, '/') = 0;
	drop_node(env, node);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) < 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	close(env->dev.container);
	expect(env, count_groups() == groups - 1);
	close(env->dev.group);
}

int main(void)
{
	return run_cases();
}
