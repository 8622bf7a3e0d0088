/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest program and its VMM agree on; read by the assembler, too */
#ifndef SELFTEST_KVM_POWERPC_GUEST_H
#define SELFTEST_KVM_POWERPC_GUEST_H

/* Guest addresses of the program and of its mailbox; the latter 64K aligned */
#define GUEST_CODE	0x10000
#define GUEST_MAILBOX	0x20000	/* of virtual CPU 0, and so on */
#define GUEST_MAILBOX_SIZE	0x100

/* No hypercall of PAPR or KVM: tells user space that the answer is there */
#define GUEST_DONE	0xf0f0

#ifndef __ASSEMBLER__
#include <linux/types.h>

extern const __u8 guest_begin[], guest_end[];
#endif

#endif /* SELFTEST_KVM_POWERPC_GUEST_H */
