// SPDX-License-Identifier: GPL-2.0-only
/* See model.h */
#include "state.h"

/* Entries that an ioctl works at once; of a pinned table */
#define PIECE		512UL
#define PINS		64UL

struct state m;

void model_begin(void)
{
	unsigned long entries = 0, tces = 0;
	unsigned int i;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < TABLES; ++i) {
		m.table[i].user = &m.users[entries];
		m.table[i].hw = &m.hws[entries];
		m.table[i].level = &m.levels[entries];
		entries += layout_table[i].size;
	}
	for (i = 0; i < LIOBNS; ++i) {
		m.liobn[i].tce = &m.tces[tces];
		m.liobn[i].page = &m.pages[tces];
		tces += layout_liobn[i].size;
	}
	WRONG_IF(entries > ENTRIES_ALL || tces > TCES_ALL);
	for (i = 0; i < USER_PAGES; ++i)
		user_page[i].dirty = false;
}

/* Memory */

static unsigned long page_of(unsigned long ua)
{
	return user_find(ua) - user_page;
}

unsigned int state_region_of(unsigned long ua, unsigned long size)
{
	unsigned int r;

	for (r = 0; r < REGIONS; ++r) {
		const struct layout_region *lr = &layout_region[r];
		unsigned long end = lr->ua + (lr->pages << PAGE_SHIFT);

		if (m.region[r].there && ua >= lr->ua && ua + size <= end)
			break;
	}
	return r;
}

/* The largest IOMMU page that all of a region can back */
static unsigned int region_shift(unsigned int r)
{
	const struct layout_region *lr = &layout_region[r];
	unsigned int whole = __builtin_ctzl(lr->ua | lr->pages << PAGE_SHIFT);

	return min(whole, user_find(lr->ua)->shift);
}

bool state_fits(unsigned int r, unsigned int shift, unsigned long ua)
{
	if (r == REGIONS || !m.region[r].used)
		return false;
	return shift <= PAGE_SHIFT ||
	       (shift <= region_shift(r) && !(ua & ((1UL << shift) - 1)));
}

static void pin_region(unsigned int r, int n)
{
	unsigned long i, first = page_of(layout_region[r].ua);

	for (i = first; i < first + layout_region[r].pages; ++i)
		m.pins[i] += n;
}

static void retire(unsigned int r)
{
	unsigned long i, first = page_of(layout_region[r].ua);

	m.region[r].there = false;
	pin_region(r, -1);
	for (i = first; i < first + layout_region[r].pages; ++i) {
		WRONG_IF(m.wrote[i] && !user_page[i].dirty);
		m.wrote[i] = false;
		user_page[i].dirty = false;
	}
}

static bool overlaps(unsigned int r, unsigned int i)
{
	const struct layout_region *a = &layout_region[r], *b = &layout_region[i];

	return m.region[i].there && a->ua < b->ua + (b->pages << PAGE_SHIFT) &&
	       b->ua < a->ua + (a->pages << PAGE_SHIFT);
}

/* The first one by address that is in the way of @r, or REGIONS */
static unsigned int in_the_way(unsigned int r)
{
	unsigned int i, first = REGIONS;

	for (i = 0; i < REGIONS; ++i)
		if (overlaps(r, i) && (first == REGIONS ||
				       layout_region[i].ua < layout_region[first].ua))
			first = i;
	return first;
}

static bool is_gone(unsigned int r)
{
	return m.region[r].there && !m.region[r].used && !m.region[r].mapped;
}

bool model_reap(void)
{
	bool any = false;
	unsigned int r;

	for (r = 0; r < REGIONS; ++r) {
		if (is_gone(r)) {
			retire(r);
			any = true;
		}
	}
	return any;
}

