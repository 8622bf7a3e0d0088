// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KUnit tests of user TCEs, see asm/tce_user.h
 *
 * The memory and its regions are real.  The table is made up: two arrays of
 * words, and operations that note what they were asked for.  So the tests run
 * on any machine, and see what hardware would not tell: which words there are
 * at which moment, how often the hardware's cache was invalidated, and which
 * counts were held then.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>

#include <asm/tce_user.h>

#define UT_ENTRIES	2048UL
#define UT_OFFSET	0x300UL		/* the window's first entry */
#define UT_LEVEL	16UL		/* entries of a level, where there are levels */
#define UT_DEEP		9		/* indirect levels of a huge window */
#define UT_NEVER	(~0UL)
#define UT_KILLS	32
#define UT_RACERS	3

/* An invalidation, and what the watched region's count was at that time */
struct ut_kill {
	unsigned long entry;
	unsigned long pages;
	s64 count;
};

/**
 * struct ut_table - a table that is not there
 * @tbl: what the code under test sees
 * @ops: its operations
 * @hw: hardware words, of all levels and of hypervisor's tables as well
 * @user: user words, likewise
 * @top: the words that lead to both, where there are levels
 * @refuse: entry that cannot be changed or populated
 * @lists: lists that the hypervisor was given
 * @watch: region whose count is noted
 * @kills: invalidations so far
 * @kill: the first of them
 */
struct ut_table {
	struct iommu_table tbl;
	struct iommu_table_ops ops;
	__be64 *hw;
	u64 *user;
	__be64 *top[2];
	unsigned long refuse;
	unsigned int lists;
	struct mm_iommu_table_group_mem_t *watch;
	unsigned int kills;
	struct ut_kill kill[UT_KILLS];
};

static struct ut_table *ut_of(struct iommu_table *tbl)
{
	return container_of(tbl, struct ut_table, tbl);
}

/* How many translations, or reservations of some, a region counts; without what is kept */
static s64 ut_count(const struct mm_iommu_table_group_mem_t *mem)
{
	s64 count = atomic64_read(&mem->mapped) - 1;
	const struct mm_iommu_reader *reader;

	list_for_each_entry(reader, &current->mm->context.iommu->readers, next)
		if (reader->kept == mem)
			count -= reader->nr_kept;
	return count;
}

static void ut_tce_kill(struct iommu_table *tbl, unsigned long entry,
			unsigned long pages)
{
	struct ut_table *t = ut_of(tbl);

	if (t->kills < UT_KILLS)
		t->kill[t->kills] = (struct ut_kill) {
			.entry = entry,
			.pages = pages,
			/* Nobody looks at what a clean-up does, which has no mm */
			.count = t->watch && current->mm ? ut_count(t->watch) : 0,
		};
	t->kills++;
}

static int ut_put(struct iommu_table *tbl, unsigned long entry, u64 tce)
{
	struct ut_table *t = ut_of(tbl);

	if (entry == t->refuse)
		return -EIO;

	t->hw[entry - tbl->it_offset] = cpu_to_be64(tce);
	return 0;
}

/* Refuses an entry once, when it has changed those before it */
static int ut_put_list(struct iommu_table *tbl, unsigned long entry,
		       const __be64 *tces, unsigned long n)
{
	struct ut_table *t = ut_of(tbl);
	unsigned long i;

	t->lists++;
	for (i = 0; i < n; ++i) {
		if (entry + i == t->refuse) {
			t->refuse = UT_NEVER;
			return -EIO;
		}
		t->hw[entry + i - tbl->it_offset] = tces ? tces[i] : 0;
	}
	return 0;
}

/* The levels lie where the words of a table without levels do */
static int ut_populate(struct iommu_table *tbl, unsigned long entry)
{
	struct ut_table *t = ut_of(tbl);
	unsigned long level = (entry - tbl->it_offset) / UT_LEVEL;

	if (entry == t->refuse)
		return -ENOMEM;

	t->top[0][level] = cpu_to_be64(__pa(&t->hw[level * UT_LEVEL]) |
				       TCE_USER_PERM);
	t->top[1][level] = cpu_to_be64(__pa(&t->user[level * UT_LEVEL]) |
				       TCE_USER_PERM);
	return 0;
}

/* As a container's */
static DEFINE_MUTEX(ut_lock);

/* Also where a test ends early: an open table is known to the mm */
static void ut_close(void *arg)
{
	struct ut_table *t = arg;

	tce_user_close(&t->tbl);
}

/* A table that the hardware walks, open for registered memory */
static struct ut_table *ut_create(struct kunit *test, unsigned int page_shift)
{
	struct ut_table *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->hw = kunit_kcalloc(test, UT_ENTRIES, sizeof(*t->hw), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->hw);
	t->user = kunit_kcalloc(test, UT_ENTRIES, sizeof(*t->user), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->user);
	/* Goes after the table is closed, as all that is allocated before */
	for (i = 0; i < ARRAY_SIZE(t->top); ++i) {
		t->top[i] = kunit_kcalloc(test, UT_LEVEL, sizeof(__be64),
					  GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->top[i]);
	}

	t->refuse = UT_NEVER;
	t->ops.tce_kill = ut_tce_kill;
	t->ops.put = ut_put;
	t->tbl.it_ops = &t->ops;
	t->tbl.it_page_shift = page_shift;
	t->tbl.it_offset = UT_OFFSET;
	t->tbl.it_size = UT_ENTRIES;
	t->tbl.it_base = (unsigned long)t->hw;
	t->tbl.it_userspace = (__force __be64 *)t->user;
	kref_init(&t->tbl.it_kref);
	mutex_init(&t->tbl.it_lock);

	KUNIT_ASSERT_EQ(test, tce_user_open(&t->tbl, current->mm, false), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, ut_close, t), 0);
	return t;
}

/* One whose hardware words are with a hypervisor */
static struct ut_table *ut_create_foreign(struct kunit *test,
					  unsigned int page_shift)
{
	struct ut_table *t = ut_create(test, page_shift);

	t->tbl.it_base = 0;
	return t;
}

