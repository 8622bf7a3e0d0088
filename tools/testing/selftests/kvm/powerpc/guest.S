/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest program: take a hypercall from the mailbox (struct mailbox in vm.c),
 * do it, leave the answer there, tell user space, and again.  Position
 * independent, as it is copied into guest memory; it runs without translation.
 */
#include "guest.h"

	.section .rodata
	.balign	4
	.globl	guest_begin, guest_end
guest_begin:
	lis	31, GUEST_MAILBOX >> 16
1:	ld	3, 0(31)		/* the hypercall's number */
	ld	4, 8(31)		/* its arguments */
	ld	5, 16(31)
	ld	6, 24(31)
	ld	7, 32(31)
	sc	1
	std	3, 40(31)		/* its answer */
	std	4, 48(31)		/* and the first word returned */
	li	3, 0
	ori	3, 3, GUEST_DONE
	sc	1
	b	1b
guest_end:
	.section .note.GNU-stack, "", @progbits
