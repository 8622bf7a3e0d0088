// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preregistered memory of a user address space: registering, unregistering and
 * accounting.  What a region is, how it is found and how long it lives is told
 * in asm/mm_iommu.h.
 *
 * Invariants:
 *
 *  - The array that mm->context.iommu_regions points to is sorted and free of
 *    overlaps; it changes under mm_iommu_lock only.  An array once published
 *    is changed in a single way: a slot's @mem becomes NULL.
 *
 *  - A region that is in an array has @mapped >= 1.  @mapped reaches 0 once,
 *    under mm_iommu_lock, by a compare-and-exchange from 1, and the slot is
 *    emptied at once.  So a reader that finds a region may fail to raise
 *    @mapped, but never raises it on memory that is being unpinned.
 *
 *  - Unregistering does not fail for want of memory.
 *
 *  - Pages are unpinned after a grace period of iommu_user_srcu, not before:
 *    a hypercall in guest context may still be looking at the page list.  No
 *    device can reach them by then, as @mapped was 1.
 *
 *  - Locked memory is charged for a region once per mm, however many
 *    containers register it.
 */

#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/mm_iommu.h>

static DEFINE_MUTEX(mm_iommu_lock);

static unsigned long mm_iommu_nr_chunks(unsigned long entries)
{
	return DIV_ROUND_UP(entries, MM_IOMMU_CHUNK_SIZE);
}

/**
 * mm_iommu_preregistered() - does an address space have registered regions
 * @mm: address space
 *
 * Context: any; the answer is a snapshot.
 * Return: true when there is at least one region.
 */
bool mm_iommu_preregistered(struct mm_struct *mm)
{
	return READ_ONCE(mm->context.iommu_regions);
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
	}
}

static void mm_iommu_free(struct mm_iommu_table_group_mem_t *mem)
{
	unsigned long i, nr = mm_iommu_nr_chunks(mem->entries);

	for (i = 0; i < nr && mem->chunks[i]; ++i)
		free_page((unsigned long)mem->chunks[i]);
	kvfree(mem->chunks);
	kfree(mem);
}

static void mm_iommu_free_srcu(struct rcu_head *head)
{
	struct mm_iommu_table_group_mem_t *mem =
		container_of(head, struct mm_iommu_table_group_mem_t, rcu);

	mm_iommu_unpin(mem, mem->entries);
	mm_iommu_free(mem);
}

static void mm_iommu_regions_free_srcu(struct rcu_head *head)
{
	kfree(container_of(head, struct mm_iommu_regions, rcu));
}

/* A region that nobody has registered any more takes no new translations */
static void mm_iommu_set_used(struct mm_iommu_table_group_mem_t *mem,
			      unsigned long used)
{
	unsigned int open = MM_IOMMU_OPEN;

	if (!is_vmalloc_addr(mem->chunks))
		open |= MM_IOMMU_OPEN_REAL;

	mem->used = used;
	/* Pairs with READ_ONCE() in iommu_user_open_region() */
	WRITE_ONCE(mem->open, used ? open : 0);
}

/*
 * Chunks come with the pages that are pinned: whoever asks for more memory than
 * there is gets no page list of that size.
 */
