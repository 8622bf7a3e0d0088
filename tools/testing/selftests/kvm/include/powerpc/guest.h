/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest program and its VMM agree on; read by the assembler, too */
#ifndef SELFTEST_KVM_POWERPC_GUEST_H
#define SELFTEST_KVM_POWERPC_GUEST_H

/* Where interrupts begin (Power ISA, Book III) */
#define GUEST_EXTERNAL		0x500
#define GUEST_DECREMENTER	0x900

/* Guest addresses of the program and of its mailbox; the latter 64K aligned */
#define GUEST_CODE	0x10000
#define GUEST_MAILBOX	0x20000	/* of virtual CPU 0, and so on */
#define GUEST_MAILBOX_SIZE	0x100

/*
 * From the mailbox to a word that is written and never read: under QEMU 10 a page
 * that was read before it is written to is not always logged as dirty.
 */
#define GUEST_DIRTY_OFFSET	0x10000

/* An entry of a list of hypercalls, struct vm_called */
#define GUEST_CALLED_SIZE	56

/* No hypercall of PAPR or KVM: tells user space that the answer is there */
#define GUEST_DONE	0xf0f0

#ifndef __ASSEMBLER__
#include <linux/types.h>

extern const __u8 guest_begin[], guest_end[];
extern const __u8 guest_decrementer[], guest_external[], guest_interrupts_end[];
#endif

#endif /* SELFTEST_KVM_POWERPC_GUEST_H */
