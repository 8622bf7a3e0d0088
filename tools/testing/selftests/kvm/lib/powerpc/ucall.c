// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ucall is a hypercall whose number KVM does not know: KVM hands it to user
 * space, with the arguments that the guest has in its registers.
 */
#include "kvm_util.h"
#include "ucall_common.h"

void *ucall_arch_get_ucall(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason != KVM_EXIT_PAPR_HCALL ||
	    run->papr_hcall.nr != H_UCALL)
		return NULL;

	run->papr_hcall.ret = 0;
	return (void *)run->papr_hcall.args[0];
}
