/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System calls with a known value in each FP and vector register.  The kernel is
 * entered by "sc", which leaves all of them to the caller as they were; no code of
 * the compiler or of a library gets in between.
 */
#include "vsx.h"

/* All registers from or to what \base points to; uses r0 */
	.macro	each_vsr insn, base
	.set	vsr, 0
	.rept	VSX_REGISTERS
	li	0, 16 * vsr
	\insn	vsr, \base, 0
	.set	vsr, vsr + 1
	.endr
	.endm

	.abiversion 2
	.machine power8
	.text
	.globl	vsx_run
	.type	vsx_run, @function
vsx_run:
	std	31, -8(1)
	mr	31, 3
	addi	4, 31, VSX_KEPT
	each_vsr stxvd2x, 4
	each_vsr lxvd2x, 31
	ld	0, VSX_SPINS(31)
	addi	0, 0, 1
	mtctr	0
1:	bdnz	1b
	ld	0, VSX_FIRST(31)
	cmpdi	0, 0
	beq	2f
	sc
2:	ld	3, VSX_ARGS(31)
	ld	4, VSX_ARGS + 8(31)
	ld	5, VSX_ARGS + 16(31)
	ld	0, VSX_SECOND(31)
	sc
	bns+	3f
	neg	3, 3
3:	addi	4, 31, VSX_SEEN
	each_vsr stxvd2x, 4
	addi	4, 31, VSX_KEPT
	each_vsr lxvd2x, 4
	ld	31, -8(1)
	blr
	.size	vsx_run, . - vsx_run
	.section .note.GNU-stack, "", @progbits
