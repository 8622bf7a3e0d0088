// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who serves TCE hypercalls: the fastest tier for nearly all of a steady load;
 * for each reason to give up, the next tier, with the right result and once; and
 * what else happens to a virtual CPU happens in time.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "cases.h"
#include "guest.h"

#define ENDLESS	1000000000000000UL

/* That of the first PCI host bridge of a pseries machine */
#define HOST_LIOBN	0x80000000UL

static const char * const fast_tiers[] = {
	"tce_real_mode", "tce_partial_exit", "tce_early_exit",
};

/* The counter of the tier that is the first one on this machine */
static const char *fastest(void)
{
	if (!strcmp((const char *)getauxval(AT_BASE_PLATFORM), "power8"))
		return fast_tiers[0];
	/* A host that is a guest itself has early exits only */
	return access("/proc/device-tree/ibm,opal", F_OK) ? fast_tiers[2] :
							    fast_tiers[1];
}

/* A bound LIOBN whose first page of the guest's view is there */
static void begin_tiers(struct env *env, const char *mask)
{
	begin_on_tiers(env, mask);
	use_first_entry(env);
}

CASE(steady_load_is_served_by_the_fastest_tier)
{
	__u64 before, served;

	begin_tiers(env, "7");
	before = stat_of(env, fastest());
	vm_time(&env->vm, &map_call, &clear_call, 5000);
	served = stat_of(env, fastest()) - before;
	ktap_say("  %s served %llu of 10000", fastest(), served);
	expect(env, served >= 9900);
	expect(env, released(env));
}

/* A host that is a guest has that LIOBN itself, and the host below serves it */
CASE(host_with_the_same_liobn_is_not_asked)
{
	const struct vm_call map = { H_PUT_TCE, { HOST_LIOBN, 0, DATA | RW } };
	const struct vm_call clear = { H_PUT_TCE, { HOST_LIOBN, 0, 0 } };
	const atomic_ulong *view;
	__u64 served;

	env->liobn = HOST_LIOBN;
	begin_tiers(env, "7");
	view = mmap(NULL, ENTRIES * 8, PROT_READ, MAP_SHARED, env->tablefd, 0);
	ktap_need(view != MAP_FAILED, "mapping the LIOBN's entries");

	served = stat_of(env, fastest());
	vm_time(&env->vm, &map, &clear, 1000);
	expect(env, stat_of(env, fastest()) >= served + 1980);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, atomic_load(&view[0]) == (DATA | RW));
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, released(env));
}

CASE(tiers_can_be_turned_off)
{
	unsigned int i;

	begin_tiers(env, "0");
	vm_time(&env->vm, &map_call, &clear_call, 100);
	for (i = 0; i < ARRAY_SIZE(fast_tiers); i++)
		expect(env, stat_of(env, fast_tiers[i]) == 0);
	expect(env, stat_of(env, "tce_virtual_mode") >= 200);
}

/* A hypercall that @why keeps from the fast tiers is served by @next, once */
static void expect_fallback(struct env *env, const char *why, const char *next,
			    const struct vm_call *call, long answer)
{
	__u64 reasons = stat_of(env, why), done = stat_of(env, next);
	__u64 fast = 0, fast_after = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fast_tiers); i++)
		fast += stat_of(env, fast_tiers[i]);
	expect(env, hcall_of(env, call->args[0], call->nr, call->args[1], call->args[2],
			     call->args[3]) == answer);
	for (i = 0; i < ARRAY_SIZE(fast_tiers); i++)
		fast_after += stat_of(env, fast_tiers[i]);

	expect(env, stat_of(env, why) > reasons);
	expect(env, stat_of(env, next) == done + 1);
	expect(env, fast_after == fast);
}

CASE(unknown_liobn_goes_to_user_space)
{
	const struct vm_call call = { H_PUT_TCE, { LIOBN + 9, 0, DATA | RW } };

	begin_tiers(env, "7");
	expect_fallback(env, "tce_hard_liobn", "tce_user_space", &call,
			FROM_USER);
}

/* A number that is no multiple of 4 is no hypercall, and leaves the next one as it is */
CASE(numbers_beside_ours_go_to_user_space)
{
	static const __u64 numbers[] = {
		H_GET_TCE, H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE,
	};
	__u64 user, off;
	unsigned int i;

	begin_tiers(env, "7");
	fill_list(env, RW);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		const __u64 arg = numbers[i] == H_STUFF_TCE ? 0 : LIST;

		for (off = 1; off < 4; off++)
			expect(env, hcall_of(env, LIOBN, numbers[i] + off, 0, arg, 1) ==
			       FROM_USER);
	}
	expect(env, get(env, 0) == 0);

	expect(env, hcall_of(env, LIOBN + 9, H_PUT_TCE + 1, 0, DATA | RW, 0) == FROM_USER);
	user = stat_of(env, "tce_user_space");
	expect(env, put(env, WINDOW / 2, DATA | RW) == H_SUCCESS);
	expect(env, put(env, WINDOW / 2, 0) == H_SUCCESS);
	expect(env, stat_of(env, "tce_user_space") == user);
	expect(env, released(env));
}

