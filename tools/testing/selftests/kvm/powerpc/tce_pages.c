// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU pages of each size, in the guest's window and in the hardware table: of
 * the same size, where memory must be in such pages, or larger in the window,
 * where an entry of the guest stands for many of the table.
 *
 * Windows of pages above 4K begin where the machine wants them to, which on
 * pseries is not bus address 0.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/mman.h>

#include "cases.h"

#define MIB(n)		((unsigned long)(n) << 20)
#define GIB(n)		((unsigned long)(n) << 30)

/* A window of @size in place of the default one; false when there is no such */
static bool add_window(struct env *env, unsigned int shift, __u64 size,
		       __u64 *start)
{
	return !vfio_add_window(&env->dev, shift, size, 1, start);
}

static void bind_window(struct env *env, unsigned int liobn_shift, __u64 start,
			__u64 size)
{
	env->tablefd = vm_create_liobn_at(&env->vm, LIOBN, liobn_shift, start,
					  size >> liobn_shift);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

/* A virtual machine without a window */
static void begin_bare(struct env *env, size_t memory)
{
	prepare_vm(env, memory);
	ktap_need(!vfio_remove_window(&env->dev, 0), "removing the window");
}

static void reserve_pages(unsigned int shift, size_t size)
{
	char path[80], pages[24];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages",
		 1U << (shift - 10));
	snprintf(pages, sizeof(pages), "%zu", size >> shift);
	write_file(path, pages);
}

/*
 * Memory in pages of 1 << @shift, which go back to all others with it.  Those of 1G are
 * best reserved by the kernel's command line (hugepagesz=1G hugepages=1), and stay.
 */
static __u8 *memory_in_pages(unsigned int shift, size_t size)
{
	__u8 *mem;

	reserve_pages(shift, size);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		   shift << MAP_HUGE_SHIFT, -1, 0);
	if (shift < 30)
		reserve_pages(shift, 0);
	return mem == MAP_FAILED ? NULL : mem;
}

/* The same in the largest pages up to 1 << @max, registered, for the guest at HOLE */
static __u8 *large_memory(struct env *env, unsigned int max, size_t size,
			  unsigned int *shift)
{
	static const unsigned int shifts[] = { 30, 24, 21 };
	unsigned int i;
	__u8 *mem;

	/* With a hash MMU, Linux 6.12 never ends pinning large pages there */
	need_pages_of_64k();
	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		*shift = shifts[i];
		mem = *shift <= max ? memory_in_pages(*shift, size) : NULL;
		if (!mem)
			continue;
		vm_set_memory(&env->vm, 1, HOLE, mem, size, 0);
		vfio_register(&env->dev, mem, size);
		return mem;
	}
	case_skip("no memory in large pages");
	return NULL;
}

