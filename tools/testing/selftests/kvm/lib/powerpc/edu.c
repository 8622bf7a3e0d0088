// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "edu.h"
#include "ktap.h"

/* Registers (QEMU docs/specs/edu.rst) */
#define EDU_LIVENESS	0x04
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_START	1
#define EDU_CMD_TO_RAM	2

#define EDU_BUFFER	0x40000

/* The device has the byte order of the machine that QEMU was built for: big */
static void edu_set(const struct vfio_dev *dev, __u32 reg, __u32 val)
{
	val = htobe32(val);
	ktap_need(pwrite(dev->device, &val, 4, dev->bar0 + reg) == 4,
		  "writing register 0x%x of the device", reg);
}

static __u32 edu_get(const struct vfio_dev *dev, __u32 reg)
{
	__u32 val;

	ktap_need(pread(dev->device, &val, 4, dev->bar0 + reg) == 4,
		  "reading register 0x%x of the device", reg);
	return be32toh(val);
}

/* Registers of addresses have 64 bits; how many are used is the device's choice */
static void edu_set_address(const struct vfio_dev *dev, __u32 reg, __u64 val)
{
	val = htobe64(val);
	ktap_need(pwrite(dev->device, &val, 8, dev->bar0 + reg) == 8,
		  "writing register 0x%x of the device", reg);
}

static void edu_begin(const struct vfio_dev *dev, __u64 src, __u64 dst,
		      __u32 len, __u32 cmd)
{
	edu_set_address(dev, EDU_DMA_SRC, src);
	edu_set_address(dev, EDU_DMA_DST, dst);
	edu_set(dev, EDU_DMA_COUNT, len);
	edu_set(dev, EDU_DMA_CMD, cmd | EDU_CMD_START);
}

void edu_wait(const struct vfio_dev *dev)
{
	while (edu_get(dev, EDU_DMA_CMD) & EDU_CMD_START)
		usleep(1000);
}

static void edu_dma(const struct vfio_dev *dev, __u64 src, __u64 dst,
		    __u32 len, __u32 cmd)
{
	edu_begin(dev, src, dst, len, cmd);
	edu_wait(dev);
}

void edu_begin_write(const struct vfio_dev *dev, __u64 bus, __u32 len)
{
	edu_begin(dev, EDU_BUFFER, bus, len, EDU_CMD_TO_RAM);
}

void edu_read(const struct vfio_dev *dev, __u64 bus, __u32 len)
{
	edu_dma(dev, bus, EDU_BUFFER, len, 0);
}

void edu_write(const struct vfio_dev *dev, __u64 bus, __u32 len)
{
	edu_dma(dev, EDU_BUFFER, bus, len, EDU_CMD_TO_RAM);
}

void edu_copy(const struct vfio_dev *dev, __u64 from, __u64 to, __u32 len)
{
	edu_read(dev, from, len);
	edu_write(dev, to, len);
}

bool edu_copies_page(const struct vfio_dev *dev, __u64 bus, __u8 *page)
{
	static __u8 sign = EDU_SIGN;

	/* None that is there from an earlier time */
	memset(page, ++sign, EDU_PAGE);
	memset(page + EDU_PAGE, 0, EDU_PAGE);
	edu_copy(dev, bus, bus + EDU_PAGE, EDU_PAGE);
	return !memcmp(page, page + EDU_PAGE, EDU_PAGE);
}

void edu_take_sign(const struct vfio_dev *dev, __u64 bus, __u8 *page)
{
	memset(page, EDU_SIGN, EDU_PAGE);
	edu_read(dev, bus, EDU_PAGE);
}

bool edu_reaches(const struct vfio_dev *dev, __u64 bus, __u8 *mem)
{
	memset(mem, 0, EDU_SOME);
	edu_write(dev, bus, EDU_SOME);
	return mem[0] == EDU_SIGN && mem[EDU_SOME - 1] == EDU_SIGN;
}

void edu_mark(const struct vfio_dev *dev, __u32 value)
{
	edu_set(dev, EDU_LIVENESS, value);
}
