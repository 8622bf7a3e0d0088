/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the TCE code uses of the kernel, for a program on the build machine.
 *
 * Every kernel header that the sources name leads here (see the Makefile).  What
 * is offered are primitives, not policy:
 *
 *  - Memory.  A physical address is an address of this program, so __va() does
 *    nothing.  User memory is an array of pages with pins; allocations can be
 *    made to fail.
 *
 *  - Order.  The kernel relies on address dependencies, which C11 and
 *    ThreadSanitizer do not know; a READ_ONCE() of a pointer or word is an
 *    acquire here, and nothing else is stronger than the kernel has it, but for
 *    atomics that stand next to an mb().
 *
 *    A CPU that does a load early is played on top of that (stale.h).
 *
 *  - Spots.  spot() stands in every primitive where another CPU may come in
 *    between (spot.h).
 *
 *  - SRCU with true grace periods: what call_srcu() is given is done no earlier
 *    than it may be, by srcu_drain().  RCU is one more of them.  Sections of
 *    asm/mm_iommu.h are of the code under test.
 *
 *  - Freed memory says so: it is overwritten, on top of what sanitizers do.  For
 *    AddressSanitizer a page of user memory that nobody has pinned is freed, too.
 *
 * With TCE_NO_LOCK the lock of a line is always free: a build that must fail.
 */
#ifndef TCE_KERNEL_H
#define TCE_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constants.h"
#include "spot.h"
#include "stale.h"

/* Compiler */

#undef READ_ONCE
#undef WRITE_ONCE
#undef BUILD_BUG_ON
#undef noinline
#define noinline		__attribute__((noinline))
#define __no_sanitize_address	__attribute__((no_sanitize("address")))
#undef __maybe_unused
#define __maybe_unused		__attribute__((unused))
#undef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#define __counted_by(n)
#define __uninitialized
#define EXPORT_SYMBOL_GPL(name)	extern int exported_##name
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define IS_ENABLED(option)	1
#define CONFIG_MEMORY_FAILURE	1
#undef WARN_ON_ONCE
#define WARN_ON_ONCE(cond)	({ WRONG_IF(cond); false; })
#define pr_warn_ratelimited(format, ...)	fprintf(stderr, format, __VA_ARGS__)

/* Trace events, which go nowhere, but are made while @trace_on */

extern bool trace_on;

#define PARAMS(args...)		args
#define TP_PROTO(args...)	args
#define DECLARE_EVENT_CLASS(name, ...)
#define DEFINE_EVENT(class, name, proto, args) \
	static inline void trace_##name(proto) { } \
	static inline bool trace_##name##_enabled(void) { return trace_on; }
#define TRACE_EVENT(name, proto, args, ...) \
	DEFINE_EVENT(, name, PARAMS(proto), )

/* Numbers */

#undef BIT
#define BIT(n)			(1UL << (n))
#undef SZ_4K
#define SZ_4K			0x1000
#define ilog2(n)		(63 - __builtin_clzl(n))
#undef __ffs
#define __ffs(n)		((unsigned long)__builtin_ctzl(n))
#undef ALIGN
#define ALIGN(x, a) \
	({ unsigned long _less = (a) - 1; ((x) + _less) & ~_less; })
#undef min3
#define min3(a, b, c)		min(min(a, b), c)
#define struct_size(p, member, n) \
	(sizeof(*(p)) + sizeof((p)->member[0]) * (n))
#undef ULLONG_MAX
#define ULLONG_MAX		(~0ULL)

typedef uint64_t gfn_t;
typedef unsigned int vm_fault_t;

#ifndef cpu_to_be64
/* Whoever changes an entry swaps its word */
void shim_entry(void);
#define cpu_to_be64(x)		(shim_entry(), __builtin_bswap64(x))
#define be64_to_cpu(x)		__builtin_bswap64(x)
#endif

/* A finding is the end of the program: the sequence is in a file by then */
void wrong(const char *file, int line, const char *what) __attribute__((noreturn));
#define WRONG_IF(cond)		do { if (cond) wrong(__FILE__, __LINE__, #cond); } while (0)

