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
 *  - Windows.  window() stands in every primitive where another CPU may come in
 *    between, and waits there at random when delays are on.
 *
 *  - SRCU with true grace periods: what call_srcu() is given is done no earlier
 *    than it may be, by srcu_drain().
 *
 * With TCE_NO_LOCK the lock of an entry is always free: a build that must fail.
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

/* Compiler */

#undef READ_ONCE
#undef WRITE_ONCE
#undef BUILD_BUG_ON
#undef noinline
#define noinline		__attribute__((noinline))
#undef __maybe_unused
#define __maybe_unused		__attribute__((unused))
#undef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#define __counted_by(n)
#define __uninitialized
#define EXPORT_SYMBOL_GPL(name)	extern int exported_##name
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define IS_ENABLED(option)	1

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
#undef min3
#define min3(a, b, c)		min(min(a, b), c)
#define struct_size(p, member, n) \
	(sizeof(*(p)) + sizeof((p)->member[0]) * (n))
#undef ULLONG_MAX
#define ULLONG_MAX		(~0ULL)

typedef uint64_t gfn_t;
typedef unsigned int vm_fault_t;

#ifndef cpu_to_be64
#define cpu_to_be64(x)		__builtin_bswap64(x)
#define be64_to_cpu(x)		__builtin_bswap64(x)
#endif

/* Words that several CPUs use */

extern bool windows;
void window_wait(void);

static inline void window(void)
{
	if (windows)
		window_wait();
}

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) \
	do { window(); __atomic_store_n(p, v, __ATOMIC_RELEASE); window(); } while (0)
#define smp_acquire__after_ctrl_dep()	do { } while (0)
#define rcu_dereference_raw(p)	READ_ONCE(p)
#define rcu_read_lock()		do { } while (0)
#define rcu_read_unlock()	do { } while (0)
#define cpu_relax()		sched_yield()
#define mb()			window()

/* Only the lock of an entry is taken by an exchange */
#ifdef TCE_NO_LOCK
#define xchg_relaxed(p, v) \
	({ window(); __atomic_load_n(p, __ATOMIC_ACQUIRE) & ~(u64)(v); })
#else
#define xchg_relaxed(p, v) \
	({ window(); __atomic_exchange_n(p, v, __ATOMIC_ACQUIRE); })
#endif

typedef struct { s64 counter; } atomic64_t;
struct tce_long { long counter; };

#define atomic_long_t		struct tce_long

#define atomic_long_read(v)	__atomic_load_n(&(v)->counter, __ATOMIC_ACQUIRE)

static inline s64 atomic64_read(const atomic64_t *v)
{
	window();
	return __atomic_load_n(&v->counter, __ATOMIC_RELAXED);
}

static inline void atomic64_set(atomic64_t *v, s64 n)
{
	__atomic_store_n(&v->counter, n, __ATOMIC_RELAXED);
}

static inline void atomic64_sub(s64 n, atomic64_t *v)
{
	__atomic_fetch_sub(&v->counter, n, __ATOMIC_SEQ_CST);
	window();
}

#define atomic64_dec(v)		atomic64_sub(1, v)

