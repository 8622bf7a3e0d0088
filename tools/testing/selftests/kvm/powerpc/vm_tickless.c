// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that computes on a CPU without a tick (nohz_full) is left to compute: that
 * the host has no timer at all is no reason to leave the guest, again and again.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "cases.h"
#include "guest.h"

/* r3 is counted down to 0 from 2^28; then a hypercall tells of the end */
static const __u32 program[] = {
	0x3c601000,	/* lis   r3, 0x1000 */
	0x3463ffff,	/* addic. r3, r3, -1 */
	0x4082fffc,	/* bne   .-4 */
	0x6063f0f0,	/* ori   r3, r3, GUEST_DONE */
	0x44000022,	/* sc    1 */
};

/* The last CPU without a tick, or -1 */
static int tickless_cpu(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/nohz_full", "r");
	char line[64] = "";
	int found, first, last;

	if (!f)
		return -1;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	found = sscanf(line, "%d-%d", &first, &last);
	return found == 2 ? last : found == 1 ? first : -1;
}

static void on_alarm(int signal)
{
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int cpu = tickless_cpu();
	struct vm vm;
	__u64 exits;
	bool done;

	ktap_plan(1);
	if (cpu < 0)
		ktap_skip("no CPU of this kernel is without a tick (nohz_full)");

	/* From whoever is tired of waiting */
	sigaction(SIGALRM, &action, NULL);
	run_on_cpu(cpu);
	vm_create(&vm, 16 << 20);
	memcpy(vm.mem + GUEST_CODE, program, sizeof(program));
	exits = vm_stat(&vm, "sum_exits");
	done = !ioctl(vm.vcpu, KVM_RUN, 0) &&
	       vm.run->exit_reason == KVM_EXIT_PAPR_HCALL &&
	       vm.run->papr_hcall.nr == GUEST_DONE;
	exits = vm_stat(&vm, "sum_exits") - exits;
	ktap_ok(done && exits < 10000, "a guest that computes is left to compute");
	ktap_say("%llu exits", exits);
	ktap_end();
	return 0;
}
