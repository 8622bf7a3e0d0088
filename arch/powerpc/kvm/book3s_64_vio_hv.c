// SPDX-License-Identifier: GPL-2.0-only
/*
 * The real-mode instance of the TCE hypercalls' engine (book3s_64_vio.h), for a
 * CPU that has left a guest with the MMU off: POWER8, from hcall_real_table, and
 * POWER9 or later where guest or host use a hash page table.
 *
 * What is different here:
 *
 *  - This is part of vmlinux, also when KVM is a module, and nothing that is
 *    called from here may lie elsewhere.
 *
 *  - An address of the linear map works, as the CPU ignores its topmost bits;
 *    one of vmalloc() does not.  LIOBNs, guest's views, bindings, memslots,
 *    tables and regions are allocated so that they can be read here; where a
 *    region is too large for that, it says so.
 *
 *  - A fault, and so a trace point, a probe or a sanitizer, is the end of the
 *    host.  The Makefile turns all instrumentation off for this file.
 *
 *  - Interrupts are off.  A call changes up to TCE_USER_PIECE hardware entries, in a
 *    partial exit up to KVMPPC_TCE_PARTIAL_MAX; it neither allocates nor waits for long.
 *    What is too hard goes on to the next tier, which does the whole call again.
 *
 * kvm->srcu is held by the task that entered the guest.
 */

#include <linux/kvm_host.h>

#define KVMPPC_TCE_MODE	TCE_USER_REAL
#include "book3s_64_vio.h"

/* Each of the six counters in every state of the CPU; and the supervisor's two */
#define MMCR2_FREEZE_ALL	(~0x3ffUL)
#define MMCRS_FC		0x80000000UL

/* What the guest has in the PMU's control registers, if @stopped */
struct kvmppc_rm_pmu {
	bool stopped;
	unsigned long mmcr0;
	unsigned long mmcr2;
	unsigned long mmcra;
	unsigned long mmcrs;
};

/*
 * The PMU is the guest's in real mode.  One that is used stops meanwhile: the guest
 * shall neither count nor sample what the host does.  The counters stop by MMCR2 first:
 * an alert that came between reading and writing MMCR0 would be lost.  Frozen counters
 * alone do not keep SIAR and SDAR from being updated, MMCRA does.
 */
static __always_inline void kvmppc_rm_freeze_pmu(struct kvmppc_rm_pmu *pmu)
{
	unsigned long mmcr0;

	pmu->mmcra = mfspr(SPRN_MMCRA);
	pmu->mmcrs = mfspr(SPRN_MMCRS);
	mmcr0 = mfspr(SPRN_MMCR0);
	pmu->stopped = !(mmcr0 & MMCR0_FC) || pmu->mmcra ||
		       mmcr0 & MMCR0_PMXE || (mmcr0 & MMCR0_PMCC) == MMCR0_PMCC ||
		       (pmu->mmcrs && !(pmu->mmcrs & MMCRS_FC));
	if (likely(!pmu->stopped))
		return;

	pmu->mmcr2 = mfspr(SPRN_MMCR2);
	mtspr(SPRN_MMCR2, MMCR2_FREEZE_ALL);
	isync();
	pmu->mmcr0 = mfspr(SPRN_MMCR0);
	mtspr(SPRN_MMCR0, MMCR0_FC | (pmu->mmcr0 & MMCR0_PMAO));
	mtspr(SPRN_MMCRA, 0);
	mtspr(SPRN_MMCRS, MMCRS_FC);
	isync();
}

static __always_inline void kvmppc_rm_thaw_pmu(const struct kvmppc_rm_pmu *pmu)
{
	if (likely(!pmu->stopped))
		return;

	mtspr(SPRN_MMCRS, pmu->mmcrs);
	mtspr(SPRN_MMCRA, pmu->mmcra);
	mtspr(SPRN_MMCR0, pmu->mmcr0);
	mtspr(SPRN_MMCR2, pmu->mmcr2);
}

/*
 * Is @req for this tier?  hcall_real_table was looked at without the two low bits of the
 * guest's number, and a number with one of them set is no hypercall.
 */
