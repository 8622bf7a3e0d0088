/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_HCALL_H
#define SELFTEST_KVM_HCALL_H

/*
 * Hypercalls to user space: PAPR leaves 0xf000 and up to the platform, and KVM
 * knows none of them.
 */
#define H_UCALL			0xf0f0	/* a ucall, see ucall_common.h */
#define H_UNHANDLED		0xf0f4	/* an interrupt that nobody expects */

#ifndef __ASSEMBLER__
#include <stdint.h>

/**
 * hcall() - in the guest: do a hypercall
 * @nr: its number
 * @value: where the first word that it returns goes, or NULL
 * @a: first argument
 * @b: second argument
 * @c: third argument
 * @d: fourth argument
 *
 * Return: the status, H_SUCCESS or an H_* error.
 */
static inline int64_t hcall(uint64_t nr, uint64_t *value, uint64_t a,
			    uint64_t b, uint64_t c, uint64_t d)
{
	register uint64_t r3 asm("r3") = nr;
	register uint64_t r4 asm("r4") = a;
	register uint64_t r5 asm("r5") = b;
	register uint64_t r6 asm("r6") = c;
	register uint64_t r7 asm("r7") = d;

	/* PAPR 14.5.3 says what a hypercall may change */
	asm volatile("sc 1"
		     : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7)
		     :
		     : "r0", "r8", "r9", "r10", "r11", "r12", "ctr", "xer",
		       "cr0", "cr1", "cr5", "cr6", "cr7", "memory");
	if (value)
		*value = r4;
	return r3;
}
#endif /* !__ASSEMBLER__ */

#endif /* SELFTEST_KVM_HCALL_H */
