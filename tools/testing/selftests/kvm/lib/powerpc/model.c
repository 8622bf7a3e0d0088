// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <stddef.h>

#include "model.h"
#include "tce_rules.h"

#define PERM		RULES_PERM

static struct model_slot *slot_of(struct model *m, __u64 gpa)
{
	unsigned int i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (gpa - m->slot[i].gpa < m->slot[i].size)
			return &m->slot[i];
	return NULL;
}

static struct model_region *region_of(struct model *m, __u64 gpa)
{
	unsigned int i;

	for (i = 0; i < MODEL_REGIONS; i++)
		if (gpa - m->region[i].gpa < m->region[i].size)
			return &m->region[i];
	return NULL;
}

__u8 *model_memory(struct model *m, __u64 gpa)
{
	struct model_slot *slot = slot_of(m, gpa);

	return slot ? slot->mem + (gpa - slot->gpa) : NULL;
}

/* May the guest, and VFIO if that is asked, be led to what @tce names? */
static bool may_map(struct model *m, const struct model_liobn *l, __u64 tce)
{
	const __u64 size = 1UL << l->shift, gpa = tce & ~PERM;
	struct model_slot *slot = slot_of(m, gpa);
	struct model_region *region;

	if (!slot || !rules_slot_has(slot->gpa, slot->size, slot->read_only, tce, size))
		return false;
	if (!l->tables)
		return true;
	region = region_of(m, gpa);
	return region && region_of(m, gpa + size - 1) == region;
}

static void set_entry(struct model *m, struct model_table *table, __u64 entry,
		      __u64 tce)
{
	__u64 *old = &table->tce[entry];

	if (*old)
		region_of(m, *old & ~PERM)->mapped--;
	if (tce)
		region_of(m, tce & ~PERM)->mapped++;
	*old = tce;
}

/* False when the TCE is not one that the kernel can take */
static bool set(struct model *m, struct model_liobn *l, __u64 idx, __u64 tce)
{
	const __u64 parts = 1UL << (l->shift - MODEL_SHIFT);
	unsigned int t;
	__u64 i;

	if (tce & PERM && !may_map(m, l, tce))
		return false;

	for (t = 0; t < MODEL_TABLES; t++) {
		if (!(l->tables & 1U << t))
			continue;
		for (i = 0; i < parts; i++)
			set_entry(m, &m->table[t], (l->first + idx) * parts + i,
				  tce & PERM ? tce + (i << MODEL_SHIFT) : 0);
	}
	l->tce[idx] = tce;
	return true;
}

static struct model_liobn *liobn_of(struct model *m, __u64 liobn)
{
	unsigned int i;

	for (i = 0; i < MODEL_LIOBNS; i++)
		if (m->liobn[i].size && m->liobn[i].liobn == liobn)
			return &m->liobn[i];
	return NULL;
}

static long set_list(struct model *m, struct model_liobn *l, __u64 idx,
		     __u64 list, __u64 n, long user)
{
	const __u64 *tces = (const __u64 *)model_memory(m, list);
	__u64 i;

	if (n && !tces)
		return user;
	for (i = 0; i < n; i++)
		if (!set(m, l, idx + i, be64toh(tces[i])))
			return user;
	return H_SUCCESS;
}

long model_call(struct model *m, const struct vm_call *call, long user,
		__u64 *value)
{
	const __u64 arg = call->args[2];
	const bool counted = call->nr == H_PUT_TCE_INDIRECT ||
			     call->nr == H_STUFF_TCE;
	const __u64 n = counted ? call->args[3] : 1;
	struct model_liobn *l = liobn_of(m, call->args[0]);
	__u64 idx, i;

	if (!l)
		return user;
	if (!rules_allow(call->nr, l->shift, l->first, l->size, call->args[1], arg, n, &idx))
		return H_PARAMETER;

	switch (call->nr) {
	case H_GET_TCE:
		*value = l->tce[idx];
		return H_SUCCESS;
	case H_PUT_TCE:
		return set(m, l, idx, arg) ? H_SUCCESS : user;
	case H_STUFF_TCE:
		for (i = 0; i < n; i++)
			set(m, l, idx + i, arg);
		return H_SUCCESS;
	default:
		return set_list(m, l, idx, arg, n, user);
	}
}
