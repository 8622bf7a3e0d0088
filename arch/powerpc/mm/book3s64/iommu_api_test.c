// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KUnit tests of preregistered memory, see asm/mm_iommu.h
 */
#include <kunit/test.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/resource.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include <asm/mm_iommu.h>

#define MR_MANY		256

/* User memory; of the current task, which has an address space from then on */
static unsigned long mr_memory(struct kunit *test, unsigned long pages,
			       unsigned long prot)
{
	unsigned long ua = kunit_vm_mmap(test, NULL, 0, pages << PAGE_SHIFT,
					 prot, MAP_PRIVATE | MAP_ANONYMOUS, 0);

	KUNIT_ASSERT_NE(test, ua, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(ua));
	return ua;
}

static unsigned long mr_rw(struct kunit *test, unsigned long pages)
{
	return mr_memory(test, pages, PROT_READ | PROT_WRITE);
}

static struct mm_iommu_table_group_mem_t *
mr_new(struct kunit *test, unsigned long ua, unsigned long pages)
{
	struct mm_iommu_table_group_mem_t *mem;

	KUNIT_ASSERT_EQ(test, mm_iommu_new(current->mm, ua, pages, &mem), 0);
	return mem;
}

/* What registering answers; nothing is charged when it is an error */
static long mr_refused(struct kunit *test, unsigned long ua, unsigned long pages)
{
	unsigned long locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem;
	long ret = mm_iommu_new(current->mm, ua, pages, &mem);

	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
	return ret;
}

static long mr_put(struct mm_iommu_table_group_mem_t *mem)
{
	return mm_iommu_put(current->mm, mem);
}

static struct mm_iommu_table_group_mem_t *
mr_find(unsigned long ua, unsigned long size, u32 hint, bool search)
{
	struct mm_iommu *iommu = mm_iommu_of(current->mm);
	struct mm_iommu_table_group_mem_t *mem;
	struct mm_iommu_reader reader;

	mm_iommu_reader_add(iommu, &reader);
	mm_iommu_enter(&reader);
	mem = search ? mm_iommu_find(iommu, ua, size, &hint, true) :
		       mm_iommu_find(iommu, ua, size, &hint, false);
	mm_iommu_leave(&reader);
	mm_iommu_reader_del(&reader);
	return mem;
}

/* How many regions the current mm has */
static unsigned int mr_registered(void)
{
	struct mm_iommu *iommu = current->mm->context.iommu;
	unsigned int i, n = 0;

	for (i = 0; iommu && iommu->regions && i < iommu->regions->nr; ++i)
		n += !!iommu->regions->slot[i].mem;
	return n;
}

struct mr_putter {
	struct mm_struct *mm;
	struct mm_iommu_table_group_mem_t *mem;
	struct completion done;
};

static int mr_putter(void *arg)
{
	struct mr_putter *putter = arg;
	long ret = mm_iommu_put(putter->mm, putter->mem);

	complete_all(&putter->done);
	while (!kthread_should_stop())
		msleep(20);
	return ret;
}

struct mr_reaper {
	struct mm_struct *mm;
	struct mm_iommu_table_group_mem_t **mem;
	struct completion done;
};

