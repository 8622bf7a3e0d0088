// SPDX-License-Identifier: GPL-2.0-only
/*
 * The functions behind kernel.h: waiting, SRCU, allocation, user memory, files.
 * Each is the smallest that keeps the promise which the TCE code relies on.
 */
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include "kernel.h"

bool windows;
bool trace_on;
__thread int preempt_off;
bool fatal_signal;
bool use_vmalloc;
int fail_alloc;
bool failed_alloc;
long allocated;
struct page user_page[USER_PAGES];
char *user_memory;

void wrong(const char *file, int line, const char *what)
{
	fprintf(stderr, "WRONG at %s:%d: %s\n", file, line, what);
	fflush(stdout);
	abort();
}

void might_sleep(void)
{
	WRONG_IF(preempt_off);
}

/* Give way in one window of 16, and for long in one of 512 */
void window_wait(void)
{
	static __thread uint32_t seed;
	struct timespec ts = { .tv_nsec = 20000 };

	if (!seed)
		seed = (uint32_t)(uintptr_t)&seed | 1;
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	if (!(seed % 512))
		nanosleep(&ts, NULL);
	else if (!(seed % 16))
		sched_yield();
}

/* SRCU: two counters of readers; a grace period empties each of them once */

int srcu_read_lock(struct srcu_struct *srcu)
{
	int idx = __atomic_load_n(&srcu->idx, __ATOMIC_SEQ_CST);

	__atomic_fetch_add(&srcu->readers[idx], 1, __ATOMIC_SEQ_CST);
	window();
	return idx;
}

void srcu_read_unlock(struct srcu_struct *srcu, int idx)
{
	__atomic_fetch_sub(&srcu->readers[idx], 1, __ATOMIC_SEQ_CST);
}

static void srcu_flip(struct srcu_struct *srcu)
{
	int old = srcu->idx;

	__atomic_store_n(&srcu->idx, !old, __ATOMIC_SEQ_CST);
	while (__atomic_fetch_add(&srcu->readers[old], 0, __ATOMIC_SEQ_CST))
		sched_yield();
}

void synchronize_srcu(struct srcu_struct *srcu)
{
	might_sleep();
	pthread_mutex_lock(&srcu->lock);
	srcu_flip(srcu);
	srcu_flip(srcu);
	pthread_mutex_unlock(&srcu->lock);
}

void call_srcu(struct srcu_struct *srcu, struct rcu_head *head,
	       void (*func)(struct rcu_head *head))
{
	pthread_mutex_lock(&srcu->lock);
	head->func = func;
	head->next = srcu->later;
	srcu->later = head;
	pthread_mutex_unlock(&srcu->lock);
}

void srcu_drain(struct srcu_struct *srcu)
{
	struct rcu_head *head, *next;

	pthread_mutex_lock(&srcu->lock);
	head = srcu->later;
	srcu->later = NULL;
	pthread_mutex_unlock(&srcu->lock);
	if (!head)
		return;
	synchronize_srcu(srcu);
	for (; head; head = next) {
		next = head->next;
		head->func(head);
	}
}

/* Allocation */

/* Is this the allocation that shall fail? */
static bool fail_now(void)
{
	if (!fail_alloc || --fail_alloc)
		return false;
	failed_alloc = true;
	return true;
}

void *shim_alloc(size_t size, size_t align, bool zero)
{
	void *p;

	might_sleep();
	if (fail_now())
		return NULL;
	if (posix_memalign(&p, align, size ? size : 1))
		return NULL;
	memset(p, zero ? 0 : 0xa5, size);
	__atomic_fetch_add(&allocated, 1, __ATOMIC_RELAXED);
	return p;
}

void kfree(const void *p)
{
	if (p)
		__atomic_fetch_sub(&allocated, 1, __ATOMIC_RELAXED);
	free((void *)p);
}

void *kvcalloc(size_t n, size_t size, int gfp)
{
	char *p = kzalloc(n * size + 8, gfp);

	return p && use_vmalloc ? p + 8 : p;
}

void kvfree(const void *p)
{
	kfree(is_vmalloc_addr(p) ? (const char *)p - 8 : p);
}

/*
 * User memory.  Neighbours in the address space are no neighbours in memory,
 * but for the huge pages.
 */

static void user_init(void)
{
	const unsigned long huge = 1UL << USER_HUGE_SHIFT;
	unsigned long i, size = 4 * huge;
	char *p;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	WRONG_IF(p == MAP_FAILED);
	user_memory = (char *)(((unsigned long)p + huge - 1) & ~(huge - 1));
	for (i = 0; i < USER_PAGES; ++i)
		user_page[i].shift = i < USER_SMALL ? PAGE_SHIFT : USER_HUGE_SHIFT;
}

