// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of VFIO's sPAPR TCE IOMMU: what they answer at the edges of their
 * arguments; that a failure leaves nothing behind (no translation, no window and no
 * locked memory); and that two threads may call any two of them at the same time.
 */
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <asm/eeh.h>
#include <linux/capability.h>
#include <linux/vfio.h>

#include "cases.h"

#define HOST_PAGE	0x10000UL	/* of 64K, or several of 4K */
#define KERNEL		0xc000000000000000UL

/* What the caller of an ioctl may leave out at the end is left out here */
#define INFO_SIZE	offsetof(struct vfio_iommu_spapr_tce_info, ddw)
#define UNMAP_SIZE	offsetof(struct vfio_iommu_type1_dma_unmap, data)
#define EEH_SIZE	(offsetof(struct vfio_eeh_pe_op, op) + sizeof(__u32))

/* What is expected when the machine decides which error it is */
#define ANY_ERROR	1

static long request(struct env *env, unsigned long nr, void *arg)
{
	int ret = ioctl(env->dev.container, nr, arg);

	return ret < 0 ? -errno : ret;
}

/* One line for what was not answered as expected, or left locked memory behind */
static void check(struct env *env, const char *what, long ret, long must,
		  long locked)
{
	if ((must == ANY_ERROR ? ret < 0 : ret == must) &&
	    locked_kib() == locked)
		return;
	ktap_say("  %s: %ld, must be %ld%s; %ld KiB locked, must be %ld", what,
		 ret, must, must == ANY_ERROR ? " (any error)" : "",
		 locked_kib(), locked);
	env->failed = true;
}

/*
 * Sizes and flags
 */

/* Sound arguments, as they fit into every ioctl that is tried with them */
union argument {
	__u32 argsz_and_flags[2];
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory memory;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_eeh_pe_op eeh;
};

struct form {
	const char *name;
	unsigned long nr;
	__u32 size;
	__u32 known_flags;
};

static void try_form(struct env *env, const struct form *form)
{
	const long page = sysconf(_SC_PAGESIZE), locked = locked_kib();
	__u8 *two = new_memory(2 * page);
	union argument arg = { .argsz_and_flags = { form->size } };
	unsigned int i;

	munmap(two + page, page);
	check(env, form->name, request(env, form->nr, NULL), -EFAULT, locked);
	memcpy(two + page - 8, &arg, 8);
	check(env, form->name, request(env, form->nr, two + page - 8), -EFAULT,
	      locked);

	arg.argsz_and_flags[0] = 0;
	check(env, form->name, request(env, form->nr, &arg), -EINVAL, locked);
	arg.argsz_and_flags[0] = form->size - 1;
	check(env, form->name, request(env, form->nr, &arg), -EINVAL, locked);

	arg.argsz_and_flags[0] = form->size;
	for (i = 0; i < 32; i++) {
		arg.argsz_and_flags[1] = 1U << i;
		if (!(form->known_flags & 1U << i))
			check(env, form->name, request(env, form->nr, &arg),
			      -EINVAL, locked);
	}
	munmap(two, page);
}

