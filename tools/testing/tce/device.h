/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device with a cache.  It keeps every entry that it has looked at until the
 * table's operation invalidates it; that is all it knows.
 */
#ifndef TCE_DEVICE_H
#define TCE_DEVICE_H

#include "kernel.h"

extern unsigned long device_kills;	/* invalidations so far */

/* For a world that has begun; and for one whose windows are closed, before its end */
void device_begin(void);
void device_end(void);

/* A window has come, and is about to go; nothing is left of it in the cache */
void device_attach(unsigned int t);
void device_detach(unsigned int t);

/* What a DMA through an entry meets; 0 without a window */
u64 device_dma(unsigned int t, unsigned long idx);
/*
 * A DMA through each entry of all tables that are or were open.  Nobody may be
 * changing them, so nothing that is cached may differ from the tables.
 */
void device_dma_all(void);

/* For world_begin() */
void device_kill(struct iommu_table *tbl, unsigned long entry, unsigned long pages);

#endif /* TCE_DEVICE_H */
