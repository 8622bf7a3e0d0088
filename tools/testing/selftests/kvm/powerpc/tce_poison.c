// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of H_PUT_TCE_INDIRECT lies on a page that the kernel knows to be poisoned: to
 * read it there would be the end of the host.  What is known of the page is taken back
 * afterwards.
 *
 * The kernel has to be built for that (CONFIG_MEMORY_FAILURE, CONFIG_HWPOISON_INJECT).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>

#include "cases.h"

#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"
#define PFN_MASK	((1ULL << 55) - 1)

/* The kernel tells whoever has the page mapped */
static void told(int nr)
{
}

static __u64 pfn_of(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	__u64 entry = 0;

	ktap_need(fd >= 0, "/proc/self/pagemap");
	ktap_need(pread(fd, &entry, sizeof(entry),
			(off_t)((unsigned long)page / getpagesize() * sizeof(entry))) ==
		  sizeof(entry), "/proc/self/pagemap");
	close(fd);
	return entry & PFN_MASK;
}

CASE(list_on_a_poisoned_page)
{
	void *page;
	char pfn[32];
	unsigned int i;
	__u64 hard;

	if (access(UNPOISON, W_OK))
		case_skip("CONFIG_HWPOISON_INJECT");
	begin(env);
	page = env->vm.mem + LIST;
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 4) == H_SUCCESS);
	hard = stat_of(env, "tce_hard_list");
	snprintf(pfn, sizeof(pfn), "%llu", (unsigned long long)pfn_of(page));

	signal(SIGBUS, told);
	/* EBUSY: it is registered, and stays where it is */
	if (madvise(page, getpagesize(), MADV_HWPOISON) && errno != EBUSY)
		case_skip("madvise(MADV_HWPOISON)");
	expect(env, indirect(env, 8 * PAGE, LIST, 4) == FROM_USER);
	expect(env, indirect(env, 8 * PAGE, LIST, 1) == FROM_USER);
	expect(env, stat_of(env, "tce_hard_list") > hard);
	for (i = 0; i < 4; i++)
		expect(env, !get(env, (8 + i) * PAGE));

	/* A page that somebody holds stays poisoned */
	expect(env, stuff(env, 0, 0, 4) == H_SUCCESS);
	expect(env, !unregister(env));
	expect(env, write_file(UNPOISON, pfn));
}

int main(void)
{
	return run_cases_on_tiers();
}
