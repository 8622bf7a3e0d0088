/* SPDX-License-Identifier: GPL-2.0-only */
/* FP and vector registers of a task across its system calls */
#ifndef SELFTEST_KVM_POWERPC_VSX_H
#define SELFTEST_KVM_POWERPC_VSX_H

#define VSX_REGISTERS	64
#define VSX_BYTES	(16 * VSX_REGISTERS)

/* Offsets in struct vsx */
#define VSX_SEEN	VSX_BYTES
#define VSX_KEPT	(2 * VSX_BYTES)
#define VSX_SPINS	(3 * VSX_BYTES)
#define VSX_FIRST	(VSX_SPINS + 8)
#define VSX_SECOND	(VSX_FIRST + 8)
#define VSX_ARGS	(VSX_SECOND + 8)

#ifndef __ASSEMBLER__
#include <linux/types.h>

/**
 * struct vsx - what vsx_run() is to do
 * @set: what to put into VSR0 to VSR63: the FP registers are the first words of
 *	the lower half, the VMX registers are the upper half
 * @seen: what was in them after the system call
 * @kept: the caller's, meanwhile
 * @spins: how long to stay in user space before
 * @first: number of a system call to do before, or 0
 * @second: number of the system call
 * @args: its arguments
 */
struct vsx {
	__u64 set[VSX_REGISTERS][2];
	__u64 seen[VSX_REGISTERS][2];
	__u64 kept[VSX_REGISTERS][2];
	__u64 spins;
	__u64 first;
	__u64 second;
	__u64 args[3];
};

/* Do it; returns what the system call does, or -errno */
long vsx_run(struct vsx *vsx);
#endif

#endif /* SELFTEST_KVM_POWERPC_VSX_H */
