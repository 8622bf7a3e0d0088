// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that was given back while memory was short, so that the kernel could not
 * make all that it gives a device of its own: whoever gets it next has a device that
 * reaches what is in its window, and nothing else.
 *
 * The kernel has to be built for that (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC).
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"

/* Where powernv's bridges let a device of the kernel's past the translations */
#define BYPASS		0x800000000000000UL

#define AT_MOST		200	/* allocations */

/* Where @mem is in the machine's memory: its frame is in the lower 55 bits */
static __u64 physical_address(const void *mem)
{
	const __u64 page_size = getpagesize();
	const __u64 address = (uintptr_t)mem;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	ktap_need(pread(fd, &entry, sizeof(entry), address / page_size * 8) == 8 &&
		  entry >> 63, "reading /proc/self/pagemap");
	close(fd);
	return (entry & ((1UL << 55) - 1)) * page_size + address % page_size;
}

static void take(struct env *env)
{
	open_with_window(env, &env->dev);
	vfio_open_device(&env->dev);
}

static void give_back(struct env *env)
{
	close(env->dev.device);
	close(env->dev.container);
	close(env->dev.group);
}

/* What the device writes to @bus lands in the first page of memory */
static bool reaches(struct env *env, __u64 bus)
{
	__u8 *page = env->vm.mem;

	memset(page, 0x5a, PAGE);
	edu_write(&env->dev, bus, PAGE);
	return page[0] != 0x5a || page[PAGE - 1] != 0x5a;
}

CASE(given_back_without_memory)
{
	unsigned int nth, reached = 0;
	bool failed = true;
	__u64 physical;

	env->vm.size = 1 << 20;
	env->vm.mem = new_memory(env->vm.size);
	memset(env->vm.mem, 0, env->vm.size);

	for (nth = 1; failed && nth < AT_MOST; nth++) {
		take(env);
		fail_nth(nth);
		give_back(env);
		failed = fail_nth_is_over();

		take(env);
		physical = physical_address(env->vm.mem);
		expect(env, vfio_map(&env->dev, 0, env->vm.mem, PAGE) == 0);
		expect(env, reaches(env, 0));
		expect(env, vfio_unmap(&env->dev, 0, PAGE) == 0);
		expect(env, !reaches(env, 0));
		if (reaches(env, BYPASS + physical)) {
			ktap_say("  allocation %u: all memory is in reach", nth);
			reached++;
		}
		give_back(env);
	}
	ktap_say("  %u allocations", nth - 2);
	expect(env, nth < AT_MOST);
	expect(env, !reached);
}

int main(void)
{
	return run_cases();
}