CASE(sizes_and_flags)
{
	static const struct form forms[] = {
		{ "MAP_DMA", VFIO_IOMMU_MAP_DMA,
		  sizeof(struct vfio_iommu_type1_dma_map),
		  VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE },
		{ "UNMAP_DMA", VFIO_IOMMU_UNMAP_DMA, UNMAP_SIZE, 0 },
		{ "REGISTER_MEMORY", VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
		  sizeof(struct vfio_iommu_spapr_register_memory), 0 },
		{ "UNREGISTER_MEMORY", VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
		  sizeof(struct vfio_iommu_spapr_register_memory), 0 },
		{ "TCE_CREATE", VFIO_IOMMU_SPAPR_TCE_CREATE,
		  sizeof(struct vfio_iommu_spapr_tce_create), 0 },
		{ "TCE_REMOVE", VFIO_IOMMU_SPAPR_TCE_REMOVE,
		  sizeof(struct vfio_iommu_spapr_tce_remove), 0 },
		/* What the caller says of flags is not looked at */
		{ "TCE_GET_INFO", VFIO_IOMMU_SPAPR_TCE_GET_INFO,
		  INFO_SIZE, ~0U },
	};
	union argument arg = { .map = { .argsz = sizeof(arg.map) } };
	unsigned int i;

	begin(env);
	for (i = 0; i < ARRAY_SIZE(forms); i++)
		try_form(env, &forms[i]);
	/* May do neither */
	arg.map.size = PAGE;
	expect(env, request(env, VFIO_IOMMU_MAP_DMA, &arg) == -EINVAL);
	/* These belong to version 1 */
	expect(env, request(env, VFIO_IOMMU_ENABLE, NULL) == -ENOTTY);
	expect(env, request(env, VFIO_IOMMU_DISABLE, NULL) == -ENOTTY);
	expect(env, released(env));
}

CASE(info)
{
	struct vfio_iommu_spapr_tce_info info = {
		.argsz = INFO_SIZE,
		.ddw.pgsizes = 0x1234,
	};

	begin(env);
	expect(env, !request(env, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info));
	expect(env, info.dma32_window_size && info.ddw.pgsizes == 0x1234);
	info.argsz = sizeof(info);
	expect(env, !request(env, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info));
	expect(env, info.flags == VFIO_IOMMU_SPAPR_INFO_DDW);
	expect(env, info.ddw.pgsizes & PAGE && info.ddw.levels);
}

static long eeh(struct env *env, __u32 op, __u32 argsz, __u32 flags)
{
	struct vfio_eeh_pe_op arg = { .argsz = argsz, .flags = flags, .op = op };

	return request(env, VFIO_EEH_PE_OP, &arg);
}

CASE(eeh_ops)
{
	const __u32 size = EEH_SIZE;
	struct vfio_eeh_pe_op inject = {
		.argsz = sizeof(inject), .op = VFIO_EEH_PE_INJECT_ERR,
		.err = { .type = 99, .func = 99 },
	};

	begin(env);
	if (request(env, VFIO_CHECK_EXTENSION, (void *)VFIO_EEH) <= 0 ||
	    eeh(env, VFIO_EEH_PE_GET_STATE, size, 0) == -ENODEV)
		case_skip("no EEH for this device");
	expect(env, eeh(env, VFIO_EEH_PE_GET_STATE, size, 0) ==
	       VFIO_EEH_PE_STATE_NORMAL);
	expect(env, eeh(env, VFIO_EEH_PE_GET_STATE, size - 1, 0) == -EINVAL);
	expect(env, eeh(env, VFIO_EEH_PE_GET_STATE, size, 1) == -EINVAL);
	expect(env, eeh(env, 999, size, 0) == -EINVAL);
	expect(env, request(env, VFIO_EEH_PE_OP, NULL) == -EFAULT);
	expect(env, request(env, VFIO_EEH_PE_OP, &inject) == -EINVAL);
	inject.argsz = size;
	expect(env, request(env, VFIO_EEH_PE_OP, &inject) == -EINVAL);
	expect(env, eeh(env, VFIO_EEH_PE_ENABLE, size, 0) == 0);
	expect(env, eeh(env, VFIO_EEH_PE_UNFREEZE_DMA, size, 0) == 0);
	expect(env, eeh(env, VFIO_EEH_PE_GET_STATE, size, 0) ==
	       VFIO_EEH_PE_STATE_NORMAL);
}

/*
 * A device that is reset, as after an error, has its translations afterwards.  Which
 * errors can be injected, and how it can be reset, is up to the firmware; a reset
 * alone ends what an error brings about.
 */