static inline bool atomic64_try_cmpxchg_relaxed(atomic64_t *v, s64 *old, s64 new)
{
	window();
	return __atomic_compare_exchange_n(&v->counter, old, new, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline s64 atomic64_cmpxchg(atomic64_t *v, s64 old, s64 new)
{
	window();
	__atomic_compare_exchange_n(&v->counter, &old, new, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return old;
}

/* Locks, preemption, time */

struct mutex { pthread_mutex_t lock; };

#define DEFINE_MUTEX(name)	struct mutex name = { PTHREAD_MUTEX_INITIALIZER }
#define mutex_init(m)		pthread_mutex_init(&(m)->lock, NULL)
#define mutex_destroy(m)	pthread_mutex_destroy(&(m)->lock)
#define mutex_lock(m)		pthread_mutex_lock(&(m)->lock)
#define mutex_unlock(m)		pthread_mutex_unlock(&(m)->lock)
#undef lockdep_assert_held
#define lockdep_assert_held(m)	WRONG_IF(!pthread_mutex_trylock(&(m)->lock))

extern __thread int preempt_off;
#define preempt_disable()	((void)preempt_off++)
#define preempt_enable()	((void)preempt_off--)
void might_sleep(void);
#define cond_resched()		might_sleep()
extern bool fatal_signal;
#define fatal_signal_pending(task)	fatal_signal
#define kick_all_cpus_sync()	do { } while (0)

/* A finding is the end of the program: the sequence is in a file by then */
void wrong(const char *file, int line, const char *what) __attribute__((noreturn));
#define WRONG_IF(cond)		do { if (cond) wrong(__FILE__, __LINE__, #cond); } while (0)

/* SRCU */

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

struct srcu_struct {
	pthread_mutex_t lock;
	long readers[2];
	int idx;
	struct rcu_head *later;
};

#define DEFINE_SRCU(name) \
	struct srcu_struct name = { .lock = PTHREAD_MUTEX_INITIALIZER }
int srcu_read_lock(struct srcu_struct *srcu);
void srcu_read_unlock(struct srcu_struct *srcu, int idx);
void synchronize_srcu(struct srcu_struct *srcu);
void call_srcu(struct srcu_struct *srcu, struct rcu_head *head,
	       void (*func)(struct rcu_head *head));
void srcu_drain(struct srcu_struct *srcu);

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
#define kmalloc_array(n, s, g)	kmalloc((n) * (s), g)
void *kvcalloc(size_t n, size_t size, int gfp);
void kvfree(const void *p);
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
};

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

#define FOLL_WRITE		1
#define FOLL_LONGTERM		2
struct mm_iommu_regions;
struct mm_struct {
	struct { struct mm_iommu_regions *iommu_regions; } context;
	long locked_vm;
};

#define current			NULL
#define mmap_read_lock(mm)	((void)(mm))
#define mmap_read_unlock(mm)	((void)(mm))
long pin_user_pages(unsigned long ua, unsigned long nr, unsigned int flags,
		    struct page **pages);
#define pin_user_pages_fast(ua, nr, flags, pages) pin_user_pages(ua, nr, flags, pages)
void unpin_user_page(struct page *page);
void unpin_user_pages_dirty_lock(struct page **pages, unsigned long nr, bool dirty);
int account_locked_vm(struct mm_struct *mm, unsigned long pages, bool inc);
void mm_iommu_init(struct mm_struct *mm);

/* Errors, files */

#define ERR_PTR(err)		((void *)(long)(err))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR(ptr)		((unsigned long)(ptr) >= -4095UL)

struct inode;
struct vm_area_struct;
struct file {
	const struct file_operations *f_op;
	void *private_data;
};

struct file_operations {
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

#define VM_FAULT_SIGBUS		2
#define VM_FAULT_OOM		1
#ifndef O_CLOEXEC
#define O_CLOEXEC		02000000
#endif

struct fd { struct file *file; };
#define CLASS(class, var)	struct fd var = shim_##class
#define fd_empty(f)		(!(f).file)
#define fd_file(f)		((f).file)
struct fd shim_fd(int fd);
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
	int (*xchg_no_kill)(struct iommu_table *tbl, long index,
			    unsigned long *hpa, enum dma_data_direction *dir);
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
	bool it_pinned;
	long refs;
};

#define IOMMU_TABLE_GROUP_MAX_TABLES	2
struct iommu_group { struct iommu_table_group *data; };
struct iommu_table_group {
	struct iommu_group *group;
	struct iommu_table *tables[IOMMU_TABLE_GROUP_MAX_TABLES];
};

#define iommu_group_get_iommudata(grp)	((grp)->data)
struct iommu_table *iommu_tce_table_get(struct iommu_table *tbl);
void iommu_tce_table_put(struct iommu_table *tbl);

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
	long refs;
	struct {
		struct mutex spapr_tce_lock;
		struct list_head spapr_tce_tables;
		struct hlist_head spapr_tce_hash[KVMPPC_TCE_BUCKETS];
		unsigned int tce_tiers;
		unsigned long enabled_hcalls[32];
	} arch;
};

struct kvm_vcpu {
	struct kvm *kvm;
	struct kvm_vcpu_stat stat;
	struct {
		struct { unsigned long gpr[32]; } regs;
		struct { u64 calls, reason[KVMPPC_TCE_REASONS]; } tce_traced;
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
				      struct iommu_group *grp);
void kvm_spapr_tce_release_iommu_group(struct kvm *kvm, struct iommu_group *grp);
int kvm_vm_ioctl_create_spapr_tce(struct kvm *kvm,
				  struct kvm_create_spapr_tce_64 *args);

#endif /* TCE_KERNEL_H */
