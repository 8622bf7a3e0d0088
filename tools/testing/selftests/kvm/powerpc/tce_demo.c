// SPDX-License-Identifier: GPL-2.0-only
/*
 * The main job, shown from end to end: a guest lets a device at two pages of its
 * memory, the device uses them, and is kept out once the guest has taken them
 * back.  And the VFIO group stays put for as long as KVM relies on it.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

#include "edu.h"
#include "ktap.h"
#include "vfio.h"
#include "vm.h"

#define LIOBN		0x80000001UL
#define WINDOW		0x40000000UL

/* Guest addresses of the pages, and the bus addresses that lead there */
#define PAGE_SOURCE	(VM_FREE + 0x3000UL)
#define PAGE_TARGET	(VM_FREE + 0x5000UL)
#define PAGE_PROBE	(VM_FREE + 0x9000UL)
#define BUS_SOURCE	0x100000UL
#define BUS_TARGET	0x101000UL
#define BUS_PROBE	0x7fff000UL

static struct timespec began;

static void step_begin(void)
{
	clock_gettime(CLOCK_MONOTONIC, &began);
}

static long step_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - began.tv_sec) * 1000 +
	       (now.tv_nsec - began.tv_nsec) / 1000000;
}

static void fill(__u8 *page, const char *text)
{
	size_t i, len = strlen(text);

	for (i = 0; i < EDU_PAGE; i++)
		page[i] = text[i % len];
}

static long put_tce(struct vm *vm, __u64 bus, __u64 tce)
{
	return vm_hypercall(vm, NULL, H_PUT_TCE, LIOBN, bus, tce, 0);
}

static void map_pages(struct vm *vm)
{
	long source, target;

	step_begin();
	source = put_tce(vm, BUS_SOURCE, PAGE_SOURCE | TCE_READ);
	target = put_tce(vm, BUS_TARGET, PAGE_TARGET | TCE_READ | TCE_WRITE);
	ktap_ok(!source && !target, "the guest maps two pages by H_PUT_TCE");
	ktap_say("  bus address 0x%lx leads to guest page 0x%lx, to be read",
		 BUS_SOURCE, PAGE_SOURCE);
	ktap_say("  bus address 0x%lx leads to guest page 0x%lx, to be written",
		 BUS_TARGET, PAGE_TARGET);
	ktap_say("  (%ld ms)", step_ms());
}

static void use_pages(struct vm *vm, const struct vfio_dev *dev)
{
	__u8 *source = vm->mem + PAGE_SOURCE;
	__u8 *target = vm->mem + PAGE_TARGET;

	step_begin();
	fill(source, "written by the guest ");
	memset(target, 0, EDU_PAGE);

	edu_copy(dev, BUS_SOURCE, BUS_TARGET, EDU_PAGE);
	ktap_ok(!memcmp(source, target, EDU_PAGE),
		"the device reads one page and writes the other");
	ktap_say("  read %d bytes at bus address 0x%lx, wrote them to 0x%lx",
		 EDU_PAGE, BUS_SOURCE, BUS_TARGET);
	ktap_say("  guest page 0x%lx now begins \"%.20s\" (%ld ms)",
		 PAGE_TARGET, target, step_ms());
}

static void unmap_pages(struct vm *vm)
{
	long source, target;

	step_begin();
	source = put_tce(vm, BUS_SOURCE, 0);
	target = put_tce(vm, BUS_TARGET, 0);
	ktap_ok(!source && !target, "the guest unmaps both pages (%ld ms)",
		step_ms());
}

static const char *verdict(bool refused)
{
	return refused ? "refused" : "NOT refused";
}

static void write_is_refused(struct vm *vm, const struct vfio_dev *dev)
{
	__u8 *target = vm->mem + PAGE_TARGET, before[EDU_PAGE];
	bool refused;

	step_begin();
	fill(target, "none of the device's business ");
	memcpy(before, target, EDU_PAGE);
	edu_write(dev, BUS_TARGET, EDU_PAGE);
	refused = !memcmp(target, before, EDU_PAGE);
	ktap_ok(refused, "the device can no longer write the page");
	ktap_say("  %s: a write of %d bytes to bus address 0x%lx (%ld ms)",
		 verdict(refused), EDU_PAGE, BUS_TARGET, step_ms());
	ktap_say("  guest page 0x%lx now begins \"%.20s\"", PAGE_TARGET,
		 target);
}

