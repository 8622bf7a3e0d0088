/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine behind H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE and H_GET_TCE:
 * one text for every tier that serves these hypercalls.
 *
 * It is split into headers, by noun; here two of one rank share a row.  A header
 * includes only what stands below it:
 *
 *	guest			guest context: registers and tiers
 *	call	one		a hypercall, or a piece; the short way of one entry
 *	entry	span		a guest entry; entries that resemble the one before
 *	part	line		hardware entries of one guest entry; of one lock
 *	view			what the guest reads back, and levels of the tables
 *	run			a hypercall at work
 *	table	memory		what is bound to what; what a TCE names
 *
 * A TCE table, which is called by its number, LIOBN, is a window of bus addresses of
 * the guest, with entries of the page size that the guest chose.  It has a *guest's
 * view*, which keeps the TCEs as the guest wrote them, is read by H_GET_TCE and mapped
 * by the VMM; and it may be *bound* to hardware tables (struct iommu_table), whose pages
 * are of the same size or smaller, so that a guest entry stands for 1 or more hardware
 * entries, its *parts*.
 *
 * A hypercall works consecutive guest entries, one after the other: a *run* (struct
 * kvmppc_tce_run; struct kvm_run is something else).  Each entry is
 * checked completely, and then changed in all tables and in the guest's view;
 * after the last one every table is invalidated once and the counts of the
 * translations that went are dropped (asm/tce_user.h).  So an answer other
 * than H_SUCCESS leaves the entries before the one that failed done, in the
 * same way everywhere, and those from it on untouched, unless a hypervisor below
 * refused (rule 4 in Documentation/arch/powerpc/kvm-tce.rst).
 *
 * If two CPUs change one guest entry, each locks the lines of all parts, ordered by the
 * address of the table and then by entry.  It changes them, writes the guest's view and
 * unlocks them.  So the guest's view shows what was installed.  VFIO ioctls and other
 * LIOBNs hold locks of the same lines, one at a time or in the same order.  So a CPU that
 * holds a lock waits only for locks that come later in this order.  In guest context no
 * CPU waits while it holds a lock: if it cannot have the lock of a part, it gives up
 * before it has changed the entry.  An entry of more parts than may be worked without
 * preemption is changed in pieces, in virtual mode, and a mutex keeps other CPUs from
 * such entries of the LIOBN meanwhile.  A LIOBN that is bound to nothing has a single
 * word per entry and needs no lock.
 *
 * Most entries are like the one before: they are next to it in the tables and in the
 * guest's view, and lead to memory near by.  An entry is worked by
 * kvmppc_tce_step(), which looks everything up and leaves what it found in
 * struct kvmppc_tce_run; kvmppc_tce_map_span() and kvmppc_tce_clear_span() go on
 * from there for as long as that stays valid, and change nothing otherwise.  They work line by
 * line.  The other tables of a LIOBN are given what the first one got, if their user words
 * were the same before, as they are when the LIOBN alone writes to them.
 *
 * A tier may give up with H_TOO_HARD, and the next one does the whole call
 * again: to write an entry twice does no harm.  It gives up before it changes
 * a guest entry, with one exception: a hypervisor below was busy in the midst of an entry
 * of several parts.  That leads nowhere then, and reads back as 0, until the next tier has
 * done it.
 *
 * What a run reads - LIOBNs, bindings, tables, regions - stays for the section
 * (asm/mm_iommu.h) in which the hypercall, or a piece of it, is served; what is
 * found in one section is looked up anew in the next.  Memslots stay while
 * kvm->srcu is held, by virtual mode for each piece and in guest context from
 * before guest entry.
 */
#ifndef POWERPC_KVM_BOOK3S_64_VIO_H
#define POWERPC_KVM_BOOK3S_64_VIO_H

#include "book3s_64_vio_guest.h"

#endif /* POWERPC_KVM_BOOK3S_64_VIO_H */