struct page *user_find(unsigned long ua)
{
	unsigned long i = (ua - USER_BASE) >> PAGE_SHIFT;

	if (!user_memory)
		user_init();
	if (i < USER_SMALL)
		return &user_page[i];
	i = (ua - USER_HUGE_BASE) >> PAGE_SHIFT;
	return i < USER_HUGE ? &user_page[USER_SMALL + i] : NULL;
}

/* Huge pages come first in memory, then the small ones in an order of their own */
unsigned long page_to_pfn(struct page *page)
{
	unsigned long i = page - user_page;

	i = i < USER_SMALL ? USER_HUGE + i * 5 % USER_SMALL : i - USER_SMALL;
	return (__pa(user_memory) >> PAGE_SHIFT) + i;
}

struct page *pfn_to_page(unsigned long pfn)
{
	unsigned long i = pfn - (__pa(user_memory) >> PAGE_SHIFT);

	WRONG_IF(i >= USER_PAGES);
	/* 77 is the inverse of 5, modulo 96 */
	return &user_page[i < USER_HUGE ? USER_SMALL + i :
			  (i - USER_HUGE) * 77 % USER_SMALL];
}

long pin_user_pages(unsigned long ua, unsigned long nr, unsigned int flags,
		    struct page **pages)
{
	unsigned long i;

	for (i = 0; i < nr; ++i) {
		struct page *page = user_find(ua + (i << PAGE_SHIFT));

		if (!page)
			return i ? (long)i : -EFAULT;
		__atomic_fetch_add(&page->pins, 1, __ATOMIC_SEQ_CST);
		pages[i] = page;
	}
	return nr;
}

void unpin_user_page(struct page *page)
{
	WRONG_IF(__atomic_fetch_sub(&page->pins, 1, __ATOMIC_SEQ_CST) <= 0);
}

void unpin_user_pages_dirty_lock(struct page **pages, unsigned long nr, bool dirty)
{
	unsigned long i;

	for (i = 0; i < nr; ++i) {
		if (dirty)
			SetPageDirty(pages[i]);
		unpin_user_page(pages[i]);
	}
}

int account_locked_vm(struct mm_struct *mm, unsigned long pages, bool inc)
{
	long by = inc ? (long)pages : -(long)pages;

	if (inc && fail_now())
		return -ENOMEM;
	WRONG_IF(__atomic_add_fetch(&mm->locked_vm, by, __ATOMIC_SEQ_CST) < 0);
	return 0;
}

/* Files: few, and used by one thread */

static struct file files[16];

struct fd shim_fd(int fd)
{
	struct file *file = fd >= 0 && fd < 16 ? &files[fd] : NULL;

	return (struct fd){ file && file->f_op ? file : NULL };
}

int anon_inode_getfd(const char *name, const struct file_operations *fops,
		     void *priv, int flags)
{
	int fd;

	for (fd = 0; fd < 16; ++fd) {
		if (files[fd].f_op)
			continue;
		files[fd] = (struct file){ fops, priv };
		return fd;
	}
	return -EMFILE;
}

void shim_close(int fd)
{
	struct file file = files[fd];

	files[fd] = (struct file){};
	file.f_op->release(NULL, &file);
}

/* KVM */

struct kvm_memory_slot *__gfn_to_memslot(struct kvm_memslots *slots, gfn_t gfn)
{
	unsigned int i;

	for (i = 0; i < KVM_SLOTS; ++i) {
		struct kvm_memory_slot *slot = &slots->slot[i];

		if (gfn - slot->base_gfn < slot->npages) {
			__atomic_store_n(&slots->last_used_slot.counter,
					 (long)slot, __ATOMIC_RELEASE);
			return slot;
		}
	}
	return NULL;
}

int kvm_read_guest(struct kvm *kvm, unsigned long gpa, void *to, unsigned long n)
{
	struct kvm_memory_slot *slot;
	struct page *page;
	unsigned long ua;

	might_sleep();
	if (!n)
		return 0;
	slot = __gfn_to_memslot(kvm->memslots[0], gpa >> PAGE_SHIFT);
	if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
		return -EFAULT;
	ua = slot->userspace_addr + gpa - (slot->base_gfn << PAGE_SHIFT);
	page = user_find(ua);
	if (!page)
		return -EFAULT;
	memcpy(to, __va(page_to_phys(page) | (gpa & ~PAGE_MASK)), n);
	return 0;
}

struct iommu_table *iommu_tce_table_get(struct iommu_table *tbl)
{
	__atomic_fetch_add(&tbl->refs, 1, __ATOMIC_SEQ_CST);
	return tbl;
}

void iommu_tce_table_put(struct iommu_table *tbl)
{
	WRONG_IF(__atomic_fetch_sub(&tbl->refs, 1, __ATOMIC_SEQ_CST) <= 0);
}
