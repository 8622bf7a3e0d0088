/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Behind asm/mm_iommu.h, as its users see it here: where a section begins and ends
 * another CPU may come in between, and regions are looked up within one.
 */
#ifndef TCE_SECTION_H
#define TCE_SECTION_H

/* Sections that this thread is in: one, as they do not nest, or none */
extern __thread unsigned int sections;

static inline void section_enter(struct mm_iommu_reader *reader)
{
	WRONG_IF(sections);
	mm_iommu_enter(reader);
	sections++;
	WRONG_IF(!(reader->seq & 1));
	spot(SPOT_ENTER, reader);
}

static inline void section_leave(struct mm_iommu_reader *reader)
{
	WRONG_IF(!(reader->seq & 1));
	WRONG_IF(mm_iommu_kept(reader) && !reader->nr_kept);
	spot(SPOT_LEAVE, reader);
	sections--;
	mm_iommu_leave(reader);
}

#define mm_iommu_enter(reader)	section_enter(reader)
#define mm_iommu_leave(reader)	section_leave(reader)
#define mm_iommu_find(...) \
	({ WRONG_IF(!sections); mm_iommu_find(__VA_ARGS__); })

#endif /* TCE_SECTION_H */
