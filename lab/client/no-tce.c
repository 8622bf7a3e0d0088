// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into QEMU, to have something to compare with. CLIENT_TCE says what
 * QEMU shall see of TCEs in the kernel:
 *
 *	user	 there are none: QEMU does all the work itself
 *	withheld there are, but the kernel never hears which LIOBN drives which
 *		 group: a control, with which no device can work
 *	alone	 there are none, and KVM has nothing to do with VFIO: it holds no group
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int ioctl(int fd, unsigned long request, ...)
{
	/* With "...": the real one stores its arguments in the caller's frame. */
	static int (*next)(int fd, unsigned long request, ...);
	const char *mode = getenv("CLIENT_TCE");
	const struct kvm_create_device *device;
	const struct kvm_device_attr *attr;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	if (!mode)
		return next(fd, request, arg);

	if (strcmp(mode, "withheld") && request == KVM_CHECK_EXTENSION &&
	    (long)arg == KVM_CAP_SPAPR_TCE_VFIO)
		return 0;
	device = arg;
	if (!strcmp(mode, "alone") && request == KVM_CREATE_DEVICE &&
	    device->type == KVM_DEV_TYPE_VFIO) {
		errno = ENODEV;
		return -1;
	}
	attr = arg;
	if (!strcmp(mode, "withheld") && request == KVM_SET_DEVICE_ATTR &&
	    attr->group == KVM_DEV_VFIO_GROUP &&
	    attr->attr == KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE)
		return 0;
	return next(fd, request, arg);
}
