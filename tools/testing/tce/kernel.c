// SPDX-License-Identifier: GPL-2.0-only
/*
 * The functions behind kernel.h: waiting, SRCU, allocation, user memory, files.
 * Each is the smallest that keeps the promise which the TCE code relies on.
 */
#include <asm/tce_user.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>

unsigned int checks = ~0U;
bool trace_on;
__thread int preempt_off;
__thread bool in_guest;
__thread struct mm_struct *shim_mm;
__thread unsigned int sections;
__thread struct shim_pmu shim_pmu;
atomic_long_t num_poisoned_pages;
unsigned int most_work;
bool fatal_signal, plain_signal;
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

/* Which checks TCE_CHECKS names, all if it is not there */
__attribute__((constructor)) static void choose_checks(void)
{
	static const char * const name[] = {
		"gather", "count", "wait", "work", "bind", "stale", "pinned",
	};
	const char *chosen = getenv("TCE_CHECKS");
	unsigned int i;

	for (i = 0; chosen && i < ARRAY_SIZE(name); ++i)
		if (!strstr(chosen, name[i]))
			checks &= ~(1U << i);
}

/* How much is done at once */

static __thread unsigned int work, work_limit, locks, foreign, kills, relaxed;
unsigned long shim_asked;

static void work_begin(unsigned int limit)
{
	work = 0;
	work_limit = limit;
	locks = 0;
	foreign = 0;
	relaxed = 0;
	kills = 0;
}

void preempt_disable(void)
{
	if (!preempt_off++)
		work_begin(TCE_USER_PIECE);
}

void preempt_enable(void)
{
	preempt_off--;
}

unsigned int shim_cpu(void)
{
	static unsigned int threads;
	static __thread unsigned int number;

	WRONG_IF(!preempt_off);
	if (!number)
		number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
	return number % SHIM_CPUS;
}

/* A call invalidates each of four tables once there, or some times if it may be long */
void shim_kill(void)
{
	kills++;
	WRONG_IF_CHECKED(CHECK_WORK, in_guest &&
			 kills > (work_limit < TCE_USER_PIECE ? 4 : 4 * 9));
}

/* Nobody may sleep or allocate there */
void shim_enter_guest(unsigned int limit)
{
	preempt_disable();
	work_begin(limit);
	in_guest = true;
}

void shim_exit_guest(void)
{
	in_guest = false;
	preempt_enable();
}

void shim_lock(const void *word)
{
	static __thread u32 turn;

	/* Loads of a look-up that comes later may be done before the exchange */
	if (spots && shim_mm && checks & CHECK_STALE && !(++turn % 4))
		stale_regions(shim_mm);
	spot(SPOT_LOCK, word);
}

void shim_locked(bool locked)
{
	if (!locked)
		return;
	relaxed = 0;
	locks += !!preempt_off;
	WRONG_IF_CHECKED(CHECK_WORK, locks > 2 * work_limit);
}

/* An entry is changed */
void shim_entry(void)
{
	unsigned int most = __atomic_load_n(&most_work, __ATOMIC_RELAXED);

	work += !!preempt_off;
	if (work > most)
		__atomic_store_n(&most_work, work, __ATOMIC_RELAXED);
	WRONG_IF_CHECKED(CHECK_WORK, work > work_limit);
}

/* To clear what it was before the refusal is allowed on top */
void shim_foreign(bool twice, unsigned long listed)
{
	foreign++;
	__atomic_fetch_add(&shim_asked, 1, __ATOMIC_RELAXED);
	WRONG_IF_CHECKED(CHECK_WORK, preempt_off &&
			 foreign > (twice ? 2 : 1) * TCE_USER_FOREIGN + 2 * listed);
}

void shim_relax(void)
{
	relaxed++;
	/* The short ways, and the long one, look at an entry so often each */
	WRONG_IF_CHECKED(CHECK_WAIT, in_guest && relaxed > 3 * TCE_USER_SPINS);
	spot_wait();
}

/* Others wait for a section, so nobody waits for them within */
void usleep_range(unsigned long from, unsigned long to)
{
	might_sleep();
	WRONG_IF(sections);
	spot_wait();
}

void mutex_lock(struct mutex *mutex)
{
	if (spots)
		while (pthread_mutex_trylock(&mutex->lock))
			spot_wait();
	else
		pthread_mutex_lock(&mutex->lock);
	stale_drop();
}

/* SRCU: two counters of readers; a grace period empties each of them once */

int srcu_read_lock(struct srcu_struct *srcu)
{
	int idx = __atomic_load_n(&srcu->idx, __ATOMIC_SEQ_CST);

	__atomic_fetch_add(&srcu->readers[idx], 1, __ATOMIC_SEQ_CST);
	stale_drop();
	spot(SPOT_ENTER, srcu);
	return idx;
}

void srcu_read_unlock(struct srcu_struct *srcu, int idx)
{
	spot(SPOT_LEAVE, srcu);
	stale_drop();
	__atomic_fetch_sub(&srcu->readers[idx], 1, __ATOMIC_SEQ_CST);
}

static void srcu_flip(struct srcu_struct *srcu)
{
	int old = srcu->idx;

	__atomic_store_n(&srcu->idx, !old, __ATOMIC_SEQ_CST);
	while (__atomic_fetch_add(&srcu->readers[old], 0, __ATOMIC_SEQ_CST))
		spot_wait();
}