/* As a container that is released */
static int mr_reaper(void *arg)
{
	struct mr_reaper *reaper = arg;
	unsigned int i;

	for (i = 0; i < MR_MANY; ++i)
		mm_iommu_drop(reaper->mm, reaper->mem[i]);
	mm_iommu_reap(reaper->mm);

	complete_all(&reaper->done);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static struct page *mr_page(struct kunit *test, unsigned long ua)
{
	struct page *page;

	KUNIT_ASSERT_EQ(test, get_user_pages_fast(ua, 1, 0, &page), 1);
	put_page(page);
	return page;
}

static bool mr_is_pinned(struct kunit *test, unsigned long ua)
{
	return folio_maybe_dma_pinned(page_folio(mr_page(test, ua)));
}

static void mr_register(struct kunit *test)
{
	unsigned long i, ua = mr_rw(test, 4), locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem;

	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	mem = mr_new(test, ua, 4);
	KUNIT_EXPECT_EQ(test, mr_registered(), 1);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 4);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mem->mapped), 1);
	KUNIT_EXPECT_EQ(test, mem->pageshift, PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, mem->open,
			MM_IOMMU_OPEN | MM_IOMMU_OPEN_REAL | MM_IOMMU_KEEP);
	for (i = 0; i < 4; ++i) {
		unsigned long at = ua + i * PAGE_SIZE;

		KUNIT_EXPECT_EQ(test, *mm_iommu_page(mem, at + PAGE_SIZE - 1),
				page_to_phys(mr_page(test, at)));
		KUNIT_EXPECT_TRUE(test, mr_is_pinned(test, at));
	}

	/* Unregistered, unpinned and given back are one */
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	for (i = 0; i < 4; ++i)
		KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua + i * PAGE_SIZE));
}

/* Whoever is still looking at the page list finds the pages there, charged for */
static void mr_section(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 1), locked = current->mm->locked_vm;
	struct mr_putter putter = { .mm = current->mm };
	struct mm_iommu_reader reader;
	struct task_struct *task;

	putter.mem = mr_new(test, ua, 1);
	init_completion(&putter.done);
	mm_iommu_reader_add(current->mm->context.iommu, &reader);
	mm_iommu_enter(&reader);
	task = kthread_run(mr_putter, &putter, "mr-putter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&putter.done,
							     HZ / 5));
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_TRUE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 1);

	/* A section that begins later is not waited for */
	mm_iommu_leave(&reader);
	mm_iommu_enter(&reader);
	wait_for_completion(&putter.done);
	mm_iommu_leave(&reader);
	KUNIT_EXPECT_EQ(test, kthread_stop(task), 0);
	mm_iommu_reader_del(&reader);
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
}

/* Who takes back what a reader keeps waits for its section, and holds nobody up */
static void mr_kept(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 2);
	struct mr_putter putter = { .mm = current->mm };
	struct mm_iommu_table_group_mem_t *other;
	struct mm_iommu_reader reader;
	struct task_struct *task;

	putter.mem = mr_new(test, ua, 1);
	other = mr_new(test, ua + PAGE_SIZE, 1);
	init_completion(&putter.done);
	mm_iommu_reader_add(current->mm->context.iommu, &reader);
	mm_iommu_enter(&reader);
	atomic64_add(3, &putter.mem->mapped);
	mm_iommu_keep(&reader, putter.mem, 3);
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_kept(&reader), putter.mem);
	task = kthread_run(mr_putter, &putter, "mr-putter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&putter.done,
							     HZ / 5));
	KUNIT_EXPECT_NULL(test, mm_iommu_kept(&reader));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_get(current->mm, ua + PAGE_SIZE, 1), other);
	KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, other), 0);

	mm_iommu_leave(&reader);
	wait_for_completion(&putter.done);
	KUNIT_EXPECT_EQ(test, kthread_stop(task), 0);
	KUNIT_EXPECT_NULL(test, reader.kept);
	mm_iommu_reader_del(&reader);
	KUNIT_EXPECT_EQ(test, mm_iommu_put(current->mm, other), 0);
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
}

/* What a device wrote to is not dropped */
static void mr_dirty(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 2);
	struct mm_iommu_table_group_mem_t *mem = mr_new(test, ua, 2);

	ClearPageDirty(mr_page(test, ua));
	ClearPageDirty(mr_page(test, ua + PAGE_SIZE));
	*mm_iommu_page(mem, ua + PAGE_SIZE) |= MM_IOMMU_HPA_DIRTY;
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_FALSE(test, PageDirty(mr_page(test, ua)));
	KUNIT_EXPECT_TRUE(test, PageDirty(mr_page(test, ua + PAGE_SIZE)));
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua + PAGE_SIZE));
}

