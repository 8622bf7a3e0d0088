/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What happens to the TCEs of guests: bindings, and hypercalls that arrive in
 * virtual mode.  Those that are served in guest context leave no trace, as they
 * run where nothing can be traced.
 */
#if !defined(_TRACE_KVM_TCE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_TCE_H

#include <linux/kvm_host.h>
#include <linux/tracepoint.h>
#include <asm/hvcall.h>
#include <asm/iommu.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_tce

/*
 * Entries that a hypercall changed in virtual mode; @ioba is where it began, and
 * @ret what it answered.
 */
DECLARE_EVENT_CLASS(kvm_tce_entries,
		    TP_PROTO(struct kvm_vcpu *vcpu, u64 liobn, u64 ioba,
			     u64 entries, long ret),
		    TP_ARGS(vcpu, liobn, ioba, entries, ret),

		    TP_STRUCT__entry(__field(int, vm_pid)
				     __field(int, vcpu_id)
				     __field(u64, liobn)
				     __field(u64, ioba)
				     __field(u64, entries)
				     __field(long, ret)
		    ),

		    TP_fast_assign(__entry->vm_pid = vcpu->kvm->userspace_pid;
				   __entry->vcpu_id = vcpu->vcpu_id;
				   __entry->liobn = liobn;
				   __entry->ioba = ioba;
				   __entry->entries = entries;
				   __entry->ret = ret;
		    ),

		    TP_printk("VM %d VCPU %d liobn=0x%llx ioba=0x%llx entries=%llu ret=%ld",
			      __entry->vm_pid, __entry->vcpu_id,
			      __entry->liobn, __entry->ioba, __entry->entries,
			      __entry->ret)
);

DEFINE_EVENT(kvm_tce_entries, kvm_tce_map,
	     TP_PROTO(struct kvm_vcpu *vcpu, u64 liobn, u64 ioba, u64 entries,
		      long ret),
	     TP_ARGS(vcpu, liobn, ioba, entries, ret)
);

DEFINE_EVENT(kvm_tce_entries, kvm_tce_unmap,
	     TP_PROTO(struct kvm_vcpu *vcpu, u64 liobn, u64 ioba, u64 entries,
		      long ret),
	     TP_ARGS(vcpu, liobn, ioba, entries, ret)
);

/*
 * A hypercall was left to virtual mode or to user space (@to).  @reason is the name of a
 * counter without tce_hard_, or "killed".
 */
TRACE_EVENT(kvm_tce_fallback,
	    TP_PROTO(struct kvm_vcpu *vcpu, unsigned long req, u64 liobn,
		     u64 ioba, u64 entries, const char *to,
		     const char *reason),
	    TP_ARGS(vcpu, req, liobn, ioba, entries, to, reason),

	    TP_STRUCT__entry(__field(int, vm_pid)
			     __field(int, vcpu_id)
			     __field(unsigned long, req)
			     __field(u64, liobn)
			     __field(u64, ioba)
			     __field(u64, entries)
			     __string(to, to)
			     __string(reason, reason)
	    ),

	    TP_fast_assign(__entry->vm_pid = vcpu->kvm->userspace_pid;
			   __entry->vcpu_id = vcpu->vcpu_id;
			   __entry->req = req;
			   __entry->liobn = liobn;
			   __entry->ioba = ioba;
			   __entry->entries = entries;
			   __assign_str(to);
			   __assign_str(reason);
	    ),

	    TP_printk("VM %d VCPU %d %s liobn=0x%llx ioba=0x%llx entries=%llu to=%s reason=%s",
		      __entry->vm_pid, __entry->vcpu_id,
		      __print_symbolic(__entry->req,
				       { H_PUT_TCE, "H_PUT_TCE" },
				       { H_PUT_TCE_INDIRECT,
					 "H_PUT_TCE_INDIRECT" },
				       { H_STUFF_TCE, "H_STUFF_TCE" },
				       { H_GET_TCE, "H_GET_TCE" }),
		      __entry->liobn, __entry->ioba, __entry->entries,
		      __get_str(to), __get_str(reason))
);

/* A file's claim on the binding of a LIOBN to a hardware table, by its group's id */
DECLARE_EVENT_CLASS(kvm_tce_binding,
		    TP_PROTO(struct kvm *kvm, u64 liobn,
			     struct iommu_table *tbl, int group),
		    TP_ARGS(kvm, liobn, tbl, group),

		    TP_STRUCT__entry(__field(int, vm_pid)
				     __field(u64, liobn)
				     __field(int, group)
				     __field(u64, start)
				     __field(u64, size)
				     __field(u64, page)
		    ),

		    TP_fast_assign(__entry->vm_pid = kvm->userspace_pid;
				   __entry->liobn = liobn;
				   __entry->group = group;
				   __entry->start = (u64)tbl->it_offset <<
						    tbl->it_page_shift;
				   __entry->size = (u64)tbl->it_size <<
						   tbl->it_page_shift;
				   __entry->page = 1ULL << tbl->it_page_shift;
		    ),

		    TP_printk("VM %d liobn=0x%llx group=%d start=0x%llx size=0x%llx page=0x%llx",
			      __entry->vm_pid, __entry->liobn, __entry->group,
			      __entry->start, __entry->size, __entry->page)
);

DEFINE_EVENT(kvm_tce_binding, kvm_tce_bind,
	     TP_PROTO(struct kvm *kvm, u64 liobn, struct iommu_table *tbl,
		      int group),
	     TP_ARGS(kvm, liobn, tbl, group)
);

DEFINE_EVENT(kvm_tce_binding, kvm_tce_release,
	     TP_PROTO(struct kvm *kvm, u64 liobn, struct iommu_table *tbl,
		      int group),
	     TP_ARGS(kvm, liobn, tbl, group)
);

#endif /* _TRACE_KVM_TCE_H */

/* This part must be outside protection */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE

#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace_tce

#include <trace/define_trace.h>