/* One that takes lists, which is known when the table is opened */
static struct ut_table *ut_create_lists(struct kunit *test)
{
	struct ut_table *t = ut_create_foreign(test, PAGE_SHIFT);

	tce_user_close(&t->tbl);
	t->ops.put_list = ut_put_list;
	KUNIT_ASSERT_EQ(test, tce_user_open(&t->tbl, current->mm, false), 0);
	return t;
}

/* One with two levels, of which only the upper one exists so far */
static struct ut_table *ut_create_levels(struct kunit *test,
					 unsigned int page_shift)
{
	struct ut_table *t = ut_create(test, page_shift);

	t->ops.populate = ut_populate;
	t->tbl.it_indirect_levels = 1;
	t->tbl.it_level_size = UT_LEVEL;
	t->tbl.it_size = UT_LEVEL * UT_LEVEL;
	t->tbl.it_base = (unsigned long)t->top[0];
	t->tbl.it_userspace = t->top[1];
	return t;
}

/* User memory; of the current task, which has an address space from then on */
static unsigned long ut_memory(struct kunit *test, unsigned long pages)
{
	unsigned long ua = kunit_vm_mmap(test, NULL, 0, pages << PAGE_SHIFT,
					 PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, 0);

	KUNIT_ASSERT_NE(test, ua, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(ua));
	return ua;
}

static struct mm_iommu_table_group_mem_t *
ut_register(struct kunit *test, unsigned long ua, unsigned long pages)
{
	struct mm_iommu_table_group_mem_t *mem;

	KUNIT_ASSERT_EQ(test, mm_iommu_new(current->mm, ua, pages, &mem), 0);
	return mem;
}

/* Ends the only registration: says -EBUSY while a count is out of balance */
static void ut_unregister(struct kunit *test,
			  struct mm_iommu_table_group_mem_t *mem)
{
	KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, mem), 0);
}

/* Whoever maps and unmaps in @t keeps no counts of any region from before */
static void ut_forget(struct ut_table *t)
{
	struct mm_iommu *iommu = t->tbl.it_reader.iommu;

	if (!t->tbl.it_mm)
		return;
	mm_iommu_reader_del(&t->tbl.it_reader);
	mm_iommu_reader_add(iommu, &t->tbl.it_reader);
}

/* Physical address of a user address, by other means than the code under test */
static u64 ut_phys(struct kunit *test, unsigned long ua)
{
	struct page *page;
	u64 hpa;

	KUNIT_ASSERT_EQ(test, get_user_pages_fast(ua & PAGE_MASK, 1, 0, &page),
			1);
	hpa = page_to_phys(page) | (ua & ~PAGE_MASK);
	put_page(page);
	return hpa;
}

/* @n entries from number @i of the window on lead to @ua and the following */
static void ut_expect_mapped(struct kunit *test, const struct ut_table *t,
			     unsigned long i, unsigned long n, unsigned long ua,
			     u64 perm)
{
	for (; n; ++i, --n, ua += 1UL << t->tbl.it_page_shift) {
		u64 word = be64_to_cpu(t->hw[i]);
		u64 user = ua | TCE_USER_SET;

		if (t->tbl.it_mm_pinned)
			user = ut_phys(test, ua) | TCE_USER_SET | TCE_USER_DIRTY;
		KUNIT_EXPECT_EQ_MSG(test, word, ut_phys(test, ua) | perm,
				    "hardware word %lu", i);
		KUNIT_EXPECT_EQ_MSG(test, t->user[i], user, "user word %lu", i);
	}
}

static void ut_expect_clear(struct kunit *test, const struct ut_table *t,
			    unsigned long i, unsigned long n)
{
	for (; n; ++i, --n) {
		KUNIT_EXPECT_EQ_MSG(test, be64_to_cpu(t->hw[i]), 0,
				    "hardware word %lu", i);
		KUNIT_EXPECT_EQ_MSG(test, t->user[i], 0, "user word %lu", i);
	}
}

/*
 * Invalidation number @nr was of this run, and the watched count was this.  While
 * something is mapped, the gather has one count more, to hold the region.
 */
static void ut_expect_kill(struct kunit *test, const struct ut_table *t,
			   unsigned int nr, unsigned long i, unsigned long n,
			   s64 count)
{
	KUNIT_ASSERT_LT(test, nr, t->kills);
	KUNIT_EXPECT_EQ(test, t->kill[nr].entry, UT_OFFSET + i);
	KUNIT_EXPECT_EQ(test, t->kill[nr].pages, n);
	KUNIT_EXPECT_EQ(test, t->kill[nr].count, count);
}

static long ut_map(struct ut_table *t, unsigned long i, unsigned long n,
		   unsigned long ua, enum dma_data_direction dir)
{
	long ret;

	t->kills = 0;
	ut_forget(t);
	mutex_lock(&ut_lock);
	ret = tce_user_map(&t->tbl, UT_OFFSET + i, n, ua, dir, &ut_lock);
	mutex_unlock(&ut_lock);
	return ret;
}

static void ut_unmap(struct ut_table *t, unsigned long i, unsigned long n)
{
	t->kills = 0;
	ut_forget(t);
	mutex_lock(&ut_lock);
	tce_user_unmap(&t->tbl, UT_OFFSET + i, n, &ut_lock);
	mutex_unlock(&ut_lock);
}

/*
 * Registered tables
 */

