// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine of the TCE hypercalls (book3s_64_vio.h) in the irqoff mode, for a CPU
 * that has just left a guest, with kernel mappings on:
 *
 *  - in a partial exit of a radix guest on a radix host: most registers are the
 *    guest's still, and the CPU goes straight back into it;
 *
 *  - in an early exit, before the run loop is left: everything is the host's
 *    again.  This is all that a host which is a guest has.
 *
 * Interrupts are off and RCU does not watch.  A call changes up to TCE_USER_PIECE
 * hardware entries, or TCE_USER_FOREIGN where that takes hypercalls, and there one
 * entry of the guest if the hypervisor takes lists; it neither allocates nor sleeps.
 * kvm->srcu is held by whoever entered the guest.
 *
 * In a partial exit a fault, a system reset and a machine check are fatal.  So it
 * changes KVMPPC_TCE_PARTIAL_MAX entries at most and leaves longer calls to the early
 * exit, and the Makefile turns all instrumentation off for this file.
 */

#include <linux/kvm_host.h>

#define KVMPPC_TCE_MODE	TCE_USER_IRQOFF
#include "book3s_64_vio.h"

/**
 * kvmppc_partial_tce_hcall() - serve a TCE hypercall in a partial exit
 * @vcpu: the calling virtual CPU; on success its GPR3 is the answer
 *
 * Context: interrupts off, MMU on, registers of the guest.
 * Return: true when the hypercall is done.
 */
bool kvmppc_partial_tce_hcall(struct kvm_vcpu *vcpu)
{
	return kvmppc_tce_guest_hcall(vcpu, &vcpu->stat.tce_partial_exit,
				      KVMPPC_TCE_TIER_PARTIAL,
				      KVMPPC_TCE_PARTIAL_MAX);
}

/**
 * kvmppc_early_tce_hcall() - serve a TCE hypercall in an early exit
 * @vcpu: the calling virtual CPU; on success its GPR3 is the answer
 *
 * Context: interrupts off.
 * Return: true when the hypercall is done.
 */
bool kvmppc_early_tce_hcall(struct kvm_vcpu *vcpu)
{
	return kvmppc_tce_guest_hcall(vcpu, &vcpu->stat.tce_early_exit,
				      KVMPPC_TCE_TIER_EARLY, TCE_USER_PIECE);
}
EXPORT_SYMBOL_GPL(kvmppc_early_tce_hcall);
