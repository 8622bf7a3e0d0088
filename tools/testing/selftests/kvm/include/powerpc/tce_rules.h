/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is asked of each TCE hypercall's arguments first, whoever serves it: PAPR
 * 14.5.4.2 and the table of answers at KVM_CREATE_SPAPR_TCE_64 in
 * Documentation/virt/kvm/api.rst.  Both models of the hypercalls judge by this: the
 * selftests' (model.h), and that of the code in user space (tools/testing/tce/model.h),
 * each with its own names of the hypercalls (papr.h, or the kernel's).
 */
#ifndef SELFTEST_KVM_POWERPC_TCE_RULES_H
#define SELFTEST_KVM_POWERPC_TCE_RULES_H

#include <stdbool.h>
#include <linux/types.h>

#define RULES_LIST_MAX		512
#define RULES_LIST_ALIGN	4096
#define RULES_WRITE		2UL
#define RULES_PERM		3UL

/*
 * May a window of @size entries, with pages of 1 << @shift from entry @first on, have
 * @n entries changed or read by hypercall @nr?  Else the answer is H_PARAMETER.  @arg is
 * a TCE, the list of H_PUT_TCE_INDIRECT or the value of H_STUFF_TCE; *@idx is the entry.
 */
static inline bool rules_allow(unsigned long nr, unsigned int shift, __u64 first, __u64 size,
			       __u64 ioba, __u64 arg, __u64 n, __u64 *idx)
{
	const __u64 entry = ioba >> shift;

	if (nr == H_PUT_TCE_INDIRECT && (n > RULES_LIST_MAX || arg & (RULES_LIST_ALIGN - 1)))
		return false;
	if (nr == H_STUFF_TCE && arg & RULES_PERM)
		return false;
	*idx = entry - first;
	return !(ioba & ((1UL << shift) - 1)) && entry >= first && *idx <= size &&
	       n <= size - *idx;
}

/* Does a memslot have all of the page of @bytes that @tce names, for what @tce permits? */
static inline bool rules_slot_has(__u64 gpa, __u64 size, bool read_only, __u64 tce,
				  __u64 bytes)
{
	const __u64 page = tce & ~RULES_PERM, off = page - gpa;

	return !(page & (bytes - 1)) && off < size && bytes <= size - off &&
	       !(read_only && tce & RULES_WRITE);
}

#endif /* SELFTEST_KVM_POWERPC_TCE_RULES_H */