static void try_reset(struct env *env, __u32 how)
{
	struct vfio_eeh_pe_op inject = {
		.argsz = sizeof(inject), .op = VFIO_EEH_PE_INJECT_ERR,
		.err = { .type = EEH_ERR_TYPE_32, .func = EEH_ERR_FUNC_LD_MEM_ADDR },
	};
	__u8 *page = env->vm.mem + DATA;
	long ret;

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	ret = request(env, VFIO_EEH_PE_OP, &inject);
	ktap_say("  an error is injected: %ld", ret);
	expect(env, ret == 0 || ret == -EIO);
	ret = eeh(env, how, EEH_SIZE, 0);
	ktap_say("  reset %u: %ld", how, ret);
	expect(env, ret == 0 || (how != VFIO_EEH_PE_RESET_HOT && ret == -EIO));
	/* In the midst of it, too */
	expect(env, put(env, PAGE, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, eeh(env, VFIO_EEH_PE_RESET_DEACTIVATE, EEH_SIZE, 0) == 0);
	expect(env, eeh(env, VFIO_EEH_PE_CONFIGURE, EEH_SIZE, 0) == 0);
	expect(env, eeh(env, VFIO_EEH_PE_GET_STATE, EEH_SIZE, 0) ==
	       VFIO_EEH_PE_STATE_NORMAL);

	vfio_enable_dma(&env->dev);
	expect(env, edu_copies_page(&env->dev, 0, page));
	expect(env, stuff(env, 0, 0, 2) == H_SUCCESS);
	page[PAGE] = 0;
	edu_write(&env->dev, PAGE, PAGE);
	expect(env, page[PAGE] == 0);
}

CASE(eeh_resets)
{
	begin(env);
	vfio_open_device(&env->dev);
	if (eeh(env, VFIO_EEH_PE_ENABLE, EEH_SIZE, 0))
		case_skip("no EEH for this device");
	try_reset(env, VFIO_EEH_PE_RESET_HOT);
	try_reset(env, VFIO_EEH_PE_RESET_FUNDAMENTAL);
	expect(env, released(env));
}

/*
 * Addresses and sizes
 */

/* Of UNMAP_DMA, all but the address of memory */
struct range {
	const char *what;
	__u64 bus, from, size;
	long must;
};

CASE(map_edges)
{
	const __u64 mem = (begin(env), (uintptr_t)env->vm.mem);
	const __u64 size = env->vm.size;
	const struct range ranges[] = {
		{ "map the first page", 0, mem, PAGE, 0 },
		{ "map the last page", LAST, mem, PAGE, 0 },
		{ "map all memory", 0, mem, size, 0 },
		{ "map all memory up to the end", WINDOW - size, mem, size, 0 },
		{ "map nothing", 0, mem, 0, 0 },
		{ "map part of a page", 0, mem, PAGE + 8, -EINVAL },
		{ "map within a page", 8, mem, PAGE, -EINVAL },
		{ "map from within a page", 0, mem + 8, PAGE, -EINVAL },
		{ "map past the end", LAST, mem, 2 * PAGE, -EINVAL },
		{ "map after the end", WINDOW, mem, PAGE, -ENXIO },
		{ "map far away", -PAGE, mem, PAGE, -ENXIO },
		{ "map past memory", 0, mem, size + PAGE, -EINVAL },
		{ "map a window of memory", 0, mem, WINDOW, -EINVAL },
		{ "map other memory", 0, mem + size, PAGE, -EINVAL },
		{ "map the kernel", 0, KERNEL, PAGE, -EINVAL },
		{ "map the end of addresses", 0, -PAGE, PAGE, -EINVAL },
		{ "map around the end of addresses", 0, -PAGE, 2 * PAGE, -EINVAL },
		{ "map half of all", 0, mem, 1UL << 63, -EINVAL },
		{ "map what wraps", PAGE, mem, -PAGE, -EINVAL },
	};
	const long locked = locked_kib();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		const struct range *r = &ranges[i];

		check(env, r->what, vfio_map(&env->dev, r->bus, (void *)r->from,
					     r->size), r->must, locked);
		if (r->must)
			continue;
		check(env, r->what, vfio_unmap(&env->dev, r->bus, r->size), 0,
		      locked);
	}
	/* So none of those that failed has left anything */
	expect(env, released(env));
}