void model_register(unsigned int r, const struct seen *seen)
{
	const struct layout_region *lr = &layout_region[r];
	bool again = false;
	unsigned int i;
	long ret = 0;

	if (!m.region[r].used && lr->pages && seen->nomem)
		again = model_reap();
	if (seen->nomem && (!again || seen->ret == -ENOMEM)) {
		WRONG_IF(seen->ret != -ENOMEM);
		return;
	}
	/* What was dropped, and leads nowhere, is not in the way, and what leads on is */
	for (i = in_the_way(r); !m.region[r].used && lr->pages && i < REGIONS && is_gone(i);
	     i = in_the_way(r))
		retire(i);
	if (m.region[r].used) {
		m.region[r].used++;
	} else if (!lr->pages || i < REGIONS) {
		ret = -EINVAL;
	} else if (!user_find(lr->ua + ((lr->pages - 1) << PAGE_SHIFT))) {
		ret = -EFAULT;
	} else {
		m.region[r].there = true;
		m.region[r].used = 1;
		pin_region(r, 1);
	}
	WRONG_IF(seen->ret != ret);
}

void model_unregister(unsigned int r, const struct seen *seen)
{
	bool busy = m.region[r].used == 1 && m.region[r].mapped;

	WRONG_IF(seen->ret != (busy ? -EBUSY : 0));
	if (!busy && !--m.region[r].used)
		retire(r);
}

void model_drop(unsigned int r)
{
	--m.region[r].used;
}

bool model_registered(unsigned int r)
{
	return m.region[r].used;
}

bool model_is_there(unsigned int r)
{
	return m.region[r].there;
}

/* Tables */

static void count(unsigned int t, unsigned long idx, int n)
{
	u64 word = m.table[t].user[idx];
	unsigned long page;

	if (!word)
		return;
	if (!layout_table[t].pinned) {
		m.region[state_region_of(word & ~USER_SET, 1)].mapped += n;
		return;
	}
	page = pfn_to_page(word >> PAGE_SHIFT) - user_page;
	m.pins[page] += n;
	WRONG_IF(n < 0 && word & USER_DIRTY && !user_page[page].dirty);
}

/* What tells whose memory an entry leads to */
static u64 user_word(unsigned int t, unsigned long ua, u64 perm)
{
	if (!layout_table[t].pinned)
		return ua | USER_SET;
	return page_to_phys(user_find(ua)) | USER_SET | (perm & TCE_PCI_WRITE ? USER_DIRTY : 0);
}

void state_set_entry(unsigned int t, unsigned long idx, unsigned long ua, u64 perm)
{
	const struct layout_table *lt = &layout_table[t];
	u64 hw;

	count(t, idx, -1);
	m.table[t].user[idx] = 0;
	m.table[t].hw[idx] = 0;
	if (!perm)
		return;
	if (perm & TCE_PCI_WRITE && !lt->pinned)
		m.wrote[page_of(ua)] = true;
	/* IODA has no pages that can only be written */
	if (perm & TCE_PCI_WRITE && !lt->foreign)
		perm |= TCE_PCI_READ;
	hw = page_to_phys(user_find(ua)) | (ua & ~PAGE_MASK) | perm;
	m.table[t].user[idx] = user_word(t, ua, perm);
	m.table[t].hw[idx] = world_order(t, hw);
	count(t, idx, 1);
	if (lt->levels)
		m.table[t].level[idx / lt->level_size] = true;
}

bool state_level_known(unsigned int t, unsigned long idx)
{
	const struct layout_table *lt = &layout_table[t];

	return !lt->levels || m.table[t].level[idx / lt->level_size];
}

/* How often the region changes along entries that lead somewhere */
static unsigned long switches(unsigned int t, unsigned long first, unsigned long n)
{
	unsigned int r, last = REGIONS;
	unsigned long i, nr = 0;

	for (i = first; i < first + n; ++i) {
		if (!m.table[t].user[i])
			continue;
		r = state_region_of(m.table[t].user[i] & ~PERM, 1);
		nr += r != last;
		last = r;
	}
	return nr;
}

/*
 * What an ioctl may cost in invalidations: one for each piece, and one for each
 * five changes of a region, as more regions than can be dealt with take more.
 */