static void ut_map_and_unmap(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 4);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 4);
	const unsigned int shifts[] = { 12, PAGE_SHIFT };
	int i;

	for (i = 0; i < ARRAY_SIZE(shifts); ++i) {
		const unsigned long page = 1UL << shifts[i];
		const unsigned long n = 3 * PAGE_SIZE / page;
		struct ut_table *t = ut_create(test, shifts[i]);

		t->watch = mem;
		KUNIT_EXPECT_EQ(test, ut_map(t, 5, n, ua + page,
					     DMA_BIDIRECTIONAL), 0);
		ut_expect_clear(test, t, 0, 5);
		ut_expect_mapped(test, t, 5, n, ua + page, TCE_USER_PERM);
		ut_expect_clear(test, t, 5 + n, 5);
		KUNIT_EXPECT_EQ(test, ut_count(mem), n);
		KUNIT_EXPECT_EQ(test, t->kills, 1);
		ut_expect_kill(test, t, 0, 5, n, n + 1);

		/* All but the first and the last */
		ut_unmap(t, 6, n - 2);
		ut_expect_mapped(test, t, 5, 1, ua + page, TCE_USER_PERM);
		ut_expect_clear(test, t, 6, n - 2);
		ut_expect_mapped(test, t, 4 + n, 1, ua + n * page,
				 TCE_USER_PERM);
		KUNIT_EXPECT_EQ(test, ut_count(mem), 2);
		KUNIT_EXPECT_EQ(test, t->kills, 1);
		ut_expect_kill(test, t, 0, 6, n - 2, n);

		KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, mem), -EBUSY);
		ut_unmap(t, 0, UT_ENTRIES);
		ut_expect_clear(test, t, 0, n + 10);
		KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	}
	ut_unregister(test, mem);
}

static void ut_permissions(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 3);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 3);
	struct ut_table *ioda = ut_create(test, PAGE_SHIFT);
	struct ut_table *foreign = ut_create_foreign(test, PAGE_SHIFT);

	KUNIT_EXPECT_EQ(test, ut_map(ioda, 0, 1, ua, DMA_TO_DEVICE), 0);
	ut_expect_mapped(test, ioda, 0, 1, ua, TCE_PCI_READ);
	KUNIT_EXPECT_FALSE(test, *mm_iommu_page(mem, ua) & MM_IOMMU_HPA_DIRTY);

	/* Hardware of this kind knows no pages that are only written to */
	KUNIT_EXPECT_EQ(test, ut_map(ioda, 1, 1, ua + PAGE_SIZE,
				     DMA_FROM_DEVICE), 0);
	ut_expect_mapped(test, ioda, 1, 1, ua + PAGE_SIZE, TCE_USER_PERM);
	KUNIT_EXPECT_TRUE(test, *mm_iommu_page(mem, ua + PAGE_SIZE) &
			  MM_IOMMU_HPA_DIRTY);

	/* A written page does not show in the words of later translations */
	KUNIT_EXPECT_EQ(test, ut_map(ioda, 2, 1, ua + PAGE_SIZE,
				     DMA_TO_DEVICE), 0);
	ut_expect_mapped(test, ioda, 2, 1, ua + PAGE_SIZE, TCE_PCI_READ);

	/* A hypervisor is told what was asked for */
	KUNIT_EXPECT_EQ(test, ut_map(foreign, 0, 1, ua + 2 * PAGE_SIZE,
				     DMA_FROM_DEVICE), 0);
	ut_expect_mapped(test, foreign, 0, 1, ua + 2 * PAGE_SIZE,
			 TCE_PCI_WRITE);

	ut_unmap(ioda, 0, 3);
	ut_unmap(foreign, 0, 1);
	ut_unregister(test, mem);
}

/* What a translation replaces is counted until it cannot be used any more */
static void ut_replace(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 8);
	struct mm_iommu_table_group_mem_t *a = ut_register(test, ua, 4);
	struct mm_iommu_table_group_mem_t *b =
		ut_register(test, ua + 4 * PAGE_SIZE, 4);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);

	t->watch = a;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 4, ua, DMA_BIDIRECTIONAL), 0);

	/* By translations to the same region: both are counted meanwhile */
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 4, ua, DMA_TO_DEVICE), 0);
	ut_expect_mapped(test, t, 0, 4, ua, TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, t->kills, 1);
	ut_expect_kill(test, t, 0, 0, 4, 8 + 1);
	KUNIT_EXPECT_EQ(test, ut_count(a), 4);

	/* By translations to another */
	KUNIT_EXPECT_EQ(test, ut_map(t, 1, 3, ua + 4 * PAGE_SIZE,
				     DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, 1, ua, TCE_PCI_READ);
	ut_expect_mapped(test, t, 1, 3, ua + 4 * PAGE_SIZE, TCE_USER_PERM);
	ut_expect_kill(test, t, 0, 1, 3, 4);
	KUNIT_EXPECT_EQ(test, ut_count(a), 1);
	KUNIT_EXPECT_EQ(test, ut_count(b), 3);

	ut_unmap(t, 0, 4);
	ut_unregister(test, a);
	ut_unregister(test, b);
}

/* More regions than a gather has room for */
static void ut_many_regions(struct kunit *test)
{
	enum { N = 2 * TCE_USER_REFS + 3 };
	struct mm_iommu_table_group_mem_t *mem[N], *big;
	unsigned long ua = ut_memory(test, 2 * N);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);
	unsigned int i, last;

	for (i = 0; i < N; ++i)
		mem[i] = ut_register(test, ua + i * PAGE_SIZE, 1);
	big = ut_register(test, ua + N * PAGE_SIZE, N);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, N, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, N, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->kills, DIV_ROUND_UP(N, TCE_USER_REFS - 1));
	for (i = 0; i < N; ++i)
		KUNIT_EXPECT_EQ(test, ut_count(mem[i]), 1);

	/* Each replaces a translation to a region of its own */
	t->watch = mem[N - 1];
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, N, ua + N * PAGE_SIZE,
				     DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, N, ua + N * PAGE_SIZE, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->kills, DIV_ROUND_UP(N, TCE_USER_REFS - 2));
	last = rounddown(N - 1, TCE_USER_REFS - 2);
	ut_expect_kill(test, t, t->kills - 1, last, N - last, 1);
	for (i = 0; i < N; ++i)
		KUNIT_EXPECT_EQ(test, ut_count(mem[i]), 0);
	KUNIT_EXPECT_EQ(test, ut_count(big), N);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, N, ua, DMA_BIDIRECTIONAL), 0);
	KUNIT_EXPECT_EQ(test, ut_count(big), 0);
	ut_unmap(t, 0, N);
	KUNIT_EXPECT_EQ(test, t->kills, DIV_ROUND_UP(N, TCE_USER_REFS - 1));
	last = rounddown(N - 1, TCE_USER_REFS - 1);
	ut_expect_kill(test, t, t->kills - 1, last, N - last, 1);
	ut_expect_clear(test, t, 0, N);
	for (i = 0; i < N; ++i)
		ut_unregister(test, mem[i]);
	ut_unregister(test, big);
}

