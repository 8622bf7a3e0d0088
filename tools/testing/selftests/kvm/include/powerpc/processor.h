/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What guest code and the library know of a POWER CPU (Power ISA 2.07 and 3.0,
 * Book III).
 */
#ifndef SELFTEST_KVM_PROCESSOR_H
#define SELFTEST_KVM_PROCESSOR_H

/* Interrupt vectors, 0x20 bytes each where they are closest together */
#define POWERPC_VECTOR_FIRST	0x100
#define POWERPC_VECTOR_SIZE	0x20
#define POWERPC_VECTOR_END	0x1800

#ifndef __ASSEMBLER__

#include <linux/bits.h>

#include "kvm_util.h"
#include "ucall_common.h"

/* Machine State Register */
#define MSR_SF			BIT_ULL(63)	/* 64-bit */
#define MSR_VEC			BIT_ULL(25)
#define MSR_VSX			BIT_ULL(23)
#define MSR_FP			BIT_ULL(13)
#define MSR_ME			BIT_ULL(12)
#define MSR_IR			BIT_ULL(5)	/* translate fetches ... */
#define MSR_DR			BIT_ULL(4)	/* ... loads and stores */
#define MSR_RI			BIT_ULL(1)
#define MSR_LE			BIT_ULL(0)

/* Logical Partitioning Control Register: interrupts switch to little-endian */
#define LPCR_ILE		BIT_ULL(25)

/* Code for all vectors, to be copied to POWERPC_VECTOR_FIRST */
extern const uint8_t powerpc_vectors[], powerpc_vectors_end[];

/* The hashed page table of a guest on a hash host, for mmu.c and processor.c */
void powerpc_hpt_alloc(struct kvm_vm *vm);
void powerpc_hpt_map(struct kvm_vm *vm, uint64_t vaddr, uint64_t paddr);
void powerpc_hpt_set_slb(struct kvm_vcpu *vcpu);

/* One segment of the largest size that every CPU has covers all guest code */
#define POWERPC_VA_BITS		40

static inline void cpu_relax(void)
{
	barrier();
}

#endif /* !__ASSEMBLER__ */

#endif /* SELFTEST_KVM_PROCESSOR_H */