CASE(unmap_edges)
{
	static const struct range ranges[] = {
		{ "unmap nothing", 0, 0, 0, 0 },
		{ "unmap part of a page", 0, 0, 8, -EINVAL },
		{ "unmap within a page", 8, 0, PAGE, -EINVAL },
		{ "unmap past the end", LAST, 0, 2 * PAGE, -EINVAL },
		{ "unmap after the end", WINDOW, 0, PAGE, -ENXIO },
		{ "unmap far away", -PAGE, 0, PAGE, -ENXIO },
		{ "unmap half of all", 0, 0, 1UL << 63, -EINVAL },
		{ "unmap what wraps", PAGE, 0, -PAGE, -EINVAL },
		{ "unmap what is not mapped", 16 * PAGE, 0, PAGE, 0 },
	};
	unsigned int i;
	long locked;

	begin(env);
	locked = locked_kib();
	expect(env, vfio_map(&env->dev, 0, env->vm.mem, PAGE) == 0);
	expect(env, vfio_map(&env->dev, LAST, env->vm.mem, PAGE) == 0);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		check(env, ranges[i].what,
		      vfio_unmap(&env->dev, ranges[i].bus, ranges[i].size),
		      ranges[i].must, locked);
	expect(env, vfio_unmap(&env->dev, 0, PAGE) == 0);
	expect(env, unregister(env) == -EBUSY);
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect(env, released(env));
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, vfio_unmap(&env->dev, 0, PAGE) == -ENXIO);
}

CASE(memory_edges)
{
	const __u64 mem = (begin(env), (uintptr_t)env->vm.mem);
	const __u64 size = env->vm.size;
	__u8 *more = vm_add_memory(&env->vm, 1, HOLE, 16 * HOST_PAGE);
	const __u64 half = (uintptr_t)more;
	const struct range ranges[] = {
		{ "the same", 0, mem, size, -EBUSY },
		{ "a part", 0, mem, HOST_PAGE, -EINVAL },
		{ "the end", 0, mem + size - HOST_PAGE, 2 * HOST_PAGE, -EINVAL },
		{ "nothing", 0, half, 0, -EINVAL },
		{ "part of a page", 0, half, HOST_PAGE - 8, -EINVAL },
		{ "from within a page", 0, half + 8, HOST_PAGE, -EINVAL },
		{ "what is half there", 0, half, 16 * HOST_PAGE, -EFAULT },
		{ "what is not there", 0, HOST_PAGE, HOST_PAGE, -EFAULT },
		{ "the kernel", 0, KERNEL, HOST_PAGE, -EFAULT },
		{ "the end of addresses", 0, -HOST_PAGE, HOST_PAGE, ANY_ERROR },
		{ "what wraps", 0, half, -HOST_PAGE, -EINVAL },
		{ "half of all", 0, 0, 1UL << 63, ANY_ERROR },
		{ "more than there is", 0, half, 1UL << 46, ANY_ERROR },
	};
	const long locked = locked_kib();
	unsigned int i;

	munmap(more + 8 * HOST_PAGE, 8 * HOST_PAGE);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		check(env, ranges[i].what,
		      vfio_try_register(&env->dev, (void *)ranges[i].from,
					ranges[i].size), ranges[i].must, locked);

	expect(env, vfio_unregister(&env->dev, more, HOST_PAGE) == -ENOENT);
	expect(env, vfio_unregister(&env->dev, more, 0) == -ENOENT);
	expect(env, vfio_unregister(&env->dev, more + 8, HOST_PAGE) == -EINVAL);
	expect(env, vfio_unregister(&env->dev, more, HOST_PAGE + 8) == -EINVAL);
	expect(env, vfio_unregister(&env->dev, env->vm.mem, HOST_PAGE) == -ENOENT);
	expect(env, released(env));
	expect(env, unregister(env) == -ENOENT);
}

