// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "ktap.h"
#include "vfio.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"

static unsigned int pci_id(const char *bdf, const char *what)
{
	char path[PATH_MAX];
	unsigned int id = 0;
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, what);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%x", &id) != 1)
			id = 0;
		fclose(f);
	}
	return id;
}

static void vfio_bind_driver(unsigned int vendor, unsigned int device)
{
	FILE *f = fopen("/sys/bus/pci/drivers/vfio-pci/new_id", "w");

	if (!f)
		ktap_skip("there is no vfio-pci driver");
	fprintf(f, "%x %x", vendor, device);
	/* Known already, when another test ran before */
	fclose(f);
}

static bool sysfs_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return false;
	fputs(text, f);
	return !fclose(f);
}

static bool pci_write(const char *bdf, const char *file, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, file);
	return sysfs_write(path, text);
}

void vfio_take_from_driver(const struct vfio_dev *dev)
{
	/* There is no such file when it has no driver */
	pci_write(dev->bdf, "driver/unbind", dev->bdf);
}

bool vfio_has_driver(const struct vfio_dev *dev, const char *driver)
{
	char path[PATH_MAX], link[PATH_MAX] = "";

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", dev->bdf);
	return readlink(path, link, sizeof(link) - 1) > 0 &&
	       !strcmp(basename(link), driver);
}

void vfio_give_to(const struct vfio_dev *dev, const char *driver)
{
	ktap_need(pci_write(dev->bdf, "driver_override", driver),
		  "choosing the driver %s for %s", driver, dev->bdf);
	vfio_take_from_driver(dev);
	ktap_need(pci_write(dev->bdf, "subsystem/drivers_probe", dev->bdf),
		  "having %s probed", dev->bdf);
	ktap_need(vfio_has_driver(dev, driver), "giving %s to the driver %s", dev->bdf, driver);
}

void vfio_remove(const struct vfio_dev *dev)
{
	char path[PATH_MAX];

	ktap_need(pci_write(dev->bdf, "remove", "1"), "removing %s", dev->bdf);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s", dev->bdf);
	ktap_need(access(path, F_OK), "%s has gone", dev->bdf);
}

void vfio_rescan(void)
{
	ktap_need(sysfs_write("/sys/bus/pci/rescan", "1"), "rescanning");
}

bool vfio_resets(const struct vfio_dev *dev, bool on)
{
	return pci_write(dev->bdf, "reset_method", on ? "default" : "\n");
}

/* Without the sPAPR IOMMU there is no DMA window that a guest could program */
static void vfio_need_spapr(void)
{
	int container = open("/dev/vfio/vfio", O_RDWR);

	if (container < 0)
		ktap_skip("there is no /dev/vfio/vfio");
	if (ioctl(container, VFIO_CHECK_EXTENSION,
		  VFIO_SPAPR_TCE_v2_IOMMU) <= 0)
		ktap_skip("this kernel's VFIO has no sPAPR TCE v2 IOMMU");
	close(container);
}

/* The IOMMU group of a device, or -1 */
static int vfio_group_of(const char *bdf)
{
	char path[PATH_MAX], link[PATH_MAX] = "";

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/iommu_group", bdf);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	return atoi(basename(link));
}

/* Where to look for a device: anywhere, or as seen from another one */
enum place {
	ANYWHERE,
	IN_A_LATER_GROUP,
	IN_THE_SAME_GROUP,
};

static bool is_there(const char *bdf, int id, enum place place,
		     const struct vfio_dev *other)
{
	switch (place) {
	case IN_A_LATER_GROUP:
		return id != other->id && strcmp(bdf, other->bdf) > 0;
	case IN_THE_SAME_GROUP:
		return id == other->id && strcmp(bdf, other->bdf);
	default:
		return true;
	}
}

/* The first device of this kind, seen from @other, if a place is named */
static bool vfio_search(struct vfio_dev *dev, unsigned int vendor,
			unsigned int device, enum place place,
			const struct vfio_dev *other)
{
	struct dirent **entries;
	int i, id, nr = scandir(PCI_DEVICES, &entries, NULL, alphasort);

	memset(dev, 0, sizeof(*dev));
	dev->group = -1;
	dev->container = -1;
	dev->device = -1;

	for (i = 0; i < nr; i++) {
		const char *bdf = entries[i]->d_name;

		if (dev->bdf[0] || pci_id(bdf, "vendor") != vendor ||
		    pci_id(bdf, "device") != device)
			continue;
		id = vfio_group_of(bdf);
		if (id < 0 || !is_there(bdf, id, place, other))
			continue;
		snprintf(dev->bdf, sizeof(dev->bdf), "%.15s", bdf);
		dev->id = id;
	}
	return dev->bdf[0];
}

void vfio_find(struct vfio_dev *dev, unsigned int vendor, unsigned int device)
{
	if (!vfio_search(dev, vendor, device, ANYWHERE, NULL))
		ktap_skip("no PCI device %04x:%04x is in an IOMMU group", vendor,
			  device);
	vfio_need_spapr();
	vfio_bind_driver(vendor, device);
}

bool vfio_find_next(struct vfio_dev *dev, const struct vfio_dev *last,
		    unsigned int vendor, unsigned int device)
{
	return vfio_search(dev, vendor, device, IN_A_LATER_GROUP, last);
}

bool vfio_find_beside(struct vfio_dev *dev, const struct vfio_dev *other,
		      unsigned int vendor, unsigned int device)
{
	return vfio_search(dev, vendor, device, IN_THE_SAME_GROUP, other);
}

