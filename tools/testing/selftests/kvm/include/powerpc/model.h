/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What TCE hypercalls must answer and do, whoever serves them: LIOBNs and hardware
 * tables are arrays, and memory is ranges of guest addresses.
 *
 * What is asked of arguments is in tce_rules.h, which tools/testing/tce/model.h uses, too.
 * The rest of that model is another one, as it is asked something else.  This one says
 * what a guest must see, before the call and in each tier alike, of a machine with memory,
 * and on which nothing else happens.  That one is told what was seen, of one tier, and
 * judges whether it may be: there an allocation fails, a hypervisor refuses, somebody holds
 * an entry, a tier gives up.  And it keeps the books of what no guest sees: which words the
 * tables have, pins, counts and invalidations.
 */
#ifndef SELFTEST_KVM_POWERPC_MODEL_H
#define SELFTEST_KVM_POWERPC_MODEL_H

#include <stdbool.h>
#include <linux/types.h>

#include "vm.h"

#define MODEL_SLOTS	4
#define MODEL_REGIONS	8
#define MODEL_TABLES	2
#define MODEL_LIOBNS	4
#define MODEL_SHIFT	12

/**
 * struct model_slot - a memslot
 * @gpa: guest address of its first byte
 * @size: bytes; 0 when there is none
 * @mem: the memory
 * @read_only: the guest may not write to it, nor may a device
 */
struct model_slot {
	__u64 gpa, size;
	__u8 *mem;
	bool read_only;
};

/**
 * struct model_region - preregistered memory, in one memslot
 * @gpa: guest address of its first byte
 * @size: bytes
 * @mapped: entries of hardware tables that lead there
 */
struct model_region {
	__u64 gpa, size;
	unsigned long mapped;
};

/**
 * struct model_table - a hardware table of pages of 4K, from bus address 0 on
 * @tce: guest address and permissions of each entry, 0 when it leads nowhere
 */
struct model_table {
	__u64 *tce;
};

/**
 * struct model_liobn - a window as the guest knows it
 * @liobn: its number
 * @shift: size of a page, as a shift
 * @first: first entry, counted from bus address 0
 * @size: entries
 * @tce: what H_GET_TCE reads
 * @tables: the tables that it is bound to, as bits
 */
struct model_liobn {
	__u64 liobn;
	unsigned int shift;
	__u64 first, size;
	__u64 *tce;
	unsigned int tables;
};

struct model {
	struct model_slot slot[MODEL_SLOTS];
	struct model_region region[MODEL_REGIONS];
	struct model_table table[MODEL_TABLES];
	struct model_liobn liobn[MODEL_LIOBNS];
};

/*
 * Do @call, whose list is in the slots' memory: the answer, @user when user space
 * has to give it.  What H_GET_TCE reads goes to @value.
 */
long model_call(struct model *m, const struct vm_call *call, long user,
		__u64 *value);

/* The memory at a guest address; NULL when there is none */
__u8 *model_memory(struct model *m, __u64 gpa);

#endif /* SELFTEST_KVM_POWERPC_MODEL_H */
