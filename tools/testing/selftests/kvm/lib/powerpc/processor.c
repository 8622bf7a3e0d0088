// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs of a guest on POWER: how they start, how they are dumped, and what is said
 * of an interrupt that a test did not expect.
 */
#include <inttypes.h>

#include "kvm_util.h"
#include "processor.h"

/* A caller's frame, where a function saves its link register (ELFv2 ABI) */
#define STACK_FRAME		96

#define GUEST_MSR		(MSR_SF | MSR_VEC | MSR_VSX | MSR_FP | MSR_ME | \
				 MSR_IR | MSR_DR | MSR_RI | MSR_LE)

void kvm_arch_vm_post_create(struct kvm_vm *vm)
{
	memcpy(addr_gpa2hva(vm, POWERPC_VECTOR_FIRST), powerpc_vectors,
	       powerpc_vectors_end - powerpc_vectors);
}

static uint64_t powerpc_stack_top(struct kvm_vm *vm)
{
	size_t size = align_up(DEFAULT_STACK_PGS * MIN_PAGE_SIZE, vm->page_size);

	return __vm_vaddr_alloc(vm, size, DEFAULT_GUEST_STACK_VADDR_MIN,
				MEM_REGION_DATA) + size;
}

struct kvm_vcpu *vm_arch_vcpu_add(struct kvm_vm *vm, uint32_t vcpu_id)
{
	uint64_t stack = powerpc_stack_top(vm), lpcr;
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, vcpu_id);
	struct kvm_regs regs;

	vcpu_enable_cap(vcpu, KVM_CAP_PPC_PAPR, 1);
	vcpu_get_reg(vcpu, KVM_REG_PPC_LPCR_64, &lpcr);
	vcpu_set_reg(vcpu, KVM_REG_PPC_LPCR_64, lpcr | LPCR_ILE);
	if (!vm->arch.radix)
		powerpc_hpt_set_slb(vcpu);

	vcpu_regs_get(vcpu, &regs);
	regs.msr = GUEST_MSR;
	regs.gpr[1] = stack - STACK_FRAME;
	regs.sprg3 = vcpu_id;
	vcpu_regs_set(vcpu, &regs);
	return vcpu;
}

void vcpu_arch_set_entry_point(struct kvm_vcpu *vcpu, void *guest_code)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.pc = (uintptr_t)guest_code;
	/* From which a function finds its table of contents (ELFv2 ABI) */
	regs.gpr[12] = regs.pc;
	vcpu_regs_set(vcpu, &regs);
}

void vcpu_args_set(struct kvm_vcpu *vcpu, unsigned int num, ...)
{
	struct kvm_regs regs;
	unsigned int i;
	va_list args;

	TEST_ASSERT(num >= 1 && num <= 8,
		    "%u arguments; registers can pass 1 to 8", num);

	vcpu_regs_get(vcpu, &regs);
	va_start(args, num);
	for (i = 0; i < num; i++)
		regs.gpr[3 + i] = va_arg(args, uint64_t);
	va_end(args);
	vcpu_regs_set(vcpu, &regs);
}

void vcpu_arch_dump(FILE *stream, struct kvm_vcpu *vcpu, uint8_t indent)
{
	struct kvm_regs regs;
	unsigned int i;

	vcpu_regs_get(vcpu, &regs);
	fprintf(stream, "%*spc %016llx msr %016llx lr %016llx ctr %016llx\n",
		indent, "", regs.pc, regs.msr, regs.lr, regs.ctr);
	fprintf(stream, "%*scr %08llx xer %016llx srr0 %016llx srr1 %016llx\n",
		indent, "", regs.cr, regs.xer, regs.srr0, regs.srr1);
	for (i = 0; i < ARRAY_SIZE(regs.gpr); i++)
		fprintf(stream, "%*sr%-2u %016llx%s", i % 4 ? 1 : indent, "", i,
			regs.gpr[i], i % 4 == 3 ? "\n" : "");
}

void assert_on_unhandled_exception(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	__u64 *args = run->papr_hcall.args;

	if (run->exit_reason != KVM_EXIT_PAPR_HCALL ||
	    run->papr_hcall.nr != H_UNHANDLED)
		return;

	vcpu_dump(stderr, vcpu, 2);
	TEST_FAIL("vCPU %u took interrupt 0x%llx at 0x%llx (SRR1 0x%llx, DAR 0x%llx, DSISR 0x%llx)",
		  vcpu->id, args[0], args[1], args[2], args[3], args[4]);
}

uint32_t guest_get_vcpuid(void)
{
	uint64_t id;

	asm("mfspr %0, 259" : "=r"(id));	/* SPRG3, as anybody may read it */
	return id;
}