/* A window as no machine has it; its size, levels and page size */
struct shape {
	const char *what;
	__u32 shift;
	__u64 size;
	__u32 levels;
	long must;
};

CASE(window_edges)
{
	static const struct shape shapes[] = {
		{ "no page size", 0, WINDOW, 1, -EINVAL },
		{ "pages of 2K", 11, WINDOW, 1, -EINVAL },
		{ "pages of 8K", 13, WINDOW, 1, -EINVAL },
		{ "half of all in a page", 63, WINDOW, 1, -EINVAL },
		{ "a shift as wide as a word", 64, WINDOW, 1, -EINVAL },
		{ "64 more than 12", 76, WINDOW, 1, -EINVAL },
		{ "128 more than 12", 140, WINDOW, 1, -EINVAL },
		{ "the largest shift", ~0U, WINDOW, 1, -EINVAL },
		{ "no size", SHIFT, 0, 1, -EINVAL },
		{ "a byte", SHIFT, 1, 1, -EINVAL },
		{ "half a page", SHIFT, PAGE / 2, 1, -EINVAL },
		{ "three pages", SHIFT, 3 * PAGE, 1, -EINVAL },
		{ "the largest size", SHIFT, ~0UL, 1, -EINVAL },
		{ "half of all", SHIFT, 1UL << 63, 1, ANY_ERROR },
		{ "6 levels", SHIFT, WINDOW, 6, -EINVAL },
		{ "the largest number of levels", SHIFT, WINDOW, ~0U, -EINVAL },
	};
	unsigned int i;
	long locked;
	__u64 start;

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, WINDOW) == -EINVAL);
	expect(env, vfio_remove_window(&env->dev, ~0UL) == -EINVAL);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, vfio_remove_window(&env->dev, 0) == -EINVAL);
	locked = locked_kib();
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *s = &shapes[i];

		check(env, s->what, vfio_add_window(&env->dev, s->shift, s->size,
						    s->levels, &start),
		      s->must, locked);
	}
	expect(env, vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start) == 0);
	expect(env, locked_kib() > locked);
	expect(env, vfio_remove_window(&env->dev, start) == 0);
	expect(env, locked_kib() == locked);
}

/* As many as the machine has: one more is refused, and each can be given back */
CASE(more_windows_than_there_are)
{
	__u64 start[8];
	unsigned int nr = 0;
	long locked[8];

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	for (;;) {
		locked[nr] = locked_kib();
		if (nr == ARRAY_SIZE(start) - 1 ||
		    vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start[nr]))
			break;
		nr++;
	}
	ktap_say("  %u windows", nr);
	expect(env, nr && nr < ARRAY_SIZE(start) - 1);
	expect(env, locked_kib() == locked[nr]);
	while (nr--) {
		expect(env, vfio_remove_window(&env->dev, start[nr]) == 0);
		expect(env, locked_kib() == locked[nr]);
	}
	expect(env, released(env));
}

/* The caller never learns of a window whose address cannot be handed out */
CASE(window_to_read_only_memory)
{
	const size_t size = sysconf(_SC_PAGESIZE);
	struct vfio_iommu_spapr_tce_create *create = new_memory(size);
	unsigned int i;
	long locked;

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	locked = locked_kib();
	*create = (struct vfio_iommu_spapr_tce_create){
		.argsz = sizeof(*create), .page_shift = SHIFT,
		.window_size = WINDOW, .levels = 1,
	};
	ktap_need(!mprotect(create, size, PROT_READ), "mprotect");
	for (i = 0; i < 5; i++)
		check(env, "to memory that is read-only",
		      request(env, VFIO_IOMMU_SPAPR_TCE_CREATE, create), -EFAULT,
		      locked);
}

/*
 * Locked memory
 */

/* From now on this process is bound by its limits */
static void drop_privilege(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	ktap_need(!syscall(SYS_capget, &head, data), "capget");
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	ktap_need(!syscall(SYS_capset, &head, data), "capset");
}

