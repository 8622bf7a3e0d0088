// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preregistered memory of a user address space: registering, unregistering and
 * accounting.  What a region is, how it is found and how long it lives is
 * described in asm/mm_iommu.h.
 *
 * Invariants:
 *
 *  - mm->context.iommu is made once, is never exchanged, and goes with the mm.
 *    Whoever uses it holds a reference on the mm (mm_count).
 *
 *  - The array in mm_iommu::regions is sorted and free of overlaps; it changes
 *    under mm_iommu::lock only.  An array once published is changed in a single
 *    way: a slot's @mem becomes NULL.
 *
 *  - A region that is in an array has @mapped >= 1.  @mapped reaches 0 once,
 *    under mm_iommu::lock, by a compare-and-exchange from 1, and the slot is
 *    emptied at once.  So a reader that finds a region may fail to raise
 *    @mapped, but never raises it on memory that is being unpinned.
 *
 *  - A region that a reader names as kept is there to be looked at under
 *    mm_iommu::readers_lock.  It has the reader's counts in @mapped, or the reader is in
 *    the section in which it drops them.  Whoever frees the region waits for that section,
 *    and takes the same lock to do so.
 *
 *  - Unregistering does not fail for want of memory.
 *
 *  - Pages are unpinned after a grace period, not before: a hypercall in guest
 *    context may still be looking at the page list, or read a list of TCEs in
 *    one of the pages.  No device can reach them by then, as @mapped was 1.
 *
 *  - Locked memory is charged for a region once per mm, however many
 *    containers register it, and for as long as its pages are pinned.
 *
 * Locks.  mm_iommu::lock is taken for a short time: pages are pinned, unpinned and
 * accounted for, and grace periods waited for, without it.  mmap_lock is this
 * mm's, and not taken under it.
 */

#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/mm_iommu.h>

/* How often a grace period looks at a section before it sleeps */
#define MM_IOMMU_SPINS		100

/* Pages that are unpinned between two points where the CPU may be given up */
#define MM_IOMMU_PIECE		512UL

/**
 * mm_iommu_of() - the object of an address space
 * @mm: address space; the caller holds a reference (mm_count)
 *
 * Context: may sleep.
 * Return: the object, made if there was none; NULL when there is no memory.
 */
struct mm_iommu *mm_iommu_of(struct mm_struct *mm)
{
	/* What is in it depends on the pointer; pairs with the cmpxchg() below */
	struct mm_iommu *old = READ_ONCE(mm->context.iommu), *new;

	if (old)
		return old;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;

	mutex_init(&new->recall_lock);
	mutex_init(&new->lock);
	mutex_init(&new->readers_lock);
	INIT_LIST_HEAD(&new->readers);

	old = cmpxchg(&mm->context.iommu, NULL, new);
	if (old) {
		kfree(new);
		return old;
	}
	return new;
}
EXPORT_SYMBOL_GPL(mm_iommu_of);

/**
 * mm_iommu_reader_add() - let somebody read regions and tables of an mm
 * @iommu: the mm's object; the caller holds the mm until mm_iommu_reader_del()
 * @reader: who
 *
 * Context: may sleep; waits for a grace period that is under way.
 */