static void mr_get_exact(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 4), locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem;

	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 4));
	mem = mr_new(test, ua, 4);
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 3));
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 5));
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua + PAGE_SIZE, 3));
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua + PAGE_SIZE, 4));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_get(current->mm, ua, 4), mem);
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_get(current->mm, ua, 4), mem);

	/* Three registrations, charged once */
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 4);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 4);
	KUNIT_EXPECT_PTR_EQ(test, mr_find(ua, 1, 0, true), mem);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 4));
}

/* From the first byte to the last one, whatever the hint */
static void mr_find_edges(struct kunit *test)
{
	const unsigned long size = 2 * PAGE_SIZE;
	unsigned long ua = mr_rw(test, 10), hint;
	struct mm_iommu_table_group_mem_t *a, *b, *c;

	KUNIT_EXPECT_NULL(test, mr_find(ua, 1, 0, true));
	a = mr_new(test, ua, 2);
	b = mr_new(test, ua + 4 * PAGE_SIZE, 2);
	c = mr_new(test, ua + 6 * PAGE_SIZE, 2);
	for (hint = 0; hint < 5; ++hint) {
		unsigned long at = ua + 4 * PAGE_SIZE;

		KUNIT_EXPECT_PTR_EQ(test, mr_find(at, 1, hint, true), b);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at, size, hint, true), b);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at + size - 1, 1, hint, true),
				    b);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at + size, 1, hint, true), c);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + size - 1, 1, hint, true),
				    a);

		KUNIT_EXPECT_NULL(test, mr_find(at - 1, 1, hint, true));
		KUNIT_EXPECT_NULL(test, mr_find(ua - 1, 1, hint, true));
		KUNIT_EXPECT_NULL(test, mr_find(ua + size, 1, hint, true));
		KUNIT_EXPECT_NULL(test, mr_find(ua + 8 * PAGE_SIZE, 1, hint,
						true));
		KUNIT_EXPECT_NULL(test, mr_find(0, 1, hint, true));
		KUNIT_EXPECT_NULL(test, mr_find(~0UL, 1, hint, true));
		/* Larger than what follows in the region; they do not join */
		KUNIT_EXPECT_NULL(test, mr_find(at, size + 1, hint, true));
		KUNIT_EXPECT_NULL(test, mr_find(at + PAGE_SIZE, size, hint,
						true));
		KUNIT_EXPECT_NULL(test, mr_find(at, ~0UL, hint, true));

		/* Without a search only the hint counts */
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at, 1, hint, false),
				    hint == 1 ? b : NULL);
	}

	KUNIT_EXPECT_EQ(test, mr_put(b), 0);
	KUNIT_EXPECT_NULL(test, mr_find(ua + 4 * PAGE_SIZE, 1, 1, false));
	KUNIT_EXPECT_NULL(test, mr_find(ua + 4 * PAGE_SIZE, 1, 0, true));
	KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + 6 * PAGE_SIZE, 1, 1, true), c);
	KUNIT_EXPECT_EQ(test, mr_put(a), 0);
	KUNIT_EXPECT_EQ(test, mr_put(c), 0);
}

static void mr_overlaps(struct kunit *test)
{
	static const struct {
		unsigned int at, pages;
		long ret;
	} tries[] = {
		{ 4, 4, -EINVAL }, { 3, 2, -EINVAL }, { 7, 2, -EINVAL },
		{ 5, 1, -EINVAL }, { 3, 6, -EINVAL }, { 4, 1, -EINVAL },
		{ 7, 1, -EINVAL }, { 0, 12, -EINVAL },
		{ 3, 1, 0 }, { 8, 1, 0 }, { 0, 3, 0 }, { 9, 3, 0 },
	};
	unsigned long i, ua = mr_rw(test, 12), locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem = mr_new(test, ua + 4 * PAGE_SIZE,
							4);

	for (i = 0; i < ARRAY_SIZE(tries); ++i) {
		struct mm_iommu_table_group_mem_t *other;
		unsigned long at = ua + tries[i].at * PAGE_SIZE;
		long ret = mm_iommu_new(current->mm, at, tries[i].pages, &other);

		KUNIT_EXPECT_EQ_MSG(test, ret, tries[i].ret,
				    "%u pages from page %u on", tries[i].pages,
				    tries[i].at);
		if (!ret)
			KUNIT_EXPECT_EQ(test, mr_put(other), 0);
		KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 4);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + 4 * PAGE_SIZE,
						  4 * PAGE_SIZE, 0, true), mem);
	}
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);

	/* What refused regions had pinned was let go, once */
	for (i = 0; i < 12; ++i)
		KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua + i * PAGE_SIZE));
}

