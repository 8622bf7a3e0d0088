// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA windows as a VMM asks for them, often and without sense: what is refused leaves
 * nothing behind, neither for this VMM nor for the next one; what is removed is given
 * back, whoever still holds a part of it; and the kernel's log does not fill.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/resource.h>

#include "cases.h"

/* Somebody without privileges */
#define NOBODY		1000

/* Lines of the kernel's log that others may write meanwhile */
#define LINES		20

/* Of SUnreclaim in /proc/meminfo, that others may take meanwhile */
#define SLAB_KIB	512

/* Seconds for freed memory to be seen as free */
#define SETTLE		30

/* The kernel's log from now on */
static int open_log(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	ktap_need(log >= 0, "opening /dev/kmsg");
	lseek(log, 0, SEEK_END);
	return log;
}

/* Lines that were logged since; at least so many if some were overwritten */
static unsigned int lines_of(int log)
{
	unsigned int lines = 0;
	char line[8192];

	while (read(log, line, sizeof(line)) > 0 || errno == EPIPE) {
		lines++;
		errno = 0;
	}
	close(log);
	return lines;
}

static long slab_kib(void)
{
	return proc_kib("/proc/meminfo", "SUnreclaim");
}

/* What is freed after a grace period, and in batches, is given time for that */
static long slab_growth_since(long was)
{
	unsigned int i;

	for (i = 0; i < SETTLE && slab_kib() - was >= SLAB_KIB; i++)
		sleep(1);
	return slab_kib() - was;
}

/* No window is there, and the usual one can be had, used and given back */
static void expect_usual_window(struct env *env)
{
	const long locked = locked_kib();
	__u64 start = 0;

	expect(env, vfio_remove_window(&env->dev, 0) == -EINVAL);
	expect(env, vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start) == 0);
	expect(env, !start && locked_kib() > locked);
	expect(env, vfio_remove_window(&env->dev, start) == 0);
	expect(env, locked_kib() == locked);
}

static void open_without_window(struct env *env)
{
	vfio_open_group(&env->dev);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
}

/* And again when another VMM comes: the group leaves its container, and gets a new one */
static void expect_usual_window_twice(struct env *env)
{
	expect_usual_window(env);
	expect(env, vfio_leave(&env->dev) == 0);
	close(env->dev.container);
	close(env->dev.group);
	open_without_window(env);
	expect_usual_window(env);
}

/*
 * What is refused
 */

/* Too large for any memory, with sound arguments */
CASE(too_large_for_memory)
{
	const long locked = locked_kib();
	__u64 start;

	open_without_window(env);
	expect(env, vfio_add_window(&env->dev, 16, 1UL << 44, 1, &start) < 0);
	expect(env, locked_kib() == locked);
	expect_usual_window_twice(env);
}

/* The same beside a window that is there, which goes on being the only one */
CASE(too_large_beside_a_window)
{
	__u64 start;
	long locked;

	open_without_window(env);
	ktap_need(!vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start),
		  "making a window");
	locked = locked_kib();
	expect(env, vfio_add_window(&env->dev, 16, 1UL << 44, 1, &start) < 0);
	expect(env, locked_kib() == locked);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect_usual_window_twice(env);
}

/* The large window first, and a small one beside it, which some machines refuse */
CASE(in_the_other_order)
{
	__u64 large, small;
	int ret;

	open_without_window(env);
	if (vfio_add_window(&env->dev, 16, 1 << 20, 1, &large))
		case_skip("no window with pages of 64K");
	ret = vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &small);
	ktap_say("  a second window: %d", ret);
	if (!ret)
		expect(env, vfio_remove_window(&env->dev, small) == 0);
	expect(env, vfio_remove_window(&env->dev, large) == 0);
	expect_usual_window_twice(env);
}

/* Each is refused; by which error, is up to the machine */
static void refuse(struct env *env, unsigned int times)
{
	static const struct {
		__u32 shift;
		__u64 size;
		__u32 levels;
	} shapes[] = {
		{ SHIFT, WINDOW, 6 },
		{ SHIFT, 3 * PAGE, 1 },
		{ SHIFT, PAGE / 2, 1 },
		{ SHIFT, 1UL << 43, 1 },
		{ 16, 1UL << 46, 1 },
		{ 16, 1UL << 55, 1 },
		{ 13, WINDOW, 1 },
		{ 63, 1UL << 63, 1 },
	};
	__u64 start;
	unsigned int i;

	for (i = 0; i < times; i++) {
		unsigned int n = i % ARRAY_SIZE(shapes);

		if (vfio_add_window(&env->dev, shapes[n].shift, shapes[n].size,
				    shapes[n].levels, &start))
			continue;
		ktap_say("  shape %u is not refused", n);
		env->failed = true;
		vfio_remove_window(&env->dev, start);
	}
}

/* What grows in the host, and must not */
struct growth {
	long locked;
	long slab;
	int log;
};

/* After what is had once, and kept */
static void begin_growth(struct growth *growth, long locked)
{
	sleep(SETTLE / 3);
	growth->locked = locked;
	growth->slab = slab_kib();
	growth->log = open_log();
}

