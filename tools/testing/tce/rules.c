// SPDX-License-Identifier: GPL-2.0-only
/* What hypercalls must answer and do; see model.h */
#include "state.h"
#include "../selftests/kvm/include/powerpc/tce_rules.h"

/* What the tiers allow */
#define FAST_ENTRIES	512UL
#define FAST_FOREIGN	16UL
#define PARTIAL_ENTRIES	16UL
#define TABLES_MAX	4
#define PARTS_MAX	4096UL
#define PARTS_FOREIGN_MAX	512UL
#define REGIONS_MAX	7	/* dealt with at once, less one for each table */

static bool is_real(enum tier tier)
{
	return tier == TIER_REAL || tier == TIER_TABLE;
}

/* Where a reset would be fatal it has to be short */
static bool is_partial(enum tier tier)
{
	return tier == TIER_PARTIAL || tier == TIER_REAL;
}

static unsigned long parts(unsigned int l, unsigned int t)
{
	return 1UL << (layout_liobn[l].shift - layout_table[t].shift);
}

/* Hardware entries of an entry, in all tables */
static unsigned long work(unsigned int l)
{
	unsigned long sum = 0;
	unsigned int t;

	for (t = 0; t < TABLES; ++t)
		sum += m.liobn[l].owners[t] ? parts(l, t) : 0;
	return sum;
}

bool model_may_hold(unsigned int t)
{
	unsigned int l;

	if (m.table[t].mm != OURS)
		return false;
	for (l = 0; l < LIOBNS; ++l)
		if (m.liobn[l].owners[t] && work(l) > 1)
			return false;
	return true;
}

static bool tier_on(enum tier tier, unsigned long req)
{
	static const unsigned int bit[TIERS] = {
		[TIER_EARLY] = KVMPPC_TCE_TIER_EARLY,
		[TIER_PARTIAL] = KVMPPC_TCE_TIER_PARTIAL,
		[TIER_REAL] = KVMPPC_TCE_TIER_PARTIAL,
		[TIER_TABLE] = KVMPPC_TCE_TIER_REAL,
	};

	if (tier == TIER_VIRT)
		return true;
	/* hcall_real_table is entered for what is enabled */
	return world.kvm.arch.tce_tiers & bit[tier] &&
	       (tier == TIER_TABLE || test_bit(req / 4, world.kvm.arch.enabled_hcalls));
}

/* The guest has all of the page, and may do with it what the device shall */
static bool guest_page(u64 tce, unsigned long size, unsigned long *ua)
{
	unsigned int i;

	for (i = 0; i < KVM_SLOTS; ++i) {
		const struct kvm_memory_slot *slot = &world.kvm.memslots[0]->slot[i];
		const unsigned long gpa = slot->base_gfn << PAGE_SHIFT;

		if (slot->flags & KVM_MEMSLOT_INVALID ||
		    !rules_slot_has(gpa, slot->npages << PAGE_SHIFT,
				    slot->flags & KVM_MEM_READONLY, tce, size))
			continue;
		*ua = slot->userspace_addr + (tce & ~PERM) - gpa;
		return true;
	}
	return false;
}

static bool can_read(unsigned int r, enum tier tier)
{
	return r < REGIONS && m.region[r].used &&
	       !(is_real(tier) && layout_region[r].vmalloc);
}

static bool may_map(const struct model_call *c, unsigned int l, u64 tce,
		    unsigned long *ua)
{
	unsigned long size = 1UL << layout_liobn[l].shift;
	unsigned int t, r;

	if (!guest_page(tce, size, ua))
		return false;
	if (!work(l))
		return true;
	r = state_region_of(*ua, size);
	if (!can_read(r, c->tier))
		return false;
	for (t = 0; t < TABLES; ++t)
		if (m.liobn[l].owners[t] && !state_fits(r, layout_table[t].shift, *ua))
			return false;
	return true;
}

#define NOT_YET		1	/* no answer */

