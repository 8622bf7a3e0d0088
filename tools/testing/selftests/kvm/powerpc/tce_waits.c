// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nobody waits for a guest that computes.  How long something takes does not decide, but
 * that it is over while the guest still computes, without having been left.
 *
 * Only on a CPU without a tick a guest is not interrupted: this needs a kernel with
 * NO_HZ_FULL, and nohz_full=1 isolcpus=1 rcu_nocbs=1 irqaffinity=0 on its command line.
 * That CPU must not be the one that booted the host.
 */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "cases.h"
#include "compute.h"
#include "stranger.h"

/* The guest may be left for a reason of the host's: another try */
#define TRIES		20

/* Of those that hang, which take long */
#define HANGS		2

#define SMALL		0x10000UL

/* What a CPU has not yet told of the pages that it has counted, at most */
#define LAG		600

/**
 * struct waits - what a case works with besides its environment
 * @env: that
 * @guest: the guest that computes
 * @other: another process
 * @mem: memory of this process, STRANGER_MEMORY bytes
 * @second: another LIOBN
 * @pinned: pages that were pinned when a try began
 * @unregistered: the memory of @other was unregistered by an earlier try
 */
struct waits {
	struct env *env;
	struct compute guest;
	struct stranger other;
	void *mem;
	int second;
	long pinned;
	bool unregistered;
};

static int vmstat = -1;

/*
 * Pages pinned for devices, in the whole host, as far as it is known without asking
 * each CPU, which would take them from the guest.
 */
static long pinned_pages(void)
{
	if (vmstat < 0)
		vmstat = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	ktap_need(vmstat >= 0, "opening /proc/vmstat");
	return pins_in(vmstat);
}

/* Does nothing, for as long */
static void rest(void *arg)
{
	const __u64 *ns = arg;

	usleep(*ns / 1000);
}

/*
 * @act returns while the guest computes; @before prepares each try.  Which of several
 * tries passes does not matter: what waits for the guest to be left passes in none.
 * Where the host leaves it by itself in as much time, as a busy machine does, that
 * cannot be told.
 */
static void expect_no_wait(struct waits *waits, void (*before)(void *arg),
			   void (*act)(void *arg))
{
	unsigned int tries, hangs = 0, moved = 0, busy = 0;
	enum compute_beside how = BESIDE_MOVED;
	__u64 ns;

	for (tries = 0; tries < TRIES && hangs < HANGS && how != BESIDE_QUIET; tries++) {
		if (before)
			before(waits);
		compute_start(&waits->guest);
		compute_settle(&waits->guest);
		how = compute_beside(&waits->guest, act, waits, &ns);
		hangs += how == BESIDE_HUNG;
		if (how == BESIDE_MOVED) {
			moved++;
			busy += compute_beside(&waits->guest, rest, &ns, NULL) ==
				BESIDE_MOVED;
		}
		compute_stop(&waits->guest);
	}
	if (hangs || moved)
		ktap_say("  %u times hung until the guest was stopped, %u times the guest was left",
			 hangs, moved);
	if (busy)
		ktap_say("  %u times it was left with nothing done, too", busy);
	if (how == BESIDE_MOVED && busy * 2 >= moved)
		case_skip("this machine is too busy to tell");
	expect(waits->env, how == BESIDE_QUIET);
}

/*
 * A guest that computes, and another process.  The guest has a device, too, where the
 * machine has two.
 */
static void begin_beside(struct waits *waits, struct env *env)
{
	struct vfio_dev second;
	bool two = vfio_find_next(&second, &env->dev, EDU_VENDOR, EDU_DEVICE);

	compute_need_no_tick();
	memset(waits, 0, sizeof(*waits));
	waits->env = env;
	run_on_cpu(0);
	stranger_begin(&waits->other, two ? &second : &env->dev);
	if (two)
		begin(env);
	else
		vm_create(&env->vm, 16 << 20);
	compute_begin(&waits->guest, &env->vm, 1);
	ktap_need(!stranger_do(&waits->other, stranger_open) &&
		  !stranger_do(&waits->other, stranger_register),
		  "what the other process begins with");
}

/*
 * Another process, beside a guest that it does not know
 */

static void no_wait_for_another(struct env *env, void (*before)(void *arg),
				void (*act)(void *arg))
{
	struct waits waits;

	begin_beside(&waits, env);
	expect_no_wait(&waits, before, act);
}

static long renew_window(struct stranger *self)
{
	__u64 start;

	vfio_remove_window(&self->dev, 0);
	return vfio_add_window(&self->dev, SHIFT, WINDOW, 1, &start) ?:
	       vfio_map(&self->dev, 0, self->mem, SMALL);
}

