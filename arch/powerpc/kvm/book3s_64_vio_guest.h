/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest context: what the tiers before virtual mode share.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_GUEST_H
#define POWERPC_KVM_BOOK3S_64_VIO_GUEST_H

#include <asm/kvm_book3s.h>

#include "book3s_64_vio_call.h"
#include "book3s_64_vio_one.h"

/* Hardware entries of a hypercall where a system reset would be fatal */
#define KVMPPC_TCE_PARTIAL_MAX	16UL

/*
 * In real mode nothing may be called that is instrumented or lies in a module, as
 * kvmppc_get_gpr() may do for a nested guest.  Who is served there is on bare metal, and
 * its registers are in the vCPU.
 */
static __always_inline unsigned long
kvmppc_tce_gpr(struct kvm_vcpu *vcpu, int num)
{
	if (KVMPPC_TCE_MODE == TCE_USER_REAL)
		return vcpu->arch.regs.gpr[num];
	return kvmppc_get_gpr(vcpu, num);
}

static __always_inline void
kvmppc_tce_set_gpr(struct kvm_vcpu *vcpu, int num, unsigned long value)
{
	if (KVMPPC_TCE_MODE == TCE_USER_REAL)
		vcpu->arch.regs.gpr[num] = value;
	else
		kvmppc_set_gpr(vcpu, num, value);
}

/*
 * All that the shortest way cannot do.  A function of its own, so that the shortest
 * way needs fewer registers
 */
static noinline __maybe_unused long
kvmppc_tce_guest_more(struct kvm_vcpu *vcpu, u64 *served, unsigned long req,
		      unsigned long liobn, unsigned long ioba,
		      unsigned long arg, unsigned long n, unsigned long most)
{
	struct kvmppc_tce_call call __uninitialized;
	long ret;

	if (kvmppc_tce_is_one(req, arg, n)) {
		ret = kvmppc_tce_put_one(vcpu, served, liobn, ioba, arg, true);
		if (ret != H_TOO_HARD)
			return ret;
	}

	kvmppc_tce_args(&call, vcpu, req, liobn, ioba, arg, n);
	call.most = most;
	ret = kvmppc_tce_put(&call);
	if (ret != H_TOO_HARD)
		++*served;
	return ret;
}

/* Serve H_GET_TCE, whose answer goes to GPR4 */
static __always_inline long
kvmppc_tce_guest_get(struct kvm_vcpu *vcpu, u64 *served, unsigned long liobn,
		     unsigned long ioba)
{
	u64 tce;
	long ret;

	mm_iommu_enter(&vcpu->arch.tce_reader);
	ret = kvmppc_tce_get(vcpu, liobn, ioba, &tce);
	mm_iommu_leave(&vcpu->arch.tce_reader);
	if (ret == H_SUCCESS)
		kvmppc_tce_set_gpr(vcpu, 4, tce);
	if (ret != H_TOO_HARD)
		++*served;
	return ret;
}

/*
 * Serve another hypercall, of @most hardware entries; for the other arguments see
 * kvmppc_tce_args().
 */
static __always_inline long
kvmppc_tce_guest_put(struct kvm_vcpu *vcpu, u64 *served, unsigned long req,
		     unsigned long liobn, unsigned long ioba,
		     unsigned long arg, unsigned long n, unsigned long most)
{
	long ret = H_TOO_HARD;

	mm_iommu_enter(&vcpu->arch.tce_reader);
	if (kvmppc_tce_is_one(req, arg, n))
		ret = kvmppc_tce_put_one(vcpu, served, liobn, ioba, arg, false);
	if (unlikely(ret == H_TOO_HARD))
		ret = kvmppc_tce_guest_more(vcpu, served, req, liobn, ioba, arg,
					    n, most);
	mm_iommu_leave(&vcpu->arch.tce_reader);
	return ret;
}

/*
 * Serve the hypercall that @vcpu exited for, if it is one of ours and @tier is
 * on, with @most hardware entries at most.  True when it is done, and the answer is
 * in GPR3.
 */
static __always_inline bool kvmppc_tce_guest_hcall(struct kvm_vcpu *vcpu,
						   u64 *served,
						   unsigned int tier,
						   unsigned long most)
{
	unsigned long req = kvmppc_tce_gpr(vcpu, 3);
	unsigned long liobn = kvmppc_tce_gpr(vcpu, 4);
	unsigned long ioba = kvmppc_tce_gpr(vcpu, 5);
	unsigned long n = kvmppc_tce_gpr(vcpu, 7);
	long ret;

	if (req != H_PUT_TCE && req != H_STUFF_TCE &&
	    req != H_PUT_TCE_INDIRECT && req != H_GET_TCE)
		return false;

	if (!(vcpu->kvm->arch.tce_tiers & tier) || vcpu->arch.tce_hopeless ||
	    !test_bit(req / 4, vcpu->kvm->arch.enabled_hcalls))
		return false;

	if (req == H_GET_TCE)
		ret = kvmppc_tce_guest_get(vcpu, served, liobn, ioba);
	else if (tier == KVMPPC_TCE_TIER_PARTIAL && req != H_PUT_TCE && n > most)
		ret = H_TOO_HARD;
	else
		ret = kvmppc_tce_guest_put(vcpu, served, req, liobn, ioba,
					   kvmppc_tce_gpr(vcpu, 6), n, most);
	if (ret == H_TOO_HARD)
		return false;

	kvmppc_tce_set_gpr(vcpu, 3, ret);
	return true;
}

#endif /* POWERPC_KVM_BOOK3S_64_VIO_GUEST_H */