/* What is looked at on top of what everything leads to; TCE_CHECKS=names chooses */
#define CHECK_GATHER	1U	/* gather: a gather counts the regions that it holds */
#define CHECK_COUNT	2U	/* count: only counts that are there are dropped */
#define CHECK_WAIT	4U	/* wait: guest context does not wait for long */
#define CHECK_WORK	8U	/* work: how much is done at once */
#define CHECK_BIND	16U	/* bind: what is in force in a table just bound */
#define CHECK_STALE	32U	/* stale: CPUs do loads early */
#define CHECK_PINNED	64U	/* pinned: a table bound is closed, and opened for pinned pages */

extern unsigned int checks;
#define WRONG_IF_CHECKED(check, cond)	WRONG_IF(checks & (check) && (cond))

/* Words that several CPUs use */

/* Nothing is reached through it_mm, so it gives no order */
#define READ_ONCE(x) \
	({ \
		__auto_type _v = __atomic_load_n(&(x), __builtin_strstr(#x, "it_mm") ? \
						 __ATOMIC_RELAXED : __ATOMIC_ACQUIRE); \
		if (stale_nr) \
			stale_load(&(x), &_v, sizeof(_v)); \
		spot(SPOT_LOAD, &(x)); \
		_v; \
	})
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
#define smp_load_acquire(p) \
	({ __auto_type _v = __atomic_load_n(p, __ATOMIC_ACQUIRE); stale_drop(); _v; })
#define smp_store_release(p, v) \
	do { \
		spot(SPOT_STORE, p); \
		__atomic_store_n(p, v, __ATOMIC_RELEASE); \
		spot(SPOT_STORE, p); \
	} while (0)
#define smp_acquire__after_ctrl_dep()	stale_drop()
#define rcu_dereference_raw(p)	READ_ONCE(p)
#define cpu_relax()		shim_relax()
#define mb() \
	do { \
		__atomic_thread_fence(__ATOMIC_SEQ_CST); \
		stale_drop(); \
		spot(SPOT_BARRIER, NULL); \
	} while (0)
#define smp_mb()		mb()
#define smp_rmb()		smp_acquire__after_ctrl_dep()

#undef cmpxchg
#define cmpxchg(p, old, new) \
	({ \
		typeof(*(p)) _old = (old); \
		__atomic_compare_exchange_n(p, &_old, new, false, \
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		_old; \
	})

/* Whose regions this thread looks up early, NULL for none */
extern __thread struct mm_struct *shim_mm;
void shim_relax(void);
/* A line is about to be locked; it was, or not */
void shim_lock(const void *word);
void shim_locked(bool locked);

typedef struct { s64 counter; } atomic64_t;

/* Only the lock of a line is taken so */
static inline s64 atomic64_fetch_or_relaxed(s64 bits, atomic64_t *v)
{
	s64 old;

	shim_lock(v);
#ifdef TCE_NO_LOCK
	old = __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE) & ~bits;
#else
	old = __atomic_fetch_or(&v->counter, bits, __ATOMIC_ACQUIRE);
	shim_locked(!(old & bits));
#endif
	return old;
}

struct tce_long { long counter; };

#define atomic_long_t		struct tce_long

#define atomic_long_read(v)	__atomic_load_n(&(v)->counter, __ATOMIC_ACQUIRE)

static inline s64 atomic64_read(const atomic64_t *v)
{
	spot(SPOT_COUNT, v);
	return __atomic_load_n(&v->counter, __ATOMIC_RELAXED);
}

static inline void atomic64_set(atomic64_t *v, s64 n)
{
	__atomic_store_n(&v->counter, n, __ATOMIC_RELAXED);
}

/* Only regions are counted so.  Whoever counts or drops has found one of 1 or more. */
static inline void atomic64_sub(s64 n, atomic64_t *v)
{
	s64 left = __atomic_sub_fetch(&v->counter, n, __ATOMIC_SEQ_CST);

	WRONG_IF_CHECKED(CHECK_COUNT, left < 1);
	spot(SPOT_UNCOUNT, v);
}

#define atomic64_dec(v)		atomic64_sub(1, v)

static inline bool atomic64_try_cmpxchg_relaxed(atomic64_t *v, s64 *old, s64 new)
{
	spot(SPOT_COUNT, v);
	WRONG_IF_CHECKED(CHECK_COUNT, *old < 1);
	return __atomic_compare_exchange_n(&v->counter, old, new, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline s64 atomic64_cmpxchg(atomic64_t *v, s64 old, s64 new)
{
	spot(SPOT_COUNT, v);
	__atomic_compare_exchange_n(&v->counter, &old, new, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	stale_drop();
	return old;
}

/* Locks, preemption, time */

struct mutex { pthread_mutex_t lock; };

#define DEFINE_MUTEX(name)	struct mutex name = { PTHREAD_MUTEX_INITIALIZER }
#define mutex_init(m)		pthread_mutex_init(&(m)->lock, NULL)
#define mutex_destroy(m)	pthread_mutex_destroy(&(m)->lock)
void mutex_lock(struct mutex *mutex);
#define mutex_lock_interruptible(m)	({ mutex_lock(m); 0; })
#define mutex_trylock(m)	(!pthread_mutex_trylock(&(m)->lock))
#define mutex_unlock(m)		((void)pthread_mutex_unlock(&(m)->lock))
#define lockdep_assert_preemption_disabled()	WRONG_IF(!preempt_off)
#undef lockdep_assert_held
#define lockdep_assert_held(m)	WRONG_IF(mutex_trylock((struct mutex *)(m)))

/* A thread is a CPU; of those that run at the same time there are fewer than these */
#define SHIM_CPUS		64
unsigned int shim_cpu(void);
#define DECLARE_PER_CPU(type, name)	extern type name[SHIM_CPUS]
#define DEFINE_PER_CPU(type, name)	type name[SHIM_CPUS]
#define EXPORT_PER_CPU_SYMBOL_GPL(name)	extern int shim_export
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < SHIM_CPUS; ++(cpu))
#define per_cpu(name, cpu)		name[cpu]
#define this_cpu_read(name)		name[shim_cpu()]

extern __thread int preempt_off;
void preempt_disable(void);
void preempt_enable(void);
void might_sleep(void);
#define cond_resched()		might_sleep()
void usleep_range(unsigned long from, unsigned long to);
/* No time passes but what is waited for */
extern __thread unsigned long shim_timebase;
#define tb_ticks_per_usec	1
#define get_tb()		shim_timebase
static inline void udelay(unsigned long us) { shim_timebase += us; }
extern bool fatal_signal, plain_signal;
#define fatal_signal_pending(task)	fatal_signal
#define signal_pending(task)		(fatal_signal || plain_signal)
#define kick_all_cpus_sync()	do { } while (0)

/*
 * Guest context, where a call changes up to @limit hardware entries of all tables
 * together; virtual mode does so with preemption off.
 */
extern __thread bool in_guest;
void shim_enter_guest(unsigned int limit);
/* A table is invalidated */
void shim_kill(void);
void shim_exit_guest(void);
/* Hardware entries that were changed at once, at most */
extern unsigned int most_work;
/*
 * A hypervisor is asked to change an entry; @twice if it has refused some already, and
 * so many of them in lists, about each of which it may be asked alone
 */
void shim_foreign(bool twice, unsigned long listed);
extern unsigned long shim_asked;	/* how often */

/* The PMU's control registers */
extern __thread struct shim_pmu {
	unsigned long mmcr0, mmcr2, mmcra, mmcrs;
} shim_pmu;
#define SPRN_MMCR0		shim_pmu.mmcr0
#define SPRN_MMCR2		shim_pmu.mmcr2
#define SPRN_MMCRA		shim_pmu.mmcra
#define SPRN_MMCRS		shim_pmu.mmcrs
#define MMCR0_FC		0x80000000UL
#define MMCR0_PMXE		0x04000000UL
#define MMCR0_PMCC		0x000c0000UL
#define MMCR0_PMAO		0x00000080UL
#define mfspr(spr)		(spr)
#define mtspr(spr, value)	((void)((spr) = (value)))
#define isync()			barrier()

/* SRCU */

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

struct srcu_struct {
	pthread_mutex_t lock;
	struct mutex one;	/* who waits for a grace period */
	long readers[2];
	int idx;
	struct rcu_head *later;
};

#define SRCU_INIT \
	{ .lock = PTHREAD_MUTEX_INITIALIZER, .one = { PTHREAD_MUTEX_INITIALIZER } }
#define DEFINE_SRCU(name)	struct srcu_struct name = SRCU_INIT
int srcu_read_lock(struct srcu_struct *srcu);
void srcu_read_unlock(struct srcu_struct *srcu, int idx);
void synchronize_srcu(struct srcu_struct *srcu);
void call_srcu(struct srcu_struct *srcu, struct rcu_head *head,
	       void (*func)(struct rcu_head *head));
void srcu_drain(struct srcu_struct *srcu);

extern struct srcu_struct shim_rcu;
void rcu_read_lock(void);
void rcu_read_unlock(void);

#ifndef list_entry_is_head
#define list_entry_is_head(pos, head, member)	(&(pos)->member == (head))
#endif
#define list_add_tail_rcu(new, head) \
	do { \
		struct list_head *_n = (new), *_h = (head); \
		_n->next = _h; \
		_n->prev = _h->prev; \
		__atomic_store_n(&_h->prev->next, _n, __ATOMIC_RELEASE); \
		_h->prev = _n; \
	} while (0)
#define list_del_rcu(entry) \
	do { \
		struct list_head *_e = (entry); \
		_e->next->prev = _e->prev; \
		__atomic_store_n(&_e->prev->next, _e->next, __ATOMIC_RELEASE); \
	} while (0)
struct llist_node { struct llist_node *next; };
struct llist_head { struct llist_node *first; };
#define LLIST_HEAD(name)	struct llist_head name = {}
#define llist_empty(head)	(!(head)->first)
#define llist_entry(n, type, member) \
	((n) ? container_of(n, type, member) : NULL)
#define llist_for_each_entry_safe(pos, n, node, member) \
	for (pos = llist_entry(node, typeof(*pos), member); \
	     pos && (n = llist_entry(pos->member.next, typeof(*n), member), true); \
	     pos = n)
#define __llist_add(new, head) \
	do { (new)->next = (head)->first; (head)->first = (new); } while (0)
#define hlist_add_head_rcu(node, head) \
	do { \
		struct hlist_node *_n = (node); \
		struct hlist_head *_h = (head); \
		_n->next = _h->first; \
		_n->pprev = &_h->first; \
		if (_h->first) \
			_h->first->pprev = &_n->next; \
		__atomic_store_n(&_h->first, _n, __ATOMIC_RELEASE); \
	} while (0)
#define hlist_del_rcu(node) \
	do { \
		struct hlist_node *_n = (node); \
		__atomic_store_n(_n->pprev, _n->next, __ATOMIC_RELEASE); \
		if (_n->next) \
			_n->next->pprev = _n->pprev; \
	} while (0)

/* Allocation: the one that brings @fail_alloc to 0 fails */

extern int fail_alloc;
extern bool failed_alloc;
extern long allocated;

#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define __GFP_NOWARN		0
#define __GFP_RETRY_MAYFAIL	0
void *shim_alloc(size_t size, size_t align, bool zero);
void kfree(const void *p);
#define kmalloc(size, gfp)	shim_alloc(size, 16, false)
#define kzalloc(size, gfp)	shim_alloc(size, 16, true)
#define array_index_nospec(i, n)	((i) < (n) ? (i) : 0)
#define kmalloc_array(n, s, g)	kmalloc((n) * (s), g)
void *kvcalloc(size_t n, size_t size, int gfp);
void kvfree(const void *p);
/* Lists for a hypervisor, which stay: those of a power of two are aligned to it */
#define cpu_to_node(cpu)	0
#define kmalloc_node(size, gfp, node)	aligned_alloc(size, size)
#define __get_free_page(gfp)	((unsigned long)shim_alloc(PAGE_SIZE, PAGE_SIZE, false))
#define get_zeroed_page(gfp)	((unsigned long)shim_alloc(PAGE_SIZE, PAGE_SIZE, true))
#define free_page(addr)		kfree((void *)(addr))

/* What comes of kvcalloc() while @use_vmalloc lies 8 bytes off, to be told */
extern bool use_vmalloc;
#define is_vmalloc_addr(p)	((unsigned long)(p) & 8)

/* Pages and address spaces */

#ifndef PAGE_SHIFT
#define PAGE_SHIFT		16
#endif
#undef PAGE_SIZE
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#undef PAGE_MASK
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define __va(x)			((void *)(unsigned long)(x))
#define __pa(x)			((unsigned long)(x))

struct page {
	unsigned int shift;	/* of the compound page that this is in */
	int pins;
	bool dirty;
	bool poisoned;
};

/* Pages that memory failure has found */
extern atomic_long_t num_poisoned_pages;
#define is_page_hwpoison(page)	((page)->poisoned)
void user_poison(struct page *page, bool to);

/* User memory of the only process: @user_pages from USER_BASE on */
#define USER_BASE		0x7000000000UL
#define USER_END		(1UL << 52)
#define access_ok(p, size)	\
	((size) <= USER_END && (unsigned long)(p) <= USER_END - (size))
#define USER_SMALL		96UL		/* pages, spread over memory */
#define USER_HUGE		(32UL << (20 - PAGE_SHIFT)) /* 32 MiB */
#define USER_HUGE_SHIFT		24
#define USER_PAGES		(USER_SMALL + USER_HUGE)
#define USER_HUGE_BASE		(USER_BASE + (64UL << 20))

extern struct page user_page[USER_PAGES];
extern char *user_memory;

struct page *user_find(unsigned long ua);
struct page *pfn_to_page(unsigned long pfn);
unsigned long page_to_pfn(struct page *page);
#define page_to_phys(page)	(page_to_pfn(page) << PAGE_SHIFT)
#define compound_head(page)	(page)
#define page_shift(page)	((page)->shift)
#define PageHuge(page)		((page)->shift > PAGE_SHIFT)
#define SetPageDirty(page)	((void)__atomic_store_n(&(page)->dirty, true, __ATOMIC_RELAXED))
#define virt_to_page(addr)	((struct page *)(addr))
#define get_page(page)		((void)(page))

/* A store to memory of the guest, which owns it, pinned or not */
void user_store(u64 *word, u64 value);

#define FOLL_WRITE		1
#define FOLL_LONGTERM		2
struct mm_iommu;
struct mm_struct {
	struct { struct mm_iommu *iommu; } context;
	long locked_vm;
};

#define current			NULL
long pin_user_pages_unlocked(unsigned long ua, unsigned long nr, struct page **pages,
			     unsigned int flags);
#define pin_user_pages_fast(ua, nr, flags, pages) \
	pin_user_pages_unlocked(ua, nr, pages, flags)
void unpin_user_page(struct page *page);
void unpin_user_pages(struct page **pages, unsigned long nr);
int account_locked_vm(struct mm_struct *mm, unsigned long pages, bool inc);
void mm_iommu_init(struct mm_struct *mm);
void mm_iommu_destroy(struct mm_struct *mm);
#include <asm/mm_iommu.h>

/* Errors, files */

#define ERR_PTR(err)		((void *)(long)(err))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR(ptr)		((unsigned long)(ptr) >= -4095UL)

struct inode;
struct vm_area_struct;
struct file {
	const struct file_operations *f_op;
	void *private_data;
	long refs;
};

struct seq_file { void *private; };

struct file_operations {
	int (*show)(struct seq_file *m, void *unused);
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
	int (*release)(struct inode *inode, struct file *file);
};

struct vm_area_struct {
	const struct vm_operations_struct *vm_ops;
	struct file *vm_file;
};

struct vm_fault {
	struct vm_area_struct *vma;
	unsigned long pgoff;
	struct page *page;
};

struct vm_operations_struct {
	vm_fault_t (*fault)(struct vm_fault *vmf);
};

/* Files of debugfs: the one that is shown, and what it says goes nowhere */
#define DEFINE_SHOW_ATTRIBUTE(name) \
	static const struct file_operations name##_fops = { .show = name##_show }
static inline void seq_printf(struct seq_file *m, const char *format, ...) { }
#define seq_putc(m, c)		((void)(m))
struct dentry {
	void *data;
	const struct file_operations *f_op;
};

static inline void debugfs_create_file(const char *name, int mode, struct dentry *dir,
				       void *data, const struct file_operations *fops)
{
	dir->data = data;
	dir->f_op = fops;
}

#define debugfs_create_u32(name, mode, dir, value)	((void)(value))

#define VM_FAULT_SIGBUS		2
#define VM_FAULT_OOM		1
#ifndef O_CLOEXEC
#define O_CLOEXEC		02000000
#endif

struct fd { struct file *file; };
#define CLASS(class, var) \
	struct fd var __attribute__((cleanup(shim_fdput))) = shim_##class
#define fd_empty(f)		(!(f).file)
#define fd_file(f)		((f).file)
struct fd shim_fd(int fd);
void shim_fdput(struct fd *fd);
int anon_inode_getfd(const char *name, const struct file_operations *fops,
		     void *priv, int flags);
void shim_close(int fd);

/* IOMMU tables */

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_NONE };
#define TCE_PCI_READ		1
#define TCE_PCI_WRITE		2
#define iommu_tce_direction(tce) \
	((enum dma_data_direction[]){ DMA_NONE, DMA_TO_DEVICE, DMA_FROM_DEVICE, \
				      DMA_BIDIRECTIONAL }[(tce) & 3])
#define iommu_direction_to_tce_perm(dir)	((u64[]){ 3, 1, 2, 0 }[dir])

struct iommu_table;
struct iommu_table_ops {
	int (*put)(struct iommu_table *tbl, unsigned long index, u64 tce);
	int (*put_list)(struct iommu_table *tbl, unsigned long index,
			const __be64 *tces, unsigned long n);
	void (*tce_kill)(struct iommu_table *tbl, unsigned long index,
			 unsigned long pages);
	void (*tce_kill_rm)(struct iommu_table *tbl, unsigned long index,
			    unsigned long pages);
	int (*populate)(struct iommu_table *tbl, unsigned long index);
};

struct iommu_table {
	unsigned long it_indirect_levels;
	unsigned long it_level_size;
	unsigned long it_offset;
	unsigned long it_size;
	unsigned long it_page_shift;
	unsigned long it_base;
	__be64 *it_userspace;
	struct iommu_table_ops *it_ops;
	struct mm_struct *it_mm;
	struct mm_struct *it_mm_pinned;
	unsigned int it_ends;
	struct mm_iommu_reader it_reader;
	struct mutex it_lock; /* user TCEs are being closed */
	bool it_crowded;
	long refs;
	unsigned int nr;	/* in world.table[] */
	u64 *foreign;		/* the hardware view that a hypervisor keeps */
	struct rcu_head rcu;
};

#define IOMMU_TABLE_GROUP_MAX_TABLES	2
struct iommu_group { struct iommu_table_group *data; };
struct iommu_table_group {
	struct iommu_group *group;
	struct iommu_table *tables[IOMMU_TABLE_GROUP_MAX_TABLES];
};

#define iommu_group_get_iommudata(grp)	((grp)->data)
#define iommu_group_id(grp)		((int)((grp)->data != NULL))
struct iommu_table *iommu_tce_table_get(struct iommu_table *tbl);
void iommu_tce_table_put(struct iommu_table *tbl);
void world_free_table(struct iommu_table *tbl);

/* KVM */

#define KVM_MEM_READONLY	2U
#define KVM_MEMSLOT_INVALID	0x10000U
#define KVM_SLOTS		5

struct kvm_memory_slot {
	gfn_t base_gfn;
	unsigned long npages;
	unsigned long userspace_addr;
	u32 flags;
};

struct kvm_memslots {
	atomic_long_t last_used_slot;
	struct kvm_memory_slot slot[KVM_SLOTS];
};

struct kvm {
	struct mm_struct *mm;
	struct kvm_memslots *memslots[1];
	struct srcu_struct srcu;
	struct dentry *debugfs_dentry;
	long refs;
	struct {
		struct mutex spapr_tce_lock;
		struct list_head spapr_tce_tables;
		struct hlist_head spapr_tce_hash[KVMPPC_TCE_BUCKETS];
		unsigned int tce_tiers;
		unsigned int tce_binds;
		unsigned long enabled_hcalls[32];
	} arch;
};

struct kvm_vcpu {
	struct kvm *kvm;
	struct kvm_vcpu_stat stat;
	struct {
		struct { unsigned long gpr[32]; } regs;
		struct mm_iommu_reader tce_reader;
		bool tce_hopeless;
		u64 *tce_why;
	} arch;
};

struct kvm_create_spapr_tce_64 {
	u64 liobn;
	u32 page_shift;
	u32 flags;
	u64 offset;
	u64 size;
};

#undef test_bit
#define test_bit(n, map)	((map)[(n) / 64] >> (n) % 64 & 1)
#define kvmppc_get_gpr(vcpu, n)		((vcpu)->arch.regs.gpr[n])
#define kvmppc_set_gpr(vcpu, n, v)	((void)((vcpu)->arch.regs.gpr[n] = (v)))
#define kvm_get_kvm(kvm) \
	((void)__atomic_fetch_add(&(kvm)->refs, 1, __ATOMIC_SEQ_CST))
#define kvm_put_kvm(kvm) \
	((void)__atomic_fetch_sub(&(kvm)->refs, 1, __ATOMIC_SEQ_CST))
#define kvm_put_kvm_no_destroy(kvm)	kvm_put_kvm(kvm)
struct kvm_memory_slot *__gfn_to_memslot(struct kvm_memslots *slots, gfn_t gfn);

static inline struct kvm_memslots *kvm_memslots(struct kvm *kvm)
{
	return rcu_dereference_raw(kvm->memslots[0]);
}
int kvm_read_guest(struct kvm *kvm, unsigned long gpa, void *to, unsigned long n);

#define KVM_HCALL(name)	long name(struct kvm_vcpu *vcpu, unsigned long liobn, unsigned long ioba
KVM_HCALL(kvmppc_h_put_tce), unsigned long tce);
KVM_HCALL(kvmppc_h_put_tce_indirect), unsigned long list, unsigned long n);
KVM_HCALL(kvmppc_h_stuff_tce), unsigned long tce, unsigned long n);
KVM_HCALL(kvmppc_h_get_tce));
KVM_HCALL(kvmppc_rm_h_put_tce), unsigned long tce);
KVM_HCALL(kvmppc_rm_h_put_tce_indirect), unsigned long list, unsigned long n);
KVM_HCALL(kvmppc_rm_h_stuff_tce), unsigned long tce, unsigned long n);
KVM_HCALL(kvmppc_rm_h_get_tce));
bool kvmppc_rm_tce_hcall(struct kvm_vcpu *vcpu);
bool kvmppc_partial_tce_hcall(struct kvm_vcpu *vcpu);
bool kvmppc_early_tce_hcall(struct kvm_vcpu *vcpu);
long kvm_spapr_tce_attach_iommu_group(struct kvm *kvm, int tablefd,
				      struct iommu_group *grp, struct file *owner);
void kvm_spapr_tce_release_iommu_group(struct kvm *kvm, struct file *owner);
int kvmppc_tce_vcpu_init(struct kvm_vcpu *vcpu);
void kvmppc_tce_vcpu_destroy(struct kvm_vcpu *vcpu);
void kvmppc_tce_debugfs_init(struct kvm *kvm);
int kvm_vm_ioctl_create_spapr_tce(struct kvm *kvm,
				  struct kvm_create_spapr_tce_64 *args);

#endif /* TCE_KERNEL_H */
