/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts that a guest takes.  This is copied to guest real address
 * POWERPC_VECTOR_FIRST, where the CPU continues with translation off, so it is
 * position independent.  It tells user space, and there is no way back.
 */
#include "hcall.h"
#include "processor.h"

	.section .rodata
	.balign	POWERPC_VECTOR_SIZE
	.globl	powerpc_vectors, powerpc_vectors_end
powerpc_vectors:
	.set	vector, POWERPC_VECTOR_FIRST
	.rept	(POWERPC_VECTOR_END - POWERPC_VECTOR_FIRST) / POWERPC_VECTOR_SIZE
	li	4, vector
	b	unhandled
	.balign	POWERPC_VECTOR_SIZE
	.set	vector, vector + POWERPC_VECTOR_SIZE
	.endr
unhandled:
	mfspr	5, 26			/* SRR0: where it was */
	mfspr	6, 27			/* SRR1 */
	mfspr	7, 19			/* DAR */
	mfspr	8, 18			/* DSISR */
	li	3, 0
	ori	3, 3, H_UNHANDLED
	sc	1
	b	unhandled
powerpc_vectors_end:
	.section .note.GNU-stack, "", @progbits