static void before_other_removes(void *arg)
{
	struct waits *waits = arg;

	expect(waits->env, stranger_do(&waits->other, renew_window) == 0);
}

static void other_removes(void *arg)
{
	struct waits *waits = arg;

	expect(waits->env, stranger_do(&waits->other, stranger_remove_window) == 0);
}

CASE_CALL(window_of_another_process, no_wait_for_another, before_other_removes,
	  other_removes);

static void before_other_unregisters(void *arg)
{
	struct waits *waits = arg;

	/* The first time it is registered already */
	if (waits->unregistered)
		expect(waits->env, stranger_do(&waits->other, stranger_register) == 0);
	waits->unregistered = true;
	waits->pinned = pinned_pages();
}

/* The pages are free when the call returns */
static void other_unregisters(void *arg)
{
	const long pages = STRANGER_MEMORY / getpagesize();
	struct waits *waits = arg;

	expect(waits->env, stranger_do(&waits->other, stranger_unregister) == 0);
	expect(waits->env, pinned_pages() < waits->pinned - pages + LAG);
}

CASE_CALL(memory_of_another_process, no_wait_for_another, before_other_unregisters,
	  other_unregisters);

static long do_close(struct stranger *self)
{
	return close(self->dev.container) ?: close(self->dev.group);
}

static long reopen(struct stranger *self)
{
	return stranger_open(self) ?: stranger_register(self) ?:
	       vfio_map(&self->dev, 0, self->mem, SMALL);
}

static void before_other_closes(void *arg)
{
	struct waits *waits = arg;

	stranger_do(&waits->other, do_close);
	expect(waits->env, stranger_do(&waits->other, reopen) == 0);
}

static void other_closes(void *arg)
{
	struct waits *waits = arg;

	expect(waits->env, stranger_do(&waits->other, do_close) == 0);
}

CASE_CALL(container_of_another_process, no_wait_for_another, before_other_closes,
	  other_closes);

static void other_ends(void *arg)
{
	struct waits *waits = arg;

	stranger_end(&waits->other);
}

/* Once: there is no other one */
CASE(end_of_another_process)
{
	const long pages = STRANGER_MEMORY / getpagesize();
	enum compute_beside how;
	struct waits waits;

	begin_beside(&waits, env);
	expect(env, stranger_do(&waits.other, renew_window) == 0);
	waits.pinned = pinned_pages();
	compute_start(&waits.guest);
	compute_settle(&waits.guest);
	how = compute_beside(&waits.guest, other_ends, &waits, NULL);
	/* Left for whatever reason is no proof of anything; not to come back is */
	expect(env, how != BESIDE_HUNG);
	if (how == BESIDE_MOVED)
		ktap_say("  the guest was left meanwhile");
	expect(env, pinned_pages() < waits.pinned - pages + LAG);
	compute_stop(&waits.guest);
}

/*
 * The limit of locked memory
 */

#define LIMIT		(96UL << 20)
#define ROUNDS		18
#define OVER_LIMIT	1
#define REFUSED		2

static int own_status;

static long become_user(struct stranger *self)
{
	const struct rlimit limit = { LIMIT, LIMIT };

	own_status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ktap_need(own_status >= 0 && pinned_pages() >= 0, "opening files of /proc");
	return vfio_unregister(&self->dev, self->mem, STRANGER_MEMORY) ?:
	       setrlimit(RLIMIT_MEMLOCK, &limit) ?: setgroups(0, NULL) ?:
	       setresgid(1000, 1000, 1000) ?: setresuid(1000, 1000, 1000);
}

/* Fresh memory each time, and what is pinned beside what the process is charged for */
static long register_and_unregister(struct stranger *self)
{
	const long page_kib = getpagesize() / 1024;
	long ret, before = pinned_pages(), pinned = 0, charged = 0;
	unsigned int i;
	void *mem;

	for (i = 0; i < ROUNDS; i++) {
		mem = new_memory(STRANGER_MEMORY);
		ret = vfio_try_register(&self->dev, mem, STRANGER_MEMORY);
		if (ret)
			return REFUSED;
		pinned = (pinned_pages() - before - LAG) * page_kib;
		charged = number_in(own_status, "VmLck:");
		if (pinned > charged)
			break;
		ret = vfio_unregister(&self->dev, mem, STRANGER_MEMORY);
		munmap(mem, STRANGER_MEMORY);
		if (ret)
			return ret;
	}
	if (i == ROUNDS)
		return 0;
	ktap_say("  round %u: %ld KiB are pinned, %ld KiB accounted for", i + 1,
		 pinned, charged);
	return OVER_LIMIT;
}

