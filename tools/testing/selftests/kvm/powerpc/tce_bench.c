// SPDX-License-Identifier: GPL-2.0-only
/*
 * What TCE hypercalls cost a guest, in ticks of the timebase.  Under QEMU's
 * -icount shift=0 an instruction takes a nanosecond, which makes this a count of
 * instructions that is the same on every run; elsewhere it is time.
 *
 * With a load's number in the environment variable tce_load that load alone is
 * run, over and over, for a profiler outside to look at.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "edu.h"
#include "ktap.h"
#include "vfio.h"
#include "vm.h"

#define LIOBN		0x80000001UL
#define WINDOW		0x40000000UL
#define LIST		VM_FREE
#define DATA		(VM_FREE + 0x200000UL)
#define RW		(TCE_READ | TCE_WRITE)

/* Of the architecture; QEMU and hardware alike */
#define TICKS_PER_SECOND	512000000UL

static const struct {
	const char *name;
	struct vm_call first;
	struct vm_call second;
} loads[] = {
	{ "H_PUT_TCE", { H_PUT_TCE, { LIOBN, 0, DATA | RW } }, { 0 } },
	{ "H_PUT_TCE_INDIRECT x 512",
	  { H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 512 } }, { 0 } },
	{ "map 512, clear 512",
	  { H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 512 } },
	  { H_STUFF_TCE, { LIOBN, 0, 0, 512 } } },
	{ "H_STUFF_TCE x 512 of clear entries",
	  { H_STUFF_TCE, { LIOBN, 0, 0, 512 } }, { 0 } },
	{ "map 1, clear 1",
	  { H_PUT_TCE, { LIOBN, 0, DATA | RW } },
	  { H_STUFF_TCE, { LIOBN, 0, 0, 1 } } },
	{ "H_GET_TCE", { H_GET_TCE, { LIOBN, 0 } }, { 0 } },
};

static __u64 ns_per_round(struct vm *vm, unsigned int i, unsigned int times)
{
	const struct vm_call *second = loads[i].second.nr ? &loads[i].second :
							    NULL;
	__u64 ticks = vm_time(vm, &loads[i].first, second, times);

	return ticks * (1000000000UL / 1000000) / (TICKS_PER_SECOND / 1000000) /
	       times;
}

int main(void)
{
	const unsigned int nr = ARRAY_SIZE(loads);
	const char *only = getenv("tce_load");
	struct vfio_dev dev;
	struct vm vm;
	unsigned int i;
	int tablefd;

	ktap_plan(nr);
	vfio_find(&dev, EDU_VENDOR, EDU_DEVICE);
	vm_create(&vm, 16 << 20);
	vfio_open_group(&dev);
	vfio_register(&dev, vm.mem, vm.size);
	ktap_need(!vm_group_add(&vm, &dev), "KVM_DEV_VFIO_GROUP_ADD");
	tablefd = vm_create_liobn(&vm, LIOBN, 12, WINDOW >> 12);
	vfio_create_window(&dev, 12, WINDOW);
	ktap_need(!vm_bind(&vm, &dev, tablefd), "binding");

	for (i = 0; i < 512; i++)
		((__u64 *)(vm.mem + LIST))[i] = htobe64((DATA + i * 4096) | RW);

	if (only) {
		i = strtoul(only, NULL, 10);
		ktap_need(i < nr, "a load's number in tce_load");
		ns_per_round(&vm, i, 2);
		printf("# profile: %s\n", loads[i].name);
		fflush(stdout);
		ns_per_round(&vm, i, 1000000000);
	}

	for (i = 0; i < nr; i++) {
		/* The first rounds bring pages and levels into being */
		ns_per_round(&vm, i, 2);
		ktap_ok(true, "%s: %llu ns", loads[i].name,
			(unsigned long long)ns_per_round(&vm, i, 20));
	}
	ktap_end();
}