static void ut_page_too_large(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 4);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 4);
	struct ut_table *t = ut_create(test, PAGE_SHIFT + 1);

	/* Ordinary pages lie anywhere, be they aligned or not */
	mem->pageshift = PAGE_SHIFT;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 1, ALIGN(ua, 2 * PAGE_SIZE),
				     DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 0, 1);
	KUNIT_EXPECT_EQ(test, t->kills, 0);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	ut_unregister(test, mem);
}

/* As memory of hugetlbfs would be; where the pages lie does not matter here */
static void ut_page_large(struct kunit *test)
{
	unsigned long ua = ALIGN(ut_memory(test, 6), 2 * PAGE_SIZE);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 5);
	struct ut_table *t = ut_create(test, PAGE_SHIFT + 1);

	mem->pageshift = PAGE_SHIFT + 1;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 2, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, 2, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 2);

	/* Half of the third page is not registered */
	KUNIT_EXPECT_EQ(test, ut_map(t, 4, 3, ua, DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 4, 3);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 2);

	/* An address in the middle of a page */
	KUNIT_EXPECT_EQ(test, ut_map(t, 4, 1, ua + PAGE_SIZE,
				     DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 4, 1);
	KUNIT_EXPECT_EQ(test, t->kills, 0);

	ut_unmap(t, 0, 2);
	ut_unregister(test, mem);
}

/* A run that fails leaves nothing behind */
static void ut_not_registered(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 8);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 4);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 1, ua + 4 * PAGE_SIZE,
				     DMA_BIDIRECTIONAL), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->kills, 0);
	ut_expect_clear(test, t, 0, 1);

	t->watch = mem;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 1, ua, DMA_BIDIRECTIONAL), 0);
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 5, ua, DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 0, 5);
	/*
	 * The run, while what was replaced and a reservation for the fifth entry
	 * are counted as well, and back
	 */
	KUNIT_EXPECT_EQ(test, t->kills, 2);
	ut_expect_kill(test, t, 0, 0, 4, 6 + 1);
	ut_expect_kill(test, t, 1, 0, 4, 4);
	ut_unregister(test, mem);

	/* Nobody has registered it any more */
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 1, ua, DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 0, 1);
}

/* A region that only lives on because something is mapped takes nothing new */
static void ut_region_dropped(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 2);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 2);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 1, ua, DMA_BIDIRECTIONAL), 0);
	mm_iommu_drop(current->mm, mem);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_EQ(test, ut_map(t, 1, 1, ua + PAGE_SIZE,
				     DMA_BIDIRECTIONAL), -EINVAL);
	ut_expect_clear(test, t, 1, 1);
	ut_expect_mapped(test, t, 0, 1, ua, TCE_USER_PERM);

	t->watch = mem;
	ut_unmap(t, 0, 1);
	ut_expect_kill(test, t, 0, 0, 1, 1);
	ut_expect_clear(test, t, 0, 1);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_NULL(test, current->mm->context.iommu->regions->slot[0].mem);
}

static void ut_levels(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 30);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 30);
	struct ut_table *t = ut_create_levels(test, PAGE_SHIFT);
	int i;

	/* Nothing is there; to find that out costs nothing and makes nothing */
	ut_unmap(t, 0, t->tbl.it_size);
	KUNIT_EXPECT_EQ(test, t->kills, 0);
	for (i = 0; i < UT_LEVEL; ++i)
		KUNIT_EXPECT_FALSE(test, t->top[1][i]);

	/* From the middle of one level over a whole one into a third */
	KUNIT_EXPECT_EQ(test, ut_map(t, 24, 30, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 24, 30, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->kills, 1);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 30);

	/* From a level that does not exist to another */
	ut_unmap(t, 3, 70);
	ut_expect_clear(test, t, 0, t->tbl.it_size);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	for (i = 0; i < UT_LEVEL; ++i)
		KUNIT_EXPECT_EQ(test, !!t->top[1][i], i >= 1 && i <= 3);
	ut_unregister(test, mem);
}

/* The levels that lead to one entry of a huge window, one after the other */
static int ut_populate_deep(struct iommu_table *tbl, unsigned long entry)
{
	struct ut_table *t = ut_of(tbl);
	unsigned long idx = entry - tbl->it_offset, at = 0, below;
	__be64 *hw = t->top[0], *user = t->top[1];

	for (below = UT_DEEP; below; --below) {
		unsigned long i = (idx >> below * ilog2(UT_LEVEL)) % UT_LEVEL;

		hw[i] = cpu_to_be64(__pa(&t->hw[at]) | TCE_USER_PERM);
		user[i] = cpu_to_be64(__pa(&t->user[at]) | TCE_USER_PERM);
		hw = &t->hw[at];
		user = (__force __be64 *)&t->user[at];
		at += UT_LEVEL;
	}
	return 0;
}

/* A window that is large and nearly empty costs what is in it, not what could be */
static void ut_huge_window(struct kunit *test)
{
	const unsigned long leaf = (UT_DEEP - 1) * UT_LEVEL, i = 0x12345678;
	unsigned long ua = ut_memory(test, 2);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 2);
	struct ut_table *t = ut_create_levels(test, PAGE_SHIFT);
	unsigned int seq = t->tbl.it_reader.seq;

	t->ops.populate = ut_populate_deep;
	t->tbl.it_indirect_levels = UT_DEEP;
	t->tbl.it_size = 1UL << (UT_DEEP + 1) * ilog2(UT_LEVEL);

	ut_unmap(t, 0, t->tbl.it_size);
	KUNIT_EXPECT_EQ(test, ut_map(t, i, 2, ua, DMA_BIDIRECTIONAL), 0);
	KUNIT_EXPECT_TRUE(test, t->user[leaf + i % UT_LEVEL]);
	ut_unmap(t, i + 1, t->tbl.it_size - i - 1);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 1);
	ut_unmap(t, 0, t->tbl.it_size);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	ut_expect_clear(test, t, leaf, UT_LEVEL);

	KUNIT_EXPECT_EQ(test, ut_map(t, i, 2, ua, DMA_BIDIRECTIONAL), 0);
	tce_user_close(&t->tbl);
	ut_expect_clear(test, t, leaf, UT_LEVEL);

	/* Two counts of @seq a section, which skips one absent level or more */
	KUNIT_EXPECT_LT(test, (t->tbl.it_reader.seq - seq) / 2,
			4 * (UT_DEEP + 1) * UT_LEVEL);
	ut_unregister(test, mem);
}