/* Is the list where the tier can read it? */
static long list_answer(const struct model_call *c, const struct seen *seen)
{
	unsigned long ua;
	bool readable = guest_page(c->list_gpa, 8, &ua), registered;

	registered = readable && can_read(state_region_of(ua, 8), c->tier);
	if (c->tier != TIER_VIRT)
		return registered ? NOT_YET : H_TOO_HARD;
	/* The copy of the list */
	if (seen->nomem && !seen->done && seen->ret == H_TOO_HARD)
		return H_TOO_HARD;
	return readable || !c->n ? NOT_YET : H_TOO_HARD;
}

/* Tables that are not to be changed, or not by this tier */
static bool too_hard(const struct model_call *c, unsigned int l)
{
	unsigned long foreign = 0;
	unsigned int t, nr = 0;
	bool lists = false;

	for (t = 0; t < TABLES; ++t) {
		if (!m.liobn[l].owners[t])
			continue;
		if (++nr > TABLES_MAX || m.table[t].mm != OURS ||
		    layout_table[t].pinned || parts(l, t) > PARTS_MAX)
			return true;
		if (!layout_table[t].foreign)
			continue;
		if (is_real(c->tier))
			return true;
		foreign += parts(l, t);
		lists |= layout_table[t].lists;
	}
	if (foreign > PARTS_FOREIGN_MAX)
		return true;
	if (c->tier == TIER_VIRT || !c->n)
		return false;
	return c->n * max(work(l), 1UL) > (is_partial(c->tier) ? PARTIAL_ENTRIES : FAST_ENTRIES) ||
	       work(l) > FAST_ENTRIES || c->n * foreign > FAST_FOREIGN ||
	       (lists && c->n > 1);
}

/* The LIOBN and the first entry of a call, or an answer */
static long window_answer(const struct model_call *c, unsigned int *l, __u64 *idx)
{
	const struct layout_liobn *ll;

	if (!tier_on(c->tier, c->req))
		return H_TOO_HARD;
	if (is_partial(c->tier) && c->req != H_GET_TCE && c->n > PARTIAL_ENTRIES)
		return H_TOO_HARD;
	/* It may be one of the VMM's own, which judges the arguments */
	if (c->liobn >= LIOBNS || !m.liobn[c->liobn].there)
		return H_TOO_HARD;
	*l = c->liobn;
	ll = &layout_liobn[*l];
	return rules_allow(c->req, ll->shift, ll->offset, ll->size, c->ioba,
			   c->req == H_PUT_TCE_INDIRECT ? c->list_gpa : c->tce[0], c->n, idx) ?
	       NOT_YET : H_PARAMETER;
}

static void apply(unsigned int l, unsigned long idx, u64 tce)
{
	unsigned long ua = 0, i, n, first;
	unsigned int t;

	if (tce & PERM)
		guest_page(tce, 1, &ua);
	for (t = 0; t < TABLES; ++t) {
		if (!m.liobn[l].owners[t])
			continue;
		n = parts(l, t);
		first = idx * n;
		for (i = 0; i < n; ++i)
			state_set_entry(t, first + i,
					ua + (i << layout_table[t].shift), tce & PERM);
	}
	m.liobn[l].tce[idx] = tce;
	if (tce)
		m.liobn[l].page[idx / VIEW_PAGE] = true;
}

/* Is everything there that a tier which cannot allocate needs? */
static bool all_there(unsigned int l, unsigned long idx)
{
	unsigned long i, n;
	unsigned int t;

	if (!m.liobn[l].page[idx / VIEW_PAGE])
		return false;
	for (t = 0; t < TABLES; ++t) {
		n = m.liobn[l].owners[t] ? parts(l, t) : 0;
		for (i = 0; i < n; ++i)
			if (!state_level_known(t, idx * n + i))
				return false;
	}
	return true;
}

static unsigned int regions_there(void)
{
	unsigned int r, nr = 0;

	for (r = 0; r < REGIONS; ++r)
		nr += m.region[r].there;
	return nr;
}

static unsigned int tables_of(unsigned int l)
{
	unsigned int t, nr = 0;

	for (t = 0; t < TABLES; ++t)
		nr += !!m.liobn[l].owners[t];
	return nr;
}

