/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine that the tests work on: a VM with memslots, LIOBNs, IOMMU tables in
 * groups, and regions of memory that can be registered.
 *
 * The layout is fixed, in tables that the model reads, too; what changes is
 * which of it exists.
 */
#ifndef TCE_WORLD_H
#define TCE_WORLD_H

#include "kernel.h"

#define WORLD_VCPUS	8

/**
 * struct layout_table - an IOMMU table that may be opened
 * @shift: size of its pages
 * @levels: indirect levels
 * @level_size: entries of a level
 * @offset: first entry, counted from bus address 0
 * @size: entries
 * @foreign: a hypervisor keeps the hardware view
 * @lists: it takes lists
 * @pinned: pages are pinned one by one
 */
struct layout_table {
	unsigned int shift, levels, level_size;
	unsigned long offset, size;
	bool foreign, lists, pinned;
};

struct layout_liobn {
	unsigned int shift;
	unsigned long offset, size;
};

/**
 * struct layout_region - user memory that may be registered
 * @ua: first user address
 * @pages: size
 * @vmalloc: real mode cannot read its page list
 */
struct layout_region {
	unsigned long ua, pages;
	bool vmalloc;
};

#define TABLES		9
#define GROUPS		7
#define LIOBNS		7
#define REGIONS		21

extern const struct layout_table layout_table[TABLES];
extern const struct layout_liobn layout_liobn[LIOBNS];
extern const struct layout_region layout_region[REGIONS];
/* Tables of a group, -1 for none */
extern const int layout_group[GROUPS][IOMMU_TABLE_GROUP_MAX_TABLES];

struct mm_iommu_table_group_mem_t;

/**
 * struct world - the machine
 * @mm: whose memory the VM has
 * @other: another address space
 * @kvm: the VM
 * @debugfs: its directory in debugfs, with one file
 * @vcpu: its virtual CPUs
 * @table: IOMMU tables, as layout_table has them; NULL for a window that is gone
 * @ops: their operations
 * @kill: what invalidates their entries
 * @refuse: the hypervisor refuses the exchange that brings this to 0
 * @refuse_more: and so many of those that follow
 * @busy: it says that it is busy then, not that it will not
 * @refused: it did
 * @refused_list: and it was a list, of so many entries
 * @group: groups, as layout_group has them
 * @group_file: the VFIO file of each
 * @table_group: their tables
 * @fd: files of the LIOBNs, -1 for none
 * @other_fd: a file that is none
 * @mem: regions registered
 */
struct world {
	struct mm_struct mm, other;
	struct kvm kvm;
	struct dentry debugfs;
	struct kvm_vcpu vcpu[WORLD_VCPUS];
	struct iommu_table *table[TABLES];
	struct iommu_table_ops ops[TABLES];
	void (*kill)(struct iommu_table *tbl, unsigned long entry, unsigned long pages);
	unsigned long refuse, refuse_more, refused_list;
	bool busy, refused;
	struct iommu_group group[GROUPS];
	struct file group_file[GROUPS];
	struct iommu_table_group table_group[GROUPS];
	int fd[LIOBNS];
	int other_fd;
	struct mm_iommu_table_group_mem_t *mem[REGIONS];
};

extern struct world world;

/* Who serves a hypercall */
enum tier {
	TIER_VIRT,	/* virtual mode */
	TIER_EARLY,	/* early exit */
	TIER_PARTIAL,	/* partial exit, MMU on */
	TIER_REAL,	/* partial exit, MMU off */
	TIER_TABLE,	/* hcall_real_table */
	TIERS
};

/* Hardware entries that a call in a partial exit may change */
#define WORLD_PARTIAL	16

/* The hypercalls, in the order of enum op */
extern const unsigned long world_req[4];

/* @kill is told of each invalidation */
void world_begin(void (*kill)(struct iommu_table *tbl, unsigned long entry,
			      unsigned long pages));
/* The VMM's files and all windows are closed; what is left goes */
void world_close(void);
void world_end(void);

/* A window comes, not open yet, and goes; its groups have it as long */
void world_add_table(unsigned int t);
void world_remove_table(unsigned int t);

/* Give the VM other memslots: as they are, but for the flags of one */
void world_set_slot(unsigned int slot, u32 flags);

/* A hypercall in one tier: GPR3, and the TCE that H_GET_TCE answers */
long world_hcall(struct kvm_vcpu *vcpu, enum tier tier, unsigned long req,
		 const unsigned long *arg, u64 *tce);

/*
 * The words from an entry on that lie in one piece, and how many they are; NULL
 * where a level is missing.  Hardware words are in the order of world_order().
 */
const u64 *world_words(unsigned int t, bool user, unsigned long idx, unsigned long *n);
u64 world_order(unsigned int t, u64 word);

/* Words of a table as numbers; 0 where a level is missing */
u64 world_hw(unsigned int t, unsigned long idx);
u64 world_user(unsigned int t, unsigned long idx);

/* A page of the guest's view of a TCE table, as the VMM maps it; this allocates it */
const u64 *world_view(unsigned int l, unsigned long page);

/* Where guest address @gpa lies; NULL if nowhere.  Memory as the guest has it. */
u64 *world_guest(unsigned long gpa);

s64 world_mapped(unsigned int region);
/* Is any region registered, or still counted? */
bool world_has_regions(void);

/* Read the VM's file in debugfs */
void world_show(void);

#endif /* TCE_WORLD_H */
