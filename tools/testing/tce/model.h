/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each operation must answer and leave behind, in the simplest words: an
 * entry is a user address and permissions, a LIOBN is an array of TCEs with a set
 * of tables, and a region is counted by counting.  From PAPR 14.5.4.2 and the
 * kernel-doc of the functions, not from how they do it.
 *
 * What is asked of a hypercall's arguments is in tce_rules.h of the KVM selftests, which
 * have a model of their own (model.h there says why).
 *
 * Each function is told what was seen, complains when that may not be, and takes
 * over what was done.
 */
#ifndef TCE_MODEL_H
#define TCE_MODEL_H

#include "world.h"

/* Arguments of a hypercall, in words that the model understands */
struct model_call {
	enum tier tier;
	unsigned long req, liobn, ioba, n;
	unsigned long list_gpa;		/* H_PUT_TCE_INDIRECT */
	const u64 *tce;			/* of each entry; of H_STUFF_TCE, one */
};

/**
 * struct seen - what an operation showed
 * @ret: what it returned
 * @done: entries that it says it did
 * @tce: what H_GET_TCE said
 * @kills: invalidations
 * @nomem: an allocation failed
 * @refused: the hypervisor refused something
 * @fatal: the process is being killed
 * @held: somebody holds an entry
 */
struct seen {
	long ret;
	unsigned long done;
	u64 tce;
	unsigned long kills;
	bool nomem, refused, fatal, held;
};

void model_begin(void);
void model_end(void);

void model_hcall(const struct model_call *c, const struct seen *seen);
void model_register(unsigned int r, const struct seen *seen);
void model_unregister(unsigned int r, const struct seen *seen);
void model_drop(unsigned int r);
bool model_reap(void);
void model_open(unsigned int t, bool other);
void model_close(unsigned int t);
void model_map(unsigned int t, unsigned long first, unsigned long n,
	       unsigned long ua, unsigned int perm, const struct seen *seen);
void model_unmap(unsigned int t, unsigned long first, unsigned long n,
		 const struct seen *seen);
void model_create(unsigned int l, const struct seen *seen);
void model_destroy(unsigned int l);
void model_bind(unsigned int l, unsigned int group, const struct seen *seen);
void model_release(unsigned int group);
void model_fault(unsigned int l, unsigned long page, bool there);

/* May the operation be tried at all?  What VFIO and KVM see to. */
bool model_registered(unsigned int r);
bool model_is_there(unsigned int r);
bool model_is_open(unsigned int t);
bool model_is_created(unsigned int l);
/* Does no hypercall wait for who holds an entry of this table? */
bool model_may_hold(unsigned int t);

/* All that the world shows is as it must be */
void model_check(void);

#endif /* TCE_MODEL_H */
