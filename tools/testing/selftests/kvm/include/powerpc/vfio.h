/* SPDX-License-Identifier: GPL-2.0-only */
/* A PCI device in the hands of user space: group, container, DMA window */
#ifndef SELFTEST_KVM_POWERPC_VFIO_H
#define SELFTEST_KVM_POWERPC_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

/**
 * struct vfio_dev - a device and what it takes to use it
 * @bdf: its PCI address, as in /sys/bus/pci/devices
 * @id: its IOMMU group, as in /sys/kernel/iommu_groups
 * @group: file descriptor of the group
 * @container: file descriptor of the container
 * @device: file descriptor of the device
 * @bar0: offset of BAR 0 in @device
 */
struct vfio_dev {
	char bdf[16];
	int id;
	int group;
	int container;
	int device;
	__u64 bar0;
};

/* Skips the test when the machine has no such device or no VFIO */
void vfio_find(struct vfio_dev *dev, unsigned int vendor, unsigned int device);

/* The next one by address, in another group; false when there is none */
bool vfio_find_next(struct vfio_dev *dev, const struct vfio_dev *last,
		    unsigned int vendor, unsigned int device);

/* Another one of the same group; false when there is none */
bool vfio_find_beside(struct vfio_dev *dev, const struct vfio_dev *other,
		      unsigned int vendor, unsigned int device);

/* Take the device from its driver, if it has one; and give it to another */
void vfio_take_from_driver(const struct vfio_dev *dev);
void vfio_give_to(const struct vfio_dev *dev, const char *driver);
bool vfio_has_driver(const struct vfio_dev *dev, const char *driver);

/* What the host's administrator may do: have a device go, and all that went come back */
void vfio_remove(const struct vfio_dev *dev);
void vfio_rescan(void);

/*
 * Turn on all resets of the device that the kernel knows, or turn them off; false when
 * it knows none
 */
bool vfio_resets(const struct vfio_dev *dev, bool on);

/* The group alone; and into a container, or out of it: 0 or -errno */
void vfio_open_only_group(struct vfio_dev *dev);
int vfio_join(struct vfio_dev *dev, int container);
int vfio_leave(const struct vfio_dev *dev);

/*
 * Group into a container of its own, with the sPAPR TCE IOMMU v2; or with the first one,
 * which is to be enabled before it is used
 */
void vfio_open_group(struct vfio_dev *dev);
void vfio_open_group_v1(struct vfio_dev *dev);
void vfio_enable_v1(const struct vfio_dev *dev);
bool vfio_in_container(const struct vfio_dev *dev);
void vfio_register(const struct vfio_dev *dev, void *mem, size_t size);

/* Replace the window at bus address 0, the default one or an earlier one */
void vfio_create_window(const struct vfio_dev *dev, unsigned int page_shift,
			__u64 size);

/* Each of these returns 0 or -errno; the new window begins at @start */
int vfio_add_window(const struct vfio_dev *dev, unsigned int page_shift,
		    __u64 size, unsigned int levels, __u64 *start);
int vfio_try_register(const struct vfio_dev *dev, void *mem, size_t size);
int vfio_unregister(const struct vfio_dev *dev, void *mem, size_t size);
int vfio_remove_window(const struct vfio_dev *dev, __u64 start);
int vfio_map(const struct vfio_dev *dev, __u64 bus, void *mem, size_t size);
int vfio_unmap(const struct vfio_dev *dev, __u64 bus, size_t size);

/* Needs the window: the device may do DMA from here on */
void vfio_open_device(struct vfio_dev *dev);

/* The same again for a device that is open, and was reset */
void vfio_enable_dma(const struct vfio_dev *dev);

#endif /* SELFTEST_KVM_POWERPC_VFIO_H */