/* What is read of a guest's list names no memory where the host cannot read it */
static void ut_fetch(struct kunit *test)
{
	__be64 *words = vmalloc(PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, words);
	words[0] = cpu_to_be64(0x123456789abcd003);
	KUNIT_EXPECT_EQ(test, tce_user_fetch(words), 0x123456789abcd003);
	/* A page that is not mapped follows what vmalloc() returns */
	KUNIT_EXPECT_EQ(test, tce_user_fetch(words + PAGE_SIZE / sizeof(*words)),
			~0UL);
	vfree(words);
}

static void ut_no_memory_for_level(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 20);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 20);
	struct ut_table *t = ut_create_levels(test, PAGE_SHIFT);

	t->refuse = UT_OFFSET + 16;
	KUNIT_EXPECT_EQ(test, ut_map(t, 4, 20, ua, DMA_BIDIRECTIONAL), -ENOMEM);
	ut_expect_clear(test, t, 0, t->tbl.it_size);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	KUNIT_EXPECT_EQ(test, t->kills, 2);

	t->refuse = UT_OFFSET + 4;
	KUNIT_EXPECT_EQ(test, ut_map(t, 4, 1, ua, DMA_BIDIRECTIONAL), 0);
	ut_unmap(t, 4, 1);
	ut_unregister(test, mem);
}

static void ut_hypervisor(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 20);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 20);
	struct ut_table *t = ut_create_foreign(test, PAGE_SHIFT);

	t->watch = mem;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, 20, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->kills, 1);
	ut_unmap(t, 0, 20);
	ut_expect_clear(test, t, 0, 20);

	/* It refuses one: the others are taken back */
	t->refuse = UT_OFFSET + 7;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), -EIO);
	ut_expect_clear(test, t, 0, 20);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);

	/* It does not let one go: the memory stays counted */
	t->refuse = UT_NEVER;
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), 0);
	t->refuse = UT_OFFSET + 7;
	ut_unmap(t, 0, 20);
	ut_expect_clear(test, t, 0, 7);
	ut_expect_mapped(test, t, 7, 1, ua + 7 * PAGE_SIZE, TCE_USER_PERM);
	ut_expect_clear(test, t, 8, 12);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, mem), -EBUSY);

	t->refuse = UT_NEVER;
	ut_unmap(t, 7, 1);
	ut_unregister(test, mem);
}

/* A hypervisor is asked once for many entries, and refuses at each of them */
static void ut_lists(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 20), i;
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 20);
	struct ut_table *t = ut_create_lists(test);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, 20, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->lists, 1);
	ut_unmap(t, 0, 20);
	ut_expect_clear(test, t, 0, 20);
	KUNIT_EXPECT_EQ(test, t->lists, 2);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);

	for (i = 0; i < 20; ++i) {
		/* What was there has gone as well */
		KUNIT_EXPECT_EQ(test, ut_map(t, 5, 10, ua, DMA_TO_DEVICE), 0);
		t->refuse = UT_OFFSET + i;
		KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), -EIO);
		ut_expect_clear(test, t, 0, 20);
		KUNIT_EXPECT_EQ(test, ut_count(mem), 0);

		/* One after the other, all can be cleared */
		KUNIT_EXPECT_EQ(test, ut_map(t, 0, 20, ua, DMA_BIDIRECTIONAL), 0);
		t->refuse = UT_OFFSET + 1 + i % 19;
		ut_unmap(t, 0, 20);
		ut_expect_clear(test, t, 0, 20);
		KUNIT_EXPECT_EQ(test, ut_count(mem), 0);
	}
	ut_unregister(test, mem);
}

/* Long runs are worked, and invalidated, piece by piece */
static void ut_pieces(struct kunit *test)
{
	const unsigned long n = 2 * TCE_USER_PIECE + 100;
	const unsigned long pages = DIV_ROUND_UP(n << 12, PAGE_SIZE);
	unsigned long ua = ut_memory(test, pages);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, pages);
	struct ut_table *t = ut_create(test, 12);
	int i;

	KUNIT_EXPECT_EQ(test, ut_map(t, 3, n, ua, DMA_TO_DEVICE), 0);
	ut_expect_mapped(test, t, 3, n, ua, TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, ut_count(mem), n);
	KUNIT_EXPECT_EQ(test, t->kills, 3);
	for (i = 0; i < 3; ++i)
		ut_expect_kill(test, t, i, 3 + i * TCE_USER_PIECE,
			       i < 2 ? TCE_USER_PIECE : 100, 0);

	ut_unmap(t, 0, UT_ENTRIES);
	KUNIT_EXPECT_EQ(test, t->kills, UT_ENTRIES / TCE_USER_PIECE);
	ut_expect_clear(test, t, 0, UT_ENTRIES);
	ut_unregister(test, mem);
}

static void ut_open_and_close(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 10);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 10);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);

	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 10, ua, DMA_BIDIRECTIONAL), 0);
	KUNIT_EXPECT_EQ(test, ut_map(t, UT_ENTRIES - 10, 10, ua,
				     DMA_BIDIRECTIONAL), 0);
	tce_user_close(&t->tbl);
	KUNIT_EXPECT_NULL(test, t->tbl.it_mm);
	ut_expect_clear(test, t, 0, UT_ENTRIES);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);

	t->kills = 0;
	tce_user_close(&t->tbl);
	KUNIT_EXPECT_EQ(test, t->kills, 0);

	t->tbl.it_userspace = NULL;
	KUNIT_EXPECT_EQ(test, tce_user_open(&t->tbl, current->mm, false),
			-ENOMEM);
	KUNIT_EXPECT_NULL(test, t->tbl.it_mm);
	ut_unregister(test, mem);
}