static void expect_no_growth(struct env *env, const struct growth *growth)
{
	const unsigned int lines = lines_of(growth->log);
	const long slab = slab_growth_since(growth->slab);

	ktap_say("  %u lines are logged, slabs grow by %ld KiB", lines, slab);
	expect(env, lines < LINES);
	expect(env, slab < SLAB_KIB);
	expect(env, locked_kib() == growth->locked);
	expect_usual_window(env);
}

/* Neither memory nor the log fills */
CASE(thousands_of_refusals)
{
	const long locked = locked_kib();
	unsigned int windows = 0;
	struct growth growth;
	__u64 start[2];

	open_without_window(env);
	refuse(env, 100);
	begin_growth(&growth, locked);

	refuse(env, 4000);
	/* With all windows in use, and on some machines with one less */
	while (windows < 2 && !vfio_add_window(&env->dev, 16, 1 << 20, 1,
					       &start[windows]))
		windows++;
	ktap_say("  %u windows", windows);
	refuse(env, 4000);
	while (windows--)
		expect(env, vfio_remove_window(&env->dev, start[windows]) == 0);
	expect_no_growth(env, &growth);
}

/*
 * What is removed
 */

static void come_and_go(struct env *env, unsigned int times, __u32 shift, __u64 size)
{
	unsigned int i;
	__u64 start;

	for (i = 0; i < times; i++) {
		ktap_need(!vfio_add_window(&env->dev, shift, size, 1, &start),
			  "making window %u with pages of 2^%u", i, shift);
		expect(env, vfio_remove_window(&env->dev, start) == 0);
	}
}

CASE(windows_that_come_and_go)
{
	const long locked = locked_kib();
	struct growth growth;

	open_without_window(env);
	come_and_go(env, 20, 16, 1 << 20);
	come_and_go(env, 20, SHIFT, 1 << 20);
	begin_growth(&growth, locked);

	come_and_go(env, 4000, 16, 1 << 20);
	come_and_go(env, 200, SHIFT, 1 << 20);
	expect_no_growth(env, &growth);
}

/* What could be in a window costs nobody time, what is there does */
CASE(huge_and_nearly_empty)
{
	const unsigned long size = 1UL << 50;
	__u8 *mem = new_memory(1 << 20);
	unsigned int levels, made = 0;
	__u64 start;

	open_without_window(env);
	vfio_register(&env->dev, mem, 1 << 20);
	for (levels = 2; levels <= 5; levels++) {
		if (vfio_add_window(&env->dev, SHIFT, size, levels, &start))
			continue;
		made++;
		expect(env, vfio_unmap(&env->dev, start, size) == 0);
		expect(env, vfio_map(&env->dev, start + size / 3 * 2 / PAGE * PAGE,
				     mem, 1 << 20) == 0);
		expect(env, vfio_unregister(&env->dev, mem, 1 << 20) == -EBUSY);
		expect(env, vfio_unmap(&env->dev, start, size) == 0);
		expect(env, vfio_unregister(&env->dev, mem, 1 << 20) == 0);
		vfio_register(&env->dev, mem, 1 << 20);
		expect(env, vfio_remove_window(&env->dev, start) == 0);
	}
	if (!made)
		case_skip("no window of 2^50 bytes");
}

/* What follows is done by nobody, who may lock @kib more; not all can read /proc */
static void become_nobody(long kib)
{
	const long most = (locked_kib() + kib) << 10;
	struct rlimit limit = { most, most };

	ktap_need(!setrlimit(RLIMIT_MEMLOCK, &limit), "RLIMIT_MEMLOCK");
	ktap_need(!seteuid(NOBODY), "becoming nobody");
}

static void become_root(void)
{
	ktap_need(!seteuid(0), "becoming root again");
}

/*
 * Each LIOBN still holds the table that it was bound to.  That table is no longer a
 * window.  Nobody accounts for what it would hold, so it must hold nothing.
 */
CASE(removed_but_bound)
{
	const unsigned int rounds = 200;
	const long limit = 64 << 10;
	unsigned int i;
	__u64 start;
	long memory;

	prepare_vm(env, 1 << 20);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	memory = proc_kib("/proc/meminfo", "MemFree");
	become_nobody(limit);

	for (i = 0; i < rounds; i++) {
		ktap_need(!vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start),
			  "making window %u", i);
		env->tablefd = vm_create_liobn(&env->vm, ++env->liobn, SHIFT, 1);
		expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
		/* Some of it is in use until then */
		expect(env, put(env, 0, 0x80000 | RW) == H_SUCCESS);
		expect(env, vfio_remove_window(&env->dev, start) == 0);
	}

	become_root();
	memory -= proc_kib("/proc/meminfo", "MemFree");
	ktap_say("  after %u windows %ld KiB less are free", rounds, memory);
	/* The LIOBNs themselves take some, up to what may be locked */
	expect(env, memory < 2 * limit);
	/* Nor does any of them hold guest memory */
	expect(env, released(env));
}

int main(void)
{
	return run_cases();
}