CASE(large_count_goes_to_virtual_mode)
{
	const struct vm_call call = { H_STUFF_TCE, { LIOBN, 0, 0, 513 } };

	begin_tiers(env, "7");
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, put(env, 512 * PAGE, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 513 * PAGE, DATA | RW) == H_SUCCESS);
	expect_fallback(env, "tce_hard_count", "tce_virtual_mode", &call,
			H_SUCCESS);
	expect(env, get(env, 512 * PAGE) == 0);
	expect(env, get(env, 513 * PAGE) == (DATA | RW));
	expect(env, put(env, 513 * PAGE, 0) == H_SUCCESS);
	expect(env, released(env));
}

CASE(absent_view_goes_to_virtual_mode)
{
	const __u64 bus = WINDOW / 2;
	const struct vm_call call = { H_PUT_TCE, { LIOBN, bus, DATA | RW } };

	begin_tiers(env, "7");
	expect_fallback(env, "tce_hard_view", "tce_virtual_mode", &call,
			H_SUCCESS);
	expect(env, get(env, bus) == (DATA | RW));
	expect(env, put(env, bus, 0) == H_SUCCESS);
	expect(env, released(env));
}

CASE(absent_level_goes_to_virtual_mode)
{
	const __u64 bus = WINDOW / 2;
	const struct vm_call call = { H_PUT_TCE, { LIOBN, bus, DATA | RW } };
	const atomic_ulong *view;

	begin_two_levels(env);
	/* Reading the guest's view brings it into being, and no level of the table */
	view = mmap(NULL, ENTRIES * 8, PROT_READ, MAP_SHARED, env->tablefd, 0);
	expect(env, view != MAP_FAILED && atomic_load(&view[bus / PAGE]) == 0);

	expect_fallback(env, "tce_hard_level", "tce_virtual_mode", &call,
			H_SUCCESS);
	expect(env, atomic_load(&view[bus / PAGE]) == (DATA | RW));
	expect(env, put(env, bus, 0) == H_SUCCESS);
	expect(env, released(env));
}

/* Of one entry, as a list of more can go there for a hypervisor's sake */
CASE(unregistered_list_goes_to_virtual_mode)
{
	const struct vm_call call = {
		H_PUT_TCE_INDIRECT, { LIOBN, 0, HOLE, 1 }
	};
	__u8 *list;

	begin_tiers(env, "7");
	list = vm_add_memory(&env->vm, 1, HOLE, 1 << 16);
	fill_list(env, RW);
	memcpy(list, env->vm.mem + LIST, PAGE);
	expect_fallback(env, "tce_hard_list", "tce_virtual_mode", &call,
			H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, get(env, PAGE) == 0);
	expect(env, stuff(env, 0, 0, 1) == H_SUCCESS);
	expect(env, released(env));
}

CASE(foreign_memory_goes_to_user_space)
{
	const struct vm_call call = { H_PUT_TCE, { LIOBN, 0, HOLE | RW } };

	begin_tiers(env, "7");
	vm_add_memory(&env->vm, 1, HOLE, 1 << 20);
	expect_fallback(env, "tce_hard_memory", "tce_user_space", &call,
			FROM_USER);
	expect(env, get(env, 0) == 0);
	expect(env, released(env));
}

CASE(removed_window_goes_to_user_space)
{
	begin_tiers(env, "7");
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect_fallback(env, "tce_hard_table", "tce_user_space", &map_call,
			FROM_USER);
	expect(env, released(env));
}

/* Whether an entry is met while it is locked, is a matter of luck */
CASE(busy_entry_is_done_later)
{
	pthread_t thread;
	unsigned int i;

	begin_tiers(env, "7");
	fill_list(env, RW);
	pthread_create(&thread, NULL, map_by_ioctl, env);
	/* To read a counter takes longer than the calls */
	for (i = 0; i < 20000; i++) {
		if (i % 100 == 0 && stat_of(env, "tce_hard_busy"))
			break;
		expect(env, indirect(env, 0, LIST, 16) == H_SUCCESS);
		expect(env, stuff(env, 0, 0, 16) == H_SUCCESS);
	}
	stop_thread(env, thread);
	expect(env, vfio_unmap(&env->dev, 0, 0x10000) == 0);
	expect(env, stuff(env, 0, 0, 16) == H_SUCCESS);
	if (!stat_of(env, "tce_hard_busy"))
		case_skip("no call met an entry that another CPU had locked");
	expect(env, released(env));
}

/*
 * What ends a run, or happens in one
 */