struct ut_waiter {
	struct iommu_table *tbl;
	void (*wait)(struct iommu_table *tbl);
	struct task_struct *task;
	struct completion done;
};

static int ut_waiter(void *arg)
{
	struct ut_waiter *waiter = arg;

	waiter->wait(waiter->tbl);
	complete_all(&waiter->done);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Whether it is still waiting after a while */
static bool ut_waits(struct kunit *test, struct ut_waiter *waiter)
{
	init_completion(&waiter->done);
	waiter->task = kthread_run(ut_waiter, waiter, "ut-waiter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(waiter->task));
	return !wait_for_completion_timeout(&waiter->done, HZ / 5);
}

static void ut_end_wait(struct ut_waiter *waiter)
{
	wait_for_completion(&waiter->done);
	kthread_stop(waiter->task);
}

/*
 * A platform may take a group off a table that VFIO is closing: the hypercalls that
 * VFIO waits for still read the group.
 */
static void ut_synchronize_and_close(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 1);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 1);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);
	struct ut_waiter closer = { &t->tbl, tce_user_close };
	struct ut_waiter platform = { &t->tbl, tce_user_synchronize };
	struct mm_iommu_reader reader;

	mm_iommu_reader_add(current->mm->context.iommu, &reader);
	mm_iommu_enter(&reader);
	KUNIT_EXPECT_TRUE(test, ut_waits(test, &closer));
	KUNIT_EXPECT_TRUE(test, ut_waits(test, &platform));
	mm_iommu_leave(&reader);
	ut_end_wait(&closer);
	ut_end_wait(&platform);
	mm_iommu_reader_del(&reader);
	ut_unregister(test, mem);
}

/*
 * Pinned tables
 */

static bool ut_is_pinned(struct kunit *test, unsigned long ua)
{
	return folio_maybe_dma_pinned(page_folio(pfn_to_page(ut_phys(test, ua) >>
							     PAGE_SHIFT)));
}

static void ut_open_pinned(struct kunit *test, struct ut_table *t)
{
	tce_user_close(&t->tbl);
	KUNIT_ASSERT_EQ(test, tce_user_open(&t->tbl, current->mm, true), 0);
}

static void ut_pinned(struct kunit *test)
{
	const unsigned long n = 70;	/* more than are unpinned at once */
	unsigned long i, ua = ut_memory(test, n);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);

	ut_open_pinned(test, t);
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, n, ua, DMA_BIDIRECTIONAL), 0);
	ut_expect_mapped(test, t, 0, n, ua, TCE_USER_PERM);
	KUNIT_EXPECT_EQ(test, t->kills, 2);
	/* Again, which pins them anew and lets go of the old pins */
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, n, ua, DMA_BIDIRECTIONAL), 0);
	for (i = 0; i < n; ++i)
		KUNIT_EXPECT_TRUE(test, ut_is_pinned(test, ua + i * PAGE_SIZE));

	ut_unmap(t, 0, n);
	ut_expect_clear(test, t, 0, n);
	KUNIT_EXPECT_EQ(test, t->kills, 2);
	for (i = 0; i < n; ++i)
		KUNIT_EXPECT_FALSE(test, ut_is_pinned(test, ua + i * PAGE_SIZE));
}

static void ut_pinned_fails(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 8);
	struct ut_table *t = ut_create(test, PAGE_SHIFT);
	struct ut_table *large = ut_create(test, PAGE_SHIFT + 1);
	struct ut_table *foreign = ut_create_foreign(test, PAGE_SHIFT);
	int i;

	ut_open_pinned(test, t);
	ut_open_pinned(test, large);
	ut_open_pinned(test, foreign);

	/* Where no memory is */
	KUNIT_ASSERT_EQ(test, vm_munmap(ua + 6 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, ut_map(t, 0, 8, ua, DMA_BIDIRECTIONAL), -EFAULT);
	ut_expect_clear(test, t, 0, 8);
	/* A page smaller than the table's */
	KUNIT_EXPECT_EQ(test, ut_map(large, 0, 1, ALIGN(ua, 2 * PAGE_SIZE),
				     DMA_BIDIRECTIONAL), -EPERM);
	ut_expect_clear(test, large, 0, 1);
	/* The hypervisor says no */
	foreign->refuse = UT_OFFSET + 3;
	KUNIT_EXPECT_EQ(test, ut_map(foreign, 0, 6, ua, DMA_BIDIRECTIONAL),
			-EIO);
	ut_expect_clear(test, foreign, 0, 6);

	for (i = 0; i < 6; ++i)
		KUNIT_EXPECT_FALSE(test, ut_is_pinned(test, ua + i * PAGE_SIZE));
}

/*
 * What hypercalls are made of
 */

/* The entries of a line have one lock, which says what the first of them leads to */
static void ut_entry_lock(struct kunit *test)
{
	u64 *line = kunit_kcalloc(test, 2 * TCE_USER_LINE, sizeof(*line), GFP_KERNEL);
	const u64 first = 0x7000 | TCE_USER_SET, second = 0x8000 | TCE_USER_SET;
	u64 *words;
	u64 old;

	KUNIT_ASSERT_NOT_NULL(test, line);
	line[0] = first;
	line[1] = second;
	KUNIT_EXPECT_PTR_EQ(test, tce_user_line(line + TCE_USER_LINE - 1), line);
	KUNIT_EXPECT_EQ(test, tce_user_line_left(line + 1), TCE_USER_LINE - 1);

	preempt_disable();
	KUNIT_EXPECT_TRUE(test, tce_user_lock(line + 1, &old, false));
	KUNIT_EXPECT_EQ(test, old, second);
	KUNIT_EXPECT_FALSE(test, tce_user_trylock_line(line, &words));
	KUNIT_EXPECT_FALSE(test, tce_user_lock(line + TCE_USER_LINE - 1, &old, false));
	KUNIT_EXPECT_TRUE(test, tce_user_lock(line + TCE_USER_LINE, &old, false));
	tce_user_unlock(line + TCE_USER_LINE, 0);
	/* A word keeps what it said */
	KUNIT_EXPECT_EQ(test, line[0], first | TCE_USER_LOCK);
	tce_user_unlock(line + 1, 0);
	KUNIT_EXPECT_EQ(test, line[0], first);
	KUNIT_EXPECT_EQ(test, line[1], 0);

	KUNIT_EXPECT_TRUE(test, tce_user_lock_line(line, &words, true));
	KUNIT_EXPECT_EQ(test, tce_user_read(words), first);
	tce_user_change(line, second);
	tce_user_change(line + 1, first);
	KUNIT_EXPECT_FALSE(test, tce_user_trylock_line(line, &words));
	tce_user_unlock_line(line + 1);
	KUNIT_EXPECT_EQ(test, line[0], second);
	KUNIT_EXPECT_EQ(test, line[1], first);

	KUNIT_EXPECT_TRUE(test, tce_user_lock(line, &old, true));
	KUNIT_EXPECT_EQ(test, old, second);
	tce_user_unlock(line, 0);
	KUNIT_EXPECT_EQ(test, line[0], 0);
	preempt_enable();
}

