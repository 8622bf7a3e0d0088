// SPDX-License-Identifier: GPL-2.0-only
/*
 * FP and vector registers of the VMM, of other tasks on its CPU, of a signal handler
 * and of the guest keep apart while the guest's hypercalls are served.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <linux/kvm.h>

#include "cases.h"
#include "vsx.h"

/* PAPR 14.11.3.4.4: give the processor away until there is an interrupt */
#define H_CEDE	0xe0

/* Whose value it is, in each word: found where it does not belong, it can be told */
enum owner { VMM = 0x11, GUEST, SPINNER, YIELDER, HANDLER };

static __u64 value_of(enum owner owner, unsigned int vsr, unsigned int word)
{
	return (__u64)owner << 56 | (__u64)owner << 24 | (vsr << 4) | word;
}

static void fill(struct vsx *vsx, enum owner owner)
{
	unsigned int i;

	for (i = 0; i < VSX_REGISTERS * 2; i++)
		vsx->set[i / 2][i % 2] = value_of(owner, i / 2, i % 2);
}

/* How many registers are not what they were; says which is the first one */
static unsigned int lost(const struct vsx *vsx, const char *whose)
{
	unsigned int i, nr = 0;

	for (i = 0; i < VSX_REGISTERS; i++) {
		if (!memcmp(vsx->seen[i], vsx->set[i], sizeof(vsx->set[i])))
			continue;
		if (!nr++)
			ktap_say("  VSR%u of the %s: %016llx %016llx", i, whose,
				 vsx->seen[i][0], vsx->seen[i][1]);
	}
	if (nr)
		ktap_say("  and %u more", nr - 1);
	return nr;
}

/**
 * struct other - a task on the VMM's CPU that uses all the registers, too
 * @thread: it
 * @env: tells it to end
 * @vsx: its registers
 * @name: how to call it
 * @lost: registers that it has lost
 */
struct other {
	pthread_t thread;
	const struct env *env;
	struct vsx vsx;
	const char *name;
	unsigned int lost;
};

static void *use_registers(void *arg)
{
	struct other *other = arg;

	run_on_cpu(0);
	while (!atomic_load(&other->env->stop) && !other->lost) {
		vsx_run(&other->vsx);
		other->lost = lost(&other->vsx, other->name);
	}
	return NULL;
}

static void start_other(struct other *other, enum owner owner,
			const struct env *env)
{
	sigset_t all, old;

	other->env = env;
	fill(&other->vsx, owner);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	ktap_need(!pthread_create(&other->thread, NULL, use_registers, other),
		  "a thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static unsigned int stop_other(struct other *other)
{
	pthread_join(other->thread, NULL);
	return other->lost;
}

static struct vsx in_handler = { .second = SYS_getppid };

static void on_signal(int signal)
{
	vsx_run(&in_handler);
}

static void signal_often(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	const struct itimerval often = { { 0, 3000 }, { 0, 3000 } };

	fill(&in_handler, HANDLER);
	sigaction(SIGALRM, &action, NULL);
	ktap_need(!setitimer(ITIMER_REAL, &often, NULL), "a timer");
}

/* Guest registers by number, as KVM_GET_ONE_REG knows them */
static __u64 guest_vsr(unsigned int i)
{
	return i < 32 ? KVM_REG_PPC_VSR(i) : KVM_REG_PPC_VR(i - 32);
}

static void fill_guest(const struct vm *vm, const struct vsx *vsx)
{
	unsigned int i;

	for (i = 0; i < VSX_REGISTERS; i++)
		ktap_need(vm_set_reg(vm, guest_vsr(i), vsx->set[i]),
			  "setting VSR%u of the guest", i);
}

static unsigned int lost_by_guest(const struct vm *vm, struct vsx *vsx)
{
	unsigned int i;

	for (i = 0; i < VSX_REGISTERS; i++)
		vm_get_reg(vm, guest_vsr(i), vsx->seen[i]);
	return lost(vsx, "guest");
}

/* The guest does @first and @second; all else on this CPU uses registers, too */
static void run_among_others(struct env *env, const struct vm_call *first,
			     const struct vm_call *second, unsigned int rounds)
{
	static struct vsx vmm = { .second = SYS_ioctl }, guest;
	static struct other spinner = {
		.vsx = { .spins = 5000, .second = SYS_getppid },
		.name = "task that spins",
	};
	static struct other yielder = {
		.vsx = { .spins = 500, .second = SYS_sched_yield },
		.name = "task that yields",
	};
	unsigned int i, runs = 0, bad = 0;
	long ret;

	run_on_cpu(0);
	fill(&vmm, VMM);
	fill(&guest, GUEST);
	fill_guest(&env->vm, &guest);
	start_other(&spinner, SPINNER, env);
	start_other(&yielder, YIELDER, env);
	vmm.args[0] = env->vm.vcpu;
	vmm.args[1] = KVM_RUN;
	for (i = 0; i < rounds && !bad; i++) {
		vm_prepare(&env->vm, first, second, 1 + i % 7 * 5);
		do {
			vmm.first = runs % 3 ? 0 : SYS_sched_yield;
			vmm.spins = runs++ % 5 * 100;
			ret = vsx_run(&vmm);
			bad += lost(&vmm, "VMM");
		} while (ret == -EINTR && !bad);
		ktap_need(bad || !ret, "KVM_RUN: %ld", ret);
		if (i % 8 == 0)
			bad += lost_by_guest(&env->vm, &guest);
	}
	bad += lost_by_guest(&env->vm, &guest);
	atomic_store(&env->stop, true);
	bad += stop_other(&spinner) + stop_other(&yielder);
	ktap_say("  KVM_RUN %u times in %u rounds", runs, i);
	expect(env, !bad);
}

CASE(registers_are_kept_when_preempted)
{
	begin(env);
	use_first_entry(env);
	signal_often();
	run_among_others(env, &map_call, &clear_call, 200);
}

/* KVM_RUN waits, and other tasks have their turn, until the decrementer ticks */
CASE(registers_are_kept_when_asleep)
{
	const struct vm_call cede = { .nr = H_CEDE };

	begin(env);
	use_first_entry(env);
	vm_enable_interrupts(&env->vm);
	run_among_others(env, &map_call, &cede, 20);
}

int main(void)
{
	return run_cases_on_tiers();
}
