/* SPDX-License-Identifier: GPL-2.0-only */
/* Cases of a test, and the virtual machine with a bound device that they need */
#ifndef SELFTEST_KVM_POWERPC_CASES_H
#define SELFTEST_KVM_POWERPC_CASES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "edu.h"
#include "ktap.h"
#include "vfio.h"
#include "vm.h"

#define LIOBN		0x80000001UL
#define WINDOW		0x40000000UL
#define SHIFT		12
#define PAGE		0x1000UL
#define ENTRIES		(WINDOW >> SHIFT)
#define LAST		(WINDOW - PAGE)
#define RW		(TCE_READ | TCE_WRITE)

/* Guest addresses: the list of H_PUT_TCE_INDIRECT, pages to map, and a hole */
#define LIST		VM_FREE
#define DATA		(VM_FREE + 0x200000UL)
#define HOLE		0x40000000UL

/* QEMU's pci-ohci, which its driver and a keyboard keep busy */
#define USB_VENDOR	0x106b
#define USB_DEVICE	0x003f
#define USB_DRIVER	"ohci-pci"

/* What user space answers when a hypercall reaches it */
#define FROM_USER	(-4242L)

/**
 * struct env - what a case works with
 * @dev: the device
 * @vm: the virtual machine
 * @liobn: number of the LIOBN that hypercalls are about
 * @tablefd: file descriptor of LIOBN
 * @stop: tells other threads of the case to end
 * @failed: something that was expected is not so
 */
struct env {
	struct vfio_dev dev;
	struct vm vm;
	__u64 liobn;
	int tablefd;
	atomic_bool stop;
	bool failed;
};

/* More of it may be untrue: what follows is checked, too */
#define expect(env, what) do {						\
	if (!(what)) {							\
		ktap_say("  line %d: not so: %s", __LINE__, #what);	\
		(env)->failed = true;					\
	}								\
} while (0)

/**
 * struct test_case - a case, which kselftest_harness.h has no place for: each of them may
 *	be run on several tiers, and fails when the kernel's log has a complaint
 * @next: the case after it
 * @name: its name
 * @run: does it
 * @line: where it is written
 */
struct test_case {
	struct test_case *next;
	const char *name;
	void (*run)(struct env *env);
	unsigned int line;
};

void add_case(struct test_case *test);

/* A case of this program: its body follows, and gets @env */
#define CASE(what)							\
static void case_##what(struct env *env);				\
static void __attribute__((constructor)) add_##what(void)		\
{									\
	static struct test_case test = {				\
		.name = #what, .run = case_##what, .line = __LINE__,	\
	};								\
									\
	add_case(&test);						\
}									\
static void case_##what(struct env *env)