static struct tce_user_ref *
ut_reserve(struct tce_user_gather *gather, unsigned long ua, unsigned long size,
	   unsigned long need, unsigned long more)
{
	return tce_user_reserve(gather, ua, size, need, more, TCE_USER_VIRT);
}

static void ut_reservations(struct kunit *test)
{
	unsigned long ua = ut_memory(test, 4);
	struct mm_iommu_table_group_mem_t *mem = ut_register(test, ua, 4);
	struct tce_user_gather gather;
	struct mm_iommu_reader reader;
	struct tce_user_ref *ref;

	mm_iommu_reader_add(current->mm->context.iommu, &reader);
	mm_iommu_enter(&reader);
	tce_user_begin(&gather, &reader);
	KUNIT_EXPECT_NULL(test, ut_reserve(&gather, ua - 1, 1, 1, 0));
	KUNIT_EXPECT_NULL(test, ut_reserve(&gather, ua, 4 * PAGE_SIZE + 1, 1, 0));
	KUNIT_EXPECT_EQ(test, ut_count(mem), 0);

	/* Two and five translations, and the one that holds the region */
	ref = ut_reserve(&gather, ua, 4 * PAGE_SIZE, 2, 5);
	KUNIT_ASSERT_NOT_NULL(test, ref);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 8);
	/* Enough is there */
	KUNIT_EXPECT_PTR_EQ(test, ut_reserve(&gather, ua + PAGE_SIZE, 1, 7, 5), ref);
	KUNIT_EXPECT_EQ(test, gather.nr, 1);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 8);
	/* The page list cannot be read with the MMU off */
	mem->open = MM_IOMMU_OPEN;
	KUNIT_EXPECT_NULL(test, tce_user_reserve(&gather, ua, 1, 8, 0,
						 TCE_USER_REAL));
	KUNIT_EXPECT_PTR_EQ(test, tce_user_reserve(&gather, ua, 1, 8, 0,
						   TCE_USER_IRQOFF), ref);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 9);

	/* Three were used, one of them replaced; the rest goes back */
	ref->credit -= 3;
	ref->removed += 1;
	tce_user_finish(&gather);
	KUNIT_EXPECT_EQ(test, ut_count(mem), 2);
	KUNIT_EXPECT_EQ(test, gather.nr, 0);
	atomic64_sub(2, &mem->mapped);

	/* As long as a gather knows a region it cannot be unregistered */
	ref = ut_reserve(&gather, ua, 1, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, ref);
	mm_iommu_leave(&reader);
	KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, mem), -EBUSY);
	mm_iommu_enter(&reader);
	tce_user_finish(&gather);
	mm_iommu_leave(&reader);
	ut_unregister(test, mem);
	mm_iommu_enter(&reader);
	KUNIT_EXPECT_NULL(test, ut_reserve(&gather, ua, 1, 1, 0));
	tce_user_finish(&gather);
	mm_iommu_leave(&reader);
	mm_iommu_reader_del(&reader);
}

static void ut_modes(struct kunit *test)
{
	struct ut_table *t;

	/* Lets the test have an address space */
	ut_memory(test, 1);
	t = ut_create(test, 12);
	KUNIT_EXPECT_TRUE(test, tce_user_can(&t->tbl, TCE_USER_VIRT));
	KUNIT_EXPECT_TRUE(test, tce_user_can(&t->tbl, TCE_USER_IRQOFF));
	KUNIT_EXPECT_FALSE(test, tce_user_can(&t->tbl, TCE_USER_REAL));
	t->ops.tce_kill_rm = ut_tce_kill;
	KUNIT_EXPECT_TRUE(test, tce_user_can(&t->tbl, TCE_USER_REAL));

	t->tbl.it_base = 0;
	KUNIT_EXPECT_TRUE(test, tce_user_can(&t->tbl, TCE_USER_VIRT));
	KUNIT_EXPECT_TRUE(test, tce_user_can(&t->tbl, TCE_USER_IRQOFF));
	KUNIT_EXPECT_FALSE(test, tce_user_can(&t->tbl, TCE_USER_REAL));
}

struct ut_race {
	struct ut_table *t;
	struct mm_struct *mm;
	unsigned long ua[2];
	atomic_long_t changes;
};

/* As a hypercall does: map an entry to one of two regions, or remove it */
static bool ut_race_once(struct ut_race *race, struct mm_iommu_reader *reader,
			 unsigned long round)
{
	struct tce_user_pos pos = { .tbl = &race->t->tbl };
	unsigned long ua = race->ua[round % 2];
	struct tce_user_gather gather;
	struct tce_user_ref *ref;
	bool map = round % 3;
	u64 old;

	if (!tce_user_seek(&pos, UT_OFFSET + round % 5))
		return false;
	tce_user_begin(&gather, reader);
	ref = ut_reserve(&gather, ua, PAGE_SIZE, map, 0);
	if (!ref)
		return false;

	preempt_disable();
	tce_user_lock(pos.user, &old, true);
	tce_user_set(&gather, &pos, map ? tce_user_hw(ref->mem, pos.tbl, ua,
						      TCE_USER_PERM) : 0,
		     old, TCE_USER_VIRT);
	ref->credit -= map;
	tce_user_unlock(pos.user, map ? ua | TCE_USER_SET : 0);
	preempt_enable();
	tce_user_finish(&gather);
	return true;
}

