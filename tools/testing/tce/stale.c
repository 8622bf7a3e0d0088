// SPDX-License-Identifier: GPL-2.0-only
/* See stale.h */
#include <asm/mm_iommu.h>

#include "stale.h"

#define STALE_MAX	64

__thread unsigned int stale_nr;
static __thread struct {
	const void *at;
	u64 value;
	size_t size;
} taken[STALE_MAX];

void stale_take(const void *at, size_t size)
{
	u64 value = 0;

	if (stale_nr == STALE_MAX)
		return;
	if (size == sizeof(value))
		value = __atomic_load_n((const u64 *)at, __ATOMIC_ACQUIRE);
	else
		value = __atomic_load_n((const u8 *)at, __ATOMIC_ACQUIRE);
	taken[stale_nr].at = at;
	taken[stale_nr].value = value;
	taken[stale_nr].size = size;
	stale_nr++;
}

const void *stale_first(struct mm_struct *mm)
{
	return &mm->context.iommu->regions;
}

void stale_regions(struct mm_struct *mm)
{
	struct mm_iommu_regions *regions;
	unsigned int i;

	stale_drop();
	stale_take(&mm->context.iommu->regions, sizeof(regions));
	regions = (void *)taken[0].value;
	for (i = 0; regions && i < regions->nr; ++i)
		stale_take(&regions->slot[i].mem, sizeof(regions->slot[i].mem));
}

void stale_load(const void *at, void *value, size_t size)
{
	unsigned int i;

	for (i = 0; i < stale_nr; ++i)
		if (taken[i].at == at && taken[i].size == size)
			memcpy(value, &taken[i].value, size);
}