static void limit_locked(long kib)
{
	struct rlimit limit = { kib << 10, kib << 10 };

	ktap_need(!setrlimit(RLIMIT_MEMLOCK, &limit), "RLIMIT_MEMLOCK");
}

CASE(limit_of_locked_memory)
{
	__u64 start;
	__u8 *more;
	long locked;

	prepare(env, SHIFT);
	more = vm_add_memory(&env->vm, 1, HOLE, 16 * HOST_PAGE);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	drop_privilege();
	locked = locked_kib();
	limit_locked(locked + 15 * (HOST_PAGE >> 10));

	check(env, "memory over the limit",
	      vfio_try_register(&env->dev, more, 16 * HOST_PAGE), -ENOMEM, locked);
	check(env, "a window over the limit",
	      vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start), -ENOMEM,
	      locked);
	check(env, "a window too large for any machine",
	      vfio_add_window(&env->dev, SHIFT, 1UL << 50, 1, &start), ANY_ERROR,
	      locked);
	check(env, "memory within the limit",
	      vfio_try_register(&env->dev, more, 15 * HOST_PAGE), 0,
	      locked + 15 * (HOST_PAGE >> 10));
	check(env, "its end", vfio_unregister(&env->dev, more, 15 * HOST_PAGE), 0,
	      locked);
	expect(env, released(env));
}

/* The older interface: pages are pinned as they are mapped, and counted at once */
CASE(container_of_version_1)
{
	const size_t size = 16 * HOST_PAGE;
	struct vfio_iommu_spapr_register_memory memory = {
		.argsz = sizeof(memory), .size = size,
	};
	struct vfio_iommu_spapr_tce_remove remove = { .argsz = sizeof(remove) };
	__u8 *mem = new_memory(size);
	long locked = locked_kib();

	vfio_open_group_v1(&env->dev);
	check(env, "map before", vfio_map(&env->dev, 0, mem, size), -EPERM, locked);
	check(env, "unmap before", vfio_unmap(&env->dev, 0, size), -EPERM, locked);
	memory.vaddr = (uintptr_t)mem;
	check(env, "register", request(env, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
				       &memory), -ENOTTY, locked);
	check(env, "unregister", request(env, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
					 &memory), -ENOTTY, locked);
	check(env, "remove", request(env, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove),
	      -ENOTTY, locked);
	check(env, "disable", request(env, VFIO_IOMMU_DISABLE, NULL), 0, locked);

	drop_privilege();
	limit_locked(locked + (HOST_PAGE >> 10));
	check(env, "enable over the limit", request(env, VFIO_IOMMU_ENABLE, NULL),
	      -ENOMEM, locked);
	limit_locked(locked + (4 << 20));
	expect(env, request(env, VFIO_IOMMU_ENABLE, NULL) == 0);
	expect(env, request(env, VFIO_IOMMU_ENABLE, NULL) == -EBUSY);
	expect(env, vfio_map(&env->dev, 0, mem, size) == 0);
	munmap(mem + size / 2, size / 2);
	expect(env, vfio_map(&env->dev, size, mem, size) == -EFAULT);
	expect(env, vfio_unmap(&env->dev, 0, size) == 0);
	expect(env, request(env, VFIO_IOMMU_DISABLE, NULL) == 0);
	expect(env, request(env, VFIO_IOMMU_DISABLE, NULL) == 0);
	expect(env, vfio_map(&env->dev, 0, mem, PAGE) == -EPERM);
}

/*
 * Two threads
 */

#define ROUNDS	12

static void loop_register(struct env *env)
{
	if (!vfio_try_register(&env->dev, env->vm.mem + (8 << 20), 1 << 20))
		vfio_unregister(&env->dev, env->vm.mem + (8 << 20), 1 << 20);
}

static void loop_register_overlapping(struct env *env)
{
	if (!vfio_try_register(&env->dev, env->vm.mem + (8 << 20), 4 << 20))
		vfio_unregister(&env->dev, env->vm.mem + (8 << 20), 4 << 20);
}