CASE(immediate_exit_comes_first)
{
	__u64 served;

	begin_tiers(env, "7");
	served = stat_of(env, fastest());
	vm_prepare(&env->vm, &map_call, NULL, 1);
	env->vm.run->immediate_exit = 1;
	expect(env, ioctl(env->vm.vcpu, KVM_RUN, 0) == -1 && errno == EINTR);
	expect(env, stat_of(env, fastest()) == served);
	env->vm.run->immediate_exit = 0;
	vm_time(&env->vm, &map_call, NULL, 1);
	expect(env, stat_of(env, fastest()) == served + 1);
}

static void on_signal(int signal)
{
}

/* SIGUSR1 to this thread every @ms, without restarting what it interrupts */
static void signal_every(unsigned int ms)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGUSR1,
	};
	struct itimerspec when = {
		.it_interval = { 0, ms * 1000000 },
		.it_value = { 0, ms * 1000000 },
	};
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	ktap_need(!timer_create(CLOCK_MONOTONIC, &event, &timer) &&
		  !timer_settime(timer, 0, &when, NULL), "a timer");
}

CASE(signals_end_an_endless_load)
{
	__u64 served;
	unsigned int i;

	begin_tiers(env, "7");
	vm_prepare(&env->vm, &map_call, &clear_call, ENDLESS);
	served = stat_of(env, fastest());
	signal_every(100);
	for (i = 0; i < 10; i++)
		expect(env, ioctl(env->vm.vcpu, KVM_RUN, 0) == -1 &&
		       errno == EINTR);
	expect(env, stat_of(env, fastest()) > served);
}

/* The host's own timers go on: another task on that CPU wakes up in time */
CASE(host_goes_on_under_an_endless_load)
{
	struct ticker ticker;
	sigset_t set;

	begin_tiers(env, "7");
	run_on_cpu(0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	start_ticker(&ticker, 1000);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	vm_prepare(&env->vm, &map_call, &clear_call, ENDLESS);
	signal_every(900);
	expect(env, ioctl(env->vm.vcpu, KVM_RUN, 0) == -1 && errno == EINTR);
	ktap_say("  the other task woke up %lu times",
		 atomic_load(&ticker.ticks));
	expect(env, atomic_load(&ticker.ticks) >= 10);
	stop_ticker(&ticker);
}

static void *run_until_signal(void *arg)
{
	struct env *env = arg;

	run_on_cpu(1);
	ioctl(env->vm.vcpu, KVM_RUN, 0);
	return NULL;
}

/* Wait until @count of the guest gets to @want */
static void wait_for(const struct env *env,
		     __u64 (*count)(const struct vm *vm), __u64 want)
{
	while (count(&env->vm) < want)
		usleep(1000);
}

CASE(interrupts_reach_the_guest)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct kvm_interrupt external = { .irq = KVM_INTERRUPT_SET };
	pthread_t thread;
	unsigned int i;
	__u64 served;

	begin_tiers(env, "7");
	sigaction(SIGUSR1, &action, NULL);
	vm_enable_interrupts(&env->vm);
	vm_prepare(&env->vm, &map_call, &clear_call, ENDLESS);
	served = stat_of(env, fastest());
	pthread_create(&thread, NULL, run_until_signal, env);
	wait_for(env, vm_decrementers, 50);
	for (i = 1; i <= 20; i++) {
		expect(env, !ioctl(env->vm.vcpu, KVM_INTERRUPT, &external));
		wait_for(env, vm_externals, i);
	}
	wait_for(env, vm_decrementers, vm_decrementers(&env->vm) + 9);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	expect(env, stat_of(env, fastest()) > served + 100);
}

/* Is the page at this guest address dirty, by a log of memory from 0 on? */
static bool dirty(const __u64 *bitmap, __u64 gpa)
{
	const __u64 page = gpa / getpagesize();

	return bitmap[page / 64] >> page % 64 & 1;
}

/* The guest's own writes are logged while its hypercalls stay in its context */
CASE(dirty_log_is_kept)
{
	__u64 bitmap[(32 << 20) / PAGE / 64] = { }, served;
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
	unsigned int i;

	begin_tiers(env, "7");
	vm_set_memory(&env->vm, 0, 0, env->vm.mem, env->vm.size,
		      KVM_MEM_LOG_DIRTY_PAGES);
	served = stat_of(env, fastest());
	for (i = 0; i < 5; i++) {
		vm_time(&env->vm, &map_call, &clear_call, 100);
		memset(bitmap, 0, sizeof(bitmap));
		expect(env, !ioctl(env->vm.fd, KVM_GET_DIRTY_LOG, &log));
		/* The page that it writes to, and none that it does not */
		expect(env, dirty(bitmap, GUEST_MAILBOX + GUEST_DIRTY_OFFSET));
		expect(env, !dirty(bitmap, DATA));
	}
	expect(env, stat_of(env, fastest()) >= served + 990);
}

int main(void)
{
	return run_cases();
}