/* What a tier can deal with at once; of parts it may count one that returns again */
static unsigned int regions_max(unsigned int l)
{
	return work(l) > tables_of(l) ? 2 : REGIONS_MAX - tables_of(l);
}

/* May a call end at an entry with this answer? */
static bool may_end(const struct model_call *c, const struct seen *seen,
		    unsigned int l, unsigned long idx, u64 tce)
{
	unsigned long ua;

	switch (seen->ret) {
	case H_TOO_HARD:
		return (tce & PERM && !may_map(c, l, tce, &ua)) || (seen->fatal && seen->done) ||
		       (c->tier != TIER_VIRT && (seen->held || !all_there(l, idx) ||
						 regions_there() > regions_max(l)));
	case H_NOT_ENOUGH_RESOURCES:
		return c->tier == TIER_VIRT && seen->nomem;
	case H_HARDWARE:
		return seen->refused;
	default:
		return false;
	}
}

/*
 * One invalidation a table for each piece that a call is worked in; where more
 * regions are met than can be dealt with at once, one for some entries
 */
static void check_kills(const struct model_call *c, const struct seen *seen,
			unsigned int l)
{
	const unsigned long per = max(FAST_ENTRIES / max(work(l), 1UL), 1UL);
	const unsigned int regions = regions_there();

	if (regions <= REGIONS_MAX - tables_of(l))
		WRONG_IF(seen->kills > tables_of(l) * DIV_ROUND_UP(c->n, per));
	else if (work(l) == 1)
		WRONG_IF(seen->kills > DIV_ROUND_UP(c->n, per) + c->n / (REGIONS_MAX / 2));
}

/* Of a list that was refused no entry leads anywhere, and all read back as 0 */
static void apply_refused(const struct model_call *c, const struct seen *seen,
			  unsigned int l, unsigned long idx)
{
	unsigned int t = 0;
	unsigned long i;

	while (!m.liobn[l].owners[t])
		t++;
	for (i = idx + seen->done; layout_table[t].lists && i < idx + c->n; ++i)
		if (m.liobn[l].page[i / VIEW_PAGE] && !world_user(t, i) &&
		    !world_view(l, i / VIEW_PAGE)[i % VIEW_PAGE])
			apply(l, i, 0);
}

static void put(const struct model_call *c, const struct seen *seen,
		unsigned int l, unsigned long idx)
{
	const bool list = c->req == H_PUT_TCE_INDIRECT;
	unsigned long i, ua;

	WRONG_IF(seen->done > c->n);
	for (i = 0; i < seen->done; ++i) {
		u64 tce = c->tce[list ? i : 0];

		WRONG_IF(tce & PERM && !may_map(c, l, tce, &ua));
		apply(l, idx + i, tce);
	}
	check_kills(c, seen, l);
	if (seen->ret == H_SUCCESS) {
		WRONG_IF(seen->done != c->n);
		return;
	}
	WRONG_IF(seen->done == c->n);
	WRONG_IF(!may_end(c, seen, l, idx + i, c->tce[list ? i : 0]));
	/* Neither old nor new in some table: nowhere, in all */
	if (seen->ret == H_HARDWARE && work(l) > 1)
		apply(l, idx + i, 0);
	else if (seen->ret == H_HARDWARE)
		apply_refused(c, seen, l, idx);
}

void model_hcall(const struct model_call *c, const struct seen *seen)
{
	__u64 idx;
	unsigned int l;
	long ret = window_answer(c, &l, &idx);

	if (ret == NOT_YET && c->req == H_GET_TCE) {
		ret = H_SUCCESS;
		WRONG_IF(seen->tce != m.liobn[l].tce[idx]);
	}
	if (ret == NOT_YET && too_hard(c, l))
		ret = H_TOO_HARD;
	if (ret == NOT_YET && c->req == H_PUT_TCE_INDIRECT)
		ret = list_answer(c, seen);
	if (ret == NOT_YET) {
		put(c, seen, l, idx);
		return;
	}
	WRONG_IF(seen->ret != ret || seen->done);
}