static void loop_map(struct env *env)
{
	vfio_map(&env->dev, 0, env->vm.mem + (8 << 20), 1 << 20);
	vfio_unmap(&env->dev, 0, 1 << 20);
}

static void loop_map_what_stays(struct env *env)
{
	vfio_map(&env->dev, 0x80000, env->vm.mem, 1 << 20);
	vfio_unmap(&env->dev, 0, WINDOW);
}

static void loop_window(struct env *env)
{
	__u64 start;

	if (!vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start))
		vfio_remove_window(&env->dev, start);
}

static void loop_first_window(struct env *env)
{
	vfio_remove_window(&env->dev, 0);
	loop_window(env);
}

static void loop_info(struct env *env)
{
	struct vfio_iommu_spapr_tce_info info = { .argsz = sizeof(info) };

	request(env, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info);
	eeh(env, VFIO_EEH_PE_GET_STATE, EEH_SIZE, 0);
}

static void loop_enable(struct env *env)
{
	if (!request(env, VFIO_IOMMU_ENABLE, NULL))
		request(env, VFIO_IOMMU_DISABLE, NULL);
}

static void (* const loops[])(struct env *env) = {
	loop_register, loop_register_overlapping, loop_map, loop_map_what_stays,
	loop_window, loop_first_window, loop_info,
};

struct looping {
	struct env *env;
	void (*loop)(struct env *env);
	atomic_uint *ready;
};

static void *run_loop(void *arg)
{
	struct looping *looping = arg;
	unsigned int i;

	atomic_fetch_add(looping->ready, 1);
	while (atomic_load(looping->ready) < 2)
		sched_yield();
	for (i = 0; i < ROUNDS; i++)
		looping->loop(looping->env);
	return NULL;
}

static void run_pair(struct env *env, void (*a)(struct env *env),
		     void (*b)(struct env *env))
{
	atomic_uint ready = 0;
	struct looping first = { env, a, &ready };
	struct looping second = { env, b, &ready };
	pthread_t thread;

	pthread_create(&thread, NULL, run_loop, &second);
	run_loop(&first);
	pthread_join(thread, NULL);
}

/* What a loop may have left: a window that the other one's call removed later */
static void remove_all_windows(struct env *env)
{
	unsigned int shift;

	while (!vfio_remove_window(&env->dev, 0))
		;
	for (shift = 30; shift < 64; shift++)
		vfio_remove_window(&env->dev, 1UL << shift);
}

/* After each pair, the books balance; and in the end the device can do DMA */
CASE(any_two_threads)
{
	unsigned int a, b;
	long locked;
	__u64 start;

	prepare(env, SHIFT);
	expect(env, released(env));
	/* What stays mapped, and the rest of it for the loops */
	vfio_register(&env->dev, env->vm.mem, 8 << 20);
	remove_all_windows(env);
	locked = locked_kib();

	for (a = 0; a < ARRAY_SIZE(loops); a++) {
		for (b = a; b < ARRAY_SIZE(loops); b++) {
			ktap_need(!vfio_add_window(&env->dev, SHIFT, WINDOW, 1,
						   &start), "making a window");
			run_pair(env, loops[a], loops[b]);
			vfio_unmap(&env->dev, 0, WINDOW);
			vfio_unregister(&env->dev, env->vm.mem + (8 << 20), 1 << 20);
			vfio_unregister(&env->dev, env->vm.mem + (8 << 20), 4 << 20);
			remove_all_windows(env);
			if (locked_kib() == locked)
				continue;
			ktap_say("  pair %u and %u: %ld KiB locked, must be %ld",
				 a, b, locked_kib(), locked);
			env->failed = true;
			locked = locked_kib();
		}
	}

	expect(env, vfio_add_window(&env->dev, SHIFT, WINDOW, 1, &start) == 0);
	vfio_open_device(&env->dev);
	expect(env, vfio_map(&env->dev, 0, env->vm.mem + DATA, 2 * PAGE) == 0);
	expect(env, edu_copies_page(&env->dev, 0, env->vm.mem + DATA));
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect(env, released_range(env, env->vm.mem, 8 << 20));
}

