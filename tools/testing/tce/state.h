/* SPDX-License-Identifier: GPL-2.0-only */
/* What the model's two halves share: model.c keeps the books, rules.c answers hypercalls */
#ifndef TCE_STATE_H
#define TCE_STATE_H

#include "model.h"

#define PERM		3UL
#define USER_SET	2UL
#define USER_DIRTY	4UL
#define OURS		1
#define OTHERS		2
#define ENTRIES_ALL	22016
#define TCES_ALL	9216
#define VIEW_PAGE	(PAGE_SIZE / 8)

struct state {
	struct {
		unsigned int mm;
		u64 *user, *hw;		/* words as the tables have them */
		bool *level;		/* known to be there, by lowest level */
	} table[TABLES];
	struct {
		bool there;
		u64 *tce;
		bool *page;		/* known to be there */
		unsigned int owners[TABLES];
	} liobn[LIOBNS];
	struct {
		bool there;
		unsigned int used;
		unsigned long mapped;
	} region[REGIONS];
	int pins[USER_PAGES];
	bool wrote[USER_PAGES];
	u64 users[ENTRIES_ALL], hws[ENTRIES_ALL];
	bool levels[ENTRIES_ALL];
	u64 tces[TCES_ALL];
	bool pages[TCES_ALL];
};

extern struct state m;

/* The registered region that has all of a range, REGIONS if none */
unsigned int state_region_of(unsigned long ua, unsigned long size);
/* May a table get a translation to @ua in region @r? */
bool state_fits(unsigned int r, unsigned int shift, unsigned long ua);
/* Make an entry lead to @ua, or nowhere if @perm is 0 */
void state_set_entry(unsigned int t, unsigned long idx, unsigned long ua, u64 perm);
/* Is the level of an entry known to be there? */
bool state_level_known(unsigned int t, unsigned long idx);

#endif /* TCE_STATE_H */
