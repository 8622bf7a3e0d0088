// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VMM's side of in-kernel TCEs costs: registering memory, windows, LIOBNs,
 * bindings, in CPU time of the calling thread (under QEMU's -icount shift=0, in
 * instructions); and the memory that a window takes.
 *
 * A "# setup" line for each call says what it took, with one region registered
 * and with many; a "# memory" line what is taken by a step, in KiB: what the
 * kernel has less, and what the VMM is charged for.  That is exact enough with
 * tce_bench=full in the environment; else it is a glance.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>

#include "cases.h"

#define SIZE		(16UL << 20)
#define REGION		0x10000UL
#define MANY		256
#define TIMES		4

enum {
	REGISTER, UNREGISTER, LIOBN_CREATE, LIOBN_CLOSE, BIND, RELEASE,
	WINDOW_CREATE, WINDOW_REMOVE, OPS
};

static const char * const names[OPS] = {
	"register", "unregister", "liobn-create", "liobn-close", "bind",
	"release", "window-create", "window-remove",
};

static __u64 cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static __u64 least[OPS], began;

/* Of which the mean is taken */
static unsigned int liobns = 1;

static void start(void)
{
	began = cpu_time();
}

static void stop(unsigned int op)
{
	__u64 ns = cpu_time() - began;

	if (!least[op] || ns < least[op])
		least[op] = ns;
}

static __u8 *populated(size_t size)
{
	__u8 *mem = mmap(NULL, size + REGION, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	ktap_need(mem != MAP_FAILED, "%zu bytes of memory", size);
	return (__u8 *)(((uintptr_t)mem + REGION - 1) & ~(REGION - 1));
}

/* Everything once; what the smallest of several times was is noted */
static void measure(struct env *env, __u8 *mem)
{
	__u64 at;
	int fd;

	start();
	vfio_register(&env->dev, mem, SIZE);
	stop(REGISTER);
	start();
	expect(env, !vfio_unregister(&env->dev, mem, SIZE));
	stop(UNREGISTER);

	start();
	fd = vm_create_liobn(&env->vm, LIOBN + 1, SHIFT, ENTRIES);
	stop(LIOBN_CREATE);
	start();
	close(fd);
	stop(LIOBN_CLOSE);

	start();
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	stop(BIND);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	start();
	expect(env, !vm_group_del(&env->vm, &env->dev));
	stop(RELEASE);
	start();
	expect(env, !vfio_remove_window(&env->dev, 0));
	stop(WINDOW_REMOVE);
	start();
	expect(env, !vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &at));
	stop(WINDOW_CREATE);
	expect(env, !vm_group_add(&env->vm, &env->dev));
}

CASE(setup_costs)
{
	unsigned int regions, i;
	__u8 *mem, *others;

	prepare(env, SHIFT);
	mem = populated(SIZE);
	others = populated(2 * MANY * REGION);
	for (regions = 1; regions <= MANY; regions += MANY - 1) {
		for (i = 1; i < regions; i++)
			vfio_register(&env->dev, others + 2 * i * REGION, REGION);
		memset(least, 0, sizeof(least));
		for (i = 0; i < TIMES; i++)
			measure(env, mem);
		for (i = 0; i < OPS; i++)
			ktap_say("setup op=%s regions=%u ns=%llu", names[i], regions,
				 least[i]);
	}
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
}

/* What the page allocator has, to the page: MemFree lags behind */
static long free_kib(void)
{
	const long page = sysconf(_SC_PAGESIZE) / 1024;
	FILE *f = fopen("/proc/buddyinfo", "r");
	char line[1024], *at, *end;
	long n, kib = 0;
	int order;

	/* Node 0, zone   Normal      1      0      2 ...: blocks of each order */
	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "zone") + 4;
		at += strspn(at, " ");
		at += strcspn(at, " ");
		for (order = 0; n = strtol(at, &end, 10), end != at; order++) {
			kib += (n << order) * page;
			at = end;
		}
	}
	if (f)
		fclose(f);
	return kib;
}

static void say_memory(const char *step, unsigned int n)
{
	static long was_free, was_charged;
	long now_free = free_kib(), now_charged = locked_kib();

	if (step)
		ktap_say("memory step=%s taken=%ld charged=%ld", step,
			 (was_free - now_free) / n,
			 (now_charged - was_charged) / n);
	was_free = now_free;
	was_charged = now_charged;
}

static void use_liobns(struct env *env, __u64 first)
{
	__u64 i, n;

	for (n = first; n < first + liobns; n++)
		for (i = 0; i < ENTRIES; i += 512)
			expect(env, !vm_hypercall(&env->vm, NULL,
						  H_PUT_TCE_INDIRECT, n,
						  i * PAGE, LIST, 512));
}

/*
 * Each CPU keeps some free pages, which do not show: they are used up before, and
 * what a LIOBN takes is the mean of many.
 */
CASE(memory_of_a_window)
{
	__u64 n, start;

	vm_create(&env->vm, SIZE);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	expect(env, !vfio_remove_window(&env->dev, 0));
	fill_list(env, RW);
	for (n = 0; n < liobns; n++)
		vm_create_liobn(&env->vm, n, SHIFT, ENTRIES);
	use_liobns(env, 0);

	say_memory(NULL, 1);
	expect(env, !vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start));
	say_memory("window", 1);
	for (n = 0; n < liobns; n++)
		vm_create_liobn(&env->vm, LIOBN + n, SHIFT, ENTRIES);
	say_memory("liobn", liobns);
	use_liobns(env, LIOBN);
	say_memory("liobn-used", liobns);
}

int main(void)
{
	const char *mode = getenv("tce_bench");

	if (mode && !strcmp(mode, "full"))
		liobns = 32;
	return run_cases();
}