static void check_kills(unsigned int t, unsigned long n, unsigned long changes,
			const struct seen *seen)
{
	const unsigned long per = layout_table[t].pinned ? PINS : PIECE;

	WRONG_IF(seen->kills > DIV_ROUND_UP(n, per) + changes / 5);
}

bool model_is_open(unsigned int t)
{
	return m.table[t].mm;
}

void model_open(unsigned int t, bool other)
{
	m.table[t].mm = other ? OTHERS : OURS;
}

void model_close(unsigned int t)
{
	unsigned long i;

	for (i = 0; i < layout_table[t].size; ++i)
		state_set_entry(t, i, 0, 0);
	m.table[t].mm = 0;
}

/* Why VFIO cannot map a page; 0 if it can */
static long map_error(unsigned int t, unsigned long ua)
{
	const struct layout_table *lt = &layout_table[t];

	if (!lt->pinned)
		return state_fits(state_region_of(ua, 1UL << lt->shift), lt->shift, ua) ?
		       0 : -EINVAL;
	if (!user_find(ua))
		return -EFAULT;
	return user_find(ua)->shift < lt->shift ? -EPERM : 0;
}

void model_map(unsigned int t, unsigned long first, unsigned long n,
	       unsigned long ua, unsigned int perm, const struct seen *seen)
{
	const unsigned int shift = layout_table[t].shift;
	unsigned long changes = switches(t, first, n), i, good = 0;

	while (good < n && !map_error(t, ua + (good << shift)))
		good++;
	for (i = 0; i < good && !seen->ret; ++i)
		state_set_entry(t, first + i, ua + (i << shift), perm);
	if (!seen->ret) {
		WRONG_IF(good < n);
		check_kills(t, n, changes + switches(t, first, n), seen);
		return;
	}

	switch (seen->ret) {
	case -ENOMEM:
		WRONG_IF(!seen->nomem);
		break;
	case -EIO:
		WRONG_IF(!seen->refused);
		break;
	case -EINTR:
		WRONG_IF(!seen->fatal);
		break;
	default:
		WRONG_IF(good == n || seen->ret != map_error(t, ua + (good << shift)));
		for (i = 0; i < good && !seen->refused; ++i)
			state_set_entry(t, first + i, 0, 0);
		if (!seen->refused)
			return;
	}
	/*
	 * How far it came is not known; what it did has gone, unless the
	 * hypervisor refused that
	 */
	for (i = 0; i < good; ++i) {
		u64 word = world_user(t, first + i);

		if (!word)
			state_set_entry(t, first + i, 0, 0);
		else if (seen->refused && seen->ret != -EIO &&
			 word == user_word(t, ua + (i << shift), perm))
			state_set_entry(t, first + i, ua + (i << shift), perm);
	}
}

void model_unmap(unsigned int t, unsigned long first, unsigned long n,
		 const struct seen *seen)
{
	unsigned long i, kept = 0;

	check_kills(t, n, switches(t, first, n), seen);
	for (i = first; i < first + n; ++i) {
		if (!m.table[t].user[i])
			continue;
		/* What the hypervisor refused to clear, if it was asked for that alone */
		if (seen->refused && world_user(t, i))
			kept++;
		else
			state_set_entry(t, i, 0, 0);
	}
	WRONG_IF(kept > 1);
}

/* LIOBNs */

bool model_is_created(unsigned int l)
{
	return m.liobn[l].there;
}

void model_create(unsigned int l, const struct seen *seen)
{
	if (seen->nomem) {
		WRONG_IF(seen->ret != -ENOMEM);
		return;
	}
	if (m.liobn[l].there) {
		WRONG_IF(seen->ret != -EBUSY);
		return;
	}
	WRONG_IF(seen->ret < 0);
	m.liobn[l].there = true;
}

void model_destroy(unsigned int l)
{
	m.liobn[l].there = false;
	memset(m.liobn[l].owners, 0, sizeof(m.liobn[l].owners));
	memset(m.liobn[l].tce, 0, layout_liobn[l].size * sizeof(u64));
	memset(m.liobn[l].page, 0, layout_liobn[l].size);
}