static __always_inline bool kvmppc_rm_is_for(const struct kvm_vcpu *vcpu, unsigned long req)
{
	return vcpu->kvm->arch.tce_tiers & KVMPPC_TCE_TIER_REAL &&
	       vcpu->arch.regs.gpr[3] == req;
}

static __always_inline long kvmppc_rm_put(struct kvm_vcpu *vcpu, unsigned long req,
					  unsigned long liobn, unsigned long ioba,
					  unsigned long arg, unsigned long npages)
{
	struct kvmppc_rm_pmu pmu __uninitialized;
	long ret;

	if (!kvmppc_rm_is_for(vcpu, req))
		return H_TOO_HARD;

	kvmppc_rm_freeze_pmu(&pmu);
	ret = kvmppc_tce_guest_put(vcpu, &vcpu->stat.tce_real_mode, req, liobn,
				   ioba, arg, npages, TCE_USER_PIECE);
	kvmppc_rm_thaw_pmu(&pmu);
	return ret;
}

/**
 * kvmppc_rm_h_put_tce() - H_PUT_TCE, from hcall_real_table
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the entry
 * @tce: TCE
 *
 * Context: real mode.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means virtual mode.
 */
long kvmppc_rm_h_put_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
			 unsigned long ioba, unsigned long tce)
{
	return kvmppc_rm_put(vcpu, H_PUT_TCE, liobn, ioba, tce, 1);
}

/**
 * kvmppc_rm_h_put_tce_indirect() - H_PUT_TCE_INDIRECT, from hcall_real_table
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the first entry
 * @tce_list: guest address of the list of TCEs
 * @npages: entries
 *
 * Context: real mode.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means virtual mode.
 */
long kvmppc_rm_h_put_tce_indirect(struct kvm_vcpu *vcpu, unsigned long liobn,
				  unsigned long ioba, unsigned long tce_list,
				  unsigned long npages)
{
	return kvmppc_rm_put(vcpu, H_PUT_TCE_INDIRECT, liobn, ioba, tce_list, npages);
}

/**
 * kvmppc_rm_h_stuff_tce() - H_STUFF_TCE, from hcall_real_table
 * @vcpu: the calling virtual CPU
 * @liobn: LIOBN
 * @ioba: bus address of the first entry
 * @tce_value: what the entries shall read back as
 * @npages: entries
 *
 * Context: real mode.
 * Return: as kvmppc_tce_put(); H_TOO_HARD means virtual mode.
 */
long kvmppc_rm_h_stuff_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
			   unsigned long ioba, unsigned long tce_value,
			   unsigned long npages)
{
	return kvmppc_rm_put(vcpu, H_STUFF_TCE, liobn, ioba, tce_value, npages);
}

/**
 * kvmppc_rm_h_get_tce() - H_GET_TCE, from hcall_real_table
 * @vcpu: the calling virtual CPU; on success its GPR4 is the TCE
 * @liobn: LIOBN
 * @ioba: bus address of the entry
 *
 * Context: real mode.
 * Return: as kvmppc_tce_get(); H_TOO_HARD means virtual mode.
 */
long kvmppc_rm_h_get_tce(struct kvm_vcpu *vcpu, unsigned long liobn,
			 unsigned long ioba)
{
	struct kvmppc_rm_pmu pmu __uninitialized;
	long ret;

	if (!kvmppc_rm_is_for(vcpu, H_GET_TCE))
		return H_TOO_HARD;

	kvmppc_rm_freeze_pmu(&pmu);
	ret = kvmppc_tce_guest_get(vcpu, &vcpu->stat.tce_real_mode, liobn, ioba);
	kvmppc_rm_thaw_pmu(&pmu);
	return ret;
}

/**
 * kvmppc_rm_tce_hcall() - serve a TCE hypercall in a partial exit
 * @vcpu: the calling virtual CPU; on success its GPR3 is the answer
 *
 * Context: real mode.
 * Return: true when the hypercall is done.
 */
bool kvmppc_rm_tce_hcall(struct kvm_vcpu *vcpu)
{
	return kvmppc_tce_guest_hcall(vcpu, &vcpu->stat.tce_partial_exit,
				      KVMPPC_TCE_TIER_PARTIAL,
				      KVMPPC_TCE_PARTIAL_MAX);
}
