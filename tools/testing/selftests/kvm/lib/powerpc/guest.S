/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest program: take a hypercall or two from the mailbox (struct mailbox in
 * vm.c), do them as often as it says, leave the answer and the time there, tell
 * user space, and again.  Or take a list of hypercalls (struct vm_called), do each
 * and leave its answer in the list.  Position independent, as it is copied into guest
 * memory; it runs without translation.
 */
#include "guest.h"

	.section .rodata
	.balign	4
	.globl	guest_begin, guest_end
guest_begin:
1:	ld	30, 96(31)		/* how often; r31: the mailbox */
	ld	29, 128(31)		/* a list of hypercalls, if there is one */
	cmpdi	29, 0
	bne	4f
	mfspr	29, 268			/* the timebase */
	addis	28, 31, GUEST_DIRTY_OFFSET / 0x10000
	std	29, 0(28)		/* for the dirty log */
2:	ld	3, 0(31)		/* the hypercall's number */
	ld	4, 8(31)		/* its arguments */
	ld	5, 16(31)
	ld	6, 24(31)
	ld	7, 32(31)
	sc	1
	std	3, 80(31)		/* its answer */
	std	4, 88(31)		/* and the first word returned */
	ld	3, 40(31)		/* a second hypercall, if there is one */
	cmpdi	3, 0
	beq	3f
	ld	4, 48(31)
	ld	5, 56(31)
	ld	6, 64(31)
	ld	7, 72(31)
	sc	1
3:	addic.	30, 30, -1
	bne	2b
	mfspr	28, 268
	subf	28, 29, 28
	std	28, 104(31)		/* ticks that all of it took */
	b	5f
4:	ld	3, 0(29)		/* each of the list, r30 of them */
	ld	4, 8(29)
	ld	5, 16(29)
	ld	6, 24(29)
	ld	7, 32(29)
	sc	1
	std	3, 40(29)
	std	4, 48(29)
	addi	29, 29, GUEST_CALLED_SIZE
	addic.	30, 30, -1
	bne	4b
5:	li	3, 0
	ori	3, 3, GUEST_DONE
	sc	1
	b	1b
guest_end:

	/* Interrupts, when they are enabled: count them; r21, r22 are theirs */
	.globl	guest_decrementer, guest_external, guest_interrupts_end
guest_decrementer:
	ld	21, 112(31)
	addi	21, 21, 1
	std	21, 112(31)
	lis	22, 1			/* the next one 65536 ticks from now */
	mtdec	22
	rfid
guest_external:
	ld	21, 120(31)
	addi	21, 21, 1
	std	21, 120(31)
	rfid
guest_interrupts_end:
	.section .note.GNU-stack, "", @progbits
