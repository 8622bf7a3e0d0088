// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <linux/kvm.h>

#include "cases.h"
#include "compute.h"
#include "guest.h"

/* Past the guest program that does hypercalls, and past each CPU's mailbox */
#define COMPUTE_CODE	(GUEST_CODE + 0x8000UL)
#define COMPUTE_COUNT	0xf8UL

/* Seconds after which what does not come back waits for the guest */
#define COMPUTE_PATIENCE	10

/* Microseconds that the guest has to stay, and how often that is tried */
#define COMPUTE_SETTLE		20000
#define COMPUTE_SETTLES		500

/* Count in the mailbox, which r31 points to, for ever */
static const __u32 compute_code[] = {
	0x38630001,			/* 1: addi 3, 3, 1 */
	0xf87f0000 | COMPUTE_COUNT,	/*    std 3, COMPUTE_COUNT(31) */
	0x4bfffff8,			/*    b 1b */
};

/* The handler's only use is that KVM_RUN returns */
static void compute_signal(int sig)
{
}

static unsigned long compute_count(const struct compute_cpu *cpu)
{
	const unsigned char *box = cpu->vm.mem + GUEST_MAILBOX +
				   cpu->vm.id * GUEST_MAILBOX_SIZE;

	return __atomic_load_n((const unsigned long *)(box + COMPUTE_COUNT),
			       __ATOMIC_RELAXED);
}

static __u64 compute_exits(const struct compute *guest)
{
	__u64 exits = 0;
	unsigned int i;

	for (i = 0; i < guest->nr; i++)
		exits += vm_counter_read(&guest->cpus[i].exits);
	return exits;
}

/*
 * Keep a timer pending on this CPU that is far away: a POWER9 host that has none at all
 * for its CPU may leave the guest as soon as it has entered it.
 */
static int compute_far_timer(void)
{
	const struct itimerspec far = { .it_value.tv_sec = 1000000 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	ktap_need(fd >= 0 && !timerfd_settime(fd, 0, &far, NULL), "a timer");
	return fd;
}

void compute_begin(struct compute *guest, const struct vm *vm, unsigned int nr)
{
	const unsigned int others = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	const struct sigaction action = { .sa_handler = compute_signal };
	struct kvm_regs regs;
	unsigned int i;

	if (!others)
		case_skip("this machine has one CPU, the test needs two");
	memset(guest, 0, sizeof(*guest));
	atomic_store(&guest->stop, true);
	guest->nr = nr;
	if (guest->nr > others)
		guest->nr = others;
	sigaction(SIGUSR1, &action, NULL);
	/* Timers stay on the CPU where they are started, if it has no tick, too */
	write_file("/proc/sys/kernel/timer_migration", "0");
	memcpy(vm->mem + COMPUTE_CODE, compute_code, sizeof(compute_code));

	for (i = 0; i < guest->nr; i++) {
		struct compute_cpu *cpu = &guest->cpus[i];

		cpu->vm = *vm;
		cpu->host = i + 1;
		cpu->stop = &guest->stop;
		if (i)
			vm_add_vcpu(vm, i, &cpu->vm);
		ktap_need(!ioctl(cpu->vm.vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
		regs.pc = COMPUTE_CODE;
		ktap_need(!ioctl(cpu->vm.vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
		/* QEMU's CPUs take no doorbell of the host in a guest with interrupts off */
		vm_enable_interrupts(&cpu->vm);
		vm_counter_open(&cpu->exits, &cpu->vm, "sum_exits");
	}
	run_on_cpu(0);
}

static void *compute_run(void *arg)
{
	struct compute_cpu *cpu = arg;
	int timer;

	run_on_cpu(cpu->host);
	timer = compute_far_timer();
	while (!atomic_load(cpu->stop))
		ioctl(cpu->vm.vcpu, KVM_RUN, 0);
	close(timer);
	return NULL;
}

void compute_start(struct compute *guest)
{
	unsigned int i;

	atomic_store(&guest->stop, false);
	for (i = 0; i < guest->nr; i++) {
		guest->cpus[i].vm.run->immediate_exit = 0;
		pthread_create(&guest->cpus[i].thread, NULL, compute_run,
			       &guest->cpus[i]);
	}
}

void compute_stop(struct compute *guest)
{
	unsigned int i;

	if (atomic_exchange(&guest->stop, true))
		return;
	for (i = 0; i < guest->nr; i++) {
		/* For a thread that is on its way to KVM_RUN */
		__atomic_store_n(&guest->cpus[i].vm.run->immediate_exit, 1,
				 __ATOMIC_SEQ_CST);
		pthread_kill(guest->cpus[i].thread, SIGUSR1);
		pthread_join(guest->cpus[i].thread, NULL);
	}
}

/* Is CPU 1 one that has no tick while it runs one task? */
static bool compute_has_no_tick(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/nohz_full", "r");
	unsigned int first = 0;
	bool there;

	/* As "1" or "1-3"; "(null)" when there is none */
	there = f && fscanf(f, "%u", &first) == 1 && first == 1;
	if (f)
		fclose(f);
	return there;
}

void compute_need_no_tick(void)
{
	if (!compute_has_no_tick())
		case_skip("CPU 1 has a tick: boot with nohz_full=1 isolcpus=1");
}

/* Have all CPUs computed for @us, without an exit? */
static bool compute_stays(const struct compute *guest, unsigned int us)
{
	unsigned long counts[COMPUTE_MAX];
	__u64 exits = compute_exits(guest);
	unsigned int i;

	for (i = 0; i < guest->nr; i++)
		counts[i] = compute_count(&guest->cpus[i]);
	usleep(us);
	for (i = 0; i < guest->nr; i++)
		if (compute_count(&guest->cpus[i]) == counts[i])
			return false;
	return compute_exits(guest) == exits || !compute_has_no_tick();
}

void compute_settle(struct compute *guest)
{
	unsigned int i;

	for (i = 0; i < COMPUTE_SETTLES; i++)
		if (compute_stays(guest, COMPUTE_SETTLE))
			return;
	compute_stop(guest);
	ktap_need(false, "a guest that stays on its CPU");
}

struct beside {
	const struct compute *guest;
	void (*act)(void *arg);
	void *arg;
	__u64 exits;
	__u64 ns;
};

static void *compute_act(void *arg)
{
	struct beside *beside = arg;
	__u64 exits = compute_exits(beside->guest), began = now_ns();

	beside->act(beside->arg);
	beside->ns = now_ns() - began;
	beside->exits = compute_exits(beside->guest) - exits;
	return NULL;
}

enum compute_beside compute_beside(struct compute *guest, void (*act)(void *arg),
				   void *arg, __u64 *ns)
{
	struct beside beside = { .guest = guest, .act = act, .arg = arg };
	struct timespec until;
	pthread_t thread;
	bool hung;

	pthread_create(&thread, NULL, compute_act, &beside);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += COMPUTE_PATIENCE;
	hung = pthread_timedjoin_np(thread, NULL, &until);
	if (hung) {
		compute_stop(guest);
		pthread_join(thread, NULL);
	}
	if (ns)
		*ns = beside.ns;
	if (hung)
		return BESIDE_HUNG;
	return beside.exits ? BESIDE_MOVED : BESIDE_QUIET;
}
