// SPDX-License-Identifier: GPL-2.0-only
/*
 * Do virtual CPUs that change entries at the same time hinder each other?  Each
 * maps and clears entries of its own, in a LIOBN of its own or in one that all
 * share, bound to one hardware table.  A "# scale" line says how many times the
 * throughput of one CPU that is, by the clock: the median of several runs, and
 * the least and the greatest.
 *
 * On an emulated machine this shows whether they wait for each other, provided
 * that the machine below has a CPU for each; it does not show what sharing cache
 * lines costs hardware.  With tce_bench=shared in the environment, two of them do
 * each load while its number ("id") is in a register of the device that does
 * nothing: so whoever looks at the machine can tell what lines both write to.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"

#define CPUS		4
#define RUNS		7

struct cpu {
	struct vm vm;
	pthread_t thread;
	__u64 liobn, bus, n;
	unsigned int times;
};

static struct cpu cpus[CPUS];
static pthread_barrier_t barrier;
static unsigned int runs = 1, rounds = 20;

static void *work(void *arg)
{
	struct cpu *cpu = arg;
	const struct vm_call single = { H_PUT_TCE,
					{ cpu->liobn, cpu->bus, DATA | RW } };
	const struct vm_call list = { H_PUT_TCE_INDIRECT,
				      { cpu->liobn, cpu->bus, LIST, cpu->n } };
	const struct vm_call clear = { H_STUFF_TCE,
				       { cpu->liobn, cpu->bus, 0, cpu->n } };

	run_on_cpu(cpu->vm.id);
	pthread_barrier_wait(&barrier);
	vm_time(&cpu->vm, cpu->n == 1 ? &single : &list, &clear, cpu->times);
	return NULL;
}

/* Nanoseconds that @n virtual CPUs take for the work of each */
static __u64 together(unsigned int n, bool shared, __u64 entries)
{
	unsigned int i;
	__u64 began;

	pthread_barrier_init(&barrier, NULL, n + 1);
	for (i = 0; i < n; i++) {
		cpus[i].liobn = LIOBN + (shared ? 0 : i);
		cpus[i].bus = i * 512 * PAGE;
		cpus[i].n = entries;
		cpus[i].times = entries == 1 ? 50 * rounds : rounds;
		ktap_need(!pthread_create(&cpus[i].thread, NULL, work, &cpus[i]),
			  "a thread");
	}
	began = now_ns();
	pthread_barrier_wait(&barrier);
	for (i = 0; i < n; i++)
		pthread_join(cpus[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	return now_ns() - began;
}

static int compare(const void *a, const void *b)
{
	return *(const long *)a - *(const long *)b;
}

/* In percent of what one CPU does alone, measured right before */
static void compare_with_one(unsigned int n, bool shared, __u64 entries)
{
	long percent[RUNS];
	unsigned int i;

	for (i = 0; i < runs; i++) {
		__u64 alone = together(1, shared, entries);

		percent[i] = 100 * n * alone / together(n, shared, entries);
	}
	qsort(percent, runs, sizeof(*percent), compare);
	ktap_say("scale cpus=%u liobns=%s entries=%llu percent=%ld least=%ld most=%ld",
		 n, shared ? "shared" : "own", entries, percent[runs / 2], percent[0],
		 percent[runs - 1]);
}

/* Looked at from outside: short enough for the timer not to come in between */
static void show_two(struct env *env, bool shared, __u64 entries)
{
	const unsigned int id = 10 * entries + shared;

	edu_mark(&env->dev, id);
	together(2, shared, entries);
	edu_mark(&env->dev, 0);
	ktap_say("shared id=%u liobns=%s entries=%llu", id, shared ? "shared" : "own",
		 entries);
}

CASE(own_entries)
{
	const char *mode = getenv("tce_bench");
	const bool show = mode && !strcmp(mode, "shared");
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int i, shared;

	if (mode && !strcmp(mode, "full")) {
		runs = RUNS;
		rounds = 60;
	}
	if (n > CPUS)
		n = CPUS;
	prepare(env, SHIFT);
	fill_list(env, RW);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	if (show)
		vfio_open_device(&env->dev);
	cpus[0].vm = env->vm;
	for (i = 1; i < n; i++) {
		int fd = vm_create_liobn(&env->vm, LIOBN + i, SHIFT, ENTRIES);

		ktap_need(!vm_bind(&env->vm, &env->dev, fd), "binding");
		vm_add_vcpu(&env->vm, i, &cpus[i].vm);
	}
	together(n, false, 512);
	for (shared = 0; shared < 2; shared++) {
		if (show && n > 1) {
			show_two(env, shared, 1);
			show_two(env, shared, 16);
		}
		for (i = 2; !show && i <= n; i += 2) {
			compare_with_one(i, shared, 1);
			compare_with_one(i, shared, 512);
		}
	}
	/* No count has gone astray meanwhile */
	expect(env, unregister(env) == 0);
}

int main(void)
{
	return run_cases();
}