/* What the device got is seen by letting it write that to a third page */
static void read_is_refused(struct vm *vm, const struct vfio_dev *dev)
{
	__u8 *source = vm->mem + PAGE_SOURCE;
	__u8 *probe = vm->mem + PAGE_PROBE;
	size_t i, leaked = 0;
	bool refused;

	step_begin();
	fill(source, "a secret of the guest ");
	memset(probe, 0xaa, EDU_PAGE);
	ktap_need(!put_tce(vm, BUS_PROBE, PAGE_PROBE | TCE_READ | TCE_WRITE),
		  "mapping a third page");

	edu_copy(dev, BUS_SOURCE, BUS_PROBE, EDU_PAGE);
	for (i = 0; i + 8 <= EDU_PAGE; i += 8)
		leaked += !memcmp(source + i, probe + i, 8);
	refused = !leaked && probe[0] != 0xaa;
	ktap_ok(refused, "the device can no longer read the page");
	ktap_say("  %s: a read of %d bytes at bus address 0x%lx (%ld ms)",
		 verdict(refused), EDU_PAGE, BUS_SOURCE, step_ms());
	ktap_say("  of the page's %d bytes the device got %zu", EDU_PAGE,
		 leaked * 8);
	ktap_need(!put_tce(vm, BUS_PROBE, 0), "unmapping the third page");
}

static void group_is_held(struct vm *vm, struct vfio_dev *dev)
{
	int ret;

	/* An open device would hold the group, too */
	close(dev->device);

	step_begin();
	ret = ioctl(dev->group, VFIO_GROUP_UNSET_CONTAINER) ? errno : 0;
	ktap_ok(ret == EBUSY,
		"the group cannot leave its container while KVM holds it");
	ktap_say("  %s: VFIO_GROUP_UNSET_CONTAINER, with \"%s\" (%ld ms)",
		 verdict(ret), strerror(ret), step_ms());

	step_begin();
	ret = vm_group_del(vm, dev);
	ktap_ok(!ret, "KVM lets the group go (%ld ms)", step_ms());

	/* It is out already if it was let out above: one defect, one failure */
	step_begin();
	if (vfio_in_container(dev))
		ioctl(dev->group, VFIO_GROUP_UNSET_CONTAINER);
	ktap_ok(!vfio_in_container(dev),
		"then the group is out of its container (%ld ms)", step_ms());
}

/* The id under which the kernel pinned the group, from KVM's debugfs; or -1 */
static int id_reported(void)
{
	glob_t files;
	int id = -1;
	FILE *f;

	if (glob("/sys/kernel/debug/kvm/*-*/vfio_groups", 0, NULL, &files))
		return -1;
	f = fopen(files.gl_pathv[0], "r");
	if (f) {
		if (fscanf(f, "%d", &id) != 1)
			id = -1;
		fclose(f);
	}
	globfree(&files);
	return id;
}

static void id_is_true(const struct vfio_dev *dev)
{
	int id = id_reported();
	char path[128];

	if (id < 0) {
		ktap_ok(false, "KVM holds the group: no such line in debugfs");
		return;
	}
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices/%s",
		 id, dev->bdf);
	ktap_ok(!access(path, F_OK),
		"KVM holds group %d, which has the device in sysfs", id);
	ktap_say("  %s", path);
}

int main(void)
{
	struct vfio_dev dev;
	struct vm vm;
	int tablefd, ret;

	ktap_plan(10);
	vfio_find(&dev, EDU_VENDOR, EDU_DEVICE);
	vm_create(&vm, 16 << 20);
	ktap_say("A guest with %zu MiB of memory; PCI device %s, IOMMU group %d",
		 vm.size >> 20, dev.bdf, dev.id);

	step_begin();
	vfio_open_group(&dev);
	vfio_register(&dev, vm.mem, vm.size);
	ktap_need(!vm_group_add(&vm, &dev), "KVM_DEV_VFIO_GROUP_ADD");
	id_is_true(&dev);
	vfio_open_device(&dev);
	tablefd = vm_create_liobn(&vm, LIOBN, 12, WINDOW >> 12);
	vfio_create_window(&dev, 12, WINDOW);
	ret = vm_bind(&vm, &dev, tablefd);
	ktap_ok(!ret, "KVM binds the guest's DMA window to the device (%ld ms)",
		step_ms());

	map_pages(&vm);
	use_pages(&vm, &dev);
	unmap_pages(&vm);
	write_is_refused(&vm, &dev);
	read_is_refused(&vm, &dev);
	ktap_say("Who served the %lu hypercalls: the kernel %lu, user space %lu",
		 vm.hypercalls, vm.hypercalls - vm.user_exits, vm.user_exits);

	group_is_held(&vm, &dev);
	ktap_end();
}