static int ut_racer(void *arg)
{
	struct ut_race *race = arg;
	struct mm_iommu_reader reader;
	unsigned long round = 0;

	mm_iommu_reader_add(race->mm->context.iommu, &reader);
	while (!kthread_should_stop()) {
		mm_iommu_enter(&reader);
		if (ut_race_once(race, &reader, round++))
			atomic_long_inc(&race->changes);
		mm_iommu_leave(&reader);
		cond_resched();
	}
	mm_iommu_reader_del(&reader);
	return 0;
}

static void ut_race(struct kunit *test)
{
	unsigned long i, ua = ut_memory(test, 2);
	struct mm_iommu_table_group_mem_t *a = ut_register(test, ua, 1);
	struct mm_iommu_table_group_mem_t *b =
		ut_register(test, ua + PAGE_SIZE, 1);
	struct ut_race race = {
		.t = ut_create(test, PAGE_SHIFT),
		.mm = current->mm,
		.ua = { ua, ua + PAGE_SIZE },
	};
	struct task_struct *racer[UT_RACERS];
	s64 live = 0;

	for (i = 0; i < UT_RACERS; ++i)
		racer[i] = kthread_run(ut_racer, &race, "iommu-user-race/%lu", i);
	msleep(1000);
	for (i = 0; i < UT_RACERS; ++i)
		if (!IS_ERR(racer[i]))
			kthread_stop(racer[i]);
	KUNIT_EXPECT_GT(test, atomic_long_read(&race.changes), 0);

	/* Both words of an entry are of the same writer, and counted once */
	for (i = 0; i < 5; ++i) {
		if (race.t->user[i])
			ut_expect_mapped(test, race.t, i, 1, race.t->user[i] &
					 TCE_USER_UA, TCE_USER_PERM);
		else
			ut_expect_clear(test, race.t, i, 1);
		live += !!race.t->user[i];
	}
	KUNIT_EXPECT_EQ(test, ut_count(a) + ut_count(b), live);
	ut_unmap(race.t, 0, 5);
	ut_unregister(test, a);
	ut_unregister(test, b);
}

/*
 * Finding a group's table
 */

static void ut_table_get(struct kunit *test)
{
	struct iommu_table_group *tg = kunit_kzalloc(test, sizeof(*tg), GFP_KERNEL);
	struct iommu_group *grp = iommu_group_alloc();
	struct mm_struct *mm;
	struct ut_table *t;

	KUNIT_ASSERT_NOT_NULL(test, tg);
	KUNIT_ASSERT_FALSE(test, IS_ERR(grp));
	ut_memory(test, 1);
	mm = current->mm;
	t = ut_create(test, 16);

#define UT_GET(mm, shift, offset, size)	\
	tce_user_table_get(grp, mm, shift, offset, size)
#define UT_EXPECT_ERR(err, found)	\
	KUNIT_EXPECT_PTR_EQ(test, found, (struct iommu_table *)ERR_PTR(err))

	/* Not a group of this kind of IOMMU */
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES));
	iommu_group_set_iommudata(grp, tg, NULL);
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES));

	tg->group = grp;
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES));
	tg->tables[1] = &t->tbl;
	KUNIT_EXPECT_PTR_EQ(test, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES), &t->tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&t->tbl.it_kref), 2);
	/* A part of it, in larger pages */
	KUNIT_EXPECT_PTR_EQ(test, UT_GET(mm, 20, UT_OFFSET >> 4, 1), &t->tbl);

	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES + 1));
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET + 1, 1));
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 12, UT_OFFSET << 4, 1));
	UT_EXPECT_ERR(-EPERM, UT_GET(NULL, 16, UT_OFFSET, UT_ENTRIES));
	KUNIT_EXPECT_EQ(test, kref_read(&t->tbl.it_kref), 3);

	/* The last reference has gone, but the memory is still there */
	refcount_set(&t->tbl.it_kref.refcount, 0);
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES));
	kref_init(&t->tbl.it_kref);
	tce_user_close(&t->tbl);
	UT_EXPECT_ERR(-EINVAL, UT_GET(mm, 16, UT_OFFSET, UT_ENTRIES));

	iommu_group_put(grp);
}

static struct kunit_case ut_cases[] = {
	KUNIT_CASE(ut_map_and_unmap),
	KUNIT_CASE(ut_permissions),
	KUNIT_CASE(ut_replace),
	KUNIT_CASE(ut_many_regions),
	KUNIT_CASE(ut_page_too_large),
	KUNIT_CASE(ut_page_large),
	KUNIT_CASE(ut_not_registered),
	KUNIT_CASE(ut_region_dropped),
	KUNIT_CASE(ut_levels),
	KUNIT_CASE(ut_huge_window),
	KUNIT_CASE(ut_no_memory_for_level),
	KUNIT_CASE(ut_fetch),
	KUNIT_CASE(ut_hypervisor),
	KUNIT_CASE(ut_lists),
	KUNIT_CASE(ut_pieces),
	KUNIT_CASE(ut_open_and_close),
	KUNIT_CASE(ut_synchronize_and_close),
	KUNIT_CASE(ut_pinned),
	KUNIT_CASE(ut_pinned_fails),
	KUNIT_CASE(ut_entry_lock),
	KUNIT_CASE(ut_reservations),
	KUNIT_CASE(ut_modes),
	KUNIT_CASE_SLOW(ut_race),
	KUNIT_CASE(ut_table_get),
	{}
};

static struct kunit_suite ut_suite = {
	.name = "tce_user",
	.test_cases = ut_cases,
};

kunit_test_suite(ut_suite);

MODULE_DESCRIPTION("KUnit tests of user TCEs");
MODULE_LICENSE("GPL");
