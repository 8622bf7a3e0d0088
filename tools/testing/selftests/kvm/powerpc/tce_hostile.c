// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest whose CPUs do nothing but TCE hypercalls, and a VMM that takes away what
 * they use at the same time.  Whatever they are answered: afterwards the device
 * reaches nothing, the kernel has let go of all memory, and all of it can be used
 * again.  The kernel's log tells of what was used after it was freed, if the
 * kernel is built to notice.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "cases.h"

#define CPUS	3

/* Bytes of memory that come and go */
#define MORE	0x100000

/* One CPU of the guest, on a thread of its own */
struct cpu {
	struct env env;
	struct env *main;
	pthread_t thread;
	unsigned int seed;
};

static __u64 random_bus(struct cpu *cpu)
{
	return rand_r(&cpu->seed) % 8 * PAGE;
}

/* All hypercalls, on a few entries, to memory that comes and goes */
static void *hammer(void *arg)
{
	struct cpu *cpu = arg;
	struct env *env = &cpu->env;

	while (!atomic_load(&cpu->main->stop)) {
		env->liobn = LIOBN + rand_r(&cpu->seed) % 2;
		switch (rand_r(&cpu->seed) % 6) {
		case 0:
			put(env, random_bus(cpu), DATA | RW);
			break;
		case 1:
			put(env, random_bus(cpu), HOLE | RW);
			break;
		case 2:
			indirect(env, random_bus(cpu), LIST, 64);
			break;
		case 3:
			indirect(env, random_bus(cpu), HOLE, 16);
			break;
		case 4:
			stuff(env, random_bus(cpu), 0, 1 + rand_r(&cpu->seed) % 600);
			break;
		default:
			hcall(env, H_GET_TCE, random_bus(cpu), 0, 0);
		}
	}
	return NULL;
}

static void start(struct env *env, struct cpu *cpus)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		cpus[i] = (struct cpu){ .env = *env, .main = env, .seed = i };
		if (i)
			vm_add_vcpu(&env->vm, i, &cpus[i].env.vm);
	}
	/* KVM on POWER8 wants all CPUs to be there before one of them runs */
	for (i = 0; i < CPUS; i++)
		pthread_create(&cpus[i].thread, NULL, hammer, &cpus[i]);
}

static void stop(struct env *env, struct cpu *cpus)
{
	unsigned int i;

	atomic_store(&env->stop, true);
	for (i = 0; i < CPUS; i++)
		pthread_join(cpus[i].thread, NULL);
}

/* Nothing is held, and a transfer of the device works again */
static void expect_usable(struct env *env)
{
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	expect(env, put(env, 0x100000, DATA | TCE_READ) == H_SUCCESS);
	expect(env, put(env, 0x101000, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, edu_copies_page(&env->dev, 0x100000, env->vm.mem + DATA));
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

static void begin_hostile(struct env *env)
{
	begin(env);
	vfio_open_device(&env->dev);
	fill_list(env, RW);
}

/* Take away @rounds times what the guest's CPUs are using */
static void under_fire(struct env *env, void (*round)(struct env *env),
		       unsigned int rounds)
{
	struct cpu cpus[CPUS];

	begin_hostile(env);
	start(env, cpus);
	while (rounds--)
		round(env);
	stop(env, cpus);
	expect_usable(env);
}

/* Further memory, with a list; false when it could not be registered */
static bool bring(struct env *env, __u8 *more)
{
	memcpy(more, env->vm.mem + LIST, PAGE);
	return !vfio_try_register(&env->dev, more, MORE);
}

/* Busy as long as an entry leads there, and CPUs may be faster than this */
static bool take_away(struct env *env, void *mem, size_t size)
{
	unsigned int tries;

	for (tries = 0; tries < 5; tries++) {
		vfio_unmap(&env->dev, 0, 1 << 20);
		if (!vfio_unregister(&env->dev, mem, size))
			return true;
	}
	return false;
}

/* The list's memory and the memory mapped go, and come back */
CASE(memory_goes)
{
	struct cpu cpus[CPUS];
	__u8 *more;
	unsigned int i;

	begin_hostile(env);
	more = vm_add_memory(&env->vm, 1, HOLE, MORE);
	start(env, cpus);
	for (i = 0; i < 20; i++) {
		bring(env, more);
		usleep(500);
		take_away(env, more, MORE);
		take_away(env, env->vm.mem, env->vm.size);
		vfio_try_register(&env->dev, env->vm.mem, env->vm.size);
	}
	stop(env, cpus);
	take_away(env, more, MORE);
	vfio_try_register(&env->dev, env->vm.mem, env->vm.size);
	expect_usable(env);
}

static void memslot_goes(struct env *env)
{
	__u8 *more = vm_add_memory(&env->vm, 1, HOLE, MORE);

	expect(env, bring(env, more));
	usleep(500);
	vm_delete_memory(&env->vm, 1);
	/* Hypercalls no longer find it */
	expect(env, take_away(env, more, MORE));
	munmap(more, MORE);
}

CASE_CALL(memslots_go, under_fire, memslot_goes, 20);

static void liobn_goes(struct env *env)
{
	int second = vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, ENTRIES);

	vm_bind(&env->vm, &env->dev, second);
	usleep(500);
	close(second);
	renew_liobn(env);
}

CASE_CALL(liobns_go, under_fire, liobn_goes, 20);

static void group_goes(struct env *env)
{
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	usleep(200);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	usleep(200);
}

CASE_CALL(groups_go, under_fire, group_goes, 15);

static void window_goes(struct env *env)
{
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	usleep(200);
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	usleep(200);
}

CASE_CALL(windows_go, under_fire, window_goes, 15);

/* Entries of a list change while it is read: what was checked is installed */
static void list_changes(struct env *env)
{
	unsigned int i;

	for (i = 0; i < 512; i++) {
		set_list(env, i % 64, HOLE | RW);
		set_list(env, i % 64, 0x5000);
		set_list(env, i % 64, (DATA + i * PAGE) | RW);
	}
}

CASE_CALL(lists_change, under_fire, list_changes, 10);

/*
 * Two LIOBNs on the tables of two groups, bound in opposite orders: whoever holds
 * an entry of the one table waits for the other's.
 */
CASE(tables_bound_crosswise)
{
	struct cpu cpus[CPUS];
	struct vfio_dev other;
	int second;

	need_more(env, &other, 1);
	begin_hostile(env);
	bind_further(env, &other);
	second = vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, ENTRIES);
	expect(env, !vm_bind(&env->vm, &other, second));
	expect(env, !vm_bind(&env->vm, &env->dev, second));
	start(env, cpus);
	sleep(2);
	stop(env, cpus);
	expect(env, vm_group_del(&env->vm, &other) == 0);
	expect(env, vfio_remove_window(&other, 0) == 0);
	expect(env, vfio_unregister(&other, env->vm.mem, env->vm.size) == 0);
	expect_usable(env);
}

/* The VMM is killed in the midst of it; the next one finds the device free */
CASE(vmm_goes)
{
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		struct cpu cpus[CPUS];

		pid = fork();
		if (!pid) {
			begin_hostile(env);
			start(env, cpus);
			usleep(20000 + i * 3000);
			kill(getpid(), SIGKILL);
		}
		waitpid(pid, &status, 0);
		expect(env, WIFSIGNALED(status));
	}
	begin_hostile(env);
	expect_usable(env);
}

int main(void)
{
	return run_cases();
}