void mm_iommu_reader_add(struct mm_iommu *iommu, struct mm_iommu_reader *reader)
{
	reader->iommu = iommu;
	reader->seq = 0;
	reader->hint = 0;
	reader->old_hint = 0;
	reader->kept = NULL;
	mutex_lock(&iommu->readers_lock);
	list_add(&reader->next, &iommu->readers);
	mutex_unlock(&iommu->readers_lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_reader_add);

/* Drop the counts that @reader, which does not look at them now, keeps of a region */
static void mm_iommu_take_back(struct mm_iommu_reader *reader)
{
	lockdep_assert_held(&reader->iommu->readers_lock);

	if (!reader->kept)
		return;

	atomic64_sub(reader->nr_kept, &reader->kept->mapped);
	/* Pairs with what the reader stores if it sees NULL here */
	smp_store_release(&reader->kept, NULL);
}

/**
 * mm_iommu_reader_del() - end what mm_iommu_reader_add() began
 * @reader: not in a section, and for good
 *
 * Context: as mm_iommu_reader_add().
 */
void mm_iommu_reader_del(struct mm_iommu_reader *reader)
{
	mutex_lock(&reader->iommu->readers_lock);
	mm_iommu_take_back(reader);
	list_del(&reader->next);
	mutex_unlock(&reader->iommu->readers_lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_reader_del);

/* Wait for the section that @reader is in, if it is in one */
static void mm_iommu_wait(const struct mm_iommu_reader *reader)
{
	/* Pairs with the release in mm_iommu_leave() */
	const unsigned int seq = smp_load_acquire(&reader->seq);
	unsigned int spins = MM_IOMMU_SPINS;

	if (!(seq & 1))
		return;

	/* Any other value will do, as a section that began later does no harm */
	while (smp_load_acquire(&reader->seq) == seq) {
		if (spins) {
			spins--;
			cpu_relax();
		} else {
			usleep_range(10, 50);
		}
	}
}

static void mm_iommu_wait_all(struct mm_iommu *iommu)
{
	const struct mm_iommu_reader *reader;

	lockdep_assert_held(&iommu->readers_lock);
	/*
	 * What was unlinked comes before the looks at the readers.  Pairs with
	 * the smp_mb() in mm_iommu_enter().
	 */
	smp_mb();
	list_for_each_entry(reader, &iommu->readers, next)
		mm_iommu_wait(reader);
}

/**
 * mm_iommu_synchronize() - wait for a grace period
 * @iommu: the mm's object
 *
 * When this returns, every section that began before the call is over, and what
 * was unlinked before the call is not seen by later ones.
 *
 * Context: may sleep, not in a section; for as long as a hypercall, an ioctl or a
 * piece of one takes to be served.  Guests that run are not waited for.
 */
void mm_iommu_synchronize(struct mm_iommu *iommu)
{
	might_sleep();
	mutex_lock(&iommu->readers_lock);
	mm_iommu_wait_all(iommu);
	mutex_unlock(&iommu->readers_lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_synchronize);

/*
 * Take back the counts that readers keep of regions that are @recalled.  A section that has
 * seen MM_IOMMU_KEEP set is waited for.  A later one sees it clear, and lets what it keeps
 * alone.  Nobody else sets @recalled meanwhile, for a region whose sections were not waited
 * for.
 */
static void mm_iommu_recall(struct mm_iommu *iommu)
{
	struct mm_iommu_reader *reader;

	lockdep_assert_held(&iommu->recall_lock);

	mutex_lock(&iommu->readers_lock);
	mm_iommu_wait_all(iommu);
	list_for_each_entry(reader, &iommu->readers, next) {
		/* Others change under their readers' hands */
		struct mm_iommu_table_group_mem_t *mem = READ_ONCE(reader->kept);

		if (mem && READ_ONCE(mem->recalled))
			mm_iommu_take_back(reader);
	}
	mutex_unlock(&iommu->readers_lock);
}

static unsigned long mm_iommu_nr_chunks(unsigned long entries)
{
	return DIV_ROUND_UP(entries, MM_IOMMU_CHUNK_SIZE);
}

static void mm_iommu_unpin(struct mm_iommu_table_group_mem_t *mem,
			   unsigned long entries)
{
	unsigned long i;

	for (i = 0; i < entries; ++i) {
		u64 hpa = *mm_iommu_page(mem, mem->ua + (i << PAGE_SHIFT));
		struct page *page = pfn_to_page(hpa >> PAGE_SHIFT);

		if (hpa & MM_IOMMU_HPA_DIRTY)
			SetPageDirty(page);
		unpin_user_page(page);
		if (i % MM_IOMMU_PIECE == MM_IOMMU_PIECE - 1)
			cond_resched();
	}
	/* Regions can be as small as they are many */
	cond_resched();
}

static void mm_iommu_free(struct mm_iommu_table_group_mem_t *mem)
{
	unsigned long i, nr = mm_iommu_nr_chunks(mem->entries);

	for (i = 0; i < nr && mem->chunks[i]; ++i)
		free_page((unsigned long)mem->chunks[i]);
	kvfree(mem->chunks);
	kfree(mem);
}

/*
 * Give the pages of retired regions back, and then the locked memory that they
 * were charged for.
 */
static void mm_iommu_release(struct mm_struct *mm, struct llist_head *dead)
{
	struct mm_iommu_table_group_mem_t *mem, *tmp;

	if (llist_empty(dead))
		return;

	mm_iommu_synchronize(mm->context.iommu);
	llist_for_each_entry_safe(mem, tmp, dead->first, dead) {
		mm_iommu_unpin(mem, mem->entries);
		account_locked_vm(mm, mem->entries, false);
		mm_iommu_free(mem);
	}
}

/* A region that is no longer registered takes no new translations */
static void mm_iommu_set_used(struct mm_iommu_table_group_mem_t *mem,
			      unsigned long used)
{
	unsigned int open = MM_IOMMU_OPEN;

	if (!mem->recalled)
		open |= MM_IOMMU_KEEP;
	if (!is_vmalloc_addr(mem->chunks))
		open |= MM_IOMMU_OPEN_REAL;

	mem->used = used;
	/* Pairs with READ_ONCE() in tce_user_open_region() and mm_iommu_kept() */
	WRITE_ONCE(mem->open, used ? open : 0);
}

static void mm_iommu_set_recalled(struct mm_iommu_table_group_mem_t *mem, bool recalled)
{
	WRITE_ONCE(mem->recalled, recalled);
	mm_iommu_set_used(mem, mem->used);
}

/*
 * Chunks come with the pages that are pinned: whoever asks for more memory than
 * there is gets no page list of that size.
 */
static struct mm_iommu_table_group_mem_t *
mm_iommu_alloc(unsigned long ua, unsigned long entries)
{
	struct mm_iommu_table_group_mem_t *mem;

	mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	if (!mem)
		return NULL;

	mem->ua = ua;
	mem->entries = entries;
	atomic64_set(&mem->mapped, 1);

	mem->chunks = kvcalloc(mm_iommu_nr_chunks(entries),
			       sizeof(mem->chunks[0]),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
			       __GFP_RETRY_MAYFAIL);
	if (!mem->chunks) {
		kfree(mem);
		return NULL;
	}
	mm_iommu_set_used(mem, 1);

	return mem;
}

/*
 * Make a chunk: pin its pages and turn the page pointers, which pinning leaves
 * there, into physical addresses.  Lowers @pageshift to the smallest page
 * seen: only memory from hugetlbfs is sure to stay in one piece.
 */
static long mm_iommu_pin_chunk(struct mm_iommu_table_group_mem_t *mem,
			       unsigned long first, unsigned long nr)
{
	u64 *hpas = (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT);
	unsigned long ua = mem->ua + (first << PAGE_SHIFT);
	struct page **pages = (struct page **)hpas;
	long i, pinned;

	BUILD_BUG_ON(sizeof(*pages) != sizeof(*hpas));

	if (!hpas)
		return -ENOMEM;
	mem->chunks[first >> MM_IOMMU_CHUNK_SHIFT] = hpas;

	/* Lets go of mmap_lock while user space brings a page */
	pinned = pin_user_pages_unlocked(ua, nr, pages,
					 FOLL_WRITE | FOLL_LONGTERM);

	for (i = 0; i < pinned; ++i) {
		struct page *page = pages[i];
		unsigned int shift = PAGE_SHIFT;

		if (mem->pageshift > PAGE_SHIFT && PageHuge(page))
			shift = page_shift(compound_head(page));
		mem->pageshift = min(mem->pageshift, shift);
		hpas[i] = (u64)page_to_pfn(page) << PAGE_SHIFT;
	}

	return pinned;
}

static long mm_iommu_pin(struct mm_iommu_table_group_mem_t *mem)
{
	unsigned long done = 0;
	long ret = 0;

	/* Natural alignment is the most that an IOMMU page can use */
	mem->pageshift = __ffs(mem->ua | (mem->entries << PAGE_SHIFT));

	while (done < mem->entries) {
		unsigned long nr = min(mem->entries - done, MM_IOMMU_CHUNK_SIZE);

		ret = mm_iommu_pin_chunk(mem, done, nr);
		if (ret > 0)
			done += ret;
		if (ret != nr)
			break;
	}

	if (done == mem->entries)
		return 0;

	mm_iommu_unpin(mem, done);
	return ret < 0 ? ret : -EFAULT;
}

/*
 * Take the region in slot @at out of the array and add it to @dead, unless somebody has a
 * count of it.  Returns false in that case.
 */
static bool mm_iommu_retire(struct mm_iommu *iommu, unsigned int at,
			    struct llist_head *dead)
{
	struct mm_iommu_slot *slot = &iommu->regions->slot[at];
	struct mm_iommu_table_group_mem_t *mem = slot->mem;

	lockdep_assert_held(&iommu->lock);

	/*
	 * Pairs with the full barrier of tce_user_finish() and tce_user_drop():
	 * whoever sees 1 here also sees that the invalidations before the last
	 * decrement are complete, be it theirs or that of mm_iommu_take_back() behind
	 * them; what is done to the pages comes after the smp_mb() in
	 * mm_iommu_wait_all().  From 0 on tce_user_take() fails.
	 */
	if (atomic64_cmpxchg(&mem->mapped, 1, 0) != 1)
		return false;

	WRITE_ONCE(mem->open, 0);
	WRITE_ONCE(slot->mem, NULL);
	__llist_add(&mem->dead, dead);
	return true;
}

static unsigned int mm_iommu_nr_slots(const struct mm_iommu *iommu)
{
	return iommu->regions ? iommu->regions->nr : 0;
}

/*
 * Take the lock, and return an array that has room for one region more.  Returns NULL
 * without the lock if there is no memory.  It is not allocated under the lock, as memory that
 * is accounted for can take long.
 */
static struct mm_iommu_regions *mm_iommu_lock_array(struct mm_iommu *iommu)
{
	struct mm_iommu_regions *new = NULL;
	unsigned int room = 0;

	mutex_lock(&iommu->lock);
	while (room <= mm_iommu_nr_slots(iommu)) {
		room = mm_iommu_nr_slots(iommu) + 1;
		mutex_unlock(&iommu->lock);
		kfree(new);
		/* The number of regions is the VMM's choice: no warning */
		new = kmalloc(struct_size(new, slot, room),
			      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (!new)
			return NULL;
		mutex_lock(&iommu->lock);
	}
	return new;
}

/*
 * Publish the regions of the mm and @mem in @new, without empty slots.  The caller frees
 * @*unused after a grace period: it is the former array, or @new on failure.  It also
 * releases @dead: regions that were dropped must be in nobody's way.
 */
static long mm_iommu_insert(struct mm_iommu *iommu,
			    struct mm_iommu_table_group_mem_t *mem,
			    struct mm_iommu_regions *new,
			    struct mm_iommu_regions **unused,
			    struct llist_head *dead)
{
	struct mm_iommu_regions *old = iommu->regions;
	const struct mm_iommu_slot slot = {
		.ua = mem->ua,
		.size = mem->entries << PAGE_SHIFT,
		.mem = mem,
	};
	unsigned int i, n = 0;
	bool placed = false;

	lockdep_assert_held(&iommu->lock);

	*unused = new;
	new->nr = mm_iommu_nr_slots(iommu) + 1;
	for (i = 0; old && i < old->nr; ++i) {
		const struct mm_iommu_slot *s = &old->slot[i];

		if (!s->mem)
			continue;
		if (s->ua < slot.ua + slot.size && slot.ua < s->ua + s->size) {
			if (s->mem->used)
				return -EINVAL;
			if (!mm_iommu_retire(iommu, i, dead))
				return -EBUSY;
			continue;
		}
		if (!placed && s->ua > slot.ua) {
			new->slot[n++] = slot;
			placed = true;
		}
		new->slot[n++] = *s;
	}
	if (!placed)
		new->slot[n++] = slot;
	new->nr = n;

	/* Pairs with the dependency from READ_ONCE() in mm_iommu_find() */
	smp_store_release(&iommu->regions, new);
	*unused = old;
	return 0;
}

/* Nobody keeps counts of regions that were dropped before this call */
static void mm_iommu_recall_dropped(struct mm_iommu *iommu)
{
	struct mm_iommu_table_group_mem_t *mem;
	unsigned int i;

	mutex_lock(&iommu->recall_lock);
	mutex_lock(&iommu->lock);
	for (i = 0; i < mm_iommu_nr_slots(iommu); ++i) {
		mem = iommu->regions->slot[i].mem;
		if (mem && !mem->used)
			mm_iommu_set_recalled(mem, true);
	}
	mutex_unlock(&iommu->lock);
	mm_iommu_recall(iommu);
	mutex_unlock(&iommu->recall_lock);
}

/* -EBUSY when what is in the way was dropped, and somebody has counts of it */
static long mm_iommu_register(struct mm_iommu *iommu, struct mm_struct *mm,
			      unsigned long ua, unsigned long entries,
			      struct mm_iommu_table_group_mem_t **pmem)
{
	struct mm_iommu_table_group_mem_t *mem;
	struct mm_iommu_regions *new, *unused;
	LLIST_HEAD(dead);
	long ret;

	ret = account_locked_vm(mm, entries, true);
	if (ret)
		return ret;

	ret = -ENOMEM;
	mem = mm_iommu_alloc(ua, entries);
	if (!mem)
		goto err_account;

	ret = mm_iommu_pin(mem);
	if (ret)
		goto err_free;

	ret = -ENOMEM;
	new = mm_iommu_lock_array(iommu);
	if (!new)
		goto err_unpin;
	ret = mm_iommu_insert(iommu, mem, new, &unused, &dead);
	mutex_unlock(&iommu->lock);
	mm_iommu_release(mm, &dead);

	if (!ret && unused)
		mm_iommu_synchronize(iommu);
	kfree(unused);
	if (ret)
		goto err_unpin;

	*pmem = mem;
	return 0;

err_unpin:
	mm_iommu_unpin(mem, entries);
err_free:
	mm_iommu_free(mem);
err_account:
	account_locked_vm(mm, entries, false);
	return ret;
}

/**
 * mm_iommu_new() - register user memory
 * @mm: current->mm; its locked memory is charged
 * @ua: user address, a multiple of PAGE_SIZE
 * @entries: size in pages of PAGE_SIZE, at least 1; @ua + size does not wrap
 * @pmem: where the new region is stored, with one registration
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM no memory or over the limit of locked memory; -EINVAL
 * nothing to register or overlap with another region; -EFAULT memory that
 * cannot be pinned for writing; -EINTR the process is being killed.
 */
long mm_iommu_new(struct mm_struct *mm, unsigned long ua, unsigned long entries,
		  struct mm_iommu_table_group_mem_t **pmem)
{
	struct mm_iommu *iommu = mm_iommu_of(mm);
	long ret;

	if (!iommu)
		return -ENOMEM;
	if (!entries)
		return -EINVAL;
	if (!access_ok((void __user *)ua, entries << PAGE_SHIFT))
		return -EFAULT;

	ret = mm_iommu_register(iommu, mm, ua, entries, pmem);
	/* Regions that were dropped, and have no translation left, must not count as locked */
	if (ret == -ENOMEM && mm_iommu_reap(mm))
		ret = mm_iommu_register(iommu, mm, ua, entries, pmem);
	/* Nor must they be in anybody's way */
	if (ret == -EBUSY) {
		mm_iommu_recall_dropped(iommu);
		ret = mm_iommu_register(iommu, mm, ua, entries, pmem);
	}

	return ret == -EBUSY ? -EINVAL : ret;
}
EXPORT_SYMBOL_GPL(mm_iommu_new);

/**
 * mm_iommu_get() - register memory that is registered already
 * @mm: address space
 * @ua: user address of the region's first byte
 * @entries: the region's size in pages of PAGE_SIZE
 *
 * Context: may sleep.
 * Return: the region that spans just this range, with one registration more,
 * or NULL when there is none.
 */
struct mm_iommu_table_group_mem_t *mm_iommu_get(struct mm_struct *mm,
						unsigned long ua,
						unsigned long entries)
{
	struct mm_iommu *iommu = mm_iommu_of(mm);
	struct mm_iommu_table_group_mem_t *mem, *ret = NULL;
	struct mm_iommu_regions *regions;

	if (!iommu)
		return NULL;

	mutex_lock(&iommu->lock);
	regions = iommu->regions;
	mem = regions ? regions->slot[mm_iommu_slot_of(regions, ua)].mem : NULL;
	/*
	 * One that was dropped has the pages of then, and the memory may be another by
	 * now: mm_iommu_new() registers it anew, once nothing leads to those pages.
	 */
	if (mem && mem->used && mem->ua == ua && mem->entries == entries) {
		mm_iommu_set_used(mem, mem->used + 1);
		ret = mem;
	}
	mutex_unlock(&iommu->lock);

	return ret;
}
EXPORT_SYMBOL_GPL(mm_iommu_get);

/* End a registration, unless it is the last one and somebody has a count of the region */
static bool mm_iommu_end(struct mm_iommu *iommu, struct mm_iommu_table_group_mem_t *mem,
			 struct llist_head *dead)
{
	lockdep_assert_held(&iommu->lock);

	if (mem->used <= 1)
		return mm_iommu_retire(iommu, mm_iommu_slot_of(iommu->regions, mem->ua),
				       dead);

	mm_iommu_set_used(mem, mem->used - 1);
	return true;
}

/*
 * The same without what readers keep of the region.  Translations may be installed
 * meanwhile, for counts that are taken one by one.
 */
static bool mm_iommu_end_kept(struct mm_iommu *iommu, struct mm_iommu_table_group_mem_t *mem,
			      struct llist_head *dead)
{
	bool done;

	mutex_lock(&iommu->recall_lock);
	mutex_lock(&iommu->lock);
	mm_iommu_set_recalled(mem, true);
	mutex_unlock(&iommu->lock);

	mm_iommu_recall(iommu);

	mutex_lock(&iommu->lock);
	done = mem->used <= 1 && mm_iommu_end(iommu, mem, dead);
	mutex_unlock(&iommu->lock);
	if (done)
		goto out_unlock;

	/* Sections that saw @mem as kept do not see MM_IOMMU_KEEP set again */
	mm_iommu_synchronize(iommu);
	mutex_lock(&iommu->lock);
	mm_iommu_set_recalled(mem, false);
	done = mm_iommu_end(iommu, mem, dead);
	mutex_unlock(&iommu->lock);
out_unlock:
	mutex_unlock(&iommu->recall_lock);
	return done;
}

/**
 * mm_iommu_put() - end a registration, unless the memory is in use
 * @mm: address space
 * @mem: region, with a registration that the caller owns
 *
 * When 0 is returned for the last registration, no device can reach the memory
 * any more, and it is neither pinned nor charged for.
 *
 * Context: may sleep, not in a section; for some grace periods.
 * Return: 0; -EBUSY when this is the last registration and translations still
 * lead to the region, or a hypercall that is under way might have some lead there: the
 * registration stays.
 */
long mm_iommu_put(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem)
{
	struct mm_iommu *iommu = mm->context.iommu;
	LLIST_HEAD(dead);
	bool done;

	mutex_lock(&iommu->lock);
	done = mm_iommu_end(iommu, mem, &dead);
	mutex_unlock(&iommu->lock);
	if (!done)
		done = mm_iommu_end_kept(iommu, mem, &dead);

	mm_iommu_release(mm, &dead);
	return done ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(mm_iommu_put);

/**
 * mm_iommu_drop() - end a registration, in use or not
 * @mm: address space
 * @mem: region, with a registration that the caller owns
 *
 * For the end of a container, which can have hundreds of thousands of regions: they
 * are dropped one by one, and released by one mm_iommu_reap(), in one grace period.
 *
 * Translations in tables of another container of the same mm may still lead to the
 * region.  It takes no new ones then, and is released by the mm_iommu_reap() of that
 * container, when it has closed its tables.
 *
 * Context: may sleep.
 */
void mm_iommu_drop(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem)
{
	struct mm_iommu *iommu = mm->context.iommu;

	mutex_lock(&iommu->lock);
	mm_iommu_set_used(mem, mem->used - 1);
	mutex_unlock(&iommu->lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_drop);

/* Retire what was dropped.  Returns whether there is more of it, of which there are counts */
static bool mm_iommu_retire_dropped(struct mm_iommu *iommu, struct llist_head *dead)
{
	struct mm_iommu_table_group_mem_t *mem;
	bool more = false;
	unsigned int i;

	mutex_lock(&iommu->lock);
	for (i = 0; i < mm_iommu_nr_slots(iommu); ++i) {
		mem = iommu->regions->slot[i].mem;
		if (mem && !mem->used)
			more |= !mm_iommu_retire(iommu, i, dead);
	}
	mutex_unlock(&iommu->lock);
	return more;
}

/**
 * mm_iommu_reap() - release regions that outlived their last registration
 * @mm: address space
 *
 * To be called when translations or registrations have gone for good: a window was
 * removed, a container was released.
 *
 * Context: may sleep.
 * Return: whether there was such a region.
 */
bool mm_iommu_reap(struct mm_struct *mm)
{
	struct mm_iommu *iommu = mm->context.iommu;
	LLIST_HEAD(dead);
	bool found;

	if (!iommu)
		return false;

	if (mm_iommu_retire_dropped(iommu, &dead)) {
		mm_iommu_recall_dropped(iommu);
		mm_iommu_retire_dropped(iommu, &dead);
	}

	found = !llist_empty(&dead);
	mm_iommu_release(mm, &dead);
	return found;
}
EXPORT_SYMBOL_GPL(mm_iommu_reap);

void mm_iommu_init(struct mm_struct *mm)
{
	mm->context.iommu = NULL;
}

/*
 * Memory stays pinned for good if a hypervisor refused to end a translation to it, as a
 * device may reach it.
 */
static void mm_iommu_lose(const struct mm_iommu_table_group_mem_t *mem)
{
	WARN_ON_ONCE(mem->used);
	pr_warn_ratelimited("mm_iommu: %lu pages stay pinned, as the hypervisor refused to take devices off them; restart this machine to have them back\n",
			    (unsigned long)mem->entries);
}

/* When the last reference on the mm goes: whoever registered memory had one */
void mm_iommu_destroy(struct mm_struct *mm)
{
	struct mm_iommu *iommu = mm->context.iommu;
	unsigned int i;

	if (!iommu)
		return;

	WARN_ON_ONCE(!list_empty(&iommu->readers));
	for (i = 0; iommu->regions && i < iommu->regions->nr; ++i)
		if (iommu->regions->slot[i].mem)
			mm_iommu_lose(iommu->regions->slot[i].mem);
	kfree(iommu->regions);
	kfree(iommu);
	mm->context.iommu = NULL;
}