static struct mm_iommu_table_group_mem_t *
mm_iommu_alloc(unsigned long ua, unsigned long entries)
{
	struct mm_iommu_table_group_mem_t *mem;

	mem = kzalloc(sizeof(*mem), GFP_KERNEL);
	if (!mem)
		return NULL;

	mem->ua = ua;
	mem->entries = entries;
	atomic64_set(&mem->mapped, 1);

	mem->chunks = kvcalloc(mm_iommu_nr_chunks(entries),
			       sizeof(mem->chunks[0]),
			       GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
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
	u64 *hpas = (u64 *)__get_free_page(GFP_KERNEL);
	unsigned long ua = mem->ua + (first << PAGE_SHIFT);
	struct page **pages = (struct page **)hpas;
	long i, pinned;

	BUILD_BUG_ON(sizeof(*pages) != sizeof(*hpas));

	if (!hpas)
		return -ENOMEM;
	mem->chunks[first >> MM_IOMMU_CHUNK_SHIFT] = hpas;

	pinned = pin_user_pages(ua, nr, FOLL_WRITE | FOLL_LONGTERM, pages);

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

static long mm_iommu_pin(struct mm_struct *mm,
			 struct mm_iommu_table_group_mem_t *mem)
{
	unsigned long done = 0;
	long ret = 0;

	/* Natural alignment is the most that an IOMMU page can use */
	mem->pageshift = __ffs(mem->ua | (mem->entries << PAGE_SHIFT));

	mmap_read_lock(mm);
	while (done < mem->entries) {
		unsigned long nr = min(mem->entries - done, MM_IOMMU_CHUNK_SIZE);

		ret = mm_iommu_pin_chunk(mem, done, nr);
		if (ret > 0)
			done += ret;
		if (ret != nr)
			break;
	}
	mmap_read_unlock(mm);

	if (done == mem->entries)
		return 0;

	mm_iommu_unpin(mem, done);
	return ret < 0 ? ret : -EFAULT;
}

static void mm_iommu_publish(struct mm_struct *mm, struct mm_iommu_regions *new)
{
	struct mm_iommu_regions *old = mm->context.iommu_regions;

	lockdep_assert_held(&mm_iommu_lock);

	/* Pairs with the dependency from READ_ONCE() in mm_iommu_find() */
	smp_store_release(&mm->context.iommu_regions, new);
	if (old)
		call_srcu(&iommu_user_srcu, &old->rcu,
			  mm_iommu_regions_free_srcu);
}

/* Publish the regions of the mm and @mem in a new array without empty slots */
static long mm_iommu_insert(struct mm_struct *mm,
			    struct mm_iommu_table_group_mem_t *mem)
{
	struct mm_iommu_regions *old = mm->context.iommu_regions, *new;
	const struct mm_iommu_slot slot = {
		.ua = mem->ua,
		.size = mem->entries << PAGE_SHIFT,
		.mem = mem,
	};
	unsigned int i, n = old ? old->nr : 0;
	bool placed = false;

	lockdep_assert_held(&mm_iommu_lock);

	new = kmalloc(struct_size(new, slot, n + 1), GFP_KERNEL);
	if (!new)
		return -ENOMEM;

	new->nr = n + 1;
	n = 0;
	for (i = 0; old && i < old->nr; ++i) {
		const struct mm_iommu_slot *s = &old->slot[i];

		if (!s->mem)
			continue;
		if (s->ua < slot.ua + slot.size && slot.ua < s->ua + s->size) {
			kfree(new);
			return -EINVAL;
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

	mm_iommu_publish(mm, new);
	return 0;
}

/**
 * mm_iommu_new() - register user memory
 * @mm: address space, normally current->mm; its locked memory is charged
 * @ua: user address, a multiple of PAGE_SIZE
 * @entries: size in pages of PAGE_SIZE, at least 1; @ua + size does not wrap
 * @pmem: where the new region is stored, with one registration
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM no memory or over the limit of locked memory; -EINVAL
 * nothing to register or overlap with another region; -EFAULT memory that
 * cannot be pinned for writing.
 */
long mm_iommu_new(struct mm_struct *mm, unsigned long ua, unsigned long entries,
		  struct mm_iommu_table_group_mem_t **pmem)
{
	struct mm_iommu_table_group_mem_t *mem;
	long ret;

	if (!entries)
		return -EINVAL;
	if (!access_ok((void __user *)ua, entries << PAGE_SHIFT))
		return -EFAULT;

	ret = account_locked_vm(mm, entries, true);
	if (ret)
		return ret;

	ret = -ENOMEM;
	mem = mm_iommu_alloc(ua, entries);
	if (!mem)
		goto err_account;

	ret = mm_iommu_pin(mm, mem);
	if (ret)
		goto err_free;

	mutex_lock(&mm_iommu_lock);
	ret = mm_iommu_insert(mm, mem);
	mutex_unlock(&mm_iommu_lock);
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
	struct mm_iommu_regions *regions;
	struct mm_iommu_table_group_mem_t *mem, *ret = NULL;
	unsigned int i;

	mutex_lock(&mm_iommu_lock);
	regions = mm->context.iommu_regions;
	for (i = 0; regions && i < regions->nr; ++i) {
		mem = regions->slot[i].mem;
		if (mem && mem->ua == ua && mem->entries == entries) {
			mm_iommu_set_used(mem, mem->used + 1);
			ret = mem;
			break;
		}
	}
	mutex_unlock(&mm_iommu_lock);

	return ret;
}
EXPORT_SYMBOL_GPL(mm_iommu_get);

/*
 * Take the region in slot @at out of the array and give its pages back, unless
 * a translation leads to it.  Returns false in that case.
 */
static bool mm_iommu_retire(struct mm_struct *mm, unsigned int at)
{
	struct mm_iommu_regions *regions = mm->context.iommu_regions;
	struct mm_iommu_table_group_mem_t *mem = regions->slot[at].mem;
	unsigned int i;

	lockdep_assert_held(&mm_iommu_lock);

	/*
	 * Pairs with the full barrier of iommu_user_put(): who sees 1 here also
	 * sees that the invalidations before the last decrement are complete.
	 * From 0 on iommu_user_reserve() fails.
	 */
	if (atomic64_cmpxchg(&mem->mapped, 1, 0) != 1)
		return false;

	WRITE_ONCE(regions->slot[at].mem, NULL);
	account_locked_vm(mm, mem->entries, false);
	call_srcu(&iommu_user_srcu, &mem->rcu, mm_iommu_free_srcu);

	for (i = 0; i < regions->nr; ++i)
		if (regions->slot[i].mem)
			return true;

	mm_iommu_publish(mm, NULL);
	return true;
}

static unsigned int mm_iommu_slot_of(struct mm_struct *mm,
				     struct mm_iommu_table_group_mem_t *mem)
{
	struct mm_iommu_regions *regions = mm->context.iommu_regions;
	unsigned int i = 0;

	lockdep_assert_held(&mm_iommu_lock);

	while (regions->slot[i].mem != mem)
		i++;
	return i;
}

/**
 * mm_iommu_put() - end a registration, unless the memory is in use
 * @mm: address space
 * @mem: region, with a registration that the caller owns
 *
 * When 0 is returned for the last registration, no device can reach the memory
 * any more.
 *
 * Context: may sleep.
 * Return: 0; -EBUSY when this is the last registration and translations still
 * lead to the region: the registration stays.
 */
long mm_iommu_put(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem)
{
	long ret = 0;

	mutex_lock(&mm_iommu_lock);
	if (mem->used > 1)
		mm_iommu_set_used(mem, mem->used - 1);
	else if (!mm_iommu_retire(mm, mm_iommu_slot_of(mm, mem)))
		ret = -EBUSY;
	mutex_unlock(&mm_iommu_lock);

	return ret;
}
EXPORT_SYMBOL_GPL(mm_iommu_put);

/**
 * mm_iommu_drop() - end a registration, in use or not
 * @mm: address space
 * @mem: region, with a registration that the caller owns
 *
 * For the end of a container.  Translations in tables of another container of
 * the same mm may still lead to the region.  It takes no new ones then, and is
 * released by mm_iommu_reap() when that container has closed its tables.
 *
 * Context: may sleep.
 */
void mm_iommu_drop(struct mm_struct *mm, struct mm_iommu_table_group_mem_t *mem)
{
	mutex_lock(&mm_iommu_lock);
	mm_iommu_set_used(mem, mem->used - 1);
	if (!mem->used)
		mm_iommu_retire(mm, mm_iommu_slot_of(mm, mem));
	mutex_unlock(&mm_iommu_lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_drop);

/**
 * mm_iommu_reap() - release regions that outlived their last registration
 * @mm: address space
 *
 * To be called when translations have gone for good: a window was removed, a
 * container was released.
 *
 * Context: may sleep.
 */
void mm_iommu_reap(struct mm_struct *mm)
{
	struct mm_iommu_regions *regions;
	unsigned int i;

	mutex_lock(&mm_iommu_lock);
	regions = mm->context.iommu_regions;
	for (i = 0; regions && i < regions->nr; ++i) {
		if (!regions->slot[i].mem || regions->slot[i].mem->used)
			continue;
		mm_iommu_retire(mm, i);
		/* The array is gone when that was its last region */
		regions = mm->context.iommu_regions;
	}
	mutex_unlock(&mm_iommu_lock);
}
EXPORT_SYMBOL_GPL(mm_iommu_reap);

void mm_iommu_init(struct mm_struct *mm)
{
	mm->context.iommu_regions = NULL;
}