/* Each second page is a region; they come and go in no order */
static void mr_many(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 2 * MR_MANY);
	unsigned long locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t **mem;
	struct mm_iommu_regions *regions;
	unsigned int i, n;

	mem = kunit_kcalloc(test, MR_MANY, sizeof(*mem), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	for (i = 0; i < MR_MANY; ++i) {
		n = i * 37 % MR_MANY;
		mem[n] = mr_new(test, ua + 2 * n * PAGE_SIZE, 1);
	}
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + MR_MANY);

	regions = current->mm->context.iommu->regions;
	KUNIT_ASSERT_NOT_NULL(test, regions);
	KUNIT_ASSERT_EQ(test, regions->nr, MR_MANY);
	for (i = 0; i < MR_MANY; ++i) {
		unsigned long at = ua + 2 * i * PAGE_SIZE;

		KUNIT_EXPECT_PTR_EQ(test, regions->slot[i].mem, mem[i]);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at, PAGE_SIZE, i / 2, true),
				    mem[i]);
		KUNIT_EXPECT_PTR_EQ(test, mr_find(at, 1, i, false), mem[i]);
		KUNIT_EXPECT_NULL(test, mr_find(at + PAGE_SIZE, 1, i, true));
	}

	for (i = 0; i < MR_MANY; i += 2)
		KUNIT_EXPECT_EQ(test, mr_put(mem[i]), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + MR_MANY / 2);
	for (i = 0; i < MR_MANY; ++i)
		KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + 2 * i * PAGE_SIZE, 1, 0,
						  true), i % 2 ? mem[i] : NULL);

	/* Back again, which squeezes the empty slots out */
	mem[0] = mr_new(test, ua, 1);
	regions = current->mm->context.iommu->regions;
	KUNIT_EXPECT_EQ(test, regions->nr, MR_MANY / 2 + 1);
	for (i = 2; i < MR_MANY; i += 2)
		mem[i] = mr_new(test, ua + 2 * i * PAGE_SIZE, 1);
	for (i = 0; i < MR_MANY; ++i) {
		n = i * 91 % MR_MANY;
		KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + 2 * n * PAGE_SIZE, 1, 0,
						  true), mem[n]);
		KUNIT_EXPECT_EQ(test, mr_put(mem[n]), 0);
	}
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
}

static void mr_in_use(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 2), locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem = mr_new(test, ua, 2);

	atomic64_inc(&mem->mapped);
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_get(current->mm, ua, 2), mem);
	/* Not the last registration; the last one stays */
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, mr_put(mem), -EBUSY);
	KUNIT_EXPECT_EQ(test, mr_put(mem), -EBUSY);
	KUNIT_EXPECT_EQ(test, mem->used, 1);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 2);

	/* Its container goes: the memory stays for the other's translations */
	mm_iommu_drop(current->mm, mem);
	KUNIT_EXPECT_EQ(test, mem->open, 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 2);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_PTR_EQ(test, mr_find(ua, 1, 0, true), mem);

	atomic64_dec(&mem->mapped);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_NULL(test, mr_find(ua, 1, 0, true));
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);

	/* Not in use: gone at once */
	mem = mr_new(test, ua, 2);
	mm_iommu_drop(current->mm, mem);
	KUNIT_EXPECT_EQ(test, mem->open, 0);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
}