void synchronize_srcu(struct srcu_struct *srcu)
{
	might_sleep();
	mutex_lock(&srcu->one);
	srcu_flip(srcu);
	srcu_flip(srcu);
	mutex_unlock(&srcu->one);
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

struct srcu_struct shim_rcu = SRCU_INIT;
static __thread int rcu_idx;

void rcu_read_lock(void)
{
	rcu_idx = srcu_read_lock(&shim_rcu);
}

void rcu_read_unlock(void)
{
	srcu_read_unlock(&shim_rcu, rcu_idx);
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
	if (!p)
		return;
	__atomic_fetch_sub(&allocated, 1, __ATOMIC_RELAXED);
	memset((void *)p, 0x5a, malloc_usable_size((void *)p));
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

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TCE_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define TCE_ASAN
#endif
#ifdef TCE_ASAN
#include <sanitizer/asan_interface.h>
#else
static void ASAN_POISON_MEMORY_REGION(const void *p, size_t n) {}
static void ASAN_UNPOISON_MEMORY_REGION(const void *p, size_t n) {}
#endif

__thread unsigned long shim_timebase;

noinline __no_sanitize_address void user_store(u64 *word, u64 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static noinline __no_sanitize_address void
user_read(u64 *to, const u64 *from, unsigned long n)
{
	while (n--)
		*to++ = __atomic_load_n(from++, __ATOMIC_RELAXED);
}

/* Pins of a page, and whether AddressSanitizer lets the kernel look at it */
static pthread_mutex_t pins_lock = PTHREAD_MUTEX_INITIALIZER;

static void pin(struct page *page, int by)
{
	int pins;

	pthread_mutex_lock(&pins_lock);
	pins = page->pins + by;
	WRONG_IF(pins < 0);
	WRITE_ONCE(page->pins, pins);
	if (!pins)
		ASAN_POISON_MEMORY_REGION(__va(page_to_phys(page)), PAGE_SIZE);
	else if (pins == by)
		ASAN_UNPOISON_MEMORY_REGION(__va(page_to_phys(page)), PAGE_SIZE);
	pthread_mutex_unlock(&pins_lock);
}

long pin_user_pages_unlocked(unsigned long ua, unsigned long nr, struct page **pages,
			     unsigned int flags)
{
	unsigned long i;

	might_sleep();
	for (i = 0; i < nr; ++i) {
		struct page *page = user_find(ua + (i << PAGE_SHIFT));

		if (!page)
			return i ? (long)i : -EFAULT;
		pin(page, 1);
		pages[i] = page;
	}
	return nr;
}

void unpin_user_page(struct page *page)
{
	pin(page, -1);
}

void unpin_user_pages(struct page **pages, unsigned long nr)
{
	while (nr--)
		unpin_user_page(pages[nr]);
}

void user_poison(struct page *page, bool to)
{
	page->poisoned = to;
	num_poisoned_pages.counter += to ? 1 : -1;
}

int account_locked_vm(struct mm_struct *mm, unsigned long pages, bool inc)
{
	long by = inc ? (long)pages : -(long)pages;

	if (inc && fail_now())
		return -ENOMEM;
	WRONG_IF(__atomic_add_fetch(&mm->locked_vm, by, __ATOMIC_SEQ_CST) < 0);
	return 0;
}

/* Files: few.  A file lives as long as its descriptor, and who looks at it. */

#define FILES	16

static struct file *files[FILES];
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

struct fd shim_fd(int fd)
{
	struct file *file = NULL;

	pthread_mutex_lock(&files_lock);
	if (fd >= 0 && fd < FILES)
		file = files[fd];
	if (file)
		file->refs++;
	pthread_mutex_unlock(&files_lock);
	return (struct fd){ file };
}

void shim_fdput(struct fd *fd)
{
	bool last;

	if (!fd->file)
		return;
	pthread_mutex_lock(&files_lock);
	last = !--fd->file->refs;
	pthread_mutex_unlock(&files_lock);
	if (!last)
		return;
	fd->file->f_op->release(NULL, fd->file);
	kfree(fd->file);
}

int anon_inode_getfd(const char *name, const struct file_operations *fops,
		     void *priv, int flags)
{
	struct file *file = malloc(sizeof(*file));
	int fd;

	WRONG_IF(!file);
	*file = (struct file){ fops, priv, 1 };
	__atomic_fetch_add(&allocated, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&files_lock);
	for (fd = 0; fd < FILES && files[fd]; ++fd)
		;
	WRONG_IF(fd == FILES);
	files[fd] = file;
	pthread_mutex_unlock(&files_lock);
	return fd;
}

void shim_close(int fd)
{
	struct fd file;

	pthread_mutex_lock(&files_lock);
	file.file = files[fd];
	files[fd] = NULL;
	pthread_mutex_unlock(&files_lock);
	shim_fdput(&file);
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
	slot = __gfn_to_memslot(READ_ONCE(kvm->memslots[0]), gpa >> PAGE_SHIFT);
	if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
		return -EFAULT;
	ua = slot->userspace_addr + gpa - (slot->base_gfn << PAGE_SHIFT);
	page = user_find(ua);
	if (!page || page->poisoned)
		return -EFAULT;
	user_read(to, __va(page_to_phys(page) | (gpa & ~PAGE_MASK)), n / sizeof(u64));
	return 0;
}

struct iommu_table *iommu_tce_table_get(struct iommu_table *tbl)
{
	long refs = __atomic_load_n(&tbl->refs, __ATOMIC_RELAXED);

	while (refs)
		if (__atomic_compare_exchange_n(&tbl->refs, &refs, refs + 1, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return tbl;
	return NULL;
}

void iommu_tce_table_put(struct iommu_table *tbl)
{
	long left = __atomic_sub_fetch(&tbl->refs, 1, __ATOMIC_SEQ_CST);

	WRONG_IF(left < 0);
	if (!left)
		world_free_table(tbl);
}