/* A case that is a call, of a function with @env and these arguments */
#define CASE_CALL(what, call, ...)					\
CASE(what)								\
{									\
	call(env, ##__VA_ARGS__);					\
}									\
static void case_##what(struct env *env)

/*
 * Run the cases in the order in which they are written, each in a process of its own,
 * which gives everything back by ending.  A complaint in the kernel's log fails the case
 * that caused it.  Does not return.
 */
int run_cases(void);

/* The same with another device than edu */
int run_cases_of(unsigned int vendor, unsigned int device);

/* The same with each tier that serves hypercalls before virtual mode, and none */
int run_cases_on_tiers(void);

/* The kernel's switch of the tiers */
#define TIERS	"/sys/module/kvm_hv/parameters/tce_tiers"

/* A number that the environment has, or the kernel's command line */
__u64 setting(const char *name, __u64 otherwise);

/* End a case that this machine or kernel cannot run */
void case_skip(const char *why);

/* Write @text in one piece; false when that is impossible */
bool write_file(const char *path, const char *text);

/*
 * Skip the case on a kernel whose own pages are smaller than the IOMMU's of 64K: no
 * memory of the guest lies in pages as large
 */
void need_pages_of_64k(void);

/* A virtual machine and its device; up to where only the binding is missing; all */
void prepare_vm(struct env *env, size_t memory);
void prepare(struct env *env, unsigned int liobn_shift);
void begin(struct env *env);

/* begin() with other pages for the guest */
void begin_with_pages(struct env *env, unsigned int liobn_shift);

/* The first page of the guest's view is there from then on */
void use_first_entry(struct env *env);

/* The LIOBN is closed and made anew, and bound */
void renew_liobn(struct env *env);

/* Devices in groups of their own, after the first one; skips the case without so many */
void need_more(struct env *env, struct vfio_dev *more, unsigned int nr);

/* A group in a container of its own, with the guest's memory and a window as usual */
void open_with_window(struct env *env, struct vfio_dev *dev);

/*
 * A further group: in a container of its own, which has the guest's memory, and with
 * a window as the first one's, which the LIOBN is bound to
 */
void bind_further(struct env *env, struct vfio_dev *dev);

/* The device, which is open, does what the guest tells it to, and no more */
void expect_works(struct env *env);

/* Ends what begin() began, and the device; all memory is given back */
void end_vmm(struct env *env);

/* begin() with a table of two levels, or with a virtual machine on these tiers */
void begin_two_levels(struct env *env);
void begin_on_tiers(struct env *env, const char *mask);

/* The guest's hypercalls; about another LIOBN; and about the usual one */
long hcall_of(struct env *env, __u64 liobn, __u64 nr, __u64 a, __u64 b, __u64 c);
long hcall(struct env *env, __u64 nr, __u64 a, __u64 b, __u64 c);
long put(struct env *env, __u64 bus, __u64 tce);
long stuff(struct env *env, __u64 bus, __u64 tce, __u64 n);
long indirect(struct env *env, __u64 bus, __u64 list, __u64 n);

/* The TCE that the guest reads back; -1 when it cannot */
__u64 get(struct env *env, __u64 bus);

void set_list(struct env *env, unsigned int i, __u64 tce);
void fill_list(struct env *env, __u64 perm);

/* 0 or -errno: -EBUSY as long as a translation leads to the guest's memory */
int unregister(struct env *env);

/* Unregister guest memory; true when the kernel has really let go of it */
bool released(struct env *env);
bool released_range(struct env *env, void *mem, size_t size);

/* Two hypercalls to do over and over: map the first entry, and clear it */
extern const struct vm_call map_call, clear_call;

/* Thread: map and unmap the first 64K of the window by ioctl, until env->stop */
void *map_by_ioctl(void *arg);

/* Tell a thread to end, by env->stop, and wait for that */
void stop_thread(struct env *env, pthread_t thread);

/*
 * A task on CPU 0 that counts, and pauses for so many microseconds or yields.  @gap is the
 * longest time between two ticks since it was last set to 0, in nanoseconds.
 */
struct ticker {
	atomic_ulong ticks;
	atomic_ulong gap;
	atomic_bool stop;
	unsigned int pause;
	pthread_t thread;
};

__u64 now_ns(void);
void start_ticker(struct ticker *ticker, unsigned int pause);
void stop_ticker(struct ticker *ticker);

/*
 * Fail the @nth allocation of this thread from now on, 0: none.  Skips the case on
 * a kernel that cannot do so.
 */
void fail_nth(unsigned int nth);

/* End that; true when it was reached, so that an allocation has failed */
bool fail_nth_is_over(void);

/* A counter of the guest's first CPU */
__u64 stat_of(const struct env *env, const char *name);

/* Is the group with this id pinned for a VM of this process, as KVM shows it? */
bool group_is_pinned(int id);

/* This thread's place from now on */
void run_on_cpu(unsigned int cpu);

/* Memory of this process that may not be moved or swapped out, in KiB */
long locked_kib(void);

/* Does a hypervisor keep the tables, as the host is a guest itself? */
bool host_is_guest(void);

/*
 * Wait until no more than @kib is locked: a worker gives that back which a process had
 * locked for a device that the administrator has taken away
 */
void wait_for_locked(long kib);

/*
 * The number behind @name in a file of /proc, which is open: a process may lose the
 * right to open it, and nothing is allocated here, which might wait.
 */
long number_in(int file, const char *name);

/* Pages pinned for devices in the whole host, by /proc/vmstat, which is open */
long pins_in(int vmstat);

/* A line "FIELD: NUMBER kB" of a file in /proc; -1 when there is none */
long proc_kib(const char *path, const char *field);

#endif /* SELFTEST_KVM_POWERPC_CASES_H */