/* A dropped region is in the way for as long as a translation leads to it, no longer */
static void mr_dropped_in_the_way(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 4), locked = current->mm->locked_vm;
	struct mm_iommu_table_group_mem_t *mem = mr_new(test, ua, 2), *other;

	atomic64_inc(&mem->mapped);
	mm_iommu_drop(current->mm, mem);
	KUNIT_EXPECT_EQ(test, mm_iommu_new(current->mm, ua + PAGE_SIZE, 3, &other), -EINVAL);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 2);
	/* Nor does anybody get it: its pages may not be the memory's any more */
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 2));

	atomic64_dec(&mem->mapped);
	KUNIT_EXPECT_NULL(test, mm_iommu_get(current->mm, ua, 2));
	other = mr_new(test, ua + PAGE_SIZE, 3);
	KUNIT_EXPECT_EQ(test, mr_registered(), 1);
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + 3);
	KUNIT_EXPECT_EQ(test, mr_put(other), 0);
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
}

/* All regions of a container go in one grace period, and none before */
static void mr_drop_many(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 2 * MR_MANY);
	unsigned long locked = current->mm->locked_vm;
	struct mr_reaper reaper = { .mm = current->mm };
	struct mm_iommu_reader reader;
	struct task_struct *task;
	unsigned int i;

	reaper.mem = kunit_kcalloc(test, MR_MANY, sizeof(reaper.mem[0]), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, reaper.mem);
	for (i = 0; i < MR_MANY; ++i)
		reaper.mem[i] = mr_new(test, ua + 2 * i * PAGE_SIZE, 1);
	init_completion(&reaper.done);
	mm_iommu_reader_add(current->mm->context.iommu, &reader);
	mm_iommu_enter(&reader);
	task = kthread_run(mr_reaper, &reaper, "mr-reaper");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&reaper.done, HZ / 5));
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_TRUE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked + MR_MANY);

	mm_iommu_leave(&reader);
	wait_for_completion(&reaper.done);
	kthread_stop(task);
	mm_iommu_reader_del(&reader);
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_EQ(test, current->mm->locked_vm, locked);
}

static void mr_reap_some(struct kunit *test)
{
	unsigned long i, ua = mr_rw(test, 6);
	struct mm_iommu_table_group_mem_t *mem[6];

	for (i = 0; i < 6; ++i) {
		mem[i] = mr_new(test, ua + i * PAGE_SIZE, 1);
		atomic64_inc(&mem[i]->mapped);
	}
	for (i = 0; i < 5; ++i)
		mm_iommu_drop(current->mm, mem[i]);
	atomic64_dec(&mem[1]->mapped);
	atomic64_dec(&mem[4]->mapped);
	atomic64_dec(&mem[5]->mapped);
	mm_iommu_reap(current->mm);
	for (i = 0; i < 6; ++i)
		KUNIT_EXPECT_PTR_EQ(test, mr_find(ua + i * PAGE_SIZE, 1, 0, true),
				    i == 1 || i == 4 ? NULL : mem[i]);

	atomic64_dec(&mem[0]->mapped);
	atomic64_dec(&mem[2]->mapped);
	atomic64_dec(&mem[3]->mapped);
	KUNIT_EXPECT_EQ(test, mr_put(mem[5]), 0);
	mm_iommu_reap(current->mm);
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
}

static void mr_refusals(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 8);
	unsigned long ro = mr_memory(test, 1, PROT_READ);

	KUNIT_EXPECT_EQ(test, mr_refused(test, ua, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mr_refused(test, ro, 1), -EFAULT);
	KUNIT_ASSERT_EQ(test, vm_munmap(ua + 6 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, mr_refused(test, ua + 6 * PAGE_SIZE, 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, mr_refused(test, ua, 8), -EFAULT);
	KUNIT_EXPECT_EQ(test, mr_registered(), 0);
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua));
}