CASE(limit_of_locked_memory)
{
	struct waits waits;

	begin_beside(&waits, env);
	expect(env, stranger_do(&waits.other, become_user) == 0);
	waits.pinned = pinned_pages();
	compute_start(&waits.guest);
	compute_settle(&waits.guest);
	expect(env, stranger_do(&waits.other, register_and_unregister) == 0);
	expect(env, compute_beside(&waits.guest, other_ends, &waits, NULL) !=
	       BESIDE_HUNG);
	expect(env, pinned_pages() < waits.pinned + LAG);
	compute_stop(&waits.guest);
}

/*
 * The VMM of the guest that computes
 */

static void begin_own(struct waits *waits, struct env *env, unsigned int cpus)
{
	compute_need_no_tick();
	memset(waits, 0, sizeof(*waits));
	waits->env = env;
	waits->second = -1;
	run_on_cpu(0);
	begin(env);
	waits->mem = new_memory(STRANGER_MEMORY);
	compute_begin(&waits->guest, &env->vm, cpus);
}

static void no_wait_for_own(struct env *env, void (*before)(void *arg),
			    void (*act)(void *arg))
{
	struct waits waits;

	begin_own(&waits, env, 1);
	expect_no_wait(&waits, before, act);
}

static void bind_group(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;

	/* The first time it is there already */
	vm_group_add(&env->vm, &env->dev);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
}

static void delete_group(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;

	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
}

CASE_CALL(own_group, no_wait_for_own, bind_group, delete_group);

static void renew_own_window(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;
	__u64 start;

	vfio_remove_window(&env->dev, 0);
	expect(env, vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start) == 0);
}

static void bind_anew(void *arg)
{
	renew_own_window(arg);
	bind_group(arg);
}

static void remove_own_window(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;

	expect(env, vfio_remove_window(&env->dev, 0) == 0);
}

CASE_CALL(own_window, no_wait_for_own, bind_anew, remove_own_window);

/* The table of the window before is let go by this */
CASE_CALL(own_binding, no_wait_for_own, renew_own_window, bind_group);

static void create_second(void *arg)
{
	struct waits *waits = arg;

	waits->second = vm_create_liobn(&waits->env->vm, LIOBN + 1, SHIFT, ENTRIES);
}

static void create_and_bind_second(void *arg)
{
	struct waits *waits = arg;
	struct env *env = waits->env;

	create_second(waits);
	expect(env, vm_bind(&env->vm, &env->dev, waits->second) == 0);
}

static void close_second(void *arg)
{
	struct waits *waits = arg;

	expect(waits->env, close(waits->second) == 0);
}

CASE_CALL(own_liobn, no_wait_for_own, create_second, close_second);

CASE_CALL(own_liobn_bound, no_wait_for_own, create_and_bind_second, close_second);

static void register_own(void *arg)
{
	struct waits *waits = arg;

	vfio_register(&waits->env->dev, waits->mem, STRANGER_MEMORY);
	waits->pinned = pinned_pages();
}

static void unregister_own(void *arg)
{
	const long pages = STRANGER_MEMORY / getpagesize();
	struct waits *waits = arg;
	struct env *env = waits->env;

	expect(env, vfio_unregister(&env->dev, waits->mem, STRANGER_MEMORY) == 0);
	expect(env, pinned_pages() < waits->pinned - pages + LAG);
}

CASE_CALL(own_memory, no_wait_for_own, register_own, unregister_own);

/* As QEMU lets go of a group, up to where the container is to be closed */
static void reopen_container(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;

	vm_group_del(&env->vm, &env->dev);
	close(env->dev.container);
	close(env->dev.group);
	open_with_window(env, &env->dev);
	expect(env, vfio_map(&env->dev, 0, env->vm.mem + DATA, SMALL) == 0);
}

static void close_container(void *arg)
{
	struct env *env = ((struct waits *)arg)->env;

	expect(env, vfio_leave(&env->dev) == 0);
	expect(env, close(env->dev.container) == 0);
}

CASE_CALL(own_container, no_wait_for_own, reopen_container, close_container);

/*
 * What QEMU does for each window at each reset of the guest, beside as many virtual
 * CPUs as compute
 */

#define CLOSES		50

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

