/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Behind asm/tce_user.h, as its users see it here: each use of a gather first
 * looks whether all regions in it are counted.  A gather may use a region that it has
 * found only while it holds a count of it: then nobody can retire the region, and the
 * same region is at its addresses until the gather is put.
 */
#ifndef TCE_BATCH_H
#define TCE_BATCH_H

static inline const struct tce_user_batch *
batch_holds(const struct tce_user_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; ++i)
		WRONG_IF_CHECKED(CHECK_BATCH,
				 !(batch->ref[i].credit + batch->ref[i].removed));
	return batch;
}

/* Not within a run of entries, which settles with the gather at its end */
static inline struct tce_user_batch *batch_counted(struct tce_user_batch *batch)
{
	unsigned int i;

	batch_holds(batch);
	for (i = 0; i < batch->nr; ++i) {
		const struct tce_user_ref *ref = &batch->ref[i];

		WRONG_IF_CHECKED(CHECK_BATCH,
				 __atomic_load_n(&ref->mem->mapped.counter, __ATOMIC_RELAXED) <
				 (s64)(ref->credit + ref->removed) + 1);
	}
	return batch;
}

#define tce_user_full(batch, tables)	tce_user_full(batch_holds(batch), tables)
#define tce_user_put(batch)	tce_user_put(batch_counted(batch))
#define tce_user_reserve(batch, ua, size, need, more, mode) \
	tce_user_reserve(batch_counted(batch), ua, size, need, more, mode)

#endif /* TCE_BATCH_H */