/* Two threads register the same memory at a time: one of them has done so */
struct twice {
	struct env *env;
	pthread_barrier_t meet;
	int ret;
};

static void *register_when_met(void *arg)
{
	struct twice *twice = arg;

	for (;;) {
		pthread_barrier_wait(&twice->meet);
		if (atomic_load(&twice->env->stop))
			return NULL;
		twice->ret = vfio_try_register(&twice->env->dev, twice->env->vm.mem,
					       1 << 18);
		pthread_barrier_wait(&twice->meet);
	}
}

CASE(same_memory_from_two_threads)
{
	struct twice twice = { .env = env };
	pthread_t thread;
	unsigned int i, spins;
	int ret;

	env->vm.mem = new_memory(1 << 20);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, env->vm.mem + (1 << 19), 1 << 18);
	pthread_barrier_init(&twice.meet, NULL, 2);
	pthread_create(&thread, NULL, register_when_met, &twice);
	for (i = 0; i < 2000 && !env->failed; i++) {
		pthread_barrier_wait(&twice.meet);
		for (spins = i % 3000; spins; spins--)
			atomic_load(&env->stop);
		ret = vfio_try_register(&env->dev, env->vm.mem, 1 << 18);
		pthread_barrier_wait(&twice.meet);
		expect(env, ret ? ret == -EBUSY && !twice.ret : twice.ret == -EBUSY);
		if (env->failed)
			ktap_say("  round %u: %d and %d", i, ret, twice.ret);
		expect(env, vfio_unregister(&env->dev, env->vm.mem, 1 << 18) == 0);
	}
	atomic_store(&env->stop, true);
	pthread_barrier_wait(&twice.meet);
	pthread_join(thread, NULL);
}

CASE(any_two_threads_of_version_1)
{
	const size_t size = 16 << 20;
	const long locked = locked_kib();

	env->vm.mem = new_memory(size);
	vfio_open_group_v1(&env->dev);
	run_pair(env, loop_enable, loop_enable);
	run_pair(env, loop_enable, loop_map);
	run_pair(env, loop_map, loop_map);
	expect(env, request(env, VFIO_IOMMU_ENABLE, NULL) == 0);
	run_pair(env, loop_map, loop_map);
	run_pair(env, loop_map, loop_info);
	expect(env, request(env, VFIO_IOMMU_DISABLE, NULL) == 0);
	/* But for the table of the window, which is made when it is first used */
	close(env->dev.container);
	expect(env, vfio_leave(&env->dev) == 0);
	expect(env, locked_kib() == locked);
}

static void *register_until_stopped(void *arg)
{
	struct env *env = arg;

	while (!atomic_load(&env->stop)) {
		vfio_try_register(&env->dev, env->vm.mem, 1 << 20);
		vfio_unregister(&env->dev, env->vm.mem, 1 << 20);
	}
	return NULL;
}

/* The group takes the container's driver with it; it was used after it was freed */
CASE(group_leaves_during_ioctls)
{
	const long locked = locked_kib();
	pthread_t thread;
	unsigned int i;

	env->vm.mem = new_memory(1 << 20);
	vfio_open_group(&env->dev);
	pthread_create(&thread, NULL, register_until_stopped, env);
	for (i = 0; i < 500; i++) {
		expect(env, vfio_leave(&env->dev) == 0);
		expect(env, !vfio_join(&env->dev, env->dev.container));
		expect(env, !ioctl(env->dev.container, VFIO_SET_IOMMU,
				   VFIO_SPAPR_TCE_v2_IOMMU));
	}
	stop_thread(env, thread);
	expect(env, vfio_leave(&env->dev) == 0);
	expect(env, locked_kib() == locked);
}

int main(void)
{
	return run_cases();
}