CASE(liobn_of_many_cpus)
{
	unsigned int i, quiet = 0, hung = 0;
	enum compute_beside how;
	struct waits waits;
	__u64 ns[CLOSES];

	begin_own(&waits, env, COMPUTE_MAX);
	for (i = 0; i < CLOSES && hung < HANGS; i++) {
		create_second(&waits);
		compute_start(&waits.guest);
		compute_settle(&waits.guest);
		how = compute_beside(&waits.guest, close_second, &waits, &ns[i]);
		compute_stop(&waits.guest);
		quiet += how == BESIDE_QUIET;
		hung += how == BESIDE_HUNG;
	}
	qsort(ns, i, sizeof(ns[0]), compare);
	ktap_say("  close of a LIOBN beside %u CPUs that compute: p50 %llu us, worst %llu us",
		 waits.guest.nr, ns[i / 2] / 1000, ns[i - 1] / 1000);
	ktap_say("  the guest was not left in %u of %u, hung %u", quiet, i, hung);
	/* Now and then the host wants a CPU for a reason of its own */
	expect(env, quiet >= CLOSES / 2);
}

/*
 * While much memory is unpinned, a task that is more urgent gets the CPU
 */

#define LARGE_PAGES	131072L
#define FILE_PAGES	1024L

struct urgent {
	int wake;
	atomic_bool asleep;
	atomic_bool stop;
	long pinned;
	unsigned int seen;
};

/* More urgent than whoever unpins, on the CPU where that is done */
static void *urgent_thread(void *arg)
{
	const struct sched_param fifo = { .sched_priority = 1 };
	struct urgent *urgent = arg;
	__u64 count;
	long now;

	run_on_cpu(0);
	ktap_need(!sched_setscheduler(0, SCHED_FIFO, &fifo), "SCHED_FIFO");
	while (!atomic_load(&urgent->stop)) {
		atomic_store(&urgent->asleep, true);
		if (read(urgent->wake, &count, sizeof(count)) != sizeof(count))
			break;
		/* Some are unpinned, and not all */
		now = pinned_pages();
		if (now < urgent->pinned - LARGE_PAGES / 8 &&
		    now > urgent->pinned - LARGE_PAGES / 8 * 7)
			urgent->seen++;
	}
	return NULL;
}

/* On another CPU: wake it as often as it has gone to sleep, and has left some time */
static void *waker_thread(void *arg)
{
	struct urgent *urgent = arg;
	const __u64 one = 1;
	unsigned int i;

	run_on_cpu(1);
	while (!atomic_load(&urgent->stop)) {
		for (i = 0; i < 3000; i++)
			atomic_load(&urgent->stop);
		if (atomic_exchange(&urgent->asleep, false) &&
		    write(urgent->wake, &one, sizeof(one)) != sizeof(one))
			break;
	}
	return NULL;
}

/* Few pages again and again, so that many are to be unpinned, and few to be had */
static void *repeated_memory(void)
{
	const long page = getpagesize();
	int fd = memfd_create("pages", MFD_CLOEXEC);
	char *mem = mmap(NULL, LARGE_PAGES * page, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long i;

	ktap_need(fd >= 0 && !ftruncate(fd, FILE_PAGES * page) && mem != MAP_FAILED,
		  "a file in memory");
	for (i = 0; i < LARGE_PAGES; i += FILE_PAGES)
		ktap_need(mmap(mem + i * page, FILE_PAGES * page,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			       0) != MAP_FAILED, "mapping it again");
	return mem;
}

CASE(unpinning_lets_others_run)
{
	const size_t size = LARGE_PAGES * getpagesize();
	struct urgent urgent = { .wake = eventfd(0, EFD_CLOEXEC) };
	void *mem = repeated_memory();
	pthread_t thread, waker;
	const __u64 one = 1;
	unsigned int i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		case_skip("there is one CPU only");
	run_on_cpu(0);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, mem, size);
	urgent.pinned = pinned_pages();
	pthread_create(&thread, NULL, urgent_thread, &urgent);
	pthread_create(&waker, NULL, waker_thread, &urgent);
	usleep(100000);
	expect(env, vfio_unregister(&env->dev, mem, size) == 0);
	/* Where it is done later, that is on CPU 0, too */
	for (i = 0; i < 1000 && pinned_pages() > urgent.pinned - LARGE_PAGES + LAG; i++)
		usleep(10000);
	atomic_store(&urgent.stop, true);
	pthread_join(waker, NULL);
	ktap_need(write(urgent.wake, &one, sizeof(one)) == sizeof(one), "waking");
	pthread_join(thread, NULL);
	ktap_say("  it ran %u times while the memory was being unpinned", urgent.seen);
	expect(env, urgent.seen > 0);
}

int main(void)
{
	return run_cases();
}