void vfio_open_only_group(struct vfio_dev *dev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/dev/vfio/%d", dev->id);
	dev->group = open(path, O_RDWR);
	ktap_need(dev->group >= 0, "opening %s", path);
}

int vfio_join(struct vfio_dev *dev, int container)
{
	return ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &container) ?
		-errno : 0;
}

int vfio_leave(const struct vfio_dev *dev)
{
	return ioctl(dev->group, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;
}

static void vfio_open_with(struct vfio_dev *dev, unsigned long iommu)
{
	vfio_open_only_group(dev);
	dev->container = open("/dev/vfio/vfio", O_RDWR);
	ktap_need(dev->container >= 0, "opening a container");
	ktap_need(!vfio_join(dev, dev->container), "VFIO_GROUP_SET_CONTAINER");
	ktap_need(!ioctl(dev->container, VFIO_SET_IOMMU, iommu),
		  "VFIO_SET_IOMMU to %lu", iommu);
}

void vfio_open_group(struct vfio_dev *dev)
{
	vfio_open_with(dev, VFIO_SPAPR_TCE_v2_IOMMU);
}

void vfio_open_group_v1(struct vfio_dev *dev)
{
	vfio_open_with(dev, VFIO_SPAPR_TCE_IOMMU);
}

void vfio_enable_v1(const struct vfio_dev *dev)
{
	ktap_need(!ioctl(dev->container, VFIO_IOMMU_ENABLE), "VFIO_IOMMU_ENABLE");
}

bool vfio_in_container(const struct vfio_dev *dev)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	ktap_need(!ioctl(dev->group, VFIO_GROUP_GET_STATUS, &status),
		  "VFIO_GROUP_GET_STATUS");
	return status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET;
}

static int vfio_memory(const struct vfio_dev *dev, unsigned long request,
		       void *mem, size_t size)
{
	struct vfio_iommu_spapr_register_memory reg = {
		.argsz = sizeof(reg),
		.vaddr = (uintptr_t)mem,
		.size = size,
	};

	return ioctl(dev->container, request, &reg) ? -errno : 0;
}

int vfio_try_register(const struct vfio_dev *dev, void *mem, size_t size)
{
	return vfio_memory(dev, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, mem, size);
}

void vfio_register(const struct vfio_dev *dev, void *mem, size_t size)
{
	ktap_need(!vfio_try_register(dev, mem, size),
		  "VFIO_IOMMU_SPAPR_REGISTER_MEMORY of %zu bytes", size);
}

int vfio_unregister(const struct vfio_dev *dev, void *mem, size_t size)
{
	return vfio_memory(dev, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, mem, size);
}

int vfio_remove_window(const struct vfio_dev *dev, __u64 start)
{
	struct vfio_iommu_spapr_tce_remove remove = {
		.argsz = sizeof(remove),
		.start_addr = start,
	};

	return ioctl(dev->container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove) ?
		-errno : 0;
}

int vfio_map(const struct vfio_dev *dev, __u64 bus, void *mem, size_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = bus,
		.size = size,
	};

	return ioctl(dev->container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

int vfio_unmap(const struct vfio_dev *dev, __u64 bus, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = bus,
		.size = size,
	};

	return ioctl(dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;
}

int vfio_add_window(const struct vfio_dev *dev, unsigned int page_shift,
		    __u64 size, unsigned int levels, __u64 *start)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create),
		.page_shift = page_shift,
		.window_size = size,
		.levels = levels,
	};
	int ret = ioctl(dev->container, VFIO_IOMMU_SPAPR_TCE_CREATE, &create);

	*start = create.start_addr;
	return ret ? -errno : 0;
}

void vfio_create_window(const struct vfio_dev *dev, unsigned int page_shift,
			__u64 size)
{
	__u64 start;

	ktap_need(!vfio_remove_window(dev, 0),
		  "VFIO_IOMMU_SPAPR_TCE_REMOVE of the window at 0");
	ktap_need(!vfio_add_window(dev, page_shift, size, 1, &start),
		  "VFIO_IOMMU_SPAPR_TCE_CREATE of 0x%llx bytes", size);
	ktap_need(!start, "the window starts at 0x%llx", start);
}

static __u64 vfio_region(const struct vfio_dev *dev, __u32 index, const char *what)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	ktap_need(!ioctl(dev->device, VFIO_DEVICE_GET_REGION_INFO, &info),
		  "VFIO_DEVICE_GET_REGION_INFO of %s", what);
	return info.offset;
}

void vfio_enable_dma(const struct vfio_dev *dev)
{
	__u64 config = vfio_region(dev, VFIO_PCI_CONFIG_REGION_INDEX,
				   "the configuration space");
	__u16 command;

	ktap_need(pread(dev->device, &command, 2, config + PCI_COMMAND) == 2,
		  "reading the PCI command register");
	command = htole16(le16toh(command) | PCI_COMMAND_MEMORY |
			  PCI_COMMAND_MASTER);
	ktap_need(pwrite(dev->device, &command, 2, config + PCI_COMMAND) == 2,
		  "enabling DMA in the PCI command register");
}

void vfio_open_device(struct vfio_dev *dev)
{
	dev->device = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
	ktap_need(dev->device >= 0, "VFIO_GROUP_GET_DEVICE_FD of %s", dev->bdf);
	dev->bar0 = vfio_region(dev, VFIO_PCI_BAR0_REGION_INDEX, "BAR 0");
	vfio_enable_dma(dev);
}
