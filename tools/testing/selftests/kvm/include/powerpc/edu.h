/* SPDX-License-Identifier: GPL-2.0-only */
/* The edu device of QEMU: a DMA engine with a buffer of one page */
#ifndef SELFTEST_KVM_POWERPC_EDU_H
#define SELFTEST_KVM_POWERPC_EDU_H

#include <linux/types.h>

#include "vfio.h"

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8
#define EDU_PAGE	4096

/* The device reads @len bytes from bus address @bus into its buffer */
void edu_read(const struct vfio_dev *dev, __u64 bus, __u32 len);

/* The device writes @len bytes of its buffer to bus address @bus */
void edu_write(const struct vfio_dev *dev, __u64 bus, __u32 len);

/* The same, without waiting for its end; and wait for that */
void edu_begin_write(const struct vfio_dev *dev, __u64 bus, __u32 len);
void edu_wait(const struct vfio_dev *dev);

/* The one after the other: from bus address @from to @to */
void edu_copy(const struct vfio_dev *dev, __u64 from, __u64 to, __u32 len);

/* The same from a page to the next one, in memory at @page; false when it has not arrived */
bool edu_copies_page(const struct vfio_dev *dev, __u64 bus, __u8 *page);

/* What the device writes for edu_reaches() */
#define EDU_SIGN	0x5a
#define EDU_SOME	64

/* It gets that from @page, where bus address @bus leads to */
void edu_take_sign(const struct vfio_dev *dev, __u64 bus, __u8 *page);

/* Does the device write to @mem, at bus address @bus? */
bool edu_reaches(const struct vfio_dev *dev, __u64 bus, __u8 *mem);

/* Does nothing but show in a trace of what is written to devices */
void edu_mark(const struct vfio_dev *dev, __u32 value);

#endif /* SELFTEST_KVM_POWERPC_EDU_H */