/* A window of 16M pages on a table of smaller ones: edges, answers and DMA */
static void split_16m(struct env *env, unsigned int shift)
{
	const unsigned long big = MIB(16);
	__u8 *mem;
	__u64 at;

	if (shift == 16)
		need_pages_of_64k();
	begin_bare(env, 3 * big);
	if (!add_window(env, shift, WINDOW, &at))
		case_skip("no table of such pages");
	vfio_open_device(&env->dev);
	bind_window(env, 24, at, WINDOW);
	mem = env->vm.mem;

	/* So many hypercalls to change an entry are the VMM's to make */
	if (shift == 12 && host_is_guest()) {
		expect(env, put(env, at, big | RW) == FROM_USER);
		expect(env, stuff(env, at, 0, 1) == FROM_USER);
		expect(env, get(env, at) == 0);
		expect(env, released(env));
		return;
	}

	expect(env, put(env, at, big | RW) == H_SUCCESS);
	expect(env, put(env, at + WINDOW - big, 2 * big | TCE_READ) == H_SUCCESS);
	expect(env, get(env, at + WINDOW - big) == (2 * big | TCE_READ));
	expect(env, put(env, at + WINDOW, big | RW) == H_PARAMETER);
	expect(env, put(env, at - big, big | RW) == H_PARAMETER);
	expect(env, put(env, at + 0x10000, big | RW) == H_PARAMETER);
	/* Not the address of a page of 16M; and beyond memory */
	expect(env, put(env, at, (big + 0x10000) | RW) == FROM_USER);
	expect(env, put(env, at, 3 * big | RW) == FROM_USER);
	expect(env, get(env, at) == (big | RW));
	expect(env, unregister(env) == -EBUSY);

	memset(mem + big + 0x345000, 0x55, PAGE);
	edu_copy(&env->dev, at + 0x345000, at + big - PAGE, PAGE);
	expect(env, mem[2 * big - PAGE] == 0x55 && mem[2 * big - 1] == 0x55);

	set_list(env, 0, big | RW);
	set_list(env, 1, 2 * big | RW);
	set_list(env, 2, 3 * big | RW);
	expect(env, indirect(env, at, LIST, 3) == FROM_USER);
	expect(env, get(env, at + big) == (2 * big | RW));
	expect(env, get(env, at + 2 * big) == 0);
	edu_copy(&env->dev, at + 0x345000, at + big + 0x7000, PAGE);
	expect(env, mem[2 * big + 0x7000] == 0x55);

	expect(env, stuff(env, at, 0, WINDOW / big) == H_SUCCESS);
	edu_write(&env->dev, at + 0x9000, PAGE);
	expect(env, mem[big + 0x9000] == 0);
	expect(env, released(env));
}

CASE_CALL(guest_16m_on_4k, split_16m, 12);
CASE_CALL(guest_16m_on_64k, split_16m, 16);

/* 512 entries of the table for one: as many as a fast tier changes in a call */
CASE(guest_2m_on_4k)
{
	const unsigned long big = MIB(2);
	__u64 at;

	begin_bare(env, 4 * big);
	ktap_need(add_window(env, 12, WINDOW, &at), "adding a window");
	bind_window(env, 21, at, WINDOW);
	expect(env, put(env, at, big | RW) == H_SUCCESS);
	set_list(env, 0, 3 * big | RW);
	set_list(env, 1, 4 * big | RW);
	expect(env, indirect(env, at + big, LIST, 2) == FROM_USER);
	expect(env, get(env, at + big) == (3 * big | RW));
	expect(env, stuff(env, at, 0, WINDOW / big) == H_SUCCESS);
	expect(env, released(env));
}

/*
 * 1G for the guest are 16,384 pages of 64K: more than are changed at once, so
 * user space splits them
 */
CASE(guest_1g_on_64k)
{
	const __u64 size = GIB(4);
	__u64 at;

	begin_bare(env, MIB(16));
	if (!add_window(env, 16, size, &at))
		case_skip("no window of 4G");
	bind_window(env, 30, at, size);
	expect(env, put(env, at, HOLE | RW) == FROM_USER);
	expect(env, put(env, at, 0) == FROM_USER);
	set_list(env, 0, HOLE | RW);
	expect(env, indirect(env, at, LIST, 1) == FROM_USER);
	expect(env, stuff(env, at, 0, 4) == FROM_USER);
	expect(env, get(env, at) == 0);
	/* What is wrong in any case, is answered */
	expect(env, put(env, at + MIB(16), HOLE | RW) == H_PARAMETER);
	expect(env, stuff(env, at, 0, 5) == H_PARAMETER);
	expect(env, released(env));
}

/* The device must not be led to a page larger than what it was given */
CASE(pages_too_small)
{
	const unsigned long big = MIB(16);
	__u64 at;

	begin_bare(env, 2 * big);
	/* POWER8 and pseries have pages of 16M, others 2M */
	if (!add_window(env, 24, WINDOW, &at) &&
	    !add_window(env, 21, WINDOW, &at))
		case_skip("no table of large pages");
	bind_window(env, 24, at, WINDOW);
	expect(env, put(env, at, big | RW) == FROM_USER);
	expect(env, get(env, at) == 0);
	set_list(env, 0, big | RW);
	expect(env, indirect(env, at, LIST, 1) == FROM_USER);
	expect(env, vfio_map(&env->dev, at, env->vm.mem, big) < 0);
	expect(env, released(env));
}

