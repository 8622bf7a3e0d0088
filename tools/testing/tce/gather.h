/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Behind asm/tce_user.h, as its users see it here: each use of a gather first
 * looks whether all regions in it are counted.  A gather may use a region that it has
 * found only while it holds a count of it: then nobody can retire the region, and the
 * same region is at its addresses until the gather is finished.
 */
#ifndef TCE_GATHER_H
#define TCE_GATHER_H

static inline const struct tce_user_gather *
gather_holds(const struct tce_user_gather *gather)
{
	unsigned int i;

	for (i = 0; i < gather->nr; ++i)
		WRONG_IF_CHECKED(CHECK_GATHER,
				 !(gather->ref[i].credit + gather->ref[i].removed));
	return gather;
}

/* Not within a run of entries, which settles with the gather at its end */
static inline struct tce_user_gather *gather_counted(struct tce_user_gather *gather)
{
	unsigned int i;

	gather_holds(gather);
	for (i = 0; i < gather->nr; ++i) {
		const struct tce_user_ref *ref = &gather->ref[i];

		WRONG_IF_CHECKED(CHECK_GATHER,
				 __atomic_load_n(&ref->mem->mapped.counter, __ATOMIC_RELAXED) <
				 (s64)(ref->credit + ref->removed) + 1);
	}
	return gather;
}

#define tce_user_full(gather, tables)	tce_user_full(gather_holds(gather), tables)
#define tce_user_finish(gather)	tce_user_finish(gather_counted(gather))
#define tce_user_reserve(gather, ua, size, need, more, mode) \
	tce_user_reserve(gather_counted(gather), ua, size, need, more, mode)

#endif /* TCE_GATHER_H */