/* Much more than there is: refused before memory is spent on a page list */
static void mr_absurd(struct kunit *test)
{
	unsigned long ua = mr_rw(test, 1);
	unsigned long pages;

	for (pages = 1UL << 26; pages < 1UL << (63 - PAGE_SHIFT); pages <<= 1) {
		long ret = mr_refused(test, ua, pages);

		KUNIT_EXPECT_TRUE_MSG(test, ret == -EFAULT || ret == -ENOMEM,
				      "0x%lx pages: %ld", pages, ret);
	}
}

static void mr_limit(struct kunit *test)
{
	struct rlimit *limit = &current->signal->rlim[RLIMIT_MEMLOCK];
	unsigned long ua = mr_rw(test, 4);
	struct mm_iommu_table_group_mem_t *mem;
	const struct rlimit was = *limit;
	const struct cred *old;
	struct cred *cred;

	cred = prepare_creds();
	KUNIT_ASSERT_NOT_NULL(test, cred);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	old = override_creds(cred);
	limit->rlim_cur = (current->mm->locked_vm + 3) << PAGE_SHIFT;

	KUNIT_EXPECT_EQ(test, mr_refused(test, ua, 4), -ENOMEM);
	KUNIT_EXPECT_EQ(test, mm_iommu_new(current->mm, ua, 3, &mem), 0);
	KUNIT_EXPECT_EQ(test, mr_refused(test, ua + 3 * PAGE_SIZE, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_new(current->mm, ua, 3, &mem), 0);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);

	*limit = was;
	revert_creds(old);
	put_cred(cred);
}

/*
 * A page list of more than one chunk.  It is much memory to register, but the
 * same few pages over and over.
 */
static void mr_chunks(struct kunit *test)
{
	/* A prime number of them, so that chunks do not look alike */
	const unsigned long some = 61 * PAGE_SIZE;
	const unsigned long size = (MM_IOMMU_CHUNK_SIZE / 61 + 1) * some;
	struct mm_iommu_table_group_mem_t *mem;
	unsigned long at, ua, wrong = 0;
	struct file *file;

	file = shmem_file_setup("iommu-api-test", some, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	/* Any address where all of it fits */
	ua = mr_rw(test, size >> PAGE_SHIFT);
	for (at = ua; at < ua + size; at += some)
		if (vm_mmap(file, at, some, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, 0) != at)
			wrong++;
	fput(file);
	KUNIT_ASSERT_EQ(test, wrong, 0);

	mem = mr_new(test, ua, size >> PAGE_SHIFT);
	for (at = ua; at < ua + size; at += PAGE_SIZE)
		if (*mm_iommu_page(mem, at) != page_to_phys(mr_page(test, at)))
			wrong++;
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, mr_put(mem), 0);
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua));
	KUNIT_EXPECT_FALSE(test, mr_is_pinned(test, ua + some - PAGE_SIZE));
}

static struct kunit_case mr_cases[] = {
	KUNIT_CASE(mr_register),
	KUNIT_CASE(mr_section),
	KUNIT_CASE(mr_kept),
	KUNIT_CASE(mr_dirty),
	KUNIT_CASE(mr_get_exact),
	KUNIT_CASE(mr_find_edges),
	KUNIT_CASE(mr_overlaps),
	KUNIT_CASE(mr_many),
	KUNIT_CASE(mr_in_use),
	KUNIT_CASE(mr_dropped_in_the_way),
	KUNIT_CASE(mr_drop_many),
	KUNIT_CASE(mr_reap_some),
	KUNIT_CASE(mr_refusals),
	KUNIT_CASE(mr_absurd),
	KUNIT_CASE(mr_limit),
	KUNIT_CASE_SLOW(mr_chunks),
	{}
};

static struct kunit_suite mr_suite = {
	.name = "mm_iommu",
	.test_cases = mr_cases,
};

kunit_test_suite(mr_suite);

MODULE_DESCRIPTION("KUnit tests of preregistered memory");
MODULE_LICENSE("GPL");