/* Entries of @big bytes that lead to @mem, which has as many bytes, or twice */
static void lead_to_large(struct env *env, __u64 at, unsigned long big,
			  __u8 *mem, size_t size)
{
	const unsigned long last = size - big;

	expect(env, put(env, at, (HOLE + last) | RW) == H_SUCCESS);
	expect(env, get(env, at) == ((HOLE + last) | RW));
	memset(mem + last + 0x345000, 0x77, PAGE);
	edu_copy(&env->dev, at + 0x345000, at + 0x1000, PAGE);
	expect(env, mem[last + 0x1000] == 0x77 && mem[last + 0x1fff] == 0x77);
	edu_copy(&env->dev, at + 0x345000, at + big - PAGE, PAGE);
	expect(env, mem[size - PAGE] == 0x77 && mem[size - 1] == 0x77);

	set_list(env, 0, HOLE | RW);
	set_list(env, 1, (HOLE + last) | RW);
	expect(env, indirect(env, at + big, LIST, 2) == H_SUCCESS);
	edu_write(&env->dev, at + big + 0x234000, PAGE);
	expect(env, mem[0x234000] == 0x77);
	expect(env, put(env, at, (HOLE + 0x10000) | RW) == FROM_USER);
	expect(env, put(env, at, (HOLE + size) | RW) == FROM_USER);
	expect(env, env->vm.user_exits == 2);
	expect(env, vfio_unregister(&env->dev, mem, size) == -EBUSY);

	expect(env, stuff(env, at, 0, 3) == H_SUCCESS);
	expect(env, vfio_map(&env->dev, at, mem, size) == 0);
	edu_write(&env->dev, at + 0x6000, PAGE);
	expect(env, mem[0x6000] == 0x77);
	expect(env, vfio_unmap(&env->dev, at, size) == 0);
	/* A device whose DMA fails may be stopped */
	edu_write(&env->dev, at + 0x5000, PAGE);
	expect(env, mem[0x5000] == 0);
	expect(env, released_range(env, mem, size));
}

/* Pages of 2M or 16M in the table, and 16M for the guest */
CASE(guest_16m_on_large)
{
	const unsigned long big = MIB(16);
	unsigned int shift;
	__u8 *mem;
	__u64 at;

	begin_bare(env, big);
	mem = large_memory(env, 24, 2 * big, &shift);
	if (!(shift == 24 && add_window(env, 24, WINDOW, &at)) &&
	    !add_window(env, 21, WINDOW, &at))
		case_skip("no table of such pages");
	vfio_open_device(&env->dev);
	bind_window(env, 24, at, WINDOW);
	lead_to_large(env, at, big, mem, 2 * big);
}

/* 1G for the guest, on a table of pages of 1 << @shift or 1 << @or_shift */
static void guest_1g_on(struct env *env, unsigned int shift,
			unsigned int or_shift)
{
	const __u64 size = GIB(4);
	unsigned int have;
	__u8 *mem;
	__u64 at;

	begin_bare(env, MIB(16));
	if (!add_window(env, shift, size, &at) &&
	    !add_window(env, or_shift, size, &at))
		case_skip("no table of such pages");
	vfio_open_device(&env->dev);
	mem = large_memory(env, 30, GIB(1), &have);
	if (have != 30)
		case_skip("no memory in pages of 1G");
	bind_window(env, 30, at, size);
	lead_to_large(env, at, GIB(1), mem, GIB(1));
}

CASE_CALL(guest_1g_on_1g, guest_1g_on, 30, 30);
CASE_CALL(guest_1g_on_large, guest_1g_on, 24, 21);

int main(void)
{
	return run_cases_on_tiers();
}