static bool covers(unsigned int t, unsigned int l)
{
	const struct layout_table *lt = &layout_table[t];
	const struct layout_liobn *ll = &layout_liobn[l];

	return lt->shift <= ll->shift &&
	       lt->offset << lt->shift == ll->offset << ll->shift &&
	       lt->size << lt->shift >= ll->size << ll->shift;
}

/* The table that a group has for a LIOBN, or why not */
static long table_for(unsigned int l, unsigned int group)
{
	long ret = -EINVAL;
	unsigned int i;

	for (i = 0; i < IOMMU_TABLE_GROUP_MAX_TABLES; ++i) {
		int t = layout_group[group][i];

		if (t < 0 || !m.table[t].mm || !covers(t, l))
			continue;
		if (m.table[t].mm == OURS)
			return t;
		ret = -EPERM;
	}
	return ret;
}

void model_bind(unsigned int l, unsigned int group, const struct seen *seen)
{
	unsigned int t;
	long ret;

	if (!m.liobn[l].there) {
		WRONG_IF(seen->ret != -EBADF);
		return;
	}
	for (t = 0; t < TABLES; ++t)
		if (!m.table[t].mm)
			m.liobn[l].owners[t] = 0;
	ret = table_for(l, group);
	if (ret < 0) {
		WRONG_IF(seen->ret != ret);
	} else if (seen->nomem) {
		WRONG_IF(seen->ret != -ENOMEM);
	} else {
		WRONG_IF(seen->ret);
		m.liobn[l].owners[ret] |= 1U << group;
	}
}

void model_release(unsigned int group)
{
	unsigned int l, t;

	for (l = 0; l < LIOBNS; ++l)
		for (t = 0; t < TABLES; ++t)
			m.liobn[l].owners[t] &= ~(1U << group);
}

void model_fault(unsigned int l, unsigned long page, bool there)
{
	m.liobn[l].page[page] |= there;
}

/* Everything */

static void check_guest_view(unsigned int l)
{
	const unsigned long size = layout_liobn[l].size;
	unsigned long page, i;
	const u64 *view;

	for (page = 0; page * VIEW_PAGE < size; ++page) {
		if (!m.liobn[l].page[page])
			continue;
		view = world_view(l, page);
		i = page * VIEW_PAGE;
		WRONG_IF(memcmp(view, m.liobn[l].tce + i,
				min(size - i, VIEW_PAGE) * sizeof(*view)));
	}
}

static void check_view(unsigned int t, bool user, const u64 *must)
{
	static const u64 none[64];
	unsigned long i, n;

	for (i = 0; i < layout_table[t].size; i += n) {
		const u64 *is = world_words(t, user, i, &n);

		WRONG_IF(!is && n > ARRAY_SIZE(none));
		WRONG_IF(memcmp(is ? is : none, must + i, n * sizeof(*must)));
	}
}

void model_check(void)
{
	unsigned long i;
	unsigned int n;

	for (n = 0; n < TABLES; ++n) {
		if (!m.table[n].mm)
			continue;
		check_view(n, false, m.table[n].hw);
		check_view(n, true, m.table[n].user);
	}
	for (n = 0; n < REGIONS; ++n)
		WRONG_IF(m.region[n].there && world_mapped(n) != m.region[n].mapped + 1);
	for (i = 0; i < USER_PAGES; ++i)
		WRONG_IF(user_page[i].pins != m.pins[i]);
	for (n = 0; n < LIOBNS; ++n)
		if (m.liobn[n].there)
			check_guest_view(n);
}

void model_end(void)
{
	unsigned int r, t;

	for (t = 0; t < TABLES; ++t)
		WRONG_IF(world.table[t]->it_mm && !m.table[t].mm);
	for (r = 0; r < REGIONS; ++r)
		WRONG_IF(world.mem[r] && !m.region[r].there);
}
