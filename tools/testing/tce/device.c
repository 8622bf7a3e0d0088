// SPDX-License-Identifier: GPL-2.0-only
/* See device.h */
#include <asm/mm_iommu.h>

#include "device.h"
#include "world.h"

static u64 *cache[TABLES];
static bool used[TABLES];	/* was open, and looked at */
static bool attached[TABLES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
unsigned long device_kills;

void device_begin(void)
{
	unsigned int t;

	device_kills = 0;
	for (t = 0; t < TABLES; ++t) {
		cache[t] = kzalloc(layout_table[t].size * 8, GFP_KERNEL);
		used[t] = false;
		attached[t] = world.table[t];
	}
}

static void set_attached(unsigned int t, bool to)
{
	pthread_mutex_lock(&lock);
	attached[t] = to;
	memset(cache[t], 0, layout_table[t].size * 8);
	pthread_mutex_unlock(&lock);
}

void device_attach(unsigned int t)
{
	set_attached(t, true);
}

void device_detach(unsigned int t)
{
	set_attached(t, false);
}

/*
 * An entry that is in the cache is in force until the invalidation, which takes
 * the lock, is over.  So its page is pinned here.
 */
static u64 look(unsigned int t, unsigned long idx)
{
	u64 word = cache[t][idx];

	if (!word) {
		word = world_order(t, world_hw(t, idx));
		cache[t][idx] = word;
	}
	word = world_order(t, word);
	WRONG_IF(word & 3 && READ_ONCE(pfn_to_page(word >> PAGE_SHIFT)->pins) <= 0);
	return word;
}

u64 device_dma(unsigned int t, unsigned long idx)
{
	u64 word;

	pthread_mutex_lock(&lock);
	word = attached[t] ? look(t, idx) : 0;
	pthread_mutex_unlock(&lock);
	return word;
}

/* Entries [@idx, @idx + @n), whose words are @now */
static void dma_piece(unsigned int t, unsigned long idx, unsigned long n, const u64 *now)
{
	const u64 *old = &cache[t][idx];
	unsigned long i;

	if (now && !memcmp(old, now, n * sizeof(*now)))
		return;
	for (i = 0; i < n; ++i) {
		WRONG_IF(old[i] && (!now || old[i] != now[i]));
		look(t, idx + i);
	}
}

void device_dma_all(void)
{
	unsigned long idx, left, n;
	unsigned int t;
	const u64 *now;

	for (t = 0; t < TABLES; ++t) {
		if (!world.table[t])
			continue;
		used[t] |= world.table[t]->it_mm || world.table[t]->it_mm_pinned;
		for (idx = 0; used[t] && idx < layout_table[t].size; idx += left) {
			now = world_words(t, false, idx, &left);
			for (n = 0; n < left; n += min(left - n, 64UL))
				dma_piece(t, idx + n, min(left - n, 64UL), now ? now + n : NULL);
		}
	}
}

void device_end(void)
{
	unsigned int t;

	device_dma_all();
	for (t = 0; t < TABLES; ++t)
		kfree(cache[t]);
}

/* The registered region of a hardware word, REGIONS if there is none */
static unsigned int region_of(u64 word)
{
	unsigned long first, page, ua;
	unsigned int r;

	if (!(word & 3))
		return REGIONS;
	page = pfn_to_page(word >> PAGE_SHIFT) - user_page;
	ua = page < USER_SMALL ? USER_BASE + (page << PAGE_SHIFT) :
	     USER_HUGE_BASE + ((page - USER_SMALL) << PAGE_SHIFT);
	for (r = 0; r < REGIONS; ++r) {
		first = layout_region[r].ua;
		if (world.mem[r] && ua - first < layout_region[r].pages << PAGE_SHIFT)
			break;
	}
	return r;
}

/* Counts that entries [@idx, @idx + @n) need, @now and as the cache has them */
static void need_piece(unsigned int t, unsigned long idx, unsigned long n,
		       const u64 *now, s64 *need)
{
	static const u64 none[64];
	const u64 *old = &cache[t][idx];
	unsigned long i;

	WRONG_IF(n > ARRAY_SIZE(none));
	if (!memcmp(now, none, n * sizeof(*now)) && !memcmp(old, none, n * sizeof(*old)))
		return;
	for (i = 0; i < n; ++i) {
		need[region_of(world_order(t, now[i]))]++;
		if (old[i] != now[i])
			need[region_of(world_order(t, old[i]))]++;
	}
}

/*
 * A count may go only after the invalidation.  With one CPU at work all counts
 * are known when it comes: an entry that the cache alone knows needs its own.
 */
static void check_counts(void)
{
	s64 need[REGIONS + 1] = {};
	unsigned long idx, n;
	unsigned int t, r;

	for (t = 0; t < TABLES; ++t) {
		if (layout_table[t].pinned || !used[t] || !world.table[t])
			continue;
		for (idx = 0; idx < layout_table[t].size; idx += n) {
			const u64 *now = world_words(t, false, idx, &n);

			n = min(n, 64UL);
			if (now)
				need_piece(t, idx, n, now, need);
		}
	}
	for (r = 0; r < REGIONS; ++r)
		WRONG_IF(world.mem[r] && world_mapped(r) - 1 < need[r]);
}

void device_kill(struct iommu_table *tbl, unsigned long entry, unsigned long pages)
{
	unsigned int t = tbl->nr;
	unsigned long idx = entry - tbl->it_offset;

	WRONG_IF(idx > tbl->it_size || pages > tbl->it_size - idx);
	shim_kill();
	/* Stores to entries come before: pairs with the device's look at the table */
	mb();
	spot(SPOT_KILL, tbl);
	if (!spots && tbl->it_size <= 512)
		check_counts();
	pthread_mutex_lock(&lock);
	device_kills++;
	memset(&cache[t][idx], 0, pages * sizeof(u64));
	pthread_mutex_unlock(&lock);
	spot(SPOT_KILL, tbl);
}
